"""Lines of JSON that differ only in a few strings, read by columns at a time and proven to the byte.

Between two lines of one shape only some strings differ: the values. All else is the template. A line is cut at its quotes;
it is read so only if all that lies between its values is the template's text, and in no value a JSON string ends or escapes.
Every other line is left to be read one by one. So nothing is assumed about who wrote the lines.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from linnet.monitoring.records import LONGEST_FIELD, LONGEST_LINE, NULLS

_PIECE_BYTES = 4 * 1024 * 1024
"""What is read and cut at a time: so much stays near a core, and its memory is used again."""
_BLOCK_BYTES = 2 * 1024 * 1024
"""What Arrow parses at a time: mostly all rows of a piece, so that their columns need not be joined."""
_TEMPLATES, _TRIES = 4, 16
"""Templates a piece, and lines that are tried for one."""
_MOST_CUTTINGS, _LONGEST = 1_000, 64 * 1024
"""Lines with more strings than that, or twice as many fields, or more bytes are read alone."""
_CONTROL, _LINE_FEED, _QUOTE, _COMMA, _BACKSLASH = 0x20, 0x0A, 0x22, 0x2C, 0x5C
_END = "\\n"
"""The line feed at the end of a payload, as JSON escapes it."""
_MARK = "\ufeff"
"""Arrow drops it where a text begins with it."""


@dataclass(frozen=True)
class Value:
    """A string of a line that may be another in the next."""

    name: str
    place: int
    """It lies between so many quotes and the next."""
    after: int
    """How many bytes before that next quote belong to the template."""
    parts: int
    """How many fields of CSV it has."""


@dataclass(frozen=True)
class Template:
    """What lines have in common: how many quotes, and the texts before, between and behind their values."""

    quotes: int
    values: tuple[Value, ...]
    texts: tuple[bytes, ...]

    def parts(self, name: str) -> int:
        """Return how many fields a value has; 0: lines of this template have no such value."""
        return sum(value.parts for value in self.values if value.name == name)


@dataclass(frozen=True)
class Values:
    """Lines that were read right, and their values by name, without quote, backslash and control character.

    A value that was read as CSV comes as its fields, any other as one text.
    """

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
    strings at the paths of `fixed` must be absent or say what is said there. A line feed at the end of `payloads` belongs to
    the template.
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
    values, texts, last = [], [], 0
    for name, place in sorted(places.items(), key=lambda one: one[1]):
        value = cut[place].removesuffix(_END) if name in payloads else cut[place]
        if "\\" in value:
            return None
        texts.append('"'.join([*cut[last:place], ""]))
        values.append(Value(name, place, len(cut[place]) - len(value), value.count(",") + 1))
        cut[place], last = cut[place][len(value) :], place
    texts.append('"'.join(cut[last:]) + "\n")
    if any("\\" in part.removeprefix(_END) for part in cut):  # a key that is not spelled as it is meant
        return None
    return Template(len(cut) - 1, tuple(values), tuple(text.encode() for text in texts))


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

    `template` says how to read lines like the one it is given. Values come as text; those that `types` names are read as
    CSV, and their fields have its types where all lines of a template allow it.
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


def pieces(files: Iterable[bytes | IO[bytes]]) -> Iterator[bytes]:
    """Yield the files in pieces of whole lines, each with its line feed; small files come together. Closes the open ones."""
    held: list[bytes] = []
    for file in files:
        # Not `with file`: botocore gives the bare connection then, whose length and checksum nobody would check.
        with contextlib.closing(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
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
    begun = b""
    while piece := file.read(_PIECE_BYTES):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join((begun, memoryview(piece)[:end]))
            begun = piece[end:]
        elif len(begun) <= LONGEST_LINE:
            begun += piece
    if begun:
        yield begun


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
    columns, good = _strings(template, lines)
    rest = [] if good.all() else [lines.filter(pa.array(~good))]
    lines = lines.filter(pa.array(good)) if rest else lines
    values = Values({value.name: [one] for value, one in zip(template.values, columns, strict=True)}, lines)
    usual = _all([*map(_unescaped, columns), *(_tabular(values.columns[name][0]) for name in types)])
    if usual is not None:
        rest.append(values.lines.filter(pc.invert(usual)))
        values = values.filter(usual)
    for name, kinds in types.items():
        fields, left = _fields(values.columns[name][0], kinds[: template.parts(name)])
        if left:
            mask = np.ones(len(values.lines), dtype=bool)
            mask[left] = False
            rest.append(values.lines.filter(pa.array(~mask)))
            values = values.filter(pa.array(mask))
        values = Values({**values.columns, name: fields}, values.lines)
    return values, pa.concat_arrays(rest) if rest else lines[:0]


def _strings(template: Template, lines: pa.Array) -> tuple[list[pa.Array], NDArray[np.bool_]]:
    """Return the values of the lines that have the template's texts around them, and which lines have."""
    body, lengths = body_of(lines)
    ends = np.cumsum(lengths)
    quotes = np.flatnonzero(np.frombuffer(body, np.uint8) == _QUOTE)
    good, cut = _each(quotes, ends - lengths, ends, template.quotes)
    # Line by line: text, value, text, ... text, and what lies between this line and the next that is left.
    edges = np.empty((len(cut), 2 * len(template.values) + 2), np.int32)
    edges[:, 0], edges[:, -1] = (ends - lengths)[good], ends[good]
    for n, value in enumerate(template.values):
        edges[:, 2 * n + 1], edges[:, 2 * n + 2] = cut[:, value.place - 1] + 1, cut[:, value.place] - value.after
    widths = np.diff(edges, axis=1)
    fits = (widths[:, ::2] == [len(text) for text in template.texts]).all(axis=1) & (widths >= 0).all(axis=1)
    good[good], edges = fits, edges[fits]
    text = b"".join(template.texts)
    found = body_of(_parts(body, edges, slice(0, None, 2)))[0]
    # What begins with the text and equals itself one text further on is nothing else.
    if found[: len(text)] != text[: found.size] or not found[len(text) :].equals(found[: -len(text)]):
        fits = (np.frombuffer(found, np.uint8).reshape(-1, len(text)) == np.frombuffer(text, np.uint8)).all(axis=1)
        good[good], edges = fits, edges[fits]
    return [_parts(body, edges, slice(2 * n + 1, 2 * n + 2)) for n in range(len(template.values))], good


def _each(
    quotes: NDArray[np.int64], starts: NDArray[np.integer[Any]], ends: NDArray[np.integer[Any]], wanted: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which lines have so many quotes as are wanted, and a row of places for each of these."""
    if quotes.size == wanted * ends.size:
        cut = quotes.reshape(-1, wanted)
        if (cut[:, 0] >= starts).all() and (cut[:, -1] < ends).all():
            return np.ones(ends.size, dtype=bool), cut
    count = np.diff(np.searchsorted(quotes, ends), prepend=0)
    good = count == wanted
    return good, quotes[np.repeat(good, count)].reshape(-1, wanted)


def _parts(body: pa.Buffer, edges: NDArray[np.int32], which: slice) -> pa.Array:
    """Return some of the parts of every line, given where each begins and the last ends."""
    offsets = np.append(edges, edges[-1:, -1])
    parts = pa.Array.from_buffers(pa.string(), edges.size, [None, pa.py_buffer(offsets), body])
    places = np.arange(edges.size, dtype=np.int32).reshape(edges.shape)
    return parts.take(pa.array(places[:, :-1][:, which].ravel()))


def _tabular(column: pa.Array) -> pa.Array:
    """Say which texts Arrow's CSV reader takes for one row as it is."""
    return pc.and_(pc.not_equal(column, ""), pc.invert(pc.starts_with(column, _MARK)))


def _fields(column: pa.Array, kinds: Sequence[pa.DataType]) -> tuple[list[pa.Array], list[int]]:
    """Return the fields of the rows of CSV that have so many, as text where they do not spell these types; which have not."""
    left: list[int] = []

    def leave(row: Any) -> str:
        left.append(row.number - 1)
        return "skip"

    body = body_of(pc.binary_join_element_wise(column, "", "\n"))[0]
    try:
        found = cells(body, kinds, leave)
    except pa.ArrowInvalid:  # a text where a number should be
        left.clear()
        found = cells(body, [pa.string()] * len(kinds), leave)
    if len(found[0]) + len(left) != len(column):
        raise pa.ArrowInvalid("not one row a line")
    return [whole(one) for one in found], left


def first_field(column: pa.Array) -> pa.Array:
    """Return what stands before the first comma of each text."""
    plain = (np.frombuffer(body_of(column)[0], np.uint8) != _COMMA).all()
    return column if plain else pc.replace_substring_regex(column, ",.*", "")


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


def _all(marks: Iterable[pa.Array | None]) -> pa.Array | None:
    """Return which of some lines are marked in all; None: every line."""
    good = None
    for mark in marks:
        if mark is not None and not pc.all(mark, min_count=0).as_py():
            good = mark if good is None else pc.and_(good, mark)
    return good


def _unescaped(column: pa.Array) -> pa.Array | None:
    """Say which values have no backslash; None: all."""
    if not (np.frombuffer(body_of(column)[0], np.uint8) == _BACKSLASH).any():
        return None
    return pc.invert(pc.match_substring(column, "\\"))


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
