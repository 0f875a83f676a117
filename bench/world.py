"""The deployed stack as measurements of the intake see it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from local.demo import Story
from local.stack import Stack
from models.flights import data as flights

ROOT = Path(__file__).parents[1]


class World(Story):
    """A deployed stack at real time, with what the measurements ask of it."""

    @classmethod
    @contextmanager
    def deployed(cls, rate: float = 1, *quiet: str) -> Iterator[Self]:
        """Start a stack, deploy the real template without schedules that fire meanwhile, stop it in the end.

        `quiet` names more schedules, by their parameters, that must not fire.
        """
        never = dict.fromkeys(("MonitorSchedule", *quiet), "rate(365 days)")
        with Stack.start(rate=rate, state=ROOT / "build" / "bench" / "stack.json") as stack:
            stack.deploy(ROOT / "template.yaml", "linnet", never)
            world = cls(Console(file=io.StringIO()))
            world.stack, world.out = stack, stack.outputs("linnet")
            world.connect()
            found = stack.client("cloudformation").describe_stack_resource(
                StackName="linnet", LogicalResourceId="OnSignalFunction"
            )
            world.on_signal = found["StackResourceDetail"]["PhysicalResourceId"]
            world.logs = stack.client("logs")
            yield world

    on_signal: str
    logs: Any

    def onboard(self, model: str, **changes: Any) -> None:
        """Put a spec of the flights kind under another name and wait until its onboarding has succeeded."""
        known = self.known("onboard")
        written = flights.spec() | {"model": model, "retraining": {"cooldown_seconds": 0, "daily_limit": 100}}
        for part, fields in changes.items():
            written[part] = {**written.get(part, {}), **fields}
        self.put(f"specs/{model}.yaml", json.dumps(written))
        ended = self.execution("onboard", known, model=model)
        if ended["status"] != "SUCCEEDED":
            raise RuntimeError(f"onboarding {model} ended as {ended['status']}: {ended.get('cause')}")

    def every(self, machine: str) -> list[dict[str, Any]]:
        """Return all executions of a machine."""
        pages = self.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self.out[f"{machine.capitalize()}MachineArn"]
        )
        return [execution for page in pages for execution in page["executions"]]

    def lines(
        self, message: str, since: float, group: str = "/linnet/linnet", function: str = ""
    ) -> list[dict[str, Any]]:
        """Return a function's (OnSignal's) log lines with a message since a time: `done` and `failed` are one a try."""
        function = function or self.on_signal
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{message}" "{function}"', startTime=int(since * 1000)
        )
        found = (json.loads(e["message"]) for page in pages for e in page["events"] if e["message"].startswith("{"))
        return [line for line in found if line["message"] == message]

    def handled(self, since: float, *where: str) -> dict[str, list[float]]:
        """Return when a function (OnSignal) was done with each event id, in seconds since 1970, one for each delivery."""
        ends: dict[str, list[float]] = {}
        for line in self.lines("done", since, *where):
            ends.setdefault(str(line["event"]), []).append(datetime.fromisoformat(line["timestamp"]).timestamp())
        return ends

    def until_handled(self, count: int, since: float, seconds: float) -> list[float]:
        """Wait until so many deliveries were handled since a time, or until the wait is over; return when each was."""
        until = time.monotonic() + seconds
        while True:
            ends = [end for deliveries in self.handled(since).values() for end in deliveries]
            if len(ends) >= count or time.monotonic() > until:
                return ends
            time.sleep(1)

    def invoke(self, event: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
        """Invoke OnSignal with an event as its rule does; return the answer if it is waited for."""
        answer = self.functions.invoke(
            FunctionName=self.on_signal, InvocationType="RequestResponse" if wait else "Event",
            Payload=json.dumps(event).encode(),
        )  # fmt: skip
        told = json.loads(answer["Payload"].read() or b"{}")
        if "FunctionError" in answer:
            raise RuntimeError(str(told))
        return dict(told)

    def trouble(self, since: float) -> dict[str, int]:
        """Return how many dead letters, quarantine records and failed tries since a time there are: all must be 0."""
        sqs = self.stack.client("sqs")
        letters = sqs.get_queue_attributes(
            QueueUrl=self.out["DeadLettersUrl"], AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]["ApproximateNumberOfMessages"]
        refused = self.s3.list_objects_v2(Bucket=self.out["DataBucket"], Prefix="quarantine/")["KeyCount"]
        return {"dead_letters": int(letters), "quarantined": refused, "failed_tries": len(self.lines("failed", since))}


def request(model: str, name: str) -> dict[str, Any]:
    """Return a person's request as EventBridge delivers it."""
    return {
        "version": "0", "id": name, "detail-type": "Retraining Requested", "source": "linnet.person",
        "account": "000000000000", "time": "2026-11-21T02:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {"model": model, "requested_by": "bench", "reason": name, "request_id": name},
    }  # fmt: skip
