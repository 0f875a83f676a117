"""From a run's accepted batches to its channels, its held-out rows and the baseline that follows the model (DV-04, MO-01)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linnet.gateways import inputs, s3, seals
from linnet.monitoring import split
from linnet.monitoring.capture import read_capture
from linnet.monitoring.datasets import profile_file
from linnet.monitoring.files import CONSTRAINTS, STATISTICS, statistics_json, suggest_constraints
from linnet.monitoring.store import PROFILE, profile_bytes
from linnet.monitoring.tables import Limits, Source
from linnet.monitoring.truth import labelled, read_truth


def prepare(
    model: str,
    run: str,
    spec: Mapping[str, Any],
    batches: Sequence[Mapping[str, Any]],
    live: Mapping[str, Sequence[Mapping[str, Any]]],
    limits: Limits,
) -> dict[str, Any]:
    """Write train, validation and held-out rows of exactly the listed object versions; return URIs, counts of rows and seals.

    `live` are the run's objects of capture and ground truth.

    Raises:
        BadInputError: the files are larger than the limit, or their rows cannot be split as the spec asks.
        NotFoundError: a listed version of a file is gone.
    """
    data = spec["data"]
    older = [o for b in batches if not b["newest"] for o in b["objects"]]
    newest = [o for b in batches if b["newest"] for o in b["objects"]]
    with (
        tempfile.TemporaryDirectory() as made,
        inputs.files(older, limits.bytes) as old,
        inputs.files(newest, limits.bytes) as new,
        inputs.files(live["capture"], limits.bytes) as asked,
        inputs.files(live["truth"], limits.bytes) as truth,
    ):
        capture = read_capture((path.open("rb") for _, path in asked), list(data["features"]))
        labels = read_truth((o["uri"], path.read_bytes()) for o, (_, path) in zip(live["truth"], truth, strict=True))
        known = labelled(capture, labels, label=data["label"], entity=data["entity"])
        prepared = split.prepare(
            [Source(name, path, data["format"]) for name, path in old],
            [Source(name, path, data["format"]) for name, path in new],
            data,
            Path(made),
            algorithm=spec["training"]["algorithm"],
            limits=limits,
            labelled=known if known.num_rows else None,
            facet=(spec["evaluation"].get("bias") or {}).get("facet"),
        )
        baseline, sealed = _baseline(model, run, spec, prepared)
        folder, uris = inputs.processed_uri(model, run), {}
        for name, path, key in (
            ("train_uri", prepared.train, "train/part-00001.csv"),
            ("validation_uri", prepared.validation, "validation/part-00001.csv"),
            ("features_uri", prepared.test_features, "test/features.csv"),
            ("labels_uri", prepared.test_labels, "test/labels.csv"),
        ):
            seal = inputs.upload(path, f"{folder}/{key}")
            uris[name] = next(iter(seal), "")
            sealed |= seal
    return uris | {"rows": dict(prepared.rows), "baseline_uri": baseline, "sealed": sealed}


def _baseline(model: str, run: str, spec: Mapping[str, Any], prepared: split.Prepared) -> tuple[str, seals.Seals]:
    """Write statistics.json, constraints.json and the profile of the training features; return their folder and seals."""
    features = spec["data"]["features"]
    headed = spec["training"]["algorithm"] == "script"
    limits = Limits(bytes=prepared.train.stat().st_size, rows=prepared.rows["train"])  # of a file that was just written
    seen = profile_file(
        Source("train", prepared.train), columns=None if headed else list(prepared.columns), kinds=features,
        only=list(features), limits=limits,
    )  # fmt: skip
    folder, sealed = inputs.baseline_uri(model, run), seals.Seals()
    for name, body, kind in (
        (PROFILE, profile_bytes(seen), "application/vnd.apache.arrow.file"),
        (STATISTICS, json.dumps(statistics_json(seen)).encode(), "application/json"),
        (CONSTRAINTS, json.dumps(suggest_constraints(seen)).encode(), "application/json"),
    ):
        uri = f"{folder}/{name}"
        sealed |= seals.of_bytes(uri, body, s3.put(uri, body, kind))
    return folder, sealed
