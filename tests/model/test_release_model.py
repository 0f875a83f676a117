"""Releases of every strategy against each other and against all that goes wrong, in any order (I1, I2, I3, I8, F43, F44)."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

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

from linnet.errors import LinnetError
from linnet.gateways import endings, ledger, registry
from local.sagemaker.api import ApiError
from tests.model.aws import CHANGES, ENDPOINT, MODEL, Lost
from tests.model.faults import FAULTS, STRATEGIES, Crash, Stage, failing
from tests.model.world import Execution, World, broken

NIGHTLY = bool(os.environ.get("LINNET_NIGHTLY"))
SCHEDULES = int(os.environ.get("LINNET_SCHEDULES", "10000" if NIGHTLY else "200"))
SETTINGS = settings(
    max_examples=SCHEDULES,
    stateful_step_count=25 if NIGHTLY else 12,
    deadline=None,
    database=None,
    derandomize=not NIGHTLY,
    suppress_health_check=list(HealthCheck),
    print_blob=NIGHTLY,
)
FOREIGN = "somebody-elses"


class Releases(RuleBasedStateMachine):
    """Several executions of one model, stepped in any order, with faults at any call; at the end all must be well."""

    played = 0

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.edited = False
        self.stale: list[Execution] = []
        self.fences, self.champion_fence = [0], 0
        self.stage: Stage | None = None

    @property
    def world(self) -> World:
        assert self.stage is not None
        return self.stage.world

    @property
    def live(self) -> list[Execution]:
        assert self.stage is not None
        return [execution for execution in self.stage.executions if execution.lives]

    @initialize(strategy=st.sampled_from(STRATEGIES), served=st.booleans())
    def serve(self, strategy: str, served: bool) -> None:
        captures = strategy in ("shadow", "multi_stage")
        self.stage = Stage(self.stack.enter_context(World(captures=captures, quick=True).open()), strategy)
        if served:
            self.stage.approved()
            self.stage.play()
            assert self.stage.executions[0].outcome == "promoted"

    def teardown(self) -> None:
        try:
            if self.stage:
                self.stage.converges()
                self.stage.check_end(held=self.edited)
                Releases.played += 1
        finally:
            self.stack.close()

    @rule(kind=st.sampled_from(["good", "good", "bad", "broken", "pending"]))
    def release(self, kind: str) -> None:
        if len(self.live) >= 3:
            return
        behaviour = {"bad": broken, "broken": RuntimeError("no such module")}.get(kind)
        if kind == "pending":
            self.world.register()
        else:
            self.stage.approved(behaviour)

    @precondition(lambda self: len(self.live) < 3 and self.world.champion())
    @rule()
    def roll_back_by_hand(self) -> None:
        name = f"by-hand-{len(self.stage.executions)}"
        self.stage.executions.append(Execution(self.world, name, kind="rollback", reason="wrong answers"))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), steps=st.integers(1, 8), rate=st.sampled_from([0, 4, 40]))
    def step(self, data: Any, steps: int, rate: int) -> None:
        execution = data.draw(st.sampled_from(self.live))
        execution.rate = rate
        for _ in range(steps):
            if execution.lives:
                self._step(execution)

    def _step(self, execution: Execution) -> None:
        try:
            self.stage.step(execution)
        except Crash:
            pass  # the state is tried again
        finally:
            self.world.tap = None

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(), fault=st.sampled_from(sorted(FAULTS)), call=st.integers(0, 14),
        moment=st.sampled_from(["before", "after"]),
    )  # fmt: skip
    def step_with_a_fault(self, data: Any, fault: str, call: int, moment: str) -> None:
        self.world.tap = failing(call, "before" if fault == "throttle" else moment, FAULTS[fault])
        self._step(data.draw(st.sampled_from(self.live)))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        """The execution is stopped; its last function may still run on as a stale holder."""
        execution = data.draw(st.sampled_from(self.live))
        self.stale += [one for one in (execution, execution.child) if one and one.lives]
        self.stage.abort(execution)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def a_stale_holder_goes_on(self, data: Any) -> None:
        execution = data.draw(st.sampled_from(self.stale))
        if execution.next in ("child", "roll back"):
            return  # a dead machine starts nothing any more
        outcome, then = execution.outcome, execution.next
        try:
            execution.step()
        except (LinnetError, Lost):
            pass
        finally:
            execution.outcome, execution.next = outcome, then
            self.world.states.running.discard(execution.arn)

    @precondition(lambda self: any(not e.lives for e in self.stage.all))
    @rule(data=st.data())
    def an_end_is_told(self, data: Any) -> None:
        """Late, twice, or never."""
        execution = data.draw(st.sampled_from([e for e in self.stage.all if not e.lives]))
        endings.abandon(execution.arn, execution.name, {"model": MODEL}, self.world.at)
        self.stage.adopt()

    @rule()
    def reconcile(self) -> None:
        registry.reconcile(MODEL, self.world.at)
        self.stage.adopt()

    @rule(operation=st.sampled_from(CHANGES))
    def lose_the_next_answer(self, operation: str) -> None:
        self.world.lose = operation

    @rule(seconds=st.sampled_from([30, 300, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.world.lab.clock.advance(seconds)

    @precondition(lambda _: list(ledger.query(f"model/{MODEL}", "candidate#")))
    @rule(data=st.data(), status=st.sampled_from(["Approved", "Rejected"]), told=st.booleans())
    def the_registry_says_otherwise(self, data: Any, status: str, told: bool) -> None:
        row = data.draw(st.sampled_from(list(ledger.query(f"model/{MODEL}", "candidate#"))))
        self.world.approve(str(row["package_arn"]), status)
        if told:
            self.stage.observe(str(row["package_arn"]))

    @rule(what=st.sampled_from(["config", "weights", "system update", "failing rollback", "alarm"]))
    def somebody_else_acts(self, what: str) -> None:
        lab = self.world.lab
        endpoints = lab.sagemaker._endpoints
        found = endpoints._endpoints.get(ENDPOINT)
        if found is None or found.status == "Deleting":
            return
        try:
            if what == "config":
                variants = lab.call("DescribeEndpointConfig", EndpointConfigName=found.fleet.config_name)
                lab.refused(
                    "CreateEndpointConfig", EndpointConfigName=FOREIGN,
                    ProductionVariants=variants["ProductionVariants"],
                )  # fmt: skip
                lab.call("UpdateEndpoint", EndpointName=ENDPOINT, EndpointConfigName=FOREIGN)
                self.edited = True
            elif what == "weights":
                weights = [{"VariantName": name, "DesiredWeight": 7.0} for name in found.fleet.production]
                lab.call(
                    "UpdateEndpointWeightsAndCapacities", EndpointName=ENDPOINT, DesiredWeightsAndCapacities=weights
                )
            elif what == "system update":
                endpoints.system_update(ENDPOINT, 600)
            elif what == "failing rollback":
                endpoints.fail_next_rollback(ENDPOINT)
                self.edited = True  # what comes of it is for people
            else:
                self.world.lab.aws.alarms.update(dict.fromkeys(self.world.cloudwatch.requests, "ALARM"))
        except (ApiError, AttributeError):
            pass  # refused: the endpoint is changing, or has never served

    @invariant()
    def i1_at_most_one_may_change_the_endpoint(self) -> None:
        if self.stage:
            self.stage.check_owner()

    @invariant()
    def i3_f44_no_change_is_made_with_a_fence_below_one_that_was_given_out(self) -> None:
        if not self.stage:
            return
        self.stage.check_changes()
        self.fences.append(int((ledger.read(f"endpoint/{ENDPOINT}", "lease") or {"fence": 0})["fence"]))
        assert self.fences == sorted(self.fences)

    @invariant()
    def i3_the_champions_fence_never_falls(self) -> None:
        if not self.stage:
            return
        champion = self.world.champion()
        assert not champion or int(champion["fence"]) >= self.champion_fence
        self.champion_fence = int(champion.get("fence", 0))

    @invariant()
    def i2_f47_what_serves_is_some_releases_and_the_champion_is_what_was_read_back(self) -> None:
        if not self.stage:
            return
        self.stage.check_serves((FOREIGN,))
        champion = self.world.champion()
        targets = {row["plan"]["target"] for row in self.stage.rows()}
        assert not champion or champion["config"] in targets | {FOREIGN}


def test_i1_i2_i3_i8_hold_for_any_schedule_of_releases_deaths_faults_and_strangers() -> None:
    Releases.played = 0
    run_state_machine_as_test(Releases, settings=SETTINGS)
    print(f"{Releases.played} schedules")  # noqa: T201 - how many ran is part of the result
    assert Releases.played >= SCHEDULES * 0.9
