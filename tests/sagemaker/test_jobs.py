"""Training, processing and transform jobs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from local.sagemaker.api import ApiError
from local.sagemaker.core import Timings
from local.sagemaker.ports import JobOutcome
from tests.sagemaker.doubles import IMAGE, ROLE, FakeJob, Lab, training_request

SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200},
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/"},
}
PROCESSING = {
    "ProcessingJobName": "p",
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
    "AppSpecification": {"ImageUri": IMAGE},
    "RoleArn": ROLE,
    "ProcessingInputs": [
        {
            "InputName": "in",
            "S3Input": {
                "S3Uri": "s3://bucket/in",
                "LocalPath": "/opt/ml/processing/input",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
                "S3DataDistributionType": "FullyReplicated",
            },
        }
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "S3Output": {"S3Uri": "s3://b/o", "LocalPath": "/opt/ml/o", "S3UploadMode": "EndOfJob"},
            }
        ]
    },
}
TRANSFORM = {
    "TransformJobName": "t",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}},
    "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}


def start(lab: Lab, name: str = "j", **more: Any) -> FakeJob:
    lab.call("CreateTrainingJob", **training_request(name, **more))
    lab.clock.advance(0)
    return lab.executor.jobs[-1]


def test_a_training_job_goes_its_way_to_completed_with_metrics_and_artifact(lab: Lab) -> None:
    job = start(lab)
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("InProgress", "Starting")
    assert "ModelArtifacts" not in description
    for status in ("Downloading", "Training", "Uploading"):
        lab.clock.advance(10)
        job.report.secondary(status, f"{status} now")
    job.report.metric("validation:auc", 0.8)
    job.report.metric("validation:auc", 0.9)
    lab.clock.advance(10)
    job.complete(model_artifacts="s3://bucket/models/j/output/model.tar.gz", seconds=41.2)
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert description["TrainingJobStatus"] == description["SecondaryStatus"] == "Completed"
    assert description["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/models/j/output/model.tar.gz"}
    assert [(m["MetricName"], m["Value"]) for m in description["FinalMetricDataList"]] == [("validation:auc", 0.9)]
    steps = description["SecondaryStatusTransitions"]
    assert [step["Status"] for step in steps] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(before["EndTime"] == after["StartTime"] for before, after in itertools.pairwise(steps))
    assert description["TrainingEndTime"] - description["TrainingStartTime"] == 40.0
    assert (description["TrainingTimeInSeconds"], description["BillableTimeInSeconds"]) == (42, 42)
    assert lab.aws.values("validation:auc", TrainingJobName="j") == [0.8, 0.9]


def test_a_job_name_is_taken_for_ever(lab: Lab) -> None:
    """F28: the name is the idempotency key."""
    start(lab).complete()
    with pytest.raises(ApiError) as refusal:
        lab.call("CreateTrainingJob", **training_request("j"))
    assert (refusal.value.code, refusal.value.status) == ("ResourceInUse", 400)
    assert "training-job/j" in refusal.value.message


def test_names_of_processing_and_transform_jobs_are_unique_too(lab: Lab) -> None:
    lab.model("m")
    for operation, request in (("CreateProcessingJob", PROCESSING), ("CreateTransformJob", TRANSFORM)):
        lab.call(operation, **request)
        with pytest.raises(ApiError, match="ResourceInUse"):
            lab.call(operation, **request)


def test_a_failed_job_says_why(lab: Lab) -> None:
    """F31."""
    start(lab).report.done(JobOutcome("Failed", failure_reason="AlgorithmError: exit code 1"))
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Failed", "Failed")
    assert description["FailureReason"] == "AlgorithmError: exit code 1"


def test_what_the_executor_refuses_is_a_failed_job(lab: Lab) -> None:
    lab.executor.refusal = ValueError("no such image")
    lab.call("CreateTrainingJob", **training_request("j"))
    lab.clock.advance(0)
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["FailureReason"]) == ("Failed", "ClientError: no such image")


def test_a_stopped_job_may_leave_a_model(lab: Lab) -> None:
    """F30: Stopped is not "no artifact"."""
    job = start(lab)
    job.stops_at_once = False
    lab.call("StopTrainingJob", TrainingJobName="j")
    assert job.stopped
    assert lab.call("DescribeTrainingJob", TrainingJobName="j")["TrainingJobStatus"] == "Stopping"
    lab.call("StopTrainingJob", TrainingJobName="j")
    job.complete(model_artifacts="s3://bucket/half.tar.gz")
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert description["ModelArtifacts"]["S3ModelArtifacts"] == "s3://bucket/half.tar.gz"


def test_an_ended_job_cannot_be_stopped(lab: Lab) -> None:
    start(lab).complete()
    with pytest.raises(ApiError, match=r"ValidationException.*status Completed"):
        lab.call("StopTrainingJob", TrainingJobName="j")
    with pytest.raises(ApiError, match="Requested resource not found"):
        lab.call("StopTrainingJob", TrainingJobName="never")


def test_a_job_stopped_before_its_start_never_runs() -> None:
    lab = Lab(timings=Timings(job_start=60))
    lab.call("CreateTrainingJob", **training_request("j"))
    lab.call("StopTrainingJob", TrainingJobName="j")
    lab.clock.advance(100)
    assert lab.executor.jobs == []
    assert lab.call("DescribeTrainingJob", TrainingJobName="j")["TrainingJobStatus"] == "Stopped"


def test_a_job_that_runs_too_long_is_stopped(lab: Lab) -> None:
    start(lab).report.done(JobOutcome("MaxRuntimeExceeded", model_artifacts="s3://b/m.tar.gz", seconds=3600))
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert description["ModelArtifacts"]["S3ModelArtifacts"] == "s3://b/m.tar.gz"


def test_an_interrupted_spot_job_runs_again_with_its_checkpoints(lab: Lab) -> None:
    """F29: Interrupted is not failure."""
    first = start(lab, **SPOT)
    lab.sagemaker.interrupt_training_job("j")
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("InProgress", "Interrupted")
    lab.clock.advance(60)
    second = lab.executor.jobs[-1]
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.request["CheckpointConfig"] == first.request["CheckpointConfig"]
    first.report.secondary("Uploading")
    first.report.done(JobOutcome("Failed"))
    second.report.secondary("Training")
    second.complete(seconds=20)
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert description["TrainingJobStatus"] == "Completed"
    assert description["TrainingTimeInSeconds"] == 30
    statuses = [step["Status"] for step in description["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Interrupted", "Starting", "Training", "Completed"]


def test_work_counts_once_over_all_attempts_and_waiting_counts_for_max_wait_only(lab: Lab) -> None:
    first = start(lab, **SPOT)
    first.report.done(JobOutcome("Interrupted", seconds=30))
    lab.clock.advance(60)
    assert lab.executor.jobs[-1].request["StoppingCondition"]["MaxRuntimeInSeconds"] == 70
    lab.executor.jobs[-1].report.done(JobOutcome("Interrupted", seconds=10))
    lab.clock.advance(60)
    assert lab.executor.jobs[-1].request["StoppingCondition"]["MaxRuntimeInSeconds"] == 40
    lab.executor.jobs[-1].report.done(JobOutcome("MaxRuntimeExceeded", seconds=40))
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert description["StoppingCondition"] == SPOT["StoppingCondition"]


def test_no_instance_within_max_wait_ends_the_job() -> None:
    """F29."""
    lab = Lab(timings=Timings(spot_wait=190))
    start(lab, **SPOT)
    lab.sagemaker.interrupt_training_job("j")
    lab.clock.advance(1000)
    description = lab.call("DescribeTrainingJob", TrainingJobName="j")
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert len(lab.executor.jobs) == 1


def test_a_job_can_be_stopped_while_it_waits_for_an_instance(lab: Lab) -> None:
    start(lab, **SPOT)
    lab.sagemaker.interrupt_training_job("j")
    lab.call("StopTrainingJob", TrainingJobName="j")
    lab.clock.advance(1000)
    assert lab.call("DescribeTrainingJob", TrainingJobName="j")["TrainingJobStatus"] == "Stopped"
    assert len(lab.executor.jobs) == 1


def test_only_a_running_spot_job_can_be_interrupted(lab: Lab) -> None:
    start(lab)
    with pytest.raises(ApiError, match="EnableManagedSpotTraining"):
        lab.sagemaker.interrupt_training_job("j")
    start(lab, "s", **SPOT).complete()
    with pytest.raises(ApiError, match="Completed"):
        lab.sagemaker.interrupt_training_job("s")


def test_a_job_that_ends_while_it_is_started_stays_ended(lab: Lab) -> None:
    lab.executor.on_job = lambda job: job.complete()
    start(lab)
    assert lab.call("DescribeTrainingJob", TrainingJobName="j")["TrainingJobStatus"] == "Completed"
    lab.sagemaker.close()
    assert not lab.executor.jobs[0].stopped


def test_a_processing_job_keeps_its_exit_message(lab: Lab) -> None:
    lab.call("CreateProcessingJob", **PROCESSING)
    lab.clock.advance(0)
    job = lab.executor.jobs[-1]
    assert (job.kind, job.request["StoppingCondition"]["MaxRuntimeInSeconds"]) == ("processing", 86400)
    job.report.done(JobOutcome("Completed", exit_message="CompletedWithViolations"))
    description = lab.call("DescribeProcessingJob", ProcessingJobName="p")
    assert (description["ProcessingJobStatus"], description["ExitMessage"]) == ("Completed", "CompletedWithViolations")
    with pytest.raises(ApiError, match="Could not find requested job with name: q"):
        lab.call("DescribeProcessingJob", ProcessingJobName="q")


def test_a_transform_job_runs_an_existing_model(lab: Lab) -> None:
    with pytest.raises(ApiError, match=r'ValidationException: Could not find model "arn.*model/m"'):
        lab.call("CreateTransformJob", **TRANSFORM)
    lab.model("m")
    lab.call("CreateTransformJob", **TRANSFORM)
    lab.clock.advance(0)
    job = lab.executor.jobs[-1]
    assert job.request["Container"]["ModelDataUrl"] == "s3://bucket/m/model.tar.gz"
    assert lab.call("DescribeTransformJob", TransformJobName="t")["TransformJobStatus"] == "InProgress"
    job.complete()
    assert lab.call("DescribeTransformJob", TransformJobName="t")["TransformJobStatus"] == "Completed"
    listed = lab.call("ListTransformJobs", StatusEquals="Completed")["TransformJobSummaries"]
    assert [item["TransformJobName"] for item in listed] == ["t"]


def test_jobs_are_listed_by_name_and_status(lab: Lab) -> None:
    for name in ("a-1", "a-2", "b-1"):
        start(lab, name)
    lab.executor.jobs[0].complete()
    running = lab.call("ListTrainingJobs", NameContains="a-", StatusEquals="InProgress")["TrainingJobSummaries"]
    assert [item["TrainingJobName"] for item in running] == ["a-2"]
    by_name = lab.call("ListTrainingJobs", SortBy="Name", SortOrder="Descending")["TrainingJobSummaries"]
    assert [item["TrainingJobName"] for item in by_name] == ["b-1", "a-2", "a-1"]
    lab.call("CreateProcessingJob", **PROCESSING)
    assert len(lab.call("ListProcessingJobs")["ProcessingJobSummaries"]) == 1


def test_closing_stops_what_runs(lab: Lab) -> None:
    job = start(lab)
    lab.sagemaker.close()
    assert job.stopped
