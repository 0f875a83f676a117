"""Names the windows that the monitors have to look at now."""

from __future__ import annotations

from typing import Any

from linnet.gateways import findings
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{time, execution, model?, data?, again?, correlation_id?}`; return `{count, bucket, key, jobs}`.

    The object has an array of `count` windows, `{model, kind, start, end, correlation_id, work}` each, as `jobs` has. With
    `data` there is one, of the kind data-set, which has it too.
    """
    at, correlation_id = event.get("time", ""), event.get("correlation_id", "")
    if event.get("data") is not None:
        windows = [findings.data_set(event.get("model") or "", event["data"], at)]
    else:
        again = event.get("again") is True
        windows = findings.due(at, model=event.get("model"), again=again, correlation_id=correlation_id)
    return findings.hand_out(windows, event["execution"], correlation_id=correlation_id)
