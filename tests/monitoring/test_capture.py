"""Data capture and ground truth (DC-02, DC-03, MO-05): both roads through a file, every encoding, no line fatal."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.decisions.monitoring import hour_of
from linnet.monitoring import capture as module
from linnet.monitoring.capture import Capture, hours, join, labelled, read_capture

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
    assert found.ids == ("abc-123", "mine")
    assert (found.lines, found.bad_lines, found.odd_rows, found.outside) == (2, 0, 0, 0)


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
    assert found.bad_lines == 0
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
    assert (found.lines, found.bad_lines) == (3, 1)


def test_no_file_and_an_empty_file_are_no_rows() -> None:
    for files in ([], [b""], [b"\n"]):
        found = read_capture(files, NAMES)
        assert (found.rows, found.lines, found.features.num_columns) == (0, 0, 3)


def test_a_window_whose_rows_mostly_have_other_widths_shows_missing_and_extra_columns() -> None:
    short = read_capture([line("1,2") + line("3,4") + line("5,6,7")], NAMES)
    assert (short.features.column_names, short.rows, short.odd_rows) == (["a", "b"], 2, 1)
    wide = read_capture([line("1,2,3,4") * 2 + line("5,6,7")], NAMES)
    assert (wide.features.column_names, wide.rows, wide.odd_rows) == (["a", "b", "c", "column_4"], 2, 1)
    even = read_capture([line("1,2,3,4") + line("5,6,7")], NAMES)
    assert even.features.column_names == ["a", "b", "c"]


@pytest.mark.parametrize("spoiled", [b"", b"{\n"])
def test_the_window_keeps_from_and_leaves_out_to(spoiled: bytes) -> None:
    times = ("09:59:59Z", "10:00:00Z", "10:59:59Z", "11:00:00Z")
    file = b"".join(line("1,2,3", event=time, time=f"2025-01-15T{time}") for time in times)
    window = (datetime(2025, 1, 15, 10, tzinfo=UTC), datetime(2025, 1, 15, 11, tzinfo=UTC))
    found = read_capture([file + spoiled], NAMES, window=window)
    assert found.ids == ("10:00:00Z", "10:59:59Z")
    assert (found.outside, found.bad_lines) == (2, len(spoiled) // 2)


FIELD = st.one_of(
    st.none(),
    st.integers(-99, 99).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["x", "New York", "NA"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD, st.one_of(st.none(), st.floats(0, 1))), min_size=1, max_size=20))
def test_the_fast_road_and_the_slow_one_give_the_same(records: list[tuple[Any, ...]]) -> None:
    file = b"".join(
        line(",".join(value or "" for value in fields), None if score is None else f"{score!r}\n", event=f"e{n}")
        for n, (*fields, score) in enumerate(records)
    )
    fast = module._by_column(file, None)
    assert fast is not None
    slow = module._by_line(file, NAMES, None)
    (one,), (other,) = fast[0], slow[0]
    assert one.table.to_pylist() == other.table.to_pylist()
    np.testing.assert_array_equal(one.predictions, other.predictions)
    assert (one.ids, one.places.tolist(), fast[1:]) == (other.ids, other.places.tolist(), slow[1:])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_stop_the_reader(content: bytes) -> None:
    found = read_capture([content, SEED.encode()], NAMES)
    assert found.rows >= 1
    assert "abc-123" in found.ids


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


# --- ground truth --------------------------------------------------------------------------------------------------


def truth(event: str, data: str, encoding: str = "CSV") -> bytes:
    record = {
        "groundTruthData": {"data": data, "encoding": encoding},
        "eventMetadata": {"eventId": event},
        "eventVersion": "0",
    }
    return json.dumps(record).encode() + b"\n"


def test_mo_05_predictions_are_joined_by_inference_id_else_event_id_and_the_rest_is_counted() -> None:
    file = b"".join(
        [
            line("1,2,3", "0.9", event="e1", inferenceId="i1"),
            line("1,2,3", "0.2", event="e2"),
            line("1,2,3\n4,5,6", "0.3\n0.4", event="e3"),
            line("1,2,3", "0.5", event="e4"),
            line("1,2,3", "oops", event="e5"),
            line("1,2,3\n4,5,6", "0.6\n0.7", event="e6"),
        ]
    )
    labels = [
        truth("i1", "0") + truth("e1", "0"),
        b"{broken\n" + truth("e3", "0\n1") + truth("stranger", "1"),
        truth("e2", "0") + truth("i1", "1") + truth("e5", "1") + truth("e6", "1"),
    ]
    found = join(read_capture([file], NAMES), labels)
    assert found.labels.tolist() == [1, 0, 0, 1]
    assert found.scores.tolist() == [0.9, 0.2, 0.3, 0.4]
    assert (found.unlabelled, found.unpredicted, found.bad_lines) == (3, 1, 1)
    assert found.join_rate == 5 / 8


def test_mo_05_an_empty_join_is_seen_as_one() -> None:
    captured = read_capture([line("1,2,3")], NAMES)
    assert join(captured, []).join_rate == 0
    assert join(read_capture([], NAMES), []).join_rate is None


def test_mo_05_labels_in_json_are_read() -> None:
    captured = read_capture([line("1,2,3", event="e1")], NAMES)
    assert join(captured, [truth("e1", "[1]", "JSON")]).labels.tolist() == [1]


def test_captured_rows_with_their_truth_are_a_table_to_train_on() -> None:
    captured = read_capture([line("1,2,3", event="x") + line("4,5,6", event="y") + line("7,8,9", event="z")], NAMES)
    truth = [
        json.dumps({"groundTruthData": {"data": value, "encoding": "CSV"}, "eventMetadata": {"eventId": name}}).encode()
        for name, value in (("x", "0"), ("z", "1"), ("z", "0"), ("nobody", "1"))
    ]
    found = labelled(captured, [b"\n".join(truth)], label="y", entity="id")

    assert found.to_pydict() == {"a": ["1", "7"], "b": ["2", "8"], "c": ["3", "9"], "y": ["0", "0"], "id": ["x", "z"]}
    assert labelled(captured, [], label="y", entity="a").num_rows == 0
