"""CloudWatch: what a fleet's metrics say, and the metrics and alarms of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from linnet.decisions.rollout import NAMESPACE, VERDICT, Fleet
from linnet.decisions.sequential import Minute
from linnet.decisions.verdict import Evidence
from linnet.errors import UnknownOutcomeError
from linnet.gateways.clients import client
from linnet.settings import settings

WINDOW_SECONDS = 300
_HOUR = 60
_LONG = timedelta(hours=3)
_OLDEST = timedelta(days=15) - timedelta(minutes=5)
"""CloudWatch keeps minutes for 15 days; asked for older ones it returns nothing at all (API reference, MetricStat)."""
_NAMES = 100
"""So many alarms DescribeAlarms takes at once."""
_STATISTICS = {
    "requests": ("Invocations", "Sum"),
    "errors": ("Invocation5XXErrors", "Sum"),
    "failures": ("InvocationModelErrors", "Sum"),
    "latency": ("ModelLatency", "Sum"),
    "measured": ("ModelLatency", "SampleCount"),
}


def evidence(endpoint: str, fleet: Fleet, since: datetime, at: datetime) -> Evidence:
    """Return what a fleet did: its requests since `since`, its errors and latency in the last five minutes before `at`.

    Nothing before the first whole minute after `since` counts (F16); the fleet is told apart by EndpointConfigName,
    because in a native rollout both carry one variant name. A metric that cannot be read, whatever the reason, is None:
    unknown (F15).
    """
    # The running minute counts too: a broken fleet is not given another one.
    start, end = _next_minute(max(since, at - _OLDEST)), _next_minute(at)
    if start >= end:
        return Evidence()
    late = at - timedelta(seconds=WINDOW_SECONDS)
    queries = [_query(name, endpoint, fleet, *what) for name, what in _STATISTICS.items()]
    try:
        points = _read(queries, max(start, late.replace(second=0, microsecond=0)), end)
        requests = _total(queries[0], _next_minute(since), end)
    except (ClientError, BotoCoreError, UnknownOutcomeError):
        return Evidence()
    recent = {name: sum(value for when, value in found if when >= late) for name, found in points.items()}
    measured = recent.get("measured", 0)
    return Evidence(
        requests=requests,
        errors=recent.get("errors"),
        latency_ms=recent["latency"] / measured / 1000 if measured and "latency" in recent else None,
        failures=recent.get("failures"),
        recent=recent.get("requests"),
    )


def _total(query: dict[str, Any], start: datetime, end: datetime) -> float:
    """Return a sum over a time: by the minute, and of more than three hours by whole hours, the first part of one left out."""
    if end - start > _LONG:
        start = start.replace(minute=0) + timedelta(hours=1)
        query = {**query, "MetricStat": {**query["MetricStat"], "Period": 60 * _HOUR}}
    return sum(value for found in _read([query], start, end).values() for _, value in found)


def minutes(
    endpoint: str, new: Fleet, old: Fleet, since: datetime, at: datetime, slow_ms: float | None
) -> dict[str, list[Minute]]:
    """Return what both fleets did minute by minute: `errors` (no 2XX answer) and, slower than `slow_ms`, `latency`.

    Whole minutes only, and not the last one: a datapoint of one fleet may come later than the other's (F18). All minutes
    since `since` that CloudWatch still has are read at every look, so that what comes late counts in its place. A fleet is
    (variant, config).

    Raises:
        UnknownOutcomeError: a metric cannot be read.
    """
    start, end = _next_minute(max(since, at - _OLDEST)), at.replace(second=0, microsecond=0) - timedelta(minutes=1)
    if start >= end:
        return {}
    asked = {
        f"{who}_{name}": (fleet, metric, statistic)
        for who, fleet in (("new", new), ("old", old))
        for name, (metric, statistic) in _counted(slow_ms).items()
    }
    points = _read([_query(name, endpoint, *what) for name, what in asked.items()], start, end)
    found: dict[str, list[Minute]] = {}
    for metric, (all_of, hits) in {"errors": ("requests", "failures"), "latency": ("measured", "slow")}.items():
        both = [{when: round(n) for when, n in points.get(f"{who}_{all_of}", [])} for who in ("new", "old")]
        bad = [{when: round(n) for when, n in points.get(f"{who}_{hits}", [])} for who in ("new", "old")]
        if metric == "errors" or slow_ms is not None:
            found[metric] = [
                Minute(*(n for of, wrong in zip(both, bad, strict=True)
                         for n in (of.get(when, 0), min(wrong.get(when, 0), of.get(when, 0)))))
                for when in sorted({*both[0], *both[1]})
            ]  # fmt: skip
    return found


def _counted(slow_ms: float | None) -> dict[str, tuple[str, str]]:
    slow = {"slow": ("ModelLatency", f"TC({slow_ms * 1000:.0f}:)")} if slow_ms is not None else {}
    return {name: _STATISTICS[name] for name in ("requests", "failures", "measured")} | slow


def traffic(endpoint: str, fleet: Fleet, at: datetime) -> dict[str, float]:
    """Return what a fleet did in the last hour: `{requests, per_minute, failing, slow_ms}`; empty where nothing can be read.

    `failing` is the share of requests without a 2XX answer, `slow_ms` the 99th percentile of the latency. A fleet that has
    served for less than an hour is measured from its first request on.
    """
    end = at.replace(second=0, microsecond=0)
    start = end - timedelta(minutes=_HOUR)
    queries = [_query(name, endpoint, fleet, *_STATISTICS[name]) for name in ("requests", "failures")]
    slow = _query("slow", endpoint, fleet, "ModelLatency", "p99")
    slow["MetricStat"]["Period"] = 60 * _HOUR
    try:
        points = _read([*queries, slow], start, _next_minute(at))
    except (ClientError, BotoCoreError, UnknownOutcomeError):
        return {}
    requests = sum(value for _, value in points.get("requests", []))
    if not requests:
        return {}
    served = (_next_minute(at) - min(when for when, _ in points["requests"])).total_seconds() / 60
    failing = min(1.0, sum(value for _, value in points.get("failures", [])) / requests)
    slowest = max((value for _, value in points.get("slow", [])), default=None)
    found = {"requests": requests, "per_minute": requests / max(1.0, served), "failing": failing}
    return found | ({"slow_ms": slowest / 1000} if slowest is not None else {})


def _query(name: str, endpoint: str, fleet: Fleet, metric: str, statistic: str) -> dict[str, Any]:
    dimensions = {"EndpointName": endpoint, "VariantName": fleet[0], "EndpointConfigName": fleet[1]}
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    source = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": named}
    return {"Id": name, "MetricStat": {"Metric": source, "Period": 60, "Stat": statistic}}


def _read(queries: list[dict[str, Any]], start: datetime, end: datetime) -> dict[str, list[tuple[datetime, float]]]:
    found: dict[str, list[tuple[datetime, float]]] = {}
    more: dict[str, str] = {}
    while True:
        answer = client("cloudwatch").get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=end, **more)
        for result in answer["MetricDataResults"]:
            if result.get("StatusCode", "Complete") not in ("Complete", "PartialData"):
                raise UnknownOutcomeError(f"the metric {result['Id']} could not be read: {result['StatusCode']}")
            points = zip(result["Timestamps"], result["Values"], strict=True)
            if result["Values"]:
                found.setdefault(result["Id"], []).extend(points)
        if not answer.get("NextToken"):
            return found
        more = {"NextToken": answer["NextToken"]}


def _next_minute(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)


def put_verdict(model: str, config: str, value: float) -> None:
    """Publish Linnet's verdict on a new fleet at high resolution: its alarm is one of SageMaker's rollback alarms."""
    dimensions = [{"Name": "Model", "Value": model}, {"Name": "EndpointConfigName", "Value": config}]
    datum = {"MetricName": VERDICT, "Dimensions": dimensions, "Value": value, "Unit": "None", "StorageResolution": 1}
    client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[datum])


def put_outcome(model: str, outcome: str) -> None:
    """Count a release's end: Releases by Model and Outcome."""
    dimensions = [{"Name": "Model", "Value": model}, {"Name": "Outcome", "Value": outcome}]
    datum = {"MetricName": "Releases", "Dimensions": dimensions, "Value": 1.0, "Unit": "Count"}
    client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[datum])


def put_quality(model: str, rules: int, failed: int) -> None:
    """Publish what the data-quality gate found in a run: how many rules were held against its data, how many failed (DV-01)."""
    dimensions = [{"Name": "Model", "Value": model}]
    data = [
        {"MetricName": name, "Dimensions": dimensions, "Value": float(value), "Unit": "Count"}
        for name, value in (("DataQualityRules", rules), ("DataQualityRulesFailed", failed))
    ]
    client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)


def put_reconciled(models: int) -> None:
    """Publish the reconciler's heartbeat: all models of the stack were looked at."""
    dimensions = [{"Name": "Stack", "Value": settings().stack}]
    datum = {"MetricName": "Reconciled", "Dimensions": dimensions, "Value": float(models), "Unit": "Count"}
    client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[datum])


def put_alarms(requests: Sequence[Mapping[str, Any]], tags: Sequence[Mapping[str, str]]) -> None:
    """Create a release's alarms; the same again changes nothing."""
    for request in requests:
        client("cloudwatch").put_metric_alarm(**request, Tags=tags)


def alarm_states(names: Sequence[str]) -> dict[str, str]:
    """Return the states of those of these alarms that exist: OK, ALARM or INSUFFICIENT_DATA."""
    found: dict[str, str] = {}
    for start in range(0, len(names), _NAMES):
        request = {"AlarmNames": list(names[start : start + _NAMES]), "MaxRecords": _NAMES}
        found |= {
            a["AlarmName"]: a["StateValue"] for a in client("cloudwatch").describe_alarms(**request)["MetricAlarms"]
        }
    return found


def delete_alarms(names: Sequence[str]) -> None:
    """Delete a release's alarms; those that are gone are no error."""
    if names:
        client("cloudwatch").delete_alarms(AlarmNames=list(names))
