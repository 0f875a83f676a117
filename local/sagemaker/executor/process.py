"""One container: a process group with its own /opt/ml, environment and log."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.sagemaker.executor import sandbox
from local.sagemaker.ports import Aws

_LOG = logging.getLogger(__name__)
_ROOT = str(Path(__file__).resolve().parents[3])
_START = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
_FLUSH_SECONDS = 0.2
_LONGEST_LINE = 256 * 1024
"""CloudWatch Logs takes no longer event."""
CPUS = min(2, os.cpu_count() or 1)

OnLines = Callable[[list[str]], None]


def program(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our in-container programs, isolated from the caller's Python settings."""
    return [sys.executable, "-I", "-u", "-c", _START, _ROOT, f"local.sagemaker.containers.{module}", *arguments]


def environment(home: Path, threads: int, *layers: Mapping[str, str]) -> dict[str, str]:
    """Return a container's environment: nothing of ours is inherited, least of all credentials and the fast clock."""
    found = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **{name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")},
    }
    for layer in layers:
        found |= layer
    return found


class LogStream:
    """A log stream of CloudWatch Logs; what cannot be delivered costs no job its life."""

    def __init__(self, aws: Aws, group: str, stream: str) -> None:
        self.group = group
        self.stream = stream
        self._aws = aws

    def write(self, lines: Sequence[str]) -> None:
        """Append lines."""
        try:
            self._aws.put_logs(self.group, self.stream, lines)
        except Exception:
            _LOG.exception("log lines of %s %s are lost", self.group, self.stream)


class Process:
    """A running container."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        job: Path,
        cwd: Path,
        env: Mapping[str, str],
        on_lines: OnLines,
        isolated: bool,
        offline: bool = False,
        tied: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            argv: the command inside of the container.
            job: the directory whose `ml` is /opt/ml.
            cwd: the working directory, as the container names it.
            env: its whole environment.
            on_lines: gets its output, stderr included, a few lines at a time; called from one other thread.
            isolated: whether it gets a mount namespace of its own.
            offline: whether it gets no network; only if isolated.
            tied: whether it dies with the calling thread.
            pass_fds: descriptors that it inherits.
        """
        inner = sandbox.tied(argv) if tied else list(argv)
        command = sandbox.command(job / "ml", inner, cwd, offline=offline) if isolated else inner
        self.last_words: deque[str] = deque(maxlen=20)
        self._on_lines = on_lines
        self._started = time.monotonic()
        self._ended: float | None = None
        self._process = subprocess.Popen(
            command,
            cwd=job if isolated else cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._pump = threading.Thread(target=self._read, name=f"log of {job.name}", daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Real seconds that it has run."""
        return (self._ended or time.monotonic()) - self._started

    def alive(self) -> bool:
        """Say whether it still runs."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def wait(self, timeout: float) -> int | None:
        """Return the exit code, 128 + n after signal n; None when it outlasts `timeout` real seconds."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if self._ended is None:
            self._ended = time.monotonic()
            self.signal(signal.SIGKILL)  # what it left behind in its group would hold the log open for ever
            self._pump.join(5)
        return code if code >= 0 else 128 - code

    def terminate(self, grace: float) -> int:
        """Send SIGTERM to the group, SIGKILL after `grace` real seconds; return the exit code."""
        self.signal(signal.SIGTERM)
        code = self.wait(grace)
        while code is None:
            self.signal(signal.SIGKILL)
            code = self.wait(5)
        return code

    def _read(self) -> None:
        source = self._process.stdout
        if source is None:
            return
        with source:
            poll = select.poll()
            poll.register(source, select.POLLIN)
            rest, lines, due = b"", list[str](), 0.0
            while True:
                if poll.poll(max(0.0, due - time.monotonic()) * 1000 if lines else None):
                    chunk = os.read(source.fileno(), 1 << 16)
                    if not chunk:
                        break
                    *whole, rest = (rest + chunk).split(b"\n")
                    if len(rest) > _LONGEST_LINE:
                        whole, rest = [*whole, rest], b""
                    if whole and not lines:
                        due = time.monotonic() + _FLUSH_SECONDS
                    lines += [line.decode(errors="replace").rstrip("\r") for line in whole]
                if lines and time.monotonic() >= due:
                    self._deliver(lines)
                    lines = []
            self._deliver([*lines, rest.decode(errors="replace")] if rest else lines)

    def _deliver(self, lines: list[str]) -> None:
        self.last_words.extend(lines)
        if not lines:
            return
        try:
            self._on_lines(lines)
        except Exception:
            _LOG.exception("output of process %s is lost", self.pid)
