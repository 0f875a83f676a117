"""SageMaker Experiments: experiments, their trials, and the component that every job gets by itself."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from local.sagemaker.api import ApiError, invalid, not_emulated, shaped
from local.sagemaker.ports import JobKind
from local.sagemaker.records import Record, named, paged, seconds
from local.sagemaker.world import World

_ARN = {"Experiment": "experiment", "Trial": "experiment-trial", "TrialComponent": "experiment-trial-component"}
_LONGEST = {"StringValue": 2500, "Value": 2048, "Message": 1024}


class Experiments:
    """Experiments, trials and components; a name is unique in its kind and not case-sensitive (CreateExperiment).

    Nothing is eventual here: on AWS a component may count as linked for a while after it was taken out of its last trial
    (aws/sagemaker-python-sdk#1515).
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._records: dict[str, dict[str, Record]] = {kind: {} for kind in _ARN}
        """Kind -> name in lower case -> record."""

    def _find(self, kind: str, name: str) -> Record:
        record = self._records[kind].get(name.rpartition("/")[2].lower())
        if record is None:
            raise ApiError("ResourceNotFound", f"{kind} '{self._world.arn(_ARN[kind], name)}' does not exist.")
        return record

    def _create(self, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
        name = params[f"{kind}Name"]
        if name.lower() in self._records[kind]:
            # Both wordings that AWS has had: aws/deep-learning-containers#155 and aws/sagemaker-python-sdk#6256.
            raise invalid(
                f"{kind} names must be unique within an AWS account and region. "
                f"{kind} with name ({name}) already exists."
            )
        arn = self._world.arn(_ARN[kind], name)
        record = {"DisplayName": name, **params, f"{kind}Arn": arn}
        self._world.created(record, arn, named(params))
        self._records[kind][name.lower()] = record
        return {f"{kind}Arn": arn}

    def _delete(self, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
        record = self._find(kind, params[f"{kind}Name"])
        arn, name = record[f"{kind}Arn"], record[f"{kind}Name"]
        if kind == "TrialComponent" and record["#trials"]:
            # The words of AWS: aws/sagemaker-python-sdk#1515.
            raise invalid(f"TrialComponent '{arn}' is linked to 1 or more trials and cannot be deleted.")
        if kind == "Trial" and self._of_trial(name):
            raise invalid(f"Trial '{arn}' has 1 or more trial components and cannot be deleted.")
        if kind == "Experiment" and self._trials_of(name):
            raise invalid(f"Experiment '{arn}' has 1 or more trials and cannot be deleted.")
        del self._records[kind][name.lower()], self._world.tags[arn]
        return {f"{kind}Arn": arn}

    def _trials_of(self, experiment: str) -> list[Record]:
        return [t for t in self._records["Trial"].values() if t["ExperimentName"].lower() == experiment.lower()]

    def _of_trial(self, trial: str) -> list[Record]:
        return [c for c in self._records["TrialComponent"].values() if trial.lower() in c["#trials"]]

    @staticmethod
    def _list(operation: str, params: Mapping[str, Any], records: Iterable[Record], kind: str) -> dict[str, Any]:
        """Return a page of those made after CreatedAfter and before CreatedBefore, by default the newest first."""
        after, before = seconds(params.get("CreatedAfter", 0)), seconds(params.get("CreatedBefore", math.inf))
        column = {"Name": f"{kind}Name"}.get(params.get("SortBy", ""), "CreationTime")
        return paged(
            operation,
            params,
            [record for record in records if after < record["CreationTime"] < before],
            key=lambda record: [record[column], record["#"]],
            descending=params.get("SortOrder", "Descending") == "Descending",
        )

    # -- experiments -------------------------------------------------------------------------------------------------

    def create_experiment(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Create an experiment. Raises ApiError(ValidationException) when the name is taken."""
        return self._create("Experiment", params)

    def describe_experiment(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe an experiment. Raises ApiError(ResourceNotFound)."""
        return shaped("DescribeExperiment", self._find("Experiment", params["ExperimentName"]))

    def list_experiments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List experiments."""
        return self._list("ListExperiments", params, self._records["Experiment"].values(), "Experiment")

    def delete_experiment(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete an experiment without trials."""
        return self._delete("Experiment", params)

    # -- trials ------------------------------------------------------------------------------------------------------

    def create_trial(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Create a trial of an experiment that exists."""
        self._find("Experiment", params["ExperimentName"])
        return self._create("Trial", params)

    def describe_trial(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a trial. Raises ApiError(ResourceNotFound)."""
        return shaped("DescribeTrial", self._find("Trial", params["TrialName"]))

    def list_trials(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List all trials, or those of an experiment, or those that a component is in."""
        records = list(self._records["Trial"].values())
        if "ExperimentName" in params:
            records = self._trials_of(self._find("Experiment", params["ExperimentName"])["ExperimentName"])
        if "TrialComponentName" in params:
            within = self._find("TrialComponent", params["TrialComponentName"])["#trials"]
            records = [record for record in records if record["TrialName"].lower() in within]
        return self._list("ListTrials", params, records, "Trial")

    def delete_trial(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete a trial without components."""
        return self._delete("Trial", params)

    # -- components --------------------------------------------------------------------------------------------------

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a job's ExperimentConfig that names what does not exist.

        Raises:
            ApiError: ResourceNotFound; ValidationException for another experiment's trial; NotEmulatedException where
                SageMaker would make a trial or a run itself.
        """
        if not config:
            return
        if "TrialName" not in config or "RunName" in config:
            raise not_emulated("ExperimentConfig without TrialName, or with RunName")
        trial = self._find("Trial", config["TrialName"])
        if "ExperimentName" in config:
            experiment = self._find("Experiment", config["ExperimentName"])["ExperimentName"]
            if trial["ExperimentName"].lower() != experiment.lower():
                raise invalid(f"Trial '{trial['TrialArn']}' is not of the experiment '{experiment}'.")

    def track(self, kind: JobKind, job: Record, container: Mapping[str, Any] | None) -> None:
        """Make the component of a new job, in the trial of its ExperimentConfig if it has one.

        What it shows of the job is read from the job's record whenever it is asked for.
        """
        title = f"{kind.capitalize()}Job"
        name, config = f"{job[f'{title}Name']}-aws-{kind}-job", job.get("ExperimentConfig", {})
        shown = {"TrialComponentName": name, "DisplayName": config.get("TrialComponentDisplayName", name)}
        self._create("TrialComponent", shown)
        self._records["TrialComponent"][name.lower()] |= {
            "Source": {"SourceArn": job[f"{title}Arn"], "SourceType": f"SageMaker{title}"},
            "#trials": {config["TrialName"].lower()} if config else set(),
            "#job": (kind, job, container or {}),
        }

    def associate_trial_component(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Take a component into a trial; once is as good as twice."""
        return self._link(params, "add")

    def disassociate_trial_component(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Take a component out of a trial."""
        return self._link(params, "discard")

    def _link(self, params: Mapping[str, Any], how: str) -> dict[str, Any]:
        trial = self._find("Trial", params["TrialName"])
        component = self._find("TrialComponent", params["TrialComponentName"])
        getattr(component["#trials"], how)(trial["TrialName"].lower())
        return {"TrialArn": trial["TrialArn"], "TrialComponentArn": component["TrialComponentArn"]}

    def describe_trial_component(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a component by name or ARN as its job is now."""
        return shaped("DescribeTrialComponent", _shown(self._find("TrialComponent", params["TrialComponentName"])))

    def list_trial_components(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List all components, or those of one experiment, trial or source."""
        asked = [name for name in ("ExperimentName", "TrialName", "SourceArn") if name in params]
        if len(asked) > 1:
            raise invalid(f"Only one of ExperimentName, TrialName and SourceArn may be given, not {', '.join(asked)}")
        records = list(self._records["TrialComponent"].values())
        if "TrialName" in params:
            records = self._of_trial(self._find("Trial", params["TrialName"])["TrialName"])
        if "ExperimentName" in params:
            experiment = self._find("Experiment", params["ExperimentName"])["ExperimentName"]
            within = {trial["TrialName"].lower() for trial in self._trials_of(experiment)}
            records = [record for record in records if record["#trials"] & within]
        if "SourceArn" in params:
            records = [record for record in records if record["Source"]["SourceArn"] == params["SourceArn"]]
        return self._list("ListTrialComponents", params, [_shown(record) for record in records], "TrialComponent")

    def delete_trial_component(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete a component that is in no trial."""
        return self._delete("TrialComponent", params)


def _shown(record: Record) -> Record:
    """Return a component with what its job says: under the keys that AWS gives them in components of real jobs.

    Seen in public dumps of DescribeTrialComponent, of training jobs in the tests of aws/sagemaker-python-sdk.
    """
    kind, job, container = record["#job"]
    status, reason = job[f"{kind.capitalize()}JobStatus"], job.get("FailureReason")
    shown = {
        "TrialComponentSource": record["Source"],
        "Status": {
            "PrimaryStatus": status,
            "Message": f"Status: {status}, failure reason: {reason or 'null'}"[: _LONGEST["Message"]],
        },
        "StartTime": job.get(f"{kind.capitalize()}StartTime"),
        "EndTime": job.get(f"{kind.capitalize()}EndTime"),
        "LastModifiedTime": job["LastModifiedTime"],
    }
    return (
        record
        | shown
        | {"training": _training, "processing": _processing, "transform": _transform}[kind](job, container)
    )


def _training(job: Record, _: Mapping[str, Any]) -> Record:
    machine, parameters = job.get("ResourceConfig", {}), dict(job.get("HyperParameters", {}))
    parameters |= _machine(machine) | {"SageMaker.ImageUri": job["AlgorithmSpecification"].get("TrainingImage")}
    channels = {
        channel["ChannelName"]: (channel["DataSource"].get("S3DataSource", {}).get("S3Uri"), channel.get("ContentType"))
        for channel in job.get("InputDataConfig", ())
    }
    model = job.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    source = job["TrainingJobArn"]
    return {
        "Parameters": _parameters(parameters),
        "InputArtifacts": _artifacts(channels),
        "OutputArtifacts": _artifacts({"SageMaker.ModelArtifact": (model, None)}),
        "Metrics": [_summary(name, points, source) for name, points in job.get("#metrics", {}).items()],
    }


def _processing(job: Record, _: Mapping[str, Any]) -> Record:
    inputs = {i["InputName"]: (i.get("S3Input", {}).get("S3Uri"), None) for i in job.get("ProcessingInputs", ())}
    outputs = job.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return {
        "Parameters": _parameters(_machine(job["ProcessingResources"]["ClusterConfig"])),
        "InputArtifacts": _artifacts({"SageMaker.ImageUri": (job["AppSpecification"]["ImageUri"], None)} | inputs),
        "OutputArtifacts": _artifacts({o["OutputName"]: (o.get("S3Output", {}).get("S3Uri"), None) for o in outputs}),
    }


def _transform(job: Record, container: Mapping[str, Any]) -> Record:
    parameters = _machine(job["TransformResources"]) | {
        "SageMaker.ModelName": job["ModelName"],
        "SageMaker.ModelPrimary.DataUrl": container.get("ModelDataUrl"),
        "SageMaker.ModelPrimary.Image": container.get("Image"),
    }
    given = job["TransformInput"]
    source = given["DataSource"]["S3DataSource"]["S3Uri"]
    return {
        "Parameters": _parameters(parameters),
        "InputArtifacts": _artifacts({"SageMaker.TransformInput": (source, given.get("ContentType"))}),
        "OutputArtifacts": _artifacts({"SageMaker.TransformOutput": (job["TransformOutput"]["S3OutputPath"], None)}),
    }


def _machine(resources: Mapping[str, Any]) -> Record:
    return {f"SageMaker.{n}": resources.get(n) for n in ("InstanceType", "InstanceCount", "VolumeSizeInGB")}


def _parameters(values: Mapping[str, Any]) -> Record:
    """Return values as parameters: a number where the text is one, because the API sorts and compares by it."""
    return {name: _parameter(value) for name, value in values.items() if value is not None}


def _parameter(value: Any) -> Record:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return {"NumberValue": number} if math.isfinite(number) else {"StringValue": str(value)[: _LONGEST["StringValue"]]}


def _artifacts(found: Mapping[str, tuple[Any, Any]]) -> Record:
    return {
        name: {"Value": str(uri)[: _LONGEST["Value"]]} | ({"MediaType": media} if media else {})
        for name, (uri, media) in found.items()
        if uri
    }


def _summary(name: str, points: list[tuple[float, float]], source: str) -> Record:
    values = [value for _, value in points]
    return {
        "MetricName": name, "SourceArn": source, "TimeStamp": points[-1][0], "Count": len(values), "Last": values[-1],
        "Min": min(values), "Max": max(values), "Avg": statistics.fmean(values), "StdDev": statistics.pstdev(values),
    }  # fmt: skip
