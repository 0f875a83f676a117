"""What a run asks SageMaker for: pure requests from the spec, complete enough to be checked before any call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.decisions import images, names


def _tags(model: str, run: str) -> list[dict[str, str]]:
    return [{"Key": "project", "Value": "linnet"}, {"Key": "model", "Value": model}, {"Key": "run", "Value": run}]


def hyperparameters(training: Mapping[str, Any], bucket: str) -> dict[str, str]:
    """Return a job's hyperparameters as strings; script mode adds its program and source as the SageMaker SDK does."""
    given = {name: _text(value) for name, value in training["hyperparameters"].items()}
    if training["algorithm"] == "xgboost":
        return given
    return given | {
        "sagemaker_program": json.dumps(training["entry_point"]),
        "sagemaker_submit_directory": json.dumps(f"s3://{bucket}/{training['source']}"),
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def training_job(
    spec: Mapping[str, Any], *, run: str, stack: str, bucket: str, role: str, region: str, prepared: Mapping[str, str]
) -> dict[str, Any]:
    """Return the CreateTrainingJob request of a run (TR-02), with spot and checkpoints as the spec asks (TR-03, TR-04)."""
    model, training = spec["model"], spec["training"]
    spot = training["spot"]
    channels = {"train": prepared["train_uri"], "validation": prepared.get("validation_uri") or ""}
    stopping = {"MaxRuntimeInSeconds": training["max_runtime_seconds"]}
    if spot["enabled"]:
        stopping["MaxWaitTimeInSeconds"] = spot["max_wait_seconds"]
    request: dict[str, Any] = {
        "TrainingJobName": names.job(stack, model, run),
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": images.image(training["algorithm"], training["framework_version"], region),
            "TrainingInputMode": "File",
        },
        "HyperParameters": hyperparameters(training, bucket),
        "InputDataConfig": [
            {
                "ChannelName": name,
                "ContentType": "text/csv",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name, uri in channels.items()
            if uri
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models/{model}/{run}"},
        "ResourceConfig": {
            "InstanceType": training["instance_type"],
            "InstanceCount": training["instance_count"],
            "VolumeSizeInGB": training["volume_gb"],
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": spot["enabled"],
        "EnableNetworkIsolation": training["algorithm"] == "xgboost",
        "Tags": _tags(model, run),
    }
    if spot["checkpoints"]:
        request["CheckpointConfig"] = {
            "S3Uri": f"s3://{bucket}/models/{model}/{run}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        }
    return request


def container(training: Mapping[str, Any], *, artifact: str, bucket: str, region: str) -> dict[str, Any]:
    """Return the container that serves an artifact; script mode serves with the code that trained it (FE-04)."""
    found: dict[str, Any] = {
        "Image": images.image(training["algorithm"], training["framework_version"], region),
        "ModelDataUrl": artifact,
    }
    if training["algorithm"] == "script":
        found["Environment"] = {
            "SAGEMAKER_PROGRAM": training["entry_point"],
            "SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{bucket}/{training['source']}",
        }
    return found


def transform_job(
    spec: Mapping[str, Any], *, run: str, stack: str, bucket: str, who: str, model_name: str, features_uri: str
) -> dict[str, Any]:
    """Return the CreateTransformJob request that lets `who` (candidate or champion) answer the held-out rows."""
    model = spec["model"]
    return {
        "TransformJobName": names.job(stack, model, run, who),
        "ModelName": model_name,
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": features_uri}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{bucket}/results/{model}/{run}/predictions/{who}",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": spec["endpoint"]["instance_type"], "InstanceCount": 1},
        "Tags": _tags(model, run),
    }


def predictions_uri(request: Mapping[str, Any]) -> str:
    """Return where a transform job writes its answers: the input's file name with `.out` (DP-04)."""
    name = str(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]).rpartition("/")[2]
    return f"{request['TransformOutput']['S3OutputPath']}/{name}.out"
