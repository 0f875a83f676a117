"""How SageMaker moves traffic from one fleet to the next: what a DeploymentConfig may say and the steps it means.

Pure functions; source: the developer guide's "Deployment guardrails" and the API reference of DeploymentConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.sagemaker.api import invalid

_HALF, _MOST = 50, 100
_LEAST_LINEAR, _LEAST_BATCH = 10, 5


@dataclass(frozen=True)
class Step:
    """One step of a deployment: the new fleet gets a share of the traffic, then it bakes."""

    share: float
    """Of all requests, 0 to 1."""
    wait: int
    """Wall-clock seconds of baking, with an eye on the alarms."""
    reason: str
    """The field that set the wait, as SageMaker's StatusMessage names it."""
    capacity: Mapping[str, int]
    """Variant -> instances of the new fleet that take traffic."""


def steps(config: Mapping[str, Any] | None, counts: Mapping[str, int]) -> list[Step]:
    """Return a deployment's steps; without a DeploymentConfig all traffic moves at once and nothing bakes.

    Args:
        config: a checked DeploymentConfig.
        counts: variant -> instances of the new fleet.
    """
    if not config:
        return [Step(1.0, 0, "TerminationWaitInSeconds", counts)]
    if rolling := config.get("RollingUpdatePolicy"):
        size, wait = rolling["MaximumBatchSize"], rolling["WaitIntervalInSeconds"]
        return _staircase(size, counts, wait, wait, "WaitIntervalInSeconds")
    policy = config["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    wait, last = routing["WaitIntervalInSeconds"], policy.get("TerminationWaitInSeconds", 0)
    if routing["Type"] == "LINEAR":
        return _staircase(routing["LinearStepSize"], counts, wait, last, "TerminationWaitInSeconds")
    final = Step(1.0, last, "TerminationWaitInSeconds", counts)
    if routing["Type"] == "CANARY":
        return [_step(routing["CanarySize"], 1, counts, wait), final]
    return [final]


def _staircase(size: Mapping[str, Any], counts: Mapping[str, int], wait: int, last: int, reason: str) -> list[Step]:
    stairs = [_step(size, 1, counts, wait)]
    while stairs[-1].share < 1.0:
        stairs.append(_step(size, len(stairs) + 1, counts, wait))
    return [*stairs[:-1], Step(1.0, last, reason, counts)]


def _step(size: Mapping[str, Any], number: int, counts: Mapping[str, int], wait: int) -> Step:
    whole = _MOST if size["Type"] == "CAPACITY_PERCENT" else max(1, min(counts.values()))
    part = min(whole, number * size["Value"])
    # Capacity is whole instances, rounded up; the share of traffic is what the config says.
    capacity = {name: -(-part * count // whole) for name, count in counts.items()}
    return Step(part / whole, wait, "WaitIntervalInSeconds", capacity)


def check(config: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    """Refuse a DeploymentConfig that SageMaker refuses. Raises ApiError(ValidationException).

    Args:
        config: DeploymentConfig of the right form.
        counts: variant -> instances of the new fleet.
    """
    policies = [name for name in ("BlueGreenUpdatePolicy", "RollingUpdatePolicy") if name in config]
    if len(policies) != 1:
        raise invalid(f"DeploymentConfig must have one of BlueGreenUpdatePolicy, RollingUpdatePolicy, not {policies}")
    policy = config[policies[0]]
    if policies == ["RollingUpdatePolicy"]:
        wait = policy["WaitIntervalInSeconds"]
        _check_size(policy["MaximumBatchSize"], "MaximumBatchSize", counts, _LEAST_BATCH)
        if "RollbackMaximumBatchSize" in policy:
            _check_size(policy["RollbackMaximumBatchSize"], "RollbackMaximumBatchSize", counts, _LEAST_BATCH, _MOST)
    else:
        routing = policy["TrafficRoutingConfiguration"]
        wait = routing["WaitIntervalInSeconds"] + policy.get("TerminationWaitInSeconds", 0)
        wanted = {"CANARY": ["CanarySize"], "LINEAR": ["LinearStepSize"]}.get(routing["Type"], [])
        given = [name for name in ("CanarySize", "LinearStepSize") if name in routing]
        if given != wanted:
            raise invalid(f"TrafficRoutingConfiguration of Type {routing['Type']} must have {wanted}, not {given}")
        for name in given:
            _check_size(routing[name], name, counts, _LEAST_LINEAR if name == "LinearStepSize" else 1)
    longest = policy.get("MaximumExecutionTimeoutInSeconds")
    if longest is not None and longest <= wait:
        raise invalid(f"MaximumExecutionTimeoutInSeconds {longest} must be greater than the waits of {wait} seconds")


def _check_size(size: Mapping[str, Any], name: str, counts: Mapping[str, int], least: int, most: int = _HALF) -> None:
    value = size["Value"]
    if size["Type"] == "CAPACITY_PERCENT":
        if not least <= value <= most:
            raise invalid(f"{name} Value {value} of Type CAPACITY_PERCENT must be between {least} and {most}")
        return
    for variant, count in counts.items():
        if value * _MOST > most * count:
            raise invalid(f"{name} Value {value} must be at most {most} % of the {count} instances of {variant!r}")
