"""The hyperparameters of the built-in XGBoost algorithm: names, types and ranges as its container checks them.

Source: aws/sagemaker-xgboost-container, algorithm_mode/hyperparameter_validation.py and its toolkit's messages.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


class HyperparameterError(ValueError):
    """A hyperparameter was refused; the message names it, its value and what is allowed."""


@dataclass(frozen=True)
class _Number:
    kind: type[int | float]
    low: float = -math.inf
    high: float = math.inf
    open: Literal["", "(", ")", "()"] = ""
    """Which ends of the range are excluded."""

    def read(self, text: str) -> int | float:
        value = self.kind(text)
        above = value > self.low if "(" in self.open else value >= self.low
        below = value < self.high if ")" in self.open else value <= self.high
        if not (above and below):
            raise LookupError(self)
        return value

    def __str__(self) -> str:
        low = "(" if "(" in self.open or self.low == -math.inf else "["
        high = ")" if ")" in self.open or self.high == math.inf else "]"
        return f"{low}{self.low:g}, {self.high:g}{high} ({self.kind.__name__})"


@dataclass(frozen=True)
class _Choice:
    values: tuple[str, ...]

    def read(self, text: str) -> str:
        if text not in self.values:
            raise LookupError(self)
        return text

    def __str__(self) -> str:
        return ", ".join(self.values)


@dataclass(frozen=True)
class _Literal:
    """A Python tuple or nested list, handed on as it is written."""

    example: str

    def read(self, text: str) -> str:
        if not isinstance(ast.literal_eval(text), (tuple, list)):
            raise LookupError(self)  # noqa: TRY004 - out of range, as any other value
        return text

    def __str__(self) -> str:
        return f"a value like {self.example}"


_UNIT = _Number(float, 0, 1)
_SHARE = _Number(float, 0, 1, "(")
_POSITIVE = _Number(float, 0)
_FLAG = _Number(int, 0, 1)
_COUNT = _Number(int, 1)

MAXIMIZED = ("auc", "aucpr", "map", "ndcg")
_MINIMIZED = (
    "aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy", "logloss",
    "mae", "mape", "merror", "mlogloss", "mphe", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik",
)  # fmt: skip
_OF_THE_CONTAINER = (
    "accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "mse", "precision", "precision_macro",
    "precision_micro", "r2", "recall", "recall_macro", "recall_micro",
)  # fmt: skip

_RULES: dict[str, _Number | _Choice | _Literal] = {
    "num_round": _COUNT,
    "csv_weights": _FLAG,
    "early_stopping_rounds": _COUNT,
    "booster": _Choice(("gbtree", "gblinear", "dart")),
    "verbosity": _Number(int, 0, 3),
    "nthread": _COUNT,
    "eta": _UNIT,
    "gamma": _POSITIVE,
    "max_depth": _Number(int, 0),
    "min_child_weight": _POSITIVE,
    "max_delta_step": _POSITIVE,
    "subsample": _SHARE,
    "colsample_bytree": _SHARE,
    "colsample_bylevel": _SHARE,
    "colsample_bynode": _SHARE,
    "lambda": _POSITIVE,
    "alpha": _POSITIVE,
    "tree_method": _Choice(("auto", "exact", "approx", "hist")),
    "scale_pos_weight": _Number(float, 0, open="("),
    "refresh_leaf": _FLAG,
    "process_type": _Choice(("default", "update")),
    "grow_policy": _Choice(("depthwise", "lossguide")),
    "max_leaves": _Number(int, 0),
    "max_bin": _Number(int, 0),
    "monotone_constraints": _Literal("(1, 0, -1)"),
    "interaction_constraints": _Literal("[[0, 1], [2, 3]]"),
    "sample_type": _Choice(("uniform", "weighted")),
    "normalize_type": _Choice(("tree", "forest")),
    "rate_drop": _UNIT,
    "one_drop": _FLAG,
    "skip_drop": _UNIT,
    "tweedie_variance_power": _Number(float, 1, 2, "()"),
    "objective": _Choice((
        "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax", "multi:softprob",
        "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror", "reg:logistic", "reg:gamma",
        "reg:pseudohubererror", "reg:squaredlogerror", "reg:absoluteerror", "reg:tweedie", "survival:aft",
        "survival:cox",
    )),
    "num_class": _Number(int, 2),
    "base_score": _POSITIVE,
    "seed": _Number(int, -(2**31), 2**31 - 1, "()"),
    "num_parallel_tree": _COUNT,
    "save_model_on_termination": _Choice(("true", "false")),
    "aft_loss_distribution": _Choice(("normal", "logistic", "extreme")),
    "aft_loss_distribution_scale": _POSITIVE,
    "sampling_method": _Choice(("uniform", "gradient_based")),
}  # fmt: skip
_ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}
_ELSEWHERE = {
    "_kfold", "_num_cv_round", "deterministic_histogram", "dsplit", "lambda_bias",
    "predictor", "prob_buffer_row", "sketch_eps", "updater", "use_dask_gpu_training",
}  # fmt: skip


_OBJECTIVE = "_tuning_objective_metric"
"""What a tuning job adds to the hyperparameters of its training jobs, such as validation:auc."""


def validated(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the hyperparameters with their types; `eval_metric` is a list.

    Raises:
        HyperparameterError: for a missing, unknown or unreadable one, and for a value out of its range.
    """
    found: dict[str, Any] = {}
    objective: list[str] = []
    for written, text in given.items():
        name = _ALIASES.get(written, written)
        if name == "eval_metric":
            found[name] = _metrics(text)
            continue
        if name == _OBJECTIVE:
            objective = _metrics(text.partition(":")[2])
            continue
        if name in _ELSEWHERE:
            raise HyperparameterError(f"Hyperparameter {written}: {text} is not emulated, leave it out here")
        rule = _RULES.get(name)
        if rule is None:
            raise HyperparameterError(f"Extraneous hyperparameter found: {written}; allowed are {', '.join(_names())}")
        try:
            found[name] = rule.read(text)
        except LookupError:
            raise HyperparameterError(f"Hyperparameter {written}: {text} is not in {rule}") from None
        except (ValueError, SyntaxError) as error:
            raise HyperparameterError(
                f"Hyperparameter {written}: could not parse value {text!r}; allowed is {rule}"
            ) from error
    if objective:  # last in the list, because early stopping goes by the last metric
        found["eval_metric"] = [m for m in found.get("eval_metric", []) if m not in objective] + objective
    if "num_round" not in found:
        raise HyperparameterError(f"Missing required hyperparameter: num_round; allowed is {_COUNT}")
    _related(found)
    return found


def _names() -> list[str]:
    return sorted([*_RULES, *_ALIASES, "eval_metric"])


def _metrics(text: str) -> list[str]:
    metrics = text.split(",")
    for metric in metrics:
        name, at, threshold = metric.partition("@")
        if metric in _OF_THE_CONTAINER:
            raise HyperparameterError(
                f"Hyperparameter eval_metric: {metric} is computed by the container's own code, which is not emulated"
            )
        if at and name not in ("error", "ndcg", "map"):
            raise HyperparameterError(f"Hyperparameter eval_metric: {metric}; only error, ndcg, map take a threshold")
        if name not in MAXIMIZED + _MINIMIZED or (at and not _is_number(threshold.rstrip("-"))):
            allowed = ", ".join(sorted(MAXIMIZED + _MINIMIZED))
            raise HyperparameterError(f"Hyperparameter eval_metric: value {metric} not in range {allowed}")
    return metrics


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _related(found: Mapping[str, Any]) -> None:
    objective = found.get("objective", "reg:squarederror")
    if objective.startswith("multi:") and "num_class" not in found:
        raise HyperparameterError("Require input for parameter 'num_class' for multi-classification")
    if "num_class" in found and "objective" not in found:
        raise HyperparameterError("Do not need to setup parameter 'num_class' for other than multi-classification")
    if "auc" in found.get("eval_metric", []) and not objective.startswith(("binary:", "rank:")):
        raise HyperparameterError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in found.get("eval_metric", []) and objective != "survival:aft":
        raise HyperparameterError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
