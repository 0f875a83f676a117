"""Parquet files: by rows, as `read_table` promises, or a column at a time, which needs the memory of a few columns only."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from linnet.monitoring.tables import DataError, Limits, Source, check_lengths, checked_names, plain_batch

_BATCH_ROWS = 65_536
_COLUMN_ROWS = 262_144
"""What is read at a time of all columns, and of one."""
_KINDS = ("integer", "floating", "boolean", "string", "large_string", "string_view", "decimal", "temporal", "null")


def read_parquet(source: Source, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file.

    Raises:
        DataError: it is no such file, has nested columns, or its footer declares more than `limits`.
    """
    with _told(source.name):
        footer, schema = _footer(source, limits)
        empty = True
        for batch in _file(source, footer, _texts(schema)).iter_batches(batch_size=_BATCH_ROWS):
            empty = False
            yield plain_batch(batch)
        if empty:
            yield plain_batch(_none(schema))


def read_columns(source: Source, limits: Limits) -> tuple[int, Mapping[str, Callable[[], list[pa.Array]]]]:
    """Return how many rows a file has, and what reads each of its columns, in order; they may be read side by side.

    Raises:
        DataError: as `read_parquet`, or a field is too long, or the file larger than `limits`; the readers raise it too.
    """
    size = len(source.content) if isinstance(source.content, bytes) else source.content.stat().st_size
    if size > limits.bytes:
        raise DataError(source.name, "size", size, f"at most {limits.bytes} bytes in all files together")
    with _told(source.name):
        footer, schema = _footer(source, limits)
    if source.rows not in (None, footer.num_rows):
        raise DataError(source.name, "rows", footer.num_rows, f"{source.rows}, as its manifest says")
    readers = {one.name: functools.partial(_column, source, footer, one, limits) for one in schema}
    return footer.num_rows, readers


def _column(source: Source, footer: pq.FileMetaData, column: pa.Field, limits: Limits) -> list[pa.Array]:
    found = []
    with _told(source.name):
        file = _file(source, footer, _texts(pa.schema([column])))
        for rows in file.iter_batches(batch_size=_COLUMN_ROWS, columns=[column.name], use_threads=False):
            batch = plain_batch(rows.select([column.name]))  # Arrow takes `a.b` for a part of `a`
            check_lengths(source.name, batch, limits)
            found.append(batch.column(0))
        rows_read = sum(map(len, found))
        if rows_read != footer.num_rows:
            raise DataError(
                source.name, f"column {column.name}", rows_read, f"{footer.num_rows} rows, as the footer says"
            )
        return found or plain_batch(_none(pa.schema([column]))).columns


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(name, "", str(error)[:80], "a Parquet file") from None


def _raw(source: Source) -> pa.NativeFile:
    return pa.BufferReader(source.content) if isinstance(source.content, bytes) else pa.memory_map(str(source.content))


def _footer(source: Source, limits: Limits) -> tuple[pq.FileMetaData, pa.Schema]:
    footer = pq.read_metadata(_raw(source))
    schema = footer.schema.to_arrow_schema()
    declared = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    if declared > limits.bytes:
        raise DataError(source.name, "footer", f"{declared} bytes declared", f"at most {limits.bytes} bytes")
    if footer.num_rows > limits.rows:
        raise DataError(source.name, "footer", f"{footer.num_rows} rows declared", f"at most {limits.rows} rows")
    checked_names(source.name, schema.names, limits)
    for field in schema:
        if not _flat(field.type):
            raise DataError(source.name, f"column {field.name}", str(field.type), "numbers, text, booleans, dates")
    return footer, schema


def _file(source: Source, footer: pq.FileMetaData, texts: list[str]) -> pq.ParquetFile:
    # A dictionary keeps a long text that is repeated a million times as one.
    return pq.ParquetFile(_raw(source), metadata=footer, read_dictionary=texts)


def _texts(schema: pa.Schema) -> list[str]:
    return [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], names=schema.names)


def _flat(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))
    return any(getattr(pa.types, f"is_{one}")(kind) for one in _KINDS)
