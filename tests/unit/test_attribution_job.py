"""The request of the job that explains a champion (MO-08): pure, complete, and one for each window."""

from __future__ import annotations

import copy
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
    "monitors": {"attribution": {"sample": 2000, "instance_type": "ml.m5.xlarge", "minimum_ndcg": 0.9}},
}
SCRIPT = copy.deepcopy(SPEC) | {
    "training": {"algorithm": "script", "entry_point": "train.py", "source": "code/flights/sourcedir.tar.gz"}
}
GIVEN: dict[str, Any] = {
    "run": "r0123456789", "stack": "linnet", "role": "arn:aws:iam::111122223333:role/linnet-sagemaker",
    "region": "eu-west-1", "bucket": "data", "image": "registry/xgboost:1.7-1", "look": "e/flights/2026-11-21T18:00:00Z/",
    "code_uri": "s3://data/code/attributions/0123", "request_uri": "s3://data/w/explainability/request.json",
    "artifact": "s3://data/models/flights/r0123456789/output/model.tar.gz",
    "baseline_uri": "s3://data/processed-data/flights/r0123456789/test/features.csv",
    "live_uri": "s3://data/w/explainability/live.csv",
    "outputs": {"live": "s3://data/w/explainability", "baseline": "s3://data/baselines/flights/r0123456789"},
}  # fmt: skip


def given(name: str, uri: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}", "S3DataType": "S3Prefix",
            "S3InputMode": "File", "S3DataDistributionType": "FullyReplicated",
        },
    }  # fmt: skip


def written(name: str, uri: str) -> dict[str, Any]:
    target = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": target}


def test_mo_08_the_request_of_the_job_for_built_in_xgboost() -> None:
    assert attribution.job(SPEC, **GIVEN) == {
        "ProcessingJobName": "linnet-flights-r0123456789-xc942c574",
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
            given("live", "s3://data/w/explainability/live.csv"),
            given("baseline", "s3://data/processed-data/flights/r0123456789/test/features.csv"),
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                written("live", "s3://data/w/explainability"), written("baseline", "s3://data/baselines/flights/r0123456789"),
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


def test_a_champions_own_rows_are_explained_once_and_read_where_they_are_needed() -> None:
    again = {"outputs": {"live": "s3://data/w/explainability"}}
    request = attribution.job(SPEC, **GIVEN | again)
    inputs = [
        [one["InputName"] for one in attribution.job(s, **GIVEN | again)["ProcessingInputs"]] for s in (SPEC, SCRIPT)
    ]
    assert request["ProcessingOutputConfig"]["Outputs"] == [written("live", "s3://data/w/explainability")]
    assert "baseline" not in inputs[0]
    assert "baseline" in inputs[1]  # the shap library leaves a feature out by the values of these rows


def test_a_look_has_one_job_and_a_repeated_one_another_because_sagemaker_takes_a_name_once() -> None:
    def name(look: str, **more: Any) -> str:
        return str(attribution.job(SPEC, **GIVEN | {"look": look} | more)["ProcessingJobName"])

    assert name("execution-1/a") == name("execution-1/a")
    assert len({name(f"execution-{n}/a") for n in range(2000)}) == 2000
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


def test_a_request_that_the_program_would_not_find_is_refused() -> None:
    with pytest.raises(BadInputError, match="request_uri"):
        attribution.job(SPEC, **GIVEN | {"request_uri": "s3://data/w/other.json"})
