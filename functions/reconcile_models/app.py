"""Woken by a schedule: finds what events missed, starts what waits, frees what died (F5)."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import ScheduledEvent, parse
from linnet.gateways import reconciler
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a Scheduled Event; return what was done for each model."""
    return reconciler.reconcile(parse(ScheduledEvent, event).at)
