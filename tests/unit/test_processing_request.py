"""Which data goes to a processing job, and that job's request (DV-01, F24)."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions.processing import job, too_large
from linnet.errors import BadInputError
from linnet.events.spec import check_spec, spec_json
from models.flights import data as flights


def spec(format: str = "csv", **processing: Any) -> dict[str, Any]:  # noqa: A002 - the field's name
    made = flights.spec()
    made["data"] = made["data"] | {"format": format, "processing": processing}
    return spec_json(check_spec(made))


def request(size: int = 10**9, key: str = "", **processing: Any) -> dict[str, Any]:
    return job(
        spec(**processing), run="r0123456789", stack="linnet", role="arn:aws:iam::123456789012:role/linnet-sagemaker",
        region="eu-west-1", inputs_uri="s3://b/results/flights/r0123456789/inputs.json",
        code_uri="s3://b/code/linnet/abc.zip", size=size, environment={"LINNET_STACK": "linnet"}, key=key,
    )  # fmt: skip


@given(sizes=st.lists(st.integers(0, 1000)), above=st.integers(1, 4000))
def test_files_go_to_a_job_when_together_they_are_larger_than_the_spec_says(sizes: list[int], above: int) -> None:
    assert too_large(spec(above_bytes=above), sizes) == (sum(sizes) > above)
    assert too_large(spec("parquet", above_bytes=above), sizes) == (4 * sum(sizes) > above)


@pytest.mark.parametrize("key", ["", "arn:aws:kms:eu-west-1:123456789012:key/k"])
@pytest.mark.parametrize("instance", ["ml.m5.4xlarge", "ml.m5d.4xlarge"])
def test_the_request_is_one_that_sagemaker_takes_and_carries_only_paths_that_it_mounts(key: str, instance: str) -> None:
    made = request(key=key, instance_type=instance)
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateProcessingJob")
    problems = ParamValidator().validate(made, shape.input_shape).generate_report()

    assert problems == ""
    assert made["ProcessingJobName"] == "linnet-flights-r0123456789-data"
    mounted = made["ProcessingInputs"][0]["S3Input"]
    assert made["AppSpecification"]["ContainerEntrypoint"] == ["python3", f"{mounted['LocalPath']}/abc.zip"]
    assert made["AppSpecification"]["ImageUri"] == (
        "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
    )
    assert all(len(part) <= 256 for part in made["AppSpecification"]["ContainerArguments"])
    assert made["Environment"] == {"AWS_DEFAULT_REGION": "eu-west-1", "LINNET_STACK": "linnet"}
    cluster = made["ProcessingResources"]["ClusterConfig"]
    assert cluster.get("VolumeKmsKeyId", "") == (key if instance == "ml.m5.4xlarge" else "")


def test_data_that_does_not_fit_on_the_volume_is_refused_before_a_job_is_made_with_the_size_that_would_do() -> None:
    assert request(size=10**10, volume_gb=30)["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 30
    with pytest.raises(BadInputError, match=r"data\.processing\.volume_gb: 30 is not allowed; allowed: at least 31"):
        request(size=10**10 + 1, volume_gb=30)
