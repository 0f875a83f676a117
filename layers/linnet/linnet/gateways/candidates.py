"""Candidates: from a training job's artifact to a version in the registry, bound to its bytes by a digest (F34)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import names, training
from linnet.errors import ConflictError, NotFoundError
from linnet.gateways import inputs, ledger, runs, s3
from linnet.gateways.clients import client, error_code
from linnet.settings import settings


def plan_evaluation(
    spec: Mapping[str, Any], *, run: str, artifact: str, champion: Mapping[str, Any] | None, features_uri: str
) -> dict[str, Any]:
    """Create or adopt the SageMaker model of the candidate; return the transform requests and where their answers will be."""
    mine = settings()
    name = names.job(mine.stack, spec["model"], run)
    container = _container(spec, artifact)
    try:
        client("sagemaker").create_model(
            ModelName=name,
            PrimaryContainer=container,
            ExecutionRoleArn=mine.sagemaker_role,
            Tags=[{"Key": "project", "Value": "linnet"}, {"Key": "model", "Value": spec["model"]}],
        )
    except ClientError as error:
        if error_code(error) not in ("ValidationException", "ResourceInUse"):
            raise
        held = client("sagemaker").describe_model(ModelName=name)["PrimaryContainer"]
        if held.get("ModelDataUrl") != artifact:
            raise ConflictError(f"model {name} exists with another artifact: {held.get('ModelDataUrl')}") from None
    who = {"candidate": name} | ({"champion": str(champion["model_name"])} if champion else {})
    requests = [
        training.transform_job(
            spec,
            run=run,
            stack=mine.stack,
            bucket=mine.data_bucket,
            who=role,
            model_name=model,
            features_uri=features_uri,
        )
        for role, model in who.items()
    ]
    answers = dict(zip(who, map(training.predictions_uri, requests), strict=True))
    return {"transforms": requests, "predictions": answers}


def _container(spec: Mapping[str, Any], artifact: str) -> dict[str, Any]:
    return training.container(
        spec["training"], artifact=artifact, bucket=settings().data_bucket, region=os.environ["AWS_REGION"]
    )


def register(event: Mapping[str, Any]) -> dict[str, Any]:
    """Register the candidate of a run as a new version, pending; free the run's slot. Repeating it finds the same version.

    Takes `{model, run, execution, at, correlation_id, spec, artifact, training_job, inputs_uri, trigger, judged}`.

    Raises:
        NotFoundError: the artifact is missing.
    """
    model, run, judged = str(event["model"]), str(event["run"]), event["judged"]
    artifact = s3.held(str(event["artifact"]))
    if artifact is None:
        raise NotFoundError(f"the run's artifact {event['artifact']} does not exist")
    group = names.base(settings().stack, model)
    metrics = judged["metrics"]
    created = client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        ModelPackageDescription=f"Run {run}: {judged['why']}"[:1024],
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [_container(event["spec"], event["artifact"])],
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
            "training_job": event["training_job"],
            "trigger": event["trigger"]["TriggerReason"],
        },
        ClientToken=f"{group}-{run}",
    )  # fmt: skip
    arn = str(created["ModelPackageArn"])
    version = int(arn.rpartition("/")[2])
    row = {
        "version": version, "package_arn": arn, "run": run, "sha256": artifact.sha256, "metrics": metrics,
        "champion_metrics": judged["champion_metrics"], "tier": judged["tier"], "status": "PendingManualApproval",
        "origin": "run", "inputs_uri": event["inputs_uri"], "training_job": event["training_job"],
        "baseline": inputs.baseline_uri(model, run), "test_features": f"{inputs.processed_uri(model, run)}/test/features.csv",
        "evaluation_uri": judged["evaluation_uri"], "at": event["at"], "correlation_id": event["correlation_id"],
    }  # fmt: skip
    ledger.put_once(f"model/{model}", f"candidate#{version:06d}", row)
    ledger.append(f"model/{model}", "candidate", event["at"], row, key=arn)
    ledger.change(f"model/{model}", f"run#{run}", put={"state": "registered", "version": version},
                  only_if="#state = :running", given={"running": "running"})  # fmt: skip
    held = ledger.read(f"model/{model}", f"run#{run}") or {}
    runs.free(
        model, event["execution"], event["at"], judged=True, snapshot=str(held.get("snapshot", "")), registered=run,
        cost=runs.cost(event["spec"], run),
    )  # fmt: skip
    return {"package_arn": arn, "version": version}
