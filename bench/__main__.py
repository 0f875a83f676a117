"""`python -m bench [name ...]`: run all measurements, or the named ones."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

from bench import (
    burst,
    cold_import,
    intake,
    invoke,
    monitor,
    releases,
    signal_to_run,
    story,
    triggers,
    validation,
    verdicts,
)

OUT = Path(__file__).parents[1] / "build" / "bench"
ALL = {
    "cold_import": cold_import.run,
    "invoke": invoke.run,
    "signal_to_run": signal_to_run.run,
    "intake": intake.run,
    "triggers": triggers.run,
    "burst": burst.run,
    "story": story.run,
    "validation": validation.run,
    "verdicts": verdicts.run,
    "releases": releases.run,
}
ONLY_NAMED = {"monitor": monitor.run}  # installs 4 GB of peers


def main(names: list[str]) -> int:
    """Run measurements; return 1 when one of them misses its goal."""
    OUT.mkdir(parents=True, exist_ok=True)
    missed = False
    for name in names or ALL:
        print(f"\n== {name}")
        began = time.monotonic()
        result = (ALL | ONLY_NAMED)[name]()
        result |= {
            "seconds": round(time.monotonic() - began, 1),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        (OUT / f"{name}.json").write_text(json.dumps(result, indent=1))
        missed |= not result["within_goal"]
        print(f"   goal {result['goal']}: {'met' if result['within_goal'] else 'MISSED'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
