"""The end of a release: what really serves is read back, then the champion moves, people are told, the lease is freed.

Every step may be repeated; the order is that of importance, so that a crash between two loses no truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from linnet.decisions import names, rollout
from linnet.errors import BadInputError, ConflictError
from linnet.gateways import alarms, leases, ledger, metrics, notifications, releases, sagemaker, scaling
from linnet.settings import settings

Outcome = Literal["promoted", "rolled back", "held"]
_KIND: dict[str, notifications.Kind] = {
    "promoted": "release-finished", "rolled back": "rolled-back", "held": "release-held",
}  # fmt: skip


def conclude(
    model: str, *, owner: str, fence: int | None, outcome: str, why: str, at: str, correlation_id: str
) -> dict[str, Any]:
    """End a release, or what an owner holds without knowing its fence; return `{outcome, version, why}`.

    Raises:
        ConflictError: promoted or rolled back is not what the endpoint says; nothing was written.
    """
    if outcome not in _KIND:
        raise BadInputError("outcome", outcome, ", ".join(_KIND))
    endpoint = names.base(settings().stack, model)
    fence = leases.held_by(endpoint, owner) if fence is None else fence
    row = None if fence is None else ledger.read(f"model/{model}", f"release#{fence:06d}")
    if row is None or fence is None:
        if fence is not None:
            leases.free(endpoint, owner=owner, fence=fence)
        _tell_of_nothing(model, owner, why, at, correlation_id)
        return {"outcome": "held", "version": None, "why": why}
    if row["state"] == "intent":
        leases.require(endpoint, owner=owner, fence=fence)
        live = sagemaker.endpoint(endpoint)
        if outcome == "promoted":
            _promote(row, live, at)
        elif outcome == "rolled back":
            _restore(row, live, at)
        if outcome != "held":
            if live:
                scaling.join(endpoint, live["weights"])
            alarms.follow(model, rollout.tags(row, settings().environment))
        _record(row, outcome, why, at, live)
    elif row["state"] != outcome:
        raise ConflictError(f"release {fence} of {model} has ended as {row['state']}, not {outcome}")
    leases.free(endpoint, owner=owner, fence=fence)
    return {"outcome": outcome, "version": row["version"], "why": why}


def end_overtaken(model: str, at: str) -> list[int]:
    """End as held the releases that died and whose lease another one took over and freed; return their fences."""
    endpoint = names.base(settings().stack, model)
    lease = ledger.read(f"endpoint/{endpoint}", "lease") or {"fence": 0}
    if "owner" in lease:
        return []
    rows = [row for row in ledger.query(f"model/{model}", "release#") if row["state"] == "intent"]
    over = [row for row in rows if row["fence"] <= lease["fence"]]  # a later one may have begun just now
    for row in over:
        _record(row, "held", "it died, and another release took its lease over", at, sagemaker.endpoint(endpoint))
    return [int(row["fence"]) for row in over]


def _promote(row: Mapping[str, Any], live: Mapping[str, Any] | None, at: str) -> None:
    """Make the released version champion, after reading back that it alone serves (F47)."""
    plan = row["plan"]
    _check_serving(live, str(plan["target"]), str(plan["variant"]))
    champion = {
        "version": row["version"], "package_arn": row["package_arn"], "run": row["run"], "baseline": row["baseline"],
        "config": plan["target"], "at": at, "fence": row["fence"], "variant": plan["variant"],
        "model_name": names.sagemaker_model(settings().stack, row["model"], int(row["version"])),
    }  # fmt: skip
    before = ledger.read(f"model/{row['model']}", "champion") or {}
    _put_champion(row, champion)
    sagemaker.mark_production(str(row["package_arn"]), on=True)
    if before.get("package_arn") not in (None, row["package_arn"]):
        sagemaker.mark_production(str(before["package_arn"]), on=False)
    last = ((row.get("previous") or {}).get("champion") or {}).get("package_arn")
    if last not in (None, row["package_arn"], before.get("package_arn")):
        sagemaker.mark_production(str(last), on=False)


def _check_serving(live: Mapping[str, Any] | None, config: str, variant: str | None) -> None:
    if live is None or (live["status"], live["config"]) != ("InService", config):
        seen = "nothing" if live is None else f"{live['config']}, {live['status']}"
        raise ConflictError(f"the endpoint serves {seen}; expected was {config}, InService")
    if variant is not None and (list(live["weights"]) != [variant] or live["weights"][variant] <= 0):
        raise ConflictError(f"the endpoint's weights are {live['weights']}; expected was {variant} alone")
    short = {
        name: live["current_counts"][name]
        for name, count in live["counts"].items()
        if live["current_counts"][name] < count
    }
    if short:
        raise ConflictError(f"instances are missing: {short} of {live['counts']}")


def _put_champion(row: Mapping[str, Any], champion: Mapping[str, Any]) -> None:
    """Move the champion while the lease is held: who was taken for dead after its last look cannot, nor move it back (I3)."""
    moved = ledger.changed(
        f"model/{row['model']}", "champion", put=champion, remove=() if "restored_by" in champion else ("restored_by",),
        only_if="attribute_not_exists(pk) OR attribute_not_exists(#fence) OR #fence <= :mine", given={"mine": row["fence"]},
    )  # fmt: skip
    fence = int(row["fence"])
    if not ledger.together(moved, leases.holding(str(row["endpoint"]), owner=str(row["owner"]), fence=fence)):
        raise ConflictError(f"fence {fence} of {row['endpoint']} is over: the champion of {row['model']} was not moved")


def _restore(row: Mapping[str, Any], live: Mapping[str, Any] | None, at: str) -> None:
    """Let the ledger say again what serves; a release that SageMaker took back itself never moved the champion."""
    model, previous = row["model"], row.get("previous")
    if previous is None:
        if live is not None:
            raise ConflictError(f"the endpoint is {live['status']}; expected was that it is deleted")
        ledger.remove(f"model/{model}", "champion")
        sagemaker.mark_production(str(row["package_arn"]), on=False)
        return
    _check_serving(live, str(previous["config"]), None)
    champion = previous.get("champion")
    now = ledger.read(f"model/{model}", "champion")
    if row["kind"] == "release" or champion is None or (now and now["config"] == previous["config"]):
        return
    _put_champion(row, champion | {"fence": row["fence"], "restored_by": row["fence"], "at": at})
    sagemaker.mark_production(str(champion["package_arn"]), on=True)
    if champion["package_arn"] != row["package_arn"]:
        sagemaker.mark_production(str(row["package_arn"]), on=False)


def _record(row: Mapping[str, Any], outcome: str, why: str, at: str, live: Mapping[str, Any] | None) -> None:
    """Tell people, write what happened, delete the release's alarms: a crash after telling tells twice, not never."""
    model, fence, plan = row["model"], row["fence"], row["plan"]
    ended = {"outcome": outcome, "fence": fence, "at": at, "approval": row.get("approval", 0)}
    ledger.change(f"model/{model}", f"candidate#{row['version']:06d}", put={"released": ended})
    detail = {
        "version": row["version"], "outcome": outcome, "why": why, "fence": fence, "kind": row["kind"],
        "strategy": plan["strategy"], "config": live and live["config"], "weights": live and live["weights"],
        "correlation_id": row["correlation_id"],
    }  # fmt: skip
    if not ledger.told(f"model/{model}", "release", str(fence)):
        metrics.put_outcome(model, outcome)
        _tell(row, outcome, why, detail)
    ledger.append(f"model/{model}", "release", at, detail, key=str(fence))
    if not (live and live["status"] in rollout.CHANGING):
        metrics.delete_alarms(plan["alarms"])  # SageMaker still asks them while it updates
    # A rollback that died has left a row of its own beside that of the release.
    for undone in {row.get("undoes"), (row.get("handed") or {}).get("fence")} - {None}:
        state = {"state": outcome, "ended_at": at, "why": row["reason"], "undone_by": fence}
        ledger.change(f"model/{model}", f"release#{undone:06d}", put=state)
    releases.note(model, fence, {"state": outcome, "ended_at": at, "why": why})


def _tell(row: Mapping[str, Any], outcome: str, why: str, detail: Mapping[str, Any]) -> None:
    version, model = row["version"], row["model"]
    verdict = row.get("verdict") or {}
    serves = {
        "promoted": f"Version {version} serves all traffic of {row['endpoint']}.",
        "rolled back": f"Version {version} does not serve. {row['endpoint']} serves {detail['config'] or 'nothing'}.",
        "held": f"The release of version {version} stopped. {row['endpoint']} serves {detail['config'] or 'nothing'}.",
    }
    steps = {
        "promoted": "Nothing to do. To take it back, start the machine rollback.",
        "rolled back": "Read the verdict; register a better candidate, or approve again when the cause lay elsewhere.",
        "held": "A person must look: docs/runbook.md, 'A release was rolled back, or is held'.",
    }
    notifications.notify(
        _KIND[outcome],
        model=model,
        subject=f"{model} version {version}: {outcome}",
        what=serves[outcome],
        why=f"{why}. Reason of the release: {row['reason']}.",
        proof=f"ledger: model/{model} release#{row['fence']:06d}; endpoint config {detail['config']}",
        next_step=steps[outcome],
        verdict=verdict,
        correlation_id=row["correlation_id"],
    )


def _tell_of_nothing(model: str, owner: str, why: str, at: str, correlation_id: str) -> None:
    """A release that could not begin is told too: nothing vanishes (I10)."""
    detail = {"outcome": "held", "why": why, "owner": owner, "correlation_id": correlation_id}
    if not ledger.told(f"model/{model}", "release", owner):
        notifications.notify(
            "release-held",
            model=model,
            subject=f"{model}: a release could not begin",
            what="The endpoint was not touched.",
            why=why,
            proof=owner,
            next_step="Mend the cause, then start the machine release (or rollback) again.",
            correlation_id=correlation_id,
        )
    ledger.append(f"model/{model}", "release", at, detail, key=owner)
