"""Patches of the emulator's Step Functions: what its JSONata states and SDK integrations lack."""

from __future__ import annotations

import time
from typing import Any

from jsonata import timebox
from ministack.services import stepfunctions as states

from local.patches.tools import edit


def apply() -> None:
    """Apply them."""
    expression_limit()
    assigned_at_once()
    branches_of_their_own()
    parallel_in_jsonata()
    distributed_map_in_jsonata()
    objects_from_workflows()
    output_of_success()


def expression_limit() -> None:
    """An expression may take a second on AWS; the emulator's engine counts wall-clock time and is much slower."""
    timebox.Timebox.current_milli_time = staticmethod(lambda: round(time.monotonic() * 1000))
    edit(states, "_evaluate_jsonata", ("jsonata(expression, timeout=1000)", "jsonata(expression, timeout=30_000)"))
    edit(states, "_jsonata_result_defined", ("timeout=1000)", "timeout=30_000)"))


def assigned_at_once() -> None:
    """All values of an Assign see the variables as they were before it; in the emulator a later one sees an earlier."""
    edit(
        states,
        "_apply_state_assign",
        ('    variables = ctx.setdefault("variables", {})\n', "    assigned = {}\n"),
        (
            "        variables[name] = _apply_jsonata_template(",
            "        assigned[name] = _apply_jsonata_template(",
        ),
        (
            """
            result=result, error_output=error_output,
        )
""",
            """
            result=result, error_output=error_output,
        )
    ctx.setdefault("variables", {}).update(assigned)
""",
        ),
    )


def branches_of_their_own() -> None:
    """Each branch of a Parallel state has its own variables and context; in the emulator they share and overwrite."""
    edit(
        states,
        "_run_parallel_branches",
        (
            """
                effective, execution, ctx)
""",
            """
                effective, execution, copy.deepcopy(ctx))
""",
        ),
    )


def parallel_in_jsonata() -> None:
    """A JSONata Parallel state takes Arguments and gives Output and Assign; the emulator knows only JSONPath there."""
    edit(
        states,
        "_run_parallel_branches",
        (
            """
    effective = _apply_parameters(state_def, effective, ctx)
""",
            """
    effective = _apply_parameters(state_def, effective, ctx)
    is_jsonata = _state_query_language(state_def, ctx) == "JSONata"
    if is_jsonata:
        effective = _apply_jsonata_arguments(state_def, raw_input, ctx)
""",
        ),
        (
            """
    result = _apply_result_selector(state_def, results)
""",
            """
    if is_jsonata:
        output = _apply_jsonata_output(state_def, raw_input, ctx, result=results, default=results)
        _apply_state_assign(state_def, raw_input, ctx, result=results)
        return output, _next_or_end(state_def)
    result = _apply_result_selector(state_def, results)
""",
        ),
    )


def distributed_map_in_jsonata() -> None:
    """A JSONata Distributed Map takes expressions (Items, ItemSelector, reader Arguments) and gives Output and Assign.

    The emulator reads them as JSONPath only.
    """
    edit(
        states,
        "_run_distributed_map",
        (
            """
    if state_def.get("ItemReader"):
""",
            """
    is_jsonata = _state_query_language(state_def, ctx) == "JSONata"
    if is_jsonata and "Items" in state_def:
        items = _jsonata_state_field(state_def, "Items", "array", raw_input, ctx)
    elif state_def.get("ItemReader") and is_jsonata:
        reader = _apply_jsonata_template(state_def["ItemReader"], raw_input, ctx)
        items = _read_map_items(reader, effective, ctx)
    elif state_def.get("ItemReader"):
""",
        ),
        (
            """
    max_conc = int(state_def.get("MaxConcurrency") or 0)
""",
            """
    max_conc = _apply_jsonata_template(state_def.get("MaxConcurrency"), raw_input, ctx) or 0
    max_conc = int(max_conc)
""",
        ),
        (
            """
        child_input = _resolve_params_obj(item_selector, effective, item_ctx) if item_selector else item
""",
            """
        child_input = item
        if item_selector and is_jsonata:
            child_input = _apply_jsonata_template(item_selector, raw_input, item_ctx)
        elif item_selector:
            child_input = _resolve_params_obj(item_selector, effective, item_ctx)
""",
        ),
        (
            """
    result = _apply_result_selector(state_def, results)
""",
            """
    if is_jsonata:
        output = _apply_jsonata_output(state_def, raw_input, ctx, result=results, default=results)
        _apply_state_assign(state_def, raw_input, ctx, result=results)
        return output, _next_or_end(state_def)
    result = _apply_result_selector(state_def, results)
""",
        ),
    )


def objects_from_workflows() -> None:
    """`aws-sdk:s3:putObject` writes its Body, a document as JSON; the emulator does not know the operation."""
    states._S3_OP_SPECS["PutObject"] = {
        "method": "PUT",
        "path": "/{Bucket}/{Key+}",
        "header_params": {"ContentType": "content-type", "IfNoneMatch": "if-none-match", "IfMatch": "if-match"},
        "result_root": None,
        "header_outputs": {"etag": "ETag", "x-amz-version-id": "VersionId"},
    }
    edit(
        states,
        "_dispatch_aws_sdk_rest_xml",
        (
            """
    body = b""
""",
            """
    body = b""
    if pascal_action == "PutObject":
        content = input_data.get("Body", "")
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
""",
        ),
    )


def output_of_success() -> None:
    """A Succeed state of a JSONata machine may compute the execution's output; the emulator passes its input on."""

    def output(state: dict[str, Any], given: Any, context: dict[str, Any]) -> Any:
        if states._state_query_language(state, context) == "JSONata":
            return states._apply_jsonata_output(state, given, context, default=given)
        return states._apply_output_path(state, given, context)

    states._success_output = output
    edit(
        states,
        "_run_execution",
        ("_apply_output_path(state_def, current_input, ctx)", "_success_output(state_def, current_input, ctx)"),
    )
