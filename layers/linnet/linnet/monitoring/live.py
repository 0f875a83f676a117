"""A window of live traffic as a profile, in memory that does not grow with the window."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from linnet.monitoring.capture import Counts, read_batches
from linnet.monitoring.profile import Profile, kinds_of, merge, profile


def profile_capture(
    files: Iterable[bytes | Path], baseline: Profile, window: tuple[datetime, datetime] | None = None
) -> tuple[Profile, Counts]:
    """Return the profile of the rows in capture files, read as the baseline's columns, and what became of each line.

    Rows count that have as many fields as most have; so a window in which a column is missing is seen as one. Pieces are
    profiled one by one and merged, which is the same as all at once. `window` is (from, to), aware.
    """
    kinds, counts = kinds_of(baseline), Counts()
    found: dict[int, Profile] = {}
    for rows in read_batches(files, list(baseline.columns), kinds, window=window, counts=counts):
        made = profile([rows.features], kinds=kinds)
        found[rows.width] = merge([found[rows.width], made]) if rows.width in found else made
    return found.get(counts.width) or profile([], kinds=kinds), counts
