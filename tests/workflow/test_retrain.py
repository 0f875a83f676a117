"""`retrain` on the emulator's own engine with the real handlers, real training and real transform jobs: every road out."""

from __future__ import annotations

import json

import pytest

from models.flights import data as flights
from tests.workflow.conftest import World

ROWS = 1500


@pytest.fixture(scope="module")
def model(world: World) -> str:
    """Onboard a model whose decisions always wait for nobody: everything above the threshold is automatic."""
    assert world.onboard("retrainer", approval={"automatic": 0.86})["status"] == "SUCCEEDED"
    return "retrainer"


def test_eb_08_tr_13_a_run_passes_every_state_in_order_and_registers_a_version(world: World, model: str) -> None:
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=ROWS, part=0))
    ended = world.execution("retrain", known, model=model)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["states"] == [
        "Remember who asked", "Take the run slot", "May this run start?", "Does the data fit in a function?",
        "Validate the data", "Is the data good enough?",
        "Prepare the data", "Plan the training", "Are hyperparameters tuned?", "Train the model", "Plan the evaluation",
        "Let both answer the held-out rows", "Judge the candidate", "Is it better than the champion?",
        "Register the candidate", "Who decides?", "Record the decision", "Was it approved?",
        "Close the approved run", "The candidate was approved",
    ]  # fmt: skip
    run = json.loads(ended["output"])["run"]
    row = world.row(f"model/{model}", f"run#{run}")
    assert row is not None
    assert row["trigger"]["TriggerReason"] == "NewDataAvailable"
    assert row["state"] == "approved"
    candidate = world.rows(f"model/{model}", "candidate#")[-1]
    assert candidate["run"] == run
    assert len(candidate["sha256"]) == 64


def test_da_01_a_run_leaves_its_objects_under_exactly_the_layouts_prefixes_and_raw_data_untouched(
    world: World, model: str
) -> None:
    keys = [o["Key"] for o in world.s3.list_objects_v2(Bucket=world.out["DataBucket"])["Contents"]]
    mine = {k.split("/")[0] for k in keys if f"/{model}/" in k}

    assert mine <= {"raw-data", "processed-data", "models", "results", "baselines"}
    original = flights.batch(season="winter", rows=ROWS, part=0)
    assert {n: world.get(f"raw-data/{model}/b1/{n}") for n in original} == original


def test_a_run_by_hand_with_nothing_new_does_nothing_and_says_why(world: World, model: str) -> None:
    ended = world.start("retrain", {"model": model})

    assert ended["status"] == "SUCCEEDED"
    assert ended["states"][-1] == "Nothing to do"
    assert "nothing is new" in json.loads(ended["output"])["why"]


def test_dv_01_damaged_data_ends_as_data_refused_with_the_rules_named_and_no_job(world: World, model: str) -> None:
    known = world.known("retrain")
    world.batch(model, "b2", flights.batch(season="winter", rows=ROWS, part=1, damaged=True))
    ended = world.execution("retrain", known, model=model)

    assert (ended["status"], ended["error"]) == ("FAILED", "DataRefused")
    assert "Completeness" in ended["cause"]
    assert "Train the model" not in ended["states"]
    batch = world.row(f"model/{model}", "batch#b2")
    assert batch is not None
    assert batch["state"] == "refused"
    slot = world.row(f"model/{model}", "slot")
    assert slot is not None
    assert "owner" not in slot


def test_dv_02_the_validation_report_exists_for_a_refused_run_too(world: World, model: str) -> None:
    refused = next(r for r in world.rows(f"model/{model}", "run#") if r["state"] == "refused")
    report = json.loads(world.get(f"results/{model}/{refused['run']}/validation_report.json"))

    assert report["verdict"] == "FAIL"
    assert report["batches"]["b2"]["rows"] == ROWS
    assert world.get(f"quarantine/{model}/{refused['run']}.json")


def test_tr_01_a_failing_training_job_ends_the_run_with_its_reason_and_frees_the_slot(world: World) -> None:
    model = "failing"
    world.onboard(model, training={"hyperparameters": {"num_round": 5, "objective": "no:such"}})
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=600, part=0))
    ended = world.execution("retrain", known, model=model)

    assert (ended["status"], ended["error"]) == ("FAILED", "TrainingFailed")
    assert "no:such" in ended["cause"]
    slot = world.row(f"model/{model}", "slot")
    assert slot is not None
    assert "owner" not in slot
    assert "cooled_from" not in slot


def test_ev_02_a_candidate_below_the_threshold_is_rejected_and_not_registered(world: World) -> None:
    model = "weak"
    world.onboard(model, training={"hyperparameters": {"num_round": 1, "max_depth": 1, "objective": "binary:logistic"}},
                  evaluation={"threshold": 0.99}, approval={"automatic": 0.995, "person": 0.99})  # fmt: skip
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=600, part=0))
    ended = world.execution("retrain", known, model=model)

    assert (ended["status"], ended["error"]) == ("FAILED", "ModelRejected")
    assert world.rows(f"model/{model}", "candidate#") == []


def test_rg_04_a_decision_that_nobody_takes_expires_and_is_reported_not_silent(world: World) -> None:
    model = "unasked"
    world.onboard(model, approval={"require_person": True, "timeout_hours": 1})
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=ROWS, part=0))
    ended = world.execution("retrain", known, 120, model=model)

    assert (ended["status"], ended["error"]) == ("FAILED", "DecisionExpired")
    package = world.sagemaker.list_model_packages(ModelPackageGroupName=f"linnet-{model}")["ModelPackageSummaryList"][0]
    assert package["ModelApprovalStatus"] == "PendingManualApproval"


@pytest.mark.parametrize(
    ("word", "status", "error"), [("approve", "SUCCEEDED", None), ("reject", "FAILED", "ModelRejected")]
)
def test_rg_04_the_run_waits_without_the_slot_and_a_persons_word_resumes_it_once(
    world: World, word: str, status: str, error: str | None
) -> None:
    model = f"asked-{word}"
    world.onboard(model, approval={"require_person": True})
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=ROWS, part=0))
    running = world.execution("retrain", known, model=model, follow=False)["executionArn"]
    asked = world.wait("the question", lambda: world.rows(f"model/{model}", "decision#"))[0]

    slot = world.row(f"model/{model}", "slot")
    assert slot is not None
    assert "owner" not in slot
    for decision in (word, "reject" if word == "approve" else "approve"):  # the second word comes too late
        world.functions.invoke(
            FunctionName=world.out["DecideCandidateFunction"],
            Payload=json.dumps(
                {"decision_id": asked["decision_id"], "decision": decision, "decided_by": "ada", "comment": "looked"}
            ),
        )
    ended = world.follow(running)

    assert (ended["status"], ended.get("error")) == (status, error)


def test_an_aborted_run_frees_its_slot_and_stops_its_job_f33(world: World) -> None:
    model = "aborted"
    world.onboard(
        model, training={"hyperparameters": {"num_round": 20000, "max_depth": 8, "objective": "binary:logistic"}}
    )
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=6000, part=0))
    arn = world.execution("retrain", known, model=model, follow=False)["executionArn"]
    world.wait("the training state", lambda: "Train the model" in world.states(arn))
    run = next(r for r in world.rows(f"model/{model}", "run#"))["run"]
    job = f"linnet-{model}-{run}"
    world.wait("the job", lambda: _status(world, job) == "InProgress")
    world.stepfunctions.stop_execution(executionArn=arn, cause="by a test")

    world.wait("a free slot", lambda: "owner" not in (world.row(f"model/{model}", "slot") or {"owner": 1}))
    assert world.wait("the stopped job", lambda: _status(world, job) in ("Stopping", "Stopped"))


def _status(world: World, job: str) -> str:
    listed = world.sagemaker.list_training_jobs(NameContains=job)["TrainingJobSummaries"]
    return str(listed[0]["TrainingJobStatus"]) if listed else ""
