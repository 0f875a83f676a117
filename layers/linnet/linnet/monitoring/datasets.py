"""A data set at rest as a profile: what a batch transform wrote, an extract of a feature group, a run's own channels.

Its files are read one by one and profiled in pieces, so memory does not grow with them. Sources: SageMaker guide, "Associate
Prediction Results with Input Records" (JoinSource Input puts the prediction behind the input's fields), "Feature Store
offline store data format" (write_time, api_invocation_time and is_deleted beside the features; a record is never changed,
only written again, or as deleted).
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from linnet.monitoring.profile import FeatureKind, Profile, kinds_of, merge, profile, profile_columns
from linnet.monitoring.tables import DEFAULT_LIMITS, DataError, Limits, Source, read_table, texts

ROWS_AT_ONCE = 100_000
_DELETED = "is_deleted"
_TRUE = ("1", "true")
_LINE_BYTES = 8 * 1024 * 1024


@dataclass
class Seen:
    """What became of a data set's files, rows and columns."""

    files: int = 0
    deleted: int = 0
    """Rows that the feature store marks as deleted; they are in no number."""
    ignored: set[str] = field(default_factory=set)
    """Columns that are no features, under their names; in a file without header `other_1`, `other_2`, ..."""


def profile_file(
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, FeatureKind] | None = None,
    only: Collection[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Profile:
    """Return the profile of a file: what `profile` makes of its rows. Parquet is read a column at a time, in half the memory.

    `columns` names those of a CSV file without header.

    Raises:
        DataError: as `read_table`.
    """
    if source.format != "parquet":
        return profile(read_table([source], columns=columns, limits=limits), kinds=kinds, only=only)
    from linnet.monitoring.parquet import read_columns  # noqa: PLC0415 - imports that other files need not pay

    rows, there = read_columns(source, limits)
    readers = {name: read for name, read in there.items() if only is None or name in only}
    return profile_columns(rows, readers, kinds or {})


def profile_files(
    files: Iterable[Source], baseline: Profile, *, label_first: bool = False, limits: Limits = DEFAULT_LIMITS
) -> tuple[Profile, Seen]:
    """Return the profile of the baseline's columns in these files, each read to its end before the next is asked for.

    Parquet, JSON lines and CSV with a header are read by name; a column that no file has is missing. CSV of which no field
    of the first line is one of the names has no header: its fields are the baseline's columns in order, and before
    (`label_first`) or behind them others. `limits` are those of one file.

    Raises:
        DataError: a file is no table, or has fewer fields than the baseline has columns.
    """
    names, kinds, seen = list(baseline.columns), kinds_of(baseline), Seen()
    found = profile([], kinds=kinds)
    held: list[pa.RecordBatch] = []

    def fold() -> None:
        nonlocal found, held
        if held:
            found, held = merge([found, profile(held, kinds=kinds)]), []

    for source in files:
        seen.files += 1
        columns = _columns(source, names, label_first=label_first) if source.format == "csv" else None
        numeric = [name for name, kind in kinds.items() if kind == "number"]
        for batch in read_table([source], columns=columns, numeric=numeric, limits=limits):
            if not set(names) & set(batch.schema.names):
                raise DataError(source.name, "columns", batch.schema.names[:10], f"at least one of {names[:10]}")
            rows = _kept(batch, names, seen)
            if held and held[0].schema.names != rows.schema.names:
                fold()
            held.append(rows)
            if sum(rows.num_rows for rows in held) >= ROWS_AT_ONCE:
                fold()
    fold()
    return Profile(found.rows, {name: found.columns[name] for name in names if name in found.columns}), seen


def _columns(source: Source, names: Sequence[str], *, label_first: bool) -> list[str] | None:
    """Return the columns of a CSV file without header, None of one that has one."""
    if isinstance(source.content, bytes):
        line = source.content[:_LINE_BYTES].partition(b"\n")[0]
    else:
        with source.content.open("rb") as file:
            line = file.readline(_LINE_BYTES)
    try:
        first = next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return None  # whoever reads the file says what is wrong with it
    if not first or set(first) & set(names):
        return None
    others = [f"other_{number + 1}" for number in range(len(first) - len(names))]
    if len(first) < len(names):
        allowed = f"a header, or the {len(names)} features in their order (of a transform: JoinSource Input)"
        raise DataError(source.name, "row 1", f"{len(first)} fields", allowed)
    return [*others, *names] if label_first else [*names, *others]


def _kept(batch: pa.RecordBatch, names: Sequence[str], seen: Seen) -> pa.RecordBatch:
    """Return the rows that were not deleted, of the columns that are asked for."""
    there = set(batch.schema.names)
    seen.ignored |= there - set(names)
    if _DELETED in there and _DELETED not in names:
        said = pc.utf8_lower(texts(batch.column(_DELETED)))
        live = pc.invert(pc.is_in(said, pa.array(_TRUE)))
        before = batch.num_rows
        batch = batch.filter(live)
        seen.deleted += before - batch.num_rows
    return batch.select([name for name in names if name in there])
