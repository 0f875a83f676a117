"""Which rule each sample event wakes: every rule against every sample, the negative cases included (EB-02, EB-03, EB-06)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.template.conftest import ROOT, resources, template  # noqa: F401 - a fixture

STACK = {"AWS::AccountId": "123456789012", "AWS::StackName": "linnet", "DataBucket": "linnet-data", "Bus": "linnet"}


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


@pytest.fixture(scope="module")
def matches() -> Any:
    """Return the emulator's own matcher: it was measured right on 13 of 13 pattern kinds."""
    from ministack.services import eventbridge  # noqa: PLC0415 - reads its environment at import

    return eventbridge._matches_pattern


def samples() -> dict[str, dict[str, Any]]:
    """Return every sample under events/ that is an EventBridge event."""
    found = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "events").glob("*.json"))}
    return {name: event for name, event in found.items() if isinstance(event, dict) and "detail-type" in event}


EXPECTED = json.loads((Path(__file__).parent / "rules.json").read_text())


def test_every_sample_wakes_exactly_the_rules_that_the_matrix_names(template: Any, matches: Any) -> None:  # noqa: F811
    rules = resources(template, "AWS::Events::Rule")
    woken = {
        sample: sorted(
            name
            for name, rule in rules.items()
            if "EventPattern" in rule and matches(_fill(rule["EventPattern"]), event)
        )
        for sample, event in samples().items()
    }

    assert woken == EXPECTED
