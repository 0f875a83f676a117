"""Endpoints whose variants are scalable targets of Application Auto Scaling."""

from __future__ import annotations

import pytest

from local.sagemaker.api import ApiError
from tests.sagemaker.doubles import Lab


def update(lab: Lab, config: str) -> None:
    lab.call("UpdateEndpoint", EndpointName="e", EndpointConfigName=config)


def state(lab: Lab) -> tuple[str, str]:
    description = lab.describe("e")
    return description["EndpointStatus"], description["EndpointConfigName"]


def test_a_scaled_variant_is_neither_removed_nor_put_on_other_instances(lab: Lab) -> None:
    """Its model may change; once deregistered, everything may; deleting the endpoint deregisters it."""
    for version in ("v1", "v2"):
        lab.config(version, {"blue": lab.model(f"model-{version}")})
    lab.endpoint("e", "v1")
    lab.aws.targets["endpoint/e/variant/blue"] = lab.aws.targets["endpoint/else/variant/blue"] = {}
    lab.config("green", {"green": "model-v2"})
    other = {"VariantName": "blue", "ModelName": "model-v2", "InitialInstanceCount": 1, "InstanceType": "ml.c5.large"}
    lab.call("CreateEndpointConfig", EndpointConfigName="other", ProductionVariants=[other])
    for config in ("green", "other"):
        with pytest.raises(ApiError, match=r"ValidationException.*blue.*must be deregistered as scalable targets"):
            update(lab, config)
        assert state(lab) == ("InService", "v1")
    update(lab, "v2")
    lab.clock.advance(120)
    assert state(lab) == ("InService", "v2")
    target = lab.aws.targets.pop("endpoint/e/variant/blue")
    update(lab, "green")
    lab.clock.advance(120)
    assert state(lab) == ("InService", "green")
    lab.aws.targets["endpoint/e/variant/green"] = target
    lab.call("DeleteEndpoint", EndpointName="e")
    assert list(lab.aws.targets) == ["endpoint/else/variant/blue"]
