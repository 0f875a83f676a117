"""Promises about each state machine beside its linters and rules, which scripts/asl/check.py runs (practice.md A5, B5)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonata
import pytest

from tests.template.conftest import ROOT, load, machines, states, substitutions

MACHINES = [pytest.param(path, id=path.name.removesuffix(".asl.json")) for path in machines()]


@pytest.mark.parametrize("path", MACHINES)
def test_a_machine_is_jsonata_with_a_deadline_and_a_reason_at_every_state(path: Path) -> None:
    definition = load(path)

    assert definition["QueryLanguage"] == "JSONata"
    assert definition["TimeoutSeconds"] > 0
    assert definition["Comment"]
    assert [where for where, state in states(definition) if not state.get("Comment")] == []
    assert [where for where, state in states(definition) if "QueryLanguage" in state] == []


@pytest.mark.parametrize("path", MACHINES)
def test_retries_spread_out_and_permanent_errors_come_first(path: Path) -> None:
    for where, state in states(load(path)):
        for retrier in state.get("Retry", []):
            if retrier.get("MaxAttempts", 3) > 0:
                assert retrier.get("JitterStrategy") == "FULL" or "BusyError" in retrier["ErrorEquals"], where


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
def test_a_console_user_finds_an_example_input(path: Path) -> None:
    name = path.name.removesuffix(".asl.json")

    assert isinstance(json.loads((ROOT / "events" / f"{name}.json").read_text()), dict)


@pytest.mark.parametrize(
    ("results", "told", "cause"),
    [
        (["looked", "looked"], [], ""),
        (["looked", {"shards": 3}], [], ""),
        (
            [{"shards": 3}] * 203,
            ["3 large windows wait for their next hour"],
            "3 large windows wait for their next hour",
        ),
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
