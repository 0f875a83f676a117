"""Promises about the deployed form that no linter and no rule of scripts/rules keeps (practice.md B5)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.template.conftest import ROOT, resources


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(template: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (role, statement)
        for role, properties in resources(template, "AWS::IAM::Role").items()
        for policy in properties.get("Policies", [])
        for statement in _list(policy["PolicyDocument"]["Statement"])
    ]


def test_no_role_may_use_a_wildcard_action(template: dict[str, Any]) -> None:
    wild = [(role, a) for role, s in _statements(template) for a in _list(s["Action"]) if "*" in a]

    assert wild == []


def test_sagemaker_actions_reach_only_what_the_stack_named(template: dict[str, Any]) -> None:
    outside = [
        (role, resource)
        for role, statement in _statements(template)
        if any(a.startswith("sagemaker:") for a in _list(statement["Action"]))
        for resource in _list(statement["Resource"])
        if "${AWS::StackName}-" not in json.dumps(resource)
    ]

    assert outside == []


def test_pass_role_is_bound_to_one_role_and_to_sagemaker_se_02(template: dict[str, Any]) -> None:
    loose = [
        role
        for role, s in _statements(template)
        if "iam:PassRole" in _list(s["Action"])
        and (
            s["Resource"] != {"Fn::GetAtt": ["SageMakerRole", "Arn"]}
            or s.get("Condition", {}).get("StringEquals", {}).get("iam:PassedToService") != "sagemaker.amazonaws.com"
        )
    ]

    assert loose == []


def test_every_function_and_every_machine_has_a_role_of_its_own(template: dict[str, Any]) -> None:
    roles = [
        json.dumps(properties[field])
        for kind, field in (("AWS::Lambda::Function", "Role"), ("AWS::StepFunctions::StateMachine", "RoleArn"))
        for properties in resources(template, kind).values()
    ]

    assert sorted(set(roles)) == sorted(roles)


def test_every_schedule_may_start_its_target_and_keeps_what_it_cannot_deliver(template: dict[str, Any]) -> None:
    schedules = resources(template, "AWS::Scheduler::Schedule")
    roles = resources(template, "AWS::IAM::Role")

    assert schedules
    for schedule in schedules.values():
        target = schedule["Target"]
        role = roles[target["RoleArn"]["Fn::GetAtt"][0]]
        may = {a for p in role["Policies"] for s in p["PolicyDocument"]["Statement"] for a in _list(s["Action"])}
        assert {"states:StartExecution", "sqs:SendMessage", "kms:GenerateDataKey"} <= may
        assert {"DeadLetterConfig", "RetryPolicy"} <= set(target)
        assert schedule.get("State", "ENABLED") == "ENABLED"


def test_rules_match_their_own_account_because_a_detail_can_be_forged(template: dict[str, Any]) -> None:
    open_rules = [
        name
        for name, rule in resources(template, "AWS::Events::Rule").items()
        if "EventPattern" in rule and rule["EventPattern"].get("account") != [{"Ref": "AWS::AccountId"}]
    ]

    assert open_rules == []


def test_no_two_rules_share_a_pattern_and_a_target(template: dict[str, Any]) -> None:
    seen = [
        json.dumps([r.get("EventPattern"), r.get("ScheduleExpression"), r["Targets"][0]["Arn"], r.get("EventBusName")])
        for r in resources(template, "AWS::Events::Rule").values()
    ]

    assert sorted(set(seen)) == sorted(seen)


def test_every_function_that_events_wake_sends_its_failures_to_the_dead_letters(template: dict[str, Any]) -> None:
    functions = resources(template, "AWS::Lambda::Function")
    configured = {
        json.dumps(p["FunctionName"]): p["DestinationConfig"]["OnFailure"]["Destination"]
        for p in resources(template, "AWS::Lambda::EventInvokeConfig").values()
    }

    assert functions
    assert {json.dumps({"Ref": name}) for name in functions} == set(configured)
    assert {json.dumps(d) for d in configured.values()} == {json.dumps({"Fn::GetAtt": ["DeadLetters", "Arn"]})}


def test_the_buckets_are_encrypted_with_the_stacks_key_versioned_and_private_and_tables_can_go_back(
    template: dict[str, Any],
) -> None:
    key = {"Fn::GetAtt": ["DataKey", "Arn"]}

    for bucket in resources(template, "AWS::S3::Bucket").values():
        rule = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
        assert rule["KMSMasterKeyID"] == key
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    for table in resources(template, "AWS::DynamoDB::Table").values():  # keys of the other stores: test_security.py
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_the_weekly_retraining_rule_has_the_seeds_expression_eb_04(source: dict[str, Any]) -> None:
    assert source["Parameters"]["RetrainingSchedule"]["Default"] == "cron(0 2 ? * SUN *)"


def test_dc_06_how_long_capture_is_kept_is_a_parameter_of_ninety_days_by_default(source: dict[str, Any]) -> None:
    rules = source["Resources"]["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (rule,) = [one for one in rules if one.get("Prefix") == "data-capture/"]

    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": "CaptureRetentionDays"})
    parameter = source["Parameters"]["CaptureRetentionDays"]
    assert (parameter["Type"], parameter["Default"], parameter["MinValue"]) == ("Number", 90, 1)


def test_every_function_folder_is_deployed_and_every_deployed_function_has_a_folder(source: dict[str, Any]) -> None:
    deployed = [
        r["Properties"]["CodeUri"] for r in source["Resources"].values() if r["Type"] == "AWS::Serverless::Function"
    ]
    folders = [f"functions/{p.parent.name}" for p in (ROOT / "functions").glob("*/app.py")]

    assert sorted(deployed) == sorted(folders)


def test_every_function_has_a_sample_event_for_sam_local_invoke() -> None:
    functions = {p.parent.name for p in (ROOT / "functions").glob("*/app.py")}
    samples = {p.name.partition(".")[0] for p in (ROOT / "events").glob("*.json")}

    assert functions - samples == set()


def test_a_handler_is_short_because_it_decides_nothing() -> None:
    import ast  # noqa: PLC0415 - used by this one promise

    long = []
    for app in (ROOT / "functions").glob("*/app.py"):
        for node in ast.walk(ast.parse(app.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "handler":
                length = (node.end_lineno or node.lineno) - node.lineno
                if length > 20:
                    long.append((app.parent.name, length))

    assert long == []


def test_nothing_deployed_knows_of_the_laptop() -> None:
    words = ("ministack", "localhost", r"127\.0\.0\.1", "AWS_ENDPOINT_URL", r"\blocal\.", r"\bdemo\b")
    deployed = [
        p
        for room in ("functions", "layers", "statemachines")
        for p in Path(ROOT / room).rglob("*")
        if p.suffix in (".py", ".json")
    ]
    knowing = [(p.name, word) for p in deployed for word in words if re.search(word, p.read_text())]

    assert deployed
    assert knowing == []
