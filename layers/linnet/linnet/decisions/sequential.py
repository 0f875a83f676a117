"""Is the new fleet worse? Tests that stay valid however often one looks, each returning the log of an e-value.

While the null hypothesis holds, the mean of an e-value never exceeds 1, at whatever look one stops; so it reaches
1 / alpha with probability at most alpha over all looks together (Ville's inequality; Ramdas, Gruenwald, Vovk and Shafer
2023, "Game-Theoretic Statistics and Safe Anytime-Valid Inference"). Several metrics share alpha by adding up to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from linnet.errors import BadInputError

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times the tolerated odds the alternatives are: their mean is an e-value too, and sees small and large ones."""
_PRIOR = 0.5
_ROUNDING = 1e-9


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


def growth(minutes: Iterable[Minute], tolerated: float = 1.0) -> list[float]:
    """Return, after each minute, the log of the e-value against "a hit's odds are at most `tolerated` times the old fleet's".

    Of the hits of a minute, those of the new fleet follow Fisher's noncentral hypergeometric distribution, in which only
    the ratio of the odds is left: the rate itself may be anything and may change with every minute, as long as it
    changes for both fleets. The likelihood ratio of a larger odds ratio rises with the count, so that its mean is at
    most 1 under every tolerated one. The largest value so far counts, which Ville's inequality allows.

    Raises:
        BadInputError: `tolerated` is not above 0.
    """
    if not tolerated > 0:
        raise BadInputError("tolerated", tolerated, "above 0")
    logs, path = [0.0] * len(RATIOS), []
    for minute in minutes:
        hits = minute.new_hits + minute.old_hits
        if hits and minute.new and minute.old:
            ways = _ways(minute, hits)
            null = _log_total(ways, math.log(tolerated))
            for index, ratio in enumerate(RATIOS):
                logs[index] += minute.new_hits * math.log(ratio) - _log_total(ways, math.log(ratio * tolerated)) + null
        path.append(_log_sum(logs) - math.log(len(RATIOS)))
    return path


def _ways(minute: Minute, hits: int) -> list[tuple[int, float]]:
    """Return how many of the hits may be the new fleet's, each with the log of its number of ways."""
    possible = range(max(0, hits - minute.old), min(hits, minute.new) + 1)
    return [(count, _log_ways(minute.new, count) + _log_ways(minute.old, hits - count)) for count in possible]


def _log_ways(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def _log_total(ways: Sequence[tuple[int, float]], log_odds: float) -> float:
    return _log_sum([log + count * log_odds for count, log in ways])


def _log_sum(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(math.fsum(math.exp(value - most) for value in logs))


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
