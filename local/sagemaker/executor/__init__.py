"""The containers of the local SageMaker: subprocesses that train, process, transform and serve."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.sagemaker.executor import sandbox
from local.sagemaker.executor.images import library_note
from local.sagemaker.executor.jobs import ContainerJob, Site
from local.sagemaker.executor.process import LogStream
from local.sagemaker.executor.processing import ProcessingJob
from local.sagemaker.executor.serving import Patience, Worker, worker
from local.sagemaker.executor.training import TrainingJob
from local.sagemaker.executor.transform import TransformJob
from local.sagemaker.ports import Aws, Container, JobKind, JobReport

__all__ = ["Patience", "ProcessExecutor", "library_note"]

_KINDS: dict[JobKind, tuple[type[ContainerJob], str]] = {
    "training": (TrainingJob, "TrainingJobName"),
    "processing": (ProcessingJob, "ProcessingJobName"),
    "transform": (TransformJob, "TransformJobName"),
}


class ProcessExecutor:
    """Runs jobs and models in subprocesses that have /opt/ml, their own environment and real time."""

    def __init__(
        self,
        aws: Aws,
        work_dir: Path,
        *,
        stop_seconds: float = 120.0,
        patience: Patience | None = None,
        isolated: bool | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to run.

        Args:
            aws: where data comes from, and models, logs and outputs go.
            work_dir: for the files of what runs; each job and model removes its own.
            stop_seconds: real seconds between SIGTERM and SIGKILL (SageMaker's 120).
            patience: for models to load and to answer.
            isolated: whether containers get a mount namespace; None tries once whether they can.
            credentials: environment variables that jobs get for AWS calls of their own; models get none.
        """
        isolated = sandbox.available() if isolated is None else isolated
        self._site = Site(aws, work_dir.resolve(), isolated, stop_seconds, patience or Patience(), credentials or {})
        self._lock = threading.Lock()
        self._running: list[ContainerJob | Worker] = []

    def run_job(
        self, kind: JobKind, request: Mapping[str, Any], report: JobReport, *, attempt: int = 1
    ) -> ContainerJob:
        """Start a job in the background; its outcome is reported once, whatever happens."""
        made, field = _KINDS[kind]
        job = made(self._site, request[field], request, report, attempt)
        self._keep(job)
        job.start()
        return job

    def load_model(self, container: Container, name: str) -> Worker:
        """Load a model until it answers /ping; `name` is `<endpoint>/<variant>`, as its log is named.

        Raises:
            RuntimeError: when it does not; holds the container's last words.
        """
        endpoint, _, variant = name.partition("/")
        stream = f"{variant or 'AllTraffic'}/i-{uuid.uuid4().hex[:17]}"
        log = LogStream(self._site.aws, f"/aws/sagemaker/Endpoints/{endpoint}", stream)
        loaded = worker(
            self._site.aws,
            container,
            log,
            self._site.work_dir,
            isolated=self._site.isolated,
            patience=self._site.patience,
        )
        self._keep(loaded)
        return loaded

    def close(self) -> None:
        """End all that still runs, at once."""
        with self._lock:
            running, self._running = self._running, []
        for each in running:
            if isinstance(each, Worker):
                each.close()
            else:
                each.kill()

    def _keep(self, each: ContainerJob | Worker) -> None:
        with self._lock:
            self._running = [other for other in self._running if other.running()] + [each]
