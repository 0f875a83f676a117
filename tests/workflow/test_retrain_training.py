"""The training half of `retrain` with real jobs: tuned, incremental, stopped by a person, out of spot instances."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from models.flights import data as flights
from tests.workflow.conftest import World

LONG = {"num_round": 20000, "max_depth": 8, "objective": "binary:logistic"}
SCRIPT = b"""
import json, os, pathlib, tarfile
import numpy as np

def model_fn(folder):
    return json.loads((pathlib.Path(folder) / "model.json").read_text())

def input_fn(body, content_type):
    text = body.decode() if isinstance(body, bytes) else body
    return np.array([line.split(",") for line in text.split()], dtype=float)

def predict_fn(rows, model):
    late = rows[:, 0] + (rows[:, 1] - rows[:, 2] if model["trained"] > 1 else 0)
    return 1 / (1 + np.exp(-(late - model["middle"]) / 10))

def output_fn(scores, accept):
    return "".join(f"{score:.8g}\\n" for score in scores), "text/csv"

if __name__ == "__main__":
    rows = []
    for path in sorted(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).glob("*.csv")):
        rows += [line.split(",")[1] for line in path.read_text().split()[1:]]
    model = {"middle": float(np.mean([float(r) for r in rows])), "trained": 1}
    before = os.environ.get("SM_CHANNEL_MODEL")
    if before:
        with tarfile.open(pathlib.Path(before) / "model.tar.gz") as tar:
            old = json.loads(tar.extractfile("model.json").read())
        model = {"middle": (old["middle"] + model["middle"]) / 2, "trained": old["trained"] + 1}
    (pathlib.Path(os.environ["SM_MODEL_DIR"]) / "model.json").write_text(json.dumps(model))
"""


def archive(script: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("train.py")
        entry.size = len(script)
        tar.addfile(entry, io.BytesIO(script))
    return out.getvalue()


def begin(world: World, model: str, rows: int = 1500, batch: str = "b1", part: int = 0) -> str:
    """Upload a batch; return the ARN of the execution that it starts."""
    known = world.known("retrain")
    world.batch(model, batch, flights.batch(season="winter", rows=rows, part=part))
    return str(world.execution("retrain", known, model=model, follow=False)["executionArn"])


def run_of(world: World, model: str) -> dict[str, Any]:
    """Return the row of the model's newest run."""
    return max(world.rows(f"model/{model}", "run#"), key=lambda row: str(row["at"]))


def begun_job(world: World, model: str) -> str:
    """Wait until the run's training job works on its data; return its name."""

    def look() -> str:
        listed = world.sagemaker.list_training_jobs(NameContains=f"linnet-{model}-")["TrainingJobSummaries"]
        if listed:
            name = str(listed[0]["TrainingJobName"])
            found = world.sagemaker.describe_training_job(TrainingJobName=name)
            if (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("InProgress", "Training"):
                return name
        return ""

    return str(world.wait("a working training job", look))


@pytest.fixture(scope="module")
def people(world: World) -> Callable[[str], list[dict[str, Any]]]:
    """Return what finds the messages about a model's failed runs."""
    return lambda model: world.messages("run-failed", model)


def ended_as(world: World, model: str, outcome: str) -> str:
    """Check that row and history say this outcome with one reason, and that the slot is free; return the reason."""
    run = run_of(world, model)
    entries = [e for e in world.rows(f"model/{model}#history") if e["kind"] == "run-ended"]
    slot = world.row(f"model/{model}", "slot")

    assert (run["state"], entries[-1]["detail"]["outcome"]) == (outcome, outcome)
    assert run["why"] == entries[-1]["detail"]["why"]
    assert slot is not None
    assert "owner" not in slot
    assert "cooled_from" not in slot
    return str(run["why"])


def test_hp_01_hp_05_a_tuned_run_registers_the_best_jobs_artifact_with_its_hyperparameters(world: World) -> None:
    model = "tuned"
    ranges = {"eta": {"min": 0.05, "max": 0.3}, "max_depth": {"type": "integer", "min": 1, "max": 5}}
    hyperparameters = {"objective": "binary:logistic", "eval_metric": "auc", "num_round": 40, "eta": 0.1}
    tuning = {"strategy": "Random", "ranges": ranges, "max_jobs": 3, "max_parallel": 2, "early_stopping": False}
    world.onboard(model, training={"hyperparameters": hyperparameters, "tuning": tuning}, approval={"automatic": 0.86})
    ended = world.follow(begin(world, model))

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert "Tune the hyperparameters" in ended["states"]
    assert "Train the model" not in ended["states"]
    run = run_of(world, model)
    described = world.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=f"linnet-{run['run']}")
    best = described["BestTrainingJob"]
    candidate = world.rows(f"model/{model}", "candidate#")[-1]
    assert described["TrainingJobStatusCounters"]["Completed"] == 3
    assert candidate["training_job"] == best["TrainingJobName"]
    assert candidate["tuning_job"] == f"linnet-{run['run']}"
    assert candidate["hyperparameters"] == best["TunedHyperParameters"]
    assert float(run["estimate"]["jobs"]) == 3
    package = world.sagemaker.describe_model_package(ModelPackageName=candidate["package_arn"])
    container = package["InferenceSpecification"]["Containers"][0]
    assert best["TrainingJobName"] in container["ModelDataUrl"]
    kept = package["CustomerMetadataProperties"]
    assert kept["tuning_job"] == candidate["tuning_job"]
    assert kept["hyperparameter.eta"] == best["TunedHyperParameters"]["eta"]


def test_tr_06_an_incremental_run_goes_on_from_the_champions_artifact_and_shows_its_parent(world: World) -> None:
    model = "onward"
    world.put(f"code/{model}/sourcedir.tar.gz", archive(SCRIPT))
    training = {
        "algorithm": "script", "framework_version": "1.2-1", "source": f"code/{model}/sourcedir.tar.gz",
        "hyperparameters": {}, "mode": "incremental", "input_mode": "FastFile",
    }  # fmt: skip
    world.onboard(model, training=training, evaluation={"threshold": 0.6, "overfit_gap": 1.0},
                  approval={"automatic": 0.6, "person": 0.5})  # fmt: skip
    first = world.follow(begin(world, model))
    assert first["status"] == "SUCCEEDED", first.get("cause")
    began = run_of(world, model)
    assert (began["mode"], began["mode_why"]) == ("full", "there is no champion to go on from")
    assert "parent_version" not in began
    world.wait("a champion", lambda: world.row(f"model/{model}", "champion"), 120)

    second = world.follow(begin(world, model, batch="b2", part=1))
    assert second["status"] == "SUCCEEDED", second.get("cause")
    run = run_of(world, model)
    one, two = world.rows(f"model/{model}", "candidate#")
    assert (run["mode"], run["parent_version"]) == ("incremental", one["version"])
    assert (two["mode"], two["parent_version"], two["run"]) == ("incremental", one["version"], run["run"])
    job = world.sagemaker.describe_training_job(TrainingJobName=two["training_job"])
    channels = {c["ChannelName"]: c for c in job["InputDataConfig"]}
    assert channels["model"]["ContentType"] == "application/x-sagemaker-model"
    assert channels["model"]["DataSource"]["S3DataSource"]["S3Uri"] == one["artifact"]
    assert job["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"
    packed = world.get(two["artifact"].split("/", 3)[3])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        inner = tar.extractfile("model.json")
        assert inner is not None
        assert json.loads(inner.read())["trained"] == 2  # it really went on from the first one
    kept = world.sagemaker.describe_model_package(ModelPackageName=two["package_arn"])["CustomerMetadataProperties"]
    assert (kept["mode"], kept["parent_version"]) == ("incremental", str(one["version"]))


def test_f30_a_job_stopped_by_a_person_ends_the_run_as_stopped_and_nothing_starts_again(
    world: World, people: Callable[[str], list[dict[str, Any]]]
) -> None:
    model = "halted"
    world.onboard(model, training={"hyperparameters": LONG})
    arn = begin(world, model, rows=6000)
    world.sagemaker.stop_training_job(TrainingJobName=begun_job(world, model))
    ended = world.follow(arn)

    assert (ended["status"], ended["error"]) == ("FAILED", "RunStopped")
    why = ended_as(world, model, "stopped")
    assert "was stopped by a person" in why
    assert ended["cause"] == why
    told = people(model)
    assert len(told) == 1
    assert why in told[0]["what"]
    assert "ended as stopped" in told[0]["what"]
    assert world.rows(f"model/{model}", "candidate#") == []


def test_f29_a_spot_job_that_gets_no_instance_in_time_ends_as_spot_exhausted_and_says_what_to_raise(
    world: World, people: Callable[[str], list[dict[str, Any]]]
) -> None:
    model = "outbid"
    world.onboard(
        model,
        training={"hyperparameters": LONG, "max_runtime_seconds": 60, "spot": {"max_wait_seconds": 60}},
        retraining={"retries": 0},
    )
    arn = begin(world, model, rows=6000)
    assert world.stack.trouble("interrupt_training_job", name=begun_job(world, model)) == ""
    ended = world.follow(arn)

    assert (ended["status"], ended.get("error")) == ("FAILED", "SpotExhausted"), ended["states"]
    assert "within 60 seconds of waiting" in ended_as(world, model, "spot exhausted")
    told = people(model)
    assert len(told) == 1
    assert "training.spot.max_wait_seconds" in told[0]["next_step"]


SOME = {"num_round": 400, "max_depth": 6, "eta": 0.05, "objective": "binary:logistic"}


def test_tr_03_f29_a_spot_job_that_loses_its_instance_goes_on_and_the_run_knows_no_failure(world: World) -> None:
    model = "resumed"
    world.onboard(model, training={"hyperparameters": SOME}, approval={"automatic": 0.86})
    arn = begin(world, model, rows=6000)
    job = begun_job(world, model)
    assert world.stack.trouble("interrupt_training_job", name=job) == ""
    ended = world.follow(arn)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    steps = world.sagemaker.describe_training_job(TrainingJobName=job)["SecondaryStatusTransitions"]
    assert "Interrupted" in [step["Status"] for step in steps]
    assert ended["states"].count("Train the model") == 1


def test_f29_a_run_that_may_pay_goes_on_once_on_demand_when_no_spot_instance_comes(world: World) -> None:
    model = "paying"
    spot = {"max_wait_seconds": 300, "then_on_demand": True}
    world.onboard(model, training={"hyperparameters": SOME, "max_runtime_seconds": 300, "spot": spot},
                  approval={"automatic": 0.86})  # fmt: skip
    arn = begin(world, model, rows=6000)
    lost = begun_job(world, model)

    def taken_away_until_it_is_given_up() -> bool:
        world.stack.trouble("interrupt_training_job", name=lost)  # refused while no instance is there
        return str(world.sagemaker.describe_training_job(TrainingJobName=lost)["TrainingJobStatus"]) != "InProgress"

    world.wait("the end of the spot job", taken_away_until_it_is_given_up)
    ended = world.follow(arn)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["states"].count("Train the model") == 2
    candidate = world.rows(f"model/{model}", "candidate#")[-1]
    assert candidate["training_job"] == f"{lost}-ondemand"
    job = world.sagemaker.describe_training_job(TrainingJobName=f"{lost}-ondemand")
    assert not job["EnableManagedSpotTraining"]
    first = world.sagemaker.describe_training_job(TrainingJobName=lost)
    assert (first["TrainingJobStatus"], first["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


def test_f33_when_an_aborted_tuned_run_frees_its_slot_the_tuning_and_all_its_jobs_have_stopped(world: World) -> None:
    model = "aborted-tuning"
    ranges = {"eta": {"min": 0.05, "max": 0.3}}
    tuning = {"strategy": "Random", "ranges": ranges, "max_jobs": 2, "max_parallel": 1, "early_stopping": False}
    world.onboard(model, training={"hyperparameters": LONG, "tuning": tuning})
    arn = begin(world, model, rows=6000)
    run = str(world.wait("the run", lambda: world.rows(f"model/{model}", "run#"))[0]["run"])
    tuned = f"linnet-{run}"

    def jobs() -> list[str]:
        found = world.sagemaker.list_training_jobs(NameContains=tuned)["TrainingJobSummaries"]
        return [j["TrainingJobStatus"] for j in found]

    world.wait("a job of the tuning", lambda: "InProgress" in jobs())
    world.stepfunctions.stop_execution(executionArn=arn, cause="by a test")
    world.wait("a free slot", lambda: "owner" not in (world.row(f"model/{model}", "slot") or {"owner": 1}))

    described = world.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuned)
    assert described["HyperParameterTuningJobStatus"] == "Stopped"
    assert set(jobs()) == {"Stopped"}
    assert run_of(world, model)["state"] == "stopped"


def refused(world: World, code: str, times: int, operation: str = "CreateTrainingJob") -> None:
    assert world.stack.trouble("refuse_calls", operation=operation, code=code, times=times) == ""


def test_f32_a_throttled_call_is_made_again_more_slowly_and_the_run_goes_on(world: World) -> None:
    model = "hasty"
    world.onboard(model, approval={"automatic": 0.86})
    refused(world, "ThrottlingException", 2)
    refused(world, "ThrottlingException", 1, "CreateTransformJob")
    ended = world.follow(begin(world, model))

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["states"].count("Slow down") == 2
    assert ended["states"].count("Train the model") == 3


def test_f32_a_quota_that_stays_exceeded_ends_the_run_as_quota_after_a_bounded_number_of_calls(
    world: World, people: Callable[[str], list[dict[str, Any]]]
) -> None:
    model = "poor"
    world.onboard(model, retraining={"retries": 0})
    refused(world, "ResourceLimitExceeded", 100)
    try:
        ended = world.follow(begin(world, model), 240)
    finally:
        refused(world, "ResourceLimitExceeded", 0)

    assert (ended["status"], ended["error"]) == ("FAILED", "QuotaExceeded")
    assert "account-level service limit" in ended_as(world, model, "quota")
    assert "service quota" in people(model)[0]["next_step"]
    assert ended["states"].count("Train the model") == 1  # repeated by its Retry: 10 times, not for ever
    assert world.sagemaker.list_training_jobs(NameContains=f"linnet-{model}-")["TrainingJobSummaries"] == []


def test_f31_what_sagemaker_refuses_for_good_is_not_asked_again(world: World) -> None:
    model = "barred"
    world.onboard(model)
    refused(world, "AccessDeniedException", 1)
    ended = world.follow(begin(world, model, rows=600))

    assert (ended["status"], ended["error"]) == ("FAILED", "TrainingFailed"), ended["cause"]
    assert ended["states"].count("Train the model") == 1
    assert "Slow down" not in ended["states"]
    assert "not authorized" in ended_as(world, model, "failed")
