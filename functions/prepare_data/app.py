"""Called by `retrain`: splits by entity, writes the channels and the baseline that will follow the model (DV-04, MO-01)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from linnet.gateways import inputs, s3
from linnet.handling import task
from linnet.monitoring.capture import labelled, read_capture
from linnet.monitoring.files import CONSTRAINTS, STATISTICS, statistics_json, suggest_constraints
from linnet.monitoring.profile import profile
from linnet.monitoring.split import Prepared, prepare
from linnet.monitoring.tables import Limits, Source, read_table


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, run, spec, inputs_uri}`; return the channels' URIs, the row counts and the baseline's URI."""
    return write(event["model"], event["run"], event["spec"], event["inputs_uri"])


def write(model: str, run: str, spec: dict[str, Any], inputs_uri: str) -> dict[str, Any]:
    """Prepare train, validation and held-out rows of exactly the listed object versions."""
    data, found = spec["data"], inputs.read(inputs_uri)
    budget = data["maximum_bytes"]
    older = [o for b in found if not b["newest"] for o in b["objects"]]
    newest = [o for b in found if b["newest"] for o in b["objects"]]
    live = inputs.labelled(inputs_uri)
    with (
        tempfile.TemporaryDirectory() as made,
        inputs.files(older, budget) as old,
        inputs.files(newest, budget) as new,
        inputs.files(live["capture"], budget) as asked,
        inputs.files(live["truth"], budget) as truth,
    ):
        capture = read_capture((path.read_bytes() for _, path in asked), list(data["features"]))
        known = labelled(capture, (p.read_bytes() for _, p in truth), label=data["label"], entity=data["entity"])
        prepared = prepare(
            [Source(name, path, data["format"]) for name, path in old],
            [Source(name, path, data["format"]) for name, path in new],
            data,
            Path(made),
            algorithm=spec["training"]["algorithm"],
            limits=Limits(bytes=budget),
            labelled=known if known.num_rows else None,
            facet=(spec["evaluation"].get("bias") or {}).get("facet"),
        )
        baseline = _baseline(model, run, spec, prepared)
        folder = inputs.processed_uri(model, run)
        uris = {
            "train_uri": inputs.upload(prepared.train, f"{folder}/train/part-00001.csv"),
            "validation_uri": inputs.upload(prepared.validation, f"{folder}/validation/part-00001.csv"),
            "features_uri": inputs.upload(prepared.test_features, f"{folder}/test/features.csv"),
            "labels_uri": inputs.upload(prepared.test_labels, f"{folder}/test/labels.csv"),
        }
    return uris | {"rows": dict(prepared.rows), "baseline_uri": baseline}


def _baseline(model: str, run: str, spec: dict[str, Any], prepared: Prepared) -> str:
    """Write statistics.json and constraints.json of the training features; return their folder."""
    features = spec["data"]["features"]
    headed = spec["training"]["algorithm"] == "script"
    table = read_table([Source("train", prepared.train)], columns=None if headed else list(prepared.columns))
    seen = profile(table, kinds=features, only=list(features))
    folder = inputs.baseline_uri(model, run)
    s3.put(f"{folder}/{STATISTICS}", json.dumps(statistics_json(seen)).encode())
    s3.put(f"{folder}/{CONSTRAINTS}", json.dumps(suggest_constraints(seen)).encode())
    return folder
