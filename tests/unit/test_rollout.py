"""Plans and steps of a release: what SageMaker would accept, and what never leads to a promotion."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import rollout
from linnet.errors import ConflictError
from linnet.events.spec import Rollout
from local.sagemaker import rollout as rules

WAITS = st.integers(60, 3600)
specs = st.builds(
    lambda strategy, canary, linear, wait, last: Rollout(
        strategy=strategy, canary_percent=canary, linear_percent=linear, wait_seconds=wait,
        termination_wait_seconds=last, maximum_seconds=28800,
    ).model_dump(),
    st.sampled_from(["canary", "linear", "all_at_once"]), st.integers(1, 50), st.integers(10, 50), st.integers(60, 2000),
    st.integers(0, 3600),
)  # fmt: skip
LIVE: dict[str, Any] = {
    "config": "linnet-flights-v1-f1",
    "variants": {"blue": {"count": 3, "weight": 1.0, "model": "linnet-flights-v1"}},
}


def plan(strategy: Any, live: Any = LIVE, **more: Any) -> dict[str, Any]:
    spec = {"endpoint": {"instance_count": 2}, "rollout": Rollout(strategy=strategy, **more).model_dump()}
    return rollout.plan(stack="linnet", model="flights", version=7, fence=12, spec=spec, live=live)


@given(specs, st.integers(1, 20))
def test_t_12_every_deployment_config_passes_sagemakers_own_rules(spec: dict[str, Any], count: int) -> None:
    found = rollout.deployment(spec, ["a", "b", "c"])

    rules.check(found, {"blue": count})
    longest = found["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"]
    assert 600 <= longest <= 28800
    assert [a["AlarmName"] for a in found["AutoRollbackConfiguration"]["Alarms"]] == ["a", "b", "c"]


def test_ro_01_the_default_is_the_seeds_canary() -> None:
    policy = plan("canary")["deployment"]["BlueGreenUpdatePolicy"]

    assert policy == {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY", "WaitIntervalInSeconds": 300, "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
        },
        "TerminationWaitInSeconds": 300,
        "MaximumExecutionTimeoutInSeconds": 3600,
    }  # fmt: skip


def test_t_13_a_guarded_update_keeps_the_variants_name_and_a_ladder_adds_a_second_one_first() -> None:
    native, ladder = plan("canary"), plan("stepped")

    assert [[v["name"] for v in c["variants"]] for c in native["configs"]] == [["blue"]]
    assert [[(v["name"], v["weight"]) for v in c["variants"]] for c in ladder["configs"]] == [
        [("blue", 1), ("green", 0)], [("green", 1)],
    ]  # fmt: skip
    assert ladder["deployment"] is None
    assert [c["name"] for c in ladder["configs"]] == ["linnet-flights-v7-f12-both", "linnet-flights-v7-f12"]


@pytest.mark.parametrize(("strategy", "peak"), [("canary", 6), ("stepped", 9)])
def test_requirements_4_4_no_15_the_peak_counts_all_fleets_at_once(strategy: str, peak: int) -> None:
    assert plan(strategy)["peak"] == peak


def test_t_03_t_05_the_alarms_count_microseconds_and_use_the_real_metric_names() -> None:
    found = plan("canary")
    errors, latency, verdict = rollout.alarm_requests(
        found, model="flights", endpoint="linnet-flights", health=Rollout().health.model_dump()
    )

    assert (errors["MetricName"], errors["Statistic"], errors["Threshold"]) == ("Invocation5XXErrors", "Sum", 10.0)
    assert (latency["MetricName"], latency["Statistic"], latency["Threshold"]) == ("ModelLatency", "Average", 500_000.0)
    assert verdict["MetricName"] == "ReleaseVerdict"
    for alarm in (errors, latency):
        names = {d["Name"]: d["Value"] for d in alarm["Dimensions"]}
        assert names == {
            "EndpointName": "linnet-flights", "VariantName": "blue", "EndpointConfigName": "linnet-flights-v7-f12",
        }  # fmt: skip
    assert {a["TreatMissingData"] for a in (errors, latency, verdict)} == {"notBreaching"}


def test_an_endpoint_left_with_two_variants_takes_no_release() -> None:
    with pytest.raises(ConflictError, match="start rollback"):
        plan("canary", {"config": "c", "variants": LIVE["variants"] | {"green": LIVE["variants"]["blue"]}})


@given(st.integers(1, 100))
def test_peer_bug_mcd_a_weights_are_shares_of_a_hundred(percent: int) -> None:
    found = rollout.weights(plan("stepped"), percent)

    assert found == {"green": percent, "blue": 100 - percent}


# -- settle ------------------------------------------------------------------------------------------------------------

PHASES = ("creating", "rolling", "watching", "entering", "shifting", "baking", "finishing", "restoring")
STATUSES = (*rollout.CHANGING, *rollout.STUCK, "InService")
looks = st.fixed_dictionaries({
    "phase": st.sampled_from(PHASES), "since": st.just("2026-01-31T12:00:00+00:00"), "step": st.integers(0, 4),
    "look": st.integers(0, 10), "unknown": st.integers(0, 8), "seen": st.integers(0, 50),
    "condemned": st.sampled_from(["", "bad"]), "looks": st.integers(0, 1000),
})  # fmt: skip
sights = st.fixed_dictionaries({
    "status": st.sampled_from(STATUSES), "config": st.sampled_from(["old", "both", "new", "foreign"]),
    "pending": st.sampled_from([None, "new", "both", "foreign"]), "baking": st.booleans(),
    "weights": st.sampled_from([{"green": 5.0, "blue": 95.0}, {"green": 100.0, "blue": 0.0}, {"blue": 1.0}]),
    "counts": st.just({}), "rejected": st.sampled_from(["", "the registry says Rejected"]),
})  # fmt: skip
verdicts = st.fixed_dictionaries({
    "state": st.sampled_from(["healthy", "unhealthy", "unknown"]), "why": st.just("why"),
    "requests": st.none() | st.integers(0, 100),
})  # fmt: skip
LADDER = {
    "target": "new",
    "both": "both",
    "previous_config": "old",
    "steps": [5, 10, 25, 50, 100],
    "variant": "green",
    "champion_variant": "blue",
    "strategy": "stepped",
}


@given(looks, sights, verdicts)
def test_i7_f42_f47_only_a_healthy_approved_fleet_that_serves_is_concluded(
    progress: dict[str, Any], sight: dict[str, Any], verdict: dict[str, Any]
) -> None:
    found = rollout.settle(LADDER, progress, sight, verdict, Rollout().model_dump(), "2026-01-31T12:10:00+00:00")

    if found["next"] == "conclude":
        assert (sight["status"], sight["config"]) == ("InService", "new")
        if progress["phase"] != "restoring":
            assert not sight["rejected"]
            assert not progress["condemned"]
        if progress["phase"] == "watching":
            assert verdict["state"] == "healthy"
    if found["next"] in ("shift", "finish", "probe"):
        assert sight["status"] == "InService"
        assert not sight["rejected"]
        assert not found["progress"]["condemned"]
    if progress["phase"] == "baking" and found["next"] in ("shift", "finish"):
        assert verdict["state"] == "healthy"


@given(looks, sights, verdicts)
def test_f51_the_looks_of_a_release_are_bounded(
    progress: dict[str, Any], sight: dict[str, Any], verdict: dict[str, Any]
) -> None:
    found = rollout.settle(LADDER, progress, sight, verdict, Rollout().model_dump(), "2026-01-31T12:10:00+00:00")

    assert found["progress"]["looks"] == progress["looks"] + 1
    if progress["looks"] >= rollout.MOST_LOOKS:
        assert found["next"] == "roll back"


@given(st.lists(verdicts, min_size=60, max_size=60))
def test_a_fleet_without_a_healthy_look_is_given_up_in_the_end(found: list[dict[str, Any]]) -> None:
    """A bake ends for every sequence of looks: min_requests bounds the busy ones, max_unknown_looks the silent ones."""
    spec, progress = Rollout().model_dump(), rollout.begin(LADDER, "t") | {"phase": "baking", "step": 4}
    sight: dict[str, Any] = {
        "status": "InService",
        "config": "both",
        "pending": None,
        "baking": False,
        "weights": {},
        "counts": {},
        "rejected": "",
    }
    seen = 0
    for verdict in found:
        seen = min(seen + (verdict["requests"] or 0), 19)
        unhealthy_at_most = {
            "state": "unknown" if verdict["state"] == "healthy" else verdict["state"],
            "why": "w",
            "requests": seen,
        }
        answer = rollout.settle(LADDER, progress, sight, unhealthy_at_most, spec, "t")
        progress = answer["progress"]
        if answer["next"] != "wait":
            break

    assert answer["next"] == "roll back"


def test_the_verdict_metric_says_nothing_when_nobody_can_tell() -> None:
    quiet = rollout.begin(LADDER, "t")

    assert rollout.published(quiet, {"state": "unknown"}) is None
    assert rollout.published(quiet, {"state": "healthy"}) == 0.0
    assert rollout.published(quiet | {"condemned": "bad"}, {"state": "healthy"}) == 1.0
