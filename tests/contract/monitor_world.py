"""A model that serves, what its endpoint was asked, what was true, and what CloudWatch shows of it: for tests of monitors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from linnet.events.spec import check_spec, spec_json
from linnet.gateways import ledger
from models.flights import data as flights
from tests.contract.onboarding_world import World

CONFIG = "linnet-flights-v1-f1"


def serve(monitors: Mapping[str, Any] | None = None, **champion: Any) -> dict[str, Any]:
    """Let the ledger say that flights serves, with these monitors in its spec; return the spec."""
    spec = spec_json(check_spec(flights.spec() | ({"monitors": monitors} if monitors else {})))
    ledger.put_once("models", "flights", {"model": "flights"})
    ledger.put_once("model/flights", "spec", {"spec": spec, "digest": "d", "version_id": "v"})
    ledger.put_once("model/flights", "champion", {"version": 1, "config": CONFIG} | champion)
    return spec


def asked(row: str, said: str, identity: str, at: str) -> str:
    """Return a line of capture."""
    return json.dumps({
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": row, "encoding": "CSV"},
            "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": said, "encoding": "CSV"},
        },
        "eventMetadata": {"eventId": identity, "inferenceTime": at}, "eventVersion": "0",
    })  # fmt: skip


def true(label: str, identity: str) -> str:
    """Return a line of ground truth."""
    return json.dumps({
        "groundTruthData": {"data": label, "encoding": "CSV"}, "eventMetadata": {"eventId": identity}, "eventVersion": "0",
    })  # fmt: skip


def metrics(
    world: World, kind: str, namespace: str, window: tuple[str, str], statistic: str = "Maximum"
) -> dict[str, tuple[float, datetime]]:
    """Return value and time of every metric, which has one point from a day before the window to four days behind.

    All have exactly the dimensions that the alarms watch.
    """
    dimensions = [
        {"Name": "Endpoint", "Value": "linnet-flights"},
        {"Name": "MonitoringSchedule", "Value": f"linnet-flights-{kind}"},
    ]
    start, end = map(datetime.fromisoformat, window)
    found = {}
    for metric in world.cloudwatch.list_metrics(Namespace=namespace)["Metrics"]:
        assert sorted(metric["Dimensions"], key=lambda d: d["Name"]) == dimensions
        (point,) = world.cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName=metric["MetricName"], Dimensions=dimensions, Period=60, Statistics=[statistic],
            StartTime=start - timedelta(days=1), EndTime=end + timedelta(days=4),
        )["Datapoints"]  # fmt: skip
        found[metric["MetricName"]] = (point[statistic], point["Timestamp"])
    return found
