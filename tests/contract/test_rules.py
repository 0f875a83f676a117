"""Which rule each sample event wakes: every rule against every sample, the negative cases included (EB-02, EB-03, EB-06)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.template.conftest import (
    ROOT,
    resources,
    template,  # noqa: F401 - a fixture
)

STACK = {
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "linnet",
    "DataBucket": "linnet-data",
    "Bus": "linnet",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
}


def _fill(value: Any) -> Any:
    if isinstance(value, list):
        return [_fill(v) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return STACK.get(value["Ref"], value["Ref"])
    if set(value) == {"Fn::Sub"}:
        text = value["Fn::Sub"]
        for name, filled in STACK.items():
            text = text.replace(f"${{{name}}}", filled)
        return text
    if set(value) == {"Fn::GetAtt"}:
        return ".".join(value["Fn::GetAtt"])
    return {k: _fill(v) for k, v in value.items()}


def _matches(rule: dict[str, Any], event: dict[str, Any]) -> bool:
    """Ask the emulator's own matcher: it was measured right on 13 of 13 pattern kinds. Linnet's events use Linnet's bus."""
    from ministack.services import eventbridge  # noqa: PLC0415 - reads its environment at import

    on_our_bus = str(event["source"]).startswith("linnet.")
    if "EventPattern" not in rule or ("EventBusName" in rule) != on_our_bus:
        return False
    record = {
        "EventId": event["id"], "Source": event["source"], "DetailType": event["detail-type"], "Account": event["account"],
        "Region": event["region"], "Resources": event["resources"], "Detail": json.dumps(event["detail"]), "Time": 0,
    }  # fmt: skip
    return bool(eventbridge._matches_pattern(json.dumps(_fill(rule["EventPattern"])), record))


def samples() -> dict[str, dict[str, Any]]:
    """Return every sample under events/ that is an EventBridge event."""
    found = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "events").glob("*.json"))}
    return {name: event for name, event in found.items() if isinstance(event, dict) and "detail-type" in event}


WATCHED = ("retrain", "release", "rollback")
"""The machines whose ends free what they held."""
EXPECTED = json.loads((Path(__file__).parent / "rules.json").read_text())


def test_every_sample_wakes_exactly_the_rules_that_the_matrix_names(template: Any) -> None:
    rules = resources(template, "AWS::Events::Rule")
    woken = {
        sample: sorted(name for name, rule in rules.items() if _matches(rule, event))
        for sample, event in samples().items()
    }

    assert woken == EXPECTED


def test_a_rule_of_another_account_or_bucket_wakes_nothing(template: Any) -> None:
    rules = resources(template, "AWS::Events::Rule").values()
    for name, event in samples().items():
        foreign = event | {"account": "999999999999"}
        assert not any(_matches(rule, foreign) for rule in rules), name


def test_every_event_rule_is_woken_by_some_sample(template: Any) -> None:
    rules = {n for n, r in resources(template, "AWS::Events::Rule").items() if "EventPattern" in r}

    assert rules == {name for woken in EXPECTED.values() for name in woken}


SHAPES = json.loads((Path(__file__).parent / "aws_shapes.json").read_text())
"""The events that AWS documents, with all their fields and values of ours (S3 user guide "Event message structure", SageMaker
"Events from Amazon SageMaker AI", CloudWatch "Alarm events and EventBridge", Step Functions "Automating event delivery")."""
DATA, SPEC, DRIFT, STANDING = "OnSignalDataArrived", "OnSpecSpec", "OnSignalDriftAlarm", "OnFindingStandingAlarm"
PACKAGE, ENDED = "OnPackageStatusPackageStatus", "OnWorkflowEndedExecutionEnded"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:linnet-"


@pytest.mark.parametrize(
    ("shape", "changed", "woken"),
    [
        ("object", {}, DATA),
        ("object", {"reason": "CompleteMultipartUpload"}, DATA),
        ("object", {"object": {"key": "raw-data/flights/"}}, DATA),
        ("object", {"object": {"key": "specs/flights.yaml"}}, SPEC),
        ("object", {"object": {"key": "models/raw-data/a.csv"}}, ""),
        ("object", {"object": {"key": "raw-data"}}, ""),
        ("object", {"bucket": {"name": "linnet-data-2"}, "object": {"key": "raw-data/flights/a.csv"}}, ""),
        ("package", {}, PACKAGE),
        ("package", {"ModelApprovalStatus": "Rejected"}, PACKAGE),
        ("package", {"ModelApprovalStatus": "PendingManualApproval"}, ""),
        ("package", {"ModelPackageStatus": "InProgress"}, PACKAGE),
        ("package", {"ModelPackageGroupName": "linnets-flights"}, ""),
        ("package", {"ModelPackageGroupName": "other-linnet-flights"}, ""),
        ("training job", {}, ""),
        ("training job", {"TrainingJobStatus": "Failed"}, ""),
        ("endpoint", {}, ""),
        ("deployment", {}, ""),
        ("processing job", {}, ""),
        *(
            (kind, {"alarmName": f"linnet-flights-{purpose}", "state": {"value": state}}, rule)
            for kind in ("alarm", "composite alarm")
            for purposes, woken in (
                (("drift", "quality", "bias", "attribution"), {"ALARM": DRIFT}),
                (("slow", "failing", "silent"), {"ALARM": STANDING, "OK": STANDING}),
                (("verdict", "drift-2", "drifting"), {}),
            )
            for purpose in purposes
            for state, rule in ({"ALARM": "", "OK": "", "INSUFFICIENT_DATA": ""} | woken).items()
        ),
        ("alarm", {"alarmName": "flights-drift"}, ""),
        ("alarm", {"alarmName": "linnet-drift"}, ""),
        *(
            ("execution", {"status": status, "stateMachineArn": MACHINE + machine}, rule)
            for machine in ("retrain", "release", "rollback", "watch", "monitor", "intake", "onboard", "offboard")
            for status, rule in dict.fromkeys(("RUNNING", "SUCCEEDED"), "").items()
            | dict.fromkeys(("FAILED", "TIMED_OUT", "ABORTED"), ENDED if machine in WATCHED else "").items()
        ),
        ("execution", {"stateMachineArn": MACHINE + "release-2"}, ""),
    ],
)
def test_a_documented_event_wakes_exactly_one_rule_or_none(
    template: Any, shape: str, changed: dict[str, Any], woken: str
) -> None:
    event = SHAPES[shape]
    detail = {
        name: {**value, **changed.get(name, {})} if isinstance(value, dict) else changed.get(name, value)
        for name, value in event["detail"].items()
    }
    rules = resources(template, "AWS::Events::Rule")

    found = [name.replace("Function", "") for name, rule in rules.items() if _matches(rule, event | {"detail": detail})]

    assert set(changed) <= set(event["detail"])
    assert found == ([woken] if woken else [])


def test_every_rule_on_the_default_bus_is_woken_by_a_documented_event(template: Any) -> None:
    rules = {
        name.replace("Function", "")
        for name, rule in resources(template, "AWS::Events::Rule").items()
        if "EventPattern" in rule and "EventBusName" not in rule
    }

    assert rules == {DATA, SPEC, DRIFT, STANDING, PACKAGE, ENDED}
