"""A run's evaluation.json: what candidate and champion answered for the held-out rows, put into one report (EV-01..EV-07)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from linnet.decisions.evaluation import fit, read_metrics
from linnet.errors import BadInputError
from linnet.monitoring.bias import count, post_training, pre_training
from linnet.monitoring.evaluate import (
    MINIMUM_ROWS,
    Floats,
    Mask,
    best_threshold,
    difference,
    evaluate,
    read_facet,
    read_scores,
    read_which,
)

_THRESHOLD = 0.5
BINS = 10


def report(
    truth: bytes, answers: Mapping[str, bytes], wanted: Mapping[str, Any], champion: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the evaluation.json of a run: the candidate on the newest held-out rows, and all that is told beside it.

    `truth` is the labels file of `split.prepare`, `answers` the transform's output of `candidate` and, where there is
    one, `champion`: one line for each label. `wanted` is the spec's `evaluation`; `champion` has its `version`.

    The report is that of `evaluate` at threshold 0.5, on the newest rows, and
    - `decision`: the threshold for calls, and the same rows at it (see `_decision`);
    - `metrics`: what `read_metrics` reads, and `cost_per_row` of those calls: what the gates judge;
    - `champion`: `{version, metrics, decision}` on the same rows; `difference`: candidate minus champion, or None
      where the metric is undefined;
    - `predictions`: how the candidate's answers are spread, `{edges, shares}`: what its release is held against;
    - `older`: metrics and difference on the older held-out rows, told apart because they favour the old champion;
    - `fit`: the metric on training rows and on the holdout (EV-07), where both are defined;
    - `bias`: `{facet, disadvantaged, metrics, unknown, labels}` at the decision threshold, where the spec asks for it;
      `labels` are the labels' own metrics and unknown.

    Raises:
        BadInputError: an answer is missing or no probability, a label is not 0 or 1, no row is the newest's.
    """
    labels, which = read_scores(truth, "labels"), read_which(truth)
    scores = {name: read_scores(content, name) for name, content in answers.items()}
    for name, found in scores.items():
        if len(found) != len(labels):
            raise BadInputError(f"answers of the {name}", len(found), f"{len(labels)}, one for each row (F25)")
    document = _compared(labels, scores, which["newest"], wanted, champion)
    document["metrics"] = read_metrics(document)
    for who, part in (("candidate", document), ("champion", document.get("champion"))):
        if part:
            part["decision"] = _decision(labels, scores[who], which, wanted)
            part["metrics"]["cost_per_row"] = part["decision"]["cost"]["per_row"]
    if which["older"].any():
        document["older"] = _compared(labels, scores, which["older"], wanted, champion)
    document["predictions"] = spread(scores["candidate"][which["newest"]])
    document |= _fitted(labels, scores["candidate"], which["train"], document["metrics"], wanted)
    if wanted.get("bias"):
        mine = which["newest"]
        group, others = (mask[mine] for mask in read_facet(truth, wanted["bias"]["disadvantaged"]))
        called = scores["candidate"][mine] >= document["decision"]["threshold"]
        treated = count(labels[mine], called, group, others)
        of = {"facet": wanted["bias"]["facet"], "disadvantaged": sorted(wanted["bias"]["disadvantaged"])}
        document["bias"] = of | post_training(treated) | {"labels": pre_training(treated)}
    return document


def spread(scores: Floats) -> dict[str, list[float]]:
    """Return how scores are spread: at most nine edges, their deciles, and the share at or below each and above the last.

    Scores that repeat, as a tree's do, have fewer edges: none of the bins is empty.
    """
    levels = np.quantile(scores, np.arange(1, BINS) / BINS, method="lower")
    edges = np.unique(levels[levels < scores.max()])
    counts = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "shares": (counts / len(scores)).tolist()}


def _costs(wanted: Mapping[str, Any]) -> dict[str, float]:
    return {name: wanted[name] for name in ("false_positive_cost", "false_negative_cost")}


def _compared(
    labels: Floats, scores: Mapping[str, Floats], rows: Mask, wanted: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the evaluation of the candidate on some of the rows, the champion's on the same, and the difference."""
    document = evaluate(labels[rows], scores["candidate"][rows], **_costs(wanted))
    if champion and "champion" in scores:
        held, metric = scores["champion"][rows], wanted["metric"]
        metrics = read_metrics(evaluate(labels[rows], held))
        defined = metric in metrics
        document["champion"] = {"version": champion["version"], "metrics": metrics}
        document["difference"] = (
            asdict(difference(labels[rows], held, scores["candidate"][rows], metric)) if defined else None
        )
    return document


def _decision(labels: Floats, scores: Floats, which: Mapping[str, Mask], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the threshold above which to call a row positive, and how the newest rows fare at it (EV-05, EV-06).

    `{threshold, tuned_on, why, classification_metrics, confusion_matrix, cost}`. It has the best F1 on the older held-out
    rows. Tuned on the newest ones it would flatter the model on the rows that judge it; on training rows it would be
    that of a model that knows the answers. The older ones are of the same entities' side at another time: neither
    trained on nor judged on. With fewer than 30 of a class among them it stays at 0.5, and `why` says so.
    """
    older = which["older"]
    positives = int(labels[older].sum())
    negatives = int(older.sum()) - positives
    decision: dict[str, Any]
    if min(positives, negatives) < MINIMUM_ROWS:
        why = (
            f"not tuned: of the older held-out rows {positives} are positive and {negatives} negative;"
            f" at least {MINIMUM_ROWS} of each are needed"
        )
        decision = {"threshold": _THRESHOLD, "tuned_on": None, "why": why}
    else:
        best = best_threshold(labels[older], scores[older])
        tuned = {"rows": positives + negatives, "f1": best["f1"]}
        decision = {"threshold": best["threshold"], "tuned_on": tuned, "why": "the best F1 on older held-out rows"}
    newest = which["newest"]
    found = evaluate(labels[newest], scores[newest], threshold=decision["threshold"], **_costs(wanted))
    return decision | {name: found[name] for name in ("classification_metrics", "confusion_matrix", "cost")}


def _fitted(
    labels: Floats, scores: Floats, train: Mask, metrics: Mapping[str, float], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how the candidate fits (EV-07): the metric on training rows and on the holdout; nothing where undefined."""
    metric = str(wanted["metric"])
    learnt = read_metrics(evaluate(labels[train], scores[train])).get(metric) if train.any() else None
    if learnt is None or metric not in metrics:
        return {}
    verdict = fit(learnt, metrics[metric], gap=float(wanted["overfit_gap"]))
    return {"fit": {"metric": metric, "train": learnt, "holdout": metrics[metric], "verdict": verdict}}
