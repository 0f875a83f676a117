"""1,000 objects in 60 s, with duplicates, overwrites and odd keys: one run whose list is exact, with and without manifest."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.world import World
from models import batches
from models.flights import data as flights

OBJECTS = 1000
SECONDS = 60
DUPLICATED = 5
"""One event in so many comes a second time."""
OVERWRITTEN = 20
"""One object in so many is put again."""
ROWS = 12
QUIET = 30
ODD = (
    "plain",
    "a+b",
    "with blank",
    "Größe-✓",
    "100%25",
    "day=21/x",
    "q?&#;,@",
    "'quoted'\"",
    "dots..in",
    "ü/deep er/ö",
)
_WAIT = 600


class Copies(threading.Thread):
    """A second target of the same events: keeps each as it came, to deliver some of them again."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self.sqs = world.stack.client("sqs")
        self.url = self.sqs.create_queue(QueueName="copies")["QueueUrl"]
        events, bucket = world.events, world.out["DataBucket"]
        pattern = {
            "source": ["aws.s3"],
            "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "raw"}]}},
        }
        events.put_rule(Name="copies", EventPattern=json.dumps(pattern))
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_targets(Rule="copies", Targets=[{"Id": "1", "Arn": arn}])
        self.world, self.again = world, 0
        self.seen: list[dict[str, Any]] = []
        self.start()

    def run(self) -> None:
        """Deliver one event in DUPLICATED again as soon as its copy is here."""
        while True:
            for event in self._received():
                self.seen.append(event)
                if len(self.seen) % DUPLICATED == 0 and not event["detail"]["object"]["key"].endswith(batches.MANIFEST):
                    self.world.invoke(event, wait=False)
                    self.again += 1

    def _received(self) -> Iterator[dict[str, Any]]:
        got = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        for message in got:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            yield json.loads(message["Body"])


def _objects() -> dict[str, bytes]:
    """Return OBJECTS files of real flights by name; every name is odd in one of the ways of ODD."""
    lines = flights.batch(season="winter", rows=OBJECTS * ROWS)[batches.DATA].splitlines(keepends=True)
    return {
        f"{ODD[n % len(ODD)]}-{n:04}.csv": lines[0] + b"".join(lines[1 + n * ROWS : 1 + (n + 1) * ROWS])
        for n in range(OBJECTS)
    }


def _put(world: World, folder: str, files: dict[str, bytes]) -> tuple[dict[str, str], int, float]:
    """Put all objects evenly within SECONDS; return their newest versions by URI, the number of puts, the seconds."""
    bucket = world.out["DataBucket"]
    versions: dict[str, list[str]] = {}
    began = time.perf_counter()

    def put(item: tuple[int, tuple[str, bytes]]) -> None:
        number, (name, body) = item
        time.sleep(max(0.0, began + (SECONDS - 5) * number / len(files) - time.perf_counter()))
        key = f"{folder}/{name}"
        earlier = [body + body.splitlines(keepends=True)[1]] * (number % OVERWRITTEN == 0)
        versions[f"s3://{bucket}/{key}"] = [
            world.s3.put_object(Bucket=bucket, Key=key, Body=each)["VersionId"] for each in [*earlier, body]
        ]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, enumerate(files.items())))
    taken = time.perf_counter() - began
    return {uri: found[-1] for uri, found in versions.items()}, sum(map(len, versions.values())), taken


def _manifest(files: dict[str, bytes]) -> bytes:
    entries = [
        {"key": name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "rows": body.count(b"\n") - 1}
        for name, body in files.items()
    ]
    return json.dumps({"version": 1, "objects": entries}, ensure_ascii=False).encode()


def _burst(world: World, copies: Copies, model: str, *, manifest: bool) -> dict[str, Any]:
    world.onboard(model, data={"quiet_seconds": QUIET, "batch_limit_seconds": 3600})
    files, again = _objects(), copies.again
    first, began = time.time(), time.perf_counter()
    wanted, puts, put_seconds = _put(world, f"raw-data/{model}/burst", files)
    if manifest:
        world.put(f"raw-data/{model}/burst/{batches.MANIFEST}", _manifest(files))
    until = time.monotonic() + _WAIT
    while not (runs := world.rows(f"model/{model}", "run#")) and time.monotonic() < until:
        time.sleep(0.5)
    run_seconds = time.perf_counter() - began
    late = [e for e in copies.seen if f"/{model}/" in e["detail"]["object"]["key"]][:: 10 * DUPLICATED]
    for event in late:  # also what comes long after the batch was closed
        world.invoke(event, wait=False)
    told = puts + manifest + len(late)
    expected = told + copies.again - again
    handled = world.until_handled(expected, first, _WAIT)
    time.sleep(2)  # what the last ones may have started
    runs = world.rows(f"model/{model}", "run#")
    listed = [
        o for run in runs for b in json.loads(world.get(run["inputs_uri"].split("/", 3)[3]))["batches"]
        for o in b["objects"]
    ]  # fmt: skip
    slot = world.rows(f"model/{model}", "slot")
    batch_rows = world.rows(f"model/{model}", "batch#")
    trouble = world.trouble(first)
    found = {
        "runs": len(runs), "times_slot_taken": sum(int(row["day_runs"]) for row in slot), "batches": len(batch_rows),
        "reasons": len(world.rows(f"model/{model}", "reason#")),
        "listed": len(listed), "list_is_wanted": {o["uri"]: o["version"] for o in listed} == wanted,
        "delivered": expected, "handled": len(handled), "duplicates": copies.again - again + len(late),
        **trouble,
    }  # fmt: skip
    exact = (
        found["runs"] == found["batches"] == found["reasons"] == found["times_slot_taken"] == 1
        and found["list_is_wanted"] and len(listed) == len(wanted) == OBJECTS and len(handled) == expected
        and not any(trouble.values())
    )  # fmt: skip
    seconds = {
        "puts": round(put_seconds, 1), "run_started": round(run_seconds, 1),
        "all_handled": round(max(handled, default=first) - first, 1),
    }  # fmt: skip
    print(f"   {'manifest' if manifest else 'quiet':8} exact {exact}: {found}, {seconds}")
    return {"exact": exact, "seconds": seconds, "found": found, "overwrites": puts - OBJECTS,
            "handled_per_second": round(len(handled) / (max(handled, default=first) - first + 1e-9), 1)}  # fmt: skip


def run() -> dict[str, Any]:
    """Play the burst without a manifest, then with one put last."""
    with World.deployed() as world:
        copies = Copies(world)
        roads = {name: _burst(world, copies, name, manifest=name == "manifest") for name in ("quiet", "manifest")}
    exact = all(road["exact"] for road in roads.values())
    return {
        "objects": OBJECTS, "duplicates": f"1 in {DUPLICATED}", "quiet_seconds": QUIET, "roads": roads, "exact": exact,
        "goal": "one run with exactly the newest versions, nothing lost", "within_goal": exact,
    }  # fmt: skip
