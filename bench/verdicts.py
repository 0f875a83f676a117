"""Verdicts on simulated releases: Linnet's sequential tests beside what people use instead (G5, G6 of peers.md).

Peers are re-implemented from their published constants. AWS's canary template alarms on one 5XX of either fleet in a minute.
Kayenta's judge (NetflixACAJudge, MannWhitneyClassifier) compares per-minute rates by Mann-Whitney at 98 % confidence: high
is a lower limit of the shift above a quarter of its Hodges-Lehmann estimate, with a mean no lower than the control's; low
the mirror image. Both are roots of a step function, searched by Brent's method, with continuity and tie corrections.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from linnet.decisions.sequential import BUDGET, Minute, exceeds, growth, line, shifted, wealth

np: Any = importlib.import_module("numpy")
optimize: Any = importlib.import_module("scipy.optimize")
stats: Any = importlib.import_module("scipy.stats")
RUNS = 400
WINDOWS = (5, 30, 60, 240)
TRAFFIC = (60, 600, 6_000)
ALPHA, SHARE = 0.01, 0.1
"""The error of a whole release, all metrics together; the new fleet's share of the traffic."""
ERRORS, SLOW, WRONG = 0.005, 0.01, 0.1
"""Which share of requests fails, is slower than the old fleet's 99th percentile, is answered wrongly."""
LABELLED, DEAR, CHEAP = 0.25, 1.0, 0.2
"""For so many requests the truth comes to be known; half of the wrong calls cost all, half a fifth of it."""
TOLERATED_DIFFERENT, TOLERATED_SHIFT = 0.1, 0.2
DETECT = ((2, 13_000), (5, 1_600), (10, 500))
FINE = 100
"""A look at least every so many requests of the new fleet: what the statistic sees, without a minute's granularity."""
SEEDS, CAUGHT_WITHIN = 200, 5_000
FALSE_GOAL, BURSTY_GOAL, DETECT_GOAL = 0.01, 0.02, 0.99
TOLERANCE, SIGMAS, SEARCHED = 0.25, stats.norm.ppf(1 - (1 - 0.98) / 2), 1e-4
"""Kayenta's constants: the critical share of the estimate, the quantile of its confidence, how far a root is searched."""
PEER_RUNS, JUDGED_EVERY, LONGEST = 100, 5, 300
WHEN = ("at_the_end", "every_5_minutes")
"""Kayenta is asked once, or every so many minutes (for at most the longest), in the first runs of a cell."""
COSTS = (0.0, CHEAP, DEAR)


@dataclass(frozen=True)
class Release:
    """Every minute of a release in all six metrics; `pairs` counts the nine pairs of costs, `bins` the predictions."""

    errors: list[Minute]
    latency: list[Minute]
    quality: list[Minute]
    different: list[int]
    pairs: list[list[int]]
    bins: list[list[int]]


def rates(draw: Any, mean: float, minutes: int, rho: float) -> Any:
    """Return each minute's rate: the mean, or with `rho` drawn around it (beta-binomial)."""
    return draw.beta(mean * (1 / rho - 1), (1 - mean) * (1 / rho - 1), minutes) if rho else np.full(minutes, mean)


def rows(new: Any, new_hits: Any, old: Any, old_hits: Any) -> list[Minute]:
    """Return arrays of a release as its minutes."""
    columns = (column.tolist() for column in (new, new_hits, old, old_hits))
    return [Minute(*row) for row in zip(*columns, strict=True)]


def fleets(draw: Any, new: Any, old: Any, mean: float, ratio: float, rho: float, *, common: bool) -> list[Minute]:
    """Return the minutes of fleets of which the new one hits `ratio` times as often; bursts come to both or to each."""
    one = rates(draw, mean, len(new), rho)
    other = one if common or not rho else rates(draw, mean, len(new), rho)
    return rows(new, draw.binomial(new, np.minimum(1, one * ratio)), old, draw.binomial(old, other))


def labels(
    draw: Any, new: Any, old: Any, ratio: float, rho: float, *, common: bool
) -> tuple[list[Minute], list[list[int]]]:
    """Return which of the labelled calls were wrong, each minute, and how often each pair of costs came."""
    known = draw.binomial(new, LABELLED)
    more = np.maximum(draw.binomial(old, LABELLED) - known, 0)
    mine = rates(draw, WRONG, len(new), rho)
    theirs = mine if common or not rho else rates(draw, WRONG, len(new), rho)
    of = [np.stack([1 - p, p / 2, p / 2], axis=1) for p in (np.minimum(1, mine * ratio), theirs)]
    pairs = draw.multinomial(known, (of[0][:, :, None] * of[1][:, None, :]).reshape(len(new), 9))
    table = pairs.reshape(-1, 3, 3)
    wrong = table[:, :, 1:].sum(axis=(1, 2)) + draw.binomial(more, theirs)
    return rows(known, table[:, 1:, :].sum(axis=(1, 2)), known + more, wrong), pairs.tolist()


def release(draw: Any, traffic: int, rho: float, *, common: bool) -> Release:
    """Return a release of a model that is as good as the old one, at the edge of what is tolerated.

    Disagreements have no other fleet to share their bursts with: with bursts their mean is half of what is tolerated.
    """
    new = draw.binomial(traffic, SHARE, WINDOWS[-1])
    old = traffic - new
    quality, pairs = labels(draw, new, old, 1, rho, common=common)
    differing = rates(draw, TOLERATED_DIFFERENT / (2 if rho else 1), WINDOWS[-1], rho)
    return Release(
        fleets(draw, new, old, ERRORS, 1, rho, common=common), fleets(draw, new, old, SLOW, 1, rho, common=common),
        quality, np.cumsum(draw.binomial(new, differing)).tolist(), np.cumsum(pairs, axis=0).tolist(),
        np.cumsum(draw.multinomial(new, [0.1] * 10), axis=0).tolist(),
    )  # fmt: skip


def dearer_each_minute(pairs: Sequence[Sequence[int]]) -> Iterator[float]:
    """Yield the evidence that the new model's calls cost more, from the pairs so far."""
    by = [mine - other for mine in COSTS for other in COSTS]
    for row in pairs:
        differences = dict.fromkeys(by, 0)
        for difference, times in zip(by, row, strict=True):
            differences[difference] += times
        yield wealth(differences)


def first_looks(seen: Release) -> dict[str, int | None]:
    """Return for each metric the first minute in which its evidence is over its line."""
    sizes = np.cumsum([minute.new for minute in seen.errors]).tolist()
    paths = {
        "errors": growth(seen.errors), "latency": growth(seen.latency), "quality": growth(seen.quality),
        "agreement": (exceeds(n, of, TOLERATED_DIFFERENT) for n, of in zip(seen.different, sizes, strict=True)),
        "predictions": (shifted(row, [0.1] * 10, TOLERATED_SHIFT) for row in seen.bins),
        "cost": dearer_each_minute(seen.pairs),
    }  # fmt: skip
    return {metric: crossed(path, line(metric, ALPHA)) for metric, path in paths.items()}


def crossed(path: Any, wanted: float) -> int | None:
    """Return the first look at which the evidence is over the line."""
    return next((number for number, value in enumerate(path) if value >= wanted), None)


def template_alarm(minutes: Sequence[Minute]) -> bool:
    """Say whether the alarm of AWS's template goes off: one 5XX in a minute, of whichever fleet."""
    return any(minute.new_hits + minute.old_hits for minute in minutes)


def kayenta(minutes: Sequence[Minute]) -> str:
    """Return what Kayenta's judge calls the new fleet's error rates, in percent, the old fleet's being the control.

    Minutes in which a fleet had no request have no rate and are left out.
    """
    x = np.sort([100 * m.new_hits / m.new for m in minutes if m.new])
    y = np.sort([100 * m.old_hits / m.old for m in minutes if m.old])
    if not len(x) or not len(y) or len(np.unique(np.concatenate([x, y]))) == 1 or np.array_equal(x, y):
        return "pass"
    least, most = x[0] - y[-1], x[-1] - y[0]

    def limit(quantile: float) -> float:
        if over(least, x, y, quantile) <= 0:
            return float(least)
        if over(most, x, y, quantile) >= 0:
            return float(most)
        return float(optimize.brentq(over, least, most, args=(x, y, quantile), xtol=SEARCHED))

    critical = TOLERANCE * abs(limit(0))
    ratio = x.mean() / y.mean() if x.any() and y.any() else None
    if limit(SIGMAS) > critical and (ratio is None or ratio >= 1):
        return "high"
    return "low" if limit(-SIGMAS) < -critical and (ratio is None or ratio <= 1) else "pass"


def over(shift: float, x: Any, y: Any, quantile: float) -> float:
    """Return by how many deviations the Mann-Whitney statistic of `x` less this shift is over the quantile."""
    pairs, both, moved = len(x) * len(y), len(x) + len(y), x - shift
    below, reached = np.searchsorted(y, moved, "left"), np.searchsorted(y, moved, "right")
    more = (below.sum() + reached.sum()) / 2 - pairs / 2
    pooled = np.sort(np.concatenate([moved, y]))
    ties = np.diff(np.flatnonzero(np.concatenate([[True], pooled[1:] != pooled[:-1], [True]]))).astype(float)
    sigma = math.sqrt(pairs / 12 * (both + 1 - float((ties**3 - ties).sum()) / (both * (both - 1))))
    return float((more - np.sign(more) / 2) / sigma - quantile)


def healthy(traffic: int, rho: float, *, common: bool) -> dict[str, Any]:
    """Return how often a model that is as good as the old one is taken back, looked at every minute, by window.

    Kayenta's direction is that of an error metric, or the default: either.
    """
    draw = np.random.default_rng([traffic, int(rho * 1000), common])
    linnet, alarm, by_metric = [0] * len(WINDOWS), [0] * len(WINDOWS), dict.fromkeys(BUDGET, 0)
    kayentas = {f"kayenta_{how}_{when}": [0] * len(WINDOWS) for how in ("increase", "either") for when in WHEN}
    for number in range(RUNS):
        seen = release(draw, traffic, rho, common=common)
        looks = {metric: look for metric, look in first_looks(seen).items() if look is not None}
        for metric in looks:
            by_metric[metric] += 1
        first = min(looks.values(), default=math.inf)
        judged = judgements(seen.errors) if number < PEER_RUNS else {}
        for place, window in enumerate(WINDOWS):
            linnet[place] += first < window
            alarm[place] += template_alarm(seen.errors[:window])
            for how, bad in (("increase", {"high"}), ("either", {"high", "low"})):
                kayentas[f"kayenta_{how}_{WHEN[0]}"][place] += judged.get(window) in bad
                kayentas[f"kayenta_{how}_{WHEN[1]}"][place] += any(judged[at] in bad for at in judged if at <= window)
    shares = {who: [n / RUNS for n in by] for who, by in (("linnet", linnet), ("template_alarm", alarm))}
    shares |= {who: [n / PEER_RUNS for n in by] for who, by in kayentas.items()}
    found = {who: dict(zip(WINDOWS, by, strict=True)) for who, by in shares.items()}
    return found | {"linnet_by_metric": {metric: n / RUNS for metric, n in by_metric.items() if n}}


def judgements(minutes: Sequence[Minute]) -> dict[int, str]:
    """Return what Kayenta's judge says every few minutes."""
    return {at: kayenta(minutes[:at]) for at in range(JUDGED_EVERY, len(minutes) + 1, JUDGED_EVERY)}


def worse(traffic: int, ratio: int, within: int) -> dict[str, Any]:
    """Return how often a model with `ratio` times the errors is seen within so many of its requests, and after how many.

    `every_minute` is what CloudWatch allows, `first_look` the share seen at the first minute; `statistic` cuts the same
    traffic finer where a minute has more than FINE requests of the new fleet.
    """
    a_minute = traffic * SHARE
    cuts = max(1, round(a_minute / FINE))
    whole = max(JUDGED_EVERY, math.floor(within / a_minute))
    size = max(whole, math.ceil(within / a_minute) + 1)
    draw = np.random.default_rng([traffic, ratio])
    needed: dict[str, list[float]] = {"every_minute": [], "statistic": []}
    first_look, alarm, kayentas = 0, 0, dict.fromkeys(WHEN, 0)
    for number in range(RUNS):
        fine = draw.binomial(traffic // cuts, SHARE, size * cuts)
        cut = fleets(draw, fine, traffic // cuts - fine, ERRORS, ratio, 0, common=True)
        minutes = [added(cut[at : at + cuts]) for at in range(0, len(cut), cuts)]
        for name, looks in (("every_minute", minutes), ("statistic", cut)):
            first = crossed(growth(looks), line("errors", ALPHA))
            needed[name].append(math.inf if first is None else sum(m.new for m in looks[: first + 1]))
            first_look += name == "every_minute" and first == 0
        alarm += template_alarm(minutes[:whole])
        if number < PEER_RUNS:
            kayentas[WHEN[0]] += kayenta(minutes[:whole]) == "high"
            kayentas[WHEN[1]] += whole <= LONGEST and "high" in judgements(minutes[:whole]).values()
    found: dict[str, Any] = {
        name: {"within": sum(n <= within for n in counts) / RUNS}
        | {f"p{q}": float(np.quantile(counts, q / 100, method="higher")) for q in (50, 99)}
        for name, counts in needed.items()
    }
    peers = {"template_alarm": alarm / RUNS} | {
        f"kayenta_increase_{when}": n / PEER_RUNS for when, n in kayentas.items()
    }
    if whole > LONGEST:
        del peers[f"kayenta_increase_{WHEN[1]}"]
    return found | {"first_look": first_look / RUNS, "goal": within, "peers_minutes": whole, "peers": peers}


def added(minutes: Sequence[Minute]) -> Minute:
    """Return parts of a minute as that minute."""
    parts = zip(*((m.new, m.new_hits, m.old, m.old_hits) for m in minutes), strict=True)
    return Minute(*(sum(part) for part in parts))


def silent() -> dict[str, Any]:
    """Return in how many seeds a model that errs without an error is caught: its scores lie half a deviation higher."""
    edges = stats.norm.ppf(np.linspace(0, 1, 11))
    shares = np.diff(stats.norm.cdf(edges - 0.52))
    caught = []
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        looks = np.cumsum(draw.multinomial([50] * (CAUGHT_WITHIN // 50), shares), axis=0).tolist()
        evidence = (shifted(row, [0.1] * 10, TOLERATED_SHIFT) for row in looks)
        first = crossed(evidence, line("predictions", ALPHA))
        if first is not None:
            caught.append(50 * (first + 1))
    index = float(sum((p - 0.1) * math.log(p / 0.1) for p in shares))
    return {
        "psi": round(index, 3),
        "seeds": SEEDS,
        "caught": len(caught),
        "requests_at_most": max(caught, default=None),
    }


def by_labels(ratio: float) -> dict[str, Any]:
    """Return in how many seeds a model is caught that answers as often alike and as fast, but wrongly `ratio` times as often.

    At 600 requests a minute, by the labels of a quarter of them alone: quality or cost, whichever is first.
    """
    caught: dict[str, list[float]] = {"quality": [], "cost": [], "either": []}
    for seed in range(SEEDS):
        draw = np.random.default_rng([seed, 1])
        new = draw.binomial(600, SHARE, CAUGHT_WITHIN * 2 // 60)
        quality, pairs = labels(draw, new, 600 - new, ratio, 0, common=True)
        after = np.cumsum(new).tolist()
        paths = {"quality": growth(quality), "cost": dearer_each_minute(np.cumsum(pairs, axis=0).tolist())}
        looks = {metric: crossed(path, line(metric, ALPHA)) for metric, path in paths.items()}
        requests = {metric: math.inf if look is None else after[look] for metric, look in looks.items()}
        for metric, n in (requests | {"either": min(requests.values())}).items():
            caught[metric].append(n)
    return {
        metric: {"caught": sum(n <= CAUGHT_WITHIN for n in counts), "seeds": SEEDS}
        | {f"p{q}": float(np.quantile(counts, q / 100, method="higher")) for q in (50, 99)}
        for metric, counts in caught.items()
    }


def run() -> dict[str, Any]:
    """Simulate; a goal is missed if any cell misses it."""
    false: dict[str, dict[str, Any]] = {}
    for rho, common, name in ((0.0, True, "steady"), (0.01, True, "bursts in both"), (0.01, False, "bursts in each")):
        for traffic in TRAFFIC:
            found = false.setdefault(name, {})[str(traffic)] = healthy(traffic, rho, common=common)
            print(f"   healthy, {name}, {traffic}/min, taken back within {' / '.join(map(str, WINDOWS))} minutes:")
            for who in (who for who in found if who != "linnet_by_metric"):
                print(f"      {who:34}" + " / ".join(f"{found[who][window]:.3f}" for window in WINDOWS))
            print(f"      linnet, by metric {found['linnet_by_metric']}", flush=True)
    seen: dict[str, dict[str, Any]] = {}
    for ratio, within in DETECT:
        for traffic in TRAFFIC:
            one = seen.setdefault(str(ratio), {})[str(traffic)] = worse(traffic, ratio, within)
            print(f"   {ratio}x errors, {traffic}/min, seen within {within} requests of the new fleet:")
            print(f"      statistic {one['statistic']}, every minute {one['every_minute']}")
            print(
                f"      at the first look {one['first_look']}, peers in {one['peers_minutes']} min {one['peers']}",
                flush=True,
            )
    quiet, labelled = silent(), {str(ratio): by_labels(ratio) for ratio in (1.5, 2, 3)}
    print(f"   silently wrong (PSI {quiet['psi']}): {quiet}")
    for how, one in labelled.items():
        print(f"   wrong {how}x as often, by labels alone: {one}")
    goals = {
        "false_steady": all(by["linnet"][w] <= FALSE_GOAL for by in false["steady"].values() for w in WINDOWS),
        "false_bursts_in_both": all(
            by["linnet"][w] <= BURSTY_GOAL for by in false["bursts in both"].values() for w in WINDOWS
        ),
        "detected": all(one["statistic"]["within"] >= DETECT_GOAL for by in seen.values() for one in by.values()),
        "silent": quiet["caught"] == quiet["seeds"],
    }
    return {
        "peer": "the alarm of AWS's canary template; Kayenta's Mann-Whitney", "runs": RUNS, "peer_runs": PEER_RUNS,
        "false_rollback": false, "detected": seen, "silently_wrong": quiet, "wrong_by_labels": labelled, "goals": goals,
        "goal": "false rollback at most 1 % (bursts 2 %), 99 % detected, silently wrong in every seed",
        "within_goal": all(goals.values()),
    }  # fmt: skip
