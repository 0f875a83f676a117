"""Drift: how far a window's profile lies from its baseline's, and which of the baseline's constraints it breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from linnet.monitoring.distances import Method, distances, l_infinity
from linnet.monitoring.files import (
    Constraints,
    FeatureConstraint,
    Settings,
    Violation,
    read_constraints,
    suggest_constraints,
)
from linnet.monitoring.profile import Column, Profile

_COMPLETENESS_SIGMAS = 3
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
    resolution: float = 0.0
    """The largest share of a number's rows that counted as one value without being one: so far may a distance be off."""

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
    resolution = 0.0
    for name, constraint in constraints.features.items():
        before, now = baseline.columns.get(name), current.columns.get(name)
        if now is None:
            continue
        if constraint.settings.evaluate:
            violations += _content_checks(constraint, now)
        if before is not None and _comparable(before, now):
            numbers[name] = distances(before, now)
            resolution = max(resolution, numbers[name].get("resolution", 0.0))
            drift[name] = numbers[name]["l_infinity_" + constraint.settings.comparison_method.lower()]
            if constraint.settings.evaluate and constraint.settings.compare:
                violations += _drift_check(now, constraint.settings, drift[name], numbers[name])
    status: Status = "CompletedWithViolations" if violations else "Completed"
    return Comparison(status, current.rows, tuple(violations), drift, numbers, resolution)


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
    threshold = settings.threshold(numeric=bool(now.numeric))
    finer, least = "wasserstein", settings.wasserstein_threshold
    if not now.numeric:
        finer, least = "jensen_shannon", settings.jensen_shannon_threshold
    if not now.numeric and settings.categorical_method == "ChiSquared":
        # A p-value says drift when it is small; fewer than two categories left have none and say nothing.
        if settings.comparison_method == "Robust":
            if found.get("p_value", math.inf) < threshold:
                text = f"Baseline drift p-value: {found['p_value']:.6g} is below threshold: {threshold:.6g}"
                yield Violation(now.name, "baseline_drift_check", text)
            return
        score, least = found.get("chi_squared", 0.0), None
    if score > threshold:
        text = f"Baseline drift distance: {score:.6g} exceeds threshold: {threshold:.6g}"
        yield Violation(now.name, "baseline_drift_check", text)
        return
    finer_score = found.get(finer if settings.comparison_method == "Simple" else f"{finer}_robust", 0.0)
    if least is not None and finer_score > least:
        title = finer.replace("_", "-").title()
        text = f"Baseline drift {title} distance: {finer_score:.6g} exceeds threshold: {least:.6g}"
        yield Violation(now.name, "baseline_drift_check", text)
