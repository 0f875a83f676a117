"""What comes next in a release: what never leads to a promotion, what ends every phase, and what unknown comes to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import progress as steps
from linnet.decisions import rollout
from linnet.events.spec import Rollout

AT = "2026-01-31T12:10:00+00:00"
PHASES = (
    "creating", "joining", "mirroring", "rolling", "watching", "entering", "shifting", "baking", "finishing", "restoring",
)  # fmt: skip
STATUSES = (*rollout.CHANGING, *rollout.STUCK, "InService")
looks = st.fixed_dictionaries({
    "phase": st.sampled_from(PHASES), "since": st.just("2026-01-31T12:00:00+00:00"), "step": st.integers(0, 4),
    "first": st.just("2026-01-31T12:00:00+00:00"), "look": st.integers(0, 100), "looks": st.integers(0, 1000),
    "baked_at": st.none() | st.just("2026-01-31T12:06:00+00:00"), "asked": st.booleans(),
    "condemned": st.sampled_from(["", "bad"]),
})  # fmt: skip
sights = st.fixed_dictionaries({
    "status": st.sampled_from(STATUSES), "config": st.sampled_from(["old", "mirror", "both", "new", "foreign"]),
    "pending": st.sampled_from([None, "new", "both", "mirror", "foreign"]), "baking": st.booleans(),
    "weights": st.sampled_from([{"green": 5.0, "blue": 95.0}, {"green": 100.0, "blue": 0.0}, {"blue": 1.0}]),
    "counts": st.just({}), "rejected": st.sampled_from(["", "the registry says Rejected"]),
    "answer": st.sampled_from([None, "approve", "reject", "expired"]),
})  # fmt: skip
verdicts = st.fixed_dictionaries({
    "state": st.sampled_from(["healthy", "unhealthy", "unknown"]), "why": st.just("why"), "better": st.booleans(),
})  # fmt: skip
LADDER: dict[str, Any] = {
    "target": "new", "mirror": "mirror", "both": "both", "previous_config": "old", "steps": [5, 10, 25, 50, 100],
    "waits": [300] * 5, "prove": False, "variant": "green", "champion_variant": "blue", "strategy": "multi_stage",
    "deployment": None,
}  # fmt: skip
NATIVE: dict[str, Any] = LADDER | {
    "strategy": "canary", "mirror": None, "both": None, "variant": "blue", "steps": [], "waits": [],
    "deployment": rollout.deployment(Rollout().model_dump(), ["a"]),
}  # fmt: skip
QUIET: dict[str, Any] = {
    "status": "InService", "config": "both", "pending": None, "baking": False, "weights": {}, "counts": {}, "rejected": "",
    "answer": None,
}  # fmt: skip
UNKNOWN = {"state": "unknown", "why": "nobody called", "better": False}
HEALTHY = {"state": "healthy", "why": "well", "better": False}


def settle(
    progress: Any, sight: Any = QUIET, verdict: Any = HEALTHY, plan: Any = LADDER, **rules: Any
) -> dict[str, Any]:
    return steps.settle(plan, progress, sight, verdict, Rollout(**rules).model_dump(), AT)


def at_phase(phase: str, **more: Any) -> dict[str, Any]:
    return steps.begin(LADDER, AT) | {"phase": phase} | more


@given(looks, sights, verdicts, st.sampled_from([LADDER, LADDER | {"prove": True}, NATIVE]))
def test_i7_f42_f47_only_a_healthy_approved_fleet_that_serves_is_concluded(
    progress: dict[str, Any], sight: dict[str, Any], verdict: dict[str, Any], plan: dict[str, Any]
) -> None:
    if plan is NATIVE and progress["phase"] not in ("rolling", "watching", "creating", "restoring"):
        return
    found = settle(progress, sight, verdict, plan)

    if found["next"] == "conclude":
        assert (sight["status"], sight["config"]) == ("InService", "new")
        if progress["phase"] != "restoring":
            assert not sight["rejected"]
            assert not progress["condemned"]
    if found["next"] in ("shift", "update", "probe"):
        assert sight["status"] == "InService"
        assert not sight["rejected"]
        assert not found["progress"]["condemned"]
    onward = found["next"] in ("conclude", "shift", "update")
    if onward and progress["phase"] in ("watching", "baking", "mirroring"):
        a_person = progress["asked"] and sight["answer"] == "approve"
        assert verdict["state"] == "healthy" or (a_person and verdict["state"] == "unknown")
        if plan["prove"] and progress["phase"] == "baking" and progress["step"] == 3:
            assert verdict["better"] or a_person


@given(looks, sights, verdicts)
def test_f51_every_phase_is_bounded(progress: dict[str, Any], sight: dict[str, Any], verdict: dict[str, Any]) -> None:
    found = settle(progress | {"looks": steps.MOST_LOOKS}, sight, verdict)

    if progress["phase"] not in ("mirroring", "watching", "baking"):
        assert found["next"] == "roll back"


@pytest.mark.parametrize(
    ("phase", "config", "bake"),
    [("baking", "both", 300), ("watching", "new", 300), ("mirroring", "mirror", 600)],
)
@pytest.mark.parametrize("seen", [UNKNOWN, HEALTHY])
def test_unknown_is_held_until_the_deadline_and_then_goes_back_as_inconclusive(
    phase: str, config: str, bake: int, seen: dict[str, Any]
) -> None:
    progress, at, sight = at_phase(phase), 0, QUIET | {"config": config}
    while True:
        at += 60
        found = settle(progress, sight, seen, deadline_seconds=1200, shadow_seconds=600)
        progress = found["progress"]
        if found["next"] != "wait":
            break

    if seen is HEALTHY:
        assert (found["next"] in ("shift", "conclude", "update"), at) == (True, bake)
    else:
        assert (found["next"], at) == ("roll back", bake + 1200)
        assert found["why"].startswith("inconclusive at the deadline")


def test_at_the_deadline_a_person_is_asked_and_a_breach_meanwhile_still_goes_back() -> None:
    rules = {"deadline_seconds": 0, "when_unknown": "ask"}
    asked = settle(at_phase("baking", look=4), verdict=UNKNOWN, **rules)

    assert (asked["next"], asked["progress"]["asked"]) == ("wait", True)
    held = settle(asked["progress"], verdict=UNKNOWN, **rules)
    assert (held["next"], held["progress"]["asked"]) == ("wait", True)
    bad = {"state": "unhealthy", "why": "High error rate", "better": False}
    assert settle(asked["progress"], verdict=bad, **rules)["next"] == "roll back"
    assert (
        settle(asked["progress"], QUIET | {"rejected": "the registry says Rejected"}, UNKNOWN, **rules)["next"]
        == "roll back"
    )


@pytest.mark.parametrize(
    ("answer", "following", "why"),
    [("approve", "shift", "a person let it go on"), ("reject", "roll back", "a person took it back"),
     ("expired", "roll back", "nobody answered in time")],
)  # fmt: skip
def test_what_the_person_says_counts(answer: str, following: str, why: str) -> None:
    found = settle(at_phase("baking", look=9, asked=True), QUIET | {"answer": answer}, UNKNOWN, when_unknown="ask")

    assert found["next"] == following
    assert why in found["why"]


@pytest.mark.parametrize(
    ("bake", "at_look"), [(120, 1), (300, 3), (600, 8)],
)  # fmt: skip
def test_a_native_bake_that_is_unknown_shortly_before_its_end_is_condemned_as_inconclusive(
    bake: int, at_look: int
) -> None:
    rules = {"wait_seconds": bake, "maximum_seconds": 28800}
    plan = NATIVE | {"deployment": rollout.deployment(Rollout(**rules).model_dump(), ["a"])}  # type: ignore[arg-type]
    sight = QUIET | {"status": "Updating", "config": "old", "pending": "new", "baking": True}
    progress = steps.begin(plan, AT)
    for _look in range(1, at_look + 2):
        found = settle(progress, sight, UNKNOWN, plan)
        progress = found["progress"]
        if progress["condemned"]:
            break

    assert progress["condemned"] == "inconclusive: nobody called"
    assert abs(progress["look"] - at_look) <= 1
    assert (progress["look"] - 1) * 60 + 120 >= bake or bake == 120
    assert steps.published(progress, UNKNOWN) == 1.0
    assert not settle(steps.begin(plan, AT), sight, HEALTHY, plan)["progress"]["condemned"]


def test_a_slow_look_does_not_make_the_bake_longer_than_sagemakers() -> None:
    sight = QUIET | {"status": "Updating", "config": "old", "pending": "new", "baking": True}
    late = steps.begin(NATIVE, AT) | {"baked_at": "2026-01-31T12:06:00+00:00", "look": 1}

    assert settle(late, sight, UNKNOWN, NATIVE)["progress"]["condemned"]  # 240 of 300 seconds passed in one look


def test_ro_05_an_ab_test_goes_to_all_traffic_only_with_a_winner() -> None:
    ab = LADDER | {"prove": True, "mirror": None}
    before_last = at_phase("baking", step=3, look=9)

    assert settle(before_last, verdict=HEALTHY, plan=ab)["next"] == "wait"
    assert settle(before_last, verdict=HEALTHY | {"better": True}, plan=ab)["next"] == "shift"
    assert settle(at_phase("baking", step=2, look=9), verdict=HEALTHY, plan=ab)["next"] == "shift"
    over = settle(before_last | {"look": 1000}, verdict=HEALTHY, plan=ab)
    assert (over["next"], "no winner yet" in over["why"]) == ("roll back", True)


def test_ro_06_ro_08_after_the_shadow_comes_the_canary_or_the_ladder() -> None:
    mirrored, sight = at_phase("mirroring", look=19), QUIET | {"config": "mirror"}

    ladder = settle(mirrored, sight, shadow_seconds=1200)
    assert (ladder["next"], ladder["progress"]["phase"]) == ("update", "entering")
    native = settle(mirrored, sight, plan=NATIVE | {"mirror": "mirror"}, shadow_seconds=1200)
    assert (native["next"], native["progress"]["phase"]) == ("update", "rolling")
    assert settle(mirrored | {"look": 18}, sight, shadow_seconds=1200)["next"] == "wait"


def test_a_canary_after_a_shadow_that_sagemaker_took_back_is_brought_back_to_what_served_before() -> None:
    rolled = at_phase("rolling", condemned="bad")
    found = settle(rolled, QUIET | {"config": "mirror"}, plan=NATIVE | {"mirror": "mirror"})

    assert (found["next"], found["why"]) == ("roll back", "bad")
    assert settle(at_phase("rolling"), QUIET | {"config": "old"}, plan=NATIVE)["next"] == "rolled back"


def test_the_verdict_metric_says_nothing_when_nobody_can_tell() -> None:
    quiet = steps.begin(LADDER, "t")

    assert steps.published(quiet, {"state": "unknown"}) is None
    assert steps.published(quiet, {"state": "healthy"}) == 0.0
    assert steps.published(quiet | {"condemned": "bad"}, {"state": "healthy"}) == 1.0
