"""Asks a person whether a model may go; the state machine waits for the answer by task token."""

from __future__ import annotations

from typing import Any

from linnet.gateways import removal
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, packages, things, why, token, execution, at, correlation_id}`; return `{decision_id, state}`."""
    row = removal.ask(event)
    return {"decision_id": row["decision_id"], "state": row["state"]}
