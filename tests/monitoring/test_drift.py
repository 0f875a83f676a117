"""Profiles, Model Monitor's files, distances and the six checks; scipy and Deequ's published values are the oracles."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from linnet.errors import BadInputError
from linnet.monitoring.drift import (
    chi_squared,
    compare,
    distances,
    drift_scores,
    l_infinity,
    psi,
    relative_shift,
    robust,
)
from linnet.monitoring.files import (
    Settings,
    Violation,
    read_constraints,
    read_statistics,
    read_violations,
    sketch,
    statistics_json,
    suggest_constraints,
    violations_json,
)
from linnet.monitoring.profile import Column, Profile, kinds_of, merge, profile, tally

FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


def column(values: Any) -> Column:
    return profile_of(x=values).columns["x"]


def profile_of(**columns: Any) -> Profile:
    return profile([pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})])


def categories(**counts: int) -> Column:
    return Column("x", numeric=False, text=sum(counts.values()), categories=counts)


def through_json(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document, allow_nan=False))


# --- distances -----------------------------------------------------------------------------------------------------


def test_deequ_numeric_vector() -> None:
    one, other = column([1.0, 2, 3, 4]), column([2.0, 3, 4, 5])
    assert l_infinity(one, other, "Simple") == 0.25
    assert l_infinity(one, other, "Robust") == 0.0


def test_deequ_categorical_vectors() -> None:
    one = categories(a=10, b=20, c=25, d=10, e=5)
    assert l_infinity(one, categories(a=11, b=20, c=25, d=10, e=10)) == 0.06015037593984962
    assert l_infinity(one, categories(f=11, a=20, c=25, d=10, e=10)) == 0.2857142857142857
    assert l_infinity(one, categories(f=11, a=20, c=25, d=10, e=10), "Robust") == 0.0
    many, other = categories(a=207, b=20, c=25, d=14, e=25, g=13), categories(a=22, b=20, c=25, d=12, e=13, f=15)
    simple = l_infinity(many, other)
    assert robust(simple, 304, 107, alpha=0.003) == pytest.approx(0.2726338046550349, abs=1e-15)
    assert robust(simple, 304, 107, alpha=0.1) == pytest.approx(0.33774199396969184, abs=1e-15)


def test_a_flag_that_goes_from_20_to_32_percent_has_moved_by_12_points() -> None:
    """Deequ's public distance says 0 here, because equal values overwrite each other (monitoring.md 3.6)."""
    before, now = column([1] * 200 + [0] * 800), column([1] * 320 + [0] * 680)
    assert l_infinity(before, now) == pytest.approx(0.12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(FLOATS, st.integers(-3, 3).map(float)), min_size=3, max_size=200), st.data())
def test_l_infinity_is_scipys_two_sample_kolmogorov_smirnov(one: list[float], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.one_of(FLOATS, st.sampled_from(one)), min_size=3, max_size=200))
    ours = l_infinity(column(one), column(other))
    assert ours == pytest.approx(stats.ks_2samp(one, other, method="asymp").statistic, abs=1e-12)


@pytest.mark.parametrize("draw", ["normal", "cents", "poisson", "zeros", "flag"])
@pytest.mark.parametrize("size", [4096, 4097, 10_007, 131_072])
def test_l_infinity_against_a_stored_baseline_is_right_to_1_in_4096(draw: str, size: int) -> None:
    source = np.random.default_rng(7)
    draws: dict[str, Any] = {
        "normal": lambda n, s: source.normal(s, 1, n),
        "cents": lambda n, s: np.round(source.exponential(20 + 9 * s, n), 2),
        "poisson": lambda n, s: source.poisson(3.5 + s, n).astype(float),
        "zeros": lambda n, s: np.where(source.random(n) < 0.7, 0.0, source.normal(s, 1, n)),
        "flag": lambda n, s: (source.random(n) < 0.2 + s / 5).astype(float),
    }
    before, now = draws[draw](size, 0.0), draws[draw](3_000, 0.5)
    stored = read_statistics(through_json(statistics_json(profile_of(x=before)))).columns["x"]
    exact = stats.ks_2samp(before, now, method="asymp").statistic
    assert abs(l_infinity(stored, column(now)) - exact) <= 1 / 4096
    if size <= 4096:
        assert l_infinity(stored, column(now)) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ([100, 80, 30], [90, 90, 30]),
        ([12, 30], [20, 22]),
        ([500, 480, 515, 505], [1, 1, 1, 1]),
        ([900, 20, 80], [1, 1, 1]),
    ],
)
def test_chi_squared_is_scipys(observed: list[int], expected: list[int]) -> None:
    names = [f"c{n}" for n in range(len(observed))]
    scaled = np.array(expected) / sum(expected) * sum(observed)
    oracle = stats.chisquare(observed, scaled)
    found = chi_squared(dict(zip(names, observed, strict=True)), dict(zip(names, expected, strict=True)))
    assert found[0] == pytest.approx(oracle.statistic, rel=1e-12)
    assert found[1] == pytest.approx(oracle.pvalue, rel=1e-9, abs=1e-300)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=40), st.data())
def test_chi_squared_p_values_are_scipys_over_many_cells(observed: list[int], data: st.DataObject) -> None:
    expected = data.draw(st.lists(st.integers(50, 500), min_size=len(observed), max_size=len(observed)))
    total = sum(observed)
    assume(total * min(expected) / sum(expected) >= 5)
    oracle = stats.chisquare(observed, np.array(expected) / sum(expected) * total)
    names = [f"c{n}" for n in range(len(observed))]
    found = chi_squared(dict(zip(names, observed, strict=True)), dict(zip(names, expected, strict=True)))
    assert found[1] == pytest.approx(oracle.pvalue, rel=1e-8, abs=1e-200)


def test_chi_squared_merges_small_cells_and_gives_up_below_two() -> None:
    merged = chi_squared({"a": 60, "b": 30, "c": 4, "d": 6}, {"a": 60, "b": 34, "c": 3, "d": 3})
    assert merged[0] == pytest.approx(stats.chisquare([60, 30, 10], [60, 34, 6]).statistic)
    assert math.isnan(chi_squared({"a": 5, "b": 4}, {"a": 5, "b": 4})[1])
    assert math.isnan(chi_squared({"z": 100}, {"a": 50, "b": 50})[1])


def merged_by_sorting(expected: list[float], observed: list[float]) -> list[tuple[float, float]]:
    """Deequ's rule word for word: sort, merge the two smallest, look again."""
    cells = sorted(zip(expected, observed, strict=True))
    while len(cells) > 1:
        least = [wanted for wanted, _ in cells]
        if (min(least) >= 10) if len(cells) == 2 else sum(w < 5 for w in least) <= int(0.2 * len(cells)):
            break
        (one, seen), (other, there), *rest = cells
        cells = sorted([(one + other, seen + there), *rest])
    return cells


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), min_size=2, max_size=60))
def test_chi_squared_merges_as_if_all_cells_were_sorted_again_each_time(cells: list[tuple[int, int]]) -> None:
    # Different baseline counts, so that which of two equal cells is merged first does not decide.
    expected = [count * 64 + n for n, (count, _) in enumerate(cells)]
    total = sum(seen for _, seen in cells)
    oracle = merged_by_sorting([count / sum(expected) * total for count in expected], [float(s) for _, s in cells])
    names = [f"c{n}" for n in range(len(cells))]
    statistic, p_value = chi_squared(
        {name: seen for name, (_, seen) in zip(names, cells, strict=True)}, dict(zip(names, expected, strict=True))
    )
    if len(oracle) < 2:
        assert math.isnan(statistic)
    else:
        wanted, seen = zip(*oracle, strict=True)
        assert statistic == pytest.approx(stats.chisquare(seen, wanted).statistic, rel=1e-9)
        assert p_value == pytest.approx(stats.chisquare(seen, wanted).pvalue, rel=1e-9)


def test_chi_squared_of_20_000_small_cells_takes_as_many_merges_and_not_as_many_sorts() -> None:
    """5,000 took 1.26 s when all cells were sorted again at each merge; 20,000 would take minutes."""
    expected = {f"c{n}": 100 + n % 7 for n in range(20_000)}
    statistic, p_value = chi_squared(dict.fromkeys(expected, 2), expected)
    assert (math.isfinite(statistic), p_value > 0.999) == (True, True)


def test_a_category_that_the_baseline_never_saw_is_no_cell() -> None:
    """A foreign statistics.json may list it with count 0, which ended in a division by zero."""
    assert chi_squared({"a": 50, "b": 60, "z": 4}, {"a": 50, "b": 50, "z": 0}) == chi_squared(
        {"a": 50, "b": 60}, {"a": 50, "b": 50}
    )
    document = through_json(statistics_json(Profile(100, {"x": categories(a=50, b=50)})))
    buckets = document["features"][0]["string_statistics"]["distribution"]["categorical"]["buckets"]
    buckets.append({"value": "z", "count": 0})
    stored = read_statistics(document)
    assert compare(stored, Profile(100, {"x": categories(a=50, b=50)})).status == "Completed"
    for bucket in buckets:
        bucket["count"] = 0
    assert compare(read_statistics(document), Profile(100, {"x": categories(a=50, b=50)})).drift == {}


@pytest.mark.parametrize("count", [-1, 2**63])
def test_a_count_that_cannot_be_one_is_refused(count: int) -> None:
    document = through_json(statistics_json(Profile(100, {"x": categories(a=50, b=50)})))
    document["features"][0]["string_statistics"]["distribution"]["categorical"]["buckets"][0]["count"] = count
    with pytest.raises(BadInputError, match=r"statistics\.json"):
        read_statistics(document)


def test_psi_of_the_same_shares_is_zero_and_grows_with_the_shift() -> None:
    source = np.random.default_rng(3)
    before = column(source.normal(size=5_000))
    scores = [psi(before, column(source.normal(shift, size=5_000))) for shift in (0.0, 0.3, 1.0)]
    assert scores[0] < 0.02 < scores[1] < 0.25 < scores[2]
    assert psi(before, before) < 0.01
    assert psi(categories(a=50, b=50), categories(a=50, b=50)) == 0.0
    assert psi(column([0] * 50 + [1] * 50), column([0] * 80 + [1] * 20)) == pytest.approx(
        psi(categories(a=50, b=50), categories(a=80, b=20))
    )
    assert psi(categories(a=50, b=50), categories(a=80, b=20)) == pytest.approx(
        0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.4)
    )
    assert psi(column([1.0] * 10), column([1.0] * 10)) < 1e-3


def test_mo03_the_seeds_mean_shift_is_258_8_percent() -> None:
    assert relative_shift(125.50, 450.30) == pytest.approx(2.588, abs=5e-4)
    assert relative_shift(0, 1) == math.inf
    assert relative_shift(-2, -1) == 0.5
    assert "mean_shift" not in distances(column([0.0, 0.0]), column([1.0]))


def test_mo03_the_same_sample_is_below_and_a_shifted_one_above_the_threshold() -> None:
    source = np.random.default_rng(11)
    before, same, shifted = (profile_of(x=source.normal(m, 1, 2_000)) for m in (0, 0, 0.6))
    assert drift_scores(before, before) == {"x": 0.0}
    assert drift_scores(before, same)["x"] < 0.1 < drift_scores(before, shifted)["x"]


# --- profiles ------------------------------------------------------------------------------------------------------

CELLS = st.lists(st.one_of(st.none(), st.integers(-20, 20).map(float), FLOATS), max_size=80)


def same(one: Profile, other: Profile) -> bool:
    return json.dumps(statistics_json(one)) == json.dumps(statistics_json(other)) and one.rows == other.rows


@settings(max_examples=100, deadline=None)
@given(values=CELLS, data=st.data())
def test_a_profile_does_not_depend_on_the_order_of_rows_or_the_cut_of_batches(
    values: list[float | None], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    batches = [
        pa.RecordBatch.from_arrays([pa.array(p, pa.float64())], names=["x"]) for p in (shuffled[:cut], shuffled[cut:])
    ]
    whole = pa.RecordBatch.from_arrays([pa.array(values, pa.float64())], names=["x"])
    assert same(profile(batches), profile([whole]))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(CELLS, min_size=3, max_size=3),
    st.lists(st.lists(st.sampled_from("abc"), max_size=20), min_size=3, max_size=3),
)
def test_merging_profiles_is_the_profile_of_all_rows_in_any_grouping(numbers: Any, texts: Any) -> None:
    def one(values: list[float | None], words: list[str]) -> Profile:
        words = [*words, *["z"] * len(values)][: len(values)]
        arrays = [pa.array(values, pa.float64()), pa.array(words, pa.string())]
        return profile([pa.RecordBatch.from_arrays(arrays, names=["n", "t"])], kinds={"n": "number", "t": "category"})

    a, b, c = (one(v, w) for v, w in zip(numbers, texts, strict=True))
    words = [w for v, ws in zip(numbers, texts, strict=True) for w in [*ws, *["z"] * len(v)][: len(v)]]
    together = one([v for part in numbers for v in part], words)
    assert same(merge([merge([a, b]), c]), merge([a, merge([b, c])]))
    assert same(merge([c, a, b]), together)


def test_both_zeros_are_one_value() -> None:
    assert same(profile_of(x=[0.0, -0.0]), profile_of(x=[-0.0, 0.0]))
    assert column([0.0, -0.0]).counts.tolist() == [2]


def test_a_column_that_one_window_lacks_is_missing_in_all_its_rows() -> None:
    found = merge([profile_of(a=[1.0, 2.0], b=["x", "y"]), profile_of(a=[3.0])])
    assert (found.rows, found.columns["b"].present, found.columns["b"].missing) == (3, 2, 1)


def test_profiles_of_different_kinds_are_not_merged() -> None:
    with pytest.raises(BadInputError, match="profile of a"):
        merge([profile_of(a=[1.0]), profile_of(a=["x"])])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", None], "Integral"),
        (["1", "2.5"], "Fractional"),
        (["1e5", ".5"], "Fractional"),
        (["1", "x"], "String"),
        ([None, None], "Unknown"),
        (["true", "false"], "String"),
        ([1, 2], "Integral"),
        ([1.5, 2.0], "Fractional"),
    ],
)
def test_types_are_inferred_from_all_values(values: list[Any], kind: str) -> None:
    array = pa.array(values, pa.string() if values[0] is None else None)
    found = profile([pa.RecordBatch.from_arrays([array], names=["x"])])
    assert found.columns["x"].kind == kind


def test_a_number_column_keeps_its_numbers_when_a_text_slips_in() -> None:
    batch = pa.RecordBatch.from_pydict({"x": ["1", "2", "broken", None]})
    found = profile([batch], kinds={"x": "number"}).columns["x"]
    assert (found.kind, found.whole, found.text, found.missing) == ("Integral", 2, 1, 1)


# --- the files -----------------------------------------------------------------------------------------------------


def test_statistics_json_has_model_monitors_shape() -> None:
    known = profile_of(n=[1.5, 2.5, None, 4.0], c=["a", "b", "a", None])
    found = statistics_json(known)
    number, text = found["features"]
    assert found["version"] == 0
    assert found["dataset"] == {"item_count": 4}
    assert number["inferred_type"] == "Fractional"
    numeric = number["numerical_statistics"]
    assert numeric["common"] == {"num_present": 3, "num_missing": 1}
    assert (numeric["mean"], numeric["sum"], numeric["min"], numeric["max"]) == (8 / 3, 8.0, 1.5, 4.0)
    assert numeric["std_dev"] == pytest.approx(np.std([1.5, 2.5, 4.0]))
    kll = numeric["distribution"]["kll"]
    assert kll["sketch"] == {"parameters": {"c": 0.64, "k": 2048}, "data": [[1.5, 2.5, 4.0]]}
    assert [bucket["count"] for bucket in kll["buckets"]] == [1, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert text["string_statistics"] == {
        "common": {"num_present": 3, "num_missing": 1},
        "distinct_count": 2,
        "distribution": {"categorical": {"buckets": [{"value": "a", "count": 2}, {"value": "b", "count": 1}]}},
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70_000))
def test_a_sketchs_items_weigh_exactly_the_rows_there_are(rows: int) -> None:
    levels = sketch(*tally(np.arange(rows, dtype=np.float64)))
    assert sum(len(items) << level for level, items in enumerate(levels)) == rows
    assert sum(map(len, levels)) <= 4096 + len(levels)


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_statistics_survive_writing_and_reading(values: list[float | None]) -> None:
    known = profile([pa.RecordBatch.from_arrays([pa.array(values, pa.float64())], names=["x"])])
    document = statistics_json(known)
    assert statistics_json(read_statistics(through_json(document))) == document


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


def test_suggested_constraints_are_read_back_with_model_monitors_defaults() -> None:
    known = profile_of(n=[1, 2, None, 4], c=["a", "b", "a", "b"], m=[-1.0, 2.5, 3.0, 4.0])
    document = through_json(suggest_constraints(known))
    assert document["features"][0] == {
        "name": "n",
        "inferred_type": "Integral",
        "completeness": 0.75,
        "num_constraints": {"is_non_negative": True},
    }
    assert document["features"][1]["string_constraints"] == {"domains": ["a", "b"]}
    assert document["monitoring_config"]["distribution_constraints"] == {
        "perform_comparison": "Enabled",
        "comparison_threshold": 0.1,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": 0.1,
        "categorical_drift_method": "LInfinity",
    }
    found = read_constraints(document)
    assert found.settings == Settings()
    assert found.features["c"].domains == frozenset("ab")
    assert found.features["m"].non_negative is False


def test_every_spelling_of_a_constraints_file_is_read() -> None:
    document = {
        "version": 0.0,
        "features": [
            {"name": "a", "inferred_type": "Integral", "completeness": 1},
            {
                "name": "b",
                "inferred_type": "String",
                "completeness": 1.0,
                "string_constraints": {"domains": ["x"]},
                "monitoringConfigOverrides": {"domain_content_threshold": 0.5},
            },
            {
                "name": "c",
                "inferred_type": "Fractional",
                "completeness": 1.0,
                "monitoring_config_overrides": {"distribution_constraints": {"comparison_threshold": 0.7}},
            },
        ],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Disabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": 0.2,
                "comparion_method": "linf_simple",
                "categorical_drift_method": "ChiSquare",
            },
        },
    }
    found = read_constraints(document)
    assert found.settings == Settings(
        emit=False,
        datatype_threshold=1.0,
        domain_threshold=1.0,
        comparison_threshold=0.2,
        comparison_method="Simple",
        categorical_threshold=0.2,
        categorical_method="ChiSquared",
    )
    assert found.features["b"].settings.domain_threshold == 0.5
    assert found.features["b"].settings.comparison_method == "Simple"
    assert found.features["c"].settings.comparison_threshold == 0.7


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


def test_mo04_violations_survive_writing_and_reading() -> None:
    found = [Violation("age", "completeness_check", "Value: 0.9 ...")]
    document = violations_json(found)
    assert document == {
        "violations": [
            {"feature_name": "age", "constraint_check_type": "completeness_check", "description": "Value: 0.9 ..."}
        ]
    }
    assert read_violations(through_json(document)) == found
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
    result = compare(BASELINE, current)
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
    assert [v.check for v in compare(BASELINE, moved, limits).violations] == ["baseline_drift_check"]
    assert compare(BASELINE, BASELINE, limits).violations == ()
