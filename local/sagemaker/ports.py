"""What the local SageMaker needs from the outside, so that the same core runs in the stack and in virtual time.

Two implementations stand behind every protocol: the stack's (emulator services, subprocesses, the fast clock) and the
tests' (dictionaries, functions, a clock that is advanced by hand).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

JobKind = Literal["training", "processing", "transform"]


class Clock(Protocol):
    """The stack's wall clock and its waiting; both may run faster than real time, work never does."""

    def now(self) -> datetime:
        """Return the current wall-clock time, timezone-aware in UTC."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` once, `seconds` of wall-clock waiting from now, in any thread."""


class Aws(Protocol):
    """The neighbours of SageMaker: S3, EventBridge, CloudWatch, CloudWatch Logs and Application Auto Scaling."""

    def get_object(self, uri: str) -> bytes:
        """Return the object at `s3://bucket/key`. Raises FileNotFoundError."""

    def put_object(self, uri: str, body: bytes) -> None:
        """Write the object at `s3://bucket/key`."""

    def list_objects(self, uri: str) -> Sequence[str]:
        """Return the URIs of all objects under an S3 prefix, sorted."""

    def put_event(self, detail_type: str, detail: Mapping[str, Any], resource_arn: str) -> None:
        """Emit an event with source `aws.sagemaker` on the default bus."""

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str], at: datetime
    ) -> None:
        """Record one CloudWatch datum."""

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return name -> OK | ALARM | INSUFFICIENT_DATA of those alarms that exist."""

    def scaled_variants(self, endpoint: str) -> Sequence[str]:
        """Return the variants of an endpoint that are scalable targets."""

    def forget_targets(self, endpoint: str) -> None:
        """Deregister all variants of an endpoint as scalable targets."""

    def put_logs(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """Append lines to a log stream, creating group and stream when absent."""


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended. `Interrupted` is a spot interruption: the core decides whether it is run again."""

    status: Literal["Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "Interrupted"]
    failure_reason: str = ""
    exit_message: str = ""
    model_artifacts: str = ""
    """S3 URI of model.tar.gz; also set for a stopped job that left a model."""
    seconds: float = 0.0
    """Real seconds that the container ran."""


class JobReport(Protocol):
    """What a running job tells the core; callable from any thread."""

    def secondary(self, status: str, message: str = "") -> None:
        """Note a SecondaryStatus such as Downloading, Training, Uploading."""

    def metric(self, name: str, value: float) -> None:
        """Note a training metric that a MetricDefinitions regex (or the built-in algorithm) found."""

    def done(self, outcome: JobOutcome) -> None:
        """End the job; called exactly once."""


class Job(Protocol):
    """A running job."""

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL 120 real seconds later (training's contract on StopTrainingJob)."""

    def interrupt(self) -> None:
        """Take the instance away as spot does: SIGTERM, then SIGKILL after the notice; ends as Interrupted."""


@dataclass(frozen=True)
class Container:
    """One container of a model: what CreateModel's PrimaryContainer (or a model package's container) says."""

    image: str
    model_data_url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A model container's answer to /invocations. `status` >= 500 counts as a model error, 4xx as the caller's."""

    status: int
    content_type: str
    body: bytes
    seconds: float
    """Real seconds between request and answer: ModelLatency."""


class ModelServer(Protocol):
    """A loaded model in a worker of its own."""

    def invoke(self, body: bytes, content_type: str, accept: str) -> Answer:
        """Answer one request. Raises TimeoutError after 60 real seconds, ConnectionError when the worker died."""

    def close(self) -> None:
        """End the worker."""


class Executor(Protocol):
    """Runs the containers of jobs and of models: subprocesses in the stack, plain functions in virtual-time tests."""

    def run_job(self, kind: JobKind, request: Mapping[str, Any], report: JobReport, *, attempt: int = 1) -> Job:
        """Start a job in the background from its validated Create...Job request.

        A transform job's request also has `Container`: Image, ModelDataUrl and Environment of its model.

        `attempt` counts from 1; a later one is an interrupted spot job that runs again with its checkpoints and with
        what is left of MaxRuntimeInSeconds.
        """

    def load_model(self, container: Container, name: str) -> ModelServer:
        """Load a model until it answers /ping. Raises RuntimeError with the container's last words when it does not."""
