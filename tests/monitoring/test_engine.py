"""The parts together: raw batches to training files, their baseline, and live windows that come as data capture."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet.monitoring.capture import read_capture
from linnet.monitoring.drift import Comparison, compare
from linnet.monitoring.files import read_constraints, read_statistics, statistics_json, suggest_constraints
from linnet.monitoring.profile import kinds_of, profile
from linnet.monitoring.rules import rules_of, validate_files
from linnet.monitoring.split import prepare
from linnet.monitoring.tables import Source, read_table

DATA: dict[str, Any] = {
    "label": "late",
    "entity": "flight",
    "features": {"distance": "number", "delay": "number", "flag": "number", "carrier": "category"},
    "holdout": 0.2,
    "validation": 0.1,
    "minimum_rows": 100,
}


def batch(seed: int, rows: int) -> Source:
    source = np.random.default_rng(seed)
    lines = ["flight,late,carrier,distance,delay,flag"]
    for i in range(rows):
        delay = "" if source.random() < 0.03 else f"{source.exponential(12):.2f}"
        carrier = ("AA", "UA", '"Jet, Blue"')[source.choice(3, p=(0.5, 0.3, 0.2))]
        lines.append(f"f{seed}-{i},{i % 2},{carrier},{source.integers(90, 2500)},{delay},{int(source.random() < 0.2)}")
    return Source(f"batch-{seed}", ("\n".join(lines) + "\n").encode())


def served(rows: list[list[str]]) -> bytes:
    lines = []
    for number, row in enumerate(rows):
        quoted = ",".join(f'"{field}"' if "," in field else field for field in row)
        asked = {"observedContentType": "text/csv", "mode": "INPUT", "data": quoted, "encoding": "CSV"}
        meta = {"eventId": f"e{number}", "inferenceTime": "2026-01-01T00:00:00Z"}
        lines.append(json.dumps({"captureData": {"endpointInput": asked}, "eventMetadata": meta, "eventVersion": "0"}))
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[list[str]]]:
    """A run's stored statistics and constraints, and its held-out rows as an endpoint would be asked for them."""
    sources = [batch(1, 3_000)], [batch(2, 3_000)]
    assert validate_files([*sources[0], *sources[1]], rules_of(DATA))["verdict"] == "PASS"
    made = prepare(*sources, DATA, tmp_path_factory.mktemp("run"), algorithm="script")
    features: Any = DATA["features"]
    known = profile(read_table([Source("train", made.train)]), kinds=features, only=list(features))
    statistics, constraints = json.dumps(statistics_json(known)), json.dumps(suggest_constraints(known))
    return json.loads(statistics), json.loads(constraints), held_out(made.test_features)


def held_out(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def look(run: tuple[Any, Any, Any], rows: list[list[str]]) -> Comparison:
    known = read_statistics(run[0])
    seen = read_capture([served(rows)], list(known.columns))
    assert seen.rows == len(rows)
    current = profile(seen.features.to_batches(), kinds=kinds_of(known))
    return compare(known, current, read_constraints(run[1]), minimum_rows=100)


def test_mo02_live_rows_like_the_held_out_ones_break_nothing(run: tuple[Any, Any, list[list[str]]]) -> None:
    result = look(run, run[2])
    assert (result.status, result.violations) == ("Completed", ())
    assert set(result.drift) == set(DATA["features"])
    assert max(result.drift.values()) < 0.1


@pytest.mark.parametrize(
    ("feature", "position", "change"),
    [
        ("distance", 0, lambda value: str(int(value) + 1200)),
        ("delay", 1, lambda value: value and repr(float(value) * 4)),
        ("flag", 2, lambda _: "1"),
        ("carrier", 3, lambda value: "UA" if value == "AA" else value),
    ],
)
def test_mo02_a_drifted_feature_is_found_by_name_and_no_other_is(
    run: tuple[Any, Any, list[list[str]]], feature: str, position: int, change: Any
) -> None:
    rows = [[change(v) if n == position else v for n, v in enumerate(row)] for row in run[2]]
    result = look(run, rows)
    assert result.status == "CompletedWithViolations"
    assert [(v.feature, v.check) for v in result.violations] == [(feature, "baseline_drift_check")]
    assert result.drift[feature] > 0.3


def test_a_window_below_the_minimum_is_unknown_however_far_it_drifted(
    run: tuple[Any, Any, list[list[str]]],
) -> None:
    rows = [["9999", *row[1:]] for row in run[2][:99]]
    assert look(run, rows).status == "no_data"
