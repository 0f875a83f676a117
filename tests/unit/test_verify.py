"""`make verify` says ok only of what ran, ended well and counted something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import verify
from scripts.verify import Check


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"ROOT": tmp_path, "OUT": tmp_path / "build" / "verify", "FRESH": tmp_path / "fresh"}.items():
        monkeypatch.setattr(verify, name, value)
    verify.OUT.mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "count", "result"),
    [
        ("echo 'count: 3 wrong'; echo more; echo 'count: 39 functions invoked'", "39 functions invoked", "ok"),
        ("echo 'count: 39 functions invoked'; exit 1", "39 functions invoked", "FAILED"),
        ("echo 'count: 0 functions invoked'", "0 functions invoked", "FAILED"),
        ("echo all is well", "", "FAILED"),
    ],
)
def test_a_check_is_ok_when_it_ends_well_and_counted_something(
    root: Path, command: str, count: str, result: str
) -> None:
    row = verify.run(Check("a check", command), {})

    assert (row.count, row.result) == (count, result)
    assert (
        (root / "build" / "verify" / "a-check.log")
        .read_text()
        .startswith(command.split("'")[1] if "'" in command else "all")
    )


def test_the_tests_of_both_halves_are_added_up(root: Path) -> None:
    row = verify.run(Check("tests", "echo '=== 3 passed, 1 skipped'; echo '=== 39 passed in 2s'", r"(\d+) passed"), {})

    assert (row.count, row.result) == ("42 tests", "ok")


def test_what_needs_a_check_that_failed_is_not_run(root: Path) -> None:
    row = verify.run(Check("second", "touch ran; echo count: 1 thing", needs="first"), {"first": "FAILED"})

    assert row.result == "not run"
    assert not (root / "ran").exists()


def report(root: Path, **outcomes: str) -> None:
    cases = "".join(
        f'<testcase classname="tests.e2e.test_{name}" name="test_it" time="1.5">{inner}</testcase>'
        for name, inner in outcomes.items()
    )
    (root / "build" / "test").mkdir(parents=True)
    (root / "build" / "test" / "waiting.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")


def test_lines_of_tests_are_counted_out_of_the_report_of_the_bare_debian(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(root / "fresh", story="", other="<skipped/>")
    report(root, story="<failure/>")  # an older one of this checkout
    story, other, none = "tests/e2e/test_story.py", "tests/e2e/test_other.py", "tests/e2"
    lines = (("folder", "tests/e2e"), ("file", story), ("skipped", story, other), ("none", none))
    monkeypatch.setattr(verify, "TESTED", lines)

    rows = [(row.count, row.result, row.seconds) for row in verify.tested()]

    assert rows == [
        ("1 tests", "ok", 1.5),
        ("1 tests", "ok", 1.5),
        ("1 tests", "FAILED", 1.5),
        ("0 tests", "FAILED", 0),
    ]


def test_a_broken_test_fails_its_line_and_no_report_fails_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "TESTED", (("all", "tests/e2e"), ("well", "tests/e2e/test_other.py")))
    assert [row.result for row in verify.tested()] == ["FAILED", "FAILED"]

    report(root, story="<error/>", other="")
    assert [row.result for row in verify.tested()] == ["FAILED", "ok"]


def test_one_failure_fails_all_and_the_table_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "CHECKS", (Check("good", "echo count: 2 things"), Check("bad", "exit 3")))

    assert verify.main() == 1

    kept = json.loads((root / "build" / "verify" / "report.json").read_text())
    assert [(row["check"], row["result"]) for row in kept] == [
        ("good", "ok"),
        ("bad", "FAILED"),
        ("all of them", "FAILED"),
    ]
    assert "good         2 things" in capsys.readouterr().out
    monkeypatch.setattr(verify, "CHECKS", (Check("good", "echo count: 2 things"),))
    assert verify.main() == 0
