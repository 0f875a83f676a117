"""Woken by a schedule: looks at what was promoted not long ago; what turns out bad goes back by itself."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import ScheduledEvent, parse
from linnet.gateways import reconciler
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a Scheduled Event; return what was found of each model, null where nothing is watched."""
    return reconciler.watch(parse(ScheduledEvent, event).at)
