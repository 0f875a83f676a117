"""The search for hyperparameters: the request of a tuning job, what it may cost, and which of its jobs is the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from linnet.decisions import names, training

_MANY = 10
"""From so many hyperparameters on a search should learn from its results (HP-04)."""


def name(stack: str, run: str) -> str:
    """Return the name of a run's tuning job: 32 characters at most, all that SageMaker allows; a run is one model's."""
    return f"{stack}-{run}"


def strategy(tuning: Mapping[str, Any]) -> str:
    """Return the spec's strategy; left out, Random below 10 hyperparameters and Bayesian from there on (HP-04)."""
    return str(tuning["strategy"] or ("Random" if len(tuning["ranges"]) < _MANY else "Bayesian"))


def tuning_job(
    spec: Mapping[str, Any], *, run: str, stack: str, bucket: str, role: str, region: str,
    prepared: Mapping[str, str], parent: str = "", key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the CreateHyperParameterTuningJob request of a run (HP-01..HP-03).

    What is tuned leaves the fixed hyperparameters, as SageMaker allows each in one place only. The jobs take no
    checkpoints: they would share one prefix, and each would go on from another one's trees.
    """
    model, tuning = spec["model"], spec["training"]["tuning"]
    fixed = training.hyperparameters(spec["training"], bucket)
    common = training.definition(
        spec, run=run, bucket=bucket, role=role, region=region, prepared=prepared, parent=parent, key=key
    )
    return {
        "HyperParameterTuningJobName": name(stack, run),
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy(tuning),
            "HyperParameterTuningJobObjective": {"Type": tuning["direction"], "MetricName": tuning["objective"]},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": tuning["max_jobs"],
                "MaxParallelTrainingJobs": tuning["max_parallel"],
            },
            "ParameterRanges": _ranges(tuning["ranges"]),
            "TrainingJobEarlyStoppingType": "Auto" if tuning["early_stopping"] else "Off",
            "RandomSeed": int(names.digest(run), 16) % 2**31,  # the same run searches the same places
        },
        "TrainingJobDefinition": common
        | {"StaticHyperParameters": {n: value for n, value in fixed.items() if n not in tuning["ranges"]}},
        "Tags": training.tags(model, run),
    }


def _ranges(ranges: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for parameter, tried in ranges.items():
        if tried["type"] == "categorical":
            item: dict[str, Any] = {"Name": parameter, "Values": [training.text(value) for value in tried["values"]]}
        else:
            whole = tried["type"] == "integer"
            ends = [str(int(tried[end])) if whole else repr(float(tried[end])) for end in ("min", "max")]
            item = {"Name": parameter, "MinValue": ends[0], "MaxValue": ends[1], "ScalingType": tried["scaling"]}
        made.setdefault(f"{tried['type'].capitalize()}ParameterRanges", []).append(item)
    return made


def estimate(spec: Mapping[str, Any]) -> dict[str, float]:
    """Return what the run's training takes at worst: its jobs, and hours of one instance (HP-02)."""
    given = spec["training"]
    jobs = (given.get("tuning") or {"max_jobs": 1})["max_jobs"]
    return {"jobs": jobs, "instance_hours": jobs * given["max_runtime_seconds"] * given["instance_count"] / 3600}


def best_first(jobs: Iterable[Mapping[str, Any]], direction: str) -> list[Mapping[str, Any]]:
    """Return the completed jobs of a tuning that have a value of its objective, the best one first.

    Of equal ones the first to be made is the better one, so that the answer does not depend on a listing's order.
    """
    sign = -1 if direction == "Maximize" else 1
    found = [
        job
        for job in jobs
        if job["TrainingJobStatus"] == "Completed" and "FinalHyperParameterTuningJobObjectiveMetric" in job
    ]
    return sorted(found, key=lambda job: (sign * _value(job), str(job["TrainingJobName"])))


def _value(job: Mapping[str, Any]) -> float:
    return float(job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


def broken_limits(metrics: Iterable[Mapping[str, Any]], limits: Mapping[str, float]) -> list[str]:
    """Return in words which limits a job's final metrics break; a metric that it never measured breaks its limit (HP-06)."""
    seen = {metric["MetricName"]: float(metric["Value"]) for metric in metrics}
    return [
        f"{metric} {seen.get(metric, 'was not measured')} (limit {most:g})"
        for metric, most in limits.items()
        if not seen.get(metric, float("inf")) <= most
    ]
