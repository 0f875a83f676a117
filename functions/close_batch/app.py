"""Called by `intake`: closes a batch without a manifest once it is quiet."""

from __future__ import annotations

from typing import Any

from linnet.gateways import batches
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, batch, at, correlation_id}`; return `{closed, why}`."""
    return batches.close_when_quiet(event["model"], event["batch"], event["at"])
