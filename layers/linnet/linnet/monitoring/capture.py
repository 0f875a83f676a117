"""Data capture: what an endpoint was asked and what it answered, read in pieces of bounded size (DC-02, MO-05).

Lines of one shape, CSV in and CSV or nothing out, are read by columns (`template`); every other line is read alone. Both
roads give the same rows. A line that cannot be read is counted, never fatal.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnet.monitoring import template
from linnet.monitoring.records import BAD, NULLS, read_line
from linnet.monitoring.tables import WORKERS, numbers

Floats = NDArray[np.float64]
SLICES = 60
"""So many equal slices of a window are looked at for requests: the share that has some is the window's coverage."""
MOST_COLUMNS = 1_000
"""Columns beyond are counted, not read."""
_OTHER_WIDTHS = 8
"""Rows of so many widths besides the expected one are read; rows of any further width are only counted."""
_LINES_BYTES = 1024 * 1024
"""Text that is read line by line before its rows become columns: Python's objects take many times its size."""
_AHEAD = 2
_TIME = pa.timestamp("us", "UTC")
_FIRST_TIME = pa.scalar(datetime(1, 1, 2, tzinfo=UTC), _TIME).value
_TYPES: Mapping[str, pa.DataType] = {"number": pa.float64(), "category": pa.dictionary(pa.int32(), pa.string())}
_USUAL_TIME, _USUAL_TIME_LENGTH = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?(Z|[+-]\d\d:\d\d)$", 20
_INPUT, _OUTPUT = ("captureData", "endpointInput"), ("captureData", "endpointOutput")
_WANTED: Mapping[str, tuple[str, ...]] = {
    "data": (*_INPUT, "data"),
    "answer": (*_OUTPUT, "data"),
    "event": ("eventMetadata", "eventId"),
    "inference": ("eventMetadata", "inferenceId"),
    "time": ("eventMetadata", "inferenceTime"),
}
_FIXED: Mapping[tuple[str, ...], str] = {(*_INPUT, "encoding"): "CSV", (*_OUTPUT, "encoding"): "CSV"}
Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Rows:
    """Some rows of one width, one element each."""

    features: pa.RecordBatch
    """A column a feature: numbers as float64 where each of a piece spells one, else text; see `read_batches`."""
    answers: pa.Array
    """What the endpoint answered for the row, the first field of it, as text; null where it answered nothing."""
    ids: pa.Array
    """The inference id that the caller gave, else the event id: what ground truth is joined by."""
    places: NDArray[np.int64]
    """The row's place in its request, from 0."""
    sizes: NDArray[np.int64]
    """How many rows its request has."""
    at: pa.Array
    """When the request came, UTC."""
    width: int
    """How many fields the row has, those beyond `MOST_COLUMNS` included."""

    @functools.cached_property
    def predictions(self) -> Floats:
        """The answers as numbers; NaN where there is none."""
        missing = pc.is_in(self.answers, pa.array(NULLS))
        return numbers(pc.if_else(missing, pa.scalar(None, pa.string()), self.answers)).values


@dataclass
class Counts:
    """What became of every line and row that was read: nothing is lost uncounted."""

    columns: int = 0
    """How many fields a row should have."""
    lines: int = 0
    """All lines but blank ones: those with rows, `bad` and `outside`."""
    bad: int = 0
    """Lines that are no capture record, or whose input cannot be read."""
    outside: int = 0
    """Lines outside the window that was asked for."""
    widths: Counter[int] = field(default_factory=Counter)
    """How many rows have so many fields; those of rare widths that were not read count as 0 fields."""
    slices: set[int] = field(default_factory=set)
    """The slices of the window in which a request came, from 0 to before `SLICES`."""

    @property
    def width(self) -> int:
        """How many fields most rows have; the expected number where as many have that."""
        there = [width for width in self.widths if width]
        return max(there, key=lambda one: (self.widths[one], one == self.columns, one), default=self.columns)

    @property
    def rows(self) -> int:
        """How many rows have the width that most have: those are looked at."""
        return self.widths[self.width]

    @property
    def odd_rows(self) -> int:
        """Rows left out because they have another number of fields than most."""
        return self.widths.total() - self.rows

    @property
    def coverage(self) -> float:
        """The share of the window's slices in which a request came."""
        return len(self.slices) / SLICES

    def add(self, other: Counts) -> None:
        """Count another part of the same window too."""
        self.lines, self.bad, self.outside = (
            self.lines + other.lines,
            self.bad + other.bad,
            self.outside + other.outside,
        )
        self.widths.update(other.widths)
        self.slices |= other.slices


@dataclass(frozen=True)
class Capture(Rows):
    """The rows of a window that fits into memory; `features` is a table of text."""

    counts: Counts

    @property
    def rows(self) -> int:
        """How many rows were understood."""
        return len(self.ids)


def read_batches(
    files: Iterable[bytes | IO[bytes]],
    columns: Sequence[str],
    kinds: Mapping[str, Literal["number", "category"]],
    *,
    window: Window | None = None,
    counts: Counts,
) -> Iterator[Rows]:
    """Yield the rows of capture files (JSON lines), a piece of some megabytes after the other; fill `counts` on the way.

    `columns` names the fields of a row in order; rows of another width lack the last of them, or have `column_<n>` more.
    Whoever compares takes the rows of the width that most have, `counts.width`, when all are read; so a window in which
    a column is missing is seen as one. `window` (from, to; aware) keeps inference times from the first to before the
    second. Encodings CSV, JSON and BASE64 may differ between input and output and between lines.

    Missing fields (`NULLS`) are null. A column of kind `number` is float64 in a piece in which all its fields spell
    numbers, else text; one of kind `category` is a dictionary of text; any other is text. The order is that of the
    files; in a piece, rows of one shape come together.
    """
    counts.columns = len(columns)
    types = [_TYPES.get(kinds.get(name, ""), pa.string()) for name in _names(columns, MOST_COLUMNS)]
    read = functools.partial(_read, columns=columns, kinds=kinds, types=types, window=window)
    ahead: deque[Future[tuple[list[Rows], Counts]]] = deque()
    for piece in template.pieces(files):
        ahead.append(WORKERS.submit(read, piece))
        del piece
        if len(ahead) > _AHEAD:
            yield from _known(*ahead.popleft().result(), counts)
    while ahead:
        yield from _known(*ahead.popleft().result(), counts)


def read_capture(
    files: Iterable[bytes | IO[bytes]], columns: Sequence[str], *, window: Window | None = None
) -> Capture:
    """Return all that capture files hold, as text; the rows that differ from most in their width are left out."""
    counts = Counts()
    parts = list(read_batches(files, columns, {}, window=window, counts=counts))
    parts = [part for part in parts if part.width == counts.width]
    names = _names(columns, counts.width)
    table = pa.Table.from_batches([part.features for part in parts], pa.schema([(name, pa.string()) for name in names]))
    return Capture(
        table,
        pa.concat_arrays([part.answers for part in parts] or [pa.array([], pa.string())]),
        pa.concat_arrays([part.ids for part in parts] or [pa.array([], pa.string())]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.places for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.sizes for part in parts)]),
        pa.concat_arrays([part.at for part in parts] or [pa.array([], _TIME)]),
        counts.width,
        counts,
    )


def hours(start: datetime, end: datetime) -> list[str]:
    """Return the folders `yyyy/mm/dd/hh` that a window from `start` to before `end` touches; both are aware."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    count = max(0, -((first - end) // timedelta(hours=1)))
    return [(first + timedelta(hours=n)).strftime("%Y/%m/%d/%H") for n in range(count)]


def _known(found: list[Rows], new: Counts, counts: Counts) -> Iterator[Rows]:
    """Yield the rows of the widths that are read, and count all."""
    for width in list(new.widths):
        if len(counts.widths.keys() - {0, counts.columns}) < _OTHER_WIDTHS or width == counts.columns:
            counts.widths[width] += 0
        elif width not in counts.widths:
            new.widths[0] += new.widths.pop(width)
    counts.add(new)
    yield from (rows for rows in found if rows.width in counts.widths)


def _names(columns: Sequence[str], width: int) -> list[str]:
    most = min(width, MOST_COLUMNS)
    return [*columns, *(f"column_{n}" for n in range(len(columns) + 1, most + 1))][:most]


# --- pieces ---------------------------------------------------------------------------------------------------


def _read(
    piece: bytes,
    *,
    columns: Sequence[str],
    kinds: Mapping[str, str],
    types: Sequence[pa.DataType],
    window: Window | None,
) -> tuple[list[Rows], Counts]:
    counts = Counts(len(columns))
    found: list[Rows] = []
    usual, other = template.read(piece, _template, {"data": types})
    for values in usual:
        rows, odd = _by_column(values, columns, window, counts)
        found += rows
        other += odd
    return found + _by_line(other, columns, kinds, window, counts), counts


# --- by column ---------------------------------------------------------------------------------------------------


def _template(line: bytes) -> template.Template | None:
    made = template.template_of(line, _WANTED, fixed=_FIXED, needed=("data", "time"), payloads=("data", "answer"))
    fits = made and (made.parts("event") or made.parts("inference")) and made.parts("data") <= MOST_COLUMNS
    return made if fits else None


def _by_column(
    values: template.Values, columns: Sequence[str], window: Window | None, counts: Counts
) -> tuple[list[Rows], list[bytes]]:
    """Return the rows of requests of one CSV row each, and the lines that must be read alone."""
    there = values.columns
    (ids,) = there.get("inference") or there["event"]
    if "inference" in there and "event" in there:
        ids = pc.if_else(pc.equal(ids, ""), there["event"][0], ids)
    at, usual = _times(there["time"][0])
    good = pc.and_(pc.not_equal(ids, ""), usual)
    values = template.Values({**there, "id": [ids], "at": [at]}, values.lines)
    odd: list[bytes] = []
    if not pc.all(good, min_count=0).as_py():
        odd = values.lines.filter(pc.invert(good)).to_pylist()
        values = values.filter(good)
    at = values.columns["at"][0]
    if len(at) and pc.min(at).value < _FIRST_TIME:
        return [], odd + values.lines.to_pylist()
    if window is not None:
        inside = pc.and_(pc.greater_equal(at, pa.scalar(window[0], _TIME)), pc.less(at, pa.scalar(window[1], _TIME)))
        left = len(at) - pc.sum(inside, min_count=0).as_py()
        counts.lines, counts.outside = counts.lines + left, counts.outside + left
        values = values.filter(inside) if left else values
    count = len(values.lines)
    if not count:
        return [], odd
    rows = _rows(values, columns)
    counts.lines += count
    counts.widths[rows.width] += count
    _see(rows.at, window, counts)
    return [rows], odd


def _times(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return times, and which of them are spelled so that Arrow and Python read the same."""
    usual = pc.equal(pc.binary_length(texts), _USUAL_TIME_LENGTH)
    if not pc.all(usual, min_count=0).as_py():
        usual = pc.match_substring_regex(texts, _USUAL_TIME)
        texts = pc.if_else(usual, texts, pa.scalar(None, pa.string()))
    try:
        return texts.cast(_TIME), usual
    except pa.ArrowInvalid:
        mask = np.zeros(len(texts), dtype=bool)
        mask[template.unfit(texts, _TIME)] = True
        texts = pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), texts)
        return texts.cast(_TIME), pc.and_(usual, pa.array(~mask))


def _rows(values: template.Values, columns: Sequence[str]) -> Rows:
    features = values.columns["data"]
    width, count = len(features), len(values.lines)
    answers = pa.nulls(count, pa.string())
    if "answer" in values.columns:
        answers = pc.utf8_trim_whitespace(template.first_field(values.columns["answer"][0]))
        answers = pc.if_else(pc.equal(answers, ""), pa.scalar(None, pa.string()), answers)
    ones = np.ones(count, dtype=np.int64)
    batch = pa.RecordBatch.from_arrays(features, _names(columns, width))
    return Rows(batch, answers, values.columns["id"][0], ones - 1, ones, values.columns["at"][0], width)


def _see(at: pa.Array, window: Window | None, counts: Counts) -> None:
    if window is not None and len(at):
        start, end = (pa.scalar(edge, _TIME).value for edge in window)
        after = at.cast(pa.int64()).to_numpy(zero_copy_only=False) - start
        counts.slices |= set(np.flatnonzero(np.bincount(after * SLICES // (end - start))).tolist())


# --- by line -----------------------------------------------------------------------------------------------------


@dataclass
class _Group:
    rows: list[list[str | None]] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    at: list[datetime] = field(default_factory=list)


def _by_line(
    lines: Sequence[bytes], columns: Sequence[str], kinds: Mapping[str, str], window: Window | None, counts: Counts
) -> list[Rows]:
    found: list[Rows] = []
    groups: dict[int, _Group] = {}
    size = 0
    for line in lines:
        counts.lines += 1
        try:
            asked = read_line(line, columns, window)
        except BAD:
            counts.bad += 1
            continue
        if asked is None:
            counts.outside += 1
            continue
        for place, (row, answer) in enumerate(zip(asked.rows, asked.outputs, strict=True)):
            group = groups.setdefault(len(row), _Group())
            group.rows.append(row[:MOST_COLUMNS])
            group.answers.append(answer)
            group.ids.append(asked.identity)
            group.places.append(place)
            group.sizes.append(len(asked.rows))
            group.at.append(asked.at)
        size += len(line)
        if size > _LINES_BYTES:
            found += _grouped(groups, columns, kinds, window, counts)
            groups, size = {}, 0
    return found + _grouped(groups, columns, kinds, window, counts)


def _grouped(
    groups: Mapping[int, _Group],
    columns: Sequence[str],
    kinds: Mapping[str, str],
    window: Window | None,
    counts: Counts,
) -> list[Rows]:
    found = []
    for width, group in groups.items():
        names = _names(columns, width)
        features = [pa.array([row[n] for row in group.rows], pa.string()) for n in range(len(names))]
        typed = [
            one.dictionary_encode() if kinds.get(name) == "category" else one
            for one, name in zip(features, names, strict=True)
        ]
        rows = Rows(
            pa.RecordBatch.from_arrays(typed, names),
            pa.array(group.answers, pa.string()),
            pa.array(group.ids, pa.string()),
            np.array(group.places, dtype=np.int64),
            np.array(group.sizes, dtype=np.int64),
            pa.array(group.at, _TIME),
            width,
        )
        counts.widths[width] += len(group.rows)
        _see(rows.at, window, counts)
        found.append(rows)
    return found
