"""Says what a model has, before anybody is asked to let it go."""

from __future__ import annotations

from typing import Any

from linnet.gateways import removal
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model}`; return `{why, things: {kind: count}}`."""
    return removal.plan(event.get("model", ""))
