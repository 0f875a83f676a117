"""What an evaluation says, in one spelling; and whether a model learnt too much or too little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from linnet.errors import BadInputError

_SECTIONS = ("classification_metrics", "binary_classification_metrics", "multiclass_classification_metrics",
             "regression_metrics", "metrics")  # fmt: skip
_LARGEST = 1e150
_SPELLINGS = {
    "f1_score": "f1", "roc_auc": "auc", "auc_roc": "auc", "auc_score": "auc", "accuracy_score": "accuracy",
    "logloss": "log_loss",
    "precision_score": "precision", "recall_score": "recall", "true_positive_rate": "recall",
    "true_negative_rate": "specificity",
}  # fmt: skip


def read_metrics(document: Any) -> dict[str, float]:
    """Return the metrics of an evaluation.json or metrics.json under their one name: auc, accuracy, f1, ... (EV-01).

    Read are `classification_metrics.auc.value` (and Model Monitor's other `..._metrics`), `metrics.f1_score`,
    `metrics.accuracy`, and `accuracy`, `auc` at the top; the first of these that names a metric wins.

    Raises:
        BadInputError: there is no metric, or one is not a finite number (F27).
    """
    if not isinstance(document, Mapping):
        raise BadInputError("evaluation", document, "a JSON object with metrics")
    found: dict[str, float] = {}
    for section in _SECTIONS:
        part = document.get(section)
        if isinstance(part, Mapping):
            _collect(found, part, section + ".")
    known = {"auc", "accuracy", "f1", "precision", "recall", "specificity", "log_loss", "mae", "mse", "rmse", "r2"}
    _collect(found, {k: v for k, v in document.items() if _SPELLINGS.get(k, k) in known}, "")
    if not found:
        raise BadInputError("evaluation", sorted(map(str, document)), f"one of {', '.join(_SECTIONS)}, accuracy, auc")
    return found


def _collect(found: dict[str, float], part: Mapping[str, Any], path: str) -> None:
    for name, entry in part.items():
        value = entry.get("value") if isinstance(entry, Mapping) else entry
        if value is None or isinstance(value, list | Mapping):  # a curve or a matrix, not a metric
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
            raise BadInputError(path + name, value, "a finite number")
        found.setdefault(_SPELLINGS.get(name, name), float(value))


Fit = Literal["healthy", "overfit", "underfit"]


def fit(train: float, holdout: float, *, gap: float = 0.1, floor: float = 0.7) -> Fit:
    """Return how a model fits (EV-07): 92 / 88 is healthy, 99 / 75 overfit, 65 / 65 underfit.

    The two are the same metric, higher being better, on training and on held-out data; `gap` is the largest
    difference that is still healthy, `floor` what the training data at least must reach.
    """
    if train - holdout > gap:
        return "overfit"
    return "underfit" if train < floor else "healthy"
