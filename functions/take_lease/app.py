"""Takes an endpoint's lease for a release or a rollback, proves the way back, and writes the intent."""

from __future__ import annotations

from typing import Any

from linnet.gateways import releases
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, version, kind, owner, at, correlation_id, lease?, back?, reason?, serving?}`; return `{proceed, ...}`."""
    return releases.take(
        event["model"],
        version=event.get("version"),
        kind=event.get("kind") or "release",
        owner=event["owner"],
        handed=event.get("lease"),
        back=event.get("back") is True,
        reason=event.get("reason") or "",
        serving=event.get("serving"),
        at=event["at"],
        correlation_id=event["correlation_id"],
    )
