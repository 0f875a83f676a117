"""What an execution that died leaves behind: a slot or a lease that nobody would ever free (I9)."""

from __future__ import annotations

import json
from typing import Any

from linnet.events.aws import ExecutionEvent
from linnet.gateways import ledger, releases, runs

_OUTCOME = {"ABORTED": "stopped", "TIMED_OUT": "failed", "FAILED": "failed"}


def ended(event: ExecutionEvent) -> dict[str, Any]:
    """Free the slot and the lease of an execution that ended badly; one that held nothing changes nothing.

    The event is a claim: only what this very execution owns is freed, so a late or forged one frees nobody else's.
    """
    detail = event.detail
    try:
        model = str(json.loads(detail.input or "{}").get("model", ""))
    except (ValueError, AttributeError):
        model = ""
    if not model or detail.status not in _OUTCOME:
        return {"ignored": f"{detail.status} of an execution without a model"}
    why = f"execution {detail.name} {detail.status}: {detail.error or ''} {detail.cause or ''}".strip()
    done: dict[str, Any] = {"model": model}
    slot = ledger.read(f"model/{model}", "slot") or {}
    if slot.get("owner") == detail.name:
        done["run"] = runs.close(
            model, str(slot["run"]), detail.name, event.at, _OUTCOME[detail.status], why, correlation_id=detail.name
        )
    done["lease"] = releases.abandon(detail.execution_arn, detail.name, json.loads(detail.input or "{}"), event.at)
    return done
