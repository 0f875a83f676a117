"""A window profiled piece by piece is the window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.monitoring import live, template
from linnet.monitoring.capture import read_capture
from linnet.monitoring.live import profile_capture, profile_part, together
from linnet.monitoring.profile import kinds_of, profile
from linnet.monitoring.store import profile_bytes
from linnet.monitoring.tables import Source, read_table
from tests.monitoring.test_capture import NAMES, WHOLE, line, records, usual

BASELINE = profile(read_table([Source("base", b"a,b,c\n1,0.5,x\n2,1.5,y\n3,,z\n")]), kinds={"c": "category"})


@given(st.lists(st.lists(records(), max_size=8), max_size=4))
def test_a_window_is_the_same_in_pieces_and_as_a_whole(files: list[list[bytes]]) -> None:
    contents = [b"".join(made.rstrip(b"\n") + b"\n" for made in file) for file in files]
    whole = read_capture(contents, NAMES, window=WHOLE)
    found, counts = profile_capture(contents, BASELINE, WHOLE)

    if whole.rows:
        assert profile_bytes(found) == profile_bytes(profile(whole.features.to_batches(), kinds=kinds_of(BASELINE)))
    assert found.rows == whole.rows
    assert counts == whole.counts


@given(st.lists(st.lists(records(), max_size=8), max_size=4), st.integers(0, 4))
def test_a_window_in_parts_is_the_window_to_the_byte(files: list[list[bytes]], at: int) -> None:
    contents = [b"".join(made.rstrip(b"\n") + b"\n" for made in file) for file in files]
    found, counts = profile_capture(contents, BASELINE, WHOLE)
    columns, kinds = list(BASELINE.columns), kinds_of(BASELINE)
    parts = [profile_part(some, columns, kinds, WHOLE) for some in (contents[at:], contents[:at])]
    also, others = together(parts, BASELINE)

    assert profile_bytes(also) == profile_bytes(found)
    assert list(also.columns) == list(found.columns)
    assert (others, others.odd_rows, others.coverage) == (counts, counts.odd_rows, counts.coverage)


def test_pieces_that_hold_other_rows_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "_PIECE_BYTES", 20_000)
    monkeypatch.setattr(live, "_FIRST_ROWS", 100)
    monkeypatch.setattr(live, "_MORE_ROWS", 50)
    files = [b"\n".join(usual(300)), line("1,2") + b"\n", b"\n".join(usual(50))]
    found, counts = profile_capture(files, BASELINE)

    assert (found.rows, counts.odd_rows, counts.lines) == (350, 1, 351)
    assert found.columns["a"].counts.sum() == 350


def test_a_column_that_most_rows_lack_is_missing_and_one_more_is_extra() -> None:
    lacking, _ = profile_capture([b"\n".join(line(f"{n},2", event=f"e{n}") for n in range(9))], BASELINE)
    more, _ = profile_capture([b"\n".join(line(f"{n},2,x,9", event=f"e{n}") for n in range(9))], BASELINE)

    assert list(lacking.columns) == ["a", "b"]
    assert list(more.columns) == ["a", "b", "c", "column_4"]


def test_no_traffic_is_no_rows() -> None:
    found, counts = profile_capture([], BASELINE)

    assert (found.rows, counts.lines) == (0, 0)
