"""What an execution that died leaves behind: a run or a lease that nobody would ever end (I9)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.decisions import names, rollout
from linnet.events.aws import ExecutionEvent
from linnet.gateways import conclusions, leases, ledger, machines, releases, runs, sagemaker
from linnet.settings import settings


def ended(event: ExecutionEvent) -> dict[str, Any]:
    """End the run and free the lease of an execution that ended badly; one that left nothing changes nothing.

    The event is a claim: only what this very execution owns is freed, so a late or forged one frees nobody else's, and not
    while it runs: it may have been redriven since (F52).
    """
    detail = event.detail
    try:
        model = str(json.loads(detail.input or "{}").get("model", ""))
    except (ValueError, AttributeError):
        model = ""
    if not model or detail.status not in ("ABORTED", "TIMED_OUT", "FAILED"):
        return {"ignored": f"{detail.status} of an execution without a model"}
    if machines.status(detail.execution_arn) == "RUNNING":
        return {"ignored": f"{detail.name} runs again"}
    why = f"execution {detail.name} {detail.status}: {detail.error or ''} {detail.cause or ''}".strip()
    done: dict[str, Any] = {"model": model}
    if run := runs.died(model, detail.name, event.at, detail.status, why):
        done["run"] = run
    done["lease"] = abandon(detail.execution_arn, detail.name, json.loads(detail.input or "{}"), event.at)
    return done


def abandon(execution_arn: str, execution_name: str, given: Mapping[str, Any], at: str) -> str:
    """End what an execution of release or rollback left behind when it died; return what was done.

    An endpoint that the release had touched is taken back by `rollback`, which takes the lease over; an untouched one
    is only set free. A rollback that died on its way is gone on with by another one. Called for every ended execution:
    most have freed their lease themselves.
    """
    model = str(given.get("model", ""))
    endpoint = names.base(settings().stack, model)
    fence = leases.held_by(endpoint, execution_arn)
    if fence is None:
        return "nothing held"
    row = ledger.read(f"model/{model}", f"release#{fence:06d}")
    if row and row["state"] != "intent":  # it died between its end and the freeing of its lease
        leases.free(endpoint, owner=execution_arn, fence=fence)
        return f"freed: it had ended as {row['state']}"
    if row and row["kind"] == "release":
        undone = row if _moved(endpoint, (row.get("previous") or {}).get("config")) else None
    elif row and not row["handed"]:
        undone = releases.read(model, int(row["undoes"]))
        undone = undone if _moved(endpoint, undone["plan"]["target"]) else None
    else:  # the rollback of a release died: that release has not ended
        rows = ledger.query(f"model/{model}", "release#", newest_first=True)
        undone = next((each for each in rows if each["kind"] == "release" and each["state"] == "intent"), None)
    if undone:
        why = f"{execution_name} ended before its release did"
        lease = {"owner": execution_arn, "fence": fence, "undoes": undone["fence"]}
        name, rollbacks = f"{model}-back-f{fence}", settings().rollback_machine.replace(":stateMachine:", ":execution:")
        for number in range(2, 10):  # the one that the release had started may have died before it took the lease over
            if machines.status(f"{rollbacks}:{name}") in (None, "RUNNING"):
                break
            name = f"{model}-back-f{fence}-{number}"
        given = {"model": model, "reason": why, "correlation_id": undone["correlation_id"], "lease": lease}
        return machines.start(settings().rollback_machine, name, given)
    why = f"{execution_name} ended before it had concluded"
    conclusions.conclude(
        model, owner=execution_arn, fence=fence, outcome="held", why=why, at=at,
        correlation_id=str((row or given).get("correlation_id", execution_name)),
    )  # fmt: skip
    return "held"


def _moved(endpoint: str, config: str | None) -> bool:
    """Say whether an endpoint serves another config than this, or is changing."""
    live = sagemaker.endpoint(endpoint)
    return live is not None and (live["status"] in rollout.CHANGING or live["config"] != config)
