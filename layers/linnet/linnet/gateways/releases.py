"""A release: lease, intent, the way back proven, the rollout step by step.

Every function may be called again with the same arguments: it then finds its own work. None acts without the lease.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import forecast, names, progress, rollout, training
from linnet.errors import BadInputError, BusyError, ConflictError, LinnetError, NotFoundError
from linnet.gateways import leases, ledger, metrics, notifications, s3, sagemaker, scaling, seals, specs
from linnet.settings import settings

Intent = dict[str, Any]
_HALF = 0.5
_LARGEST_REPORT = 4 * 1024 * 1024


def take(
    model: str,
    *,
    version: int | None,
    owner: str,
    at: str,
    correlation_id: str,
    kind: str = "release",
    handed: Mapping[str, Any] | None = None,
    back: bool = False,
    reason: str = "",
    serving: int | None = None,
) -> dict[str, Any]:
    """Take the endpoint's lease, look whether this release may happen, and write its intent.

    `kind` is release or rollback; `handed` a lease handed over by a release; `back` lets an older version go out again;
    `serving` is the version that must still serve, else there is nothing to do.
    Returns `{proceed, why, fence, strategy, endpoint}`; without `proceed` there is nothing to do and the lease is free.

    Raises:
        BusyError: somebody else holds the lease, or the endpoint is changing: come again.
        ConflictError, NotFoundError: it must not go on: no way back, stuck, quota too small, no candidate, or a replaced one.
    """
    spec = specs.read(model)
    if spec is None:
        raise NotFoundError(f"model {model} is not onboarded")
    endpoint = names.base(settings().stack, model)
    fence = leases.take(endpoint, owner=owner, at=at, handed=handed)
    intent = ledger.read(f"model/{model}", _key(fence))
    if intent is None:
        champion = ledger.read(f"model/{model}", "champion") or {}
        if serving is not None and champion.get("version") != serving:
            found, why = None, f"version {serving} does not serve any more"
        elif kind == "rollback":
            found, why = _rollback_intent(model, endpoint, handed)
        else:
            if version is None:
                raise BadInputError("version", version, "the version number of a candidate")
            found, why = _release_intent(model, endpoint, int(version), fence, spec, at=at, back=back)
        if found is None:
            leases.free(endpoint, owner=owner, fence=fence)
            return {"proceed": False, "why": why, "fence": fence, "strategy": "none", "endpoint": endpoint}
        intent = found | {
            "state": "intent", "kind": kind, "model": model, "endpoint": endpoint, "fence": fence, "owner": owner,
            "at": at, "correlation_id": correlation_id, "reason": reason or why, "handed": dict(handed or {}),
        }  # fmt: skip
        ledger.put_once(f"model/{model}", _key(fence), intent)
    _tell(intent)
    found = {"proceed": True, "why": str(intent["reason"]), "fence": fence, "endpoint": endpoint}
    return found | {"strategy": str(intent["plan"]["strategy"]), "expected": intent.get("expected")}


def _key(fence: int) -> str:
    return f"release#{fence:06d}"


def read(model: str, fence: int) -> Intent:
    """Return a release's row.

    Raises:
        NotFoundError: there is none.
    """
    row = ledger.read(f"model/{model}", _key(fence))
    if row is None:
        raise NotFoundError(f"model {model} has no release with fence {fence}")
    return row


def mine(model: str, *, owner: str, fence: int) -> Intent:
    """Return the row of a release that holds the lease and has not ended.

    Raises:
        ConflictError: the lease went on, or the release has ended.
    """
    row = read(model, fence)
    leases.require(str(row["endpoint"]), owner=owner, fence=fence)
    if row["state"] != "intent":
        raise ConflictError(f"release {fence} of {model} has ended: {row['state']}")
    return row


def note(model: str, fence: int, put: Mapping[str, Any]) -> Intent | None:
    """Change a release's row while it is an intent."""
    return ledger.change(f"model/{model}", _key(fence), put=put, only_if="#state = :intent", given={"intent": "intent"})


def _tell(intent: Mapping[str, Any]) -> None:
    """Say before a release starts how it goes out and what can be expected of it, once."""
    model, fence, expected = str(intent["model"]), str(intent["fence"]), intent.get("expected")
    if not expected or ledger.told(f"model/{model}", "intent", fence):
        return
    notifications.notify(
        "release-started",
        model=model,
        subject=f"{model} version {intent['version']}: its release begins",
        what=f"Version {intent['version']} goes out by {intent['plan']['strategy']}. {expected['told']}",
        why=str(intent["reason"]),
        proof=f"ledger: model/{model} {_key(int(fence))}",
        next_step="Nothing to do. To stop it, set the package to Rejected.",
        expected=expected,
        correlation_id=intent["correlation_id"],
    )
    begun = {
        "version": intent["version"], "fence": intent["fence"], "strategy": intent["plan"]["strategy"],
        "why": intent["reason"], "expected": expected, "correlation_id": intent["correlation_id"],
    }  # fmt: skip
    ledger.append(f"model/{model}", "intent", str(intent["at"]), begun, key=fence)


def _settled(endpoint: str) -> dict[str, Any] | None:
    live = sagemaker.endpoint(endpoint)
    if live is not None and live["status"] in rollout.CHANGING:
        raise BusyError(f"the endpoint {endpoint} is {live['status']}")
    return live


def candidate(model: str, version: int) -> dict[str, Any]:
    """Return a candidate's row.

    Raises:
        NotFoundError: the version was never registered here.
    """
    row = ledger.read(f"model/{model}", f"candidate#{version:06d}")
    if row is None:
        raise NotFoundError(f"model {model} has no candidate {version}")
    return row


def _release_intent(
    model: str, endpoint: str, version: int, fence: int, spec: Mapping[str, Any], *, at: str, back: bool
) -> tuple[Intent | None, str]:
    row = candidate(model, version)
    if objection := unapproved(str(row["package_arn"])):
        return None, objection
    seals.unchanged(row)
    champion = ledger.read(f"model/{model}", "champion")
    live = _settled(endpoint)
    changes = changed(model, champion, spec) if champion else {}
    if live and champion and champion["config"] == live["config"]:
        if champion["version"] == version and not changes:
            return None, f"version {version} serves already"
        if champion["version"] > version and not back:
            return None, f"version {version} is superseded by {champion['version']}, which serves"
    if live and live["status"] in rollout.STUCK:
        raise ConflictError(f"the endpoint {endpoint} is {live['status']}: {live['reason'] or 'a person must mend it'}")
    shape = _shape(endpoint, live) if live else None
    resized = "instance_count" in changes
    if back:  # who goes back does not go back for weeks
        spec = dict(spec) | {"rollout": rollout.way_back(spec["rollout"])}
    plan = rollout.plan(
        stack=settings().stack, model=model, version=version, fence=fence, spec=spec, live=shape, resized=resized
    ) | {"resized": resized}
    if plan["peak"] > int(settings().instance_quota):
        raise ConflictError(
            f"both fleets need {plan['peak']} instances of {spec['endpoint']['instance_type']}, the stack's parameter "
            f"EndpointInstanceQuota says {settings().instance_quota}: raise the account's quota, then the parameter"
        )
    baseline = row.get("baseline") or (champion or {}).get("baseline") or ""
    previous = None
    if live:
        known = champion if champion and champion["config"] == live["config"] else None
        previous = {"config": live["config"], "champion": _bare(known) if known else None}
    judged_by = _judged_by(model, row, champion)
    traffic = _traffic(endpoint, plan, at)
    expected = forecast.expect(plan, spec["rollout"], traffic) if live else None
    if expected and expected["refusal"]:
        raise ConflictError(str(expected["refusal"]))
    return {
        "version": version, "package_arn": row["package_arn"], "run": row.get("run") or "", "baseline": baseline,
        "approval": row.get("approvals", 0), "plan": plan, "previous": previous, "spec": _needed(spec),
        "expected": expected, "slow_ms": traffic.get("slow_ms"), **judged_by,
    }, f"version {version} is approved" + "".join(f", {name} {change}" for name, change in changes.items())  # fmt: skip


def changed(model: str, champion: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, str]:
    """Return how the spec's endpoint part differs from the one that the champion's config was made by (DC-05)."""
    fence = names.fence_of(str(champion["config"]))
    row = None if fence is None else ledger.read(f"model/{model}", _key(fence))
    return rollout.differences(row["spec"]["endpoint"], spec["endpoint"]) if row else {}


def _shape(endpoint: str, live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the endpoint as a plan needs it, after proving that the way back to it exists (F48)."""
    way_back = sagemaker.config(str(live["config"]))
    if any("ServerlessConfig" in variant for variant in way_back["ProductionVariants"]):
        raise ConflictError(
            f"the endpoint {endpoint} is serverless: it has neither guardrails nor capture, so no release can be judged; "
            "give it instances first"
        )
    models = {v["VariantName"]: v["ModelName"] for v in way_back["ProductionVariants"]}
    return {
        "config": live["config"],
        "variants": {
            name: {"count": count or 1, "weight": live["weights"][name], "model": models[name]}
            for name, count in live["counts"].items()
        },
    }


def _traffic(endpoint: str, plan: Mapping[str, Any], at: str) -> dict[str, float]:
    if not plan["previous_config"]:
        return {}
    fleet = (str(plan["champion_variant"]), str(plan["previous_config"]))
    return metrics.traffic(endpoint, fleet, datetime.fromisoformat(at).astimezone(UTC))


def _judged_by(model: str, row: Mapping[str, Any], champion: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the candidate's answers are held against: their spread on its holdout, and both models' thresholds."""
    known: dict[str, Any] = {"threshold": row.get("decision_threshold", _HALF), "expected_answers": None}
    if champion:
        other = ledger.read(f"model/{model}", f"candidate#{champion['version']:06d}") or {}
        known["champion_threshold"] = other.get("decision_threshold", _HALF)
    if row.get("evaluation_uri"):
        try:
            report = json.loads(s3.read(str(row["evaluation_uri"]), limit=_LARGEST_REPORT))
            known["expected_answers"] = report.get("predictions")
        except (LinnetError, ValueError):
            return known  # a report that was deleted: the answers are held against nothing, which the verdict shows
    return known


def _needed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The release goes by the spec as it was when it began."""
    costs = {name: spec["evaluation"][name] for name in ("false_positive_cost", "false_negative_cost")}
    return {
        "endpoint": spec["endpoint"], "rollout": spec["rollout"], "owner": spec.get("owner", ""), "costs": costs,
        "timeout_hours": spec["approval"]["timeout_hours"],
    }  # fmt: skip


def _bare(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("pk", "sk")}


def unapproved(arn: str) -> str:
    """Return why a package must not serve, or an empty text: the registry is asked now, not remembered (F42, F7)."""
    try:
        found = sagemaker.package(arn)
    except NotFoundError as error:
        return str(error)
    if found.get("ModelPackageStatus") != "Completed":
        return f"the package is {found.get('ModelPackageStatus')}, not Completed"
    if found.get("ModelApprovalStatus") != "Approved":
        return f"the registry says {found.get('ModelApprovalStatus')}"
    return ""


def _rollback_intent(model: str, endpoint: str, handed: Mapping[str, Any] | None) -> tuple[Intent | None, str]:
    champion = ledger.read(f"model/{model}", "champion")
    if handed:
        undone = read(model, int(handed.get("undoes", handed["fence"])))
        # A redriven release that was ended meanwhile: others may have gone out since.
        if "undoes" not in handed and undone["state"] != "intent":
            return None, f"release {undone['fence']} has ended: {undone['state']}"
    elif champion is None:
        return None, "nothing was released that could be taken back"
    elif champion.get("restored_by"):
        raise ConflictError(f"version {champion['version']} is itself the result of a rollback: name to_version")
    else:
        undone = read(model, int(champion["fence"]))
    if handed and "undone_by" in undone:
        return None, f"release {undone['fence']} was taken back by {undone['undone_by']}"
    live, previous = _settled(endpoint), undone.get("previous")
    version = undone["version"]
    row = {
        "version": version, "package_arn": undone["package_arn"], "run": undone["run"], "baseline": undone["baseline"],
        "undoes": undone["fence"], "previous": previous, "spec": undone["spec"], "approval": undone.get("approval", 0),
    }  # fmt: skip
    plan = {
        "strategy": "restore", "variant": None, "champion_variant": None, "mirror": None, "both": None, "configs": [],
        "steps": [], "waits": [], "prove": False, "alarms": undone["plan"]["alarms"], "deployment": None, "peak": 0,
        "previous_config": None, "target": previous["config"] if previous else None,
        "resized": undone["plan"].get("resized", False),
    }  # fmt: skip
    if previous is None and not handed:
        raise ConflictError(f"nothing served before version {version}: to take the model out of service, off-board it")
    if previous is None:
        if live and live["config"] != undone["plan"]["target"]:
            raise ConflictError(f"the endpoint serves {live['config']}, not {undone['plan']['target']}: left as it is")
        return row | {"plan": plan}, f"version {version} was the first release: its endpoint is deleted"
    if live is None or live["status"] in rollout.STUCK:
        raise ConflictError(f"the endpoint {endpoint} is {live['status'] if live else 'gone'}: a person must mend it")
    sagemaker.config(str(previous["config"]))
    return row | {"plan": plan}, f"version {version} is taken back"


def _tags(row: Mapping[str, Any]) -> list[dict[str, str]]:
    return rollout.tags(row, settings().environment)


def prepare(model: str, *, owner: str, fence: int) -> dict[str, Any]:
    """Create or adopt the release's model, endpoint configs and alarms; return `{configs, alarms}`."""
    row = mine(model, owner=owner, fence=fence)
    plan, endpoint = row["plan"], row["spec"]["endpoint"]
    name, marks = names.sagemaker_model(settings().stack, model, int(row["version"])), _tags(row)
    isolated = training.isolated(candidate(model, int(row["version"])).get("container"))
    sagemaker.ensure_model(name, str(row["package_arn"]), settings().sagemaker_role, marks, isolated=isolated)
    old = sagemaker.config(plan["previous_config"]) if plan["previous_config"] else {}
    for config in plan["configs"]:
        beside = plan["champion_variant"] if config["name"] in (plan["both"], plan["mirror"]) else None
        sagemaker.ensure_config(_config_request(config, endpoint, old, marks, beside))
    health = row["spec"]["rollout"]["health"]
    requests = rollout.alarm_requests(plan, model=model, endpoint=str(row["endpoint"]), health=health)
    metrics.put_alarms(requests, marks)
    return {"configs": [config["name"] for config in plan["configs"]], "alarms": plan["alarms"]}


def _config_request(
    config: Mapping[str, Any],
    endpoint: Mapping[str, Any],
    old: Mapping[str, Any],
    marks: list[dict[str, str]],
    beside: str | None,
) -> dict[str, Any]:
    known = {variant["VariantName"]: variant for variant in old.get("ProductionVariants", [])}
    variants = []
    for variant in config["variants"]:
        # The champion beside a challenger stays what it is; all else goes by the spec.
        kind = known[variant["name"]]["InstanceType"] if variant["name"] == beside else endpoint["instance_type"]
        variants.append({
            "VariantName": variant["name"], "ModelName": variant["model"], "InstanceType": kind,
            "InitialInstanceCount": variant["count"], "InitialVariantWeight": float(variant["weight"]),
        })  # fmt: skip
    request: dict[str, Any] = {"EndpointConfigName": config["name"], "ProductionVariants": variants, "Tags": marks}
    if shadow := config["shadow"]:
        request["ShadowProductionVariants"] = [{
            "VariantName": shadow["name"], "ModelName": shadow["model"], "InstanceType": endpoint["instance_type"],
            "InitialInstanceCount": shadow["count"], "InitialVariantWeight": float(shadow["weight"]),
        }]  # fmt: skip
    # A new config must not lose the key that the old one had (peer bug MCD (d)).
    key, fleets = old.get("KmsKeyId") or settings().data_key, [*variants, *request.get("ShadowProductionVariants", [])]
    if all(training.volume_key(fleet["InstanceType"], key) for fleet in fleets):
        request["KmsKeyId"] = key
    if endpoint["capture_percent"]:
        request["DataCaptureConfig"] = {
            "EnableCapture": True, "InitialSamplingPercentage": endpoint["capture_percent"],
            "DestinationS3Uri": f"s3://{settings().data_bucket}/data-capture/{config['name']}",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": [endpoint["content_type"]]},
        } | ({"KmsKeyId": settings().data_key} if settings().data_key else {})  # fmt: skip
    return request


def start(model: str, *, owner: str, fence: int, at: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the release's next change to the endpoint, or adopt it when it was made; return `{progress, wait}`.

    `given` is the release's progress, whose phase says which change it is; None for the first one.

    Raises:
        BusyError: the endpoint is changing.
        ConflictError: the lease went on, or a rollback alarm is missing or in ALARM: the update would be taken back at once.
    """
    row = mine(model, owner=owner, fence=fence)
    plan, endpoint = row["plan"], str(row["endpoint"])
    now = dict(given or progress.begin(plan, at))
    target, answer = progress.destination(plan, now["phase"]), {"progress": now, "wait": progress.SETTLE_SECONDS}
    live = sagemaker.endpoint(endpoint)
    if live and (target in (live["config"], live["pending"]) if target else live["status"] == "Deleting"):
        return answer
    if live and live["status"] in rollout.CHANGING:
        raise BusyError(f"the endpoint {endpoint} is {live['status']}")
    if target is not None and (live is None) != (plan["strategy"] == "create"):
        seen = "is gone" if live is None else "appeared"
        raise ConflictError(f"the endpoint {endpoint} {seen} since the plan was made")
    if now["phase"] == "rolling":
        _check_alarms(plan["alarms"])
    if now["phase"] == "finishing":
        scaling.hand_over(endpoint, str(plan["champion_variant"]), str(plan["variant"]))
    if live and target:
        scaling.make_way(endpoint, live, target)
    leases.require(endpoint, owner=owner, fence=fence)
    try:
        _change(row, target, exists=live is not None, guarded=now["phase"] == "rolling")
    except ClientError as error:
        after = sagemaker.endpoint(endpoint)
        arrived = after is not None and target in (after["config"], after["pending"])
        if after and after["status"] in rollout.CHANGING and not arrived:
            raise BusyError(f"the endpoint {endpoint} is {after['status']}: {error}") from None
        if not arrived:
            raise
    return answer


def _check_alarms(alarms: list[str]) -> None:
    states = metrics.alarm_states(alarms)
    if bad := {name: states.get(name, "missing") for name in alarms if states.get(name, "ALARM") == "ALARM"}:
        raise ConflictError(f"no update under a rollback alarm in ALARM: {bad}")


def _change(row: Mapping[str, Any], target: str | None, *, exists: bool, guarded: bool) -> None:
    endpoint, plan = str(row["endpoint"]), row["plan"]
    if target is None:
        if exists:
            sagemaker.delete_endpoint(endpoint)
    elif exists:
        guard = plan["deployment"] if guarded else None
        sagemaker.update_endpoint(endpoint, target, guard, resized=plan.get("resized", False))
    else:
        sagemaker.create_endpoint(endpoint, target, _tags(row))


def shift(model: str, *, owner: str, fence: int, step: int | None) -> dict[str, Any]:
    """Ask for the weights of a ladder's step, or with None give all traffic back to the champion.

    Raises:
        BusyError: the endpoint is changing.
        ConflictError: the lease went on, or the endpoint serves something else.
    """
    row = mine(model, owner=owner, fence=fence)
    plan, endpoint = row["plan"], str(row["endpoint"])
    if plan["both"] is None:
        return {"weights": {}, "wait": 0}
    wanted = rollout.weights(plan, 0 if step is None else int(plan["steps"][step]))
    live = sagemaker.endpoint(endpoint)
    if live is None or live["config"] != plan["both"]:
        if step is None:
            return {"weights": {}, "wait": 0}
        raise ConflictError(f"the endpoint serves {live['config'] if live else 'nothing'}, not {plan['both']}")
    if step is None and live["weights"].get(plan["variant"]) == 0:
        return {"weights": live["weights"], "wait": 0}
    if live["status"] != "InService":
        raise BusyError(f"the endpoint {endpoint} is {live['status']}")
    if live["weights"] != wanted:
        leases.require(endpoint, owner=owner, fence=fence)
        sagemaker.set_weights(endpoint, wanted)
    return {"weights": wanted, "wait": progress.SETTLE_SECONDS}
