"""Reading tables: what is refused, where the message points, and that the limits hold before memory is spent (F24)."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.errors import BadInputError
from linnet.monitoring import objects
from linnet.monitoring.tables import NULLS, DataError, Limits, Source, numbers, read_table, texts


def csv(content: bytes, **options: Any) -> list[dict[str, list[Any]]]:
    return [batch.to_pydict() for batch in read_table([Source("a.csv", content)], **options)]


def parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def test_a_csv_comes_as_text_with_its_missing_values_as_null() -> None:
    found = csv(b'\xef\xbb\xbfa,"b,c"\r\n1, x \r\n\r\nNA,"two\nlines"\r\n')
    assert found == [{"a": ["1", None], "b,c": [" x ", "two\nlines"]}]


def test_columns_can_be_named_when_the_file_has_no_header() -> None:
    assert csv(b"1,2\n3,4\n", columns=["x", "y"]) == [{"x": ["1", "3"], "y": ["2", "4"]}]


@pytest.mark.parametrize("content", [b"a,b\n", b"a,b", b"a,b\r\n"])
def test_a_header_alone_is_a_table_without_rows(content: bytes) -> None:
    assert csv(content) == [{"a": [], "b": []}]


CORPUS = {
    "empty": (b"", "header"),
    "blank": (b"\n\n", "header"),
    "NUL": (b"a,b\n1,\x002\n", "byte 6"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "byte"),
    "latin-1 in a field": (b"a,b\n1,M\xfcnchen\n", "column number 2"),
    "latin-1 in the header": (b"a,M\xfcn\n1,2\n", "header, byte 3"),
    "duplicate header": (b"a,b,a\n1,2,3\n", "header, column 3"),
    "unnamed column": (b"a,,c\n1,2,3\n", "header, column 2"),
    "control character in a name": (b"a,b\x07\n1,2\n", "header, column 2"),
    "a name without end": (b"a," + b"b" * 300 + b"\n1,2\n", "header, column 2"),
    "too few fields": (b"a,b\n1,2\n3\n", "row 3"),
    "too many fields": (b"a,b\n1,2,3\n", "row 2"),
    "open quote in the header": (b'a,"b\n1,2"\n', "header"),
    "a field too long": (b"a\n" + b"x" * 9000 + b"\n", "column a"),
    "a quote that swallows the rest": (b'a,b\n1,"2\n' + b"3,4\n" * 10, "quotes"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_a_malformed_csv_is_refused_with_file_and_place(name: str) -> None:
    content, place = CORPUS[name]
    with pytest.raises(DataError) as refused:
        csv(content)
    assert refused.value.file == "a.csv"
    assert place in refused.value.where
    assert isinstance(refused.value, BadInputError)


def test_a_refusal_shows_no_row_of_the_data() -> None:
    with pytest.raises(DataError) as refused:
        csv(b"a,b\n1,2\nsecret-name,secret-number,3\n")
    assert "secret" not in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300), kind=st.sampled_from(["csv", "parquet", "jsonl"]))
def test_any_bytes_are_a_table_or_a_data_error(content: bytes, kind: Any) -> None:
    with contextlib.suppress(DataError):
        for batch in read_table([Source("x", content, kind)]):
            assert batch.num_rows <= len(content)
            for column in batch.columns:
                numbers(column)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_parquet_file_is_a_table_or_a_data_error(data: st.DataObject) -> None:
    content = bytearray(parquet(pa.table({"a": list(range(50)), "t": ["x"] * 50})))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    limits = Limits(bytes=10_000_000, rows=1_000)
    try:
        rows = sum(batch.num_rows for batch in read_table([Source("x", bytes(content), "parquet")], limits=limits))
    except DataError:
        return
    assert rows <= limits.rows


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(bytes=19), "size"),
        (Limits(rows=3), "rows"),
        (Limits(columns=1), "columns"),
        (Limits(field_length=2), "column b"),
    ],
)
def test_each_limit_holds_over_all_files_together(limits: Limits, said: str) -> None:
    files = [Source("one", b"a,b\n1,1\n2,2\n"), Source("two", b"a,b\n1,333\n2,2\n")]
    with pytest.raises(DataError) as refused:
        list(read_table(files, limits=limits))
    assert refused.value.where == said


def test_a_table_at_its_limits_is_read() -> None:
    content = b"a,b\n1,22\n"
    limits = Limits(bytes=len(content), rows=1, columns=2, field_length=2)
    assert csv(content, limits=limits) == [{"a": ["1"], "b": ["22"]}]


def test_parquet_is_refused_by_what_its_footer_declares() -> None:
    bomb = parquet(pa.table({"a": np.zeros(2_000_000)}), compression="zstd")
    assert len(bomb) < 100_000  # a few kB that ask for 16 MB
    with pytest.raises(DataError, match="rows declared"):
        list(read_table([Source("bomb", bomb, "parquet")], limits=Limits(rows=1_000)))
    plain = parquet(pa.table({"a": np.zeros(2_000_000)}), compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match="bytes declared"):
        list(read_table([Source("bomb", plain, "parquet")], limits=Limits(bytes=1_000_000)))


def test_a_long_text_repeated_in_parquet_is_found_before_it_is_unfolded() -> None:
    folded = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 100_000])  # unfolds to 1 GB
    bomb = parquet(pa.table({"a": folded}), store_schema=False)
    usual, mine = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(mine)
    try:
        with pytest.raises(DataError, match="a field of 100000 bytes"):
            list(read_table([Source("bomb", bomb, "parquet")]))
    finally:
        pa.set_memory_pool(usual)
    assert 0 < mine.max_memory() < 500_000_000


def test_nested_parquet_columns_are_refused_by_name() -> None:
    nested = parquet(pa.table({"a": [1], "n": [[1, 2]]}))
    with pytest.raises(DataError, match="column n"):
        list(read_table([Source("x", nested, "parquet")]))


def test_files_may_order_their_columns_differently_but_not_have_others() -> None:
    one, swapped = Source("one", b"a,b\n1,2\n"), Source("two", b"b,a\n4,3\n")
    found = [list(batch.to_pydict().items()) for batch in read_table([one, swapped])]
    assert found == [[("a", ["1"]), ("b", ["2"])], [("a", ["3"]), ("b", ["4"])]]
    with pytest.raises(DataError, match=r"two, columns.*the columns of the first file"):
        list(read_table([one, Source("two", b"a,c\n1,2\n")]))


def test_csv_and_parquet_of_the_same_table_hold_the_same_numbers_and_texts(tmp_path: Path) -> None:
    table = pa.table(
        {"i": [1, None, 3], "f": [1.5, float("nan"), 3.0], "t": ["x", None, "z"], "b": [True, False, None]}
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    (columnar,) = read_table([Source("p", path, "parquet")])
    (textual,) = read_table([Source("c", b"i,f,t,b\n1,1.5,x,1\n,NaN,,0\n3,3.0,z,\n")])
    for name in ("i", "f", "b"):
        one, other = numbers(columnar[name]), numbers(textual[name])
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.nulls, other.nulls)
    assert texts(columnar["t"]).to_pylist() == texts(textual["t"]).to_pylist() == ["x", None, "z"]
    assert texts(columnar["i"]).to_pylist() == ["1", None, "3"]


@pytest.mark.parametrize("cut", [[5], [2, 3], [0, 5]])
def test_numbers_of_a_dictionary_are_those_of_its_texts(cut: list[int]) -> None:
    names = pa.array(["1.5", "x", None, " 2 ", "1e400", "never"])
    whole = pa.DictionaryArray.from_arrays(pa.array([4, 0, None, 1, 2], pa.int32()), names)
    parts = [whole[sum(cut[:n]) : sum(cut[: n + 1])] for n in range(len(cut))]
    one, other = numbers(pa.chunked_array(parts)), numbers(pa.array(whole.to_pylist(), pa.string()))
    for name in ("values", "nulls", "invalid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.floats().map(repr), st.integers().map(str), st.text(max_size=8), st.sampled_from(NULLS))))
def test_every_text_is_exactly_one_of_missing_number_and_no_number(values: list[str]) -> None:
    column = pa.array([None if value in NULLS else value for value in values], pa.string())
    found = numbers(column)
    assert not (found.nulls & found.invalid).any()
    for text, number, null, wrong in zip(values, found.values, found.nulls, found.invalid, strict=True):
        assert null == (text in NULLS)
        assert np.isnan(number) == (null or wrong)
        if not null and not wrong:
            assert number == float(text)


FIELDS = st.sampled_from(
    [
        "",
        "NA",
        " NA",
        "NaN ",
        "NAN",
        "inf",
        "1",
        "+1",
        "01",
        " 2.5 ",
        "1e400",
        "1e200",
        "0x1F",
        "x",
        "é",
        "\ufeff1",
        "-0",
        "a\rb",
    ]
)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=12), end=st.sampled_from(["\n", "\r\n"]), tail=st.booleans())
def test_a_plain_file_reads_as_the_careful_reader_reads_it_with_columns_as_numbers_or_not(
    rows: list[tuple[str, str]], end: str, tail: bool
) -> None:
    text = end.join(["a,b", *(",".join(row) for row in rows)]) + end * tail
    found = []
    for content, numeric in ((text, ("b",)), (text, ()), (text.replace("a,b", '"a",b', 1), ())):  # a quote: carefully
        try:
            batches = list(read_table([Source("x", content.encode())], numeric=numeric))
        except DataError as error:
            found.append(str(error))
            continue
        seen = [numbers(batch["b"]) for batch in batches]
        found.append(
            repr(
                [
                    [value for batch in batches for value in texts(batch["a"]).to_pylist()],
                    *([v for part in seen for v in getattr(part, name)] for name in ("values", "nulls", "invalid")),
                ]
            )
        )
    assert found[0] == found[1] == found[2]


def test_what_is_wrong_behind_the_first_piece_is_found_at_its_row_and_nothing_is_read_twice() -> None:
    good = b"".join(b"%d,%s\n" % (row, b"x" * 90) for row in range(200_000))  # some 19 MB: three pieces
    for tail, place in ((b"1,2,3\n", "row 200002"), (b"1,\0\n", f"byte {len(good) + 6}"), (b'1,"\n', "quotes")):
        with pytest.raises(DataError) as refused:
            list(read_table([Source("x", b"a,b\n" + good + tail)], numeric=("a",)))
        assert refused.value.where == place
    batches = list(read_table([Source("x", b"a,b\n" + good + b'7,"y\nz"\n\n')], numeric=("a",)))
    read = np.concatenate([numbers(batch["a"]).values for batch in batches])
    np.testing.assert_array_equal(read, [*range(200_000), 7])


def test_f21_files_are_held_to_the_rows_that_were_promised_for_each() -> None:
    files = [Source(name, b"a\n" + b"1\n" * rows, rows=50) for name, rows in (("x", 49), ("y", 51))]  # 100 together
    with pytest.raises(DataError, match="x, rows: 49 is not allowed; allowed: 50"):
        list(read_table(files))
    assert sum(b.num_rows for b in read_table([Source("z", b"a\n1\n2\n", rows=2)])) == 2


# --- JSON lines ------------------------------------------------------------------------------------------------------


def json_lines(content: bytes, **options: Any) -> list[pa.RecordBatch]:
    return list(read_table([Source("a.jsonl", content, "jsonl")], **options))


def test_json_lines_come_as_numbers_and_text_with_what_is_missing_as_null() -> None:
    content = b'{"i":1,"f":2,"t":"x","b":true,"n":null}\n\n{"t":"NA","f":2.5,"i":null}\r\n{"d":"2026-01-01","b":false}'
    (found,) = json_lines(content)
    assert found.to_pydict() == {
        "i": [1, None, None],
        "f": [2.0, 2.5, None],
        "t": ["x", None, None],
        "b": [1, None, 0],
        "n": [None, None, None],
        "d": [None, None, "2026-01-01"],
    }
    assert found.schema.field("i").type == pa.int64()


def test_json_lines_of_mixed_types_come_as_text_and_numbers_in_it_are_numbers() -> None:
    (found,) = json_lines(b'{"a":1,"b":true}\n{"a":"x","b":7}\n{"a":2.5,"b":"1e3"}\n{"a":12345678901234567890}\n')
    assert texts(found["a"]).to_pylist() == ["1", "x", "2.5", "12345678901234567890"]
    assert numbers(found["b"]).values.tolist()[:3] == [1, 7, 1000]


def test_columns_of_json_lines_can_be_named_and_have_no_others() -> None:
    (found,) = json_lines(b'{"b":1}\n', columns=["a", "b"])
    assert found.to_pydict() == {"a": [None], "b": [1]}
    assert json_lines(b"", columns=["a"]) == []
    with pytest.raises(DataError, match="line 1"):
        json_lines(b'{"b":1}\n', columns=["a"])


OBJECTS = {
    "empty": (b"", "no line"),
    "a list": (b'{"a":1}\n[1]\n', "line 2"),
    "an empty object": (b"{}\n", "line 1"),
    "no JSON": (b'{"a":1}\n{"a":\n', "line 2"),
    "two on a line": (b'{"a":1}{"a":2}\n', "line 1"),
    "one on two lines": (b'{"a":\n1}\n', "line 1"),
    "nested": (b'{"a":1}\n{"a":{"b":"secret"}}\n', "line 2, column a"),
    "a list in it": (b'{"a":["secret"]}\n', "line 1, column a"),
    "a key twice": (b'{"a":1}\n{"a":1,"a":2}\n', "line 2"),
    "not UTF-8": (b'{"a":"\xff"}\n', "line 1"),
    "half a character": (b'{"a":"\\ud800"}\n', "line 1, column a"),
    "NUL": (b'{"a":1}\n\0{"a":2}\n', "line 2"),
    "deep": (b'{"a":' * 100_000, "line 1"),
    "a column behind the first thousand lines": (b'{"a":1}\n' * 1_001 + b'{"b":1}\n', "line 1002"),
    "a strange name": (b'{"a\\u0007":1}\n', "header, column 1"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_malformed_json_lines_are_refused_with_file_and_place_and_without_data(name: str) -> None:
    content, place = OBJECTS[name]
    with pytest.raises(DataError) as refused:
        json_lines(content)
    assert place in str(refused.value)
    assert "a.jsonl" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_json_lines_are_held_to_the_limits_and_to_the_rows_that_were_promised() -> None:
    content = b'{"a":"xxxx","b":1}\n' * 3
    for limits in (Limits(bytes=20), Limits(rows=2), Limits(columns=1), Limits(field_length=3)):
        with pytest.raises(DataError):
            json_lines(content, limits=limits)
    with pytest.raises(DataError, match="3 is not allowed; allowed: 4"):
        list(read_table([Source("x", content, "jsonl", rows=4)]))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.sampled_from(["x", "NA", "3"])
)


@settings(max_examples=150)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=1, max_size=8))
def test_json_lines_hold_the_same_by_columns_and_line_by_line(rows: list[dict[str, Any]]) -> None:
    content = "\n".join(map(json.dumps, rows)).encode()
    found = pa.Table.from_batches(json_lines(content))
    careful = objects._careful("x", content, found.column_names, 0)
    for name in found.column_names:
        one, other = numbers(found[name]), numbers(careful[name])
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.nulls, other.nulls)
        np.testing.assert_array_equal(one.invalid, other.invalid)
        words = [row.get(name) for row in rows]
        kept = [word for word in texts(found[name]).to_pylist() if word == "x"]
        assert len(kept) == words.count("x")


def test_long_json_lines_are_read_in_pieces_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    with file.open("wb") as out:
        for n in range(60_000):
            out.write(b'{"n":%d,"t":"%s"}\n' % (n, b"x" * 200))
    batches = list(read_table([Source("long", file, "jsonl")]))
    assert len(batches) > 1
    np.testing.assert_array_equal(np.concatenate([numbers(batch["n"]).values for batch in batches]), np.arange(60_000))
    with file.open("ab") as out:
        out.write(b'{"n":[]}\n')
    with pytest.raises(DataError, match="line 60001, column n"):
        list(read_table([Source("long", file, "jsonl")]))
