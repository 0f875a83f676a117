"""A run's trial and the steps in it: requests that SageMaker takes, names that an off-boarding finds again (EX-01, EX-05)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import experiments, names, processing, training
from linnet.events.spec import check_spec, spec_json
from local.sagemaker.api import check_request, service_model
from models.flights import data as flights
from tests.sagemaker.doubles import training_request
from tests.sagemaker.test_jobs import PROCESSING, TRANSFORM

RUN = {"run": "r0123456789", "stack": "linnet", "at": "2025-01-15T02:00:05Z"}
TRIAL = {"ExperimentName": "linnet-flights", "TrialName": "linnet-flights-r0123456789"}


def spec(**hyperparameters: Any) -> dict[str, Any]:
    made = spec_json(check_spec(flights.spec()))
    return made | {"training": made["training"] | {"hyperparameters": hyperparameters}}


def test_ex_05_a_trial_is_named_after_its_run_and_shown_by_the_seeds_pattern_without_dots() -> None:
    made = experiments.trial(spec(learning_rate=0.01, max_depth=5), **RUN)

    assert {name: made[name] for name in TRIAL} == TRIAL
    assert made["DisplayName"] == "lr-0-01-depth-5-2025-01-15"
    check_request("CreateTrial", made)


@given(
    hyperparameters=st.dictionaries(
        st.sampled_from(["eta", "max_depth", "objective"]) | st.text(min_size=1),
        st.text() | st.floats() | st.integers(),
    ),
    stack=st.just("linnet") | st.just("s" * 20),
)
def test_any_hyperparameters_give_a_name_that_the_api_takes(hyperparameters: dict[str, Any], stack: str) -> None:
    check_request("CreateTrial", experiments.trial(spec(**hyperparameters), **RUN | {"stack": stack}))


def test_every_kind_of_job_takes_its_step_and_a_run_without_a_trial_asks_for_none() -> None:
    step = experiments.step("candidate", TRIAL)

    assert step == {"ExperimentConfig": TRIAL | {"TrialComponentDisplayName": "candidate"}}
    check_request("CreateTrainingJob", training_request("j") | step)
    check_request("CreateTransformJob", TRANSFORM | step)
    check_request("CreateProcessingJob", PROCESSING | step)
    assert experiments.step("candidate", {}) == {}


@pytest.mark.parametrize("shape", ["CreateHyperParameterTuningJobRequest", "HyperParameterTrainingJobDefinition"])
def test_a_tuning_job_has_no_place_for_a_trial(shape: str) -> None:
    """When SageMaker learns it, this fails and tuned runs can have their training in the trial."""
    assert "ExperimentConfig" not in service_model().shape_for(shape).members


def test_the_components_of_a_trial_are_those_of_the_names_that_a_runs_jobs_get() -> None:
    def job(purpose: str = "") -> str:
        return names.job("linnet", "flights", RUN["run"], purpose)

    assert sorted(experiments.components(TRIAL["TrialName"])) == sorted([
        f"{job()}-aws-training-job", f"{job(training.ON_DEMAND)}-aws-training-job",
        f"{job('candidate')}-aws-transform-job", f"{job('champion')}-aws-transform-job",
        f"{job(processing.PURPOSE)}-aws-processing-job",
    ])  # fmt: skip
