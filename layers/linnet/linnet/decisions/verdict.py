"""Is a fleet healthy, unhealthy, or can nobody tell? Unknown is never healthy (I7, F14).

The limits are RB-02's: at most so many server errors in five minutes, at most so slow on average. SageMaker reports
ModelLatency in microseconds (requirements T-03); evidence is in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from linnet.errors import BadInputError

State = Literal["healthy", "unhealthy", "unknown"]
FEW_FAILURES = 5
"""From so many failures on, a fleet that fails more requests than it answers needs no further evidence."""


@dataclass(frozen=True)
class Evidence:
    """What was seen of a fleet in a window; None is what could not be read."""

    requests: float | None = None
    """Since the fleet took this share of the traffic."""
    errors: float | None = None
    """Server errors (5XX) of the last five minutes."""
    latency_ms: float | None = None
    """Average of the last five minutes."""
    failures: float | None = None
    """Requests of the last five minutes without a 2XX answer, and how many there were: a model that was trained on
    other columns answers 4XX, which RB-02 does not count."""
    recent: float | None = None

    def row(self) -> dict[str, float | None]:
        """Return the evidence as a JSON document."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """A state and why."""

    state: State
    why: str

    def row(self) -> dict[str, str]:
        """Return the verdict as a JSON document."""
        return {"state": self.state, "why": self.why}


def assess(evidence: Evidence, health: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a fleet by `health`, the spec's rollout.health.

    10 errors are healthy, 11 are not; 500 ms are, 501 are not; too few requests, or a number that is missing or not
    finite, is unknown. Failures of most requests are unhealthy however few the requests are.

    Raises:
        BadInputError: a limit is no number (peer bug ml-canary-deployment (b): limits kept as text).
    """
    limits = {name: _limit(health, name) for name in ("max_errors", "max_latency_ms", "min_requests")}
    requests, errors, latency = (_known(value) for value in (evidence.requests, evidence.errors, evidence.latency_ms))
    failures, recent = _known(evidence.failures), _known(evidence.recent)
    if errors is not None and errors > limits["max_errors"]:
        return Verdict("unhealthy", f"High error rate: {errors:g} errors in 5 minutes")
    if failures is not None and recent and failures >= FEW_FAILURES and 2 * failures > recent:
        return Verdict("unhealthy", f"High error rate: {failures:g} of {recent:g} requests failed in 5 minutes")
    if requests is None or requests < limits["min_requests"]:
        seen = "unreadable" if requests is None else f"{requests:g}"
        return Verdict("unknown", f"Requests seen: {seen}; needed to judge: {limits['min_requests']:g}")
    return worst([_errors(errors), _latency(latency, limits["max_latency_ms"])])


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that counts: one unhealthy is enough, all must be healthy; nothing at all is unknown."""
    for state in ("unhealthy", "unknown"):
        for verdict in verdicts:
            if verdict.state == state:
                return verdict
    if not verdicts:
        return Verdict("unknown", "There is no evidence")
    return Verdict("healthy", "; ".join(verdict.why for verdict in verdicts))


def probe(failures: Sequence[str], latencies_ms: Sequence[float], health: Mapping[str, Any]) -> Verdict:
    """Return the verdict on requests that Linnet itself made, with rows that the model has already answered in its run.

    So any failure is the new fleet's: unhealthy. Without a request it is unknown.
    """
    if failures:
        return Verdict(
            "unhealthy", f"{len(failures)} of {len(failures) + len(latencies_ms)} probes failed: {failures[0]}"
        )
    if not latencies_ms:
        return Verdict("unknown", "There were no rows to probe with")
    average = sum(latencies_ms) / len(latencies_ms)
    found = _latency(_known(average), _limit(health, "max_latency_ms"))
    return Verdict(found.state, f"{len(latencies_ms)} probes answered; {found.why}")


def _errors(errors: float | None) -> Verdict:
    if errors is None:
        return Verdict("unknown", "The number of errors could not be read")
    return Verdict("healthy", f"{errors:g} errors in 5 minutes")


def _latency(latency: float | None, limit: float) -> Verdict:
    if latency is None:
        return Verdict("unknown", "The latency could not be read")
    if latency > limit:
        return Verdict("unhealthy", f"High latency: {latency:g}ms average")
    return Verdict("healthy", f"{latency:g}ms average")


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _limit(health: Mapping[str, Any], name: str) -> float:
    value = health.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInputError(f"rollout.health.{name}", value, "a number")
    return float(value)
