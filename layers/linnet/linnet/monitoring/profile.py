"""The profile of a table: counts by value, column by column; the same rows in any order and any cut give the same bytes.

A column of more than `LIMIT` distinct numbers is kept at a coarser level: numbers whose float64 patterns differ in the
lowest `level` bits alone count as one. The level is the lowest at which at most `LIMIT` are left. It can only grow with
the rows, so the profile of all rows is the merged profile of any parts of them, to the bit; and as the patterns are
logarithmic, a coarse column is as right in its tails as in its middle.

Sorting is the cost. NumPy's AVX-512 sort is slow on AMD Zen 4 (numpy/x86-simd-sort#6): functions on such machines set
NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" before Python starts.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linnet.errors import BadInputError
from linnet.monitoring.tables import LARGEST, WORKERS, is_text, numbers, texts

Kind = Literal["Integral", "Fractional", "String", "Unknown"]
FeatureKind = Literal["number", "category"]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Marks = NDArray[np.bool_]
LIMIT = 32_768
"""How many distinct numbers of a column are told apart; its shares are right to the largest share that counts as one."""
_NO_VALUES: Floats = np.empty(0)
_NO_COUNTS: Counts = np.empty(0, dtype=np.int64)
_NO_MARKS: Marks = np.empty(0, dtype=bool)
UNIT = 1074
"""2^-1074 is the smallest float64; every other is a multiple of it."""
_BLOCK = 32_768
"""So many numbers are worked on at a time: they stay in a core's cache, and threads seldom wait for the interpreter."""
_LARGEST_EXPONENT = 0x7FF
_ROWS_A_VALUE = 200
"""From so many on, adding up each value times its count is faster than adding up the rows."""
_HIGH, _MIDDLE = 1.5 * 2.0 ** (52 + 35), 1.5 * 2.0 ** (52 + 17)
"""Adding one of these to a whole number of 53 bits and taking it away again rounds to 2^35 or 2^17."""


class Moments(NamedTuple):
    """What is known exactly of a column's numbers, whatever its level: sums of parts add up without any rounding."""

    rows: int
    total: int
    """The sum, in units of 2^-1074."""
    squares: int
    """The sum of the squares, in units of 2^-2148."""
    least: float
    greatest: float


@dataclass(frozen=True, eq=False)
class Column:
    """One column: how many fields are missing, whole numbers, fractions or text, and how often each value occurs.

    A numeric column has `values` (ascending, distinct) with their `counts`; any other has `categories`. Above level 0 a
    value marked in `mixed` stands for several and is their common pattern, the lower `level` bits 0; any other is exact.
    Read back from a statistics.json, `values` are the sketch's.
    """

    name: str
    numeric: bool | None
    """None: there is no value to tell by, and nobody said."""
    missing: int = 0
    whole: int = 0
    fractional: int = 0
    text: int = 0
    values: Floats = field(default_factory=lambda: _NO_VALUES)
    counts: Counts = field(default_factory=lambda: _NO_COUNTS)
    categories: Mapping[str, int] = field(default_factory=dict)
    moments: Moments | None = None
    """None: those of `values` and `counts`."""
    distinct: int | None = None
    """How many categories there were, where `categories` holds only the most frequent."""
    level: int = 0
    mixed: Marks = field(default_factory=lambda: _NO_MARKS)

    @property
    def present(self) -> int:
        """How many fields hold something."""
        return self.whole + self.fractional + self.text

    @property
    def completeness(self) -> float:
        """The share of fields that hold something; 1 where there are no fields."""
        fields = self.present + self.missing
        return self.present / fields if fields else 1.0

    @property
    def kind(self) -> Kind:
        """Model Monitor's `inferred_type`: by what the values are, not by how they are spelled (3.0 is Integral)."""
        if self.numeric is None or not self.present:
            return "Unknown"
        if not self.numeric:
            return "String"
        return "Fractional" if self.fractional else "Integral"

    @property
    def resolution(self) -> float:
        """The largest share of the numbers that counts as one value without being one; 0 where all are told apart."""
        return int(self.counts[self.mixed].max()) / int(self.counts.sum()) if self.level and self.mixed.any() else 0.0

    @functools.cached_property
    def exact(self) -> Moments:
        """The column's moments: those it has, else those of its values."""
        if self.moments is not None or not self.values.size:
            return self.moments or Moments(0, 0, 0, math.nan, math.nan)
        return _moments_of(self.values, self.counts)

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Mean and population standard deviation of the numbers, each as exact as a float; NaN where there are none."""
        rows, total, squares, *_ = self.exact
        if not rows:
            return math.nan, math.nan
        return total / (rows << UNIT), math.sqrt((rows * squares - total * total) / (rows * rows << 2 * UNIT))


@dataclass(frozen=True)
class Profile:
    """A table's rows and its columns by name, in the table's order."""

    rows: int
    columns: Mapping[str, Column]


def profile(
    batches: Iterable[pa.RecordBatch],
    *,
    kinds: Mapping[str, FeatureKind] | None = None,
    only: Collection[str] | None = None,
) -> Profile:
    """Return the profile of a table that fits into memory.

    `kinds` says which columns are numbers and which categories (a spec's features, or `kinds_of` the baseline); a
    column not named there is numeric when all its values are. `only` names the columns to look at; default all.
    """
    rows, chunks = _by_column(batches, only)
    # A column's rows are let go as soon as it is known.
    return profile_columns(rows, {name: functools.partial(chunks.pop, name) for name in chunks}, kinds or {})


def profile_columns(
    rows: int, readers: Mapping[str, Callable[[], list[pa.Array]]], kinds: Mapping[str, FeatureKind]
) -> Profile:
    """Return the profile of a table, each of its columns read when its turn comes; `kinds` as in `profile`."""
    # Sorting and pyarrow work without the interpreter's lock.
    columns = WORKERS.map(lambda name: _column(name, readers[name](), kinds.get(name)), readers)
    return Profile(rows, dict(zip(list(readers), columns, strict=True)))


def _by_column(
    batches: Iterable[pa.RecordBatch], only: Collection[str] | None
) -> tuple[int, dict[str, list[pa.Array]]]:
    rows = 0
    chunks: dict[str, list[pa.Array]] = {}
    for batch in batches:
        rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if only is None or name in only:
                chunks.setdefault(name, []).append(column)
    return rows, chunks


def kinds_of(known: Profile) -> dict[str, FeatureKind]:
    """Return the kinds to profile a window with so that it can be compared with this profile."""
    return {
        name: "number" if column.numeric else "category"
        for name, column in known.columns.items()
        if column.numeric is not None
    }


def _column(name: str, parts: list[pa.Array], kind: FeatureKind | None) -> Column:
    if kind == "category":
        return _categories(name, parts)
    text = is_text(parts[0])
    if kind is None and pa.types.is_dictionary(parts[0].type):
        made = _categories(name, parts)
        if numbers(pa.array(list(made.categories), pa.string())).invalid.any():
            return made
    found = list(itertools.chain.from_iterable(map(_present, _together(parts))))
    if kind is None and text and any(np.isnan(values).any() for values in found):
        return _categories(name, parts)
    missing = sum(map(len, parts)) - sum(values.size for values in found)
    one = len(found) == 1 and found[0].flags.writeable  # then it is nobody else's
    ordered = _ascending(found[0] if one else np.concatenate(found))
    # NaN is behind all numbers, so that those which are too large, and those which are none, are at the ends.
    first, last = np.searchsorted(ordered, (-LARGEST, np.nextafter(LARGEST, np.inf)))
    invalid, ordered = ordered.size - int(last - first), ordered[first:last]
    numeric = True if kind or ordered.size else None
    values, counts, mixed, level = _fold(ordered)
    if level:
        whole = sum(int(np.count_nonzero(ordered[one] == np.floor(ordered[one]))) for one in _blocks(ordered.size))
    else:
        whole = int(counts[values == np.floor(values)].sum())
    fractional = ordered.size - whole
    moments = None
    if ordered.size:
        few = not level and values.size < ordered.size / _ROWS_A_VALUE
        moments = _moments_of(values, counts) if few else _moments(ordered)
    return Column(
        name, numeric, missing, whole, fractional, invalid, values, counts, moments=moments, level=level, mixed=mixed
    )


def _together(parts: list[pa.Array]) -> list[pa.Array | pa.ChunkedArray]:
    """Return a column's parts as one where they have one type."""
    return [pa.chunked_array(parts)] if len({part.type for part in parts}) == 1 else list(parts)


def _present(part: pa.Array | pa.ChunkedArray) -> Iterator[Floats]:
    """Yield the numbers of a column, NaN for texts that are none."""
    if is_text(part):
        read = numbers(part)
        yield read.values[~read.nulls] if part.null_count else read.values
    else:
        yield np.asarray(part.drop_null().to_numpy(zero_copy_only=False), dtype=np.float64)


def _categories(name: str, parts: list[pa.Array]) -> Column:
    one, *more = _together(parts)
    together = one if not more and is_text(one) else pa.chunked_array([texts(part) for part in parts])
    encoded = (together if pa.types.is_dictionary(together.type) else together.dictionary_encode()).unify_dictionaries()
    seen: dict[str, int] = {}
    if encoded.num_chunks:
        names = encoded.chunk(0).dictionary
        indices = np.concatenate([chunk.indices.drop_null().to_numpy() for chunk in encoded.chunks])
        counts = np.bincount(indices, minlength=len(names)).tolist()
        for text, count in zip(names.to_pylist(), counts, strict=True):
            if count and text is not None:  # a dictionary may hold what no row has, a null, and a text twice
                seen[text] = seen.get(text, 0) + count
    present = sum(seen.values())
    missing = len(together) - present
    return Column(name, numeric=False, missing=missing, text=present, categories=dict(sorted(seen.items())))


def tally(values: Floats, level: int = 0) -> tuple[Floats, Counts, int]:
    """Return the distinct values in ascending order, how often each occurs, and the level (at least the one asked)."""
    found, counts, _, level = _fold(_ascending(values.copy()), level=level)
    return found, counts, level


def _ascending(values: Floats) -> Floats:
    """Return the values, sorted where they are."""
    values.sort()
    values += 0.0  # -0.0 becomes 0.0
    return values


def _fold(
    values: Floats, counts: Counts | None = None, mixed: Marks | None = None, level: int = 0
) -> tuple[Floats, Counts, Marks, int]:
    """Return values in order (equal ones once), their counts and marks at the lowest level that leaves `LIMIT` of them.

    `level` is the least to take; without `counts` each value occurs once, without `mixed` each is exact.
    """
    if not values.size:
        return _NO_VALUES, _NO_COUNTS, _NO_MARKS, level
    bits = values.view(np.uint64)
    steps = bits[1:] ^ bits[:-1]
    level = max(level, _level(steps))
    first = np.append(True, steps >= np.uint64(1 << level))
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], values.size)
    summed = ends - starts if counts is None else np.add.reduceat(counts, starts)
    found = values[starts]
    if not level:
        return found, summed.astype(np.int64), np.zeros(found.size, dtype=bool), 0
    several = found != values[ends - 1]
    if mixed is not None:
        several |= np.logical_or.reduceat(mixed, starts)
    return np.where(several, pattern(found, level), found), summed.astype(np.int64), several, level


def pattern(values: Floats, level: int) -> Floats:
    """Return the values with their lowest `level` bits 0."""
    low = np.uint64(level)
    return (values.view(np.uint64) >> low << low).view(np.float64)


def _blocks(size: int) -> Iterator[slice]:
    """Yield the parts of an array: what is made of each of them stays in a core's cache."""
    return (slice(first, min(size, first + _BLOCK)) for first in range(0, size, _BLOCK))


def _level(steps: NDArray[np.uint64]) -> int:
    """Return the lowest level at which at most `LIMIT` patterns are left, from what differs between neighbours.

    Two neighbours are one pattern when they differ only in bits below the level: the higher, the fewer are left.
    """
    if steps.size < LIMIT:
        return 0
    sample = steps[:: 1 + steps.size // LIMIT]  # it tells where to look; all of them decide
    share = LIMIT * sample.size // steps.size
    level = bisect.bisect_left(range(63), 0, key=lambda level: share - _left(sample, level))
    while _left(steps, level) > LIMIT:
        level += 1
    while level and _left(steps, level - 1) <= LIMIT:
        level -= 1
    return level


def _left(steps: NDArray[np.uint64], level: int) -> int:
    return 1 + int(np.count_nonzero(steps >= np.uint64(1 << level)))


def at_level(column: Column, level: int) -> Column:
    """Return a numeric column at `level` or, where it is coarser already, at its own."""
    if level <= column.level:
        return column
    mixed = column.mixed if column.level else None
    values, counts, mixed, level = _fold(column.values, column.counts, mixed, level)
    return dataclasses.replace(column, values=values, counts=counts, mixed=mixed, level=level, moments=column.exact)


def in_units(value: float) -> int:
    """Return a float exactly, in units of 2^-1074."""
    above, below = value.as_integer_ratio()  # below is a power of 2
    return (above << UNIT) // below


def _moments(ordered: Floats) -> Moments:
    """Return the exact moments of ascending numbers.

    Numbers of one sign and exponent are whole multiples, below 2^53, of one unit. Split into three parts of 18 bits,
    the products of a block's parts add up below 2^53, so each sum is exact in any order.
    """
    total = squares = start = 0
    room = np.empty((3, min(_BLOCK, ordered.size)))
    while start < ordered.size:
        head = int(ordered[start : start + 1].view(np.uint64)[0]) >> 52
        negative = head > _LARGEST_EXPONENT
        # Of the numbers of its sign and exponent the last is the smallest (below 0), or just below the next exponent's.
        edge = np.uint64(head + (not negative) << 52).view(np.float64)
        end = int(np.searchsorted(ordered, edge, side="right" if negative else "left"))
        shift = max(head & _LARGEST_EXPONENT, 1) - 1
        for first in range(start, end, _BLOCK):
            rest = _scaled(ordered[first : min(end, first + _BLOCK)], UNIT - shift)
            high, middle, low = parts = room[:, : rest.size]
            for part, rounding in ((high, _HIGH), (middle, _MIDDLE)):
                np.add(rest, rounding, out=part)
                np.subtract(part, rounding, out=part)
                rest = np.subtract(rest, part, out=low)
            total += sum(map(int, parts.sum(axis=1).tolist())) << shift
            products = sum(int(one @ one) for one in parts) + 2 * (
                int(high @ middle) + int(high @ low) + int(middle @ low)
            )
            squares += products << 2 * shift
        start = end
    return Moments(ordered.size, total, squares, float(ordered[0]), float(ordered[-1]))


def _scaled(values: Floats, power: int) -> Floats:
    """Return numbers times 2^power, by the faster way where that power is a float."""
    return np.ldexp(values, power) if power >= sys.float_info.max_exp else values * math.ldexp(1.0, power)


def _moments_of(values: Floats, counts: Counts) -> Moments:
    pairs = [(in_units(v), n) for v, n in zip(values.tolist(), counts.tolist(), strict=True)]
    total, squares = sum(v * n for v, n in pairs), sum(v * v * n for v, n in pairs)
    return Moments(int(counts.sum()), total, squares, float(values[0]), float(values[-1]))


def merge(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of the tables together; the order and the grouping of the profiles do not matter.

    A column that one table lacks is missing in all of its rows.

    Raises:
        BadInputError: a column holds numbers in one table and categories in another: profile both with the same kinds.
    """
    together = list(profiles)
    names = sorted({name for one in together for name in one.columns})
    rows = sum(one.rows for one in together)
    columns = {}
    for name in names:
        having = [(one, one.columns[name]) for one in together if name in one.columns]
        absent = rows - sum(one.rows for one, _ in having)
        columns[name] = _merged(name, [column for _, column in having], absent)
    return Profile(rows, columns)


def _merged(name: str, parts: list[Column], absent: int) -> Column:
    kinds = {part.numeric for part in parts} - {None}
    if len(kinds) > 1:
        raise BadInputError(f"profile of {name}", "numbers in one part, categories in another", "one kind in all parts")
    categories: dict[str, int] = {}
    for part in parts:
        for category, count in part.categories.items():
            categories[category] = categories.get(category, 0) + count
    cut = [part.distinct for part in parts if part.distinct is not None and part.distinct > len(part.categories)]
    known = Column(
        name,
        numeric=next(iter(kinds), None),
        missing=absent + sum(part.missing for part in parts),
        whole=sum(part.whole for part in parts),
        fractional=sum(part.fractional for part in parts),
        text=sum(part.text for part in parts),
        categories=dict(sorted(categories.items())),
        distinct=max(*cut, len(categories) + 1) if cut else None,
    )
    full = [part for part in parts if part.values.size]
    return _with_numbers(known, full) if full else known


def _with_numbers(known: Column, parts: list[Column]) -> Column:
    level = max(part.level for part in parts)
    parts = [at_level(part, level) for part in parts]
    values = np.concatenate([part.values for part in parts])
    # By pattern, not by value: the pattern of the smallest negative numbers is -0.0, which equals 0.0.
    bits = values.view(np.int64)
    order = np.argsort(bits ^ ((bits >> 63) & (2**63 - 1)), kind="stable")
    counts = np.concatenate([part.counts for part in parts])[order]
    mixed = np.concatenate([part.mixed for part in parts])[order] if level else None
    values, counts, mixed, level = _fold(values[order], counts, mixed, level)
    rows, total, squares, least, greatest = zip(*(part.exact for part in parts), strict=True)
    moments = Moments(sum(rows), sum(total), sum(squares), min(least), max(greatest))
    return dataclasses.replace(known, values=values, counts=counts, mixed=mixed, level=level, moments=moments)
