"""A run's trial: made once by whichever plans its first job, carried by all its jobs, and no run is lost for want of one."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from linnet.errors import BusyError
from linnet.events.spec import check_spec, spec_json
from linnet.gateways import ledger, removal, trials
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, world  # noqa: F401 - a fixture
from tests.contract.test_intake import MODEL, intake  # noqa: F401 - a fixture
from tests.contract.test_retrain_functions import lab  # noqa: F401 - a fixture
from tests.contract.test_retrain_training import AT, RUN, planned, run_row, running  # noqa: F401 - a fixture
from tests.sagemaker.doubles import Lab

TRIAL = {"ExperimentName": f"linnet-{MODEL}", "TrialName": f"linnet-{MODEL}-{RUN}"}


def evaluated(lab: Lab) -> list[dict[str, Any]]:
    """Return the requests of the transform jobs that the run's evaluation plans."""
    lab.aws.objects[f"s3://{BUCKET}/a"] = b"model"
    spec = spec_json(check_spec(flights.spec() | {"model": MODEL}))
    given = {
        "model": MODEL, "run": RUN, "at": "2026-11-22T00:00:00Z", "correlation_id": "c", "spec": spec,
        "trained": {"training_job": "j", "artifact": f"s3://{BUCKET}/a"},
        "champion": {"model_name": "old"}, "features_uri": f"s3://{BUCKET}/f/features.csv",
    }  # fmt: skip
    return list(handler("plan_evaluation")(given, CONTEXT)["transforms"])


def listed(lab: Lab) -> list[dict[str, Any]]:
    return list(lab.call("ListTrials")["TrialSummaries"])


def test_ex_01_a_run_has_one_trial_however_often_its_steps_are_planned_and_its_jobs_carry_it(running: Lab) -> None:
    plans = [planned()["request"] for _ in range(3)]
    transforms = evaluated(running)

    (trial,) = listed(running)
    assert trial["TrialName"] == TRIAL["TrialName"]
    assert trial["DisplayName"].endswith(f"-{AT[:10]}")
    assert plans[0] == plans[1] == plans[2]
    steps = {
        r["ExperimentConfig"].pop("TrialComponentDisplayName"): r["ExperimentConfig"] for r in (plans[0], *transforms)
    }
    assert steps == dict.fromkeys(("training", "candidate", "champion"), TRIAL)
    assert run_row()["experiment"] == TRIAL


def test_a_tuned_run_has_a_trial_of_which_its_evaluation_is_a_part(running: Lab) -> None:
    plan = planned(tuning={"max_jobs": 2, "max_parallel": 1, "early_stopping": False})

    running.call("CreateHyperParameterTuningJob", **plan["request"])
    assert [r["ExperimentConfig"]["TrialName"] for r in evaluated(running)] == [TRIAL["TrialName"]] * 2


def test_a_call_that_broke_after_the_trial_was_made_is_gone_on_with(
    running: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ledger.change

    def crash(pk: str, sk: str, **how: Any) -> Any:
        if "experiment" in how.get("put", {}):
            raise RuntimeError("the function was stopped")
        return write(pk, sk, **how)

    monkeypatch.setattr(trials.ledger, "change", crash)
    with pytest.raises(RuntimeError, match="was stopped"):
        planned()
    monkeypatch.setattr(trials.ledger, "change", write)
    assert "experiment" not in run_row()

    assert planned()["request"]["ExperimentConfig"]["TrialName"] == TRIAL["TrialName"]
    assert [t["TrialName"] for t in listed(running)] == [TRIAL["TrialName"]]


def no_room(lab: Lab) -> str:
    lab.sagemaker.refuse_calls("CreateTrial", "ResourceLimitExceeded", 1)
    return "ResourceLimitExceeded"


def no_experiment(lab: Lab) -> str:
    lab.call("DeleteExperiment", ExperimentName=TRIAL["ExperimentName"])
    return "does not exist"


def anothers(lab: Lab) -> str:
    lab.call("CreateExperiment", ExperimentName="by-hand")
    lab.call("CreateTrial", ExperimentName="by-hand", TrialName=TRIAL["TrialName"])
    return "exists in the experiment by-hand"


@pytest.mark.parametrize("trouble", [no_room, no_experiment, anothers])
def test_a_run_that_can_have_no_trial_goes_on_without_in_all_its_jobs_and_its_row_says_why(
    running: Lab, trouble: Any
) -> None:
    why = trouble(running)
    plan = planned()

    assert why in run_row()["experiment"]["why"]
    assert "ExperimentConfig" not in plan["request"]
    running.call("CreateTrainingJob", **plan["request"])
    assert not any("ExperimentConfig" in request for request in evaluated(running))


def test_too_many_calls_are_tried_again_and_are_no_reason_to_go_without(running: Lab) -> None:
    running.sagemaker.refuse_calls("CreateTrial", "ThrottlingException", 1)
    with pytest.raises(ClientError, match="ThrottlingException"):
        planned()

    assert "experiment" not in run_row()
    assert "ExperimentConfig" in planned()["request"]


def test_a_request_that_is_wrong_is_no_trial_that_exists(running: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.gateways.trials.experiments.trial", lambda *_, **__: TRIAL | {"DisplayName": "a.b"})

    with pytest.raises(ClientError, match="displayName"):
        planned()


def remove() -> dict[str, Any]:
    given = {"packages": False, "at": AT, "decided_by": "ada", "correlation_id": "off"}
    return removal.remove(MODEL, **given)


def test_off_boarding_takes_the_trials_with_their_components_and_the_experiment_along(running: Lab) -> None:
    running.call("CreateTrainingJob", **planned()["request"])
    running.model("old")
    for request in evaluated(running):
        running.call("CreateTransformJob", **request)
    assert len(running.call("ListTrialComponents", TrialName=TRIAL["TrialName"])["TrialComponentSummaries"]) == 3

    deleted = remove()["deleted"]

    assert ["trial", TRIAL["TrialName"]] in deleted
    assert ["experiment", TRIAL["ExperimentName"]] in deleted
    assert running.call("ListExperiments")["ExperimentSummaries"] == []
    assert listed(running) == []
    assert running.call("ListTrialComponents")["TrialComponentSummaries"] == []
    assert run_row()["experiment"] == TRIAL  # the ledger stays


def test_off_boarding_goes_on_where_it_broke_while_a_component_still_counts_as_linked(running: Lab) -> None:
    running.call("CreateTrainingJob", **planned()["request"])
    component = f"{TRIAL['TrialName']}-aws-training-job"
    running.call("CreateTrial", TrialName="late", ExperimentName=TRIAL["ExperimentName"])
    running.call("AssociateTrialComponent", TrialName="late", TrialComponentName=component)
    with pytest.raises(BusyError, match="is linked to 1 or more trials"):
        remove()

    running.call("DisassociateTrialComponent", TrialName="late", TrialComponentName=component)
    with pytest.raises(BusyError, match="has 1 or more trials"):
        remove()
    running.call("DeleteTrial", TrialName="late")
    assert ["experiment", TRIAL["ExperimentName"]] in remove()["deleted"]
    assert running.call("ListTrialComponents")["TrialComponentSummaries"] == []


@pytest.mark.parametrize("call", ["DescribeTrial", "DisassociateTrialComponent", "DeleteTrialComponent", "DeleteTrial"])
def test_off_boarding_that_calls_too_often_comes_again(running: Lab, call: str) -> None:
    running.call("CreateTrainingJob", **planned()["request"])
    running.sagemaker.refuse_calls(call, "ThrottlingException", 1)
    with pytest.raises(BusyError, match="ThrottlingException"):
        remove()

    assert ["experiment", TRIAL["ExperimentName"]] in remove()["deleted"]
    assert running.call("ListTrialComponents")["TrialComponentSummaries"] == []


def test_many_trials_go_a_bounded_number_at_a_time(running: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_TRIALS", 2)
    for number in range(5):
        run = f"r00000000{number}a"
        ledger.put_once(f"model/{MODEL}", f"run#{run}", {"run": run, "state": "failed", "at": AT})
        running.call("CreateTrial", TrialName=f"linnet-{MODEL}-{run}", ExperimentName=TRIAL["ExperimentName"])
    for left in (3, 1):
        with pytest.raises(BusyError, match="2 trials are deleted"):
            remove()
        assert len(listed(running)) == left
    remove()

    assert listed(running) == []
    assert running.call("ListExperiments")["ExperimentSummaries"] == []
