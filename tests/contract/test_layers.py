"""Findings of the layers that no monitor reads, against AWS as moto plays it (MO-11)."""

from __future__ import annotations

from typing import Any

import pytest

from linnet.gateways import ledger
from linnet.gateways.clients import client
from tests.contract import test_monitor_bias as bias
from tests.contract.monitor_world import CONFIG, serve
from tests.contract.onboarding_world import CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture

RUN = bias.RUN
SLOW = "finding#infrastructure#slow#2026-11-21T02:00:00Z"
CONVERSION = "finding#business#conversion#2026-11-21T02:00:00Z"


@pytest.fixture
def serving(world: World) -> World:
    """Return a world in which flights serves and its alarm on latency rings."""
    serve(run=RUN, baseline="s3://b", config="c")
    world.cloudwatch.put_metric_alarm(
        AlarmName="linnet-flights-slow", Namespace="AWS/SageMaker", MetricName="ModelLatency", Statistic="Average",
        Period=300, EvaluationPeriods=2, Threshold=500_000.0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    ring("ALARM")
    return world


def ring(state: str) -> None:
    client("cloudwatch").set_alarm_state(AlarmName="linnet-flights-slow", StateValue=state, StateReason="a test")


def wake(name: str, at: str = "", /, **detail: Any) -> dict[str, Any]:
    event = sample(name)
    event |= {"time": at, "id": f"event-{at}"} if at else {}
    event["detail"] |= detail
    return dict(handler("on_finding")(event, CONTEXT))


def test_mo_11_a_standing_alarm_is_a_finding_of_the_same_shape_and_told_once(serving: World) -> None:
    first, again = wake("on_finding"), wake("on_finding")

    assert first == again
    assert (first["kind"], first["status"], first["features"]) == (
        "infrastructure",
        "CompletedWithViolations",
        ["slow"],
    )
    row = ledger.read("model/flights", SLOW) or {}
    assert row["champion"] == {"version": 1, "run": RUN, "baseline": "s3://b"}
    assert (row["verdict"], row["severity"]) == ("DEGRADED", "Low")
    assert row["uri"].endswith(":alarm:linnet-flights-slow")
    (entry,) = [one for one in ledger.history("model/flights") if one["kind"] == "finding"]
    assert entry["detail"]["kind"] == "infrastructure"
    (told,) = serving.messages()
    assert (told["severity"], told["why"].partition(":")[0]) == ("Low", "Threshold Crossed")
    assert serving.compliance() == []


def test_mo_11_an_alarm_that_is_over_is_healthy_again_and_one_that_rings_again_is_told_again(serving: World) -> None:
    wake("on_finding")
    ring("OK")
    assert wake("on_finding.over", "2026-11-21T03:00:00Z")["status"] == "Completed"
    ring("ALARM")
    wake("on_finding", "2026-11-21T04:00:00Z")

    assert len(serving.messages()) == 2
    rows = list(ledger.query("model/flights", "finding#infrastructure#"))
    assert [row["verdict"] for row in rows] == ["DEGRADED", "HEALTHY", "DEGRADED"]


def test_an_alarm_that_only_begins_to_have_data_is_no_finding(serving: World) -> None:
    ring("OK")
    assert "ignored" in wake("on_finding.over", previousState={"value": "INSUFFICIENT_DATA"})
    assert list(ledger.query("model/flights", "finding#")) == []


def test_f4_an_alarm_that_has_left_its_state_since_the_event_is_no_finding(serving: World) -> None:
    ring("OK")
    assert "ignored" in wake("on_finding")
    assert "ignored" in wake("on_finding", alarmName="linnet-flights-drift")
    assert ledger.read("model/flights", SLOW) is None
    assert serving.messages() == []


def test_mo_11_a_business_value_beyond_its_limit_is_told_once_as_long_as_it_lasts(serving: World) -> None:
    kept = {"value": 0.025}  # on the limit is within it
    days = [{}, {"value": 0.02}, kept, {"value": 0.01}]
    for day, detail in enumerate(days, 21):
        wake("on_finding.business", f"2026-11-{day}T02:00:00Z", **detail)

    row = ledger.read("model/flights", CONVERSION) or {}
    assert (row["kind"], row["severity"], row["scores"]) == ("business", "High", {"conversion": 0.021})
    assert row["violations"][0]["description"] == "conversion is 0.021, below its limit 0.025"
    rows = list(ledger.query("model/flights", "finding#business#conversion#"))
    assert [one["verdict"] for one in rows] == ["DEGRADED", "DEGRADED", "HEALTHY", "DEGRADED"]
    assert [told["kind"] for told in serving.messages()] == ["attention", "attention"]


def test_mo_11_another_value_beyond_its_limit_is_told_beside_the_first(serving: World) -> None:
    wake("on_finding.business")
    wake("on_finding.business", "2026-11-21T03:00:00Z", name="cost", value=3.0, limit=2.0, direction="above")
    assert [told["what"].rpartition(" ")[2] for told in serving.messages()] == ["conversion.", "cost."]


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": "a lot"}, {"value": float("inf")}, {"value": 1e16}, {"direction": "sideways"}, {"name": "a#b"}, {"name": ""},
        {"model": "nobody"}, {"name": "x" * 65},
    ],
)  # fmt: skip
def test_mo_11_a_wrong_business_event_is_quarantined_and_makes_no_finding(
    serving: World, wrong: dict[str, Any]
) -> None:
    assert "quarantined" in wake("on_finding.business", **wrong)
    assert list(ledger.query("model/flights", "finding#")) == []
    assert [told["kind"] for told in serving.messages()] == ["quarantined"]


def test_mo_11_the_findings_of_all_layers_have_the_same_keys(serving: World) -> None:
    spec = (ledger.read("model/flights", "spec") or {})["spec"]
    spec["monitors"]["bias"] |= bias.BIAS
    ledger.change("model/flights", "spec", put={"spec": spec})
    ledger.change("model/flights", "champion", put={"config": CONFIG, "variant": "blue"})
    serving.put(f"results/flights/{RUN}/evaluation.json", {"decision": {"threshold": 0.4}})
    bias.answered(serving, 0.5, 0.5)
    bias.look()
    wake("on_finding")
    wake("on_finding.business")

    monitored = set(bias.finding()) - {"sk", "facet", "excess", "unknown", "labels"}
    for key in (SLOW, CONVERSION):
        assert set(ledger.read("model/flights", key) or {}) - {"sk"} == monitored
