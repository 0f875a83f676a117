"""What a function's imports leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import gc, json
usual = gc.get_threshold()
seen = [gc.get_stats()[0]["collections"]]
import app
seen.append(gc.get_stats()[0]["collections"])
print(json.dumps({"usual": gc.get_threshold() == usual, "frozen": gc.get_freeze_count(), "looks": seen[1] - seen[0]}))
"""


@pytest.mark.parametrize("function", ["monitor_window", "on_signal"])  # a task and a listener
def test_imports_are_not_searched_for_garbage_and_what_comes_after_them_is_as_usual(function: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT / "functions" / function,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT / "layers" / "linnet"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "POWERTOOLS_SERVICE_NAME": "linnet",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["usual"]
    assert found["frozen"] > 10_000
    assert found["looks"] <= 20
