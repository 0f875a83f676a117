"""What SageMaker runs for Linnet: isolated where it can be, in the stack's VPC, with the stack's key (SE-03, SE-04)."""

from __future__ import annotations

from typing import Any

import pytest

from linnet.decisions import training
from linnet.gateways import releases
from linnet.settings import settings
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, world  # noqa: F401 - a fixture
from tests.contract.test_intake import MODEL, intake  # noqa: F401 - a fixture
from tests.contract.test_retrain_functions import call, lab  # noqa: F401 - a fixture
from tests.contract.test_seals import Run, run  # noqa: F401 - a fixture
from tests.sagemaker.doubles import Lab

VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]}
KEY = "arn:aws:kms:us-east-1:123456789012:key/data"


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Return a run of a stack that has a VPC and a key."""
    monkeypatch.setenv("LINNET_SUBNETS", ",".join(VPC["Subnets"]))
    monkeypatch.setenv("LINNET_SECURITY_GROUPS", ",".join(VPC["SecurityGroupIds"]))
    monkeypatch.setenv("LINNET_DATA_KEY", KEY)
    settings.cache_clear()
    return run


def plan(run: Run) -> Any:
    given = {"prepared": run.prepared, "champion": None, "trigger": run.taken["trigger"]}
    return call("plan_training", run.taken, **given)["request"]


def test_se_04_jobs_models_and_endpoints_are_in_the_vpc_isolated_and_encrypted(inside: Run, lab: Lab) -> None:
    job = plan(inside)
    inside.approve(inside.registered())
    fence = inside.release()["fence"]
    made = handler("prepare_release")({"model": MODEL, "owner": "arn:release", "fence": fence}, CONTEXT)
    reading = call("plan_processing", inside.taken)
    names = [model["ModelName"] for model in lab.call("ListModels")["Models"]]
    models = [lab.call("DescribeModel", ModelName=name) for name in names]
    config = lab.call("DescribeEndpointConfig", EndpointConfigName=made["configs"][0])

    assert job["VpcConfig"] == reading["NetworkConfig"]["VpcConfig"] == VPC
    assert job["EnableNetworkIsolation"] is True
    assert len(models) == 2  # the candidate's own, and the release's
    assert all((m["VpcConfig"], m["EnableNetworkIsolation"]) == (VPC, True) for m in models)
    assert (config["KmsKeyId"], config["DataCaptureConfig"]["KmsKeyId"]) == (KEY, KEY)


def test_se_04_the_trials_of_a_tuning_are_in_the_vpc_and_several_instances_talk_encrypted(inside: Run) -> None:
    alone = plan(inside)
    inside.taken["spec"]["training"] |= {"instance_count": 2}
    together = plan(inside)
    inside.taken["spec"]["training"]["tuning"] = {
        "strategy": None, "ranges": {"max_depth": {"type": "integer", "min": 2, "max": 6, "scaling": "Auto"}},
        "objective": "validation:auc", "direction": "Maximize", "max_jobs": 2, "max_parallel": 1, "early_stopping": True,
        "limits": {},
    }  # fmt: skip
    trial = plan(inside)["TrainingJobDefinition"]

    assert (trial["VpcConfig"], trial["EnableNetworkIsolation"]) == (VPC, True)
    encrypted = "EnableInterContainerTrafficEncryption"
    assert (alone[encrypted], together[encrypted], trial[encrypted]) == (False, True, True)


def test_se_04_what_fetches_its_script_from_s3_has_a_network_and_what_was_registered_elsewhere_keeps_its_own() -> None:
    assert training.isolated({"Image": "i", "ModelDataUrl": "s3://b/m"})
    assert not training.isolated(None)
    assert not training.isolated({"Image": "i", "Environment": {"SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{BUCKET}/code/s"}})


def test_an_instance_with_disks_of_its_own_gets_no_volume_key_because_sagemaker_refuses_one(inside: Run) -> None:
    """CreateEndpointConfig, KmsKeyId: not for instances with local storage; also when the old config had one."""
    endpoint = {"instance_type": "ml.g4dn.xlarge", "capture_percent": 0}
    config = {"name": "c", "variants": [{"name": "v", "model": "m", "count": 1, "weight": 1}], "shadow": None}

    request = releases._config_request(config, endpoint, {"KmsKeyId": KEY}, [], None)
    other = releases._config_request(config, endpoint | {"instance_type": "ml.m5.large"}, {}, [], None)

    assert "KmsKeyId" not in request
    assert other["KmsKeyId"] == KEY
