"""What all parts of the local SageMaker share: the outside, one lock, names, tags, timers and the outbox."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.sagemaker.ports import Aws, Clock, Executor

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timings:
    """How many wall-clock seconds SageMaker takes for what is no work of ours.

    The defaults are of the order that an account sees, except a job's start, which only costs patience.
    """

    job_start: float = 0.0
    spot_wait: float = 60.0
    """From a spot interruption until an instance is there again."""
    creating: float = 120.0
    provisioning: float = 120.0
    """Of the new fleet in an UpdateEndpoint."""
    weights: float = 30.0
    rollback: float = 30.0
    """From the moment all traffic is back on the old fleet until the endpoint is InService again."""
    deleting: float = 10.0
    poll: float = 10.0
    """Between two looks at the alarms of a deployment; also how long captured records are buffered."""


@dataclass
class World:
    """The outside of SageMaker and what its parts share.

    All state is guarded by the one lock that `locked` takes. What goes out (events, metrics, objects, logs) is queued
    and leaves after the lock is free: a neighbour may call back, and must not wait for us while we wait for it.
    """

    clock: Clock
    aws: Aws
    executor: Executor
    region: str
    account: str
    rng: random.Random
    duplicate_events: float
    timings: Timings
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """ARN -> tags; an ARN is here as long as its resource exists."""
    closed: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _depth: int = 0
    _outbox: deque[Callable[[], None]] = field(default_factory=deque)
    _postman: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the state's lock; afterwards deliver what was queued meanwhile."""
        outermost = False
        try:
            with self._lock:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                    outermost = self._depth == 0
        finally:
            if outermost:
                self._deliver()

    def _deliver(self) -> None:
        while self._outbox:
            if not self._postman.acquire(blocking=False):
                return  # whoever holds it takes ours along, in order
            try:
                while self._outbox:
                    self._post(self._outbox.popleft())
            finally:
                self._postman.release()

    @staticmethod
    def _post(delivery: Callable[[], None]) -> None:
        """Deliver; SageMaker's events and metrics are best effort and never fail the call that caused them."""
        try:
            delivery()
        except Exception:
            _LOG.exception("SageMaker could not deliver an event, a metric, a log line or a captured record")

    def now(self) -> float:
        """Return the wall-clock time as epoch seconds in whole milliseconds, as the JSON protocol carries it."""
        return round(self.clock.now().timestamp(), 3)

    def arn(self, kind: str, name: str) -> str:
        """Return an ARN; SageMaker writes the resource's name in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def created(self, record: dict[str, Any], arn: str, tags: Mapping[str, str]) -> None:
        """Give a new record its times, its tags and its number, which orders records of one millisecond."""
        record |= {"CreationTime": self.now(), "LastModifiedTime": self.now(), "#": next(self._numbers)}
        self.tags[arn] = dict(tags)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call under the lock after some wall-clock seconds, unless everything was closed by then."""

        def guarded() -> None:
            with self.locked():
                if not self.closed:
                    call()

        self.clock.call_later(max(0.0, seconds), guarded)

    def later_unlocked(self, seconds: float, call: Callable[[], None]) -> None:
        """Like `later` for what blocks or works for long (loading a model): the call takes the lock itself."""
        self.clock.call_later(max(0.0, seconds), lambda: None if self.closed else call())

    def identifier(self) -> str:
        """Return a UUID from the injected generator."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def emit(self, detail_type: str, detail: Mapping[str, Any], arn: str) -> None:
        """Queue an event; with the probability `duplicate_events` it comes twice, as AWS says its events may."""
        for _ in range(2 if self.rng.random() < self.duplicate_events else 1):
            self._outbox.append(lambda: self.aws.put_event(detail_type, detail, arn))

    def metric(self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
        """Queue a CloudWatch datum of this moment."""
        at = self.clock.now()
        self._outbox.append(lambda: self.aws.put_metric(namespace, name, value, unit, dimensions, at))

    def put(self, uri: str, body: bytes) -> None:
        """Queue an S3 object."""
        self._outbox.append(lambda: self.aws.put_object(uri, body))

    def log(self, group: str, stream: str, lines: list[str]) -> None:
        """Queue lines for CloudWatch Logs."""
        self._outbox.append(lambda: self.aws.put_logs(group, stream, lines))


def iso(seconds: float) -> str:
    """Return epoch seconds as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(seconds: float) -> int:
    """Return epoch seconds as epoch milliseconds."""
    return round(seconds * 1000)
