"""Every event has the shape that AWS documents, spelling differences included (peers.md 4.2 to 4.6, T-02)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from local.sagemaker.ports import JobOutcome
from tests.sagemaker.doubles import IMAGE, ROLE, Lab, canary, training_request
from tests.sagemaker.test_jobs import PROCESSING, TRANSFORM

NOON = 1769860800
"""2026-01-31T12:00:00Z, where the virtual clock starts."""


def test_training_events_come_with_every_secondary_status_and_write_times_as_strings(lab: Lab) -> None:
    tags = [{"Key": "k", "Value": "v"}]
    lab.call("CreateTrainingJob", **training_request("j", HyperParameters={"eta": "0.1"}, Tags=tags))
    lab.clock.advance(1)
    job = lab.executor.jobs[0]
    job.report.secondary("Training", "Training now")
    lab.clock.advance(1)
    job.complete()
    details = lab.aws.details("Training Job")
    assert [detail["SecondaryStatus"] for detail in details] == ["Starting", "Training", "Completed"]
    assert details[-1] == {
        "TrainingJobName": "j",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/j",
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "HyperParameters": {"eta": "0.1"},
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": training_request("j")["InputDataConfig"],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "VpcConfig": {},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "CreationTime": f"{NOON}000",
        "TrainingStartTime": f"{NOON}000",
        "TrainingEndTime": f"{NOON + 2}000",
        "LastModifiedTime": f"{NOON + 2}000",
        "SecondaryStatusTransitions": details[-1]["SecondaryStatusTransitions"],
        "Tags": {"k": "v"},
    }
    assert lab.aws.events[-1].resource == details[-1]["TrainingJobArn"]


def test_a_failed_training_event_has_its_reason(lab: Lab) -> None:
    lab.call("CreateTrainingJob", **training_request("j"))
    lab.clock.advance(1)
    lab.executor.jobs[0].report.done(JobOutcome("Failed", failure_reason="AlgorithmError: 1"))
    assert lab.aws.details("Training Job")[-1]["FailureReason"] == "AlgorithmError: 1"


def test_processing_events_write_times_as_integers_and_enums_without_case(lab: Lab) -> None:
    lab.call("CreateProcessingJob", **PROCESSING)
    lab.clock.advance(5)
    lab.executor.jobs[0].complete()
    first, last = lab.aws.details("Processing Job")
    assert (first["ProcessingJobStatus"], last["ProcessingJobStatus"]) == ("InProgress", "Completed")
    source = last["ProcessingInputs"][0]["S3Input"]
    assert (source["S3DataType"], source["S3InputMode"], source["S3DataDistributionType"]) == (
        "S3_PREFIX",
        "FILE",
        "FULLYREPLICATED",
    )
    assert last["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] == "END_OF_JOB"
    assert last["ExperimentConfig"] == {}
    times = ["CreationTime", "ProcessingStartTime", "ProcessingEndTime", "LastModifiedTime"]
    assert [last[name] for name in times] == [NOON * 1000, NOON * 1000, (NOON + 5) * 1000, (NOON + 5) * 1000]
    assert all(type(last[name]) is int for name in times)
    description = lab.call("DescribeProcessingJob", ProcessingJobName="p")
    assert description["ProcessingInputs"] == PROCESSING["ProcessingInputs"]


def test_transform_events_write_iso_times(lab: Lab) -> None:
    lab.model("m")
    lab.call("CreateTransformJob", **TRANSFORM)
    lab.clock.advance(5)
    lab.executor.jobs[0].complete()
    last = lab.aws.details("Transform Job")[-1]
    assert (last["TransformJobStatus"], last["TransformEndTime"]) == ("Completed", "2026-01-31T12:00:05Z")


def test_endpoint_events_shout_the_status_and_write_times_as_floats(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("m")})
    lab.call("CreateEndpoint", EndpointName="E", EndpointConfigName="v1", Tags=[{"Key": "k", "Value": "v"}])
    lab.clock.advance(120)
    first, last = lab.aws.details("Endpoint")
    assert first["EndpointStatus"] == "CREATING"
    assert last == {
        "EndpointName": "E",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e",
        "EndpointConfigName": "v1",
        "ProductionVariants": [
            {
                "VariantName": "blue",
                "CurrentWeight": 1.0,
                "DesiredWeight": 1.0,
                "CurrentInstanceCount": 2.0,
                "DesiredInstanceCount": 2.0,
            }
        ],
        "EndpointStatus": "IN_SERVICE",
        "CreationTime": NOON * 1000.0,
        "LastModifiedTime": (NOON + 120) * 1000.0,
        "Tags": {"k": "v"},
    }
    assert type(last["CreationTime"]) is float
    lab.call("DeleteEndpoint", EndpointName="E")
    assert lab.aws.details("Endpoint")[-1]["EndpointStatus"] == "DELETING"


def test_a_guarded_deployment_tells_its_progress(lab: Lab) -> None:
    for version in ("v1", "v2"):
        lab.config(version, {"blue": lab.model(version)})
    lab.endpoint("e", "v1")
    lab.aws.alarms["a"] = "OK"
    lab.call(
        "UpdateEndpoint", EndpointName="e", EndpointConfigName="v2", DeploymentConfig=canary(wait=600, alarms=["a"])
    )
    lab.clock.advance(130)
    baking = lab.aws.details("Endpoint Deployment")[-1]
    assert baking["EndpointStatus"] == "UPDATING"
    assert baking["EndpointConfigName"] == "v1"
    assert baking["CreationTime"] == NOON * 1000
    assert baking["PendingDeploymentSummary"] == {
        "EndpointConfigName": "v2",
        "StartTime": (NOON + 120) * 1000,
        "ProductionVariants": [
            {
                "VariantName": "blue",
                "CurrentWeight": 1.0,
                "DesiredWeight": 1.0,
                "CurrentInstanceCount": 1,
                "DesiredInstanceCount": 2,
                "VariantStatus": [
                    {
                        "Status": "Baking",
                        "StatusMessage": "Baking for 600 seconds (WaitIntervalInSeconds) with traffic enabled on "
                        "canary capacity of 1 instance(s).",
                        "StartTime": (NOON + 240) * 1000,
                    }
                ],
            }
        ],
    }
    lab.aws.alarms["a"] = "ALARM"
    lab.clock.advance(60)
    assert [detail["EndpointStatus"] for detail in lab.aws.details("Endpoint")] == [
        "CREATING",
        "IN_SERVICE",
        "UPDATING",
        "ROLLING_BACK",
        "IN_SERVICE",
    ]
    last = lab.aws.details("Endpoint Deployment")[-1]
    assert (last["EndpointStatus"], last["EndpointConfigName"]) == ("IN_SERVICE", "v1")
    assert "PendingDeploymentSummary" not in last


def test_a_change_of_capacity_shows_in_the_variants_themselves(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("m")})
    lab.endpoint("e", "v1")
    wishes = [{"VariantName": "blue", "DesiredInstanceCount": 3}]
    lab.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wishes)
    (detail,) = lab.aws.details("Endpoint Deployment")
    assert detail["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Updating"
    assert "PendingDeploymentSummary" not in detail


def registered(lab: Lab) -> str:
    lab.call("CreateModelPackageGroup", ModelPackageGroupName="g")
    return str(
        lab.call("CreateModelPackage", ModelPackageGroupName="g", ModelPackageDescription="x")["ModelPackageArn"]
    )


def test_a_registration_event_has_no_updated_fields(lab: Lab) -> None:
    arn = registered(lab)
    assert lab.aws.details("Model Package") == [
        {
            "ModelPackageGroupName": "g",
            "ModelPackageVersion": 1,
            "ModelPackageArn": arn,
            "ModelPackageDescription": "x",
            "CreationTime": "2026-01-31T12:00:00Z",
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CertifyForMarketplace": False,
            "ModelApprovalStatus": "PendingManualApproval",
        }
    ]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"ModelApprovalStatus": "Approved"}, ["ModelApprovalStatus"]),
        ({"ApprovalDescription": "words"}, ["ApprovalDescription"]),
        ({"ModelLifeCycle": {"Stage": "S", "StageStatus": "A"}}, ["ModelLifeCycle"]),
        ({"CustomerMetadataProperties": {"a": "b"}}, ["CustomerMetadataProperties"]),
        ({"SourceUri": "s3://bucket/x"}, ["sourceUri"]),
        (
            {"ModelApprovalStatus": "Rejected", "ApprovalDescription": "no"},
            ["ModelApprovalStatus", "ApprovalDescription"],
        ),
    ],
)
def test_an_update_event_names_what_was_updated(lab: Lab, change: dict[str, Any], fields: list[str]) -> None:
    """peers.md finding 6: only so a real approval is told from an edited description."""
    lab.call("UpdateModelPackage", ModelPackageArn=registered(lab), **change)
    detail = lab.aws.details("Model Package")[-1]
    assert detail["UpdatedModelPackageFields"] == fields
    assert detail["LastModifiedTime"] == "2026-01-31T12:00:00Z"


def test_events_may_come_twice() -> None:
    """T-02: AWS says that duplicates are normal."""
    lab = Lab(duplicate_events=1.0)
    registered(lab)
    first, second = lab.aws.events
    assert first == second
    lab = Lab(duplicate_events=0.5)
    for number in range(100):
        lab.call("CreateModelPackageGroup", ModelPackageGroupName=f"g{number}")
        lab.call("CreateModelPackage", ModelPackageGroupName=f"g{number}")
    assert 120 < len(lab.aws.events) < 180


def test_a_neighbour_may_call_back_while_it_gets_an_event(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events leave after the state's lock is free, in order."""
    seen: list[str] = []
    keep = lab.aws.put_event

    def put_event(detail_type: str, detail: Mapping[str, Any], arn: str) -> None:
        keep(detail_type, detail, arn)
        seen.append(lab.call("DescribeModelPackage", ModelPackageName=arn)["ModelApprovalStatus"])
        if seen == ["PendingManualApproval"]:
            lab.call("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved")

    monkeypatch.setattr(lab.aws, "put_event", put_event)
    registered(lab)
    assert seen == ["PendingManualApproval", "Approved"]


def test_nothing_goes_out_while_the_state_is_locked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour that waits for another caller of ours would wait for ever."""
    depths: list[int] = []
    monkeypatch.setattr(lab.aws, "put_event", lambda *_: depths.append(lab.sagemaker._world._depth))
    lab.executor.on_job = lambda job: job.complete()
    lab.call("CreateTrainingJob", **training_request("j"))
    lab.clock.advance(0)
    assert depths == [0, 0]


def test_a_neighbour_that_fails_fails_no_call(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """peers.md finding 5b: SageMaker's events are best effort; what happened stays true without them."""

    def lost(*_: object) -> None:
        raise ConnectionError("the bus is gone")

    monkeypatch.setattr(lab.aws, "put_event", lost)
    arn = registered(lab)
    assert lab.call("DescribeModelPackage", ModelPackageName=arn)["ModelPackageStatus"] == "Completed"
    assert "the bus is gone" in caplog.text
