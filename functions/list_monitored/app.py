"""Names the windows that the monitors have to look at now."""

from __future__ import annotations

from typing import Any

from linnet.gateways import findings
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{time, execution, model?, again?, correlation_id?}`; return `{count, bucket, key, jobs}`.

    The object has an array of `count` windows, `{model, kind, start, end, correlation_id, work}` each, as `jobs` has.
    """
    correlation_id = event.get("correlation_id", "")
    windows = findings.due(
        event.get("time", ""), model=event.get("model"), again=event.get("again") is True,
        correlation_id=correlation_id,
    )  # fmt: skip
    return findings.hand_out(windows, event["execution"], correlation_id=correlation_id)
