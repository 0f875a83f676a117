"""Public bugs of templates, roles and code habits, looked for in Linnet's own files."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest

from linnet.gateways import jobs
from tests.template.conftest import ROOT, load, machines, resources, source, states, template  # noqa: F401 - fixtures

DEPLOYED = sorted(p for room in ("functions", "layers/linnet/linnet") for p in (ROOT / room).rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in DEPLOYED}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _actions(template: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return role, action and resources of every statement that allows something."""
    return [
        (role, action, statement["Resource"])
        for role, properties in resources(template, "AWS::IAM::Role").items()
        for policy in properties.get("Policies", [])
        for statement in _list(policy["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Allow"
        for action in _list(statement["Action"])
    ]


def _nodes(kind: type[ast.AST]) -> list[tuple[Path, Any]]:
    return [(path, node) for path, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kind)]


# -- who may do what -----------------------------------------------------------------------------------------------------


def test_sam_sf_sagemaker_workflow_proxy_nobody_asks_an_endpoint_of_a_callers_choice(template: dict[str, Any]) -> None:
    """sam-sf-sagemaker-workflow: /invokeSagemakerAPI with sagemaker:InvokeEndpoint on * and no authorisation."""
    asking = [(role, found) for role, action, found in _actions(template) if action == "sagemaker:InvokeEndpoint"]

    assert asking
    assert [role for role, found in asking if "${AWS::StackName}-" not in json.dumps(found)] == []


def test_sam_sf_sagemaker_workflow_http_nothing_answers_the_internet(template: dict[str, Any]) -> None:
    """sam-sf-sagemaker-workflow, human-in-the-loop: unauthenticated API that approves, and one that proxies."""
    open_kinds = (
        "AWS::ApiGateway",
        "AWS::Serverless::Api",
        "AWS::Serverless::HttpApi",
        "AWS::Lambda::Url",
        "AWS::ElasticLoad",
    )
    found = [name for name, r in template["Resources"].items() if r["Type"].startswith(open_kinds)]
    anybody = [n for n, p in resources(template, "AWS::Lambda::Permission").items() if p.get("Principal") == "*"]

    assert (found, anybody) == ([], [])


def test_sam_sf_sagemaker_workflow_role_sagemakers_role_has_no_sagemaker_star(template: dict[str, Any]) -> None:
    """sam-sf-sagemaker-workflow: SageMakerRole had sagemaker:*; custom-project-templates asked for CloudWatchFullAccess."""
    mine = [action for role, action, _ in _actions(template) if role == "SageMakerRole"]
    managed = [a for p in resources(template, "AWS::IAM::Role").values() for a in p.get("ManagedPolicyArns", [])]

    assert mine
    assert [a for a in mine if "*" in a or a.startswith("iam:")] == []
    assert [a for a in managed if "FullAccess" in json.dumps(a)] == []


def test_amazon_sagemaker_drift_detection_disabled_rules_nobody_may_turn_a_rule_off(template: dict[str, Any]) -> None:
    """amazon-sagemaker-drift-detection lambda_pipeline_change: rules off during a run; safe-deployment: shipped disabled."""
    assert [r for r, action, _ in _actions(template) if action in ("events:DisableRule", "events:EnableRule")] == []
    rules = resources(template, "AWS::Events::Rule")
    assert [
        n for n, r in rules.items() if r.get("State", "ENABLED") != "ENABLED" and "ScheduleExpression" not in r
    ] == []
    assert rules["OnSignalFunctionWeeklyRetraining"].get("State", "ENABLED") == "ENABLED"


# -- rules, alarms, queues -----------------------------------------------------------------------------------------------


def test_amazon_sagemaker_drift_detection_2_every_leaf_of_a_pattern_is_a_list(template: dict[str, Any]) -> None:
    """amazon-sagemaker-drift-detection PR#2: an event pattern in a form that matches nothing."""

    def wrong(pattern: Any, at: str) -> list[str]:
        if isinstance(pattern, dict):
            return [w for name, part in pattern.items() for w in wrong(part, f"{at}.{name}")]
        return [] if isinstance(pattern, list) and pattern else [at]

    rules = {n: r["EventPattern"] for n, r in resources(template, "AWS::Events::Rule").items() if "EventPattern" in r}
    assert rules
    assert [w for name, pattern in rules.items() for w in wrong(pattern, name)] == []


def test_sagemaker_custom_project_templates_15_the_rule_names_the_decisions_it_wants(template: dict[str, Any]) -> None:
    """sagemaker-custom-project-templates#15, PR#16: `anything-but PendingManualApproval`; #8, PR#46: a model's name."""
    found = [
        rule["EventPattern"] for rule in resources(template, "AWS::Events::Rule").values()
        if rule.get("EventPattern", {}).get("detail-type") == ["SageMaker Model Package State Change"]
    ]  # fmt: skip

    assert len(found) == 1
    assert sorted(found[0]["detail"]["ModelApprovalStatus"]) == ["Approved", "Rejected"]
    assert "anything-but" not in json.dumps(found)


def test_sagemaker_custom_project_templates_8_no_rule_names_a_model(template: dict[str, Any]) -> None:
    """sagemaker-custom-project-templates#8, PR#46: the rule had the name of one model."""
    told = json.dumps([r.get("EventPattern") for r in resources(template, "AWS::Events::Rule").values()])

    assert [name for name in ("flights", "diamonds") if name in told] == []
    assert '"prefix": {"Fn::Sub": "${AWS::StackName}-"}' in told  # groups of this stack, whichever they are


def test_aws_mlops_platform_public_dlq_every_target_has_a_dead_letter_queue(template: dict[str, Any]) -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: one queue of many; gap 18: 12 of 16 repositories have none."""
    queues = set(resources(template, "AWS::SQS::Queue"))
    letters = [
        (name, target.get("DeadLetterConfig", {}).get("Arn", {}).get("Fn::GetAtt", [""])[0])
        for name, rule in resources(template, "AWS::Events::Rule").items() for target in rule["Targets"]
    ]  # fmt: skip

    assert letters
    assert [name for name, queue in letters if queue not in queues] == []


def test_gap_19_a_reconciler_that_never_runs_raises_an_alarm(template: dict[str, Any]) -> None:
    """Gap 19: a pipeline that never starts emits no failure event; only one peer watches for silence."""
    silent = [a for a in resources(template, "AWS::CloudWatch::Alarm").values() if a["TreatMissingData"] == "breaching"]

    assert [a["ComparisonOperator"] for a in silent] == ["LessThanThreshold"]
    assert all(a["AlarmActions"] for a in silent)


# -- machines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", ["release", "rollback"])
def test_sample_sagemaker_image_classification_mlops_busy_the_machine_waits_in_line(machine: str) -> None:
    """sample-sagemaker-image-classification-mlops: a busy endpoint was an error, two retries, then the dead letters."""
    definition = load(ROOT / "statemachines" / f"{machine}.asl.json")
    take = definition["States"]["Take the lease"]
    patient = [r for r in take.get("Retry", []) if "BusyError" in r["ErrorEquals"] and r.get("MaxAttempts", 3) > 100]
    ways = {error: clause["Next"] for clause in take.get("Catch", []) for error in clause["ErrorEquals"]}
    waiting = ways.get("BusyError", "")
    seen: set[str] = set()
    while waiting and waiting != "Take the lease" and waiting not in seen:
        seen.add(waiting)
        state = definition["States"][waiting]
        waiting = state.get("Next") or next((c["Next"] for c in state.get("Choices", [])), "")

    kinds = {definition["States"][name]["Type"] for name in seen}
    assert patient or (waiting == "Take the lease" and "Wait" in kinds)


@pytest.mark.parametrize("path", machines(), ids=lambda path: path.name.partition(".")[0])
def test_mlops_at_edge_17_no_expression_takes_the_first_of_a_list_that_may_be_empty(path: Path) -> None:
    """mlops-at-edge#17: ModelPackageSummaryList[0] of an empty list ended the execution with a runtime error."""
    for where, state in states(load(path)):
        assert not re.search(r"SummaryList\[0\]|\$\.[\w.]+\[0\]", json.dumps(state)), where


# -- habits of code ------------------------------------------------------------------------------------------------------


def test_amazon_sagemaker_ab_testing_pipeline_frozen_no_default_asks_the_clock() -> None:
    """amazon-sagemaker-ab-testing-pipeline: the default `timestamp=int(time())` was frozen at import."""
    found = [
        (path.name, node.name)
        for path, node in _nodes(ast.FunctionDef)
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        if isinstance(default, ast.Call)
    ]

    assert found == []


def test_amazon_sagemaker_safe_deployment_pipeline_except_nothing_is_swallowed() -> None:
    """amazon-sagemaker-safe-deployment-pipeline: bare except."""
    handlers = _nodes(ast.ExceptHandler)
    bare = [(path.name, node.lineno) for path, node in handlers if node.type is None]
    silent = [
        (path.name, node.lineno) for path, node in handlers
        if getattr(node.type, "id", "") in ("Exception", "BaseException")
        and all(isinstance(line, ast.Pass) for line in node.body)
    ]  # fmt: skip

    assert handlers
    assert (bare, silent) == ([], [])


def test_aiops_modules_500_no_function_answers_with_a_status_code() -> None:
    """awslabs/aiops-modules, ml-canary-deployment (b), sample-mlops-bestpractices: {"statusCode": 500} = success."""
    texts = [(path.name, node.lineno) for path, node in _nodes(ast.Constant) if node.value == "statusCode"]

    assert texts == []


def test_sam_sf_sagemaker_workflow_poll_no_function_waits_for_a_job() -> None:
    """sam-sf-sagemaker-workflow: a Lambda that polled up to 600 s."""
    calls = [
        (path.relative_to(ROOT).as_posix(), node.func.attr)
        for path, node in _nodes(ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("sleep", "get_waiter")
    ]

    gateways = "layers/linnet/linnet/gateways"
    assert set(calls) == {(f"{gateways}/ledger.py", "sleep"), (f"{gateways}/jobs.py", "sleep")}  # jitter; a stop's end
    assert jobs._LOOKS * jobs._SECONDS <= 30


def _service(made: ast.AST) -> str:
    """Return the service of `client("<service>")`, else an empty text."""
    if (
        isinstance(made, ast.Call)
        and getattr(made.func, "id", "") == "client"
        and isinstance(made.args[0], ast.Constant)
    ):
        return str(made.args[0].value)
    return ""


def test_sample_mlops_bestpractices_48_every_call_of_a_client_is_one_that_it_has() -> None:
    """sample-mlops-bestpractices PR#48: AthenaClient called a method that never existed."""
    called: set[tuple[str, str]] = set()
    for _, function in _nodes(ast.FunctionDef):
        inside = list(ast.walk(function))
        named = {
            target.id: _service(node.value)
            for node in inside if isinstance(node, ast.Assign) and _service(node.value)
            for target in node.targets if isinstance(target, ast.Name)
        }  # fmt: skip
        for node in inside:
            if isinstance(node, ast.Attribute):
                service = _service(node.value) or named.get(getattr(node.value, "id", ""), "")
                called |= {(service, node.attr)} if service else set()
    clients = {service: boto3.client(service, region_name="us-east-1") for service, _ in called}

    assert len(called) > 40
    assert [(service, method) for service, method in sorted(called) if not hasattr(clients[service], method)] == []


def test_aws_mlops_platform_public_time_no_name_is_made_of_the_second() -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: names by int(time()) collided."""
    calls = [
        (path.name, node.lineno)
        for path, node in _nodes(ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("time", "time_ns", "uuid4", "token_hex")
    ]

    assert calls == []


def test_mlops_workload_orchestrator_6_what_a_layer_carries_is_pinned_to_the_byte() -> None:
    """mlops-workload-orchestrator#6: a layer took another numpy and broke."""
    for layer in ("linnet", "analytics"):
        lines = (ROOT / "layers" / layer / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
        wanted = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", "--"))]
        assert wanted
        assert [line for line in wanted if "==" not in line or "--hash=sha256:" not in line] == []


def test_mlops_workload_orchestrator_9_every_role_is_the_templates_own(template: dict[str, Any]) -> None:
    """mlops-workload-orchestrator#9: the stack rolled back because a role was not there."""
    roles = set(resources(template, "AWS::IAM::Role"))
    used = [
        (name, (properties.get("Role") or properties.get("RoleArn"))["Fn::GetAtt"][0])
        for kind in ("AWS::Lambda::Function", "AWS::StepFunctions::StateMachine")
        for name, properties in resources(template, kind).items()
    ]

    assert used
    assert [name for name, role in used if role not in roles] == []


def test_amazon_sagemaker_safe_deployment_pipeline_runtime_runs_on_a_python_that_is_maintained(
    template: dict[str, Any],
) -> None:
    """amazon-sagemaker-safe-deployment-pipeline: python3.7."""
    runtimes = {p["Runtime"] for p in resources(template, "AWS::Lambda::Function").values()}

    assert runtimes
    assert [r for r in runtimes if int(r.removeprefix("python3.")) < 11] == []
