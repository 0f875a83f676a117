"""Called by `retrain` on every road out: records the end, frees the slot, tells people."""

from __future__ import annotations

from typing import Any

from linnet.gateways import runs
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, run, execution, at, outcome, why, correlation_id}`, or `failure` in place of outcome and why.

    A failure is `{Error, Cause, Code}` as Step Functions caught it. Return `{outcome, error, why}`.
    """
    model, run, execution, at, story = (event[n] for n in ("model", "run", "execution", "at", "correlation_id"))
    if "failure" in event:
        return runs.fail(model, run, execution, at, event["failure"], correlation_id=story)
    return runs.close(model, run, execution, at, event["outcome"], event["why"], correlation_id=story)
