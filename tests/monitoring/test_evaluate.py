"""Metrics against scikit-learn and the seeds' worked examples (EV-01..EV-07); the rest is refused (F27)."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from linnet.decisions.evaluation import fit, read_metrics
from linnet.errors import BadInputError
from linnet.monitoring.evaluate import (
    auc,
    best_threshold,
    calibration,
    confusion,
    confusion_metrics,
    difference,
    evaluate,
    read_facet,
    read_scores,
    read_which,
)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "tn", "expected"),
    [
        (80, 50, 20, 850, (0.93, 0.6154, 0.80, 0.6957)),
        (85, 50, 15, 9850, (0.9935, 0.6296, 0.85, 0.7234)),
        (80, 70, 20, 9830, (0.991, 0.5333, 0.80, 0.64)),
    ],
)
def test_ev04_the_seeds_confusion_matrices_come_out_exactly(
    tp: int, fp: int, fn: int, tn: int, expected: tuple[float, ...]
) -> None:
    found = confusion_metrics(tp=tp, fp=fp, fn=fn, tn=tn)
    assert tuple(round(found[name], 4) for name in ("accuracy", "precision", "recall", "f1")) == expected
    labels = [1] * (tp + fn) + [0] * (fp + tn)
    scores = [1.0] * tp + [0.0] * fn + [1.0] * fp + [0.0] * tn
    assert confusion(labels, scores) == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    assert found["f2"] == pytest.approx(sk.fbeta_score(labels, scores, beta=2))
    assert found["f0_5"] == pytest.approx(sk.fbeta_score(labels, scores, beta=0.5))


CASES = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))),
    min_size=2,
    max_size=150,
)


@settings(max_examples=200, deadline=None)
@given(CASES)
def test_metrics_are_scikit_learns(cases: list[tuple[int, float]]) -> None:
    labels, scores = np.array([0, 1, *(y for y, _ in cases)]), np.array([0.3, 0.3, *(s for _, s in cases)])
    assert auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-9)
    found = evaluate(labels, scores)["classification_metrics"]
    likely = sk.log_loss(labels, np.clip(scores, 1e-15, 1 - 1e-15))
    assert found["log_loss"]["value"] == pytest.approx(likely, abs=1e-9)
    called = scores >= 0.5
    for name, oracle in (
        ("accuracy", sk.accuracy_score(labels, called)),
        ("precision", sk.precision_score(labels, called, zero_division=0)),
        ("recall", sk.recall_score(labels, called, zero_division=0)),
        ("specificity", sk.recall_score(labels, called, pos_label=0, zero_division=0)),
        ("f1", sk.f1_score(labels, called, zero_division=0)),
    ):
        assert found[name]["value"] == pytest.approx(oracle, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(CASES)
def test_ev05_no_threshold_has_a_better_f1_than_the_best(cases: list[tuple[int, float]]) -> None:
    labels, scores = np.array([1, *(y for y, _ in cases)]), np.array([0.4, *(s for _, s in cases)])
    best = best_threshold(labels, scores)
    assert best["f1"] == pytest.approx(sk.f1_score(labels, scores >= best["threshold"]), abs=1e-9)
    assert best["f1"] >= max(sk.f1_score(labels, scores >= t, zero_division=0) for t in np.unique(scores)) - 1e-9


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_the_evaluation_does_not_depend_on_the_order_of_the_rows(
    cases: list[tuple[int, float]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(cases))
    one, other = (evaluate(*np.array(rows, dtype=float).T) for rows in (cases, shuffled))
    assert json.loads(json.dumps(one), parse_float=lambda x: round(float(x), 9)) == json.loads(
        json.dumps(other), parse_float=lambda x: round(float(x), 9)
    )


def test_ev01_the_file_is_plain_json_and_read_back_under_the_same_names() -> None:
    source = np.random.default_rng(1)
    labels = source.integers(0, 2, 2_000)
    scores = np.clip(labels * 0.3 + source.random(2_000) * 0.7, 0, 1)
    document = json.loads(json.dumps(evaluate(labels, scores), allow_nan=False))
    assert document["classification_metrics"]["auc"]["value"] == pytest.approx(sk.roc_auc_score(labels, scores))
    found = read_metrics(document)
    assert {"auc", "accuracy", "f1", "precision", "recall", "log_loss"} <= set(found)
    assert evaluate(labels, scores) == evaluate(labels, scores)


def test_ev06_the_cost_is_50_for_a_false_alarm_and_500_for_a_miss() -> None:
    found = evaluate([0, 0, 1, 1], [0.9, 0.1, 0.1, 0.9])["cost"]
    assert (found["total"], found["per_row"]) == (550, 137.5)


def test_one_class_has_no_auc_and_none_is_invented() -> None:
    assert "auc" not in evaluate([1, 1], [0.2, 0.8])["classification_metrics"]
    with pytest.raises(BadInputError, match="one class only"):
        auc([0, 0], [0.1, 0.2])


@pytest.mark.parametrize(
    ("labels", "scores", "field"),
    [
        ([0, 1], [0.1, math.nan], "scores[1]"),
        ([0, 1], [math.inf, 0.1], "scores[0]"),
        ([0, math.nan], [0.1, 0.2], "labels[1]"),
        ([0, 2], [0.1, 0.2], "labels[1]"),
        ([0, 1], [0.1, 1.2], "scores[1]"),
        ([0, 1], [0.1], "rows"),
        ([], [], "labels"),
        ([[0, 1]], [[0.1, 0.2]], "labels"),
    ],
)
def test_f27_what_cannot_be_judged_is_refused_by_field(labels: Any, scores: Any, field: str) -> None:
    with pytest.raises(BadInputError) as refused:
        evaluate(labels, scores)
    assert refused.value.field == field


def test_calibration_of_an_honest_and_of_a_boasting_model() -> None:
    source = np.random.default_rng(2)
    scores = source.random(50_000)
    honest = (source.random(50_000) < scores).astype(int)
    assert calibration(honest, scores)["expected_calibration_error"] < 0.02
    assert calibration([0, 0, 0, 1], [0.9, 0.9, 0.9, 0.9])["expected_calibration_error"] == pytest.approx(0.65)
    assert [bin_["rows"] for bin_ in calibration([0, 1], [0.0, 1.0])["bins"]] == [1, 1]


# --- champion and candidate ----------------------------------------------------------------------------------------


def holdout(seed: int, strength: tuple[float, float], rows: int = 400) -> tuple[Any, Any, Any]:
    source = np.random.default_rng(seed)
    labels = source.integers(0, 2, rows)
    shared = source.normal(size=rows)
    old, new = (labels * s + shared + source.normal(size=rows) for s in strength)
    return labels, 1 / (1 + np.exp(-old)), 1 / (1 + np.exp(-new))


@pytest.mark.parametrize("metric", ["auc", "accuracy", "f1"])
def test_ev03_a_clearly_better_candidate_is_seen_and_an_equal_one_is_no_difference(metric: str) -> None:
    labels, old, new = holdout(1, (0.5, 2.5))
    better = difference(labels, old, new, metric)
    assert 0 < better.low < better.value < better.high
    assert better.p_value < 0.01
    worse = difference(labels, new, old, metric)
    assert worse.value == pytest.approx(-better.value)
    same = difference(labels, old, old, metric)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert difference(labels, old, new, metric) == better


@pytest.mark.parametrize("metric", ["auc", "accuracy"])
def test_f25_equally_good_models_differ_significantly_no_more_often_than_alpha_allows(metric: str) -> None:
    runs = 400
    found = [difference(*holdout(seed, (1.0, 1.0), rows=200), metric) for seed in range(runs)]
    promoted = sum(one.low > 0 for one in found)
    assert promoted <= runs * 0.025 + 3 * math.sqrt(runs * 0.025 * 0.975)


@settings(max_examples=60, deadline=None)
@given(CASES, st.data())
def test_delongs_interval_is_that_of_his_definition(cases: list[tuple[int, float]], data: st.DataObject) -> None:
    """Against the structural components of DeLong, DeLong and Clarke-Pearson (1988), pair by pair."""
    labels = np.array([0, 0, 1, 1, *(y for y, _ in cases)])
    old = np.array([0.1, 0.6, 0.5, 0.9, *(s for _, s in cases)])
    new = np.array(data.draw(st.lists(st.floats(0, 1), min_size=old.size, max_size=old.size)))
    above, below = [], []
    for scores in (old, new):
        won = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        kernel = np.where(won > 0, 1.0, np.where(won == 0, 0.5, 0.0))
        above.append(kernel.mean(axis=1))
        below.append(kernel.mean(axis=0))
    covariance = np.cov(above) / len(above[0]) + np.cov(below) / len(below[0])
    error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    found = difference(labels, old, new)
    assert found.value == pytest.approx(np.mean(above[1]) - np.mean(above[0]), abs=1e-12)
    assert found.high - found.value == pytest.approx(stats.norm.ppf(0.975) * error, abs=1e-7)
    if error > 1e-6:
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.value) / error), abs=1e-7)


def test_delongs_standard_deviation_is_that_of_the_estimate() -> None:
    draws = [holdout(seed, (1.0, 1.0), rows=300) for seed in range(300)]
    values = [auc(labels, old) for labels, old, _ in draws]
    said = np.mean([evaluate(y, old)["classification_metrics"]["auc"]["standard_deviation"] for y, old, _ in draws])
    assert said == pytest.approx(np.std(values), rel=0.15)


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="'charm'"):
        difference([0, 1], [0.1, 0.9], [0.1, 0.9], "charm")


def test_a_transforms_output_is_read_line_by_line() -> None:
    assert read_scores(b'0.25\n0.5,1\n"0.75"\n1e-3').tolist() == [0.25, 0.5, 0.75, 0.001]
    for bad, place in (
        (b"0.1\nerror\n", "line 2"),
        (b"0.1\n\n0.2\n", "line 2"),
        (b"", "predictions"),
        (b"nan\n", r"\[0\]"),
    ):
        with pytest.raises(BadInputError, match=place):
            read_scores(bad)


# --- reading evaluations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"classification_metrics": {"auc": {"value": 0.91, "standard_deviation": "NaN"}}}, {"auc": 0.91}),
        ({"metrics": {"f1_score": 0.86}}, {"f1": 0.86}),
        ({"metrics": {"accuracy": 0.9}, "model": "x"}, {"accuracy": 0.9}),
        ({"accuracy": 0.88, "auc": 0.93, "epoch": 3}, {"accuracy": 0.88, "auc": 0.93}),
        (
            {
                "binary_classification_metrics": {
                    "confusion_matrix": {"0": {"0": 1}},
                    "f1": {"value": 0.5, "standard_deviation": 0.1},
                    "receiver_operating_characteristic_curve": {
                        "false_positive_rates": [0],
                        "true_positive_rates": [0],
                    },
                }
            },
            {"f1": 0.5},
        ),
        ({"classification_metrics": {"auc": {"value": 0.9}}, "auc": 0.1}, {"auc": 0.9}),
        ({"regression_metrics": {"rmse": {"value": 3}}}, {"rmse": 3.0}),
    ],
)
def test_ev01_every_shape_gives_the_same_canonical_metrics(document: Any, expected: dict[str, float]) -> None:
    assert read_metrics(document) == expected


_DEVIATION = {"standard_deviation": "NaN"}
SHAPES: dict[str, Any] = {
    # The evaluation step of SageMaker Pipelines' samples, whose report the registry takes.
    "classification_metrics.auc.value": {
        "classification_metrics": {
            "accuracy": {"value": 0.9, **_DEVIATION}, "auc": {"value": 0.93, **_DEVIATION},
            "f1": {"value": 0.86, **_DEVIATION},
            "confusion_matrix": {"0": {"0": 850, "1": 50}, "1": {"0": 20, "1": 80}},
        },
    },
    # Model Monitor's statistics.json of model quality.
    "binary_classification_metrics.auc.value": {
        "version": 0.0,
        "dataset": {"item_count": 1000, "start_time": "2026-11-21T01:00:00Z", "evaluation_time": "2026-11-21T02:00:04.910Z"},
        "binary_classification_metrics": {
            "confusion_matrix": {"0": {"0": 850, "1": 50}, "1": {"0": 20, "1": 80}},
            "accuracy": {"value": 0.9, "standard_deviation": 0.0094}, "auc": {"value": 0.93, "standard_deviation": 0.02},
            "f1": {"value": 0.86, "standard_deviation": 0.03},
            "precision_recall_curve": {"precisions": [1.0, 0.0], "recalls": [0.0, 1.0]},
        },
    },
    "metrics.f1_score": {
        "model": "fraud-detection-xgboost-v2", "timestamp": "2026-11-21T02:00:00Z", "rows": 1000,
        "metrics": {"f1_score": 0.86, "auc_roc": 0.93, "accuracy": 0.9},
    },
    "metrics.accuracy": {"metrics": {"accuracy": 0.9, "f1": 0.86, "roc_auc": 0.93}, "passed": True},
    "accuracy": {"accuracy": 0.9, "f1_score": 0.86, "auc": 0.93, "epochs": 20, "confusion_matrix": [[850, 50], [20, 80]]},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_ev01_one_model_in_all_shapes_of_the_requirements_has_one_canonical_set(shape: str) -> None:
    assert read_metrics(SHAPES[shape]) == {"accuracy": 0.9, "auc": 0.93, "f1": 0.86}


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "0.9",
        {"metrics": {}},
        {"loss": 1},
        {"auc": -math.inf},
        {"auc": 10**400},
        {"auc": True},
        {"accuracy": "0.9"},
        {"auc": math.nan},
        {"metrics": {"accuracy": math.inf}},
        {"classification_metrics": {"auc": {"value": "NaN"}}},
    ],
)
def test_f27_an_evaluation_without_a_finite_metric_is_refused(document: Any) -> None:
    with pytest.raises(BadInputError):
        read_metrics(document)


@pytest.mark.parametrize(
    ("train", "held_out", "verdict"),
    [(0.92, 0.88, "healthy"), (0.99, 0.75, "overfit"), (0.65, 0.65, "underfit"), (0.9, 0.81, "healthy")],
)
def test_ev07_the_gap_between_training_and_holdout_is_flagged(train: float, held_out: float, verdict: str) -> None:
    assert fit(train, held_out) == verdict


def test_labels_without_a_facet_are_neither_group() -> None:
    group, others = read_facet(b"1\n0,newest\n", ["d"])

    assert not group.any()
    assert not others.any()


def test_a_label_of_unknown_rows_is_refused_and_counts_nowhere() -> None:
    with pytest.raises(BadInputError, match="line 2"):
        read_which(b'1,"newest"\n0,"new"\n')
