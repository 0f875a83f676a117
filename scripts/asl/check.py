"""Run asl-validator on the state machines as they are deployed, with their substitutions filled in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> int:
    """Return asl-validator's exit status, or 0 with a loud word where Node is missing."""
    npm, npx = shutil.which("npm"), shutil.which("npx")
    if not npm or not npx:
        sys.stderr.write(
            "asl-validator was NOT run: it needs Node's npm (apt-get install npm); statelint runs in the tests\n"
        )
        return 0
    tools = ROOT / ".tools" / "asl"
    if not (tools / "node_modules" / ".bin" / "asl-validator").exists():
        tools.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, tools / name)
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=tools, check=True)
    filled = ROOT / "build" / "asl"
    filled.mkdir(parents=True, exist_ok=True)
    arguments: list[str] = []
    for path in sorted((ROOT / "statemachines").glob("*.asl.json")):
        text = re.sub(r"\$\{(\w+)\}", "arn:aws:lambda:us-east-1:123456789012:function:name", path.read_text())
        json.loads(text)
        (filled / path.name).write_text(text)
        arguments += ["--json-path", str(filled / path.name)]
    if not arguments:
        return 0
    checked = subprocess.run(
        [str(tools / "node_modules" / ".bin" / "asl-validator"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        sys.stderr.write(checked.stdout + checked.stderr)
    return checked.returncode


if __name__ == "__main__":
    sys.exit(main())
