"""Rows of the requirements on the real stack that no other workflow test shows: waiting, overlapping, closing, ending."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from linnet.decisions import names
from models.flights import data as flights
from tests.workflow.conftest import World

ROWS = 1500


def onboarded(ended: dict[str, Any]) -> None:
    assert ended["status"] == "SUCCEEDED", ended.get("cause")


@pytest.fixture(scope="module")
def serving(world: World) -> str:
    """Onboard a model about which people are always asked, and have its first version serve."""
    model = "waiter"
    onboarded(world.onboard(model, approval={"require_person": True}))
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=ROWS, part=0))
    arn = world.execution("retrain", known, model=model, follow=False)["executionArn"]
    answer(world, asked(world, model), "approve")
    assert world.follow(arn, 240)["status"] == "SUCCEEDED"
    world.wait("a champion", lambda: world.row(f"model/{model}", "champion"), 120)
    return model


def asked(world: World, model: str) -> dict[str, Any]:
    def look() -> list[dict[str, Any]]:
        return [row for row in world.rows(f"model/{model}", "decision#") if row["state"] == "OPEN"]

    return dict(world.wait("the question", look, 90)[0])


def answer(world: World, question: dict[str, Any], word: str) -> None:
    said = {"decision_id": question["decision_id"], "decision": word, "decided_by": "ada", "comment": "looked"}
    world.functions.invoke(FunctionName=world.out["DecideCandidateFunction"], Payload=json.dumps(said))


def test_eb_12_two_branches_overlap_and_a_state_runs_until_a_job_outside_reports_by_its_token(
    world: World, serving: str
) -> None:
    known = world.known("retrain")
    world.batch(serving, "b2", flights.batch(season="summer", rows=ROWS, part=1))
    arn = world.execution("retrain", known, model=serving, follow=False)["executionArn"]
    question = asked(world, serving)

    run = next(r for r in world.rows(f"model/{serving}", "run#") if r["run"] == question["run"])
    jobs = [
        world.sagemaker.describe_transform_job(TransformJobName=f"linnet-{serving}-{run['run']}-{who}")
        for who in ("candidate", "champion")
    ]
    # Both had begun before one had ended; the emulator's history does not tell of the states within a Map.
    assert max(j["TransformStartTime"] for j in jobs) < min(j["TransformEndTime"] for j in jobs)

    assert world.states(arn)[-1] == "Ask a person"
    assert world.stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING"
    token = world.rows(f"decision/{question['decision_id']}")[0]["token"]
    word = {"approval_status": "Rejected", "decided_by": "a job outside", "comment": "by its token"}
    world.stepfunctions.send_task_success(taskToken=token, output=json.dumps(word))
    ended = world.follow(arn, 240)
    assert (ended["status"], ended["error"]) == ("FAILED", "ModelRejected")
    assert "a job outside" in (world.row(f"model/{serving}", f"run#{run['run']}") or {})["why"]


def test_f33_no_01_a_run_stopped_while_a_person_is_asked_ends_as_stopped_and_asks_nobody_any_more(
    world: World, serving: str
) -> None:
    known = world.known("retrain")
    world.batch(serving, "b3", flights.batch(season="summer", rows=ROWS, part=2))
    arn = world.execution("retrain", known, model=serving, follow=False)["executionArn"]
    question = asked(world, serving)
    world.stepfunctions.stop_execution(executionArn=arn, cause="by a test")

    def ends() -> list[str]:
        entries = [e["detail"] for e in world.rows(f"model/{serving}#history") if e["kind"] == "run-ended"]
        return [str(e["outcome"]) for e in entries if e["run"] == question["run"]]

    assert world.wait("the run's end", ends) == ["stopped"]
    assert (world.row(f"model/{serving}", f"run#{question['run']}") or {})["state"] == "stopped"
    shown = world.row(f"model/{serving}", f"decision#{question['decision_id']}") or {}
    assert shown["state"] == "EXPIRED"


def test_gap_2_da_02_a_burst_without_a_manifest_is_one_run_of_all_its_objects_and_a_late_file_is_the_next(
    world: World,
) -> None:
    model = "bursting"
    onboarded(world.onboard(model, data={"quiet_seconds": 1800, "minimum_rows": 100}))
    content = flights.batch(season="winter", rows=ROWS, part=0)["part-00001.csv"].splitlines(keepends=True)
    intakes, known = world.known("intake"), world.known("retrain")
    for number in range(3):
        part = content[1 + 500 * number : 501 + 500 * number]
        world.put(f"raw-data/{model}/burst/file {number}+ü.csv", b"".join([content[0], *part]))
    closing = world.execution("intake", intakes, model=model)
    run = world.execution("retrain", known, 240, model=model)

    assert closing["status"] == "SUCCEEDED"
    looks = closing["states"][1:-1]
    assert [s for s, _ in itertools.groupby(looks)][:3] == [
        "Wait for quiet", "Close the batch if it is quiet", "Is the batch closed?",
    ]  # fmt: skip
    assert closing["states"][-1] == "The batch is closed"
    assert run["status"] == "SUCCEEDED", run.get("cause")
    (row,) = world.rows(f"model/{model}", "run#")
    inputs = json.loads(world.get(row["inputs_uri"].split("/", 3)[3]))
    (batch,) = inputs["batches"]
    names_ = sorted(o["uri"].rpartition("/")[2] for o in batch["objects"])
    assert names_ == [f"file {number}+ü.csv" for number in range(3)]

    world.put(f"raw-data/{model}/burst/late.csv", b"".join([content[0], *content[1:600]]))
    world.wait("the next batch", lambda: (world.row(f"model/{model}", "batch#burst~2") or {}).get("objects") == 1)
    assert (world.row(f"model/{model}", "batch#burst") or {})["objects"] == 3


def test_f28_a_job_that_its_run_does_not_know_of_is_stopped_and_the_run_is_made_again(world: World) -> None:
    model, execution = "unheard", "unheard-1"
    slow = {"num_round": 20000, "max_depth": 8, "objective": "binary:logistic"}
    onboarded(world.onboard(model, retraining={"signals": ["manual"]}, approval={"automatic": 0.86}))
    known = world.known("retrain")
    world.batch(model, "b1", flights.batch(season="winter", rows=ROWS, part=0))
    world.wait("the batch", lambda: (world.row(f"model/{model}", "batch#b1") or {}).get("state") == "closed")
    job = f"linnet-{model}-{names.run_id(model, execution)}"
    bucket = world.out["DataBucket"]
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/code/{model}/"}}
    world.put(f"code/{model}/train.csv", "\n".join(f"{n % 2},{n},{n * n}" for n in range(20000)))
    world.sagemaker.create_training_job(  # as the run's own call, whose answer nobody heard
        TrainingJobName=job, RoleArn=world.out["SageMakerRoleArn"], HyperParameters={k: str(v) for k, v in slow.items()},
        AlgorithmSpecification={
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
            "TrainingInputMode": "File",
        },
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": data}],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models/{model}/"},
        ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )  # fmt: skip
    ended = world.start("retrain", {"model": model}, name=execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "LostAnswer"), ended
    assert world.sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "Stopped"
    known |= {ended["executionArn"]} if "executionArn" in ended else {
        e["executionArn"] for e in world.stepfunctions.list_executions(
            stateMachineArn=world.out["RetrainMachineArn"])["executions"] if e["name"] == execution
    }  # fmt: skip
    again = world.execution("retrain", known, 240, model=model)  # by the reconciler
    assert again["status"] == "SUCCEEDED", again.get("cause")
    states = sorted(str(r["state"]) for r in world.rows(f"model/{model}", "run#"))
    assert states == ["approved", "lost answer"]
