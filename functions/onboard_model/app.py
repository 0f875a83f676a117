"""Makes or adopts what a model needs before its first signal, and writes its spec into the ledger."""

from __future__ import annotations

from typing import Any

from linnet.gateways import onboarding
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{bucket, key, version_id, at, correlation_id}`; return `{model, group, experiment, alarms, renewed}`."""
    return onboarding.carry_out(
        event["bucket"], event["key"], event["version_id"], at=event["at"], correlation_id=event["correlation_id"]
    )
