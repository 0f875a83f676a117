"""The machines as people see them: names that are sentences, and pictures in docs/ that are of these machines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.template.conftest import ROOT, load, machines, states

MACHINES = [pytest.param(path, id=path.name.removesuffix(".asl.json")) for path in machines()]


def _pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts" / "asl" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", MACHINES)
def test_a_states_name_is_a_sentence_and_a_choices_a_question(path: Path) -> None:
    """Names stand in the console and in every history; at most 80 characters (Amazon States Language, "States")."""
    named = [(where.rpartition("/")[2], state["Type"]) for where, state in states(load(path))]

    assert [
        name for name, _ in named if len(name.split()) < 2 or len(name) > 80 or name != name[:1].upper() + name[1:]
    ] == []
    assert [name for name, kind in named if name.endswith("?") != (kind == "Choice")] == []
    assert len({name for name, _ in named}) == len(named)


@pytest.mark.parametrize("path", MACHINES)
def test_every_comment_says_more_than_the_name(path: Path) -> None:
    said = [(where.rpartition("/")[2], state["Comment"]) for where, state in states(load(path))]

    assert [
        name for name, comment in said if len(comment.split()) < 3 or comment.strip(".").lower() == name.lower()
    ] == []


def test_the_pictures_are_of_these_machines() -> None:
    """Drawn by `make pictures`; each says of which drawing it was made."""
    pictures = _pictures()
    folder = ROOT / "docs" / "statemachines"

    stale = [
        name
        for name, dot in pictures.graphs().items()
        if (folder / f"{name}.svg").read_text().splitlines()[0] != pictures.mark(dot)
    ]
    assert stale == [], "type: make pictures"
    assert {path.stem for path in folder.glob("*.svg")} == set(pictures.graphs())
    shown = (folder / "README.md").read_text()
    assert [name for name in pictures.graphs() if f"]({name}.svg)" not in shown] == []
