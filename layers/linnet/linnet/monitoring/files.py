"""Model Monitor's own files, read in every spelling that is in use, written in the current one.

Source: AWS guide, model-monitor-byoc-statistics, -byoc-constraints, -interpreting-violations; the KLL sketch as in
Deequ's KLLSketch. `statistics.json` carries a sketch with k 2048: the column's every 2^L-th value, from which any
quantile is right to 1/4096, and which is exact up to 4,096 rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from linnet.errors import BadInputError
from linnet.monitoring.profile import UNIT, Column, Kind, Moments, Profile, in_units
from linnet.monitoring.tables import LARGEST

STATISTICS, CONSTRAINTS, VIOLATIONS = "statistics.json", "constraints.json", "constraint_violations.json"
_BUCKETS = 10
_K, _C = 2048, 0.64
_MOST_LEVELS = 40
_MOST_ROWS = 1 << 53
_MOST_CATEGORIES = 5_000
_EXTENSION, _FINER = "linnet", ("wasserstein_threshold", "jensen_shannon_threshold")
_FINER_THRESHOLD = 0.1
_MOST_DOMAINS = 100


# --- statistics.json ---------------------------------------------------------------------------------------------


def statistics_json(known: Profile) -> dict[str, Any]:
    """Return a profile as statistics.json."""
    features = [_numeric_json(c) if c.numeric else _string_json(c) for c in known.columns.values()]
    return {"version": 0, "dataset": {"item_count": known.rows}, "features": features}


def _numeric_json(column: Column) -> dict[str, Any]:
    common = {"num_present": column.present, "num_missing": column.missing}
    entry: dict[str, Any] = {"name": column.name, "inferred_type": column.kind}
    if not column.values.size:
        return {**entry, "numerical_statistics": {"common": common}}
    mean, deviation = column.mean_and_deviation
    known = column.exact
    return {
        **entry,
        "numerical_statistics": {
            "common": common,
            "mean": mean,
            "sum": known.total / (1 << UNIT),
            "std_dev": deviation,
            "min": known.least,
            "max": known.greatest,
            "distribution": {
                "kll": {
                    "buckets": _buckets(column),
                    "sketch": {"parameters": {"c": _C, "k": _K}, "data": sketch(column.values, column.counts)},
                }
            },
        },
    }


def _buckets(column: Column) -> list[dict[str, Any]]:
    """Return ten buckets of equal width; a value on a bound belongs to the upper one, the maximum to the last."""
    edges = np.linspace(column.exact.least, column.exact.greatest, _BUCKETS + 1)
    place = np.clip(np.searchsorted(edges, column.values, side="right") - 1, 0, _BUCKETS - 1)
    sums = np.bincount(place, weights=column.counts, minlength=_BUCKETS)
    return [
        {"lower_bound": float(edges[i]), "upper_bound": float(edges[i + 1]), "count": float(sums[i])}
        for i in range(_BUCKETS)
    ]


def sketch(values: NDArray[np.float64], counts: NDArray[np.int64]) -> list[list[float]]:
    """Return the KLL levels of a tallied column; an item of level i stands for 2^i rows, all of them for every row."""
    total = int(counts.sum())
    level = max(0, math.ceil(math.log2(total / (2 * _K)))) if total > 2 * _K else 0
    step = 1 << level
    ends = np.cumsum(counts)
    # Each full step of rows is represented by its middle row, the rest by one item for each binary digit.
    positions = np.arange(total // step) * step + step // 2
    levels: list[list[float]] = [[] for _ in range(level + 1)]
    levels[level] = values[np.searchsorted(ends, positions, side="right")].tolist()
    start = total // step * step
    for lower in range(level - 1, -1, -1):
        size = 1 << lower
        if (total - start) & size:
            levels[lower].append(float(values[np.searchsorted(ends, start + size // 2, side="right")]))
            start += size
    return levels


def _string_json(column: Column) -> dict[str, Any]:
    ranked = sorted(column.categories.items(), key=lambda item: (-item[1], item[0]))
    buckets = [{"value": value, "count": count} for value, count in ranked[:_MOST_CATEGORIES]]
    return {
        "name": column.name,
        "inferred_type": column.kind,
        "string_statistics": {
            "common": {"num_present": column.present, "num_missing": column.missing},
            "distinct_count": column.distinct if column.distinct is not None else len(ranked),
            "distribution": {"categorical": {"buckets": buckets}},
        },
    }


def read_statistics(document: Mapping[str, Any]) -> Profile:
    """Return the profile that a statistics.json, Linnet's or Model Monitor's, stands for.

    Raises:
        BadInputError: the document is not a statistics.json.
    """
    try:
        columns = [_read_feature(feature) for feature in document["features"]]
        return Profile(_count(document["dataset"]["item_count"]), {column.name: column for column in columns})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInputError(STATISTICS, repr(error), "dataset.item_count and features with their statistics") from None


def _read_feature(feature: Mapping[str, Any]) -> Column:
    name, kind = str(feature["name"]), feature.get("inferred_type", "Unknown")
    if "string_statistics" in feature:
        found = feature["string_statistics"]
        buckets = found.get("distribution", {}).get("categorical", {}).get("buckets", [])
        present = _count(found["common"]["num_present"])
        seen = {str(bucket["value"]): _count(bucket["count"]) for bucket in buckets}
        categories = {value: count for value, count in seen.items() if count}
        numeric = None if kind == "Unknown" else False
        distinct = _count(found.get("distinct_count", len(categories)))
        missing = _count(found["common"]["num_missing"])
        return Column(name, numeric, missing, text=present, categories=categories, distinct=distinct)
    found = feature["numerical_statistics"]
    present = _count(found["common"]["num_present"])
    levels = found.get("distribution", {}).get("kll", {}).get("sketch", {}).get("data", [])
    items = np.array([item for level in levels for item in level], dtype=np.float64)
    weights = np.array([1 << i for i, level in enumerate(levels) for _ in level], dtype=np.int64)
    if len(levels) > _MOST_LEVELS or not (np.abs(items) <= LARGEST).all():
        raise ValueError(f"{name}: a sketch of items up to {LARGEST} in at most {_MOST_LEVELS} levels")
    values, inverse = np.unique(items, return_inverse=True)
    counts = np.zeros(values.size, dtype=np.int64)
    np.add.at(counts, inverse, weights)
    return Column(
        name,
        numeric=None if kind == "Unknown" else True,
        missing=_count(found["common"]["num_missing"]),
        whole=present if kind == "Integral" else 0,
        fractional=present if kind != "Integral" else 0,
        values=values,
        counts=counts,
        moments=_read_moments(found, present) if found.get("mean") is not None else None,
    )


def _read_moments(found: Mapping[str, Any], rows: int) -> Moments:
    mean, deviation = float(found["mean"]), float(found["std_dev"])
    least, greatest = float(found.get("min", mean)), float(found.get("max", mean))
    if not max(map(abs, (mean, deviation, least, greatest))) <= LARGEST or deviation < 0:
        raise ValueError(f"mean, std_dev, min and max up to {LARGEST}")
    centre = in_units(mean)
    return Moments(rows, rows * centre, rows * (in_units(deviation) ** 2 + centre**2), least, greatest)


def _count(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= _MOST_ROWS:
        raise ValueError(f"a count of 0 to {_MOST_ROWS}")
    return number


# --- constraints.json --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """The `monitoring_config` of a baseline or, with overrides, of one feature; the defaults are Model Monitor's."""

    evaluate: bool = True
    emit: bool = True
    compare: bool = True
    datatype_threshold: float = 0.1
    domain_threshold: float = 0.1
    comparison_threshold: float = 0.1
    comparison_method: Literal["Simple", "Robust"] = "Robust"
    categorical_threshold: float = 0.1
    categorical_method: Literal["LInfinity", "ChiSquared"] = "LInfinity"
    wasserstein_threshold: float | None = None
    jensen_shannon_threshold: float | None = None
    """Linnet's own, beside Model Monitor's rule: of numbers and of categories; None leaves them out."""

    def threshold(self, *, numeric: bool) -> float:
        """Return the distance above which a feature has drifted."""
        return self.comparison_threshold if numeric else self.categorical_threshold


@dataclass(frozen=True)
class FeatureConstraint:
    """What one feature must look like; `domains` None allows every category."""

    name: str
    kind: Kind
    completeness: float
    non_negative: bool = False
    domains: frozenset[str] | None = None
    settings: Settings = Settings()


@dataclass(frozen=True)
class Constraints:
    """A baseline's constraints by feature, in order."""

    features: Mapping[str, FeatureConstraint]
    settings: Settings = field(default_factory=Settings)


def suggest_constraints(known: Profile, settings: Settings | None = None) -> dict[str, Any]:
    """Return the constraints.json that a baseline suggests: its own types, completeness and (up to 100) categories.

    `settings` default to Model Monitor's with Linnet's finer thresholds beside them, under a key that others ignore.
    """
    settings = settings or Settings(wasserstein_threshold=_FINER_THRESHOLD, jensen_shannon_threshold=_FINER_THRESHOLD)
    features = []
    for column in known.columns.values():
        entry: dict[str, Any] = {
            "name": column.name, "inferred_type": column.kind, "completeness": column.completeness,
        }  # fmt: skip
        if column.numeric and column.values.size:
            entry["num_constraints"] = {"is_non_negative": column.exact.least >= 0}
        if column.kind == "String" and len(column.categories) <= _MOST_DOMAINS:
            entry["string_constraints"] = {"domains": sorted(column.categories)}
        features.append(entry)
    return {"version": 0, "features": features, "monitoring_config": _settings_json(settings)}


def _settings_json(settings: Settings) -> dict[str, Any]:
    switch = {True: "Enabled", False: "Disabled"}
    finer = {name: value for name in _FINER if (value := getattr(settings, name)) is not None}
    return {
        "evaluate_constraints": switch[settings.evaluate],
        "emit_metrics": switch[settings.emit],
        "datatype_check_threshold": settings.datatype_threshold,
        "domain_content_threshold": settings.domain_threshold,
        "distribution_constraints": {
            "perform_comparison": switch[settings.compare],
            "comparison_threshold": settings.comparison_threshold,
            "comparison_method": settings.comparison_method,
            "categorical_comparison_threshold": settings.categorical_threshold,
            "categorical_drift_method": settings.categorical_method,
        }
        | ({_EXTENSION: finer} if finer else {}),
    }


def read_constraints(document: Mapping[str, Any]) -> Constraints:
    """Return the constraints of a constraints.json in any spelling that AWS's pages and baselines use.

    `comparison_method` may be Simple, Robust, linf_simple or linf_robust and its key misspelled `comparion_method`;
    overrides may be `monitoringConfigOverrides` or `monitoring_config_overrides`; what is absent has its default.

    Raises:
        BadInputError: names the field that cannot be understood.
    """
    try:
        settings = _read_settings(document.get("monitoring_config") or {}, Settings())
        features = [_read_constraint(feature, settings) for feature in document["features"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(CONSTRAINTS, repr(error), "features with name, inferred_type, completeness") from None
    return Constraints({feature.name: feature for feature in features}, settings)


def _read_constraint(feature: Mapping[str, Any], settings: Settings) -> FeatureConstraint:
    name = str(feature["name"])
    kind = feature.get("inferred_type", "Unknown")
    if kind not in ("Integral", "Fractional", "String", "Unknown"):
        raise BadInputError(f"{name}.inferred_type", kind, "Integral | Fractional | String | Unknown")
    overrides = feature.get("monitoringConfigOverrides") or feature.get("monitoring_config_overrides") or {}
    domains = (feature.get("string_constraints") or {}).get("domains")
    return FeatureConstraint(
        name,
        kind,
        _number(feature, "completeness", 0.0, of=f"{name}."),
        bool((feature.get("num_constraints") or {}).get("is_non_negative", False)),
        frozenset(map(str, domains)) if domains is not None else None,
        _read_settings(overrides, settings),
    )


def _read_settings(found: Mapping[str, Any], base: Settings) -> Settings:
    compared = found.get("distribution_constraints") or {}
    threshold = _number(compared, "comparison_threshold", base.comparison_threshold)
    # Without a threshold of their own, categories follow the one of the numbers, where that is given.
    default = threshold if "comparison_threshold" in compared else base.categorical_threshold
    method = compared.get("comparison_method", compared.get("comparion_method", base.comparison_method))
    methods: dict[str, Literal["Simple", "Robust"]] = {
        "simple": "Simple", "robust": "Robust", "linf_simple": "Simple", "linf_robust": "Robust",
    }  # fmt: skip
    categorical = compared.get("categorical_drift_method", base.categorical_method)
    tests: dict[str, Literal["LInfinity", "ChiSquared"]] = {
        "linfinity": "LInfinity", "chisquared": "ChiSquared", "chisquare": "ChiSquared",
    }  # fmt: skip
    if str(method).lower() not in methods:
        raise BadInputError("comparison_method", method, "Simple | Robust")
    if str(categorical).lower() not in tests:
        raise BadInputError("categorical_drift_method", categorical, "LInfinity | ChiSquared")
    extension = compared.get(_EXTENSION) or {}
    finer = [_number(extension, name, default) if name in extension else default
             for name, default in ((name, getattr(base, name)) for name in _FINER)]  # fmt: skip
    return Settings(
        _switch(found, "evaluate_constraints", base.evaluate),
        _switch(found, "emit_metrics", base.emit),
        _switch(compared, "perform_comparison", base.compare),
        _number(found, "datatype_check_threshold", base.datatype_threshold),
        _number(found, "domain_content_threshold", base.domain_threshold),
        threshold,
        methods[str(method).lower()],
        _number(compared, "categorical_comparison_threshold", default),
        tests[str(categorical).lower()],
        *finer,
    )


def _switch(found: Mapping[str, Any], name: str, default: bool) -> bool:  # noqa: FBT001 - the value looked for
    value = found.get(name, default)
    if isinstance(value, bool):
        return value
    if value not in ("Enabled", "Disabled"):
        raise BadInputError(name, value, "Enabled | Disabled")
    return bool(value == "Enabled")


def _number(found: Mapping[str, Any], name: str, default: float, of: str = "") -> float:
    value = found.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise BadInputError(of + name, value, "a finite number")
    return float(value)


# --- constraint_violations.json ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Violation:
    """One broken constraint; `check` is Model Monitor's `constraint_check_type`."""

    feature: str
    check: str
    description: str


def violations_json(violations: Sequence[Violation]) -> dict[str, Any]:
    """Return constraint_violations.json; without a violation the list is empty and the file may be left out."""
    return {
        "violations": [
            {"feature_name": v.feature, "constraint_check_type": v.check, "description": v.description}
            for v in violations
        ]
    }


def read_violations(document: Mapping[str, Any]) -> list[Violation]:
    """Return the violations of a constraint_violations.json (MO-04).

    Raises:
        BadInputError: the document is not one.
    """
    try:
        return [
            Violation(str(v["feature_name"]), str(v["constraint_check_type"]), str(v["description"]))
            for v in document["violations"]
        ]
    except (KeyError, TypeError) as error:
        allowed = "violations[]{feature_name, constraint_check_type, description}"
        raise BadInputError(VIOLATIONS, repr(error), allowed) from None
