"""How alarms are judged: CloudWatch's own tables, and the event shape that peers were seen to get wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import cloudwatch

from local import alarms
from local.patches import metrics
from tests.stack.conftest import Bench, until

ALARM = {
    "AlarmName": "drift",
    "Namespace": "N",
    "MetricName": "M",
    "Dimensions": [{"Name": "Model", "Value": "a"}],
    "Statistic": "Maximum",
    "Period": 60,
    "Threshold": 0.5,
    "ComparisonOperator": "GreaterThanThreshold",
}
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def judged(points: str, treat: str, periods: int, needed: int) -> str:
    """Judge `0` (fine), `X` (breaching) and `-` (missing), oldest first; a retained state is "retain"."""
    data = [(60.0 * at, {"0": 0.0, "X": 1.0}[word]) for at, word in enumerate(points.split()) if word != "-"]
    alarm = {**ALARM, "EvaluationPeriods": periods, "DatapointsToAlarm": needed, "TreatMissingData": treat}
    judgement = alarms.judge(alarm, data, 600.0)
    return "retain" if judgement is None else {"INSUFFICIENT_DATA": "none"}.get(judgement.state, judgement.state)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("0 - X - X", ["OK", "OK", "OK", "OK"]),
        ("0 - - - -", ["OK", "OK", "OK", "OK"]),
        ("- - - - -", ["none", "retain", "ALARM", "OK"]),
        ("0 X X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("- - X - -", ["ALARM", "retain", "ALARM", "OK"]),
    ],
)
def test_three_out_of_three_as_in_the_user_guides_table(points: str, expected: list[str]) -> None:
    assert [judged(points, treat, 3, 3) for treat in TREATMENTS] == expected


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("0 - X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("0 0 X 0 X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("0 - X - -", ["OK", "OK", "ALARM", "OK"]),
        ("- - - - 0", ["OK", "OK", "ALARM", "OK"]),
        ("- - - X -", ["ALARM", "retain", "ALARM", "OK"]),
    ],
)
def test_two_out_of_three_as_in_the_user_guides_table(points: str, expected: list[str]) -> None:
    assert [judged(points, treat, 3, 2) for treat in TREATMENTS] == expected


@given(st.lists(st.sampled_from("0X-"), min_size=5, max_size=5), st.integers(1, 3), st.sampled_from(TREATMENTS))
def test_enough_breaching_datapoints_alarm_and_none_at_all_never_does_unless_told(
    points: list[str], needed: int, treat: str
) -> None:
    state = judged(" ".join(points), treat, 3, needed)
    recent = [point for point in points if point != "-"][-3:]
    if recent.count("X") >= needed:
        assert state == "ALARM"
    if "X" not in recent and treat != "breaching":
        assert state != "ALARM"


def test_a_range_holds_only_complete_periods_aligned_to_the_clock() -> None:
    assert alarms.period_starts({**ALARM, "EvaluationPeriods": 1}, 605.0) == [420.0, 480.0, 540.0]


def test_reasons_read_as_cloudwatchs() -> None:
    alarm = {**ALARM, "EvaluationPeriods": 1, "TreatMissingData": "notBreaching"}
    found = alarms.judge(alarm, [(1570035540.0, 99.5)], 1570035880.985)
    assert found is not None
    assert found.reason == (
        "Threshold Crossed: 1 out of the last 1 datapoints [99.5 (02/10/19 16:59:00)] was greater than the threshold "
        "(0.5) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert found.reason_data == (
        '{"version":"1.0","queryDate":"2019-10-02T17:04:40.985+0000","startDate":"2019-10-02T16:59:00.000+0000",'
        '"statistic":"Maximum","period":60,"recentDatapoints":[99.5],"threshold":0.5}'
    )
    silent = alarms.judge(alarm, [], 1570035880.985)
    assert silent is not None
    assert silent.reason == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint "
        "was treated as [NonBreaching]."
    )


# ------------------------------------------------------------------------------------------------------ in the stack
def make_alarm(bench: Bench, **changes: Any) -> str:
    name = bench.name()
    fields: dict[str, Any] = {
        **ALARM,
        "AlarmName": name,
        "EvaluationPeriods": 1,
        "AlarmDescription": "a test",
        **changes,
    }
    bench.cloudwatch.put_metric_alarm(**{key: value for key, value in fields.items() if value is not None})
    return name


def put(bench: Bench, value: float, model: str = "a", metric: str = "M") -> None:
    dimensions = [{"Name": "Model", "Value": model}]
    datum = {"MetricName": metric, "Dimensions": dimensions, "Value": value, "Timestamp": bench.stack.clock.now()}
    bench.cloudwatch.put_metric_data(Namespace="N", MetricData=[datum])


def state(bench: Bench, name: str) -> str:
    return str(bench.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])


def reaches(bench: Bench, name: str, wanted: str) -> None:
    until(lambda: state(bench, name) == wanted, why=lambda: f"{name} is {state(bench, name)}, not {wanted}")


def test_every_state_change_is_an_event_of_the_real_shape(ours: Bench, published: Bench) -> None:
    def events(bench: Bench) -> list[dict[str, Any]]:
        metric = bench.name()
        queue = bench.listen(
            {
                "source": ["aws.cloudwatch"],
                "detail": {"configuration": {"metrics": {"metricStat": {"metric": {"name": [metric]}}}}},
            }
        )
        name = make_alarm(bench, MetricName=metric)
        put(bench, 0.9, metric=metric)
        reaches(bench, name, "ALARM")
        answer = bench.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    (event,) = events(ours)
    detail = event["detail"]
    assert event["detail-type"] == "CloudWatch Alarm State Change"
    assert event["resources"] == [f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{detail['alarmName']}"]
    (metric,) = detail["configuration"]["metrics"]
    assert detail["configuration"]["description"] == "a test"
    assert metric["returnData"] is True
    assert metric["id"]
    assert metric["metricStat"]["metric"]["dimensions"] == {"Model": "a"}
    assert (metric["metricStat"]["period"], metric["metricStat"]["stat"]) == (60, "Maximum")
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("INSUFFICIENT_DATA", "ALARM")
    assert "was greater than the threshold (0.5)" in detail["state"]["reason"]
    assert json.loads(detail["state"]["reasonData"])["recentDatapoints"] == [0.9]
    assert detail["state"]["timestamp"].endswith("+0000")
    assert "reasonData" not in detail["previousState"]
    assert events(published) == []


def test_only_the_metric_with_the_alarms_own_dimensions_counts(ours: Bench, published: Bench) -> None:
    def foreign(bench: Bench) -> str:
        metric = bench.name()
        name = make_alarm(bench, MetricName=metric)
        put(bench, 0.1, metric=metric)
        put(bench, 0.9, model="another", metric=metric)
        until(lambda: state(bench, name) != "INSUFFICIENT_DATA")
        return state(bench, name)

    assert foreign(ours) == "OK"
    assert foreign(published) == "ALARM"


def test_an_alarm_without_data_is_judged_too(ours: Bench, published: Bench) -> None:
    reaches(ours, make_alarm(ours, MetricName="never", TreatMissingData="notBreaching"), "OK")
    quiet = make_alarm(published, MetricName="never", TreatMissingData="notBreaching")
    assert state(published, quiet) == "INSUFFICIENT_DATA"


def test_an_alarm_returns_when_its_data_ends_and_needs_m_out_of_n(ours: Bench) -> None:
    metric = ours.name()
    once = make_alarm(ours, MetricName=metric, TreatMissingData="missing")
    twice = make_alarm(
        ours, MetricName=metric, TreatMissingData="notBreaching", EvaluationPeriods=2, DatapointsToAlarm=2
    )
    reaches(ours, twice, "OK")
    put(ours, 0.9, metric=metric)
    reaches(ours, once, "ALARM")
    assert state(ours, twice) == "OK"
    reaches(ours, once, "INSUFFICIENT_DATA")


def test_an_alarm_tells_its_topic(ours: Bench) -> None:
    queue, metric = ours.queue(), ours.name()
    topic = ours.sns.create_topic(Name=metric)["TopicArn"]
    ours.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=ours.arn(queue))
    make_alarm(ours, MetricName=metric, AlarmActions=[topic])
    put(ours, 0.9, metric=metric)
    assert json.loads(json.loads(ours.messages(queue)[0]["Body"])["Message"])["NewStateValue"] == "ALARM"


def test_a_message_in_a_dead_letter_queue_raises_its_alarm(ours: Bench, published: Bench) -> None:
    def published_metrics(bench: Bench) -> list[dict[str, Any]]:
        return list(
            bench.cloudwatch.list_metrics(Namespace="AWS/SQS", MetricName="ApproximateNumberOfMessagesVisible")[
                "Metrics"
            ]
        )

    queue = ours.queue()
    name = queue.rsplit("/", 1)[1]
    ours.sqs.send_message(QueueUrl=queue, MessageBody="lost")
    alarm = make_alarm(
        ours, Namespace="AWS/SQS", MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": name}], Threshold=0, TreatMissingData="notBreaching",
    )  # fmt: skip
    reaches(ours, alarm, "ALARM")
    ours.sqs.purge_queue(QueueUrl=queue)
    reaches(ours, alarm, "OK")
    published.queue()
    assert published_metrics(published) == []


def test_a_datapoint_that_is_added_while_alarms_are_listed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request copies all datapoints in the published emulator, and appends go to the old list."""
    monkeypatch.setattr(cloudwatch, "_evict_old_metrics", cloudwatch._evict_old_metrics)
    key = ("N", "kept", ())
    bucket = cloudwatch._metric_bucket(key)
    bucket.append({"Timestamp": time.time(), "Value": 1.0})
    cloudwatch._evict_old_metrics()
    assert cloudwatch._metrics[key] is not bucket
    bucket = cloudwatch._metrics[key]
    metrics.old_metrics()
    cloudwatch._evict_old_metrics()
    assert cloudwatch._metrics[key] is bucket
    bucket.insert(0, {"Timestamp": time.time() - 15 * 86400, "Value": 1.0})
    cloudwatch._evict_old_metrics()
    assert len(cloudwatch._metrics.pop(key)) == 1
