"""What CloudWatch answers about metrics: statistics as its user guide defines them, in order, by pages, or refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.exceptions
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import statistics
from local.stack import DeployError
from tests.stack.conftest import Bench
from tests.stack.test_alarms import make_alarm, reaches

TEN = [(float(value), 1.0) for value in range(1, 11)]
WRONG = [
    "", "average", "Median", "p", "P99", "p101", "p-1", "p99.12345678901", "p1e1", "TM90", "iqm", "tm(5%:95%)", "TC(:)",
    "TC(5)", "TC(5:4)", "TC(5:5)", "TC(10%:90)", "TM(-1:2)", "TM(5%:101%)", "PR(5%:95%)", "PR90", "pr90",
    "TC( 5:9)", "TC(5:9) ",
]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the definitions
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TC(5:)", 5), ("TC(:5)", 5), ("TC(3:5)", 2), ("TC(0.5:1)", 1), ("TC(10:)", 0), ("TC(:0.9)", 0), ("TC(:10)", 10),
        ("PR(:5)", 50), ("PR(5:)", 50), ("PR(2:4)", 20), ("PR(10:)", 0),
        ("TS(8:)", 19), ("TS(80%:)", 19), ("ts80", 36), ("TM(8:)", 9.5), ("TM(10:)", None), ("TM(2:4)", 3.5),
        ("tm80", 4.5), ("TM(:80%)", 4.5), ("TM(20%:80%)", 5.5), ("tc90", 9), ("TC(20%:)", 8), ("tm0", None), ("tc0", 0),
        ("WM(2:4)", 3.5), ("WM(:4)", 3.4), ("p0", 1), ("p100", 10), ("p50", 5.5), ("p99.9", 9.991), ("p0.0", 1),
    ],
)  # fmt: skip
def test_a_statistic_is_what_the_user_guide_says(name: str, expected: float | None) -> None:
    found = statistics.parse(name).value(TEN)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_the_interquartile_mean_cuts_through_datapoints() -> None:
    """The textbook's example: the middle half of nine values is four and a half of them."""
    nine = [(float(value), 1.0) for value in (1, 3, 5, 7, 9, 11, 13, 15, 17)]
    assert statistics.parse("IQM").value(nine) == 9.0
    assert statistics.parse("TC(25%:75%)").value(nine) == 4.5


def test_a_winsorised_mean_takes_the_edges_for_what_is_beyond_them() -> None:
    hundred = [(float(value), 1.0) for value in range(1, 101)]
    edges = [float(np.percentile(range(1, 101), share)) for share in (10, 90)]
    expected = (10 * edges[0] + sum(range(11, 91)) + 10 * edges[1]) / 100
    assert statistics.parse("WM(10%:90%)").value(hundred) == pytest.approx(expected)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_statistic_is_never_a_number(name: str) -> None:
    with pytest.raises(statistics.UnknownStatisticError, match="allowed are"):
        statistics.check(name)


VALUES = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=30)


@given(VALUES, st.integers(0, 20), st.integers(1, 20))
def test_counts_and_ranks_leave_nothing_out_and_nothing_twice(values: list[float], low: int, width: int) -> None:
    samples = [(value, 1.0) for value in values]
    high = low + width

    def of(name: str) -> float:
        found = statistics.parse(name).value(samples)
        assert found is not None
        return found

    assert of(f"TC({low}:{high})") == sum(low < value <= high for value in values)
    assert of(f"TC(:{low})") + of(f"TC({low}:{high})") + of(f"TC({high}:)") == len(values)
    assert of(f"PR({low}:)") == pytest.approx(100 * of(f"TC({low}:)") / len(values))
    assert of("TM(0%:100%)") == pytest.approx(sum(values) / len(values))
    assert of("p75") == pytest.approx(float(np.percentile(values, 75)))


@given(VALUES, st.integers(1, 5))
def test_a_value_seen_several_times_counts_so_often(values: list[float], times: int) -> None:
    weighed = [(value, float(times)) for value in values]
    repeated = [(value, 1.0) for value in values * times]
    for name in ("p90", "tm90", "TC(25%:75%)", "WM(10%:90%)", "PR(3:7)", "TC(3:)"):
        wanted = statistics.parse(name)
        assert wanted.value(weighed) == pytest.approx(wanted.value(repeated))


# ----------------------------------------------------------------------------------------------------- on the emulator
def minute(bench: Bench) -> datetime:
    """Return the start of a full minute that is over."""
    return bench.stack.clock.now().replace(second=0, microsecond=0) - timedelta(minutes=10)


def fill(bench: Bench, values: list[float], at: datetime, metric: str, **datum: Any) -> None:
    common = {"MetricName": metric, "Timestamp": at, "Dimensions": [{"Name": "VariantName", "Value": "blue"}]}
    bench.cloudwatch.put_metric_data(Namespace="S", MetricData=[{**common, "Value": v, **datum} for v in values])


def ask(bench: Bench, metric: str, stats: list[str], at: datetime, **more: Any) -> dict[str, Any]:
    """Ask GetMetricData for ten minutes by minutes."""
    dimensions = more.pop("dimensions", [{"Name": "VariantName", "Value": "blue"}])
    stat = {"Metric": {"Namespace": "S", "MetricName": metric, "Dimensions": dimensions}, "Period": 60}
    stat |= more.pop("stat", {})
    queries = [{"Id": f"q{number}", "MetricStat": {**stat, "Stat": name}} for number, name in enumerate(stats)]
    times = {"StartTime": at, "EndTime": at + timedelta(minutes=10)}
    found: dict[str, Any] = bench.cloudwatch.get_metric_data(MetricDataQueries=queries, **times | more)
    return found


def values(answer: dict[str, Any]) -> list[list[float]]:
    return [result["Values"] for result in answer["MetricDataResults"]]


def test_statistics_of_raw_datapoints_are_answered_by_name(ours: Bench, published: Bench) -> None:
    names = ["p99", "TC(150000:)", "TC(:150000)", "TC(1:150000)", "PR(:150000)", "IQM", "Sum"]

    def answers(bench: Bench) -> list[list[float]]:
        metric, at = bench.name(), minute(bench)
        fill(bench, [150000.0] * 2 + [150000.5] + [0.0] * 7, at, metric)
        return values(ask(bench, metric, names, at))

    assert answers(ours) == [[pytest.approx(150000.455)], [1], [9], [2], [90], [15000], [450000.5]]
    assert answers(published)[1] == [pytest.approx(45000.05)]  # takes any name for Average


def test_the_set_of_dimensions_is_the_metric_and_a_unit_chooses_among_its_datapoints(
    ours: Bench, published: Bench
) -> None:
    def answers(bench: Bench) -> list[list[list[float]]]:
        metric, at = bench.name(), minute(bench)
        fill(bench, [1.0], at, metric, Unit="Microseconds")
        fill(bench, [5.0], at, metric, Unit="Count")
        named = [{"Name": "VariantName", "Value": "blue"}, {"Name": "EndpointConfigName", "Value": "v1"}]
        fill(bench, [100.0], at, metric, Dimensions=named)
        asked = [{}, {"dimensions": named}, {"dimensions": []}, {"stat": {"Unit": "Count"}}]
        return [values(ask(bench, metric, ["Sum"], at, **more)) for more in asked]

    assert answers(ours) == [[[6.0]], [[100.0]], [[]], [[5.0]]]
    assert answers(published) == [[[6.0]], [[100.0]], [[106.0]], [[6.0]]]


def test_datapoints_come_newest_first_unless_asked_otherwise(ours: Bench, published: Bench) -> None:
    def answers(bench: Bench) -> list[dict[str, Any]]:
        metric, at = bench.name(), minute(bench)
        for number in range(3):
            fill(bench, [float(number)], at + timedelta(minutes=number), metric)
        orders: list[dict[str, Any]] = [{}, {"ScanBy": "TimestampDescending"}, {"ScanBy": "TimestampAscending"}]
        return [ask(bench, metric, ["Sum"], at, **order)["MetricDataResults"][0] for order in orders]

    default, falling, rising = answers(ours)
    assert default["Values"] == falling["Values"] == [2.0, 1.0, 0.0]
    assert rising["Values"] == [0.0, 1.0, 2.0]
    assert rising["Timestamps"] == sorted(default["Timestamps"])
    assert default["Timestamps"] == falling["Timestamps"] == sorted(default["Timestamps"], reverse=True)
    assert all(moment.second == 0 and moment.tzinfo for moment in rising["Timestamps"])
    assert answers(published)[0]["Values"] == [0.0, 1.0, 2.0]


def test_a_start_within_a_minute_means_the_whole_minute(ours: Bench) -> None:
    metric, at = ours.name(), minute(ours)
    fill(ours, [1.0], at, metric)
    fill(ours, [2.0], at + timedelta(seconds=40), metric)
    answer = ask(ours, metric, ["Sum"], at, StartTime=at + timedelta(seconds=30))
    assert values(answer) == [[3.0]]
    assert answer["MetricDataResults"][0]["Timestamps"] == [at.astimezone(UTC)]


@pytest.mark.parametrize("order", ["TimestampDescending", "TimestampAscending"])
def test_pages_show_every_datapoint_once_and_in_order(ours: Bench, order: str) -> None:
    metric, at = ours.name(), minute(ours)
    for number in range(5):
        fill(ours, [float(number)] * 2, at + timedelta(minutes=number), metric)
    whole = ask(ours, metric, ["Sum", "SampleCount"], at, ScanBy=order)
    assert "NextToken" not in whole
    joined: list[list[float]] = [[], []]
    pages, more = 0, {}
    while True:
        answer = ask(ours, metric, ["Sum", "SampleCount"], at, ScanBy=order, MaxDatapoints=3, **more)
        pages += 1
        assert sum(map(len, values(answer))) == (3 if pages < 4 else 1)
        for result, parts in zip(answer["MetricDataResults"], joined, strict=True):
            parts.extend(result["Values"])
            assert result["StatusCode"] == ("Complete" if len(parts) == 5 else "PartialData")
        if "NextToken" not in answer:
            break
        more = {"NextToken": answer["NextToken"]}
        if pages == 2 and order == "TimestampDescending":  # what is newer than the pages shown does not disturb
            fill(ours, [99.0], at + timedelta(minutes=9), metric)
    assert pages == 4
    assert joined == values(whole)


@pytest.mark.parametrize(
    ("stats", "more", "code"),
    [
        *(([name], {}, "ValidationError") for name in WRONG[1:]),
        (["Sum"], {"stat": {"Period": 90}}, "ValidationError"),
        (["Sum"], {"NextToken": "guess"}, "InvalidNextToken"),
        (["Sum"], {"MaxDatapoints": 100_801}, "ValidationError"),
        (["Sum"], {"ScanBy": "Value"}, "ValidationError"),
        (["Sum"], {"EndTime": datetime(2020, 1, 1, tzinfo=UTC)}, "ValidationError"),
        (["Sum"] * 501, {}, "ValidationError"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    ours: Bench, stats: list[str], more: dict[str, Any], code: str
) -> None:
    at = minute(ours)
    fill(ours, [1.0], at, "refused")
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        ask(ours, "refused", stats, at, **more)
    assert refusal.value.response["Error"]["Code"] == code


def test_two_answers_of_one_name_are_refused(ours: Bench) -> None:
    at = minute(ours)
    stat = {"Metric": {"Namespace": "S", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    queries = [{"Id": "same", "MetricStat": stat}] * 2
    with pytest.raises(botocore.exceptions.ClientError, match="not unique"):
        ours.cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=at, EndTime=at + timedelta(hours=1))


def test_nothing_beyond_minimum_and_maximum_is_known_of_negative_values_and_statistic_sets(ours: Bench) -> None:
    metric, at = ours.name(), minute(ours)
    fill(ours, [-1.0, 1.0], at, metric)
    assert values(ask(ours, metric, ["p50", "TC(0:)", "Minimum"], at)) == [[], [], [-1.0]]
    metric = ours.name()
    datum = {"MetricName": metric, "Timestamp": at, "Dimensions": [{"Name": "VariantName", "Value": "blue"}]}
    sets = {"SampleCount": 3.0, "Sum": 6.0, "Minimum": 1.0, "Maximum": 3.0}
    ours.cloudwatch.put_metric_data(Namespace="S", MetricData=[{**datum, "StatisticValues": sets}])
    assert values(ask(ours, metric, ["p50", "TC(0:)", "Average"], at)) == [[], [], [2.0]]


# --------------------------------------------------------------------------------------- GetMetricStatistics and alarms
def statistic(bench: Bench, metric: str, at: datetime, **more: Any) -> list[dict[str, Any]]:
    request = {"Namespace": "S", "MetricName": metric, "Dimensions": [{"Name": "VariantName", "Value": "blue"}]}
    request |= {"StartTime": at, "EndTime": at + timedelta(minutes=10), "Period": 60}
    return list(bench.cloudwatch.get_metric_statistics(**request | more)["Datapoints"])


def test_get_metric_statistics_answers_percentiles_of_one_metric(ours: Bench) -> None:
    metric, at = ours.name(), minute(ours)
    fill(ours, [float(value) for value in range(1, 11)], at, metric)
    (found,) = statistic(ours, metric, at, ExtendedStatistics=["p50", "p99.9"])
    assert found["ExtendedStatistics"] == {"p50": 5.5, "p99.9": pytest.approx(9.991)}
    assert statistic(ours, metric, at, Statistics=["Sum"], Dimensions=[]) == []
    assert statistic(ours, metric, at, Statistics=["Sum"], Unit="Bytes") == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "InvalidParameterCombination"),
        ({"Statistics": ["Sum"], "ExtendedStatistics": ["p50"]}, "InvalidParameterCombination"),
        ({"Statistics": ["p50"]}, "InvalidParameterValue"),
        ({"ExtendedStatistics": ["TC(5:)"]}, "InvalidParameterValue"),
        ({"ExtendedStatistics": ["p101"]}, "ValidationError"),
        ({"Statistics": ["Sum"], "Period": 61}, "ValidationError"),
        ({"Statistics": ["Sum"], "StartTime": datetime(2020, 1, 1, tzinfo=UTC)}, "InvalidParameterCombination"),
    ],
)
def test_get_metric_statistics_refuses_what_it_cannot_answer(ours: Bench, more: dict[str, Any], code: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        statistic(ours, "any", minute(ours), **more)
    assert refusal.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(("name", "threshold"), [("p99", 0.8), ("PR(0.5:)", 60.0), ("IQM", 0.6), ("TC(10%:90%)", 2.3)])
def test_an_alarm_watches_an_extended_statistic(ours: Bench, name: str, threshold: float) -> None:
    metric = ours.name()
    watched = {"Namespace": "S", "MetricName": metric, "Dimensions": [{"Name": "VariantName", "Value": "blue"}]}
    kept = {"Statistic": None, "ExtendedStatistic": name, "TreatMissingData": "ignore", "Threshold": threshold}
    alarm = make_alarm(ours, **watched, **kept)
    fill(ours, [0.1, 0.9, 0.9], ours.stack.clock.now(), metric)
    reaches(ours, alarm, "ALARM")


@pytest.mark.parametrize("name", ["TC(5:)", "TM(150:1000)", "TC(5%:95%)", "p101", "Median"])
def test_an_alarm_on_a_statistic_that_alarms_do_not_have_is_refused(ours: Bench, name: str, tmp_path: Path) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="ValidationError"):
        make_alarm(ours, MetricName="m", Statistic=None, ExtendedStatistic=name)
    template = {
        "Resources": {
            "A": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "Namespace": "S", "MetricName": "m", "ExtendedStatistic": name, "Period": 60, "EvaluationPeriods": 1,
                    "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1,
                },
            }
        }
    }  # fmt: skip
    (tmp_path / "template.yaml").write_text(json.dumps(template))
    with pytest.raises(DeployError, match="ExtendedStatistic"):
        ours.stack.deploy(tmp_path / "template.yaml", ours.name())
