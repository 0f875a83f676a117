"""Called by `retrain` on every road out: records the end, frees the slot, tells people."""

from __future__ import annotations

from typing import Any

from linnet.gateways import runs
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, run, execution, at, outcome, why, correlation_id}`; return `{outcome, why}`."""
    return runs.close(
        event["model"],
        event["run"],
        event["execution"],
        event["at"],
        event["outcome"],
        event["why"],
        correlation_id=event["correlation_id"],
    )
