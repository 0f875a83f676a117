"""Patches of the emulator's CloudWatch."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.services import cloudwatch, eventbridge, sqs

from local import alarms
from local.clock import WallClock
from local.patches.tools import background, scope

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.25


def apply(clock: WallClock) -> None:
    """Apply them."""
    old_metrics()
    alarm_evaluation(clock)
    alarm_events()
    queue_depths(clock)


def old_metrics() -> None:
    """Every CloudWatch request copies all datapoints in the emulator; one that is added meanwhile is lost."""
    evict = cloudwatch._evict_old_metrics

    def evict_if_old() -> None:
        oldest = time.time() - cloudwatch.TWO_WEEKS_SECONDS
        if any(points and points[0]["Timestamp"] < oldest for points in cloudwatch._metrics.values()):
            evict()

    cloudwatch._evict_old_metrics = evict_if_old


def alarm_evaluation(clock: WallClock) -> None:
    """Alarms are judged as CloudWatch judges them, and also when nobody writes a metric.

    The emulator ignores an alarm's dimensions, unit, DatapointsToAlarm and TreatMissingData, averages over all periods,
    never returns to INSUFFICIENT_DATA and looks only while a metric or an alarm is being put.
    """
    seen: dict[str, tuple[int, float]] = {}

    def evaluate(alarm: dict[str, Any]) -> None:
        if not alarm.get("MetricName") or alarm.get("ComparisonOperator") not in alarms.COMPARISONS:
            return
        dimensions = cloudwatch._dims_key({item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []})
        points = list(cloudwatch._metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions)) or [])
        now = time.time()
        starts = alarms.period_starts(alarm, now)
        if seen.get(alarm["AlarmArn"]) == (len(points), starts[-1]):
            return
        seen[alarm["AlarmArn"]] = (len(points), starts[-1])
        judgement = alarms.judge(alarm, list(_datapoints(alarm, points, starts)), now)
        if judgement is None:
            return
        if judgement.state == alarm["StateValue"]:
            alarm["StateReason"] = judgement.reason
            alarm["StateReasonData"] = judgement.reason_data
            return
        _move(alarm, judgement.state, judgement.reason, judgement.reason_data)

    def evaluate_all_accounts() -> None:
        for account, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
            with scope(account, region):
                for alarm in list(cloudwatch._alarms.values()):
                    try:
                        evaluate(alarm)
                    except Exception:  # one alarm's trouble must not blind the others
                        _LOG.exception("the alarm %s could not be judged", alarm["AlarmName"])

    # Judged in one thread only: two that saw the same change would both tell of it.
    cloudwatch._evaluate_alarm = cloudwatch._evaluate_all_alarms = _leave_to_the_background
    background("alarms", max(_TICK_SECONDS, clock.real_seconds(10)), evaluate_all_accounts)


def _move(alarm: dict[str, Any], state: str, reason: str, data: str) -> None:
    before = alarm["StateValue"]
    alarm.update(StateValue=state, StateReason=reason, StateReasonData=data, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _leave_to_the_background(*_: Any) -> None:
    """Do nothing, where the emulator judges alarms while a request is being served."""


def _datapoints(
    alarm: Mapping[str, Any], points: list[dict[str, Any]], starts: list[float]
) -> Iterator[alarms.Datapoint]:
    period = float(alarm.get("Period", 60))
    unit = alarm.get("Unit")
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    for start in starts:
        within = [
            point
            for point in points
            if start <= point["Timestamp"] < start + period and (not unit or point.get("Unit") == unit)
        ]
        value = cloudwatch._stat_value(cloudwatch._calc_stats(within), statistic, within) if within else None
        if value is not None:
            yield start, float(value)


def alarm_events() -> None:
    """CloudWatch tells EventBridge of every change of an alarm's state; the emulator does not."""
    dispatch = cloudwatch._dispatch_alarm_actions
    states_before: dict[str, dict[str, Any]] = {}

    def dispatch_and_tell(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
        dispatch(alarm, old, new, reason)
        arn = alarm["AlarmArn"]
        before = states_before.get(arn) or {
            "value": old,
            "reason": "Unchecked: Initial alarm creation",
            "timestamp": alarms.stamp(alarm.get("AlarmConfigurationUpdatedTimestamp", time.time())),
        }
        now = {
            "value": new,
            "reason": reason,
            "reasonData": alarm.get("StateReasonData"),
            "timestamp": alarms.stamp(time.time()),
        }
        states_before[arn] = now
        described = {**alarm, "MetricId": str(uuid.uuid5(uuid.NAMESPACE_URL, arn))}
        entry = {
            "Source": "aws.cloudwatch",
            "DetailType": "CloudWatch Alarm State Change",
            "Resources": [arn],
            "Detail": json.dumps(alarms.change_event(described, {**before, "value": old}, now)),
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    cloudwatch._dispatch_alarm_actions = dispatch_and_tell


def queue_depths(clock: WallClock) -> None:
    """SQS publishes each queue's depth every minute, which dead-letter alarms watch; the emulator publishes nothing."""

    def publish() -> None:
        now = time.time()
        for (account, region, _), queue in list(sqs._queues._data.items()):
            with scope(account, region):
                visible = sum(1 for message in queue["messages"] if message.get("visible_at", 0) <= now)
                name = {"QueueName": queue["name"]}
                cloudwatch.record_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", visible, "Count", name)

    background("queue depths", clock.real_seconds(60), publish)
