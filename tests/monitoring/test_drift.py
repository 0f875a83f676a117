"""Profiles, Model Monitor's files, distances and the six checks; scipy and Deequ's published values are the oracles."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.errors import BadInputError
from linnet.monitoring.distances import l_infinity
from linnet.monitoring.drift import compare, drift_scores
from linnet.monitoring.files import (
    Settings,
    read_constraints,
    read_statistics,
    read_violations,
    sketch,
    statistics_json,
    suggest_constraints,
)
from linnet.monitoring.profile import Column, Profile, kinds_of, profile, tally

FLOATS = st.floats(-1e6, 1e6, allow_nan=False)
CELLS = st.lists(st.one_of(st.none(), st.integers(-20, 20).map(float), FLOATS), max_size=80)


def column(values: Any) -> Column:
    return profile_of(x=values).columns["x"]


def profile_of(**columns: Any) -> Profile:
    return profile([pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})])


def categories(**counts: int) -> Column:
    return Column("x", numeric=False, text=sum(counts.values()), categories=counts)


def through_json(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document, allow_nan=False))


def test_mo03_the_same_sample_is_below_and_a_shifted_one_above_the_threshold() -> None:
    source = np.random.default_rng(11)
    before, same, shifted = (profile_of(x=source.normal(m, 1, 2_000)) for m in (0, 0, 0.6))
    assert drift_scores(before, before) == {"x": 0.0}
    assert drift_scores(before, same)["x"] < 0.1 < drift_scores(before, shifted)["x"]


# --- the files -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70_000))
def test_a_sketchs_items_weigh_exactly_the_rows_there_are(rows: int) -> None:
    levels = sketch(*tally(np.arange(rows, dtype=np.float64))[:2])
    assert sum(len(items) << level for level, items in enumerate(levels)) == rows
    assert sum(map(len, levels)) <= 4096 + len(levels)


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_statistics_survive_writing_and_reading(values: list[float | None]) -> None:
    known = profile([pa.RecordBatch.from_arrays([pa.array(values, pa.float64())], names=["x"])])
    document = statistics_json(known)
    again = statistics_json(read_statistics(through_json(document)))
    for one in (document, again):  # what is read back knows the mean, and so the sum but for its last bit
        one["features"][0].get("numerical_statistics", {}).pop("sum", None)
    assert again == document


def test_a_baseline_with_more_categories_than_are_kept_is_still_compared() -> None:
    source = {f"c{n:05}": 6_000 - n for n in range(6_000)}
    known = Profile(sum(source.values()), {"x": categories(**source)})
    stored = read_statistics(through_json(statistics_json(known)))
    assert stored.columns["x"].distinct == 6_000
    assert len(stored.columns["x"].categories) == 5_000
    assert l_infinity(stored.columns["x"], categories(**source)) == 0.0
    assert l_infinity(stored.columns["x"], categories(c00000=1)) == pytest.approx(1 - 6_000 / known.rows)


@pytest.mark.parametrize(
    "document", [{}, {"dataset": {"item_count": 1}, "features": [{}]}, {"features": 3, "dataset": {}}, []]
)
def test_a_statistics_file_that_is_none_is_refused(document: Any) -> None:
    with pytest.raises(BadInputError, match=r"statistics\.json"):
        read_statistics(document)


def test_constraints_for_linnets_own_baselines_have_finer_thresholds_under_a_key_that_others_ignore() -> None:
    known = profile_of(n=[1, 2, None, 4], m=[-1.0, 2.5, 3.0, 4.0])
    document = through_json(suggest_constraints(known))
    assert document["features"][0] == {
        "name": "n",
        "inferred_type": "Integral",
        "completeness": 0.75,
        "num_constraints": {"is_non_negative": True},
    }
    finer = {"wasserstein_threshold": 0.1, "jensen_shannon_threshold": 0.1}
    assert document["monitoring_config"]["distribution_constraints"].pop("linnet") == finer
    assert document == through_json(suggest_constraints(known, Settings()))
    found = read_constraints(suggest_constraints(known))
    assert found.settings == Settings(**finer)
    assert found.features["m"].non_negative is False


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "constraints.json"),
        ({"features": [{"name": "a", "inferred_type": "Number"}]}, "a.inferred_type"),
        ({"features": [{"name": "a", "completeness": "all"}]}, "a.completeness"),
        ({"features": [], "monitoring_config": {"evaluate_constraints": "Yes"}}, "evaluate_constraints"),
        (
            {"features": [], "monitoring_config": {"distribution_constraints": {"comparison_method": "L1"}}},
            "comparison_method",
        ),
        ({"features": [], "monitoring_config": {"datatype_check_threshold": float("nan")}}, "datatype_check_threshold"),
        ({"features": [], "monitoring_config": {"datatype_check_threshold": 10**400}}, "datatype_check_threshold"),
    ],
)
def test_a_constraints_file_that_cannot_be_understood_is_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(BadInputError) as refused:
        read_constraints(document)
    assert refused.value.field == field


def test_a_violations_file_that_is_none_is_refused() -> None:
    with pytest.raises(BadInputError):
        read_violations({"violations": [{"feature_name": "age"}]})


# --- the six checks ------------------------------------------------------------------------------------------------

KINDS: dict[str, Any] = {"n": "number", "f": "number", "c": "category"}


def table(n: Any = None, f: Any = None, c: Any = None, **more: Any) -> Profile:
    source = np.random.default_rng(5)
    usual = {
        "n": n or [str(v) for v in source.integers(0, 100, 1000)],
        "f": f or [repr(float(v)) for v in source.normal(size=1000)],
        "c": c or ["abcd"[v] for v in source.integers(0, 4, 1000)],
    }
    columns = {name: values for name, values in {**usual, **more}.items() if values != "absent"}
    batch = pa.RecordBatch.from_pydict({name: pa.array(values, pa.string()) for name, values in columns.items()})
    return profile([batch], kinds=KINDS)


BASELINE = table()


@pytest.mark.parametrize(
    ("current", "feature", "check"),
    [
        (table(n=["x"] * 110 + [str(v % 100) for v in range(890)]), "n", "data_type_check"),
        (table(n=["0.5"] * 110 + [str(v % 100) for v in range(890)]), "n", "data_type_check"),
        (
            table(f=[None] * 10 + [repr(v) for v in np.random.default_rng(6).normal(size=990).tolist()]),
            "f",
            "completeness_check",
        ),
        (table(f=[repr(v) for v in np.random.default_rng(6).normal(1, 1, 1000).tolist()]), "f", "baseline_drift_check"),
        (table(c=["abcd"[v % 4] if v % 8 else "a" for v in range(1000)], f="absent"), "f", "missing_column_check"),
        (table(extra=["1"] * 1000), "extra", "extra_column_check"),
        (
            table(c=["abcd"[v % 4] for v in range(890)] + [f"new{v}" for v in range(110)]),
            "c",
            "categorical_values_check",
        ),
    ],
)
def test_mo02_each_of_the_six_checks_fires_alone_and_names_the_feature(
    current: Profile, feature: str, check: str
) -> None:
    result = compare(BASELINE, current, read_constraints(suggest_constraints(BASELINE, Settings())))
    assert result.status == "CompletedWithViolations"
    assert [(v.feature, v.check) for v in result.violations] == [(feature, check)]
    assert result.features == [feature]


def test_mo02_an_undrifted_window_completes_without_violations() -> None:
    stored = read_statistics(through_json(statistics_json(BASELINE)))
    limits = read_constraints(through_json(suggest_constraints(BASELINE)))
    assert kinds_of(stored) == KINDS
    source = np.random.default_rng(9)
    window = table(
        n=[str(v) for v in source.integers(0, 100, 400)],
        f=[repr(float(v)) for v in source.normal(size=400)],
        c=["abcd"[v] for v in source.integers(0, 4, 400)],
    )
    result = compare(stored, window, limits)
    assert (result.status, result.violations) == ("Completed", ())
    assert set(result.drift) == {"n", "f", "c"}
    json.dumps(result.distances, allow_nan=False)


def test_the_drift_text_is_the_one_that_consumers_parse() -> None:
    shifted = table(f=[repr(v) for v in np.random.default_rng(6).normal(1, 1, 1000).tolist()])
    result = compare(BASELINE, shifted)
    match = re.search(r"distance: (.+) exceeds threshold: (.+)", result.violations[0].description)
    assert match
    assert float(match[1]) == pytest.approx(result.drift["f"], rel=1e-5)
    assert float(match[2]) == 0.1
    assert result.drift["f"] > 0.3


@pytest.mark.parametrize(("rows", "minimum"), [(0, 1), (0, 0), (99, 100)])
def test_too_few_rows_are_unknown_never_healthy_and_never_drift(rows: int, minimum: int) -> None:
    other = pa.RecordBatch.from_pydict({"n": ["999"] * rows})
    result = compare(BASELINE, profile([other], kinds=KINDS), minimum_rows=minimum)
    assert result.status == "no_data"
    assert (result.violations, dict(result.drift), result.features) == ((), {}, [])


def test_a_feature_without_values_has_no_drift_score_but_is_incomplete() -> None:
    result = compare(BASELINE, table(f=[None] * 1000))
    assert "f" not in result.drift
    assert [(v.feature, v.check) for v in result.violations] == [("f", "completeness_check")]


@pytest.mark.parametrize(
    ("missing", "method", "broken"),
    [
        (110, "Robust", False),
        (128, "Robust", False),
        (129, "Robust", True),
        (101, "Simple", True),
        (100, "Simple", False),
    ],
)
def test_a_column_that_was_never_complete_may_fall_short_by_chance_but_no_further(
    missing: int, method: Any, broken: Any
) -> None:
    half = [repr(v) for v in np.random.default_rng(6).normal(size=1000).tolist()]
    baseline = table(f=[None] * 100 + half[100:])
    limits = read_constraints(suggest_constraints(baseline, Settings(comparison_method=method)))
    found = compare(baseline, table(f=[None] * missing + half[missing:]), limits)
    assert ("completeness_check" in [v.check for v in found.violations]) is broken


def test_constraints_decide_which_checks_run() -> None:
    shifted = table(f=[repr(v) for v in np.random.default_rng(6).normal(1, 1, 1000).tolist()])
    for settings_ in (Settings(evaluate=False), Settings(compare=False), Settings(comparison_threshold=0.9)):
        limits = read_constraints(suggest_constraints(BASELINE, settings_))
        result = compare(BASELINE, shifted, limits)
        assert (result.status, result.drift["f"] > 0.1) == ("Completed", True)


def test_chi_squared_means_drift_when_the_p_value_is_small() -> None:
    limits = read_constraints(
        suggest_constraints(BASELINE, Settings(categorical_method="ChiSquared", categorical_threshold=0.01))
    )
    moved = table(c=["a"] * 400 + ["b"] * 200 + ["c"] * 200 + ["d"] * 200)
    (found,) = compare(BASELINE, moved, limits).violations
    assert (found.check, "p-value" in found.description) == ("baseline_drift_check", True)
    assert compare(BASELINE, BASELINE, limits).violations == ()


@pytest.mark.parametrize(("threshold", "broken"), [(50.0, True), (500.0, False)])
def test_chi_squared_as_it_stands_means_drift_when_the_statistic_is_large(threshold: float, broken: Any) -> None:
    simple = Settings(comparison_method="Simple", categorical_method="ChiSquared", categorical_threshold=threshold)
    moved = table(c=["a"] * 400 + ["b"] * 200 + ["c"] * 200 + ["d"] * 200)
    found = compare(BASELINE, moved, read_constraints(suggest_constraints(BASELINE, simple)))
    assert ("c" in found.features) is broken
    assert not broken or found.violations[0].description.startswith("Baseline drift distance: 1")


def test_as_many_values_of_another_type_as_the_threshold_allows_break_nothing() -> None:
    allowed = table(n=["x"] * 100 + [str(v % 100) for v in range(900)])
    found = compare(BASELINE, allowed, read_constraints(suggest_constraints(BASELINE, Settings())))
    assert "data_type_check" not in [v.check for v in found.violations]
