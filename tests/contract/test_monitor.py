"""The first data-quality monitor against AWS as moto plays it: real capture of real flights, real statistics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from linnet.decisions import monitoring
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import findings, ledger
from linnet.monitoring.files import statistics_json, suggest_constraints
from linnet.monitoring.profile import profile
from linnet.monitoring.store import profile_bytes
from linnet.monitoring.tables import Source, read_table
from linnet.settings import settings
from models.flights import data as flights
from tests.contract import monitor_world
from tests.contract.monitor_world import asked, serve
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, due, handler, sample, world  # noqa: F401

START, END = "2026-11-21T09:00:00Z", "2026-11-21T10:00:00Z"
NAMESPACE = "aws/sagemaker/Endpoints/data-metrics"


@pytest.fixture
def serving(world: World) -> World:
    """Return a world in which flights serves."""
    return served(world)


def served(world: World) -> World:
    """Let flights be onboarded and serve with the baseline of its winter data."""
    baseline = f"s3://{BUCKET}/baselines/flights/r0123456789ab"
    spec = serve(run="r0123456789ab", baseline=baseline, at="2026-11-21T09:00:00Z")
    lines = flights.requests(season="winter", count=3000)[300:]
    content = "\n".join([",".join(flights.FEATURES), *lines]).encode()
    known = profile(read_table([Source("train", content)]), kinds=spec["data"]["features"])
    world.put("baselines/flights/r0123456789ab/statistics.json", statistics_json(known))
    world.put("baselines/flights/r0123456789ab/constraints.json", suggest_constraints(known))
    return world


def capture(
    world: World, rows: list[str], *, config: str = "linnet-flights-v1-f1", variant: str = "blue", at: str = START
) -> None:  # fmt: skip
    """Put what SageMaker captures of these requests, spread over the hour from `at`."""
    first = datetime.fromisoformat(at)
    lines = []
    for number, row in enumerate(rows):
        moment = first + timedelta(seconds=3599 * number / max(1, len(rows)))
        lines.append(asked(row, "0.1", f"e{variant}{number}", moment.strftime("%Y-%m-%dT%H:%M:%SZ")))
    key = f"data-capture/{config}/linnet-flights/{variant}/{first:%Y/%m/%d/%H}/00-00-000-{variant}.jsonl"
    world.put(key, "\n".join(lines) + "\n")


def look(**changes: Any) -> dict[str, Any]:
    return dict(handler("monitor_window")(sample("monitor_window") | changes, CONTEXT))


def finding() -> dict[str, Any]:
    found = ledger.read("model/flights", f"finding#data-quality#{START}")
    assert found is not None
    return found


def metrics(world: World, namespace: str = NAMESPACE) -> dict[str, list[float]]:
    known = monitor_world.metrics(world, "data-quality", namespace, (START, END))
    return {name: [value] for name, (value, _) in known.items()}


# --- list_monitored ----------------------------------------------------------------------------------------------


def test_the_window_that_is_over_is_due_until_it_was_looked_at(serving: World) -> None:
    window = {"model": "flights", "kind": "data-quality", "start": START, "end": END}

    assert due() == due(time="2026-11-21T10:59:59Z") == [window]
    capture(serving, flights.requests(count=200))
    look()
    assert due() == []
    assert due(again=True) == due(model="flights", again=True) == [window]


def test_lost_ticks_are_made_up_for_but_not_before_the_champion(serving: World) -> None:
    starts = [w["start"] for w in due(time="2026-11-21T13:00:20Z")]
    early = [w["start"] for w in due(time="2026-11-21T11:00:00Z")]
    capture(serving, flights.requests(count=200))
    look()

    assert starts == [f"2026-11-21T{hour}:00:00Z" for hour in ("10", "11", "12")]
    assert early == [START, END]
    assert [w["start"] for w in due(time="2026-11-21T11:00:00Z")] == [END]


def test_a_window_that_stays_unknown_is_taken_once_in_an_hour_of_its_age_or_by_name(serving: World) -> None:
    """With a tick every five minutes, a look of six minutes would start twice and a missing baseline be told 36 times."""
    ticks = [due(time=f"2026-11-21T{at}Z", correlation_id=at) for at in ("10:00:00", "10:05:00", "10:55:00")]

    assert [len(windows) for windows in ticks] == [1, 0, 0]
    assert due(time="2026-11-21T10:05:00Z", correlation_id="10:00:00") == ticks[0]  # Lambda is called again
    assert due(time="2026-11-21T10:05:00Z", correlation_id="by hand", model="flights") == ticks[0]
    later = due(time="2026-11-21T11:00:00Z", correlation_id="11:00:00")
    assert [w["start"] for w in later] == [START, END]
    assert due(time="2026-11-21T11:05:00Z", correlation_id="11:05:00") == []


def test_no_window_of_five_minutes_is_lost_under_an_hourly_tick(serving: World) -> None:
    row = ledger.read("model/flights", "spec") or {}
    row["spec"]["monitors"]["data_quality"]["window_minutes"] = 5
    ledger.change("model/flights", "spec", put={"spec": row["spec"]})

    starts = [w["start"] for w in due(time="2026-11-21T10:00:20Z")]

    assert starts == [f"2026-11-21T09:{minute:02}:00Z" for minute in range(0, 60, 5)]


def test_windows_are_handed_out_in_an_object_and_those_that_need_a_job_by_themselves(
    serving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state machine's children get them from S3: a thousand models are more than the 256 KiB of a state."""
    window = {
        "model": "flights", "kind": "data-quality", "start": START, "end": END,
        "correlation_id": sample("list_monitored")["correlation_id"],
        "work": f"monitoring-shards/now/flights/data-quality/{START}/",
    }  # fmt: skip
    ask = sample("list_monitored") | {"execution": "now"}

    first, again = (handler("list_monitored")(ask, CONTEXT) for _ in range(2))
    assert first == again == {"count": 1, "bucket": BUCKET, "key": "monitoring-shards/now/due.json", "jobs": []}
    assert serving.documents("monitoring-shards/") == {"monitoring-shards/now/due.json": [window]}
    monkeypatch.setattr(monitoring, "BY_JOB", frozenset({"data-quality"}))
    assert handler("list_monitored")(ask, CONTEXT) == first | {"count": 0, "jobs": [window]}


def test_what_is_more_than_a_tick_takes_is_left_to_the_next(serving: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("boats", "cars"):
        row = ledger.read("model/flights", "spec") or {}
        ledger.put_once("models", name, {"model": name, "spec_digest": "d"})
        ledger.put_once(
            f"model/{name}", "spec", {"spec": row["spec"] | {"model": name}, "digest": "d", "version_id": "v"}
        )
        ledger.put_once(f"model/{name}", "champion", {"version": 1, "run": "r", "at": START})
    monkeypatch.setattr(findings, "MOST_WINDOWS", 2)

    ticks = [due(time=f"2026-11-21T10:{minute}:00Z", correlation_id=minute) for minute in ("00", "05", "10")]
    assert [[one["model"] for one in tick] for tick in ticks] == [["boats", "cars"], ["flights"], []]


@pytest.mark.parametrize(
    "off",
    [
        {"monitors": {"data_quality": {"enabled": False}, "model_quality": {"enabled": False}}},
        {"endpoint": {"capture_percent": 0}},
    ],
)
def test_a_model_without_monitor_or_capture_is_left_out(serving: World, off: dict[str, Any]) -> None:
    row = ledger.read("model/flights", "spec") or {}
    ledger.change("model/flights", "spec", put={"spec": row["spec"] | off})

    assert due() == []


def test_a_model_without_champion_is_left_out(serving: World) -> None:
    ledger.remove("model/flights", "champion")

    assert due() == []


def test_a_wrong_time_or_model_is_an_error_that_names_it(serving: World) -> None:
    with pytest.raises(BadInputError, match=r"^time: 'yesterday'"):
        due(time="yesterday")
    with pytest.raises(NotFoundError, match="model planes is not onboarded"):
        due(model="planes")


# --- monitor_window ----------------------------------------------------------------------------------------------


def test_a_quiet_window_is_completed_without_violation_or_message_mo_02(serving: World) -> None:
    capture(serving, flights.requests(season="winter", count=250))

    assert look() == {"model": "flights", "status": "Completed", "severity": None, "features": []}

    assert serving.messages() == []
    files = serving.documents("monitoring/")
    assert sorted(files) == [
        f"monitoring/linnet-flights/2026/11/21/09/{name}.json"
        for name in ("constraint_violations", "constraints", "statistics")
    ]
    assert files["monitoring/linnet-flights/2026/11/21/09/constraint_violations.json"] == {"violations": []}
    assert files["monitoring/linnet-flights/2026/11/21/09/statistics.json"]["dataset"]["item_count"] == 250
    seen = metrics(serving)
    assert seen["windows_without_data"] == [0.0]
    assert seen["feature_baseline_drift_max"][0] < 0.1
    assert (seen["rows"], seen["bad_lines"], seen["violations"]) == ([250.0], [0.0], [0.0])
    assert set(seen) == {
        "rows", "bad_lines", "window_coverage", "violations", "windows_without_data", "feature_baseline_drift_max",
    }  # fmt: skip


def test_the_metrics_lie_in_the_last_minute_of_their_window_and_so_in_its_period_tg_07(serving: World) -> None:
    """CloudWatch may take two days to show what is a day old when it is put: a daily window's start was."""
    capture(serving, flights.requests(season="winter", count=250))
    look()

    points = serving.cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE, MetricName="rows", Period=60, Statistics=["Maximum"],
        StartTime=datetime.fromisoformat(START) - timedelta(days=1), EndTime=datetime.fromisoformat(END) + timedelta(days=1),
        Dimensions=[
            {"Name": "Endpoint", "Value": "linnet-flights"},
            {"Name": "MonitoringSchedule", "Value": "linnet-flights-data-quality"},
        ],
    )["Datapoints"]  # fmt: skip
    assert [p["Timestamp"] for p in points] == [datetime.fromisoformat("2026-11-21T09:59:00Z")]


def test_only_features_that_the_spec_names_have_metrics_of_their_own(serving: World) -> None:
    row = ledger.read("model/flights", "spec") or {}
    row["spec"]["monitors"]["metrics_for"] = ["temp"]
    ledger.change("model/flights", "spec", put={"spec": row["spec"]})
    capture(serving, flights.requests(season="summer", count=250))
    look()

    seen = metrics(serving)
    assert {name for name in seen if "feature" in name} == {
        "feature_baseline_drift_max", "feature_baseline_drift_temp", "feature_data_temp", "feature_non_null_temp",
    }  # fmt: skip
    assert seen["feature_baseline_drift_temp"] == [pytest.approx(finding()["scores"]["temp"])]
    assert seen["feature_non_null_temp"] == [1.0]


def test_the_prefix_of_the_metrics_is_the_stacks(serving: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_METRICS_PREFIX", "our/own")
    settings.cache_clear()
    capture(serving, flights.requests(season="winter", count=250))
    look()

    assert metrics(serving) == {}
    assert metrics(serving, "our/own/Endpoints/data-metrics")["rows"] == [250.0]


def test_emit_metrics_disabled_puts_no_metric_and_still_finds(serving: World) -> None:
    key = "baselines/flights/r0123456789ab/constraints.json"
    document = serving.documents(key)[key]
    document["monitoring_config"]["emit_metrics"] = "Disabled"
    serving.put(key, document)
    capture(serving, flights.requests(season="summer", count=250))

    assert look()["status"] == "CompletedWithViolations"
    assert metrics(serving) == {}


def test_summer_traffic_is_drift_with_the_feature_named_and_told_once_mo_03_mo_04(serving: World) -> None:
    capture(serving, flights.requests(season="summer", count=250))

    first, again = look(), look()

    assert first == again
    assert (first["status"], first["severity"]) == ("CompletedWithViolations", "High")
    assert "temp" in first["features"]
    row = finding()
    assert row["scores"]["temp"] == max(row["scores"].values()) > 0.3
    assert metrics(serving)["feature_baseline_drift_max"] == [pytest.approx(row["scores"]["temp"])]
    (message,) = serving.messages()
    assert (message["kind"], message["model"]) == ("drift", "flights")
    assert "temp" in message["what"]
    assert message["correlation_id"] == sample("monitor_window")["correlation_id"]
    assert [e["kind"] for e in ledger.history("model/flights")] == ["finding"]


@pytest.mark.parametrize("rows", [0, 99])
def test_too_little_traffic_is_unknown_neither_healthy_nor_drift_i7(serving: World, rows: int) -> None:
    capture(serving, flights.requests(season="summer", count=rows))

    assert look() == {"model": "flights", "status": "no_data", "severity": None, "features": []}

    seen = metrics(serving)
    assert seen.pop("window_coverage")[0] <= 1
    assert seen == {"windows_without_data": [1.0], "rows": [float(rows)], "bad_lines": [0.0]}
    assert serving.messages() == []
    assert finding()["rows"] == rows


def test_a_window_without_any_capture_is_unknown(serving: World) -> None:
    assert look()["status"] == "no_data"


def test_only_the_windows_own_requests_of_the_configs_that_serve_count_dc_03(serving: World) -> None:
    role = "arn:aws:iam::123456789012:role/sagemaker"
    serving.sagemaker.create_model(ModelName="linnet-flights-v2", ExecutionRoleArn=role)
    both = "linnet-flights-v2-f2-both"
    variant = {
        "VariantName": "blue", "ModelName": "linnet-flights-v2", "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.xlarge", "InitialVariantWeight": 1.0,
    }  # fmt: skip
    serving.sagemaker.create_endpoint_config(EndpointConfigName=both, ProductionVariants=[variant])
    serving.sagemaker.create_endpoint(EndpointName="linnet-flights", EndpointConfigName=both)
    winter = flights.requests(season="winter", count=150)
    capture(serving, winter)
    capture(serving, winter[:100], config=both, variant="green")
    capture(serving, winter, config="linnet-flights-v0-f0")  # serves no more
    capture(serving, winter, at="2026-11-21T08:00:00Z")
    capture(serving, winter, at=END)

    look()

    assert finding()["rows"] == 250


def test_the_baseline_follows_the_champion(serving: World) -> None:
    lines = flights.requests(season="summer", count=3000)[300:]
    content = "\n".join([",".join(flights.FEATURES), *lines]).encode()
    known = profile(read_table([Source("train", content)]))
    serving.put("baselines/flights/rffffffffffff/statistics.json", statistics_json(known))
    serving.put("baselines/flights/rffffffffffff/constraints.json", suggest_constraints(known))
    ledger.change(
        "model/flights", "champion", put={"baseline": f"s3://{BUCKET}/baselines/flights/rffffffffffff/statistics.json"}
    )  # fmt: skip
    capture(serving, flights.requests(season="summer", count=250))

    assert look()["status"] == "Completed"


def test_unreadable_lines_are_counted_and_the_rest_is_judged(serving: World) -> None:
    capture(serving, flights.requests(season="winter", count=200))
    serving.put("data-capture/linnet-flights-v1-f1/linnet-flights/green/2026/11/21/09/x.jsonl", "{}\nno json\n")

    assert look()["status"] == "Completed"
    assert finding()["lines"] == {"read": 202, "bad": 2, "outside": 0, "odd_rows": 0}


def test_a_missing_or_broken_baseline_is_an_error_never_a_healthy_window(serving: World) -> None:
    capture(serving, flights.requests(count=200))
    serving.put("baselines/flights/r0123456789ab/statistics.json", "[]")
    with pytest.raises(BadInputError, match=r"statistics.json: .* a JSON object"):
        look()
    serving.s3.delete_object(Bucket=BUCKET, Key="baselines/flights/r0123456789ab/statistics.json")
    with pytest.raises(NotFoundError, match=r"statistics.json .* does not exist"):
        look()
    ledger.remove("model/flights", "champion")
    with pytest.raises(NotFoundError, match="flights has no champion"):
        look()
    assert ledger.read("model/flights", f"finding#data-quality#{START}") is None


def test_sagemaker_out_of_order_is_raised_and_not_taken_for_no_traffic(
    serving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from linnet.gateways import clients  # noqa: PLC0415

    def refuse(**_: Any) -> None:
        answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
        raise ClientError(answer, "DescribeEndpoint")

    monkeypatch.setattr(clients.client("sagemaker"), "describe_endpoint", refuse)
    capture(serving, flights.requests(count=200))

    with pytest.raises(ClientError, match="AccessDenied"):
        look()


def test_times_of_the_samples_are_whole_windows() -> None:
    assert datetime.fromisoformat(END) - datetime.fromisoformat(START) == timedelta(hours=1)
    assert datetime.fromisoformat(sample("monitor")["time"]).astimezone(UTC).minute == 0


def test_a_window_has_a_page_for_people_that_names_what_drifted_and_links_to_who_made_the_champion(
    serving: World,
) -> None:
    capture(serving, flights.requests(season="summer", count=250))
    look()

    stored = serving.s3.get_object(Bucket=BUCKET, Key="monitoring/linnet-flights/2026/11/21/09/report.html")
    page = stored["Body"].read().decode()
    assert stored["ContentType"] == "text/html; charset=utf-8"
    drifted = finding()["features"]
    assert drifted
    assert all(name in page for name in drifted)
    assert page.count("<figure") == len([name for name in drifted if name in finding()["scores"]])
    assert "bars" not in finding()


def test_a_window_is_compared_with_the_exact_profile_where_the_baseline_has_one(serving: World) -> None:
    """A statistics.json has 4,096 quantiles of a column at most: the mean of a heavy tail is not in them."""
    lines = flights.requests(season="winter", count=3000)[300:]
    content = "\n".join([",".join(flights.FEATURES), *lines]).encode()
    exact = profile(read_table([Source("train", content)]), kinds=flights.spec()["data"]["features"])
    shifted = replace(
        exact, columns={n: replace(c, values=c.values + 1e6) if c.numeric else c for n, c in exact.columns.items()}
    )
    capture(serving, flights.requests(season="winter", count=250))
    assert look()["status"] == "Completed"

    key = "baselines/flights/r0123456789ab/profile.arrow"
    serving.s3.put_object(Bucket=BUCKET, Key=key, Body=profile_bytes(shifted))
    assert look()["status"] == "CompletedWithViolations"
    serving.s3.put_object(Bucket=BUCKET, Key=key, Body=b"no profile")
    with pytest.raises(BadInputError):
        look()
