"""Hyperparameter tuning: many training jobs, the best one named. Strategies Random and Grid."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker import events
from local.sagemaker.api import ApiError, invalid, not_emulated, shaped
from local.sagemaker.jobs import ENDED, Jobs
from local.sagemaker.records import Record, listing, named, paged
from local.sagemaker.world import World

_KIND = "HyperParameterTuningJob"
_HANDED_DOWN = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "Environment",
    "RetryStrategy",
)
"""What a training job takes from TrainingJobDefinition."""


@dataclass
class _Tuning:
    record: Record
    left: Iterator[dict[str, str]]
    """The hyperparameters still to try."""
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Training job -> its tuned hyperparameters."""

    @property
    def status(self) -> str:
        return str(self.record[f"{_KIND}Status"])

    @property
    def objective(self) -> tuple[str, bool]:
        """Return the metric and whether more is better."""
        objective = self.record[f"{_KIND}Config"][f"{_KIND}Objective"]
        return objective["MetricName"], objective["Type"] == "Maximize"


def draw(ranges: Mapping[str, Any], rng: random.Random) -> dict[str, str]:
    """Return one random choice of hyperparameters within ParameterRanges, on each range's own scale."""
    chosen: dict[str, str] = {}
    for kind, whole in (("IntegerParameterRanges", True), ("ContinuousParameterRanges", False)):
        for item in ranges.get(kind, ()):
            low, high = bounds(item)
            value = _scaled(low, high, item.get("ScalingType", "Auto"), rng)
            chosen[item["Name"]] = str(round(value)) if whole else repr(min(max(value, low), high))
    for item in ranges.get("CategoricalParameterRanges", ()):
        chosen[item["Name"]] = rng.choice(item["Values"])
    return chosen


def bounds(item: Mapping[str, Any]) -> tuple[float, float]:
    """Return a range's bounds. Raises ApiError(ValidationException) when they are no numbers or the wrong way round."""
    try:
        low, high = float(item["MinValue"]), float(item["MaxValue"])
    except ValueError as error:
        raise invalid(f"The range of {item['Name']!r} must have numbers as MinValue and MaxValue: {error}") from error
    scale = item.get("ScalingType", "Auto")
    if not low <= high or (scale == "Logarithmic" and low <= 0) or (scale == "ReverseLogarithmic" and high >= 1):
        raise invalid(f"The range of {item['Name']!r} from {low} to {high} is not allowed with ScalingType {scale}")
    return low, high


def _scaled(low: float, high: float, scale: str, rng: random.Random) -> float:
    if scale == "Logarithmic":
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    if scale == "ReverseLogarithmic":
        return 1 - math.exp(rng.uniform(math.log(1 - high), math.log(1 - low)))
    return rng.uniform(low, high)


class Tunings:
    """The operations of hyperparameter tuning jobs."""

    def __init__(self, world: World, jobs: Jobs) -> None:
        self._world = world
        self._jobs = jobs
        self._tunings: dict[str, _Tuning] = {}
        jobs.on_end.append(self._ended)

    def create_hyper_parameter_tuning_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Start a tuning job. Raises ApiError(ResourceInUse) when the name was ever used."""
        name = params[f"{_KIND}Name"]
        arn = self._world.arn("hyper-parameter-tuning-job", name)
        if name in self._tunings:
            raise ApiError(  # AWS's words: aws/amazon-sagemaker-examples#3092
                "ResourceInUse",
                f"A hyperparameter tuning job with the name, {name}, already exists. Choose a different name.",
            )
        left = self._plan(params)
        record = {**deepcopy(dict(params)), f"{_KIND}Arn": arn, f"{_KIND}Status": "InProgress"}
        record["Strategy"] = params[f"{_KIND}Config"]["Strategy"]
        record["ResourceLimits"] = params[f"{_KIND}Config"]["ResourceLimits"]
        tuning = _Tuning(record, left)
        self._launch(tuning)  # a definition that no training job may have is refused before anything is kept
        self._world.created(record, arn, named(params))
        self._tunings[name] = tuning
        self._count(tuning)
        events.tuning(self._world, record)
        return {f"{_KIND}Arn": arn}

    def _plan(self, params: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        config = params[f"{_KIND}Config"]
        for unknown in ("TrainingJobDefinitions", "WarmStartConfig", "Autotune"):
            if unknown in params:
                raise not_emulated(f"{unknown} of a tuning job")
        if "TrainingJobDefinition" not in params or f"{_KIND}Objective" not in config:
            raise invalid(f"A tuning job needs TrainingJobDefinition and {_KIND}Objective")
        if config.get("TrainingJobEarlyStoppingType") == "Auto" or "TuningJobCompletionCriteria" in config:
            raise not_emulated("TrainingJobEarlyStoppingType Auto and TuningJobCompletionCriteria")
        limits, ranges = config["ResourceLimits"], config.get("ParameterRanges", {})
        if "MaxRuntimeInSeconds" in limits:
            raise not_emulated("ResourceLimits.MaxRuntimeInSeconds of a tuning job")
        if config["Strategy"] == "Grid":
            return self._grid(ranges, limits.get("MaxNumberOfTrainingJobs"))
        if config["Strategy"] != "Random":
            raise not_emulated(f"the strategy {config['Strategy']}; Random and Grid are")
        if "MaxNumberOfTrainingJobs" not in limits:
            raise invalid("Missing required parameter 'MaxNumberOfTrainingJobs' in ResourceLimits")
        rng = random.Random(config["RandomSeed"]) if "RandomSeed" in config else self._world.rng
        return iter([draw(ranges, rng) for _ in range(limits["MaxNumberOfTrainingJobs"])])

    @staticmethod
    def _grid(ranges: Mapping[str, Any], most: int | None) -> Iterator[dict[str, str]]:
        if ranges.get("IntegerParameterRanges") or ranges.get("ContinuousParameterRanges"):
            raise invalid("The strategy Grid only allows CategoricalParameterRanges")
        items = ranges.get("CategoricalParameterRanges", [])
        product = list(itertools.product(*(item["Values"] for item in items)))
        if most is not None and most != len(product):
            raise invalid(f"MaxNumberOfTrainingJobs {most} must be {len(product)}, the size of the grid")
        return iter([dict(zip([item["Name"] for item in items], values, strict=True)) for values in product])

    def _launch(self, tuning: _Tuning) -> None:
        """Start training jobs up to MaxParallelTrainingJobs."""
        record = tuning.record
        running = sum(self._jobs.training(name)["TrainingJobStatus"] not in ENDED for name in tuning.jobs)
        free = record["ResourceLimits"]["MaxParallelTrainingJobs"] - running
        definition = record["TrainingJobDefinition"]
        for tuned in itertools.islice(tuning.left, max(0, free)):
            name = f"{record[f'{_KIND}Name']}-{len(tuning.jobs) + 1:03d}-{self._world.identifier()[:8]}"
            request = {key: definition[key] for key in _HANDED_DOWN if key in definition}
            objective = {"_tuning_objective_metric": tuning.objective[0]}
            request["HyperParameters"] = {**definition.get("StaticHyperParameters", {}), **tuned, **objective}
            self._jobs.create_training_job({"TrainingJobName": name, **request})
            self._jobs.training(name)["TuningJobArn"] = record[f"{_KIND}Arn"]
            tuning.jobs[name] = tuned

    def _ended(self, record: Record) -> None:
        """Go on when a training job has ended."""
        for tuning in self._tunings.values():
            if record["TrainingJobName"] not in tuning.jobs:
                continue
            if tuning.status == "InProgress":
                self._launch(tuning)
            self._count(tuning)
            if not tuning.record["TrainingJobStatusCounters"]["InProgress"]:
                self._finish(tuning)
            return

    def _finish(self, tuning: _Tuning) -> None:
        status = "Stopped" if tuning.status == "Stopping" else "Completed"
        if status == "Completed" and "BestTrainingJob" not in tuning.record:
            status = "Failed"
            tuning.record["FailureReason"] = "No training job succeeded with a value of the objective metric"
        tuning.record[f"{_KIND}Status"] = status
        tuning.record["HyperParameterTuningEndTime"] = self._world.now()
        events.tuning(self._world, tuning.record)

    def _count(self, tuning: _Tuning) -> None:
        summaries = self._summaries(tuning)
        states = [summary["TrainingJobStatus"] for summary in summaries]
        tuning.record["TrainingJobStatusCounters"] = {
            "Completed": states.count("Completed"),
            "InProgress": sum(state not in ENDED for state in states),
            "RetryableError": 0,
            "NonRetryableError": states.count("Failed"),
            "Stopped": states.count("Stopped"),
        }
        goals = [summary["ObjectiveStatus"] for summary in summaries]
        counters = {name: goals.count(name) for name in ("Succeeded", "Pending", "Failed")}
        tuning.record["ObjectiveStatusCounters"] = counters
        tuning.record["LastModifiedTime"] = self._world.now()
        good = [summary for summary in summaries if summary["ObjectiveStatus"] == "Succeeded"]
        if good:
            sign = 1 if tuning.objective[1] else -1
            tuning.record["BestTrainingJob"] = max(good, key=lambda summary: sign * _value(summary))

    def _summaries(self, tuning: _Tuning) -> list[dict[str, Any]]:
        summaries = []
        for name, tuned in tuning.jobs.items():
            job = self._jobs.training(name)
            summary = {key: job[key] for key in ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "#")}
            times = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "FailureReason")
            summary |= {key: job[key] for key in times if key in job} | {"TunedHyperParameters": tuned}
            values = [m for m in job.get("FinalMetricDataList", ()) if m["MetricName"] == tuning.objective[0]]
            summary["ObjectiveStatus"] = "Pending" if job["TrainingJobStatus"] not in ENDED else "Failed"
            if job["TrainingJobStatus"] == "Completed" and values and math.isfinite(values[0]["Value"]):
                summary["ObjectiveStatus"] = "Succeeded"
                metric = {"MetricName": tuning.objective[0], "Value": values[0]["Value"]}
                kind = "Maximize" if tuning.objective[1] else "Minimize"
                summary["FinalHyperParameterTuningJobObjectiveMetric"] = {"Type": kind, **metric}
            summaries.append(summary)
        return summaries

    def describe_hyper_parameter_tuning_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a tuning job with its counters and the best training job so far."""
        answer = shaped("DescribeHyperParameterTuningJob", self._find(params).record)
        if "BestTrainingJob" in answer:
            answer["BestTrainingJob"] = {key: value for key, value in answer["BestTrainingJob"].items() if key != "#"}
        return answer

    def list_hyper_parameter_tuning_jobs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List tuning jobs."""
        return listing(
            "ListHyperParameterTuningJobs", params, [tuning.record for tuning in self._tunings.values()], _KIND
        )

    def list_training_jobs_for_hyper_parameter_tuning_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List a tuning job's training jobs, by name unless SortBy says otherwise."""
        summaries = self._summaries(self._find(params))
        if "StatusEquals" in params:
            summaries = [item for item in summaries if item["TrainingJobStatus"] == params["StatusEquals"]]
        column = {"CreationTime": "CreationTime", "Status": "TrainingJobStatus"}.get(params.get("SortBy", ""))
        by_value = params.get("SortBy") == "FinalObjectiveMetricValue"
        if by_value:
            summaries = [item for item in summaries if item["ObjectiveStatus"] == "Succeeded"]
        return paged(
            "ListTrainingJobsForHyperParameterTuningJob",
            params,
            summaries,
            key=lambda item: [_value(item) if by_value else item[column or "TrainingJobName"], item["#"]],
            descending=params.get("SortOrder") == "Descending",
        )

    def stop_hyper_parameter_tuning_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Stop a tuning job and its running training jobs."""
        tuning = self._find(params)
        if tuning.status in ENDED:
            raise invalid(f"The request was rejected because the tuning job is in status {tuning.status}.")
        tuning.record[f"{_KIND}Status"] = "Stopping"
        events.tuning(self._world, tuning.record)
        for name in list(tuning.jobs):
            if self._jobs.training(name)["TrainingJobStatus"] not in ENDED:
                self._jobs.stop_training_job({"TrainingJobName": name})
        return {}

    def _find(self, params: Mapping[str, Any]) -> _Tuning:
        name = params[f"{_KIND}Name"]
        if name not in self._tunings:
            raise ApiError("ResourceNotFound", f"There is no hyperparameter tuning job {name!r}")
        return self._tunings[name]


def _value(summary: Mapping[str, Any]) -> float:
    return float(summary["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
