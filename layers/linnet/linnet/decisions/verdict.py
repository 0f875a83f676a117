"""Is a fleet healthy, unhealthy, or can nobody tell? Unknown is never healthy (I7, F14).

Sequential tests compare the new fleet with the champion's (`compare`); the plain check below them (`assess`) is the last
net. Its limits are RB-02's: at most so many server errors in five minutes, at most so slow on average. SageMaker reports
ModelLatency in microseconds (requirements T-03); evidence is in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from linnet.decisions.sequential import Minute, dearer, exceeds, grow, line, shifted
from linnet.errors import BadInputError

State = Literal["healthy", "unhealthy", "unknown"]
FEW_FAILURES = 5
"""From so many failures on, a fleet that fails more requests than it answers needs no further evidence."""
FEW_ANSWERS = 50
"""So many captured answers must have been seen before a fleet is called healthy, where they are captured."""


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


@dataclass(frozen=True)
class Past:
    """What minutes that are not read again have left: the evidence so far, in both directions, and the counts."""

    logs: Sequence[float] = ()
    most: float = 0.0
    """The largest evidence that the new fleet is worse."""
    back: Sequence[float] = ()
    back_most: float = 0.0
    """The largest evidence that it is better."""
    counts: Sequence[int] = (0, 0, 0, 0)
    """Requests and hits of the new fleet, requests and hits of the champion's."""

    def row(self) -> dict[str, Any]:
        """Return it as a JSON document, of which `Past(**row)` makes it again."""
        return {name: list(value) if isinstance(value, tuple | list) else value for name, value in asdict(self).items()}


def fold(past: Past, minutes: Sequence[Minute], tolerated: float) -> Past:
    """Return the past with these minutes in it."""
    logs, path = grow(minutes, tolerated, past.logs)
    back, back_path = grow(_swapped(minutes), 1.0, past.back)
    return Past(logs, max([past.most, *path]), back, max([past.back_most, *back_path]), _counts(past, minutes))


def _swapped(minutes: Sequence[Minute]) -> list[Minute]:
    return [Minute(m.old, m.old_hits, m.new, m.new_hits) for m in minutes]


def _counts(past: Past, minutes: Sequence[Minute]) -> list[int]:
    each = zip(*((m.new, m.new_hits, m.old, m.old_hits) for m in (Minute(*past.counts), *minutes)), strict=True)
    return [sum(values) for values in each]


@dataclass(frozen=True)
class Comparison:
    """What both fleets did since the new one took part, metric by metric; None is what was not seen."""

    errors: Sequence[Minute] | None = None
    """Requests without a 2XX answer, minute by minute."""
    latency: Sequence[Minute] | None = None
    """Requests slower than the champion's 99th percentile before the release."""
    predictions: tuple[Sequence[int], Sequence[float]] | None = None
    """The new fleet's answers over bins, and the shares that the candidate's holdout lets expect."""
    agreement: tuple[int, int] | None = None
    """Mirrored requests that the two models call differently, and all of them."""
    quality: Sequence[Minute] | None = None
    """Labelled requests that were called wrongly, file of labels by file."""
    cost: tuple[Sequence[float], Sequence[float]] | None = None
    """What labelled requests cost, as shares of the dearest wrong call: the new fleet's, the champion's."""
    past: Mapping[str, Past] = field(default_factory=dict)
    """By metric, what came before these minutes."""


_WORDS = {
    "errors": "failed requests", "latency": "slow requests", "predictions": "answers unlike the holdout's",
    "agreement": "calls unlike the champion's", "quality": "wrong calls", "cost": "dear calls",
}  # fmt: skip


@dataclass(frozen=True)
class Test:
    """One metric's evidence that the new fleet is worse than is tolerated: an e-value's log and the line it must not cross."""

    metric: str
    evidence: float
    line: float
    seen: int
    """Requests of the new fleet that the evidence is made of."""
    why: str

    @property
    def crossed(self) -> bool:
        """Say whether the evidence is conclusive."""
        return self.evidence >= self.line

    def row(self) -> dict[str, Any]:
        """Return the test as a JSON document."""
        return {
            "metric": self.metric, "evidence": round(self.evidence, 3), "line": round(self.line, 3), "seen": self.seen,
            "why": self.why,
        }  # fmt: skip


def compare(seen: Comparison, margins: Mapping[str, float], alpha: float) -> list[Test]:
    """Return a test for each metric that was seen; all together take a good model back with probability `alpha` at most.

    The largest evidence of all looks so far counts where the order of the requests is known.
    """
    found = []
    for metric in ("errors", "latency", "quality"):
        minutes: Sequence[Minute] = getattr(seen, metric) or ()
        past = seen.past.get(metric, Past())
        total = _counts(past, minutes)
        if any(total):
            evidence = max([past.most, *grow(minutes, margins[metric], past.logs)[1]])
            found.append(_test(metric, evidence, alpha, total[0], _rates(total)))
    if seen.predictions and sum(seen.predictions[0]):
        counts, expected = seen.predictions
        evidence = shifted(counts, expected, margins["predictions"])
        found.append(_test("predictions", evidence, alpha, sum(counts), f"{sum(counts)} answers"))
    if seen.agreement and seen.agreement[1]:
        hits, of = seen.agreement
        found.append(_test("agreement", exceeds(hits, of, margins["agreement"]), alpha, of, f"{hits} of {of} requests"))
    if seen.cost and min(map(len, seen.cost)):
        new, old = seen.cost
        told = f"{_mean(new):.3f} a request, the champion's {_mean(old):.3f}"
        found.append(_test("cost", dearer(new, old, margins["cost"]), alpha, len(new), told))
    return found


def wanted(phase: str, *, beside: bool, captured: bool, expected: bool) -> list[str]:
    """Return the metrics without which a fleet is not called healthy in a phase of its release.

    `beside`: the champion's fleet serves too, or did before; `captured`: answers are captured; `expected`: the spread that
    they are held against is known. Capture reaches S3 minutes late, and SageMaker's own bake does not wait for it: there
    the answers are waited for after the bake, before the promotion.
    """
    found = {
        "errors": beside, "predictions": phase != "rolling" and expected and captured,
        "agreement": phase == "mirroring" and captured,
    }  # fmt: skip
    return [metric for metric, needed in found.items() if needed]


def missing(metrics: Sequence[str], tests: Sequence[Test], seen: Comparison) -> list[str]:
    """Return those of the wanted metrics that have not been seen, or in too few answers to tell."""
    known = {test.metric for test in tests}
    if sum(seen.predictions[0] if seen.predictions else ()) < FEW_ANSWERS:
        known -= {"predictions"}
    return [metric for metric in metrics if metric not in known]


def priced(calls: str, costs: Mapping[str, float]) -> list[float]:
    """Return what calls cost, as shares of the dearest wrong one: `.` right, `p` a false positive, `n` a false negative."""
    price = {"p": float(costs["false_positive_cost"]), "n": float(costs["false_negative_cost"]), ".": 0.0}
    return [price[call] / (max(price.values()) or 1.0) for call in calls]


def better(seen: Comparison, metric: str, alpha: float) -> bool:
    """Say whether the new fleet is shown to be better by a metric: errors, latency, quality or cost (RO-05)."""
    limit = -math.log(alpha)
    if metric == "cost":
        new, old = seen.cost or ((), ())
        return bool(new and old) and dearer(old, new) >= limit
    past = seen.past.get(metric, Past())
    return max([past.back_most, *grow(_swapped(getattr(seen, metric) or ()), 1.0, past.back)[1]]) >= limit


def _test(metric: str, evidence: float, alpha: float, seen: int, told: str) -> Test:
    return Test(metric, evidence, line(metric, alpha), seen, f"{_WORDS[metric]}: {told}")


def _rates(counts: Sequence[int]) -> str:
    new, hits, old, others = counts
    return f"{hits} of {new}, the champion's {others} of {old}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def conclude(plain: Verdict, tests: Sequence[Test], missing: Sequence[str] = ()) -> Verdict:
    """Return the verdict of the plain check and the tests together; `missing` names what has to be seen and was not."""
    for test in tests:
        if test.crossed:
            return Verdict("unhealthy", f"Too many {test.why} (evidence {test.evidence:.1f}, limit {test.line:.1f})")
    if plain.state == "healthy" and missing:
        return Verdict("unknown", f"Not seen yet: {', '.join(_WORDS[name] for name in missing)}")
    return plain


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

    So any failure is the new fleet's: unhealthy. Without a request it is unknown. The limit is held
    against the median: of so few requests one pause of the network or of Linnet's own function would decide the mean.
    """
    if failures:
        return Verdict(
            "unhealthy", f"{len(failures)} of {len(failures) + len(latencies_ms)} probes failed: {failures[0]}"
        )
    if not latencies_ms:
        return Verdict("unknown", "There were no rows to probe with")
    found = _latency(_known(middle(latencies_ms)), _limit(health, "max_latency_ms"), "median")
    return Verdict(found.state, f"{len(latencies_ms)} probes answered; {found.why}")


def middle(values: Sequence[float]) -> float:
    """Return the lower median, a value that was seen."""
    return sorted(values)[(len(values) - 1) // 2]


def _errors(errors: float | None) -> Verdict:
    if errors is None:
        return Verdict("unknown", "The number of errors could not be read")
    return Verdict("healthy", f"{errors:g} errors in 5 minutes")


def _latency(latency: float | None, limit: float, kind: str = "average") -> Verdict:
    if latency is None:
        return Verdict("unknown", "The latency could not be read")
    if latency > limit:
        return Verdict("unhealthy", f"High latency: {latency:g}ms {kind}")
    return Verdict("healthy", f"{latency:g}ms {kind}")


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _limit(health: Mapping[str, Any], name: str) -> float:
    value = health.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInputError(f"rollout.health.{name}", value, "a number")
    return float(value)
