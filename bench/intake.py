"""Signals through the intake against the same path with a bare function, and the cost of one by the number of models."""

from __future__ import annotations

import io
import json
import statistics
import time
import zipfile
from collections.abc import Iterable
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from bench.world import World, request

SIGNALS = 200
ROUNDS = 3
SAMPLES = 30
MODELS = (1, 10, 100, 1000)
PAST = (0, 100, 1000)
"""Signals of a model that earlier runs have answered."""
GOAL = 1.3
ROLE = "arn:aws:iam::000000000000:role/bench"
BARE = """
import boto3, datetime, json, os
client = boto3.client("dynamodb")
def handler(event, context):
    key = {"pk": {"S": "bare"}, "sk": {"S": event["detail"]["request_id"]}}
    client.put_item(TableName=os.environ["TABLE"], Item=key | {"event": {"S": json.dumps(event)}})
    at = datetime.datetime.now(datetime.timezone.utc).isoformat()
    print(json.dumps({"message": "done", "function": "bare", "event": event["id"], "timestamp": at}))
"""
_ENTRIES = 10
_WAIT = 300


def _bare_road(world: World) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("app.py", BARE)
    arn = world.functions.create_function(
        FunctionName="bare", Runtime="python3.13", Role=ROLE, Handler="app.handler", Timeout=60,
        Code={"ZipFile": zipped.getvalue()}, Environment={"Variables": {"TABLE": world.out["LedgerTable"]}},
    )["FunctionArn"]  # fmt: skip
    world.logs.create_log_group(logGroupName="/aws/lambda/bare")
    bus = world.out["BusName"]
    world.events.put_rule(Name="bare", EventBusName=bus, EventPattern=json.dumps({"source": ["bench"]}))
    world.events.put_targets(Rule="bare", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])


def _send(world: World, road: str, model: str, names: list[str]) -> dict[str, float]:
    """Put events on Linnet's bus, ten at a time; return when each was put, by its id, in seconds since 1970."""
    source, kind = ("linnet.person", "Retraining Requested") if road == "linnet" else ("bench", "bare")
    sent: dict[str, float] = {}
    for start in range(0, len(names), _ENTRIES):
        entries = [
            {"EventBusName": world.out["BusName"], "Source": source, "DetailType": kind,
             "Detail": json.dumps(request(model, name)["detail"])}
            for name in names[start : start + _ENTRIES]
        ]  # fmt: skip
        at = time.time()
        sent |= {str(e["EventId"]): at for e in world.events.put_events(Entries=entries)["Entries"]}
    return sent


def _until_done(world: World, road: str, sent: dict[str, float], look_seconds: float = 0.5) -> dict[str, float]:
    """Wait until the road's function was done with all events; return when it was with each, in seconds since 1970."""
    group, function = ("/linnet/linnet", world.on_signal) if road == "linnet" else ("/aws/lambda/bare", "bare")
    until = time.monotonic() + _WAIT
    while True:
        ends = {name: at[0] for name, at in world.handled(min(sent.values()), group, function).items() if name in sent}
        if len(ends) == len(sent) or time.monotonic() > until:
            return ends
        time.sleep(look_seconds)


def _burst(world: World, road: str, model: str) -> dict[str, Any]:
    """Send SIGNALS at once, then SAMPLES one by one; return seconds from each one's put to its end."""
    names = [f"{model}-{number}" for number in range(SIGNALS)]
    sent = _send(world, road, model, names)
    ends = _until_done(world, road, sent)
    kept = {str(row["sk"]) for row in world.rows("bare")} if road == "bare" else {
        str(row["signal"]["text"]) for row in world.rows(f"model/{model}", "reason#")
    }  # fmt: skip
    alone = []
    for number in range(SAMPLES + 3):
        ((event, at),) = _send(world, road, model, [f"{model}-alone-{number}"]).items()
        alone.append(_until_done(world, road, {event: at}, 0.1)[event] - at)
    return {
        "lost": len(set(names) - kept), "seconds": [ends[event] - at for event, at in sent.items() if event in ends],
        "alone": alone[3:], "per_second": SIGNALS / (max(ends.values()) - min(sent.values())),
    }  # fmt: skip


def _onboarded(world: World, models: Iterable[str]) -> None:
    """Write what onboarding writes of a model into the ledger, and a slot that somebody's run holds: no signal starts one."""
    held = next(row for row in world.rows("model/m0", "spec") if row["sk"] == "spec")
    slot = {"sk": "slot", "owner": "bench", "run": "r000000000000", "since": held["at"], "turn": 0}
    for model in models:
        spec = {**held, "pk": f"model/{model}", "spec": {**held["spec"], "model": model}}
        for row in (spec, {"pk": "models", "sk": model, "model": model}, {**slot, "pk": f"model/{model}"}):
            _write(world, row)


def _write(world: World, row: dict[str, Any]) -> None:
    take = TypeSerializer().serialize
    world.dynamodb.put_item(TableName=world.out["LedgerTable"], Item={name: take(value) for name, value in row.items()})


def _signals(world: World, model: str, count: int) -> list[float]:
    """Return the seconds of each of so many signals of a model, one after the other; three more warm up before."""
    took = []
    for number in range(count + 3):
        event = request(model, f"{model}-{number}-{time.time_ns()}")
        began = time.perf_counter()
        world.invoke(event)
        took.append(time.perf_counter() - began)
    return took[3:]


def _by_models(world: World) -> dict[int, list[float]]:
    """Return the seconds of a signal of the newest model, by the number of models."""
    took: dict[int, list[float]] = {}
    known = 0
    _onboarded(world, ["warm"])
    _signals(world, "warm", SAMPLES)
    world.dynamodb.delete_item(TableName=world.out["LedgerTable"], Key={"pk": {"S": "models"}, "sk": {"S": "warm"}})
    for count in MODELS:
        _onboarded(world, [f"m{number}" for number in range(known, count)])
        known = count
        took[count] = _signals(world, f"m{count - 1}", SAMPLES)
    return took


def _by_past(world: World) -> dict[int, list[float]]:
    """Return the seconds of a signal of one model, by the number of signals that earlier runs have answered."""
    took: dict[int, list[float]] = {}
    model, known = "m1", 0
    for count in PAST:
        for number in range(known, count):
            signal = {
                "id": f"manual-{number:08}", "kind": "manual", "model": model, "at": "2026-11-21T02:00:00Z",
                "reason": "Manual", "source": "bench", "text": "x" * 100,
            }  # fmt: skip
            row = {"pk": f"model/{model}", "sk": f"reason#{signal['id']}", "state": "answered", "run": "r000000000000"}
            _write(world, row | {"signal": signal})
        known = count
        took[count] = _signals(world, model, SAMPLES)
    return took


def _figures(seconds: list[float]) -> dict[str, float]:
    return {
        "median_seconds": round(statistics.median(seconds), 4),
        "p99_seconds": round(sorted(seconds)[int(0.99 * len(seconds))], 4),
    }


def run() -> dict[str, Any]:
    """Measure the flat cost first, then send bursts on both roads in turn, each to a model without signals so far."""
    began = time.time()
    with World.deployed() as world:
        world.onboard("m0")
        models, past = _by_models(world), _by_past(world)
        _bare_road(world)
        bursts: dict[str, list[dict[str, Any]]] = {"linnet": [], "bare": []}
        for turn in range(ROUNDS + 1):
            for road, taken in bursts.items():
                burst = _burst(world, road, f"m{turn + 10}")
                if turn:  # the first one starts the sandboxes
                    taken.append(burst)
        trouble = world.trouble(began)
    flat = round(statistics.median(models[MODELS[-1]]) / statistics.median(models[MODELS[0]]), 2)
    aged = round(statistics.median(past[PAST[-1]]) / statistics.median(past[PAST[0]]), 2)
    roads = {
        road: {"per_second": round(statistics.median(b["per_second"] for b in taken), 1), "lost": sum(b["lost"] for b in taken)}
        | _figures([s for b in taken for s in b["seconds"]])
        for road, taken in bursts.items()
    }  # fmt: skip
    alone = {road: _figures([s for b in taken for s in b["alone"]]) for road, taken in bursts.items()}
    lost = roads["linnet"]["lost"] or any(trouble.values())
    for road, figures in roads.items():
        print(f"   {road:7} {SIGNALS} at once: {figures}; one by one: {alone[road]}")
    print(f"   1,000 models / 1: {flat}x; 1,000 answered signals / 0: {aged}x; {trouble}")
    return {
        "peer": "bus -> rule -> bare Lambda -> PutItem on the same emulator", "signals": SIGNALS, "roads": roads,
        "one_by_one": alone, "throughput_ratio": round(roads["bare"]["per_second"] / roads["linnet"]["per_second"], 2),
        "by_models": {count: _figures(s) for count, s in models.items()}, "flat_ratio": flat,
        "by_answered_signals": {count: _figures(s) for count, s in past.items()}, "aged_ratio": aged,
        "trouble": trouble, "goal": f"nothing lost, 1,000 models at most {GOAL}x one",
        "within_goal": not lost and flat <= GOAL,
    }  # fmt: skip
