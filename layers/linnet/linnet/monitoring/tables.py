"""Tables that others wrote: read in batches, with every limit checked before the memory is spent (F24)."""

from __future__ import annotations

import codecs
import csv
import io
import mmap
import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from linnet.errors import BadInputError
from linnet.monitoring.records import NULLS

LARGEST = 1e150
"""A number beyond this is taken for a mistake: its square is no longer a float."""
_Kind = TypeVar("_Kind", bound=np.generic)
_Batches = Iterator[pa.RecordBatch]
WORKERS = ThreadPoolExecutor(pa.cpu_count())
"""Readers and profilers share these threads, one a core: no more than that is in work, or in memory, at a time."""
_BLOCK_BYTES = 8 * 1024 * 1024
_CACHE_BYTES = 1024 * 1024
"""What a core parses at a time without its cache running over, where no field can hold a line feed."""
_NAME_LENGTH = 256
_ROW = re.compile(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)")


class DataError(BadInputError):
    """A data file is not the table it should be: names the file, the place, what is there and what may be."""

    def __init__(self, file: str, where: str, what: Any, allowed: str) -> None:
        super().__init__(f"{file}, {where}" if where else file, what, allowed)
        self.file, self.where, self.what = file, where, what


@dataclass(frozen=True)
class Source:
    """One file of a table; `name` is what messages and reports call it (its URI, say)."""

    name: str
    content: Path | bytes
    format: Literal["csv", "parquet", "jsonl"] = "csv"
    rows: int | None = None
    """How many rows it should have, where somebody has promised that."""


@dataclass(frozen=True)
class Limits:
    """What a table may cost, over all its files; `field_length` is in bytes."""

    bytes: int = 1024**3
    rows: int = 20_000_000
    columns: int = 1_000
    field_length: int = 8_192


@dataclass(frozen=True)
class Numbers:
    """A column as numbers; NaN where the field is missing (`nulls`) or no number up to `LARGEST` (`invalid`)."""

    values: NDArray[np.float64]
    nulls: NDArray[np.bool_]
    invalid: NDArray[np.bool_]

    @property
    def valid(self) -> NDArray[np.float64]:
        """The finite values alone, in row order."""
        wrong = self.nulls | self.invalid
        return self.values[~wrong] if wrong.any() else self.values


DEFAULT_LIMITS = Limits()


def read_table(
    sources: Sequence[Source],
    *,
    columns: Sequence[str] | None = None,
    numeric: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all files, in order, as batches with the same columns in the same order.

    CSV columns come as strings, missing (`NULLS`) as null: use `numbers` and `texts`. Those named in
    `numeric` may come as float64 in batches in which each of them spells numbers only; that is faster. Parquet columns
    come as int64, float64 (NaN as null) or dictionary of strings; booleans as 0 and 1, dates as text. `columns` names
    the columns of CSV files that have no header; without it the first row is the header. Files may order their columns
    differently, not have others. JSON lines are flat objects; a column that a line does not name is null there. Its
    columns are those of the file's first 1,000 lines, or `columns`; they come as Parquet's do, or as text where their
    types are mixed.

    Raises:
        DataError: bad UTF-8, NUL, ragged rows, duplicate or missing headers, other columns than the first file's,
            nested columns, another number of rows than promised, or a limit is exceeded (for Parquet: already by what
            the footer declares).
    """
    budget = limits.bytes
    rows = 0
    names: list[str] | None = None
    for source in sources:
        size = len(source.content) if isinstance(source.content, bytes) else source.content.stat().st_size
        budget -= size
        if budget < 0:
            raise DataError(source.name, "size", size, f"at most {limits.bytes} bytes in all files together")
        before = rows
        for batch in _read(source, columns, numeric, limits):
            found = batch.schema.names
            if names is None:
                names = checked_names(source.name, found, limits)
            elif found != names:
                checked_names(source.name, found, limits)
                if set(found) != set(names):
                    raise DataError(source.name, "columns", found, f"the columns of the first file: {names}")
                batch = batch.select(names)  # noqa: PLW2901 - the same batch in the first file's order
            rows += batch.num_rows
            if rows > limits.rows:
                raise DataError(source.name, "rows", rows, f"at most {limits.rows} rows in all files together")
            check_lengths(source.name, batch, limits)
            yield batch
        if source.rows is not None and rows - before != source.rows:
            raise DataError(source.name, "rows", rows - before, f"{source.rows}, as its manifest says")


def _read(source: Source, columns: Sequence[str] | None, numeric: Collection[str], limits: Limits) -> _Batches:
    if source.format == "csv":
        return _read_csv(source, columns, numeric, limits)
    if source.format == "parquet":
        from linnet.monitoring.parquet import read_parquet  # noqa: PLC0415 - imports that other files need not pay

        return read_parquet(source, limits)
    from linnet.monitoring.objects import read_objects  # noqa: PLC0415 - imports that other files need not pay

    return read_objects(source, columns, limits)


def checked_names(file: str, names: list[str], limits: Limits) -> list[str]:
    """Return the names of a table's columns.

    Raises:
        DataError: too many, one that is twice there, empty, too long or not printable.
    """
    if len(names) > limits.columns:
        raise DataError(file, "columns", len(names), f"at most {limits.columns} columns")
    seen: set[str] = set()
    for position, name in enumerate(names, 1):
        if not name or len(name) > _NAME_LENGTH or not name.isprintable():
            allowed = f"a printable name of 1 to {_NAME_LENGTH} characters"
            raise DataError(file, f"header, column {position}", name, allowed)
        if name in seen:
            raise DataError(file, f"header, column {position}", name, "every column name once")
        seen.add(name)
    return names


def check_lengths(file: str, batch: pa.RecordBatch, limits: Limits) -> None:
    """See that no text is longer than `limits.field_length`.

    Raises:
        DataError: one is; names the column.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.dictionary if pa.types.is_dictionary(column.type) else column
        if not pa.types.is_string(values.type):
            continue
        longest = pc.max(pc.binary_length(values)).as_py() or 0
        if longest > limits.field_length:
            what = f"a field of {longest} bytes"
            raise DataError(file, f"column {name}", what, f"at most {limits.field_length} bytes")


def _bytes_of(source: Source) -> bytes | mmap.mmap:
    """Return something with `find` and the buffer protocol; a file is mapped, not loaded."""
    if isinstance(source.content, bytes):
        return source.content
    with source.content.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return b""


def _read_csv(source: Source, columns: Sequence[str] | None, numeric: Collection[str], limits: Limits) -> _Batches:
    rows = 0
    try:
        for batch in _read_plain(source, columns, numeric, limits):
            rows += batch.num_rows
            yield batch
    except pa.ArrowInvalid:
        pass
    else:
        if rows:
            return
    # Not plain, wrong or empty: the careful reader reads on from here, or says what is wrong and where.
    for batch in _read_carefully(source, columns, limits):
        known = min(rows, batch.num_rows)
        rows -= known
        if known < batch.num_rows or not known:
            yield batch.slice(known)


def _read_plain(source: Source, columns: Sequence[str] | None, numeric: Collection[str], limits: Limits) -> _Batches:
    """Yield the rows of a file without a quote, in which every line feed ends a row, so that all cores can read it.

    Raises:
        pa.ArrowInvalid: what comes next is not plain or not a table; it says nothing of use.
    """
    ahead: deque[Future[list[pa.RecordBatch]]] = deque()
    content = source.content
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        names = (
            list(columns) if columns is not None else _header(source.name, _plain(file.readline(_BLOCK_BYTES)), limits)
        )
        for piece in _pieces(file):
            ahead.append(WORKERS.submit(_parse, piece, names, numeric))
            if len(ahead) > pa.cpu_count():
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _plain(piece: bytes) -> bytes:
    if b'"' in piece or b"\0" in piece or not piece or piece.isspace():
        raise pa.ArrowInvalid("quotes, NUL or nothing")
    return piece


def _pieces(file: IO[bytes]) -> Iterator[memoryview]:
    """Yield the rest of a plain file, cut between rows."""
    while piece := file.read(_BLOCK_BYTES):
        end = len(piece)
        if end == _BLOCK_BYTES:
            end = piece.rfind(b"\n") + 1
            file.seek(end - len(piece), io.SEEK_CUR)
        if not end or _plain(piece).startswith(codecs.BOM_UTF8):  # Arrow would drop that mark
            raise pa.ArrowInvalid("a row without end, or a mark that may only start a file")
        yield memoryview(piece)[:end]


def _parse(piece: memoryview, names: list[str], numeric: Collection[str]) -> list[pa.RecordBatch]:
    try:
        table = pacsv.read_csv(
            pa.py_buffer(piece),
            read_options=pacsv.ReadOptions(column_names=names, block_size=_CACHE_BYTES, use_threads=False),
            parse_options=pacsv.ParseOptions(quote_char=False),
            convert_options=_conversion(names, numeric),
        )
    except pa.ArrowInvalid:
        if not numeric:
            raise
        return _parse(piece, names, ())
    batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
    return batches


def _conversion(names: Sequence[str], numeric: Collection[str] = ()) -> pacsv.ConvertOptions:
    return pacsv.ConvertOptions(
        column_types={name: pa.float64() if name in numeric else pa.string() for name in names},
        strings_can_be_null=True,
        null_values=list(NULLS),
    )


def _read_carefully(source: Source, columns: Sequence[str] | None, limits: Limits) -> Iterator[pa.RecordBatch]:
    content = _bytes_of(source)
    nul = content.find(b"\0")
    if nul >= 0:
        raise DataError(source.name, f"byte {nul}", "NUL", "text in UTF-8")
    if sum(content[at : at + _BLOCK_BYTES].count(b'"') for at in range(0, len(content), _BLOCK_BYTES)) % 2:
        # Arrow would take all that follows the odd one for one field, and lose those rows without a word.
        raise DataError(source.name, "quotes", "an odd number", "double quotes in pairs")
    if not content[:4096].strip():
        if columns is None:
            raise DataError(source.name, "header", "", "a first row that names the columns")
        return
    end = content.find(b"\n")
    first = content[: end if end >= 0 else len(content)] if columns is None else b""
    names = list(columns) if columns is not None else _header(source.name, first, limits)
    if columns is None and end < 0:
        content = bytes(content) + b"\n"  # a header alone, its line not ended
    try:
        reader = pacsv.open_csv(
            pa.py_buffer(content),
            read_options=pacsv.ReadOptions(
                column_names=names,
                skip_rows=0,
                block_size=_BLOCK_BYTES,
                use_threads=False,
                skip_rows_after_names=0 if columns is not None else 1,
            ),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=_conversion(names),
        )
        empty = True
        for batch in reader:
            empty = False
            yield batch
        if empty:  # the columns are known although there is no row
            yield pa.RecordBatch.from_arrays([pa.array([], pa.string()) for _ in names], names=names)
    except pa.ArrowInvalid as error:
        raise _csv_error(source.name, str(error)) from None


def _header(file: str, line: bytes, limits: Limits) -> list[str]:
    """Return the names of the columns; too many are refused here, as Arrow takes 7 kB for each before it reads a row."""
    try:
        first = line.decode("utf-8-sig").rstrip("\r\n")
        names = next(csv.reader([first], strict=True), [""])
        return names if len(names) <= limits.columns else checked_names(file, names, limits)
    except UnicodeDecodeError as error:
        raise DataError(file, f"header, byte {error.start}", "not UTF-8", "text in UTF-8") from None
    except csv.Error as error:
        raise DataError(file, "header", str(error), "a first row that names the columns") from None


def _csv_error(file: str, message: str) -> DataError:
    """Return Arrow's complaint without the row's content, which does not belong in logs."""
    ragged = _ROW.search(message)
    if ragged:
        row, expected, got = ragged.groups()
        return DataError(file, f"row {row}" if row else "a row", f"{got} fields", f"{expected} fields in every row")
    if "UTF8" in message:
        column = re.search(r"column #(\d+)", message)
        return DataError(file, f"column number {int(column[1]) + 1}" if column else "", "not UTF-8", "text in UTF-8")
    return DataError(file, "", message[:80], "a CSV table, rows ended by a line feed, fields quoted by double quotes")


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with the few types that `read_table` promises."""
    return pa.RecordBatch.from_arrays([_plain_column(column) for column in batch.columns], names=batch.schema.names)


def _plain_column(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        floats = column.cast(pa.float64(), safe=False)
        # pandas writes a missing number as NaN.
        nan = pc.is_nan(floats)
        return pc.if_else(nan, pa.scalar(None, pa.float64()), floats) if pc.any(nan).as_py() else floats
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.int64())
    if pa.types.is_dictionary(kind):
        plain = pa.dictionary(pa.int32(), pa.string())
        return column if kind == plain else column.cast(plain)
    return column.cast(pa.string())


def is_text(column: pa.Array | pa.ChunkedArray) -> bool:
    """Say whether a column of `read_table` holds text (every CSV column does) and not numbers."""
    return bool(pa.types.is_string(column.type) or pa.types.is_dictionary(column.type))


def texts(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column of `read_table` as strings; a whole float is spelled without its fraction (`3`, not `3.0`)."""
    if pa.types.is_string(column.type):
        return column
    return column.cast(pa.string())


def numbers(column: pa.Array | pa.ChunkedArray) -> Numbers:
    """Return a column of `read_table` as float64; a text that spells no number is `invalid`."""
    if pa.types.is_dictionary(column.type):
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        names = numbers(array.dictionary)
        places = array.indices.fill_null(len(names.values)).to_numpy()
        return Numbers(
            np.append(names.values, np.nan)[places],
            np.append(names.nulls, True)[places],
            np.append(names.invalid, False)[places],
        )
    if is_text(column):
        nulls = _numpy(column.is_null(), np.bool_)
        values, invalid = _parsed(column, nulls)
    else:
        values = _numpy(column, np.float64)
        nulls = _numpy(column.is_null(), np.bool_) if column.null_count else np.zeros(len(column), dtype=bool)
        invalid = ~nulls & ~(np.abs(values) <= LARGEST)
    if invalid.any():
        values = np.where(invalid, np.nan, values)
    return Numbers(values, nulls, invalid)


def _numpy(column: pa.Array | pa.ChunkedArray, kind: type[_Kind]) -> NDArray[_Kind]:
    """Return a column's values; a null among numbers becomes NaN."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=kind)


def _parsed(
    column: pa.Array | pa.ChunkedArray, nulls: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    try:
        parsed = texts(column).cast(pa.float64())
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim(texts(column), " \t\r\n\v\f")
        spelled = pc.match_substring_regex(trimmed, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?$")
        parsed = pc.if_else(spelled, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    values = _numpy(parsed, np.float64)
    return values, ~nulls & ~(np.abs(values) <= LARGEST)
