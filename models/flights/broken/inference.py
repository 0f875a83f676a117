"""Serves flights with a bug, kept to show how a release is taken back: it loads, and fails on every live request.

Its author tried it on a file with a header; requests have none. `model_fn` works, so the container answers its pings.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

FEATURES = ("dep_delay", "air_time", "scheduled_minutes", "distance", "hour", "temp", "humid", "wind_speed", "visib")


def model_fn(model_dir: str) -> xgboost.Booster:
    """Load the model."""
    model = xgboost.Booster()
    model.load_model(bytearray((Path(model_dir) / "xgboost-model").read_bytes()))
    return model


def input_fn(body: str | bytes, content_type: str) -> Any:
    """Return a request's rows: the first row is taken for a header, in which no feature is found."""
    text = body.decode() if isinstance(body, bytes) else body
    header, *rows = csv.reader(io.StringIO(text))
    places = [header.index(name) for name in FEATURES]
    return xgboost.DMatrix(np.array([[float(row[place]) for place in places] for row in rows]))
