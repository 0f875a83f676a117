"""Hyperparameter tuning jobs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.api import ApiError
from local.sagemaker.ports import JobOutcome
from local.sagemaker.tuning import draw
from tests.sagemaker.doubles import Lab, training_request

RANGES = {
    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "2", "MaxValue": "9"}],
    "ContinuousParameterRanges": [
        {"Name": "eta", "MinValue": "0.001", "MaxValue": "0.5", "ScalingType": "Logarithmic"}
    ],
    "CategoricalParameterRanges": [{"Name": "booster", "Values": ["gbtree", "dart"]}],
}


def create(lab: Lab, name: str = "t", *, strategy: str = "Random", ranges: Any = None, **limits: int) -> None:
    definition = training_request("ignored")
    del definition["TrainingJobName"]
    config = {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
        "ResourceLimits": {"MaxParallelTrainingJobs": 2, **limits},
        "ParameterRanges": RANGES if ranges is None else ranges,
    }
    lab.call(
        "CreateHyperParameterTuningJob",
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=config,
        TrainingJobDefinition={**definition, "StaticHyperParameters": {"num_round": "50"}},
    )
    lab.clock.advance(0)


def describe(lab: Lab) -> dict[str, Any]:
    return lab.call("DescribeHyperParameterTuningJob", HyperParameterTuningJobName="t")


def end(lab: Lab, number: int, auc: float | None) -> None:
    job = lab.executor.jobs[number]
    if auc is None:
        job.report.done(JobOutcome("Failed", failure_reason="AlgorithmError"))
    else:
        job.report.metric("validation:auc", auc)
        job.complete()
    lab.clock.advance(0)


def test_a_tuning_job_runs_its_jobs_a_few_at_a_time_and_names_the_best(lab: Lab) -> None:
    create(lab, MaxNumberOfTrainingJobs=5)
    assert len(lab.executor.jobs) == 2
    for number, auc in enumerate([0.7, 0.9, None, 0.8]):
        end(lab, number, auc)
        running = describe(lab)
        assert running["HyperParameterTuningJobStatus"] == "InProgress"
        assert running["TrainingJobStatusCounters"]["InProgress"] <= 2
    end(lab, 4, 0.6)
    found = describe(lab)
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    counters = {"Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 1, "Stopped": 0}
    assert found["TrainingJobStatusCounters"] == counters
    assert found["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 1}
    best = found["BestTrainingJob"]
    assert best["TrainingJobName"] == lab.executor.jobs[1].request["TrainingJobName"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 0.9
    request = lab.executor.jobs[1].request["HyperParameters"]
    assert request == best["TunedHyperParameters"] | {"num_round": "50", "_tuning_objective_metric": "validation:auc"}
    training = lab.call("DescribeTrainingJob", TrainingJobName=best["TrainingJobName"])
    assert training["TuningJobArn"] == found["HyperParameterTuningJobArn"]
    sort = {"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Descending"}
    listed = lab.call("ListTrainingJobsForHyperParameterTuningJob", HyperParameterTuningJobName="t", **sort)
    values = [item["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for item in listed["TrainingJobSummaries"]]
    assert values == [0.9, 0.8, 0.7, 0.6]
    summaries = lab.call("ListHyperParameterTuningJobs")["HyperParameterTuningJobSummaries"]
    assert [item["Strategy"] for item in summaries] == ["Random"]
    states = [detail["HyperParameterTuningJobStatus"] for detail in lab.aws.details("HyperParameter Tuning Job")]
    assert states == ["InProgress", "Completed"]
    assert lab.aws.details("HyperParameter Tuning Job")[0]["CreationTime"] == "1769860800000"


def test_a_tuning_job_without_any_success_failed(lab: Lab) -> None:
    create(lab, MaxNumberOfTrainingJobs=2)
    end(lab, 0, None)
    end(lab, 1, float("nan"))
    assert describe(lab)["HyperParameterTuningJobStatus"] == "Failed"


def test_stopping_a_tuning_job_stops_its_jobs_and_starts_no_more(lab: Lab) -> None:
    create(lab, MaxNumberOfTrainingJobs=9)
    lab.call("StopHyperParameterTuningJob", HyperParameterTuningJobName="t")
    lab.clock.advance(1)
    assert [job.stopped for job in lab.executor.jobs] == [True, True]
    assert describe(lab)["HyperParameterTuningJobStatus"] == "Stopped"
    with pytest.raises(ApiError, match="Stopped"):
        lab.call("StopHyperParameterTuningJob", HyperParameterTuningJobName="t")


def test_a_grid_tries_every_combination_once(lab: Lab) -> None:
    lab.executor.on_job = lambda job: job.complete()
    values = [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y", "z"]}]
    create(lab, strategy="Grid", ranges={"CategoricalParameterRanges": values})
    tried = {(job.request["HyperParameters"]["a"], job.request["HyperParameters"]["b"]) for job in lab.executor.jobs}
    assert len(tried) == len(lab.executor.jobs) == 6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"strategy": "Bayesian", "MaxNumberOfTrainingJobs": 2}, "NotEmulatedException.*Bayesian"),
        ({}, "ValidationException.*MaxNumberOfTrainingJobs"),
        ({"strategy": "Grid"}, "ValidationException.*CategoricalParameterRanges"),
        (
            {
                "MaxNumberOfTrainingJobs": 2,
                "ranges": {"IntegerParameterRanges": [{"Name": "n", "MinValue": "5", "MaxValue": "2"}]},
            },
            "ValidationException.*'n'.*5.*2",
        ),
    ],
)
def test_a_wrong_tuning_job_leaves_nothing_behind(lab: Lab, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        create(lab, **more)
    assert lab.call("ListTrainingJobs")["TrainingJobSummaries"] == []
    create(lab, MaxNumberOfTrainingJobs=1)
    with pytest.raises(
        ApiError, match=r"ResourceInUse: .* with the name, \S+, already exists\. Choose a different name\.$"
    ):
        create(lab, MaxNumberOfTrainingJobs=1)


@given(st.integers(), st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]))
def test_draws_stay_within_their_range(seed: int, scale: str) -> None:
    item = {"Name": "x", "MinValue": "0.01", "MaxValue": "0.99", "ScalingType": scale}
    whole = {"Name": "n", "MinValue": "3", "MaxValue": "5"}
    ranges = {"ContinuousParameterRanges": [item], "IntegerParameterRanges": [whole]}
    drawn = draw(ranges, random.Random(seed))
    assert 0.01 <= float(drawn["x"]) <= 0.99
    assert drawn["n"] in {"3", "4", "5"}
