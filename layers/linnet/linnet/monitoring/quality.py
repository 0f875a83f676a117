"""Model quality: how right the live answers were, once the truth is known, and whether that is still good enough.

What is kept of a window or a shard of it is the multiset of its pairs (truth, answer): exact, merged in any order and
grouping to the same bytes, 24 bytes for each distinct pair. Source: AWS guide, model-monitor-model-quality-metrics, whose
samples come out to the last digit; MO-05, MO-06, MO-13.

What the rows leave undefined (recall without a positive, AUC with one class, R2 of constant labels) is left out of the
metrics, never guessed: a constraint on it makes the verdict UNKNOWN.
"""

from __future__ import annotations

import hashlib
import math
import statistics as exact
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from linnet.decisions.quality import Limit, Metrics, Problem, Verdict, numbers, verdict, violations
from linnet.errors import BadInputError
from linnet.monitoring.tables import LARGEST, texts

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Status = Literal["Completed", "CompletedWithViolations", "no_data", "no_labels"]
MINIMUM_ROWS = 200
_BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
_BEST = "_best_constant_classifier"
_DEVIATION_ROWS, _DRAWS, _DRAWN = 200, 5, 0.8
_CURVE_POINTS = 1_000
_LEFT = ("unlabelled", "unpredicted", "odd_labels")
_MOST_CLASSES, _CLASS_LENGTH = 1_000, 100


@dataclass(frozen=True, eq=False)
class Pairs:
    """The rows whose truth and answer are known, as distinct pairs in ascending order, and how many rows are not.

    Labels and answers are numbers, of a MulticlassClassification text; a binary answer is the score of class 1.
    """

    problem: Problem
    labels: NDArray[Any]
    answers: NDArray[Any]
    counts: Counts
    unlabelled: int = 0
    unpredicted: int = 0
    """Rows with a label but without a usable answer."""
    odd_labels: int = 0
    """Rows whose label is none of the problem's: neither 0 nor 1 in a BinaryClassification."""

    @property
    def scored(self) -> int:
        """How many rows the metrics are of."""
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        """How many rows the endpoint answered or should have."""
        return self.scored + self.unlabelled + self.unpredicted + self.odd_labels

    @property
    def join_rate(self) -> float | None:
        """The share of rows that have a label; None without rows."""
        return (self.rows - self.unlabelled) / self.rows if self.rows else None


@dataclass(frozen=True)
class Quality:
    """A window's quality. With status `no_data` or `no_labels` nothing is known: no metrics, verdict UNKNOWN."""

    status: Status
    verdict: Verdict
    metrics: Metrics
    violations: tuple[Mapping[str, str], ...]


# --- the rows ----------------------------------------------------------------------------------------------------


def pairs(
    problem: Problem, labels: ArrayLike | Sequence[str], answers: ArrayLike | Sequence[str], *,
    unlabelled: int = 0, unpredicted: int = 0,
) -> Pairs:  # fmt: skip
    """Return the pairs of joined rows: one label and one answer a row, beside the counts of rows that lack one.

    Classes of a MulticlassClassification may be text or numbers; 3.0 is the class "3".

    Raises:
        BadInputError: different lengths, a number that is not finite, more than 1,000 classes or a name too long.
    """
    read = _read(problem)
    truth, said = read("labels", labels), read("answers", answers)
    if truth.shape != said.shape:
        raise BadInputError("answers", said.size, f"as many as labels: {truth.size}")
    usable = np.isin(truth, (0.0, 1.0)) if problem == "BinaryClassification" else np.ones(truth.size, dtype=np.bool_)
    tallied = _tally(truth[usable], said[usable], np.ones(int(usable.sum()), dtype=np.int64))
    return Pairs(problem, *tallied, unlabelled, unpredicted, int((~usable).sum()))


def merge(parts: Iterable[Pairs]) -> Pairs:
    """Return the pairs of all rows together; the order and the grouping of the parts do not matter.

    Raises:
        BadInputError: no part, or the parts are of different problems.
    """
    found = list(parts)
    if len({part.problem for part in found}) != 1:
        raise BadInputError("problems", sorted({part.problem for part in found}), "the same in all parts, at least one")
    tallied = _tally(
        np.concatenate([part.labels for part in found]),
        np.concatenate([part.answers for part in found]),
        np.concatenate([part.counts for part in found]),
    )
    unlabelled, unpredicted = sum(part.unlabelled for part in found), sum(part.unpredicted for part in found)
    return Pairs(found[0].problem, *tallied, unlabelled, unpredicted, sum(part.odd_labels for part in found))


def pairs_bytes(known: Pairs) -> bytes:
    """Return a shard's pairs as an Arrow file; the same pairs give the same bytes."""
    columns = [known.labels.tolist(), known.answers.tolist(), known.counts]
    told = {"problem": known.problem, **{name: str(getattr(known, name)) for name in _LEFT}}
    kind = pa.string() if known.problem == "MulticlassClassification" else pa.float64()
    schema = pa.schema([("label", kind), ("answer", kind), ("count", pa.int64())], metadata=told)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        file.write_batch(pa.record_batch(columns, schema=schema))
    return bytes(sink.getvalue())


def read_pairs(content: bytes) -> Pairs:
    """Return the pairs that `pairs_bytes` wrote.

    Raises:
        BadInputError: the file is not one of those.
    """
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        read = {problem: _read(problem) for problem in get_args(Problem)}[told["problem"]]
        labels, answers = read("label", table["label"].to_pylist()), read("answer", table["answer"].to_pylist())
        tallied = _tally(labels, answers, np.asarray(table["count"], dtype=np.int64))
        return Pairs(told["problem"], *tallied, *(int(told[name]) for name in _LEFT))
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise BadInputError("pairs", type(error).__name__, "a file of a model-quality shard") from None


def _tally(labels: NDArray[Any], answers: NDArray[Any], counts: Counts) -> tuple[NDArray[Any], NDArray[Any], Counts]:
    order = np.lexsort((answers, labels))
    labels, answers = labels[order], answers[order]
    first = np.ones(order.size, dtype=np.bool_)
    first[1:] = (labels[1:] != labels[:-1]) | (answers[1:] != answers[:-1])
    starts = np.flatnonzero(first)
    summed = np.add.reduceat(counts[order], starts) if starts.size else counts[:0]
    return labels[starts], answers[starts], summed


def _read(problem: Problem) -> Callable[[str, ArrayLike | Sequence[str]], NDArray[Any]]:
    return _classes if problem == "MulticlassClassification" else _numbers


def _numbers(name: str, values: ArrayLike | Sequence[str]) -> NDArray[Any]:
    found = np.asarray(values, dtype=np.float64)
    wrong = int((~(np.abs(found) <= LARGEST)).sum())
    if found.ndim != 1 or wrong:
        raise BadInputError(name, f"shape {found.shape}, {wrong} odd values", "one dimension of finite numbers")
    return np.asarray(found + 0.0)  # -0.0 becomes 0.0


def _classes(name: str, values: ArrayLike | Sequence[str]) -> NDArray[Any]:
    coded = texts(pa.array(values, from_pandas=True)).dictionary_encode()  # so that NaN is a null, not a class "nan"
    names = np.array(coded.dictionary.to_pylist(), dtype=np.str_)
    longest = max(map(len, names.tolist()), default=0)
    if coded.null_count or names.size > _MOST_CLASSES or longest > _CLASS_LENGTH:
        what = f"{coded.null_count} nulls, {names.size} classes of up to {longest} characters"
        raise BadInputError(
            name, what, f"no null, at most {_MOST_CLASSES} classes of at most {_CLASS_LENGTH} characters"
        )
    return np.asarray(names[coded.indices.to_numpy()])


# --- the metrics -------------------------------------------------------------------------------------------------


def binary(known: Pairs, threshold: float = 0.5) -> Metrics:
    """Return the `binary_classification_metrics`; a row is called 1 when its score is at least the threshold.

    The constant classifier that the `..._best_constant_classifier` values are of says always 1. Curves have at most
    1,000 points, from the highest score down.
    """
    positive, called = known.labels == 1, known.answers >= threshold

    def cells(counts: Counts) -> tuple[int, int, int, int]:
        tp, fp, fn, tn = (
            int(counts[(positive == real) & (called == said)].sum()) for said in (1, 0) for real in (1, 0)
        )
        return tp, fp, fn, tn

    def values(counts: Counts) -> dict[str, float]:
        tp, fp, fn, tn = cells(counts)
        constant = _rates(tp + fn, fp + tn, 0, 0)
        best = {
            name + _BEST: constant[name] for name in ("accuracy", "precision", "recall", *_BETAS) if name in constant
        }
        return _rates(tp, fp, fn, tn) | _auc(known, counts) | best

    tp, fp, fn, tn = cells(known.counts)
    matrix = {"0": {"0": tn, "1": fp}, "1": {"0": fn, "1": tp}}
    return {"confusion_matrix": matrix, **_measured(values, known.counts), **_curves(known)}


def multiclass(known: Pairs) -> Metrics:
    """Return the `multiclass_classification_metrics`: a class weighs as much as it has rows.

    The constant classifier says always "1" or, where no row is of that class, the greatest class as text.
    """
    classes, codes = np.unique(np.concatenate([known.labels, known.answers]), return_inverse=True)
    names = classes.tolist()
    truth, said = codes[: known.labels.size], codes[known.labels.size :]
    constant = names.index("1") if "1" in known.labels else int(truth.max(initial=0))

    def values(counts: Counts) -> dict[str, float]:
        support, predicted, hits = (
            np.bincount(codes, weights=kept, minlength=len(names))
            for codes, kept in ((truth, counts), (said, counts), (truth, np.where(truth == said, counts, 0)))
        )
        always = np.arange(len(names)) == constant
        best = _weighted(support, np.where(always, support.sum(), 0), np.where(always, support, 0))
        return _weighted(support, predicted, hits) | {name + _BEST: value for name, value in best.items()}

    matrix = {name: dict.fromkeys(names, 0) for name in names}
    for real, answer, count in zip(known.labels.tolist(), known.answers.tolist(), known.counts.tolist(), strict=True):
        matrix[real][answer] = count
    return {"confusion_matrix": matrix, **_measured(values, known.counts)}


def regression(known: Pairs) -> Metrics:
    """Return the `regression_metrics`: mae, mse, rmse, r2, and mape where no label is 0 (EV-04)."""
    errors = known.answers - known.labels
    absolute = np.abs(errors)
    relative = absolute / np.abs(known.labels) if known.labels.all() else None

    def values(counts: Counts) -> dict[str, float]:
        rows = int(counts.sum())
        squares = float(np.add.reduce(errors**2 * counts))
        middle = np.add.reduce(known.labels * counts) / rows
        spread = float(np.add.reduce((known.labels - middle) ** 2 * counts))
        found = {"mae": float(np.add.reduce(absolute * counts)) / rows, "mse": squares / rows}
        found["rmse"] = math.sqrt(found["mse"])
        if relative is not None:
            found["mape"] = float(np.add.reduce(relative * counts)) / rows
        kept = known.labels[counts > 0]
        # Not by the spread alone: the mean of equal labels may differ from them in its last bit.
        return found | ({"r2": 1 - squares / spread} if kept[0] != kept[-1] and spread else {})

    return _measured(values, known.counts)


def _measured(values: Callable[[Counts], dict[str, float]], counts: Counts) -> Metrics:
    """Return `{value, standard_deviation}` of each metric, as Model Monitor has it.

    The deviation is that of five draws of 80 % of the rows, "NaN" below 200 rows and where a draw leaves the metric
    undefined. The seed is a digest of the counts: the same rows give the same deviation.

    Raises:
        BadInputError: there is no row.
    """
    rows = int(counts.sum())
    if not rows:
        raise BadInputError("pairs", rows, "at least one row")
    draws = []
    if rows >= _DEVIATION_ROWS:
        seed = hashlib.sha256(counts.astype("<i8").tobytes()).digest()[:8]
        generator = np.random.default_rng(int.from_bytes(seed, "big"))
        taken = generator.multivariate_hypergeometric(counts, int(rows * _DRAWN), size=_DRAWS, method="count")
        draws = [values(draw) for draw in taken]
    return {
        name: {
            "value": value,
            "standard_deviation": exact.stdev(draw[name] for draw in draws)
            if draws and all(name in draw for draw in draws)
            else "NaN",
        }
        for name, value in values(counts).items()
    }


def _rates(tp: int, fp: int, fn: int, tn: int) -> dict[str, float]:
    found = {"accuracy": (tp + tn) / (tp + fp + fn + tn)}
    if tp + fp or tp + fn:  # without a call there is no precision, but where there was something to call, it is 0
        found["precision"] = tp / (tp + fp) if tp + fp else 0.0
    if tp + fn:
        found["recall"] = found["true_positive_rate"] = tp / (tp + fn)
        found["false_negative_rate"] = fn / (tp + fn)
        for name, beta in _BETAS.items():
            found[name] = (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)
    if fp + tn:
        found["false_positive_rate"], found["true_negative_rate"] = fp / (fp + tn), tn / (fp + tn)
    return found


def _weighted(support: NDArray[Any], predicted: NDArray[Any], hits: NDArray[Any]) -> dict[str, float]:
    rows = float(support.sum())
    real = support > 0
    support, predicted, hits = support[real], predicted[real], hits[real]
    precision = hits / np.maximum(predicted, 1)

    def mean(of_class: Floats) -> float:
        return float(np.add.reduce(support * of_class)) / rows

    found = {"accuracy": float(hits.sum()) / rows, "weighted_recall": mean(hits / support)}
    found["weighted_precision"] = mean(precision)
    for name, beta in _BETAS.items():
        found[f"weighted_{name}"] = mean((1 + beta**2) * hits / (beta**2 * support + predicted))
    return found


def _auc(known: Pairs, counts: Counts) -> dict[str, float]:
    """Return the area under the ROC curve, ties counting half, in whole numbers; nothing where there is one class."""
    positive = known.labels == 1
    below = np.concatenate(([0], np.cumsum(counts[~positive])))
    scores, of_positives = known.answers[~positive], counts[positive]
    first = np.searchsorted(scores, known.answers[positive], side="left")
    last = np.searchsorted(scores, known.answers[positive], side="right")
    twice = int((of_positives * (below[first] + below[last])).sum())
    pairs_of_rows = int(below[-1]) * int(of_positives.sum())
    return {"auc": twice / (2 * pairs_of_rows)} if pairs_of_rows else {}


def _curves(known: Pairs) -> Metrics:
    positive = known.labels == 1
    scores, places = np.unique(known.answers, return_inverse=True)
    tp, fp = (
        np.cumsum(np.bincount(places, weights=known.counts * one, minlength=scores.size)[::-1])
        for one in (positive, ~positive)
    )
    if not scores.size or not tp[-1] or not fp[-1]:
        return {}
    shown = np.unique(np.rint(np.linspace(0, scores.size - 1, _CURVE_POINTS - 1)).astype(np.int64))
    tp, fp = tp[shown], fp[shown]
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": [0.0, *(fp / fp[-1]).tolist()],
            "true_positive_rates": [0.0, *(tp / tp[-1]).tolist()],
        },
        "precision_recall_curve": {
            "precisions": [1.0, *(tp / (tp + fp)).tolist()],
            "recalls": [0.0, *(tp / tp[-1]).tolist()],
        },
    }


# --- the verdict --------------------------------------------------------------------------------------------------


def judge(
    known: Pairs, limits: Mapping[str, Limit], *, threshold: float = 0.5, minimum_rows: int = MINIMUM_ROWS
) -> Quality:
    """Return a window's metrics, which limits they break, and the verdict.

    `no_data`: the endpoint answered fewer rows than `minimum_rows`. `no_labels`: fewer than that can be scored, though
    there are enough rows, or none at all: an empty join is never a success.
    """
    least = max(1, minimum_rows)
    if known.rows and (not known.scored or known.scored < least <= known.rows):
        return Quality("no_labels", "UNKNOWN", {}, ())
    if known.rows < least:
        return Quality("no_data", "UNKNOWN", {}, ())
    if known.problem == "BinaryClassification":
        metrics = binary(known, threshold)
    else:
        metrics = regression(known) if known.problem == "Regression" else multiclass(known)
    broken = violations(metrics, limits)
    status: Status = "CompletedWithViolations" if broken else "Completed"
    return Quality(status, verdict(numbers(metrics), limits), metrics, tuple(broken))
