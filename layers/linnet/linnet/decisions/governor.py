"""May a run of this model start now? One at a time, a cool-down, a daily limit; what must wait is kept, never dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Whether a run may start, and why it may not."""

    start: bool
    why: str = ""


def may_start(slot: Mapping[str, Any] | None, spec: Mapping[str, Any], at: str, *, me: str = "") -> Answer:
    """Answer for the slot's row, the model's spec and the time `at` (ISO 8601).

    `me` is the execution that asks: it may go on when it holds the slot already. A failed run neither starts the
    cool-down nor frees the day's budget, so retries are bounded by the daily limit (practice.md F13).
    """
    slot, retraining = slot or {}, spec["retraining"]
    owner = slot.get("owner")
    if owner and owner == me:
        return Answer(start=True)
    if owner:
        return Answer(start=False, why=f"run {slot.get('run')} holds the slot since {slot.get('since')}")
    now = moment(at)
    cooled = slot.get("cooled_from")
    if cooled:
        until = moment(cooled) + timedelta(seconds=int(retraining["cooldown_seconds"]))
        if now < until:
            return Answer(start=False, why=f"cooling down until {until:%Y-%m-%dT%H:%M:%SZ}")
    limit = int(retraining["daily_limit"])
    if slot.get("day") == day(at) and int(slot.get("day_runs", 0)) >= limit:
        return Answer(start=False, why=f"the daily limit of {limit} runs is reached")
    budget = retraining.get("budget")
    if budget:
        spent = float(slot.get("month_cost", 0)) if slot.get("month") == month(at) else 0.0
        worst = cost(spec, worst_seconds(spec))
        if spent + worst > budget["per_month"]:
            why = f"the month's budget of {budget['per_month']:g} has {spent:.2f} spent; a run may cost {worst:.2f}"
            return Answer(start=False, why=why)
    return Answer(start=True)


def worst_seconds(spec: Mapping[str, Any]) -> float:
    """Return the most instance-seconds that a run's training can be billed for."""
    training = spec["training"]
    jobs = (training.get("tuning") or {}).get("max_jobs", 1)
    return float(training["max_runtime_seconds"] * training["instance_count"] * jobs)


def cost(spec: Mapping[str, Any], instance_seconds: float) -> float:
    """Return what instance-seconds cost by the spec's price; 0 without a budget."""
    budget = spec["retraining"].get("budget")
    return float(budget["price_per_instance_hour"]) * instance_seconds / 3600 if budget else 0.0


def month(at: str) -> str:
    """Return the month that a time counts for."""
    return at[:7]


def moment(text: str) -> datetime:
    """Return an ISO 8601 time."""
    return datetime.fromisoformat(text)


def day(at: str) -> str:
    """Return the day that a time counts for."""
    return at[:10]
