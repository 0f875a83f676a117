"""How a release reaches the traffic: its plan, the requests that carry it out, and what comes next at every look.

A plan and a progress are JSON documents: they travel through the state machine and lie in the ledger. SageMaker's rules
are those of the developer guide's "Deployment guardrails" and of UpdateEndpoint (requirements T-12, T-13): a guarded
update needs the same variants in both configs and replaces all fleets, so the ladder makes two unguarded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from linnet.decisions import names
from linnet.errors import ConflictError

NAMESPACE, VERDICT = "Linnet", "ReleaseVerdict"
LOOK_SECONDS = 60
SETTLE_SECONDS = 30
WATCH_SECONDS = 300
"""After the last traffic shift, the time to RB-02's health check."""
MOST_LOOKS = 900
_LONGEST = 28_800
_ALL = 100
_PATIENCE = 3
CHANGING = ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting")
STUCK = ("Failed", "UpdateRollbackFailed", "OutOfService")

Plan = dict[str, Any]
Progress = dict[str, Any]


def plan(
    *, stack: str, model: str, version: int, fence: int, spec: Mapping[str, Any], live: Mapping[str, Any] | None,
    resized: bool = False,
) -> Plan:
    """Return the plan of a release.

    `live` is the endpoint as it is: `{config, variants: {name: {count, weight, model}}}`, None before the first release.
    `resized`: the spec's instance count is new and holds, whatever auto scaling made of the old one.

    Returns `{strategy, variant, champion_variant, target, both, configs: [{name, variants: [{name, model, count, weight}]}],
    steps, deployment, alarms, peak}`: `configs` are to be created in order, `peak` counts the instances of both fleets.

    Raises:
        ConflictError: the endpoint serves more than one variant: an earlier ladder did not end.
    """
    endpoint, rollout = spec["endpoint"], spec["rollout"]
    count, sagemaker_model = int(endpoint["instance_count"]), names.sagemaker_model(stack, model, version)
    target = names.endpoint_config(stack, model, version, fence)
    if live is None:
        return _plan(
            "create",
            names.COLOURS[0],
            None,
            target,
            [_config(target, [(names.COLOURS[0], sagemaker_model, count, 1)])],
            count,
        )
    if len(live["variants"]) != 1:
        raise ConflictError(
            f"the endpoint serves the variants {sorted(live['variants'])}: start rollback before another release"
        )
    (champion, serving), strategy = next(iter(live["variants"].items())), str(rollout["strategy"])
    before = int(serving["count"])
    if strategy == "stepped":
        challenger = names.other_colour(champion)
        count = count if resized else max(count, before)  # it must carry all traffic before its own scaling begins
        both = names.endpoint_config(stack, model, version, fence, both=True)
        new = (challenger, sagemaker_model, count)
        configs = [
            _config(both, [(champion, str(serving["model"]), before, 1), (*new, 0)]),
            _config(target, [(*new, 1)]),
        ]
        # An update replaces every fleet: champion and champion again plus challenger, then both and the last one.
        peak = max(before + before + count, before + count + count)
        return _plan("stepped", challenger, champion, target, configs, peak) | {
            "both": both,
            "steps": list(rollout["ladder"]),
        }
    found = _plan(
        strategy,
        champion,
        champion,
        target,
        [_config(target, [(champion, sagemaker_model, count, 1)])],
        before + max(count, before),
    )
    found["alarms"] = [f"{target}-{what}" for what in ("errors", "latency", "verdict")]
    found["deployment"] = deployment(rollout, found["alarms"])
    return found


def _plan(
    strategy: str, variant: str, champion: str | None, target: str, configs: list[dict[str, Any]], peak: int
) -> Plan:
    return {
        "strategy": strategy, "variant": variant, "champion_variant": champion, "target": target, "both": None,
        "configs": configs, "steps": [], "deployment": None, "alarms": [], "peak": peak,
    }  # fmt: skip


def _config(name: str, variants: list[tuple[str, str, int, int]]) -> dict[str, Any]:
    keys = ("name", "model", "count", "weight")
    return {"name": name, "variants": [dict(zip(keys, variant, strict=True)) for variant in variants]}


def deployment(rollout: Mapping[str, Any], alarms: list[str]) -> dict[str, Any]:
    """Return the DeploymentConfig of a guarded update: canary, linear or all at once, rolled back by these alarms (RO-01)."""
    wait, last = int(rollout["wait_seconds"]), int(rollout["termination_wait_seconds"])
    strategy = rollout["strategy"]
    routing: dict[str, Any] = {"Type": strategy.upper(), "WaitIntervalInSeconds": wait}
    stairs = 1
    if strategy == "canary":
        routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": int(rollout["canary_percent"])}
    elif strategy == "linear":
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

    A fleet without traffic raises none of them. That is no promotion: Linnet's verdict on it is unknown, and after too
    many unknown looks its own alarm is raised. It must not be raised by missing data, because SageMaker refuses to start
    under an alarm.
    """
    if not found["alarms"]:
        return []
    errors, latency, verdict = found["alarms"]
    config = {"Name": "EndpointConfigName", "Value": found["target"]}
    fleet = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": found["variant"]}, config]
    common = {"EvaluationPeriods": 1, "DatapointsToAlarm": 1, "TreatMissingData": "notBreaching"}
    more = common | {
        "Namespace": "AWS/SageMaker",
        "Dimensions": fleet,
        "Period": 60,
        "ComparisonOperator": "GreaterThanThreshold",
    }
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
        common | {
            "AlarmName": verdict, "AlarmDescription": why, "Namespace": NAMESPACE, "MetricName": VERDICT,
            "Dimensions": [{"Name": "Model", "Value": model}, config], "Statistic": "Maximum", "Period": 10,
            "Threshold": 1.0, "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        },
    ]  # fmt: skip


def weights(found: Mapping[str, Any], percent: int) -> dict[str, float]:
    """Return the weights that give the challenger a share: relative ones, so that 100 is all of it (peer bug MCD (a))."""
    return {found["variant"]: float(percent), str(found["champion_variant"]): float(_ALL - percent)}


def begin(found: Mapping[str, Any], at: str) -> Progress:
    """Return the progress of a release whose first request has been made."""
    phases = {"create": "creating", "stepped": "entering", "restore": "restoring"}
    return _progress(phases.get(found["strategy"], "rolling"), at)


def _progress(phase: str, at: str, step: int = 0, looks: int = 0, condemned: str = "") -> Progress:
    return {
        "phase": phase,
        "since": at,
        "step": step,
        "look": 0,
        "unknown": 0,
        "seen": 0,
        "condemned": condemned,
        "looks": looks,
    }


def judged(progress: Mapping[str, Any]) -> bool:
    """Say whether the fleet takes traffic in this phase, so that its metrics mean something."""
    return progress["phase"] in ("rolling", "watching", "baking")


def settle(
    found: Mapping[str, Any], progress: Mapping[str, Any], sight: Mapping[str, Any], verdict: Mapping[str, Any],
    rollout: Mapping[str, Any], at: str,
) -> dict[str, Any]:  # fmt: skip
    """Return what comes next: `{next, wait, why, progress}`.

    `sight` is the endpoint read just now: `{status, config, pending, weights, counts, baking}`, and `rejected`: why the
    registry takes the approval back, or empty (F42). `verdict` is `{state, why, requests}`. `next` is one of
    wait, probe, shift, finish, conclude, roll back, rolled back (somebody did it already), hold.
    """
    now = dict(progress) | {"looks": int(progress["looks"]) + 1}
    status, phase = sight["status"], str(progress["phase"])
    if now["looks"] > MOST_LOOKS:
        return _answer("roll back", now, "the release does not come to an end")
    if phase != "restoring" and not now["condemned"] and sight["rejected"]:
        now["condemned"] = sight["rejected"]
    if status in STUCK:
        if phase == "creating" and status == "Failed":
            return _answer("roll back", now, "the endpoint could not be created")
        return _answer("hold", now, f"the endpoint is {status}")
    if phase in ("rolling", "baking", "watching") and sight.get("pending") in (None, found["target"]):
        _weigh(now, verdict, rollout, counting=phase != "rolling" or bool(sight["baking"]))
    if status in CHANGING:
        foreign = status == "Updating" and phase == "rolling" and sight["pending"] not in (None, found["target"])
        if foreign:
            return _answer("hold", now, f"somebody else updates the endpoint to {sight['pending']}")
        return _answer("wait", now, f"the endpoint is {status}", LOOK_SECONDS if phase == "rolling" else SETTLE_SECONDS)
    return _arrived(found, now, sight, rollout, at, verdict)


def _weigh(now: Progress, verdict: Mapping[str, Any], rollout: Mapping[str, Any], *, counting: bool) -> None:
    """Condemn on the first unhealthy look, or after too many silent ones in a row.

    Silent is a look that tells nothing and saw no request more than the one before: little traffic is waited for, no
    traffic is not. So a phase is bounded by min_requests and max_unknown_looks.
    """
    if verdict["state"] == "unhealthy" and not now["condemned"]:
        now["condemned"] = verdict["why"]
    requests = verdict.get("requests") or 0
    if verdict["state"] == "healthy" or requests > now["seen"]:
        now["unknown"] = 0
    elif verdict["state"] == "unknown" and counting:
        now["unknown"] += 1
        if now["unknown"] > int(rollout["health"]["max_unknown_looks"]) and not now["condemned"]:
            now["condemned"] = f"nobody can tell after {now['unknown']} looks: {verdict['why']}"
    now["seen"] = max(now["seen"], requests)


def _arrived(
    found: Mapping[str, Any],
    now: Progress,
    sight: Mapping[str, Any],
    rollout: Mapping[str, Any],
    at: str,
    verdict: Mapping[str, Any],
) -> dict[str, Any]:
    """Decide at an endpoint that is InService: which config won is in its name, never in its status (F47)."""
    phase = now["phase"]
    expected = found["both"] if phase in ("entering", "shifting", "baking") else found["target"]
    if sight["config"] != expected:
        return _elsewhere(found, now, str(sight["config"]), expected)
    if now["condemned"] and phase != "restoring":
        return _answer("roll back", now, now["condemned"])
    watching = _progress("watching", at, looks=now["looks"])
    bake = int(rollout["wait_seconds"])
    answers: dict[str, Callable[[], dict[str, Any]]] = {
        "creating": lambda: _answer("probe", now, "the endpoint is in service"),
        "entering": lambda: _answer("probe", now, "the challenger is in service"),
        "rolling": lambda: _answer("wait", watching, "all traffic is on the new fleet", LOOK_SECONDS),
        "watching": lambda: _watched(now, WATCH_SECONDS, verdict, _answer("conclude", now, verdict["why"])),
        "shifting": lambda: _shifted(found, now, sight["weights"], at),
        "baking": lambda: _watched(now, bake, verdict, _climbed(found, now, verdict, at)),
        "finishing": lambda: _answer("conclude", now, "the challenger alone serves"),
        "restoring": lambda: _answer("conclude", now, "the old config serves again"),
    }
    return answers[phase]()


def _elsewhere(found: Mapping[str, Any], now: Progress, config: str, expected: str) -> dict[str, Any]:
    if config == found.get("previous_config") and now["phase"] in ("rolling", "entering"):
        return _answer("rolled back", now, now["condemned"] or "SageMaker took the update back")
    if config == found["both"] and now["phase"] == "finishing":
        return _answer("roll back", now, "the last update of the ladder did not take place")
    return _answer("hold", now, f"the endpoint serves {config}, expected was {expected}")


def _shifted(found: Mapping[str, Any], now: Progress, seen: Mapping[str, float], at: str) -> dict[str, Any]:
    """Bake when the weights that were asked for are the weights that are there; ask again a few times otherwise."""
    share = int(found["steps"][now["step"]])
    if seen == weights(found, share):
        baking = _progress("baking", at, step=now["step"], looks=now["looks"])
        return _answer("wait", baking, f"the challenger takes {share} % of the traffic", LOOK_SECONDS)
    now["look"] += 1
    why = f"the weights are {dict(seen)}, wanted {weights(found, share)}"
    return _answer("shift" if now["look"] <= _PATIENCE else "roll back", now, why)


def _climbed(found: Mapping[str, Any], now: Progress, verdict: Mapping[str, Any], at: str) -> dict[str, Any]:
    last = now["step"] == len(found["steps"]) - 1
    onward = _progress("finishing" if last else "shifting", at, step=now["step"] + (not last), looks=now["looks"])
    return _answer("finish" if last else "shift", onward, str(verdict["why"]))


def _watched(now: Progress, seconds: int, verdict: Mapping[str, Any], healthy: dict[str, Any]) -> dict[str, Any]:
    now["look"] += 1
    if now["look"] * LOOK_SECONDS >= seconds and verdict["state"] == "healthy":
        return healthy
    return _answer("wait", now, verdict["why"], LOOK_SECONDS)


def probed(
    found: Mapping[str, Any], progress: Mapping[str, Any], verdict: Mapping[str, Any], at: str
) -> dict[str, Any]:
    """Return what comes next after the probe: a first release is promoted by it, a ladder begins to climb."""
    if verdict["state"] != "healthy":
        return _answer("roll back", dict(progress) | {"condemned": verdict["why"]}, str(verdict["why"]))
    if found["strategy"] == "create":
        return _answer("conclude", dict(progress), str(verdict["why"]))
    return _answer("shift", _progress("shifting", at, looks=int(progress["looks"])), str(verdict["why"]))


def _answer(following: str, progress: Progress, why: str, wait: int = 0) -> dict[str, Any]:
    return {"next": following, "wait": wait, "why": why, "progress": progress}


def published(progress: Mapping[str, Any], verdict: Mapping[str, Any]) -> float | None:
    """Return the value of the metric ReleaseVerdict: 1 condemned, 0 healthy, none at all for unknown."""
    if progress["condemned"]:
        return 1.0
    return 0.0 if verdict["state"] == "healthy" else None


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return how an endpoint part of a spec differs from the one that a release went by: field -> "old -> new" (DC-05).

    A field that the release did not know yet is no difference: a new version of Linnet releases nothing.
    """
    return {name: f"{old} -> {wanted[name]}" for name, old in kept.items() if name in wanted and wanted[name] != old}
