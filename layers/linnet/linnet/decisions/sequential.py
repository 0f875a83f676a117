"""Is the new fleet worse? Tests that stay valid however often one looks, each returning the log of an e-value.

While the null hypothesis holds, the mean of an e-value never exceeds 1, at whatever look one stops; so it reaches
1 / alpha with probability at most alpha over all looks together (Ville's inequality; Ramdas, Gruenwald, Vovk and Shafer
2023, "Game-Theoretic Statistics and Safe Anytime-Valid Inference"). Several metrics share alpha by adding up to it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from linnet.errors import BadInputError

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times the tolerated odds the alternatives are: their mean is an e-value too, and sees small and large ones."""
BETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the largest bet that cannot lose everything: small ones see small differences, large ones see them soon."""
BUDGET = {"errors": 0.4, "latency": 0.1, "predictions": 0.2, "agreement": 0.05, "quality": 0.15, "cost": 0.1}
"""Which share of alpha each metric may spend: together they spend it once, whatever hangs on what (union bound).

Halving a share costs log(2) of evidence, as many requests more as bring it: many for errors, which are rare and have
the narrowest goals (2x of 0.5 % within 13,000 requests), so that they have the most; few for predictions and
disagreements, of which every request tells something. Labels come late and for a part of the requests: quality has more
than the cost that is reckoned from the same labels. A metric that a release does not have leaves its share unspent.
"""
_PRIOR = 0.5
_ROUNDING = 1e-9
_NEGLIGIBLE = 1e-18
"""Terms are left out from here on, relative to the largest: far below what a float adds up to."""


@dataclass(frozen=True)
class Minute:
    """One minute of both fleets: requests, and how many of them hit (failed, were slow, were answered wrongly)."""

    new: int
    new_hits: int
    old: int
    old_hits: int

    def __post_init__(self) -> None:
        for fleet, hits in ((self.new, self.new_hits), (self.old, self.old_hits)):
            if not 0 <= hits <= fleet:
                raise BadInputError("minute", (fleet, hits), "hits from 0 to the fleet's requests")


def line(metric: str, alpha: float) -> float:
    """Return what the log of a metric's e-value has to reach for the release to be worse, by its share of `alpha`.

    Raises:
        BadInputError: a metric without a share, or an `alpha` outside 0..1.
    """
    if metric not in BUDGET:
        raise BadInputError("metric", metric, ", ".join(BUDGET))
    if not 0 < alpha < 1:
        raise BadInputError("alpha", alpha, "between 0 and 1")
    return -math.log(alpha * BUDGET[metric])


def growth(minutes: Iterable[Minute], tolerated: float = 1.0) -> list[float]:
    """Return, after each minute, the log of the e-value against "a hit's odds are at most `tolerated` times the old fleet's".

    Of the hits of a minute, those of the new fleet follow Fisher's noncentral hypergeometric distribution, in which only
    the ratio of the odds is left: the rate itself may be anything and may change with every minute, as long as it
    changes for both fleets. The likelihood ratio of a larger odds ratio rises with the count, so that its mean is at
    most 1 under every tolerated one. The largest value so far counts, which Ville's inequality allows.

    Raises:
        BadInputError: `tolerated` is not above 0.
    """
    return grow(minutes, tolerated)[1]


def grow(
    minutes: Iterable[Minute], tolerated: float = 1.0, logs: Sequence[float] = ()
) -> tuple[list[float], list[float]]:
    """Return the logs of the likelihood ratios by RATIOS after these minutes, and `growth`; `logs` are those before them.

    So a long release is judged without reading its first minutes again.

    Raises:
        BadInputError: `tolerated` is not above 0, or `logs` is not empty and has not one value a ratio.
    """
    if not 0 < tolerated < math.inf:
        raise BadInputError("tolerated", tolerated, "above 0")
    if logs and len(logs) != len(RATIOS):
        raise BadInputError("logs", list(logs), f"{len(RATIOS)} values, or none")
    logs, path = list(logs) or [0.0] * len(RATIOS), []
    steps = [math.log(ratio) for ratio in RATIOS]
    for minute in minutes:
        if minute.new and minute.old and minute.new_hits + minute.old_hits:
            null = _log_total(minute, tolerated)
            for index, ratio in enumerate(RATIOS):
                logs[index] += minute.new_hits * steps[index] - _log_total(minute, ratio * tolerated) + null
        path.append(_log_sum(logs) - math.log(len(RATIOS)))
    return logs, path


def _log_total(minute: Minute, odds: float) -> float:
    """Return the log of the number of ways in which the new fleet may have had some of the hits, each weighed odds**hits.

    Summed from the largest term outwards, each from its neighbour, until a term is negligible: the terms are
    log-concave, so that all that is left out together is below that term times the number of terms, 1e-13 of the sum:
    nothing beside the line, above or below the ratio, also after 20,000 minutes.
    """
    new, hits = minute.new, minute.new_hits + minute.old_hits
    spare = minute.old - hits
    low, high = max(0, -spare), min(hits, new)
    top = _mode(new, hits, spare, odds, low, high)
    total, term = 1.0, 1.0
    mine, hit, count, other = float(new - top), float(hits - top), float(top), float(spare + top)
    while term > _NEGLIGIBLE:  # which the last possible term's successor, 0, is
        count, other = count + 1, other + 1
        term *= odds * mine * hit / (count * other)
        mine, hit, total = mine - 1, hit - 1, total + term
    mine, hit, count, other, term = float(new - top), float(hits - top), float(top), float(spare + top), 1.0
    while term > _NEGLIGIBLE:
        mine, hit = mine + 1, hit + 1
        term *= count * other / (odds * mine * hit)
        count, other, total = count - 1, other - 1, total + term
    return math.log(total) + top * math.log(odds) + _log_ways(new, top) + _log_ways(minute.old, hits - top)


def _mode(new: int, hits: int, spare: int, odds: float, low: int, high: int) -> int:
    """Return the largest term's count, or its neighbour by rounding: the sum stays right from any starting point."""
    # The root of odds * (new + 1 - x) * (hits + 1 - x) = x * (spare + x), at which neighbours are alike.
    square, linear, constant = 1 - odds, spare + odds * (new + hits + 2), odds * (new + 1) * (hits + 1)
    root = 2 * constant / (linear + math.sqrt(max(0.0, linear * linear + 4 * square * constant)))
    return min(max(int(root), low), high)


def _log_ways(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def _log_sum(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(math.fsum(math.exp(value - most) for value in logs))


def exceeds(hits: int, of: int, tolerated: float) -> float:
    """Return the log of the e-value against "the share of hits is at most `tolerated`", after `hits` among `of` requests.

    For the agreement of a shadow with the champion, a hit is a request that the two answer differently. The mean of the
    likelihood ratios of the odds RATIOS times as high: each rises with the hits, so that the edge is the worst tolerated
    share, also when the share changes from request to request (Robbins 1970, "Statistical Methods Related to the Law of
    the Iterated Logarithm": mixtures).

    Raises:
        BadInputError: more hits than requests, or nothing tolerated or everything.
    """
    if not 0 <= hits <= of:
        raise BadInputError("hits", hits, f"from 0 to the {of} requests")
    if not 0 < tolerated < 1:
        raise BadInputError("tolerated", tolerated, "between 0 and 1")
    logs = [hits * math.log(ratio) - of * math.log1p(tolerated * (ratio - 1)) for ratio in RATIOS]
    return _log_sum(logs) - math.log(len(RATIOS))


def dearer(new: Sequence[float], old: Sequence[float], tolerated: float = 0.0) -> float:
    """Return the log of the e-value against "the mean of `new` is at most the mean of `old` plus `tolerated`".

    Both are shares from 0 to 1 in order of arrival (the cost of a wrong call by that of the dearest one); the longer
    one's rest waits for its pairs. The wealth of someone who bets on each pair's difference a fixed share of the largest
    safe bet (Waudby-Smith and Ramdas 2023, "Estimating Means of Bounded Random Variables by Betting"; Shekhar and Ramdas
    2023, "Nonparametric Two-Sample Testing by Betting"), as the mean over BETS.

    Raises:
        BadInputError: a value outside 0..1, or a `tolerated` that is below 0 or that nothing could exceed.
    """
    for name, values in (("new", new), ("old", old)):
        wrong = next((value for value in values if not 0 <= value <= 1), None)
        if wrong is not None:
            raise BadInputError(name, wrong, "shares from 0 to 1")
    return wealth(Counter(mine - other for mine, other in zip(new, old, strict=False)), tolerated)


def wealth(differences: Mapping[float, int], tolerated: float = 0.0) -> float:
    """Return what `dearer` does, from how often each difference came: of many pairs only few differ in cost.

    Raises:
        BadInputError: a difference outside -1..1, or a `tolerated` that is below 0 or that nothing could exceed.
    """
    if not 0 <= tolerated < 1:
        raise BadInputError("tolerated", tolerated, "from 0 to below 1")
    wrong = next((by for by in differences if not -1 <= by <= 1), None)
    if wrong is not None:
        raise BadInputError("differences", wrong, "from -1 to 1")
    logs = []
    for bet in BETS:
        stake = bet / (1 + tolerated)
        logs.append(math.fsum(times * math.log1p(stake * (by - tolerated)) for by, times in differences.items()))
    return _log_sum(logs) - math.log(len(BETS))


def requests_needed(ratio: float, *, rate: float, share: float, alpha: float, power: float = 0.99) -> int:
    """Return after how many requests of the new fleet `growth` sees `ratio` times the hits with this probability.

    `rate` is the old fleet's share of hits, `share` the new fleet's share of the traffic, `alpha` the error that `growth`
    may spend. By the normal approximation of its growth with the alternative that fits; simulation gives somewhat less.

    Raises:
        BadInputError: a ratio not above 1, or a rate or share outside 0..1: nothing could ever be seen.
    """
    for name, value, allowed in (("ratio", ratio > 1, "above 1"), ("rate", 0 < rate < 1, "between 0 and 1"),
                                 ("share", 0 < share < 1, "between 0 and 1")):  # fmt: skip
        if not value:
            raise BadInputError(name, {"ratio": ratio, "rate": rate, "share": share}[name], allowed)
    others = (1 - share) / share
    hits = rate * (ratio + others)
    here, null = ratio / (ratio + others), 1 / (1 + others)
    gains = (math.log(here / null), math.log((1 - here) / (1 - null)))
    mean = hits * (here * gains[0] + (1 - here) * gains[1])
    spread = math.sqrt(hits * (here * gains[0] ** 2 + (1 - here) * gains[1] ** 2))
    sigmas, wanted = NormalDist().inv_cdf(power), math.log(len(RATIOS) / alpha)
    root = (sigmas * spread + math.sqrt((sigmas * spread) ** 2 + 4 * mean * wanted)) / (2 * mean)
    return math.ceil(root**2)


def shifted(counts: Sequence[int], expected: Sequence[float], tolerated: float) -> float:
    """Return the log of the e-value against "at least 1 - `tolerated` of these are distributed as `expected`".

    `counts` and `expected` are over the same bins; the rest may come from anywhere (Huber 1964, "Robust Estimation of a
    Location Parameter": contamination). By universal inference (Wasserman, Ramdas and Balakrishnan 2020): the likelihood
    of the counts under a mixture of all distributions, Dirichlet 1/2, against the largest under a tolerated one.

    Raises:
        BadInputError: bins that do not match, shares that do not add up to 1, or nothing tolerated or everything.
    """
    if len(counts) != len(expected) or min(expected, default=-1) < 0 or abs(math.fsum(expected) - 1) > _ROUNDING:
        raise BadInputError("expected", list(expected), f"{len(counts)} shares that add up to 1")
    if not 0 < tolerated < 1:
        raise BadInputError("tolerated", tolerated, "between 0 and 1")
    total, prior = sum(counts), _PRIOR * len(counts)
    mixture = math.lgamma(prior) - math.lgamma(prior + total)
    mixture += math.fsum(math.lgamma(_PRIOR + count) - math.lgamma(_PRIOR) for count in counts)
    shares = _nearest(counts, [share * (1 - tolerated) for share in expected])
    return mixture - math.fsum(count * math.log(share) for count, share in zip(counts, shares, strict=True) if count)


def _nearest(counts: Sequence[int], least: Sequence[float]) -> list[float]:
    """Return the likeliest shares of which none is below its `least`: in proportion, but for those that this lifts."""
    lifted: set[int] = set()
    while True:
        left = 1 - math.fsum(least[i] for i in lifted)
        free = sum(count for i, count in enumerate(counts) if i not in lifted)
        shares = [least[i] if i in lifted or not free else count / free * left for i, count in enumerate(counts)]
        below = {i for i, share in enumerate(shares) if share < least[i]}
        if not below:
            return shares
        lifted |= below
