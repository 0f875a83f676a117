"""profile.arrow: a profile as an Arrow file, so that a window is compared with all that its baseline knew.

One row a column. statistics.json, which others read, keeps a sketch of 4,096 numbers and 5,000 categories instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from linnet.errors import BadInputError
from linnet.monitoring.profile import LIMIT, Column, Moments, Profile
from linnet.monitoring.tables import LARGEST

PROFILE = "profile.arrow"
_VERSION = b"1"
_MOST_COLUMNS = 1_000
_MOST_CATEGORIES = 100_000
_MOST_ROWS = 1 << 53
_MOST_LEVEL = 63
_MAY_BE_NULL = {"numeric", "distinct", "rows", "total", "squares", "least", "greatest"}
_FIELDS: dict[str, pa.DataType] = {
    "name": pa.string(),
    "numeric": pa.bool_(),
    "missing": pa.int64(),
    "whole": pa.int64(),
    "fractional": pa.int64(),
    "text": pa.int64(),
    "distinct": pa.int64(),
    "level": pa.uint8(),
    "values": pa.list_(pa.float64()),
    "counts": pa.list_(pa.int64()),
    "mixed": pa.list_(pa.bool_()),
    "categories": pa.list_(pa.string()),
    "category_counts": pa.list_(pa.int64()),
    "rows": pa.int64(),
    "total": pa.string(),
    "squares": pa.string(),
    "least": pa.float64(),
    "greatest": pa.float64(),
}


def profile_bytes(known: Profile) -> bytes:
    """Return a profile as profile.arrow; the same profile gives the same bytes.

    Of a column with more than 100,000 categories the most frequent are kept.
    """
    rows = [_row(column) for column in known.columns.values()]
    schema = pa.schema(list(_FIELDS.items()), {b"linnet.profile": _VERSION, b"rows": str(known.rows).encode()})
    batch = pa.RecordBatch.from_pydict({name: [row[name] for row in rows] for name in _FIELDS}, schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)) as file:
        file.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _row(column: Column) -> dict[str, Any]:
    kept, distinct = column.categories, column.distinct
    if len(kept) > _MOST_CATEGORIES:
        distinct = max(distinct or 0, len(kept))
        ranked = sorted(kept.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CATEGORIES]
        kept = dict(sorted(ranked))
    moments = column.moments
    return {
        "name": column.name,
        "numeric": column.numeric,
        "missing": column.missing,
        "whole": column.whole,
        "fractional": column.fractional,
        "text": column.text,
        "distinct": distinct,
        "level": column.level,
        "values": column.values,
        "counts": column.counts,
        "mixed": column.mixed if column.level else [],
        "categories": list(kept),
        "category_counts": list(kept.values()),
        "rows": moments and moments.rows,
        # Whole numbers of up to 3,000 bits: as text in base 16, in which both ways take linear time.
        "total": moments and f"{moments.total:x}",
        "squares": moments and f"{moments.squares:x}",
        "least": moments and moments.least,
        "greatest": moments and moments.greatest,
    }


def read_profile(content: bytes) -> Profile:
    """Return the profile of a profile.arrow.

    Raises:
        BadInputError: the file is none, or says what no profile can.
    """
    try:
        batch, rows = _batch(content)
        columns = [_column(batch, at) for at in range(batch.num_rows)]
        return Profile(rows, {column.name: column for column in columns})
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError, MemoryError, OSError) as error:
        allowed = f"a profile that Linnet wrote, version {_VERSION.decode()}"
        raise BadInputError(PROFILE, type(error).__name__, allowed) from None


def _batch(content: bytes) -> tuple[pa.RecordBatch, int]:
    file = pa.ipc.open_file(pa.BufferReader(content))
    meta = file.schema.metadata or {}
    fields = dict(zip(file.schema.names, file.schema.types, strict=True))
    if meta.get(b"linnet.profile") != _VERSION or fields != _FIELDS or file.num_record_batches != 1:
        raise ValueError("other columns, another version, or not one batch")
    batch = file.get_batch(0)
    batch.validate(full=True)
    if batch.num_rows > _MOST_COLUMNS or any(batch.column(name).null_count for name in _FIELDS.keys() - _MAY_BE_NULL):
        raise ValueError("too many columns, or something is missing")
    return batch, _whole(int(meta[b"rows"]))


def _column(batch: pa.RecordBatch, at: int) -> Column:
    def one(name: str) -> Any:
        return batch.column(name)[at].as_py()

    def many(name: str) -> Any:
        values = batch.column(name)[at].values
        return values.to_numpy(zero_copy_only=False)

    values, counts, mixed = many("values"), many("counts"), many("mixed")
    level = one("level")
    names, occurs = one("categories"), many("category_counts")
    if not values.size <= LIMIT or values.size != counts.size or mixed.size != (values.size if level else 0):
        raise ValueError("lists of different lengths, or too long")
    if not (np.abs(values) <= LARGEST).all() or (np.diff(values) < 0).any() or level > _MOST_LEVEL:
        raise ValueError("numbers or a level that cannot be")
    if (counts <= 0).any() or counts.astype(float).sum() > _MOST_ROWS:
        raise ValueError("counts that cannot be")
    if (occurs < 0).any() or (occurs > _MOST_ROWS).any():
        raise ValueError("a count that cannot be")
    moments = None
    if one("rows") is not None:
        sums = int(one("total"), 16), int(one("squares"), 16)
        moments = Moments(_whole(one("rows")), *sums, float(one("least")), float(one("greatest")))
    found = Column(
        one("name"),
        one("numeric"),
        missing=_whole(one("missing")),
        whole=_whole(one("whole")),
        fractional=_whole(one("fractional")),
        text=_whole(one("text")),
        values=np.asarray(values, dtype=np.float64),
        counts=np.asarray(counts, dtype=np.int64),
        categories=dict(zip(names, occurs.tolist(), strict=True)),
        moments=moments,
        distinct=None if one("distinct") is None else _whole(one("distinct")),
        level=level,
        mixed=np.asarray(mixed if level else np.zeros(values.size), dtype=bool),
    )
    if moments and not np.isfinite(found.mean_and_deviation).all():
        raise ValueError("moments that cannot be")
    return found


def _whole(number: int) -> int:
    if not 0 <= number <= _MOST_ROWS:
        raise ValueError("a count that cannot be")
    return number
