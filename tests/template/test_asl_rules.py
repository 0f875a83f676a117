"""The project's own rules for state machines (scripts/asl): each is broken once and must say so; nothing is excused in vain."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linnet.events.spec_rollout import Rollout
from linnet.gateways import findings
from scripts.asl.check import KNOWN, filled, main, statelint, validator
from scripts.asl.history import HISTORY, UnboundedError, worst
from scripts.asl.rules import check
from tests.template.conftest import load, machines

Change = Callable[[dict[str, Any]], None]
LOOP = "intake"


@pytest.fixture(scope="module")
def definitions() -> dict[str, dict[str, Any]]:
    return {path.name.removesuffix(".asl.json"): load(path) for path in machines()}


def _set(*keys: Any, to: Any) -> Change:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to

    return change


def _drop(*keys: Any) -> Change:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return change


def test_every_machine_keeps_every_rule(definitions: dict[str, dict[str, Any]]) -> None:
    assert len(definitions) == 8
    assert [one for name, definition in definitions.items() for one in check(name, definition, KNOWN)] == []


def _doing(job: str, scope: dict[str, Any]) -> str:
    return next(n for n, state in scope["States"].items() if str(state.get("Resource")).endswith(f"{job}.sync"))


RETRAIN = load(next(path for path in machines() if path.name == "retrain.asl.json"))
TRAIN = _doing("createTrainingJob", RETRAIN)
ANSWERS = "Let both answer the held-out rows"
ANSWER = _doing("createTransformJob", RETRAIN["States"][ANSWERS]["ItemProcessor"])
IN_RETRAIN: list[tuple[str, Change, str]] = [
    ("no machine timeout", _drop("TimeoutSeconds"), "retrain: the machine has no TimeoutSeconds"),
    ("no timeout", _drop("States", TRAIN, "TimeoutSeconds"), f"retrain/{TRAIN}: TimeoutSeconds is None"),
    ("a timeout past the machine's", _set("States", TRAIN, "TimeoutSeconds", to=7776001), f"retrain/{TRAIN}: TimeoutSeconds"),
    ("a silent token", _drop("States", "Ask a person", "Catch", 0), "neither HeartbeatSeconds nor a Catch of States.Timeout"),
    ("a token for nobody", _drop("States", "Ask a person", "Arguments", "Payload", "token"), "gives to nobody"),
    ("a job's heartbeat", _set("States", TRAIN, "HeartbeatSeconds", to=60), "nobody can send the heartbeat"),
    ("no default", _drop("States", "Who decides?", "Default"), "retrain/Who decides?: a Choice without Default"),
    ("no catch", _drop("States", "Prepare the data", "Catch"), "retrain/Prepare the data: no Catch of States.ALL"),
    (
        "a failure that keeps the slot", _set("States", "Prepare the data", "Catch", 0, "Next", to="The run failed"),
        "retrain/Prepare the data: its failure can end by 'The run failed'",
    ),
    (
        "a failure that may keep the slot", _set("States", "Was it only too fast?", "Default", to="The run failed"),
        f"retrain/{TRAIN}: its failure can end by 'Was it only too fast?'",
    ),
    ("a closing state that tries once", _drop("States", "Close the failed run", "Retry"), "Close the failed run: no Catch"),
    (
        "an unknown error", _set("States", TRAIN, "Retry", 0, "ErrorEquals", 0, to="SageMaker.ResourceLimitExceded"),
        f"retrain/{TRAIN}: SageMaker.ResourceLimitExceded is raised by nothing",
    ),
    (
        "an error that left the code", _set("States", "Prepare the data", "Retry", 0, "ErrorEquals", 0, to="BadInput"),
        "retrain/Prepare the data: BadInput is raised by nothing",
    ),
    (
        "a variable of one road only", _drop("States", "Remember who asked", "Assign", "ended"),
        "retrain/The run failed: $ended is not assigned on every road",
    ),
    (
        "a variable used by a nested state", _drop("States", ANSWERS, "ItemProcessor", "States",
        "Take the request", "Assign", "tries"), f"/{ANSWER}: $tries is not assigned",
    ),
    (
        "a variable of a nested state used outside", _set("States", "Judge the candidate", "Arguments", "Payload", "spec",
        to="{% $request %}"), "retrain/Judge the candidate: $request is not assigned",
    ),
    (
        "an idle variable", _set("States", "Remember who asked", "Assign", "spare", to=1), "$spare is assigned and never read",
    ),
    (
        "a loop without a counter", _set("States", "Was it only too fast?", "Choices", 0, "Condition", to="{% true %}"),
        "retrain: nothing bounds the loop through",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in IN_RETRAIN], ids=[case[0] for case in IN_RETRAIN])
def test_a_machine_that_breaks_a_rule_is_told_so(
    definitions: dict[str, dict[str, Any]], change: Change, said: str
) -> None:
    broken = copy.deepcopy(definitions["retrain"])
    change(broken)
    told = check("retrain", broken, KNOWN)

    assert [one for one in told if said in one], told


def test_a_variable_need_not_reach_the_child_of_a_distributed_map(definitions: dict[str, dict[str, Any]]) -> None:
    """On AWS it is an execution of its own; the emulator lets it see its parent's variables."""
    broken = copy.deepcopy(definitions["monitor"])
    inner = broken["States"]["Look at each window"]["ItemProcessor"]["States"]["Compare with the baseline"]
    inner["Arguments"]["Payload"] = "{% $correlation %}"

    assert check("monitor", broken, KNOWN) == [
        "monitor/Look at each window/Compare with the baseline: $correlation is not assigned on every road to here"
    ]


def test_a_heartbeat_must_come_before_the_timeout(definitions: dict[str, dict[str, Any]]) -> None:
    broken = copy.deepcopy(definitions["offboard"])
    broken["States"]["Ask a person"]["HeartbeatSeconds"] = 259200

    assert [one for one in check("offboard", broken, KNOWN) if "HeartbeatSeconds 259200 is not below" in one]


def _loop(condition: str, default: str = "End", step: str = "{% $n + 1 %}", *, attempts: int = 0) -> dict[str, Any]:
    """Return a machine that goes round `Work` and `Again?`."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Assign": {"n": step}, "Next": "Again?"}
    retry = [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": attempts}]
    turn = {"Type": "Choice", "Choices": [{"Condition": condition, "Next": "Work" if default == "End" else "End"}]}
    return {
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Assign": {"n": 0}, "Next": "Work"},
            "Work": task | {"Retry": retry},
            "Again?": turn | {"Default": default},
            "End": {"Type": "Succeed"},
        },
    }


@pytest.mark.parametrize(
    ("machine", "turns"),
    [
        (_loop("{% $n < 10 %}"), 11),
        (_loop("{% $n <= 10 %}"), 12),
        (_loop("{% $more and ($n < 10) %}"), 11),
        (_loop("{% $done or $n > 10 %}", "Work"), 12),
        (_loop("{% $n >= 10 %}", "Work"), 11),
    ],
)
def test_the_history_of_a_loop_is_counted_by_its_counter(machine: dict[str, Any], turns: int) -> None:
    """Begin 2, End 2, the execution 2; a turn is a task of 5 and a choice of 2. One turn more is allowed for the first pass."""
    assert worst(machine, "m") == 2 + 2 + 2 + turns * 7


def test_every_attempt_at_every_visit_is_counted() -> None:
    assert worst(_loop("{% $n < 10 %}", attempts=4), "m") == 6 + 11 * (7 + 4 * 3)


@pytest.mark.parametrize(
    "machine",
    [
        _loop("{% $n < 10 or $more %}"),
        _loop("{% $done and $n > 10 %}", "Work"),
        _loop("{% $n < 10 %}", step="{% $n + 0 %}"),
        _loop("{% $n < 10 %}", step="{% 0 %}"),
        _loop("{% $n < $limit %}"),
        _loop("{% true %}"),
    ],
)
def test_a_loop_that_its_counter_does_not_hold_is_unbounded(machine: dict[str, Any]) -> None:
    with pytest.raises(UnboundedError, match="m: nothing bounds the loop through Again\\?, Work"):
        worst(machine, "m")


def test_a_loop_whose_counter_begins_again_inside_is_unbounded() -> None:
    machine = _loop("{% $n < 10 %}")
    machine["States"]["Work"]["Next"] = "Forget"
    machine["States"]["Forget"] = {"Type": "Pass", "Assign": {"n": 0}, "Next": "Again?"}

    with pytest.raises(UnboundedError, match="Forget"):
        worst(machine, "m")


def test_a_history_that_may_reach_the_limit_is_told(definitions: dict[str, dict[str, Any]]) -> None:
    """It was so: 1,000 looks of `watch` and 2,001 of `intake` that tried everything again were 35,041 and 48,054 events."""
    longer = copy.deepcopy(definitions["watch"])
    (again,) = longer["States"]["Is there something to do?"]["Choices"]
    again["Condition"] = again["Condition"].replace("700", "1000")

    assert check("watch", longer, KNOWN) == [f"watch: its history can have 35,041 events; allowed: below {HISTORY:,}"]


def test_no_excuse_bound_or_proof_is_idle(definitions: dict[str, dict[str, Any]]) -> None:
    def found(name: str, **less: Any) -> list[str]:
        return check(name, definitions[name], replace(KNOWN, **less))

    for path in KNOWN.excused:
        others = {key: why for key, why in KNOWN.excused.items() if key != path}
        assert found(path.partition("/")[0], excused=others), path
    for road in KNOWN.bounds:
        assert found(road[0], bounds={key: most for key, most in KNOWN.bounds.items() if key != road}), road
    for road in KNOWN.proven:
        assert found(road[0], proven={key: names for key, names in KNOWN.proven.items() if key != road}), road


def test_a_declared_bound_is_the_one_that_the_code_keeps(definitions: dict[str, dict[str, Any]]) -> None:
    watch = definitions["watch"]["States"]
    looks = int(re.findall(r"\$looks < (\d+)", watch["Is there something to do?"]["Choices"][0]["Condition"])[0])
    slowest = looks * watch["Wait a moment"]["Seconds"]
    large = definitions["monitor"]["States"]["Look at each window"]["Assign"]["large"]
    (steps,) = [most.max_length for most in Rollout.model_fields["ladder"].metadata if hasattr(most, "max_length")]

    assert KNOWN.bounds["release", "What comes next?", "Watch the release"] == (
        definitions["release"]["TimeoutSeconds"] // slowest
    )
    assert KNOWN.bounds["rollback", "Does the old config serve?", "Watch the endpoint"] == (
        definitions["rollback"]["TimeoutSeconds"] // slowest
    )
    assert KNOWN.bounds["monitor", "Explain each sample", ""] == findings.MOST_JOBS
    assert [KNOWN.bounds["monitor", "Look at each large window", ""] - 1] == [
        int(n) for n in re.findall(r"\.\.(\d+)", large)
    ]
    assert KNOWN.bounds["release", "What comes next?", "Shift the traffic"] == steps * 4


def test_each_linter_finds_what_the_others_do_not(tmp_path: Path) -> None:
    text = filled((next(path for path in machines() if path.name == "intake.asl.json")).read_text())
    (wrong := tmp_path / "wrong.asl.json").write_text(text.replace("$looks > 1000", "$looks > > 1000"))
    found = validator([wrong])

    assert statelint(text, tmp_path / "good.json") == ""
    assert "Wait for silence" in statelint(
        text.replace('"Next": "Wait for quiet"', '"Next": "Wait for silence"'), wrong
    )
    assert found is None or "JSONATA" in found.upper()


def test_the_command_counts_the_machines_and_fails_when_one_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.asl.check.validator", lambda _: "")  # it is run by scripts/lint, and takes seconds
    assert main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "count: 8 machines"

    monkeypatch.setattr("scripts.asl.check.KNOWN", replace(KNOWN, errors=frozenset()))
    assert main() == 1
    assert "BadInputError is raised by nothing" in capsys.readouterr().err
