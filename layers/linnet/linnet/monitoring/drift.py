"""Drift: how far a window's profile lies from its baseline's, and which of the baseline's constraints it breaks.

Distances as in Deequ's Distance (the public code behind Model Monitor), except that equal values are counted, not
overwritten: there, a flag that goes from 20 % to 32 % has distance 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from linnet.monitoring.files import (
    Constraints,
    FeatureConstraint,
    Settings,
    Violation,
    read_constraints,
    suggest_constraints,
)
from linnet.monitoring.profile import Column, Profile

ROBUST_C = 1.8
"""The correction of `Robust` for few rows; belongs to a level of 0.003."""
_COMPLETENESS_SIGMAS = 3
_SMALLEST_SHARE = 1e-4
_PSI_BINS = 10
_SMALL_CELL, _SMALL_CELL_OF_TWO = 5, 10
Method = Literal["Simple", "Robust"]
Status = Literal["Completed", "CompletedWithViolations", "no_data"]


@dataclass(frozen=True)
class Comparison:
    """A window against its baseline. With status `no_data` nothing is known: neither healthy nor drifted."""

    status: Status
    rows: int
    violations: tuple[Violation, ...]
    drift: Mapping[str, float]
    """Distance by feature, by the constraints' `comparison_method`; features without values on a side are left out."""
    distances: Mapping[str, Mapping[str, float]]
    """All distances by feature, as `distances` gives them."""

    @property
    def features(self) -> list[str]:
        """The features that break a constraint, each once."""
        return list(dict.fromkeys(violation.feature for violation in self.violations))


def drift_scores(baseline: Profile, current: Profile, method: Method = "Robust") -> dict[str, float]:
    """Return the distance of every feature that has values on both sides, 0 (same) to 1."""
    scores = {}
    for name, before in baseline.columns.items():
        now = current.columns.get(name)
        if now is not None and _comparable(before, now):
            scores[name] = l_infinity(before, now, method)
    return scores


def compare(
    baseline: Profile, current: Profile, constraints: Constraints | None = None, *, minimum_rows: int = 1
) -> Comparison:
    """Return which of the baseline's constraints the window breaks, by Model Monitor's six checks, and its drift.

    `constraints` default to those that the baseline suggests. Below `minimum_rows` rows, and always without any, the
    status is `no_data`. Profile the window with `kinds=kinds_of(baseline)`.
    """
    if current.rows < max(1, minimum_rows):
        return Comparison("no_data", current.rows, (), {}, {})
    constraints = constraints or read_constraints(suggest_constraints(baseline))
    violations = list(_column_checks(constraints, current))
    drift: dict[str, float] = {}
    numbers: dict[str, dict[str, float]] = {}
    for name, constraint in constraints.features.items():
        before, now = baseline.columns.get(name), current.columns.get(name)
        if now is None:
            continue
        if constraint.settings.evaluate:
            violations += _content_checks(constraint, now)
        if before is not None and _comparable(before, now):
            numbers[name] = distances(before, now)
            drift[name] = numbers[name]["l_infinity_" + constraint.settings.comparison_method.lower()]
            if constraint.settings.evaluate and constraint.settings.compare:
                violations += _drift_check(now, constraint.settings, drift[name], numbers[name])
    status: Status = "CompletedWithViolations" if violations else "Completed"
    return Comparison(status, current.rows, tuple(violations), drift, numbers)


def _comparable(before: Column, now: Column) -> bool:
    if before.numeric is None or before.numeric != now.numeric:
        return False
    if before.numeric:
        return bool(before.values.size and now.values.size)
    return bool(before.categories and now.categories)


# --- the six checks ----------------------------------------------------------------------------------------------


def _column_checks(constraints: Constraints, current: Profile) -> Iterator[Violation]:
    if not constraints.settings.evaluate:
        return
    missing = [name for name in constraints.features if name not in current.columns]
    extra = [name for name in current.columns if name not in constraints.features]
    expected, found = len(constraints.features), len(current.columns)
    for name in missing:
        text = f"There are missing columns in current dataset. Number of columns in current dataset: {found}, "
        yield Violation(name, "missing_column_check", f"{text}Number of columns in baseline constraints: {expected}")
    for name in extra:
        text = f"There are extra columns in current dataset. Number of columns in current dataset: {found}, "
        yield Violation(name, "extra_column_check", f"{text}Number of columns in baseline constraints: {expected}")


def _content_checks(constraint: FeatureConstraint, now: Column) -> Iterator[Violation]:
    name, settings = constraint.name, constraint.settings
    wrong = {"Integral": now.fractional + now.text, "Fractional": now.text}.get(constraint.kind, 0)
    if now.numeric is False and constraint.kind in ("Integral", "Fractional"):
        wrong = now.present
    if now.present and wrong / now.present > settings.datatype_threshold:
        text = f"Data type match requirement is not met. Expected data type: {constraint.kind}, "
        text += f"Expected match: {1 - settings.datatype_threshold:.6g}. "
        text += f"Observed: Only {1 - wrong / now.present:.6g} of data is {constraint.kind}."
        yield Violation(name, "data_type_check", text)
    if now.completeness < constraint.completeness - _chance(constraint, now):
        text = f"Value: {now.completeness:.6g} does not meet the constraint requirement! "
        yield Violation(name, "completeness_check", f"{text}Expected completeness: {constraint.completeness:.6g}")
    if constraint.domains is not None and now.present:
        known = sum(count for value, count in now.categories.items() if value in constraint.domains)
        unknown = 1 - known / now.present
        if unknown > settings.domain_threshold:
            text = f"Share of values outside the baseline's categories: {unknown:.6g} exceeds threshold: "
            yield Violation(name, "categorical_values_check", f"{text}{settings.domain_threshold:.6g}")


def _chance(constraint: FeatureConstraint, now: Column) -> float:
    """Return by how much the completeness of so few rows may fall short by chance: three standard deviations.

    Without it every other window of a column that was never complete breaks its own constraint. A column that was
    complete has to be complete; and `Simple` takes every number as it stands, here as in the distances.
    """
    if constraint.settings.comparison_method == "Simple":
        return 0.0
    share = constraint.completeness
    return _COMPLETENESS_SIGMAS * math.sqrt(max(0.0, share * (1 - share)) / max(1, now.present + now.missing))


def _drift_check(now: Column, settings: Settings, score: float, found: Mapping[str, float]) -> Iterator[Violation]:
    threshold = settings.comparison_threshold if now.numeric else settings.categorical_threshold
    if not now.numeric and settings.categorical_method == "ChiSquared":
        # A p-value says drift when it is small; fewer than two categories left have none and say nothing.
        if settings.comparison_method == "Robust":
            if found.get("p_value", math.inf) < threshold:
                text = f"Baseline drift p-value: {found['p_value']:.6g} is below threshold: {threshold:.6g}"
                yield Violation(now.name, "baseline_drift_check", text)
            return
        score = found.get("chi_squared", 0.0)
    if score > threshold:
        text = f"Baseline drift distance: {score:.6g} exceeds threshold: {threshold:.6g}"
        yield Violation(now.name, "baseline_drift_check", text)


# --- distances ---------------------------------------------------------------------------------------------------


def distances(before: Column, now: Column) -> dict[str, float]:
    """Return every distance of two comparable columns.

    `l_infinity_simple`, `l_infinity_robust`, `psi`; numbers also `mean_shift` (relative to the baseline's mean),
    categories also `chi_squared` and its `p_value`. What has no finite value is left out.
    """
    simple = l_infinity(before, now, "Simple")
    found = {
        "l_infinity_simple": simple,
        "l_infinity_robust": robust(simple, *_sizes(before, now)),
        "psi": psi(before, now),
    }
    if before.numeric:
        found["mean_shift"] = relative_shift(before.mean_and_deviation[0], now.mean_and_deviation[0])
    else:
        found["chi_squared"], found["p_value"] = chi_squared(now.categories, before.categories)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def l_infinity(before: Column, now: Column, method: Method = "Simple") -> float:
    """Return the largest difference of cumulative shares (numbers: Kolmogorov-Smirnov) or of shares (categories)."""
    if before.numeric:
        simple = _ks(before, now)
    else:
        one, other = dict(before.categories), dict(now.categories)
        n, m = sum(one.values()), sum(other.values())
        # A baseline that holds only its most frequent categories says nothing of the others.
        names = one if before.distinct is not None and before.distinct > len(one) else one | other
        n, m = (before.text or n, now.text or m) if names is one else (n, m)
        simple = max(abs(one.get(name, 0) / n - other.get(name, 0) / m) for name in names)
    return robust(simple, *_sizes(before, now)) if method == "Robust" else simple


def robust(simple: float, n: float, m: float, alpha: float | None = None) -> float:
    """Return what of a distance `n` and `m` rows cannot show by chance, at level `alpha` (default: c = 1.8)."""
    c = ROBUST_C if alpha is None else math.sqrt(-math.log(alpha / 2) / 2)
    return max(0.0, simple - c * math.sqrt((n + m) / (n * m)))


def _sizes(before: Column, now: Column) -> tuple[int, int]:
    if before.numeric:
        return int(before.counts.sum()), int(now.counts.sum())
    return sum(before.categories.values()), sum(now.categories.values())


def _ks(before: Column, now: Column) -> float:
    points = np.union1d(before.values, now.values)
    return float(np.abs(_cumulative(before, points) - _cumulative(now, points)).max())


def _cumulative(column: Column, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of a column's numbers that are at most each of the points."""
    ends = np.concatenate(([0], np.cumsum(column.counts)))
    return np.asarray(ends[np.searchsorted(column.values, points, side="right")] / ends[-1], dtype=np.float64)


def psi(before: Column, now: Column) -> float:
    """Return the population stability index: over the baseline's deciles, or over all categories.

    A share of 0 counts as 0.0001, or the logarithm has no value.
    """
    if before.numeric:
        ends = np.cumsum(before.counts)
        ranks = np.ceil(np.arange(1, _PSI_BINS) / _PSI_BINS * ends[-1])
        edges = np.unique(before.values[np.searchsorted(ends, ranks)])
        expected = np.diff(np.concatenate(([0.0], _cumulative(before, edges), [1.0])))
        actual = np.diff(np.concatenate(([0.0], _cumulative(now, edges), [1.0])))
    else:
        names = sorted(before.categories.keys() | now.categories.keys())
        n, m = _sizes(before, now)
        expected = np.array([before.categories.get(name, 0) / n for name in names])
        actual = np.array([now.categories.get(name, 0) / m for name in names])
    expected, actual = np.maximum(expected, _SMALLEST_SHARE), np.maximum(actual, _SMALLEST_SHARE)
    return float(((actual - expected) * np.log(actual / expected)).sum())


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
