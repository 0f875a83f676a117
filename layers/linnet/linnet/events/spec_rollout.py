"""The spec's `rollout`: how a release reaches the traffic, and what its verdicts tolerate and need."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from linnet.events.spec_parts import Part

_ALL = 100
_DAY = 86400
_LONGEST_NATIVE_WAIT = 3600
GUARDED = ("canary", "linear", "all_at_once", "shadow")
"""Strategies whose last stage is an update under SageMaker's guardrails; the others climb a ladder of weights."""
MIRRORED = ("shadow", "multi_stage")
Share = Annotated[int, Field(ge=1, le=100)]
Wait = Annotated[int, Field(ge=60, le=60 * _DAY)]
Odds = Annotated[float, Field(ge=1, le=100)]
Part01 = Annotated[float, Field(gt=0, lt=1)]

# Where a strategy's numbers differ from the fields' defaults: RO-05, RO-08.
_OWN: dict[str, dict[str, Any]] = {
    "ab": {"ladder": (10, 50, 100), "deadline_seconds": 14 * _DAY},
    "multi_stage": {
        "ladder": (5, 10, 25, 50, 75, 100),
        "waits": (2 * _DAY, 2 * _DAY, 2 * _DAY, _DAY, _DAY, 7 * _DAY),
        "deadline_seconds": _DAY,
        "watch_hours": 30 * 24,
    },
}


class Health(Part):
    """The plain check (RB-02), last net below the sequential tests: at most so many errors, at most so slow.

    The release's own rollback alarms have the same limits; they are raised after `alarm_periods` of
    `alarm_period_seconds` each, so a bake must be at least as long.
    """

    max_errors: int = Field(default=10, ge=0)
    max_latency_ms: float = Field(default=500.0, gt=0)
    min_requests: int = Field(default=500, ge=1)
    """The bake in requests: so many must the new fleet answer at every stage before it can be healthy.

    With 500, ten times the champion's errors are seen in 99 of 100 releases where the champion fails 0.5 % (bench/verdicts.py).
    """
    alarm_period_seconds: Literal[60, 120, 180, 240, 300] = 60
    alarm_periods: int = Field(default=2, ge=1, le=60)


class Margins(Part):
    """By how much the new fleet may be worse than the champion before a sequential test takes it back."""

    errors: Odds = 1.0
    """Times the champion's odds of a failed request."""
    latency: Odds = 2.0
    """Times the champion's odds of a request slower than the champion's 99th percentile; a small fleet's tail is its own."""
    predictions: Part01 = 0.2
    """Share of the answers that may be distributed otherwise than the candidate's on its own holdout."""
    agreement: Part01 = 0.1
    """Share of the mirrored requests that the two models may call differently."""
    quality: Odds = 1.0
    """Times the champion's odds of a wrong call, where labels have come in."""
    cost: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dearer a labelled request than the champion's by this share of the dearest wrong call."""


class Rollout(Part):
    """How a release reaches the traffic (RO-01..RO-08). Waits in seconds, sizes in percent."""

    strategy: Literal["canary", "linear", "all_at_once", "stepped", "shadow", "ab", "multi_stage"] = "canary"
    canary_percent: int = Field(default=10, ge=1, le=50)
    linear_percent: int = Field(default=20, ge=10, le=50)
    ladder: Annotated[tuple[Share, ...], Field(max_length=20)] = (5, 10, 25, 50, 100)
    """The challenger's shares, for stepped, ab (10, 50, 100) and multi_stage (5, 10, 25, 50, 75, 100)."""
    waits: tuple[Wait, ...] = ()
    """The bake at each share of the ladder; `wait_seconds` each if empty, days for multi_stage."""
    wait_seconds: int = Field(default=300, ge=60, le=_LONGEST_NATIVE_WAIT)
    shadow_seconds: Wait = 14 * _DAY
    """How long shadow and multi_stage mirror requests before anyone is answered by the new model."""
    shadow_percent: Share = 100
    """Share of the requests that is mirrored."""
    better_by: Literal["quality", "cost", "errors", "latency"] = "quality"
    """What the challenger of an ab test must be shown to be better by before it gets all traffic."""
    termination_wait_seconds: int = Field(default=300, ge=0, le=_LONGEST_NATIVE_WAIT)
    maximum_seconds: int = Field(default=3600, ge=600, le=28800)
    deadline_seconds: int = Field(default=3600, ge=0, le=60 * _DAY)
    """How long a stage is held after its bake for evidence that is still missing; SageMaker's own bake cannot be held."""
    when_unknown: Literal["roll_back", "ask"] = "roll_back"
    """What happens at that deadline: the release goes back as inconclusive, or a person is asked (approval.timeout_hours)."""
    watch_hours: int = Field(default=24, ge=0, le=60 * 24)
    """How long after its promotion a release is watched and can return by itself."""
    false_rollback: Annotated[float, Field(gt=0, le=0.2)] = 0.01
    """The chance that all sequential tests of a release together take a good one back, however often they look."""
    margins: Margins = Margins()
    probes: int = Field(default=20, ge=1, le=200)
    health: Health = Health()

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        full = {**_OWN.get(str(given.get("strategy")), {}), **given}
        if "ladder" in given and "waits" not in given:
            full.pop("waits", None)
        return full

    @model_validator(mode="after")
    def _possible(self) -> Self:
        steps, waits = self.ladder, self.waits
        if not steps or any(a >= b for a, b in pairwise(steps)) or steps[-1] != _ALL:
            raise ValueError("'ladder' must rise from at least 1 to 100")
        if waits and len(waits) != len(steps):
            raise ValueError(f"'waits' must have {len(steps)} values, one for each share of the ladder, or none")
        if self.wait_seconds + self.termination_wait_seconds >= self.maximum_seconds:
            raise ValueError("'maximum_seconds' must be larger than the waits")
        if self.strategy in GUARDED:
            alarmed = self.health.alarm_period_seconds * self.health.alarm_periods
            bake = self.termination_wait_seconds if self.strategy == "all_at_once" else self.wait_seconds
            if alarmed > bake and (bake or self.strategy != "all_at_once"):
                raise ValueError(
                    f"the rollback alarms take {alarmed} seconds to be raised, the bake ends after {bake}: "
                    "lengthen the bake or lower health.alarm_periods"
                )
        if self.strategy == "ab" and len(steps) < 2:  # noqa: PLR2004 - a share to test at and 100
            raise ValueError("an ab test needs a share below 100 in 'ladder' to compare at")
        return self
