"""What is played of `retrain` and `intake`: real handlers, real flights; jobs of the local core that end at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from linnet.gateways import ledger
from local.sagemaker.ports import JobOutcome
from tests.contract import test_intake
from tests.machines.account import Account, opened
from tests.machines.outside import Outside, failing, storm
from tests.machines.player import Call, Play

RUN = {"model": "flights"}
SLOT = "model/flights"
TOO_FAST = "Rate exceeded (Service: AmazonSageMaker; Status Code: 400; Error Code: ThrottlingException)"
REFUSED = "nothing of this kind (Service: AmazonSageMaker; Status Code: 400; Error Code: ValidationException)"


def free() -> bool:
    """Say whether a next run may begin."""
    return "owner" not in (ledger.read(SLOT, "slot") or {})


def run(stage: Account, name: str = "e1") -> Play:
    """Play a run that somebody asked for; the slot is free afterwards."""
    with storm(stage, "retrain", only="Close the"):  # what ends a run is tried again on every road
        play = stage.play("retrain", RUN | {"correlation_id": "story"}, name)
    assert free()
    return play


def a_good_candidate_is_approved_by_its_tier_and_the_next_run_finds_nothing_new() -> Iterator[Outside]:
    with opened() as stage:
        stage.batch()
        good = run(stage)
        assert (good.path[-1], good.end["status"]) == ("The candidate was approved", "SUCCEEDED")
        again = stage.play("retrain", RUN, "e2")
        assert again.path[-1] == "Nothing to do"
        yield stage


def every_task_of_a_run_fails_once_in_every_way_that_passes_and_it_ends_as_well() -> Iterator[Outside]:
    with opened() as stage:
        stage.batch()
        with storm(stage, "retrain"):
            assert run(stage).path[-1] == "The candidate was approved"
        yield stage
    with opened(approval={"require_person": True}) as stage:
        stage.batch()
        stage.says("approve")
        with storm(stage, "retrain"):
            assert run(stage).path[-1] == "The candidate was approved"
        yield stage
    with opened(approval={"require_person": True}) as stage:
        stage.batch()
        with storm(stage, "retrain"):
            assert run(stage).end["error"] == "DecisionExpired"
        yield stage
    with opened() as stage:
        stage.wrong["candidate"] = 45
        stage.batch()
        with storm(stage, "retrain"):
            assert run(stage).end["error"] == "ModelRejected"
        yield stage
    with opened() as stage:
        stage.batch(damaged=True)
        with storm(stage, "retrain"):
            assert run(stage).end["error"] == "DataRefused"
        yield stage


def a_person_decides() -> Iterator[Outside]:
    for word, last in (("approve", "The candidate was approved"), ("reject", "The model was rejected")):
        with opened(approval={"require_person": True}) as stage:
            stage.batch()
            stage.says(word)
            assert run(stage).path[-1] == last
            yield stage


def a_tier_rejects() -> Iterator[Outside]:
    with opened(approval={"automatic": 0.99, "person": 0.985}) as stage:
        stage.wrong["candidate"] = 5
        stage.batch()
        rejected = run(stage)
        assert "Record the decision" in rejected.path
        assert rejected.end["error"] == "ModelRejected"
        yield stage


def champion(stage: Account) -> None:
    """Let the first run's candidate serve."""
    row = ledger.read(SLOT, "candidate#000001") or {}
    made = f"linnet-flights-{row['run']}"
    ledger.put_once(SLOT, "champion", {
        "version": 1, "package_arn": row["package_arn"], "model_name": made, "run": row["run"], "at": "2026-11-21T02:00:00Z",
        "config": "linnet-flights-v1-f1", "variant": "blue", "baseline": row["baseline"],
    })  # fmt: skip


def a_candidate_that_is_no_better_than_the_champion_goes_nowhere() -> Iterator[Outside]:
    with opened() as stage:
        stage.batch("b1")
        run(stage)
        champion(stage)
        stage.wrong |= {"candidate": 12, "champion": 2}
        stage.batch("b2", part=1)
        with storm(stage, "retrain"):
            worse = run(stage, "e2")
        assert (worse.path[-2:], worse.end["error"]) == (
            ["Close the run that is not better", "It is not better"],
            "NotBetter",
        )
        yield stage


def hyperparameters_are_tuned_where_the_spec_says_so() -> Iterator[Outside]:
    tuning = {"strategy": "Random", "max_jobs": 2, "max_parallel": 2, "early_stopping": False}
    with opened(training={"tuning": tuning}) as stage:
        stage.batch()
        with storm(stage, "retrain"):
            tuned = run(stage)
        assert ("Tune the hyperparameters" in tuned.path, "Train the model" in tuned.path) == (True, False), tuned.end
        with failing(
            stage, "retrain", "Tune the hyperparameters", "SageMaker.AmazonSageMakerException", cause=TOO_FAST
        ):
            stage.batch("b2", part=1)
            assert "Which job was it?" in run(stage, "e2").path
        with failing(stage, "retrain", "Tune the hyperparameters", "States.TaskFailed", cause="no job did well"):
            stage.batch("b3", part=2)
            assert run(stage, "e3").end["error"] == "TuningFailed"
        yield stage


def large_data_is_prepared_in_a_job() -> Iterator[Outside]:
    with opened(data={"processing": {"above_bytes": 1}}) as stage:
        stage.batch()
        for number, (error, cause) in enumerate(
            (("SageMaker.AmazonSageMakerException", REFUSED), ("States.TaskFailed", "AlgorithmError: no"))
        ):
            with failing(stage, "retrain", "Check and prepare the data in a job", error, cause=cause):
                assert run(stage, f"e{number}").end["error"] == "ProcessingFailed"
        with failing(stage, "retrain", "Plan the processing job", "DataError"):
            assert run(stage, "e4").path[-1] == "The run failed"
        throttled = ["SageMaker.ThrottlingException"] * 2
        with storm(stage, "retrain"):
            stage.faults["retrain", "Check and prepare the data in a job"] += _failed(throttled, TOO_FAST)
            stage.instead["retrain", "Check and prepare the data in a job"] = lambda call: _in_the_job(stage, call)
            prepared = run(stage, "e5")
        assert (prepared.path.count("Slow down"), prepared.path[-1]) == (2, "The candidate was approved"), prepared.end
        yield stage


def _failed(errors: list[str], cause: str) -> list[Any]:
    from tests.machines.player import Failed  # noqa: PLC0415

    return [Failed(error, cause) for error in errors]


def _in_the_job(stage: Account, call: Call) -> Any:
    """Do what the job's program does, with what the request tells it."""
    from linnet.data import job  # noqa: PLC0415

    given = [str(one) for one in call.arguments["AppSpecification"]["ContainerArguments"]]
    job.main(*given)
    return stage._carried_out(call)


CAUGHT = (
    "Take the run slot", "Validate the data", "Prepare the data", "Plan the training", "Plan the evaluation",
    "Judge the candidate", "Register the candidate", "Record the decision",
)  # fmt: skip


def a_run_whose_task_fails_for_good_ends_failed_and_frees_its_slot() -> Iterator[Outside]:
    with opened() as stage:
        stage.batch()
        for number, state in enumerate(CAUGHT):
            with failing(stage, "retrain", state, "BadInputError", cause="a reason"):
                failed = run(stage, f"e{number}")
            assert (failed.path[-1], failed.end["error"]) == ("The run failed", "BadInputError"), state
            assert "a reason" in failed.end["cause"], state
        yield stage
    with opened(approval={"require_person": True}) as stage:
        stage.batch()
        with failing(stage, "retrain", "Ask a person", "ConflictError"):
            assert run(stage).end["error"] == "ConflictError"
        yield stage


def a_training_job_may_go_on_on_demand_be_too_fast_or_fail() -> Iterator[Outside]:
    for cause, state, last in (
        (TOO_FAST, "SageMaker.ThrottlingException", "The candidate was approved"),
        (REFUSED, "SageMaker.AmazonSageMakerException", "The run failed"),
        ("AlgorithmError: no", "States.TaskFailed", "The run failed"),
    ):
        with opened() as stage:
            stage.batch()
            with failing(stage, "retrain", "Train the model", state, cause=cause):
                assert run(stage).path[-1] == last, cause
            yield stage
    with opened(training={"spot": {"enabled": True, "max_wait_seconds": 7200, "then_on_demand": True}}) as stage:
        stage.batch()
        stage.endings.append(JobOutcome("Failed", "MaxWaitTimeExceeded: no spot instance came"))
        went_on = run(stage)
        assert (went_on.path.count("Train the model"), went_on.path[-1]) == (2, "The candidate was approved"), (
            went_on.end
        )
        yield stage


def held_out_rows_are_answered_after_a_pause_or_not_at_all() -> Iterator[Outside]:
    with opened() as stage:
        stage.batch()
        with failing(
            stage, "retrain", "Answer the held-out rows", *["SageMaker.AmazonSageMakerException"] * 9, cause=TOO_FAST
        ):
            late = run(stage)
        assert (late.end["error"], late.path.count("Ask again later")) == ("Throttled", 8)
        with failing(stage, "retrain", "Answer the held-out rows", "SageMaker.AmazonSageMakerException", cause=REFUSED):
            assert run(stage, "e2").end["error"] == "EvaluationFailed"
        with failing(stage, "retrain", "Answer the held-out rows", "SageMaker.ThrottlingException", cause=TOO_FAST):
            assert run(stage, "e3").path[-1] == "The candidate was approved"
        yield stage


def a_burst_is_closed_when_it_is_quiet() -> Iterator[Outside]:
    given = {"model": "flights", "batch": "burst", "quiet_seconds": 300, "correlation_id": "story"}
    with opened() as stage:
        event = test_intake.arrival("raw-data/flights/burst/a.csv", stage.now(), "0A1")
        test_intake.wake(event)
        stage.before = lambda call: (
            call.visit == 0
            and test_intake.wake(test_intake.arrival("raw-data/flights/burst/b.csv", stage.now(), "0A2"))
        )  # the burst goes on
        with storm(stage, "intake"):
            closed = stage.play("intake", given)
        assert (closed.path[-1], closed.path.count("Wait for quiet") > 1) == ("The batch is closed", True)
        with failing(stage, "intake", "Close the batch if it is quiet", "NotFoundError"):
            assert stage.play("intake", given, "e2").end["error"] == "BatchNotClosed"
        yield stage
