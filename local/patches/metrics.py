"""Patches of the emulator's CloudWatch."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import cloudwatch, eventbridge, sqs

from local import alarms, statistics
from local.clock import WallClock
from local.patches.tools import background, edit, scope

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.25
_MOST_DATAPOINTS, _MOST_QUERIES, _MOST_STATISTICS = 100_800, 500, 1_440
_SHORT_PERIODS = (1, 5, 10, 20, 30)
_MINUTE = 60


def apply(clock: WallClock) -> None:
    """Apply them."""
    old_metrics()
    statistic_values()
    metric_data()
    metric_statistics()
    alarm_statistics()
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


def statistic_values() -> None:
    """Every statistic that CloudWatch defines; the emulator knows percentiles and takes any other name for Average."""

    def value(stats: Mapping[str, float], name: str, points: list[dict[str, Any]] | None = None) -> float | None:
        if name in statistics.BASIC:
            return stats.get(name)
        wanted = statistics.parse(name)
        samples = cloudwatch._percentile_samples(points or [])
        return wanted.value(samples) if samples else None

    cloudwatch._stat_value = value


class _Refused(Exception):  # noqa: N818 - it is an answer
    """What CloudWatch answers instead of data: code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def metric_data() -> None:
    """GetMetricData in order and by pages, of one set of dimensions and one unit, and refused when it makes no sense.

    The emulator always answers oldest first, ignores MaxDatapoints, NextToken, ScanBy and Unit, and takes a query
    without dimensions for all that there are.
    """
    edit(
        cloudwatch,
        "_get_metric_data",
        (
            "    results = []\n    for q in queries:\n",
            """
    read = cbor_data.get if is_cbor or is_json else lambda name: _p(params, name) or None
    try:
        start_time = check_queries(queries, start_time, end_time, read)
        after = page_start(read("NextToken"))
    except refused as error:
        return _error(error.code, str(error), 400, use_json=is_json, use_cbor=is_cbor)
    results = []
    for q in queries:
""",
        ),
        ("req_dims_key = _dims_key(req_dims) if req_dims else None", "req_dims_key = _dims_key(req_dims)"),
        (
            "                all_pts.extend(pts)\n",
            '                all_pts.extend(p for p in pts if ms.get("Unit") in (None, p.get("Unit")))\n',
        ),
        (
            '    if is_cbor:\n        return _cbor_ok({"MetricDataResults"',
            """
    more = page(results, after, read)
    if is_cbor:
        return _cbor_ok({**more, "MetricDataResults\"""",
        ),
        ('_json_ok({"MetricDataResults": results})', '_json_ok({**more, "MetricDataResults": results})'),
        (
            "<MetricDataResults>{members}</MetricDataResults></GetMetricDataResult>",
            "<MetricDataResults>{members}</MetricDataResults>{as_xml(more)}</GetMetricDataResult>",
        ),
        check_queries=_check_queries,
        page_start=_page_start,
        page=_page,
        refused=_Refused,
        as_xml=_as_xml,
    )


def _check_queries(queries: Sequence[Mapping[str, Any]], start: float | None, end: float | None, read: Any) -> float:
    """Refuse a GetMetricData request that CloudWatch refuses; return its start, rounded down to a minute."""
    begin = _begin(start, end)
    if not 1 <= len(queries) <= _MOST_QUERIES:
        raise _Refused(
            "ValidationError", f"MetricDataQueries has {len(queries)} members; allowed are 1 to {_MOST_QUERIES}"
        )
    ids = [str(query.get("Id", "")) for query in queries]
    if len(set(ids)) < len(ids):
        raise _Refused("ValidationError", f"The values for parameter Id in MetricDataQueries are not unique: {ids}")
    most = read("MaxDatapoints")
    if most is not None and not 1 <= int(most) <= _MOST_DATAPOINTS:
        raise _Refused("ValidationError", f"MaxDatapoints {most} must be from 1 to {_MOST_DATAPOINTS}")
    if read("ScanBy") not in (None, "TimestampDescending", "TimestampAscending"):
        raise _Refused(
            "ValidationError", f"ScanBy {read('ScanBy')!r} must be TimestampDescending or TimestampAscending"
        )
    for number, query in enumerate(queries, 1):
        where = f"MetricDataQueries.member.{number}"
        if not re.fullmatch(r"[a-z][A-Za-z0-9_]*", ids[number - 1]):
            raise _Refused("ValidationError", f"The value {ids[number - 1]!r} for parameter {where}.Id is not matching")
        if stat := query.get("MetricStat"):
            _check_period(stat.get("Period"), f"{where}.MetricStat.Period")
            _check_statistic(statistics.check, stat.get("Stat"), f"{where}.MetricStat.Stat")
        elif not query.get("Expression"):
            raise _Refused("ValidationError", f"{where} must have one of MetricStat and Expression")
    return begin


def _begin(start: float | None, end: float | None) -> float:
    if start is None or end is None:
        raise _Refused("MissingParameter", "The request must contain the parameters StartTime and EndTime")
    if start >= end:
        raise _Refused("ValidationError", "The parameter StartTime must be less than the parameter EndTime")
    return start // _MINUTE * _MINUTE


def _check_period(period: Any, where: str) -> None:
    seconds = int(period or 0)
    if seconds not in _SHORT_PERIODS and (seconds < _MINUTE or seconds % _MINUTE):
        raise _Refused("ValidationError", f"{where} {period} must be 1, 5, 10, 20, 30 or a multiple of 60")


def _check_statistic(check: Any, name: Any, where: str) -> None:
    try:
        check(str(name))
    except statistics.UnknownStatisticError as error:
        raise _Refused("ValidationError", f"The value for parameter {where} is refused: {error}") from error


def _page_start(token: str | None) -> list[Any] | None:
    """Return what a NextToken says: time and result of the last datapoint that was shown."""
    if token is None:
        return None
    try:
        when, number = json.loads(base64.urlsafe_b64decode(token.encode()))
        return [str(when), int(number)]
    except ValueError as error:
        raise _Refused("InvalidNextToken", f"Invalid NextToken : {token}") from error


def _page(results: list[dict[str, Any]], after: list[Any] | None, read: Any) -> dict[str, str]:
    """Leave one page of datapoints in the results, in the wanted order; return the member NextToken if there are more.

    A page holds the newest (or oldest) datapoints of all results together, so a result may have none in it.
    """
    newest_first = read("ScanBy") != "TimestampAscending"
    sign = -1 if newest_first else 1

    def place(when: str, number: int) -> tuple[float, int]:
        return sign * float(cloudwatch._parse_ts(when)), number

    points = [
        (place(when, number), when, number, value)
        for number, result in enumerate(results)
        for when, value in zip(result["Timestamps"], result["Values"], strict=True)
    ]
    left = sorted(point for point in points if after is None or point[0] > place(*after))
    shown, rest = left[: (most := int(read("MaxDatapoints") or _MOST_DATAPOINTS))], left[most:]
    waiting = {point[2] for point in rest}
    for number, result in enumerate(results):
        result["Timestamps"] = [point[1] for point in shown if point[2] == number]
        result["Values"] = [point[3] for point in shown if point[2] == number]
        if number in waiting:
            result["StatusCode"] = "PartialData"
    if not rest:
        return {}
    return {"NextToken": base64.urlsafe_b64encode(json.dumps([shown[-1][1], shown[-1][2]]).encode()).decode()}


def _as_xml(members: Mapping[str, Any]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in members.items())


def metric_statistics() -> None:
    """GetMetricStatistics of one set of dimensions and one unit, and refused when it makes no sense.

    The emulator leaves out what it does not know, writes percentiles in XML as a Python dictionary, ignores Unit, and
    takes a request without dimensions for all that there are.
    """
    edit(
        cloudwatch,
        "_get_metric_statistics",
        (
            """
    if not req_stats and not req_extended:
        req_stats = ["SampleCount", "Sum", "Average", "Minimum", "Maximum"]
""",
            """
    read = cbor_data.get if is_cbor or is_json else lambda name: _p(params, name) or None
    unit = read("Unit")
    try:
        start_time = check_request(req_stats, req_extended, period, start_time, end_time)
    except refused as error:
        return _error(error.code, str(error), 400, use_json=is_json, use_cbor=is_cbor)
""",
        ),
        ("req_dims_key = _dims_key(req_dims) if req_dims else None", "req_dims_key = _dims_key(req_dims)"),
        (
            "            all_points.extend(pts)\n",
            '            all_points.extend(p for p in pts if unit in (None, p.get("Unit")))\n',
        ),
        ('inner += f"<{k}>{v}</{k}>"', "inner += as_xml({k: v} if k != 'ExtendedStatistics' else {}) + entries(k, v)"),
        check_request=_check_request,
        refused=_Refused,
        as_xml=_as_xml,
        entries=_entries,
    )


def _entries(name: str, value: Any) -> str:
    if name != "ExtendedStatistics":
        return ""
    entries = (f"<entry>{_as_xml({'key': key, 'value': number})}</entry>" for key, number in value.items())
    return f"<{name}>{''.join(entries)}</{name}>"


def _check_request(
    basic: Sequence[str], extended: Sequence[str], period: int, start: float | None, end: float | None
) -> float:
    """Refuse a GetMetricStatistics request that CloudWatch refuses; return its start, rounded down to a minute."""
    begin = _begin(start, end)
    if bool(basic) == bool(extended):
        message = "Exactly one of the parameters Statistics and ExtendedStatistics must be given"
        raise _Refused("InvalidParameterCombination", message)
    _check_period(period, "Period")
    if any(name not in statistics.BASIC for name in basic):
        raise _Refused("InvalidParameterValue", f"Statistics {basic} must be of {', '.join(statistics.BASIC)}")
    for name in extended:
        _check_statistic(statistics.check, name, "ExtendedStatistics")
        if not name.startswith("p"):
            raise _Refused(
                "InvalidParameterValue", f"ExtendedStatistics {name!r} must be a percentile from p0.0 to p100"
            )
    if (wanted := int(((end or 0.0) - begin) // period)) > _MOST_STATISTICS:
        message = f"You have requested up to {wanted} datapoints, which exceeds the limit of {_MOST_STATISTICS}"
        raise _Refused("InvalidParameterCombination", message)
    return begin


def alarm_statistics() -> None:
    """Alarms with an ExtendedStatistic that CloudWatch does not list for alarms are refused; the emulator keeps them."""
    edit(
        cloudwatch,
        "_put_metric_alarm",
        (
            "    is_new = name not in _alarms\n",
            """
    if wrong := wrong_statistic(alarm):
        return _error("ValidationError", wrong, 400, use_json=is_json, use_cbor=is_cbor)
    is_new = name not in _alarms
""",
        ),
        wrong_statistic=_wrong_statistic,
    )
    edit(
        cloudwatch,
        "cloudformation_put_metric_alarm",
        (
            '    name = alarm["AlarmName"]\n',
            """
    if wrong := wrong_statistic(alarm):
        raise ValueError(wrong)
    name = alarm["AlarmName"]
""",
        ),
    )


def _wrong_statistic(alarm: Mapping[str, Any]) -> str:
    try:
        if name := alarm.get("ExtendedStatistic"):
            statistics.check_alarm(name)
    except statistics.UnknownStatisticError as error:
        return f"The value for parameter ExtendedStatistic is refused: {error}"
    return ""


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
