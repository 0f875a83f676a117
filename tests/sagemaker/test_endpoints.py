"""Endpoints: the states and the guarded deployments of practice.md B2."""

from __future__ import annotations

from typing import Any

import pytest

from local.sagemaker.api import ApiError
from local.sagemaker.ports import Answer
from tests.sagemaker.doubles import IMAGE, ROLE, Lab, Model, canary

BROKEN = RuntimeError("ImportError: no module named model")


@pytest.fixture
def lab() -> Lab:
    """One endpoint on v1, a config v2 beside it, an alarm that is OK."""
    lab = Lab()
    for version in ("v1", "v2"):
        lab.config(version, {"blue": lab.model(f"model-{version}", says(version))})
    lab.endpoint("e", "v1")
    lab.aws.alarms["errors"] = "OK"
    return lab


def says(text: str) -> Model:
    return lambda _: Answer(200, "text/csv", text.encode(), 0.001)


def state(lab: Lab) -> tuple[str, str]:
    description = lab.describe("e")
    return description["EndpointStatus"], description["EndpointConfigName"]


def shares(lab: Lab, requests: int = 1000) -> float:
    """Return the share of requests that v2 answered."""
    return len([1 for _ in range(requests) if lab.invoke("e").body == b"v2"]) / requests


def update(lab: Lab, config: str = "v2", **more: Any) -> None:
    lab.call("UpdateEndpoint", EndpointName="e", EndpointConfigName=config, **more)


def test_creation_takes_its_time_and_ends_in_service(lab: Lab) -> None:
    lab.call("CreateEndpoint", EndpointName="f", EndpointConfigName="v1")
    lab.clock.advance(119)
    description = lab.describe("f")
    assert description["EndpointStatus"] == "Creating"
    assert description["PendingDeploymentSummary"]["EndpointConfigName"] == "v1"
    assert "ProductionVariants" not in description
    with pytest.raises(ApiError, match=r"ValidationError: Endpoint f of account 000000000000 not found\."):
        lab.invoke("f")
    lab.clock.advance(1)
    description = lab.describe("f")
    assert description["EndpointStatus"] == "InService"
    assert "PendingDeploymentSummary" not in description
    variant = description["ProductionVariants"][0]
    assert {name: variant[name] for name in variant if name != "DeployedImages"} == {
        "VariantName": "blue",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 2,
        "DesiredInstanceCount": 2,
    }


def test_a_model_that_does_not_load_fails_the_creation_and_only_deletion_is_left(lab: Lab) -> None:
    """F50."""
    lab.config("bad", {"blue": lab.model("model-bad", BROKEN)})
    lab.endpoint("f", "bad")
    description = lab.describe("f")
    assert description["EndpointStatus"] == "Failed"
    assert "ImportError: no module named model" in description["FailureReason"]
    assert any(group == "/aws/sagemaker/Endpoints/f" for group, _ in lab.aws.logs)
    with pytest.raises(ApiError, match="Cannot update in-progress endpoint"):
        lab.call("UpdateEndpoint", EndpointName="f", EndpointConfigName="v1")
    lab.call("DeleteEndpoint", EndpointName="f")
    lab.clock.advance(10)
    with pytest.raises(ApiError, match=r'Could not find endpoint "arn'):
        lab.describe("f")
    lab.endpoint("f", "v1")
    assert lab.describe("f")["EndpointStatus"] == "InService"


def test_names_are_unique_and_references_must_exist(lab: Lab) -> None:
    with pytest.raises(ApiError, match="ValidationException: Cannot create already existing endpoint "):
        lab.call("CreateEndpoint", EndpointName="e", EndpointConfigName="v1")
    with pytest.raises(ApiError, match="ValidationException: Cannot create already existing endpoint configuration"):
        lab.config("v1", {"blue": "model-v1"})
    with pytest.raises(ApiError, match="ValidationException: Cannot create already existing model"):
        lab.model("model-v1")
    with pytest.raises(ApiError, match="Could not find endpoint configuration"):
        lab.call("CreateEndpoint", EndpointName="f", EndpointConfigName="v9")
    with pytest.raises(ApiError, match="Could not find model"):
        lab.config("v9", {"blue": "model-v9"})
    with pytest.raises(ApiError, match="unique names"):
        lab.call(
            "CreateEndpointConfig",
            EndpointConfigName="v9",
            ProductionVariants=[
                {
                    "VariantName": "blue",
                    "ModelName": "model-v1",
                    "InitialInstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                }
            ]
            * 2,
        )


def test_an_update_without_guardrails_moves_everything_at_once_without_any_net(lab: Lab) -> None:
    """peers.md finding 3: nothing is remembered from the deployment before."""
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(1000)
    assert state(lab) == ("InService", "v2")
    lab.aws.alarms["errors"] = "ALARM"
    update(lab, "v1")
    lab.clock.advance(119)
    assert state(lab) == ("Updating", "v2")
    assert shares(lab, 100) == 1.0
    lab.clock.advance(1)
    assert state(lab) == ("InService", "v1")
    assert "LastDeploymentConfig" not in lab.describe("e")


def test_an_update_is_refused_unless_in_service(lab: Lab) -> None:
    """F43, F44: the refusal is the last exclusion between two releases."""
    update(lab)
    for operation, more in (
        ("UpdateEndpoint", {"EndpointConfigName": "v2"}),
        ("UpdateEndpointWeightsAndCapacities", {"DesiredWeightsAndCapacities": [{"VariantName": "blue"}]}),
        ("DeleteEndpoint", {}),
    ):
        with pytest.raises(ApiError, match="ValidationException: Cannot update in-progress endpoint"):
            lab.call(operation, EndpointName="e", **more)


def test_an_update_to_the_config_in_use_or_to_none_is_refused(lab: Lab) -> None:
    with pytest.raises(ApiError, match=r"ValidationException.*'v1'"):
        update(lab, "v1")
    with pytest.raises(ApiError, match="Could not find endpoint configuration"):
        update(lab, "v9")


@pytest.mark.parametrize("deleted", ["v1", "v2"])
def test_a_config_in_use_can_be_deleted_and_the_next_update_fails(lab: Lab, deleted: str) -> None:
    """F48, terraform-provider-aws#40048: both the config in use and the target are read."""
    lab.call("DeleteEndpointConfig", EndpointConfigName=deleted)
    assert lab.invoke("e").body == b"v1"
    with pytest.raises(ApiError, match=f"Could not find endpoint configuration .*{deleted}"):
        update(lab)
    assert state(lab) == ("InService", "v1")


def test_a_config_whose_model_is_gone_cannot_be_deployed(lab: Lab) -> None:
    """F48."""
    lab.call("DeleteModel", ModelName="model-v2")
    with pytest.raises(ApiError, match=r"Could not find model .*model-v2"):
        update(lab)


def test_a_canary_gets_its_share_bakes_and_then_gets_everything(lab: Lab) -> None:
    update(lab, DeploymentConfig=canary(10, wait=300, termination=200, alarms=["errors"]))
    lab.clock.advance(119)
    assert shares(lab, 100) == 0.0
    lab.clock.advance(1)
    pending = lab.describe("e")["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "v2"
    baking = pending["ProductionVariants"][0]
    assert (baking["CurrentInstanceCount"], baking["DesiredInstanceCount"]) == (1, 2)
    assert baking["VariantStatus"][0]["Status"] == "Baking"
    assert baking["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    )
    assert state(lab) == ("Updating", "v1")
    assert 0.07 < shares(lab) < 0.13
    lab.clock.advance(299)
    assert shares(lab, 300) < 0.2
    lab.clock.advance(1)
    assert shares(lab, 100) == 1.0
    assert state(lab) == ("Updating", "v1")
    lab.clock.advance(199)
    assert state(lab) == ("Updating", "v1")
    lab.clock.advance(1)
    assert state(lab) == ("InService", "v2")
    assert lab.describe("e")["LastDeploymentConfig"] == canary(10, wait=300, termination=200, alarms=["errors"])


@pytest.mark.parametrize("after", [121, 300, 421, 600, 719])
def test_an_alarm_while_baking_brings_the_old_config_back(lab: Lab, after: int) -> None:
    """F47: at any moment of the bake, and then the endpoint is InService again - on the old config."""
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(after)
    lab.aws.alarms["errors"] = "ALARM"
    lab.clock.advance(10)
    assert state(lab) == ("RollingBack", "v1")
    assert shares(lab, 100) == 0.0
    lab.clock.advance(30)
    assert state(lab) == ("InService", "v1")
    assert "PendingDeploymentSummary" not in lab.describe("e")
    assert "FailureReason" not in lab.describe("e")
    assert [server.closed for server in lab.executor.servers] == [False, True]


def test_a_rollback_alarm_that_is_already_in_alarm_ends_the_deployment_at_once(lab: Lab) -> None:
    """F16, F49."""
    lab.aws.alarms["errors"] = "ALARM"
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(0)
    assert state(lab) == ("RollingBack", "v1")
    lab.clock.advance(30)
    assert state(lab) == ("InService", "v1")
    assert len(lab.executor.servers) == 1


def test_an_alarm_while_the_new_fleet_is_built_keeps_all_traffic_from_it(lab: Lab) -> None:
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(60)
    lab.aws.alarms["errors"] = "ALARM"
    lab.clock.advance(60)
    assert state(lab) == ("RollingBack", "v1")
    messages = [str(detail) for detail in lab.aws.details("Endpoint Deployment")]
    assert not any("Baking" in message for message in messages)


def test_without_alarms_nothing_rolls_back(lab: Lab) -> None:
    lab.aws.alarms["errors"] = "ALARM"
    update(lab, DeploymentConfig=canary())
    lab.clock.advance(720)
    assert state(lab) == ("InService", "v2")


@pytest.mark.parametrize("alarm", ["OK", "INSUFFICIENT_DATA"])
def test_only_alarm_rolls_back(lab: Lab, alarm: str) -> None:
    """F14: SageMaker itself takes missing data for good; whoever wants more says so in the alarm."""
    lab.aws.alarms["errors"] = alarm
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(720)
    assert state(lab) == ("InService", "v2")


def test_an_alarm_that_does_not_exist_is_refused(lab: Lab) -> None:
    with pytest.raises(ApiError, match="'latency'"):
        update(lab, DeploymentConfig=canary(alarms=["errors", "latency"]))


def test_alarms_that_cannot_be_read_roll_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """F15."""
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(130)

    def denied(_names: object) -> dict[str, str]:
        raise PermissionError

    monkeypatch.setattr(lab.aws, "alarm_states", denied)
    lab.clock.advance(40)
    assert state(lab) == ("InService", "v1")


def test_a_linear_deployment_climbs_step_by_step(lab: Lab) -> None:
    routing = {
        "Type": "LINEAR",
        "WaitIntervalInSeconds": 100,
        "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 30},
    }
    update(lab, DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}})
    lab.clock.advance(120)
    seen = []
    while state(lab)[0] == "Updating":
        seen.append(round(shares(lab, 400), 1))
        lab.clock.advance(100)
    assert seen == [0.3, 0.6, 0.9]
    assert state(lab) == ("InService", "v2")


def test_a_rolling_update_climbs_by_batches(lab: Lab) -> None:
    policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 100}
    update(lab, DeploymentConfig={"RollingUpdatePolicy": policy})
    lab.clock.advance(120)
    assert 0.4 < shares(lab, 400) < 0.6
    lab.clock.advance(100)
    assert shares(lab, 100) == 1.0
    assert state(lab)[0] == "Updating"
    lab.clock.advance(100)
    assert state(lab) == ("InService", "v2")


def test_all_at_once_bakes_for_the_termination_wait(lab: Lab) -> None:
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 60}
    alarms = {"Alarms": [{"AlarmName": "errors"}]}
    update(lab, DeploymentConfig={"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": alarms})
    lab.clock.advance(150)
    assert shares(lab, 100) == 1.0
    lab.aws.alarms["errors"] = "ALARM"
    lab.clock.advance(60)
    assert state(lab) == ("InService", "v1")


def policy(routing: dict[str, Any], **more: Any) -> dict[str, Any]:
    wait = {"WaitIntervalInSeconds": 300}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": wait | routing, **more}}


def size(value: int, kind: str = "CAPACITY_PERCENT") -> dict[str, Any]:
    return {"Type": kind, "Value": value}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ["BlueGreenUpdatePolicy", "RollingUpdatePolicy"]),
        (policy({"Type": "CANARY"}), ["CanarySize"]),
        (policy({"Type": "CANARY", "CanarySize": size(51)}), ["CanarySize", "51", "50"]),
        (policy({"Type": "CANARY", "CanarySize": size(2, "INSTANCE_COUNT")}), ["CanarySize", "2", "50 %"]),
        (policy({"Type": "ALL_AT_ONCE", "CanarySize": size(10)}), ["CanarySize", "ALL_AT_ONCE"]),
        (policy({"Type": "LINEAR", "LinearStepSize": size(9)}), ["LinearStepSize", "9", "10"]),
        (policy({"Type": "LINEAR", "LinearStepSize": size(51)}), ["LinearStepSize", "51", "50"]),
        (
            policy({"Type": "ALL_AT_ONCE"}, TerminationWaitInSeconds=300, MaximumExecutionTimeoutInSeconds=600),
            ["MaximumExecutionTimeoutInSeconds", "600"],
        ),
        (policy({"Type": "ALL_AT_ONCE"}, TerminationWaitInSeconds=3601), ["terminationWaitInSeconds", "3601", "3600"]),
        (policy({"Type": "ALL_AT_ONCE"}, MaximumExecutionTimeoutInSeconds=599), ["599", "600"]),
        (
            {"RollingUpdatePolicy": {"MaximumBatchSize": size(51), "WaitIntervalInSeconds": 1}},
            ["MaximumBatchSize", "51"],
        ),
        (
            {"RollingUpdatePolicy": {"MaximumBatchSize": size(4), "WaitIntervalInSeconds": 1}},
            ["MaximumBatchSize", "4", "5"],
        ),
    ],
)
def test_a_deployment_config_outside_the_limits_is_refused(lab: Lab, config: dict[str, Any], words: list[str]) -> None:
    """requirements.md T-12."""
    with pytest.raises(ApiError, match="ValidationException") as refusal:
        update(lab, DeploymentConfig=config)
    assert [word for word in words if word not in refusal.value.message] == []
    assert state(lab) == ("InService", "v1")


def test_a_deployment_longer_than_its_execution_timeout_rolls_back(lab: Lab) -> None:
    routing = {"Type": "LINEAR", "WaitIntervalInSeconds": 500, "LinearStepSize": size(10)}
    policy = {"TrafficRoutingConfiguration": routing, "MaximumExecutionTimeoutInSeconds": 600}
    update(lab, DeploymentConfig={"BlueGreenUpdatePolicy": policy})
    lab.clock.advance(640)
    assert state(lab) == ("InService", "v1")
    assert "MaximumExecutionTimeoutInSeconds" in lab.describe("e")["FailureReason"]


def test_guardrails_need_the_same_variants_and_an_unguarded_update_does_not(lab: Lab) -> None:
    """architecture.md: why the ladder makes unguarded updates."""
    lab.config("both", {"blue": "model-v1", "green": ("model-v2", 0.0, 1)})
    with pytest.raises(ApiError, match=r"\['blue'\] and \['blue', 'green'\]"):
        update(lab, "both", DeploymentConfig=canary())
    update(lab, "both")
    lab.clock.advance(120)
    assert state(lab) == ("InService", "both")
    assert shares(lab, 100) == 0.0


def test_a_retained_deployment_config_guards_again(lab: Lab) -> None:
    update(lab, DeploymentConfig=canary(alarms=["errors"]))
    lab.clock.advance(720)
    update(lab, "v1", RetainDeploymentConfig=True)
    lab.clock.advance(200)
    lab.aws.alarms["errors"] = "ALARM"
    lab.clock.advance(40)
    assert state(lab) == ("InService", "v2")


def test_an_update_resets_weights_and_counts_unless_they_are_retained(lab: Lab) -> None:
    """F51, sagemaker-python-sdk#3126."""

    def wish(weight: float, count: int) -> None:
        wishes = [{"VariantName": "blue", "DesiredWeight": weight, "DesiredInstanceCount": count}]
        lab.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wishes)
        lab.clock.advance(30)

    def variant() -> tuple[float, int]:
        found = lab.describe("e")["ProductionVariants"][0]
        return found["CurrentWeight"], found["CurrentInstanceCount"]

    wish(7.0, 5)
    update(lab, RetainAllVariantProperties=True)
    lab.clock.advance(120)
    assert variant() == (7.0, 5)
    exclude = [{"VariantPropertyType": "DesiredWeight"}]
    update(lab, "v1", RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=exclude)
    lab.clock.advance(120)
    assert variant() == (1.0, 5)
    update(lab)
    lab.clock.advance(120)
    assert variant() == (1.0, 2)


def test_retaining_all_retains_the_old_capture_destination_too(lab: Lab) -> None:
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "CaptureOptions": [{"CaptureMode": "Input"}],
        "KmsKeyId": "alias/key",
    }
    for version in ("v3", "v4"):
        destination = capture | {"DestinationS3Uri": f"s3://bucket/{version}"}
        lab.config(version, {"blue": "model-v1"}, DataCaptureConfig=destination)
    update(lab, "v3")
    lab.clock.advance(120)
    update(lab, "v4", RetainAllVariantProperties=True)
    lab.clock.advance(120)
    found = lab.describe("e")["DataCaptureConfig"]
    assert (found["DestinationS3Uri"], found["KmsKeyId"]) == ("s3://bucket/v3", "alias/key")
    exclude = [{"VariantPropertyType": "DataCaptureConfig"}]
    update(lab, "v2")
    lab.clock.advance(120)
    assert "DataCaptureConfig" not in lab.describe("e")
    update(lab, "v4", RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=exclude)
    lab.clock.advance(120)
    assert lab.describe("e")["DataCaptureConfig"]["DestinationS3Uri"] == "s3://bucket/v4"


def test_a_model_that_does_not_load_rolls_the_update_back(lab: Lab) -> None:
    lab.config("bad", {"blue": lab.model("model-bad", BROKEN)})
    update(lab, "bad")
    lab.clock.advance(30)
    assert state(lab) == ("InService", "v1")
    assert "ImportError" in lab.describe("e")["FailureReason"]
    update(lab)
    assert "FailureReason" not in lab.describe("e")


def test_weights_change_after_a_while_and_are_relative(lab: Lab) -> None:
    lab.config("both", {"blue": ("model-v1", 1.0, 1), "green": ("model-v2", 0.0, 1)})
    lab.endpoint("f", "both")
    wishes = [{"VariantName": "blue", "DesiredWeight": 30.0}, {"VariantName": "green", "DesiredWeight": 10.0}]
    lab.call("UpdateEndpointWeightsAndCapacities", EndpointName="f", DesiredWeightsAndCapacities=wishes)
    green = lab.describe("f")["ProductionVariants"][1]
    assert lab.describe("f")["EndpointStatus"] == "Updating"
    assert (green["CurrentWeight"], green["DesiredWeight"]) == (0.0, 10.0)
    assert {lab.invoke("f").body for _ in range(50)} == {b"v1"}
    lab.clock.advance(30)
    green = lab.describe("f")["ProductionVariants"][1]
    assert lab.describe("f")["EndpointStatus"] == "InService"
    assert (green["CurrentWeight"], green["DesiredWeight"]) == (10.0, 10.0)
    part = sum(lab.invoke("f").body == b"v2" for _ in range(1000)) / 1000
    assert 0.2 < part < 0.3


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"VariantName": "red", "DesiredWeight": 1.0}, "'red'"),
        ({"VariantName": "blue", "DesiredInstanceCount": 0}, "0"),
    ],
)
def test_a_wrong_wish_changes_nothing(lab: Lab, wish: dict[str, Any], words: str) -> None:
    wishes = [{"VariantName": "blue", "DesiredWeight": 9.0}, wish]
    with pytest.raises(ApiError, match=f"ValidationException.*{words}"):
        lab.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wishes)
    assert lab.describe("e")["ProductionVariants"][0]["DesiredWeight"] == 1.0


def test_a_failed_rollback_leaves_a_mix_that_only_deletion_ends(lab: Lab) -> None:
    """F50."""
    lab.sagemaker.fail_next_rollback("e")
    update(lab, DeploymentConfig=canary(50, alarms=["errors"]))
    lab.clock.advance(130)
    lab.aws.alarms["errors"] = "ALARM"
    lab.clock.advance(50)
    assert state(lab) == ("UpdateRollbackFailed", "v1")
    assert 0.4 < shares(lab, 400) < 0.6
    with pytest.raises(ApiError, match="ValidationException"):
        update(lab)
    lab.call("DeleteEndpoint", EndpointName="e")
    lab.clock.advance(10)
    assert all(server.closed for server in lab.executor.servers)


def test_an_endpoint_being_patched_serves_and_takes_no_change(lab: Lab) -> None:
    """F50."""
    lab.sagemaker.system_update("e", 60)
    assert state(lab) == ("SystemUpdating", "v1")
    assert lab.invoke("e").body == b"v1"
    with pytest.raises(ApiError, match="SystemUpdating"):
        update(lab)
    lab.clock.advance(60)
    assert state(lab) == ("InService", "v1")


def test_serverless_refuses_what_aws_refuses(lab: Lab) -> None:
    """requirements.md T-10."""
    serverless = {"VariantName": "blue", "ModelName": "model-v1"}
    serverless["ServerlessConfig"] = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}  # type: ignore[assignment]
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/x",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }

    def create(name: str, variant: dict[str, Any], **more: Any) -> None:
        lab.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[variant], **more)

    with pytest.raises(ApiError, match="DataCaptureConfig"):
        create("s", serverless, DataCaptureConfig=capture)
    with pytest.raises(ApiError, match="InitialInstanceCount"):
        create("s", serverless | {"InitialInstanceCount": 1})
    create("s", serverless)
    lab.endpoint("f", "s")
    assert lab.invoke("f").body == b"v1"
    with pytest.raises(ApiError, match="serverless"):
        update(lab, "s", DeploymentConfig=canary())


def test_what_is_not_emulated_says_so(lab: Lab) -> None:
    with pytest.raises(ApiError, match=r"NotEmulatedException.*AsyncInferenceConfig"):
        lab.config("v9", {"blue": "model-v1"}, AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://b/o"}})
    pair = [{"Image": IMAGE}, {"Image": IMAGE}]
    with pytest.raises(ApiError, match=r"NotEmulatedException.*pipeline"):
        lab.call("CreateModel", ModelName="m", Containers=pair, ExecutionRoleArn=ROLE)


def test_endpoints_and_configs_are_listed(lab: Lab) -> None:
    assert [item["EndpointName"] for item in lab.call("ListEndpoints", StatusEquals="InService")["Endpoints"]] == ["e"]
    assert lab.call("ListEndpoints", StatusEquals="Failed")["Endpoints"] == []
    configs = lab.call("ListEndpointConfigs", SortBy="Name", SortOrder="Ascending")["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in configs] == ["v1", "v2"]
    assert (
        lab.call("DescribeEndpointConfig", EndpointConfigName="v1")["ProductionVariants"][0]["ModelName"] == "model-v1"
    )


def test_closing_ends_every_worker(lab: Lab) -> None:
    update(lab, DeploymentConfig=canary())
    lab.clock.advance(200)
    lab.sagemaker.close()
    assert [server.closed for server in lab.executor.servers] == [True, True]
    lab.clock.advance(1000)
