"""Distances: scipy and Deequ's published values are the oracles, on every kind of column."""

from __future__ import annotations

import math
import os
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from linnet.errors import BadInputError
from linnet.monitoring import profile as engine
from linnet.monitoring.distances import chi_squared, distances, l_infinity, psi, relative_shift, robust
from linnet.monitoring.drift import compare
from linnet.monitoring.files import Settings, read_constraints, read_statistics, statistics_json, suggest_constraints
from linnet.monitoring.profile import Profile, kinds_of, profile
from linnet.monitoring.store import profile_bytes, read_profile
from tests.monitoring import shifts
from tests.monitoring.test_drift import FLOATS, categories, column, profile_of, through_json

ROWS = 1_000_000 if os.environ.get("LINNET_NIGHTLY") else 100_000


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


# --- every kind of column, by the stored profile -------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> tuple[pa.RecordBatch, pa.RecordBatch]:
    return shifts.baseline(ROWS), shifts.current(ROWS // 5)


@pytest.fixture(scope="module")
def profiles(tables: tuple[pa.RecordBatch, pa.RecordBatch]) -> tuple[Profile, Profile]:
    before = profile([tables[0]])
    return read_profile(profile_bytes(before)), profile([tables[1]], kinds=kinds_of(before))


NUMBERS = [name for name in shifts.baseline(10).schema.names if not name.startswith("c_")]


@pytest.mark.parametrize("name", NUMBERS)
def test_m8_the_distance_by_stored_profiles_is_scipys_to_1_in_2048_on_every_kind_of_column(
    name: str, tables: tuple[pa.RecordBatch, pa.RecordBatch], profiles: tuple[Profile, Profile]
) -> None:
    one, other = (np.asarray(table.column(name).drop_null(), dtype=float) for table in tables)
    before, now = (found.columns[name] for found in profiles)
    found = distances(before, now)
    assert abs(found["l_infinity_simple"] - stats.ks_2samp(one, other, method="asymp").statistic) <= 1 / 2048
    assert found["wasserstein_raw"] == pytest.approx(stats.wasserstein_distance(one, other), rel=0.01)
    assert found["wasserstein"] == pytest.approx(stats.wasserstein_distance(one, other) / np.std(one), rel=0.01)
    assert found["mean_shift"] == pytest.approx((other.mean() - one.mean()) / abs(one.mean()), rel=1e-6)
    # Numbers that crowd just below 1 differ in low bits alone: that is told. A window has fewer rows, each a larger share.
    assert (before.resolution <= 1 / 2048) == (found["resolution"] <= 2 / 2048) == (name != "n_beta")


def test_m9_the_suggested_constraints_find_11_of_11_shifts_and_model_monitors_rule_3(
    profiles: tuple[Profile, Profile],
) -> None:
    def drifted(settings_: Settings | None) -> set[str]:
        limits = read_constraints(through_json(suggest_constraints(profiles[0], settings_)))
        found = compare(*profiles, limits)
        assert found.resolution == found.distances["n_beta"]["resolution"]
        for violation in found.violations:
            drift = violation.check == "baseline_drift_check"
            assert not drift or re.search(r"distance: ([\d.]+) exceeds threshold: (.+)", violation.description)
        return {v.feature for v in found.violations if v.check == "baseline_drift_check"}

    assert drifted(None) == shifts.SHIFTED
    assert drifted(Settings()) == shifts.COARSE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rows", [100, 1_000, 5_000])
def test_the_suggested_constraints_find_nothing_in_a_small_window_without_drift(
    seed: int, rows: int, tables: tuple[pa.RecordBatch, pa.RecordBatch], profiles: tuple[Profile, Profile]
) -> None:
    """Of 500 or 5,000 categories a small window sees a part: plain Jensen-Shannon is far above 0.1 then."""
    drawn = np.random.default_rng(seed).integers(0, tables[0].num_rows, rows)
    window = profile([tables[0].take(pa.array(drawn))], kinds=kinds_of(profiles[0]))
    found = compare(profiles[0], window)
    assert [v.feature for v in found.violations if v.check == "baseline_drift_check"] == []
    assert found.distances["c_sku"]["jensen_shannon"] > 0.1


def test_one_wild_value_is_no_drift() -> None:
    usual = np.random.default_rng(8).normal(size=5_000)
    wild = distances(column(usual), column(np.append(usual[:2_500], 1e12)))
    assert wild["wasserstein"] > 1e8
    assert wild["wasserstein_robust"] == 0.0


def test_the_published_table_of_repeated_values_is_reproduced() -> None:
    """monitoring.md 3.6: 20 % to 32.4 % and a Poisson mean of 3.5 to 4, where Deequ's public code says 0.0000, 0.0767."""
    flag, count = (
        distances(read_profile(profile_bytes(Profile(before.present, {"x": before}))).columns["x"], now)
        for before, now in (
            (column([1] * 200_000 + [0] * 800_000), column([1] * 64_800 + [0] * 135_200)),
            tuple(column(np.random.default_rng(n).poisson(m, n)) for n, m in ((1_000_000, 3.5), (200_000, 4))),
        )
    )
    assert flag["l_infinity_simple"] == pytest.approx(0.1240, abs=5e-4)
    assert flag["l_infinity_robust"] == pytest.approx(0.1198, abs=5e-4)
    assert count["l_infinity_simple"] == pytest.approx(0.1021, abs=2e-3)
    assert count["l_infinity_robust"] == pytest.approx(0.0979, abs=2e-3)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2))
def test_jensen_shannon_of_categories_is_scipys_to_the_base_2(cells: dict[str, tuple[int, int]]) -> None:
    before, now = (categories(**{name: pair[i] for name, pair in cells.items() if pair[i]}) for i in (0, 1))
    assume(before.categories and now.categories)
    found, back = distances(before, now), distances(now, before)
    oracle = distance.jensenshannon(*zip(*cells.values(), strict=True), base=2)
    assert found["jensen_shannon"] == pytest.approx(oracle, abs=1e-9)
    assert back["jensen_shannon"] == pytest.approx(found["jensen_shannon"], abs=1e-12)
    assert found["new_categories"] == len(now.categories.keys() - before.categories.keys())


def test_jensen_shannon_and_wasserstein_have_their_ends() -> None:
    apart = distances(column([1.0, 2.0]), column([8.0, 9.0]))
    assert (apart["jensen_shannon"], apart["wasserstein_raw"], apart["wasserstein"]) == (1.0, 7.0, 14.0)
    assert distances(categories(a=50), categories(b=50))["jensen_shannon"] == 1.0
    same = distances(column([1.0, 2.0]), column([1.0, 2.0]))
    assert (same["jensen_shannon"], same["wasserstein"], same["wasserstein_robust"]) == (0.0, 0.0, 0.0)
    assert "wasserstein" not in distances(column([1.0, 1.0]), column([1.0, 2.0]))


def test_columns_of_different_levels_are_compared_at_the_coarser(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = np.array([1.00001, 2.00001, 3.00001]), np.linspace(1, 3.1, 60)
    monkeypatch.setattr(engine, "LIMIT", 30)
    coarse, fine = column(np.repeat(many, 5)), column(np.repeat(few, 100))
    assert (coarse.level > 0, fine.level) == (True, 0)
    assert distances(coarse, coarse)["l_infinity_simple"] == 0.0
    exact = stats.ks_2samp(np.repeat(many, 5), np.repeat(few, 100), method="asymp").statistic
    result = compare(Profile(300, {"x": coarse}), Profile(300, {"x": fine}))
    assert abs(distances(coarse, fine)["l_infinity_simple"] - exact) <= result.resolution
    assert result.resolution == pytest.approx(1 / 3)


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


@settings(max_examples=100, deadline=None)
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
