"""The smallest job in script mode: learns whether x is above y, and serves what it learnt."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression


def model_fn(directory: str) -> Any:
    """Load the model, as the serving container asks."""
    return joblib.load(Path(directory) / "model.joblib")


def main() -> None:
    """Train on the channel `train` and leave model and metric where SageMaker looks for them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-iter", type=int, required=True)
    iterations = parser.parse_args().max_iter
    rows = np.loadtxt(Path(os.environ["SM_CHANNEL_TRAIN"]) / "rows.csv", delimiter=",")
    model = LogisticRegression(max_iter=iterations).fit(rows[:, 1:], rows[:, 0])
    joblib.dump(model, Path(os.environ["SM_MODEL_DIR"]) / "model.joblib")
    print(f"iterations={iterations} accuracy={model.score(rows[:, 1:], rows[:, 0])}")  # noqa: T201


if __name__ == "__main__":
    main()
