"""Every state, transition, Retry and Catch of every machine, played on the real definition with the real handlers."""

from __future__ import annotations

import sys

import pytest

from tests.machines.player import PATHS
from tests.machines.stories import STORIES, covered, table, told, wanted


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_it_should(name: str) -> None:
    plays, _ = told(name)

    assert plays
    assert all(play.end["status"] in ("SUCCEEDED", "FAILED") for _, play in plays)


@pytest.mark.parametrize("kind", PATHS)
def test_every_state_transition_choice_retry_and_catch_is_played(kind: str) -> None:
    seen = covered(kind)

    assert {group: sorted(there - seen) for group, there in wanted(kind).items() if there - seen} == {}


def test_the_coverage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = table()
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, ""]))

    assert [line.split()[0] for line in lines] == [*PATHS, "all"]
