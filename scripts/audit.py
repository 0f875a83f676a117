"""What is installed: locked by hash, under a licence that may be shipped, and without a known vulnerability.

`python -m scripts.audit .tools/policies/bin/pip-audit` asks PyPI's vulnerability data. Where that cannot be reached it says so,
loudly, and the other two are checked nevertheless.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHIPPED = ("requirements/stack.txt", "layers/linnet/requirements.txt", "layers/analytics/requirements.txt")
"""What runs at a user's: on Lambda and on the laptop."""
LOCKS = (
    *SHIPPED, "requirements/dev.txt", "requirements/data.txt", "requirements/policies.txt", "requirements/client-awscli.txt",
    "requirements/client-sagemaker.txt", "requirements/sam.txt", "requirements/image.txt",
)  # fmt: skip
PINNED = {
    "bench.txt",
    "bench-monitor-evidently.txt",
    "bench-monitor-spark.txt",
    "bench-monitor-tfdv.txt",
    "bench-monitor-whylogs.txt",
}
"""Without hashes: what Linnet is measured against by hand; neither a test nor a command of the README installs it."""

_FREE = (
    r"MIT|MIT-0|MIT License|MIT No Attribution.*|Apache.*|BSD.*|0BSD|Zlib|CC0.*|PSF-2\.0|Python Software Foundation.*"
)
# Of what is not shipped: a change of one of its files would have to be published, and none is changed. CNRI: Python's old one.
_FOR_TESTS = rf"{_FREE}|MPL-2\.0|Mozilla Public License.*|CNRI-Python"


def unlocked(text: str, *, hashed: bool = True) -> list[str]:
    """Return the requirements of a lock that are not pinned to one version, or with `hashed` have no hash of it."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    pinned = re.compile(r"[\w.\[\]-]+==[^\s;]+(\s*;[^#]*?)?" + (r"(\s+--hash=sha256:[0-9a-f]{64})+" if hashed else ""))
    return [
        line.split(" --hash")[0] for line in lines if line and not line.startswith("#") and not pinned.fullmatch(line)
    ]


def names(text: str) -> set[str]:
    """Return the packages of a lock."""
    return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))


def licence(package: str) -> str | None:
    """Return what an installed package says of its licence; None where it is not installed, as what other systems need."""
    try:
        said = distribution(package).metadata
    except PackageNotFoundError:
        return None
    classified = [
        line.rpartition(" :: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License :: ")
    ]
    words = [*said.get_all("License-Expression", []), " AND ".join(classified), *said.get_all("License", [])]
    return next(filter(None, words), "unknown")


def allowed(said: str, *, shipped: bool) -> bool:
    """Say whether one of the alternatives of a licence has only parts that are allowed (CONTRIBUTING.md, 8)."""
    free = re.compile(_FREE if shipped else _FOR_TESTS)
    return any(all(free.fullmatch(part) for part in either.split(" AND ")) for either in said.split(" OR "))


def vulnerable(answer: Mapping[str, list[Mapping[str, Any]]]) -> list[str] | None:
    """Return what pip-audit's answer is about, a sentence each; None where it could ask about nothing.

    A package that is not known while others are is told: nobody looks after it.
    """
    asked = [one for one in answer["dependencies"] if "skip_reason" not in one]
    if not asked:
        return None
    unasked = [str(one["skip_reason"]) for one in answer["dependencies"] if "skip_reason" in one]
    return unasked + [
        f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'nothing'}"
        for one in asked
        for fault in one["vulns"]
    ]


def ask(program: str, locks: Iterable[Path]) -> tuple[list[str], str]:
    """Return what pip-audit finds in these locks, and why it could not ask, or an empty text."""
    found: list[str] = []
    for lock in locks:
        command = [
            program,
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner=off",
            "--format=json",
            "-r",
            str(lock),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout:
            return found, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        told = vulnerable(json.loads(done.stdout))
        if told is None:
            return found, f"the vulnerability data knows not one package of {lock.relative_to(ROOT)}"
        found += [f"{lock.relative_to(ROOT)}: {one}" for one in told]
    return found, ""


def main(program: str) -> int:
    """Check locks and licences and ask for vulnerabilities; print what is wrong to stderr; return the exit status."""
    folder = ROOT / "requirements"
    found = [f"{lock}: {line} has no hash" for lock in LOCKS for line in unlocked((ROOT / lock).read_text())]
    found += [
        f"{lock}: {line} is not pinned"
        for lock in sorted(PINNED)
        for line in unlocked((folder / lock).read_text(), hashed=False)
    ]
    unknown = {path.name for path in folder.glob("*.txt")} - PINNED - {Path(lock).name for lock in LOCKS}
    found += [
        f"requirements/{name}: neither locked by hash nor excused in scripts/audit.py" for name in sorted(unknown)
    ]
    shipped = set().union(*(names((ROOT / lock).read_text()) for lock in SHIPPED))
    every = shipped | names((ROOT / "requirements/dev.txt").read_text())
    licences = {package: said for package in sorted(every) if (said := licence(package)) is not None}
    for package, said in licences.items():
        if not allowed(said, shipped=package in shipped):
            found.append(
                f"{package}: its licence is {said!r}; allowed: MIT, Apache, BSD and their like; for tests MPL too"
            )
    told, why = ask(
        program, [ROOT / lock for lock in LOCKS if lock != "requirements/stack.txt"]
    )  # it is a part of dev.txt
    found += told
    if why:
        sys.stderr.write(f"pip-audit could NOT ask for vulnerabilities: {why}.\n")
        sys.stderr.write("Hashes and licences were checked; the rest needs the public index of packages.\n")
    sys.stderr.writelines(f"{one}\n" for one in found)
    sys.stdout.write(
        f"count: {len(LOCKS)} locks, {len(licences)} of {len(every)} licences{'' if why else ', vulnerabilities'}\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
