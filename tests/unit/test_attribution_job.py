"""The request of the job that explains a champion (MO-08): pure, complete, and one for each window."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from linnet.decisions import attribution, names
from linnet.errors import BadInputError

SPEC: dict[str, Any] = {
    "model": "flights",
    "data": {"features": {"temp": "number", "hour": "number"}},
    "training": {"algorithm": "xgboost", "entry_point": None, "source": None},
    "monitors": {"attribution": {"sample": 2000, "instance_type": "ml.m5.xlarge", "threshold": 0.9}},
}
SCRIPT = copy.deepcopy(SPEC) | {
    "training": {"algorithm": "script", "entry_point": "train.py", "source": "code/flights/sourcedir.tar.gz"}
}
START = datetime(2026, 11, 21, 18, tzinfo=UTC)
GIVEN: dict[str, Any] = {
    "run": "r0123456789", "stack": "linnet", "role": "arn:aws:iam::111122223333:role/linnet-sagemaker",
    "region": "eu-west-1", "bucket": "data", "image": "registry/xgboost:1.7-1", "start": START,
    "code_uri": "s3://data/code/attributions/0123", "request_uri": "s3://data/w/explainability/request.json",
    "artifact": "s3://data/models/flights/r0123456789/output/model.tar.gz",
    "baseline_uri": "s3://data/processed-data/flights/r0123456789/test/features.csv",
    "live_uri": "s3://data/w/explainability/live.csv", "output_uri": "s3://data/w/explainability",
}  # fmt: skip


def given(name: str, uri: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}", "S3DataType": "S3Prefix",
            "S3InputMode": "File", "S3DataDistributionType": "FullyReplicated",
        },
    }  # fmt: skip


def test_mo_08_the_request_of_the_job_for_built_in_xgboost() -> None:
    assert attribution.job(SPEC, **GIVEN) == {
        "ProcessingJobName": "linnet-flights-r0123456789-shaphtbi0",
        "RoleArn": "arn:aws:iam::111122223333:role/linnet-sagemaker",
        "AppSpecification": {
            "ImageUri": "registry/xgboost:1.7-1",
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/attributions.py"],
            "ContainerArguments": ["/opt/ml/processing/input/request/request.json"],
        },
        "ProcessingInputs": [
            given("code", "s3://data/code/attributions/0123"),
            given("request", "s3://data/w/explainability/request.json"),
            given("model", "s3://data/models/flights/r0123456789/output/model.tar.gz"),
            given("baseline", "s3://data/processed-data/flights/r0123456789/test/features.csv"),
            given("live", "s3://data/w/explainability/live.csv"),
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "analysis",
                    "S3Output": {
                        "S3Uri": "s3://data/w/explainability", "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "NetworkConfig": {"EnableNetworkIsolation": True},
        "Environment": {"AWS_DEFAULT_REGION": "eu-west-1"},
        "Tags": [
            {"Key": "project", "Value": "linnet"}, {"Key": "model", "Value": "flights"},
            {"Key": "run", "Value": "r0123456789"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(("spec", "key"), [(SPEC, ""), (SPEC, "alias/linnet"), (SCRIPT, "alias/linnet")])
def test_every_request_is_one_that_sagemaker_takes(spec: dict[str, Any], key: str) -> None:
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateProcessingJob").input_shape
    )
    request = attribution.job(spec, **GIVEN, key=key)
    assert not ParamValidator().validate(request, shape).has_errors()
    encrypted = [request["ProcessingOutputConfig"], request["ProcessingResources"]["ClusterConfig"]]
    assert [key in part.values() for part in encrypted] == [bool(key)] * 2


def test_a_script_is_explained_with_its_own_code_and_a_network_to_fetch_shap_by() -> None:
    request = attribution.job(SCRIPT, **GIVEN)
    assert request["ProcessingInputs"][-1] == given("source", "s3://data/code/flights/sourcedir.tar.gz")
    assert request["NetworkConfig"] == {"EnableNetworkIsolation": False}
    assert [line.split("==")[0] for line in attribution.REQUIREMENTS.splitlines()] == ["shap"] * 3


def test_the_same_window_has_one_job_and_every_minute_its_own() -> None:
    def name(minutes: int) -> str:
        return str(attribution.job(SPEC, **GIVEN | {"start": START + timedelta(minutes=minutes)})["ProcessingJobName"])

    assert name(0) == name(0)
    assert len({name(minutes) for minutes in range(0, 60 * 24 * 365, 60)}) == 24 * 365
    assert name(0) != name(1)
    longest = {"stack": "s" * 20, "run": names.run_id("m", "e")}
    made = attribution.job(SPEC | {"model": "abcdefghij-klmnopqrs"}, **GIVEN | longest)["ProcessingJobName"]
    assert len(made) <= 63


def test_what_to_explain_is_told_in_full() -> None:
    assert attribution.request(SPEC, ["live", "baseline"]) == {
        "version": 1, "algorithm": "xgboost", "entry_point": None, "features": ["temp", "hour"],
        "explain": ["baseline", "live"], "sample": 2000, "seed": 20251121,
    }  # fmt: skip
    assert attribution.request(SCRIPT, ["live"])["entry_point"] == "train.py"


@pytest.mark.parametrize("parts", [[], ["dead"], ["live", "dead"]])
def test_nothing_and_other_parts_are_not_explained(parts: Any) -> None:
    with pytest.raises(BadInputError, match="baseline, live or both"):
        attribution.request(SPEC, parts)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"request_uri": "s3://data/w/other.json"}, "request_uri"), ({"start": START.replace(tzinfo=None)}, "start")],
)
def test_a_request_that_the_program_would_not_find_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInputError) as refused:
        attribution.job(SPEC, **GIVEN | wrong)
    assert refused.value.field == field
