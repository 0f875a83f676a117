"""The demo's wall time by phase, and what of it is neither training nor serving."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOAL = 180


def run() -> dict[str, Any]:
    """Play the demo in a fresh process and read its report."""
    played = subprocess.run([sys.executable, "-m", "local", "demo"], cwd=ROOT, check=False)
    report = json.loads((ROOT / "build" / "demo" / "report.json").read_text())
    phases = {p["phase"]: p["seconds"] for p in report["phases"]}
    work = report.get("work_seconds", {})
    for name, seconds in phases.items():
        print(f"   {seconds:6.1f} s  {name}")
    rest = round(report["seconds"] - sum(work.values()), 1)
    print(f"   {report['seconds']:6.1f} s in all at x{report['rate']}: {work}, the rest {rest} s (waiting included)")
    return {
        "seconds_by_phase": phases, "seconds_in_all": report["seconds"], "work_seconds": work,
        "neither_training_nor_serving_seconds": rest, "goal": f"at most {GOAL} s, story held",
        "within_goal": played.returncode == 0 and report["seconds"] <= GOAL,
    }  # fmt: skip
