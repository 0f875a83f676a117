"""Which runs a question about experiments means, and what a run's inputs say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from linnet.errors import BadInputError

_COMMIT = re.compile(r"\bcommit ([0-9A-Za-z]{4,64})\b")
_FIELDS = ("metric", "above", "below", "state", "since", "limit")
_MOST = 100


@dataclass(frozen=True)
class Wish:
    """What is asked of the runs: ranked by `metric`, within bounds, in a state, since a time, at most `limit`."""

    metric: str = "auc"
    above: float | None = None
    below: float | None = None
    state: str | None = None
    since: str | None = None
    limit: int = 20


@dataclass(frozen=True)
class Row:
    """A run as experiments are shown (EX-04)."""

    run: str
    at: str
    state: str
    version: int | None = None
    why: str = ""
    trigger: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return asdict(self)


def wish(asked: Any) -> Wish:
    """Return what is asked.

    Raises:
        BadInputError: names the first wrong field.
    """
    if not isinstance(asked, Mapping):
        raise BadInputError("runs", asked, f"an object with some of {', '.join(_FIELDS)}")
    for name, value in asked.items():
        if name not in _FIELDS:
            raise BadInputError(f"runs.{name}", value, f"one of {', '.join(_FIELDS)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in ("above", "below") and not number:
            raise BadInputError(f"runs.{name}", value, "a number")
        if name in ("metric", "state", "since") and not (isinstance(value, str) and value):
            raise BadInputError(f"runs.{name}", value, "a text")
        if name == "limit" and not (number and 1 <= value <= _MOST and value == int(value)):
            raise BadInputError("runs.limit", value, f"a whole number from 1 to {_MOST}")
    return Wish(**asked)


def rank(rows: Iterable[Row], asked: Wish) -> list[Row]:
    """Return the rows that are asked for, the highest metric first; a run without it comes last, or not where bounds are."""

    def fits(row: Row) -> bool:
        value = row.metrics.get(asked.metric)
        bounded = asked.above is not None or asked.below is not None
        if bounded and value is None:
            return False
        return (
            (asked.state is None or row.state == asked.state)
            and (asked.since is None or row.at >= asked.since)
            and (asked.above is None or (value is not None and value > asked.above))
            and (asked.below is None or (value is not None and value < asked.below))
        )

    def place(row: Row) -> tuple[bool, float, str]:
        value = row.metrics.get(asked.metric)
        return value is None, -(value or 0.0), row.at

    return sorted(filter(fits, rows), key=place)


def commit(sources: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the commit that one of a run's signals named, if any did."""
    found = (_COMMIT.search(str(signal.get("source", ""))) for signal in sources if signal.get("kind") == "code")
    return next((match[1] for match in found if match), None)


def objects(inputs: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return the object versions that a run trained on, batch by batch, at most `most`, and how many there are in all."""
    left, shown = most, []
    for batch in inputs["batches"]:
        listed = [{k: o.get(k) for k in ("uri", "version", "sha256")} for o in batch["objects"][: max(0, left)]]
        left -= len(listed)
        shown.append({"batch": batch["batch"], "newest": batch.get("newest"), "objects": listed})
    live = inputs.get("labelled") or {}
    total = sum(len(batch["objects"]) for batch in inputs["batches"])
    return {"batches": shown, "objects": total, "labelled": {kind: len(found) for kind, found in live.items()}}
