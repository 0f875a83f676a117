"""A window of live traffic as a profile, in memory that does not grow with the window."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from linnet.monitoring.capture import Counts, read_batches
from linnet.monitoring.profile import Profile, kinds_of, merge, profile

_ROWS_AT_ONCE = 100_000
"""Rows are profiled so many together: a profile of few costs as much as one of many."""


def profile_capture(
    files: Iterable[bytes | Path], baseline: Profile, window: tuple[datetime, datetime] | None = None
) -> tuple[Profile, Counts]:
    """Return the profile of the rows in capture files, read as the baseline's columns, and what became of each line.

    Rows count that have as many fields as most have; so a window in which a column is missing is seen as one. Pieces are
    profiled and merged, which is the same as all at once. `window` is (from, to), aware.
    """
    kinds, counts = kinds_of(baseline), Counts()
    found: dict[int, Profile] = {}
    held: dict[int, list[pa.RecordBatch]] = {}

    def fold(width: int) -> None:
        made = profile(held.pop(width), kinds=kinds)
        found[width] = merge([found[width], made]) if width in found else made

    for rows in read_batches(files, list(baseline.columns), kinds, window=window, counts=counts):
        held.setdefault(rows.width, []).append(rows.features)
        if sum(batch.num_rows for batch in held[rows.width]) >= _ROWS_AT_ONCE:
            fold(rows.width)
    for width in list(held):
        fold(width)
    return found.get(counts.width) or profile([], kinds=kinds), counts
