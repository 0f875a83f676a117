"""Which data is too large for a function, and the processing job that does a function's work on a larger machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from linnet.decisions import images, names, training
from linnet.errors import BadInputError

PURPOSE = "data"
"""The purpose in the job's name."""
IMAGE_VERSION = "1.9-0"
"""The scikit-learn image with Python 3.12, numpy 2.5, pyarrow 25 and boto3 (requirements.txt of its public repository)."""
CODE = "/opt/ml/processing/input/code"
_PACKED = 4
"""A compressed format takes so many times its size in memory."""
_COPIES = 3
"""The data, what is made of it, and as much again to spare."""


def too_large(spec: Mapping[str, Any], sizes: Iterable[int]) -> bool:
    """Say whether files of these sizes in bytes are more than a function reads (`data.processing.above_bytes`)."""
    data = spec["data"]
    in_memory = sum(sizes) * (_PACKED if data["format"] == "parquet" else 1)
    return in_memory > int(data["processing"]["above_bytes"])


def job(
    spec: Mapping[str, Any], *, run: str, stack: str, role: str, region: str, inputs_uri: str, code_uri: str,
    size: int, environment: Mapping[str, str], key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the CreateProcessingJob request that checks and prepares a run's data of `size` bytes.

    `code_uri` is an archive that Python runs, `environment` the settings that its gateways need, `key` encrypts.

    Raises:
        BadInputError: the data does not fit on the volume.
    """
    model, wanted = spec["model"], spec["data"]["processing"]
    if size * _COPIES > wanted["volume_gb"] * 10**9:
        least = -(-size * _COPIES // 10**9)
        raise BadInputError("data.processing.volume_gb", wanted["volume_gb"], f"at least {least} for {size} bytes")
    cluster = {
        "InstanceType": wanted["instance_type"], "InstanceCount": 1, "VolumeSizeInGB": wanted["volume_gb"],
    } | training.volume_key(wanted["instance_type"], key)  # fmt: skip
    code = {
        "S3Uri": code_uri, "LocalPath": CODE, "S3DataType": "S3Prefix", "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
    }  # fmt: skip
    return {
        "ProcessingJobName": names.job(stack, model, run, PURPOSE),
        "RoleArn": role,
        "AppSpecification": {
            "ImageUri": images.image("script", IMAGE_VERSION, region),
            "ContainerEntrypoint": ["python3", f"{CODE}/{code_uri.rpartition('/')[2]}"],
            "ContainerArguments": [model, run, inputs_uri],
        },
        "ProcessingInputs": [{"InputName": "code", "S3Input": code}],
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": wanted["max_runtime_seconds"]},
        "Environment": {"AWS_DEFAULT_REGION": region, **environment},
        "Tags": training.tags(model, run),
    }
