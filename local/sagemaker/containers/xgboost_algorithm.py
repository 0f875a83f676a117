"""The built-in XGBoost algorithm: trains from /opt/ml as `sagemaker-xgboost` does in algorithm mode.

Same files, hyperparameters and log lines. The model is saved by `Booster.save_model` as UBJ, whatever version the image
names. Source of the contract: aws/sagemaker-xgboost-container, algorithm_mode/train.py, callback.py, checkpointing.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
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
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S', time.gmtime())}:INFO] {message}", flush=True)


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
    import xgboost

    matrices = _matrices(xgboost, channels, weighted=parameters.pop("csv_weights", 0) == 1)
    checkpoints = Path(_config("checkpointconfig.json")["LocalPath"]) if _has_checkpoints() else None
    started, done = _latest(checkpoints)
    if started:
        _say(f"Checkpoint loaded from {started}")
        _say(f"Resuming from checkpoint at iteration {done}")
    model = Path(os.environ["SM_MODEL_DIR"]) / MODEL_NAME
    rounds = parameters.pop("num_round")
    patience = parameters.pop("early_stopping_rounds", None) if "validation" in matrices else None
    save_each = parameters.pop("save_model_on_termination", "false") == "true"
    if save_each:
        signal.signal(signal.SIGTERM, lambda *_: _stop(model))
    # With one seed for all a resumed training would draw for its next round what it drew for its first.
    parameters |= {"seed_per_iteration": True}
    begun = bytearray(started.read_bytes()) if started else None
    booster = xgboost.Booster(parameters, list(matrices.values()), model_file=begun)
    for number in range(done, rounds):
        booster.update(matrices["train"], number)
        scores = _scores(booster.eval_set([(matrix, name) for name, matrix in matrices.items()], number))
        print("\t".join([f"[{number}]", *(f"{name}:{score:.5f}" for name, score in scores)]), flush=True)
        over = patience is not None and _rounds_without_progress(booster, number, *scores[-1]) >= patience
        if checkpoints:
            _save(booster, checkpoints / f"xgboost-checkpoint.{number}")
            (checkpoints / f"xgboost-checkpoint.{number - _KEPT}").unlink(missing_ok=True)
        if save_each:
            _save(booster, model)
        if over:
            break
    if (best := booster.attr("best_iteration")) is not None:
        _say(f"Best iteration {best} with score {booster.attr('best_score')}")
        booster = booster[: int(best) + 1]
    _save(booster, model)


def _scores(line: str) -> list[tuple[str, float]]:
    """Return (`train-auc`, score) and so on of xgboost's own line; the last one is validation's last metric."""
    pairs = [part.rsplit(":", 1) for part in line.split("\t")[1:]]
    return [(name, float(score)) for name, score in pairs]


def _rounds_without_progress(booster: Any, number: int, name: str, score: float) -> int:
    """Note the best iteration in the model, so that checkpoints remember it; return the rounds since."""
    known = booster.attr("best_score")
    maximize = name.removeprefix("validation-").partition("@")[0] in hyperparameters.MAXIMIZED
    if known is None or (score > float(known) if maximize else score < float(known)):
        booster.set_attr(best_score=repr(score), best_iteration=str(number))
        return 0
    return number - int(booster.attr("best_iteration"))


def _matrices(xgboost: Any, channels: dict[str, Any], *, weighted: bool) -> dict[str, Any]:
    """Return a DMatrix for each data channel, train first."""
    matrices: dict[str, Any] = {}
    for name in ("train", "validation"):
        if name not in channels:
            continue
        kind = xgboost_data.content_format(channels[name].get("ContentType", "text/libsvm"))
        directory = Path(os.environ[f"SM_CHANNEL_{name.upper()}"])
        features, labels, weights = xgboost_data.read_files(directory, kind, weighted=weighted)
        matrices[name] = xgboost.DMatrix(features, label=labels, weight=weights)
    _say("Single node training.")
    _say(f"Train matrix has {matrices['train'].num_row()} rows and {matrices['train'].num_col()} columns")
    if "validation" in matrices:
        _say(f"Validation matrix has {matrices['validation'].num_row()} rows")
    return matrices


def _has_checkpoints() -> bool:
    return (Path(os.environ["SM_INPUT_CONFIG_DIR"]) / "checkpointconfig.json").exists()


def _latest(checkpoints: Path | None) -> tuple[Path | None, int]:
    """Return the latest checkpoint and the number of rounds that are done."""
    if checkpoints is None or not checkpoints.is_dir():
        return None, 0
    found = {int(match[1]): path for path in checkpoints.iterdir() if (match := _CHECKPOINT.match(path.name))}
    return (found[max(found)], max(found) + 1) if found else (None, 0)


def _stop(model: Path) -> None:
    """End at once with nothing beside the model, as the image's algorithm_mode/callback.py does: no half a save is packed."""
    for path in model.parent.iterdir():
        if path != model:
            path.unlink()
    os._exit(0)


def _save(booster: Any, path: Path) -> None:
    # Renamed when it is whole: whoever copies the directory, or kills this process, finds no half a file.
    unfinished = path.with_name(f"{path.name}.sagemaker-ignore")
    unfinished.write_bytes(booster.save_raw("ubj"))
    unfinished.rename(path)


if __name__ == "__main__":
    main()
