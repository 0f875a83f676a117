"""Two clocks: wall-clock time runs `rate` times faster in the stack, everything that measures or waits stays real.

The wall clock is `time.time`, `datetime.now` and their relatives. `time.monotonic`, `time.sleep`, sockets and timeouts
are untouched: work is measured and limited in real seconds, and whoever waits on purpose divides by the rate.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LOG = logging.getLogger(__name__)
_MOST = 1000.0

# Importing time_machine costs 80 ms, of which 75 are pytest, unittest and dateutil: conveniences that no clock needs.
_PRELUDE = """
def _fast_clock():
    import sys, types
    spared = {{"pytest": None, "dateutil.parser": None, "unittest": types.SimpleNamespace(TestCase=type)}}
    saved = {{name: sys.modules[name] for name in spared if name in sys.modules}}
    sys.modules.update(spared)
    try:
        import time_machine, _time_machine
    finally:
        for name in spared:
            del sys.modules[name]
        sys.modules.update(saved)
    origin, rate = {origin_ns}, {rate!r}
    def time_ns(self):
        return origin + int((_time_machine.original_time_ns() - origin) * rate)
    time_machine.Traveller.time_ns = time_ns
    time_machine.travel(0).start()
_fast_clock()
"""


@dataclass(frozen=True)
class WallClock:
    """The stack's wall clock: equal to real time at `origin` (Unix seconds) and `rate` times as fast from there."""

    rate: float = 1.0
    origin: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a rate below real time: timestamps of the past would be lost among those of the present."""
        if not 1.0 <= self.rate <= _MOST:
            message = f"rate: {self.rate} is not allowed; allowed are 1 (real time) to 1000"
            raise ValueError(message)

    def at(self, real: float) -> float:
        """Return the wall-clock time (Unix seconds) at the real time `real` (Unix seconds)."""
        return self.origin + (real - self.origin) * self.rate

    def now(self) -> datetime:
        """Return the current wall-clock time, timezone-aware in UTC, in and outside the stack's processes alike."""
        return datetime.fromtimestamp(self.at(_real_time()), UTC)

    def real_seconds(self, seconds: float) -> float:
        """Return how long a deliberate wait of `seconds` takes in real seconds."""
        return max(0.0, seconds) / self.rate

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` once in a thread of its own, `seconds` of wall-clock waiting from now."""
        timer = threading.Timer(self.real_seconds(seconds), _logged, args=(call,))
        timer.daemon = True
        timer.start()

    def prelude(self) -> str:
        """Return Python source that puts a new process on this clock; nothing at rate 1, so it costs nothing there."""
        return "" if self.rate == 1 else _PRELUDE.format(origin_ns=int(self.origin * 1e9), rate=self.rate)

    def install(self) -> None:
        """Put this process on this clock, for good."""
        exec(self.prelude(), {})  # noqa: S102 - one source for all processes # nosec B102


def _logged(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception:
        _LOG.exception("a scheduled call failed")


def _real_time() -> float:
    try:
        import _time_machine  # type: ignore[import-not-found] # the C half of time_machine

        return float(_time_machine.original_time())
    except (ImportError, ValueError):  # not installed, or this process does not travel
        return time.time()
