"""The project's own cfn-lint rules (scripts/rules): a template that breaks one is told so."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.rules import CloudFormationLintRule, RulesCollection
from cfnlint.template import Template

from tests.template.conftest import ROOT

ALARM, RULE, FUNCTION = "DeadLettersAlarm", "OnSpecFunctionSpec", "OnSpecFunction"


@pytest.fixture(scope="module")
def rules() -> dict[str, CloudFormationLintRule]:
    found = RulesCollection()
    found.create_from_directory(str(ROOT / "scripts" / "rules"))
    return {rule.id: rule for rule in found.rules.values()}


def _told(rule: CloudFormationLintRule, template: dict[str, Any]) -> list[str]:
    return [match.message for match in rule.match(Template(None, template, ["us-east-1"]))]


# What is broken, below Resources, what it is set to (None: taken away), and what must be said of it.
BROKEN: list[tuple[str, str, Any, str]] = [
    ("E9001", "Logs/Properties/RetentionInDays", None, "Logs: no RetentionInDays"),
    ("E9001", f"{FUNCTION}/Properties/LoggingConfig", None, f"{FUNCTION}: LoggingConfig.LogGroup"),
    ("E9001", f"{FUNCTION}/Properties/LoggingConfig/LogGroup", "/aws/lambda/x", f"{FUNCTION}: LoggingConfig.LogGroup"),
    ("E9002", f"{RULE}/Properties/Targets/0/DeadLetterConfig", None, f"{RULE}: the target has no DeadLetterConfig"),
    ("E9002", f"{RULE}/Properties/Targets/0/RetryPolicy", None, f"{RULE}: the target has no RetryPolicy"),
    ("E9002", "MonitorMachineTick/Properties/Target/DeadLetterConfig", None, "MonitorMachineTick: the target has no"),
    ("E9002", f"{FUNCTION}EventInvokeConfig", None, f"{FUNCTION}: no EventInvokeConfig"),
    (
        "E9002",
        f"{FUNCTION}EventInvokeConfig/Properties/DestinationConfig/OnFailure",
        None,
        f"{FUNCTION}: no EventInvoke",
    ),
    ("E9003", f"{RULE}/Properties/Targets", [{}, {}], f"{RULE}: 2 targets; allowed: 1"),
    ("E9003", f"{RULE}/Properties/Targets", [], f"{RULE}: 0 targets; allowed: 1"),
    ("E9005", f"{ALARM}/Properties/TreatMissingData", None, f"{ALARM}: no TreatMissingData"),
    ("E9005", f"{ALARM}/Properties/AlarmDescription", "", f"{ALARM}: no AlarmDescription"),
    ("E9005", f"{ALARM}/Properties/AlarmActions", [], f"{ALARM}: no AlarmActions"),
    ("E9007", f"{ALARM}/Properties/MetricName", "NumberOfMessagesSent", "DeadLetters: no alarm on its depth"),
    ("E9007", f"{ALARM}/Properties/Dimensions/0/Value", "another", "DeadLetters: no alarm on its depth"),
    ("E9008", "Topic/Properties/KmsMasterKeyId", "alias/aws/sns", "Topic: KmsMasterKeyId names no key"),
    ("E9008", "DeadLetters/Properties/KmsMasterKeyId", None, "DeadLetters: KmsMasterKeyId names no key"),
    ("E9008", "Logs/Properties/KmsKeyId", None, "Logs: KmsKeyId names no key"),
    (
        "E9008",
        "Ledger/Properties/SSESpecification",
        {"SSEEnabled": True},
        "Ledger: SSESpecification.KMSMasterKeyId names",
    ),
    ("E9008", "DataBucket/Properties/BucketEncryption", None, "DataBucket: BucketEncryption."),
    ("E9009", "Ledger/Properties/PointInTimeRecoverySpecification", None, "Ledger: no PointInTimeRecoveryEnabled"),
    ("E9009", "Ledger/Properties/DeletionProtectionEnabled", False, "Ledger: no DeletionProtectionEnabled"),
    ("E9009", "Ledger/DeletionPolicy", "Delete", "Ledger: no DeletionPolicy: Retain"),
]


@pytest.mark.parametrize(("rule", "path", "to", "said"), BROKEN)
def test_a_template_that_breaks_a_rule_is_told_so(
    template: dict[str, Any], rules: dict[str, CloudFormationLintRule], rule: str, path: str, to: Any, said: str
) -> None:
    broken = copy.deepcopy(template)
    *way, last = path.split("/")
    inner: Any = broken["Resources"]
    for key in way:
        inner = inner[int(key) if key.isdigit() else key]
    if to is None:
        del inner[last]
    else:
        inner[last] = to

    assert _told(rules[rule], template) == []
    (told,) = _told(rules[rule], broken)
    assert told.startswith(said)


@pytest.mark.parametrize("kind", ["S3", "SQS", "CloudWatchEvent", "Api"])
def test_an_event_that_does_not_come_through_eventbridge_is_told(
    source: dict[str, Any], rules: dict[str, CloudFormationLintRule], kind: str
) -> None:
    broken = copy.deepcopy(source)
    broken["Resources"]["MonitorMachine"]["Properties"]["Events"]["Tick"]["Type"] = kind

    assert _told(rules["E9004"], source) == []
    assert _told(rules["E9004"], broken) == [
        f"MonitorMachine: event Tick is {kind}; allowed: EventBridgeRule, Schedule, ScheduleV2"
    ]


@pytest.mark.parametrize(
    ("looks", "raised_by_one"),
    [
        ({"EvaluationPeriods": 1}, True),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 1}, True),
        ({"EvaluationPeriods": 2}, False),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, False),
    ],
)
def test_an_alarm_that_one_datapoint_raises_is_told(
    template: dict[str, Any], rules: dict[str, CloudFormationLintRule], looks: dict[str, int], raised_by_one: bool
) -> None:
    changed = copy.deepcopy(template)
    changed["Resources"] = {ALARM: changed["Resources"][ALARM]}
    changed["Resources"][ALARM]["Properties"] |= looks

    assert bool(_told(rules["E9006"], changed)) is raised_by_one


def test_every_rule_is_broken_by_a_test_and_names_its_source(rules: dict[str, CloudFormationLintRule]) -> None:
    assert set(rules) == {case[0] for case in BROKEN} | {"E9004", "E9006"}
    assert [rule.id for rule in rules.values() if not rule.source_url.startswith("https://docs.aws.amazon.com/")] == []


def test_cfn_lint_runs_the_rules_on_a_file(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"Resources": {"Logs": {"Type": "AWS::Logs::LogGroup", "DeletionPolicy": "Delete"}}}))
    done = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", wrong, "--append-rules", ROOT / "scripts" / "rules"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert {"E9001 Logs: no RetentionInDays", "E9008 Logs: KmsKeyId names no key of this template"} <= set(
        done.stdout.splitlines()
    )
