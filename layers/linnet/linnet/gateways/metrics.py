"""CloudWatch: what a fleet's metrics say, and the metrics and alarms of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from linnet.decisions.rollout import NAMESPACE, VERDICT
from linnet.decisions.verdict import Evidence
from linnet.gateways.clients import client
from linnet.settings import settings

WINDOW_SECONDS = 300
_NAMES = 100
"""So many alarms DescribeAlarms takes at once."""
_STATISTICS = {
    "requests": ("Invocations", "Sum"),
    "errors": ("Invocation5XXErrors", "Sum"),
    "failures": ("InvocationModelErrors", "Sum"),
    "latency": ("ModelLatency", "Sum"),
    "measured": ("ModelLatency", "SampleCount"),
}


def evidence(endpoint: str, variant: str, config: str | None, since: datetime, at: datetime) -> Evidence:
    """Return what a fleet did: its requests since `since`, its errors and latency in the last five minutes before `at`.

    Nothing before `since` counts (F16). With `config` the fleet is told apart by EndpointConfigName, which a native
    canary needs: both of its fleets carry one variant name. Without, only whole minutes after `since` count, because
    the variant was there before. A metric that cannot be read, whatever the reason, is None: unknown (F15).
    """
    start = since.replace(second=0, microsecond=0) if config else _next_minute(since)
    # The running minute counts too: a broken fleet is not given another one.
    end = _next_minute(at)
    if start >= end:
        return Evidence()
    dimensions = {"EndpointName": endpoint, "VariantName": variant} | ({"EndpointConfigName": config} if config else {})
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": named},
                "Period": 60,
                "Stat": statistic,
            },
        }
        for name, (metric, statistic) in _STATISTICS.items()
    ]
    try:
        answer = client("cloudwatch").get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=end)
    except (ClientError, BotoCoreError):
        return Evidence()
    points = {
        found["Id"]: list(zip(found["Timestamps"], found["Values"], strict=True))
        for found in answer["MetricDataResults"]
        if found["Values"] and found.get("StatusCode", "Complete") == "Complete"
    }
    late = at - timedelta(seconds=WINDOW_SECONDS)
    recent = {name: sum(value for when, value in found if when >= late) for name, found in points.items()}
    measured = recent.get("measured", 0)
    return Evidence(
        requests=sum(value for _, value in points.get("requests", [])),
        errors=recent.get("errors"),
        latency_ms=recent["latency"] / measured / 1000 if measured and "latency" in recent else None,
        failures=recent.get("failures"),
        recent=recent.get("requests"),
    )


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
    found = {}
    for start in range(0, len(names), _NAMES):
        request = {"AlarmNames": list(names[start : start + _NAMES]), "MaxRecords": _NAMES}
        found |= {a["AlarmName"]: a["StateValue"] for a in client("cloudwatch").describe_alarms(**request)["MetricAlarms"]}
    return found


def delete_alarms(names: Sequence[str]) -> None:
    """Delete a release's alarms; those that are gone are no error."""
    if names:
        client("cloudwatch").delete_alarms(AlarmNames=list(names))
