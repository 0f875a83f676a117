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
    st.sampled_from(["canary", "linear", "all_at_once", "shadow"]), st.integers(1, 50), st.integers(10, 50),
    st.integers(120, 2000), st.just(0) | st.integers(120, 3600),
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


def test_ro_06_a_shadow_hears_before_anyone_is_answered_and_goes_on_as_a_canary() -> None:
    found = plan("shadow", shadow_percent=50)
    mirror, target = found["configs"]

    assert (found["mirror"], mirror["name"], target["name"]) == (
        "linnet-flights-v7-f12-shadow", "linnet-flights-v7-f12-shadow", "linnet-flights-v7-f12",
    )  # fmt: skip
    assert [v["model"] for v in mirror["variants"]] == ["linnet-flights-v1"]
    assert mirror["shadow"] == {"name": "shadow", "model": "linnet-flights-v7", "count": 3, "weight": 0.5}
    assert [v["name"] for v in target["variants"]] == [
        v["name"] for v in mirror["variants"]
    ]  # a guarded update needs it
    assert found["deployment"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"


def test_ro_08_multi_stage_is_a_shadow_then_a_ladder_of_days() -> None:
    found = plan("multi_stage")

    assert [c["name"].rpartition("-")[2] for c in found["configs"]] == ["shadow", "both", "f12"]
    day = 86400
    assert list(zip(found["steps"], found["waits"], strict=True)) == [
        (5, 2 * day), (10, 2 * day), (25, 2 * day), (50, day), (75, day), (100, 7 * day),
    ]  # fmt: skip
    assert Rollout(strategy="multi_stage").shadow_seconds == 14 * day
    assert Rollout(strategy="multi_stage").watch_hours == 30 * 24


def test_ro_05_an_ab_test_shows_ten_and_fifty_percent_and_needs_a_winner() -> None:
    found = plan("ab")

    assert (found["steps"], found["prove"]) == ([10, 50, 100], True)
    assert not plan("stepped")["prove"]


@pytest.mark.parametrize("strategy", ["canary", "linear", "shadow"])
def test_of_one_instance_no_part_can_be_released_to(strategy: str) -> None:
    one = {"config": "c", "variants": {"blue": {"count": 1, "weight": 1.0, "model": "m"}}}
    spec = {"endpoint": {"instance_count": 1}, "rollout": Rollout(strategy=strategy).model_dump()}  # type: ignore[arg-type]

    with pytest.raises(ConflictError, match="at least 2 instances"):
        rollout.plan(stack="linnet", model="flights", version=7, fence=12, spec=spec, live=one)


@pytest.mark.parametrize(
    ("strategy", "more", "seconds"),
    [
        ("canary", {}, 300),
        ("linear", {}, 1200),
        ("all_at_once", {"termination_wait_seconds": 600}, 600),
        ("stepped", {}, 0),
    ],
)
def test_the_bake_is_what_sagemaker_waits_before_all_traffic_is_on_the_new_fleet(
    strategy: str, more: dict[str, Any], seconds: int
) -> None:
    assert rollout.bake_seconds(plan(strategy, **more)) == seconds


@pytest.mark.parametrize(("strategy", "peak"), [("canary", 6), ("stepped", 9), ("shadow", 9), ("multi_stage", 12)])
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
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (60, 2, 2)
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


@pytest.mark.parametrize(
    ("strategy", "back"),
    [("canary", "canary"), ("stepped", "stepped"), ("shadow", "all_at_once"), ("ab", "all_at_once"),
     ("multi_stage", "all_at_once")],
)  # fmt: skip
def test_rb_04_a_way_back_does_not_take_weeks(strategy: Any, back: str) -> None:
    assert rollout.way_back(Rollout(strategy=strategy).model_dump())["strategy"] == back
