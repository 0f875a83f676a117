"""Data that is too large for a function: a processing job checks and prepares it with the same code (DV-01, F24)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.flights import data as flights
from tests.workflow.conftest import World
from tests.workflow.test_retrain_training import begin, ended_as, run_of

JOB = "Check and prepare the data in a job"
SMALL = {"processing": {"above_bytes": 1000}}


def job_of(world: World, run: str, model: str) -> dict[str, Any]:
    name = f"linnet-{model}-{run}-data"
    return dict(world.sagemaker.describe_processing_job(ProcessingJobName=name))


@pytest.fixture(scope="module")
def large(world: World) -> str:
    """Onboard a model for which a kilobyte is too much."""
    assert world.onboard("large", data=SMALL, approval={"automatic": 0.86})["status"] == "SUCCEEDED"
    return "large"


def test_a_job_writes_what_the_functions_would_have_written_to_the_byte(world: World, large: str) -> None:
    world.onboard("small", approval={"automatic": 0.86})
    ended = {model: world.follow(begin(world, model)) for model in (large, "small")}

    assert {model: end["status"] for model, end in ended.items()} == {large: "SUCCEEDED", "small": "SUCCEEDED"}
    assert ended[large]["states"][3:9] == [
        "Does the data fit in a function?", "Plan the processing job", JOB,
        "Validate the data", "Is the data good enough?", "Prepare the data",
    ]  # fmt: skip
    assert JOB not in ended["small"]["states"]
    runs = {model: str(run_of(world, model)["run"]) for model in (large, "small")}
    for folder in ("processed-data", "baselines"):
        made = {}
        for model, run in runs.items():
            prefix = f"{folder}/{model}/{run}/"
            listed = world.s3.list_objects_v2(Bucket=world.out["DataBucket"], Prefix=prefix)["Contents"]
            made[model] = {o["Key"].removeprefix(prefix): world.get(o["Key"]) for o in listed}
        assert made[large] == made["small"]
        assert len(made[large]) >= 2
    reports = {
        model: json.loads(world.get(f"results/{model}/{run}/validation_report.json")) for model, run in runs.items()
    }
    assert reports[large]["batches"] == reports["small"]["batches"]
    job = job_of(world, runs[large], large)
    assert (job["ProcessingJobStatus"], job["ProcessingResources"]["ClusterConfig"]["InstanceType"]) == (
        "Completed", "ml.m5.4xlarge",
    )  # fmt: skip
    assert "sagemaker-scikit-learn:1.9-0-cpu-py3" in job["AppSpecification"]["ImageUri"]


def test_ex_01_ex_02_the_run_is_a_trial_of_its_jobs_and_the_trainings_component_shows_what_it_was(
    world: World, large: str
) -> None:
    run = next(r for r in world.rows(f"model/{large}", "run#") if r["state"] == "approved")
    trial, sagemaker = f"linnet-{large}-{run['run']}", world.sagemaker
    assert run["experiment"] == {"ExperimentName": f"linnet-{large}", "TrialName": trial}
    assert [t["TrialName"] for t in sagemaker.list_trials(ExperimentName=f"linnet-{large}")["TrialSummaries"]] == [
        trial
    ]
    steps = sagemaker.list_trial_components(TrialName=trial)["TrialComponentSummaries"]
    assert {s["DisplayName"]: s["Status"]["PrimaryStatus"] for s in steps} == dict.fromkeys(
        ("data", "training", "candidate"), "Completed"
    )
    shown = sagemaker.describe_trial_component(TrialComponentName=f"{trial}-aws-training-job")
    candidate = world.rows(f"model/{large}", "candidate#")[0]
    used = {n: value if isinstance(value, str) else float(value) for n, value in run["hyperparameters"].items()}
    assert {name: value for name in used for value in shown["Parameters"][name].values()} == used
    assert shown["Parameters"]["SageMaker.InstanceType"]["StringValue"].startswith("ml.")
    assert "validation:auc" in {m["MetricName"] for m in shown["Metrics"]}
    data = f"s3://{world.out['DataBucket']}/processed-data/{large}/{run['run']}/train/"
    assert shown["InputArtifacts"]["train"]["Value"].startswith(data)
    assert shown["OutputArtifacts"]["SageMaker.ModelArtifact"]["Value"] == candidate["artifact"]
    assert shown["EndTime"] >= shown["StartTime"]
    package = sagemaker.describe_model_package(ModelPackageName=candidate["package_arn"])
    assert package["CustomerMetadataProperties"]["sagemaker_trial"] == trial


def test_dv_01_a_job_refuses_bad_data_with_the_rules_named_and_prepares_nothing(world: World, large: str) -> None:
    known = world.known("retrain")
    world.batch(large, "b9", flights.batch(season="winter", rows=1500, part=2, damaged=True))
    ended = world.execution("retrain", known, model=large)
    run = run_of(world, large)

    assert (ended["status"], ended["error"]) == ("FAILED", "DataRefused")
    assert "Completeness" in ended["cause"]
    assert JOB in ended["states"]
    assert json.loads(world.get(f"results/{large}/{run['run']}/processing.json"))["prepared"] is None
    batch = world.row(f"model/{large}", "batch#b9")
    assert batch is not None
    assert batch["state"] == "refused"


def test_a_job_that_cannot_do_its_work_ends_the_run_with_what_it_said(world: World) -> None:
    model = "unsplit"
    world.onboard(model, data=SMALL | {"holdout": 1e-9})  # so small that no entity of these lies in it
    ended = world.follow(begin(world, model))

    assert (ended["status"], ended["error"]) == ("FAILED", "ProcessingFailed")
    why = ended_as(world, model, "failed")
    assert "BadInputError: rows for the holdout of the newest batch" in why
    assert "processing job" in why


def test_f30_a_processing_job_stopped_by_a_person_ends_the_run_as_stopped(world: World) -> None:
    model = "dropped"
    world.onboard(model, data=SMALL)
    arn = begin(world, model)

    def working() -> str:
        run = run_of(world, model)["run"] if world.rows(f"model/{model}", "run#") else ""
        name = f"linnet-{model}-{run}-data"
        listed = world.sagemaker.list_processing_jobs(NameContains=f"linnet-{model}-")["ProcessingJobSummaries"]
        return name if listed and listed[0]["ProcessingJobStatus"] == "InProgress" else ""

    world.sagemaker.stop_processing_job(ProcessingJobName=world.wait("a working processing job", working))
    ended = world.follow(arn)

    assert (ended["status"], ended["error"]) == ("FAILED", "RunStopped")
    assert "was stopped by a person" in ended_as(world, model, "stopped")
