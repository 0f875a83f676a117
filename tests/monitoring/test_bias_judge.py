"""The verdict on a window's bias: ranges, the champion's baseline, and what nobody knows (MO-07)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from linnet.monitoring.bias import Limit, Table, Treatment, count, judge, of_evaluation, post_training, pre_training

ABOUT = {"label": "hired", "facet": "sex", "facet_value": "F"}
NOTHING: dict[str, dict[str, Any]] = {"metrics": {}, "unknown": {"": "no baseline"}}


def called(of_group: int, of_others: int, *, each: int = 1_000, group: int | None = None) -> Table:
    """Return the table of as many rows of both sides (of the group: `group`), so many called positive, all of them rightly."""
    rows = each if group is None else group
    said = np.concatenate([np.arange(rows) < of_group, np.arange(each) < of_others])
    mine = np.arange(rows + each) < rows
    return count(said.astype(float), said, mine, ~mine)


def judged(
    table: Table, limits: dict[str, Limit], baseline: dict[str, dict[str, Any]] = NOTHING, *,
    rows: int = 2_000, labelled: int = 2_000,
) -> Treatment:  # fmt: skip
    return judge(table, limits, baseline, rows=rows, labelled=labelled, minimum_rows=200, about=ABOUT)


@pytest.mark.parametrize(
    ("of_group", "of_others", "wrong_of_group", "compliant"),
    [(460, 500, 0.02, True), (380, 500, 0.08, False), (445, 500, 0.03, True)],
)
def test_mo_07_january_march_and_april_are_compliant_non_compliant_and_compliant_again(
    of_group: int, of_others: int, wrong_of_group: float, compliant: bool
) -> None:
    """DI 0.92, 0.76, 0.89 and accuracy differences of 0.02, 0.08, 0.03; with 20,000 rows a side chance decides nothing."""
    each = 20_000
    said = np.concatenate([np.arange(each) < 20 * of_group, np.arange(each) < 20 * of_others])
    mine = np.arange(2 * each) < each
    wrong = mine & (np.arange(2 * each) >= each * (1 - wrong_of_group))
    result = judged(count(np.where(wrong, ~said, said), said, mine, ~mine), {"DI": (0.8, 1.25), "AD": (-0.05, 0.05)})

    assert result.values == {"DI": pytest.approx(of_group / of_others), "AD": pytest.approx(wrong_of_group)}
    assert (result.verdict, result.status) == (
        ("HEALTHY", "Completed") if compliant else ("DEGRADED", "CompletedWithViolations")
    )
    assert [one["metric_name"] for one in result.violations["violations"]] == ([] if compliant else ["DI", "AD"])


def test_mo_07_the_hiring_series_is_compliant_twice_and_then_not() -> None:
    limits: dict[str, Limit] = {"DI": (0.8, 1.25)}
    verdicts = [judged(called(of_group, 10_000, each=20_000), limits).verdict for of_group in (9_200, 8_700, 7_400)]
    assert verdicts == ["HEALTHY", "HEALTHY", "DEGRADED"]


def test_a_metric_is_broken_when_it_is_farther_from_its_ideal_than_the_champions_evaluation_found_it() -> None:
    baseline = {"metrics": {"DI": 0.9, "DPL": 0.05}, "unknown": {}}
    better, worse = called(460, 500), called(440, 500)
    limits: dict[str, Limit] = {"DI": "baseline", "DPL": "baseline"}

    assert judged(better, limits, baseline).verdict == "HEALTHY"
    result = judged(worse, limits, baseline)
    assert (result.status, result.verdict) == ("CompletedWithViolations", "DEGRADED")
    assert result.excess == {"DI": pytest.approx(0.02), "DPL": pytest.approx(0.01)}


def test_a_range_stands_beside_the_baseline_and_does_not_ask_it() -> None:
    baseline = {"metrics": {"DI": 1.0, "DPPL": 0.0}, "unknown": {}}
    result = judged(called(460, 500), {"DI": (0.8, 1.25), "DPPL": "baseline"}, baseline)
    assert [one["metric_name"] for one in result.violations["violations"]] == ["DPPL"]
    assert result.excess["DI"] == 0


def test_i7_a_baseline_that_does_not_exist_judges_nothing_and_says_so() -> None:
    limits: dict[str, Limit] = {"DI": "baseline", "DPL": "baseline", "AD": (-0.05, 0.05)}
    result = judged(called(100, 500), limits, NOTHING)
    assert (result.status, result.verdict, result.values) == ("Completed", "UNKNOWN", {"AD": 0.0})
    assert result.unknown == {"DI": "no baseline", "DPL": "no baseline"}

    partly = {"metrics": {"DPL": 0.5}, "unknown": {"DI": "the group has 3 rows"}}
    assert judged(called(100, 500), limits, partly).unknown == {"DI": "the group has 3 rows"}
    absent: dict[str, dict[str, Any]] = {"metrics": {"DPL": 0.5}, "unknown": {}}
    assert judged(called(100, 500), limits, absent).unknown == {"DI": "the champion's evaluation does not have it"}


def test_i7_a_broken_limit_is_told_whatever_else_is_unknown() -> None:
    result = judged(called(100, 500), {"DI": (0.8, 1.25), "DPL": "baseline"})
    assert (result.verdict, sorted(result.unknown)) == ("DEGRADED", ["DPL"])


@pytest.mark.parametrize(
    ("rows", "labelled", "status"),
    [(199, 199, "no_data"), (200, 199, "no_labels"), (200, 200, "CompletedWithViolations")],
)
def test_i7_too_few_rows_are_no_data_too_few_labels_no_labels_and_nothing_is_judged(
    rows: int, labelled: int, status: str
) -> None:
    result = judged(called(100, 500), {"DI": (0.8, 1.25)}, rows=rows, labelled=labelled)
    assert result.status == status
    if status != "CompletedWithViolations":
        assert (result.verdict, result.values, result.excess) == ("UNKNOWN", {}, {})
        assert result.violations["violations"] == []
        assert result.unknown == {"DI": "199 rows have a label; at least 200 are needed"}


def test_i7_a_group_of_too_few_rows_is_unknown_not_healthy() -> None:
    result = judged(called(29, 1_000, group=29), {"DI": (0.8, 1.25)})
    assert (result.status, result.verdict) == ("Completed", "UNKNOWN")
    assert "the group has 29 rows" in result.unknown["DI"]


def test_the_baseline_is_the_evaluations_of_the_same_group_its_labels_and_its_calls() -> None:
    table = called(100, 500)
    labels, calls = pre_training(table), post_training(table)
    evaluation = {"bias": {"facet": "sex", "disadvantaged": ["F", "X"], **calls, "labels": labels}}

    found = of_evaluation(evaluation, "sex", ["X", "F"])
    assert found == {"metrics": labels["metrics"] | calls["metrics"], "unknown": labels["unknown"] | calls["unknown"]}
    for document, facet, values in (
        (evaluation, "sex", ["F"]), (evaluation, "age", ["F", "X"]), ({}, "sex", ["F"]), ({"bias": None}, "sex", ["F"]),
    ):  # fmt: skip
        assert of_evaluation(document, facet, values) == {
            "metrics": {}, "unknown": {"": f"the champion was not evaluated for this group of {facet}"},
        }  # fmt: skip
