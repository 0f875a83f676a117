"""The functions around training: the plan in the run's row, the best of a tuning, jobs seen stopped before a slot is free."""

from __future__ import annotations

import json
from typing import Any

import pytest

from linnet.decisions import failures
from linnet.errors import BusyError, JobFailedError, NameTakenError, NotFoundError
from linnet.events.spec import check_spec, spec_json
from linnet.gateways import jobs, ledger, runs
from local.sagemaker.ports import JobOutcome
from models.diamonds import data as diamonds
from models.flights import data as flights
from tests.contract.onboarding_world import CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import MODEL, intake  # noqa: F401 - a fixture
from tests.contract.test_retrain_functions import lab  # noqa: F401 - a fixture
from tests.sagemaker.doubles import IMAGE, Lab

RUN, EXECUTION, AT = "r0123456789", "e1", "2026-11-21T02:00:05.000Z"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
PREPARED = {"train_uri": "s3://linnet-data/t.csv", "validation_uri": "s3://linnet-data/v.csv"}


@pytest.fixture
def running(intake: World, lab: Lab) -> Lab:
    """Return the local SageMaker of a model with a run that holds the slot."""
    ledger.put_once(f"model/{MODEL}", f"run#{RUN}", {"run": RUN, "state": "running", "trigger": {}, "at": AT})
    slot = {"owner": EXECUTION, "run": RUN, "since": AT, "turn": 0}
    ledger.change(f"model/{MODEL}", "slot", put=slot, only_if="attribute_not_exists(pk) OR attribute_exists(pk)")
    return lab


def planned(kind: Any = flights, champion: Any = None, severity: str = "", **changes: Any) -> dict[str, Any]:
    written = kind.spec() | {"model": MODEL}
    written["training"] = written["training"] | changes
    given = {
        "model": MODEL, "run": RUN, "at": AT, "correlation_id": "c", "spec": spec_json(check_spec(written)),
        "prepared": PREPARED, "champion": champion, "trigger": {"DriftSeverity": severity} if severity else {},
    }  # fmt: skip
    return dict(handler("plan_training")(given, CONTEXT))


def run_row() -> dict[str, Any]:
    return ledger.read(f"model/{MODEL}", f"run#{RUN}") or {}


def champion(lab: Lab, image: str = SKLEARN) -> dict[str, Any]:
    container = {"Image": image, "ModelDataUrl": "s3://linnet-data/old/model.tar.gz"}
    lab.aws.objects[container["ModelDataUrl"]] = b"old"
    inference = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    made = lab.call("CreateModelPackage", ModelPackageGroupName="linnet-flights", InferenceSpecification=inference)
    return {"version": 1, "package_arn": made["ModelPackageArn"], "model_name": "linnet-flights-v1"}


def test_hp_02_the_plan_with_its_cost_stands_in_the_runs_row_before_anything_is_made(running: Lab) -> None:
    plan = planned(tuning={"max_jobs": 30, "max_parallel": 3})

    assert plan["tuned"]
    assert plan["request"]["HyperParameterTuningJobName"] == f"linnet-{RUN}"
    row = run_row()
    assert (row["mode"], row["estimate"]) == ("full", {"jobs": 30, "instance_hours": 30})
    assert running.call("ListHyperParameterTuningJobs")["HyperParameterTuningJobSummaries"] == []
    assert running.call("ListTrainingJobs")["TrainingJobSummaries"] == []


@pytest.mark.parametrize(
    ("image", "severity", "mode"),
    [(SKLEARN, "", "incremental"), (SKLEARN, "High", "full"), (IMAGE, "", "full")],
)
def test_tr_06_tr_07_an_incremental_plan_has_the_champions_artifact_and_a_full_one_says_why_not(
    running: Lab, image: str, severity: str, mode: str
) -> None:
    request = planned(diamonds, champion(running, image), severity, mode="incremental")["request"]

    row = run_row()
    uris = [c["DataSource"]["S3DataSource"]["S3Uri"] for c in request["InputDataConfig"] if c["ChannelName"] == "model"]
    assert row["mode"] == mode
    assert row["mode_why"]
    assert uris == (["s3://linnet-data/old/model.tar.gz"] if mode == "incremental" else [])
    assert row.get("parent_version") == (1 if mode == "incremental" else None)


def test_tr_06_a_champion_that_is_gone_from_the_registry_fails_the_plan_and_nothing_is_made(running: Lab) -> None:
    gone = {"version": 9, "package_arn": "arn:aws:sagemaker:us-east-1:000000000000:model-package/linnet-flights/9"}
    with pytest.raises(NotFoundError, match="does not exist"):
        planned(diamonds, gone | {"model_name": "m"}, mode="incremental")

    assert running.call("ListTrainingJobs")["TrainingJobSummaries"] == []


def tuned(lab: Lab, results: list[tuple[float | None, float]]) -> str:
    """Carry out a tuning whose jobs end with these values of the objective and of the latency; return its name."""
    metrics = {"validation:auc": "auc=(.*)", "latency": "latency=(.*)"}
    ranges = {"max-iter": {"type": "integer", "min": 10, "max": 200}}
    asked = {"ranges": ranges, "max_jobs": len(results), "max_parallel": 1, "early_stopping": False}
    plan = planned(diamonds, metrics=metrics, tuning=asked)
    lab.call("CreateHyperParameterTuningJob", **plan["request"])
    for number, (auc, latency) in enumerate(results):
        lab.clock.advance(0)
        job = lab.executor.jobs[number]
        if auc is not None:
            job.report.metric("validation:auc", auc)
        job.report.metric("latency", latency)
        job.complete(model_artifacts=f"s3://linnet-data/{number}/model.tar.gz")
    return str(plan["request"]["HyperParameterTuningJobName"])


def test_hp_05_hp_06_the_best_job_is_the_best_of_those_that_keep_the_limits(running: Lab) -> None:
    name = tuned(running, [(0.90, 50), (0.96, 150), (0.94, 85), (None, 10)])

    free, bound = jobs.best(name, "Maximize", {}), jobs.best(name, "Maximize", {"latency": 100})
    assert free["artifact"].endswith("/1/model.tar.gz")
    assert bound["artifact"].endswith("/2/model.tar.gz")
    assert bound["tuning_job"] == name
    assert bound["training_job"].startswith(f"{name}-003-")
    assert set(bound["hyperparameters"]) == {"max-iter"}
    with pytest.raises(NotFoundError, match=r"-002-\w+: latency 150.0 \(limit 10\)"):
        jobs.best(name, "Maximize", {"latency": 10})
    with pytest.raises(NotFoundError, match="none has a value of the objective"):
        jobs.best("linnet-rffffffffff", "Maximize", {})


def test_gap_13_a_tuned_run_is_billed_for_all_of_its_jobs(running: Lab) -> None:
    tuned(running, [(0.90, 50), (0.96, 150), (0.94, 85)])

    assert jobs.billed_instance_seconds(MODEL, RUN) == 90
    assert jobs.billed_instance_seconds(MODEL, "rffffffffff") == 0


def begin_jobs(lab: Lab) -> None:
    """Start a run's training and transform jobs, as far as a run may have them at a time."""
    lab.call("CreateTrainingJob", **planned()["request"])
    lab.model("linnet-flights-v1")
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://linnet-data/f"}}}
    lab.call(
        "CreateTransformJob", TransformJobName=f"linnet-{MODEL}-{RUN}-champion", ModelName="linnet-flights-v1",
        TransformInput=source, TransformOutput={"S3OutputPath": "s3://linnet-data/o"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )  # fmt: skip
    lab.clock.advance(0)


def adopted(request: dict[str, Any]) -> dict[str, Any]:
    return dict(handler("adopt_job")({"model": MODEL, "correlation_id": "c", "request": request}, CONTEXT))


def test_f28_a_job_whose_making_was_not_heard_is_waited_for_and_its_artifact_taken(running: Lab) -> None:
    request = planned()["request"]
    running.call("CreateTrainingJob", **request)
    running.clock.advance(0)
    with pytest.raises(BusyError, match=f"training_job linnet-{MODEL}-{RUN} is InProgress"):
        adopted(request)
    running.executor.jobs[0].complete(model_artifacts="s3://linnet-data/made/model.tar.gz")

    assert adopted(request) == {
        "training_job": f"linnet-{MODEL}-{RUN}",
        "artifact": "s3://linnet-data/made/model.tar.gz",
    }
    assert len(running.executor.jobs) == 1
    with pytest.raises(NameTakenError, match=r"differs from what is asked in HyperParameters.max_depth, RoleArn$"):
        adopted(request | {"RoleArn": "arn:aws:iam::1:role/x", "HyperParameters": {"max_depth": "99"}})
    with pytest.raises(NotFoundError, match="cannot be described"):
        adopted(request | {"TrainingJobName": "nobodys"})


def test_f28_tuning_processing_and_transform_jobs_are_adopted_too(running: Lab) -> None:
    ranges = {"max-iter": {"type": "integer", "min": 10, "max": 200}}
    asked = {"ranges": ranges, "max_jobs": 1, "max_parallel": 1, "early_stopping": False}
    tuning = planned(diamonds, metrics={"validation:auc": "auc=(.*)"}, tuning=asked)["request"]
    running.call("CreateHyperParameterTuningJob", **tuning)
    begin_jobs(running)
    transform = running.call("DescribeTransformJob", TransformJobName=f"linnet-{MODEL}-{RUN}-champion")
    reading = sample("adopt_job")["request"]
    running.call("CreateProcessingJob", **reading)
    running.clock.advance(0)
    for job in running.executor.jobs:
        job.report.metric("validation:auc", 0.9)
        job.complete(model_artifacts="s3://linnet-data/0/model.tar.gz")

    members = ("TransformJobName", "ModelName", "TransformInput", "TransformResources")
    assert adopted(tuning) == {"tuning_job": f"linnet-{RUN}"}
    assert adopted({name: transform[name] for name in members}) == {}
    assert adopted(reading) == {}


def test_f28_an_adopted_job_that_failed_is_told_as_one_that_was_waited_for(running: Lab) -> None:
    request = planned()["request"]
    running.call("CreateTrainingJob", **request)
    running.clock.advance(0)
    running.executor.jobs[0].report.done(JobOutcome("Failed", failure_reason="AlgorithmError: exit code 1"))
    with pytest.raises(JobFailedError) as caught:
        adopted(request)

    cause = json.dumps({"errorMessage": str(caught.value), "errorType": "JobFailedError"})
    ended = failures.ending("TrainingFailed", cause, "JobFailedError")
    assert (ended.outcome, ended.error) == ("failed", "TrainingFailed")
    assert ended.why == f"TrainingFailed: training job linnet-{MODEL}-{RUN} is Failed: AlgorithmError: exit code 1"


FAILURE = {"Error": "TrainingFailed", "Cause": "the step broke"}


def closed() -> dict[str, Any]:
    given = {"model": MODEL, "run": RUN, "execution": EXECUTION, "at": AT, "correlation_id": "c", "failure": FAILURE}
    return dict(handler("close_run")(given, CONTEXT))


def test_f33_all_jobs_of_a_broken_run_are_stopped_and_seen_stopped(running: Lab) -> None:
    begin_jobs(running)

    assert closed() == {"outcome": "failed", "error": "TrainingFailed", "why": "TrainingFailed: the step broke"}
    assert [job.stopped for job in running.executor.jobs] == [True, True]
    assert set(jobs.stop(MODEL, RUN).values()) == {"Stopped"}
    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})
    assert run_row()["state"] == "failed"


def test_f33_the_slot_stays_taken_and_nothing_is_said_while_a_job_still_saves_its_work(
    running: Lab,
    intake: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin_jobs(running)
    slow = running.executor.jobs[0]
    slow.stops_at_once = False
    monkeypatch.setattr(jobs, "_SECONDS", 0.0)
    with pytest.raises(BusyError, match=f"linnet-{MODEL}-{RUN} is Stopping"):
        closed()

    assert (ledger.read(f"model/{MODEL}", "slot") or {})["owner"] == EXECUTION
    assert run_row()["state"] == "running"
    assert intake.messages() == []
    slow.stops_at_once = True
    slow.stop()
    assert closed()["outcome"] == "failed"
    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})


@pytest.mark.parametrize("outcome", failures.BROKEN)
def test_every_broken_outcome_frees_the_slot_without_a_cool_down_and_tells_the_next_step(
    running: Lab,
    intake: World,
    outcome: str,
) -> None:
    runs.close(MODEL, RUN, EXECUTION, AT, outcome, "the reason", correlation_id="c")

    slot = ledger.read(f"model/{MODEL}", "slot") or {}
    assert not {"owner", "cooled_from", "judged"} & set(slot)
    assert run_row()["state"] == outcome
    (message,) = intake.messages()
    assert (message["kind"], outcome in message["what"], "the reason" in message["what"]) == ("run-failed", True, True)
    assert message["next_step"]
