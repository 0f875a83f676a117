"""A release from lease to champion against the local SageMaker's core: the good ways, the bad ways, the peers' bugs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from linnet.errors import BusyError, ConflictError, NotFoundError
from linnet.gateways import endings, leases, ledger, releases, sagemaker
from tests.model.aws import ENDPOINT, MODEL
from tests.model.world import Execution, World, broken, finished

PACKAGES = "arn:aws:sagemaker:us-east-1:000000000000:model-package/linnet-flights"


@pytest.fixture
def world() -> Iterator[World]:
    with World(quick=True).open() as opened:
        yield opened


def released(world: World, behaviour: Any = None, *, rate: int = 60, approve: bool = True, **more: Any) -> Execution:
    arn, version = world.register(behaviour) if behaviour else world.register()
    if approve:
        world.approve(arn)
    execution = Execution(world, f"v{version}", version=version, **more)
    execution.rate = 0 if not ledger.read(f"model/{MODEL}", "champion") else rate
    finished(execution)
    return execution


def test_dp_01_a_first_release_creates_probes_and_promotes(world: World) -> None:
    world.onboard()

    first = released(world)

    assert (first.outcome, world.config()) == ("promoted", "linnet-flights-v1-f1")
    assert world.champion()["run"] == "r000000000001"
    assert [change.operation for change in world.changes] == ["CreateEndpoint"]
    assert world.messages[-1]["kind"] == "release-finished"
    assert leases.held_by(ENDPOINT, first.arn) is None


@pytest.mark.parametrize("strategy", ["canary", "linear", "all_at_once"])
def test_ro_01_ro_03_ro_04_a_native_rollout_is_guarded_by_alarms_on_the_new_fleet(world: World, strategy: str) -> None:
    world.onboard(rollout={"strategy": strategy})
    released(world)

    second = released(world)

    update = world.changes[-1].request
    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")
    assert (
        update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == strategy.upper()
    )
    assert len(update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]) == 3
    assert update["RetainAllVariantProperties"] is True
    assert set(world.cloudwatch.requests) == {"linnet-flights-slow", "linnet-flights-failing"}  # the release's are gone


def test_rb_01_f47_sagemakers_own_rollback_is_seen_though_the_endpoint_is_in_service(world: World) -> None:
    world.onboard()
    released(world)

    second = released(world, broken)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert world.champion()["version"] == 1
    assert [change.operation for change in world.changes] == ["CreateEndpoint", "UpdateEndpoint"]  # nothing fought
    assert world.messages[-1]["kind"] == "rolled-back"


def test_ro_02_the_ladders_weights_are_read_back_at_every_step_and_the_challenger_ends_alone(world: World) -> None:
    world.onboard(rollout={"strategy": "stepped"})
    released(world)

    second = released(world)

    shifts = [c.request for c in world.changes if c.operation == "UpdateEndpointWeightsAndCapacities"]
    shares = [{w["VariantName"]: w["DesiredWeight"] for w in s["DesiredWeightsAndCapacities"]} for s in shifts]
    assert shares == [{"green": p, "blue": 100.0 - p} for p in (5.0, 10.0, 25.0, 50.0, 100.0)]
    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")
    assert [v["VariantName"] for v in world.endpoint()["ProductionVariants"]] == ["green"]
    assert world.champion()["variant"] == "green"


def test_a_broken_challenger_never_sees_a_callers_request(world: World) -> None:
    world.onboard(rollout={"strategy": "stepped"})
    released(world)
    arn, version = world.register(broken)
    world.approve(arn)

    execution = Execution(world, "bad", version=version)
    finished(execution)

    assert (execution.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert not [c for c in world.changes if c.operation == "UpdateEndpointWeightsAndCapacities"]


def test_f14_a_canary_without_traffic_is_taken_back_because_unknown_is_never_healthy(world: World) -> None:
    world.onboard()
    released(world)

    second = released(world, rate=0)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert world.release(2)["verdict"]["state"] == "unknown"


def test_f15_metrics_that_cannot_be_read_are_no_good_metrics(world: World) -> None:
    world.onboard()
    released(world)
    world.cloudwatch.broken = True

    assert released(world).outcome == "rolled back"


def test_f42_a_rejection_during_the_rollout_takes_it_back(world: World) -> None:
    world.onboard()
    released(world)
    arn, version = world.register()
    world.approve(arn)
    execution = Execution(world, "v2", version=version)
    for _ in range(6):
        execution.step()

    world.approve(arn, "Rejected")
    finished(execution)

    assert (execution.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert "Rejected" in world.release(2)["why"]


def test_f48_a_release_without_a_way_back_does_not_begin(world: World) -> None:
    world.onboard()
    released(world)
    arn, version = world.register()
    world.approve(arn)
    world.lab.call("DeleteModel", ModelName="linnet-flights-v1")

    with pytest.raises(NotFoundError, match="no way back"):
        Execution(world, "v2", version=version).step()


@pytest.mark.parametrize("status", ["SystemUpdating", "UpdateRollbackFailed"])
def test_f50_a_changing_endpoint_is_waited_for_and_a_stuck_one_is_left_to_people(world: World, status: str) -> None:
    world.onboard()
    released(world)
    arn, version = world.register()
    world.approve(arn)
    world.lab.sagemaker._endpoints._endpoints[ENDPOINT].record["EndpointStatus"] = status

    with pytest.raises(BusyError if status == "SystemUpdating" else ConflictError, match=status):
        Execution(world, "v2", version=version).step()


def test_both_fleets_must_fit_the_quota(world: World) -> None:
    world.onboard(endpoint={"instance_count": 15})
    released(world)
    arn, version = world.register()
    world.approve(arn)

    with pytest.raises(ConflictError, match="30 instances"):
        Execution(world, "v2", version=version).step()


def test_rb_03_a_rollback_by_hand_restores_config_champion_and_mark_once(world: World) -> None:
    world.onboard()
    released(world)
    released(world)

    back = Execution(world, "back", kind="rollback", reason="wrong answers")
    finished(back)

    assert (back.outcome, world.config(), world.champion()["version"]) == ("rolled back", "linnet-flights-v1-f1", 1)
    marks = [
        world.lab.call("DescribeModelPackage", ModelPackageName=f"{PACKAGES}/{v}")
        .get("CustomerMetadataProperties", {}).get("stage")
        for v in (1, 2)
    ]  # fmt: skip
    assert marks == ["production", None]  # RG-07
    with pytest.raises(ConflictError, match="to_version"):
        Execution(world, "twice", kind="rollback").step()


def test_rb_04_an_older_version_goes_out_again_only_when_asked_for(world: World) -> None:
    world.onboard()
    for _ in range(3):
        released(world)

    late = Execution(world, "late", version=1)
    asked = Execution(world, "asked", version=1, back=True)
    asked.rate = 60

    assert finished(late) == "nothing to do"
    assert (finished(asked), world.champion()["version"]) == ("promoted", 1)


def test_f41_a_lost_answer_of_update_endpoint_is_found_and_adopted(world: World) -> None:
    world.onboard()
    released(world)
    world.lose = "UpdateEndpoint"

    second = released(world)

    assert second.outcome == "promoted"
    assert len([c for c in world.changes if c.operation == "UpdateEndpoint"]) == 1


def test_f43_a_second_release_waits_for_the_first(world: World) -> None:
    world.onboard()
    released(world)
    arn, version = world.register()
    world.approve(arn)
    one, two = Execution(world, "one", version=version), Execution(world, "two", version=version)
    one.step()

    with pytest.raises(BusyError, match="holds the lease"):
        two.step()


def test_f44_a_stale_holder_cannot_change_the_endpoint_after_a_takeover(world: World) -> None:
    world.onboard()
    released(world)
    arn, version = world.register()
    world.approve(arn)
    stale = Execution(world, "stale", version=version)
    stale.step()
    stale.step()
    world.states.running.discard(stale.arn)
    world.states.ended.add(stale.arn)
    fresh = Execution(world, "fresh", version=version)
    with pytest.raises(BusyError, match="the reconciler ends what it left"):
        fresh.step()  # what a dead release left on the endpoint must not become the next one's way back
    assert endings.abandon(stale.arn, stale.name, {"model": MODEL}, world.at) == "held"
    fresh.step()

    with pytest.raises(ConflictError, match="is over"):
        stale.step()
    assert len(world.changes) == 1  # the first release's CreateEndpoint


def test_f52_a_redriven_release_whose_lease_went_on_does_nothing_and_says_why(world: World) -> None:
    world.onboard()
    first = released(world)

    with pytest.raises(ConflictError, match=r"fence 1 .* is over"):
        releases.take(MODEL, version=1, owner=first.arn, at=world.at, correlation_id="again")


def test_i9_a_release_that_died_on_the_way_is_taken_back_by_the_reconciler(world: World) -> None:
    world.onboard(rollout={"strategy": "stepped"})
    released(world)
    arn, version = world.register()
    world.approve(arn)
    dead = Execution(world, "dead", version=version)
    for _ in range(12):
        dead.step()
    dead.end("aborted")

    done = endings.abandon(dead.arn, "dead", {"model": MODEL}, world.at)
    started = world.states.started[f"{MODEL}-back-f2"]
    back = Execution(world, "b", kind="rollback", handed=started["input"]["lease"], reason=started["input"]["reason"])

    assert done == "started: flights-back-f2"
    told_again = endings.abandon(dead.arn, "dead", {"model": MODEL}, world.at)
    assert told_again == "already started: flights-back-f2"
    assert (finished(back), world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert world.release(2)["state"] == "rolled back"


def test_a_first_release_that_fails_leaves_no_endpoint(world: World) -> None:
    world.onboard()
    arn, version = world.register(RuntimeError("no such module"))
    world.approve(arn)

    execution = Execution(world, "v1", version=version)

    assert finished(execution) == "rolled back"
    assert sagemaker.endpoint(ENDPOINT) is None
    assert world.champion() == {}


def test_a_rollback_by_hand_of_the_only_release_is_refused_and_it_serves_on(world: World) -> None:
    world.onboard()
    released(world)

    with pytest.raises(ConflictError, match="nothing served before version 1"):
        Execution(world, "back", kind="rollback").step()
    assert world.config() == "linnet-flights-v1-f1"


# -- bugs of the peer ml-canary-deployment (MCD), peers.md 1.4 ---------------------------------------------------------


def test_peer_bug_mcd_a_all_traffic_is_all_of_it(world: World) -> None:
    world.onboard(rollout={"strategy": "stepped"})
    released(world)
    arn, version = world.register()
    world.approve(arn)
    execution = Execution(world, "v2", version=version)
    execution.rate = 60
    while execution.next != "update":
        execution.step()
    world.lab.clock.advance(60)

    weights = {v["VariantName"]: v["CurrentWeight"] for v in world.endpoint()["ProductionVariants"]}
    assert weights["green"] / sum(weights.values()) == 1.0


def test_peer_bug_mcd_c_every_row_is_written_before_traffic_moves_and_floats_survive(world: World) -> None:
    world.onboard(rollout={"health": {"max_latency_ms": 0.5e3 + 0.25}})
    released(world)
    arn, version = world.register()
    world.approve(arn)
    execution = Execution(world, "v2", version=version)
    execution.step()

    assert len(world.changes) == 1
    assert world.release(2)["state"] == "intent"
    assert world.release(2)["spec"]["rollout"]["health"]["max_latency_ms"] == 500.25


def test_peer_bug_mcd_d_a_new_config_captures_under_its_own_name_and_keeps_counts(world: World) -> None:
    world.onboard()
    released(world)
    world.lab.call(
        "UpdateEndpointWeightsAndCapacities", EndpointName=ENDPOINT,
        DesiredWeightsAndCapacities=[{"VariantName": "blue", "DesiredInstanceCount": 5}],
    )  # fmt: skip
    world.lab.clock.advance(60)

    released(world)

    live = world.endpoint()
    assert live["DataCaptureConfig"]["DestinationS3Uri"].endswith("/data-capture/linnet-flights-v2-f2")
    assert live["ProductionVariants"][0]["DesiredInstanceCount"] == 5


def test_peer_bug_mcd_e_a_missing_endpoint_is_a_validation_exception(world: World) -> None:
    assert sagemaker.endpoint("linnet-nothing") is None


def test_peer_bug_mcd_f_rolled_back_is_said_only_after_it_was_read_back(world: World) -> None:
    world.onboard()
    released(world)
    released(world)
    back = Execution(world, "back", kind="rollback")
    back.step()
    back.step()

    with pytest.raises(ConflictError, match="expected was"):
        back._conclude()
    assert world.release(3)["state"] == "intent"


def test_peer_bug_mcd_g_a_breach_is_a_rollback_not_a_skipped_step(world: World) -> None:
    world.onboard(rollout={"strategy": "stepped"})
    released(world)
    arn, version = world.register()
    world.approve(arn)
    execution = Execution(world, "v2", version=version)
    execution.rate = 60
    while execution.progress.get("step", 0) < 2:
        execution.step()
    url = next(u for u in world.lab.executor.models if "/2/" in u)
    world.lab.executor.models[url] = broken
    for server in world.lab.executor.servers:
        if server.name.endswith("/green"):
            server.model = broken

    finished(execution)

    assert (execution.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert {v["VariantName"]: v["CurrentWeight"] for v in world.endpoint()["ProductionVariants"]} == {"blue": 100.0}


def test_a_scaled_champion_hands_its_scaling_over_before_it_leaves(world: World) -> None:
    world.onboard(rollout={"strategy": "stepped"})
    released(world)
    resource = f"endpoint/{ENDPOINT}/variant/blue"
    target = {"ResourceId": resource, "MinCapacity": 2, "MaxCapacity": 8}
    world.scaling.targets[resource] = target
    world.scaling.policies[resource] = [{"PolicyName": "p", "PolicyType": "TargetTrackingScaling"}]

    released(world)

    green = f"endpoint/{ENDPOINT}/variant/green"
    assert list(world.scaling.targets) == [green]
    assert world.scaling.targets[green]["MaxCapacity"] == 8
    assert world.scaling.policies[green][0]["PolicyName"] == "p"
