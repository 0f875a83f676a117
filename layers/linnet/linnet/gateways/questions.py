"""A person is asked about a release whose evidence stays unknown at its deadline; it is watched meanwhile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.gateways import approvals, notifications
from linnet.settings import settings


def _about(row: Mapping[str, Any], progress: Mapping[str, Any]) -> str:
    return f"{row['endpoint']} release {row['fence']} {progress['phase']} {progress['step']}"


def heard(row: Mapping[str, Any], progress: Mapping[str, Any]) -> str | None:
    """Return what the person who was asked about this stage said: approve, reject, expired, or None."""
    if not progress["asked"]:
        return None
    found = approvals.find(str(row["model"]), "release", _about(row, progress))
    return {"APPROVED": "approve", "REJECTED": "reject", "EXPIRED": "expired"}.get(str((found or {}).get("state")))


def ask(
    row: Mapping[str, Any], before: Mapping[str, Any], answer: Mapping[str, Any], verdict: Mapping[str, Any], at: str
) -> None:
    """Ask a person when the deadline has come; close the question when the release went on or back without an answer."""
    progress, model = answer["progress"], str(row["model"])
    if before["asked"]:
        known = approvals.decision_id(model, "release", _about(row, before))
        if answer["next"] != "wait" and heard(row, before) is None:
            approvals.expire(known, at=at, why=str(answer["why"]))
        elif heard(row, before) is None and approvals.over(known, at):
            approvals.expire(known, at=at)
        return
    if not progress["asked"]:
        return
    asked = approvals.open_decision(
        model=model, kind="release", about=_about(row, progress), token="", at=at,  # nobody waits # nosec B106
        timeout_seconds=3600 * int(row["spec"]["timeout_hours"]), correlation_id=str(row["correlation_id"]),
        more={"version": row["version"], "package_arn": row["package_arn"], "verdict": dict(verdict)},
    )  # fmt: skip
    if asked["state"] != "OPEN" or asked.get("notified"):
        return
    say = {"decision_id": asked["decision_id"], "decision": "approve", "decided_by": "<you>", "comment": "<why>"}
    notifications.notify(
        "decision-wanted",
        model=model,
        subject=f"{model} version {row['version']}: go on without enough evidence?",
        what=f"The release of version {row['version']} waits at {progress['phase']}, step {progress['step']}, until "
        f"{asked['expires_at']}. It is watched meanwhile and taken back at once when it turns out bad.",
        why=str(verdict["why"]),
        proof=f"ledger: model/{model} release#{row['fence']:06d}",
        next_step=f"Invoke the function {settings().stack}-decide-candidate with {json.dumps(say)} (or reject). Without an "
        "answer the release goes back.",
        decision_id=asked["decision_id"],
        correlation_id=row["correlation_id"],
    )
    approvals.told(asked["decision_id"])
