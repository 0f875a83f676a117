"""What old releases left that neither what serves, nor a way back, nor a release at work needs (DP-12, F48)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from linnet.decisions import names

KEEP = 3
"""So many promoted releases stay ready to serve again."""
WATCH = timedelta(hours=24)
"""What is younger stays: a promoted release can be taken back in two calls so long."""


@dataclass(frozen=True)
class Leftover:
    """What may be deleted of one release; with `whole`, all that it made is then gone."""

    fence: int
    whole: bool
    configs: tuple[str, ...]
    models: tuple[str, ...]
    alarms: tuple[str, ...]


def leftovers(
    *, stack: str, model: str, releases: Sequence[Mapping[str, Any]], champion: Mapping[str, Any] | None,
    used: Iterable[str], at: datetime,
) -> list[Leftover]:  # fmt: skip
    """Return what may go, the oldest release first; to be deleted in this order.

    `releases` are all the release rows of the model, `used` the names of the configs and models that its live endpoint
    uses or is changing to. Kept is whatever these name: `used`, the champion's row, and the rows of releases that are at
    work, younger than WATCH, among the last KEEP promoted ones, or the champion's own with its way back. The alarms of an
    ended release older than WATCH are no longer needed, kept or not. Only names that Linnet gives to this model's things
    are returned.
    """
    rows = sorted(releases, key=lambda row: int(row["fence"]))
    kept = _kept(rows, champion, at)
    named = {
        *used,
        *_texts(champion or {}),
        *(text for row in rows if int(row["fence"]) in kept for text in _texts(row)),
    }
    named |= {names.sagemaker_model(stack, model, int(row["version"])) for row in rows if int(row["fence"]) in kept}
    asked = {alarm for row in rows if not _over(row, at) for alarm in row["plan"]["alarms"]}
    base = re.escape(names.base(stack, model))
    config, served, alarm = (
        re.compile(base + end) for end in (r"-v\d+-f\d+(-both|-shadow)?", r"-v\d+", r"-v\d+-f\d+-[a-z]+")
    )
    left = [row for row in rows if row["kind"] == "release" and "cleaned_at" not in row]
    goes = [int(row["fence"]) not in kept and not named & _made(stack, model, row)[0] for row in left]
    found = []
    for number, row in enumerate(left):
        alarms = tuple(name for name in row["plan"]["alarms"] if alarm.fullmatch(name) and name not in asked)
        configs, models = _made(stack, model, row) if goes[number] else (set(), set())
        # A model goes with the last release that made a config of it.
        others = (_made(stack, model, other)[1] for i, other in enumerate(left) if i > number or not goes[i])
        models = models - named.union(*others)
        if configs or alarms:
            own = tuple(sorted(filter(config.fullmatch, configs))), tuple(sorted(filter(served.fullmatch, models)))
            found.append(Leftover(int(row["fence"]), goes[number], *own, alarms))
    return found


def _kept(rows: Sequence[Mapping[str, Any]], champion: Mapping[str, Any] | None, at: datetime) -> set[int]:
    promoted = [int(row["fence"]) for row in rows if row["kind"] == "release" and row["state"] == "promoted"]
    own = [champion["fence"], names.fence_of(str(champion["config"]))] if champion else []
    at_work = [int(row["fence"]) for row in rows if not _over(row, at)]
    return {*promoted[-KEEP:], *(int(fence) for fence in own if fence is not None), *at_work}


def _over(row: Mapping[str, Any], at: datetime) -> bool:
    ended = row.get("ended_at")
    return row["state"] != "intent" and ended is not None and at - datetime.fromisoformat(ended) > WATCH


def _made(stack: str, model: str, row: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    configs = {str(config["name"]) for config in row["plan"]["configs"]}
    served = {str(variant["model"]) for config in row["plan"]["configs"] for variant in config["variants"]}
    return configs, {names.sagemaker_model(stack, model, int(row["version"])), *served}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _texts(inner)
