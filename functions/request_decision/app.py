"""Asks a person to decide about a candidate, and leaves the workflow waiting for the word."""

from __future__ import annotations

from typing import Any

from linnet.gateways import registry
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a question with its task token; return `{decision_id, state}`, which only the logs see."""
    return registry.ask(event)
