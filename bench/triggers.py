"""100 concurrent triggers of one model, of three kinds: one run takes the slot, every reason is kept, nothing fails."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.world import World, request
from models import batches
from models.flights import data as flights

SHAPES = ((30, 30, 40), (30, 30, 40), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))
"""Batches, alarms and requests of each round; few of them start more than one run before the first has the slot."""
ROWS = 500
_WAIT = 300


def _alarm(model: str, since: datetime) -> dict[str, Any]:
    """Return an alarm's change to ALARM as EventBridge delivers it; another time is another signal."""
    stamp = since.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {
        "version": "0", "id": f"alarm-{model}-{since:%H%M%S}", "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch", "account": "000000000000", "time": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1", "resources": [],
        "detail": {
            "alarmName": f"linnet-{model}-drift", "state": {"value": "ALARM", "reason": "bench", "timestamp": stamp},
        },
    }  # fmt: skip


def _stand(world: World, model: str) -> None:
    """Have the model's drift alarm in ALARM: a reason of its own, which finds no data and ends."""
    world.cloudwatch.put_metric_alarm(
        AlarmName=f"linnet-{model}-drift", Namespace="bench", MetricName="drift", Statistic="Maximum", Threshold=1,
        ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1, Period=86400, TreatMissingData="ignore",
    )  # fmt: skip
    world.cloudwatch.set_alarm_state(AlarmName=f"linnet-{model}-drift", StateValue="ALARM", StateReason="bench")
    world.wait("the alarm's own reason is answered", lambda: _states(world, model) == ["answered"])
    world.wait("its execution has ended", lambda: all(e["status"] != "RUNNING" for e in _executions(world, model)))


def _executions(world: World, model: str) -> list[dict[str, Any]]:
    return [e for e in world.every("retrain") if e["name"].startswith(f"{model}-")]


def _states(world: World, model: str) -> list[str]:
    return [str(row["state"]) for row in world.rows(f"model/{model}", "reason#")]


def _batches(world: World, model: str, count: int) -> list[bytes]:
    """Put the data of so many folders, and return their manifests."""
    manifests = []
    for number in range(count):
        files = flights.batch(season="winter", rows=ROWS, part=number)
        world.put(f"raw-data/{model}/b{number:02}/{batches.DATA}", files[batches.DATA])
        manifests.append(files[batches.MANIFEST])
    world.wait(
        "all batches are open",
        lambda: sum(r.get("noted") == 1 for r in world.rows(f"model/{model}", "batch#")) == count,
    )
    return manifests


def _round(world: World, model: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    folders, alarms, requests = shape
    count = sum(shape)
    world.onboard(model, data={"quiet_seconds": 3600, "window_batches": 30})
    _stand(world, model)
    manifests = _batches(world, model, folders)
    before = {e["executionArn"] for e in _executions(world, model)}
    old = {str(r["sk"]) for r in world.rows(f"model/{model}", "reason#")}
    began_at = time.time()
    events = [request(model, f"{model}-{n}") for n in range(requests)]
    now = datetime.now(UTC)
    events += [_alarm(model, now - timedelta(minutes=n + 1)) for n in range(alarms)]
    together, errors = threading.Barrier(count), []

    def invoke(event: dict[str, Any]) -> None:
        together.wait()
        try:
            world.invoke(event)
        except RuntimeError as error:
            errors.append(str(error))

    def close(number: int) -> None:
        together.wait()
        world.put(f"raw-data/{model}/b{number:02}/{batches.MANIFEST}", manifests[number])

    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        # In turn, so that no kind is always first.
        tasks = [pool.submit(invoke, e) for e in sorted(events, key=lambda e: str(e["id"])[::-1])]
        tasks += [pool.submit(close, n) for n in range(folders)]
        for task in tasks:
            task.result()
    ends = world.until_handled(count, began_at, _WAIT)
    answered = time.perf_counter() - began

    def looked() -> bool:
        """Say whether one execution has begun its run and all others have ended."""
        fresh = [e for e in _executions(world, model) if e["executionArn"] not in before]
        return bool(sum(e["status"] == "RUNNING" for e in fresh) <= 1 and world.rows(f"model/{model}", "run#"))

    world.wait("all executions but one have ended", looked, _WAIT)
    seconds = {
        "all_handled": round(max(ends) - began_at, 2), "answered": round(answered, 2),
        "settled": round(time.perf_counter() - began, 2),
    }  # fmt: skip
    fresh = [e for e in _executions(world, model) if e["executionArn"] not in before]
    reasons = [r for r in world.rows(f"model/{model}", "reason#") if r["sk"] not in old]
    runs = world.rows(f"model/{model}", "run#")
    ours = [r for r in reasons if not r["signal"]["source"].startswith("execution ")]
    kinds = [str(r["signal"]["kind"]) for r in ours]
    trouble = world.trouble(began_at)
    found: dict[str, Any] = {
        "reasons": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "answered": sum(r["state"] == "answered" for r in ours), "waiting": sum(r["state"] == "waiting" for r in ours),
        "reasons_nobody_gave": len(reasons) - len(ours), "runs": len(runs), "executions": len(fresh),
        "ended_with_nothing_to_do": sum(e["status"] == "SUCCEEDED" for e in fresh),
        "running": sum(e["status"] == "RUNNING" for e in fresh), "errors": errors, **trouble,
    }  # fmt: skip
    wanted = {"data": folders, "drift": alarms, "manual": requests}
    exact = (
        found["reasons"] == wanted and found["answered"] + found["waiting"] == count and len(runs) == 1
        and not found["reasons_nobody_gave"] and found["ended_with_nothing_to_do"] == len(fresh) - 1
        and not errors and not any(trouble.values())
    )  # fmt: skip
    print(f"   {count} at once exact {exact}: {found}, {seconds}")
    return {"exact": exact, "shape": shape, "seconds": seconds, "found": found}


def run() -> dict[str, Any]:
    """Trigger a model by all signals of a shape at once, in each round another model."""
    with World.deployed() as world:
        rounds = [_round(world, f"m{turn}", shape) for turn, shape in enumerate(SHAPES)]
    exact = all(r["exact"] for r in rounds)
    return {
        "triggers": SHAPES, "rounds": rounds, "exact": exact, "goal": "one run, all reasons kept, no error",
        "within_goal": exact,
    }  # fmt: skip
