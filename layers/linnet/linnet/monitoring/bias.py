"""Bias: how differently two groups are treated, from counts alone (XB-01, XB-02, MO-07).

With a the others and d the group (the disadvantaged), metrics and signs are those of SageMaker Clarify (developer guide,
"Measure Pre-training Bias", "Measure Post-training Data and Model Bias", and its public library): differences are a - d, but
d - a for SD, DCR, DRR and TE. A ratio 0/0 is 0 and x/0 infinite, which is published as 2.348543e108 ("CloudWatch Metrics for
Bias Drift Analysis"). Where Linnet differs it knows less or says more: a share of too few rows is unknown, as is a DI where
nobody of either group is called positive; KL, JS, LP, TVD and KS are of all labels, not of those that both groups have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linnet.decisions.quality import Verdict
from linnet.errors import BadInputError
from linnet.monitoring.evaluate import MINIMUM_ROWS, Floats, Mask
from linnet.monitoring.quality import Status

Table = dict[str, NDArray[np.int64]]
"""Rows by [facet, label, call], each 0 or 1 (facet 1 is the group), for each value of a third column, or under ""."""
Limit = Sequence[float] | Literal["baseline"]
"""What a metric is held against: the range [low, high], or the champion's own evaluation."""
INFINITY = 2.348543e108
PRE_TRAINING = {
    "CI": "Class Imbalance (CI)",
    "DPL": "Difference in Positive Proportions in Labels (DPL)",
    "KL": "Kullback-Leibler Divergence (KL)",
    "JS": "Jensen-Shannon Divergence (JS)",
    "LP": "L-p Norm (LP)",
    "TVD": "Total Variation Distance (TVD)",
    "KS": "Kolmogorov-Smirnov Distance (KS)",
    "CDDL": "Conditional Demographic Disparity in Labels (CDDL)",
}
POST_TRAINING = {
    "DPPL": "Difference in Positive Proportions in Predicted Labels (DPPL)",
    "DI": "Disparate Impact (DI)",
    "DCA": "Difference in Conditional Acceptance (DCA)",
    "DCR": "Difference in Conditional Rejection (DCR)",
    "RD": "Recall Difference (RD)",
    "SD": "Specificity Difference (SD)",
    "AD": "Accuracy Difference (AD)",
    "DAR": "Difference in Acceptance Rates (DAR)",
    "DRR": "Difference in Rejection Rates (DRR)",
    "TE": "Treatment Equality (TE)",
    "CDDPL": "Conditional Demographic Disparity in Predicted Labels (CDDPL)",
    "FT": "Flip Test (FT)",
    "GE": "Generalized Entropy (GE)",
}
_GROUPS = 1_000
_DRAWS = 1_000
_REACH = 1.959963984540054
_SEED = 20_251_121


@dataclass(frozen=True)
class Treatment:
    """How a group is treated in a window. With status `no_data` or `no_labels` nothing is known, and nothing is judged."""

    status: Status
    verdict: Verdict
    values: Mapping[str, float]
    """Of the metrics that were judged."""
    excess: Mapping[str, float]
    unknown: Mapping[str, str]
    """Limited metrics that could not be judged, and why."""
    violations: Mapping[str, Any]
    """constraint_violations.json."""
    analysis: Mapping[str, Any]
    """analysis.json, see `analysis`."""


def count(
    labels: ArrayLike, called: ArrayLike, group: Mask, others: Mask, by: Sequence[str] | None = None
) -> Table:  # fmt: skip
    """Return the table of rows with a label (0 or 1), called positive or not, of the group or the others or neither.

    `by` is the column over which CDDL and CDDPL go on, one text a row. All are of one length.

    Raises:
        BadInputError: a label is not 0 or 1, lengths differ, or `by` has more than 1,000 values.
    """
    truth, said = np.asarray(labels), np.asarray(called).astype(np.bool_)
    for name, column in (("called", said), ("group", group), ("others", others), ("by", truth if by is None else by)):
        if len(column) != len(truth):
            raise BadInputError(f"rows of {name}", len(column), f"as many as labels: {len(truth)}")
    wrong = np.flatnonzero((truth != 0) & (truth != 1))
    if wrong.size:
        raise BadInputError(f"labels[{wrong[0]}]", float(truth[wrong[0]]), "0 or 1")
    names, place = (
        (np.array([""]), np.zeros(len(truth), dtype=np.int64))
        if by is None
        else np.unique(np.asarray(by, dtype=np.str_), return_inverse=True)
    )
    if names.size > _GROUPS:
        raise BadInputError("values of the column for conditional disparity", names.size, f"at most {_GROUPS}")
    code = place * 8 + group.astype(np.int64) * 4 + (truth == 1) * 2 + said
    counts = np.bincount(code[group ^ others], minlength=8 * names.size).reshape(-1, 2, 2, 2)
    return dict(zip(names.tolist(), counts, strict=True))


def merge(tables: Iterable[Table]) -> Table:
    """Return the table of all rows of some tables; any order and grouping gives the same."""
    merged: Table = {}
    for table in tables:
        for name, cells in table.items():
            merged[name] = merged[name] + cells if name in merged else cells
    return dict(sorted(merged.items()))


def pre_training(table: Table, *, minimum_rows: int = MINIMUM_ROWS) -> dict[str, dict[str, Any]]:
    """Return the bias of the labels: `{metrics: {name: value}, unknown: {name: why}}`.

    With q the shares of label 1, P the shares of both labels: CI = (na - nd) / (na + nd), DPL = qa - qd,
    KL = sum Pa ln(Pa / Pd), JS = (KL(Pa, M) + KL(Pd, M)) / 2 to their mean M, LP the 2-norm of Pa - Pd, TVD half its
    1-norm, KS its largest part, CDDL the mean over `by` of (share of d among label 0 - among label 1), by rows. CI is
    unknown without rows of each, the others below `minimum_rows` of each; CDDL is left out of a table without `by`.
    """
    return _found(table, PRE_TRAINING, minimum_rows)


def post_training(table: Table, *, minimum_rows: int = MINIMUM_ROWS) -> dict[str, dict[str, Any]]:
    """Return the bias of the calls: `{metrics: {name: value}, unknown: {name: why}}`.

    With q' the shares called positive: DPPL = q'a - q'd, DI = q'd / q'a; AD, RD, DAR = a - d of accuracy, recall and
    precision; SD, DRR = d - a of specificity and of the share of rightly rejected; DCA = a - d of positive rows by rows
    called so, DCR = d - a of negative rows by rows called so; TE = FNd / FPd - FNa / FPa; CDDPL as CDDL of the calls;
    GE = the mean of ((b / mean b)^2 - 1) / 2 with b = call - label + 1, over all rows. A metric is unknown where it
    rests on fewer than `minimum_rows` rows of either side; CDDPL is left out of a table without `by`. FT: `flips`.
    """
    return _found(table, POST_TRAINING, minimum_rows)


def intervals(table: Table) -> dict[str, tuple[float, float]]:
    """Return each metric's normal bootstrap interval of 95 %: its value and 1.96 standard deviations to each side.

    Drawn are the counts, 1,000 times with a fixed seed; draws in which a metric is infinite do not count. One that is
    infinite in the table itself has no width.
    """
    cells = _stacked(table)
    total = int(cells.sum())
    if not total:
        return {}
    shares = cells.ravel() / total
    draws = np.random.default_rng(_SEED).multinomial(total, shares, size=_DRAWS).reshape(_DRAWS, *cells.shape)
    values, drawn = _values(cells), _values(draws.astype(np.float64))
    made = {}
    for name, value in values.items():
        usable = drawn[name][np.isfinite(drawn[name])]
        reach = _REACH * float(usable.std()) if usable.size and np.isfinite(value) else 0.0
        made[name] = (_finite(float(value)) - reach, _finite(float(value)) + reach)
    return made


def excess(
    values: Mapping[str, float],
    *,
    limits: Mapping[str, Sequence[float]] | None = None,
    baseline: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, float]:
    """Return by how much each judged metric is worse than allowed; 0 where it is not.

    A metric without a value is not judged: where it should be, the caller has to tell that it is unknown.

    A metric in `limits`, `{name: (low, high)}`: the gap between that range and its interval; without one, its value
    (developer guide, "Bias drift for models in production"). One in `baseline` alone: how much farther than the
    baseline's it is from its ideal, 1 for DI and 0 for the others ("Bias Drift Violations").
    """
    ranges, before, found = limits or {}, baseline or {}, {}
    for name, value in values.items():
        if name in ranges:
            low, high = (intervals or {}).get(name, (value, value))
            found[name] = max(0.0, ranges[name][0] - high, low - ranges[name][1])
        elif name in before:
            ideal = 1.0 if name == "DI" else 0.0
            found[name] = max(0.0, abs(value - ideal) - abs(before[name] - ideal))
    return found


def of_evaluation(evaluation: Mapping[str, Any], facet: str, disadvantaged: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the baseline in a run's evaluation.json: `{metrics, unknown}` of its held-out rows' labels and calls.

    What another group was found to be is no baseline of this one: then nothing is known, and `unknown` says so under "".
    """
    found = evaluation.get("bias") or {}
    if found.get("facet") != facet or found.get("disadvantaged") != sorted(disadvantaged):
        return {"metrics": {}, "unknown": {"": f"the champion was not evaluated for this group of {facet}"}}
    return {part: found["labels"][part] | found[part] for part in ("metrics", "unknown")}


def judge(
    table: Table,
    limits: Mapping[str, Limit],
    baseline: Mapping[str, Mapping[str, Any]],
    *,
    rows: int,
    labelled: int,
    minimum_rows: int,
    about: Mapping[str, str],
) -> Treatment:
    """Return which limits the treatment of a group breaks (`excess` has both rules), which are unknown, and the verdict.

    `rows` were answered, of which `labelled` can be scored; `baseline` is `of_evaluation`; `about` names label, facet and
    facet_value. `no_data`: fewer rows than `minimum_rows`; `no_labels`: fewer of them can be scored. A limit without value,
    or without the baseline that it asks for, makes the verdict UNKNOWN unless another is broken.
    """
    pre, post = pre_training(table), post_training(table)
    known, before = pre["metrics"] | post["metrics"], baseline["metrics"]
    why = pre["unknown"] | post["unknown"]
    ranges = {name: limit for name, limit in limits.items() if not isinstance(limit, str)}
    enough = min(rows, labelled) >= minimum_rows
    values = {name: known[name] for name in limits if enough and name in known and (name in ranges or name in before)}
    few = f"{labelled} rows have a label; at least {minimum_rows} are needed"
    nothing = baseline["unknown"].get("", "the champion's evaluation does not have it")
    unknown = {
        name: few if not enough else why.get(name) or str(baseline["unknown"].get(name, nothing))
        for name in limits
        if name not in values
    }
    worse = excess(values, limits=ranges, baseline=before, intervals=intervals(table))
    facet = {name: about[name] for name in ("facet", "facet_value")}
    broken = violations(values, worse, **facet)
    found = bool(broken["violations"])
    status: Status = "no_data" if rows < minimum_rows else "no_labels" if not enough else "Completed"
    return Treatment(
        status="CompletedWithViolations" if found else status,
        verdict="DEGRADED" if found else "UNKNOWN" if unknown else "HEALTHY",
        values=values, excess=worse, unknown=unknown, violations=broken,
        analysis=analysis(pre, post, label=about["label"], **facet),
    )  # fmt: skip


def violations(
    values: Mapping[str, float], worse: Mapping[str, float], *, facet: str, facet_value: str
) -> dict[str, Any]:
    """Return constraint_violations.json: one violation for each metric whose `excess` is above 0."""
    found = [
        {
            "facet": facet, "facet_value": facet_value, "metric_name": name, "constraint_check_type": "bias_drift_check",
            "description": f"Value {values[name]} does not meet the constraint requirement",
        }
        for name in values if worse.get(name, 0.0) > 0
    ]  # fmt: skip
    return {"version": "1.0", "violations": found}


def analysis(
    pre: Mapping[str, Any] | None,
    post: Mapping[str, Any] | None,
    *,
    label: str,
    facet: str,
    facet_value: str,
    label_value: str = "1",
) -> dict[str, Any]:
    """Return analysis.json of one facet, in Clarify's schema; an unknown metric has the value None and says why in `error`."""
    document: dict[str, Any] = {"version": "1.0"}
    for section, found, described in (
        ("pre_training_bias_metrics", pre, PRE_TRAINING), ("post_training_bias_metrics", post, POST_TRAINING),
    ):  # fmt: skip
        if found is None:
            continue
        metrics = []
        for name, description in described.items():
            entry = {"name": name, "description": description}
            if name in found["metrics"]:
                metrics.append(entry | {"value": found["metrics"][name]})
            elif name in found["unknown"]:
                metrics.append(entry | {"value": None, "error": found["unknown"][name]})
        document[section] = {
            "label": label, "label_value_or_threshold": label_value,
            "facets": {facet: [{"value_or_threshold": facet_value, "metrics": metrics}]},
        }  # fmt: skip
    return document


def read_analysis(document: Any, *, facet: str, facet_value: str) -> dict[str, float]:
    """Return the values of a facet's metrics in an analysis.json, Clarify's bias baseline too; unknown ones are not in it.

    Raises:
        BadInputError: the document has no such facet and value, or a value is no number.
    """
    found: dict[str, float] = {}
    known = False
    for section in ("pre_training_bias_metrics", "post_training_bias_metrics"):
        part = document.get(section) if isinstance(document, Mapping) else None
        facets = part.get("facets") if isinstance(part, Mapping) else None
        entries = facets.get(facet) if isinstance(facets, Mapping) else None
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, Mapping) or str(entry.get("value_or_threshold")) != facet_value:
                continue
            known = True
            metrics = entry.get("metrics")
            for metric in metrics if isinstance(metrics, list) else ():
                name, value = (metric.get("name"), metric.get("value")) if isinstance(metric, Mapping) else (None, None)
                if value is None:
                    continue
                if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf <= value <= math.inf:
                    raise BadInputError(f"analysis.json, {facet}, {name}", value, "a number or null")
                found[str(name)] = float(max(-INFINITY, min(INFINITY, value)))
    if not known:
        raise BadInputError("analysis.json", f"{facet} = {facet_value}", "a facet and value that it has metrics of")
    return found


def _found(table: Table, described: Mapping[str, str], minimum_rows: int) -> dict[str, dict[str, Any]]:
    cells = _stacked(table)
    values, rests = _values(cells), _rests(cells)
    metrics: dict[str, float] = {}
    unknown: dict[str, str] = {}
    for name in described:
        if name not in rests or (name.startswith("CDD") and set(table) <= {""}):
            continue
        what, sizes = rests[name]
        least = 1 if name == "CI" else max(1, minimum_rows)
        value = float(values[name])
        if why := too_few(int(sizes[1]), int(sizes[0]), what, least) or _undefined(name, cells):
            unknown[name] = why
        else:
            metrics[name] = _finite(value)
    return {"metrics": metrics, "unknown": unknown}


def _rests(cells: Floats) -> dict[str, tuple[str, Floats]]:
    """Return what each metric rests on, in words, and how many rows of the others and of the group that is."""
    by = cells.sum(axis=0)
    rows, positive, called = by.sum(axis=(1, 2)), by[:, 1].sum(axis=1), by[:, :, 1].sum(axis=1)
    of = {
        "rows": ("rows", rows),
        "positive": ("rows of label 1", positive),
        "negative": ("rows of label 0", rows - positive),
        "called": ("rows called positive", called),
        "rejected": ("rows called negative", rows - called),
        "wrong": ("rows called wrongly", by[:, 0, 1] + by[:, 1, 0]),
    }
    names = {
        "rows": ("CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL", "DPPL", "DI", "AD", "CDDPL", "GE"),
        "positive": ("RD",), "negative": ("SD",), "called": ("DAR", "DCA"), "rejected": ("DRR", "DCR"), "wrong": ("TE",),
    }  # fmt: skip
    return {name: of[basis] for basis, among in names.items() for name in among}


def too_few(of_d: int, of_a: int, what: str, least: int) -> str:
    """Return why so many rows of the group and of the others say nothing, or an empty text."""
    if min(of_d, of_a) >= least:
        return ""
    return f"the group has {of_d} {what}, the others {of_a}; at least {least} are needed"


def _undefined(name: str, cells: Floats) -> str:
    """Return why a metric of enough rows says nothing all the same, or an empty text."""
    of_label, of_call = cells.sum(axis=(0, 1, 3)), cells.sum(axis=(0, 1, 2))
    if name == "DI" and not of_call[1]:
        return "nobody of either group is called positive"
    if name == "CDDL" and not of_label.all():
        return "all rows have the same label"
    if name == "CDDPL" and not of_call.all():
        return "all rows are called the same"
    if name == "GE" and cells[:, :, 1, 0].sum() == cells.sum():
        return "all rows are false negatives"
    return ""


def _stacked(table: Table) -> Floats:
    empty = np.zeros((2, 2, 2), dtype=np.int64)
    return np.stack([table[name] for name in sorted(table)] or [empty]).astype(np.float64)


def _values(cells: Floats) -> dict[str, Floats]:
    """Return the metrics of counts [..., by, facet, label, call], elementwise over what comes before; infinite ones as inf."""
    table = cells.sum(axis=-4)
    tp, fp, fn, tn = table[..., 1, 1], table[..., 0, 1], table[..., 1, 0], table[..., 0, 0]
    positive, negative, called, rejected = tp + fn, fp + tn, tp + fp, fn + tn
    rows = positive + negative
    shares = np.stack([_ratio(negative, rows), _ratio(positive, rows)], axis=-1)
    one, other = shares[..., 0, :], shares[..., 1, :]
    apart, middle = np.abs(one - other), (one + other) / 2
    called_share = _ratio(called, rows)
    benefit, squares = (tp + tn + 2 * fp).sum(axis=-1), (tp + tn + 4 * fp).sum(axis=-1)
    return {
        "CI": _ratio(rows[..., 0] - rows[..., 1], rows.sum(axis=-1)),
        "DPL": _gap(shares[..., 1]),
        "KL": _divergence(one, other),
        "JS": (_divergence(one, middle) + _divergence(other, middle)) / 2,
        "LP": np.sqrt((apart**2).sum(axis=-1)),
        "TVD": apart.sum(axis=-1) / 2,
        "KS": apart.max(axis=-1),
        "CDDL": _disparity(cells.sum(axis=-1)),
        "DPPL": _gap(called_share),
        "DI": _ratio(called_share[..., 1], called_share[..., 0]),
        "DCA": _gap(_ratio(positive, called)),
        "DCR": -_gap(_ratio(negative, rejected)),
        "RD": _gap(_ratio(tp, positive)),
        "SD": -_gap(_ratio(tn, negative)),
        "AD": _gap(_ratio(tp + tn, rows)),
        "DAR": _gap(_ratio(tp, called)),
        "DRR": -_gap(_ratio(tn, rejected)),
        "TE": -_gap(_ratio(fn, fp)),
        "CDDPL": _disparity(cells.sum(axis=-2)),
        "GE": (_ratio(squares * rows.sum(axis=-1), benefit**2) - 1) / 2,
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; 0/0 is 0 and x/0 infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((part == 0) & (whole == 0), 0.0, np.asarray(part, dtype=np.float64) / whole)


def _gap(by_facet: Floats) -> Floats:
    """Return a - d; two that are both infinite do not differ."""
    of_a, of_d = by_facet[..., 0], by_facet[..., 1]
    with np.errstate(invalid="ignore"):
        return np.where(of_a == of_d, 0.0, of_a - of_d)


def _divergence(one: Floats, other: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(one > 0, one * np.log(one / other), 0.0).sum(axis=-1), dtype=np.float64)


def _disparity(counts: Floats) -> Floats:
    """Return the demographic disparity of counts [..., by, facet, outcome]: a mean over `by`, weighted by rows."""
    outcome = counts.sum(axis=-2)
    share = _ratio(counts[..., 1, :], outcome)
    rows = outcome.sum(axis=-1)
    return _ratio((rows * (share[..., 0] - share[..., 1])).sum(axis=-1), rows.sum(axis=-1))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.copysign(INFINITY, value)
