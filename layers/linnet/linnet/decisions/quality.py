"""What a model's quality may be, whether it still is, and the files that say so (MO-05, MO-06, MO-13).

Sources: AWS guide, model-monitor-model-quality-metrics and -baseline; the words of a violation are those of public
analyzer output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from linnet.errors import BadInputError

Problem = Literal["BinaryClassification", "MulticlassClassification", "Regression"]
Verdict = Literal["HEALTHY", "DEGRADED", "UNKNOWN"]
Operator = Literal["LessThanThreshold", "GreaterThanThreshold"]
Metrics = dict[str, Any]
"""The `..._metrics` of a statistics.json: `{value, standard_deviation}` by name, the matrix and the curves."""
TOLERANCE = 0.05
"""Between the 3 points that are still healthy and the 6 that are not (MO-06)."""
_SECTION: dict[Problem, str] = {
    "BinaryClassification": "binary_classification",
    "MulticlassClassification": "multiclass_classification",
    "Regression": "regression",
}
_SCORES = {
    "accuracy", "precision", "recall", "true_positive_rate", "true_negative_rate", "auc", "f0_5", "f1", "f2", "r2",
    "weighted_precision", "weighted_recall", "weighted_f0_5", "weighted_f1", "weighted_f2",
}  # fmt: skip
_RATES = {"false_positive_rate", "false_negative_rate"}
_ERRORS = {"mae", "mse", "rmse", "mape"}
_OWN = {"mape"}
_SPELLINGS = {"specificity": "true_negative_rate"}
_MOST = 100
_LARGEST = 1e150
_DIGITS = 12


@dataclass(frozen=True)
class Limit:
    """What a metric must not be: below or above a threshold."""

    threshold: float
    operator: Operator

    def broken(self, value: float) -> bool:
        """Whether the value is beyond the threshold; on it, it is not."""
        return value < self.threshold if self.operator == "LessThanThreshold" else value > self.threshold


def constraints(baseline: Mapping[str, float], tolerance: float = TOLERANCE) -> dict[str, Limit]:
    """Return the limits that a baseline's metrics suggest, a champion's evaluation, say (MO-06).

    A score may fall by `tolerance`, a false-positive or false-negative rate rise by it; the errors mae, mse, rmse and mape by
    that share of themselves. Metrics that a window's statistics.json lacks are left out.

    Raises:
        BadInputError: a tolerance outside 0..1, or none of the metrics can be held against a window's.
    """
    if not 0 <= tolerance <= 1:
        raise BadInputError("tolerance", tolerance, "0 to 1")
    found: dict[str, Limit] = {}
    for spelled, value in baseline.items():
        name = _SPELLINGS.get(spelled, spelled)
        # Rounded, so that a fall by the tolerance itself is within it, whatever the last bit says.
        if name in _SCORES:
            found[name] = Limit(round(value - tolerance, _DIGITS), "LessThanThreshold")
        elif name in _RATES:
            found[name] = Limit(round(value + tolerance, _DIGITS), "GreaterThanThreshold")
        elif name in _ERRORS:
            found[name] = Limit(value * (1 + tolerance), "GreaterThanThreshold")
    if not found:
        raise BadInputError("baseline metrics", sorted(baseline), f"one of {sorted(_SCORES | _RATES | _ERRORS)}")
    return found


def numbers(metrics: Metrics) -> dict[str, float]:
    """Return the metrics that are one number, which CloudWatch can have: neither the matrix nor the curves."""
    return {
        name: float(entry["value"]) for name, entry in metrics.items() if isinstance(entry.get("value"), int | float)
    }


def verdict(values: Mapping[str, float], limits: Mapping[str, Limit]) -> Verdict:
    """Return DEGRADED when a limit is broken, UNKNOWN when one cannot be held against the values, else HEALTHY (MO-06)."""
    if any(name in values and limit.broken(values[name]) for name, limit in limits.items()):
        return "DEGRADED"
    return "HEALTHY" if limits and all(name in values for name in limits) else "UNKNOWN"


def violations(metrics: Metrics, limits: Mapping[str, Limit]) -> list[dict[str, str]]:
    """Return the `violations` of a constraint_violations.json: one for each limit that a window's metrics break."""
    found = []
    for name, value in numbers(metrics).items():
        limit = limits.get(name)
        if limit and limit.broken(value):
            deviation = metrics[name]["standard_deviation"]
            spread = deviation if isinstance(deviation, str) else f"{deviation:.6g}"
            text = f"Metric {name} with {value:.6g} +/- {spread} was {limit.operator} '{limit.threshold:.6g}'"
            found.append({"metric_name": name, "constraint_check_type": limit.operator, "description": text})
    return found


def statistics_json(problem: Problem, metrics: Metrics, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics.json; `dataset` has item_count, start_time, end_time and evaluation_time.

    It has Model Monitor's metrics and no others: mape stays out.
    """
    kept = {name: entry for name, entry in metrics.items() if name not in _OWN}
    return {"version": 0, "dataset": dict(dataset), f"{_SECTION[problem]}_metrics": kept}


def constraints_json(problem: Problem, limits: Mapping[str, Limit]) -> dict[str, Any]:
    """Return constraints.json."""
    section = {
        name: {"threshold": limit.threshold, "comparison_operator": limit.operator} for name, limit in limits.items()
    }
    return {"version": 0, f"{_SECTION[problem]}_constraints": section}


def read_constraints(problem: Problem, document: Mapping[str, Any]) -> dict[str, Limit]:
    """Return the limits of a constraints.json, Linnet's or Model Monitor's.

    Raises:
        BadInputError: it has none for this problem, more than 100, or one that cannot be understood.
    """
    section = f"{_SECTION[problem]}_constraints"
    found = document.get(section)
    if not isinstance(found, Mapping) or not 0 < len(found) <= _MOST:
        raise BadInputError(section, found, f"1 to {_MOST} metrics with threshold and comparison_operator")
    return {str(name): _read_limit(f"{section}.{name}", entry) for name, entry in found.items()}


def _read_limit(path: str, entry: Any) -> Limit:
    if not isinstance(entry, Mapping):
        raise BadInputError(path, entry, "threshold and comparison_operator")
    threshold, operator = entry.get("threshold"), entry.get("comparison_operator")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not abs(threshold) <= _LARGEST:
        raise BadInputError(f"{path}.threshold", threshold, "a finite number")
    operators: dict[Any, Operator] = {one: one for one in get_args(Operator)}
    if not isinstance(operator, str) or operator not in operators:
        raise BadInputError(f"{path}.comparison_operator", operator, " | ".join(operators))
    return Limit(float(threshold), operators[operator])
