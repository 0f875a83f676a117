"""What a run asks SageMaker for: pure requests from the spec, complete enough to be checked before any call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from linnet.decisions import images, names

ON_DEMAND = "ondemand"
"""The purpose in the name of the job that goes on where a spot job could not."""


def tags(model: str, run: str) -> list[dict[str, str]]:
    """Return the tags of a run's jobs."""
    return [{"Key": "project", "Value": "linnet"}, {"Key": "model", "Value": model}, {"Key": "run", "Value": run}]


def hyperparameters(training: Mapping[str, Any], bucket: str) -> dict[str, str]:
    """Return a job's hyperparameters as strings; script mode adds its program and source as the SageMaker SDK does."""
    given = {name: text(value) for name, value in training["hyperparameters"].items()}
    if training["algorithm"] == "xgboost":
        return given
    return given | {
        "sagemaker_program": json.dumps(training["entry_point"]),
        "sagemaker_submit_directory": json.dumps(source(training, bucket)),
    }


def source(training: Mapping[str, Any], bucket: str) -> str:
    """Return the URI of the script's archive, or an empty text for a built-in algorithm."""
    return "" if training["algorithm"] == "xgboost" else f"s3://{bucket}/{training['source']}"


def text(value: Any) -> str:
    """Return a hyperparameter's value as SageMaker takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def mode(
    training: Mapping[str, Any], *, champion: Mapping[str, Any] | None, trigger: Mapping[str, Any], region: str
) -> tuple[str, str]:
    """Return `full` or `incremental`, and why (TR-07).

    `champion` is `{version, artifact, image}`. Incremental training goes on from it, so there must be one, of the same
    image; and a large drift is learnt from the beginning, because what the champion knows has become wrong.
    """
    if training.get("mode", "full") == "full":  # a spec of before has no mode
        return "full", "the spec says full"
    if not champion:
        return "full", "there is no champion to go on from"
    if trigger.get("DriftSeverity") == "High":
        return "full", "a drift of severity High forces full training"
    image = images.image(training["algorithm"], training["framework_version"], region)
    if champion["image"] != image:
        return "full", f"version {champion['version']} is of another image: {champion['image']}"
    return "incremental", f"goes on from version {champion['version']}"


def definition(
    spec: Mapping[str, Any], *, run: str, bucket: str, role: str, region: str, prepared: Mapping[str, str],
    parent: str = "", key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return what a training job and the definition of a tuning job have in common.

    `parent` is the artifact of the version that incremental training goes on from (TR-06); `key` encrypts.
    """
    model, training = spec["model"], spec["training"]
    spot = training["spot"]
    data = {"train": prepared["train_uri"], "validation": prepared.get("validation_uri") or ""}
    channels = [_channel(name, uri, "text/csv") for name, uri in data.items() if uri]
    if parent:
        # An archive is unpacked by the script, so it comes as a file whatever the data come as.
        channels.append(_channel("model", parent, "application/x-sagemaker-model") | {"InputMode": "File"})
    stopping = {"MaxRuntimeInSeconds": training["max_runtime_seconds"]}
    if spot["enabled"]:
        stopping["MaxWaitTimeInSeconds"] = spot["max_wait_seconds"]
    algorithm: dict[str, Any] = {
        "TrainingImage": images.image(training["algorithm"], training["framework_version"], region),
        "TrainingInputMode": training.get("input_mode", "File"),
    }
    if training.get("metrics"):
        algorithm["MetricDefinitions"] = [{"Name": n, "Regex": regex} for n, regex in training["metrics"].items()]
    return {
        "RoleArn": role,
        "AlgorithmSpecification": algorithm,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models/{model}/{run}"}
        | ({"KmsKeyId": key} if key else {}),
        "ResourceConfig": {
            "InstanceType": training["instance_type"],
            "InstanceCount": training["instance_count"],
            "VolumeSizeInGB": training["volume_gb"],
        }
        | volume_key(training["instance_type"], key),
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": spot["enabled"],
        "EnableNetworkIsolation": training["algorithm"] == "xgboost",
        "EnableInterContainerTrafficEncryption": training["instance_count"] > 1,
    }


def _channel(name: str, uri: str, content_type: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": content_type, "DataSource": {"S3DataSource": source}}


def volume_key(instance_type: str, key: str) -> dict[str, str]:
    """Return the VolumeKmsKeyId; instances with disks of their own refuse one, as they encrypt those themselves."""
    family = instance_type.split(".")[1]
    stored = family.startswith(("g", "p4", "p5", "p6", "trn", "inf")) or re.fullmatch(
        r"p3dn|[a-z]+\d[a-z]*d[a-z]*", family
    )
    return {"VolumeKmsKeyId": key} if key and not stored else {}


def training_job(
    spec: Mapping[str, Any], *, run: str, stack: str, bucket: str, role: str, region: str,
    prepared: Mapping[str, str], parent: str = "", key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the CreateTrainingJob request of a run (TR-02), with spot and checkpoints as the spec asks (TR-03, TR-04)."""
    model, training = spec["model"], spec["training"]
    request = {
        "TrainingJobName": names.job(stack, model, run),
        "HyperParameters": hyperparameters(training, bucket),
        "Tags": tags(model, run),
    } | definition(spec, run=run, bucket=bucket, role=role, region=region, prepared=prepared, parent=parent, key=key)
    if training["spot"]["checkpoints"]:
        request["CheckpointConfig"] = {
            "S3Uri": f"s3://{bucket}/models/{model}/{run}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        }
    return request


def on_demand(request: Mapping[str, Any], *, model: str, stack: str, run: str) -> dict[str, Any]:
    """Return the training job that goes on once on demand where the spot job `request` got no instance in time (F29)."""
    stopping = {"MaxRuntimeInSeconds": request["StoppingCondition"]["MaxRuntimeInSeconds"]}
    changed = {"EnableManagedSpotTraining": False, "StoppingCondition": stopping}
    return dict(request) | changed | {"TrainingJobName": names.job(stack, model, run, ON_DEMAND)}


def container(training: Mapping[str, Any], *, artifact: str, bucket: str, region: str) -> dict[str, Any]:
    """Return the container that serves an artifact; script mode serves with the code that trained it (FE-04)."""
    found: dict[str, Any] = {
        "Image": images.image(training["algorithm"], training["framework_version"], region),
        "ModelDataUrl": artifact,
    }
    if training["algorithm"] == "script":
        found["Environment"] = {
            "SAGEMAKER_PROGRAM": training["entry_point"],
            "SAGEMAKER_SUBMIT_DIRECTORY": source(training, bucket),
        }
    return found


def isolated(container: Mapping[str, Any] | None) -> bool:
    """Say whether a container can serve without a network (SE-04): it can if it is ours and fetches no script from S3."""
    return bool(container) and "SAGEMAKER_SUBMIT_DIRECTORY" not in (container or {}).get("Environment", {})


def transform_job(
    spec: Mapping[str, Any], *, run: str, stack: str, bucket: str, who: str, model_name: str, features_uri: str,
    key: str = "",
) -> dict[str, Any]:  # fmt: skip
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
        }
        | ({"KmsKeyId": key} if key else {}),
        "TransformResources": {"InstanceType": spec["endpoint"]["instance_type"], "InstanceCount": 1}
        | volume_key(spec["endpoint"]["instance_type"], key),
        "Tags": tags(model, run),
    }


def predictions_uri(request: Mapping[str, Any]) -> str:
    """Return where a transform job writes its answers: the input's file name with `.out` (DP-04)."""
    name = str(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]).rpartition("/")[2]
    return f"{request['TransformOutput']['S3OutputPath']}/{name}.out"
