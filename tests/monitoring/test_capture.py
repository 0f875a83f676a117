"""Data capture (DC-02, DC-03): both roads through a piece, every encoding, no line fatal, none uncounted."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from botocore.exceptions import IncompleteReadError
from botocore.response import StreamingBody
from hypothesis import example, given, settings
from hypothesis import strategies as st

from linnet.decisions.monitoring import hour_of
from linnet.monitoring import capture as module
from linnet.monitoring import template
from linnet.monitoring.capture import MOST_COLUMNS, SLICES, Capture, Counts, Rows, hours, read_batches, read_capture
from linnet.monitoring.records import BAD as BAD_LINE
from linnet.monitoring.records import NULLS, read_line
from linnet.monitoring.tables import numbers

SEED = (
    '{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"35,50000,2",'
    '"encoding":"CSV"},"endpointOutput":{"observedContentType":"text/csv","mode":"OUTPUT","data":"0.85",'
    '"encoding":"CSV"}},"eventMetadata":{"eventId":"abc-123","inferenceTime":"2025-01-15T10:30:00Z"}}'
)
REAL = (
    '{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"132,25,0\\n",'
    '"encoding":"CSV"},"endpointOutput":{"observedContentType":"text/csv; charset=utf-8","mode":"OUTPUT",'
    '"data":"0.01076381653547287","encoding":"CSV"}},"eventMetadata":{"eventId":"6c1d-9","inferenceId":"mine",'
    '"customAttributes":["a"],"inferenceTime":"2022-02-14T17:25:49Z"},"eventVersion":"0"}'
)
NAMES = ("a", "b", "c")


def line(
    data: Any,
    answer: Any = "0.5",
    *,
    event: str = "e",
    kind: str = "text/csv",
    encoding: str = "CSV",
    out: str = "CSV",
    time: str = "2025-01-15T10:30:00Z",
    **meta: Any,
) -> bytes:
    sides: dict[str, Any] = {
        "endpointInput": {"observedContentType": kind, "mode": "INPUT", "data": data, "encoding": encoding}
    }
    if answer is not None:
        kind = "application/json" if out == "JSON" else "text/csv"
        sides["endpointOutput"] = {"observedContentType": kind, "mode": "OUTPUT", "data": answer, "encoding": out}
    record = {
        "captureData": sides,
        "eventMetadata": {"eventId": event, "inferenceTime": time, **meta},
        "eventVersion": "0",
    }
    return json.dumps(record).encode() + b"\n"


def rows(found: Capture) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in found.features.to_pylist()]


def test_dc02_the_seeds_record_and_a_real_one_are_read() -> None:
    found = read_capture([f"{SEED}\n{REAL}\n".encode()], NAMES)
    assert rows(found) == [("35", "50000", "2"), ("132", "25", "0")]
    assert found.predictions.tolist() == [0.85, 0.01076381653547287]
    assert found.ids.to_pylist() == ["abc-123", "mine"]
    assert found.at.to_pylist() == [
        datetime(2025, 1, 15, 10, 30, tzinfo=UTC),
        datetime(2022, 2, 14, 17, 25, 49, tzinfo=UTC),
    ]
    assert found.counts == Counts(columns=3, lines=2, widths=Counter({3: 2}))


BASE64 = base64.b64encode(b"1,2,x\n").decode()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (line("1,2,x\n3,4,y\n", "0.1\n0.2\n"), [("1", "2", "x", 0.1), ("3", "4", "y", 0.2)]),
        (line("1,2,x\n3,4,y", "0.1,0.2"), [("1", "2", "x", 0.1), ("3", "4", "y", 0.2)]),
        (line('1,"2,5","say ""x"""'), [("1", "2,5", 'say "x"', 0.5)]),
        (line("1,,NA"), [("1", None, None, 0.5)]),
        (line(BASE64, kind="application/x-unknown", encoding="BASE64"), [("1", "2", "x", 0.5)]),
        (line("1,2,x", base64.b64encode(b"0.7").decode(), out="BASE64"), [("1", "2", "x", 0.7)]),
        (line('{"features": [1, 2.5, "x"]}', kind="application/json", encoding="JSON"), [("1", "2.5", "x", 0.5)]),
        (line('{"c": "x", "a": 1, "b": null}', kind="application/json", encoding="JSON"), [("1", None, "x", 0.5)]),
        (
            line(
                '{"instances": [{"features": [1, 2, "x"]}, [3, true, "y"]]}',
                '{"predictions": [{"score": 0.1}, 0.2]}',
                kind="application/json",
                encoding="JSON",
                out="JSON",
            ),
            [("1", "2", "x", 0.1), ("3", "1", "y", 0.2)],
        ),
        (
            line(
                '[1, 2, "x"]\n[3, 4, "y"]',
                "[[0.1, 0.9], [0.2, 0.8]]",
                kind="application/jsonlines",
                encoding="JSON",
                out="JSON",
            ),
            [("1", "2", "x", 0.1), ("3", "4", "y", 0.2)],
        ),
        (line("1,2,x", "[0.4]", out="JSON"), [("1", "2", "x", 0.4)]),
        (line("1,2,x", None), [("1", "2", "x", None)]),
        (line("1,2,x", "error: no model"), [("1", "2", "x", None)]),
        (line("1,2,x\n3,4,y", "0.1"), [("1", "2", "x", None), ("3", "4", "y", None)]),
        (line("1,2,x", "0.8,1,yes"), [("1", "2", "x", 0.8)]),
    ],
)
def test_every_encoding_gives_the_same_rows(record: bytes, expected: list[tuple[Any, ...]]) -> None:
    found = read_capture([record], NAMES)
    answers = [None if np.isnan(p) else p for p in found.predictions.tolist()]
    assert [(*row, answer) for row, answer in zip(rows(found), answers, strict=True)] == expected
    assert found.counts.bad == 0
    assert found.places.tolist() == list(range(len(expected)))


BAD = [
    b"{",
    b"[]",
    b"3",
    b"null",
    b'"x"',
    b"{}",
    b'{"captureData": 3, "eventMetadata": {}}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    line("1,2,3", encoding="GZIP").strip(),
    line("{", encoding="JSON").strip(),
    line("***", encoding="BASE64").strip(),
    line("").strip(),
    line(3).strip(),
    line('"open,2,3').strip(),
    line('{"a": {"b": 1}}', encoding="JSON").strip(),
    line("1,2,3").replace(b'"e"', b"7").strip(),
    line("1,2,3").replace(b'"eventId"', b'"id"').strip(),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_dc02_a_malformed_line_is_counted_and_stops_nothing(bad: bytes) -> None:
    found = read_capture([line("1,2,3", event="x") + bad + b"\n\n" + line("4,5,6", event="y")], NAMES)
    assert rows(found) == [("1", "2", "3"), ("4", "5", "6")]
    assert (found.counts.lines, found.counts.bad) == (3, 1)


def test_no_file_and_an_empty_file_are_no_rows() -> None:
    for files in ([], [b""], [b"\n"]):
        found = read_capture(files, NAMES)
        assert (found.rows, found.counts.lines, found.features.num_columns) == (0, 0, 3)


def test_a_window_whose_rows_mostly_have_other_widths_shows_missing_and_extra_columns() -> None:
    short = read_capture([line("1,2") + line("3,4") + line("5,6,7")], NAMES)
    assert (short.features.column_names, short.rows, short.counts.odd_rows) == (["a", "b"], 2, 1)
    wide = read_capture([line("1,2,3,4") * 2 + line("5,6,7")], NAMES)
    assert (wide.features.column_names, wide.rows, wide.counts.odd_rows) == (["a", "b", "c", "column_4"], 2, 1)
    even = read_capture([line("1,2,3,4") + line("5,6,7")], NAMES)
    assert even.features.column_names == ["a", "b", "c"]


@pytest.mark.parametrize("spoiled", [b"", b"{\n"])
def test_the_window_keeps_from_and_leaves_out_to(spoiled: bytes) -> None:
    times = ("09:59:59Z", "10:00:00Z", "10:59:59Z", "11:00:00Z")
    file = b"".join(line("1,2,3", event=time, time=f"2025-01-15T{time}") for time in times)
    window = (datetime(2025, 1, 15, 10, tzinfo=UTC), datetime(2025, 1, 15, 11, tzinfo=UTC))
    found = read_capture([file + spoiled], NAMES, window=window)
    assert found.ids.to_pylist() == ["10:00:00Z", "10:59:59Z"]
    assert (found.counts.outside, found.counts.bad) == (2, len(spoiled) // 2)


Row = tuple[str, int, int, str, tuple[str | None, ...], float]


def one_by_one(
    content: bytes, columns: Sequence[str], window: tuple[datetime, datetime] | None = None
) -> tuple[list[Row], Counts]:
    """Read a file by the rule itself: every line alone."""
    found: list[Row] = []
    counts = Counts(len(columns))
    for one in content.split(b"\n"):
        if not one.strip():
            continue
        counts.lines += 1
        try:
            asked = read_line(one, columns, window)
        except BAD_LINE:
            counts.bad += 1
            continue
        if asked is None:
            counts.outside += 1
            continue
        if window:
            counts.slices.add(int((asked.at - window[0]) * SLICES / (window[1] - window[0])))
        scores = numbers(pa.array([None if o in NULLS else o for o in asked.outputs], pa.string())).values.tolist()
        for place, (row, score) in enumerate(zip(asked.rows, scores, strict=True)):
            counts.widths[len(row)] += 1
            found.append(
                (asked.identity, place, len(asked.rows), asked.at.isoformat(), tuple(row[:MOST_COLUMNS]), score)
            )
    return found, counts


def as_rows(found: Rows) -> list[Row]:
    features = [tuple(row.values()) for row in found.features.to_pylist()] or [()] * len(found.ids)
    times = [moment.isoformat() for moment in found.at.to_pylist()]
    places, sizes, scores = (part.tolist() for part in (found.places, found.sizes, found.predictions))
    return list(zip(found.ids.to_pylist(), places, sizes, times, features, scores, strict=True))


def same(content: bytes, window: tuple[datetime, datetime] | None = None, columns: Sequence[str] = NAMES) -> Counts:
    """Assert that a file gives what its lines give one by one, and return what was counted."""
    expected, by_line = one_by_one(content, columns, window)
    counts = Counts()
    batches = list(read_batches([content], columns, {}, window=window, counts=counts))
    assert sorted(map(repr, expected)) == sorted(repr(row) for batch in batches for row in as_rows(batch))
    assert counts == by_line
    return counts


FIELD = st.one_of(
    st.none(),
    st.integers(-99, 99).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["x", "New York", "Zo\u00eb", "NA", " 1 ", "1e400", "\ufeff", "a\u2028b", "\u00a0", "1\\", "+1"]),
)
MOMENT = st.sampled_from(
    [
        "2025-01-15T10:30:00Z",
        "2025-01-15T10:59:59.999Z",
        "2025-01-15T12:30:00+02:00",
        "2025-01-15_10:30:00Z",
        "2025-01-15T10:30",
        "2025-01-15T10:30:60Z",
        "0000-01-15T10:30:00Z",
        "20250115T103000Z0000",
        "0001-01-01T00:00:00+01:00",
        "2025-01-15T11:00:00Z",
        "now",
    ]
)
ID = st.sampled_from(["", "i", "\u00ff", "a\\n", 'a"b', "\ud800"])
ANSWER = st.one_of(
    st.none(), st.floats(0, 1).map(repr), FIELD, st.sampled_from(["0.1,0.9\n", "\u00a00.5", "0.5\t", "1\n2"])
)
WHOLE = (datetime(2025, 1, 15, 10, tzinfo=UTC), datetime(2025, 1, 15, 11, tzinfo=UTC))


@st.composite
def records(draw: st.DrawFn) -> bytes:
    usual = draw(st.integers(0, 2)) > 0
    data = ",".join(draw(FIELD) or "" for _ in range(3 if usual else draw(st.integers(1, 5))))
    if not usual:
        data = draw(st.sampled_from([data, f"{data}\n{data}", f'"{data}"', "", "\n"]))
    meta = {} if draw(st.booleans()) else {"inferenceId": draw(st.one_of(st.none(), ID, st.just(7)))}
    made = line(
        data + draw(st.sampled_from(["", "\n"])),
        draw(st.floats(0, 1).map(repr)) if usual else draw(ANSWER),
        event=draw(st.uuids()).hex if usual else draw(ID),
        out="CSV" if usual else draw(st.sampled_from(["CSV", "JSON"])),
        time="2025-01-15T10:30:00Z" if usual else draw(MOMENT),
        **({} if usual else meta),
    )
    return made if usual or draw(st.booleans()) else json.dumps(json.loads(made), ensure_ascii=False).encode(
        errors="surrogatepass"
    ) + draw(st.sampled_from([b"\n", b"\r\n", b" \n\n"]))  # fmt: skip


@settings(max_examples=300)
@given(st.lists(records(), max_size=12), st.sampled_from([None, WHOLE]))
def test_by_template_and_by_line_every_file_gives_the_same_rows_and_counts(parts: list[bytes], window: Any) -> None:
    counts = same(b"".join(parts), window)
    assert counts.lines == len(parts)


def typed(content: bytes, columns: Sequence[str], kinds: Any) -> list[Rows]:
    return list(read_batches([content], columns, kinds, counts=Counts()))


@settings(max_examples=200)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=12))
def test_a_columns_kind_changes_how_it_is_stored_and_not_what_it_holds(fields: list[tuple[Any, ...]]) -> None:
    content = b"".join(line(",".join(field or "" for field in row), event=f"{n:02}") for n, row in enumerate(fields))
    plain, kept = typed(content, NAMES, {}), typed(content, NAMES, {"a": "number", "b": "category"})
    for name, of in (("a", _values), ("b", pa.Array.to_pylist), ("c", pa.Array.to_pylist)):
        one, other = (
            sorted(
                (key, repr(value))
                for rows in found
                for key, value in zip(rows.ids.to_pylist(), of(rows.features[name]), strict=True)
            )
            for found in (plain, kept)
        )
        assert one == other


def _values(column: pa.Array) -> list[Any]:
    read = numbers(column)
    return list(zip(read.values.tolist(), read.nulls.tolist(), read.invalid.tolist(), strict=True))


def test_usual_columns_come_as_numbers_and_dictionaries() -> None:
    (rows,) = typed(line("1,x,2\n") + line("2.5,,x\n"), NAMES, {"a": "number", "b": "category"})
    assert rows.features["a"].type == pa.float64()
    assert rows.features["b"].to_pylist() == ["x", None]
    assert pa.types.is_dictionary(rows.features["b"].type)
    assert pa.types.is_string(rows.features["c"].type)


class Alone:
    """Counts the lines that are read alone."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lines = 0
        patch.setattr(module, "read_line", self)

    def __call__(self, *given: Any) -> Any:
        self.lines += 1
        return read_line(*given)


def usual(count: int, **meta: Any) -> list[bytes]:
    return [line(f"{n},{n / 7},x\n", f"{n / count}", event=f"e{n}", **meta) for n in range(count)]


@pytest.mark.parametrize(
    "odd",
    [
        b"{\n",
        b"\xff\n",
        line("\ud800,1,2").replace(b"\\ud800", b"\xe9"),
        line("1,2"),
        line("1,oops,x"),
        line('1,"2",x'),
        line("1,2,x", event="e\t"),
        line("1,2,x", time="now"),
        line("1,2,x", time="2025-01-15T10:30:60Z"),
        line("1,2,x", encoding="BASE64"),
        line("1,2,x").replace(b"INPUT", b"IN\x00UT"),
    ],
    ids=range(11),
)
def test_an_odd_line_sends_few_others_with_it_to_be_read_alone(odd: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = usual(1_000)
    content = b"".join([*lines[:700], odd, *lines[700:]])
    expected, by_line = one_by_one(content, NAMES)
    alone = Alone(monkeypatch)
    counts = Counts()
    found = list(read_batches([content], NAMES, {"a": "number", "b": "number"}, counts=counts))
    assert alone.lines <= 1
    assert counts == by_line
    assert sum(rows.features.num_rows for rows in found) == len(expected)


@pytest.mark.parametrize(
    "twisted",
    [
        line("1,2,x\n", customAttributes=[1, 5, 2]).replace(b" 5,", b"NA,"),  # no JSON, though Arrow has a null for it
        line("1,2,x\n", customAttributes=[1, None, 2]),
        line("1,2,x\n", customAttributes=[1, 5, 2]).replace(b"2,x", b'2" ,"z":"x'),  # as many commas, two columns
        line("1,2,x\n", customAttributes=[1, 5, 2]).replace(b"2,x", b"2\\u002cx,x"),
        line("1,2,x\n", event="", customAttributes=[1, 5, 2]).replace(b'"eventId": ""', b'"eventId": "'),
    ],
    ids=range(5),
)
def test_a_line_that_only_looks_like_the_others_is_not_taken_for_one(twisted: bytes) -> None:
    lines = usual(40, customAttributes=[1, 5, 2])
    assert same(b"".join([*lines[:20], twisted, *lines[20:]])).lines == 41


def test_lines_of_a_few_shapes_are_all_read_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [usual(50), usual(50, inferenceId="mine"), [one.replace(b"OUTPUT", b"OUT") for one in usual(50)]]
    content = b"".join(one for lines in zip(*shapes, [line("1,2,3", None)] * 50, strict=True) for one in lines)
    expected = same(content)
    alone = Alone(monkeypatch)
    assert same(content) == expected
    assert (alone.lines, expected.rows) == (0, 200)


def test_sdk_2629_base64_and_sdk_2785_mixed_encodings_are_read_beside_usual_lines() -> None:
    odd = line(base64.b64encode(b"7,8,z\n").decode(), "[0.25]", event="b", encoding="BASE64", out="JSON")
    assert same(b"".join([*usual(100), odd])).rows == 101
    found = read_capture([b"".join([*usual(100), odd])], NAMES)
    assert found.features.to_pylist()[-1] == {"a": "7", "b": "8", "c": "z"}
    assert found.predictions[-1] == 0.25


def test_a_window_of_many_columns_reads_the_first_thousand_and_counts_all() -> None:
    wide = line(",".join(map(str, range(10_000))))
    counts = same(wide * 3 + line("1,2,3"))
    assert (counts.width, counts.rows, counts.odd_rows) == (10_000, 3, 1)
    assert read_capture([wide], NAMES).features.column_names[-2:] == ["column_999", "column_1000"]


def test_rows_of_a_ninth_other_width_are_counted_and_not_read() -> None:
    content = b"".join(line(",".join("1" * width)) for width in range(1, 12)) + line("1,2,3")
    counts = Counts()
    found = list(read_batches([content], NAMES, {}, counts=counts))
    assert sorted(rows.width for rows in found) == [*range(1, 10)]
    assert (counts.lines, counts.widths[0], counts.width, counts.rows, counts.odd_rows) == (12, 2, 3, 2, 10)


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    parts = [[*usual(30)[:n], line("1"), b"{\n", line("1,2,3", time=f"2025-01-15T10:{n}:00Z")] for n in (10, 20, 30)]
    together = Counts(3)
    for part in parts:
        together.add(same(b"".join(part), WHOLE))
    assert together == same(b"".join(one for part in parts for one in part), WHOLE)
    assert together.coverage == 3 / SLICES
    assert together.lines == together.rows + together.odd_rows + together.bad + together.outside


@pytest.mark.parametrize("size", [1, 100, 400, 1_000, 5_000])
def test_however_files_are_cut_into_pieces_they_hold_the_same(
    size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [*usual(9), b"{\n", line("1,2"), *usual(3, inferenceId="i")]
    files: list[Any] = [b"".join(lines[:5]), b"", b"".join(lines[5:12])[:-1], b"".join(lines[12:])]
    expected = sorted(map(repr, one_by_one(b"".join(lines), NAMES)[0]))
    (tmp_path / "last").write_bytes(files.pop())
    monkeypatch.setattr(template, "_PIECE_BYTES", size)
    counts = Counts()
    batches = list(read_batches([*files, (tmp_path / "last").open("rb")], NAMES, {}, counts=counts))
    assert sorted(repr(row) for rows in batches for row in as_rows(rows)) == expected
    assert (counts.lines, counts.bad) == (14, 1)


@example(['""', ""], 1)
@example(["", '""'], 1)
@given(st.lists(st.text('"x', max_size=4), max_size=6), st.integers(1, 3))
def test_only_lines_with_the_wanted_number_of_quotes_are_cut_at_them(lines: list[str], wanted: int) -> None:
    ends = np.cumsum([len(line) for line in lines], dtype=np.int64)
    starts = ends - [len(line) for line in lines] if lines else ends
    quotes = np.flatnonzero(np.frombuffer("".join(lines).encode(), np.uint8) == ord('"'))
    good, cut = template._each(quotes, starts, ends, wanted)
    assert good.tolist() == [line.count('"') == wanted for line in lines]
    found = [[place - start for place in row] for row, start in zip(cut.tolist(), starts[good].tolist(), strict=True)]
    expected = [line for line in lines if line.count('"') == wanted]
    assert found == [[n for n, one in enumerate(line) if one == '"'] for line in expected]


@pytest.mark.parametrize("others", [1, 2, 9])
def test_lines_that_are_like_each_other_but_not_like_the_template_are_none_of_it(others: int) -> None:
    made = module._template(line("1,2,3"))
    assert made is not None
    unlike = line("1,2,3").replace(b'"INPUT"', b'"INPUX"')
    assert template._strings(made, pa.array([unlike] * others))[1].tolist() == [False] * others
    assert template._strings(made, pa.array([line("1,2,3"), unlike]))[1].tolist() == [True, False]


class Trickle(io.BytesIO):
    """A connection that gives less than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1 + (size or 0) // 7)


def test_whatever_a_connection_gives_at_a_time_all_lines_are_read_and_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(template, "_PIECE_BYTES", 1_000)
    whole = b"".join([*usual(9), b"{\n", line("1,2"), *usual(3)])
    opened = [Trickle(whole), Trickle(whole)]
    assert b"".join(template.pieces(opened)) == 2 * whole
    assert [one.closed for one in opened] == [True, True]


def test_a_file_whose_connection_is_cut_is_an_error_and_no_shorter_file() -> None:
    content = b"".join(usual(5))
    with pytest.raises(IncompleteReadError):
        list(read_batches([StreamingBody(io.BytesIO(content), len(content) + 1)], NAMES, {}, counts=Counts()))


def test_files_are_asked_for_when_their_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "_PIECE_BYTES", 1_000)
    taken: list[int] = []

    def files() -> Iterator[bytes]:
        for n in range(20):
            taken.append(n)
            yield b"".join(usual(5))

    found = read_batches(files(), NAMES, {}, counts=Counts())
    first = next(found).features.num_rows
    assert len(taken) <= 2
    assert first + sum(rows.features.num_rows for rows in found) == 100


@pytest.mark.parametrize(
    ("key", "hour"),
    [
        ("data-capture/2025/01/15/10/request-1.jsonl", datetime(2025, 1, 15, 10, tzinfo=UTC)),
        ("data-capture/cfg/endpoint/blue/2025/01/15/10/a.jsonl", datetime(2025, 1, 15, 10, tzinfo=UTC)),
        ("data-capture/endpoint/blue/2025/01/15/request-1.jsonl", None),
        ("data-capture/endpoint/blue/2025/13/15/10/a.jsonl", None),
        ("2025/01/15/10/", None),
    ],
)
def test_dc03_both_layouts_name_their_hour(key: str, hour: datetime | None) -> None:
    assert hour_of(key) == hour


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ((10, 0), (11, 0), ["10"]),
        ((10, 30), (11, 30), ["10", "11"]),
        ((10, 59), (11, 1), ["10", "11"]),
        ((10, 0), (10, 0), []),
        ((22, 0), (23, 59), ["22", "23"]),
    ],
)
def test_dc03_a_window_touches_exactly_its_hours(start: Any, end: Any, expected: list[str]) -> None:
    day = datetime(2025, 1, 15, tzinfo=UTC)
    found = hours(*(day.replace(hour=hour, minute=minute) for hour, minute in (start, end)))
    assert found == [f"2025/01/15/{hour}" for hour in expected]
