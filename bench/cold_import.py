"""Cold import of every function against a bare handler that imports boto3, the same powertools and pydantic."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROUNDS = 7
GOAL = 1.2
BARE = """
import boto3
from aws_lambda_powertools import Logger
from pydantic import BaseModel
logger = Logger()
class Event(BaseModel):
    id: str
client = boto3.client("dynamodb", region_name="us-east-1")
def handler(event, context):
    return {}
"""
TIMED = "import time; a=time.perf_counter(); import app; print(time.perf_counter()-a)"


def _seconds(folder: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", TIMED],
        cwd=folder,
        env={
            "PYTHONPATH": f"{folder}:{ROOT / 'layers' / 'linnet'}",
            "LINNET_STACK": "s", "LINNET_DATA_BUCKET": "b", "LINNET_TABLE": "t", "LINNET_BUS": "b", "LINNET_TOPIC": "t",
            "AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_SERVICE_NAME": "linnet", "PATH": "/usr/bin:/bin",
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def run() -> dict[str, Any]:
    """Measure every function and the bare handler in turn, so that a slow moment of the machine hits all alike."""
    heavy = {  # functions of the data plane import numpy and pyarrow: reported, not held to the goal
        p.parent.name
        for p in (ROOT / "functions").glob("*/app.py")
        if "linnet.monitoring" in p.read_text() or "linnet.data" in p.read_text()
    }
    with tempfile.TemporaryDirectory() as made:
        bare = Path(made)
        (bare / "app.py").write_text(BARE)
        folders = {"bare": bare} | {p.parent.name: p.parent for p in sorted((ROOT / "functions").glob("*/app.py"))}
        for folder in folders.values():
            _seconds(folder)
        taken: dict[str, list[float]] = {name: [] for name in folders}
        for _ in range(ROUNDS):
            for name, folder in folders.items():
                taken[name].append(_seconds(folder))
    median = {name: statistics.median(times) for name, times in taken.items()}
    ratios = {name: round(m / median["bare"], 2) for name, m in median.items()}
    for name, ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        print(f"   {name:24} {1000 * median[name]:7.0f} ms  {ratio:5.2f}x{'  (data plane)' if name in heavy else ''}")
    worst = max(r for name, r in ratios.items() if name not in heavy)
    return {
        "peer": "bare handler: boto3 client, powertools Logger, pydantic model",
        "milliseconds": {name: round(1000 * m, 1) for name, m in median.items()},
        "ratios": ratios, "data_plane": sorted(heavy), "worst_control_plane_ratio": worst,
        "goal": f"control plane at most {GOAL}x", "within_goal": worst <= GOAL,
        "raw": json.loads(json.dumps(taken)),
    }  # fmt: skip
