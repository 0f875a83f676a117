"""The spec's part `training`: how a model is trained, and how its hyperparameters are searched (TR-01..16, HP-01..06)."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linnet.events.spec_parts import ARCHIVE, INSTANCE, PARAMETER, SCRIPT, VERSION, Part

CPU_FAMILIES = (
    "t3", "m4", "m5", "m6i", "m7i", "m7i-flex", "m8i", "m8i-flex", "c4", "c5", "c5n", "c6i", "c7i", "c7i-flex", "c8i",
    "c8i-flex", "r5", "r5d", "r6i", "r7i", "r8i", "r8i-flex",
)  # fmt: skip
GPU_FAMILIES = (
    "p2", "p3", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200", "g4dn", "g5", "g6", "g6e",
    "g7", "g7e", "trn1", "trn1n", "trn2",
)  # fmt: skip
"""The instance families that train (TrainingInstanceType of the API); the others have accelerators."""
_XGBOOST_GPU_FAMILIES = ("p2", "p3", "g4dn", "g5")
_XGBOOST_MAXIMIZED = ("accuracy", "auc", "f1", "map", "ndcg")
_XGBOOST_MINIMIZED = ("error", "logloss", "mae", "merror", "mlogloss", "mse", "rmse")
"""What the built-in XGBoost can be tuned for (developer guide, "Tune an XGBoost Model")."""


class Spot(Part):
    """Managed spot training with checkpoints (TR-03, TR-04)."""

    enabled: bool = True
    max_wait_seconds: int = Field(default=7200, ge=60, le=28 * 86400)
    checkpoints: bool = True
    then_on_demand: bool = False
    """Whether a job that got no spot instance in time goes on once on demand, from its last checkpoint (F29)."""


class Range(Part):
    """What a tuning job may try for one hyperparameter: numbers from `min` to `max`, or one of `values` (HP-03)."""

    type: Literal["continuous", "integer", "categorical"] = "continuous"
    min: float | None = None
    max: float | None = None
    scaling: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"
    values: list[Annotated[str, Field(max_length=256)] | int | float | bool] = Field(default=[], max_length=30)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.type == "categorical":
            if not self.values or self.min is not None or self.max is not None:
                raise ValueError("a categorical range has 'values' and neither 'min' nor 'max'")
            return self
        if self.min is None or self.max is None or self.min >= self.max or self.values:
            raise ValueError(
                f"a range of numbers has 'min' below 'max' and no 'values'; min {self.min}, max {self.max}"
            )
        if self.type == "integer" and not (self.min.is_integer() and self.max.is_integer()):
            raise ValueError(f"an integer range has whole numbers; min {self.min}, max {self.max}")
        lowest, highest = self.min <= 0, self.max >= 1
        if (self.scaling == "Logarithmic" and lowest) or (self.scaling == "ReverseLogarithmic" and highest):
            raise ValueError(f"scaling {self.scaling} needs min > 0 (Logarithmic) or max < 1 (ReverseLogarithmic)")
        return self


def _numbers(low: float, high: float, kind: Literal["continuous", "integer"] = "continuous") -> Range:
    return Range(type=kind, min=low, max=high)


def _xgboost_ranges() -> dict[str, Range]:
    """Return the seeds' ranges for XGBoost (HP-03)."""
    return {
        "eta": _numbers(0.01, 0.3), "max_depth": _numbers(3, 10, "integer"), "min_child_weight": _numbers(1, 10),
        "subsample": _numbers(0.5, 1), "colsample_bytree": _numbers(0.5, 1), "num_round": _numbers(50, 300, "integer"),
        "gamma": _numbers(0, 5), "alpha": _numbers(0, 2), "lambda": _numbers(0, 2),
    }  # fmt: skip


class TuningBudget(Part):
    """What a tuning may cost at most (HP-02); the month's money is the governor's."""

    max_jobs: int = Field(default=100, ge=1, le=750)
    instance_hours: Annotated[float, Field(gt=0)] | None = None


class Tuning(Part):
    """Hyperparameters are searched by a tuning job, whose best training job makes the candidate (HP-01, HP-05)."""

    strategy: Literal["Bayesian", "Random", "Hyperband", "Grid"] | None = None
    """Left out, it follows from the number of ranges (HP-04)."""
    objective: str = Field(default="validation:auc", min_length=1, max_length=255)
    direction: Literal["Maximize", "Minimize"] = "Maximize"
    ranges: dict[Annotated[str, Field(pattern=PARAMETER)], Range] = Field(
        default_factory=_xgboost_ranges, min_length=1, max_length=30
    )
    max_jobs: int = Field(default=20, ge=1)
    max_parallel: int = Field(default=4, ge=1, le=100)
    early_stopping: bool = True
    """Whether SageMaker ends training jobs early that will not be the best; Hyperband does so by itself."""
    limits: dict[Annotated[str, Field(max_length=255)], float] = Field(default={}, max_length=10)
    """A job whose final metric lies above its limit is never the best, such as {latency: 100} (HP-06)."""
    budget: TuningBudget = TuningBudget()

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if self.max_jobs > self.budget.max_jobs:
            raise ValueError(f"max_jobs {self.max_jobs} is above the budget; allowed: 1 to {self.budget.max_jobs}")
        if self.max_parallel > self.max_jobs:
            raise ValueError(f"max_parallel {self.max_parallel} is above max_jobs; allowed: 1 to {self.max_jobs}")
        if self.strategy == "Hyperband" and self.early_stopping:
            raise ValueError("early_stopping true is not allowed with strategy Hyperband; allowed: false")
        if self.strategy == "Grid":
            numbers = [name for name, tried in self.ranges.items() if tried.type != "categorical"]
            size = math.prod(len(tried.values) for tried in self.ranges.values())
            if numbers:
                raise ValueError(f"strategy Grid takes categorical ranges only; not so: {', '.join(numbers)}")
            if self.max_jobs != size:
                raise ValueError(f"max_jobs {self.max_jobs} must be {size}, the size of the grid")
        return self


class Training(Part):
    """How the model is trained; `script` runs the user's own train.py in the scikit-learn container (TR-02, TR-11)."""

    algorithm: Literal["xgboost", "script"]
    framework_version: str = Field(pattern=VERSION, max_length=20)
    entry_point: str = Field(default="train.py", pattern=SCRIPT)
    source: str | None = Field(default=None, pattern=ARCHIVE, max_length=500)
    """Key in the data bucket of the script's sourcedir.tar.gz; required for `script`."""
    hyperparameters: dict[
        Annotated[str, Field(pattern=PARAMETER)], Annotated[str, Field(max_length=2500)] | int | float | bool
    ] = Field(default_factory=dict, max_length=100)
    mode: Literal["full", "incremental"] = "full"
    """Incremental training goes on from the champion's artifact, given as the channel `model` (TR-06, TR-07)."""
    input_mode: Literal["File", "FastFile", "Pipe"] = "File"
    metrics: dict[Annotated[str, Field(max_length=255)], Annotated[str, Field(max_length=500)]] = Field(
        default={}, max_length=40
    )
    """Metric -> regular expression that finds its value in a script's log, such as {latency: 'latency=([0-9.]+)'}."""
    instance_type: INSTANCE = "ml.m5.xlarge"
    instance_count: int = Field(default=1, ge=1, le=20)
    volume_gb: int = Field(default=30, ge=1, le=16384)
    max_runtime_seconds: int = Field(default=3600, ge=60, le=28 * 86400)
    spot: Spot = Spot()
    tuning: Tuning | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.algorithm == "script" and not self.source:
            raise ValueError("algorithm 'script' needs 'source', the key of its sourcedir.tar.gz in the data bucket")
        if self.spot.enabled and self.spot.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError("spot.max_wait_seconds must be at least max_runtime_seconds")
        if self.spot.then_on_demand and (self.tuning or not self.spot.enabled):
            raise ValueError("spot.then_on_demand true needs spot.enabled true and no 'tuning'; allowed: false")
        for name, regex in self.metrics.items():
            try:
                re.compile(regex)
            except re.error as error:
                raise ValueError(f"metrics.{name}: {regex!r} is not a regular expression: {error}") from None
        self._of_the_instance()
        (self._of_xgboost if self.algorithm == "xgboost" else self._of_a_script)()
        return self

    def _of_the_instance(self) -> None:
        family = self.instance_type.split(".")[1]
        if family not in CPU_FAMILIES + GPU_FAMILIES:
            allowed = ", ".join(CPU_FAMILIES + GPU_FAMILIES)
            raise ValueError(f"instance_type {self.instance_type} is of no family that trains; allowed: {allowed}")
        if self.algorithm == "xgboost" and family in GPU_FAMILIES:
            on_gpu = self.hyperparameters.get("tree_method") == "gpu_hist"
            if not on_gpu or family not in _XGBOOST_GPU_FAMILIES:
                raise ValueError(
                    f"instance_type {self.instance_type} is not one that XGBoost trains on; allowed: "
                    f"{', '.join(CPU_FAMILIES)}, and with tree_method gpu_hist {', '.join(_XGBOOST_GPU_FAMILIES)}"
                )

    def _of_xgboost(self) -> None:
        if self.mode == "incremental":
            raise ValueError(
                "mode incremental is not for the built-in XGBoost, which has no channel 'model'; allowed: full"
            )
        if self.metrics:
            raise ValueError("metrics are for a script's log; the built-in XGBoost has its own, such as validation:auc")
        if self.tuning:
            name, metric = self.tuning.objective, self.tuning.objective.removeprefix("validation:")
            if name == metric or metric not in _XGBOOST_MAXIMIZED + _XGBOOST_MINIMIZED:
                allowed = ", ".join(_XGBOOST_MAXIMIZED + _XGBOOST_MINIMIZED)
                raise ValueError(
                    f"tuning.objective {name} is no metric of XGBoost; allowed: validation: and one of {allowed}"
                )
            right = "Maximize" if metric in _XGBOOST_MAXIMIZED else "Minimize"
            if self.tuning.direction != right:
                raise ValueError(f"tuning.direction {self.tuning.direction} is wrong for {name}; allowed: {right}")
        self._tuned(None)

    def _of_a_script(self) -> None:
        if self.input_mode == "Pipe":
            raise ValueError("input_mode Pipe is not for a script: scikit-learn reads files; allowed: File, FastFile")
        if self.instance_count > 1:
            raise ValueError(f"instance_count {self.instance_count}: scikit-learn trains on one instance; allowed: 1")
        if self.tuning and "ranges" not in self.tuning.model_fields_set:
            raise ValueError("tuning.ranges are missing; a script has hyperparameters of its own")
        if self.tuning and self.tuning.objective not in self.metrics:
            raise ValueError(
                f"tuning.objective {self.tuning.objective} must be one of 'metrics': {sorted(self.metrics)}"
            )
        self._tuned(set(self.metrics))

    def _tuned(self, metrics: set[str] | None) -> None:
        if self.tuning is None:
            return
        unknown = sorted(set(self.tuning.limits) - metrics) if metrics is not None else []
        if unknown:
            raise ValueError(f"tuning.limits name {unknown}; allowed are the 'metrics': {sorted(metrics or ())}")
        most, hours = self.tuning.budget.instance_hours, self.most_instance_hours
        if most is not None and hours > most:
            raise ValueError(
                f"tuning may take {hours:g} instance-hours (max_jobs x max_runtime_seconds x instance_count), "
                f"above budget.instance_hours; allowed: {most:g}"
            )

    @property
    def most_instance_hours(self) -> float:
        """Return what the run's training takes at worst, in hours of one instance (HP-02)."""
        jobs = self.tuning.max_jobs if self.tuning else 1
        return jobs * self.max_runtime_seconds * self.instance_count / 3600
