"""A run's SageMaker jobs: adopted, stopped and seen stopped, counted; the best of a tuning found."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import adoption, names, processing, training, tuning
from linnet.errors import BusyError, JobFailedError, NameTakenError, NotFoundError
from linnet.gateways.clients import client
from linnet.gateways.removal import is_gone
from linnet.settings import settings

_KINDS = ("training_job", "hyper_parameter_tuning_job", "processing_job", "transform_job")
_LOOKS, _SECONDS = 20, 0.5
"""How often, and how far apart, a job that was told to stop is looked at before the caller must come again."""


def of_run(model: str, run: str) -> list[tuple[str, str]]:
    """Return kind and name of the jobs that a run may have, in the order in which they must stop.

    The tuning comes first: it would start the next training job in place of a stopped one.
    """
    stack = settings().stack
    transforms = [("transform_job", names.job(stack, model, run, who)) for who in ("candidate", "champion")]
    tuned = ("hyper_parameter_tuning_job", tuning.name(stack, run))
    reading = ("processing_job", names.job(stack, model, run, processing.PURPOSE))
    return [reading, tuned, *(("training_job", name) for name in _training_names(model, run)), *transforms]


def _training_names(model: str, run: str) -> list[str]:
    return [names.job(settings().stack, model, run, purpose) for purpose in ("", training.ON_DEMAND)]


def _described(kind: str, name: str) -> dict[str, Any] | None:
    try:
        return dict(getattr(client("sagemaker"), f"describe_{kind}")(**{_title(kind) + "Name": name}))
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def _title(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_"))


def adopt(request: Mapping[str, Any]) -> dict[str, str]:
    """Return what the job made that SageMaker has under the name of a refused Create request (F28).

    A name follows from its intent, so a job that does what `request` asks was made by an earlier call whose answer was
    lost. Return `{training_job, artifact}`, `{tuning_job}`, or `{}` for a processing or transform job.

    Raises:
        BusyError: it still works; asking again is right.
        NameTakenError: it does something else than `request` asks; names the fields that differ, not their values.
        JobFailedError: it ended without completing.
        NotFoundError: there is no such job.
    """
    kind = next(kind for kind in _KINDS if f"{_title(kind)}Name" in request)
    name = str(request[f"{_title(kind)}Name"])
    found = _described(kind, name)
    if found is None:
        raise NotFoundError(f"{kind} {name} is said to exist and cannot be described")
    differing = adoption.differences(request, found)
    if differing:
        raise NameTakenError(f"{kind} {name} exists and differs from what is asked in {', '.join(differing)}")
    status = str(found[f"{_title(kind)}Status"])
    if status in ("InProgress", "Stopping"):
        raise BusyError(f"{kind} {name} is {status}")
    if status != "Completed":
        raise JobFailedError(json.dumps({key: found[key] for key in adoption.TELLING if key in found}))
    if kind == "training_job":
        return {"training_job": name, "artifact": str(found["ModelArtifacts"]["S3ModelArtifacts"])}
    return {"tuning_job": name} if kind == "hyper_parameter_tuning_job" else {}


def stop(model: str, run: str) -> dict[str, str]:
    """Stop all jobs of a run and see that they have ended; return the last status of those that began (F33).

    Raises:
        BusyError: a job is still stopping (SageMaker lets it save its work for 120 seconds); asking again is right.
    """
    mine = of_run(model, run)
    for kind, name in mine:
        if _status(kind, name) == "InProgress":
            try:
                getattr(client("sagemaker"), f"stop_{kind}")(**{_title(kind) + "Name": name})
            except ClientError:
                if _status(kind, name) == "InProgress":  # else it has ended in the same moment
                    raise
    for look in range(_LOOKS):
        seen = {name: status for kind, name in mine if (status := _status(kind, name))}
        still = {name: status for name, status in seen.items() if status in ("InProgress", "Stopping")}
        if not still:
            return seen
        if look < _LOOKS - 1:
            time.sleep(_SECONDS)
    raise BusyError("not yet ended: " + ", ".join(f"{name} is {status}" for name, status in still.items()))


def _status(kind: str, name: str) -> str:
    found = _described(kind, name)
    return str(found[f"{_title(kind)}Status"]) if found else ""


def billed_instance_seconds(model: str, run: str) -> float:
    """Return what a run was billed: the billable seconds of its training and processing jobs, each for all its instances."""
    tuned = _of_tuning(tuning.name(settings().stack, run))
    jobs = [*_training_names(model, run), *(str(job["TrainingJobName"]) for job in tuned)]
    total = 0.0
    for name in jobs:
        job = _described("training_job", name)
        if job:
            # SageMaker bills this time for every instance (DescribeTrainingJob, BillableTimeInSeconds).
            total += job.get("BillableTimeInSeconds", 0) * job["ResourceConfig"].get("InstanceCount", 1)
    reading = _described("processing_job", names.job(settings().stack, model, run, processing.PURPOSE))
    if reading and "ProcessingStartTime" in reading and "ProcessingEndTime" in reading:
        total += (reading["ProcessingEndTime"] - reading["ProcessingStartTime"]).total_seconds()
    return total


def _of_tuning(name: str) -> Iterator[dict[str, Any]]:
    """Yield the training jobs of a tuning job; none if it never began."""
    token: dict[str, str] = {}
    while True:
        try:
            page = client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
                HyperParameterTuningJobName=name, MaxResults=100, **token
            )
        except ClientError as error:
            if is_gone(error):
                return
            raise
        yield from page["TrainingJobSummaries"]
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def best(name: str, direction: str, limits: dict[str, float]) -> dict[str, Any]:
    """Return the best training job of a tuning as `{training_job, tuning_job, artifact, hyperparameters}` (HP-05, HP-06).

    Raises:
        NotFoundError: no job has a value of the objective, or none of those keeps the limits; says what they break.
    """
    broken = []
    for summary in tuning.best_first(_of_tuning(name), direction):
        job = client("sagemaker").describe_training_job(TrainingJobName=summary["TrainingJobName"])
        breaks = tuning.broken_limits(job.get("FinalMetricDataList", []), limits)
        if not breaks:
            return {
                "training_job": str(summary["TrainingJobName"]),
                "tuning_job": name,
                "artifact": str(job["ModelArtifacts"]["S3ModelArtifacts"]),
                "hyperparameters": dict(summary["TunedHyperParameters"]),
            }
        broken.append(f"{summary['TrainingJobName']}: {', '.join(breaks)}")
    raise NotFoundError(
        f"no training job of {name} is good enough: {'; '.join(broken[:5]) or 'none has a value of the objective'}"
    )
