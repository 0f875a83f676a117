"""Data capture and ground truth: what an endpoint was asked, what it answered, and what came true (DC-02, MO-05).

The usual line (CSV in, CSV out) is read by columns; a file with any other line is read line by line. Both roads give
the same result. A line that cannot be read is counted, never fatal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson
from numpy.typing import NDArray

from linnet.monitoring.records import BAD, NULLS, labels_of, read_line
from linnet.monitoring.tables import numbers

Floats = NDArray[np.float64]
_BLOCK_BYTES = 16 * 1024 * 1024
_SIDE = pa.struct([("data", pa.string()), ("encoding", pa.string())])
_META = pa.struct([("eventId", pa.string()), ("inferenceId", pa.string()), ("inferenceTime", pa.string())])
_SCHEMA = pa.schema(
    [("captureData", pa.struct([("endpointInput", _SIDE), ("endpointOutput", _SIDE)])), ("eventMetadata", _META)]
)


@dataclass(frozen=True)
class Capture:
    """The rows of a window; `features` has one column of text a feature, the rest one element a row."""

    features: pa.Table
    predictions: Floats
    """The first number that the endpoint answered for the row; NaN where it answered none."""
    ids: tuple[str, ...]
    """The inference id that the caller gave, else the event id: what ground truth is joined by."""
    places: NDArray[np.int64]
    """The row's place in its request, from 0."""
    lines: int
    """All lines that were read."""
    bad_lines: int
    """Lines that are no capture record, or whose input cannot be read."""
    odd_rows: int
    """Rows left out because they have another number of fields than most."""
    outside: int
    """Lines outside the window that was asked for."""

    @property
    def rows(self) -> int:
        """How many rows were understood."""
        return len(self.ids)


@dataclass(frozen=True)
class _Part:
    """Rows with the same number of fields."""

    table: pa.Table
    predictions: Floats
    ids: list[str]
    places: NDArray[np.int64]


def read_capture(
    files: Iterable[bytes], columns: Sequence[str], *, window: tuple[datetime, datetime] | None = None
) -> Capture:
    """Return what capture files (JSON lines) hold, in their order.

    `columns` names the fields of a row in order. When most rows have fewer or more fields, the window looks so: the
    last columns are absent, or `column_<n>` are added, so that a comparison finds missing and extra columns; the rows
    that differ from most are counted in `odd_rows`. `window` (from, to; aware) keeps inference times from the first to
    before the second. Encodings CSV, JSON and BASE64 may differ between input and output and between lines.
    """
    parts: list[_Part] = []
    lines = bad = outside = 0
    for file in files:
        found, read, wrong, left = _by_column(file, window) or _by_line(file, columns, window)
        parts += found
        lines, bad, outside = lines + read, bad + wrong, outside + left
    widths: Counter[int] = Counter()
    for part in parts:
        widths[part.table.num_columns] += part.table.num_rows
    width = max(widths, key=lambda one: (widths[one], one == len(columns)), default=len(columns))
    names = [*columns, *(f"column_{n}" for n in range(len(columns) + 1, width + 1))][:width]
    kept = [part for part in parts if part.table.num_columns == width]
    schema = pa.schema([(name, pa.string()) for name in names])
    table = pa.concat_tables([part.table.rename_columns(names).cast(schema) for part in kept] or [schema.empty_table()])
    return Capture(
        table,
        np.concatenate([part.predictions for part in kept]) if kept else np.empty(0),
        tuple(one for part in kept for one in part.ids),
        np.concatenate([part.places for part in kept]) if kept else np.empty(0, dtype=np.int64),
        lines,
        bad,
        sum(widths.values()) - table.num_rows,
        outside,
    )


def hours(start: datetime, end: datetime) -> list[str]:
    """Return the folders `yyyy/mm/dd/hh` that a window from `start` to before `end` touches; both are aware."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    count = max(0, -((first - end) // timedelta(hours=1)))
    return [(first + timedelta(hours=n)).strftime("%Y/%m/%d/%H") for n in range(count)]


# --- by column ---------------------------------------------------------------------------------------------------


def _by_column(file: bytes, window: tuple[datetime, datetime] | None) -> tuple[list[_Part], int, int, int] | None:
    """Read a file in which every line is CSV in, CSV or nothing out; None when it is not one of those."""
    try:
        table = pajson.read_json(
            pa.BufferReader(file),
            # One thread: with several, an error in one block returned while others still read, and ended the process.
            read_options=pajson.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pajson.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore"),
        )
        lines = table.num_rows
        meta = table["eventMetadata"].combine_chunks()
        data = table["captureData"].combine_chunks()
        times = meta.field("inferenceTime")
        if window is not None:
            moments = times.cast(pa.timestamp("us", "UTC"))
            keep = pc.and_(pc.greater_equal(moments, window[0]), pc.less(moments, window[1]))
            if keep.null_count:
                return None
            meta, data = meta.filter(keep), data.filter(keep)
        return _columns(meta, data, lines)
    except (pa.ArrowException, ValueError, KeyError):
        return None


def _columns(meta: pa.StructArray, data: pa.StructArray, lines: int) -> tuple[list[_Part], int, int, int] | None:
    outside = lines - len(meta)
    if not len(meta):
        return [], lines, 0, outside
    asked, answered = data.field("endpointInput"), data.field("endpointOutput")
    ids = pc.coalesce(meta.field("inferenceId"), meta.field("eventId"))
    text = pc.utf8_rtrim(asked.field("data"), "\r\n")
    simple = pc.match_substring_regex(text, '^[^"]+$')
    plain = pc.and_(pc.equal(asked.field("encoding"), "CSV"), simple)
    output = pc.utf8_trim_whitespace(answered.field("data"))
    single = pc.invert(pc.match_substring_regex(output, '[\n"]'))
    numeric = pc.and_kleene(pc.equal(answered.field("encoding"), "CSV"), single)
    usual = pc.and_(plain, pc.or_kleene(output.is_null(), numeric))
    if ids.null_count or not pc.all(pc.fill_null(usual, False), min_count=0).as_py():  # noqa: FBT003 - a fill value
        return None
    body = pc.binary_join(pa.ListArray.from_arrays([0, len(text)], text), "\n")[0].as_buffer()
    names = [f"f{n}" for n in range(text[0].as_py().count(",") + 1)]
    table = pacsv.read_csv(
        pa.BufferReader(body),
        read_options=pacsv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=list(NULLS),
        ),
    )
    if table.num_rows != len(ids):  # requests of several rows: their answers must be dealt out
        return None
    first = pc.list_element(pc.split_pattern(pc.fill_null(output, ""), ",", max_splits=1), 0)
    part = _Part(table, _scores(first), ids.to_pylist(), np.zeros(len(ids), dtype=np.int64))
    return [part], lines, 0, outside


def _scores(outputs: pa.Array) -> Floats:
    """Return answers as numbers; what is none is NaN."""
    missing = pc.is_in(outputs, pa.array(NULLS))
    return numbers(pc.if_else(missing, pa.scalar(None, pa.string()), outputs)).values


# --- by line -----------------------------------------------------------------------------------------------------


@dataclass
class _Rows:
    rows: list[list[str | None]]
    outputs: list[str | None]
    ids: list[str]
    places: list[int]


def _by_line(
    file: bytes, columns: Sequence[str], window: tuple[datetime, datetime] | None
) -> tuple[list[_Part], int, int, int]:
    by_width: dict[int, _Rows] = {}
    lines = bad = outside = 0
    for line in file.split(b"\n"):
        if not line.strip():
            continue
        lines += 1
        try:
            asked = read_line(line, columns, window)
        except BAD:
            bad += 1
            continue
        if asked is None:
            outside += 1
            continue
        for place, (row, output) in enumerate(zip(asked.rows, asked.outputs, strict=True)):
            group = by_width.setdefault(len(row), _Rows([], [], [], []))
            group.rows.append(row)
            group.outputs.append(output)
            group.ids.append(asked.identity)
            group.places.append(place)
    return [_part(width, group) for width, group in by_width.items()], lines, bad, outside


def _part(width: int, group: _Rows) -> _Part:
    columns = [pa.array([row[n] for row in group.rows], pa.string()) for n in range(width)]
    table = pa.table(columns, names=[f"f{n}" for n in range(width)])
    outputs = pa.array([value if value is not None else "" for value in group.outputs], pa.string())
    return _Part(table, _scores(outputs), group.ids, np.array(group.places, dtype=np.int64))


# --- ground truth ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Joined:
    """The predictions whose truth is known, and how many rows have none: those are counted, not scored (MO-05)."""

    labels: Floats
    scores: Floats
    unlabelled: int
    unpredicted: int
    """Rows with a label but without a usable answer of the endpoint."""
    bad_lines: int
    """Ground-truth lines that could not be read."""

    @property
    def join_rate(self) -> float | None:
        """The share of captured rows that have a label; None without rows."""
        rows = len(self.labels) + self.unlabelled + self.unpredicted
        return (rows - self.unlabelled) / rows if rows else None


def join(capture: Capture, truth_files: Iterable[bytes]) -> Joined:
    """Return captured predictions with their labels, joined by inference id where there is one, else by event id.

    A label that came twice counts once, the last one. A request of several rows needs as many labels, one a line.
    """
    found, bad = _truth(capture, truth_files)
    labels = numbers(pa.array(found, pa.string())).values
    labelled = np.isfinite(labels)
    usable = labelled & np.isfinite(capture.predictions)
    return Joined(
        labels[usable],
        capture.predictions[usable],
        int((~labelled).sum()),
        int((labelled & ~usable).sum()),
        bad,
    )


def labelled(capture: Capture, truth_files: Iterable[bytes], *, label: str, entity: str) -> pa.RecordBatch:
    """Return the captured rows whose truth is known, as a table to train on: features, `label` and `entity`, all text.

    The entity is the inference id, unless it is a feature: who wants a row on the right side of the holdout sends the
    entity's id along. Rows join their labels as in `join`.
    """
    found, _ = _truth(capture, truth_files)
    columns = {name: capture.features.column(name).combine_chunks() for name in capture.features.column_names}
    columns[label] = pa.array(found, pa.string())
    columns.setdefault(entity, pa.array(capture.ids, pa.string()))
    table = pa.RecordBatch.from_pydict(columns)
    return table.filter(table.column(label).is_valid())


def _truth(capture: Capture, truth_files: Iterable[bytes]) -> tuple[list[str | None], int]:
    """Return each captured row's label as text, None where there is none, and how many lines could not be read."""
    truth: dict[str, list[str | None]] = {}
    bad = 0
    for file in truth_files:
        for found in labels_of(file):
            if found is None:
                bad += 1
            else:
                truth[found[0]] = found[1]
    rows_of: dict[str, int] = {}
    placed = list(zip(capture.ids, capture.places.tolist(), strict=True))
    for name, place in placed:
        rows_of[name] = max(rows_of.get(name, 0), place + 1)
    return [truth[name][place] if len(truth.get(name, ())) == rows_of[name] else None for name, place in placed], bad
