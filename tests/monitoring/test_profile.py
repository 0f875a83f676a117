"""Profiles: any order, cut and grouping of the rows gives the same bytes; exact where they say so; stored and read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linnet.errors import BadInputError
from linnet.monitoring import profile as engine
from linnet.monitoring.files import read_statistics, statistics_json
from linnet.monitoring.plots import bars
from linnet.monitoring.profile import Column, Profile, at_level, merge, profile, tally
from linnet.monitoring.store import profile_bytes, read_profile
from tests.monitoring.shifts import baseline

FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.fixture(params=[4, engine.LIMIT], ids=["limit 4", "default limit"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(engine, "LIMIT", request.param)
    return request.param


def column(values: Any) -> Column:
    return profile_of(x=values).columns["x"]


def profile_of(**columns: Any) -> Profile:
    return profile([pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})])


CELLS = st.lists(st.one_of(st.none(), st.integers(-20, 20).map(float), FLOATS), max_size=80)


def same(one: Profile, other: Profile) -> bool:
    return json.dumps(statistics_json(one)) == json.dumps(statistics_json(other)) and one.rows == other.rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=CELLS, data=st.data())
def test_a_profile_does_not_depend_on_the_order_of_rows_or_the_cut_of_batches(
    limit: int, values: list[float | None], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    batches = [
        pa.RecordBatch.from_arrays([pa.array(p, pa.float64())], names=["x"]) for p in (shuffled[:cut], shuffled[cut:])
    ]
    whole = pa.RecordBatch.from_arrays([pa.array(values, pa.float64())], names=["x"])
    assert same(profile(batches), profile([whole]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(CELLS, min_size=3, max_size=3),
    st.lists(st.lists(st.sampled_from("abc"), max_size=20), min_size=3, max_size=3),
)
def test_merging_profiles_is_the_profile_of_all_rows_in_any_grouping(limit: int, numbers: Any, texts: Any) -> None:
    def one(values: list[float | None], words: list[str]) -> Profile:
        words = [*words, *["z"] * len(values)][: len(values)]
        arrays = [pa.array(values, pa.float64()), pa.array(words, pa.string())]
        return profile([pa.RecordBatch.from_arrays(arrays, names=["n", "t"])], kinds={"n": "number", "t": "category"})

    a, b, c = (one(v, w) for v, w in zip(numbers, texts, strict=True))
    words = [w for v, ws in zip(numbers, texts, strict=True) for w in [*ws, *["z"] * len(v)][: len(v)]]
    together = one([v for part in numbers for v in part], words)
    assert same(merge([merge([a, b]), c]), merge([a, merge([b, c])]))
    assert same(merge([c, a, b]), together)
    assert profile_bytes(merge([c, merge([b, a])])) == profile_bytes(merge([together]))


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


# --- coarse columns ------------------------------------------------------------------------------------------------

ANY = st.lists(
    st.one_of(st.floats(-1e150, 1e150), st.sampled_from([0.0, 5e-324, -5e-324, 1.0, 1.0 + 2**-52])), min_size=1
)


def content(one: Column) -> Any:
    return (one.level, one.values.tobytes(), one.counts.tolist(), one.mixed.tolist(), one.moments, one.resolution)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(ANY, min_size=2, max_size=5))
def test_a_merged_column_is_that_of_all_rows_to_the_bit_whatever_the_parts_levels(
    limit: int, parts: list[list[float]]
) -> None:
    whole = content(column([v for part in parts for v in part]))
    left = right = profile_of(x=parts[0])
    for part in parts[1:]:
        left, right = merge([left, profile_of(x=part)]), merge([profile_of(x=part), right])
    at_once = merge([profile_of(x=part) for part in reversed(parts)])
    assert [content(found.columns["x"]) for found in (left, right, at_once)] == [whole] * 3


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=ANY)
def test_the_level_is_the_lowest_that_leaves_no_more_than_the_limit(limit: int, values: list[float]) -> None:
    found = column(values)
    patterns = np.array(sorted({v + 0.0 for v in values})).view(np.uint64)
    left = [len({int(p) >> level for p in patterns}) for level in range(64)]
    assert found.level == next(level for level, n in enumerate(left) if n <= limit)
    assert (found.values.size, found.counts.sum()) == (left[found.level], len(values))
    together = {}
    for value in values:
        together.setdefault(int(np.float64(value + 0.0).view(np.uint64)) >> found.level, []).append(value + 0.0)
    assert sorted(found.mixed.tolist()) == sorted(len(set(same)) > 1 for same in together.values())
    several = [len(same) for same in together.values() if len(set(same)) > 1]
    assert found.resolution == max(several, default=0) / len(values)


@settings(max_examples=60, deadline=None)
@given(ANY)
def test_mean_and_deviation_are_the_exact_ones_rounded_once(values: list[float]) -> None:
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    variance = sum((v - mean) ** 2 for v in exact) / len(exact)
    found = column(values)
    assert found.mean_and_deviation == (float(mean), math.sqrt(float(variance)))
    assert (found.exact.least, found.exact.greatest) == (min(values), max(values))
    assert found.exact == Column("x", numeric=True, values=found.values, counts=found.counts).exact or found.level


def test_moments_of_a_long_column_are_exact_beyond_a_block() -> None:
    values = np.random.default_rng(2).lognormal(0, 3, 30_000)
    total = sum(map(Fraction, values.tolist()))
    assert column(values).mean_and_deviation[0] == float(total / values.size)
    assert column(values).mean_and_deviation[1] == pytest.approx(np.std(values), rel=1e-12)
    assert column(1e9 + values).mean_and_deviation[1] == pytest.approx(np.std(values), rel=1e-8)


def test_more_numbers_than_the_limit_are_kept_to_a_few_thousandths_of_a_percent_of_the_rows() -> None:
    source = np.random.default_rng(3)
    found = column(source.normal(size=100_000))
    assert 0 < found.level < 52
    assert engine.LIMIT / 2 < found.values.size <= engine.LIMIT
    assert found.resolution < 1 / 2048
    spiky = column(np.concatenate([source.normal(size=100_000), np.full(100_000, 9.99)]))
    assert spiky.level
    assert spiky.values[spiky.counts >= 100_000].tolist() == [9.99]  # exact: nothing else has its pattern
    assert spiky.resolution < 1 / 2048


def test_two_narrow_clusters_of_far_magnitudes_say_how_coarse_they_are() -> None:
    source = np.random.default_rng(4)
    found = column(np.concatenate([source.random(50_000), 1e18 + np.arange(50_000) * 128.0]))
    assert found.resolution > 1 / 2048


def test_statistics_of_a_coarse_column_are_the_exact_ones() -> None:
    values = np.random.default_rng(6).normal(50, 9, 60_000)
    found = statistics_json(profile_of(x=values))["features"][0]["numerical_statistics"]
    exact = sum(map(Fraction, values.tolist()))
    assert (found["min"], found["max"], found["sum"]) == (values.min(), values.max(), float(exact))
    buckets = found["distribution"]["kll"]["buckets"]
    assert (buckets[0]["lower_bound"], buckets[-1]["upper_bound"]) == (values.min(), values.max())
    counts = np.array([bucket["count"] for bucket in buckets])
    assert np.abs(counts - np.histogram(values, 10)[0]).max() <= 60_000 / 2048


def test_a_column_is_never_made_finer() -> None:
    found = column([1.0, 1.5, 3.0])
    coarse = at_level(found, 52)
    assert (coarse.level, coarse.values.tolist(), coarse.mixed.tolist()) == (52, [1.0, 3.0], [True, False])
    assert at_level(coarse, 3) is coarse
    assert coarse.mean_and_deviation == found.mean_and_deviation
    assert tally(np.array([1.0, 1.5, 3.0]), 52)[2] == 52


def test_categories_are_counted_alike_as_text_as_dictionaries_and_in_any_batches() -> None:
    words = ["b", "a", None, "b", "c", "a"]
    plain = pa.RecordBatch.from_pydict({"x": pa.array(words)})
    coded = [
        pa.RecordBatch.from_arrays(
            [pa.DictionaryArray.from_arrays(pa.array(at, pa.int32()), pa.array(names))], names=["x"]
        )
        for at, names in (([1, 0, None], ["a", "b", "never"]), ([0, 1, 2], ["b", "c", "a"]))
    ]
    found = [profile(batches, kinds={"x": "category"}).columns["x"] for batches in ([plain], coded)]
    assert [(dict(c.categories), c.missing, c.text) for c in found] == [({"a": 2, "b": 2, "c": 1}, 1, 5)] * 2


# --- profile.arrow -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> Profile:
    return profile([baseline(40_000)])


def test_a_stored_profile_is_read_back_whole_and_written_the_same(known: Profile) -> None:
    stored = profile_bytes(known)
    found = read_profile(stored)
    assert profile_bytes(found) == stored == profile_bytes(profile([baseline(40_000)]))
    assert (found.rows, list(found.columns)) == (known.rows, list(known.columns))
    for name, column_ in known.columns.items():
        assert content(found.columns[name]) == content(column_)
        assert found.columns[name].categories == column_.categories
    assert statistics_json(found) == statistics_json(known)
    assert any(one.level for one in found.columns.values())


def test_a_baseline_of_others_is_stored_with_what_it_tells(known: Profile) -> None:
    told = read_statistics(json.loads(json.dumps(statistics_json(known))))
    assert statistics_json(read_profile(profile_bytes(told))) == statistics_json(told)


def test_a_hundred_thousand_categories_are_kept_and_the_rest_is_said_to_be_missing() -> None:
    counts = {f"c{n:06}": 1 + (n == 100_004) for n in range(100_005)}
    stored = read_profile(profile_bytes(Profile(9, {"x": Column("x", numeric=False, text=100_006, categories=counts)})))
    found = stored.columns["x"]
    assert (len(found.categories), found.distinct, found.categories["c100004"]) == (100_000, 100_005, 2)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_profile_that_cannot_be_one_is_refused(data: st.DataObject) -> None:
    stored = profile_bytes(profile_of(n=[1.0, 2.5, None], c=["a", "b", "a"]))
    at = data.draw(st.integers(0, len(stored) - 1))
    broken = stored[:at] + data.draw(st.binary(max_size=3)) + stored[at + data.draw(st.integers(0, 9)) :]
    try:
        assert read_profile(broken).rows >= 0
    except BadInputError as error:
        assert error.field == "profile.arrow"  # noqa: PT017 - either outcome is right; any other exception is not


@pytest.mark.parametrize(
    "change",
    [
        {"counts": np.array([1, -1])},
        {"counts": np.array([1])},
        {"values": np.array([2.0, 1.0])},
        {"values": np.array([1.0, math.inf])},
        {"level": 3},
        {"missing": -1},
        {"categories": {"a": -1}},
        {"categories": {"a": 1 << 54}},
        {"moments": engine.Moments(2, 1 << 1074, 0, 1.0, 2.0)},
    ],
    ids=str,
)
def test_a_stored_column_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    usual = {"values": np.array([1.0, 2.0]), "counts": np.array([1, 1]), "mixed": np.zeros(1, dtype=bool)}
    bad = Column("x", numeric=True, **(usual | change))
    with pytest.raises(BadInputError, match=r"profile\.arrow"):
        read_profile(profile_bytes(Profile(2, {"x": bad})))


# --- what the report draws -----------------------------------------------------------------------------------------


def test_bars_are_the_shares_of_both_between_the_baselines_quantiles() -> None:
    source = np.random.default_rng(5)
    found = bars(column(source.normal(size=5_000)), column(source.normal(1, 1, 5_000)))
    before, now = ([bar["share"] for bar in found[side]] for side in ("baseline", "current"))
    assert len(before) == 20
    assert before == pytest.approx([0.05] * 20, abs=1e-3)
    assert sum(now) == pytest.approx(1)
    assert (now[-1] > 0.2, now[0] < 0.01) == (True, True)
    assert [bar["label"] for bar in found["baseline"]] == [bar["label"] for bar in found["current"]]
    flag = bars(column([0] * 80 + [1] * 20), column([0] * 50 + [1] * 50))
    assert [(bar["label"], bar["share"]) for bar in flag["current"]] == [
        ("up to 0", 0.5),
        ("0 to 1", 0.5),
        ("above 1", 0.0),
    ]


def test_bars_of_categories_are_the_twelve_most_frequent_and_all_others() -> None:
    before = column([f"v{n:02}" for n in range(20) for _ in range(40 - n)])
    found = bars(before, column(["v00", "new", "new", "new"]))
    assert [bar["label"] for bar in found["current"]] == [*(f"v{n:02}" for n in range(12)), "other"]
    assert (found["current"][0]["share"], found["current"][-1]["share"]) == (0.25, 0.75)
    assert sum(bar["share"] for bar in found["baseline"]) == pytest.approx(1)
    nothing = bars(Column("x", numeric=True), column([1.0]))
    assert nothing == {"baseline": [], "current": []}
