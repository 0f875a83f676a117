"""`python -m local`: what `make up`, `make down` and a curious person get."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import local.__main__ as command
from local.stack import Stack
from tests.stack.conftest import APP, alive


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of its own: the small application, no stack running."""
    shutil.copytree(APP.parent, tmp_path, dirs_exist_ok=True)
    state = tmp_path / "build" / "stack.json"
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "STATE", state)
    yield tmp_path
    if (running := Stack.running(state)) is not None:
        running.stop()


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["local", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_up_status_and_down(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "status") == 1
    assert run(monkeypatch, "up") == 0
    said = capsys.readouterr().out.splitlines()
    stack = Stack.running(folder / "build" / "stack.json")
    assert stack is not None
    assert said[1] == f"AWS_ENDPOINT_URL={stack.endpoint}"
    assert stack.clock.rate == 1  # by hand, waiting takes as long as on AWS
    assert any(line.startswith("# MachineArn: arn:aws:states:") for line in said)
    assert run(monkeypatch, "up") == 0  # again: the same stack, deployed again
    assert run(monkeypatch, "status") == 0
    assert capsys.readouterr().out.count(f"AWS_ENDPOINT_URL={stack.endpoint}") == 2
    assert run(monkeypatch, "down") == 0
    assert not alive(stack.pid)
    assert run(monkeypatch, "down") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "No local stack is running."


def test_a_template_that_does_not_deploy_is_told_and_not_taken_for_success(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "template.yaml").write_text(
        "Resources: {A: {Type: 'AWS::CloudWatch::Alarm', Properties: {AlarmName: x}}}"
    )
    assert run(monkeypatch, "up", "--rate", "60") == 1
    assert "linnet: " in capsys.readouterr().err
