"""Trains and serves `diamonds` in SageMaker's scikit-learn container (script mode, TR-11).

The artifact is one fitted Pipeline, preprocessing included: what was learnt about the data while training is applied
when serving, and nothing else is (FE-04). Train and validation are CSV with a header, label first; a request is CSV
without a header: the features in the same order.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

NUMBERS = ("carat", "depth", "table")
CATEGORIES = ("cut", "color", "clarity")
FEATURES = ("carat", "cut", "color", "clarity", "depth", "table")
ARTIFACT = "model.joblib"
Table = NDArray[np.object_]


def table(rows: list[list[str]]) -> Table:
    """Return rows of FEATURES as a table; numbers are floats (NaN where a field is empty), categories text.

    Raises:
        ValueError: a row has another number of fields, or a number cannot be read; names the row.
    """
    made = np.empty((len(rows), len(FEATURES)), dtype=object)
    for number, row in enumerate(rows, 1):
        if len(row) != len(FEATURES):
            raise ValueError(f"row {number} has {len(row)} fields; expected {len(FEATURES)}: {', '.join(FEATURES)}")
        for place, (name, text) in enumerate(zip(FEATURES, row, strict=True)):
            made[number - 1, place] = text if name in CATEGORIES else float(text or "nan")
    return made


def read(folder: str) -> tuple[Table, NDArray[np.int64]]:
    """Return features and labels of all CSV files of a channel."""
    rows = []
    for path in sorted(Path(folder).glob("*.csv")):
        with path.open(newline="") as file:
            header, *body = csv.reader(file)
        if tuple(header[1:]) != FEATURES:
            raise ValueError(f"{path.name} has the columns {header}; expected the label, then {', '.join(FEATURES)}")
        rows += body
    labels = np.array([float(row[0]) for row in rows])
    return table([row[1:] for row in rows]), labels.astype(np.int64)


def build(given: argparse.Namespace) -> Pipeline:
    """Return the unfitted pipeline; a category that training never saw is no error when serving."""
    places = {name: place for place, name in enumerate(FEATURES)}
    prepare = ColumnTransformer(
        [
            ("numbers", "passthrough", [places[name] for name in NUMBERS]),
            (
                "categories",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                [places[n] for n in CATEGORIES],
            ),
        ]
    )
    learn = HistGradientBoostingClassifier(
        max_iter=given.max_iter,
        learning_rate=given.learning_rate,
        max_leaf_nodes=given.max_leaf_nodes,
        random_state=given.seed,
    )
    return Pipeline([("prepare", prepare), ("learn", learn)])


def model_fn(model_dir: str) -> Pipeline:
    """Load the artifact: the container calls this once a worker."""
    return joblib.load(Path(model_dir) / ARTIFACT)


def input_fn(body: str | bytes, content_type: str) -> Table:
    """Return a request's rows."""
    if content_type.partition(";")[0].strip() != "text/csv":
        raise ValueError(f"content type {content_type} is not supported; send text/csv")
    text = body.decode() if isinstance(body, bytes) else body
    return table([row for row in csv.reader(io.StringIO(text)) if row])


def predict_fn(data: Table, model: Pipeline) -> NDArray[np.float64]:
    """Return the probability that each diamond is expensive."""
    return np.asarray(model.predict_proba(data)[:, 1], dtype=np.float64)


def output_fn(prediction: NDArray[np.float64], accept: str) -> tuple[str, str]:
    """Return one probability a line."""
    if accept.partition(";")[0].strip() not in ("text/csv", "*/*", ""):
        raise ValueError(f"cannot answer as {accept}; accept text/csv")
    return "".join(f"{value:.8g}\n" for value in prediction), "text/csv"


def main(arguments: list[str] | None = None) -> None:
    """Train; hyperparameters come as arguments, folders from the container's SM_* variables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-iter", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--max-leaf-nodes", type=int, default=31)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", default=os.environ.get("SM_CHANNEL_VALIDATION"))
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    # SageMaker may pass hyperparameters of its own (sagemaker_program and the like).
    given, _ = parser.parse_known_args(arguments)
    features, labels = read(given.train)
    model: Any = build(given).fit(features, labels)
    for name, folder in (("train", given.train), ("validation", given.validation)):
        if folder:
            data, truth = read(folder)
            print(f"{name}:auc={roc_auc_score(truth, predict_fn(data, model)):.6f}", flush=True)
    joblib.dump(model, Path(given.model_dir) / ARTIFACT)


if __name__ == "__main__":
    main()
