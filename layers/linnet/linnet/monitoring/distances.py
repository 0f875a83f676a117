"""Distances between two columns: how far a window's values lie from its baseline's.

As in Deequ's Distance (the public code behind Model Monitor), except that equal values are counted, not overwritten:
there, a flag that goes from 20 % to 32 % has distance 0. What is called robust takes off what so few rows cannot show.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from linnet.monitoring.profile import Column, Counts, Floats, at_level, pattern

ROBUST_C = 1.8
"""The correction of `Robust` for few rows; belongs to a level of 0.003."""
_SMALLEST_SHARE = 1e-4
_PSI_BINS = 10
_SMALL_CELL, _SMALL_CELL_OF_TWO = 5, 10
_CHANCE_SIGMAS = 2.748
"""The normal quantile of 0.997."""
Method = Literal["Simple", "Robust"]


@dataclass(frozen=True)
class _Both:
    """Two columns side by side: how many rows of each hold which point (numbers, ascending) or category."""

    points: Floats
    before: Floats
    now: Floats
    resolution: float = 0.0

    @functools.cached_property
    def sizes(self) -> tuple[int, int]:
        return int(self.before.sum()), int(self.now.sum())

    @functools.cached_property
    def shares(self) -> tuple[Floats, Floats]:
        n, m = self.sizes
        return self.before / n, self.now / m

    @functools.cached_property
    def sums(self) -> tuple[Floats, Floats]:
        return np.cumsum(self.before), np.cumsum(self.now)

    @functools.cached_property
    def cumulative(self) -> tuple[Floats, Floats]:
        n, m = self.sizes
        one, other = self.sums
        return one / n, other / m


def _aligned(before: Column, now: Column) -> _Both:
    return _numbers(before, now) if before.numeric else _categories(before, now)


def _numbers(before: Column, now: Column) -> _Both:
    """Return both at the coarser one's level: a number kept exactly on one side alone would be a step of its own."""
    level = max(before.level, now.level)
    before, now = at_level(before, level), at_level(now, level)
    patterns = pattern(before.values, level), pattern(now.values, level)
    points, *places = _united(*patterns)
    held = [
        np.asarray(np.bincount(place, weights=column.counts, minlength=points.size), dtype=np.float64)
        for place, column in zip(places, (before, now), strict=True)
    ]
    if not level:
        return _Both(points, held[0], held[1])
    several = np.zeros(points.size, dtype=bool)
    several[places[1]] = now.mixed
    others = np.full(points.size, np.nan)
    others[places[1]] = now.values
    other = others[places[0]]
    several[places[0]] |= before.mixed | ((other != before.values) & ~np.isnan(other))
    return _Both(points, held[0], held[1], max(float((rows * several).max() / rows.sum()) for rows in held))


def _united(one: Floats, other: Floats) -> tuple[Floats, Counts, Counts]:
    """Return what is in either of two ascending arrays, each value once, and the place of each of both therein."""
    together = np.concatenate((one, other))
    order = np.argsort(together, kind="stable")  # two runs in order are merged, not sorted
    together = together[order]
    first = np.append(True, together[1:] != together[:-1])
    places = np.empty(order.size, dtype=np.int64)
    places[order] = np.cumsum(first) - 1
    return together[first], places[: one.size], places[one.size :]


def _categories(before: Column, now: Column) -> _Both:
    """Return the rows by category; where a side holds its most frequent categories alone, all others are one."""
    cut = [c.categories.keys() for c in (before, now) if c.distinct is not None and c.distinct > len(c.categories)]
    known: Iterable[str] = set.intersection(*map(set, cut)) if cut else {**before.categories, **now.categories}
    names = sorted(known)
    rows = [np.array([c.categories.get(name, 0) for name in names], dtype=np.float64) for c in (before, now)]
    if cut:
        rows = [
            np.append(r, max(0.0, max(c.present, sum(c.categories.values())) - r.sum()))
            for r, c in zip(rows, (before, now), strict=True)
        ]
    return _Both(np.empty(0), rows[0], rows[1])


def distances(before: Column, now: Column) -> dict[str, float]:
    """Return every distance of two comparable columns; what has no finite value is left out.

    `l_infinity_simple`, `l_infinity_robust`, `psi`, `jensen_shannon` (base 2, a distance: 0 to 1; numbers: over the bins
    of the PSI). Numbers also `wasserstein` in standard deviations of the baseline and `wasserstein_raw` in the numbers'
    own unit, `wasserstein_robust`, `mean_shift` (relative to the baseline's mean) and `resolution`: the largest share of
    a side that counts as one value without being one; so far may its `l_infinity` be off. Categories also
    `jensen_shannon_robust`, `chi_squared` and its `p_value`, and `new_categories`: how many the baseline lacks.
    """
    both = _aligned(before, now)
    simple = _l_infinity(before, both)
    bins = _deciles(both) if before.numeric else both.shares
    found = {
        "l_infinity_simple": simple,
        "l_infinity_robust": robust(simple, *both.sizes),
        "psi": _psi(*bins),
        "jensen_shannon": _jensen_shannon(*bins),
    }
    if before.numeric:
        found["resolution"] = both.resolution
        (mean, deviation), raw = before.mean_and_deviation, _wasserstein(both)
        found["mean_shift"] = relative_shift(mean, now.mean_and_deviation[0])
        found["wasserstein_raw"] = raw
        if deviation:
            found["wasserstein"] = raw / deviation
            found["wasserstein_robust"] = _wasserstein_robust(both) / deviation
    else:
        found["jensen_shannon_robust"] = _jensen_shannon_robust(both)
        found["chi_squared"], found["p_value"] = chi_squared(now.categories, before.categories)
        if before.distinct is None or before.distinct <= len(before.categories):
            found["new_categories"] = float(len(now.categories.keys() - before.categories.keys()))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def l_infinity(before: Column, now: Column, method: Method = "Simple") -> float:
    """Return the largest difference of cumulative shares (numbers: Kolmogorov-Smirnov) or of shares (categories)."""
    both = _aligned(before, now)
    simple = _l_infinity(before, both)
    return robust(simple, *both.sizes) if method == "Robust" else simple


def _l_infinity(before: Column, both: _Both) -> float:
    one, other = both.cumulative if before.numeric else both.shares
    return float(np.abs(one - other).max())


def robust(simple: float, n: float, m: float, alpha: float | None = None) -> float:
    """Return what of a distance `n` and `m` rows cannot show by chance, at level `alpha` (default: c = 1.8)."""
    c = ROBUST_C if alpha is None else math.sqrt(-math.log(alpha / 2) / 2)
    return max(0.0, simple - c * math.sqrt((n + m) / (n * m)))


def psi(before: Column, now: Column) -> float:
    """Return the population stability index: over the baseline's deciles, or over all categories.

    A share of 0 counts as 0.0001, or the logarithm has no value.
    """
    both = _aligned(before, now)
    return _psi(*(_deciles(both) if before.numeric else both.shares))


def _deciles(both: _Both) -> tuple[Floats, Floats]:
    """Return the shares of both between the baseline's deciles."""
    ends = both.sums[0]
    ranks = np.ceil(np.arange(1, _PSI_BINS) / _PSI_BINS * ends[-1])
    edges = np.unique(np.searchsorted(ends, ranks))
    one, other = (np.diff(np.concatenate(([0.0], shares[edges], [1.0]))) for shares in both.cumulative)
    return one, other


def _psi(expected: Floats, actual: Floats) -> float:
    expected, actual = np.maximum(expected, _SMALLEST_SHARE), np.maximum(actual, _SMALLEST_SHARE)
    return float(np.add.reduce((actual - expected) * np.log(actual / expected)))


def _jensen_shannon(one: Floats, other: Floats) -> float:
    """Return the square root of the Jensen-Shannon divergence to the base 2 (Lin 1991; Endres and Schindelin 2003)."""
    middle = (one + other) / 2
    divergence = 0.0
    for shares in (one, other):
        there = shares > 0
        divergence += float(np.add.reduce(shares[there] * np.log2(shares[there] / middle[there]))) / 2
    return math.sqrt(max(0.0, divergence))


def _jensen_shannon_robust(both: _Both) -> float:
    """Return what of the distance so few rows cannot show by chance: at the level of 0.003, as `Robust` has it.

    Of two samples of one distribution over k categories, the divergence times 8 ln 2 / (1/n + 1/m) is chi-squared with
    k - 1 degrees of freedom, if no category is rare: those that both together do not let expect 5 times are one.
    """
    n, m = both.sizes
    rare = (both.before + both.now) * min(n, m) / (n + m) < _SMALL_CELL
    one, other = (np.append(rows[~rare], rows[rare].sum()) for rows in (both.before, both.now))
    freedom = int(np.count_nonzero(one + other)) - 1
    if not freedom:
        return 0.0
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + _CHANCE_SIGMAS * math.sqrt(spread)) ** 3  # Wilson and Hilferty 1931
    chance = quantile * (1 / n + 1 / m) / (8 * math.log(2))
    return math.sqrt(max(0.0, _jensen_shannon(one / n, other / m) ** 2 - chance))


def _wasserstein(both: _Both) -> float:
    """Return the area between the two cumulative distributions (the earth mover's distance)."""
    one, other = both.cumulative
    return float(np.add.reduce(np.abs(one - other)[:-1] * np.diff(both.points)))


def _wasserstein_robust(both: _Both) -> float:
    """Return what of the area so few rows cannot show by chance.

    Each difference of cumulative shares has a standard deviation; `ROBUST_C` times their area is taken off. The five
    rows at either end are left out, so that one wild value is not a drift.
    """
    n, m = both.sizes
    one, other = both.cumulative
    all_rows = np.add(*both.sums) / (n + m)
    inside = np.minimum(all_rows, 1 - all_rows)[:-1] * min(n, m) >= _SMALL_CELL
    widths = np.diff(both.points)[inside]
    area = np.add.reduce(np.abs(one - other)[:-1][inside] * widths)
    chance = np.add.reduce(np.sqrt(all_rows * (1 - all_rows))[:-1][inside] * widths)
    return max(0.0, float(area - ROBUST_C * math.sqrt((n + m) / (n * m)) * chance))


def relative_shift(before: float, now: float) -> float:
    """Return how far a mean moved, as a share of where it was: 125.50 to 450.30 is 2.588 (MO-03); infinite from 0."""
    if before == now:
        return 0.0
    return (now - before) / abs(before) if before else math.copysign(math.inf, now)


def chi_squared(observed: Mapping[str, int], expected: Mapping[str, int]) -> tuple[float, float]:
    """Return statistic and p-value of the observed counts against the baseline's shares.

    Categories that the baseline lacks, or never saw, are left out. Small cells are merged, the smallest into the second
    smallest, until at most 20 % of them expect fewer than 5 (of two: none fewer than 10). NaN with fewer than two cells.
    """
    known = [(count, observed.get(name, 0)) for name, count in expected.items() if count > 0]
    total, everything = sum(seen for _, seen in known), sum(count for count, _ in known)
    cells = _large_enough(sorted((count / everything * total, float(seen)) for count, seen in known)) if total else []
    if len(cells) < 2:  # noqa: PLR2004 - one cell always fits
        return math.nan, math.nan
    statistic = math.fsum((seen - wanted) ** 2 / wanted for wanted, seen in cells)
    return statistic, _upper_gamma((len(cells) - 1) / 2, statistic / 2)


def _large_enough(cells: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return ascending cells (expected, observed) after the merging; each merged cell is the largest merged so far.

    So the smallest of all is the first of one of two queues, as in Huffman's code, and nothing is sorted again.
    """
    merged: list[tuple[float, float]] = []
    first = first_merged = 0
    left, small = len(cells), sum(wanted < _SMALL_CELL for wanted, _ in cells)
    while left > 2 and small > left // 5:  # noqa: PLR2004 - Cochran's rule; two cells have Yates'
        pair = []
        for _ in range(2):
            if first_merged == len(merged) or (first < len(cells) and cells[first] <= merged[first_merged]):
                pair.append(cells[first])
                first += 1
            else:
                pair.append(merged[first_merged])
                first_merged += 1
        (least, seen), (following, seen_there) = pair
        merged.append((least + following, seen + seen_there))
        left -= 1
        small -= (following < _SMALL_CELL) + (least < _SMALL_CELL) - (least + following < _SMALL_CELL)
    rest = cells[first:] + merged[first_merged:]
    return rest if len(rest) > 2 or min(rest)[0] >= _SMALL_CELL_OF_TWO else []  # noqa: PLR2004


def _upper_gamma(a: float, x: float) -> float:
    """Return the regularized upper incomplete gamma function Q(a, x) (Numerical Recipes, section 6.2)."""
    if x <= 0:
        return 1.0
    front = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > abs(total) * 1e-16:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - total * front)
    tiny = 1e-300
    b = x + 1 - a
    c = 1 / tiny
    d = 1 / b
    h = d
    for i in range(1, 10_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (_away_from_zero(an * d + b, tiny))
        c = _away_from_zero(b + an / c, tiny)
        h *= d * c
        if abs(d * c - 1) < 1e-15:  # noqa: PLR2004 - the precision of a float
            break
    return front * h


def _away_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
