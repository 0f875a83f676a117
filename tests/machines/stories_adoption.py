"""What is played of jobs that were made while nobody heard the answer: they are adopted, or are somebody else's (F28)."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

from linnet.gateways import jobs
from tests.contract import test_monitor_attribution
from tests.contract.test_retrain_functions import _Core
from tests.machines.account import opened
from tests.machines.outside import Outside, failing, storm
from tests.machines.stories_account import LOOKED, blind, explained, monitor
from tests.machines.stories_run import _in_the_job, run

TUNED = {"tuning": {"strategy": "Random", "max_jobs": 2, "max_parallel": 2, "early_stopping": False}}
LARGE = {"processing": {"above_bytes": 1}}
ADOPT, ANSWER = "Adopt the job that was made", "Adopt the answer that was asked for"
GIVEN = {"time": test_monitor_attribution.END}
TAKEN = "training_job x exists and differs from what is asked in RoleArn"


def unheard(stage: Outside, *operations: str) -> None:
    for operation in operations:
        stage.lab.sagemaker.lose_answers(operation, 1)


def a_run_goes_on_with_the_jobs_that_were_made_unheard() -> Iterator[Outside]:
    with opened(data=LARGE) as stage:
        stage.batch()
        stage.instead["retrain", "Check and prepare the data in a job"] = lambda call: _in_the_job(stage, call)
        unheard(stage, "CreateProcessingJob", "CreateTrainingJob", "CreateTransformJob")
        with storm(stage, "retrain", only="Adopt"):
            went_on = run(stage)
        assert (went_on.path.count(ADOPT), went_on.path[-1]) == (2, "The candidate was approved"), went_on.end
        assert ANSWER in went_on.path
        yield stage
    with opened(training=TUNED) as stage:
        stage.batch()
        unheard(stage, "CreateHyperParameterTuningJob")
        tuned = run(stage)
        assert (tuned.path.count(ADOPT), tuned.path[-1]) == (1, "The candidate was approved"), tuned.end
        yield stage


def a_job_of_the_runs_name_that_does_something_else_is_not_adopted() -> Iterator[Outside]:
    for operation, state in (("CreateTrainingJob", ADOPT), ("CreateTransformJob", ANSWER)):
        with opened() as stage:
            stage.batch()
            unheard(stage, operation)
            with failing(stage, "retrain", state, "NameTakenError", cause=TAKEN):
                assert run(stage).end["error"] == "LostAnswer"
            yield stage


def a_sample_is_explained_by_a_job_that_was_made_unheard() -> Iterator[Outside]:
    with explained() as stage:
        unheard(stage, "CreateProcessingJob")
        core = _Core(stage.lab)  # the rest of the account is moto's
        with storm(stage, "monitor", only="Adopt"), patch.object(jobs, "client", lambda _: core):
            looked = monitor(stage, **GIVEN)
        assert (looked.path[-1], ADOPT in looked.path) == (LOOKED, True), looked.end
        yield stage
    with explained() as stage:
        unheard(stage, "CreateProcessingJob")
        with failing(stage, "monitor", ADOPT, "NameTakenError", cause="no rows"):
            blind(stage, monitor(stage), "flights NameTakenError: no rows")
        yield stage
