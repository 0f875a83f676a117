"""Lines of JSON that differ only in a few strings, read by columns at a time; the text rebuilt proves what was read right.

A line of JSON is cut at its double quotes. Between two lines of one shape only some of the cuttings differ: the values.
All else is the template. A line is read by columns only if the template, filled with its values, is that line to the byte;
every other line is left to be read one by one. So nothing is assumed about who wrote the lines.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from linnet.monitoring.records import LONGEST_LINE

_PIECE_BYTES = 8 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
"""What the cutting works on at a time: so much stays in a core's cache."""
_TEMPLATES, _TRIES = 4, 16
"""Templates a piece, and lines that are tried for one."""
_MOST_CUTTINGS, _LONGEST = 1_000, 256 * 1024
"""A line with more strings or bytes is read alone."""
_CONTROL, _LINE_FEED, _BACKSLASH = 0x20, 0x0A, 0x5C
_END = "\\n"
"""The line feed at the end of a payload, as JSON escapes it."""


@dataclass(frozen=True)
class Template:
    """What lines have in common: `parts` of text, and between each two of them the value called by `names`."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    places: tuple[int, ...]
    """Where the values are among the cuttings, from 0."""
    cuttings: int


@dataclass(frozen=True)
class Values:
    """Lines that were read right, and their values by name: strings without quote, backslash and control character."""

    columns: Mapping[str, pa.Array]
    lines: pa.Array

    def filter(self, kept: pa.Array) -> Values:
        """Return those of some lines alone."""
        return Values({name: column.filter(kept) for name, column in self.columns.items()}, self.lines.filter(kept))


def template_of(
    line: bytes, wanted: Mapping[str, tuple[str, ...]], *, fixed: Mapping[tuple[str, ...], str], needed: Collection[str]
) -> Template | None:
    """Return the template of lines like this one; None where they cannot be read by columns.

    `wanted` names the paths of the values. A path that is absent or null has no value; those `needed` must have one. The
    strings at the paths of `fixed` must be absent or say what is said there.
    """
    try:
        text = line.decode().rstrip("\n")
        cut = text.split('"', _MOST_CUTTINGS)
        if len(cut) > _MOST_CUTTINGS or len(line) > _LONGEST:
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
    there = sorted((place, name) for name, place in places.items() if place is not None)
    if not set(needed) <= {name for _, name in there}:
        return None
    edges = [-1, *(place for place, _ in there), len(cut)]
    parts = ['"'.join(cut[one + 1 : other]) for one, other in itertools.pairwise(edges)]
    if any("\\" in part for part in parts):  # a key that is not spelled as it is meant
        return None
    parts = [('"' if n else "") + part + ('"' if n < len(there) else "") for n, part in enumerate(parts)]
    return Template(tuple(name for _, name in there), tuple(parts), tuple(place for place, _ in there), len(cut))


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
    piece: bytes, template: Callable[[bytes], Template | None], *, payloads: Collection[str]
) -> tuple[list[Values], list[bytes]]:
    """Return the values of the lines of a piece that could be read by columns, and the other lines, blank ones left out.

    `template` says how to read lines like the one it is given. The values of `payloads` lose a line feed at their end.
    """
    lines, other = _lines(piece)
    found: list[Values] = []
    for _ in range(_TEMPLATES):
        step = max(1, len(lines) // _TRIES)
        tries = (template(lines[n].as_py()) for n in range(0, len(lines), step))
        chosen = next((one for one in tries if one is not None), None)
        if chosen is None:
            break
        read_now, rest, odd = _read(chosen, lines, payloads)
        found += read_now
        other += odd
        lines = pa.concat_arrays(rest) if rest else lines[:0]
    return found, [line[:-1] for part in (*other, lines) for line in part.to_pylist() if line.strip()]


def pieces(files: Iterable[bytes | Path]) -> Iterator[bytes]:
    """Yield the files in pieces of whole lines, each with its line feed; small files come together."""
    held: list[bytes] = []
    for file in files:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
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
    """Return the lines of a piece, each with its line feed: those of UTF-8 without control characters, and the others."""
    if b"\r\n" in piece:
        piece = piece.replace(b"\r\n", b"\n")
    text = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(text == _LINE_FEED) + 1
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    lines = pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(piece)])
    usual = np.diff(offsets) > 1
    if np.count_nonzero(text < _CONTROL) != len(ends):
        control = np.flatnonzero((text < _CONTROL) & (text != _LINE_FEED))
        usual[np.searchsorted(ends, control, side="right")] = False
    usual[unfit(lines, pa.string())] = False
    if usual.all():
        return lines, []
    return lines.filter(pa.array(usual)), [lines.filter(pa.array(~usual))]


def _read(
    template: Template, lines: pa.Array, payloads: Collection[str]
) -> tuple[list[Values], list[pa.Array], list[pa.Array]]:
    """Return the values of lines of this template, the lines of another one, and those that must be read one by one."""
    try:
        values, rest = _proven(template, lines)
    except pa.ArrowInvalid:
        return [], [], [lines]
    columns, good = {}, None
    for name, column in values.columns.items():
        columns[name], fine = _unescaped(column, payload=name in payloads)
        good = fine if good is None else good if fine is None else pc.and_(good, fine)
    values = Values(columns, values.lines)
    if good is None:
        return [values], rest, []
    return [values.filter(good)], rest, [values.lines.filter(pc.invert(good))]


def _proven(template: Template, lines: pa.Array) -> tuple[Values, list[pa.Array]]:
    """Return the values of the lines that are this template to the byte, and the other lines.

    Raises:
        pa.ArrowInvalid: the lines could not be told apart.
    """
    body, lengths = body_of(lines)
    names = [str(n) for n in range(template.cuttings)]
    wanted = [names[place] for place in template.places]
    other: list[int] = []

    def leave(row: Any) -> str:
        other.append(row.number - 1)
        return "skip"

    table = pacsv.read_csv(
        pa.BufferReader(body),
        read_options=pacsv.ReadOptions(
            column_names=names, block_size=max(_BLOCK_BYTES, int(lengths.max(initial=0)) + 1), use_threads=False
        ),
        parse_options=pacsv.ParseOptions(
            delimiter='"', quote_char=False, ignore_empty_lines=False, invalid_row_handler=leave
        ),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted),
    )
    if table.num_rows + len(other) != len(lines):
        raise pa.ArrowInvalid("not one row a line")
    rest = []
    if other:
        usual = np.ones(len(lines), dtype=bool)
        usual[other] = False
        rest.append(lines.filter(pa.array(~usual)))
        lines = lines.filter(pa.array(usual))
        body, _ = body_of(lines)
    columns = [whole(column) for column in table.columns]
    filled = [part for pair in zip(template.parts, columns, strict=False) for part in pair]
    rebuilt = pc.binary_join_element_wise(*filled, template.parts[-1] + "\n", "").cast(pa.binary())
    values = Values(dict(zip(template.names, columns, strict=True)), lines)
    if len(lines) and not body_of(rebuilt)[0].equals(body):
        same = pc.equal(rebuilt, lines)
        rest.append(lines.filter(pc.invert(same)))
        values = values.filter(same)
    return values, rest


def _unescaped(column: pa.Array, *, payload: bool) -> tuple[pa.Array, pa.Array | None]:
    """Return values without the line feed at a payload's end, and which of them have no backslash; None: all."""
    if not _has_backslash(column):
        return column, None
    if payload:
        ended, raw = pc.ends_with(column, _END), column.cast(pa.binary())
        short = pc.binary_slice(raw, 0, -len(_END))
        column = (short if pc.all(ended).as_py() else pc.if_else(ended, short, raw)).cast(pa.string())
        if not _has_backslash(column):
            return column, None
    return column, pc.invert(pc.match_substring(column, "\\"))


def _has_backslash(column: pa.Array) -> bool:
    return bool((np.frombuffer(body_of(column)[0], np.uint8) == _BACKSLASH).any())


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
