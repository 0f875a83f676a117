"""The way back: a rejected champion, scaling that follows, changed endpoint settings, alarms before the update, n - 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from linnet.errors import ConflictError
from linnet.events.aws import PackageDetail
from linnet.gateways import endings, leases, ledger, registry, releases
from tests.model.aws import ENDPOINT, GROUP, MODEL
from tests.model.world import Execution, World, broken, finished

ALL_AT_ONCE = {"strategy": "all_at_once"}
STEPPED = {"strategy": "stepped", "ladder": [50, 100]}


@pytest.fixture
def world() -> Iterator[World]:
    with World().open() as opened:
        opened.onboard(rollout=ALL_AT_ONCE)
        yield opened


def released(world: World, behaviour: Any = None, **more: Any) -> tuple[str, Execution]:
    arn, version = world.register(behaviour) if behaviour else world.register()
    world.approve(arn)
    seen(world, arn)
    return arn, play(world, f"v{version}", version=version, **more)


def play(world: World, name: str, **more: Any) -> Execution:
    execution = Execution(world, name, **more)
    execution.rate = 60 if world.champion() else 0
    finished(execution)
    return execution


def seen(world: World, arn: str, status: str = "Approved") -> str:
    detail = PackageDetail(ModelPackageArn=arn, ModelPackageGroupName=GROUP, ModelApprovalStatus=status)
    return registry.observe(detail, "e1", world.at)["done"]


def rejected(world: World, arn: str) -> str:
    world.approve(arn, "Rejected")
    return seen(world, arn, "Rejected")


def rollbacks(world: World) -> list[dict[str, Any]]:
    return [s["input"] for s in world.states.started.values() if s["machine"].endswith("rollback")]


def carried_out(world: World, given: dict[str, Any], name: str) -> Execution:
    """Do what the machine `rollback` does with this input."""
    if "to_version" in given:
        return play(world, name, version=given["to_version"], back=True, serving=given.get("serving"))
    return play(world, name, kind="rollback", reason=given["reason"], serving=given.get("serving"))


# -- a rejection of what serves (sagemaker-custom-project-templates#16) --


def test_a_rejected_champion_is_taken_back_to_what_served_before_in_one_update_once(world: World) -> None:
    released(world)
    arn, _ = released(world)

    done = rejected(world, arn)

    (given,) = rollbacks(world)
    before = len(world.changes)
    assert done.startswith("started: flights-rejected-v2-")
    assert "to_version" not in given
    assert seen(world, arn, "Rejected") == "noted: version 2 is rejected and serves"  # the same event again
    assert carried_out(world, given, "back").outcome == "rolled back"
    assert (world.config(), world.champion()["version"]) == ("linnet-flights-v1-f1", 1)
    assert [change.operation for change in world.changes[before:]] == ["UpdateEndpoint"]
    assert len(rollbacks(world)) == 1


def test_a_rejected_champion_goes_back_past_versions_that_are_rejected_too(world: World) -> None:
    released(world)
    second, _ = released(world)
    third, _ = released(world)
    rejected(world, second)

    rejected(world, third)

    (given,) = rollbacks(world)
    assert given["to_version"] == 1
    assert (carried_out(world, given, "back").outcome, world.champion()["version"]) == ("promoted", 1)


def test_two_rejected_versions_do_not_take_turns(world: World) -> None:
    first, _ = released(world)
    second, _ = released(world)
    rejected(world, second)
    carried_out(world, rollbacks(world)[0], "back")

    done = rejected(world, first)

    assert done == "noted: version 1 is rejected and serves"
    assert (len(rollbacks(world)), world.messages[-1]["kind"]) == (1, "attention")


def test_what_a_rollback_took_out_is_no_way_back_though_it_is_approved(world: World) -> None:
    first, _ = released(world)
    released(world)
    play(world, "by-hand", kind="rollback", reason="wrong answers")
    third, _ = released(world)
    rejected(world, first)

    assert rejected(world, third) == "noted: version 3 is rejected and serves"
    assert rollbacks(world) == []


def test_a_config_that_is_gone_is_made_again_by_a_release(world: World) -> None:
    released(world)
    second, _ = released(world)
    world.lab.call("DeleteEndpointConfig", EndpointConfigName="linnet-flights-v1-f1")
    world.lab.call("DeleteModel", ModelName="linnet-flights-v1")

    rejected(world, second)

    (given,) = rollbacks(world)
    assert given["to_version"] == 1
    assert (carried_out(world, given, "back").outcome, world.config()) == ("promoted", "linnet-flights-v1-f3")


def test_f5_a_lost_rejection_is_found_by_the_reconciler_once_i8(world: World) -> None:
    released(world)
    arn, _ = released(world)
    world.approve(arn, "Rejected")

    first = registry.reconcile(MODEL, world.at)
    rows = list(ledger.query(f"model/{MODEL}")), list(ledger.history(f"model/{MODEL}"))
    registry.reconcile(MODEL, world.at)

    assert first["champion"].startswith("started: flights-rejected-v2-")
    assert rows == (list(ledger.query(f"model/{MODEL}")), list(ledger.history(f"model/{MODEL}")))
    assert len(rollbacks(world)) == 1


@pytest.mark.parametrize("to_version", [False, True])
def test_f46_a_rollback_that_waited_for_another_release_does_not_take_that_one_back(
    world: World, to_version: bool
) -> None:
    released(world)
    second, _ = released(world)
    if to_version:
        released(world)
        rejected(world, second)
        second = str(world.champion()["package_arn"])
    newer, version = world.register()
    world.approve(newer)
    on_its_way = Execution(world, "newer", version=version)
    on_its_way.rate = 60
    on_its_way.step()
    rejected(world, second)

    assert finished(on_its_way) == "promoted"
    back = carried_out(world, rollbacks(world)[0], "back")

    assert (back.outcome, world.champion()["version"]) == ("nothing to do", version)
    assert "does not serve any more" in back.why
    assert leases.holder(ENDPOINT) is None


# -- scaling follows what serves (AS-07) --


def scale(world: World, variant: str = "blue") -> None:
    resource = f"endpoint/{ENDPOINT}/variant/{variant}"
    world.scaling.targets[resource] = {"ResourceId": resource, "MinCapacity": 2, "MaxCapacity": 8}
    tracking = {"TargetValue": 70.5, "PredefinedMetricSpecification": {"PredefinedMetricType": "x"}}
    policy = {
        "PolicyName": "p",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }
    world.scaling.policies[resource] = [policy]


def scaled(world: World) -> dict[str, tuple[int, int, list[float]]]:
    """Return variant -> its limits and its policies' targets."""
    return {
        resource.rpartition("/")[2]: (
            target["MinCapacity"], target["MaxCapacity"],
            [p["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for p in world.scaling.policies.get(resource, [])],
        )
        for resource, target in world.scaling.targets.items()
    }  # fmt: skip


BLUE, GREEN = {"blue": (2, 8, [70.5])}, {"green": (2, 8, [70.5])}


@pytest.mark.parametrize("strategy", ["canary", "linear", "all_at_once"])
def test_as_07_a_native_rollout_and_its_rollback_keep_the_policies(world: World, strategy: str) -> None:
    world.onboard(rollout={"strategy": strategy})
    released(world)
    scale(world)

    assert (released(world)[1].outcome, scaled(world)) == ("promoted", BLUE)
    assert (released(world, broken)[1].outcome, scaled(world)) == ("rolled back", BLUE)
    assert (play(world, "back", kind="rollback").outcome, scaled(world)) == ("rolled back", BLUE)


def test_as_07_after_a_ladder_the_scaling_goes_back_with_the_rollback(world: World) -> None:
    world.onboard(rollout=STEPPED)
    released(world)
    scale(world)
    released(world)
    assert scaled(world) == GREEN

    back = play(world, "back", kind="rollback")

    assert (back.outcome, world.config(), scaled(world)) == ("rolled back", "linnet-flights-v1-f1", BLUE)
    assert ledger.read(f"endpoint/{ENDPOINT}", "scaling") is None


@pytest.mark.parametrize("until", ["shift", "update"])
def test_as_07_a_ladder_taken_back_on_its_way_leaves_the_champion_scaled(world: World, until: str) -> None:
    """Before the hand-over and, with the last update refused, after it."""
    world.onboard(rollout=STEPPED)
    released(world)
    scale(world)
    arn, version = world.register()
    world.approve(arn)
    ladder = Execution(world, "ladder", version=version)
    ladder.rate = 60
    while ladder.next != until:
        ladder.step()
    if until == "update":
        world.lab.clock.advance(60)
        world.check_scaling = _refuse  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            ladder.step()
        del world.check_scaling
        assert scaled(world) == GREEN
    ladder.end("aborted")

    endings.abandon(ladder.arn, "ladder", {"model": MODEL}, world.at)
    given = world.states.started[f"{MODEL}-back-f2"]["input"]
    back = play(world, "back", kind="rollback", handed=given["lease"], reason=given["reason"])

    assert (back.outcome, world.config(), scaled(world)) == ("rolled back", "linnet-flights-v1-f1", BLUE)


def _refuse(request: Any) -> None:
    raise RuntimeError("the function died")


@pytest.mark.parametrize("method", ["deregister_scalable_target", "register_scalable_target", "put_scaling_policy"])
@pytest.mark.parametrize("carried_out_first", [False, True])
def test_as_07_a_rollback_that_dies_at_any_call_of_scaling_goes_on(
    world: World, method: str, carried_out_first: bool
) -> None:
    world.onboard(rollout=STEPPED)
    released(world)
    scale(world)
    released(world)
    real: Callable[..., Any] = getattr(world.scaling, method)

    def dies(**request: Any) -> None:
        delattr(world.scaling, method)
        if carried_out_first:
            real(**request)
        raise RuntimeError("the function died")

    setattr(world.scaling, method, dies)
    back = Execution(world, "back", kind="rollback")
    with pytest.raises(RuntimeError):
        finished(back)

    assert (finished(back), scaled(world)) == ("rolled back", BLUE)


# -- endpoint settings change later (DC-05) --


def again(world: World) -> list[dict[str, Any]]:
    return [
        s["input"]
        for s in world.states.started.values()
        if s["machine"] == "release-machine" and "serving" in s["input"]
    ]


@pytest.mark.parametrize("strategy", ["all_at_once", "stepped"])
def test_dc_05_capture_is_turned_on_later_by_a_new_config_of_the_same_model(world: World, strategy: str) -> None:
    rollout = {"strategy": strategy, "ladder": [50, 100]}
    world.onboard(rollout=rollout, endpoint={"capture_percent": 0})
    released(world)
    assert "DataCaptureConfig" not in world.endpoint()
    assert registry.renew(MODEL, asked=True) == ""
    world.onboard(rollout=rollout, endpoint={"capture_percent": 50})

    started = [registry.renew(MODEL, asked=True), registry.renew(MODEL, asked=True)]
    (given,) = again(world)
    change = play(world, "change", version=given["version"], serving=given["serving"])

    assert [text.split(":")[0] for text in started] == ["started", "already started"]
    assert (change.outcome, world.config()) == ("promoted", "linnet-flights-v1-f2")
    assert world.endpoint()["DataCaptureConfig"]["CurrentSamplingPercentage"] == 50
    assert world.release(2)["reason"] == "version 1 is approved, capture_percent 0 -> 50"
    assert registry.renew(MODEL, asked=True) == ""
    assert play(world, "twice", version=1).outcome == "nothing to do"


def test_dc_05_a_change_that_is_taken_back_stays_taken_back_and_keeps_the_mark(world: World) -> None:
    arn, _ = released(world)
    world.onboard(rollout=ALL_AT_ONCE, endpoint={"capture_percent": 50})
    play(world, "change", version=1)

    back = play(world, "back", kind="rollback")

    package = world.lab.call("DescribeModelPackage", ModelPackageName=arn)
    assert (back.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert package["CustomerMetadataProperties"] == {"stage": "production"}
    assert registry.renew(MODEL, asked=False) == ""  # the reconciler does not fight a person
    assert registry.renew(MODEL, asked=True).startswith("started: ")


def test_dc_05_other_instances_and_another_count_leave_scaling_before_and_join_after(world: World) -> None:
    released(world)
    scale(world)
    capacity = [{"VariantName": "blue", "DesiredInstanceCount": 5}]
    world.lab.call("UpdateEndpointWeightsAndCapacities", EndpointName=ENDPOINT, DesiredWeightsAndCapacities=capacity)
    world.lab.clock.advance(60)
    world.onboard(rollout=ALL_AT_ONCE, endpoint={"instance_type": "ml.c5.xlarge", "instance_count": 3})

    change = play(world, "change", version=1)

    assert (change.outcome, world.types(world.config())) == ("promoted", {"blue": "ml.c5.xlarge"})
    assert (world.endpoint()["ProductionVariants"][0]["DesiredInstanceCount"], scaled(world)) == (3, BLUE)
    assert (play(world, "back", kind="rollback").outcome, scaled(world)) == ("rolled back", BLUE)
    assert world.endpoint()["ProductionVariants"][0]["DesiredInstanceCount"] == 2


# -- preflight --


@pytest.mark.parametrize(("state", "said"), [("ALARM", "'ALARM'"), (None, "'missing'")])
def test_a_rollback_alarm_in_alarm_refuses_the_update_and_is_named(world: World, state: str | None, said: str) -> None:
    released(world)
    arn, version = world.register()
    world.approve(arn)
    execution = Execution(world, "v2", version=version)
    execution.step()
    execution.step()
    name = "linnet-flights-v2-f2-latency"
    if state:
        world.lab.aws.alarms[name] = state
    else:
        del world.lab.aws.alarms[name]

    with pytest.raises(ConflictError, match=f"{name}.*{said}"):
        execution.step()
    assert [change.operation for change in world.changes] == ["CreateEndpoint"]
    world.lab.aws.alarms[name] = "OK"
    execution.step()
    assert world.changes[-1].operation == "UpdateEndpoint"


# -- any earlier version by one command (RB-04) --


def test_rb_04_n_minus_2_goes_out_by_a_guarded_release_and_an_unapproved_one_is_refused_with_a_reason(
    world: World,
) -> None:
    for _ in range(3):
        released(world)
    _, four = world.register()
    before = len(world.changes)

    refused = carried_out(world, {"to_version": four, "reason": "r"}, "refused")
    assert (refused.outcome, refused.why) == ("nothing to do", "the registry says PendingManualApproval")
    assert len(world.changes) == before

    back = carried_out(world, {"to_version": 1, "reason": "r"}, "back")
    assert (back.outcome, world.champion()["version"]) == ("promoted", 1)
    assert world.changes[-1].request["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]


def test_a_redriven_release_that_had_ended_takes_nothing_back_that_went_out_since(world: World) -> None:
    released(world)
    arn, version = world.register()
    world.approve(arn)
    seen(world, arn)
    stopped = releases.take(MODEL, version=version, owner="stopped", at=world.at, correlation_id="c")
    endings.abandon("stopped", "stopped", {"model": MODEL}, world.at)
    released(world)
    serves = world.champion()

    handed = {"owner": "stopped", "fence": stopped["fence"]}
    found = releases.take(
        MODEL, version=None, kind="rollback", owner="redriven", at=world.at, correlation_id="c", handed=handed
    )

    assert (found["proceed"], found["why"]) == (False, f"release {stopped['fence']} has ended: held")
    assert world.champion() == serves
    assert leases.holder(ENDPOINT) is None
