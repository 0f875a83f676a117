"""Verdicts on simulated releases: Linnet's sequential tests beside the alarm that people use instead (G5, G6 of peers.md).

The peer is re-implemented from its published constants: AWS's canary template alarms on one 5XX of either fleet in a minute.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

from linnet.decisions.sequential import Minute, growth, shifted

np: Any = importlib.import_module("numpy")
stats: Any = importlib.import_module("scipy.stats")
RUNS = 400
WINDOWS = (5, 30, 60, 240)
ERRORS, SHARE = 0.005, 0.1
SLOW = 0.01
"""So many requests are slower than the old fleet's 99th percentile."""
ALPHA, METRICS = 0.01, 4
"""The error of a whole release, shared evenly by errors, latency, predictions and what labels say."""
LINE = math.log(METRICS / ALPHA)
TRAFFIC = (60, 600, 6_000)
DETECT = ((2, 13_000), (5, 1_600), (10, 500))
SEEDS, CAUGHT_WITHIN, TOLERATED_SHIFT = 200, 5_000, 0.2
FALSE_GOAL, BURSTY_GOAL, DETECT_GOAL = 0.01, 0.02, 0.99


def fleets(
    draw: Any, traffic: int, minutes: int, rate: float, ratio: float, rho: float, *, common: bool
) -> list[Minute]:
    """Return the minutes of a release; with `rho` the rate itself is drawn each minute (beta-binomial), for both or each."""
    new = draw.binomial(traffic, SHARE, minutes)
    old = traffic - new
    one = draw.beta(rate * (1 / rho - 1), (1 - rate) * (1 / rho - 1), minutes) if rho else np.full(minutes, rate)
    other = one if common or not rho else draw.beta(rate * (1 / rho - 1), (1 - rate) * (1 / rho - 1), minutes)
    hits = draw.binomial(new, np.minimum(1, one * ratio)), draw.binomial(old, other)
    rows = zip(new.tolist(), hits[0].tolist(), old.tolist(), hits[1].tolist(), strict=True)
    return [Minute(*row) for row in rows]


def crossed(path: Sequence[float]) -> int | None:
    """Return the first minute in which the evidence is over the line."""
    return next((number for number, value in enumerate(path) if value >= LINE), None)


def template_alarm(minutes: Sequence[Minute]) -> bool:
    """Say whether the alarm of AWS's template goes off: one 5XX in a minute, of whichever fleet."""
    return any(minute.new_hits + minute.old_hits for minute in minutes)


def healthy(traffic: int, rho: float, *, common: bool) -> dict[str, Any]:
    """Return how often a model that is as good as the old one is taken back, looked at every minute, by window."""
    draw = np.random.default_rng([traffic, int(rho * 1000), common])
    counts: dict[str, list[int]] = {name: [0] * len(WINDOWS) for name in ("linnet", "template_alarm")}
    for _ in range(RUNS):
        errors = fleets(draw, traffic, WINDOWS[-1], ERRORS, 1, rho, common=common)
        latency = fleets(draw, traffic, WINDOWS[-1], SLOW, 1, rho, common=common)
        found = [first for first in (crossed(growth(errors)), crossed(growth(latency))) if first is not None]
        predicted, expected = np.zeros(10, dtype=int), [0.1] * 10
        for number in range(WINDOWS[-1]):
            predicted += draw.multinomial(errors[number].new, expected)
            if shifted(predicted.tolist(), expected, TOLERATED_SHIFT) >= LINE:
                found.append(number)
                break
        for place, window in enumerate(WINDOWS):
            counts["linnet"][place] += min(found, default=window) < window
            counts["template_alarm"][place] += template_alarm(errors[:window])
    return {name: dict(zip(WINDOWS, (n / RUNS for n in by), strict=True)) for name, by in counts.items()}


def worse(traffic: int, ratio: int, within: int) -> dict[str, Any]:
    """Return how often a model with `ratio` times the errors is seen within so many requests, and after how many."""
    draw = np.random.default_rng([traffic, ratio])
    needed = []
    most = max(1, round(within / (traffic * SHARE)))
    for _ in range(RUNS):
        minutes = fleets(draw, traffic, 3 * most, ERRORS, ratio, 0, common=True)
        first = crossed(growth(minutes))
        needed.append(sum(m.new for m in minutes[: first + 1]) if first is not None else math.inf)
    by = {f"p{q}": float(np.quantile(needed, q / 100, method="higher")) for q in (50, 99)}
    return {"within": sum(n <= within for n in needed) / RUNS, "requests": by}


def silent() -> dict[str, Any]:
    """Return in how many seeds a model that errs without an error is caught: its scores lie half a deviation higher."""
    edges = stats.norm.ppf(np.linspace(0, 1, 11))
    shares = np.diff(stats.norm.cdf(edges - 0.52))
    caught = []
    for seed in range(SEEDS):
        draw, counts = np.random.default_rng(seed), np.zeros(10, dtype=int)
        for look in range(1, CAUGHT_WITHIN // 50 + 1):
            counts += draw.multinomial(50, shares)
            if shifted(counts.tolist(), [0.1] * 10, TOLERATED_SHIFT) >= LINE:
                caught.append(50 * look)
                break
    index = float(sum((p - 0.1) * math.log(p / 0.1) for p in shares))
    return {
        "psi": round(index, 3),
        "seeds": SEEDS,
        "caught": len(caught),
        "requests_at_most": max(caught, default=None),
    }


def run() -> dict[str, Any]:
    """Simulate; a goal is missed if any cell misses it."""
    false: dict[str, dict[str, Any]] = {}
    for rho, common, name in ((0.0, True, "steady"), (0.01, True, "bursts in both"), (0.01, False, "bursts in each")):
        for traffic in TRAFFIC:
            found = false.setdefault(name, {})[str(traffic)] = healthy(traffic, rho, common=common)
            shown = ", ".join(f"{who} {by[5]:.3f} / {by[60]:.3f} / {by[240]:.3f}" for who, by in found.items())
            print(f"   healthy, {name:15} {traffic:5}/min, taken back within 5 / 60 / 240 min: {shown}", flush=True)
    seen: dict[str, dict[str, Any]] = {}
    for ratio, within in DETECT:
        for traffic in TRAFFIC[1:]:
            one = seen.setdefault(str(ratio), {})[str(traffic)] = worse(traffic, ratio, within)
            print(
                f"   {ratio:2}x errors, {traffic:5}/min: {one['within']:.3f} within {within} requests, {one['requests']}",
                flush=True,
            )
    quiet = silent()
    print(
        f"   silently wrong (PSI {quiet['psi']}): {quiet['caught']} of {quiet['seeds']}, within {quiet['requests_at_most']}"
    )
    goals = {
        "false_steady": all(by["linnet"][240] <= FALSE_GOAL for by in false["steady"].values()),
        "false_bursts_in_both": all(by["linnet"][240] <= BURSTY_GOAL for by in false["bursts in both"].values()),
        "detected": all(one["within"] >= DETECT_GOAL for by in seen.values() for one in by.values()),
        "silent": quiet["caught"] == quiet["seeds"],
    }
    return {
        "peer": "the alarm of AWS's canary template", "runs": RUNS,
        "false_rollback": false, "detected": seen, "silently_wrong": quiet, "goals": goals,
        "goal": "false rollback at most 1 % (bursts 2 %), 99 % detected, silently wrong in every seed",
        "within_goal": all(goals.values()),
    }  # fmt: skip
