"""What stands for S3, CloudWatch Logs and the core, and short forms of requests."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from local.sagemaker.executor import ProcessExecutor
from local.sagemaker.executor.jobs import ContainerJob
from local.sagemaker.executor.serving import Worker
from local.sagemaker.ports import Container, JobKind, JobOutcome

ACCOUNT = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{ACCOUNT}/sagemaker-xgboost:1.7-1"
SKLEARN = f"{ACCOUNT}/sagemaker-scikit-learn:1.4-2-cpu-py3"
FEATURES = 5
_PATIENCE = 60


@dataclass
class DictAws:
    """S3 and CloudWatch Logs as dictionaries."""

    objects: dict[str, bytes] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def get_object(self, uri: str) -> bytes:
        try:
            return self.objects[uri]
        except KeyError:
            raise FileNotFoundError(uri) from None

    def put_object(self, uri: str, body: bytes) -> None:
        self.objects[uri] = body

    def list_objects(self, uri: str) -> Sequence[str]:
        return sorted(key for key in self.objects if key.startswith(uri))

    def put_logs(self, group: str, stream: str, lines: Sequence[str]) -> None:
        self.logs.setdefault((group, stream), []).extend(lines)

    def put_event(self, detail_type: str, detail: Mapping[str, Any], resource_arn: str) -> None:
        raise AssertionError("containers emit no events")

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str], at: datetime
    ) -> None:
        raise AssertionError("the core puts metrics")

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        raise AssertionError("containers look at no alarms")

    def log(self, group: str) -> list[str]:
        return [line for (name, _), lines in self.logs.items() if name == group for line in lines]


@dataclass
class Report:
    """What a job told; `done` may come once only."""

    steps: list[str] = field(default_factory=list)
    metrics: list[tuple[str, float]] = field(default_factory=list)
    outcomes: list[JobOutcome] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def secondary(self, status: str, message: str = "") -> None:
        self.steps.append(status)

    def metric(self, name: str, value: float) -> None:
        self.metrics.append((name, value))

    def done(self, outcome: JobOutcome) -> None:
        self.outcomes.append(outcome)
        self.ended.set()

    def outcome(self) -> JobOutcome:
        assert self.ended.wait(_PATIENCE), "the job did not end"
        assert len(self.outcomes) == 1
        return self.outcomes[0]


class Lab:
    """An executor with its doubles and short forms of requests."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.aws = DictAws()
        self.directory = directory
        self.executor = ProcessExecutor(self.aws, directory, **{"stop_seconds": 10.0, **settings})

    def start(self, kind: JobKind, request: dict[str, Any], attempt: int = 1) -> tuple[ContainerJob, Report]:
        report = Report()
        return self.executor.run_job(kind, request, report, attempt=attempt), report

    def run(self, kind: JobKind, request: dict[str, Any], attempt: int = 1) -> tuple[JobOutcome, Report]:
        _, report = self.start(kind, request, attempt)
        return report.outcome(), report

    def script(
        self, program: str, name: str = "job", given: dict[str, str] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """A training request that runs a Python program in script mode, as the SageMaker SDK writes it."""
        self.aws.objects[f"s3://b/{name}/sourcedir.tar.gz"] = archive({"train.py": program.encode()})
        submitted = {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": f'"s3://b/{name}/sourcedir.tar.gz"',
            "sagemaker_container_log_level": "20",
        }
        return training(SKLEARN, name, {**submitted, **(given or {})}, **fields)

    def load(self, artifact: bytes, image: str = XGBOOST, name: str = "ep/blue", **environment: str) -> Worker:
        self.aws.objects["s3://b/model.tar.gz"] = artifact
        return self.executor.load_model(Container(image, "s3://b/model.tar.gz", environment), name)


def training(image: str, name: str, given: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/training",
        "HyperParameters": given,
        "OutputDataConfig": {"S3OutputPath": "s3://b/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **fields,
    }


def channel(name: str, uri: str, content_type: str = "text/csv", **fields: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": content_type, "DataSource": {"S3DataSource": source}, **fields}


def archive(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return target.getvalue()


def contents(packed: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}


def csv(rows: Any) -> bytes:
    return "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in rows).encode()


def rows(count: int, seed: int = 1) -> Any:
    """Label first, then features, of which the first decides the label but for some noise."""
    generator = np.random.default_rng(seed)
    features = generator.random((count, FEATURES))
    return np.column_stack([features[:, 0] + generator.normal(0, 0.2, count) > 0.5, features])


def xgboost_request(lab: Lab, name: str, given: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    lab.aws.objects["s3://b/train/part-00001.csv"] = csv(rows(600))
    lab.aws.objects["s3://b/validation/part-00001.csv"] = csv(rows(200, seed=2))
    parameters = {
        "num_round": "12",
        "objective": "binary:logistic",
        "eval_metric": "auc",
        "max_depth": "3",
        "eta": "0.3",
    }
    channels = [channel("train", "s3://b/train/"), channel("validation", "s3://b/validation/")]
    return training(XGBOOST, name, parameters | (given or {}), **{"InputDataConfig": channels, **fields})
