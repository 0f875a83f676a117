"""Makes a release's next change to the endpoint: create, guarded or unguarded update, or the way back."""

from __future__ import annotations

from typing import Any

from linnet.gateways import releases
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, owner, fence, at, progress?}`; return `{progress, wait}`."""
    return releases.start(
        event["model"],
        owner=event["owner"],
        fence=int(event["fence"]),
        at=event["at"],
        given=event.get("progress"),
    )
