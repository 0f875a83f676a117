"""Model quality against scikit-learn and the seeds' months (MO-05, MO-06, MO-13); AWS's samples are in test_golden."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from linnet.decisions.quality import (
    Limit,
    constraints,
    constraints_json,
    numbers,
    read_constraints,
    verdict,
    violations,
)
from linnet.errors import BadInputError
from linnet.monitoring.quality import (
    Pairs,
    Problem,
    binary,
    judge,
    merge,
    multiclass,
    pairs,
    pairs_bytes,
    read_pairs,
    regression,
)

BINARY: Problem = "BinaryClassification"
CLASSES: Problem = "MulticlassClassification"
NUMBER: Problem = "Regression"


def matrix(tp: int, fp: int, fn: int, tn: int) -> Pairs:
    labels = [1.0] * tp + [0.0] * fp + [1.0] * fn + [0.0] * tn
    return pairs(BINARY, labels, [0.75] * (tp + fp) + [0.25] * (fn + tn))


# --- the seeds' numbers ------------------------------------------------------------------------------------------


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
    found = numbers(binary(matrix(tp, fp, fn, tn)))
    assert tuple(round(found[name], 4) for name in ("accuracy", "precision", "recall", "f1")) == expected


def test_ev04_the_seeds_regression_errors() -> None:
    found = numbers(regression(pairs(NUMBER, [100.0] * 5, [120.0, 80, 110, 150, 90])))
    assert found["mae"] == 22
    assert found["rmse"] == pytest.approx(26.46, abs=5e-3)
    assert found["mape"] == pytest.approx(0.22)
    assert "r2" not in found  # the labels are constant


BASELINE = {"accuracy": 0.90, "precision": 0.87, "recall": 0.83}


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.89, 0.85, 0.82), "HEALTHY"), ((0.84, 0.78, 0.80), "DEGRADED"), ((0.91, 0.88, 0.85), "HEALTHY")],
)
def test_mo06_the_three_months_have_the_seeds_verdicts(values: tuple[float, ...], expected: str) -> None:
    assert verdict(dict(zip(BASELINE, values, strict=True)), constraints(BASELINE)) == expected


def test_mo06_in_the_second_month_accuracy_and_precision_break_their_limits_and_recall_does_not() -> None:
    month = {"accuracy": (0.84, 0.0123456789), "precision": (0.78, "NaN"), "recall": (0.80, 0.01)}
    metrics = {name: {"value": value, "standard_deviation": spread} for name, (value, spread) in month.items()}
    assert violations(metrics, constraints(BASELINE)) == [
        {
            "metric_name": "accuracy",
            "constraint_check_type": "LessThanThreshold",
            "description": "Metric accuracy with 0.84 +/- 0.0123457 was LessThanThreshold '0.85'",
        },
        {
            "metric_name": "precision",
            "constraint_check_type": "LessThanThreshold",
            "description": "Metric precision with 0.78 +/- NaN was LessThanThreshold '0.82'",
        },
    ]


@given(st.integers(0, 100), st.integers(0, 100))
def test_mo06_a_fall_by_the_tolerance_itself_is_within_it_whatever_the_last_bit_says(
    baseline: int, tolerance: int
) -> None:
    limits = constraints({"accuracy": baseline / 100}, tolerance / 100)
    assert verdict({"accuracy": (baseline - tolerance) / 100}, limits) == "HEALTHY"
    assert verdict({"accuracy": (baseline - tolerance - 1) / 100}, limits) == "DEGRADED"


def test_mo13_the_unwatched_model_is_called_degraded_at_the_first_breach_and_healthy_again_after_its_retraining() -> (
    None
):
    limits = constraints({"accuracy": 0.95})
    half_years = [verdict({"accuracy": value}, limits) for value in (0.95, 0.78, 0.62)]
    assert half_years == ["HEALTHY", "DEGRADED", "DEGRADED"]
    # From 95 % to 78 % in six months, looked at each day: the first day below 90 % alerts, not the sixth month.
    days = [verdict({"accuracy": 0.95 - 0.17 * day / 180}, limits) for day in range(181)]
    first = days.index("DEGRADED")
    assert first == 53
    assert set(days[first:]) == {"DEGRADED"}
    recall = constraints({"recall": 0.85})
    assert [verdict({"recall": value}, recall) for value in (0.72, 0.85)] == ["DEGRADED", "HEALTHY"]


# --- scikit-learn ------------------------------------------------------------------------------------------------

SCORES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
CASES = st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=1, max_size=120)


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_binary_metrics_and_curves_are_scikit_learns(cases: list[tuple[int, float]]) -> None:
    labels, scores = np.array([0, 1, *(y for y, _ in cases)]), np.array([0.3, 0.3, *(s for _, s in cases)])
    found = binary(pairs(BINARY, labels, scores))
    values, called = numbers(found), scores >= 0.5
    oracle = {
        "accuracy": sk.accuracy_score(labels, called),
        "precision": sk.precision_score(labels, called, zero_division=0),
        "recall": sk.recall_score(labels, called),
        "true_negative_rate": sk.recall_score(labels, called, pos_label=0),
        "auc": sk.roc_auc_score(labels, scores),
        **{name: sk.fbeta_score(labels, called, beta=b, zero_division=0) for name, b in (("f0_5", 0.5), ("f2", 2))},
        "f1": sk.f1_score(labels, called, zero_division=0),
        "f2_best_constant_classifier": sk.fbeta_score(labels, np.ones_like(labels), beta=2),
    }
    assert {name: values[name] for name in oracle} == pytest.approx(oracle, abs=1e-12)
    false, true, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    roc = found["receiver_operating_characteristic_curve"]
    assert roc["false_positive_rates"] == pytest.approx(false, abs=1e-12)
    assert roc["true_positive_rates"] == pytest.approx(true, abs=1e-12)
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    curve = found["precision_recall_curve"]
    assert curve["precisions"] == pytest.approx(precision[::-1], abs=1e-12)
    assert curve["recalls"] == pytest.approx(recall[::-1], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc1"), st.sampled_from("abd1")), min_size=1, max_size=80))
def test_multiclass_metrics_are_scikit_learns_weighted_ones(cases: list[tuple[str, str]]) -> None:
    labels, answers = ["a", *(truth for truth, _ in cases)], ["b", *(said for _, said in cases)]
    found = multiclass(pairs(CLASSES, labels, answers))
    values = numbers(found)
    constant = ["1" if "1" in labels else max(labels)] * len(labels)
    for said, after in ((answers, ""), (constant, "_best_constant_classifier")):
        weighted: dict[str, Any] = {"average": "weighted", "zero_division": 0}
        oracle = {
            "accuracy": sk.accuracy_score(labels, said),
            "weighted_recall": sk.recall_score(labels, said, **weighted),
            "weighted_precision": sk.precision_score(labels, said, **weighted),
            **{
                f"weighted_{name}": sk.fbeta_score(labels, said, beta=beta, **weighted)
                for name, beta in (("f0_5", 0.5), ("f1", 1), ("f2", 2))
            },
        }
        assert {name: values[name + after] for name in oracle} == pytest.approx(oracle, abs=1e-12)
    names = sorted({*labels, *answers})
    rows = [[found["confusion_matrix"][truth][said] for said in names] for truth in names]
    assert rows == sk.confusion_matrix(labels, answers, labels=names).tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 900), st.floats(-1e6, 1e6)), min_size=2, max_size=80))
def test_regression_metrics_are_scikit_learns(cases: list[tuple[int, float]]) -> None:
    labels, answers = np.array([1000.5, *(y for y, _ in cases)]), np.array([1.0, *(s for _, s in cases)])
    found = numbers(regression(pairs(NUMBER, labels, answers)))
    oracle = {
        "mae": sk.mean_absolute_error(labels, answers),
        "mse": sk.mean_squared_error(labels, answers),
        "rmse": sk.root_mean_squared_error(labels, answers),
        "r2": sk.r2_score(labels, answers),
        "mape": sk.mean_absolute_percentage_error(labels, answers),
    }
    assert found == pytest.approx(oracle, rel=1e-9)


def test_a_curve_of_many_scores_has_at_most_1000_points_from_corner_to_corner_and_keeps_its_area() -> None:
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 2, 20_000)
    scores = draw.normal(labels, 1.0)
    found = binary(pairs(BINARY, labels, scores))
    roc = found["receiver_operating_characteristic_curve"]
    false, true = roc["false_positive_rates"], roc["true_positive_rates"]
    assert len(false) == len(true) == 1_000
    assert len(found["precision_recall_curve"]["precisions"]) == 1_000
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(found["auc"]["value"], abs=1e-4)


# --- what the rows leave undefined -------------------------------------------------------------------------------


def test_a_window_without_a_positive_has_no_recall_and_its_verdict_is_unknown_not_healthy_and_not_degraded() -> None:
    quiet = judge(matrix(tp=0, fp=0, fn=0, tn=300), constraints(BASELINE))
    assert {"recall", "precision", "f1", "auc", "false_negative_rate"}.isdisjoint(quiet.metrics)
    assert "receiver_operating_characteristic_curve" not in quiet.metrics
    assert (quiet.status, quiet.verdict, quiet.violations) == ("Completed", "UNKNOWN", ())


def test_a_model_that_no_longer_calls_anyone_positive_has_precision_0_and_is_degraded() -> None:
    mute = judge(matrix(tp=0, fp=0, fn=100, tn=900), constraints(BASELINE))
    assert mute.metrics["precision"]["value"] == 0
    assert mute.verdict == "DEGRADED"


def test_labels_that_are_all_equal_have_no_r2_though_their_mean_differs_in_its_last_bit() -> None:
    assert "r2" not in regression(pairs(NUMBER, [0.1] * 3, [0.2] * 3))


def test_without_a_limit_nobody_can_say_healthy() -> None:
    assert judge(matrix(90, 10, 10, 90), {}).verdict == "UNKNOWN"


# --- statuses ----------------------------------------------------------------------------------------------------


def window(scored: int, **left: int) -> Pairs:
    return pairs(BINARY, [i % 2 for i in range(scored)], [i % 2 for i in range(scored)], **left)


@pytest.mark.parametrize(
    ("known", "status"),
    [
        (window(0), "no_data"),
        (window(199), "no_data"),
        (window(150, unlabelled=49), "no_data"),
        (window(0, unlabelled=1), "no_labels"),
        (window(0, unlabelled=100_000), "no_labels"),
        (window(0, unpredicted=300), "no_labels"),
        (window(199, unlabelled=1), "no_labels"),
        (window(200, unlabelled=9_800), "Completed"),
    ],
)
def test_mo05_an_empty_join_is_a_status_of_its_own_and_never_a_success(known: Pairs, status: str) -> None:
    found = judge(known, constraints({"accuracy": 1.0}))
    assert found.status == status
    if status == "Completed":
        assert found.verdict == "HEALTHY"
    else:
        assert (found.verdict, found.metrics, found.violations) == ("UNKNOWN", {}, ())


def test_mo05_rows_without_a_label_are_counted_and_not_scored() -> None:
    known = pairs(BINARY, [1, 0, 2, 1], [0.9, 0.1, 0.9, 0.2], unlabelled=5, unpredicted=1)
    assert (known.scored, known.rows, known.odd_labels) == (3, 10, 1)
    assert known.join_rate == 0.5
    assert numbers(binary(known))["accuracy"] == pytest.approx(2 / 3)
    assert window(0).join_rate is None


def test_a_window_below_its_limits_is_completed_with_violations_for_every_problem() -> None:
    numeric = pairs(NUMBER, [float(i) for i in range(300)], [i + 2.0 for i in range(300)])
    worse = judge(numeric, constraints({"mae": 1.9, "r2": 0.9}))
    assert (worse.status, worse.verdict) == ("CompletedWithViolations", "DEGRADED")
    assert worse.violations[0]["metric_name"] == "mae"
    assert worse.violations[0]["constraint_check_type"] == "GreaterThanThreshold"
    assert judge(numeric, constraints({"mae": 1.91})).verdict == "HEALTHY"
    named = pairs(CLASSES, ["cat", "dog"] * 150, ["cat"] * 300)
    assert judge(named, constraints({"weighted_f1": 0.9})).verdict == "DEGRADED"


def test_the_threshold_for_calls_is_the_callers_and_a_score_on_it_is_called() -> None:
    known = pairs(BINARY, [1, 1, 0, 0], [0.3, 0.2, 0.3, 0.1])
    assert binary(known, threshold=0.3)["confusion_matrix"] == {"0": {"0": 1, "1": 1}, "1": {"0": 1, "1": 1}}
    assert binary(known, threshold=0.31)["confusion_matrix"]["1"] == {"0": 2, "1": 0}


# --- standard deviations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [BINARY, CLASSES, NUMBER])
def test_a_deviation_is_nan_at_199_rows_and_a_number_at_200(problem: Problem) -> None:
    of = {BINARY: binary, CLASSES: multiclass, NUMBER: regression}[problem]
    labels, answers = np.arange(200) % 2, (np.arange(200) // 3) % 2
    few, enough = (of(pairs(problem, labels[:rows], answers[:rows])) for rows in (199, 200))
    for name in numbers(few):
        assert few[name]["standard_deviation"] == "NaN"
        assert isinstance(enough[name]["standard_deviation"], float)


def test_a_deviation_is_that_of_80_percent_of_the_rows_and_the_same_each_time() -> None:
    """Of a share p of n rows, of which 0.8 n are drawn without replacement, it is sqrt(p (1 - p) / n x 0.25)."""
    found = [
        binary(matrix(tp=rows // 2, fp=rows // 4, fn=rows // 8, tn=rows // 8))["accuracy"]["standard_deviation"]
        for rows in range(2_000, 6_000, 40)
    ]
    expected = [np.sqrt(0.625 * 0.375 / rows * 0.25) for rows in range(2_000, 6_000, 40)]
    assert np.mean(np.array(found) / expected) == pytest.approx(0.94, abs=0.08)  # of five draws: 0.94 on average
    assert binary(matrix(1000, 500, 250, 250)) == binary(matrix(1000, 500, 250, 250))


def test_a_metric_that_a_draw_leaves_undefined_has_no_deviation() -> None:
    rare = binary(matrix(tp=1, fp=0, fn=0, tn=2_000))
    assert rare["recall"] == {"value": 1.0, "standard_deviation": "NaN"}
    assert rare["accuracy"]["standard_deviation"] == 0


# --- shards ------------------------------------------------------------------------------------------------------

ROWS = {
    BINARY: st.tuples(st.sampled_from([0.0, 1.0, 7.0]), st.sampled_from([-0.0, 0.0, 0.5, 1 / 3, 0.9])),
    CLASSES: st.tuples(st.sampled_from(["a", "bb", "0"]), st.sampled_from(["a", "ccc", "0"])),
    NUMBER: st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
}
LEFT = st.tuples(st.integers(0, 9), st.integers(0, 9))


def shard(problem: Problem, rows: list[Any], unlabelled: int, unpredicted: int) -> Pairs:
    labels, answers = [truth for truth, _ in rows], [said for _, said in rows]
    return pairs(problem, labels, answers, unlabelled=unlabelled, unpredicted=unpredicted)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([BINARY, CLASSES, NUMBER]))
def test_shards_merge_in_any_order_and_grouping_to_the_bytes_of_the_whole(
    data: st.DataObject, problem: Problem
) -> None:
    drawn = data.draw(
        st.lists(st.tuples(st.lists(ROWS[problem], min_size=1, max_size=20), LEFT), min_size=1, max_size=5)
    )
    together = list(itertools.chain.from_iterable(rows for rows, _ in drawn))
    lost = [sum(left[n] for _, left in drawn) for n in (0, 1)]
    whole = pairs_bytes(shard(problem, together, *lost))
    parts = [read_pairs(pairs_bytes(shard(problem, rows, *left))) for rows, left in drawn]
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(1, len(parts)))
    grouped = [merge(shuffled[:cut]), *([merge(shuffled[cut:])] if shuffled[cut:] else [])]
    assert pairs_bytes(merge(grouped)) == whole
    assert pairs_bytes(read_pairs(whole)) == whole


def test_a_shard_without_a_row_merges_with_others_of_its_problem_only() -> None:
    empty, full = pairs(CLASSES, [], [], unlabelled=3), pairs(CLASSES, ["a"], ["b"])
    both = merge([read_pairs(pairs_bytes(empty)), full])
    assert (both.scored, both.unlabelled, both.labels.tolist()) == (1, 3, ["a"])
    with pytest.raises(BadInputError, match="the same in all parts"):
        merge([empty, window(3)])
    with pytest.raises(BadInputError, match="at least one"):
        merge([])


def test_a_file_that_is_no_shard_is_refused() -> None:
    good = pairs_bytes(window(4))
    for wrong in (b"", b"{}", good[:-9], good.replace(b"BinaryClassification", b"BinaryClassificatiox")):
        with pytest.raises(BadInputError, match="model-quality shard"):
            read_pairs(wrong)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "labels", "answers", "message"),
    [
        (BINARY, [0, 1], [0.5], "as many as labels: 2"),
        (BINARY, [0, 1], [0.5, float("nan")], "answers.*1 odd values.*finite"),
        (NUMBER, [float("inf")], [1.0], "labels.*finite"),
        (NUMBER, [1.0], [1e200], "answers.*finite"),
        (NUMBER, [[1.0]], [[1.0]], "one dimension"),
        (CLASSES, ["a", None], ["a", "a"], "labels.*1 nulls"),
        (CLASSES, [1.0, float("nan")], [1.0, 1.0], "labels.*1 nulls"),
        (CLASSES, [f"{i}" for i in range(1001)], ["a"] * 1001, "labels.*1001 classes.*at most 1000"),
        (CLASSES, ["a"], ["x" * 101], "answers.*101 characters"),
    ],
)
def test_rows_that_cannot_be_told_are_refused_by_name(
    problem: Problem, labels: Any, answers: Any, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        pairs(problem, labels, answers)


@pytest.mark.parametrize("of", [binary, regression])
def test_metrics_of_no_row_are_refused(of: Any) -> None:
    with pytest.raises(BadInputError, match="at least one row"):
        of(pairs(BINARY, [], []))


def test_classes_are_the_same_whether_they_are_written_as_numbers_or_as_text() -> None:
    as_text = pairs(CLASSES, ["3", "0", "3"], ["3", "3", "0"])
    assert pairs_bytes(pairs(CLASSES, np.array([3.0, 0.0, 3.0]), np.array([3, 3, 0]))) == pairs_bytes(as_text)


# --- constraints.json --------------------------------------------------------------------------------------------


def test_constraints_of_a_champions_evaluation_go_round_in_model_monitors_shape() -> None:
    limits = constraints(
        {"accuracy": 0.9, "specificity": 0.8, "false_positive_rate": 0.1, "log_loss": 0.3, "rmse": 10.0}
    )
    document = json.loads(json.dumps(constraints_json(BINARY, limits)))
    assert document == {
        "version": 0,
        "binary_classification_constraints": {
            "accuracy": {"threshold": 0.85, "comparison_operator": "LessThanThreshold"},
            "true_negative_rate": {"threshold": 0.75, "comparison_operator": "LessThanThreshold"},
            "false_positive_rate": {"threshold": 0.15, "comparison_operator": "GreaterThanThreshold"},
            "rmse": {"threshold": 10.5, "comparison_operator": "GreaterThanThreshold"},
        },
    }
    assert read_constraints(BINARY, document) == limits


def test_model_monitors_own_constraints_are_read() -> None:
    theirs = {
        "version": 0.0,
        "multiclass_classification_constraints": {
            "weighted_recall": {"threshold": 0.5714285714285714, "comparison_operator": "LessThanThreshold"},
            "accuracy": {"threshold": 1, "comparison_operator": "LessThanThreshold", "additional_properties": None},
        },
    }
    assert read_constraints(CLASSES, theirs) == {
        "weighted_recall": Limit(0.5714285714285714, "LessThanThreshold"),
        "accuracy": Limit(1.0, "LessThanThreshold"),
    }


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (None, "binary_classification_constraints"),
        ({}, "1 to 100 metrics"),
        ({f"m{i}": {} for i in range(101)}, "1 to 100 metrics"),
        ({"auc": 0.9}, r"\.auc"),
        ({"auc": {"comparison_operator": "LessThanThreshold"}}, r"\.auc\.threshold.*finite"),
        ({"auc": {"threshold": True, "comparison_operator": "LessThanThreshold"}}, r"\.auc\.threshold"),
        ({"auc": {"threshold": float("nan"), "comparison_operator": "LessThanThreshold"}}, r"\.auc\.threshold"),
        ({"auc": {"threshold": 0.9, "comparison_operator": ["x"]}}, "LessThanThreshold | GreaterThanThreshold"),
        ({"auc": {"threshold": 0.9}}, r"\.auc\.comparison_operator"),
    ],
)
def test_constraints_that_are_not_understood_are_refused_by_name(section: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_constraints(BINARY, {"binary_classification_constraints": section})


def test_a_baseline_or_a_tolerance_that_says_nothing_is_refused() -> None:
    with pytest.raises(BadInputError, match="baseline metrics"):
        constraints({"log_loss": 0.3, "cost_per_row": 1.0})
    with pytest.raises(BadInputError, match="tolerance"):
        constraints(BASELINE, 5)
