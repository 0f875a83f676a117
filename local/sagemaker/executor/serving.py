"""Models in workers of their own: one process a model, one request at a time, restarted after it died."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from local.sagemaker.executor import archives, images, sandbox
from local.sagemaker.executor.process import LogStream, Process, environment, program
from local.sagemaker.ports import Answer, Aws, Container


@dataclass(frozen=True)
class Patience:
    """How long is waited, in real seconds."""

    startup: float = 120.0
    """For a model to answer /ping."""
    answer: float = 60.0
    """For an answer to /invocations."""


@dataclass
class Worker:
    """A loaded model. Requests wait for each other: the container's libraries are not thread-safe."""

    container: Container
    directory: Path
    log: LogStream
    isolated: bool
    patience: Patience = field(default_factory=Patience)
    extra: Mapping[str, str] = field(default_factory=dict)
    _process: Process | None = None
    _connection: Connection | None = None
    _closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, aws: Aws) -> None:
        """Unpack the model and start the process. Raises RuntimeError with the container's last words."""
        try:
            self._unpack(aws)
            self._start(time.monotonic() + self.patience.startup)
        except (OSError, ValueError, ConnectionError, TimeoutError) as error:
            self.close()
            raise RuntimeError(str(error)) from error

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        if self._process is None:
            raise ConnectionError("the model's worker does not run")
        return self._process.pid

    def invoke(self, body: bytes, content_type: str, accept: str) -> Answer:
        """Answer one request. Raises TimeoutError and ConnectionError; the next request restarts a worker that died."""
        asked = time.perf_counter()
        deadline = time.monotonic() + self.patience.answer
        if not self._lock.acquire(timeout=self.patience.answer):
            raise TimeoutError(f"the model was busy for {self.patience.answer:g} seconds")
        try:
            if self._closed:
                raise ConnectionError("the model's worker was ended")
            if self._connection is None:
                self._start(deadline)
            head, answer = self._exchange(body, content_type, accept, deadline)
        finally:
            self._lock.release()
        status, kind = json.loads(head)
        return Answer(status, kind, answer, time.perf_counter() - asked)

    def running(self) -> bool:
        """Say whether the worker was not ended on purpose."""
        return not self._closed

    def close(self) -> None:
        """End the worker and remove its files."""
        self._closed = True
        self._end()
        with self._lock:  # a request may just have been restarting it
            self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _exchange(self, body: bytes, content_type: str, accept: str, deadline: float) -> tuple[bytes, bytes]:
        connection = self._connection
        if connection is None:
            raise ConnectionError("the model's worker was ended")
        try:
            connection.send_bytes(json.dumps([content_type, accept]).encode() + b"\n" + body)
            if connection.poll(max(0.0, deadline - time.monotonic())):
                head, _, answer = connection.recv_bytes().partition(b"\n")
                return head, answer
        except (EOFError, OSError) as error:
            raise ConnectionError(f"the model's worker died: {self._end()}") from error
        self._end()  # its late answer must not be taken for that of the next request
        raise TimeoutError(f"no answer from the model within {self.patience.answer:g} seconds")

    def _unpack(self, aws: Aws) -> None:
        model = self.directory / "ml" / "model"
        model.mkdir(parents=True)
        if self.container.model_data_url:
            archives.unpack(_fetched(aws, self.container.model_data_url), model)
        code = self.container.environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
        if code.startswith("s3://"):
            (self.directory / "ml" / "code").mkdir()
            archives.unpack(_fetched(aws, code), self.directory / "ml" / "code")

    def _start(self, deadline: float) -> None:
        kind, env = self._environment()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = Process(
                program("model_server", str(theirs.fileno()), kind),
                job=self.directory,
                cwd=self._seen() / "model",
                env=env,
                on_lines=self.log.write,
                isolated=self.isolated,
                pass_fds=[theirs.fileno()],
            )
        self._connection = Connection(ours.detach())
        try:
            ready = self._connection.poll(max(0.0, deadline - time.monotonic())) and self._connection.recv_bytes()
        except (EOFError, OSError):
            ready = False
        if not ready:
            raise ConnectionError(f"the container did not answer /ping: {self._end()}")

    def _seen(self) -> Path:
        return sandbox.OPT_ML if self.isolated else self.directory / "ml"

    def _environment(self) -> tuple[str, dict[str, str]]:
        given = dict(self.container.environment)
        image, seen = images.resolve(self.container.image), self._seen()
        kind = "algorithm" if image.framework == "xgboost" and "SAGEMAKER_PROGRAM" not in given else image.framework
        submitted = given.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
        code = seen / "code" if submitted.startswith("s3://") else seen / "model" / "code"
        if submitted.startswith("/opt/ml/"):
            code = seen / Path(submitted).relative_to(sandbox.OPT_ML)
        paths = {"SM_MODEL_DIR": str(seen / "model"), "SM_MODULE_DIR": str(code)}
        defaults = {"SAGEMAKER_PROGRAM": "inference.py", "SM_NUM_CPUS": "1"}
        return kind, environment(self._home(), 1, defaults, self.extra, given, paths)

    def _home(self) -> Path:
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return home

    def _end(self) -> str:
        """End the process; return its last words."""
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        words = "it had ended"
        if process is not None:
            # One that is dying by itself may take a moment to say why.
            code = None if self._closed else process.wait(0.2)
            code = process.terminate(1.0 if self._closed else 0.0) if code is None else code
            words = " | ".join([f"exit code {code}", *(line.strip() for line in list(process.last_words)[-3:])])
        if connection is not None:
            connection.close()
        return words


def _fetched(aws: Aws, uri: str) -> bytes:
    try:
        return aws.get_object(uri)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"Could not find model data at {uri}") from error


def worker(
    aws: Aws, container: Container, log: LogStream, work_dir: Path, *, isolated: bool, patience: Patience,
    extra: Mapping[str, str] | None = None,
) -> Worker:  # fmt: skip
    """Load a model and return its worker. Raises RuntimeError with the container's last words."""
    notes = [note for note in (images.library_note(container.image), "" if isolated else sandbox.WITHOUT) if note]
    if notes:
        log.write(notes)
    loaded = Worker(container, work_dir / f"model-{uuid.uuid4().hex[:12]}", log, isolated, patience, extra or {})
    loaded.load(aws)
    return loaded
