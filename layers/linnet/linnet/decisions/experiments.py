"""A run as SageMaker Experiments shows it: a trial of its model's experiment, and each of its jobs a step of the trial."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from linnet.decisions import lineage, names, processing, training

_LONGEST = 120
_JOBS = (
    ("", "training"), (training.ON_DEMAND, "training"), ("candidate", "transform"), ("champion", "transform"),
    (processing.PURPOSE, "processing"),
)  # fmt: skip
"""Purpose in the name -> kind of the jobs that a run has in its trial."""


def trial(spec: Mapping[str, Any], *, run: str, stack: str, at: str) -> dict[str, Any]:
    """Return the CreateTrial request of a run (EX-01); it is shown by the seeds' pattern (EX-05).

    That pattern has dots, which the API's names do not: lr-0.01-depth-5-2025-01-15 is shown as lr-0-01-depth-5-2025-01-15.
    """
    pattern = lineage.trial(spec["training"]["hyperparameters"], at)
    return {
        "TrialName": names.job(stack, spec["model"], run),
        "DisplayName": re.sub(r"[^a-zA-Z0-9]+", "-", pattern)[:_LONGEST].strip("-"),
        "ExperimentName": names.base(stack, spec["model"]),
        "Tags": training.tags(spec["model"], run),
    }


def step(name: str, trial: Mapping[str, str]) -> dict[str, Any]:
    """Return what a job's request has on top, so that it is the step `name` of a trial; nothing where there is no trial.

    A tuning job's request has no place for it: neither CreateHyperParameterTuningJob nor its TrainingJobDefinition takes
    an ExperimentConfig. `trial` is `{ExperimentName, TrialName}`.
    """
    return {"ExperimentConfig": {**trial, "TrialComponentDisplayName": name}} if trial else {}


def components(trial: str) -> list[str]:
    """Return the names of the components that SageMaker may have made of the jobs in a run's trial."""
    return [f"{'-'.join(filter(None, (trial, purpose)))}-aws-{kind}-job" for purpose, kind in _JOBS]
