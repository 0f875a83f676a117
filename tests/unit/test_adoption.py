"""Whether a job that exists is the one that was asked for (F28)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from linnet.decisions import adoption

ASKED: dict[str, Any] = {
    "TrainingJobName": "linnet-flights-r1",
    "HyperParameters": {"max_depth": "5"},
    "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/train/"}}}],
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    "EnableManagedSpotTraining": False,
    "Environment": {},
    "Tags": [{"Key": "run", "Value": "r1"}],
}


def described() -> dict[str, Any]:
    """Return the job as SageMaker tells it: without its tags and its empty map, with defaults and states of its own."""
    found = copy.deepcopy(ASKED) | {"TrainingJobStatus": "InProgress", "CreationTime": 1.0}
    del found["Tags"], found["Environment"]
    found["ResourceConfig"]["VolumeSizeInGB"] = 30
    found["InputDataConfig"][0]["CompressionType"] = "None"
    return found


def test_f28_what_sagemaker_adds_to_a_job_makes_it_no_other_job() -> None:
    assert adoption.differences(ASKED, described()) == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("HyperParameters.max_depth", lambda found: found["HyperParameters"].update(max_depth="6")),
        ("HyperParameters.max_depth", lambda found: found["HyperParameters"].clear()),
        ("HyperParameters", lambda found: found.pop("HyperParameters")),
        ("InputDataConfig", lambda found: found["InputDataConfig"].append({"ChannelName": "validation"})),
        (
            "InputDataConfig[0].DataSource.S3DataSource.S3Uri",
            lambda found: found["InputDataConfig"][0]["DataSource"]["S3DataSource"].update(S3Uri="s3://b/other/"),
        ),
        ("ResourceConfig.InstanceCount", lambda found: found["ResourceConfig"].update(InstanceCount=2)),
        ("EnableManagedSpotTraining", lambda found: found.update(EnableManagedSpotTraining=True)),
        ("Environment", lambda found: found.update(Environment="a text")),
    ],
)
def test_f28_a_job_that_does_anything_else_is_another_and_the_member_is_named(path: str, change: Any) -> None:
    found = described()
    change(found)

    assert adoption.differences(ASKED, found) == [path]
