"""Candidates on their way to a decision and from it to a release: asked about, decided, seen approved, sent out.

All roads end in the registry's ModelApprovalStatus; only its change, read again, starts a release (docs/decisions/0002).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.decisions import lineage, names
from linnet.errors import BadInputError, ConflictError, NotFoundError
from linnet.events.aws import PackageDetail
from linnet.gateways import (
    approvals,
    conclusions,
    endings,
    leases,
    ledger,
    machines,
    notifications,
    releases,
    runs,
    sagemaker,
    seals,
    specs,
)
from linnet.gateways.clients import client
from linnet.settings import settings

PENDING = "PendingManualApproval"
STATUSES = ("Approved", "Rejected", "Expired")


def ask(question: Mapping[str, Any]) -> dict[str, Any]:
    """Open the decision about a candidate and tell people what they need to decide (RG-06); return `{decision_id, state}`.

    `question`: model, version, package_arn, token, at, timeout_seconds, correlation_id, and for people metrics,
    champion_metrics, evaluation_uri, run. A newer candidate closes the questions about older ones (F36).
    """
    model, version = str(question["model"]), int(question["version"])
    for older in approvals.waiting(model):
        if older["kind"] == "candidate" and older["version"] < version:
            approvals.decide(
                older["decision_id"], "reject", decided_by="linnet", at=str(question["at"]),
                comment=f"superseded by version {version}",
            )  # fmt: skip
    known = ("run", "metrics", "champion_metrics", "evaluation_uri")
    more = {"version": version, "package_arn": question["package_arn"]} | {k: question.get(k) for k in known}
    row = approvals.open_decision(
        model=model, kind="candidate", about=str(question["package_arn"]), token=str(question["token"]),
        at=str(question["at"]), timeout_seconds=int(question["timeout_seconds"]),
        correlation_id=str(question["correlation_id"]), more=more,
    )  # fmt: skip
    if row["state"] == "OPEN" and not row.get("notified"):
        _tell_people(row)
        approvals.told(row["decision_id"])
    return {"decision_id": row["decision_id"], "state": row["state"]}


def _tell_people(row: Mapping[str, Any]) -> None:
    model, decision = row["model"], row["decision_id"]
    answer = {"decision_id": decision, "decision": "approve", "decided_by": "<you>", "comment": "<why>"}
    notifications.notify(
        "decision-wanted",
        model=model,
        subject=f"{model} version {row['version']}: approve or reject?",
        what=f"Version {row['version']} of {model} passed its gates and waits for a person until {row['expires_at']}.",
        why=f"Its metrics: {json.dumps(row.get('metrics'))}; the champion's on the same rows: "
        f"{json.dumps(row.get('champion_metrics'))}.",
        proof=f"{row.get('evaluation_uri')}; lineage: run {row.get('run')} in the ledger, package {row['package_arn']}",
        next_step=f"Invoke the function {settings().stack}-decide-candidate with {json.dumps(answer)} (or reject), or set the "
        "approval status in the SageMaker registry. Approving sends it out by the spec's rollout.",
        decision_id=decision,
        package_arn=row["package_arn"],
        metrics=row.get("metrics"),
        champion_metrics=row.get("champion_metrics"),
        evaluation_uri=row.get("evaluation_uri"),
        correlation_id=row["correlation_id"],
    )


def decide(word: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Take a person's word: `{decision_id, decision, decided_by, comment}`; return what counts now, and why.

    Raises:
        BadInputError: a field is wrong, or the package that would be approved is not what it was when asked (F36).
    """
    decision = word.get("decision_id")
    if not isinstance(decision, str) or not decision:
        raise BadInputError("decision_id", decision, "the id in the message that asked")
    try:
        row = approvals.read(decision)
    except NotFoundError:
        raise BadInputError("decision_id", decision, "the id of a decision that was asked for") from None
    if row["kind"] == "candidate" and row["state"] == "OPEN" and word.get("decision") == "approve":
        _check_package(row)
    answer = approvals.decide(
        decision, str(word.get("decision", "")), decided_by=word.get("decided_by", ""),
        comment=str(word.get("comment") or ""), at=at,
    )  # fmt: skip
    if row["kind"] == "retraining" and answer["accepted"]:
        runs.heard(row | answer, at)
    keep = ("decision_id", "state", "model", "version", "decided_by", "decided_at", "comment", "accepted", "why")
    return {name: answer.get(name) for name in keep}


def _check_package(row: Mapping[str, Any]) -> None:
    found = sagemaker.package(str(row["package_arn"]))
    if found.get("ModelPackageStatus") != "Completed":
        raise BadInputError("package", found.get("ModelPackageStatus"), "a Completed model package")
    if found.get("ModelApprovalStatus") == "Rejected":
        raise BadInputError("package", "Rejected", "a package that the registry has not rejected (RG-02)")


def apply(
    *, model: str, version: int, package_arn: str, approval_status: str, decided_by: str, comment: str, kind: str,
    at: str, correlation_id: str,
) -> dict[str, Any]:  # fmt: skip
    """Write a decision into the registry and the ledger, with who, when and why (RG-02); return `{approval_status, version}`.

    `Expired` leaves the registry as it is: nobody said anything. Applying the same decision again changes nothing.

    Raises:
        ConflictError: the candidate is superseded or no more what was registered (F36), or the registry has decided
            otherwise.
        BadInputError: the status is none of Approved, Rejected, Expired.
    """
    if approval_status not in STATUSES:
        raise BadInputError("approval_status", approval_status, ", ".join(STATUSES))
    row, found = releases.candidate(model, version), sagemaker.package(package_arn)
    if row["package_arn"] != package_arn:
        raise BadInputError("package_arn", package_arn, f"{row['package_arn']}, which is version {version}")
    decision = approvals.decision_id(model, "candidate", package_arn)
    asked = ledger.read(f"decision/{decision}", "decision") is not None
    now = str(found.get("ModelApprovalStatus"))
    if approval_status == "Expired":
        if asked:
            approvals.expire(decision, at=at)
    elif now != approval_status:
        if approval_status == "Approved":
            seals.unchanged(row)
        _check_transition(model, version, now, approval_status, str(found.get("ModelPackageStatus")))
        sagemaker.approve(
            package_arn, approval_status, f"{approval_status} by {decided_by} ({kind}) at {at}: {comment}"
        )
    if asked and approval_status != "Expired":
        approvals.applied(decision)
    said = {
        "status": approval_status,
        "decided_by": decided_by,
        "decided_at": at,
        "comment": comment,
        "decided_how": kind,
        "decided": approval_status,
    }
    ledger.change(
        f"model/{model}", f"candidate#{version:06d}", put=said,
        only_if="attribute_exists(pk) AND (attribute_not_exists(#decided_at) OR #status <> :status)",
        given={"status": approval_status},
    )  # fmt: skip
    detail = {"version": version, "package_arn": package_arn, "correlation_id": correlation_id, **said}
    key = f"{version}#{approval_status}"
    if not ledger.told(f"model/{model}", "decision", key):
        notifications.notify(
            "decision-made",
            model=model,
            subject=f"{model} version {version}: {approval_status}",
            what=f"Version {version} is {approval_status}.",
            why=f"{decided_by} ({kind}): {comment}",
            proof=package_arn,
            next_step="Its release starts by itself." if approval_status == "Approved" else "The champion stays.",
            correlation_id=correlation_id,
        )
    ledger.append(f"model/{model}", "decision", at, detail, key=key)
    return {"approval_status": approval_status, "version": version}


def _check_transition(model: str, version: int, now: str, wanted: str, status: str) -> None:
    if now != PENDING:
        raise ConflictError(f"version {version} is {now} in the registry; {wanted} is no legal change (RG-02)")
    if wanted != "Approved":
        return
    if status != "Completed":
        raise ConflictError(f"version {version} is {status} in the registry, not Completed")
    newer = [
        row["version"]
        for row in ledger.query(f"model/{model}", "candidate#")
        if row["version"] > version and row.get("status") == "Approved"
    ]
    champion = ledger.read(f"model/{model}", "champion") or {}
    newer += [champion["version"]] if champion.get("version", 0) > version else []
    if newer:
        raise ConflictError(f"version {version} is superseded by version {max(newer)}")


def observe(detail: PackageDetail, event_id: str, at: str) -> dict[str, str]:
    """Act on a change of a package in the registry, after reading it again; return `{done, correlation_id}`.

    Only a change of the approval of a completed package of an onboarded model counts (peers.md finding 6; peer bug
    sagemaker-custom-project-templates#15: `anything-but PendingManualApproval` released rejected models and edits).
    """
    stack, group = settings().stack, detail.model_package_group_name
    model = next((m for m in names.possible_models(stack, group) if names.base(stack, m) == group), "")
    if not model or ledger.read("models", model) is None:
        done = f"ignored: {detail.model_package_group_name or 'no group'} belongs to no onboarded model"
        return {"done": done, "correlation_id": event_id}
    found, objection = _read_again(detail)
    if objection:
        return {"done": f"ignored: {objection}", "correlation_id": event_id}
    arn, status = detail.model_package_arn, str(found["ModelApprovalStatus"])
    version, comment = int(found["ModelPackageVersion"]), str(found.get("ApprovalDescription", ""))
    for row in approvals.waiting(model, arn):
        word = "approve" if status == "Approved" else "reject"
        approvals.decide(row["decision_id"], word, decided_by=_who(found), comment=comment, at=at)
    row = _transition(model, version, arn, status, found, event_id, at)
    done = _rejected(model, version, row, at) if status == "Rejected" else start_release(model, version)
    return {"done": done, "correlation_id": str(row.get("correlation_id") or event_id)}


def _read_again(detail: PackageDetail) -> tuple[dict[str, Any], str]:
    """Return the package as it is now, and why the event about it is no decision, or an empty text."""
    if detail.updated_fields is not None and "ModelApprovalStatus" not in detail.updated_fields:
        return {}, f"only {', '.join(detail.updated_fields)} changed"
    try:
        found = sagemaker.package(detail.model_package_arn)
    except NotFoundError:
        return {}, "the package is gone"
    if found.get("ModelPackageGroupName") != detail.model_package_group_name:
        return {}, "the package belongs to another group"
    status = found.get("ModelApprovalStatus")
    if found.get("ModelPackageStatus") != "Completed" or status not in ("Approved", "Rejected"):
        return {}, f"the package is {found.get('ModelPackageStatus')}, {status}"
    return found, ""


def _who(found: Mapping[str, Any]) -> str:
    by = found.get("LastModifiedBy") or {}
    return str(by.get("UserProfileName") or (by.get("IamIdentity") or {}).get("Arn") or "the SageMaker registry")


def _transition(
    model: str, version: int, arn: str, status: str, found: Mapping[str, Any], event_id: str, at: str
) -> dict[str, Any]:
    """Enter the registry's status into the candidate's row, once a change; register a candidate from outside."""
    sk = f"candidate#{version:06d}"
    outside = {
        "version": version,
        "package_arn": arn,
        "origin": "registry",
        "run": "",
        "correlation_id": event_id,
        "at": at,
    }
    ledger.put_once(f"model/{model}", sk, outside)
    put = {
        "registry": status, "status": status, "registry_at": at, "registry_by": _who(found),
        "registry_comment": found.get("ApprovalDescription", ""),
    }  # fmt: skip
    changed = ledger.change(
        f"model/{model}", sk, put=put, add={"approvals": int(status == "Approved")},
        only_if="attribute_not_exists(#registry) OR #registry <> :status", given={"status": status},
    )  # fmt: skip
    row = changed or ledger.read(f"model/{model}", sk) or {}
    detail = {
        "version": version, "package_arn": arn, "status": status, "decided_by": lineage.approver(row)["decided_by"],
        "comment": found.get("ApprovalDescription", ""), "correlation_id": row.get("correlation_id", event_id),
    }  # fmt: skip
    ledger.append(f"model/{model}", "candidate", at, detail, key=f"{version}#{status}#{row.get('approvals', 0)}")
    return row


def _rejected(model: str, version: int, row: Mapping[str, Any], at: str) -> str:
    """Take a rejected version that serves back to the last approved one, once; without such a one tell people."""
    champion = ledger.read(f"model/{model}", "champion") or {}
    if champion.get("version") != version:
        return f"noted: version {version} is rejected"
    key = f"rejected-live#{version}#{row.get('approvals', 0)}"
    entry = {"kind": "rejected while it serves", "version": version}
    if ledger.told(f"model/{model}", "finding", key):
        return f"noted: version {version} is rejected and serves"
    way = _way_back(model, champion)
    if way is not None:
        name = f"{model}-rejected-v{version}-{names.digest(row['package_arn'], row.get('approvals', 0))}"
        document = {
            "model": model,
            "reason": f"version {version} was rejected",
            "serving": version,
            "correlation_id": name,
        }
        done = machines.start(settings().rollback_machine, name, document | way)
    else:
        done = f"noted: version {version} is rejected and serves"
        notifications.notify(
            "attention",
            model=model,
            subject=f"{model} version {version} was rejected while it serves",
            what=f"Version {version} is Rejected in the registry and still answers all requests.",
            why="No earlier version that served is approved: to what should it go back?",
            proof=str(champion["package_arn"]),
            next_step="Approve another version and start the machine rollback with "
            + json.dumps({"model": model, "to_version": "<version>", "reason": "rejected"})
            + ", or off-board the model.",
        )
    ledger.append(f"model/{model}", "finding", at, entry | {"done": done}, key=key)
    return done


def _way_back(model: str, champion: Mapping[str, Any]) -> dict[str, int] | None:
    """Return how `rollback` reaches the last approved version: `{}` for what served directly before, `{to_version}`, None.

    What a rollback took out of service is no way back, and each version must be Approved now: two rejected ones do not
    take turns.
    """
    if not champion.get("restored_by"):
        previous = releases.read(model, int(champion["fence"])).get("previous") or {}
        before = previous.get("champion") or {}
        if before and not releases.unapproved(str(before["package_arn"])):
            try:
                sagemaker.config(str(previous["config"]))
            except NotFoundError:
                return {"to_version": int(before["version"])}
            return {}
    for row in ledger.query(f"model/{model}", "release#", newest_first=True):
        served = row["kind"] == "release" and row["state"] == "promoted" and row["version"] < champion["version"]
        if served and not releases.unapproved(str(row["package_arn"])):
            return {"to_version": int(row["version"])}
    return None


def renew(model: str, *, asked: bool) -> str:
    """Release the champion's version again where the spec's endpoint part is no longer the one it went by (DC-05).

    The name derives from what serves and what is wanted, so that one change starts one release. What a person went back
    to is left alone unless `asked`: the spec's endpoint part was changed just now.
    """
    spec, champion = specs.read(model), ledger.read(f"model/{model}", "champion")
    if spec is None or champion is None or (champion.get("restored_by") and not asked):
        return ""
    changes = releases.changed(model, champion, spec)
    if not changes:
        return ""
    version = int(champion["version"])
    name = f"{model}-v{version}-{names.digest(champion['config'], champion['fence'], spec['endpoint'])}"
    document = {"model": model, "version": version, "serving": version, "correlation_id": name}
    return machines.start(settings().release_machine, name, document)


def start_release(model: str, version: int) -> str:
    """Start the release of an approved candidate, once an approval; return what was done.

    The name derives from the approval, so whoever asks again - an event that came twice, a reconciler - starts nothing.
    """
    row = releases.candidate(model, version)
    approvals_seen = int(row.get("approvals", 0))
    released = row.get("released") or {}
    if row.get("registry") != "Approved":
        return f"ignored: version {version} is {row.get('registry', 'not decided')}"
    if released and int(released.get("approval", 0)) >= approvals_seen:
        return f"ignored: version {version} was {released['outcome']}"
    name = f"{model}-v{version}-{names.digest(row['package_arn'], approvals_seen)}"
    document = {"model": model, "version": version, "correlation_id": row.get("correlation_id") or name}
    return machines.start(settings().release_machine, name, document)


def reconcile(model: str, at: str) -> dict[str, str]:
    """Find what lost events left.

    That is a lease whose release has died, a champion that was rejected, an endpoint that is not as the spec says, and the
    newest approved version that never went out.
    SageMaker's and Step Functions' events are best effort (F5). A second pass does nothing more (I8).
    """
    done = {}
    endpoint = names.base(settings().stack, model)
    holder = leases.holder(endpoint)
    if holder and machines.status(holder) != "RUNNING":
        done["lease"] = endings.abandon(holder, holder.rpartition(":")[2], {"model": model}, at)
    if over := conclusions.end_overtaken(model, at):
        done["overtaken"] = f"held: {over}"
    newest = client("sagemaker").list_model_packages(
        ModelPackageGroupName=endpoint, ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending",
        MaxResults=1,
    )["ModelPackageSummaryList"]  # fmt: skip
    champion = ledger.read(f"model/{model}", "champion") or {}
    if champion and releases.unapproved(arn := str(champion["package_arn"])):
        detail = PackageDetail(ModelPackageArn=arn, ModelPackageGroupName=endpoint)
        done["champion"] = observe(detail, f"reconcile-{model}-{champion['version']}", at)["done"]
    elif renewed := renew(model, asked=False):
        done["endpoint"] = renewed
    for summary in newest:
        version = int(summary["ModelPackageVersion"])
        if int(champion.get("version", 0)) < version:
            detail = PackageDetail(ModelPackageArn=summary["ModelPackageArn"], ModelPackageGroupName=endpoint)
            done["release"] = observe(detail, f"reconcile-{model}-{version}", at)["done"]
    return done
