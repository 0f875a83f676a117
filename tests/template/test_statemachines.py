"""Rules for the state machines that statelint and asl-validator do not know (practice.md A5, B5)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonata
import pytest

from tests.template.conftest import ROOT, load, machines, states, substitutions

HANDLER_ERRORS = {"BadInputError", "DataError", "NotFoundError", "BusyError", "ConflictError", "UnknownOutcomeError",
                  "NameTakenError", "JobFailedError"}  # fmt: skip
AWS_ERRORS = re.compile(
    r"^(States\.(ALL|Timeout|TaskFailed|HeartbeatTimeout|Permissions|Runtime|DataLimitExceeded|QueryEvaluationError)"
    r"|Lambda\.(ServiceException|AWSLambdaException|SdkClientException|TooManyRequestsException"
    r"|ClientExecutionTimeoutException|Unknown)"
    r"|SageMaker\.\w+|DynamoDB\.\w+|Sns\.\w+|StepFunctions\.\w+|S3\.\w+|CloudWatch\.\w+)$"
)
MACHINES = [pytest.param(path, id=path.name.removesuffix(".asl.json")) for path in machines()]


def _raised(definition: dict[str, Any]) -> set[str]:
    return {state.get("Error", "") for _, state in states(definition) if state["Type"] == "Fail"}


@pytest.mark.parametrize("path", MACHINES)
def test_a_machine_is_jsonata_with_a_deadline_and_a_reason_at_every_state(path: Path) -> None:
    definition = load(path)

    assert definition["QueryLanguage"] == "JSONata"
    assert definition["TimeoutSeconds"] > 0
    assert definition["Comment"]
    assert [where for where, state in states(definition) if not state.get("Comment")] == []
    assert [where for where, state in states(definition) if "QueryLanguage" in state] == []


@pytest.mark.parametrize("path", MACHINES)
def test_every_task_has_a_timeout_and_every_choice_a_default(path: Path) -> None:
    every = states(load(path))

    assert [w for w, s in every if s["Type"] == "Task" and "TimeoutSeconds" not in s] == []
    assert [w for w, s in every if s["Type"] == "Choice" and "Default" not in s] == []


@pytest.mark.parametrize("path", MACHINES)
def test_every_task_of_the_main_road_leads_its_failure_somewhere(path: Path) -> None:
    definition = load(path)
    # Tasks inside a Parallel or a Map are caught by it; tasks after a Catch are the failure road itself.
    caught_targets = {c["Next"] for _, s in states(definition) for c in s.get("Catch", [])}
    failure_road = set(caught_targets)
    for _ in definition["States"]:
        for name in list(failure_road):
            state = definition["States"].get(name, {})
            failure_road |= {n for n in [state.get("Next"), state.get("Default")] if n}
            failure_road |= {c["Next"] for c in state.get("Choices", [])}
    uncaught = [
        name
        for name, state in definition["States"].items()
        if state["Type"] in ("Task", "Parallel", "Map")
        and name not in failure_road
        and not any("States.ALL" in c["ErrorEquals"] for c in state.get("Catch", []))
        # A closing task retries everything; should it fail for good, the end-of-execution rule frees what is held.
        and not any("States.ALL" in r["ErrorEquals"] for r in state.get("Retry", []))
    ]

    assert uncaught == []


@pytest.mark.parametrize("path", MACHINES)
def test_retried_and_caught_errors_exist(path: Path) -> None:
    definition = load(path)
    known = HANDLER_ERRORS | set().union(*(_raised(load(other)) for other in machines()))
    unknown = [
        (where, error)
        for where, state in states(definition)
        for clause in [*state.get("Retry", []), *state.get("Catch", [])]
        for error in clause["ErrorEquals"]
        if error not in known and not AWS_ERRORS.match(error)
    ]

    assert unknown == []


@pytest.mark.parametrize("path", MACHINES)
def test_retries_spread_out_and_permanent_errors_come_first(path: Path) -> None:
    for where, state in states(load(path)):
        for retrier in state.get("Retry", []):
            if retrier.get("MaxAttempts", 3) > 0:
                assert retrier.get("JitterStrategy") == "FULL" or "BusyError" in retrier["ErrorEquals"], where


@pytest.mark.parametrize("path", MACHINES)
def test_what_is_used_was_assigned_and_what_is_assigned_is_used(path: Path) -> None:
    for scope in [load(path)]:
        text = json.dumps(scope)
        assigned = {name for _, s in states(scope) for name in s.get("Assign", {})}
        assigned |= {
            name
            for _, s in states(scope)
            for c in [*s.get("Catch", []), *s.get("Choices", [])]
            for name in c.get("Assign", {})
        }
        bound = set(re.findall(r"function\(([^)]*)\)", text))
        parameters = {p.strip().removeprefix("$") for group in bound for p in group.split(",")}
        local = set(re.findall(r"\$(\w+)\s*:=", text))
        used = set(re.findall(r"(?<![\w$])\$([A-Za-z_]\w*)\b(?!\s*\()", text)) - {"states"}

        assert used - assigned - parameters - local == set()
        assert assigned - used == set()


@pytest.mark.parametrize("path", MACHINES)
def test_the_child_of_a_distributed_map_uses_nothing_of_its_parent(path: Path) -> None:
    """On AWS it is an execution of its own: it sees neither the parent's variables nor its name. The emulator lets it."""
    for where, state in states(load(path)):
        processor = state.get("ItemProcessor", {})
        if processor.get("ProcessorConfig", {}).get("Mode") != "DISTRIBUTED":
            continue
        inner = states(processor)
        own = {name for _, s in inner for name in s.get("Assign", {})}
        text = json.dumps(processor)
        used = set(re.findall(r"(?<![\w$])\$([A-Za-z_]\w*)\b(?!\s*\()", text)) - {"states"}
        assert used - own == set(), where
        assert "context.Execution" not in text, where


@pytest.mark.parametrize("path", MACHINES)
def test_an_express_child_ends_within_its_five_minutes_by_what_express_can(path: Path) -> None:
    for where, state in states(load(path)):
        processor = state.get("ItemProcessor", {})
        if processor.get("ProcessorConfig", {}).get("ExecutionType") != "EXPRESS":
            continue
        kinds = [
            s["ItemProcessor"].get("ProcessorConfig", {}).get("Mode")
            for _, s in states(processor)
            if s["Type"] == "Map"
        ]
        resources = [s["Resource"] for _, s in states(processor) if s["Type"] == "Task"]
        assert "DISTRIBUTED" not in kinds, where
        assert [r for r in resources if r.endswith((".sync", ".sync:2", ".waitForTaskToken"))] == [], where
        assert not {s["Type"] for _, s in states(processor)} & {"Wait"}, where


@pytest.mark.parametrize("path", MACHINES)
def test_substitutions_and_template_agree(path: Path, source: dict[str, Any]) -> None:
    machine = next(
        r["Properties"]
        for r in source["Resources"].values()
        if r["Type"] == "AWS::Serverless::StateMachine"
        and r["Properties"]["DefinitionUri"] == f"statemachines/{path.name}"
    )

    assert set(machine.get("DefinitionSubstitutions", {})) == substitutions(path.read_text())
    assert machine["Type"] == "STANDARD"


@pytest.mark.parametrize("path", MACHINES)
def test_statelint_finds_nothing_in_the_substituted_machine(path: Path, tmp_path: Path) -> None:
    filled = tmp_path / path.name
    text = re.sub(r"\$\{(\w+)\}", "arn:aws:lambda:us-east-1:123456789012:function:name", path.read_text())
    # statelint 3.1 does not know this required field, nor that a JSONata state may compute the two others.
    text = text.replace('"ReaderConfig": { "InputType": "JSON" },', "")
    filled.write_text(re.sub(r'("(?:TimeoutSeconds|Seconds)": )"\{%[^"]*%\}"', r"\g<1>60", text))

    found = subprocess.run(
        [Path(sys.executable).parent / "statelint", "--ignore=URI,FLOAT", str(filled)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (found.returncode, found.stdout.strip()) == (0, "")


@pytest.mark.parametrize("path", MACHINES)
def test_a_console_user_finds_an_example_input(path: Path) -> None:
    name = path.name.removesuffix(".asl.json")

    assert isinstance(json.loads((ROOT / "events" / f"{name}.json").read_text()), dict)


@pytest.mark.parametrize(
    ("results", "told", "cause"),
    [
        (["looked", "looked"], [], ""),
        (["looked", {"shards": 3}], [], ""),
        ([{"failed": "a: x"}, "looked"], ["a: x"], "a: x"),
        (
            ["looked", None, {"Error": "States.Timeout"}],
            ["2 looks ended without a word"],
            "2 looks ended without a word",
        ),
        ([{"failed": "x"}] * 21, ["x"] * 21, "; ".join(["x"] * 20) + "; and 1 more"),
    ],
)
def test_a_look_that_ends_without_a_word_is_counted_and_told(results: list[Any], told: list[str], cause: str) -> None:
    """A tolerated failure of a Distributed Map's child is an object with its error on AWS and null on the emulator."""
    states = load(ROOT / "statemachines" / "monitor.asl.json")["States"]
    given = {"states": {"result": results, "input": {"count": len(results)}}}
    failed = _value(states["Look at each window"]["Assign"]["failed"], given)
    (telling,) = states["Did every look succeed?"]["Choices"]

    assert failed == told
    assert _value(telling["Condition"], {"failed": failed}) is bool(told)
    assert _value(telling["Assign"]["cause"], {"failed": failed}) == cause


def _value(text: str, given: dict[str, Any]) -> Any:
    expression = jsonata.Jsonata(text.removeprefix("{%").removesuffix("%}"))
    for name, value in given.items():
        expression.assign(name, value)
    return expression.evaluate(None)
