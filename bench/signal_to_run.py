"""S3 put (manifest last, warm) -> `retrain` started, against rule -> bare Lambda -> StartExecution on the same emulator."""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import time
import zipfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.stack import Stack
from models.flights import data as flights

ROOT = Path(__file__).parents[1]
ROUNDS = 15
GOAL = 3.0
BARE = """
import boto3, json, os
client = boto3.client("stepfunctions")
def handler(event, context):
    client.start_execution(stateMachineArn=os.environ["MACHINE"], input=json.dumps(event["detail"]))
"""
ROLE = "arn:aws:iam::000000000000:role/bench"


def _until_started(states: Any, machine: str, known: set[str]) -> float:
    """Return when an execution is listed that was not there before the put; end it, so that it disturbs no later round."""
    until = time.perf_counter() + 15
    while time.perf_counter() < until:
        fresh = {e["executionArn"] for e in states.list_executions(stateMachineArn=machine)["executions"]} - known
        if fresh:
            seen = time.perf_counter()
            for arn in fresh:
                with contextlib.suppress(ClientError):  # the bare machine has ended already
                    states.stop_execution(executionArn=arn)
            return seen
        time.sleep(0.002)
    raise TimeoutError(f"no execution of {machine} was started within 15 s")


def _known(states: Any, machine: str) -> set[str]:
    return {e["executionArn"] for e in states.list_executions(stateMachineArn=machine)["executions"]}


def _bare_road(stack: Stack) -> tuple[str, str]:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("app.py", BARE)
    machine = stack.client("stepfunctions").create_state_machine(
        name="bare", roleArn=ROLE,
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}),
    )["stateMachineArn"]  # fmt: skip
    function = stack.client("lambda").create_function(
        FunctionName="bare", Runtime="python3.13", Role=ROLE, Handler="app.handler", Timeout=60,
        Code={"ZipFile": zipped.getvalue()}, Environment={"Variables": {"MACHINE": machine}},
    )["FunctionArn"]  # fmt: skip
    s3, events = stack.client("s3"), stack.client("events")
    s3.create_bucket(Bucket="bare")
    s3.put_bucket_notification_configuration(Bucket="bare", NotificationConfiguration={"EventBridgeConfiguration": {}})
    events.put_rule(
        Name="bare", EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": ["bare"]}}})
    )
    events.put_targets(Rule="bare", Targets=[{"Id": "1", "Arn": function}])
    return "bare", machine


def run() -> dict[str, Any]:
    """Put, wait until an execution is listed, in turn on both roads; the first round of each warms up."""
    stack = Stack.start(rate=1, state=ROOT / "build" / "bench" / "stack.json")
    try:
        stack.deploy(ROOT / "template.yaml", "linnet", {})
        out = stack.outputs("linnet")
        s3, states = stack.client("s3"), stack.client("stepfunctions")
        # A model a round: each has a slot of its own, so that no round waits for the end of the one before.
        for turn in range(ROUNDS + 1):
            spec = flights.spec() | {"model": f"m{turn}", "retraining": {"cooldown_seconds": 0, "daily_limit": 100}}
            s3.put_object(Bucket=out["DataBucket"], Key=f"specs/m{turn}.yaml", Body=json.dumps(spec))
        onboarding = out["OnboardMachineArn"]
        while len(states.list_executions(stateMachineArn=onboarding, statusFilter="SUCCEEDED")["executions"]) <= ROUNDS:
            time.sleep(0.2)
        bucket, machine = _bare_road(stack)
        taken: dict[str, list[float]] = {"linnet": [], "bare": []}
        files = flights.batch(season="winter", rows=50, part=0)
        for turn in range(ROUNDS + 1):
            for name in [n for n in files if n != "_MANIFEST.json"]:
                s3.put_object(Bucket=out["DataBucket"], Key=f"raw-data/m{turn}/b/{name}", Body=files[name])
            time.sleep(1.5)
            for road, where, key, target in (
                ("linnet", out["DataBucket"], f"raw-data/m{turn}/b/_MANIFEST.json", out["RetrainMachineArn"]),
                ("bare", bucket, f"put{turn}", machine),
            ):
                known = _known(states, target)
                began = time.perf_counter()
                s3.put_object(Bucket=where, Key=key, Body=files["_MANIFEST.json"])
                seconds = _until_started(states, target, known) - began
                if turn:
                    taken[road].append(seconds)
    finally:
        stack.stop()
    median = {road: statistics.median(times) for road, times in taken.items()}
    ratio = round(median["linnet"] / median["bare"], 2)
    print(
        f"   linnet {1000 * median['linnet']:.0f} ms, bare {1000 * median['bare']:.0f} ms: {ratio}x over {ROUNDS} rounds"
    )
    return {
        "peer": "rule -> bare Lambda -> StartExecution on the same emulator",
        "median_seconds": median, "ratio": ratio, "raw": taken, "goal": f"at most {GOAL}x", "within_goal": ratio <= GOAL,
    }  # fmt: skip
