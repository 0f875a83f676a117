"""The model spec: the one file that onboards a model. Defaults are the numbers of requirements.md section 2.1."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, to_jsonable_python

from linnet.errors import BadInputError
from linnet.events.spec_monitors import Monitors
from linnet.events.spec_parts import COLUMN, EMAIL, INSTANCE, MODEL, TAG_VALUE, WORDS, Fraction, Part
from linnet.events.spec_rollout import GUARDED, MIRRORED, Rollout
from linnet.events.spec_training import Training

MAXIMUM_BYTES = 64 * 1024


class Rule(Part):
    """One data-quality rule (DV-01, DV-03). `above` is exclusive, `min` and `max` are inclusive."""

    kind: Literal["completeness", "uniqueness", "range", "mean", "exists", "not_null", "type", "row_count"]
    column: COLUMN | None = None
    above: Fraction | None = None
    min: float | None = None
    max: float | None = None
    type: Literal["integral", "fractional", "string"] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "completeness": ("column", "above"),
            "uniqueness": ("column", "above"),
            "exists": ("column",),
            "not_null": ("column",),
            "type": ("column", "type"),
            "range": ("column",),
            "mean": ("column",),
            "row_count": (),
        }[self.kind]
        for name in needs:
            if getattr(self, name) is None:
                raise ValueError(f"a rule of kind {self.kind} needs '{name}'")
        if self.kind in ("range", "mean", "row_count") and self.min is None and self.max is None:
            raise ValueError(f"a rule of kind {self.kind} needs 'min' or 'max'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("'min' must not be above 'max'")
        return self


class Processing(Part):
    """The job that checks and prepares a run's data where that is too large for a function."""

    above_bytes: int = Field(default=256 * 1024 * 1024, ge=1, le=256 * 1024 * 1024)
    """More than this goes to the job; Parquet counts four times, because it is compressed."""
    instance_type: INSTANCE = "ml.m5.4xlarge"
    volume_gb: int = Field(default=100, ge=1, le=16384)
    max_runtime_seconds: int = Field(default=4 * 3600, ge=60, le=5 * 86400)


class Data(Part):
    """How the model's data looks and when it is good enough to train on."""

    format: Literal["csv", "parquet"] = "csv"
    label: COLUMN
    entity: COLUMN
    """The column whose stable hash decides on which side of the holdout a row lies (F26)."""
    features: dict[COLUMN, Literal["number", "category"]] = Field(min_length=1, max_length=500)
    window_batches: int = Field(default=12, ge=1, le=100)
    """A run trains on this many of the newest accepted batches."""
    labelled_capture_days: int = Field(default=30, ge=0, le=365)
    """A run also trains on captured requests of so many days whose ground truth has come in; 0 for none."""
    holdout: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=0.9)] = 0.1
    quiet_seconds: int = Field(default=300, ge=10, le=3600)
    """A batch without a manifest closes when nothing arrived for so long."""
    batch_limit_seconds: int = Field(default=3600, ge=60, le=86400)
    maximum_bytes: int = Field(default=16 * 1024**3, ge=1, le=256 * 1024**3)
    """More than this in one batch, or in the window's older batches together, is refused."""
    processing: Processing = Processing()
    minimum_rows: int = Field(default=500, ge=10)
    rules: list[Rule] = Field(default_factory=list, max_length=200)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.label in self.features:
            raise ValueError(f"the label '{self.label}' must not be a feature")
        if self.entity == self.label:
            raise ValueError(f"the entity '{self.entity}' must be another column than the label")
        if self.holdout + self.validation >= 1:
            raise ValueError("holdout + validation must be below 1")
        return self


class Bias(Part):
    """An optional gate: how differently the candidate may treat a group of the held-out rows (gap of Clarify's bias step)."""

    facet: COLUMN
    """A column of the data, a feature or not; it reaches no model by this."""
    disadvantaged: list[Annotated[str, Field(max_length=256)]] = Field(min_length=1, max_length=50)
    """Values of the facet that make the group; all other rows are compared with it."""
    limits: dict[Literal["DPPL", "DI", "AD", "RD", "DAR", "DRR"], Annotated[float, Field(ge=0)]] = Field(min_length=1)
    """Largest distance of a metric from its ideal, 1 for DI and 0 for the others; one of too few rows is refused."""


class Evaluation(Part):
    """The gate: the metric, its floor (EV-02) and how much better than the champion a candidate must be (EV-03)."""

    metric: Literal["auc", "accuracy", "f1"] = "auc"
    threshold: Fraction = 0.85
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The candidate must exceed the champion by more than this; a tie keeps the champion."""
    false_positive_cost: Annotated[float, Field(ge=0)] = 50.0
    false_negative_cost: Annotated[float, Field(ge=0)] = 500.0
    maximum_cost_per_row: Annotated[float, Field(ge=0)] | None = None
    """What wrong calls on the held-out rows may cost a row, at the decision threshold (EV-06); None for no such gate."""
    overfit_gap: Fraction = 0.1
    """More than this between training rows and holdout is overfit: told, and refused if `refuse_overfit`."""
    refuse_overfit: bool = False
    bias: Bias | None = None


class Approval(Part):
    """The tiers (RG-03): automatic at or above one, a person at or above the other, else reject."""

    automatic: Fraction = 0.90
    person: Fraction = 0.85
    require_person: bool = False
    timeout_hours: int = Field(default=72, ge=1, le=24 * 30)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.person > self.automatic:
            raise ValueError("'person' must not be above 'automatic'")
        return self


class Endpoint(Part):
    """The shape of the model's endpoint (DP-01, DP-11, DC-01)."""

    instance_type: INSTANCE = "ml.m5.xlarge"
    instance_count: int = Field(default=2, ge=1, le=100)
    capture_percent: int = Field(default=100, ge=0, le=100)
    """Share of the requests that is captured; 0 turns capture off, and with it the monitors."""
    content_type: Literal["text/csv"] = "text/csv"


class Budget(Part):
    """What a model's training may cost in a calendar month, by the price that its account pays (gap 13 of peers.md)."""

    per_month: Annotated[float, Field(gt=0)]
    price_per_instance_hour: Annotated[float, Field(gt=0)]


class Retraining(Part):
    """The governor's limits (TG-03, TG-07)."""

    signals: list[Literal["data", "drift", "quality", "schedule", "manual", "code"]] = Field(
        default=["data", "drift", "quality", "schedule", "manual", "code"]
    )
    """Kinds of signal that start a run; the others are recorded, and the next run takes their data along."""
    cooldown_seconds: int = Field(default=6 * 3600, ge=0, le=30 * 86400)
    """Begins when a candidate is registered; a run that failed or was rejected does not start it.

    Also the time after which an alarm that still stands is heard again.
    """
    daily_limit: int = Field(default=4, ge=1, le=100)
    retries: int = Field(default=2, ge=0, le=20)
    """How often the reconciler starts a run again that ended for want of capacity, quota or its execution."""
    budget: Budget | None = None
    ask_person: bool = False
    """Whether a person is asked before a run starts for anything but a person's or a build's own request."""


class Notifications(Part):
    """Who hears of the model besides the subscribers of the stack's topic."""

    emails: list[Annotated[str, Field(pattern=EMAIL, max_length=254)]] = Field(default_factory=list, max_length=20)


class Spec(Part):
    """A model: its data, training, gates, endpoint, rollout and monitors."""

    model: str = Field(pattern=MODEL, max_length=20)
    description: str = Field(default="", max_length=500)
    owner: str = Field(default="", max_length=100, pattern=TAG_VALUE)
    data: Data
    training: Training
    evaluation: Evaluation = Evaluation()
    approval: Approval = Approval()
    endpoint: Endpoint = Endpoint()
    rollout: Rollout = Rollout()
    retraining: Retraining = Retraining()
    monitors: Monitors = Monitors()
    notifications: Notifications = Notifications()

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        categories = [name for name, kind in self.data.features.items() if kind == "category"]
        if self.training.algorithm == "xgboost" and categories:
            raise ValueError(f"built-in XGBoost takes numbers only; these features are categories: {categories}")
        return self

    @model_validator(mode="after")
    def _watchable(self) -> Self:
        unknown = sorted(set(self.monitors.metrics_for) - set(self.data.features))
        if unknown:
            raise ValueError(f"monitors.metrics_for names what is no feature of data.features: {unknown}")
        facet = self.monitors.bias.facet
        if facet is not None and facet not in self.data.features:
            raise ValueError(f"monitors.bias.facet must be one of data.features, which are captured: {facet}")
        watched, judged = self.monitors.bias, self.evaluation.bias
        group = (judged.facet, sorted(judged.disadvantaged)) if judged else None
        if "baseline" in watched.limits.values() and group != (facet, sorted(watched.disadvantaged)):
            raise ValueError(
                "monitors.bias.limits says baseline, which evaluation.bias makes: it needs the same facet and disadvantaged"
            )
        return self

    @model_validator(mode="after")
    def _releasable(self) -> Self:
        strategy, count = self.rollout.strategy, self.endpoint.instance_count
        if strategy in GUARDED and strategy != "all_at_once" and count == 1:
            raise ValueError(
                f"strategy {strategy} needs an instance_count of at least 2: of one instance, the smallest part is all of "
                "it; take 2, or the strategy stepped, which adds a second variant"
            )
        labels = strategy == "ab" and self.rollout.better_by in ("quality", "cost")
        if (strategy in MIRRORED or labels) and not self.endpoint.capture_percent:
            raise ValueError(f"strategy {strategy} compares captured answers: endpoint.capture_percent must be above 0")
        return self


def check_spec(document: Any) -> Spec:
    """Return the spec of a parsed document.

    Raises:
        BadInputError: names the first wrong field, its value and what is allowed, and how many more are wrong.
    """
    if not isinstance(document, dict):
        raise BadInputError("spec", document, "a mapping with the fields model, data, training, ...")
    try:
        return Spec.model_validate(document)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        # Pydantic puts the members of a union into the path; people look for the field.
        place = [part for part in first["loc"] if part not in ("constrained-str", "int", "float", "bool", "[key]")]
        field = ".".join(map(str, place)) or "spec"
        allowed = _allowed(first) + (f" (and {len(others)} more wrong fields)" if others else "")
        value = (
            "(missing)"
            if first["type"] == "missing"
            else "(the part)"
            if first["type"] == "value_error"
            else first["input"]
        )
        raise BadInputError(field, value, allowed) from None


def _allowed(error: ErrorDetails) -> str:
    """Return what a wrong field may hold, in words."""
    if error["type"] == "extra_forbidden":
        fields = _part_at(error["loc"][:-1]).model_fields
        names = [field.alias or name for name, field in fields.items()]
        close = get_close_matches(str(error["loc"][-1]), names, n=1)
        return (f"did you mean '{close[0]}'? " if close else "") + f"the fields are {', '.join(names)}"
    if error["type"] == "string_pattern_mismatch":
        return WORDS[error["ctx"]["pattern"]]
    return error["msg"].removeprefix("Value error, ")


def _part_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the part of the spec that lies at a path of field names; positions in lists do not count."""
    part: type[BaseModel] = Spec
    for name in path:
        if isinstance(name, str) and name in part.model_fields:  # a key of a mapping is no field
            kind = part.model_fields[name].annotation
            parts = [k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)]
            part = parts[0] if parts else part
    return part


def spec_json(spec: Spec) -> dict[str, Any]:
    """Return the spec as a plain JSON document with all defaults filled in."""
    return dict(json.loads(spec.model_dump_json()))


def filled(stored: dict[str, Any], part: type[BaseModel] = Spec) -> dict[str, Any]:
    """Return a stored spec with today's defaults for the fields that it does not have.

    Nothing is checked: a model stays onboarded though a later version of Linnet would refuse its spec.
    """
    full = dict(stored)
    for name, field in part.model_fields.items():
        if name in stored:
            full[name] = _filled(stored[name], field.annotation)
        elif not field.is_required():
            full[name] = to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
    return full


def _filled(value: Any, kind: Any) -> Any:
    """Fill the parts in a value of an annotated kind: a part, a list or mapping of parts, or one of these or None."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return filled(value, kind) if isinstance(value, dict) else value
    inner = get_args(kind)
    if isinstance(value, list) and get_origin(kind) is list:
        return [_filled(each, inner[0]) for each in value]
    if isinstance(value, dict) and get_origin(kind) is dict:
        return {key: _filled(each, inner[1]) for key, each in value.items()}
    parts = [k for k in inner if isinstance(k, type) and issubclass(k, BaseModel)]
    return _filled(value, parts[0]) if parts else value
