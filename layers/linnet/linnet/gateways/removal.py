"""Taking away what Linnet made at run time: one thing, and all that the ledger knows a model to have.

No function may list an account's endpoints or models (IAM cannot limit that to ours), so off-boarding goes by the
names in the ledger; `scripts/teardown.py` lists with the operator's own rights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from botocore.exceptions import ClientError

from linnet.decisions import experiments, names, onboarding
from linnet.errors import BusyError, NotFoundError
from linnet.gateways import approvals, ledger, notifications, subscriptions
from linnet.gateways.clients import client, error_code
from linnet.settings import settings

Kind = Literal[
    "endpoint", "endpoint config", "model", "alarm", "trial", "experiment", "model package", "model package group",
]  # fmt: skip
ANSWER_SECONDS = 259_200
"""How long the machine `offboard` waits for the person's word: its task's TimeoutSeconds."""
_KIND = "offboarding"
_TRIALS = 20
"""So many trials go at a time: each takes a dozen calls, of which SageMaker lets few through in a second."""
_GONE = ("could not find", "does not exist", "not found", "cannot find")


class Thing(NamedTuple):
    """Something that can be deleted; packages are named by ARN."""

    kind: Kind
    name: str


def delete(thing: Thing) -> bool:
    """Delete a thing; say whether it was there. An endpoint is only told to go: ask again until it is gone.

    Raises:
        BusyError: the endpoint is changing or still being deleted; a trial or the experiment still counts as not empty;
            SageMaker has too many calls.
    """
    sagemaker = client("sagemaker")
    if thing.kind == "endpoint":
        return _delete_endpoint(thing.name)
    if thing.kind == "trial":
        return _delete_trial(thing.name)
    calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "endpoint config": (sagemaker.delete_endpoint_config, {"EndpointConfigName": thing.name}),
        "model": (sagemaker.delete_model, {"ModelName": thing.name}),
        "experiment": (sagemaker.delete_experiment, {"ExperimentName": thing.name}),
        "alarm": (client("cloudwatch").delete_alarms, {"AlarmNames": [thing.name]}),
        "model package": (sagemaker.delete_model_package, {"ModelPackageName": thing.name}),
        "model package group": (sagemaker.delete_model_package_group, {"ModelPackageGroupName": thing.name}),
    }
    call, given = calls[thing.kind]
    return _done(call, given, eventual=thing.kind == "experiment")


def _done(call: Callable[..., Any], given: dict[str, Any], *, eventual: bool = False) -> bool:
    """Say whether the thing was there.

    Raises:
        BusyError: too many calls; or, with `eventual`, it is refused: what was taken out of a trial counts as linked for
            a while (aws/sagemaker-python-sdk#1515).
    """
    try:
        call(**given)
    except ClientError as error:
        if is_gone(error):
            return False
        if error_code(error) in ("ThrottlingException", *(("ValidationException",) if eventual else ())):
            raise BusyError(str(error)) from None
        raise
    return True


def _delete_trial(name: str) -> bool:
    """Delete a run's trial after its components; the trial goes last, so that a broken call is found and gone on with."""
    sagemaker = client("sagemaker")
    if not _done(sagemaker.describe_trial, {"TrialName": name}):
        return False
    for component in experiments.components(name):
        mine = {"TrialComponentName": component}
        _done(sagemaker.disassociate_trial_component, mine | {"TrialName": name})
        _done(sagemaker.delete_trial_component, mine, eventual=True)
    return _done(sagemaker.delete_trial, {"TrialName": name}, eventual=True)


def is_gone(error: ClientError) -> bool:
    """Say whether SageMaker or CloudWatch means that the named thing is not there (SageMaker has no code for it)."""
    text = str(error.response.get("Error", {}).get("Message", "")).lower()
    return error_code(error) in ("ResourceNotFound", "ResourceNotFoundException") or (
        error_code(error) == "ValidationException" and any(word in text for word in _GONE)
    )


def _delete_endpoint(name: str) -> bool:
    try:
        status = client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"]
        if status in ("InService", "Failed", "OutOfService", "UpdateRollbackFailed"):
            client("sagemaker").delete_endpoint(EndpointName=name)
            status = "Deleting"
    except ClientError as error:
        if is_gone(error):
            return False
        raise
    raise BusyError(f"the endpoint {name} is {status}")


def of_model(model: str) -> list[Thing]:
    """Return what the ledger knows a model to have, in the order in which it can be deleted; packages come last."""
    base = names.base(settings().stack, model)
    configs, models, versions, trials = set(), set(), set(), set()
    for row in ledger.query(f"model/{model}"):
        if str(row["sk"]).startswith("candidate#"):
            versions.add(int(row["version"]))
        if str(row["sk"]).startswith("run#") and "why" not in row.get("experiment", {}):
            trials.add(names.job(settings().stack, model, str(row["sk"]).removeprefix("run#")))
        for text in _texts(row):
            name = re.split(r"[/:]", text)[-1]
            if re.fullmatch(re.escape(base) + r"-v\d+-f\d+(-both|-shadow)?", name):
                configs.add(name)
            elif re.fullmatch(re.escape(base) + r"-(v\d+|r[0-9a-f]{10})", name):
                models.add(name)
    models |= {names.sagemaker_model(settings().stack, model, version) for version in versions}
    packages = sorted(
        str(row["package_arn"]) for row in ledger.query(f"model/{model}", "candidate#") if row.get("package_arn")
    )
    return [
        Thing("endpoint", base),
        *(Thing("endpoint config", name) for name in sorted(configs)),
        *(Thing("model", name) for name in sorted(models)),
        *(Thing("alarm", name) for name in onboarding.alarm_names(settings().stack, model)),
        *(Thing("trial", name) for name in sorted(trials)),
        Thing("experiment", base),
        *(Thing("model package", arn) for arn in packages),
        Thing("model package group", base),
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


def plan(model: str) -> dict[str, Any]:
    """Return what off-boarding would mean: `{why, things: {kind: count}}`.

    Raises:
        NotFoundError: the model is not onboarded.
    """
    if ledger.read(f"model/{model}", "spec") is None:
        raise NotFoundError(f"model {model} is not onboarded")
    counts: dict[str, int] = {}
    for thing in of_model(model):
        counts[thing.kind] = counts.get(thing.kind, 0) + 1
    serving = ledger.read(f"model/{model}", "champion")
    why = f"version {serving['version']} serves" if serving else "nothing serves"
    return {"why": why, "things": counts}


def ask(event: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a person whether the model may go; the answer comes through the task token. Returns the decision's row."""
    model, gone = event["model"], "all its model packages" if event["packages"] else "no model package"
    counts = ", ".join(
        f"{count} {kind}" for kind, count in event["things"].items() if not kind.startswith("model package")
    )
    row = approvals.open_decision(
        model=model,
        kind=_KIND,
        about=event["execution"],
        token=event["token"],
        at=event["at"],
        timeout_seconds=ANSWER_SECONDS,
        correlation_id=event["correlation_id"],
        more={"things": event["things"], "packages": event["packages"]},
    )
    if row["state"] == "OPEN" and not row.get("notified"):
        notifications.notify(
            "confirmation-wanted",
            model=model,
            subject=f"May {model} be off-boarded?",
            what=f"This would delete {counts} and {gone}. Now {event['why']}.",
            why=f"specs/{model}.yaml was deleted, or somebody started the machine offboard.",
            proof=event["execution"],
            next_step=f"Within {ANSWER_SECONDS // 86_400} days invoke decide_candidate with decision_id "
            f"{row['decision_id']}, decision approve or reject, decided_by and comment. Without an answer it stays.",
            decision_id=row["decision_id"],
            correlation_id=event["correlation_id"],
        )
        approvals.told(row["decision_id"])
    return row


def keep(model: str, *, execution: str, at: str, correlation_id: str) -> dict[str, Any]:
    """Write down that nobody let the model go: the question closes, what it has stays."""
    row = approvals.read(approvals.decision_id(model, _KIND, execution))
    if row["state"] == "OPEN":
        row = approvals.expire(row["decision_id"], at=at)
    detail = {"kept": True, "state": row["state"], "decided_by": row["decided_by"], "correlation_id": correlation_id}
    ledger.append(f"model/{model}", _KIND, at, detail, key=row["decision_id"])
    return {"kept": model, "state": row["state"]}


def remove(model: str, *, packages: bool, at: str, decided_by: str, correlation_id: str) -> dict[str, Any]:
    """Off-board a model: no signal is taken from now on, then what it has is deleted. Ledger and data stay.

    `packages`: also its model packages and their group; without them it can be onboarded again with its history.

    Raises:
        BusyError: as `delete`, or it has many trials; calling again goes on from there.
    """
    row = ledger.read(f"model/{model}", "spec") or {}
    ledger.remove("models", model)
    deleted: list[Thing] = []
    for thing in of_model(model):
        if (packages or not thing.kind.startswith("model package")) and delete(thing):
            deleted.append(thing)
        if [kind for kind, _ in deleted].count("trial") == _TRIALS:
            raise BusyError(f"{_TRIALS} trials are deleted, there may be more")
    subscriptions.renew(subscriptions.emails(row))
    detail = {"decided_by": decided_by, "packages_deleted": packages, "correlation_id": correlation_id, "spec": row}
    if not ledger.told(f"model/{model}", _KIND, correlation_id):
        notifications.notify(
            "offboarded",
            model=model,
            subject=f"{model} is off-boarded",
            what="Its endpoint, configs, models, alarms and experiment are deleted"
            + (", and its model packages." if packages else "; its model packages are kept."),
            why=f"Confirmed by {decided_by}.",
            proof=f"ledger: model/{model}#history",
            next_step=f"To bring it back, put specs/{model}.yaml again. Its data stays until you delete it.",
            correlation_id=correlation_id,
        )
    ledger.append(f"model/{model}", _KIND, at, detail, key=correlation_id)
    # The turn stays, so that no execution's name comes again; what was judged and cooled is over with the champion.
    ledger.change(f"model/{model}", "slot", remove=("judged", "cooled_from"))
    for sk in (*(str(r["sk"]) for r in ledger.query(f"model/{model}", "reason#")), "champion", "spec"):
        ledger.remove(f"model/{model}", sk)
    return {"deleted": [list(thing) for thing in deleted][:200]}
