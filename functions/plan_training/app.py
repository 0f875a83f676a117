"""Called by `retrain`: the request of the training or tuning job, complete before anything is made."""

from __future__ import annotations

from typing import Any

from linnet.gateways import candidates
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{run, spec, prepared, champion, trigger, at}`; return `{tuned, request}` and perhaps `on_demand`."""
    return candidates.plan_training(
        event["spec"],
        run=event["run"],
        prepared=event["prepared"],
        champion=event["champion"],
        trigger=event["trigger"],
        at=event["at"],
    )
