"""Jobs whose making nobody heard of: the call was carried out, its answer was lost, and the run goes on all the same (F28)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflow.conftest import World
from tests.workflow.test_retrain_training import begin, ended_as, run_of

ADOPT, LARGE = "Adopt the job that was made", {"processing": {"above_bytes": 1000}}
TUNED = {
    "hyperparameters": {"objective": "binary:logistic", "eval_metric": "auc", "num_round": 40, "eta": 0.1},
    "tuning": {
        "strategy": "Random",
        "ranges": {"max_depth": {"type": "integer", "min": 2, "max": 5}},
        "max_jobs": 2,
        "max_parallel": 2,
        "early_stopping": False,
    },
}


def unheard(world: World, *operations: str) -> None:
    for operation in operations:
        assert world.stack.trouble("lose_answers", operation=operation, times=1) == ""


def ended(world: World, model: str, rows: int = 1500) -> dict[str, Any]:
    return world.follow(begin(world, model, rows))


@pytest.mark.parametrize(
    ("model", "changes", "operations"),
    [
        ("silent-one", {"data": LARGE}, ("CreateProcessingJob", "CreateTrainingJob", "CreateTransformJob")),
        ("silent-many", {"training": TUNED}, ("CreateHyperParameterTuningJob",)),
    ],
)
def test_f28_a_run_goes_on_with_the_jobs_whose_making_it_did_not_hear_of(
    world: World, model: str, changes: dict[str, Any], operations: tuple[str, ...]
) -> None:
    world.onboard(model, approval={"automatic": 0.86}, **changes)
    unheard(world, *operations)
    end = ended(world, model)

    assert end["status"] == "SUCCEEDED", end.get("cause")
    assert end["states"].count(ADOPT) == len({*operations} - {"CreateTransformJob"})
    run = run_of(world, model)
    assert run["state"] == "approved"
    (candidate,) = world.rows(f"model/{model}", "candidate#")
    listed = world.sagemaker.list_training_jobs(NameContains=run["run"])["TrainingJobSummaries"]
    assert candidate["training_job"] in [job["TrainingJobName"] for job in listed]
    assert len(listed) == (2 if "training" in changes else 1)
    transforms = world.sagemaker.list_transform_jobs(NameContains=run["run"])["TransformJobSummaries"]
    assert [job["TransformJobStatus"] for job in transforms] == ["Completed"]


def test_f28_a_job_that_nobody_heard_of_and_that_fails_ends_the_run_with_its_own_reason(world: World) -> None:
    model = "silent-bad"
    world.onboard(model, training={"hyperparameters": {"objective": "none:such", "num_round": 2}})
    unheard(world, "CreateTrainingJob")
    end = ended(world, model)

    assert (end["status"], end["error"]) == ("FAILED", "TrainingFailed"), end
    assert ADOPT in end["states"]
    assert "AlgorithmError" in ended_as(world, model, "failed")
