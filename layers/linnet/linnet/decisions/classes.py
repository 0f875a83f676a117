"""What a finding is a case of: changed data, a changed meaning of the same data, or a season (MO-09)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Class = Literal["data", "concept", "seasonal"]
MEANINGS: Mapping[str, str] = {
    "data": "The data changed: look for a damaged source first, then retrain on recent data.",
    "concept": "The data look as before and the answers got worse: what they mean has changed. Retrain on recent labels: a "
    "run takes labelled capture by itself (data.labelled_capture_days).",
    "seasonal": "Against another season's baseline there is no drift: wait, or change the dates of the seasons in the spec.",
}
"""What each asks for."""


def classify(
    found: Mapping[str, Any], data: Sequence[Mapping[str, Any]] = (), *, season_fits: bool | None = None
) -> Class | None:
    """Return the class of a finding, None where nothing is wrong or the evidence does not say what is.

    Of a window's or a data set's rows: broken constraints are `data`, or `seasonal` where they hold against another season's
    baseline (`season_fits`; None where there is none). Of model quality, with `data` the findings of data quality of its time:
    the class of what broke there; `concept` where nothing did. For that their windows must cover all of its own (a gap is
    unknown, which is not the same as quiet), and at least one be Completed: one with `no_data` has too few rows to have
    spoiled the answers.
    """
    if found["kind"] in ("data-quality", "data-set") and found["status"] == "CompletedWithViolations":
        return "seasonal" if season_fits else "data"
    if found["kind"] != "model-quality" or found.get("verdict") != "DEGRADED":
        return None
    beside = sorted((one for one in data if _meet(one, found)), key=lambda one: str(one["start"]))
    broken = {one.get("class") for one in beside if one["status"] == "CompletedWithViolations"}
    if broken:
        return "seasonal" if broken == {"seasonal"} else "data"
    until = str(found["start"])
    for one in beside:
        if str(one["start"]) > until:
            return None
        until = max(until, str(one["end"]))
    known = until >= str(found["end"]) and any(one["status"] == "Completed" for one in beside)
    return "concept" if known else None


def _meet(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two windows have a moment in common; the stamps of the ledger are in the order of time."""
    return bool(one["start"] < other["end"] and other["start"] < one["end"])
