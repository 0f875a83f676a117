"""How a release reaches the traffic: its plan, and the requests that carry it out.

A plan is a JSON document in the ledger. SageMaker's rules are those of the developer guide's "Deployment guardrails" and
"Shadow variants" and of UpdateEndpoint (requirements T-12, T-13): a guarded update needs the same variants in both
configs, and every update replaces all fleets. So a strategy is at most three stages, each with a config of its own:

- `mirror`: champion, and the candidate as a shadow that callers never hear (shadow, multi_stage);
- `both`: champion and challenger as two variants, for a ladder of weights (stepped, ab, multi_stage);
- `target`: the candidate alone; reached under SageMaker's guardrails where there was no ladder before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linnet.decisions import names
from linnet.errors import ConflictError
from linnet.events.spec_rollout import GUARDED, MIRRORED

NAMESPACE, VERDICT = "Linnet", "ReleaseVerdict"
SHADOW = "shadow"
Fleet = tuple[str, str]
"""A variant and the endpoint config that it serves under."""
"""The name of the shadow variant."""
_LONGEST = 28_800
_ALL = 100
CHANGING = ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting")
STUCK = ("Failed", "UpdateRollbackFailed", "OutOfService")

Plan = dict[str, Any]


def plan(
    *,
    stack: str,
    model: str,
    version: int,
    fence: int,
    spec: Mapping[str, Any],
    live: Mapping[str, Any] | None,
    resized: bool = False,
) -> Plan:
    """Return the plan of a release.

    `live` is the endpoint as it is: `{config, variants: {name: {count, weight, model}}}`, None before the first release.
    `resized`: the spec's instance count is new and holds, whatever auto scaling made of the old one.

    Returns `{strategy, variant, champion_variant, target, mirror, both, configs: [{name, variants: [{name, model, count,
    weight}], shadow}], steps, waits, prove, deployment, alarms, peak, previous_config}`: `configs` are to be created in
    order, `peak` counts the instances of all fleets at once, `prove` says that the last step needs a winner.

    Raises:
        ConflictError: the endpoint serves more than one variant, or one instance where a part of the fleet must be cut.
    """
    endpoint, rollout = spec["endpoint"], spec["rollout"]
    count, sagemaker_model = int(endpoint["instance_count"]), names.sagemaker_model(stack, model, version)
    target = names.endpoint_config(stack, model, version, fence)
    found: Plan = {
        "strategy": "create", "variant": names.COLOURS[0], "champion_variant": None, "target": target, "mirror": None,
        "both": None, "configs": [], "steps": [], "waits": [], "prove": False, "deployment": None, "alarms": [],
        "peak": count, "previous_config": live["config"] if live else None,
    }  # fmt: skip
    if live is None:
        return found | {"configs": [_config(target, [(names.COLOURS[0], sagemaker_model, count, 1)])]}
    if len(live["variants"]) != 1:
        raise ConflictError(
            f"the endpoint serves the variants {sorted(live['variants'])}: start rollback before another release"
        )
    (champion, serving), strategy = next(iter(live["variants"].items())), str(rollout["strategy"])
    before = int(serving["count"])
    guarded = strategy in GUARDED
    if guarded and strategy != "all_at_once" and max(count, before) == 1:
        raise ConflictError(
            f"strategy {strategy} needs at least 2 instances, the endpoint has {before}: of one, the smallest part is all"
        )
    carries = count if resized else max(count, before)  # what carries all traffic before its own scaling begins
    found |= {"strategy": strategy, "variant": champion, "champion_variant": champion}
    old, peaks, running = (champion, str(serving["model"]), before, 1), [], before
    if strategy in MIRRORED:
        found["mirror"] = names.endpoint_config(stack, model, version, fence, "-shadow")
        share = int(rollout["shadow_percent"]) / _ALL
        shadow = {"name": SHADOW, "model": sagemaker_model, "count": carries, "weight": share}
        found["configs"].append(_config(found["mirror"], [old], shadow))
        peaks.append(running + before + carries)  # an update replaces every fleet, so each counts twice meanwhile
        running = before + carries
    if guarded:
        found["alarms"] = [f"{target}-{what}" for what in ("errors", "latency", "verdict")]
        found["deployment"] = deployment(rollout, found["alarms"])
    else:
        found["variant"] = names.other_colour(champion)
        found["both"] = names.endpoint_config(stack, model, version, fence, "-both")
        count = carries
        found["configs"].append(_config(found["both"], [old, (found["variant"], sagemaker_model, count, 0)]))
        found["steps"] = [int(step) for step in rollout["ladder"]]
        found["waits"] = [int(w) for w in rollout["waits"]] or [int(rollout["wait_seconds"])] * len(found["steps"])
        found["prove"] = strategy == "ab"
        peaks.append(running + before + carries)
        running = before + carries
    found["configs"].append(_config(target, [(found["variant"], sagemaker_model, count, 1)]))
    return found | {"peak": max([*peaks, running + carries])}


def _config(
    name: str, variants: Sequence[tuple[str, str, int, int]], shadow: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    keys = ("name", "model", "count", "weight")
    return {"name": name, "variants": [dict(zip(keys, v, strict=True)) for v in variants], "shadow": shadow}


def deployment(rollout: Mapping[str, Any], alarms: list[str]) -> dict[str, Any]:
    """Return the DeploymentConfig of a guarded update: canary, linear or all at once, rolled back by these alarms (RO-01).

    What was mirrored goes on as a canary.
    """
    wait, last = int(rollout["wait_seconds"]), int(rollout["termination_wait_seconds"])
    kind = str(rollout["strategy"] if rollout["strategy"] in ("linear", "all_at_once") else "canary")
    routing: dict[str, Any] = {"Type": kind.upper(), "WaitIntervalInSeconds": wait}
    stairs = 1
    if kind == "canary":
        routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": int(rollout["canary_percent"])}
    elif kind == "linear":
        step = int(rollout["linear_percent"])
        routing["LinearStepSize"] = {"Type": "CAPACITY_PERCENT", "Value": step}
        stairs = -(-_ALL // step)
    # The waits and the time to bring the instances up must fit in, or a healthy release is taken back by the clock.
    longest = min(_LONGEST, max(int(rollout["maximum_seconds"]), stairs * wait + last + 900))
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": last,
            "MaximumExecutionTimeoutInSeconds": longest,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
    }


def alarm_requests(
    found: Mapping[str, Any], *, model: str, endpoint: str, health: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the PutMetricAlarm requests of a guarded release; they see the new fleet alone (F16, F49).

    A fleet without traffic raises none of them. That is no promotion: Linnet's verdict on it is unknown, and if it still
    is shortly before the bake ends, its own alarm is raised. It must not be raised by missing data, because SageMaker
    refuses to start under an alarm.
    """
    if not found["alarms"]:
        return []
    errors, latency, verdict = found["alarms"]
    config = {"Name": "EndpointConfigName", "Value": found["target"]}
    fleet = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": found["variant"]}, config]
    periods = int(health["alarm_periods"])
    more = {
        "Namespace": "AWS/SageMaker", "Dimensions": fleet, "Period": int(health["alarm_period_seconds"]),
        "EvaluationPeriods": periods, "DatapointsToAlarm": periods, "TreatMissingData": "notBreaching",
        "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    why = f"Takes the release of {found['target']} back. Missing data: no request came, which Linnet's verdict judges."
    return [
        more | {
            "AlarmName": errors, "AlarmDescription": why, "MetricName": "Invocation5XXErrors", "Statistic": "Sum",
            "Threshold": float(health["max_errors"]),
        },
        more | {
            "AlarmName": latency, "AlarmDescription": why, "MetricName": "ModelLatency", "Statistic": "Average",
            "Threshold": float(health["max_latency_ms"]) * 1000,
        },
        {
            "AlarmName": verdict, "AlarmDescription": why, "Namespace": NAMESPACE, "MetricName": VERDICT,
            "Dimensions": [{"Name": "Model", "Value": model}, config], "Statistic": "Maximum", "Period": 10,
            "EvaluationPeriods": 1, "DatapointsToAlarm": 1, "TreatMissingData": "notBreaching",
            "Threshold": 1.0, "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        },
    ]  # fmt: skip


def tags(intent: Mapping[str, Any], environment: str) -> list[dict[str, str]]:
    """Return the tags of what a release makes (CO-09)."""
    owner = intent["spec"]["owner"]
    found = {"project": "linnet", "environment": environment, "model": intent["model"], "owner": owner}
    return [{"Key": key, "Value": value} for key, value in found.items() if value]


def weights(found: Mapping[str, Any], percent: int) -> dict[str, float]:
    """Return the weights that give the challenger a share: relative ones, so that 100 is all of it (peer bug MCD (a))."""
    return {found["variant"]: float(percent), str(found["champion_variant"]): float(_ALL - percent)}


def way_back(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rollout by which an older version goes out again: a strategy of days or weeks becomes all at once.

    The version has served before; its update has SageMaker's guard and RB-02's last check.
    """
    slow = rollout["strategy"] in (*MIRRORED, "ab")
    return dict(rollout) | ({"strategy": "all_at_once"} if slow else {})


def bake_seconds(found: Mapping[str, Any]) -> int:
    """Return how long SageMaker's own rollout bakes before all traffic is on the new fleet; 0 where it does not."""
    if not found["deployment"]:
        return 0
    policy = found["deployment"]["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    wait = int(routing["WaitIntervalInSeconds"])
    if routing["Type"] == "ALL_AT_ONCE":
        return int(policy["TerminationWaitInSeconds"])
    return wait if routing["Type"] == "CANARY" else wait * (-(-_ALL // int(routing["LinearStepSize"]["Value"])) - 1)


def alpha(found: Mapping[str, Any], rules: Mapping[str, Any]) -> float:
    """Return the error that one stage may make: a candidate that is mirrored first is judged in two, each with half of it."""
    return float(rules["false_rollback"]) / (2 if found["mirror"] else 1)


def fleets(found: Mapping[str, Any], phase: str) -> tuple[Fleet, Fleet | None]:
    """Return the new fleet and the champion's that it is compared with in a phase.

    In a native rollout both carry one variant name and are told apart by the config alone.
    """
    champion = str(found["champion_variant"])
    if phase == "mirroring":
        return (SHADOW, str(found["mirror"])), (champion, str(found["mirror"]))
    if phase == "baking":
        return (str(found["variant"]), str(found["both"])), (champion, str(found["both"]))
    before = found["mirror"] or found["previous_config"]
    return (str(found["variant"]), str(found["target"])), (champion, str(before)) if before else None


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return how an endpoint part of a spec differs from the one that a release went by: field -> "old -> new" (DC-05).

    A field that the release did not know yet is no difference: a new version of Linnet releases nothing.
    """
    return {name: f"{old} -> {wanted[name]}" for name, old in kept.items() if name in wanted and wanted[name] != old}
