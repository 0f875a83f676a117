"""Which runs a question about experiments means, and what a run's inputs say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from linnet.decisions.failures import BROKEN
from linnet.decisions.monitoring import hour_of
from linnet.errors import BadInputError

_COMMIT = re.compile(r"\bcommit ([0-9A-Za-z]{4,64})\b")
_FIELDS = ("metric", "above", "below", "state", "since", "before", "hyperparameter", "limit")
STATES = (
    "running", "registered", "approved", "rejected", "refused", "not better", "below threshold", "expired", *BROKEN,
)  # fmt: skip
"""The states of a run."""
_BOUNDS = ("above", "below")
_LOWER = ("log_loss", "mae", "mse", "rmse", "cost_per_row")
"""Metrics of which less is better."""
_SHORT = {"learning_rate": "lr", "eta": "lr", "max_depth": "depth"}
_SUMMED_UP = 2
LIMIT, _MOST = 20, 100
_ENDPOINT = {"data-capture": 2, "ground-truth": 1}
"""The first folder of live data -> which of its folders is named after the endpoint."""


@dataclass(frozen=True)
class Wish:
    """What is asked of the runs: ranked by `metric`, within bounds, in a state, since and before a time, at most `limit`.

    `before` is a time, or what an answer gave as its `before`; `hyperparameter` bounds others than the metric:
    `{"eta": {"below": 0.3}}`.
    """

    metric: str = "auc"
    above: float | None = None
    below: float | None = None
    state: str | None = None
    since: str | None = None
    before: str = ""
    hyperparameter: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limit: int = LIMIT


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
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    trial: str = ""

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
        if name in _BOUNDS and not _number(value):
            raise BadInputError(f"runs.{name}", value, "a number")
        if name == "hyperparameter":
            _check_bounds(value)
        if name == "since":
            moment("runs.since", value)
        if name == "metric" and not (isinstance(value, str) and value):
            raise BadInputError("runs.metric", value, "a text")
        if name == "state" and value not in STATES:
            raise BadInputError("runs.state", value, f"one of {', '.join(STATES)}")
    return Wish(**{**asked, "limit": limit("runs.limit", asked), "before": before("runs.before", asked)})


def limit(field: str, asked: Mapping[str, Any]) -> int:
    """Return how much a question wants at most; 20 where it does not say.

    Raises:
        BadInputError: that is no whole number from 1 to 100.
    """
    value = asked.get("limit", LIMIT)
    if not (_number(value) and 1 <= value <= _MOST and value == int(value)):
        raise BadInputError(field, value, f"a whole number from 1 to {_MOST}")
    return int(value)


def before(field: str, asked: Mapping[str, Any]) -> str:
    """Return before what in the ledger's history a question looks, empty where it does not say.

    Raises:
        BadInputError: it is neither a time nor what an answer gave as its `before`.
    """
    text = asked.get("before", "")
    if text == "":
        return ""
    if isinstance(text, str) and "#" in text:
        moment(field, text.partition("#")[0])
        return text
    return moment(field, text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def live(key: str) -> tuple[str, datetime] | None:
    """Return the endpoint and the hour of an object of data capture or ground truth; None for any other key."""
    folders, hour = key.split("/"), hour_of(key)
    place = _ENDPOINT.get(folders[0])
    return (folders[place], hour) if place is not None and hour else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_bounds(asked: Any) -> None:
    allowed = 'an object such as {"eta": {"below": 0.3}}'
    if not isinstance(asked, Mapping):
        raise BadInputError("runs.hyperparameter", asked, allowed)
    for name, bounds in asked.items():
        good = isinstance(bounds, Mapping) and bounds and all(k in _BOUNDS and _number(v) for k, v in bounds.items())
        if not good:
            raise BadInputError(f"runs.hyperparameter.{name}", bounds, allowed)


def moment(field: str, text: Any) -> datetime:
    """Return a time that a person wrote.

    Raises:
        BadInputError: it is none, or says no offset: times of the ledger are compared as moments, not as texts.
    """
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        raise BadInputError(field, text, "a time with its offset, such as 2026-11-21T02:00:00Z")
    return found


def rank(rows: Iterable[Row], asked: Wish) -> list[Row]:
    """Return the rows that are asked for, the best first; a run without the metric comes last, or not where bounds are."""
    since = moment("runs.since", asked.since) if asked.since else None

    def fits(row: Row) -> bool:
        value = row.metrics.get(asked.metric)
        bounded = asked.above is not None or asked.below is not None
        if bounded and value is None:
            return False
        return (
            (asked.state is None or row.state == asked.state)
            and (since is None or datetime.fromisoformat(row.at) >= since)
            and all(_within(row.hyperparameters.get(name), bounds) for name, bounds in asked.hyperparameter.items())
            and (asked.above is None or (value is not None and value > asked.above))
            and (asked.below is None or (value is not None and value < asked.below))
        )

    def place(row: Row) -> tuple[bool, float, str]:
        value = row.metrics.get(asked.metric)
        return value is None, (value or 0.0) * (1 if asked.metric in _LOWER else -1), row.at

    return sorted(filter(fits, rows), key=place)


def _within(value: Any, bounds: Mapping[str, float]) -> bool:
    """Say whether a hyperparameter lies in its bounds; one that a run does not have, or that is no number, does not."""
    try:
        found = float(value)  # SageMaker gives back the winning ones of a tuning as texts
    except (TypeError, ValueError):
        return False
    return bounds.get("above", float("-inf")) < found < bounds.get("below", float("inf"))


def experiment(model: str, algorithm: str, version: int) -> str:
    """Return the experiment's name of a version, such as fraud-detection-xgboost-v2 (EX-05)."""
    return f"{model}-{algorithm}-v{version}"


def trial(hyperparameters: Mapping[str, Any], at: str) -> str:
    """Return a run's trial name, such as lr-0.01-depth-5-2025-01-15 (EX-05); without the usual two, the first by name."""
    usual = {_SHORT[name]: value for name, value in hyperparameters.items() if name in _SHORT}
    ordered = {name: usual[name] for name in dict.fromkeys(_SHORT.values()) if name in usual}
    shown = ordered or dict(sorted(hyperparameters.items())[:_SUMMED_UP])
    return "-".join([*(f"{name}-{value}" for name, value in shown.items()), at[:10]])


def approver(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """Return who decided a candidate's status that holds now, when, how and why (RG-02).

    A word that Linnet asked for counts only for the status that it gave: who approves in the registry after a question
    has expired is the approver, not the nobody of the question.
    """
    if candidate.get("decided") and candidate["decided"] == candidate.get("status"):
        return {name: candidate.get(name) for name in ("decided_by", "decided_at", "decided_how", "comment")}
    return {
        "decided_by": candidate.get("registry_by"), "decided_at": candidate.get("registry_at"),
        "decided_how": "registry" if candidate.get("registry") else None, "comment": candidate.get("registry_comment"),
    }  # fmt: skip


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
