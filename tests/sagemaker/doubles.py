"""The outside of SageMaker in virtual time: a hand-moved clock, neighbours as dictionaries, models as functions.

No threads, no processes. Used by the tests of the local SageMaker and by every test that plays with it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from local.sagemaker.api import ApiError, check_response
from local.sagemaker.core import SageMaker, Timings
from local.sagemaker.ports import Answer, Container, JobKind, JobOutcome, JobReport

Model = Callable[[bytes], Answer]


class HandClock:
    """A wall clock that moves only in `advance`, calling what is due on its way, in order."""

    def __init__(self, start: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)) -> None:
        self._now = start
        self._numbers = itertools.count()
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []

    def now(self) -> datetime:
        """Return the virtual time."""
        return self._now

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Remember a call."""
        heapq.heappush(self._due, (self._now + timedelta(seconds=seconds), next(self._numbers), call))

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        end = self._now + timedelta(seconds=seconds)
        while self._due and self._due[0][0] <= end:
            at, _, call = heapq.heappop(self._due)
            self._now = max(self._now, at)
            call()
        self._now = end

    @property
    def waiting(self) -> int:
        """How many calls are still to come."""
        return len(self._due)


@dataclass(frozen=True)
class Event:
    """An event as put on the bus."""

    detail_type: str
    detail: dict[str, Any]
    resource: str


@dataclass(frozen=True)
class Datum:
    """A CloudWatch datum."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]
    at: datetime


@dataclass
class FakeAws:
    """S3, EventBridge, CloudWatch and Logs as dictionaries and lists."""

    objects: dict[str, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    metrics: list[Datum] = field(default_factory=list)
    alarms: dict[str, str] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    targets: dict[str, Any] = field(default_factory=dict)
    """The scalable targets, by ResourceId such as `endpoint/e/variant/blue`."""

    def get_object(self, uri: str) -> bytes:
        """Return an object."""
        if uri not in self.objects:
            raise FileNotFoundError(uri)
        return self.objects[uri]

    def put_object(self, uri: str, body: bytes) -> None:
        """Keep an object."""
        self.objects[uri] = body

    def list_objects(self, uri: str) -> Sequence[str]:
        """Return the URIs under a prefix."""
        return sorted(key for key in self.objects if key.startswith(uri))

    def put_event(self, detail_type: str, detail: Mapping[str, Any], resource_arn: str) -> None:
        """Keep an event."""
        self.events.append(Event(detail_type, dict(detail), resource_arn))

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str], at: datetime
    ) -> None:
        """Keep a datum."""
        self.metrics.append(Datum(namespace, name, value, unit, dict(dimensions), at))

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the alarms' states."""
        return {name: self.alarms[name] for name in names if name in self.alarms}

    def scaled_variants(self, endpoint: str) -> Sequence[str]:
        """Return the variants that are targets."""
        start = f"endpoint/{endpoint}/variant/"
        return [resource.removeprefix(start) for resource in self.targets if resource.startswith(start)]

    def forget_targets(self, endpoint: str) -> None:
        """Take the targets away."""
        for variant in self.scaled_variants(endpoint):
            del self.targets[f"endpoint/{endpoint}/variant/{variant}"]

    def put_logs(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """Keep log lines."""
        self.logs.setdefault((group, stream), []).extend(lines)

    def values(self, name: str, **dimensions: str) -> list[float]:
        """Return a metric's values for exactly these dimensions."""
        return [datum.value for datum in self.metrics if (datum.name, datum.dimensions) == (name, dimensions)]

    def details(self, detail_type: str) -> list[dict[str, Any]]:
        """Return the details of all events of a type, without `SageMaker ` and ` State Change` around it."""
        return [event.detail for event in self.events if event.detail_type == f"SageMaker {detail_type} State Change"]


@dataclass
class FakeJob:
    """A job that a test ends by hand."""

    kind: JobKind
    request: Mapping[str, Any]
    report: JobReport
    attempt: int
    stopped: bool = False
    stops_at_once: bool = True

    def stop(self) -> None:
        """Note the stop; by default the job ends at once."""
        self.stopped = True
        if self.stops_at_once:
            self.report.done(JobOutcome("Stopped", seconds=1.0))

    def interrupt(self) -> None:
        """End as a spot interruption."""
        self.report.done(JobOutcome("Interrupted", seconds=10.0))

    def complete(self, **outcome: Any) -> None:
        """End well."""
        self.report.done(JobOutcome("Completed", **{"seconds": 30.0, **outcome}))


def echo(body: bytes) -> Answer:
    """Answer with the request, after 5 ms."""
    return Answer(200, "text/csv; charset=utf-8", body, 0.005)


@dataclass
class FakeServer:
    """A loaded model: a function."""

    model: Model
    name: str
    closed: bool = False
    requests: int = 0

    def invoke(self, body: bytes, content_type: str, accept: str) -> Answer:
        """Answer a request."""
        if self.closed:
            raise ConnectionError("the worker has ended")
        self.requests += 1
        return self.model(body)

    def close(self) -> None:
        """End the worker."""
        self.closed = True


@dataclass
class FakeExecutor:
    """Runs nothing: keeps jobs for the test to end, loads models from `models` by artifact."""

    models: dict[str, Model | Exception] = field(default_factory=dict)
    """Artifact URI -> model, or what loading it raises; any other artifact echoes."""
    jobs: list[FakeJob] = field(default_factory=list)
    servers: list[FakeServer] = field(default_factory=list)
    refusal: Exception | None = None
    on_job: Callable[[FakeJob], None] | None = None
    """Called with every new job; may end it at once."""

    def run_job(self, kind: JobKind, request: Mapping[str, Any], report: JobReport, *, attempt: int = 1) -> FakeJob:
        """Keep a job."""
        if self.refusal:
            raise self.refusal
        job = FakeJob(kind, request, report, attempt)
        self.jobs.append(job)
        if self.on_job:
            self.on_job(job)
        return job

    def load_model(self, container: Container, name: str) -> FakeServer:
        """Load a model."""
        model = self.models.get(container.model_data_url, echo)
        if isinstance(model, Exception):
            raise model
        server = FakeServer(model, name)
        self.servers.append(server)
        return server


ROLE = "arn:aws:iam::000000000000:role/sagemaker"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


class Lab:
    """A SageMaker in virtual time with its doubles and short forms of frequent requests; every answer is checked."""

    def __init__(self, *, seed: int = 1, duplicate_events: float = 0.0, timings: Timings | None = None) -> None:
        self.clock, self.aws, self.executor = HandClock(), FakeAws(), FakeExecutor()
        self.sagemaker = SageMaker(
            clock=self.clock,
            aws=self.aws,
            executor=self.executor,
            rng=random.Random(seed),
            duplicate_events=duplicate_events,
            timings=timings,
        )

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """Call an operation and check the answer against its shape."""
        answer = self.sagemaker.call(operation, params)
        check_response(operation, answer)
        return answer

    def refused(self, operation: str, **params: Any) -> str:
        """Call an operation; return the error's code, or nothing when it was accepted."""
        try:
            self.call(operation, **params)
        except ApiError as error:
            return error.code
        return ""

    def model(self, name: str, behaviour: Model | Exception = echo) -> str:
        """Create a model that behaves so; returns its name."""
        url = f"s3://bucket/{name}/model.tar.gz"
        self.aws.objects[url], self.executor.models[url] = b"model", behaviour
        container = {"Image": IMAGE, "ModelDataUrl": url}
        self.call("CreateModel", ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        return name

    def config(self, name: str, variants: Mapping[str, str | tuple[str, float, int]], **more: Any) -> str:
        """Create a config from variant -> model or (model, weight, instances); returns its name."""
        definitions = []
        for variant, value in variants.items():
            model, weight, count = value if isinstance(value, tuple) else (value, 1.0, 2)
            definition = {"VariantName": variant, "ModelName": model, "InitialInstanceCount": count}
            definitions.append({**definition, "InstanceType": "ml.m5.large", "InitialVariantWeight": weight})
        self.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=definitions, **more)
        return name

    def endpoint(self, name: str, config: str) -> str:
        """Create an endpoint and wait until it is InService; returns its name."""
        self.call("CreateEndpoint", EndpointName=name, EndpointConfigName=config)
        self.clock.advance(120)
        return name

    def describe(self, endpoint: str) -> dict[str, Any]:
        """Describe an endpoint."""
        return self.call("DescribeEndpoint", EndpointName=endpoint)

    def invoke(self, endpoint: str, body: bytes = b"1,2\n", **headers: str) -> Any:
        """Invoke an endpoint with a CSV body; header names with underscores."""
        wire = {"content-type": "text/csv", "accept": "text/csv"}
        wire |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.sagemaker.invoke_endpoint(endpoint, body, wire)


def canary(size: int = 10, *, wait: int = 300, termination: int = 300, alarms: Sequence[str] = ()) -> dict[str, Any]:
    """Return a DeploymentConfig for a canary."""
    routing: dict[str, Any] = {"Type": "CANARY", "WaitIntervalInSeconds": wait}
    routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": size}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": termination}
    config: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return config


def training_request(name: str, **more: Any) -> dict[str, Any]:
    """Return a valid CreateTrainingJob request."""
    channel = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train/", "S3DataDistributionType": "FullyReplicated"}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": channel}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **more,
    }
