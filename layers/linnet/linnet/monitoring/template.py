"""Lines of JSON that differ only in a few strings, read by columns at a time and proven to the byte.

Between two lines of one shape only some strings differ: the values. All else is the template. A line is cut at its commas,
in one pass that also reads numbers; it is read so only if every cutting is the template's text, or a value amid that text
in which nothing ends or escapes a JSON string. Every other line is left to be read one by one. So nothing is assumed about
who wrote the lines.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from linnet.monitoring.records import LONGEST_FIELD, LONGEST_LINE, NULLS

_PIECE_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
"""What is cut at a time: so much stays in a core's cache, and its memory is used again."""
_TEMPLATES, _TRIES = 4, 16
"""Templates a piece, and lines that are tried for one."""
_MOST_CUTTINGS, _LONGEST = 1_000, 64 * 1024
"""Lines with more strings than that, or twice as many fields, or more bytes are read alone."""
_CONTROL, _LINE_FEED, _QUOTE, _BACKSLASH = 0x20, 0x0A, 0x22, 0x5C
_END = "\\n"
"""The line feed at the end of a payload, as JSON escapes it."""
_VALUE = "\0"
"""Stands for a part of a value in a template's text: a line of JSON cannot hold it."""


@dataclass(frozen=True)
class Field:
    """What stands between two commas of a line: text, or a value (or a part of one, between its commas) amid text."""

    name: str | None
    """The value's name; None: `before` is all there is."""
    before: str
    after: str = ""


@dataclass(frozen=True)
class Template:
    """What lines have in common: their fields, as their commas cut them."""

    fields: tuple[Field, ...]

    def parts(self, name: str) -> int:
        """Return how many parts a value has; 0: lines of this template have no such value."""
        return sum(field.name == name for field in self.fields)


@dataclass(frozen=True)
class Values:
    """Lines that were read right, and the parts of their values by name: without quote, backslash and control character."""

    columns: Mapping[str, Sequence[pa.Array]]
    lines: pa.Array

    def filter(self, kept: pa.Array) -> Values:
        """Return those of some lines alone."""
        columns = {name: [part.filter(kept) for part in parts] for name, parts in self.columns.items()}
        return Values(columns, self.lines.filter(kept))


def template_of(
    line: bytes,
    wanted: Mapping[str, tuple[str, ...]],
    *,
    fixed: Mapping[tuple[str, ...], str],
    needed: Collection[str],
    payloads: Collection[str],
) -> Template | None:
    """Return the template of lines like this one; None where they cannot be read by columns.

    `wanted` names the paths of the values. A path that is absent or null has no value; those `needed` must have one. The
    strings at the paths of `fixed` must be absent or say what is said there. The `payloads` may have several parts; a line
    feed at their end belongs to the template.
    """
    try:
        text = line.decode().rstrip("\n")
        cut = text.split('"', _MOST_CUTTINGS)
        if len(cut) > _MOST_CUTTINGS or len(line) > _LONGEST or text.count(",") > 2 * _MOST_CUTTINGS:
            return None
        # Each string is replaced by its place: where a path leads says which of the cuttings it is.
        document = json.loads('"'.join(str(n) if n % 2 else part for n, part in enumerate(cut)))
        places = {name: _place(document, cut, path) for name, path in wanted.items()}
        for path, said in fixed.items():
            place = _place(document, cut, path, none=False)
            if place is not None and cut[place] != said:
                return None
    except (ValueError, TypeError, RecursionError):
        return None
    there = {name: place for name, place in places.items() if place is not None}
    return _filled(cut, there, payloads) if set(needed) <= there.keys() else None


def _filled(cut: list[str], places: Mapping[str, int], payloads: Collection[str]) -> Template | None:
    """Return the template of a line that was cut at its quotes, with values at these places."""
    named: dict[int, tuple[str, int]] = {}
    for name, place in places.items():
        value = cut[place].removesuffix(_END) if name in payloads else cut[place]
        commas = value.count(",")
        if "\\" in value or (commas and name not in payloads):
            return None
        named[place] = name, commas + 1
        cut[place] = ",".join([_VALUE] * (commas + 1)) + cut[place][len(value) :]
    if any("\\" in part.replace(_VALUE + _END, "") for part in cut):  # a key that is not spelled as it is meant
        return None
    names = iter([name for _, (name, parts) in sorted(named.items()) for _ in range(parts)])
    parts = (part.partition(_VALUE) for part in '"'.join(cut).split(","))
    fields = tuple(Field(next(names) if value else None, before, after) for before, value, after in parts)
    # What spells a missing value cannot be told from another spelling of one.
    return Template(fields) if all(field.name or field.before not in NULLS for field in fields) else None


def _place(document: Any, cut: list[str], path: tuple[str, ...], *, none: bool = True) -> int | None:
    for step in path:
        if document is None:
            return None
        if not isinstance(document, dict):
            raise TypeError("no object")
        keys = [key for key in document if cut[int(key)] == step]
        if not keys:
            return None
        document = document[keys[-1]]  # of a key that is there twice, JSON's readers take the last
    if document is None and none:
        return None
    if not isinstance(document, str):
        raise TypeError("no text")
    return int(document)


def read(
    piece: bytes, template: Callable[[bytes], Template | None], types: Mapping[str, Sequence[pa.DataType]]
) -> tuple[list[Values], list[bytes]]:
    """Return the values of the lines of a piece that could be read by columns, and the other lines, blank ones left out.

    `template` says how to read lines like the one it is given. Values come as text; of those that `types` names, the parts
    between the first and the last have its types where all lines of a template allow it.
    """
    lines, other = _lines(piece)
    found: list[Values] = []
    for _ in range(_TEMPLATES):
        step = max(1, len(lines) // _TRIES)
        tries = (template(lines[n].as_py()) for n in range(0, len(lines), step))
        chosen = next((one for one in tries if one is not None), None)
        if chosen is None:
            break
        try:
            values, lines = _read(chosen, lines, types)
        except pa.ArrowInvalid:
            break
        found += [values] if len(values.lines) else []
    return found, [line[:-1] for part in (*other, lines) for line in part.to_pylist() if line.strip()]


def pieces(files: Iterable[bytes | Path]) -> Iterator[bytes]:
    """Yield the files in pieces of whole lines, each with its line feed; small files come together."""
    held: list[bytes] = []
    for file in files:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
            del file  # or it would stay until the next one is there
            for piece in _cut(opened):
                if held and sum(map(len, held)) + len(piece) > _PIECE_BYTES:
                    yield b"".join(held)
                    held.clear()
                held.append(piece if piece.endswith(b"\n") else piece + b"\n")
    if held:
        yield b"".join(held)


def _cut(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in pieces cut between lines; of a line that is too long only so much that it is seen to be."""
    while piece := file.read(_PIECE_BYTES):
        end = piece.rfind(b"\n") + 1
        if len(piece) < _PIECE_BYTES or end == len(piece):
            yield piece
        elif end:
            file.seek(end - len(piece), io.SEEK_CUR)
            yield piece[:end]
        else:
            piece += file.readline(LONGEST_LINE)
            rest = piece
            while not rest.endswith(b"\n") and (rest := file.readline(_PIECE_BYTES)):
                pass
            yield piece


def _lines(piece: bytes) -> tuple[pa.Array, list[pa.Array]]:
    """Return the lines of a piece, each with its line feed: those of UTF-8 without control characters, and the others.

    Lines in which a field may be too long are with the others.
    """
    text = np.frombuffer(piece, np.uint8)
    control = np.flatnonzero(text < _CONTROL)
    feeds = text[control] == _LINE_FEED
    if not feeds.all() and b"\r\n" in piece:
        return _lines(piece.replace(b"\r\n", b"\n"))
    ends = control[feeds] + 1
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    lines = pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(piece)])
    lengths = np.diff(offsets)
    usual = (lengths > 1) & (lengths < LONGEST_FIELD)
    usual[np.searchsorted(ends, control[~feeds], side="right")] = False
    usual[unfit(lines, pa.string())] = False
    if usual.all():
        return lines, []
    return lines.filter(pa.array(usual)), [lines.filter(pa.array(~usual))]


def _read(template: Template, lines: pa.Array, types: Mapping[str, Sequence[pa.DataType]]) -> tuple[Values, pa.Array]:
    """Return the values of the lines that are this template to the byte, and the other lines."""
    try:
        columns, left = _cuttings(template, lines, types)
    except pa.ArrowInvalid:  # a text where a number should be
        columns, left = _cuttings(template, lines, {})
    rest = []
    if left:
        usual = np.ones(len(lines), dtype=bool)
        usual[left] = False
        rest.append(lines.filter(pa.array(~usual)))
        lines = lines.filter(pa.array(usual))
    pairs = list(zip(template.fields, columns, strict=True))
    good = _all(fine for field, column in pairs for fine in _fits(field, column))
    if good is not None:
        good = whole(good)
        rest.append(lines.filter(pc.invert(good)))
        lines, pairs = lines.filter(good), [(field, column.filter(good)) for field, column in pairs]
    parts: dict[str, list[pa.Array]] = {}
    for field, column in pairs:
        if field.name is not None:
            parts.setdefault(field.name, []).append(_between(field, whole(column)))
    values = Values(parts, lines)
    good = _all(map(_unescaped, itertools.chain.from_iterable(parts.values())))
    if good is not None:
        rest.append(lines.filter(pc.invert(good)))
        values = values.filter(good)
    return values, pa.concat_arrays(rest) if rest else lines[:0]


def _cuttings(
    template: Template, lines: pa.Array, types: Mapping[str, Sequence[pa.DataType]]
) -> tuple[list[pa.ChunkedArray], list[int]]:
    """Return what is between the commas of the lines with as many commas as the template, and which lines have not.

    Raises:
        pa.ArrowInvalid: a value has not its type.
    """
    rest = {name: iter(some) for name, some in types.items()}
    kinds = []
    for field in template.fields:
        kind = next(rest.get(field.name or "", iter(())), pa.string())
        kinds.append(kind if not field.before and not field.after else pa.string())
    left: list[int] = []

    def leave(row: Any) -> str:
        left.append(row.number - 1)
        return "skip"

    columns = cells(body_of(lines)[0], kinds, leave)
    if len(columns[0]) + len(left) != len(lines):
        raise pa.ArrowInvalid("not one row a line")
    return columns, left


def cells(
    body: pa.Buffer, types: Sequence[pa.DataType], leave: Callable[[Any], str] | None = None
) -> list[pa.ChunkedArray]:
    """Return the columns of rows of CSV without quotes, in UTF-8, each row shorter than `LONGEST_FIELD`.

    Missing values (`NULLS`) are null.
    `leave` says what becomes of rows with another number of fields.

    Raises:
        pa.ArrowInvalid: a value has not its type.
    """
    names = [str(n) for n in range(len(types))]
    table = pacsv.read_csv(
        pa.BufferReader(body),
        read_options=pacsv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES, use_threads=False),
        parse_options=pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False, invalid_row_handler=leave),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            strings_can_be_null=True,
            null_values=list(NULLS),
            check_utf8=False,
        ),
    )
    return list(table.columns)


def _all(marks: Iterable[pa.Array | pa.ChunkedArray | None]) -> pa.Array | pa.ChunkedArray | None:
    """Return which of some lines are marked in all, null as not marked; None: every line."""
    good = None
    for mark in marks:
        if mark is not None and not pc.all(mark, skip_nulls=False, min_count=0).as_py():
            known = pc.fill_null(mark, fill_value=False)
            good = known if good is None else pc.and_(good, known)
    return good


def _fits(field: Field, column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """Say where a column has the template's text around its values."""
    if field.name is None:
        yield pc.equal(column, field.before)
        return
    around = len(field.before.encode()) + len(field.after.encode())
    if around:
        yield pc.greater_equal(pc.binary_length(column), around)
        yield pc.starts_with(column, field.before)
        yield pc.ends_with(column, field.after)


def _between(field: Field, column: pa.Array) -> pa.Array:
    """Return the values in a column without the template's text around them."""
    first, last = len(field.before.encode()), len(field.after.encode())
    if not first and not last:
        return column
    # Without an end Arrow's kernel fails ("Negative buffer resize").
    return pc.binary_slice(column.cast(pa.binary()), first, -last or LONGEST_FIELD).cast(pa.string())


def _unescaped(column: pa.Array) -> pa.Array | None:
    """Say which values have no quote and no backslash; None: all."""
    texts = column.dictionary if pa.types.is_dictionary(column.type) else column
    if not pa.types.is_string(texts.type):
        return None
    held = np.frombuffer(body_of(texts)[0], np.uint8)
    if not ((held == _QUOTE) | (held == _BACKSLASH)).any():
        return None
    wrong = pc.match_substring_regex(column.cast(pa.string()), r'["\\]')
    return pc.invert(pc.fill_null(wrong, fill_value=False))


def whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def body_of(strings: pa.Array) -> tuple[pa.Buffer, NDArray[np.int32]]:
    """Return the bytes of all strings of an array, one behind the other, and the length of each."""
    if not len(strings):
        return pa.py_buffer(b""), np.zeros(0, dtype=np.int32)
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return strings.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])), np.diff(offsets)


def unfit(values: pa.Array, kind: pa.DataType, first: int = 0) -> list[int]:
    """Return which values cannot be cast, by number from `first`; a few cost little."""
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        half = len(values) // 2
        return [*unfit(values[:half], kind, first), *unfit(values[half:], kind, first + half)] if half else [first]
    return []
