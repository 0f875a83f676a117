"""Called first by `retrain`: claims the model's one slot and says what the run works on."""

from __future__ import annotations

from typing import Any

from linnet.gateways import runs
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, execution, at, correlation_id}`; return the run, or `{proceed: false, why}`."""
    return runs.take_slot(event["model"], event["execution"], event["at"], event["correlation_id"])
