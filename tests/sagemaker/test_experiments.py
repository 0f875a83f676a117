"""Experiments, trials, and the component that every job gets by itself."""

from __future__ import annotations

from typing import Any

import pytest

from local.sagemaker.ports import JobOutcome
from tests.sagemaker.doubles import IMAGE, Lab, training_request
from tests.sagemaker.test_jobs import PROCESSING, TRANSFORM

IN_TRIAL = {"ExperimentName": "e", "TrialName": "t-1", "TrialComponentDisplayName": "training"}


@pytest.fixture
def lab() -> Lab:
    """Return a SageMaker with an experiment of one trial."""
    made = Lab()
    made.call("CreateExperiment", ExperimentName="e", Tags=[{"Key": "project", "Value": "linnet"}])
    made.call("CreateTrial", TrialName="t-1", ExperimentName="e", DisplayName="shown")
    return made


def component(lab: Lab, name: str) -> dict[str, Any]:
    return lab.call("DescribeTrialComponent", TrialComponentName=name)


def names(lab: Lab, **asked: Any) -> list[str]:
    found = lab.call("ListTrialComponents", **asked)["TrialComponentSummaries"]
    return [item["TrialComponentName"] for item in found]


def test_experiments_and_trials_are_described_listed_and_tagged(lab: Lab) -> None:
    lab.clock.advance(1)
    lab.call("CreateTrial", TrialName="t-2", ExperimentName="E")
    trial = lab.call("DescribeTrial", TrialName="T-1")

    assert lab.call("DescribeExperiment", ExperimentName="e")["DisplayName"] == "e"
    assert (trial["TrialName"], trial["DisplayName"], trial["ExperimentName"]) == ("t-1", "shown", "e")
    listed = lab.call("ListTrials", ExperimentName="e")["TrialSummaries"]
    assert [t["TrialName"] for t in listed] == ["t-2", "t-1"]
    page = lab.call("ListTrials", ExperimentName="e", SortBy="Name", SortOrder="Ascending", MaxResults=1)
    rest = lab.call("ListTrials", ExperimentName="e", SortBy="Name", SortOrder="Ascending", NextToken=page["NextToken"])
    assert [t["TrialName"] for t in page["TrialSummaries"] + rest["TrialSummaries"]] == ["t-1", "t-2"]
    late = lab.call("ListTrials", CreatedAfter=trial["CreationTime"])["TrialSummaries"]
    assert [t["TrialName"] for t in late] == ["t-2"]
    (experiment,) = lab.call("ListExperiments")["ExperimentSummaries"]
    assert lab.call("ListTags", ResourceArn=experiment["ExperimentArn"])["Tags"] == [
        {"Key": "project", "Value": "linnet"}
    ]


@pytest.mark.parametrize(
    ("operation", "given", "code"),
    [
        ("CreateExperiment", {"ExperimentName": "E"}, "ValidationException"),
        ("CreateTrial", {"TrialName": "T-1", "ExperimentName": "e"}, "ValidationException"),
        ("CreateTrial", {"TrialName": "new", "ExperimentName": "none"}, "ResourceNotFound"),
        ("CreateTrial", {"TrialName": "a.b", "ExperimentName": "e"}, "ValidationException"),
        ("DescribeExperiment", {"ExperimentName": "none"}, "ResourceNotFound"),
        ("DescribeTrial", {"TrialName": "none"}, "ResourceNotFound"),
        ("DescribeTrialComponent", {"TrialComponentName": "none"}, "ResourceNotFound"),
        ("ListTrials", {"ExperimentName": "none"}, "ResourceNotFound"),
        ("ListTrialComponents", {"TrialName": "none"}, "ResourceNotFound"),
        ("ListTrialComponents", {"TrialName": "t-1", "ExperimentName": "e"}, "ValidationException"),
        ("AssociateTrialComponent", {"TrialName": "t-1", "TrialComponentName": "none"}, "ResourceNotFound"),
        ("DeleteExperiment", {"ExperimentName": "none"}, "ResourceNotFound"),
        ("DeleteExperiment", {"ExperimentName": "e"}, "ValidationException"),
        ("CreateTrialComponent", {"TrialComponentName": "c"}, "NotEmulatedException"),
        ("Search", {"Resource": "ExperimentTrialComponent"}, "NotEmulatedException"),
    ],
)
def test_what_is_taken_missing_or_not_empty_is_refused(lab: Lab, operation: str, given: Any, code: str) -> None:
    assert lab.refused(operation, **given) == code


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"ExperimentName": "e", "TrialName": "none"}, "ResourceNotFound"),
        ({"ExperimentName": "none", "TrialName": "t-1"}, "ResourceNotFound"),
        ({"ExperimentName": "other", "TrialName": "t-1"}, "ValidationException"),
        ({"ExperimentName": "e"}, "NotEmulatedException"),
        ({"TrialName": "t-1", "RunName": "r"}, "NotEmulatedException"),
    ],
)
def test_a_job_that_names_no_real_trial_is_refused_and_nothing_is_kept(lab: Lab, config: Any, code: str) -> None:
    lab.call("CreateExperiment", ExperimentName="other")
    lab.model("m")
    for operation, request in (
        ("CreateTrainingJob", training_request("j")), ("CreateProcessingJob", PROCESSING),
        ("CreateTransformJob", TRANSFORM),
    ):  # fmt: skip
        assert lab.refused(operation, **request, ExperimentConfig=config) == code

    assert lab.call("ListTrainingJobs")["TrainingJobSummaries"] == []
    assert names(lab) == []


def test_ex_02_a_training_jobs_component_shows_what_went_in_what_came_out_and_how_it_went(lab: Lab) -> None:
    request = training_request(
        "j", HyperParameters={"eta": "0.1", "objective": "binary:logistic", "seed": "nan"}, ExperimentConfig=IN_TRIAL
    )
    lab.call("CreateTrainingJob", **request)
    lab.clock.advance(0)
    running = component(lab, "j-aws-training-job")
    report = lab.executor.jobs[0].report
    for value in (0.5, 0.9, 0.7):
        lab.clock.advance(1)
        report.metric("validation:auc", value)
    lab.executor.jobs[0].complete(model_artifacts="s3://bucket/models/j/output/model.tar.gz")
    ended = component(lab, "j-aws-training-job")

    assert running["Status"]["PrimaryStatus"] == "InProgress"
    assert "EndTime" not in running
    assert "OutputArtifacts" not in running or running["OutputArtifacts"] == {}
    assert running["Source"] == {
        "SourceArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/j", "SourceType": "SageMakerTrainingJob",
    }  # fmt: skip
    assert (ended["DisplayName"], ended["Status"]["PrimaryStatus"]) == ("training", "Completed")
    assert ended["EndTime"] - ended["StartTime"] == 3
    assert ended["Parameters"] == {
        "eta": {"NumberValue": 0.1}, "objective": {"StringValue": "binary:logistic"}, "seed": {"StringValue": "nan"},
        "SageMaker.InstanceType": {"StringValue": "ml.m5.large"}, "SageMaker.InstanceCount": {"NumberValue": 1.0},
        "SageMaker.VolumeSizeInGB": {"NumberValue": 10.0}, "SageMaker.ImageUri": {"StringValue": IMAGE},
    }  # fmt: skip
    assert ended["InputArtifacts"] == {"train": {"Value": "s3://bucket/train/"}}
    assert ended["OutputArtifacts"] == {
        "SageMaker.ModelArtifact": {"Value": "s3://bucket/models/j/output/model.tar.gz"}
    }
    (metric,) = ended["Metrics"]
    assert (metric["MetricName"], metric["Count"], metric["Last"], metric["Min"], metric["Max"]) == (
        "validation:auc", 3, 0.7, 0.5, 0.9,
    )  # fmt: skip
    assert metric["Avg"] == pytest.approx(0.7)
    assert metric["StdDev"] == pytest.approx(0.1633, abs=1e-4)


def test_components_of_transform_and_processing_jobs_show_model_machine_and_places(lab: Lab) -> None:
    lab.model("m")
    lab.call("CreateProcessingJob", **PROCESSING, ExperimentConfig=IN_TRIAL)
    lab.call("CreateTransformJob", **TRANSFORM, ExperimentConfig=IN_TRIAL)
    lab.clock.advance(0)
    lab.executor.jobs[0].report.done(JobOutcome("Failed", failure_reason="AlgorithmError: no such file"))
    processing, transform = component(lab, "p-aws-processing-job"), component(lab, "t-aws-transform-job")

    assert processing["Status"] == {
        "PrimaryStatus": "Failed", "Message": "Status: Failed, failure reason: AlgorithmError: no such file",
    }  # fmt: skip
    assert processing["InputArtifacts"] == {
        "SageMaker.ImageUri": {"Value": IMAGE}, "in": {"Value": "s3://bucket/in"},
    }  # fmt: skip
    assert processing["OutputArtifacts"] == {"out": {"Value": "s3://b/o"}}
    assert transform["Parameters"]["SageMaker.ModelPrimary.DataUrl"] == {"StringValue": "s3://bucket/m/model.tar.gz"}
    assert transform["InputArtifacts"]["SageMaker.TransformInput"] == {"Value": "s3://bucket/in"}
    assert transform["OutputArtifacts"]["SageMaker.TransformOutput"] == {"Value": "s3://bucket/out"}
    assert {processing["Source"]["SourceType"], transform["Source"]["SourceType"]} == {
        "SageMakerProcessingJob", "SageMakerTransformJob",
    }  # fmt: skip


def test_ex_01_a_trial_has_the_components_of_its_jobs_and_no_others(lab: Lab) -> None:
    lab.model("m")
    lab.call("CreateTrial", TrialName="t-2", ExperimentName="e")
    lab.call("CreateTrainingJob", **training_request("alone"))
    lab.call("CreateTrainingJob", **training_request("j", ExperimentConfig={"TrialName": "t-1"}))
    lab.call("CreateTransformJob", **TRANSFORM, ExperimentConfig=IN_TRIAL)
    lab.call("CreateProcessingJob", **PROCESSING, ExperimentConfig=IN_TRIAL | {"TrialName": "t-2"})

    assert sorted(names(lab, TrialName="t-1")) == ["j-aws-training-job", "t-aws-transform-job"]
    assert len(names(lab, ExperimentName="e")) == 3
    assert len(names(lab)) == 4
    source = component(lab, "alone-aws-training-job")["Source"]["SourceArn"]
    assert names(lab, SourceArn=source) == ["alone-aws-training-job"]
    within = lab.call("ListTrials", TrialComponentName="p-aws-processing-job")["TrialSummaries"]
    assert [t["TrialName"] for t in within] == ["t-2"]
    config = lab.call("DescribeTransformJob", TransformJobName="t")["ExperimentConfig"]
    assert config == IN_TRIAL


def test_an_experiment_is_taken_down_from_its_components_upwards_only(lab: Lab) -> None:
    lab.call("CreateTrainingJob", **training_request("j", ExperimentConfig=IN_TRIAL))
    both = {"TrialName": "t-1", "TrialComponentName": "j-aws-training-job"}
    mine = {"TrialComponentName": "j-aws-training-job"}

    assert lab.refused("DeleteTrialComponent", **mine) == "ValidationException"
    assert lab.refused("DeleteTrial", TrialName="t-1") == "ValidationException"
    lab.call("DisassociateTrialComponent", **both)
    lab.call("DisassociateTrialComponent", **both)
    lab.call("AssociateTrialComponent", **both)
    assert lab.refused("DeleteTrial", TrialName="t-1") == "ValidationException"
    lab.call("DisassociateTrialComponent", **both)
    lab.call("DeleteTrialComponent", **mine)
    assert lab.refused("DeleteExperiment", ExperimentName="e") == "ValidationException"
    lab.call("DeleteTrial", TrialName="t-1")
    lab.call("DeleteExperiment", ExperimentName="e")
    assert lab.refused("DeleteTrialComponent", **mine) == "ResourceNotFound"
    assert lab.call("ListExperiments")["ExperimentSummaries"] == []
    lab.clock.advance(0)
    lab.executor.jobs[0].complete()  # the job goes on without its component
    assert lab.call("DescribeTrainingJob", TrainingJobName="j")["TrainingJobStatus"] == "Completed"
