"""Public bugs of canaries, rollbacks and UpdateEndpoint: what Linnet does instead."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from linnet.decisions import progress as steps
from linnet.decisions import rollout
from linnet.decisions.verdict import Evidence, assess
from linnet.errors import BadInputError, BusyError, ConflictError, NotFoundError
from linnet.events.spec import Rollout, check_spec, spec_json
from linnet.gateways import ledger, lineage, sagemaker
from tests.model.aws import ENDPOINT, MODEL, Lost, refusal
from tests.model.test_release_story import released, world  # noqa: F401 - a fixture
from tests.model.world import Execution, World, broken, finished
from tests.unit.test_progress import LADDER, QUIET
from tests.unit.test_rollout import plan

HEALTH = Rollout().health.model_dump()
AT = "2026-01-31T12:10:00+00:00"


def settled(phase: str, state: str = "healthy", found: Any = LADDER, /, **more: Any) -> dict[str, Any]:
    """Return what comes next after a look; `more` is of the progress or of the sight."""
    now = steps.begin(found, AT) | {"phase": phase}
    now |= {name: value for name, value in more.items() if name in now}
    sight = QUIET | {name: value for name, value in more.items() if name in QUIET}
    return steps.settle(found, now, sight, {"state": state, "why": state, "better": True}, Rollout().model_dump(), AT)


def second(world: World, behaviour: Any = None, **more: Any) -> Execution:
    """Return a release that waits to be stepped; something serves already."""
    released(world)
    arn, version = world.register(behaviour) if behaviour else world.register()
    world.approve(arn)
    return Execution(world, "second", version=version, **more)


@functools.cache
def story(strategy: str) -> SimpleNamespace:
    """Play a release, scaling, a second release and a rollback by hand once; return what was seen."""
    with World().open() as world:
        ladder = {"ladder": [50, 100], "wait_seconds": 120, "termination_wait_seconds": 120}
        world.onboard(
            rollout={"strategy": strategy} | ({"canary_percent": 50} if strategy == "canary" else ladder),
            endpoint={"instance_count": 2},
        )
        released(world)
        first = world.config()
        world.lab.call(
            "UpdateEndpointWeightsAndCapacities", EndpointName=ENDPOINT,
            DesiredWeightsAndCapacities=[{"VariantName": "blue", "DesiredInstanceCount": 4}],
        )  # fmt: skip
        world.lab.clock.advance(60)
        begun = len(world.changes)
        outcomes = [released(world, rate=24).outcome]
        seen = SimpleNamespace(
            outcomes=outcomes, first=first, second=world.config(), row=world.release(2), told=world.messages[-1],
            counts=[v["DesiredInstanceCount"] for v in world.endpoint()["ProductionVariants"]],
            updates=[c.request for c in world.changes[begun:] if c.operation == "UpdateEndpoint"],
            way_back=sagemaker.config(first)["EndpointConfigName"], moment=world.at,
        )  # fmt: skip
        world.lab.clock.advance(600)
        begun = len(world.changes)
        outcomes.append(finished(Execution(world, "back", kind="rollback", reason="wrong answers")))
        seen.back = SimpleNamespace(
            config=world.config(), champion=world.champion()["version"], told=world.messages[-1],
            changes=[c.operation for c in world.changes[begun:]], served=lineage.trace({"model": MODEL, "at": seen.moment}),
            counted=[m.dimensions["Outcome"] for m in world.lab.aws.metrics if m.name == "Releases"],
        )  # fmt: skip
        seen.endpoints = [e["EndpointName"] for e in world.lab.call("ListEndpoints")["Endpoints"]]
        return seen


BOTH = pytest.mark.parametrize("strategy", ["canary", "stepped"])


# -- ml-canary-deployment (1.4) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1, 5, 10, 25, 50, 99, 100])
def test_ml_canary_deployment_a_a_share_is_a_share_of_both_variants_and_full_traffic_is_all(share: int) -> None:
    """ml-canary-deployment (a): canary 1.0 beside production 0.9 was 52.6 % and COMPLETED."""
    found = rollout.weights(plan("stepped"), share)

    assert math.isclose(found["green"] / sum(found.values()), share / 100)


def test_ml_canary_deployment_b_limits_are_still_numbers_when_they_come_back_from_the_table(world: World) -> None:
    """ml-canary-deployment (b): limits kept as str met floats: TypeError in every automatic shift."""
    world.onboard(rollout={"health": {"max_errors": 3, "max_latency_ms": 250.5}})
    health = (ledger.read(f"model/{MODEL}", "spec") or {})["spec"]["rollout"]["health"]

    assert assess(Evidence(1000, 4, 1.0), health).state == "unhealthy"
    assert assess(Evidence(1000, 0, 251.0), health).state == "unhealthy"
    with pytest.raises(BadInputError):  # and a text is an error of its own, not the answer of a fleet
        assess(Evidence(1000, 0, 1.0), health | {"max_errors": "3"})


def test_ml_canary_deployment_c_floats_are_kept_exactly(world: World) -> None:
    """ml-canary-deployment (c): 'Float types are not supported' after the traffic had moved."""
    row = {"rate": 0.1, "deep": [{"p99": 2.5e-7}], "count": 3}
    ledger.put_once("model/floats", "row", row)

    assert {k: v for k, v in (ledger.read("model/floats", "row") or {}).items() if k in row} == row


@pytest.mark.parametrize("strategy", ["canary", "stepped"])
def test_ml_canary_deployment_c_the_row_is_there_before_the_endpoint_changes(world: World, strategy: str) -> None:
    """ml-canary-deployment (c): a canary was live and no row knew of it."""
    world.onboard(rollout={"strategy": strategy})
    execution = second(world)
    world.lose = "UpdateEndpoint"

    execution.step()
    execution.step()
    with pytest.raises(Lost):
        execution.step()
    assert world.changes[-1].operation == "UpdateEndpoint"
    assert world.release(2)["state"] == "intent"


def test_ml_canary_deployment_d_a_new_config_keeps_the_key_and_captures(world: World) -> None:
    """ml-canary-deployment (d): the new endpoint config omitted DataCaptureConfig and KmsKeyId."""
    world.onboard()
    execution = second(world)
    old = world.lab.call("DescribeEndpointConfig", EndpointConfigName=world.config())
    kept = {k: old[k] for k in ("EndpointConfigName", "ProductionVariants", "DataCaptureConfig")}
    world.lab.call("DeleteEndpointConfig", EndpointConfigName=old["EndpointConfigName"])
    world.lab.call("CreateEndpointConfig", **kept, KmsKeyId="arn:aws:kms:us-east-1:000000000000:key/k")

    execution.step()
    execution.step()

    new = world.lab.call("DescribeEndpointConfig", EndpointConfigName="linnet-flights-v2-f2")
    assert new["KmsKeyId"] == "arn:aws:kms:us-east-1:000000000000:key/k"
    assert new["DataCaptureConfig"]["EnableCapture"] is True


def test_ml_canary_deployment_e_only_sagemakers_own_code_means_that_an_endpoint_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ml-canary-deployment (e): looked for ValidationError, SageMaker sends ValidationException."""
    assert sagemaker.endpoint("linnet-nothing") is None

    for code in ("ThrottlingException", "AccessDeniedException", "ValidationError"):
        refuse = Mock(side_effect=refusal(code, "DescribeEndpoint", "Could not find endpoint"))
        monkeypatch.setattr(sagemaker.client("sagemaker"), "describe_endpoint", refuse, raising=False)
        with pytest.raises(ClientError, match=code):
            sagemaker.endpoint(ENDPOINT)


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("status", ["InService", "Updating"])
def test_ml_canary_deployment_g_a_breach_is_a_way_back_at_every_step(step: int, status: str) -> None:
    """ml-canary-deployment (g): a breach in auto-shift was 'skipped', the canary stayed."""
    breached = settled("baking", "unhealthy", step=step, status=status)

    assert breached["progress"]["condemned"]
    after = settled("baking", "healthy", step=step, condemned=breached["progress"]["condemned"])
    assert after["next"] == "roll back"  # a good minute later does not acquit it


@BOTH
def test_ml_canary_deployment_f_nothing_is_said_or_moved_before_the_old_fleet_serves_again(
    world: World, strategy: str
) -> None:
    """ml-canary-deployment (f): ROLLED_BACK while still Updating; image-classification: baseline moved on acceptance."""
    world.onboard(rollout={"strategy": strategy})
    execution = second(world, broken)
    baseline, execution.rate = world.champion()["baseline"], 24

    for _ in range(100):
        if not execution.lives:
            break
        execution.step()
        assert world.champion()["baseline"] == baseline
        told = [m["kind"] for m in world.messages if m["kind"] == "rolled-back"]
        if told or world.release(2).get("state") == "rolled back":
            assert (world.endpoint()["EndpointStatus"], world.config()) == ("InService", "linnet-flights-v1-f1")
    assert execution.outcome == "rolled back"
    assert told == ["rolled-back"]


# -- guardrails: sample-sagemaker-image-classification-mlops, terraform, SDK ---------------------------------------------


@pytest.mark.parametrize("strategy", ["canary", "linear", "all_at_once"])
def test_sample_sagemaker_image_classification_mlops_11390b1_a_guarded_update_states_its_guard(
    world: World, strategy: str
) -> None:
    """sample-sagemaker-image-classification-mlops 11390b1, fixed in 43bc175: UpdateEndpoint without DeploymentConfig."""
    world.onboard(rollout={"strategy": strategy})
    execution = second(world)
    while world.changes[-1].operation != "UpdateEndpoint":
        execution.step()

    update = world.changes[-1].request
    assert update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert update["RetainAllVariantProperties"] is True


def test_sample_sagemaker_image_classification_mlops_busy_a_release_waits_for_an_endpoint_that_changes(
    world: World,
) -> None:
    """sample-sagemaker-image-classification-mlops: busy endpoint = raise, two retries, dead letter."""
    world.onboard()
    execution = second(world)
    record = world.lab.sagemaker._endpoints._endpoints[ENDPOINT].record
    record["EndpointStatus"] = "SystemUpdating"
    for _ in range(10):
        with pytest.raises(BusyError):
            execution.step()
    record["EndpointStatus"] = "InService"
    execution.step()

    assert execution.next == "prepare"


@pytest.mark.parametrize("phase", ["rolling", "entering"])
def test_terraform_provider_aws_48997_46663_a_silent_rollback_is_no_success(phase: str) -> None:
    """terraform-provider-aws#48997, #46663: InService on the old config after SageMaker's rollback passed for success."""
    found = settled(phase, "healthy", config="old")

    assert found["next"] == "rolled back"


@pytest.mark.parametrize("gone", ["DeleteModel", "DeleteEndpointConfig"])
def test_ministryofjustice_analytical_platform_10195_what_serves_without_its_config_or_model_is_seen_first(
    world: World, gone: str
) -> None:
    """ministryofjustice/analytical-platform#10195: endpoints whose config or model was deleted cannot be patched."""
    world.onboard()
    execution = second(world)
    name = {"ModelName": "linnet-flights-v1"} if gone == "DeleteModel" else {"EndpointConfigName": world.config()}
    world.lab.call(gone, **name)

    with pytest.raises(NotFoundError):
        execution.step()
    assert [c.operation for c in world.changes] == ["CreateEndpoint"]


def test_amazon_sagemaker_examples_3432_an_endpoint_that_stays_creating_is_given_up() -> None:
    """amazon-sagemaker-examples#3432: stuck in Creating for more than an hour, and nobody gave up."""
    found, looks = dict(LADDER) | {"strategy": "create"}, 0
    answer = settled("creating", "unknown", found, status="Creating")
    while answer["next"] == "wait":
        looks = answer["progress"]["looks"]
        answer = settled("creating", "unknown", found, status="Creating", looks=looks)
        assert looks <= steps.MOST_LOOKS

    assert answer["next"] == "roll back"


# -- one story, seen once: a release, scaling, a second release, a rollback by hand -------------------------------------


@BOTH
def test_terraform_provider_aws_48990_49069_scaled_capacity_survives_an_update(strategy: str) -> None:
    """terraform-provider-aws#48990, #49069, sagemaker-python-sdk#3126: an update reset the autoscaled counts."""
    seen = story(strategy)

    assert {u["RetainAllVariantProperties"] for u in seen.updates} == {True}
    assert seen.counts == [4]


@BOTH
def test_terraform_provider_aws_40048_the_old_config_and_its_models_outlive_the_update(strategy: str) -> None:
    """terraform-provider-aws#40048: the old endpoint config was deleted while the endpoint used it."""
    seen = story(strategy)

    assert seen.second != seen.first
    assert seen.way_back == seen.first


@BOTH
def test_sam_sf_sagemaker_workflow_endpoint_one_endpoint_stays_one_endpoint(strategy: str) -> None:
    """sam-sf-sagemaker-workflow, mlops-sagemaker-github-actions: a new endpoint for every run or commit."""
    assert story(strategy).endpoints == [ENDPOINT]


def test_sagemaker_custom_project_templates_instances_a_canary_needs_no_three_instances() -> None:
    """sagemaker-custom-project-templates mlops-deployment-patterns: a canary needed at least 3 instances."""
    assert story("canary").outcomes[0] == "promoted"  # its spec asks for two: of one no part can be released to


def test_kayenta_521_the_numbers_of_a_verdict_are_kept_and_told() -> None:
    """kayenta#521: the statistics of a judgement were shown to nobody."""
    seen = story("canary")
    evidence = seen.row["verdict"]["evidence"]

    assert evidence["requests"] >= seen.row["spec"]["rollout"]["health"]["min_requests"]
    assert evidence["errors"] == 0
    assert evidence["latency_ms"] > 0
    assert seen.row["verdict"]["why"] in repr(seen.told)


@BOTH
def test_flagger_616_mlflow_6180_a_promoted_release_is_taken_back_in_one_call(strategy: str) -> None:
    """flagger#616, mlflow#6180: no way back once a canary was promoted."""
    seen = story(strategy)

    assert seen.outcomes == ["promoted", "rolled back"]
    assert (seen.back.champion, seen.back.config, seen.back.changes) == (1, seen.first, ["UpdateEndpoint"])


@BOTH
def test_argo_rollouts_3721_2087_a_rollback_by_hand_is_told_and_counted(strategy: str) -> None:
    """argo-rollouts#3721, #2087: no notice of a manual rollback, no metric of an abort."""
    back = story(strategy).back

    assert back.told["kind"] == "rolled-back"
    assert "wrong answers" in repr(back.told)
    assert back.counted[-1] == "rolled back"


@BOTH
def test_mlflow_2169_what_served_then_is_answered_after_a_rollback(strategy: str) -> None:
    """mlflow#2169: nobody could say what was in production at a time."""
    served = story(strategy).back.served["serves"]

    assert (served["version"], served["run"]) == (2, "r000000000002")


# -- alarms --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["canary", "linear", "all_at_once"])
def test_sagemaker_custom_project_templates_alarm_sees_the_new_fleet_only_and_more_than_one_error(
    strategy: str,
) -> None:
    """sagemaker-custom-project-templates endpoint-config-template.yml: one 5XX of either fleet, no TreatMissingData."""
    found = plan(strategy)
    requests = rollout.alarm_requests(found, model=MODEL, endpoint=ENDPOINT, health=HEALTH)

    assert {r["AlarmName"] for r in requests} == {
        a["AlarmName"] for a in found["deployment"]["AutoRollbackConfiguration"]["Alarms"]
    }
    for request in requests:
        dimensions = {d["Name"]: d["Value"] for d in request["Dimensions"]}
        assert dimensions["EndpointConfigName"] == found["target"]
        assert request["TreatMissingData"] == "notBreaching"
        assert request.get("ActionsEnabled", True) is True
    (errors,) = [r for r in requests if r["MetricName"] == "Invocation5XXErrors"]
    assert errors["ComparisonOperator"] == "GreaterThanThreshold"
    assert errors["Threshold"] >= 1  # one error alone is within it


# -- no traffic, no data, no proof ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["rolling", "watching", "baking"])
@pytest.mark.parametrize("status", ["InService", "Updating"])
def test_flagger_1035_1011_1098_1689_argo_rollouts_1905_no_traffic_never_promotes(phase: str, status: str) -> None:
    """flagger#1035, #1011, #1098, #1689, argo-rollouts#1905: no traffic passed, or failed at once as a bad canary."""
    config = "both" if phase == "baking" else "new"
    answer = settled(phase, "unknown", config=config, status=status)
    assert not answer["progress"]["condemned"]  # one silent look condemns nobody
    for _ in range(steps.MOST_LOOKS):
        assert answer["next"] in ("wait", "roll back")  # and no number of them promotes
        if answer["next"] == "roll back" or answer["progress"]["phase"] != phase:
            break
        answer = settled(phase, "unknown", config=config, status=status, **answer["progress"])


def test_argo_rollouts_1411_nothing_but_the_way_back_follows_a_failed_analysis() -> None:
    """argo-rollouts#1411: a failed analysis did not stop the rollout."""
    for phase, config in (("baking", "both"), ("watching", "new"), ("rolling", "new")):
        assert settled(phase, "unhealthy", config=config)["next"] == "roll back"


def test_argo_rollouts_2200_a_release_that_never_settles_is_taken_back_by_itself() -> None:
    """argo-rollouts#2200: no timer aborted a rollout that did not progress."""
    found = settled("shifting", status="Updating", looks=steps.MOST_LOOKS)

    assert found["next"] == "roll back"


@pytest.mark.parametrize("outcome", ["promoted", "rolled back"])
def test_truxify_8727_an_outcome_that_the_endpoint_denies_is_refused(world: World, outcome: str) -> None:
    """Truxify#8727: an automatic rollback that did nothing reported success."""
    world.onboard()
    execution = second(world)
    while execution.next != "judge":
        execution.step()
    messages = len(world.messages)

    with pytest.raises(ConflictError):
        execution._end_as(outcome)
    assert world.release(2)["state"] == "intent"
    assert len(world.messages) == messages


def test_amazon_sagemaker_safe_deployment_pipeline_post_hook_the_new_fleet_is_really_asked(world: World) -> None:
    """safe-deployment-pipeline post_traffic_hook.py, custom-project-templates: the endpoint test asks nothing."""
    world.onboard()
    arn, version = world.register(broken)
    world.approve(arn)

    assert Execution(world, "first", version=version).play() == "rolled back"
    arn, version = world.register(rows=0)  # nothing to ask with is no good answer either
    world.approve(arn)
    assert Execution(world, "rowless", version=version).play() != "promoted"


def test_amazon_sagemaker_ab_testing_pipeline_beta_more_failures_than_requests_are_no_crash() -> None:
    """amazon-sagemaker-ab-testing-pipeline: rewards above invocations ended in betavariate's ValueError."""
    assert assess(Evidence(100, 150, 1.0, failures=150, recent=100), HEALTH).state == "unhealthy"
    assert assess(Evidence(0, 0, None, failures=3, recent=0), HEALTH).state == "unknown"


def test_kayenta_799_377_errors_where_the_control_has_none_fail() -> None:
    """kayenta#799, #377: a control without errors made NaN, and NaN did not fail."""
    assert assess(Evidence(1000, 11, 1.0, failures=11, recent=1000), HEALTH).state == "unhealthy"
    assert assess(Evidence(1000, math.nan, 1.0), HEALTH).state == "unknown"


def test_kayenta_633_a_few_requests_do_not_pass() -> None:
    """kayenta#633: +650 % passed on a handful of points."""
    assert HEALTH["min_requests"] > 1
    assert assess(Evidence(HEALTH["min_requests"] - 1, 0, 1.0), HEALTH).state == "unknown"


@pytest.mark.parametrize("asked", [{"serverless": {"memory_mb": 2048}}, {"kind": "serverless"}])
def test_aws_mlops_platform_public_serverless_a_form_without_guardrails_or_capture_is_refused(
    asked: dict[str, Any],
) -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: serverless endpoints know no guardrail, shadow or capture."""
    document = {
        "model": MODEL, "data": {"label": "late", "entity": "id", "features": {"a": "number"}},
        "training": {"algorithm": "xgboost", "framework_version": "1.7-1"},
    }  # fmt: skip
    assert spec_json(check_spec(document))["rollout"]["strategy"] == "canary"

    with pytest.raises(BadInputError, match="endpoint"):
        check_spec(document | {"endpoint": asked})
