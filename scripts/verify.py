"""Does every check of Linnet once and prints a table of check, count, result and seconds: make verify.

The README's two commands run on a bare Debian (scripts/fresh), so that a missing step of the set-up fails here and not at
a user's. Whatever needs more than such a machine has (Docker, Node) runs in this checkout. A check is one line of CHECKS;
a check that consists of tests is a line of TESTED, counted out of what `make test` reported, so that nothing runs twice.
build/verify/ holds each check's output, and report.json the table.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "verify"
FRESH = ROOT / "build" / "fresh" / "home" / "somebody" / "linnet"
COUNT = r"^count: (.+)$"
"""How a check says on its last lines what it counted: `count: 39 functions invoked`."""


@dataclass(frozen=True)
class Check:
    """A command of its own; `counted` finds the count in what it prints, `needs` names a check that must have passed."""

    name: str
    command: str
    counted: str = COUNT
    needs: str = ""


@dataclass(frozen=True)
class Row:
    """A line of the table; result is ok, FAILED or not run."""

    check: str
    count: str
    result: str
    seconds: float


BARE, DEMO, TESTS = "a bare Debian, set up by its user", "make demo, there", "make test, there"
CHECKS = (
    Check(BARE, "scripts/fresh build"),
    Check(
        DEMO, "scripts/fresh bash -o pipefail -c 'mkdir -p build; make demo | tee build/demo.txt'", r"(\d+ claims)", needs=BARE,
    ),
    # A bare Debian has neither Node, which asl-validator needs, nor Docker.
    Check("policies as code", "make -s .venv/dev && scripts/policies"),
    Check("sam: validated, built, every function in its container", "make -s .venv/dev && scripts/sam-check"),
    # The tests of the story read what the demo has just written; it is not played again, nor do the policies run twice.
    Check(TESTS, "scripts/fresh env LINNET_DEMO=build/demo.txt LINNET_POLICIES=apart make test", r"(\d+) passed", needs=BARE),
)  # fmt: skip
TESTED: tuple[tuple[str, ...], ...] = (
    ("the whole story, row by row", "tests/e2e"),
    (
        "permissions: every call against the template",
        "tests/stack/test_permissions.py", "tests/template/test_permissions.py", "tests/workflow/test_permissions.py",
    ),
    (
        "the own rules of policies",
        "tests/template/test_asl_rules.py", "tests/template/test_policies.py", "tests/template/test_template_rules.py",
    ),
    ("states, transitions and mutants of the machines", "tests/machines"),
    ("events against patterns", "tests/contract/test_rules.py"),
    ("three clients at the local SageMaker", "tests/clients"),
    ("faults between functions and AWS", "tests/faults"),
    (
        "security",
        "tests/contract/test_network.py", "tests/contract/test_seals.py", "tests/monitoring/test_bombs.py",
        "tests/template/test_no_unpickling.py", "tests/template/test_security.py",
    ),
    ("the public bugs of others", "tests/peers"),
)  # fmt: skip
"""What the table tells of `make test`: a name, and the folders and files of tests, in each of which some must have run."""


def run(check: Check, done: dict[str, str]) -> Row:
    """Run a check and show what it prints; its count is the last that it told, sums of tests added up."""
    if check.needs and done.get(check.needs) != "ok":
        return Row(check.name, f"needs: {check.needs}", "not run", 0.0)
    print(f"\n== {check.name}: {check.command}", flush=True)
    began, said = time.monotonic(), []
    log = OUT / (re.sub(r"\W+", "-", check.name) + ".log")
    with log.open("w") as kept, subprocess.Popen(
        ["bash", "-c", check.command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(line, end="", flush=True)
            kept.write(line)
            said.append(line)
    found = re.findall(check.counted, "".join(said), re.MULTILINE)
    count = f"{sum(map(int, found))} tests" if found and all(map(str.isdigit, found)) else (found or [""])[-1]
    # A check that counts nothing has checked nothing.
    result = "ok" if process.returncode == 0 and count and not count.startswith("0 ") else "FAILED"
    return Row(check.name, count, result, round(time.monotonic() - began, 1))


def tested() -> Iterator[Row]:
    """Count the tests of each line of TESTED in what `make test` reported, on the bare Debian or, without one, here."""
    reports = next(filter(None, (list((f / "build" / "test").glob("*.xml")) for f in (FRESH, ROOT))), [])
    cases = [case for file in reports for case in ET.parse(file).iter("testcase")]  # noqa: S314 - our own pytest wrote it # nosec B314
    for name, *paths in TESTED:
        mine = {path: [case for case in cases if _lies(case, path) and case.find("skipped") is None] for path in paths}
        ran = [case for path in paths for case in mine[path]]
        broken = [case for case in ran if case.find("failure") is not None or case.find("error") is not None]
        result = "ok" if all(mine.values()) and not broken else "FAILED"
        seconds = round(sum(float(case.get("time", "0")) for case in ran), 1)
        yield Row(f"  of these: {name}", f"{len(ran)} tests", result, seconds)


def _lies(case: ET.Element, path: str) -> bool:
    module = path.replace("/", ".").removesuffix(".py")
    return f"{case.get('classname')}.".startswith(f"{module}.")


def table(rows: list[Row]) -> str:
    """Return the rows as a table of text."""
    cells = [("check", "count", "result", "seconds"), *((r.check, r.count, r.result, f"{r.seconds:.0f}") for r in rows)]
    wide = [max(len(row[n]) for row in cells) for n in range(3)]
    return "\n".join(f"{a:{wide[0]}}  {b:{wide[1]}}  {c:{wide[2]}}  {d:>7}" for a, b, c, d in cells)


def main() -> int:
    """Return 0 when every check is ok."""
    OUT.mkdir(parents=True, exist_ok=True)
    began, rows = time.monotonic(), list[Row]()
    for check in CHECKS:
        rows.append(run(check, {row.check: row.result for row in rows}))
        if check.name == TESTS:
            rows += tested()
    well = all(row.result == "ok" for row in rows)
    rows.append(
        Row("all of them", f"{len(rows)} checks", "ok" if well else "FAILED", round(time.monotonic() - began, 1))
    )
    (OUT / "report.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(f"\n{table(rows)}")
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
