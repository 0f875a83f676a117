"""The processing job that explains a champion's answers: a pure request, as those of `processing` and `training` (MO-08)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from linnet.decisions import names, training
from linnet.decisions.processing import CODE
from linnet.errors import BadInputError

PROGRAM = "attributions.py"
"""`linnet.data.attributions`, put below the code's URI under this name."""
REQUIREMENTS = """\
shap==0.44.1; python_version < "3.9"
shap==0.48.0; python_version >= "3.9" and python_version < "3.11"
shap==0.51.0; python_version >= "3.11"
"""
"""requirements.txt beside the program: the last shap for each Python of the images that serve script-mode models."""
INPUT = "/opt/ml/processing/input"
OUTPUT = "/opt/ml/processing/output"
_REQUEST = "request.json"
_SEED = 20_251_121
_VOLUME_GB = 30
_MAX_RUNTIME_SECONDS = 3600
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Part = Literal["baseline", "live"]


def request(spec: Mapping[str, Any], parts: Sequence[Part]) -> dict[str, Any]:
    """Return the request.json of the job: what to explain, and how; a champion's baseline is explained once.

    Raises:
        BadInputError: nothing is to be explained, or another part than `baseline` and `live`.
    """
    if not parts or not set(parts) <= {"baseline", "live"}:
        raise BadInputError("explain", list(parts), "baseline, live or both")
    trained = spec["training"]
    return {
        "version": 1,
        "algorithm": trained["algorithm"],
        "entry_point": trained.get("entry_point"),
        "features": list(spec["data"]["features"]),
        "explain": sorted(set(parts)),
        "sample": spec["monitors"]["attribution"]["sample"],
        "seed": _SEED,
    }


def job(
    spec: Mapping[str, Any], *, run: str, stack: str, role: str, region: str, bucket: str, image: str, start: datetime,
    code_uri: str, request_uri: str, artifact: str, baseline_uri: str, live_uri: str, output_uri: str, key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the CreateProcessingJob request that explains a window's sample beside its champion's baseline rows.

    `run`, `image` and `artifact` are the champion's; `start` is the window's; `code_uri` is the folder of `PROGRAM` and
    its requirements.txt, `request_uri` ends with request.json, `baseline_uri` and `live_uri` are CSV files without a
    header. The name is that of the run and the window, so that a second look adopts the first one's job. `key` encrypts.
    Built-in XGBoost needs no network and gets none.

    Raises:
        BadInputError: the request is not named request.json, or the start has no time zone.
    """
    if not request_uri.endswith(f"/{_REQUEST}"):
        raise BadInputError("request_uri", request_uri, f"a URI that ends with /{_REQUEST}")
    if start.tzinfo is None:
        raise BadInputError("start", start.isoformat(), "a time with its zone")
    model, trained = spec["model"], spec["training"]
    instance_type = spec["monitors"]["attribution"]["instance_type"]
    isolated = trained["algorithm"] == "xgboost"
    sources = {"code": code_uri, "request": request_uri, "model": artifact, "baseline": baseline_uri, "live": live_uri}
    if not isolated:
        sources["source"] = f"s3://{bucket}/{trained['source']}"
    cluster = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": _VOLUME_GB}
    output = {"S3Uri": output_uri, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}
    results: dict[str, Any] = {"Outputs": [{"OutputName": "analysis", "S3Output": output}]}
    return {
        "ProcessingJobName": names.job(stack, model, run, _purpose(start)),
        "RoleArn": role,
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python3", f"{CODE}/{PROGRAM}"],
            "ContainerArguments": [f"{INPUT}/request/{_REQUEST}"],
        },
        "ProcessingInputs": [_input(name, uri) for name, uri in sources.items()],
        "ProcessingOutputConfig": results | ({"KmsKeyId": key} if key else {}),
        "ProcessingResources": {"ClusterConfig": cluster | training.volume_key(instance_type, key)},
        "StoppingCondition": {"MaxRuntimeInSeconds": _MAX_RUNTIME_SECONDS},
        "NetworkConfig": {"EnableNetworkIsolation": isolated},
        "Environment": {"AWS_DEFAULT_REGION": region},
        "Tags": training.tags(model, run),
    }


def _input(name: str, uri: str) -> dict[str, Any]:
    source = {
        "S3Uri": uri, "LocalPath": f"{INPUT}/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
    }  # fmt: skip
    return {"InputName": name, "S3Input": source}


def _purpose(start: datetime) -> str:
    """Return the purpose in the job's name: one for every minute, short, because names end at 63 characters."""
    minute, text = int(start.timestamp()) // 60, ""
    while minute:
        minute, digit = divmod(minute, len(_DIGITS))
        text = _DIGITS[digit] + text
    return f"shap{text}"
