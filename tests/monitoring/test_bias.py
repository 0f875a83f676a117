"""Bias against worked examples, Clarify's documented values, scipy and scikit-learn (XB-01, XB-02, MO-07)."""

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
from sklearn.neighbors import KNeighborsClassifier

from linnet.errors import BadInputError
from linnet.monitoring.bias import (
    INFINITY,
    POST_TRAINING,
    PRE_TRAINING,
    Table,
    analysis,
    count,
    excess,
    intervals,
    merge,
    post_training,
    pre_training,
    read_analysis,
    violations,
)
from linnet.monitoring.flips import flip_test

FROM_COUNTS = set(POST_TRAINING) - {"FT", "CDDPL"}
LABELS_ALONE = set(PRE_TRAINING) - {"CDDL"}


def treated(**groups: tuple[int, int, int, int]) -> Table:
    """Return the table of the groups' tp, fp, fn, tn; a are the others, d is the group."""
    labels, called, of = [], [], []
    for name, (tp, fp, fn, tn) in groups.items():
        labels += [1] * tp + [0] * fp + [1] * fn + [0] * tn
        called += [True] * (tp + fp) + [False] * (fn + tn)
        of += [name] * (tp + fp + fn + tn)
    return count(labels, called, np.array(of) == "d", np.array(of) == "a")


# --- values --------------------------------------------------------------------------------------------------------


def test_xb_01_the_seeds_difference_in_labels_comes_out() -> None:
    found = pre_training(treated(a=(75, 0, 0, 25), d=(53, 0, 0, 47)))["metrics"]
    assert round(found["DPL"], 12) == 0.22
    assert found["CI"] == 0
    assert pre_training(treated(a=(0, 0, 40, 20), d=(0, 0, 20, 20)))["metrics"]["CI"] == pytest.approx(0.2)


def test_xb_02_the_seeds_disparate_impact_comes_out() -> None:
    found = post_training(treated(a=(74, 0, 0, 26), d=(58, 0, 0, 42)))["metrics"]
    assert (round(found["DI"], 3), round(found["DPPL"], 2)) == (0.784, 0.16)


def test_the_metrics_of_a_worked_example() -> None:
    """Others: 4 rows, 3 called, 3 right, 2 of 2 positives found, 2 of 3 called right, 1 of 1 rejected right, 1 of 2 negatives.

    Group: 4 rows, 1 called, 2 right, 1 of 3 positives found, 1 of 1 called right, 1 of 3 rejected right, 1 of 1 negatives.
    Wrong: others 1 fp; group 2 fn. Benefit: 1, 1, 2, 1, 1, 0, 0, 1, its mean 7/8, the mean of its squares 9/8.
    """
    labels = [1, 1, 0, 0, 1, 1, 1, 0]
    called = [True, True, True, False, True, False, False, False]
    of = np.array(list("aaaadddd"))
    found = post_training(count(labels, called, of == "d", of == "a"), minimum_rows=1)

    assert found["unknown"] == {}
    assert found["metrics"] == pytest.approx(
        {"DPPL": 0.5, "DI": 1 / 3, "DCA": 2 / 3 - 3, "DCR": 1 / 3 - 2, "RD": 1 - 1 / 3, "SD": 1 - 1 / 2,
         "AD": 0.75 - 0.5, "DAR": 2 / 3 - 1, "DRR": 1 / 3 - 1, "TE": INFINITY, "GE": ((9 / 8) / (7 / 8) ** 2 - 1) / 2}
    )  # fmt: skip


TWELVE = (
    list("MFFMFMFFMMFF"),
    [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0],
    [1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0],
)


def test_the_values_and_signs_are_those_that_clarifys_public_library_publishes() -> None:
    """The values of amazon-sagemaker-clarify's own tests for its table of 12 people, facet F; for facet M all signs turn."""
    sex, labels, called = TWELVE
    group = np.array(sex) == "F"
    expected = {
        "DI": 10 / 7, "DCA": 1 / 4, "DCR": 1 / 3, "RD": -2 / 3, "SD": 1 / 6, "DRR": 1 / 3, "AD": -13 / 35, "DAR": -1 / 2,
        "TE": -1 / 2, "GE": 0.24556213017751485,
    }  # fmt: skip
    found = post_training(count(labels, called, group, ~group), minimum_rows=1)["metrics"]
    turned = post_training(count(labels, called, ~group, group), minimum_rows=1)["metrics"]

    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert turned["DI"] == pytest.approx(7 / 10)
    assert turned["GE"] == found["GE"]
    for name in set(expected) - {"DI", "GE"}:
        assert turned[name] == pytest.approx(-found[name])
    assert pre_training(count(labels, called, group, ~group), minimum_rows=1)["metrics"]["CI"] == pytest.approx(-1 / 6)
    all_m = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1]
    rejected = post_training(count(labels, all_m, group, ~group), minimum_rows=1)
    assert rejected["unknown"]["DRR"] == "the group has 4 rows called negative, the others 0; at least 1 are needed"


def test_the_conditional_disparity_is_clarifys() -> None:
    """The values of amazon-sagemaker-clarify's own test of 24 people in 3 groups."""
    sex = np.array(list("MMMFFFFMMMMFMMFMFFMMFMMF"))
    labels = [0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0]
    by = [str(n) for n in [1, 0, 2, 2, 1, 1, 2, 1, 1, 2, 0, 1, 2, 0, 1, 1, 1, 2, 0, 1, 0, 0, 1, 1]]
    for value, expected in (("F", 0.3982142857), ("M", -0.3982142857)):
        table = count(labels, labels, sex == value, sex != value, by)
        assert pre_training(table, minimum_rows=1)["metrics"]["CDDL"] == pytest.approx(expected)
        assert post_training(table, minimum_rows=1)["metrics"]["CDDPL"] == pytest.approx(expected)
    without = count(labels, labels, sex == "F", sex != "F")
    assert "CDDL" not in pre_training(without)["metrics"] | pre_training(without)["unknown"]
    same = count([1] * 24, [1] * 24, sex == "F", sex != "F", by)
    assert pre_training(same, minimum_rows=1)["unknown"]["CDDL"] == "all rows have the same label"
    assert post_training(same, minimum_rows=1)["unknown"]["CDDPL"] == "all rows are called the same"


def test_the_developer_guides_examples_of_acceptance_and_rejection_rates_come_out() -> None:
    """Accepted 70 of a, 35 rightly, and 100 of d, 40 rightly; rejected 100 of a, 80 rightly, and 50 of d, 40 rightly."""
    found = post_training(treated(a=(35, 35, 20, 80), d=(40, 60, 10, 40)))["metrics"]

    assert found["DAR"] == pytest.approx(0.10)
    assert found["DRR"] == pytest.approx(0.0)
    assert post_training(treated(a=(35, 35, 20, 80), d=(40, 60, 20, 30)))["metrics"]["DRR"] == pytest.approx(0.6 - 0.8)


CELLS = st.tuples(*[st.integers(0, 50)] * 4)


@settings(max_examples=200, deadline=None)
@given(CELLS, CELLS)
def test_the_distances_of_labels_are_scipys(a: tuple[int, ...], d: tuple[int, ...]) -> None:
    table = treated(a=(*a[:2], a[2] + 1, a[3] + 1), d=(*d[:2], d[2], d[3] + 1))
    found = pre_training(table, minimum_rows=1)["metrics"]
    one, other = (table[""][facet].sum(axis=1) / table[""][facet].sum() for facet in (0, 1))
    divergence = stats.entropy(one, other)

    assert found["KL"] == pytest.approx(divergence if math.isfinite(divergence) else INFINITY, abs=1e-12)
    middle = (one + other) / 2
    mean_divergence = (stats.entropy(one, middle) + stats.entropy(other, middle)) / 2
    assert found["JS"] == pytest.approx(mean_divergence, abs=1e-12)
    assert found["LP"] == pytest.approx(np.linalg.norm(one - other), abs=1e-12)
    assert found["TVD"] == pytest.approx(np.linalg.norm(one - other, 1) / 2, abs=1e-12)
    assert found["KS"] == pytest.approx(np.linalg.norm(one - other, np.inf), abs=1e-12)
    assert found["DPL"] == pytest.approx(one[1] - other[1], abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(CELLS, CELLS)
def test_the_differences_are_those_of_scikit_learns_metrics(a: tuple[int, ...], d: tuple[int, ...]) -> None:
    """Each row of a one more of every cell, so that all is defined."""
    sides = [tuple(n + 1 for n in side) for side in (a, d)]
    found = post_training(treated(a=sides[0], d=sides[1]), minimum_rows=1)["metrics"]
    scores: dict[str, list[float]] = {name: [] for name in ("RD", "DAR", "AD", "SD", "DRR")}
    for tp, fp, fn, tn in sides:
        truth, said = [1] * tp + [0] * fp + [1] * fn + [0] * tn, [1] * (tp + fp) + [0] * (fn + tn)
        scores["RD"].append(sk.recall_score(truth, said))
        scores["DAR"].append(sk.precision_score(truth, said))
        scores["AD"].append(sk.accuracy_score(truth, said))
        scores["SD"].append(-sk.recall_score(truth, said, pos_label=0))
        scores["DRR"].append(-sk.precision_score(truth, said, pos_label=0))
    for name, (of_a, of_d) in scores.items():
        assert found[name] == pytest.approx(of_a - of_d, abs=1e-12)
    assert set(found) == FROM_COUNTS


def test_infinity_is_published_as_clarifys_number_with_its_sign() -> None:
    nobody = treated(a=(0, 0, 50, 50), d=(10, 10, 40, 40))
    assert post_training(nobody)["metrics"]["DI"] == INFINITY == 2.348543e108
    never_wrong = treated(a=(50, 0, 40, 50), d=(50, 40, 0, 50))
    assert post_training(never_wrong)["metrics"]["TE"] == -INFINITY
    both = treated(a=(50, 0, 40, 50), d=(50, 0, 60, 50))
    assert post_training(both)["metrics"]["TE"] == 0
    assert pre_training(treated(a=(50, 0, 0, 50), d=(0, 50, 0, 50)))["metrics"]["KL"] == INFINITY
    assert json.loads(json.dumps(post_training(nobody), allow_nan=False)) == post_training(nobody)


@pytest.mark.parametrize(
    ("group", "unknown"),
    [
        ((15, 15, 15, 15), set()),
        ((14, 15, 15, 15), {"RD", "DAR", "DCA"}),
        ((15, 15, 15, 14), {"SD", "DRR", "DCR"}),
        ((15, 14, 15, 16), {"TE", "DAR", "DCA"}),
        ((30, 0, 0, 0), {"DRR", "DCR", "SD", "TE"}),
        ((29, 0, 0, 0), FROM_COUNTS),
        ((0, 0, 0, 0), FROM_COUNTS),
    ],
)
def test_a_share_of_fewer_than_30_rows_is_unknown_and_says_of_how_many(
    group: tuple[int, int, int, int], unknown: set[str]
) -> None:
    found = post_training(treated(a=(50, 50, 50, 50), d=group))

    assert set(found["unknown"]) == unknown
    assert set(found["metrics"]) == FROM_COUNTS - unknown
    if "DPPL" in unknown:
        assert found["unknown"]["DPPL"] == f"the group has {sum(group)} rows, the others 200; at least 30 are needed"
    if "RD" in unknown and "DPPL" not in unknown:
        said = "the group has 29 rows called positive, the others 100; at least 30 are needed"
        assert found["unknown"]["DAR"] == said


def test_the_imbalance_of_a_tiny_group_is_known_and_that_of_no_group_is_not() -> None:
    tiny = pre_training(treated(a=(0, 0, 500, 499), d=(0, 0, 1, 0)))
    assert tiny["metrics"] == {"CI": 0.998}
    assert set(tiny["unknown"]) == LABELS_ALONE - {"CI"}
    assert set(pre_training({})["unknown"]) == LABELS_ALONE


def test_nobody_called_positive_in_either_group_is_unknown_not_unfair() -> None:
    """0/0 is 0 in Clarify; a DI of 0 would be the worst of all."""
    found = post_training(treated(a=(0, 0, 50, 50), d=(0, 0, 50, 50)))
    assert found["unknown"]["DI"] == "nobody of either group is called positive"
    assert found["metrics"]["DPPL"] == 0


def test_benefits_that_are_all_nothing_have_no_entropy() -> None:
    found = post_training(treated(a=(0, 0, 50, 0), d=(0, 0, 50, 0)))
    assert found["unknown"]["GE"] == "all rows are false negatives"


# --- counting ------------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.booleans(), st.sampled_from("ad-"), st.sampled_from(["x", "y", ""])),
    max_size=60,
)


def counted(rows: list[tuple[int, bool, str, str]]) -> Table:
    labels, called, of, by = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    return count(labels, called, np.array(of, "U1") == "d", np.array(of, "U1") == "a", by)


def plain(table: Table) -> dict[str, Any]:
    return {name: cells.tolist() for name, cells in table.items() if cells.any()}


@settings(max_examples=150, deadline=None)
@given(ROWS, st.data())
def test_tables_of_parts_in_any_order_are_the_table_of_all_rows(
    rows: list[tuple[int, bool, str, str]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    parts = [counted(rows[cut:]), counted(rows[:cut])]
    whole = plain(counted(rows))
    assert plain(merge(parts)) == whole == plain(merge(reversed(parts)))
    assert sum(int(cells.sum()) for cells in merge(parts).values()) == sum(row[2] != "-" for row in rows)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (([0, 2], [0, 0], [True, True]), "labels[1]"),
        (([0, math.nan], [0, 0], [True, True]), "labels[1]"),
        (([0, 1], [0], [True, True]), "rows of called"),
        (([0, 1], [0, 1], [True]), "rows of group"),
    ],
)
def test_rows_that_cannot_be_counted_are_refused_by_field(given: Any, field: str) -> None:
    labels, called, group = given
    with pytest.raises(BadInputError) as refused:
        count(labels, called, np.array(group), np.array([False, False]))
    assert refused.value.field == field


def test_a_column_of_a_thousand_and_one_values_is_no_group() -> None:
    every = [str(n) for n in range(1_001)]
    mask = np.ones(1_001, dtype=np.bool_)
    with pytest.raises(BadInputError, match="at most 1000"):
        count([0] * 1_001, [0] * 1_001, mask, ~mask, every)
    assert len(count([0] * 1_000, [0] * 1_000, mask[1:], ~mask[1:], every[1:])) == 1_000


# --- flip test -----------------------------------------------------------------------------------------------------

FLIPPED = (
    "0000111 1000101 1010101 0000011 1001101 0010111 1000111 1100111 0010111 1011110 1000110 1010111"
    " 1000011 0000111 0010101 0010111 0101001 1000011 0010011 1000110 1010011 0100011 1010101 0001110"
)
FLIPPED_FEW = (
    "0000111 1000101 1010101 1001101 1000111 1100111 1011110 1000110"
    " 1010111 1000011 1000011 0010011 1000110 1010011 1010101 0001110"
)


@pytest.mark.parametrize(
    ("rows", "called", "flips"),
    [(FLIPPED, "111011111111011100110011", -3), (FLIPPED_FEW, "1110111111110111", -2)],
)
def test_the_flip_tests_of_clarifys_own_tables_come_out_with_5_neighbours_and_with_1(
    rows: str, called: str, flips: int
) -> None:
    """The values of amazon-sagemaker-clarify's own tests: 13 rows of the group among 11 others, and among 3."""
    features = np.array([[float(bit) for bit in row] for row in rows.split()])
    group = features[:, 0] == 1
    found = flip_test(features, [int(bit) for bit in called], group, ~group, minimum_rows=1)

    assert found == {"metrics": {"FT": pytest.approx(flips / 13)}, "unknown": {}}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 250), st.integers(1, 4))
def test_the_flip_test_is_scikit_learns_neighbours(seed: int, others: int, group: int, width: int) -> None:
    source = np.random.default_rng(seed)
    features, called = source.normal(size=(others + group, width)), source.integers(0, 2, others + group)
    mine = np.arange(others + group) >= others
    learnt = KNeighborsClassifier(5 if others > 9 else 1).fit(features[~mine], called[~mine])
    expected = float((called[mine] - learnt.predict(features[mine])).mean())

    found = flip_test(features, called, mine, ~mine, minimum_rows=1)
    assert found["metrics"]["FT"] == pytest.approx(expected, abs=1e-12)


def test_rows_without_all_features_flip_nothing_and_too_few_are_unknown() -> None:
    features = np.ones((60, 2))
    mine = np.arange(60) < 30
    assert flip_test(features, mine, mine, ~mine)["metrics"]["FT"] == 1
    features[0, 1] = math.nan
    assert flip_test(features, mine, mine, ~mine) == {
        "metrics": {},
        "unknown": {"FT": "the group has 29 rows with all features, the others 30; at least 30 are needed"},
    }
    with pytest.raises(BadInputError, match="rows of called"):
        flip_test(features, mine[1:], mine, ~mine)


def test_a_large_flip_test_is_a_drawn_one_and_the_same_each_time() -> None:
    source = np.random.default_rng(3)
    features, called = source.normal(size=(5_000, 2)), source.random(5_000) < 0.3
    mine = source.random(5_000) < 0.5
    called[mine] = source.random(int(mine.sum())) < 0.1
    found = flip_test(features, called, mine, ~mine)
    assert found == flip_test(features, called, mine, ~mine)
    share = found["metrics"]["FT"] * 2_000
    assert share == pytest.approx(round(share))  # of 2,000 drawn rows
    assert -0.2 < found["metrics"]["FT"] < 0


# --- rules ---------------------------------------------------------------------------------------------------------


def test_the_interval_covers_what_a_normal_bootstrap_of_the_rows_would() -> None:
    """The standard deviation of a difference of two independent shares is known."""
    table = treated(a=(400, 100, 100, 400), d=(200, 50, 150, 600))
    low, high = intervals(table)["DPPL"]
    deviation = math.sqrt(0.5 * 0.5 / 1000 + 0.25 * 0.75 / 1000)

    assert (low + high) / 2 == pytest.approx(0.25)
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.1)
    assert intervals(table) == intervals(table)
    assert intervals({}) == {}
    nobody = treated(a=(0, 0, 50, 50), d=(10, 10, 40, 40))
    assert intervals(nobody)["DI"] == (INFINITY, INFINITY)
    rare = treated(a=(1, 0, 999, 0), d=(10, 0, 90, 0))  # in every third draw nobody of the others is called
    assert all(math.isfinite(end) for end in intervals(rare)["DI"])


LIMITS = {"DI": (0.8, 1.25), "AD": (-0.05, 0.05)}


@pytest.mark.parametrize(
    ("values", "compliant"),
    [
        ({"DI": 0.92, "AD": -0.02}, True),
        ({"DI": 0.76, "AD": -0.08}, False),
        ({"DI": 0.89, "AD": -0.03}, True),
        ({"DI": 0.92}, True),
        ({"DI": 0.87}, True),
        ({"DI": 0.74}, False),
        ({"DI": 1.3}, False),
        ({"AD": -0.06}, False),
    ],
)
def test_mo_07_the_seeds_series_are_judged_as_they_say(values: dict[str, float], compliant: bool) -> None:
    worse = excess(values, limits=LIMITS)
    found = violations(values, worse, facet="sex", facet_value="F")["violations"]
    assert (not found) == compliant == (max(worse.values()) == 0)


def test_a_range_is_violated_when_the_interval_lies_outside_of_it_not_when_the_value_does() -> None:
    few, many = treated(a=(74, 0, 0, 26), d=(58, 0, 0, 42)), treated(a=(7400, 0, 0, 2600), d=(5800, 0, 0, 4200))
    for table, violates in ((few, False), (many, True)):
        values, reach = post_training(table)["metrics"], intervals(table)
        assert round(values["DI"], 3) == 0.784
        worse = excess(values, limits={"DI": (0.8, 1.25)}, intervals=reach)
        assert worse == {"DI": pytest.approx(max(0.0, 0.8 - reach["DI"][1]))}
        assert (worse["DI"] > 0) == violates


@pytest.mark.parametrize(
    ("name", "before", "now", "worse"),
    [
        ("DPPL", 0.2, 0.1, 0.0), ("DPPL", 0.2, -0.3, 0.1), ("DPPL", 0.2, 0.2, 0.0), ("DPPL", -0.2, 0.2, 0.0),
        ("DI", 0.9, 0.8, 0.1), ("DI", 0.9, 1.1, 0.0), ("DI", 1.1, 0.8, 0.1), ("DI", 0.9, INFINITY, INFINITY),
    ],
)  # fmt: skip
def test_worse_than_the_baseline_is_farther_from_the_ideal(name: str, before: float, now: float, worse: float) -> None:
    """The first two are the developer guide's; the ideal of DI is 1."""
    assert excess({name: now}, baseline={name: before}) == {name: pytest.approx(worse, abs=1e-12)}


def test_a_range_goes_before_the_baseline_and_what_nobody_limits_is_not_judged() -> None:
    values = {"DI": 0.9, "AD": 0.2, "RD": 0.5}
    worse = excess(values, limits={"DI": (0.8, 1.25), "SD": (0, 0)}, baseline={"DI": 0.99, "AD": 0.1})
    assert worse == {"DI": 0, "AD": pytest.approx(0.1)}


# --- documents -----------------------------------------------------------------------------------------------------


def test_the_violations_are_those_of_the_developer_guide() -> None:
    values = {"CI": 0.0751544567666083, "DPPL": -0.0791124970125596, "AD": 0.0}
    worse = excess(values, baseline={"CI": 0.07, "DPPL": 0.05, "AD": 0.0})
    entry = {"facet": "Age", "facet_value": "40", "constraint_check_type": "bias_drift_check"}
    assert violations(values, worse, facet="Age", facet_value="40") == {
        "version": "1.0",
        "violations": [
            {**entry, "metric_name": "CI",
             "description": "Value 0.0751544567666083 does not meet the constraint requirement"},
            {**entry, "metric_name": "DPPL",
             "description": "Value -0.0791124970125596 does not meet the constraint requirement"},
        ],
    }  # fmt: skip
    assert violations(values, {}, facet="Age", facet_value="40")["violations"] == []


def test_the_analysis_has_clarifys_schema_and_is_read_back_as_a_baseline() -> None:
    table = treated(a=(35, 35, 20, 80), d=(40, 60, 10, 10))
    pre, post = pre_training(table), post_training(table)
    document = json.loads(
        json.dumps(analysis(pre, post, label="target", facet="Age", facet_value="40"), allow_nan=False)
    )

    assert list(document) == ["version", "pre_training_bias_metrics", "post_training_bias_metrics"]
    part = document["post_training_bias_metrics"]
    assert (document["version"], part["label"], part["label_value_or_threshold"]) == ("1.0", "target", "1")
    (entry,) = part["facets"]["Age"]
    assert entry["value_or_threshold"] == "40"
    assert entry["metrics"][0] == {
        "name": "DPPL", "description": "Difference in Positive Proportions in Predicted Labels (DPPL)",
        "value": post["metrics"]["DPPL"],
    }  # fmt: skip
    (rejected,) = [metric for metric in entry["metrics"] if metric["name"] == "DRR"]
    assert (rejected["value"], rejected["error"]) == (None, post["unknown"]["DRR"])
    assert read_analysis(document, facet="Age", facet_value="40") == pre["metrics"] | post["metrics"]
    alone = analysis(None, post, label="y", facet="f", facet_value="v")
    assert list(alone) == ["version", "post_training_bias_metrics"]


def test_clarifys_own_analysis_is_read_infinity_included() -> None:
    """The example of the developer guide, with the infinity that Python writes, which Clarify's container is in."""
    document = json.loads(
        '{"version": "1.0", "post_training_bias_metrics": {"label": "target", "label_value_or_threshold": "1", "facets":'
        ' {"Age": [{"value_or_threshold": "40", "metrics": [{"name": "DPPL", "description": "d", "value": -0.01},'
        ' {"name": "TE", "description": "d", "value": -Infinity}, {"name": "CDDPL", "value": null, "error": "no group"}]},'
        ' {"value_or_threshold": "60", "metrics": []}]}}}'
    )
    assert read_analysis(document, facet="Age", facet_value="40") == {"DPPL": -0.01, "TE": -INFINITY}
    assert read_analysis(document, facet="Age", facet_value="60") == {}
    for facet, value in (("Age", "50"), ("Sex", "40")):
        with pytest.raises(BadInputError, match=f"{facet} = {value}"):
            read_analysis(document, facet=facet, facet_value=value)


def holding(value: Any) -> dict[str, Any]:
    entry = {"value_or_threshold": "v", "metrics": [{"name": "DI", "value": value}]}
    return {"post_training_bias_metrics": {"facets": {"f": [entry]}}}


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"post_training_bias_metrics": 1}, {"post_training_bias_metrics": {"facets": []}},
        {"post_training_bias_metrics": {"facets": {"f": [1]}}},
        holding("1"),
        holding(value=True),
        holding(math.nan),
    ],
)  # fmt: skip
def test_an_analysis_without_the_facet_or_with_no_number_is_refused(document: Any) -> None:
    with pytest.raises(BadInputError, match=r"analysis\.json"):
        read_analysis(document, facet="f", facet_value="v")


def test_a_number_of_four_hundred_digits_is_infinite_and_no_crash() -> None:
    metrics = [{"name": "DI", "value": 10**400}, 7, {"value": None}]
    entry = {"value_or_threshold": 40, "metrics": metrics}
    document = {"pre_training_bias_metrics": {"facets": {"Age": [entry]}}}
    assert read_analysis(document, facet="Age", facet_value="40") == {"DI": INFINITY}
