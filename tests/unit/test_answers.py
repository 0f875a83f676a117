"""Captured answers, labels and minutes as a look reads them: each counted once, in its place, within bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from linnet.decisions.sequential import Minute
from linnet.errors import UnknownOutcomeError
from linnet.gateways import answers, clients, metrics, s3
from linnet.gateways.sagemaker import PROBE
from linnet.settings import settings

BUCKET, ENDPOINT = "linnet-data", "linnet-flights"
NEW, OLD = ("green", "linnet-flights-v2-f2-both"), ("blue", "linnet-flights-v2-f2-both")
SINCE = datetime(2026, 11, 21, 9, tzinfo=UTC)
EDGES = [0.25, 0.5, 0.75]
HALVES = (0.5, 0.5)


class Bucket:
    """The data bucket as SageMaker and callers fill it."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.s3.create_bucket(Bucket=BUCKET)
        self.files = 0

    def put(self, key: str, lines: Sequence[str]) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body="\n".join(lines).encode())
        return key

    def capture(self, fleet: tuple[str, str], *lines: str, at: datetime = SINCE) -> str:
        """Put one file of captured requests; its name sorts after those of before."""
        self.files += 1
        variant, config = fleet
        folder = f"data-capture/{config}/{ENDPOINT}/{variant}/{at:%Y/%m/%d/%H}"
        return self.put(f"{folder}/{at:%M-%S}-{self.files:06d}.jsonl", lines)

    def truth(self, name: str, labels: dict[str, str], hour: datetime = SINCE) -> str:
        """Put one file of ground truth."""
        lines = [
            json.dumps({"groundTruthData": {"data": label, "encoding": "CSV"}, "eventMetadata": {"eventId": identity}})
            for identity, label in labels.items()
        ]
        return self.put(f"ground-truth/{ENDPOINT}/{hour:%Y/%m/%d/%H}/{name}.jsonl", lines)


def line(identity: str, answer: str | None, *, rows: int = 1, at: datetime = SINCE, how: str = "CSV") -> str:
    """Return a captured request of some rows, as SageMaker writes it."""
    code = {"CSV": str, "BASE64": lambda text: base64.b64encode(text.encode()).decode()}[how]
    sides: dict[str, Any] = {"endpointInput": {"data": code("\n".join(["1,2"] * rows)), "encoding": how}}
    if answer is not None:
        sides["endpointOutput"] = {"observedContentType": "text/csv", "data": code(answer), "encoding": how}
    meta = {"eventId": f"event-{identity}", "inferenceId": identity, "inferenceTime": at.isoformat()}
    return json.dumps({"captureData": sides, "eventMetadata": meta, "eventVersion": "0"})


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return an empty data bucket of a fresh account."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "LINNET_STACK": "linnet", "LINNET_DATA_BUCKET": BUCKET, "LINNET_TABLE": "ledger", "LINNET_BUS": "linnet",
        "LINNET_TOPIC": "arn:aws:sns:us-east-1:123456789012:linnet",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with mock_aws():
        settings.cache_clear()
        clients.client.cache_clear()
        yield Bucket()
    settings.cache_clear()
    clients.client.cache_clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the URIs that are read, as they are."""
    seen: list[str] = []
    read = s3.read

    def spy(uri: str, **more: Any) -> bytes:
        seen.append(uri)
        return read(uri, **more)

    monkeypatch.setattr(s3, "read", spy)
    return seen


# -- predictions ------------------------------------------------------------------------------------------------------


def test_answers_are_counted_over_the_bins_and_each_once_however_often_one_looks(
    bucket: Bucket, counted: list[str]
) -> None:
    bucket.capture(NEW, line("a", "0.1"), line("b", "0.25"), line("c", "0.26"))
    first = answers.predictions(NEW, ENDPOINT, EDGES, {})
    last = bucket.capture(NEW, line("d", "0.9"))
    bucket.capture(OLD, line("e", "0.9"))
    second = answers.predictions(NEW, ENDPOINT, EDGES, json.loads(json.dumps(first)))

    assert first["counts"] == [2, 1, 0, 0]
    assert second == {"after": f"s3://{BUCKET}/{last}", "counts": [2, 1, 0, 1]}
    assert answers.predictions(NEW, ENDPOINT, EDGES, second) == second
    assert len(counted) == 2  # no file was read again


def test_requests_of_several_rows_and_in_base64_count_row_by_row(bucket: Bucket) -> None:
    bucket.capture(
        NEW, line("a", "0.1\n0.3\n0.6", rows=3), line("b", "0.1,0.9", rows=2), line("c", "0.8", how="BASE64")
    )

    assert answers.predictions(NEW, ENDPOINT, EDGES, {})["counts"] == [2, 1, 1, 2]


@pytest.mark.parametrize(
    "left_out",
    [
        line(f"{PROBE}12-3", "0.1"), "no record", "[]", "{}", '{"captureData": {}}', "\xff",
        line("x", None), line("x", "late"), line("x", "nan"), line("x", "0.1", rows=2), line("x", "0.1\nwhat", rows=2),
    ],
)  # fmt: skip
def test_probes_and_what_is_no_answer_are_left_out_and_the_rest_of_the_file_counts(
    bucket: Bucket, left_out: str
) -> None:
    bucket.capture(NEW, line("a", "0.1"), left_out, line("b", "0.9"))

    assert answers.predictions(NEW, ENDPOINT, EDGES, {})["counts"] == [1, 0, 0, 1]


def test_a_fleet_is_its_variant_and_its_config(bucket: Bucket) -> None:
    for other in (("green2", NEW[1]), (NEW[0], f"{NEW[1]}2"), (NEW[0], "linnet-flights-v2-f2")):
        bucket.capture(other, line("a", "0.1"))

    assert answers.predictions(NEW, ENDPOINT, EDGES, {}) == {"after": "", "counts": [0, 0, 0, 0]}


def test_a_look_reads_no_more_than_its_files_and_goes_on_where_it_stopped(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_MOST_FILES", 3)
    for number in range(8):
        bucket.capture(NEW, line(str(number), "0.1"))
    state: dict[str, Any] = {}
    seen = []
    for _ in range(4):
        state = answers.predictions(NEW, ENDPOINT, EDGES, state)
        seen.append(sum(state["counts"]))

    assert seen == [3, 6, 8, 8]


def test_enough_answers_are_enough(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    monkeypatch.setattr(answers, "MOST_ANSWERS", 4)
    for number in range(40):
        bucket.capture(NEW, line(f"{number}a", "0.1"), line(f"{number}b", "0.9"))
    found = answers.predictions(NEW, ENDPOINT, EDGES, {})
    read = len(counted)

    assert sum(found["counts"]) == 4
    assert read < 40
    assert answers.predictions(NEW, ENDPOINT, EDGES, found) == found
    assert len(counted) == read


# -- agreement --------------------------------------------------------------------------------------------------------


def test_mirrored_requests_are_compared_by_each_models_own_threshold(bucket: Bucket) -> None:
    bucket.capture(NEW, *(line(name, "0.3") for name in "abf"), line("c", "0.29"), line("d", "0.9"))
    bucket.capture(OLD, line("a", "0.7"), *(line(name, "0.69") for name in "bcf"), line("e", "0.9"))
    found = answers.agreement(NEW, OLD, ENDPOINT, (0.3, 0.7), {})

    assert (found["hits"], found["of"]) == (2, 4)  # b, f: 0.3 is at the shadow's threshold, 0.69 below the champion's
    assert set(found["open"]) == {"d", "e"}


@pytest.mark.parametrize("shadow_first", [True, False])
def test_halves_of_a_request_that_come_in_different_looks_still_meet_and_once(
    bucket: Bucket, shadow_first: bool
) -> None:
    one, other = (NEW, OLD) if shadow_first else (OLD, NEW)
    bucket.capture(one, line("a", "0.1"), line("b", "0.9\n0.1", rows=2))
    early = answers.agreement(NEW, OLD, ENDPOINT, HALVES, {})
    bucket.capture(other, line("a", "0.2"), line("b", "0.8\n0.8", rows=2))
    late = answers.agreement(NEW, OLD, ENDPOINT, HALVES, json.loads(json.dumps(early)))

    assert (early["of"], late["of"], late["hits"], late["open"]) == (0, 3, 1, {})
    assert answers.agreement(NEW, OLD, ENDPOINT, HALVES, late) == late


def test_a_half_without_a_usable_answer_is_no_disagreement(bucket: Bucket) -> None:
    bucket.capture(NEW, line("a", None), line("b", "oops"), line("c", "0.1"))
    bucket.capture(OLD, line("a", "0.9"), line("b", "0.9"), line("c", "0.1"))
    found = answers.agreement(NEW, OLD, ENDPOINT, HALVES, {})

    assert (found["hits"], found["of"]) == (0, 1)


def test_halves_without_a_partner_are_remembered_up_to_a_bound_the_newest_of_them(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_MOST_OPEN", 3)
    bucket.capture(NEW, *(line(str(number), "0.1") for number in range(9)))
    found = answers.agreement(NEW, OLD, ENDPOINT, HALVES, {})

    assert list(found["open"]) == ["6", "7", "8"]


# -- labelled ---------------------------------------------------------------------------------------------------------


def labelled(state: dict[str, Any], thresholds: tuple[float, float] = HALVES) -> dict[str, Any]:
    return answers.labelled(NEW, OLD, ENDPOINT, SINCE, thresholds, json.loads(json.dumps(state)))


def test_labels_tell_which_calls_were_wrong_fleet_by_fleet_and_how(bucket: Bucket) -> None:
    bucket.capture(NEW, line("a", "0.9"), line("b", "0.9"), line("c", "0.1"), line("d", "0.9\n0.1", rows=2))
    bucket.capture(OLD, line("e", "0.1"), line("f", "0.9"))
    bucket.truth("0", {"a": "1", "b": "0", "c": "1.0", "d": "1\n1", "e": "0", "f": "0", "nobody": "1"})
    found = labelled({})

    assert found["files"] == [[5, 3, 2, 1]]
    assert found["calls"] == [".pn.n", ".p"]
    assert Minute(*found["files"][0]) == Minute(new=5, new_hits=3, old=2, old_hits=1)


def test_nothing_is_read_while_no_label_has_come(bucket: Bucket, counted: list[str]) -> None:
    bucket.capture(NEW, line("a", "0.9"))

    assert labelled({}) == {"after": "", "last": [], "files": [], "calls": ["", ""]}
    assert counted == []


@pytest.mark.parametrize("label", ["2", "-1", "yes", "", "nan", "0.5"])
def test_a_label_that_is_neither_0_nor_1_counts_for_nobody(bucket: Bucket, label: str) -> None:
    bucket.capture(NEW, line("a", "0.9"), line("b", "0.9"))
    bucket.truth("0", {"a": label or '""', "b": "1"})

    assert labelled({})["files"] == [[1, 0, 0, 0]]


def test_a_request_has_one_label_for_each_row_or_none_and_is_labelled_once(bucket: Bucket) -> None:
    bucket.capture(NEW, line("a", "0.9\n0.1", rows=2), line("b", "0.9"))
    key = bucket.truth("0", {"a": "1", "b": "1"})
    bucket.put(key.replace("/0.", "/1."), [
        json.dumps({"groundTruthData": {"data": "0", "encoding": "CSV"}, "eventMetadata": {"eventId": "b"}}), "no record",
    ])  # fmt: skip

    assert labelled({})["files"] == [[1, 0, 0, 0]]


def test_probes_are_no_labelled_traffic(bucket: Bucket) -> None:
    bucket.capture(NEW, line(f"{PROBE}7-1", "0.9"), line("b", "0.9"))
    bucket.truth("0", {f"{PROBE}7-1": "0", "b": "1"})

    assert labelled({})["files"] == [[1, 0, 0, 0]]


def test_a_late_file_of_labels_counts_once_whatever_hour_it_is_of_and_in_the_order_of_arrival(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 tells whole seconds, so that a file may come in the second of the last look's newest one."""
    arrived: dict[str, str] = {}
    objects = s3.objects

    def clocked(uri: str, *, after: str = "", most: int | None = None) -> Iterator[s3.Object]:
        for found in objects(uri, after=after, most=most):
            when = arrived.get(s3.split(found.uri)[1])
            yield replace(found, at=datetime.fromisoformat(when)) if when else found

    monkeypatch.setattr(s3, "objects", clocked)
    bucket.capture(NEW, *(line(name, "0.9") for name in "abcd"))
    arrived[bucket.truth("0", {"a": "1"}, SINCE + timedelta(hours=3))] = "2026-11-21T12:30:00+00:00"
    first = labelled({})
    arrived[bucket.truth("0", {"b": "0"})] = "2026-11-21T12:30:00+00:00"  # of an earlier hour, in the same second
    second = labelled(first)
    arrived[bucket.truth("1", {"c": "1"})] = "2026-11-21T12:31:00+00:00"
    arrived[bucket.truth("2", {"d": "0"}, SINCE + timedelta(hours=1))] = "2026-11-21T12:30:30+00:00"
    third = labelled(second)

    assert [f["calls"][0] for f in (first, second, third)] == [".", ".p", ".pp."]
    assert labelled(third) == third
    assert third["files"] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]]


def test_labels_and_requests_of_before_the_stage_do_not_count(bucket: Bucket) -> None:
    before = SINCE - timedelta(minutes=1)
    bucket.capture(NEW, line("a", "0.9", at=before), at=before)
    bucket.capture(NEW, line("b", "0.9", at=before), line("c", "0.9"))
    bucket.truth("0", {"a": "0", "b": "0", "c": "1"})

    assert labelled({})["files"] == [[1, 0, 0, 0]]


def test_enough_labels_are_enough(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    monkeypatch.setattr(answers, "MOST_ANSWERS", 2)
    bucket.capture(NEW, line("a", "0.9"), line("b", "0.9"))
    bucket.truth("0", {"a": "0", "b": "0"})
    found = labelled({})
    bucket.truth("1", {"a": "0"})
    read = len(counted)

    assert labelled(found) == found
    assert len(counted) == read


# -- minutes and traffic ----------------------------------------------------------------------------------------------

AT = datetime(2026, 11, 21, 9, 10, 30, tzinfo=UTC)


class CloudWatch:
    """GetMetricData as AWS answers it: newest first, in pages, a metric without a datapoint in the range empty."""

    def __init__(self, points: dict[str, dict[int, float]], *, page: int = 100, status: str = "", of: str = "") -> None:
        """`status` is that of the metrics whose id begins with `of`."""
        self.points, self.page, self.status, self.of = points, page, status, of
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        first = int(request.get("NextToken", 0))
        results, more = [], False
        for query in request["MetricDataQueries"]:
            found = [
                (SINCE + timedelta(minutes=minute), value)
                for minute, value in sorted(self.points.get(query["Id"], {}).items(), reverse=True)
                if request["StartTime"] <= SINCE + timedelta(minutes=minute) < request["EndTime"]
            ]
            part = found[first : first + self.page]
            more |= len(found) > first + self.page
            usual = "PartialData" if len(found) > first + self.page else "Complete"
            results.append({
                "Id": query["Id"], "Timestamps": [when for when, _ in part], "Values": [value for _, value in part],
                "StatusCode": (self.status if query["Id"].startswith(self.of) else "") or usual,
            })  # fmt: skip
        return {"MetricDataResults": results} | ({"NextToken": str(first + self.page)} if more else {})


def seen_by(
    monkeypatch: pytest.MonkeyPatch, points: dict[str, dict[int, float]], **more: Any
) -> tuple[CloudWatch, dict[str, list[Minute]]]:
    double = CloudWatch(points, **more)
    monkeypatch.setattr(metrics, "client", lambda _: double)
    return double, metrics.minutes(ENDPOINT, NEW, OLD, SINCE, AT, 5.0)


POINTS: dict[str, dict[int, float]] = {
    "new_requests": {1: 60, 2: 61, 3: 62}, "old_requests": {1: 540, 2: 541, 3: 542},
    "new_failures": {2: 7}, "old_failures": {1: 1, 3: 3},
    "new_measured": {1: 60, 2: 61, 3: 62}, "old_measured": {1: 540, 2: 541, 3: 542},
    "new_slow": {1: 2, 2: 3, 3: 4}, "old_slow": {1: 5, 2: 6, 3: 7},
}  # fmt: skip


@pytest.mark.parametrize("page", [1, 2, 100])
def test_minutes_are_oldest_first_and_the_same_in_however_many_pages_they_come(
    monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    _, found = seen_by(monkeypatch, POINTS, page=page)

    assert found == {
        "errors": [Minute(60, 0, 540, 1), Minute(61, 7, 541, 0), Minute(62, 0, 542, 3)],
        "latency": [Minute(60, 2, 540, 5), Minute(61, 3, 541, 6), Minute(62, 4, 542, 7)],
    }


def test_f18_whole_minutes_from_the_shift_to_before_the_last_one_are_asked_of_each_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    double, _ = seen_by(monkeypatch, POINTS)
    (asked,) = double.asked

    assert (asked["StartTime"], asked["EndTime"]) == (SINCE, AT.replace(minute=9, second=0))
    queries = {q["Id"]: q["MetricStat"] for q in asked["MetricDataQueries"]}
    assert len(queries) == 8
    assert {q["Period"] for q in queries.values()} == {60}
    assert queries["new_slow"]["Stat"] == "TC(5000:)"  # microseconds
    for name, query in queries.items():
        fleet = {d["Name"]: d["Value"] for d in query["Metric"]["Dimensions"]}
        variant, config = NEW if name.startswith("new") else OLD
        assert fleet == {"EndpointName": ENDPOINT, "VariantName": variant, "EndpointConfigName": config}
    assert metrics.minutes(ENDPOINT, NEW, OLD, SINCE, SINCE + timedelta(seconds=119), 5.0) == {}


def test_minutes_that_cloudwatch_does_not_keep_any_more_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a range that begins more than 15 days ago GetMetricData returns no minutes; multi_stage takes longer (RO-08)."""
    double = CloudWatch({})
    monkeypatch.setattr(metrics, "client", lambda _: double)
    for days in (14, 16, 60):
        metrics.minutes(ENDPOINT, NEW, OLD, AT - timedelta(days=days), AT, 5.0)
        metrics.evidence(ENDPOINT, NEW, AT - timedelta(days=days), AT)

    def age(asked: dict[str, Any]) -> float:
        return float((AT - asked["StartTime"]).total_seconds() / 86_400)

    periods = [asked["MetricDataQueries"][0]["MetricStat"]["Period"] for asked in double.asked]
    assert periods == [60, 60, 3600] * 3  # what both fleets did, what one did lately, how many requests in all
    assert all(age(asked) < 15 for asked, period in zip(double.asked, periods, strict=True) if period == 60)
    assert [round(age(asked)) for asked in double.asked[2::3]] == [14, 16, 60]  # hours are kept for 455 days


def test_a_minute_in_which_one_fleet_has_no_datapoint_has_none_of_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    points: dict[str, dict[int, float]] = {
        "new_requests": {2: 61}, "old_requests": {1: 540}, "new_failures": {1: 9, 2: 7}, "old_failures": {2: 4},
    }  # fmt: skip
    _, found = seen_by(monkeypatch, points)

    assert found["errors"] == [Minute(0, 0, 540, 0), Minute(61, 7, 0, 0)]
    assert found["latency"] == []


def test_a_trimmed_count_may_be_a_fraction_and_hits_are_never_above_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    points: dict[str, dict[int, float]] = {
        "new_measured": {1: 60, 2: 3}, "old_measured": {1: 540, 2: 540}, "new_slow": {1: 2.6, 2: 3.7},
        "old_slow": {1: 5.4, 2: 600.0}, "new_requests": {1: 5}, "new_failures": {1: 6},
    }  # fmt: skip
    _, found = seen_by(monkeypatch, points)

    assert found["latency"] == [Minute(60, 3, 540, 5), Minute(3, 3, 540, 540)]
    assert found["errors"] == [Minute(5, 5, 0, 0)]


@pytest.mark.parametrize("of", ["", "new_failures", "old_requests"])
@pytest.mark.parametrize("status", ["InternalError", "Forbidden"])
def test_f15_what_cannot_be_read_is_no_minute_without_errors(
    monkeypatch: pytest.MonkeyPatch, status: str, of: str
) -> None:
    with pytest.raises(UnknownOutcomeError, match=status):  # the look makes it unknown
        seen_by(monkeypatch, POINTS, status=status, of=of)


@pytest.mark.parametrize("of", ["", "requests", "failures"])
def test_f15_traffic_of_which_a_part_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    points: dict[str, dict[int, float]] = {"requests": {1: 100}, "failures": {1: 50}}
    monkeypatch.setattr(metrics, "client", lambda _: CloudWatch(points, status="InternalError", of=of))

    assert metrics.traffic(ENDPOINT, OLD, AT) == {}


def test_without_a_known_slowness_the_latency_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "client", lambda _: CloudWatch(POINTS))

    assert set(metrics.minutes(ENDPOINT, NEW, OLD, SINCE, AT, None)) == {"errors"}


@given(st.dictionaries(st.sampled_from(sorted(POINTS)), st.dictionaries(st.integers(0, 12), st.floats(0, 1e5))))
def test_whatever_comes_back_hits_lie_within_requests_minute_by_minute(points: dict[str, dict[int, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _, found = seen_by(patch, points, page=3)

    requests = {m for who in ("new", "old") for m in points.get(f"{who}_requests", {}) if m < 9}
    assert len(found["errors"]) == len(requests)  # and Minute itself refuses hits above requests


def test_traffic_is_that_of_the_last_hour_or_since_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    points: dict[str, dict[int, float]] = {
        "requests": {1: 100, 2: 200, 10: 300}, "failures": {2: 3}, "slow": {-50: 4000.0},
    }  # fmt: skip
    monkeypatch.setattr(metrics, "client", lambda _: CloudWatch(points, page=1))

    assert metrics.traffic(ENDPOINT, OLD, AT) == {"requests": 600, "per_minute": 60, "failing": 0.005, "slow_ms": 4.0}


def test_nobody_called_and_cannot_be_read_are_no_rate_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "GetMetricData")

    double = CloudWatch({"failures": {1: 3}})
    monkeypatch.setattr(metrics, "client", lambda _: double)
    assert metrics.traffic(ENDPOINT, OLD, AT) == {}
    monkeypatch.setattr(double, "get_metric_data", refuse)
    assert metrics.traffic(ENDPOINT, OLD, AT) == {}
    with pytest.raises(ClientError):  # the look makes it unknown
        metrics.minutes(ENDPOINT, NEW, OLD, SINCE, AT, 5.0)
