"""Sends the run's own test rows to a new fleet before callers do."""

from __future__ import annotations

from typing import Any

from linnet.gateways import judging
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, owner, fence, at, progress}`; return `{next, wait, why, progress, verdict}`."""
    return judging.probe_release(
        event["model"],
        owner=event["owner"],
        fence=int(event["fence"]),
        at=event["at"],
        progress=event["progress"],
    )
