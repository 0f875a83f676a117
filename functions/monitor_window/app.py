"""A monitor: looks at a window of live traffic and publishes what it found (MO-02, MO-05)."""

from __future__ import annotations

from typing import Any

from linnet.data import window
from linnet.decisions import monitoring
from linnet.gateways import findings
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, kind, start, end, correlation_id, work, shards?, data?}`; return `{model, status, severity, features}`.

    A window of more capture than one function looks at is cut instead: returns the input and how many `shards` there are.
    """
    start, end = monitoring.parse_time(event["start"]), monitoring.parse_time(event["end"])
    found = window.look(
        event["kind"], event["model"], start, end,
        work=event["work"], shards=int(event.get("shards", 0)), data=event.get("data"),
    )  # fmt: skip
    if "shards" in found:
        return event | found
    findings.record(event["model"], found, correlation_id=event["correlation_id"])
    return {"model": event["model"]} | {name: found[name] for name in ("status", "severity", "features")}
