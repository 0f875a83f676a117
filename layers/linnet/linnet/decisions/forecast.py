"""What can be expected of a release before it starts: how long it takes, how many requests judge it, what they can show.

A bake is counted in requests of the new fleet, not in minutes: one that ends before it can have seen enough decides
nothing, so it is refused with one that would do (peers.md 5.0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from linnet.decisions.progress import LOOK_SECONDS, WATCH_SECONDS
from linnet.decisions.rollout import bake_seconds
from linnet.decisions.sequential import BUDGET, requests_needed

RATIOS = (2, 5, 10)
"""Times the champion's errors, of which it is told after how many requests they are seen."""
_LEAST_FAILING = 0.001
"""A champion that failed less, or not at all, is taken to fail so often: of nothing, nothing can be told."""
_MOST_CANARY, _MOST_WAIT = 50, 3600
_BLIND_SECONDS = 2 * LOOK_SECONDS
"""So long before its end a native bake must have been judged."""


def expect(plan: Mapping[str, Any], rollout: Mapping[str, Any], traffic: Mapping[str, float]) -> dict[str, Any]:
    """Return `{per_minute, stages, minutes, shows, told, refusal}` of a release.

    `traffic` is the champion's last hour, `{requests, per_minute, failing}`; empty where nobody called it or nobody knows: then
    nothing is refused, and what is told says so. `stages` are `{stage, share, requests, minutes}`; `shows` has, by how many
    times the champion's errors, the requests and minutes after which 99 of 100 such releases are seen. `refusal` says why
    the release cannot be judged and what would do, or is empty.
    """
    called = float(traffic.get("requests") or 0) > int(rollout["probes"])  # Linnet's own requests are no traffic
    rate, needed = float(traffic["per_minute"]) if called else 0.0, int(rollout["health"]["min_requests"])
    stages = [_stage(name, share, seconds, rate, needed) for name, share, seconds in _stages(plan, rollout)]
    known: dict[str, Any] = {"per_minute": round(rate, 3) or None, "stages": stages, "minutes": None, "shows": {}}
    if not rate:
        told = (
            f"Nobody called the endpoint in the last hour, so nobody knows how long it takes: at each stage {needed} "
            "requests must have been answered."
        )
        return known | {"told": told, "refusal": ""}
    known["minutes"] = round(sum(stage["minutes"] for stage in stages) + WATCH_SECONDS / 60, 1)
    share = stages[0]["share"]
    if 0 < share < 1:
        failing = min(max(float(traffic.get("failing") or 0), _LEAST_FAILING), 0.5 / RATIOS[-1])
        alpha = float(rollout["false_rollback"]) * BUDGET["errors"]
        for ratio in RATIOS:
            requests = requests_needed(ratio, rate=failing, share=share, alpha=alpha)
            known["shows"][str(ratio)] = {"requests": requests, "minutes": round(requests / (rate * share), 1)}
    shown = "; ".join(
        f"{r} times its errors after {s['requests']} ({s['minutes']} min)" for r, s in known["shows"].items()
    )
    told = (
        f"At {rate:.3g} requests a minute it takes about {known['minutes']:g} minutes"
        + (f"; of the new fleet's requests, {shown} would show what is worse than the champion." if shown else ".")
    )  # fmt: skip
    return known | {"told": told, "refusal": _refusal(plan, rollout, stages, rate, needed)}


def _stages(plan: Mapping[str, Any], rollout: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return (name, share of the requests, seconds of bake) of each stage that is judged."""
    found: list[tuple[str, float, float]] = []
    if plan["mirror"]:
        found.append(("shadow", int(rollout["shadow_percent"]) / 100, float(rollout["shadow_seconds"])))
    if plan["both"]:
        return found + [
            (f"{step} %", step / 100, float(wait)) for step, wait in zip(plan["steps"], plan["waits"], strict=True)
        ]
    bake = float(bake_seconds(plan))
    routing = plan["deployment"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    if routing["Type"] == "CANARY":
        return [*found, ("canary", int(routing["CanarySize"]["Value"]) / 100, bake)]
    if routing["Type"] == "LINEAR":
        size = int(routing["LinearStepSize"]["Value"])
        shares = [part / 100 for part in range(size, 100, size)]
        return [*found, ("linear", sum(shares) / len(shares), bake)]
    return [*found, ("all at once", 1.0, bake)]


def _stage(name: str, share: float, seconds: float, rate: float, needed: int) -> dict[str, Any]:
    minutes = max(seconds / 60, needed / (rate * share)) if rate else seconds / 60
    return {
        "stage": name, "share": round(share, 4), "minutes": round(minutes, 1),
        "requests": math.floor(rate * share * seconds / 60) if rate else None,
    }  # fmt: skip


def _refusal(
    plan: Mapping[str, Any], rollout: Mapping[str, Any], stages: list[dict[str, Any]], rate: float, needed: int
) -> str:
    if plan["deployment"] and not bake_seconds(plan):
        return ""  # all at once without a bake: judged after it, as long as it takes
    if plan["deployment"]:
        share, usable = stages[-1]["share"], bake_seconds(plan) - _BLIND_SECONDS
        if rate * share * usable / 60 >= needed:
            return ""
        seconds = math.ceil(60 * needed / (rate * share)) + _BLIND_SECONDS
        stairs = round(bake_seconds(plan) / int(rollout["wait_seconds"])) or 1
        percent = math.ceil(100 * share * (needed / max(1e-9, rate * share * usable / 60))) if usable > 0 else 100
        ways = [f"wait_seconds {math.ceil(seconds / stairs)}"] if seconds / stairs <= _MOST_WAIT else []
        canary = stages[-1]["stage"] == "canary"
        ways += [f"canary_percent {percent}"] if canary and percent <= _MOST_CANARY else []
        ways += ["strategy stepped, which holds until it has seen enough", "a smaller health.min_requests"]
        return (
            f"the bake is too short to decide: at {rate:.3g} requests a minute the new fleet answers about "
            f"{max(0, math.floor(rate * share * usable / 60))} before SageMaker ends it, health.min_requests is {needed}; "
            f"what would do: {', or '.join(ways)}"
        )
    longest = float(rollout["deadline_seconds"])
    for stage, wait in zip(stages, _bakes(plan, rollout), strict=True):
        if stage["minutes"] * 60 > wait + longest:
            seconds = math.ceil(stage["minutes"] * 60 - wait)
            return (
                f"the stage {stage['stage']} is too short to decide: at {rate:.3g} requests a minute {needed} requests take "
                f"{stage['minutes']:g} minutes; what would do: deadline_seconds {seconds}, or a larger first share"
            )
    return ""


def _bakes(plan: Mapping[str, Any], rollout: Mapping[str, Any]) -> list[float]:
    return [seconds for _, _, seconds in _stages(plan, rollout)]
