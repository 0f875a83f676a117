"""Application Auto Scaling of endpoint variants: the ladder's challenger inherits the champion's scaling.

A variant cannot be removed from an endpoint while it is a scalable target (developer guide, "Update endpoints that use
automatic scaling").
"""

from __future__ import annotations

from typing import Any

from linnet.gateways.clients import client

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_TARGET = ("MinCapacity", "MaxCapacity", "SuspendedState")
_POLICY = ("PolicyName", "PolicyType", "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration")


def hand_over(endpoint: str, champion: str, challenger: str) -> bool:
    """Let the challenger join auto scaling with the champion's limits and policies, then the champion leave it.

    Returns whether the champion was scaled at all. Calling again goes on from there.
    """
    old, new = (_resource(endpoint, variant) for variant in (champion, challenger))
    scaling = client("application-autoscaling")
    found = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[old], ScalableDimension=_DIMENSION
    )["ScalableTargets"]
    if not found:
        return False
    scaling.register_scalable_target(**_common(new), **{k: found[0][k] for k in _TARGET if k in found[0]})
    policies = scaling.describe_scaling_policies(**_common(old))["ScalingPolicies"]
    for policy in policies:
        scaling.put_scaling_policy(**_common(new), **{k: policy[k] for k in _POLICY if k in policy})
    scaling.deregister_scalable_target(**_common(old))
    return True


def _resource(endpoint: str, variant: str) -> str:
    return f"endpoint/{endpoint}/variant/{variant}"


def _common(resource: str) -> dict[str, Any]:
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": _DIMENSION}
