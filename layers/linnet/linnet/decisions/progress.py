"""What comes next in a release, at every look: pure steps from phase to phase, with a bound on each.

A progress is a JSON document that travels through the state machine. Its phases:

    creating                                    a first release, promoted by its probe
    joining -> mirroring                        the candidate as a shadow
    entering -> (shifting -> baking) * -> finishing     the ladder
    rolling -> watching                         SageMaker's own rollout, then RB-02's last check
    restoring                                   a rollback

In `mirroring`, `baking`, `rolling` and `watching` the fleet is judged. Unknown is held until the stage's deadline, then
goes back or to a person by the spec's `when_unknown`; SageMaker's own bake cannot be held, so a rollout that is unknown
shortly before its end is condemned as inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from linnet.decisions.rollout import CHANGING, STUCK, bake_seconds, weights

LOOK_SECONDS = 60
SETTLE_SECONDS = 30
WATCH_SECONDS = 300
"""After the last traffic shift, the time to RB-02's health check."""
MOST_LOOKS = 900
"""In one phase in which nothing is judged: more than SageMaker's own longest rollout, 8 hours, takes."""
_LAST_LOOKS = 2
"""So many looks before SageMaker's bake ends, what is unknown is inconclusive: the alarm needs the time."""
_PATIENCE = 3
JUDGED = ("mirroring", "rolling", "watching", "baking")
INCONCLUSIVE = "inconclusive"

Progress = dict[str, Any]


def begin(found: Mapping[str, Any], at: str) -> Progress:
    """Return the progress of a release whose first request is being made."""
    phase = {"create": "creating", "restore": "restoring"}.get(found["strategy"]) or _stage(found, at_start=True)
    return _progress(phase, at)


def _stage(found: Mapping[str, Any], *, at_start: bool) -> str:
    if at_start and found["mirror"]:
        return "joining"
    return "entering" if found["both"] else "rolling"


def destination(found: Mapping[str, Any], phase: str) -> str | None:
    """Return the config that an update made in this phase leads to; None where the endpoint is to be deleted."""
    name = {"joining": found["mirror"], "entering": found["both"]}.get(phase, found["target"])
    return None if name is None else str(name)


def _progress(phase: str, at: str, step: int = 0, first: str | None = None, condemned: str = "") -> Progress:
    return {
        "phase": phase,
        "since": at,
        "first": first or at,
        "step": step,
        "look": 0,
        "looks": 0,
        "baked_at": None,
        "asked": False,
        "condemned": condemned,
    }


def judged(progress: Mapping[str, Any]) -> bool:
    """Say whether the fleet takes traffic in this phase, so that its metrics mean something."""
    return progress["phase"] in JUDGED


def settle(
    found: Mapping[str, Any], progress: Mapping[str, Any], sight: Mapping[str, Any], verdict: Mapping[str, Any],
    rollout: Mapping[str, Any], at: str,
) -> dict[str, Any]:  # fmt: skip
    """Return what comes next: `{next, wait, why, progress}`.

    `sight` is the endpoint read just now: `{status, config, pending, weights, baking}`; `rejected`: why the registry takes
    the approval back, or empty (F42); `answer`: what the person who was asked said: approve, reject, expired or None.
    `verdict` is `{state, why, better}`; `better` says whether an ab test has its winner. `next` is one of wait, probe,
    shift, update, conclude, roll back, rolled back (somebody did it already), hold.
    """
    now = dict(progress) | {"looks": int(progress["looks"]) + 1}
    status, phase = sight["status"], str(progress["phase"])
    if now["looks"] > MOST_LOOKS and (phase not in JUDGED or phase == "rolling"):
        return _answer("roll back", now, f"{phase} does not come to an end")
    if phase != "restoring" and not now["condemned"] and sight["rejected"]:
        now["condemned"] = sight["rejected"]
    if status in STUCK:
        if phase == "creating" and status == "Failed":
            return _answer("roll back", now, "the endpoint could not be created")
        return _answer("hold", now, f"the endpoint is {status}")
    if phase in JUDGED and sight.get("pending") in (None, found["target"]):
        _weigh(found, now, sight, verdict, at)
    if status in CHANGING:
        foreign = status == "Updating" and phase == "rolling" and sight["pending"] not in (None, found["target"])
        if foreign:
            return _answer("hold", now, f"somebody else updates the endpoint to {sight['pending']}")
        return _answer("wait", now, f"the endpoint is {status}", LOOK_SECONDS if phase == "rolling" else SETTLE_SECONDS)
    return _arrived(found, now, sight, rollout, at, verdict)


def _weigh(
    found: Mapping[str, Any], now: Progress, sight: Mapping[str, Any], verdict: Mapping[str, Any], at: str
) -> None:
    """Condemn on the first unhealthy look, and in SageMaker's own bake on a last look that still tells nothing."""
    if verdict["state"] == "unhealthy" and not now["condemned"]:
        now["condemned"] = verdict["why"]
    if now["phase"] != "rolling" or not sight["baking"]:
        return
    now["baked_at"] = now["baked_at"] or at
    now["look"] += 1
    # Looks take longer than their waits; SageMaker's bake does not wait for them.
    baked = (datetime.fromisoformat(at) - datetime.fromisoformat(now["baked_at"])).total_seconds()
    passed = max(baked, (now["look"] - 1) * LOOK_SECONDS)
    last = passed + _LAST_LOOKS * LOOK_SECONDS >= bake_seconds(found)
    if last and verdict["state"] != "healthy" and not now["condemned"]:
        now["condemned"] = f"{INCONCLUSIVE}: {verdict['why']}"


def _arrived(
    found: Mapping[str, Any], now: Progress, sight: Mapping[str, Any], rollout: Mapping[str, Any], at: str,
    verdict: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Decide at an endpoint that is InService: which config won is in its name, never in its status (F47)."""
    phase = now["phase"]
    expected = _expected(found, phase)
    if sight["config"] != expected:
        return _elsewhere(found, now, str(sight["config"]), str(expected))
    if now["condemned"] and phase != "restoring":
        return _answer("roll back", now, now["condemned"])
    watching = _progress("watching", at, first=now["first"])
    mirroring = _progress("mirroring", at)
    onward = _answer("update", _progress(_stage(found, at_start=False), at), str(verdict["why"]))
    answers: dict[str, Callable[[], dict[str, Any]]] = {
        "creating": lambda: _answer("probe", now, "the endpoint is in service"),
        "joining": lambda: _answer("wait", mirroring, "the candidate hears what the champion answers", LOOK_SECONDS),
        "mirroring": lambda: _watched(now, int(rollout["shadow_seconds"]), sight, verdict, rollout, onward),
        "entering": lambda: _answer("probe", now, "the challenger is in service"),
        "rolling": lambda: _answer("wait", watching, "all traffic is on the new fleet", LOOK_SECONDS),
        "watching": lambda: _watched(
            now, WATCH_SECONDS, sight, verdict, rollout, _answer("conclude", now, str(verdict["why"]))
        ),
        "shifting": lambda: _shifted(found, now, sight["weights"], at),
        "baking": lambda: _watched(
            now, int(found["waits"][now["step"]]), sight, verdict, rollout, _climbed(found, now, verdict, at),
            prove=found["prove"] and now["step"] == len(found["steps"]) - 2,
        ),
        "finishing": lambda: _answer("conclude", now, "the challenger alone serves"),
        "restoring": lambda: _answer("conclude", now, "the old config serves again"),
    }  # fmt: skip
    return answers[phase]()


def _expected(found: Mapping[str, Any], phase: str) -> str | None:
    if phase in ("joining", "mirroring"):
        return destination(found, "joining")
    return destination(found, "entering" if phase in ("entering", "shifting", "baking") else phase)


def _elsewhere(found: Mapping[str, Any], now: Progress, config: str, expected: str) -> dict[str, Any]:
    if config == found.get("previous_config") and now["phase"] in ("joining", "entering", "rolling"):
        return _answer("rolled back", now, now["condemned"] or "SageMaker took the update back")
    left = {"entering": found["mirror"], "rolling": found["mirror"], "finishing": found["both"]}.get(now["phase"])
    if left is not None and config == left:
        return _answer("roll back", now, now["condemned"] or f"the update to {expected} did not take place")
    return _answer("hold", now, f"the endpoint serves {config}, expected was {expected}")


def _shifted(found: Mapping[str, Any], now: Progress, seen: Mapping[str, float], at: str) -> dict[str, Any]:
    """Bake when the weights that were asked for are the weights that are there; ask again a few times otherwise."""
    share = int(found["steps"][now["step"]])
    if seen == weights(found, share):
        first = None if now["step"] == 0 else now["first"]
        baking = _progress("baking", at, step=now["step"], first=first)
        return _answer("wait", baking, f"the challenger takes {share} % of the traffic", LOOK_SECONDS)
    now["look"] += 1
    why = f"the weights are {dict(seen)}, wanted {weights(found, share)}"
    return _answer("shift" if now["look"] <= _PATIENCE else "roll back", now, why)


def _climbed(found: Mapping[str, Any], now: Progress, verdict: Mapping[str, Any], at: str) -> dict[str, Any]:
    last = now["step"] == len(found["steps"]) - 1
    onward = _progress("finishing" if last else "shifting", at, step=now["step"] + (not last), first=now["first"])
    return _answer("update" if last else "shift", onward, str(verdict["why"]))


def _watched(
    now: Progress, seconds: int, sight: Mapping[str, Any], verdict: Mapping[str, Any], rollout: Mapping[str, Any],
    healthy: dict[str, Any], *, prove: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Go on when the bake is over and the fleet is healthy; hold what is unknown until the deadline, then as the spec says.

    With `prove` healthy is not enough: the challenger must be shown to be better.
    """
    now["look"] += 1
    passed, good = now["look"] * LOOK_SECONDS, verdict["state"] == "healthy" and (verdict["better"] or not prove)
    why = str(verdict["why"]) + ("; no winner yet" if prove and not verdict["better"] else "")
    if passed >= seconds and good:
        return healthy
    if now["asked"]:
        if sight["answer"] == "approve":
            return healthy | {"why": f"a person let it go on: {why}"}
        if sight["answer"] is not None:
            now["condemned"] = f"{INCONCLUSIVE}, and {_SAID[sight['answer']]}: {why}"
            return _answer("roll back", now, now["condemned"])
    elif passed >= seconds + int(rollout["deadline_seconds"]):
        if rollout["when_unknown"] == "ask":
            now["asked"] = True
        else:
            now["condemned"] = f"{INCONCLUSIVE} at the deadline: {why}"
            return _answer("roll back", now, now["condemned"])
    return _answer("wait", now, why, LOOK_SECONDS)


_SAID = {"reject": "a person took it back", "expired": "nobody answered in time"}


def probed(
    found: Mapping[str, Any], progress: Mapping[str, Any], verdict: Mapping[str, Any], at: str
) -> dict[str, Any]:
    """Return what comes next after the probe: a first release is promoted by it, a ladder begins to climb."""
    if verdict["state"] != "healthy":
        return _answer("roll back", dict(progress) | {"condemned": verdict["why"]}, str(verdict["why"]))
    if found["strategy"] == "create":
        return _answer("conclude", dict(progress), str(verdict["why"]))
    return _answer("shift", _progress("shifting", at), str(verdict["why"]))


def _answer(following: str, progress: Progress, why: str, wait: int = 0) -> dict[str, Any]:
    return {"next": following, "wait": wait, "why": why, "progress": progress}


def published(progress: Mapping[str, Any], verdict: Mapping[str, Any]) -> float | None:
    """Return the value of the metric ReleaseVerdict: 1 condemned, 0 healthy, none at all for unknown."""
    if progress["condemned"]:
        return 1.0
    return 0.0 if verdict["state"] == "healthy" else None
