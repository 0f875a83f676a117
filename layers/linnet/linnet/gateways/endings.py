"""What an execution that died leaves behind: a run or a lease that nobody would ever end (I9)."""

from __future__ import annotations

import json
from typing import Any

from linnet.events.aws import ExecutionEvent
from linnet.gateways import releases, runs


def ended(event: ExecutionEvent) -> dict[str, Any]:
    """End the run and free the lease of an execution that ended badly; one that left nothing changes nothing.

    The event is a claim: only what this very execution owns is freed, so a late or forged one frees nobody else's.
    """
    detail = event.detail
    try:
        model = str(json.loads(detail.input or "{}").get("model", ""))
    except (ValueError, AttributeError):
        model = ""
    if not model or detail.status not in ("ABORTED", "TIMED_OUT", "FAILED"):
        return {"ignored": f"{detail.status} of an execution without a model"}
    why = f"execution {detail.name} {detail.status}: {detail.error or ''} {detail.cause or ''}".strip()
    done: dict[str, Any] = {"model": model}
    if run := runs.died(model, detail.name, event.at, detail.status, why):
        done["run"] = run
    done["lease"] = releases.abandon(detail.execution_arn, detail.name, json.loads(detail.input or "{}"), event.at)
    return done
