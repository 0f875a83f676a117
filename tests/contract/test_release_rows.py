"""Rows of the requirements about releases that no other test shows; each is named by its id."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from linnet.decisions import onboarding, signals
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, parse
from linnet.events.spec import check_spec, spec_json
from linnet.events.spec_rollout import Rollout
from linnet.gateways import alarms, ledger, releases
from local import alarms as cloudwatch
from models.flights import data as flights
from tests.model.aws import ENDPOINT, MODEL
from tests.model.world import Execution, World, broken, finished

ALL_AT_ONCE = {"strategy": "all_at_once"}
STEPPED = {"strategy": "stepped", "ladder": [50, 100]}
ROOT = Path(__file__).parents[2]
HISTORY = 25_000
"""Events of a Standard execution (AWS Step Functions service quotas)."""
EVENTS = {"Task": 5, "Choice": 2, "Wait": 2}
"""Events of a state: entered and exited; of a task also scheduled, started and succeeded."""


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


# -- strategies --


@pytest.mark.parametrize("strategy", get_args(Rollout.model_fields["strategy"].annotation))
def test_ro_10_the_spec_names_the_strategy_and_the_same_function_takes_each(world: World, strategy: str) -> None:
    world.onboard(rollout={"strategy": strategy})
    released(world)
    arn, version = world.register()
    world.approve(arn)

    taken = releases.take(MODEL, version=version, owner="me", at=world.at, correlation_id="c", kind="release")

    assert (taken["proceed"], taken["strategy"]) == (True, strategy)


def test_ro_10_an_unknown_strategy_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match=r"rollout\.strategy.*'rolling'.*'canary'"):
        check_spec(flights.spec() | {"rollout": {"strategy": "rolling"}})


def test_ro_05_an_ab_tests_split_is_ninety_to_ten_within_tolerance(world: World) -> None:
    world.onboard(rollout={"strategy": "ab", "better_by": "errors"})
    released(world)
    arn, version = world.register()
    world.approve(arn)
    second = Execution(world, "v2", version=version)
    while second.progress.get("phase") != "baking":
        second.step()

    before = len(world.lab.aws.metrics)
    world.traffic(2000)

    split = Counter(
        datum.dimensions["VariantName"]
        for datum in world.lab.aws.metrics[before:]
        if datum.name == "Invocations" and "EndpointConfigName" not in datum.dimensions
    )
    assert split.total() == 2000
    assert abs(split["green"] / 2000 - 0.1) < 0.03


@pytest.mark.parametrize("strategy", ["all_at_once", "canary", "linear"])
def test_ro_07_no_callers_request_fails_in_the_switch_and_the_old_config_stays_usable(
    world: World, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    world.onboard(rollout={"strategy": strategy})
    call, seen = world.traffic, Counter[str]()

    def callers(requests: int) -> int:
        failed = call(requests)
        seen.update(asked=requests, failed=failed)
        return failed

    monkeypatch.setattr(world, "traffic", callers)
    released(world)
    assert released(world).outcome == "promoted"
    assert (seen["asked"] > 300, seen["failed"]) == (True, 0)

    before = len(world.changes)
    finished(Execution(world, "back", kind="rollback", reason="wrong answers"))
    assert world.config() == "linnet-flights-v1-f1"
    assert [change.operation for change in world.changes[before:]] == ["UpdateEndpoint"]


def test_dp_09_so_many_requests_are_answered_before_traffic_is_shifted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    world.onboard(rollout=STEPPED | {"probes": 10})
    invoke, asked = world.lab.invoke, []

    def heard(*given: Any, **wire: Any) -> Any:
        asked.append(wire.get("x_amzn_sagemaker_target_variant"))
        return invoke(*given, **wire)

    monkeypatch.setattr(world.lab, "invoke", heard)
    released(world)
    assert len(asked) == 10  # nobody else called

    arn, version = world.register()
    world.approve(arn)
    second = Execution(world, "v2", version=version)
    asked.clear()
    while world.changes[-1].operation != "UpdateEndpointWeightsAndCapacities":
        second.step()

    assert asked == ["green"] * 10


def test_dp_11_two_instances_are_the_default_and_a_canary_of_one_is_refused() -> None:
    assert check_spec(flights.spec()).endpoint.instance_count == 2
    with pytest.raises(BadInputError, match="instance_count of at least 2"):
        check_spec(flights.spec() | {"endpoint": {"instance_count": 1}, "rollout": {}})


def test_f49_a_sick_champion_does_not_block_its_fix(world: World) -> None:
    world.onboard(rollout={"strategy": "canary"})
    released(world)
    for variant in world.lab.sagemaker._endpoints._endpoints[ENDPOINT].fleet.variants.values():
        variant.server.model = broken
    assert world.traffic(20) == 20

    assert released(world).outcome == "promoted"
    assert world.traffic(20) == 0


def test_f51_a_watchs_looks_fit_into_one_history_and_a_long_releases_would_not() -> None:
    states = json.loads((ROOT / "statemachines" / "watch.asl.json").read_text())["States"]
    name, look = "How long until the next look?", 0
    for _ in range(4):
        state = states[name]
        look += EVENTS[state["Type"]]
        again = next((c for c in state.get("Choices", []) if c["Next"] == "How long until the next look?"), None)
        name = again["Next"] if again else state.get("Default") or state["Next"]
    assert (name, look) == ("How long until the next look?", 11)
    most = int(re.findall(r"\$looks < (\d+)", json.dumps(states))[0])

    assert most * (look + 3) < 20_000 < HISTORY  # a failed attempt in every look
    stages = Rollout(strategy="multi_stage")
    assert (stages.shadow_seconds + sum(stages.waits)) // 60 * look > HISTORY


# -- registry, remediation, capture --


def marks(world: World) -> list[str | None]:
    """Return the life-cycle mark of each version in the registry."""
    found = world.lab.call("ListModelPackages", ModelPackageGroupName=ENDPOINT)["ModelPackageSummaryList"]
    arns = sorted(package["ModelPackageArn"] for package in found)
    described = [world.lab.call("DescribeModelPackage", ModelPackageName=arn) for arn in arns]
    return [package.get("CustomerMetadataProperties", {}).get("stage") for package in described]


def test_rg_07_the_mark_production_moves_with_a_rollout_and_back_with_its_rollback(world: World) -> None:
    released(world)
    released(world)
    assert marks(world) == [None, "production"]

    finished(Execution(world, "back", kind="rollback", reason="wrong answers"))
    assert marks(world) == ["production", None]


@pytest.mark.parametrize(
    ("purpose", "kind", "severity"),
    [
        ("drift", "drift", "High"), ("bias", "drift", "High"), ("attribution", "drift", "High"), ("quality", "quality", "High"),
        ("drift-notice", None, ""), ("slow", None, ""), ("failing", None, ""), ("silent", None, ""),
    ],
)  # fmt: skip
def test_rb_05_tg_08_what_a_finding_leads_to(purpose: str, kind: str | None, severity: str) -> None:
    """Retrain or only tell, by alarm; the way back of a bad verdict and of a rejection: test_verdict_story, test_way_back."""
    event = json.loads((ROOT / "events" / "on_signal.drift.json").read_text())
    event["detail"]["alarmName"] = f"linnet-{MODEL}-{purpose}"

    found = signals.of_alarm(parse(AlarmEvent, event), "linnet")

    assert (found and (found.kind, found.severity, found.model)) == (kind and (kind, severity, MODEL))


@pytest.mark.parametrize("percent", [1, 20, 100])
def test_dc_04_the_share_that_is_captured_is_the_specs_and_stands_in_the_config(world: World, percent: int) -> None:
    world.onboard(endpoint={"capture_percent": percent})
    released(world)

    capture = world.lab.call("DescribeEndpointConfig", EndpointConfigName=world.config())["DataCaptureConfig"]
    assert (capture["EnableCapture"], capture["InitialSamplingPercentage"]) == (True, percent)


@pytest.mark.parametrize("percent", [-1, 101])
def test_dc_04_another_share_is_refused(percent: int) -> None:
    with pytest.raises(BadInputError, match=r"endpoint\.capture_percent"):
        check_spec(flights.spec() | {"endpoint": {"capture_percent": percent}})


def test_i1_to_i12_are_written_down_with_tests_that_exist() -> None:
    rows = re.findall(r"^\| (I\d+) \|.*\| (.*) \|$", (ROOT / "docs" / "invariants.md").read_text(), re.MULTILINE)
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    functions = "\n".join(re.findall(r"def (test_\w+)", "".join(files.values())))

    assert [name for name, _ in rows] == [f"I{number}" for number in range(1, 13)]
    for _, checked in rows:
        named = re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", checked)
        patterns = [
            word.replace("...", r"\w*") for word in re.findall(r"`(test_[\w.]+)`", checked) if word[-3:] != ".py"
        ]
        assert [name for name in named if name not in files] == []
        assert [word for word in patterns if not re.search(rf"^{word}$", functions, re.MULTILINE)] == []


def test_ro_10_the_examples_of_the_page_about_releases_are_specs_one_for_each_strategy() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "releases.md").read_text(), re.DOTALL)
    rollouts = [yaml.safe_load(line) for line in blocks[0].splitlines()]
    found = [check_spec(flights.spec() | example).rollout.strategy for example in rollouts]

    assert sorted(found) == sorted(get_args(Rollout.model_fields["strategy"].annotation))
    shown = yaml.safe_load(blocks[1])["monitors"]["alarms"]
    assert check_spec(flights.spec() | {"monitors": {"alarms": shown}}).monitors.alarms.model_dump() == shown
    defaults = check_spec(flights.spec()).monitors.alarms.model_dump()
    assert shown | {"requests_below": None} == defaults
