"""Every state does what it was seen to do, and no mutant of a definition does the same: all are killed, the rate is printed."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.machines import cases
from tests.machines.mutants import mutants
from tests.machines.player import PATHS, definition, every


@pytest.mark.parametrize("machine", PATHS)
def test_every_state_does_what_it_was_seen_to_do(machine: str) -> None:
    whole = definition(machine)

    assert set(cases.known(machine)["states"]) == set(every(whole))
    assert cases.differs(machine, whole, set(every(whole))) == ""


@pytest.mark.parametrize("machine", PATHS)
def test_every_mutant_is_killed(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    tried, killed, equal, alive = Counter[str](), Counter[str](), 0, []
    for mutant in mutants(definition(machine)):
        if mutant.equal:
            equal += 1
            continue
        tried[mutant.what] += 1
        if cases.differs(machine, mutant.definition, set(mutant.states)):
            killed[mutant.what] += 1
        else:
            alive.append((mutant.what, mutant.where))
    with capsys.disabled():
        rate = 100 * killed.total() / tried.total()
        kinds = ", ".join(f"{what} {killed[what]}/{count}" for what, count in sorted(tried.items()))
        told = f"{killed.total()} of {tried.total()} mutants killed ({rate:.1f} %), {equal} more are equal"
        sys.stdout.write(f"\n{machine}: {told}: {kinds}\n")

    assert alive == []
