"""The built-in XGBoost algorithm: trains from /opt/ml as `sagemaker-xgboost` does in algorithm mode.

Same files, hyperparameters and log lines. The model is saved by `Booster.save_model` as UBJ, whatever version the image
names. Source of the contract: aws/sagemaker-xgboost-container, algorithm_mode/train.py, callback.py, checkpointing.py.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from local.sagemaker.containers import hyperparameters, xgboost_data

MODEL_NAME = "xgboost-model"
_CHECKPOINT = re.compile(r"^xgboost-checkpoint\.(\d+)$")
_KEPT = 5


def main() -> None:
    """Train; a mistake of the caller ends in /opt/ml/output/failure and exit code 1."""
    try:
        train()
    except ValueError as error:  # hyperparameters, data, and xgboost's own errors
        traceback.print_exc()
        (Path(os.environ["SM_OUTPUT_DIR"]) / "failure").write_text(f"Customer Error: {error}", encoding="utf-8")
        sys.exit(1)


def _say(message: str) -> None:
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S', time.gmtime())}:INFO] {message}", flush=True)  # noqa: T201


def _config(name: str) -> Any:
    return json.loads((Path(os.environ["SM_INPUT_CONFIG_DIR"]) / name).read_text(encoding="utf-8"))


def train() -> None:
    """Train as the files under /opt/ml/input say. Raises ValueError for a mistake of the caller."""
    parameters = hyperparameters.validated(_config("hyperparameters.json"))
    channels = _config("inputdataconfig.json")
    if unknown := set(channels) - {"train", "validation", "code"}:
        raise ValueError(f"Extraneous channel found: {sorted(unknown)}; allowed are train, validation, code")
    if "train" not in channels:
        raise ValueError("Missing required channel: train")

    # xgboost looks for scikit-learn only to offer its wrappers, which costs two thirds of its import time.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    import xgboost  # noqa: PLC0415 - late, after the cheap checks

    rounds = parameters.pop("num_round")
    patience = parameters.pop("early_stopping_rounds", None)
    keep_each = parameters.pop("save_model_on_termination", "false") == "true"
    weighted = parameters.pop("csv_weights", 0) == 1
    matrices = {}
    for name in ("train", "validation"):
        if name in channels:
            kind = xgboost_data.content_format(channels[name].get("ContentType", "text/libsvm"))
            features, labels, weights = xgboost_data.read_files(
                Path(os.environ[f"SM_CHANNEL_{name.upper()}"]), kind, weighted=weighted
            )
            matrices[name] = xgboost.DMatrix(features, label=labels, weight=weights)
    _say("Single node training.")
    _say(f"Train matrix has {matrices['train'].num_row()} rows and {matrices['train'].num_col()} columns")
    if "validation" in matrices:
        _say(f"Validation matrix has {matrices['validation'].num_row()} rows")

    checkpoints = Path(_config("checkpointconfig.json")["LocalPath"]) if _has_checkpoints() else None
    started, done = _latest(checkpoints)
    if started:
        _say(f"Checkpoint loaded from {started}")
        _say(f"Resuming from checkpoint at iteration {done}")
    model = Path(os.environ["SM_MODEL_DIR"]) / MODEL_NAME
    callbacks: list[Any] = [xgboost.callback.EvaluationMonitor()]
    best = None
    if patience and "validation" in matrices:
        best = _best_class(xgboost)(patience)
        callbacks.append(best)
    if checkpoints:
        callbacks.append(_saver_class(xgboost)(checkpoints))
    if keep_each:
        callbacks.append(_saver_class(xgboost)(model))
    # A round's random draws depend on the seed and the round alone, so that a resumed training equals an unbroken one.
    booster = xgboost.train(
        {"seed_per_iteration": True, **parameters},
        matrices["train"],
        num_boost_round=max(0, rounds - done),
        evals=[(matrix, name) for name, matrix in matrices.items()],
        callbacks=callbacks,
        xgb_model=str(started) if started else None,
        verbose_eval=False,
    )
    if booster.attr("best_iteration") is not None:
        _say(f"Best iteration {booster.attr('best_iteration')} with score {booster.attr('best_score')}")
        booster = booster[: int(booster.attr("best_iteration")) + 1]
    _save(booster, model)


def _has_checkpoints() -> bool:
    return (Path(os.environ["SM_INPUT_CONFIG_DIR"]) / "checkpointconfig.json").exists()


def _latest(checkpoints: Path | None) -> tuple[Path | None, int]:
    """Return the latest checkpoint and the number of rounds that are done."""
    if checkpoints is None or not checkpoints.is_dir():
        return None, 0
    found = {int(match[1]): path for path in checkpoints.iterdir() if (match := _CHECKPOINT.match(path.name))}
    return (found[max(found)], max(found) + 1) if found else (None, 0)


def _save(booster: Any, path: Path) -> None:
    # Renamed when it is whole: whoever copies the directory, or kills this process, finds no half a file.
    unfinished = path.with_name(f"{path.name}.sagemaker-ignore")
    unfinished.write_bytes(booster.save_raw("ubj"))
    unfinished.rename(path)


def _saver_class(xgboost: Any) -> Any:
    class Saver(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        """Saves the model after every round: as a file, or in a directory as `xgboost-checkpoint.<round>`."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self._path = path

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            if not self._path.is_dir():
                _save(model, self._path)
                return False
            number = model.num_boosted_rounds() - 1
            _save(model, self._path / f"xgboost-checkpoint.{number}")
            (self._path / f"xgboost-checkpoint.{number - _KEPT}").unlink(missing_ok=True)
            return False

    return Saver


def _best_class(xgboost: Any) -> Any:
    class Best(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        """Stops when validation has not improved for some rounds; its memory is in the model, so checkpoints keep it."""

        def __init__(self, patience: int) -> None:
            super().__init__()
            self._patience = patience

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            name, scores = list(evals_log["validation"].items())[-1]
            score, number = float(scores[-1]), model.num_boosted_rounds() - 1
            known = model.attr("best_score")
            maximize = name.partition("@")[0] in hyperparameters.MAXIMIZED
            if known is None or (score > float(known) if maximize else score < float(known)):
                model.set_attr(best_score=repr(score), best_iteration=str(number))
                return False
            return bool(number - int(model.attr("best_iteration")) >= self._patience)

    return Best


if __name__ == "__main__":
    main()
