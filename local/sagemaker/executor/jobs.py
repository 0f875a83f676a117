"""What all jobs have in common: a thread that runs them, stop, interruption, time limit, one outcome."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from local.sagemaker.executor import sandbox
from local.sagemaker.executor.archives import ArchiveError
from local.sagemaker.executor.channels import ClientError
from local.sagemaker.executor.process import LogStream, Process
from local.sagemaker.executor.serving import Patience
from local.sagemaker.ports import Aws, JobOutcome, JobReport

_LOG = logging.getLogger(__name__)
_REASON = 1024
"""Characters of a FailureReason or ExitMessage that SageMaker keeps."""


@dataclass(frozen=True)
class Site:
    """Where and how jobs run."""

    aws: Aws
    work_dir: Path
    isolated: bool
    grace: float
    """Real seconds between SIGTERM and SIGKILL."""
    patience: Patience
    credentials: Mapping[str, str] = field(default_factory=dict)
    """What a job's role gives it in its environment, such as AWS_ENDPOINT_URL."""


class ContainerJob(ABC):
    """A job in a thread of its own; its outcome is reported exactly once."""

    group: str
    """Of CloudWatch Logs."""

    def __init__(self, site: Site, name: str, request: Mapping[str, Any], report: JobReport, attempt: int) -> None:
        self.site = site
        self.name = name
        self.request = request
        self.report = report
        self.directory = site.work_dir / f"{name}-{attempt}"
        self.log = LogStream(site.aws, self.group, f"{name}/algo-1-{int(time.time())}")
        self.process: Process | None = None
        self._asked: Literal["", "Stopped", "Interrupted", "MaxRuntimeExceeded"] = ""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"job {name}", daemon=True)

    @property
    def ml(self) -> Path:
        """What the container sees as /opt/ml, as we see it."""
        return self.directory / "ml"

    @property
    def seen(self) -> Path:
        """What we see as `ml`, as the container sees it."""
        return sandbox.OPT_ML if self.site.isolated else self.ml

    def start(self) -> None:
        """Run the job in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End the job as Stopped: SIGTERM, SIGKILL after the grace."""
        self._ask("Stopped")

    def interrupt(self) -> None:
        """End the job as Interrupted, as a spot interruption with its notice does."""
        self._ask("Interrupted")

    def running(self) -> bool:
        """Say whether the job has not ended yet."""
        return self._thread.is_alive()

    def kill(self) -> None:
        """End the job at once and wait until its thread has ended."""
        with self._lock:
            self._asked = self._asked or "Stopped"
            process = self.process
        if process is not None and process.alive():
            process.terminate(0.0)
        self._thread.join(10)

    def _ask(self, ending: Literal["Stopped", "Interrupted"]) -> None:
        with self._lock:
            if self._asked:
                return
            self._asked = ending
            process = self.process
        if process is not None and process.alive():
            threading.Thread(
                target=process.terminate, args=[self.site.grace], name=f"end of {self.name}", daemon=True
            ).start()

    @property
    def asked(self) -> str:
        """What the job was asked to end as; empty while it may run."""
        return self._asked

    def _run(self) -> None:
        outcome = JobOutcome("Failed", failure_reason="InternalServerError: the job ended without an outcome")
        try:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
            if not self.site.isolated:
                self.log.write([sandbox.WITHOUT])
            outcome = self.work()
        except (ClientError, ArchiveError, RuntimeError, FileNotFoundError) as error:
            self.log.write([f"ERROR: {error}"])
            outcome = JobOutcome("Failed", failure_reason=f"ClientError: {error}"[:_REASON], seconds=self.seconds)
        except Exception as error:
            _LOG.exception("job %s", self.name)
            reason = f"InternalServerError: {type(error).__name__}: {error}"
            outcome = JobOutcome("Failed", failure_reason=reason[:_REASON], seconds=self.seconds)
        finally:
            if self.process is not None and self.process.alive():
                self.process.terminate(0.0)
            shutil.rmtree(self.directory, ignore_errors=True)
            self.report.done(outcome)

    @property
    def seconds(self) -> float:
        """Real seconds that the container ran."""
        return self.process.seconds if self.process else 0.0

    @abstractmethod
    def work(self) -> JobOutcome:
        """Do the job. Raises ClientError for a request that cannot be carried out."""

    def run_container(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        on_lines: Callable[[list[str]], None],
        *,
        offline: bool,
    ) -> int | None:
        """Run the container to its end, or to that of its time; None when it was stopped before it began.

        MaxRuntimeInSeconds counts real seconds of the container.
        """
        if offline and not self.site.isolated:
            self.log.write(
                ["WARNING: network isolation is not allowed on this machine, so the container has a network"]
            )
        with self._lock:
            if self._asked:
                return None
            self.process = Process(
                argv, job=self.directory, cwd=cwd, env=env, on_lines=on_lines, isolated=self.site.isolated,
                offline=offline, tied=True,
            )  # fmt: skip
        limit = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        code = self.process.wait(limit)
        if code is not None:
            return code
        with self._lock:
            self._asked = self._asked or "MaxRuntimeExceeded"
        return self.process.terminate(self.site.grace)

    def ended(self, code: int | None, failure: Path, **found: str) -> JobOutcome:
        """Return the outcome of a container that ended with an exit code; `failure` holds its last words, if any."""
        if self._asked == "Interrupted":
            return JobOutcome("Interrupted", seconds=self.seconds)
        if self._asked == "Stopped":
            return JobOutcome("Stopped", seconds=self.seconds, **found)
        if self._asked == "MaxRuntimeExceeded":
            return JobOutcome("MaxRuntimeExceeded", seconds=self.seconds, **found)
        if code:
            words = text(failure) or "See the job's log for more information"
            reason = f"{words[: _REASON - 40]}, exit code: {code}"
            return JobOutcome("Failed", f"AlgorithmError: {reason}", seconds=self.seconds, **found)
        return JobOutcome("Completed", seconds=self.seconds, **found)

    def home(self) -> Path:
        """Return the container's home and temporary directory."""
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return home


def text(path: Path) -> str:
    """Return the beginning of a file that a container may have written; empty when it did not."""
    if not path.is_file() or path.is_symlink():
        return ""
    with path.open("rb") as file:
        return file.read(_REASON).decode(errors="replace").strip()
