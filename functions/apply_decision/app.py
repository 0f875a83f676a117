"""Writes a decision about a candidate into the registry and the ledger."""

from __future__ import annotations

from typing import Any

from linnet.gateways import registry
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, version, package_arn, approval_status, decided_by, comment, kind, at, correlation_id}`."""
    return registry.apply(
        model=event["model"],
        version=int(event["version"]),
        package_arn=event["package_arn"],
        approval_status=event["approval_status"],
        decided_by=event.get("decided_by") or "linnet",
        comment=event.get("comment") or "",
        kind=event.get("kind") or "automatic",
        at=event["at"],
        correlation_id=event["correlation_id"],
    )
