"""Inference code with a bug, as a hand-built candidate carries it: it works for files and fails for single rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost


def model_fn(model_dir: str) -> xgboost.Booster:
    """Load the booster."""
    booster = xgboost.Booster()
    booster.load_model(bytearray((Path(model_dir) / "xgboost-model").read_bytes()))
    return booster


def input_fn(body: str | bytes, content_type: str) -> Any:  # noqa: ARG001 - the container's signature
    """Read rows of numbers; `squeeze` takes the one row of a live request apart."""
    text = body.decode() if isinstance(body, bytes) else body
    return np.array([line.split(",") for line in text.split()], dtype=np.float64).squeeze()


def predict_fn(rows: Any, booster: xgboost.Booster) -> Any:
    """Score the rows; one row is a vector by now, which DMatrix refuses."""
    return booster.predict(xgboost.DMatrix(rows))


def output_fn(scores: Any, accept: str) -> str:  # noqa: ARG001 - the container's signature
    """Return one score a line."""
    return "\n".join(str(float(score)) for score in scores)
