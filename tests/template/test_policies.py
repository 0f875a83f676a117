"""What scripts/audit.py and scripts/checkov.yaml hold: hashes, licences, vulnerabilities, and a reason for every skip."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import audit
from tests.template.conftest import ROOT

HASH = "--hash=sha256:" + "0" * 64
CLEAN = {"name": "rich", "version": "15.0.0", "vulns": []}
SICK = {"name": "six", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
SKIPPED = {"name": "ours", "skip_reason": "ours was not found"}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (f"six==1.0 \\\n    {HASH} \\\n    {HASH}", []),
        (f"numpy==2.4.6 ; python_full_version < '3.12' \\\n    {HASH}", []),
        (f"moto[s3]==5.0 {HASH}", []),
        ("# a comment", []),
        ("six==1.0", ["six==1.0"]),
        ("six==1.0 --hash=sha256:00", ["six==1.0"]),
        (f"six>=1.0 {HASH}", ["six>=1.0"]),
        (f"six {HASH}", ["six"]),
        ("--extra-index-url https://example.org", ["--extra-index-url https://example.org"]),
    ],
)
def test_a_requirement_without_one_version_and_its_hash_is_told(line: str, wrong: list[str]) -> None:
    assert audit.unlocked(f"rich==15.0.0 {HASH}\n{line}\n") == wrong


def test_what_is_measured_against_may_lack_hashes_but_not_a_version() -> None:
    assert audit.unlocked("six==1.0\nrich\n", hashed=False) == ["rich"]


@pytest.mark.parametrize(
    ("said", "shipped", "in_tests"),
    [
        ("MIT", True, True),
        ("Apache Software License", True, True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True, True),
        ("Apache-2.0 OR GPL-3.0-only", True, True),
        ("MPL-2.0", False, True),
        ("GPL-3.0-only", False, False),
        ("MIT AND LGPL-3.0-only", False, False),
        ("Business Source License 1.1", False, False),
        ("unknown", False, False),
    ],
)
def test_a_licence_is_allowed_by_what_it_asks_of_who_ships_it(said: str, shipped: bool, in_tests: bool) -> None:
    assert audit.allowed(said, shipped=True) is shipped
    assert audit.allowed(said, shipped=False) is in_tests


def test_what_is_installed_names_its_licence_and_what_is_not_has_none() -> None:
    assert audit.licence("pydantic") == "MIT"
    assert audit.licence("no-such-package-of-ours") is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([CLEAN], []),
        ([CLEAN, SICK], ["six 1.0: CVE-1, mended in 1.1"]),
        ([CLEAN, SKIPPED], ["ours was not found"]),
        ([SKIPPED, SKIPPED], None),
        ([], None),
    ],
)
def test_no_answer_about_any_package_is_no_all_clear(answer: list[dict[str, Any]], found: list[str] | None) -> None:
    """pip-audit itself ends with 0 and 'No known vulnerabilities found' when it could ask about nothing."""
    assert audit.vulnerable({"dependencies": answer}) == found


def _program(folder: Path, said: str, *, fails: bool = False) -> str:
    """Return a program that answers as pip-audit does, or that only complains."""
    program = folder / "pip-audit"
    text = f"import sys\nsys.{'stderr' if fails else 'stdout'}.write({said!r})\n"
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)
    return str(program)


def test_an_audit_that_could_not_ask_says_so_and_still_checks_hashes_and_licences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audit.main(_program(tmp_path, "Traceback\nConnectionError: no such host\n", fails=True)) == 0
    out, err = capsys.readouterr()
    assert "pip-audit could NOT ask for vulnerabilities: ConnectionError: no such host" in err
    assert re.fullmatch(r"count: 10 locks, \d\d+ of \d\d+ licences", out.splitlines()[-1])

    monkeypatch.setattr(audit, "_FREE", "MIT")
    assert audit.main(_program(tmp_path, json.dumps({"dependencies": [SKIPPED]}))) == 1
    _, err = capsys.readouterr()
    assert "knows not one package" in err
    assert "boto3: its licence is 'Apache-2.0'" in err


def test_an_audit_that_finds_something_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(_program(tmp_path, json.dumps({"dependencies": [CLEAN, SICK]}))) == 1
    out, err = capsys.readouterr()
    assert "requirements/dev.txt: six 1.0: CVE-1, mended in 1.1" in err
    assert out.endswith("licences, vulnerabilities\n")


def test_a_new_lock_is_neither_forgotten_nor_excused_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    *others, last = audit.LOCKS
    monkeypatch.setattr(audit, "LOCKS", tuple(others))

    assert audit.main(_program(tmp_path, json.dumps({"dependencies": [CLEAN]}))) == 1
    assert f"{last}: neither locked by hash nor excused" in capsys.readouterr().err


def test_every_skip_of_checkov_gives_its_reason(source: dict[str, Any]) -> None:
    skips = re.findall(r"^  - (.*)$", (ROOT / "scripts" / "checkov.yaml").read_text(), re.MULTILINE)
    beside = [
        skip
        for resource in source["Resources"].values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]

    assert skips
    assert [skip for skip in skips if not re.fullmatch(r"CKV_AWS_\d+ # \w.{20,}", skip)] == []
    assert beside
    assert [skip for skip in beside if len(skip.get("comment", "")) <= 20] == []


def test_every_rule_that_a_resource_ignores_has_its_reason_beside_it() -> None:
    ignoring = re.findall(r"^.*ignore_checks.*$", (ROOT / "template.yaml").read_text(), re.MULTILINE)

    assert ignoring
    assert [line for line in ignoring if not re.search(r"\} # \w.{15,}$", line)] == []
