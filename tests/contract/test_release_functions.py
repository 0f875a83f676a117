"""Every sample of the decision and release functions goes through its real handler, as Lambda calls it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from linnet.errors import BadInputError, BusyError, ConflictError
from linnet.gateways import ledger, registry
from tests.model.aws import MODEL
from tests.model.world import World
from tests.template.conftest import ROOT

OWNER = "arn:aws:states:us-east-1:123456789012:execution:linnet-release:flights-v1-0a1b2c3d4e5f"


@pytest.fixture
def world() -> Iterator[World]:
    with World().open() as opened:
        opened.onboard()
        opened.states.running.add(OWNER)
        yield opened


def handler(name: str) -> Callable[[dict[str, Any]], Any]:
    """Return a function's handler as deployed."""
    path = ROOT / "functions" / name / "app.py"
    spec = importlib.util.spec_from_file_location(f"app_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda event: module.handler(event, SimpleNamespace(function_name=name))


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """Return a sample; its account is the one that the test's registry lives in."""
    text = (ROOT / "events" / f"{name}.json").read_text()
    here = text.replace("arn:aws:sagemaker:us-east-1:123456789012", "arn:aws:sagemaker:us-east-1:000000000000")
    found: dict[str, Any] = json.loads(here)
    return found | changes


def call(name: str, case: str = "", **changes: Any) -> Any:
    return handler(name)(sample(name + (f".{case}" if case else ""), **changes))


def answers(found: Any) -> Any:
    """What a Lambda returns must be JSON."""
    return json.loads(json.dumps(found))


def test_a_question_a_word_and_its_record(world: World) -> None:
    world.register()
    world.states.tokens["AQCEAAAAKgAAAAMAAAAA-a-task-token"] = "waiting"

    asked = answers(call("request_decision"))
    said = answers(call("decide_candidate", decision_id=asked["decision_id"]))
    applied = answers(call("apply_decision"))

    assert (asked["state"], said["state"], applied) == (
        "OPEN",
        "APPROVED",
        {"approval_status": "Approved", "version": 1},
    )
    assert said["decided_by"] == "ada@example.org"


def test_a_person_who_errs_sees_an_error_and_an_event_that_errs_is_quarantined_f6(world: World) -> None:
    with pytest.raises(BadInputError, match="decision_id"):
        call("decide_candidate")

    assert call("decide_candidate", "wrong_word")["quarantined"].startswith("s3://linnet-data/quarantine/")
    assert world.messages[-1]["kind"] == "quarantined"


def test_the_event_decision_made_is_a_word_like_any_other(world: World) -> None:
    world.register()
    world.states.tokens["AQCEAAAAKgAAAAMAAAAA-a-task-token"] = "waiting"
    asked = call("request_decision")
    event = sample("decide_candidate.event")
    event["detail"]["decision_id"] = asked["decision_id"]

    said = answers(handler("decide_candidate")(event))

    assert (said["state"], said["decided_at"]) == ("REJECTED", "2026-01-31T12:05:00Z")


def test_an_expired_decision_leaves_the_package_pending(world: World) -> None:
    arn, _ = world.register()

    assert answers(call("apply_decision", "expired"))["approval_status"] == "Expired"
    assert (
        world.lab.call("DescribeModelPackage", ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"
    )


@pytest.mark.parametrize(
    ("case", "status", "started"),
    [
        ("", "Approved", 1),
        ("old_shape", "Approved", 1),
        ("edited", "Approved", 0),
        ("rejected", "Rejected", 0),
        ("pending", "PendingManualApproval", 0),
        ("elsewhere", "Approved", 0),
        ("", "Rejected", 0),
    ],
)
def test_eb_06_which_registry_events_start_a_release(world: World, case: str, status: str, started: int) -> None:
    arn, _ = world.register()
    if status != "PendingManualApproval":
        world.approve(arn, status)

    answers(call("on_package_status", case))

    assert len(world.states.started) == started


def test_a_first_release_function_by_function(world: World) -> None:
    arn, _ = world.register()
    world.approve(arn)

    lease = answers(call("take_lease"))
    prepared = answers(call("prepare_release"))
    begun = answers(call("start_rollout"))
    early = answers(call("judge_release", progress=begun["progress"]))
    world.lab.clock.advance(120)
    there = answers(call("judge_release", progress=early["progress"]))
    probed = answers(call("probe_release", progress=there["progress"]))
    ended = answers(call("conclude_release"))

    assert (lease["proceed"], lease["fence"], lease["strategy"]) == (True, 1, "create")
    assert prepared["configs"] == ["linnet-flights-v1-f1"]
    assert [a["next"] for a in (early, there, probed)] == ["wait", "probe", "conclude"]
    assert ended == {"outcome": "promoted", "version": 1, "why": "20 probes answered; 4.2ms median"}
    champion = world.champion()
    assert {"version", "package_arn", "run", "baseline", "config", "at"} <= set(champion)


def test_shift_traffic_does_nothing_outside_a_ladder(world: World) -> None:
    arn, _ = world.register()
    world.approve(arn)
    call("take_lease")

    assert answers(call("shift_traffic")) == {"weights": {}, "wait": 0}
    assert answers(call("shift_traffic", "back")) == {"weights": {}, "wait": 0}


def test_a_rollback_before_the_first_release_has_nothing_to_do(world: World) -> None:
    found = answers(call("take_lease", "rollback"))

    assert (found["proceed"], found["why"]) == (False, "nothing was released that could be taken back")


def test_i10_a_release_that_could_not_begin_is_told_once(world: World) -> None:
    for _ in range(2):
        assert answers(call("conclude_release", "not_begun"))["outcome"] == "held"

    assert [m["kind"] for m in world.messages] == ["release-held"]
    assert [e["kind"] for e in ledger.history(f"model/{MODEL}")] == ["release"]


def test_a_held_lease_is_busy_and_a_strangers_fence_a_conflict(world: World) -> None:
    arn, _ = world.register()
    world.approve(arn)
    call("take_lease")

    with pytest.raises(BusyError):
        call("take_lease", owner=OWNER + "-other")
    with pytest.raises(ConflictError):
        call("prepare_release", owner=OWNER + "-other")


def test_an_approved_package_is_released_by_a_reconciler_too(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)
    call("on_package_status")
    world.states.started.clear()

    assert registry.start_release(MODEL, version).startswith("started: flights-v1-")


@pytest.mark.parametrize("name", ["release", "rollback"])
def test_every_function_of_the_machines_has_a_sample(name: str) -> None:
    machine = (ROOT / "statemachines" / f"{name}.asl.json").read_text()
    for function in (
        "TakeLease",
        "PrepareRelease",
        "StartRollout",
        "JudgeRelease",
        "ProbeRelease",
        "ShiftTraffic",
        "ConcludeRelease",
    ):
        if f"${{{function}FunctionArn}}" in machine:
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in function).lstrip("_")
            assert (ROOT / "events" / f"{snake}.json").exists()
