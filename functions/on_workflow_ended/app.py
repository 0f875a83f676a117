"""Woken when an execution failed, timed out or was aborted: frees what it held, whatever state it died in (F10, F33)."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import ExecutionEvent, parse
from linnet.gateways import endings
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a Step Functions Execution Status Change; return what was freed."""
    return endings.ended(parse(ExecutionEvent, event))
