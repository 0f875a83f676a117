"""What a release is told to expect: a bake that cannot decide is refused with one that would do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import forecast, rollout
from linnet.events.spec import Rollout

LIVE = {
    "config": "linnet-flights-v1-f1",
    "variants": {"blue": {"count": 3, "weight": 1.0, "model": "linnet-flights-v1"}},
}


def expect(per_minute: float, *, failing: float = 0.005, requests: float = 1e6, **rules: Any) -> dict[str, Any]:
    spec = {"endpoint": {"instance_count": 2}, "rollout": Rollout(**rules).model_dump()}
    plan = rollout.plan(stack="linnet", model="flights", version=7, fence=12, spec=spec, live=LIVE)
    traffic = {"requests": requests, "per_minute": per_minute, "failing": failing} if per_minute else {}
    return forecast.expect(plan, spec["rollout"], traffic)


def test_the_expected_time_and_what_it_can_show_are_told_before_the_start() -> None:
    found = expect(6000)

    assert found["refusal"] == ""
    assert found["stages"] == [{"stage": "canary", "share": 0.1, "requests": 3000, "minutes": 5.0}]
    assert found["minutes"] == 10.0  # the bake and RB-02's last check
    assert "At 6e+03 requests a minute it takes about 10 minutes" in found["told"]
    assert re.search(r"10 times its errors after \d+ \(\d+\.\d min\)", found["told"])
    assert 300 < found["shows"]["10"]["requests"] < 700
    assert 8_000 < found["shows"]["2"]["requests"] < 16_000


def test_a_canary_too_short_to_decide_is_refused_with_the_bake_the_share_or_the_strategy_that_would_do() -> None:
    refused = expect(60)["refusal"]
    assert "the bake is too short to decide" in refused
    assert "strategy stepped" in refused

    longer = expect(600, wait_seconds=300)["refusal"]
    seconds, percent = (int(n) for n in re.findall(r"(?:wait_seconds|canary_percent) (\d+)", longer))
    assert expect(600, wait_seconds=seconds, maximum_seconds=28800)["refusal"] == ""
    assert expect(600, wait_seconds=seconds - 60, maximum_seconds=28800)["refusal"] != ""
    assert expect(600, canary_percent=percent)["refusal"] == ""
    assert expect(600, canary_percent=percent - 2)["refusal"] != ""


def test_a_ladder_is_held_for_evidence_so_only_its_deadline_can_be_too_short() -> None:
    assert expect(600, strategy="stepped")["refusal"] == ""
    slow = expect(60, strategy="stepped")["refusal"]
    assert "the stage 5 % is too short" in slow
    seconds = int(re.findall(r"deadline_seconds (\d+)", slow)[0])
    assert "the stage 5 %" not in expect(60, strategy="stepped", deadline_seconds=seconds)["refusal"]


def test_all_at_once_without_a_bake_is_judged_afterwards_for_as_long_as_it_takes() -> None:
    assert expect(1, strategy="all_at_once", termination_wait_seconds=0)["refusal"] == ""


@pytest.mark.parametrize("strategy", ["canary", "linear", "all_at_once", "stepped", "shadow", "ab", "multi_stage"])
def test_an_endpoint_that_nobody_called_is_not_refused_and_that_is_told(strategy: str) -> None:
    found = expect(0, strategy=strategy)

    assert (found["refusal"], found["minutes"], found["per_minute"]) == ("", None, None)
    assert "Nobody called the endpoint" in found["told"]


def test_the_probes_of_the_last_release_are_no_traffic() -> None:
    assert expect(20, requests=20)["refusal"] == ""
    assert expect(20, requests=21)["refusal"] != ""


@given(
    st.sampled_from(["canary", "linear", "all_at_once", "stepped", "shadow", "ab", "multi_stage"]),
    st.floats(0.01, 1e6), st.floats(0, 1), st.integers(1, 5000),
)  # fmt: skip
def test_more_callers_never_make_a_release_less_decidable(
    strategy: str, rate: float, failing: float, needed: int
) -> None:
    rules = {"strategy": strategy, "health": {"min_requests": needed}}
    slow, fast = expect(rate, failing=failing, **rules), expect(rate * 2, failing=failing, **rules)

    assert slow["refusal"] or not fast["refusal"]
    assert fast["minutes"] <= slow["minutes"]
    assert all(stage["requests"] >= 0 for stage in slow["stages"])
