"""The profile of a table: exact counts by value, column by column; the same rows in any order give the same profile.

Sorting is the cost. NumPy's AVX-512 sort is slow on AMD Zen 4 (numpy/x86-simd-sort#6): functions on such machines set
NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" before Python starts.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnet.errors import BadInputError
from linnet.monitoring.tables import is_text, numbers, texts

Kind = Literal["Integral", "Fractional", "String", "Unknown"]
FeatureKind = Literal["number", "category"]
_NO_VALUES: NDArray[np.float64] = np.empty(0)
_NO_COUNTS: NDArray[np.int64] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Column:
    """One column: how many fields are missing, whole numbers, fractions or text, and how often each value occurs.

    A numeric column has `values` (ascending, distinct) with their `counts`; any other has `categories`. Read back
    from a statistics.json, `values` are the sketch's, and `moments` (mean, standard deviation) are the exact ones.
    """

    name: str
    numeric: bool | None
    """None: there is no value to tell by, and nobody said."""
    missing: int = 0
    whole: int = 0
    fractional: int = 0
    text: int = 0
    values: NDArray[np.float64] = field(default_factory=lambda: _NO_VALUES)
    counts: NDArray[np.int64] = field(default_factory=lambda: _NO_COUNTS)
    categories: Mapping[str, int] = field(default_factory=dict)
    moments: tuple[float, float] | None = None
    distinct: int | None = None
    """How many categories there were, where `categories` holds only the most frequent."""

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

    @functools.cached_property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Mean and population standard deviation of the numbers; NaN where there are none."""
        if self.moments is not None:
            return self.moments
        total = int(self.counts.sum())
        if not total:
            return float("nan"), float("nan")
        mean = float(np.dot(self.values, self.counts) / total)
        return mean, float(np.sqrt(np.dot((self.values - mean) ** 2, self.counts) / total))


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
    kinds = kinds or {}
    rows = 0
    chunks: dict[str, list[pa.Array]] = {}
    for batch in batches:
        rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if only is None or name in only:
                chunks.setdefault(name, []).append(column)
    return Profile(rows, {name: _column(name, parts, kinds.get(name)) for name, parts in chunks.items()})


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
    same = len({part.type for part in parts}) == 1
    found = [numbers(pa.chunked_array(parts))] if same else [numbers(part) for part in parts]
    invalid = sum(int(part.invalid.sum()) for part in found)
    if kind is None and invalid and is_text(parts[0]):
        return _categories(name, parts)
    missing = sum(int(part.nulls.sum()) for part in found)
    values, counts = tally(np.concatenate([part.valid for part in found]))
    fractional = int(counts[values != np.floor(values)].sum())
    whole = int(counts.sum()) - fractional
    numeric = True if kind or whole or fractional else None
    return Column(name, numeric, missing, whole, fractional, invalid, values, counts)


def _categories(name: str, parts: list[pa.Array]) -> Column:
    counts: dict[str, int] = {}
    for part in parts:
        tallied = pc.value_counts((part if is_text(part) else texts(part)).drop_null())
        for value, count in zip(tallied.field("values").to_pylist(), tallied.field("counts").to_pylist(), strict=True):
            counts[value] = counts.get(value, 0) + count
    present, missing = sum(counts.values()), sum(part.null_count for part in parts)
    return Column(name, numeric=False, missing=missing, text=present, categories=dict(sorted(counts.items())))


def tally(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distinct values in ascending order and how often each occurs."""
    if not values.size:
        return _NO_VALUES, _NO_COUNTS
    ordered = np.sort(values + 0.0)  # -0.0 becomes 0.0
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[starts], np.diff(np.append(starts, ordered.size)).astype(np.int64)


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
    values, inverse = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
    counts = np.zeros(values.size, dtype=np.int64)
    np.add.at(counts, inverse, np.concatenate([part.counts for part in parts]))
    categories: dict[str, int] = {}
    for part in parts:
        for category, count in part.categories.items():
            categories[category] = categories.get(category, 0) + count
    return Column(
        name,
        numeric=next(iter(kinds), None),
        missing=absent + sum(part.missing for part in parts),
        whole=sum(part.whole for part in parts),
        fractional=sum(part.fractional for part in parts),
        text=sum(part.text for part in parts),
        values=values,
        counts=counts,
        categories=dict(sorted(categories.items())),
    )
