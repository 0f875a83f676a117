"""Candidates: from a training job's artifact to a version in the registry, bound to its bytes by a digest (F34)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import experiments, lineage, names, training, tuning
from linnet.errors import ConflictError, NotFoundError
from linnet.gateways import inputs, jobs, ledger, runs, s3, sagemaker, seals, trials
from linnet.gateways.clients import client, error_code
from linnet.settings import settings


def plan_training(
    spec: Mapping[str, Any], *, run: str, prepared: Mapping[str, Any], champion: Mapping[str, Any] | None,
    trigger: Mapping[str, Any], at: str,
) -> dict[str, Any]:  # fmt: skip
    """Plan the training and write the plan into the run's row, before anything is made (HP-02, TR-06, TR-07).

    Returns `{tuned, request}`: the request of a tuning job or of a training job; where a spot job may go on on demand,
    that job's request is `on_demand`.

    Raises:
        NotFoundError: the champion that the training goes on from has no artifact any more.
    """
    mine, region = settings(), os.environ["AWS_REGION"]
    before = _parent(champion) if champion and spec["training"].get("mode") == "incremental" else None
    mode, why = training.mode(spec["training"], champion=before, trigger=trigger, region=region)
    parent = before if mode == "incremental" else None
    tuned = bool(spec["training"].get("tuning"))
    make = tuning.tuning_job if tuned else training.training_job
    request = make(
        spec, run=run, stack=mine.stack, bucket=mine.data_bucket, role=mine.sagemaker_role, region=region,
        prepared=prepared, parent=parent["artifact"] if parent else "", key=mine.data_key,
    )  # fmt: skip
    (request["TrainingJobDefinition"] if tuned else request).update(mine.vpc())
    plan = {"mode": mode, "mode_why": why, "estimate": tuning.estimate(spec)}
    plan |= {"algorithm": spec["training"]["algorithm"], "hyperparameters": dict(spec["training"]["hyperparameters"])}
    plan |= {"parent_version": parent["version"]} if parent else {}
    # The script is sealed before it trains: what serves later is what trained.
    made_of = dict(prepared.get("sealed") or {}) | seals.of(training.source(spec["training"], mine.data_bucket))
    ledger.change(f"model/{spec['model']}", f"run#{run}", put=plan | {"sealed": _sealed(spec["model"], run) | made_of})
    trial = trials.of_run(spec, run=run, at=at)
    if not tuned:
        request |= experiments.step("training", trial)
    later = {}
    if spec["training"]["spot"].get("then_on_demand"):
        later["on_demand"] = training.on_demand(request, model=spec["model"], stack=mine.stack, run=run)
    return {"tuned": tuned, "request": request} | later


def _sealed(model: str, run: str) -> seals.Seals:
    return dict((ledger.read(f"model/{model}", f"run#{run}") or {}).get("sealed") or {})


def _parent(champion: Mapping[str, Any]) -> dict[str, Any]:
    """Return version, artifact and image of the champion, as the registry has them."""
    container = sagemaker.container(str(champion["package_arn"]))
    found = {"artifact": str(container["ModelDataUrl"]), "image": str(container["Image"])}
    return {"version": champion["version"], **found}


def plan_evaluation(
    spec: Mapping[str, Any], *, run: str, trained: Mapping[str, Any], champion: Mapping[str, Any] | None,
    features_uri: str, at: str,
) -> dict[str, Any]:  # fmt: skip
    """Create or adopt the SageMaker model of the candidate; return the transform requests and where their answers will be.

    `trained` is `{training_job, artifact}`, or `{tuning_job}` whose best job is found here and returned as `trained`.

    Raises:
        NotFoundError: no job of the tuning is good enough.
        ConflictError: the model exists with another artifact.
    """
    mine = settings()
    if trained.get("tuning_job"):
        searched = spec["training"]["tuning"]
        trained = jobs.best(str(trained["tuning_job"]), searched["direction"], searched["limits"])
    artifact = str(trained["artifact"])
    # Sealed before it is judged: what is registered is what was judged (F34).
    sealed = seals.of(artifact) | _sealed(spec["model"], run)
    ledger.change(f"model/{spec['model']}", f"run#{run}", put={"sealed": sealed})
    name = names.job(mine.stack, spec["model"], run)
    container = _container(spec, artifact)
    try:
        client("sagemaker").create_model(
            ModelName=name,
            PrimaryContainer=container,
            ExecutionRoleArn=mine.sagemaker_role,
            EnableNetworkIsolation=training.isolated(container),
            **mine.vpc(),
            Tags=[{"Key": "project", "Value": "linnet"}, {"Key": "model", "Value": spec["model"]}],
        )
    except ClientError as error:
        if error_code(error) not in ("ValidationException", "ResourceInUse"):
            raise
        held = client("sagemaker").describe_model(ModelName=name)["PrimaryContainer"]
        if held.get("ModelDataUrl") != artifact:
            raise ConflictError(f"model {name} exists with another artifact: {held.get('ModelDataUrl')}") from None
    who = {"candidate": name} | ({"champion": str(champion["model_name"])} if champion else {})
    trial = trials.of_run(spec, run=run, at=at)
    requests = [
        training.transform_job(
            spec,
            run=run,
            stack=mine.stack,
            bucket=mine.data_bucket,
            who=role,
            model_name=model,
            features_uri=features_uri,
            key=mine.data_key,
        )
        | experiments.step(role, trial)
        for role, model in who.items()
    ]
    answers = dict(zip(who, map(training.predictions_uri, requests), strict=True))
    return {"transforms": requests, "predictions": answers, "trained": dict(trained)}


def _container(spec: Mapping[str, Any], artifact: str) -> dict[str, Any]:
    return training.container(
        spec["training"], artifact=artifact, bucket=settings().data_bucket, region=os.environ["AWS_REGION"]
    )


def _metadata(value: str) -> str:
    """Return a value with the characters that CustomerMetadataProperties take; the ledger's row has it as it is."""
    return re.sub(r"[^\w .:/=+@-]", " ", value)[:256] or " "


def register(event: Mapping[str, Any]) -> dict[str, Any]:
    """Register the candidate of a run as a new version, pending; free the run's slot. Repeating it finds the same version.

    Takes `{model, run, execution, at, correlation_id, spec, trained, inputs_uri, trigger, judged}`, where `trained` is
    `{training_job, artifact}` and for a tuned run `tuning_job` and the winning `hyperparameters` (HP-05).

    Raises:
        NotFoundError: the artifact is missing.
        ConflictError: a sealed object was replaced since: the artifact, its script or its data (F22, F34).
    """
    model, run, judged = str(event["model"]), str(event["run"]), event["judged"]
    trained = event["trained"]
    artifact = s3.held(str(trained["artifact"]))
    if artifact is None:
        raise NotFoundError(f"the run's artifact {trained['artifact']} does not exist")
    held = ledger.read(f"model/{model}", f"run#{run}") or {}
    sealed = seals.of(str(judged["evaluation_uri"])) | dict(held.get("sealed") or {})
    sealed.setdefault(str(trained["artifact"]), {"version": artifact.version, "sha256": artifact.sha256})
    seals.check(sealed, f"run {run}")
    container = _container(event["spec"], trained["artifact"])
    tuned = {"tuning_job": trained["tuning_job"]} if trained.get("tuning_job") else {}
    parent = {"parent_version": held["parent_version"]} if "parent_version" in held else {}
    winning = dict(trained.get("hyperparameters") or {})
    within = (held.get("experiment") or {}).get("TrialName")
    group = names.base(settings().stack, model)
    metrics = judged["metrics"]
    created = client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        ModelPackageDescription=f"Run {run}: {judged['why']}"[:1024],
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
            "SupportedRealtimeInferenceInstanceTypes": [event["spec"]["endpoint"]["instance_type"]],
            "SupportedTransformInstanceTypes": [event["spec"]["endpoint"]["instance_type"]],
        },
        ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": judged["evaluation_uri"]}}},
        CustomerMetadataProperties={
            "run": run,
            "correlation_id": str(event["correlation_id"])[:256],
            "inputs": event["inputs_uri"],
            "sha256": artifact.sha256,
            "training_job": trained["training_job"],
            "trigger": event["trigger"]["TriggerReason"],
            "mode": str(held.get("mode", "full")),
            "decision_threshold": str(judged["decision_threshold"]),
            "trial": _metadata(lineage.trial(event["spec"]["training"]["hyperparameters"] | winning, event["at"])),
        }
        | ({"sagemaker_trial": within} if within else {})
        | {name: str(value) for name, value in (tuned | parent).items()}
        | {f"hyperparameter.{name}": _metadata(value) for name, value in winning.items()},
        ClientToken=f"{group}-{run}",
    )  # fmt: skip
    arn = str(created["ModelPackageArn"])
    version = int(arn.rpartition("/")[2])
    row = {
        "version": version, "package_arn": arn, "run": run, "sha256": artifact.sha256, "metrics": metrics,
        "champion_metrics": judged["champion_metrics"], "tier": judged["tier"], "status": "PendingManualApproval",
        "decision_threshold": judged["decision_threshold"],
        "origin": "run", "inputs_uri": event["inputs_uri"], "training_job": trained["training_job"],
        "artifact": trained["artifact"], "container": container, "sealed": sealed, "mode": held.get("mode", "full"),
        "baseline": inputs.baseline_uri(model, run), "test_features": f"{inputs.processed_uri(model, run)}/test/features.csv",
        "evaluation_uri": judged["evaluation_uri"], "at": event["at"], "correlation_id": event["correlation_id"],
    } | tuned | parent | ({"hyperparameters": winning} if winning else {})  # fmt: skip
    ledger.put_once(f"model/{model}", f"candidate#{version:06d}", row)
    ledger.append(f"model/{model}", "candidate", event["at"], row, key=arn)
    ledger.change(f"model/{model}", f"run#{run}", put={"state": "registered", "version": version},
                  only_if="#state = :running", given={"running": "running"})  # fmt: skip
    runs.free(
        model, event["execution"], event["at"], judged=True, snapshot=str(held.get("snapshot", "")), registered=run,
        cost=runs.cost(event["spec"], run),
    )  # fmt: skip
    return {"package_arn": arn, "version": version}
