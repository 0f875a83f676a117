"""Which baseline a window of live traffic is compared with, and whether somebody else's can be used (MO-10)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from linnet.errors import BadInputError
from linnet.events.schedules import in_season

FIELD = "monitors.data_quality"
FILES = ("statistics.json", "constraints.json")
_SHOWN = 10


class Chosen(NamedTuple):
    """The folder of a baseline, and the season that chose it; None outside all seasons."""

    uri: str
    season: str | None = None


def choose(settings: Mapping[str, Any], own: str, start: datetime) -> Chosen:
    """Return the baseline of what began at `start` (UTC): that of the first season which holds the day, else the default.

    `settings` are a spec's monitors.data_quality; the default is its `baseline`, else the champion's `own`.
    """
    for season in settings["seasons"]:
        if in_season(season["from"], season["to"], f"{start:%m-%d}"):
            return Chosen(str(season["baseline"]), str(season["name"]))
    return Chosen(str(settings["baseline"] or own))


def foreign(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the baselines that a spec names, by the field that names each."""
    found = {f"{FIELD}.baseline": settings["baseline"]} if settings["baseline"] else {}
    return found | {f"{FIELD}.seasons.{one['name']}.baseline": one["baseline"] for one in settings["seasons"]}


def names(uri: str, document: Mapping[str, Any]) -> list[str]:
    """Return the features that a statistics.json or constraints.json names.

    Raises:
        BadInputError: it is neither; names the file.
    """
    try:
        return [str(feature["name"]) for feature in document["features"]]
    except (KeyError, TypeError):
        found = sorted(map(str, document))[:_SHOWN]
        raise BadInputError(uri, found, "features[] with name each, as Model Monitor writes them") from None


def check(uri: str, known: Collection[str], features: Collection[str]) -> None:
    """Refuse somebody else's baseline that does not know each of the model's features.

    Captured CSV has no names, only the order of the spec's features: where one is unknown, all after it would be others.

    Raises:
        BadInputError: names the file and what it lacks.
    """
    if lacking := [name for name in features if name not in known]:
        allowed = f"all features of the model; it lacks {lacking[:_SHOWN]}"
        raise BadInputError(uri, sorted(known)[:_SHOWN], allowed)
