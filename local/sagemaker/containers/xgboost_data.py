"""The data formats of the built-in XGBoost algorithm, the same for training and for serving."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CONTENT_TYPES = {
    "csv": "csv",
    "text/csv": "csv",
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
}
_GAP = re.compile(rb"(?m)(?<=,)(?=,|\r?$)|^(?=,)")


def content_format(content_type: str) -> str:
    """Return csv, libsvm or parquet. Raises ValueError for any other content type."""
    name = content_type.partition(";")[0].strip().lower()
    if name not in CONTENT_TYPES:
        raise ValueError(f"{content_type!r} is not an accepted ContentType: allowed are {', '.join(CONTENT_TYPES)}")
    return CONTENT_TYPES[name]


def csv_rows(text: bytes) -> Floats:
    """Return the numbers of a CSV without header as rows x columns; an empty field is a missing value (NaN).

    Raises:
        ValueError: naming row and column of what is no number, or the row with another number of columns.
    """
    text = text.strip(b"\r\n")
    if not text.strip():
        return np.empty((0, 0), dtype=np.float32)
    if _GAP.search(text):
        text = _GAP.sub(b"nan", text)
    rows: Floats = np.loadtxt(
        io.BytesIO(text), dtype=np.float32, delimiter=",", comments=None, ndmin=2, encoding="utf-8"
    )
    return rows


def libsvm_rows(text: bytes, columns: int | None = None) -> tuple[Any, Floats]:
    """Return (sparse features, labels) of `label index:value ...` lines; indices as written, as xgboost's own reader.

    A line without label has label NaN. `columns` is the model's number of features, else the largest index decides.

    Raises:
        ValueError: naming the line.
    """
    from scipy.sparse import csr_matrix

    labels, values, indices, ends = list[float](), list[float](), list[int](), [0]
    for number, line in enumerate(text.decode().splitlines()):
        tokens = line.split()
        if not tokens:
            continue
        try:
            labels.append(float(tokens.pop(0)) if ":" not in tokens[0] else float("nan"))
            for token in tokens:
                index, _, value = token.partition(":")
                indices.append(int(index))
                values.append(float(value))
        except ValueError as error:
            raise ValueError(f"line {number}: {line[:50]!r} is not in libsvm format") from error
        ends.append(len(indices))
    width = max(indices, default=-1) + 1
    shape = (len(labels), width if columns is None else max(columns, width))
    features = csr_matrix(
        (np.array(values, dtype=np.float32), np.array(indices, dtype=np.int32), np.array(ends)), shape
    )
    return features, np.array(labels, dtype=np.float32)


def read_files(directory: Path, kind: str, *, weighted: bool = False) -> tuple[Any, Floats, Floats | None]:
    """Return (features, labels, weights) of all files of a channel.

    The label is the first column of CSV and Parquet; with `weighted` the second column of CSV is the row's weight.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    tables, labels = [], []
    for path in sorted(
        path for path in directory.rglob("*") if path.is_file() and not path.name.startswith((".", "_"))
    ):
        try:
            if kind == "libsvm":
                features, label = libsvm_rows(path.read_bytes())
                tables.append(features)
                labels.append(label)
            else:
                table = csv_rows(path.read_bytes()) if kind == "csv" else _parquet_rows(path)
                if table.size:
                    tables.append(table)
                    labels.append(table[:, 0])
            if labels and np.isnan(labels[-1]).any():
                raise ValueError(f"row {int(np.isnan(labels[-1]).argmax())} has no label")  # noqa: TRY301
        except ValueError as error:
            raise ValueError(f"Failed to load {kind} data from {path.name}: {error}") from error
    if not tables:
        raise ValueError(f"No data in channel path {directory}")
    if kind == "libsvm":
        return _stack_sparse(tables), np.concatenate(labels), None
    if len({table.shape[1] for table in tables}) > 1:
        raise ValueError(f"the files of {directory} differ in their number of columns")
    whole, first = np.concatenate(tables), 2 if weighted else 1
    if whole.shape[1] <= first:
        raise ValueError(f"the files of {directory} have {whole.shape[1]} column(s): the label and no feature")
    return whole[:, first:], whole[:, 0], whole[:, 1] if weighted else None


def _stack_sparse(tables: list[Any]) -> Any:
    from scipy.sparse import vstack

    width = max(table.shape[1] for table in tables)
    for table in tables:
        table.resize((table.shape[0], width))
    return vstack(tables, format="csr")


def _parquet_rows(path: Path) -> Floats:
    from pyarrow import parquet

    table = parquet.read_table(path)
    return np.column_stack([column.to_numpy().astype(np.float32) for column in table.columns])
