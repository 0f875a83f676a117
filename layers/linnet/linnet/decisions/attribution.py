"""The processing job that explains a champion's answers: a pure request, as those of `processing` and `training` (MO-08)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
REQUEST = "request.json"
SEED = 20_251_121
_VOLUME_GB = 30
_MAX_RUNTIME_SECONDS = 3600

Part = Literal["baseline", "live"]


def request(spec: Mapping[str, Any], parts: Sequence[Part]) -> dict[str, Any]:
    """Return the request.json of the job: what to explain, and how; a champion's baseline is explained once.

    `spec` is the one that the champion was trained by, with today's `monitors`.

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
        "seed": SEED,
    }


def job(
    spec: Mapping[str, Any], *, run: str, stack: str, role: str, region: str, bucket: str, image: str, look: str,
    code_uri: str, request_uri: str, artifact: str, baseline_uri: str, live_uri: str, outputs: Mapping[Part, str],
    key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the CreateProcessingJob request that explains a window's sample, and its champion's baseline rows if asked.

    `run`, `image` and `artifact` are the champion's; `code_uri` is the folder of `PROGRAM` and its requirements.txt,
    `request_uri` ends with request.json, `baseline_uri` and `live_uri` are CSV files without a header, `outputs` are the
    folders for the analysis.json of each part. `look` names the window and who looks: SageMaker takes a job's name once
    for ever, so a look that failed is repeated under another. `key` encrypts. Built-in XGBoost needs no network and gets
    none.

    Raises:
        BadInputError: the request is not named request.json.
    """
    if not request_uri.endswith(f"/{REQUEST}"):
        raise BadInputError("request_uri", request_uri, f"a URI that ends with /{REQUEST}")
    model, trained = spec["model"], spec["training"]
    instance_type = spec["monitors"]["attribution"]["instance_type"]
    isolated = trained["algorithm"] == "xgboost"
    sources = {"code": code_uri, "request": request_uri, "model": artifact, "live": live_uri}
    if "baseline" in outputs or not isolated:  # the shap library compares with baseline rows
        sources["baseline"] = baseline_uri
    if not isolated:
        sources["source"] = f"s3://{bucket}/{trained['source']}"
    cluster = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": _VOLUME_GB}
    results: dict[str, Any] = {"Outputs": [_output(part, uri) for part, uri in outputs.items()]}
    return {
        # Short, because names end at 63 characters.
        "ProcessingJobName": names.job(stack, model, run, f"x{names.digest(look)[:8]}"),
        "RoleArn": role,
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python3", f"{CODE}/{PROGRAM}"],
            "ContainerArguments": [f"{INPUT}/request/{REQUEST}"],
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


def _output(part: Part, uri: str) -> dict[str, Any]:
    target = {"S3Uri": uri, "LocalPath": f"{OUTPUT}/{part}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": part, "S3Output": target}
