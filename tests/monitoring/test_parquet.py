"""A Parquet file that is read a column at a time: the profile of its rows, and the errors of its rows."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.monitoring.datasets import profile_file
from linnet.monitoring.profile import profile
from linnet.monitoring.store import profile_bytes
from linnet.monitoring.tables import DataError, Limits, Source, read_table

VALUES = {
    pa.float64(): st.floats(allow_nan=True) | st.none(),
    pa.int64(): st.integers(-(2**40), 2**40) | st.none(),
    pa.bool_(): st.booleans() | st.none(),
    pa.string(): st.text(max_size=5) | st.none(),
    pa.date32(): st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)) | st.none(),
}
KINDS: Any = {"a": "number", "a.b": "category"}


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 30))
    names = draw(st.lists(st.sampled_from(["a", "a.b", "a.b.c", "b", "ü"]), min_size=1, unique=True))
    types = [draw(st.sampled_from(list(VALUES))) for _ in names]
    columns = [pa.array(draw(st.lists(VALUES[t], min_size=rows, max_size=rows)), t) for t in types]
    return pa.table(columns, names=names)


@given(table=tables(), kinds=st.sampled_from([{}, KINDS]), groups=st.integers(1, 40))
def test_a_file_that_is_read_a_column_at_a_time_has_the_profile_of_its_rows_to_the_byte(
    table: pa.Table, kinds: Any, groups: int
) -> None:
    source = Source("x", parquet(table, row_group_size=groups), "parquet")
    only = table.column_names[:2]

    whole = profile(read_table([source]), kinds=kinds)
    assert profile_bytes(profile_file(source, kinds=kinds)) == profile_bytes(whole)
    some = profile(read_table([source]), kinds=kinds, only=only)
    assert profile_bytes(profile_file(source, kinds=kinds, only=only)) == profile_bytes(some)


def test_many_rows_in_many_row_groups_and_a_file_on_disk_too(tmp_path: Any) -> None:
    draw = np.random.default_rng(3)
    table = pa.table({"x": draw.normal(size=400_000), "c": draw.choice(["p", "q", "r"], 400_000)})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=70_000)
    source = Source("t", path, "parquet")

    assert profile_bytes(profile_file(source)) == profile_bytes(profile(read_table([source])))


@pytest.mark.parametrize("cut", [1, 3])
def test_profiling_leaves_the_rows_as_they_are(cut: int) -> None:
    table = pa.table(
        {
            "x": [3.0, 1.0, 2.0],
            "n": [3, 1, None],
            "t": ["3", "1", "2"],
            "d": pa.array(["b", "a", "b"]).dictionary_encode(),
        }
    )
    batches, before = table.to_batches(max_chunksize=cut), table.to_pydict()
    profile(batches)
    profile(batches, kinds={"t": "number"})

    assert pa.Table.from_batches(batches).to_pydict() == before


FINE = pa.table({"a": [1.0, 2.0], "t": ["x", "y" * 60]})


@pytest.mark.parametrize(
    ("content", "rows", "limits"),
    [
        (b"no such file", None, Limits()),
        (parquet(FINE)[:-9], None, Limits()),
        (parquet(pa.table({"n": [[1, 2]]})), None, Limits()),
        (parquet(pa.table({"": [1]})), None, Limits()),
        (parquet(FINE), None, Limits(bytes=100)),
        (parquet(FINE), None, Limits(rows=1)),
        (parquet(FINE), None, Limits(columns=1)),
        (parquet(FINE), None, Limits(field_length=59)),
        (parquet(FINE), 3, Limits()),
    ],
)
def test_what_its_rows_are_refused_for_its_columns_are_too(content: bytes, rows: int | None, limits: Limits) -> None:
    source = Source("x", content, "parquet", rows=rows)
    with pytest.raises(DataError) as by_rows:
        list(read_table([source], limits=limits))
    with pytest.raises(DataError) as by_columns:
        profile_file(source, limits=limits)

    assert str(by_columns.value) == str(by_rows.value)


@given(data=st.data())
def test_a_damaged_file_has_a_profile_or_a_data_error(data: st.DataObject) -> None:
    content = bytearray(parquet(pa.table({"a": list(range(50)), "t": ["x"] * 50})))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        found = profile_file(Source("x", bytes(content), "parquet"), limits=Limits(rows=1_000, bytes=1_000_000))
    except DataError:
        return
    assert {column.present + column.missing for column in found.columns.values()} <= {found.rows}
