"""Application Auto Scaling of endpoint variants: it follows what serves, forwards and back (AS-07).

SageMaker refuses an update that removes a variant which is a scalable target, or changes its instance type; and a target
can only be a variant that is there (developer guide, "Update endpoints that use automatic scaling"). So a variant leaves
before such an update and its limits and policies are kept in the ledger until what serves afterwards joins with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from linnet.gateways import ledger, sagemaker
from linnet.gateways.clients import client

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_TARGET = ("MinCapacity", "MaxCapacity", "SuspendedState")
_POLICY = ("PolicyName", "PolicyType", "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration")
_KEPT = "scaling"


def hand_over(endpoint: str, champion: str, challenger: str) -> bool:
    """Let the challenger join auto scaling with the champion's limits and policies, then the champion leave it.

    Returns whether the champion was scaled at all. Calling again goes on from there.
    """
    found = _read(endpoint, champion)
    if found is None:
        return False
    _register(endpoint, challenger, found)
    client("application-autoscaling").deregister_scalable_target(**_common(endpoint, champion))
    return True


def make_way(endpoint: str, live: Mapping[str, Any], config: str) -> None:
    """Let those variants of a live endpoint leave auto scaling that an update to `config` removes or gives other instances.

    Their limits and policies are written down first. Calling again goes on from there.
    """
    scaled = {variant: found for variant in live["weights"] if (found := _read(endpoint, variant))}
    if not scaled:
        return
    now, then = _types(str(live["config"])), _types(config)
    for variant, found in scaled.items():
        if then.get(variant) != now.get(variant):
            anything = "attribute_not_exists(pk) OR attribute_exists(pk)"
            ledger.change(f"endpoint/{endpoint}", _KEPT, put=found, only_if=anything)
            client("application-autoscaling").deregister_scalable_target(**_common(endpoint, variant))


def join(endpoint: str, variants: Iterable[str]) -> None:
    """Let the variant that serves alone join auto scaling with what an earlier one left behind; without that, do nothing."""
    found, serving = ledger.read(f"endpoint/{endpoint}", _KEPT), list(variants)
    if found is None or len(serving) != 1:
        return
    _register(endpoint, serving[0], found)
    ledger.remove(f"endpoint/{endpoint}", _KEPT)


def _read(endpoint: str, variant: str) -> dict[str, Any] | None:
    """Return `{target, policies}` of a variant, None where it is not scaled."""
    scaling, common = client("application-autoscaling"), _common(endpoint, variant)
    found = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[common["ResourceId"]], ScalableDimension=_DIMENSION
    )["ScalableTargets"]
    if not found:
        return None
    policies = scaling.describe_scaling_policies(**common)["ScalingPolicies"]
    return {
        "target": {name: found[0][name] for name in _TARGET if name in found[0]},
        "policies": [{name: policy[name] for name in _POLICY if name in policy} for policy in policies],
    }


def _register(endpoint: str, variant: str, found: Mapping[str, Any]) -> None:
    scaling, common = client("application-autoscaling"), _common(endpoint, variant)
    scaling.register_scalable_target(**common, **found["target"])
    for policy in found["policies"]:
        scaling.put_scaling_policy(**common, **policy)


def _types(config: str) -> dict[str, Any]:
    return {
        variant["VariantName"]: variant.get("InstanceType")
        for variant in sagemaker.config(config)["ProductionVariants"]
    }


def _common(endpoint: str, variant: str) -> dict[str, Any]:
    resource = f"endpoint/{endpoint}/variant/{variant}"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": _DIMENSION}
