"""Names the windows that the monitors have to look at now."""

from __future__ import annotations

from typing import Any

from linnet.gateways import findings
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{time, model?, again?, correlation_id?}`; return `{windows: [{model, kind, start, end}]}`."""
    windows = findings.due(
        event.get("time", ""), model=event.get("model"), again=event.get("again") is True,
        correlation_id=event.get("correlation_id", ""),
    )  # fmt: skip
    return {"windows": windows}
