"""From accepted batches to a run's files: training, validation and the holdout that champion and candidate share.

On which side a row lies is a function of its entity alone, so that it never changes sides as data grows (F26). What is
held out is never trained on, in any batch; but only the newest batch's part of it is judged on, because an older
holdout would favour the old champion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from linnet.errors import BadInputError
from linnet.monitoring.tables import DEFAULT_LIMITS, Limits, Source, numbers, read_table, texts

Side = Literal["train", "validation", "test"]
_RANGE = 2**64
_SAMPLE = 2_000
"""So many older held-out rows, and so many training rows, are answered for the report."""
_WHICH = "which"
_FACET = "\0facet"
"""No column of a file can have this name."""
_LINE_ENDS = r"[\n\v\f\r\x1c-\x1e\x{85}\x{2028}\x{2029}]"
"""A line of the labels stays one line, whatever the facet holds."""
_WITHOUT_HEADER = pacsv.WriteOptions(include_header=False, quoting_style="needed")


@dataclass(frozen=True)
class Prepared:
    """A run's files, and how many rows went where; `validation` is None when its share is 0.

    `train` and `validation` have the label first. `test_features` and `test_labels` belong together line by line: the
    newest batch's part of the holdout, which alone decides, then samples of the older part and of the training rows. The
    second field of a label's line says which it is: newest, older or train.
    """

    train: Path
    validation: Path | None
    test_features: Path
    test_labels: Path
    columns: tuple[str, ...]
    """The columns of `train`: the label, then the features as the spec orders them."""
    rows: Mapping[str, int]
    """train, validation, test; held_out_older (older batches' and capture's part of the holdout), dropped (no label or no
    entity), and labelled: how many of all come from labelled capture."""


def position(entity: str) -> float:
    """Return where an entity lies, from 0 to below 1, evenly spread and for ever the same."""
    return int.from_bytes(hashlib.blake2b(entity.encode(), digest_size=8).digest(), "big") / _RANGE


def side(entity: str, *, holdout: float, validation: float) -> Side:
    """Return the side of an entity: below `holdout` test, below `holdout + validation` validation, else train."""
    where = position(entity)
    return "test" if where < holdout else "validation" if where < holdout + validation else "train"


def prepare(
    older: Sequence[Source],
    newest: Sequence[Source],
    data: Mapping[str, Any],
    into: Path,
    *,
    algorithm: Literal["xgboost", "script"],
    limits: Limits = DEFAULT_LIMITS,
    labelled: pa.RecordBatch | None = None,
    facet: str | None = None,
) -> Prepared:
    """Write a run's files into the folder `into`, from batches that passed validation.

    `data` is a spec's `data` section as plain JSON: label, entity, features, holdout, validation. For `xgboost` the
    files are numbers, label first, no header, no index, a missing value an empty field (DV-04); for `script` train and
    validation have a header and categories stay text. The test features never have a header: they are what an endpoint
    receives. `labelled` are captured requests whose truth is known: they are trained on like an older batch; those that
    hold no number where one belongs are left out. `facet` is a column that goes into the labels' third field alone.

    Raises:
        DataError: a file cannot be read or lacks a column.
        BadInputError: a category or a text where XGBoost needs a number (named), or no row for training or the holdout.
    """
    label, entity = data["label"], data["entity"]
    features: Mapping[str, str] = data["features"]
    categories = [name for name, kind in features.items() if kind == "category"]
    if algorithm == "xgboost" and categories:
        raise BadInputError(f"features.{categories[0]}", "category", "numbers: built-in XGBoost takes no categories")
    columns = (label, *features)
    rows = dict.fromkeys(("train", "validation", "test", "held_out_older", "dropped", "labelled"), 0)
    into.mkdir(parents=True, exist_ok=True)
    paths = {name: into / f"{name}.csv" for name in ("train", "validation", "test_features", "test_labels")}
    kinds = {label: "number", **features}
    schema = pa.schema([(name, pa.float64() if kinds[name] == "number" else pa.string()) for name in columns])
    told = schema.append(pa.field(_FACET, pa.string())) if facet else schema
    with ExitStack() as stack:
        files = {}
        for name, path in paths.items():
            file = stack.enter_context(path.open("wb"))
            if algorithm == "script" and not name.startswith("test"):
                file.write((",".join(columns) + "\n").encode())
            files[name] = stack.enter_context(pacsv.CSVWriter(file, _part(told, name), write_options=_WITHOUT_HEADER))
        asked = [] if labelled is None else [_usable(labelled, schema)]
        rows["labelled"] = sum(batch.num_rows for batch in asked)
        # File by file: batches may differ in columns that nobody asks for.
        earlier = chain(asked, (batch for one in older for batch in read_table([one], limits=limits)))
        latest = (batch for one in newest for batch in read_table([one], limits=limits))
        samples = {"held_out_older": _Sample(told), "train": _Sample(told)}
        for batch, age in chain(zip(earlier, repeat("older")), zip(latest, repeat("newest"))):
            table, places, dropped = _readable(batch, told, entity, facet)
            rows["dropped"] += dropped
            for name, part in _deal(table, places, data, newest=age == "newest"):
                rows[name] += part.num_rows
                _write(files, name, part)
                if name in samples:
                    samples[name].add(part)
        _answer_for(files, "older", samples["held_out_older"].rows())
        _answer_for(files, "train", samples["train"].rows())
    for name, what in (("train", "training"), ("test", "the holdout of the newest batch")):
        if not rows[name]:
            raise BadInputError(f"rows for {what}", 0, "at least one: more data, or more entities in it")
    if not rows["validation"]:
        paths["validation"].unlink()
    validation = paths["validation"] if rows["validation"] else None
    return Prepared(paths["train"], validation, paths["test_features"], paths["test_labels"], columns, rows)


def _deal(
    table: pa.RecordBatch, places: NDArray[np.float64], data: Mapping[str, Any], *, newest: bool
) -> Iterator[tuple[str, pa.RecordBatch]]:
    held_out = places < data["holdout"]
    validating = ~held_out & (places < data["holdout"] + data["validation"])
    masks = {
        "train": ~held_out & ~validating,
        "validation": validating,
        "test" if newest else "held_out_older": held_out,
    }
    for name, mask in masks.items():
        yield name, table.filter(pa.array(mask))


def _facet(batch: pa.RecordBatch, facet: str | None) -> pa.Array:
    """Return the facet's column; requests that were captured have it only where it is a feature."""
    return batch.column(facet) if facet in batch.schema.names else pa.nulls(batch.num_rows, pa.string())


def _usable(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the requests that read as the features do; none where callers asked with other columns."""
    if missing := [name for name in schema.names if name not in batch.schema.names]:
        batch = batch.slice(0, 0)
        for name in missing:
            batch = batch.append_column(name, pa.array([], pa.string()))
    keep = np.ones(batch.num_rows, dtype=bool)
    for field in schema:
        if not pa.types.is_string(field.type):
            keep &= ~numbers(batch.column(field.name)).invalid
    return batch.filter(pa.array(keep))


def _write(files: Mapping[str, pacsv.CSVWriter], name: str, part: pa.RecordBatch) -> None:
    if name == "test":
        _answer_for(files, "newest", part)
    elif name in files:
        files[name].write_batch(part.select(_without_facet(part.schema)))


def _answer_for(files: Mapping[str, pacsv.CSVWriter], which: str, part: pa.RecordBatch) -> None:
    """Let candidate and champion answer these rows, and remember the labels and which rows they are."""
    names = _without_facet(part.schema)
    files["test_features"].write_batch(part.select(names[1:]))
    labels = part.select(names[:1]).append_column(_WHICH, pa.array([which] * part.num_rows, pa.string()))
    if _FACET in part.schema.names:
        labels = labels.append_column(_FACET, part.column(_FACET))
    files["test_labels"].write_batch(labels)


def _without_facet(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if name != _FACET]


class _Sample:
    """At most `_SAMPLE` rows, evenly spread over all that are added, whatever their batches' sizes; little is held."""

    def __init__(self, schema: pa.Schema) -> None:
        self._kept = pa.RecordBatch.from_pylist([], schema=schema)
        self._seen, self._stride = 0, 1

    def add(self, part: pa.RecordBatch) -> None:
        """Keep each stride-th row of all; beyond twice the sample the stride doubles and every second one goes."""
        chosen = part.take(pa.array(np.arange(-self._seen % self._stride, part.num_rows, self._stride)))
        self._seen += part.num_rows
        table = pa.Table.from_batches([self._kept, chosen]).combine_chunks()
        self._kept = next(iter(table.to_batches()), self._kept)
        while self._kept.num_rows > 2 * _SAMPLE:
            self._kept = self._kept.take(pa.array(np.arange(0, self._kept.num_rows, 2)))
            self._stride *= 2

    def rows(self) -> pa.RecordBatch:
        """Return the sample."""
        if self._kept.num_rows <= _SAMPLE:
            return self._kept
        return self._kept.take(pa.array(np.linspace(0, self._kept.num_rows - 1, _SAMPLE).astype(np.int64)))


def _part(schema: pa.Schema, name: str) -> pa.Schema:
    names = _without_facet(schema)
    if name == "test_labels":
        facet = [schema.field(_FACET)] if _FACET in schema.names else []
        return pa.schema([schema.field(0), pa.field(_WHICH, pa.string()), *facet])
    return pa.schema([schema.field(column) for column in (names[1:] if name == "test_features" else names)])


def _readable(
    batch: pa.RecordBatch, schema: pa.Schema, entity: str, facet: str | None
) -> tuple[pa.RecordBatch, NDArray[np.float64], int]:
    """Return the label and the features in order, the rows' positions, and how many rows had no label or no entity."""
    for name in (entity, *_without_facet(schema)):
        if name not in batch.schema.names:
            raise BadInputError("columns", batch.schema.names, f"the column {name} among them")
    arrays = []
    for field in schema:
        if field.name == _FACET:
            arrays.append(pc.replace_substring_regex(texts(_facet(batch, facet)), _LINE_ENDS, " "))
            continue
        column = batch.column(field.name)
        if pa.types.is_string(field.type):
            arrays.append(texts(column))
            continue
        found = numbers(column)
        if found.invalid.any():
            text = texts(column)[int(np.argmax(found.invalid))].as_py()
            raise BadInputError(f"column {field.name}", text, "numbers")
        arrays.append(pa.array(found.values, mask=found.nulls))
    table = pa.RecordBatch.from_arrays(arrays, schema=schema)
    ids = pc.utf8_trim_whitespace(texts(batch.column(entity)))
    keep = pc.and_(ids.is_valid(), table.column(0).is_valid())
    kept = ids.filter(keep).dictionary_encode()
    places = np.array([position(name) for name in kept.dictionary.to_pylist()], dtype=np.float64)
    where = places[np.asarray(kept.indices)] if len(kept) else np.empty(0)
    return table.filter(keep), where, batch.num_rows - len(kept)
