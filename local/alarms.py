"""How CloudWatch judges a metric alarm: aligned periods, M out of N, missing data, reason and reason data.

Source: Amazon CloudWatch User Guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat missing data".
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# CloudWatch looks further back than EvaluationPeriods, so that a late datapoint is not taken for a missing one.
_EXTRA_PERIODS = 2
COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str, str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to", "was not greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than", "was not greater than"),
    "LessThanThreshold": (operator.lt, "less than", "was not less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to", "was not less than or equal to"),
}

Datapoint = tuple[float, float]
"""Start of the period (Unix seconds) and the statistic's value in it."""


@dataclass(frozen=True)
class Judgement:
    """The state an alarm is in, why in words, and why as the JSON text that alarm events carry."""

    state: str
    reason: str
    reason_data: str


def period_starts(alarm: Mapping[str, Any], now: float) -> list[float]:
    """Return the starts of the complete periods that the alarm looks at, oldest first (Unix seconds)."""
    period = float(alarm.get("Period", 60))
    count = int(alarm.get("EvaluationPeriods", 1)) + _EXTRA_PERIODS
    end = now // period * period
    return [end - index * period for index in range(count, 0, -1)]


def judge(alarm: Mapping[str, Any], datapoints: Sequence[Datapoint], now: float) -> Judgement | None:
    """Return what the datapoints of the alarm's range (`period_starts`) say; None when the state is to be retained."""
    periods = int(alarm.get("EvaluationPeriods", 1))
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    compare, _, _ = COMPARISONS[alarm["ComparisonOperator"]]
    recent = list(datapoints)[-periods:]
    breaching = [point for point in recent if compare(point[1], float(alarm["Threshold"]))]
    missing = periods - len(recent)
    treat = alarm.get("TreatMissingData") or "missing"
    state = _state(treat, needed, len(breaching), len(recent), missing)
    if state is None:
        return None
    return Judgement(state, _reason(alarm, state, recent, breaching, missing), _reason_data(alarm, recent, now))


def _state(treat: str, needed: int, breaching: int, known: int, missing: int) -> str | None:
    if missing and treat == "breaching":
        breaching += missing
    if breaching >= needed:
        return "ALARM"
    if known == 0:
        return {"notBreaching": "OK", "ignore": None}.get(treat, "INSUFFICIENT_DATA")
    if missing and breaching == known and treat in {"missing", "ignore"}:
        # Nothing that is known speaks for OK: "missing" judges by what there is, "ignore" leaves the state alone.
        return "ALARM" if treat == "missing" else None
    return "OK"


def _reason(
    alarm: Mapping[str, Any], state: str, recent: Sequence[Datapoint], breaching: Sequence[Datapoint], missing: int
) -> str:
    if state == "INSUFFICIENT_DATA":
        return f"Insufficient Data: {missing} datapoint{'s were' if missing > 1 else ' was'} unknown."
    shown = list(breaching if state == "ALARM" else recent)
    _, word, not_word = COMPARISONS[alarm["ComparisonOperator"]]
    threshold = float(alarm["Threshold"])
    if not shown:
        treated = {"notBreaching": "NonBreaching", "breaching": "Breaching"}[alarm["TreatMissingData"]]
        return (
            f"Threshold Crossed: no datapoints were received for {missing} period{'s' if missing > 1 else ''} and "
            f"{missing} missing datapoint{'s were' if missing > 1 else ' was'} treated as [{treated}]."
        )
    listed = ", ".join(
        f"{value} ({datetime.fromtimestamp(at, UTC).strftime('%d/%m/%y %H:%M:%S')})" for at, value in reversed(shown)
    )
    periods = int(alarm.get("EvaluationPeriods", 1))
    verb = f"was {word}" if len(shown) == 1 else f"were {word}"
    verb = verb if state == "ALARM" else (not_word if len(shown) == 1 else not_word.replace("was", "were", 1))
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    change = "OK -> ALARM" if state == "ALARM" else "ALARM -> OK"
    minimum = needed if state == "ALARM" else periods - needed + 1
    return (
        f"Threshold Crossed: {len(shown)} out of the last {periods} datapoints [{listed}] {verb} the threshold "
        f"({threshold}) (minimum {minimum} datapoint{'s' if minimum > 1 else ''} for {change} transition)."
    )


def _reason_data(alarm: Mapping[str, Any], recent: Sequence[Datapoint], now: float) -> str:
    data: dict[str, Any] = {"version": "1.0", "queryDate": stamp(now)}
    if recent:
        data["startDate"] = stamp(recent[0][0])
    data |= {
        "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average"),
        "period": int(alarm.get("Period", 60)),
        "recentDatapoints": [value for _, value in recent],
        "threshold": float(alarm["Threshold"]),
    }
    return json.dumps(data, separators=(",", ":"))


def stamp(moment: float) -> str:
    """Return a time as alarm events write it: `2019-10-02T17:04:40.989+0000`."""
    at = datetime.fromtimestamp(moment, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000"


def change_event(alarm: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detail of a `CloudWatch Alarm State Change` event.

    `alarm` is as DescribeAlarms shows it, with a `MetricId`; `old` and `new` are value, reason, reasonData, timestamp.
    """
    configuration: dict[str, Any] = {}
    if alarm.get("AlarmDescription"):
        configuration["description"] = alarm["AlarmDescription"]
    if "AlarmRule" in alarm:
        configuration["alarmRule"] = alarm["AlarmRule"]
    else:
        metric = {
            "dimensions": {item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []},
            "name": alarm.get("MetricName"),
            "namespace": alarm.get("Namespace"),
        }
        statistic = {
            "metric": metric,
            "period": int(alarm.get("Period", 60)),
            "stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average"),
        }
        configuration["metrics"] = [{"id": alarm["MetricId"], "metricStat": statistic, "returnData": True}]
    return {
        "alarmName": alarm["AlarmName"],
        "configuration": configuration,
        "previousState": {key: value for key, value in old.items() if value},
        "state": {key: value for key, value in new.items() if value},
    }
