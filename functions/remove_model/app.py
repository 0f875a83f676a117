"""Deletes what a model has, after a person confirmed it."""

from __future__ import annotations

from typing import Any

from linnet.gateways import removal
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, packages, decided_by, at, correlation_id}`; return `{deleted}`."""
    return removal.remove(
        event["model"],
        packages=event["packages"] is True,
        at=event["at"],
        decided_by=event["decided_by"],
        correlation_id=event["correlation_id"],
    )
