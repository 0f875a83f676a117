"""Rows of the requirements about releases that no other test shows; each is named by its id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from linnet.decisions import onboarding
from linnet.events.spec import check_spec, spec_json
from linnet.gateways import alarms, ledger
from local import alarms as cloudwatch
from models.flights import data as flights
from tests.model.world import ENDPOINT, MODEL, Execution, World, broken, finished

ALL_AT_ONCE = {"strategy": "all_at_once"}
STEPPED = {"strategy": "stepped", "ladder": [50, 100]}
MINUTE = 60.0


@pytest.fixture
def world() -> Iterator[World]:
    with World().open() as opened:
        opened.onboard(rollout=ALL_AT_ONCE)
        yield opened


def released(world: World, name: str = "", behaviour: Any = None) -> Execution:
    arn, version = world.register(behaviour) if behaviour else world.register()
    world.approve(arn)
    execution = Execution(world, name or f"v{version}", version=version)
    execution.rate = 60 if world.champion() else 0
    finished(execution)
    return execution


# -- standing alarms --


def written(**limits: Any) -> Any:
    return check_spec(flights.spec() | {"monitors": {"alarms": limits}})


def alarm(purpose: str, **limits: Any) -> dict[str, Any]:
    """Return the request of one of a model's alarms."""
    spec = written(**limits)
    serving = onboarding.serving_alarms("linnet", MODEL, spec_json(spec)["monitors"]["alarms"], "green", "topic")
    found = [*serving, *onboarding.alarms("linnet", spec, "topic")]
    return next(request for request in found if request["AlarmName"] == f"linnet-{MODEL}-{purpose}")


def state(request: dict[str, Any], *values: float | None) -> str | None:
    """Judge one value a period, oldest first, as CloudWatch does; None where the alarm stays as it is."""
    data = [(n * float(request["Period"]), value) for n, value in enumerate(values) if value is not None]
    judged = cloudwatch.judge(request, data, len(values) * float(request["Period"]))
    return judged.state if judged else None


def watched(request: dict[str, Any]) -> dict[str, str]:
    return {d["Name"]: d["Value"] for d in request["Dimensions"]}


def test_al_02_t_03_latency_is_given_in_ms_kept_in_microseconds_and_rings_after_two_slow_periods() -> None:
    slow = alarm("slow")

    assert (slow["Namespace"], slow["MetricName"], slow["Statistic"]) == ("AWS/SageMaker", "ModelLatency", "Average")
    assert (slow["Period"], slow["EvaluationPeriods"], slow["AlarmActions"]) == (300, 2, ["topic"])
    assert watched(slow) == {"EndpointName": ENDPOINT, "VariantName": "green"}
    assert state(slow, 500_001.0, 500_001.0) == "ALARM"
    assert state(slow, 500_001.0, 500_000.0) == "OK"
    assert state(slow, None, 900_000.0) is None  # one slow period after silence is not two
    assert state(slow, None, None) is None
    assert alarm("slow", latency_above_ms=100)["Threshold"] == 100_000


def test_al_03_errors_ring_at_eleven_in_a_minute_not_at_ten() -> None:
    failing = alarm("failing")

    assert (failing["Namespace"], failing["MetricName"]) == ("AWS/SageMaker", "Invocation5XXErrors")
    assert (failing["Statistic"], failing["Period"], failing["AlarmActions"]) == ("Sum", 60, ["topic"])
    assert watched(failing) == {"EndpointName": ENDPOINT, "VariantName": "green"}
    assert (state(failing, 10.0), state(failing, 11.0), state(failing, None)) == ("OK", "ALARM", None)
    assert state(alarm("failing", errors_above=50), 50.0) == "OK"


def test_al_04_accuracy_below_085_in_two_windows_of_six_hours_rings_and_starts_a_run() -> None:
    quality = alarm("quality")

    assert (quality["Namespace"], quality["MetricName"]) == ("aws/sagemaker/Endpoints/model-metrics", "accuracy")
    assert (quality["Statistic"], quality["Period"], quality["AlarmActions"]) == ("Average", 21_600, ["topic"])
    assert watched(quality) == {"Endpoint": ENDPOINT, "MonitoringSchedule": f"{ENDPOINT}-model-quality"}
    assert (state(quality, 0.84, 0.84), state(quality, 0.84, 0.85), state(quality, None, None)) == ("ALARM", "OK", None)


def test_al_05_silence_rings_after_three_periods_where_the_spec_asks_for_it() -> None:
    silent = alarm("silent", requests_below=100)

    assert (silent["MetricName"], silent["Statistic"], silent["Period"]) == ("Invocations", "Sum", 300)
    assert watched(silent) == {"EndpointName": ENDPOINT, "VariantName": "green"}
    assert state(silent, None, None, None) == "ALARM"
    assert state(silent, 99.0, None, 99.0) == "ALARM"
    assert state(silent, None, None, 100.0) == "OK"
    with pytest.raises(StopIteration):
        alarm("silent")  # a model that nobody calls at night would ring


@pytest.mark.parametrize(
    ("field", "purpose"),
    [("latency_above_ms", "slow"), ("errors_above", "failing"), ("accuracy_below", "quality")],
)
def test_al_02_to_al_04_every_alarm_can_be_switched_off(field: str, purpose: str) -> None:
    assert alarm(purpose)
    with pytest.raises(StopIteration):
        alarm(purpose, **{field: None})


def test_the_alarms_have_no_name_that_a_release_of_another_model_gives_its_own() -> None:
    ends = {"errors", "latency", "verdict"}

    assert ends.isdisjoint(name.rpartition("-")[2] for name in onboarding.alarm_names("linnet", MODEL))


def standing(world: World) -> dict[str, str]:
    """Return which variant each standing alarm watches."""
    return {name: watched(found)["VariantName"] for name, found in world.cloudwatch.requests.items()}


def test_al_02_al_03_al_05_the_alarms_follow_the_variant_that_serves_forwards_and_back(world: World) -> None:
    world.onboard(rollout=STEPPED, monitors={"alarms": {"requests_below": 100}})
    names = onboarding.serving_names("linnet", MODEL)
    assert standing(world) == {}
    released(world)
    assert standing(world) == dict.fromkeys(names, "blue")

    assert released(world).outcome == "promoted"
    assert standing(world) == dict.fromkeys(names, "green")

    finished(Execution(world, "back", kind="rollback", reason="wrong answers"))
    assert standing(world) == dict.fromkeys(names, "blue")

    assert released(world, behaviour=broken).outcome == "rolled back"
    assert standing(world) == dict.fromkeys(names, "blue")


def test_al_05_a_first_release_that_is_taken_back_leaves_no_alarm_to_ring(world: World) -> None:
    world.onboard(monitors={"alarms": {"requests_below": 100}})

    assert released(world, behaviour=broken).outcome == "rolled back"
    assert standing(world) == {}


def test_al_02_a_champion_that_moves_while_the_alarms_are_put_is_followed_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    released(world)
    put = world.cloudwatch.put_metric_alarm

    def meanwhile(**request: Any) -> None:
        ledger.change(f"model/{MODEL}", "champion", put={"variant": "green"}, only_if="attribute_exists(pk)")
        put(**request)

    monkeypatch.setattr(world.cloudwatch, "put_metric_alarm", meanwhile)
    alarms.follow(MODEL, [])

    assert set(standing(world).values()) == {"green"}


def test_no_standing_alarm_takes_a_release_back(world: World) -> None:
    world.onboard(rollout={"strategy": "canary"})
    released(world)
    released(world)

    guarding = world.changes[-1].request["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert {a["AlarmName"] for a in guarding}.isdisjoint(onboarding.alarm_names("linnet", MODEL))
