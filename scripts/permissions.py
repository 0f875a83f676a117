"""What Linnet's roles may do, held against what they do: writes docs/permissions.md.

    python scripts/permissions.py

A grant is one action on one resource, allowed or denied to one role of the translated template. Tests hold every call of the
local stack against the grants (tests/workflow/test_permissions.py); what AWS asks for without a call that could be seen
stands in `NEEDED`, each with the AWS page that says so, and becomes the table of the page.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "permissions.md"
_AWS = "https://docs.aws.amazon.com/"
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "000000000000",
    "AWS::StackName": "linnet",
}
_SERVICES = {
    "AWS::S3::Bucket": "arn:aws:s3:::{0}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:000000000000:table/{0}",
    "AWS::KMS::Key": "arn:aws:kms:us-east-1:000000000000:key/{0}",
    "AWS::Lambda::Function": "arn:aws:lambda:us-east-1:000000000000:function:{0}",
    "AWS::IAM::Role": "arn:aws:iam::000000000000:role/{0}",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:000000000000:{0}",
}
"""Type -> the ARN of a resource of the local stack by the last part of its physical id."""


class Grant(NamedTuple):
    """One action on one resource for one role, as the template writes it: `${X}` and `${X.Arn}` stand for references."""

    role: str
    effect: str
    action: str
    resource: str
    condition: str


class Call(NamedTuple):
    """What a role was seen doing, and whether the emulator allowed it (local/permissions.py)."""

    role: str
    action: str
    resource: str
    keys: tuple[tuple[str, str], ...]
    allowed: bool


class Need(NamedTuple):
    """What a role must have besides what its calls show.

    `roles` matches logical ids. `when` names an action: a role that has it must have every action of `actions` on `resource`;
    in `resource`, `{same}` is the resource of that grant and `{execution}` the executions of that state machine. Without
    `when`, the roles have it for the reason that `why` gives, and nothing is asked of others.
    """

    roles: str
    actions: tuple[str, ...]
    resource: str
    why: str
    page: str
    when: str = ""


def _waits(job: str, rule: str) -> tuple[Need, Need]:
    """Return what `.sync` asks for: the job's state and its end, and the rule that tells Step Functions about it."""
    page, when = _AWS + "step-functions/latest/dg/sagemaker-iam.html", f"sagemaker:Create{job}"
    followed = (f"sagemaker:Describe{job}", f"sagemaker:Stop{job}", "sagemaker:ListTags")
    events = ("events:PutTargets", "events:PutRule", "events:DescribeRule")
    where = (
        "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/StepFunctionsGetEventsForSageMaker" + rule
    )
    return (
        Need("Machine", followed, "{same}", "A task that waits for its job (.sync) follows and stops it.", page, when),
        Need("Machine", events, where, "A task that waits for its job (.sync) is woken by this rule.", page, when),
    )


_KEY = ("kms:GenerateDataKey", "kms:Decrypt")
_EXECUTION_ROLE = _AWS + "sagemaker/latest/dg/sagemaker-roles.html"
_MAP = _AWS + "step-functions/latest/dg/iam-policies-eg-dist-map.html"
_NESTED = _AWS + "step-functions/latest/dg/stepfunctions-iam.html"
_SCALING = _AWS + "autoscaling/application/userguide/security_iam_id-based-policy-examples.html"
_ARN = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:"

NEEDED = (
    Need(
        "", ("kms:Decrypt",), "${DataKey.Arn}", "Objects of the bucket are encrypted with the key.",
        _AWS + "AmazonS3/latest/userguide/UsingKMSEncryption.html", "s3:GetObject",
    ),
    Need(
        "", _KEY, "${DataKey.Arn}", "Objects of the bucket are encrypted with the key; parts of a large one are put together.",
        _AWS + "AmazonS3/latest/userguide/mpuAndPermissions.html", "s3:PutObject",
    ),
    Need(
        "", _KEY, "${DataKey.Arn}", "Messages of the topics are encrypted with the key.",
        _AWS + "sns/latest/dg/sns-key-management.html", "sns:Publish",
    ),
    Need(
        "", _KEY, "${DataKey.Arn}", "Messages of the queue are encrypted with the key.",
        _AWS + "AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html", "sqs:SendMessage",
    ),
    Need(
        "", ("kms:CreateGrant",), "${DataKey.Arn}", "An endpoint whose volumes are encrypted with the key.",
        _AWS + "sagemaker/latest/dg/api-permissions-reference.html", "sagemaker:CreateEndpoint",
    ),
    Need(
        "", ("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
        _ARN % "sagemaker" + "endpoint/${AWS::StackName}-*",
        "Who registers a variant for scaling must be allowed to scale it.", _SCALING,
        "application-autoscaling:RegisterScalableTarget",
    ),
    Need(
        "", ("cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"),
        _ARN % "cloudwatch" + "alarm:TargetTracking-endpoint/${AWS::StackName}-*",
        "Who puts a scaling policy must be allowed to keep its alarms.", _SCALING,
        "application-autoscaling:PutScalingPolicy",
    ),
    *_waits("TrainingJob", "TrainingJobsRule"),
    *_waits("ProcessingJob", "ProcessingJobsRule"),
    *_waits("TransformJob", "TransformJobsRule"),
    *_waits("HyperParameterTuningJob", "TuningJobsRule"),
    Need(
        "(Release|Rollback)Machine", ("states:DescribeExecution", "states:StopExecution"), "{execution}",
        "A task that waits for a child (.sync) follows and stops it.", _NESTED, "states:StartExecution",
    ),
    Need(
        "(Release|Rollback)Machine", ("events:PutTargets", "events:PutRule", "events:DescribeRule"),
        _ARN % "events" + "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
        "A task that waits for a child (.sync) is woken by this rule.", _NESTED, "states:StartExecution",
    ),
    Need(
        "MonitorMachine", ("states:DescribeExecution", "states:StopExecution"), "{execution}",
        "A Distributed Map follows and stops its children.", _MAP, "states:StartExecution",
    ),
    Need(
        "MonitorMachine", ("states:RedriveExecution",), _ARN % "states" + "execution:${AWS::StackName}-monitor/*",
        "A Distributed Map can be redriven.", _MAP,
    ),
    Need(
        "FunctionRole", ("sqs:SendMessage",), "${DeadLetters.Arn}",
        "What a function could not handle goes to its failure destination with the function's own role.",
        _AWS + "lambda/latest/dg/invocation-async-retain-records.html",
    ),
    Need(
        "MonitorTickRole", ("sqs:SendMessage",), "${DeadLetters.Arn}",
        "What the schedule could not start goes to its dead-letter queue with the schedule's role.",
        _AWS + "scheduler/latest/UserGuide/configuring-schedule-dlq.html",
    ),
)  # fmt: skip
"""In the page's table. What the local stack shows is held against the grants without any of it."""

WITHOUT_RESOURCE = {
    "application-autoscaling:DescribeScalableTargets": "",
    "application-autoscaling:DescribeScalingPolicies": "",
    "cloudwatch:GetMetricData": "",
    "cloudwatch:PutMetricData": "a condition limits it to Linnet's namespaces",
    "ecr:GetAuthorizationToken": "",
    "states:SendTaskSuccess": "a token is no resource; only functions that take or hand on a person's word have it",
}
"""The calls that a policy cannot limit to a resource, each with what limits it instead."""


@cache
def translated() -> dict[str, Any]:
    """Return template.yaml after the SAM transform."""
    written = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in written["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if name in properties:
                properties[name] = "s3://bucket/key"
        if "DefinitionUri" in properties:
            properties["DefinitionUri"] = {"Bucket": "bucket", "Key": properties["DefinitionUri"]}
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transform asks for the partition of a region
    return dict(transform(written, {}, _ManagedPolicies()))


class _ManagedPolicies:
    def load(self) -> dict[str, str]:
        """Return the managed policies that SAM gives a role by name."""
        service = {"AWSLambdaBasicExecutionRole": "service-role/AWSLambdaBasicExecutionRole"}
        names = ("AWSXrayWriteOnlyAccess", "AWSXRayDaemonWriteAccess", "AWSLambdaBasicExecutionRole")
        return {name: f"arn:aws:iam::aws:policy/{service.get(name, name)}" for name in names}


def grants(template: Mapping[str, Any]) -> list[Grant]:
    """Return every grant of the template's roles."""
    return [
        Grant(role, statement["Effect"], action, _text(resource), json.dumps(_plain(statement.get("Condition", {}))))
        for role, one in template["Resources"].items()
        if one["Type"] == "AWS::IAM::Role"
        for policy in one["Properties"].get("Policies", [])
        for statement in _listed(policy["PolicyDocument"]["Statement"])
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(condition: Any) -> Any:
    """Return a condition with texts for references."""
    if isinstance(condition, list):
        return [_plain(one) for one in condition]
    if isinstance(condition, dict):
        references = condition.keys() & {"Ref", "Fn::GetAtt", "Fn::Sub"}
        return _text(condition) if references else {key: _plain(one) for key, one in condition.items()}
    return condition


def _text(value: Any) -> str:
    """Return a resource as text. Raises ValueError for a function of CloudFormation that roles have no use for."""
    if isinstance(value, str):
        return value
    (function, of), *more = value.items()
    if not more and function == "Ref":
        return f"${{{of}}}"
    if not more and function == "Fn::GetAtt":
        return f"${{{'.'.join(_listed(of))}}}"
    if not more and function == "Fn::Sub" and isinstance(of, str):
        return of
    raise ValueError(f"{value!r} is no Ref, Fn::GetAtt or plain Fn::Sub")


def resolved(text: str, template: Mapping[str, Any], ids: Mapping[str, str]) -> str:
    """Return a text of the template with the names of a deployed local stack; `ids` are its logical -> physical ids."""

    def value(match: re.Match[str]) -> str:
        name, attribute = match[1], match[2]
        if name in _PSEUDO or not attribute:
            return _PSEUDO.get(name) or ids.get(name) or match[0]
        return _SERVICES[template["Resources"][name]["Type"]].format(ids[name].rpartition("/")[2])

    return re.sub(r"\$\{([\w:]+)(?:\.(\w+))?\}", value, text)


def calls(folder: Path, ids: Mapping[str, str]) -> set[Call]:
    """Return the calls that a local stack wrote down in its folder, with the roles' logical ids."""
    logical = {physical: name for name, physical in ids.items()}
    lines = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    return {
        Call(**one | {"role": logical.get(one["role"], one["role"]), "keys": tuple(sorted(one["keys"].items()))})
        for one in lines
    }


def exercised(
    template: Mapping[str, Any], seen: Iterable[Call], ids: Mapping[str, str]
) -> tuple[list[Call], set[Grant]]:
    """Return the calls that no grant allows or that one denies, and the grants that allowed or denied one.

    The emulator's evaluator compares actions, resources and conditions; that a denial is stronger is said here.
    """
    from ministack.core import iam_evaluator as iam  # noqa: PLC0415 - only who has the stack's requirements judges calls

    known: dict[tuple[str, str], list[tuple[Grant, Any]]] = {}
    for grant in grants(template):
        statement = {"Effect": "Allow", "Action": grant.action, "Resource": resolved(grant.resource, template, ids)}
        condition = resolved(grant.condition, template, {"MetricsPrefix": "aws/sagemaker", **ids})
        parsed = iam.parse_policy_document({"Statement": statement | {"Condition": json.loads(condition)}})
        known.setdefault((grant.role, grant.action), []).append((grant, parsed))
    refused, used = [], set()
    for call in seen:
        context = iam.EvalContext(
            call.role, "AssumedRole", _PSEUDO["AWS::AccountId"], call.action, call.resource, _PSEUDO["AWS::Region"],
            service_context={key.lower(): value for key, value in call.keys},
        )  # fmt: skip
        found = known.get((call.role, call.action), [])
        fitting = [grant for grant, parsed in found if iam.evaluate(context, [parsed]).decision == "Allow"]
        used |= set(fitting)
        if {grant.effect for grant in fitting} != {"Allow"}:
            refused.append(call)
    return refused, used


def required(found: Iterable[Grant]) -> Iterator[tuple[Need, Grant]]:
    """Give what `NEEDED` asks of the roles that have these grants, as grants."""
    for grant in found:
        for need in NEEDED:
            if grant.effect == "Allow" and grant.action == need.when and re.search(need.roles, grant.role):
                executions = grant.resource.replace(":stateMachine:", ":execution:") + ":*"
                where = need.resource.replace("{same}", grant.resource).replace("{execution}", executions)
                yield from ((need, Grant(grant.role, "Allow", action, where, "{}")) for action in need.actions)


def explained(found: Iterable[Grant]) -> dict[Grant, list[Need]]:
    """Return the grants that `NEEDED` gives a reason for, with their reasons."""
    found = list(found)
    reasons: dict[Grant, list[Need]] = {}
    for need, asked in required(found):
        for grant in found:
            if grant[:4] == asked[:4] and need not in reasons.get(grant, []):
                reasons.setdefault(grant, []).append(need)
    for grant in found:
        for need in NEEDED:
            said = not need.when and grant.action in need.actions and need.resource in grant.resource
            if said and re.search(need.roles, grant.role):
                reasons.setdefault(grant, []).append(need)
    return reasons


def page(template: Mapping[str, Any]) -> str:
    """Return docs/permissions.md."""
    found = grants(template)
    rows: dict[tuple[Need, str], tuple[set[str], set[str]]] = {}
    for grant, needs in explained(found).items():
        for need in needs:
            actions, roles = rows.setdefault((need, grant.resource), (set(), set()))
            actions.add(grant.action)
            roles.add(grant.role)
    stars = {
        action: sorted({g.role for g in found if g.action == action and g.resource == "*"})
        for action in WITHOUT_RESOURCE
    }
    lines = [
        _INTRODUCTION,
        "| role | action | resource | why | AWS says so |",
        "|---|---|---|---|---|",
        *sorted(
            f"| {_roles(roles)} | {'<br>'.join(sorted(actions))} | `{resource}` | {need.why} | <{need.page}> |"
            for (need, resource), (actions, roles) in rows.items()
        ),
        _STARS,
        "| action | roles | limited by |",
        "|---|---|---|",
        *(f"| {action} | {_roles(stars[action])} | {why or '-'} |" for action, why in sorted(WITHOUT_RESOURCE.items())),
    ]
    return "\n".join(lines) + "\n"


def _roles(roles: Iterable[str]) -> str:
    names = sorted(re.sub(r"(?:Function)?Role$", "", role) for role in roles)
    return ", ".join(names) if len(names) <= 8 else f"{len(names)} roles"  # noqa: PLR2004 - what a table's cell can show


_INTRODUCTION = """# Permissions

Written by `python scripts/permissions.py` from template.yaml; a test fails when it is not what that command writes.

Every function and every state machine has a role of its own. The end-to-end and workflow tests run with the emulator's
evaluation of IAM switched on: a call that a role does not allow fails there as it does on AWS. All calls are written down
and held against the policies of the translated template, those of state machines too; a grant that no call used fails the
test, unless it stands in this table. No action has a wildcard; `iam:PassRole` is for one role and one service.

SAM itself adds two AWS managed policies to roles: AWSLambdaBasicExecutionRole (write logs) and AWSXrayWriteOnlyAccess.

## Allowed, and not seen in any test
"""
_STARS = """
## Actions on `*`

What no policy can limit to a resource, says the Service Authorization Reference
(<https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>),
as cfn-lint carries it; a test compares.
"""


if __name__ == "__main__":
    PAGE.write_text(page(translated()))
    print(f"wrote {PAGE.relative_to(ROOT)}")
