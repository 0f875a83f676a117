"""Woken by a standing alarm that changes its state, and by a measured business value: the layers no monitor reads (MO-11)."""

from __future__ import annotations

from typing import Any

from linnet.gateways import layers
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take an EventBridge event; return the finding that was written down, or why none was."""
    return layers.receive(event)
