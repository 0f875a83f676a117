"""The endpoint against a small reference model, in any order of calls, alarms and waits (practice.md B2, F43 to F51).

The reference knows the rules, not the machine: what may be called when, what an InService endpoint may serve, and that
an endpoint left alone comes to rest.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local.sagemaker.ports import Answer
from tests.sagemaker.doubles import Lab, Model, canary

GUARDS = ["none", "canary", "canary with alarm", "linear with alarm", "rolling with alarm"]
VERSIONS = ["v1", "v2", "shadowed", "broken"]
REST = {"InService", "Failed", "UpdateRollbackFailed"}


def says(text: str) -> Model:
    return lambda _: Answer(200, "text/csv", text.encode(), 0.001)


def guard(kind: str) -> dict[str, Any] | None:
    alarms = {"Alarms": [{"AlarmName": "alarm"}]}
    step = {"Type": "CAPACITY_PERCENT", "Value": 25}
    if kind == "canary":
        return canary(20)
    if kind == "canary with alarm":
        return canary(20, alarms=["alarm"])
    if kind == "linear with alarm":
        routing = {"Type": "LINEAR", "WaitIntervalInSeconds": 60, "LinearStepSize": step}
        policy = {"TrafficRoutingConfiguration": routing, "MaximumExecutionTimeoutInSeconds": 28800}
        return {"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": alarms}
    if kind == "rolling with alarm":
        rolling = {"MaximumBatchSize": step, "WaitIntervalInSeconds": 60}
        return {"RollingUpdatePolicy": rolling, "AutoRollbackConfiguration": alarms}
    return None


class EndpointMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab()
        self.before = "v1"
        """The config that serves, as far as the reference can know."""
        self.target = ""
        """The config that an update in progress wants."""
        self.may_roll_back = self.must_roll_back = self.breaks = False

    @initialize()
    def create(self) -> None:
        for version in VERSIONS:
            behaviour = RuntimeError("does not load") if version == "broken" else says(version)
            more = {}
            if version == "shadowed":
                shadow = {"VariantName": "shade", "ModelName": self.lab.model("shadow", says("shadow"))}
                more = {
                    "ShadowProductionVariants": [shadow | {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}]
                }
            self.lab.config(version, {"blue": (self.lab.model(f"m-{version}", behaviour), 1.0, 4)}, **more)
        self.lab.aws.alarms["alarm"] = "OK"
        self.lab.endpoint("e", "v1")

    def status(self) -> str:
        return str(self.lab.describe("e")["EndpointStatus"])

    @rule(version=st.sampled_from(VERSIONS), kind=st.sampled_from(GUARDS))
    def update(self, version: str, kind: str) -> None:
        before, config = self.status(), guard(kind)
        more = {} if config is None else {"DeploymentConfig": config}
        serves = self.lab.describe("e")["EndpointConfigName"]
        code = self.lab.refused("UpdateEndpoint", EndpointName="e", EndpointConfigName=version, **more)
        allowed = before == "InService" and version != serves
        assert code == ("" if allowed else "ValidationException")
        if not allowed:
            return
        self.before, self.target = serves, version
        self.must_roll_back = version == "broken"
        self.may_roll_back = "alarm" in kind

    @rule(seconds=st.sampled_from([1, 9, 30, 61, 119, 300]))
    def wait(self, seconds: int) -> None:
        self.lab.clock.advance(seconds)

    @rule(state=st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"]))
    def alarm(self, state: str) -> None:
        self.lab.aws.alarms["alarm"] = state

    @rule(weight=st.integers(1, 9), count=st.integers(4, 8))
    def reweigh(self, weight: int, count: int) -> None:
        before = self.status()
        wishes = [{"VariantName": "blue", "DesiredWeight": float(weight), "DesiredInstanceCount": count}]
        code = self.lab.refused(
            "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wishes
        )
        assert code == ("" if before == "InService" else "ValidationException")
        if not code:
            self.before, self.target = self.lab.describe("e")["EndpointConfigName"], ""

    @rule()
    def break_the_next_rollback(self) -> None:
        self.lab.sagemaker.fail_next_rollback("e")
        self.breaks = True

    @precondition(lambda self: self.status() in {"InService", "UpdateRollbackFailed"})
    @rule()
    def delete_and_create_again(self) -> None:
        self.lab.call("DeleteEndpoint", EndpointName="e")
        self.lab.clock.advance(10)
        assert all(server.closed for server in self.lab.executor.servers)
        self.lab.endpoint("e", "v1")
        self.before, self.target, self.breaks = "v1", "", False

    @rule()
    def come_to_rest(self) -> None:
        self.lab.clock.advance(4 * 3600)
        assert self.status() in REST
        assert self.lab.clock.waiting == 0

    @invariant()
    def it_always_answers_and_only_with_what_it_may_serve(self) -> None:
        if not self.lab.executor.servers:
            return
        description = self.lab.describe("e")
        bodies = {self.lab.invoke("e").body.decode() for _ in range(8)}
        allowed = {self.before, self.target} if self.target else {self.before}
        assert bodies <= allowed - {"broken"}
        if description["EndpointStatus"] == "InService":
            assert bodies == {description["EndpointConfigName"]}

    @invariant()
    def in_service_names_the_config_that_won(self) -> None:
        if not self.lab.executor.servers or self.status() != "InService":
            return
        description = self.lab.describe("e")
        won = description["EndpointConfigName"] == self.target
        assert "PendingDeploymentSummary" not in description
        assert not (won and self.must_roll_back)
        if self.target and not won:
            assert self.must_roll_back or self.may_roll_back
        for variant in ("blue", "shade"):
            open_workers = [s for s in self.lab.executor.servers if s.name == f"e/{variant}" and not s.closed]
            assert len(open_workers) <= 2  # the one that serves, and one whose end is due at this very moment

    @invariant()
    def only_a_broken_rollback_leaves_a_mix(self) -> None:
        if self.lab.executor.servers and self.status() == "UpdateRollbackFailed":
            assert self.breaks

    def teardown(self) -> None:
        self.lab.sagemaker.close()
        assert all(server.closed for server in self.lab.executor.servers)


TestEndpointMachine = EndpointMachine.TestCase
TestEndpointMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
