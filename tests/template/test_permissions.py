"""Least privilege, as the template alone shows it; what the roles do is held against it by tests/workflow and tests/e2e."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib import resources as files
from typing import Any

import pytest

from scripts import permissions
from scripts.needed import NEEDED
from scripts.permissions import WITHOUT_RESOURCE

# The reference names a resource type that no call of ours has: an OpenTelemetry dataset.
OTHER_KINDS = {"cloudwatch:GetMetricData", "cloudwatch:PutMetricData"}


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """The Service Authorization Reference, as cfn-lint carries it: service -> its actions and its resources' ARNs."""
    return dict(json.loads(files.files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text()))


def _arns(reference: dict[str, Any], action: str) -> list[str]:
    """Return the patterns of the ARNs that an action can be limited to; KeyError for an action that AWS does not have."""
    service, _, name = action.partition(":")
    known = {kind.lower(): one for kind, one in reference[service]["Resources"].items()}
    kinds = reference[service]["Actions"][name.lower()].get("Resources", [])
    return [re.sub(r"\$\{\w+\}", ".*", arn) for kind in kinds for arn in known[kind.lower()]["ARNFormats"]]


def test_se_01_every_grant_names_an_action_of_aws_on_a_resource_that_it_can_be_limited_to(
    template: dict[str, Any], reference: dict[str, Any]
) -> None:
    ids = {name: name for name in template["Resources"]} | {"Topic": "arn:aws:sns:us-east-1:1:t"}
    ids |= {"ComplianceTopic": "arn:aws:sns:us-east-1:1:c"}
    ids |= {name: f"arn:aws:states:us-east-1:1:stateMachine:{name}" for name in ids if name.endswith("Machine")}
    wrong = [
        grant
        for grant in permissions.grants(template)
        if grant.resource != "*"
        and not any(
            re.fullmatch(arn, permissions.resolved(grant.resource, template, ids))
            for arn in _arns(reference, grant.action)
        )
    ]

    assert wrong == []


def test_se_01_a_grant_is_on_everything_only_where_aws_knows_no_resource(
    template: dict[str, Any], reference: dict[str, Any]
) -> None:
    wild = {grant.action for grant in permissions.grants(template) if grant.resource == "*"}

    assert wild == set(WITHOUT_RESOURCE)
    assert {action for action in wild if _arns(reference, action)} == OTHER_KINDS


def test_se_01_no_action_is_a_pattern(template: dict[str, Any]) -> None:
    assert [grant for grant in permissions.grants(template) if re.search(r"[*?]", grant.action)] == []


def test_no_grant_is_written_twice(template: dict[str, Any]) -> None:
    twice = {grant for grant, times in Counter(permissions.grants(template)).items() if times > 1}

    assert {grant.action for grant in twice} == {"sqs:SendMessage"}  # SAM adds it for a failure destination


def test_what_aws_asks_for_beside_a_call_is_granted_with_the_call(template: dict[str, Any]) -> None:
    found = permissions.grants(template)
    held = {grant[:4] for grant in found if grant.effect == "Allow"}

    assert [(grant[:4], need.page) for need, grant in permissions.required(found) if grant[:4] not in held] == []


def test_every_reason_explains_a_grant_and_cites_a_page_of_aws(template: dict[str, Any]) -> None:
    used = {need for needs in permissions.explained(permissions.grants(template)).values() for need in needs}

    assert [need for need in NEEDED if need not in used] == []
    assert [need for need in NEEDED if not need.page.startswith("https://docs.aws.amazon.com/")] == []


def test_the_page_is_what_the_command_writes_from_the_template(template: dict[str, Any]) -> None:
    assert permissions.PAGE.read_text() == permissions.page(template), "make permissions writes it"
