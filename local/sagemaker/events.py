"""The events that SageMaker emits, with the spelling of each kind.

Times are epoch-ms strings in training events, epoch-ms numbers in processing and endpoint events and ISO strings in
transform and model package events; endpoint events write the status in UPPER_SNAKE, processing events write the enums
of their inputs without separators. Source: the developer guide's "Automating SageMaker with EventBridge".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local.sagemaker.records import Record
from local.sagemaker.world import World, iso, milliseconds

_TRAINING = [
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "FailureReason",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
]
_PROCESSING = [
    "ProcessingJobName",
    "ProcessingResources",
    "StoppingCondition",
    "AppSpecification",
    "Environment",
    "NetworkConfig",
    "RoleArn",
    "ExperimentConfig",
    "ProcessingJobArn",
    "ProcessingJobStatus",
    "ExitMessage",
    "FailureReason",
]
_TRANSFORM = [
    "TransformJobName",
    "TransformJobArn",
    "TransformJobStatus",
    "FailureReason",
    "ModelName",
    "MaxConcurrentTransforms",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "TransformResources",
    "DataProcessing",
]
_TUNING = [
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobConfig",
    "TrainingJobDefinition",
    "HyperParameterTuningJobStatus",
    "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
    "FailureReason",
]
_PACKAGE = [
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "InferenceSpecification",
    "SourceAlgorithmSpecification",
    "ValidationSpecification",
    "ModelPackageStatus",
    "ModelPackageStatusDetails",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "MetadataProperties",
    "ModelMetrics",
    "CustomerMetadataProperties",
    "ModelLifeCycle",
    "SourceUri",
]


def _pick(record: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: record[name] for name in names if name in record}


def _times(record: Mapping[str, Any], names: str, form: Any) -> dict[str, Any]:
    return {name: form(record[name]) for name in names.split() if name in record}


def training(world: World, record: Record) -> None:
    """Emit a training job's state: one event for every secondary status, times as epoch-ms strings."""
    detail = {"HyperParameters": {}, "VpcConfig": {}, **_pick(record, _TRAINING)}
    times = "CreationTime TrainingStartTime TrainingEndTime LastModifiedTime"
    detail |= _times(record, times, lambda at: str(milliseconds(at)))
    detail["SecondaryStatusTransitions"] = [
        {**step, **_times(step, "StartTime EndTime", milliseconds)} for step in record["SecondaryStatusTransitions"]
    ]
    arn = record["TrainingJobArn"]
    world.emit("SageMaker Training Job State Change", detail | {"Tags": world.tags[arn]}, arn)


def processing(world: World, record: Record) -> None:
    """Emit a processing job's state; times are epoch-ms integers and the inputs' enums have no separators."""
    detail = {"ExperimentConfig": {}, **_pick(record, _PROCESSING)}
    detail["ProcessingInputs"] = [_shouted_input(item) for item in record.get("ProcessingInputs", ())]
    outputs = record.get("ProcessingOutputConfig", {"Outputs": []})
    detail["ProcessingOutputConfig"] = {**outputs, "Outputs": [_shouted_output(item) for item in outputs["Outputs"]]}
    times = "ProcessingEndTime ProcessingStartTime LastModifiedTime CreationTime"
    detail |= _times(record, times, milliseconds)
    world.emit("SageMaker Processing Job State Change", detail, record["ProcessingJobArn"])


def _shouted_input(item: Mapping[str, Any]) -> dict[str, Any]:
    if "S3Input" not in item:
        return dict(item)
    source = dict(item["S3Input"])
    spellings = {"ManifestFile": "MANIFEST_FILE", "S3Prefix": "S3_PREFIX"}
    for name in ("S3DataType", "S3InputMode", "S3DataDistributionType"):
        if name in source:
            source[name] = spellings.get(source[name], source[name].upper())
    return {**item, "S3Input": source}


def _shouted_output(item: Mapping[str, Any]) -> dict[str, Any]:
    if "S3Output" not in item:
        return dict(item)
    target = dict(item["S3Output"])
    target["S3UploadMode"] = {"EndOfJob": "END_OF_JOB"}.get(target["S3UploadMode"], target["S3UploadMode"].upper())
    return {**item, "S3Output": target}


def transform(world: World, record: Record) -> None:
    """Emit a transform job's state; times are ISO strings."""
    detail = _pick(record, _TRANSFORM)
    times = "CreationTime TransformStartTime TransformEndTime"
    detail |= _times(record, times, iso)
    arn = record["TransformJobArn"]
    world.emit("SageMaker Transform Job State Change", detail | {"Tags": world.tags[arn]}, arn)


def tuning(world: World, record: Record) -> None:
    """Emit a hyperparameter tuning job's state; times are epoch-ms strings."""
    detail = _pick(record, _TUNING)
    times = "CreationTime HyperParameterTuningEndTime LastModifiedTime"
    detail |= _times(record, times, lambda at: str(milliseconds(at)))
    arn = record["HyperParameterTuningJobArn"]
    world.emit("SageMaker HyperParameter Tuning Job State Change", detail | {"Tags": world.tags[arn]}, arn)


def package(world: World, record: Record, updated: list[str] | None = None) -> None:
    """Emit a model package's state; `UpdatedModelPackageFields` is there only after UpdateModelPackage."""
    detail = _pick(record, _PACKAGE) | _times(record, "CreationTime LastModifiedTime", iso)
    if updated is not None:
        detail["UpdatedModelPackageFields"] = updated
    world.emit("SageMaker Model Package State Change", detail, record["ModelPackageArn"])


def endpoint(world: World, description: Mapping[str, Any]) -> None:
    """Emit an endpoint's state from its Describe answer; the status in UPPER_SNAKE, times as epoch-ms floats."""
    detail = _endpoint(world, description, lambda at: float(milliseconds(at)))
    detail["ProductionVariants"] = [
        {**_pick(variant, ["VariantName"]), **_floats(variant)} for variant in description.get("ProductionVariants", ())
    ]
    world.emit("SageMaker Endpoint State Change", detail, description["EndpointArn"])


def _floats(variant: Mapping[str, Any]) -> dict[str, float]:
    names = ["CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount"]
    return {name: float(value) for name, value in _pick(variant, names).items()}


def deployment(world: World, description: Mapping[str, Any]) -> None:
    """Emit the progress of a guarded deployment or of a change of capacity; times are epoch-ms integers."""
    detail = _endpoint(world, description, milliseconds)
    detail["ProductionVariants"] = [_progress(variant) for variant in description.get("ProductionVariants", ())]
    if pending := description.get("PendingDeploymentSummary"):
        detail["PendingDeploymentSummary"] = {
            "EndpointConfigName": pending["EndpointConfigName"],
            "StartTime": milliseconds(pending["StartTime"]),
            "ProductionVariants": [_progress(variant) for variant in pending["ProductionVariants"]],
        }
    world.emit("SageMaker Endpoint Deployment State Change", detail, description["EndpointArn"])


def _endpoint(world: World, description: Mapping[str, Any], time: Any) -> dict[str, Any]:
    detail = _pick(description, ["EndpointName", "EndpointArn", "EndpointConfigName", "FailureReason"])
    detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", description["EndpointStatus"]).upper()
    detail |= _times(description, "CreationTime LastModifiedTime", time)
    return detail | {"Tags": world.tags[description["EndpointArn"]]}


def _progress(variant: Mapping[str, Any]) -> dict[str, Any]:
    names = "VariantName CurrentWeight DesiredWeight CurrentInstanceCount DesiredInstanceCount"
    progress = _pick(variant, names.split())
    if "VariantStatus" in variant:
        steps = variant["VariantStatus"]
        progress["VariantStatus"] = [{**step, **_times(step, "StartTime", milliseconds)} for step in steps]
    return progress
