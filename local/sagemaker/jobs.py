"""Training, processing and transform jobs: their states, times, spot interruptions and stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker import events
from local.sagemaker.api import ApiError, invalid, not_emulated, shaped
from local.sagemaker.experiments import Experiments
from local.sagemaker.ports import Job, JobKind, JobOutcome
from local.sagemaker.records import Record, listing, named
from local.sagemaker.world import World

_DAY = 86400
ENDED = ("Completed", "Failed", "Stopped")
"""The statuses that a job does not leave."""


@dataclass
class _Run:
    """One job: its record and the attempts to run it."""

    kind: JobKind
    request: dict[str, Any]
    record: Record
    attempt: int = 0
    job: Job | None = None
    worked: float = 0.0
    """Real seconds that its attempts ran."""
    waited: float = 0.0
    """Wall-clock seconds that it waited for an instance."""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return {"training": "TrainingJob", "processing": "ProcessingJob", "transform": "TransformJob"}[self.kind]

    @property
    def name(self) -> str:
        return str(self.record[f"{self.title}Name"])

    @property
    def status(self) -> str:
        return str(self.record[f"{self.title}Status"])


class _Report:
    """What an executor tells about one attempt; reports of an earlier or ended attempt are dropped."""

    def __init__(self, jobs: Jobs, run: _Run) -> None:
        self._jobs = jobs
        self._run = run
        self._attempt = run.attempt
        self.over = False

    def _current(self) -> bool:
        return not self.over and self._run.attempt == self._attempt and self._run.status not in ENDED

    def secondary(self, status: str, message: str = "") -> None:
        """Note a SecondaryStatus; only training jobs show one."""
        with self._jobs.world.locked():
            if self._current() and self._run.status == "InProgress":
                self._jobs.note(self._run, status, message)

    def metric(self, name: str, value: float) -> None:
        """Note the latest value of a training metric."""
        with self._jobs.world.locked():
            if self._current():
                self._jobs.measured(self._run, name, value)

    def done(self, outcome: JobOutcome) -> None:
        """End the attempt."""
        with self._jobs.world.locked():
            if self._current():
                self.over = True
                self._jobs.ended(self._run, outcome)


class Jobs:
    """The jobs' operations. A job's name is taken for ever."""

    def __init__(self, world: World, container_of: Callable[[str], dict[str, Any]], experiments: Experiments) -> None:
        self.world = world
        self._experiments = experiments
        self.on_end: list[Callable[[Record], None]] = []
        """Called with a training job's record when it has ended."""
        self._container_of = container_of
        self._runs: dict[JobKind, dict[str, _Run]] = {"training": {}, "processing": {}, "transform": {}}

    # -- create ------------------------------------------------------------------------------------------------------

    def create_training_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Start a training job. Raises ApiError(ResourceInUse) when the name was ever used."""
        if "ServerlessJobConfig" in params:
            raise not_emulated("ServerlessJobConfig")
        algorithm, stopping = params.get("AlgorithmSpecification", {}), params.get("StoppingCondition", {})
        if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
            raise invalid("AlgorithmSpecification must name exactly one of TrainingImage and AlgorithmName")
        if "AlgorithmName" in algorithm:
            raise not_emulated("AlgorithmSpecification.AlgorithmName")
        if "ResourceConfig" not in params:
            raise invalid("Missing required parameter 'ResourceConfig' of a training job")
        spot, longest = params.get("EnableManagedSpotTraining", False), stopping.get("MaxWaitTimeInSeconds")
        if spot and longest is None:
            raise invalid("StoppingCondition needs MaxWaitTimeInSeconds when EnableManagedSpotTraining is true")
        if longest is not None and not spot:
            raise invalid(f"MaxWaitTimeInSeconds {longest} is only allowed when EnableManagedSpotTraining is true")
        if spot and longest < stopping.get("MaxRuntimeInSeconds", _DAY):
            raise invalid(
                f"Invalid MaxWaitTimeInSeconds. It must be greater than or equal to MaxRuntimeInSeconds: "
                f"{longest} < {stopping.get('MaxRuntimeInSeconds', _DAY)}"
            )
        extra = {"SecondaryStatus": "Starting", "SecondaryStatusTransitions": []}
        return self._create(
            "training", params, {"StoppingCondition": {"MaxRuntimeInSeconds": _DAY, **stopping}} | extra
        )

    def create_processing_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Start a processing job. Raises ApiError(ResourceInUse) when the name was ever used."""
        defaults = {"StoppingCondition": {"MaxRuntimeInSeconds": _DAY}}
        return self._create("processing", params, defaults if "StoppingCondition" not in params else {})

    def create_transform_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Start a batch transform job with an existing model."""
        return self._create("transform", params, {}, Container=self._container_of(params["ModelName"]))

    def _create(
        self, kind: JobKind, params: Mapping[str, Any], extra: dict[str, Any], **request: Any
    ) -> dict[str, Any]:
        run = _Run(kind, {**deepcopy(dict(params)), **request}, {**deepcopy(dict(params)), **extra})
        if "StoppingCondition" in run.record:
            run.request["StoppingCondition"] = dict(run.record["StoppingCondition"])
        arn = self.world.arn(f"{kind}-job", run.name)
        if arn in self.world.tags:
            raise ApiError(
                "ResourceInUse",
                f"{kind.capitalize()} job names must be unique within an AWS account and region, "
                f"and a {kind} job with this name already exists ({arn})",
            )
        self._experiments.check(params.get("ExperimentConfig", {}))
        self._runs[kind][run.name] = run
        run.record |= {f"{run.title}Arn": arn, f"{run.title}Status": "InProgress"}
        self.world.created(run.record, arn, named(params))
        self._experiments.track(kind, run.record, request.get("Container"))
        self.note(run, "Starting", "Preparing the instances")
        self.world.later(self.world.timings.job_start, lambda: self._start(run))
        return {f"{run.title}Arn": arn}

    # -- describe, list, stop ----------------------------------------------------------------------------------------

    def describe_training_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a training job."""
        return shaped("DescribeTrainingJob", self._find("training", params["TrainingJobName"]).record)

    def describe_processing_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a processing job."""
        return shaped("DescribeProcessingJob", self._find("processing", params["ProcessingJobName"]).record)

    def describe_transform_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a transform job."""
        return shaped("DescribeTransformJob", self._find("transform", params["TransformJobName"]).record)

    def list_training_jobs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List training jobs."""
        return self._list("ListTrainingJobs", params, "training")

    def list_processing_jobs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List processing jobs."""
        return self._list("ListProcessingJobs", params, "processing")

    def list_transform_jobs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List transform jobs."""
        return self._list("ListTransformJobs", params, "transform")

    def _list(self, operation: str, params: Mapping[str, Any], kind: JobKind) -> dict[str, Any]:
        return listing(operation, params, [run.record for run in self._runs[kind].values()], f"{kind.capitalize()}Job")

    def stop_training_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a training job to stop: SIGTERM, 120 real seconds to save what it has, Stopped."""
        return self._stop(self._find("training", params["TrainingJobName"]))

    def stop_processing_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a processing job to stop."""
        return self._stop(self._find("processing", params["ProcessingJobName"]))

    def stop_transform_job(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a transform job to stop."""
        return self._stop(self._find("transform", params["TransformJobName"]))

    def _find(self, kind: JobKind, name: str) -> _Run:
        run = self._runs[kind].get(name)
        if run is None:
            text = "Requested resource not found." if kind == "training" else "Could not find requested job with name: "
            raise invalid(text + ("" if kind == "training" else name))
        return run

    def _stop(self, run: _Run) -> dict[str, Any]:
        if run.status in ENDED:
            raise invalid(f"The request was rejected because the {run.kind} job is in status {run.status}.")
        if run.status == "Stopping":
            return {}
        run.record[f"{run.title}Status"] = "Stopping"
        self.note(run, "Stopping", "Stopping the job")
        if run.job is not None:
            run.job.stop()
        else:  # not started yet, or waiting for a spot instance
            self.ended(run, JobOutcome("Stopped"))
        return {}

    def training(self, name: str) -> Record:
        """Return a training job's record."""
        return self._find("training", name).record

    def interrupt(self, name: str) -> None:
        """Take a spot training job's instance away. Raises ApiError when it is not a running spot job."""
        run = self._find("training", name)
        if not run.record.get("EnableManagedSpotTraining"):
            raise invalid(f"Training job {name!r} runs on demand: EnableManagedSpotTraining is not true")
        if run.job is None or run.status != "InProgress":
            raise invalid(f"Training job {name!r} has no instance to take away in status {run.status}")
        run.job.interrupt()

    # -- running -----------------------------------------------------------------------------------------------------

    def _start(self, run: _Run) -> None:
        if run.status != "InProgress":
            return
        run.attempt += 1
        run.record.setdefault(f"{run.kind.capitalize()}StartTime", self.world.now())
        self._limit(run)
        report = _Report(self, run)
        try:
            run.job = self.world.executor.run_job(run.kind, deepcopy(run.request), report, attempt=run.attempt)
        except Exception as error:  # the executor's refusal is the job's failure, as a bad image is on AWS
            report.done(JobOutcome("Failed", failure_reason=f"ClientError: {error}"))
        if report.over:
            run.job = None

    def _limit(self, run: _Run) -> None:
        """Leave to this attempt what earlier ones left of MaxRuntime and of MaxWaitTime."""
        condition = run.record.get("StoppingCondition")
        if condition is None:
            return
        left = condition["MaxRuntimeInSeconds"] - run.worked
        if "MaxWaitTimeInSeconds" in condition:
            left = min(left, condition["MaxWaitTimeInSeconds"] - run.worked - run.waited)
        run.request["StoppingCondition"]["MaxRuntimeInSeconds"] = max(1, math.floor(left))

    def note(self, run: _Run, secondary: str, message: str = "") -> None:
        """Enter a secondary status (training only) and emit the job's event."""
        now = self.world.now()
        run.record["LastModifiedTime"] = now
        if run.kind == "training":
            steps = run.record["SecondaryStatusTransitions"]
            if steps:
                steps[-1]["EndTime"] = now
            steps.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
            if secondary in (*ENDED, "MaxRuntimeExceeded", "MaxWaitTimeExceeded"):
                steps[-1]["EndTime"] = now
            run.record["SecondaryStatus"] = secondary
        {"training": events.training, "processing": events.processing, "transform": events.transform}[run.kind](
            self.world, run.record
        )

    def measured(self, run: _Run, name: str, value: float) -> None:
        """Note a metric: the last value is the final one, and CloudWatch gets each."""
        run.metrics[name] = {"MetricName": name, "Value": value, "Timestamp": self.world.now()}
        run.record["FinalMetricDataList"] = list(run.metrics.values())
        run.record.setdefault("#metrics", {}).setdefault(name, []).append((self.world.now(), value))
        self.world.metric("/aws/sagemaker/TrainingJobs", name, value, "None", {"TrainingJobName": run.name})

    def ended(self, run: _Run, outcome: JobOutcome) -> None:
        """Enter the end of an attempt: an interrupted one is run again while MaxWaitTimeInSeconds allows."""
        run.job = None
        run.worked += outcome.seconds
        if outcome.status == "Interrupted" and run.status == "InProgress" and self._waits(run):
            return
        secondary, message = _secondary(run, outcome)
        run.record[f"{run.title}Status"] = secondary if secondary in ENDED else "Stopped"
        if secondary == "Failed":
            run.record["FailureReason"] = (message or "AlgorithmError: the container failed")[:1024]
        if outcome.exit_message and run.kind == "processing":
            run.record["ExitMessage"] = outcome.exit_message[:1024]
        if outcome.model_artifacts:
            run.record["ModelArtifacts"] = {"S3ModelArtifacts": outcome.model_artifacts}
        self._times(run)
        self.note(run, secondary, message)
        if run.kind == "training":
            for listener in self.on_end:
                listener(run.record)

    def _waits(self, run: _Run) -> bool:
        """Enter the interruption; False when no instance comes in time, or none at all on demand."""
        longest = run.record.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        if longest is None:
            return False
        run.waited += self.world.timings.spot_wait
        self.note(run, "Interrupted", "The spot instance was taken away")
        if run.worked + run.waited >= longest:
            return False
        attempt = run.attempt

        def again() -> None:
            if run.attempt == attempt and run.status == "InProgress":
                self.note(run, "Starting", "An instance is there again")
                self._start(run)

        self.world.later(self.world.timings.spot_wait, again)
        return True

    def _times(self, run: _Run) -> None:
        now, prefix = self.world.now(), run.kind.capitalize()
        run.record.setdefault(f"{prefix}StartTime", now)
        run.record[f"{prefix}EndTime"] = now
        if run.kind == "training":
            # Spot is billed at the price of the hour, which a laptop does not know: no saving is claimed.
            run.record["TrainingTimeInSeconds"] = max(1, math.ceil(run.worked))
            run.record["BillableTimeInSeconds"] = max(
                1, math.ceil(run.worked)
            )  # of one instance, whatever their number

    def close(self) -> None:
        """Stop what still runs."""
        for runs in self._runs.values():
            for run in runs.values():
                if run.job is not None:
                    run.job.stop()


def _secondary(run: _Run, outcome: JobOutcome) -> tuple[str, str]:
    """Return the last secondary status of a job and its message; the status itself is Stopped for all but two."""
    if run.status == "Stopping":
        return "Stopped", outcome.failure_reason
    condition = run.record.get("StoppingCondition", {})
    if outcome.status == "Interrupted":
        if "MaxWaitTimeInSeconds" not in condition:
            return "Failed", "InternalServerError: the instance of the job was lost"
        return "MaxWaitTimeExceeded", "MaxWaitTimeInSeconds passed before an instance was there again"
    if outcome.status == "MaxRuntimeExceeded" and run.waited and run.worked < condition["MaxRuntimeInSeconds"]:
        return "MaxWaitTimeExceeded", outcome.failure_reason  # the attempt was only given what was left of it
    return outcome.status, outcome.failure_reason
