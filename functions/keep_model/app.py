"""Writes down that nobody let a model go."""

from __future__ import annotations

from typing import Any

from linnet.gateways import removal
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, execution, at, correlation_id}`; return `{kept, state}`."""
    return removal.keep(
        event["model"], execution=event["execution"], at=event["at"], correlation_id=event["correlation_id"]
    )
