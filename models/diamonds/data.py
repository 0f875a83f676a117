"""Raw-data batches and live requests of the sample model `diamonds`: is a diamond worth more than 5,000 dollars?

Source: diamonds.csv (53,940 round cut diamonds, from ggplot2) as the package plotnine 0.15.9 (MIT) ships it.
"""

from __future__ import annotations

import argparse
import csv
import functools
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from models import batches

ENTITY, LABEL = "diamond_id", "expensive"
FEATURES = ("carat", "cut", "color", "clarity", "depth", "table")
COLUMNS = (ENTITY, LABEL, *FEATURES)
EXPENSIVE_ABOVE = 5000
BIG_FROM = 1.0
Size = Literal["small", "big", "all"]


def batch(*, size: Size = "all", rows: int = 6000, part: int = 0, damaged: bool = False) -> dict[str, bytes]:
    """Return a batch's files by name; the same arguments give the same bytes on every machine.

    `big` are the diamonds from one carat up, `small` the others: far from each other in `carat`. Parts of a size are
    disjoint. A damaged batch lacks 2 % of its ids and has weights in milligrams.

    Raises:
        ValueError: the size has too few diamonds for this part.
    """
    chosen = _rows(size)
    picked = [list(row) for row in chosen[part * rows : (part + 1) * rows]]
    if len(picked) < rows:
        raise ValueError(f"size {size} has {len(chosen)} diamonds: too few for part {part} of {rows} rows")
    if damaged:
        for index, row in enumerate(picked):
            if index % 50 == 0:
                row[0] = ""
            if index % 200 == 1:
                row[2] = f"{float(row[2]) * 200:g}"
    return batches.files(COLUMNS, picked)


def requests(*, size: Size = "all", count: int = 2000) -> list[str]:
    """Return what callers send, one CSV row of features each, from the end of the order that batches start."""
    return [batches.csv_text([row[2:]]).rstrip("\n") for row in _rows(size)[::-1][:count]]


def spec() -> dict[str, Any]:
    """Return the model's spec as written."""
    return dict(yaml.safe_load((Path(__file__).parent / "diamonds.yaml").read_text()))


def sourcedir() -> bytes:
    """Return train.py as the sourcedir.tar.gz that the spec's `source` names; the same script gives the same bytes."""
    content = (Path(__file__).parent / "train.py").read_bytes()
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("train.py")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@functools.cache
def _rows(size: Size) -> list[tuple[Any, ...]]:
    """Return the diamonds of a size as COLUMNS, in the shuffled order; an id is the diamond's place in the source."""
    rows = []
    path = batches.package_file("plotnine", "plotnine/data/diamonds.csv")
    with path.open(newline="") as file:
        for number, found in enumerate(csv.DictReader(file), 1):
            if size == "all" or (float(found["carat"]) >= BIG_FROM) == (size == "big"):
                label = int(float(found["price"]) > EXPENSIVE_ABOVE)
                rows.append((f"d{number:05d}", label, *(found[name] for name in FEATURES)))
    return sorted(rows, key=lambda row: batches.shuffled(row[0]))


def main(arguments: list[str] | None = None) -> None:
    """Write a batch as files: python -m models.diamonds.data --batch first --out DIR; or the script's archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--batch", help="write a batch of this name below --out")
    what.add_argument("--source", type=Path, help="write the training script's sourcedir.tar.gz to this file")
    parser.add_argument("--size", choices=get_args(Size), default="all", help="big and small diamonds differ in carat")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--part", type=int, default=0, help="another part of the same size holds other diamonds")
    parser.add_argument("--damaged", action="store_true", help="2 %% of the ids missing, impossible weights")
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args(arguments)
    if given.source:
        given.source.write_bytes(sourcedir())
        return
    try:
        made = batch(size=given.size, rows=given.rows, part=given.part, damaged=given.damaged)
    except ValueError as error:
        parser.error(str(error))
    batches.write(made, given.out / given.batch)


if __name__ == "__main__":
    main()
