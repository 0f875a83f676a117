"""Called by `retrain` for data that is too large for a function: the request of the processing job that takes it."""

from __future__ import annotations

from typing import Any

from linnet.gateways import processing
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{run, spec, inputs_uri, at}`; return the CreateProcessingJob request."""
    return processing.plan(event["spec"], run=event["run"], inputs_uri=event["inputs_uri"], at=event["at"])
