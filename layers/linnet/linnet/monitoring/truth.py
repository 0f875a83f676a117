"""Ground truth: what came true, and which captured request it belongs to (MO-05).

Labels come late, twice and in any order: a request's label is the one in the last file that has one, by the files' keys,
which begin with the hour in which labels were collected. When they were read does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnet.monitoring import template
from linnet.monitoring.capture import Floats, Rows
from linnet.monitoring.records import NULLS, labels_of
from linnet.monitoring.tables import numbers

Ints = NDArray[np.int64]
_WANTED: Mapping[str, tuple[str, ...]] = {"data": ("groundTruthData", "data"), "event": ("eventMetadata", "eventId")}
_FIXED: Mapping[tuple[str, ...], str] = {("groundTruthData", "encoding"): "CSV"}


@dataclass(frozen=True)
class Truth:
    """The labels of requests; memory grows with their number (some 60 bytes each)."""

    ids: pa.Array
    """Each request once."""
    labels: pa.Array
    """All labels as text, null where the field is missing; those of a request follow each other, a row each."""
    starts: Ints
    """Where each request's labels start."""
    sizes: Ints
    """How many each request has."""
    bad: int
    """Lines that could not be read."""
    duplicates: int
    """Lines of a request that has a later one."""


@dataclass(frozen=True)
class Joined:
    """The predictions whose truth is known, and how many rows have none: those are counted, not scored."""

    labels: Floats
    scores: Floats
    kept: NDArray[np.bool_]
    """Which of the rows these are."""
    unlabelled: int
    unpredicted: int
    """Rows with a label but without a usable answer of the endpoint."""

    @property
    def join_rate(self) -> float | None:
        """The share of captured rows that have a label; None without rows."""
        return (len(self.kept) - self.unlabelled) / len(self.kept) if len(self.kept) else None


@dataclass(frozen=True)
class _Lines:
    """Lines of ground truth: ids, and how many labels each has, all of them one behind the other."""

    ids: pa.Array
    sizes: Ints
    labels: pa.Array


def read_truth(files: Iterable[tuple[str, bytes]]) -> Truth:
    """Return the labels in files (key, content), which may come in any order."""
    found: list[tuple[str, list[_Lines], int]] = []
    for key, content in files:
        read = [_read(piece) for piece in template.pieces([content])]
        found.append((key, [part for made, _ in read for part in made], sum(bad for _, bad in read)))
    parts = [part for _, made, _ in sorted(found, key=lambda one: one[0]) for part in made]
    ids = pa.concat_arrays([part.ids for part in parts] or [pa.array([], pa.string())])
    labels = pa.concat_arrays([part.labels for part in parts] or [pa.array([], pa.string())])
    sizes = np.concatenate([np.zeros(0, dtype=np.int64), *(part.sizes for part in parts)])
    starts = np.cumsum(sizes) - sizes
    known = ids.dictionary_encode()
    last = np.zeros(len(known.dictionary), dtype=np.int64)
    last[known.indices.to_numpy()] = np.arange(len(ids))  # of an id that is there twice, the later line stays
    bad = sum(wrong for _, _, wrong in found)
    return Truth(known.dictionary, labels, starts[last], sizes[last], bad, len(ids) - len(last))


def labels_for(rows: Rows, truth: Truth) -> pa.Array:
    """Return each row's label as text, null where there is none: a request of several rows needs as many labels."""
    found = pc.index_in(rows.ids, truth.ids).fill_null(-1).to_numpy()
    if not len(truth.ids):
        return pa.nulls(len(found), pa.string())
    fitting = (found >= 0) & (truth.sizes[found] == rows.sizes)
    places = pa.array(truth.starts[found] + rows.places, mask=~fitting)
    return truth.labels.take(places)


def join(rows: Rows, truth: Truth) -> Joined:
    """Return captured predictions with their labels as numbers, joined by inference id, else by event id."""
    labels = numbers(labels_for(rows, truth)).values
    labelled = np.isfinite(labels)
    kept = labelled & np.isfinite(rows.predictions)
    return Joined(labels[kept], rows.predictions[kept], kept, int((~labelled).sum()), int((labelled & ~kept).sum()))


def labelled(rows: Rows, truth: Truth, *, label: str, entity: str) -> pa.RecordBatch:
    """Return the captured rows whose truth is known, as a table to train on: the features, and `label` and `entity` as text.

    The entity is the inference id, unless it is a feature: who wants a row on the right side of the holdout sends the
    entity's id along. Rows join their labels as in `join`.
    """
    there = zip(rows.features.column_names, rows.features.columns, strict=True)
    columns = {name: template.whole(part) if isinstance(part, pa.ChunkedArray) else part for name, part in there}
    columns[label] = labels_for(rows, truth)
    columns.setdefault(entity, rows.ids)
    made = pa.RecordBatch.from_pydict(columns)
    return made.filter(made.column(label).is_valid())


def _read(piece: bytes) -> tuple[list[_Lines], int]:
    """Return the labels of a piece, in the order of its lines where that matters, and how many lines are bad."""
    usual, other = template.read(piece, _template, {})
    found = []
    for values in usual:
        (labels,), (ids,) = values.columns["data"], values.columns["event"]
        good = pc.and_(pc.not_equal(ids, ""), pc.not_equal(labels, ""))
        if not pc.all(good, min_count=0).as_py():
            other += values.lines.filter(pc.invert(good)).to_pylist()
            labels, ids = labels.filter(good), ids.filter(good)
        labels = template.first_field(labels)
        labels = pc.if_else(pc.is_in(labels, pa.array(NULLS)), pa.scalar(None, pa.string()), labels)
        found.append(_Lines(ids, np.ones(len(ids), dtype=np.int64), labels))
    lines, bad = _by_line(other)
    if len(lines.ids):
        found.append(lines)
    if len(found) > 1:
        ids = pa.concat_arrays([lines.ids for lines in found])
        if len(pc.unique(ids)) < len(ids):  # of two lines of a request the later counts, whatever their shapes
            lines, bad = _by_line(piece.split(b"\n"))
            found = [lines]
    return found, bad


def _template(line: bytes) -> template.Template | None:
    return template.template_of(line, _WANTED, fixed=_FIXED, needed=("data", "event"), payloads=("data",))


def _by_line(lines: Iterable[bytes]) -> tuple[_Lines, int]:
    ids: list[str] = []
    sizes: list[int] = []
    labels: list[str | None] = []
    bad = 0
    for found in labels_of(b"\n".join(lines)):
        if found is None:
            bad += 1
        else:
            ids.append(found[0])
            sizes.append(len(found[1]))
            labels += found[1]
    return _Lines(pa.array(ids, pa.string()), np.array(sizes, dtype=np.int64), pa.array(labels, pa.string())), bad
