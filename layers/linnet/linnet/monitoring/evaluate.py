"""Evaluation: metrics of scores against labels, with their uncertainty, from numpy alone (EV-01, EV-04..EV-06).

A positive is label 1; a row is called positive when its score is at least the threshold. What the labels leave
undefined (an AUC with one class) is left out of the metrics, never guessed: a gate must refuse a metric it misses.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linnet.errors import BadInputError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
MINIMUM_ROWS = 30
"""Fewer rows tell nothing of a share: the usual least for its normal approximation (Hogg, Tanis, Zimmerman, Probability
and Statistical Inference); differences of small numbers are no evidence of adverse impact (29 CFR 1607.4(D))."""
_TINY = 1e-10
_CLIP = 1e-15
_RESAMPLES = 2_000
_SEED = 20_251_121
_BINS = 10
_WHICH = ("newest", "older", "train")


@dataclass(frozen=True)
class Difference:
    """Candidate minus champion on the same rows: the value, its confidence interval and two-sided p-value."""

    metric: str
    value: float
    low: float
    high: float
    p_value: float


def evaluate(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float = 0.5,
    false_positive_cost: float = 50.0,
    false_negative_cost: float = 500.0,
) -> dict[str, Any]:
    """Return the evaluation.json of a binary classifier.

    `classification_metrics` holds `{value, standard_deviation}` of accuracy, precision, recall, specificity, f1,
    f0_5, f2, auc, log_loss (of the estimate: DeLong for auc, else a bootstrap with a fixed seed);
    beside it rows, threshold, confusion_matrix, calibration and cost.

    Raises:
        BadInputError: no rows, different lengths, a label other than 0 and 1, a score outside 0..1 or not finite.
    """
    truth, score = _checked(labels, scores)
    cells = confusion(truth, score, threshold)
    values = confusion_metrics(**cells)
    spread = _spread(cells)
    metrics = {name: {"value": value, "standard_deviation": spread[name]} for name, value in values.items()}
    if 0 < truth.sum() < truth.size:
        area, variance = _delong(truth, score[None, :])
        metrics["auc"] = {"value": float(area[0]), "standard_deviation": math.sqrt(max(0.0, float(variance[0, 0])))}
    losses = _losses(truth, score)
    deviation = float(losses.std() / math.sqrt(losses.size))
    metrics["log_loss"] = {"value": float(losses.mean()), "standard_deviation": deviation}
    cost = cells["fp"] * false_positive_cost + cells["fn"] * false_negative_cost
    return {
        "version": 1,
        "rows": int(truth.size),
        "positives": int(truth.sum()),
        "threshold": threshold,
        "classification_metrics": metrics,
        "confusion_matrix": {"0": {"0": cells["tn"], "1": cells["fp"]}, "1": {"0": cells["fn"], "1": cells["tp"]}},
        "calibration": calibration(truth, score),
        "cost": {
            "total": cost, "per_row": cost / truth.size,
            "false_positive": false_positive_cost, "false_negative": false_negative_cost,
        },
    }  # fmt: skip


def read_scores(content: bytes, name: str = "predictions") -> Floats:
    """Return the numbers of a file with one row a line, the first field counting: a transform's output, or labels.

    Raises:
        BadInputError: a line does not start with a finite number (named), or there is none.
    """
    lines = content.decode(errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(float(line.split(",", 1)[0].strip().strip('"')))
        except ValueError:
            raise BadInputError(f"{name}, line {number}", line[:80], "a number in the first field") from None
    return _vector(name, found)


def read_which(content: bytes) -> dict[str, Mask]:
    """Return which lines of a labels file are the newest held-out rows, older ones, training rows: a mask each.

    Lines without a second field are all the newest.

    Raises:
        BadInputError: a line says something else: it must not count nowhere.
    """
    named = [
        line.split(",")[1].strip().strip('"') if "," in line else "newest" for line in content.decode().splitlines()
    ]
    for number, name in enumerate(named, 1):
        if name not in _WHICH:
            raise BadInputError(f"labels, line {number}", name, ", ".join(_WHICH))
    return {which: np.array([name == which for name in named], dtype=np.bool_) for which in _WHICH}


def read_facet(content: bytes, disadvantaged: Collection[str]) -> tuple[Mask, Mask]:
    """Return which lines of a labels file belong to the group, and which to all others; without a facet to neither."""
    rows = list(csv.reader(content.decode().splitlines()))
    told = [row[2] if len(row) > 2 else "" for row in rows]  # noqa: PLR2004 - label, which, facet
    group = np.array([bool(value) and value in disadvantaged for value in told], dtype=np.bool_)
    return group, np.array([bool(value) for value in told], dtype=np.bool_) & ~group


def confusion(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> dict[str, int]:
    """Return the counts tp, fp, fn, tn at a threshold."""
    truth, score = _checked(labels, scores)
    called = score >= threshold
    positive = truth == 1
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    return {"tp": tp, "fp": fp, "fn": int(positive.sum()) - tp, "tn": int((~positive).sum()) - fp}


def confusion_metrics(*, tp: int, fp: int, fn: int, tn: int) -> dict[str, float]:
    """Return the metrics of a confusion matrix; a share of nothing is 0, as scikit-learn has it (EV-04)."""
    return {name: float(value) for name, value in _from_cells(*map(np.float64, (tp, fp, fn, tn))).items()}


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve, ties counting half.

    Raises:
        BadInputError: all labels are the same: the area is not defined.
    """
    truth, score = _checked(labels, scores, probabilities=False)
    return float(_delong(truth, score[None, :])[0][0])


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Return the threshold with the best F1 = 2pr / (p + r + 1e-10) over the PR curve (EV-05); the lowest of equals.

    Tune on validation data: tuned on the holdout it flatters the model.
    """
    truth, score = _checked(labels, scores)
    order = np.argsort(score, kind="stable")[::-1]
    ordered = score[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    tp = np.cumsum(truth[order])[last]
    called = (np.arange(ordered.size) + 1)[last]
    precision, recall = tp / called, tp / max(1.0, float(truth.sum()))
    f1 = 2 * precision * recall / (precision + recall + _TINY)
    best = int(f1.size - 1 - np.argmax(f1[::-1]))
    return {
        "threshold": float(ordered[last][best]), "f1": float(f1[best]),
        "precision": float(precision[best]), "recall": float(recall[best]),
    }  # fmt: skip


def calibration(labels: ArrayLike, scores: ArrayLike, bins: int = _BINS) -> dict[str, Any]:
    """Return the expected calibration error over equal-width bins, and the bins that hold rows."""
    truth, score = _checked(labels, scores)
    place = np.minimum((score * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    said = np.bincount(place, weights=score, minlength=bins)
    came = np.bincount(place, weights=truth, minlength=bins)
    used = np.flatnonzero(count)
    error = float(np.abs(said - came).sum() / truth.size)
    rows = [
        {"from": i / bins, "rows": int(count[i]), "mean_score": float(said[i] / count[i]),
         "positive_share": float(came[i] / count[i])}
        for i in used.tolist()
    ]  # fmt: skip
    return {"expected_calibration_error": error, "bins": rows}


def difference(
    labels: ArrayLike,
    champion: ArrayLike,
    candidate: ArrayLike,
    metric: str = "auc",
    *,
    level: float = 0.95,
    threshold: float = 0.5,
) -> Difference:
    """Return by how much the candidate beats the champion on the same holdout, and how sure that is (EV-03, F25).

    auc: DeLong's test for two correlated areas (Sun and Xu 2014); a metric of the confusion matrix: paired bootstrap
    with a fixed seed. Both are deterministic.

    Raises:
        BadInputError: as `evaluate`; an unknown metric; one class only, for auc.
    """
    truth, old = _checked(labels, champion, probabilities=metric != "auc")
    _, new = _checked(labels, candidate, probabilities=metric != "auc")
    if metric == "auc":
        areas, covariance = _delong(truth, np.stack([old, new]))
        value = float(areas[1] - areas[0])
        error = math.sqrt(max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
        reach = _normal_quantile((1 + level) / 2) * error
        p_value = math.erfc(abs(value) / error / math.sqrt(2)) if error > _CLIP else float(value == 0)
        return Difference(metric, value, value - reach, value + reach, p_value)
    return _bootstrap(truth, old >= threshold, new >= threshold, metric, level)


def _vector(name: str, values: ArrayLike) -> Floats:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise BadInputError(name, f"shape {vector.shape}", "one dimension, at least one row")
    wrong = np.flatnonzero(~np.isfinite(vector))
    if wrong.size:
        raise BadInputError(f"{name}[{wrong[0]}]", float(vector[wrong[0]]), "finite numbers")
    return vector


def _same_length(one: Floats, other: Floats) -> None:
    if one.size != other.size:
        raise BadInputError("rows", other.size, f"as many as labels: {one.size}")


def _checked(labels: ArrayLike, scores: ArrayLike, *, probabilities: bool = True) -> tuple[Floats, Floats]:
    truth, score = _vector("labels", labels), _vector("scores", scores)
    _same_length(truth, score)
    other = np.flatnonzero((truth != 0) & (truth != 1))
    if other.size:
        raise BadInputError(f"labels[{other[0]}]", float(truth[other[0]]), "0 or 1")
    outside = np.flatnonzero((score < 0) | (score > 1))
    if probabilities and outside.size:
        raise BadInputError(f"scores[{outside[0]}]", float(score[outside[0]]), "probabilities from 0 to 1")
    return truth, score


def _losses(truth: Floats, score: Floats) -> Floats:
    """Return each row's negative log-likelihood; scores are kept 1e-15 away from 0 and 1."""
    kept = np.clip(score, _CLIP, 1 - _CLIP)
    return np.asarray(-np.where(truth == 1, np.log(kept), np.log1p(-kept)), dtype=np.float64)


def _from_cells(tp: Any, fp: Any, fn: Any, tn: Any) -> Mapping[str, Any]:
    """Return the metrics of one matrix or, elementwise, of many."""

    def share(part: Any, whole: Any) -> Any:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    def harmonic(beta: float) -> Any:
        weighted = (1 + beta**2) * tp
        return share(weighted, weighted + beta**2 * fn + fp)

    tp, fp, fn, tn = (np.asarray(cell, dtype=np.float64) for cell in (tp, fp, fn, tn))
    return {
        "accuracy": share(tp + tn, tp + fp + fn + tn),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "specificity": share(tn, tn + fp),
        "f1": harmonic(1.0),
        "f0_5": harmonic(0.5),
        "f2": harmonic(2.0),
    }


def _spread(cells: Mapping[str, int]) -> dict[str, float]:
    """Return each metric's standard deviation: resampling rows is drawing the four counts from a multinomial."""
    counts = np.array([cells[name] for name in ("tp", "fp", "fn", "tn")])
    total = int(counts.sum())
    draws = np.random.default_rng(_SEED).multinomial(total, counts / total, size=_RESAMPLES).astype(np.float64)
    return {name: float(np.std(values)) for name, values in _from_cells(*draws.T).items()}


def _bootstrap(truth: Floats, old: NDArray[np.bool_], new: NDArray[np.bool_], metric: str, level: float) -> Difference:
    """Resample rows by resampling the eight counts of (label, champion's call, candidate's call)."""
    kind = truth.astype(np.int64) * 4 + old * 2 + new
    counts = np.bincount(kind, minlength=8).astype(np.float64)

    def gain(cells: Floats) -> Floats:
        # Axes: label, champion's call, candidate's call.
        by = cells.reshape(*cells.shape[:-1], 2, 2, 2)
        first, second = by.sum(axis=-1), by.sum(axis=-2)
        results = []
        for table in (first, second):
            found = _from_cells(table[..., 1, 1], table[..., 0, 1], table[..., 1, 0], table[..., 0, 0])
            if metric not in found:
                raise BadInputError("metric", metric, f"auc, {', '.join(found)}")
            results.append(found[metric])
        return np.asarray(results[1] - results[0], dtype=np.float64)

    value = float(gain(counts))
    draws = np.random.default_rng(_SEED).multinomial(truth.size, counts / truth.size, size=_RESAMPLES)
    gains = gain(draws.astype(np.float64))
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
    p_value = min(1.0, 2 * min(float((gains <= 0).mean()), float((gains >= 0).mean())))
    return Difference(metric, value, float(low), float(high), p_value)


def _midranks(values: Floats) -> Floats:
    """Return each value's rank from 1, equal values sharing the mean of theirs."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    return np.asarray((first + last + 1) / 2, dtype=np.float64)


def _delong(truth: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return the areas of k models (rows of `scores`) and their covariance (Sun and Xu 2014, by midranks)."""
    positive = truth == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise BadInputError("labels", "one class only", "both 0 and 1: else the AUC is not defined")
    above, below = [], []
    for score in scores:
        ranks = _midranks(score)
        above.append((ranks[positive] - _midranks(score[positive])) / n)
        below.append(1 - (ranks[~positive] - _midranks(score[~positive])) / m)
    v10, v01 = np.array(above), np.array(below)
    covariance = _covariance(v10) / m + _covariance(v01) / n
    return np.asarray(v10.mean(axis=1), dtype=np.float64), covariance


def _covariance(rows: Floats) -> Floats:
    """Return the covariance of k rows; of single observations, 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / max(1, rows.shape[1] - 1), dtype=np.float64)


def _normal_quantile(share: float) -> float:
    """Return the standard normal quantile, by bisection on the error function."""
    low, high = -40.0, 40.0
    while high - low > 1e-12:  # noqa: PLR2004 - far below any use of it
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(-middle / math.sqrt(2)) / 2 < share else (low, middle)
    return low
