"""Woken by a schedule: finds what events missed, model by model (F5)."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import ScheduledEvent, parse
from linnet.gateways import registry, runs, specs
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a Scheduled Event; return what was done for each model."""
    at = parse(ScheduledEvent, event).at
    return {model: {"run": runs.reconcile(model, at), **registry.reconcile(model, at)} for model in specs.models()}
