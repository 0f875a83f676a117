"""Woken by every signal: data, drift, schedule, a person's request. One intake for all (EB-01)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from linnet.gateways import signals
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take an EventBridge event; return what was done for each model."""
    return signals.receive(event, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
