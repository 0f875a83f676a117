"""What watches a model in production: the monitors and the standing alarms of its spec."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from linnet.errors import BadInputError
from linnet.events.schedules import DAY_MINUTES, days, every, in_season
from linnet.events.spec_parts import BASELINE, COLUMN, INSTANCE, SEASON, Fraction, Part

Metric = Literal[
    "CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "DPPL", "DI", "AD", "RD", "SD", "DAR", "DRR", "DCA", "DCR", "TE", "GE"
]  # fmt: skip
"""Those of Clarify's metrics of bias that a table of counts has."""
Limit = tuple[float, float] | Literal["baseline"]


def _known(text: str) -> str:
    try:
        every(text)
    except BadInputError as error:
        raise ValueError(error.allowed) from None
    return text


def _allowed() -> dict[Metric, Limit]:
    return {"DI": (0.8, 1.25), "AD": (-0.05, 0.05)}


def _day(text: str) -> str:
    if text not in days():
        raise ValueError("a day of the year MM-DD, such as 12-24")
    return text


SCHEDULE = Annotated[str, AfterValidator(_known)]
DAY = Annotated[str, AfterValidator(_day)]
URI = Annotated[str, Field(pattern=BASELINE)]


class Season(Part):
    """Days of every year, UTC, whose windows have a baseline of their own (MO-10)."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: Annotated[str, Field(pattern=SEASON)]
    from_: DAY = Field(alias="from")
    """The first day; after `to` it means that the season goes over new year."""
    to: DAY
    """The last day, which belongs to it."""
    baseline: URI


class DataQuality(Part):
    """The data-quality monitor and its alarms (MO-02, MO-03, AL-01, TG-07)."""

    enabled: bool = True
    window_minutes: int = Field(default=60, ge=5, le=24 * 60)
    schedule: SCHEDULE | None = None
    """Instead of window_minutes: hourly, daily, monthly, a rate or a cron; see linnet.events.schedules."""
    minimum_rows: int = Field(default=100, ge=10)
    notify_above: Annotated[float, Field(gt=0, lt=1)] = 0.1
    retrain_above: Annotated[float, Field(gt=0, lt=1)] = 0.3
    retrain_windows: int = Field(default=3, ge=1, le=24)
    """So many windows in a row must drift before a run starts; of windows longer than a day the first one does."""
    baseline: URI | None = None
    """A folder of statistics.json and constraints.json to compare with instead of the champion's own baseline."""
    seasons: list[Season] = Field(default_factory=list, max_length=24)
    """A window takes the baseline of the first of these that holds the day on which it starts, else the default."""

    @model_validator(mode="after")
    def _seasonal(self) -> Self:
        names: set[str] = set()
        free = set(days()) if self.seasons else set()
        for season in self.seasons:
            held = {day for day in free if in_season(season.from_, season.to, day)}
            if season.name in names or not held:
                raise ValueError(
                    f"'seasons': {season.name} has the name or all days of those before it, of which the first counts"
                )
            names.add(season.name)
            free -= held
        return self

    @model_validator(mode="after")
    def _alarming(self) -> Self:
        if self.notify_above > self.retrain_above:
            raise ValueError("'notify_above' must not be above 'retrain_above'")
        if 24 * 60 % self.window_minutes:
            raise ValueError("'window_minutes' must divide a day, such as 5, 15, 60 or 1440")
        minutes = every(self.schedule).minutes if self.schedule else self.window_minutes
        if not 0 < minutes <= DAY_MINUTES:
            if self.retrain_windows > 1:
                raise ValueError(
                    "'retrain_windows' must be 1 where windows are longer than a day, an alarm's longest period"
                )
            return self
        # CloudWatch's own limits on Period x EvaluationPeriods (PutMetricAlarm).
        longest = 7 * 24 * 60 if minutes >= 60 else 24 * 60  # noqa: PLR2004 - minutes
        if minutes * self.retrain_windows > longest:
            raise ValueError(f"window_minutes x retrain_windows must be at most {longest} minutes, an alarm's limit")
        return self


class ModelQuality(Part):
    """The model-quality monitor: live answers against ground truth that comes in later (MO-05, MO-06, AL-04)."""

    enabled: bool = False
    schedule: SCHEDULE = "cron(0 */6 * * ? *)"
    """The accuracy alarm takes two of these windows, of those longer than a day one."""
    label_delay_hours: int = Field(default=72, ge=0, le=30 * 24)
    """A window is looked at so long after its end: the labels that are there by then count."""
    tolerance: Fraction = 0.05
    """How far a score may lie below the champion's own evaluation, between the seeds' 3 points and their 6 (MO-06)."""
    minimum_rows: int = Field(default=200, ge=10)
    """With fewer labelled rows the window is unknown; it has no standard deviations below 200."""


class BiasDrift(Part):
    """The bias monitor: how the live answers treat a group of the captured rows, once labels are there (MO-07, XB-02)."""

    enabled: bool = False
    schedule: SCHEDULE = "daily"
    label_delay_hours: int = Field(default=72, ge=0, le=30 * 24)
    facet: COLUMN | None = None
    """A feature; rows without it belong to neither side."""
    disadvantaged: list[Annotated[str, Field(max_length=256)]] = Field(default_factory=list, max_length=50)
    """Its values that make the group, spelled as callers send them; all other rows are compared with it."""
    limits: dict[Metric, Limit] = Field(default_factory=_allowed, min_length=1)
    """The range of each metric that is judged, as [low, high]; it is broken when its 95 % interval lies outside. Or the word
    `baseline`: broken when it is farther from its ideal than at the champion's evaluation, of the same evaluation.bias."""
    minimum_rows: int = Field(default=200, ge=60)
    """With fewer labelled rows the window is unknown."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.enabled and (self.facet is None or not self.disadvantaged):
            raise ValueError("'bias' needs 'facet' and 'disadvantaged' when it is enabled")
        ranges = {name: limit for name, limit in self.limits.items() if not isinstance(limit, str)}
        if wrong := [name for name, (low, high) in ranges.items() if low >= high]:
            raise ValueError(f"'limits' of {wrong[0]} must be [low, high] with low below high")
        return self


class Attribution(Part):
    """The attribution monitor: whether the live rows rank the features as the champion's own rows do (MO-08)."""

    enabled: bool = False
    schedule: SCHEDULE = "daily"
    minimum_ndcg: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Below it the ranking has drifted; 0.90 is Clarify's own."""
    sample: int = Field(default=2000, ge=30, le=10_000)
    """So many rows of the window are explained, and so many held-out rows of the champion's run, once a champion."""
    minimum_rows: int = Field(default=100, ge=30)
    """With fewer rows the window is unknown."""
    instance_type: INSTANCE = "ml.m5.xlarge"
    """On which a processing job explains them."""

    @model_validator(mode="after")
    def _alarming(self) -> Self:
        if 0 < every(self.schedule).minutes < 60:  # noqa: PLR2004 - minutes
            raise ValueError("'schedule' of attribution must be hourly at the most: a job takes minutes")
        return self


class Alarms(Part):
    """Alarms on what serves, each off as null; people hear of them, no release is taken back by them."""

    latency_above_ms: Annotated[float, Field(gt=0)] | None = 500.0
    """On average in two times five minutes (AL-02)."""
    errors_above: Annotated[int, Field(ge=0)] | None = 10
    """Server errors in a minute (AL-03)."""
    requests_below: Annotated[int, Field(ge=1)] | None = None
    """In each of three times five minutes (AL-05: 100); silence rings too, so only for a model that is always called."""
    accuracy_below: Fraction | None = 0.85
    """On average in two windows of model_quality, while that is off in two times six hours (AL-04); starts a run too."""


class Monitors(Part):
    """What watches the model in production."""

    metrics_for: list[COLUMN] = Field(default_factory=list, max_length=100)
    """Features that have CloudWatch metrics of their own; the largest drift of all is always one."""
    data_quality: DataQuality = DataQuality()
    model_quality: ModelQuality = ModelQuality()
    bias: BiasDrift = BiasDrift()
    attribution: Attribution = Attribution()
    alarms: Alarms = Alarms()
