"""A spec was put or deleted: starts `onboard` or `offboard`."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import S3Event, parse
from linnet.gateways import onboarding
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take an S3 event; return `{done}`: what was started, or why nothing was."""
    woken = parse(S3Event, event)
    act = onboarding.on_created if woken.detail_type == "Object Created" else onboarding.on_deleted
    done = act(woken.detail.bucket.name, woken.detail.object.key, woken.detail.object.version_id)
    return {"done": done}
