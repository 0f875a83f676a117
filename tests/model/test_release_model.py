"""Releases against each other, against deaths and lost answers: what must hold after every step (I1, I2, I3, F43, F44)."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from linnet.errors import BusyError, ConflictError, NotFoundError
from linnet.gateways import leases, ledger, releases, sagemaker
from tests.model.world import CHANGES, ENDPOINT, MODEL, Execution, Lost, World, broken, finished

NIGHTLY = bool(os.environ.get("LINNET_NIGHTLY"))
SETTINGS = settings(
    max_examples=100 if NIGHTLY else 6,
    stateful_step_count=40 if NIGHTLY else 20,
    deadline=None,
    derandomize=not NIGHTLY,
    suppress_health_check=list(HealthCheck),
    print_blob=NIGHTLY,
)


class Releases(RuleBasedStateMachine):
    """Several executions of one model's release, stepped in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = self.stack.enter_context(World().open())
        self.executions: list[Execution] = []
        self.dead: list[Execution] = []
        self.fences = [0]

    def teardown(self) -> None:
        self.stack.close()

    @initialize(strategy=st.sampled_from(["canary", "stepped", "all_at_once"]))
    def serve(self, strategy: str) -> None:
        self.world.onboard(rollout={"strategy": strategy, "ladder": [50, 100]})
        arn, version = self.world.register()
        self.world.approve(arn)
        assert finished(Execution(self.world, "first", version=version)) == "promoted"

    @rule(good=st.booleans(), approved=st.sampled_from([True, True, False]))
    def release(self, good: bool, approved: bool) -> None:
        if len(self.executions) >= 4:
            return
        arn, version = self.world.register() if good else self.world.register(broken)
        if approved:
            self.world.approve(arn)
        execution = Execution(self.world, f"e{len(self.executions)}-{version}", version=version)
        execution.rate = 40
        self.executions.append(execution)

    @precondition(lambda self: self.executions)
    @rule(data=st.data(), steps=st.integers(1, 6))
    def step(self, data: Any, steps: int) -> None:
        execution = data.draw(st.sampled_from(self.executions))
        for _ in range(steps):
            if execution.lives or execution in self.dead:
                self._step(execution)

    def _step(self, execution: Execution) -> None:
        try:
            execution.step()
        except BusyError:
            self.world.lab.clock.advance(30)
        except (ConflictError, NotFoundError):
            execution.end("refused")
        except Lost:
            pass

    @precondition(lambda self: any(e.lives for e in self.executions))
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        """The execution is stopped; its last Lambda may still run on, so it stays a stale holder that may be stepped."""
        execution = data.draw(st.sampled_from([e for e in self.executions if e.lives]))
        execution.end("aborted")
        self.dead.append(execution)

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def reconcile(self, data: Any) -> None:
        execution = data.draw(st.sampled_from(self.dead))
        try:
            releases.abandon(execution.arn, execution.name, {"model": MODEL}, self.world.at)
        except (ConflictError, NotFoundError):
            return
        for name, started in self.world.states.started.items():
            if not any(e.name == name for e in self.executions):
                lease = started["input"]["lease"]
                self.executions.append(Execution(self.world, name, kind="rollback", handed=lease, reason="died"))

    @rule(operation=st.sampled_from(CHANGES))
    def lose_the_next_answer(self, operation: str) -> None:
        self.world.lose = operation

    @rule(seconds=st.sampled_from([30, 300, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.world.lab.clock.advance(seconds)

    @rule()
    def the_registry_takes_an_approval_back(self) -> None:
        for execution in self.executions:
            if execution.lives and execution.version is not None and execution.progress:
                row = releases.candidate(MODEL, execution.version)
                self.world.approve(str(row["package_arn"]), "Rejected")
                return

    @invariant()
    def i1_at_most_one_may_change_the_endpoint(self) -> None:
        able = 0
        for execution in [*self.executions, *(e.child for e in self.executions if e.child)]:
            if execution.fence is not None and leases.held_by(ENDPOINT, execution.arn) == execution.fence:
                able += 1
        assert able <= 1

    @invariant()
    def i3_f44_no_change_is_made_with_a_fence_below_one_that_was_given_out(self) -> None:
        assert [change for change in self.world.changes if change.fence < change.newest] == []
        self.fences.append(int((ledger.read(f"endpoint/{ENDPOINT}", "lease") or {"fence": 0})["fence"]))
        assert self.fences == sorted(self.fences)

    @invariant()
    def i3_the_champions_fence_never_falls(self) -> None:
        fence = int(self.world.champion().get("fence", 0))
        assert fence >= getattr(self, "champion_fence", 0)
        self.champion_fence = fence

    @invariant()
    def i2_what_serves_was_approved_when_its_release_began(self) -> None:
        live = sagemaker.endpoint(ENDPOINT)
        if live is None:
            return
        rows = list(ledger.query(f"model/{MODEL}", "release#"))
        known = {row["plan"]["target"] for row in rows} | {row["plan"]["both"] for row in rows}
        assert live["config"] in known

    @invariant()
    def f47_a_champion_is_only_what_was_read_back(self) -> None:
        """A release that was promoted had its config in service then; the champion names a release's own target."""
        champion = self.world.champion()
        if champion:
            targets = {row["plan"]["target"] for row in ledger.query(f"model/{MODEL}", "release#")}
            assert champion["config"] in targets


def test_i1_i2_i3_hold_for_any_order_of_releases_deaths_and_lost_answers() -> None:
    run_state_machine_as_test(Releases, settings=SETTINGS)


def test_without_the_fence_the_model_finds_a_stale_holder_at_work() -> None:
    """The test of the test: with a lease that everybody gets and nobody checks, the invariant must break."""

    def everybody(endpoint: str, *, owner: str, at: str, handed: Any = None) -> int:
        anything = "attribute_not_exists(pk) OR attribute_exists(pk)"
        put = {"owner": owner, "since": at}
        row = ledger.change(f"endpoint/{endpoint}", "lease", put=put, add={"fence": 1}, only_if=anything)
        return int((row or {})["fence"])

    careless = Releases()
    with patch.object(leases, "take", everybody), patch.object(leases, "require", lambda *_a, **_k: None):
        careless.serve("canary")
        arn, version = careless.world.register()
        careless.world.approve(arn)
        one, two = (Execution(careless.world, name, version=version) for name in "ab")
        for execution in (one, two, one, one):
            execution.step()

        with pytest.raises(AssertionError):
            careless.i3_f44_no_change_is_made_with_a_fence_below_one_that_was_given_out()
    careless.teardown()
