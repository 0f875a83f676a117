"""A window of live traffic as a profile, in memory that does not grow with the window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO

import pyarrow as pa

from linnet.monitoring.capture import Counts, read_batches
from linnet.monitoring.profile import FeatureKind, Profile, kinds_of, merge, profile

_FIRST_ROWS, _MORE_ROWS = 200_000, 50_000
"""Rows are profiled so many together, as a profile of few costs as much as one of many; and fewer once one is held, as that
and the merging take room of their own. So a window takes as much memory as its first rows, however long it is."""


@dataclass(frozen=True)
class Part:
    """What is known of some of a window's files: the profile of their rows by width, and what became of each line."""

    profiles: Mapping[int, Profile]
    counts: Counts


def profile_capture(
    files: Iterable[bytes | IO[bytes]], baseline: Profile, window: tuple[datetime, datetime] | None = None
) -> tuple[Profile, Counts]:
    """Return the profile of the rows in capture files, read as the baseline's columns, and what became of each line."""
    return together([profile_part(files, list(baseline.columns), kinds_of(baseline), window)], baseline)


def profile_part(
    files: Iterable[bytes | IO[bytes]],
    columns: Sequence[str],
    kinds: Mapping[str, FeatureKind],
    window: tuple[datetime, datetime] | None = None,
) -> Part:
    """Return what is known of some capture files, read as these columns of these kinds; `window` is (from, to), aware.

    Pieces are profiled and merged, which is the same as all at once.
    """
    counts = Counts()
    found: dict[int, Profile] = {}
    held: dict[int, list[pa.RecordBatch]] = {}

    def fold(width: int) -> None:
        made = profile(iter(held.pop(width)), kinds=kinds)  # an iterator that is at its end holds nothing
        found[width] = merge([found[width], made]) if width in found else made

    for rows in read_batches(files, columns, kinds, window=window, counts=counts):
        held.setdefault(rows.width, []).append(rows.features)
        if sum(batch.num_rows for batch in held[rows.width]) >= (_MORE_ROWS if rows.width in found else _FIRST_ROWS):
            fold(rows.width)
    for width in list(held):
        fold(width)
    return Part(found, counts)


def together(parts: Iterable[Part], baseline: Profile) -> tuple[Profile, Counts]:
    """Return the profile of all parts of a window, its columns in the order of the rows, and what became of each line.

    Rows count that have as many fields as most have; so a window in which a column is missing is seen as one. The parts
    are taken one after the other, and into how many the files were cut does not matter: the result is the same to the bit.
    But a part reads rows of nine widths at most (`read_batches`), so nine in each of many parts may be more in all.
    """
    columns, kinds = list(baseline.columns), kinds_of(baseline)
    found: dict[int, Profile] = {}
    counts = Counts(len(columns))
    for part in parts:
        counts.add(part.counts)
        for width, one in part.profiles.items():
            found[width] = merge([found[width], one]) if width in found else one
    known = found.get(counts.width) or profile([], kinds=kinds)
    places = {name: place for place, name in enumerate(columns, start=1)}
    names = sorted(known.columns, key=lambda name: places.get(name) or int(name.rpartition("_")[2]))  # else column_<n>
    return Profile(known.rows, {name: known.columns[name] for name in names}), counts
