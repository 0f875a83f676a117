"""Ends a release: reads back what serves, moves the champion, tells people, frees the lease."""

from __future__ import annotations

from typing import Any

from linnet.gateways import conclusions
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, owner, fence?, outcome, why, at, correlation_id}`; return `{outcome, version, why}`."""
    return conclusions.conclude(
        event["model"],
        owner=event["owner"],
        fence=None if event.get("fence") is None else int(event["fence"]),
        outcome=event["outcome"],
        why=event["why"],
        at=event["at"],
        correlation_id=event["correlation_id"],
    )
