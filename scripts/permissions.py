"""What Linnet's roles may do, held against what they do: writes docs/permissions.md.

    PYTHONPATH=. python -m scripts.permissions

A grant is one action on one resource, allowed or denied to one role of the translated template. Tests hold every call of the
local stack against the grants (tests/workflow/test_permissions.py); what AWS asks for without a call that could be seen
stands in `NEEDED` (scripts/needed.py), each with the AWS page that says so, and becomes the table of the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scripts.needed import NEEDED, Need
from scripts.translate import translated

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "permissions.md"
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


WITHOUT_RESOURCE = {
    "application-autoscaling:DescribeScalableTargets": "",
    "application-autoscaling:DescribeScalingPolicies": "",
    "cloudwatch:GetMetricData": "",
    "cloudwatch:PutMetricData": "a condition limits it to Linnet's namespaces",
    "ecr:GetAuthorizationToken": "",
    "states:SendTaskSuccess": "a token is no resource; only functions that take or hand on a person's word have it",
}
"""The calls that a policy cannot limit to a resource, each with what limits it instead."""


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

Written by `make permissions` from template.yaml; a test fails when it is not what that command writes.

Every function and every state machine has a role of its own. The end-to-end and workflow tests run with the emulator's
evaluation of IAM switched on: a call that a role does not allow fails there as it does on AWS. All calls are written down
and held against the policies of the translated template, those of state machines too; a grant that no call used fails the
test, unless it stands in this table. No action has a wildcard; `iam:PassRole` is for one role and one service. What the
reasons are is written in scripts/needed.py: those that follow from another grant are asked of every role that has it; for
roads of Linnet's own that only the contract tests play, the page is the one that names the action of the call.

SAM itself adds two AWS managed policies to roles: AWSLambdaBasicExecutionRole (write logs) and AWSXrayWriteOnlyAccess.

## Allowed without a call that the tests are sure to make
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
