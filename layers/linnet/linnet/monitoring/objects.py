"""Tables of JSON lines, one flat object a row: by columns where the values of a column have one type, else line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from linnet.monitoring import template
from linnet.monitoring.records import NULLS, field_of
from linnet.monitoring.tables import DataError, Limits, Source, plain_batch

_SAMPLED_LINES = 1_000
"""So many lines say which columns there are, and of which type they probably are."""
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def read_objects(source: Source, columns: Sequence[str] | None, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, missing ones (`NULLS` too) as null, in the types of `read_table` or as text.

    Raises:
        DataError: a line that is no flat object, a key that is there twice, or one that the first lines do not have.
    """
    schema: pa.Schema | None = None
    before = 0
    content = source.content if isinstance(source.content, bytes) else source.content.open("rb")
    for piece in template.pieces([content]):
        if schema is None:
            schema = _schema(source.name, piece, columns)
            if len(schema) > limits.columns:
                raise DataError(source.name, "columns", len(schema), f"at most {limits.columns} columns")
        batch = _plain(piece, schema)
        yield batch if batch is not None else _careful(source.name, piece, schema.names, before)
        before += piece.count(b"\n")
    if schema is None and columns is None:
        raise DataError(source.name, "", "no line", "an object in every line")


def _schema(file: str, piece: bytes, columns: Sequence[str] | None) -> pa.Schema:
    """Return the columns that the first lines name, each of the type that its values there have, or text."""
    types: dict[str, set[pa.DataType]] = {name: set() for name in columns or ()}
    for number, line in zip(range(_SAMPLED_LINES), piece.split(b"\n"), strict=False):
        for name, value in _object(file, number, line) if line.strip() else ():
            if columns is None or name in types:
                types.setdefault(name, set()).update(() if value is None else [_TYPES.get(type(value), pa.string())])
    return pa.schema([(name, _type(found)) for name, found in types.items()])


def _type(found: set[pa.DataType]) -> pa.DataType:
    if found == {pa.int64(), pa.float64()}:
        return pa.float64()
    return next(iter(found)) if len(found) == 1 else pa.string()


def _object(file: str, number: int, line: bytes) -> list[tuple[str, Any]]:
    try:
        text = line.decode()
        pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list) if text.lstrip()[:1] == "{" else []
    except (ValueError, RecursionError):
        pairs = []
    if not pairs:
        raise DataError(file, f"line {number + 1}", "no object in JSON, or an empty one", "an object in every line")
    return pairs


def _plain(piece: bytes, schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the rows of lines whose values all have the type of their column; None when there are others."""
    try:
        table = pajson.read_json(
            pa.BufferReader(piece),
            # One thread: with several, an error in one block returned while others still read, and ended the process.
            read_options=pajson.ReadOptions(block_size=len(piece) + 1, use_threads=False),
            parse_options=pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
        table.validate(full=True)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != sum(1 for line in piece.split(b"\n") if line.strip()):
        return None
    columns = []
    for column in map(template.whole, table.columns):
        missing = pc.is_in(column, pa.array(NULLS)) if pa.types.is_string(column.type) else None
        columns.append(column if missing is None else pc.if_else(missing, pa.scalar(None, pa.string()), column))
    return plain_batch(pa.RecordBatch.from_arrays(columns, names=schema.names))


def _careful(file: str, piece: bytes, names: list[str], before: int) -> pa.RecordBatch:
    rows: dict[str, list[str | None]] = {name: [] for name in names}
    for number, line in enumerate(piece.split(b"\n"), before):
        if not line.strip():
            continue
        pairs = _object(file, number, line)
        found = dict(pairs)
        where = f"line {number + 1}"
        if len(found) != len(pairs):
            raise DataError(file, where, "a key that is there twice", "every key once")
        if not found.keys() <= rows.keys():
            raise DataError(file, where, "a further column", f"the columns of the first lines: {names}")
        for name, values in rows.items():
            try:
                values.append(field_of(found.get(name)))
            except (TypeError, ValueError):
                allowed = "a number, text, true, false or null"
                raise DataError(file, f"{where}, column {name}", "no such value", allowed) from None
    return pa.RecordBatch.from_arrays([pa.array(values, pa.string()) for values in rows.values()], names=names)
