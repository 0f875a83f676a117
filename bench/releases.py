"""What a release costs and how soon it is taken back: state transitions, seconds, Lambda milliseconds, and their price.

Real template, machines and handlers on the local stack, waits 60 times faster. Seconds are real ones of this machine:
times of the histories and of the calls as the emulator received them, divided by the rate, without Wait states; what
AWS's own network and queues take is not in them. Transitions are counted as AWS bills them: every state entered, and
every retry. AWS gives a function of 512 MB less than a third of a processor, so its milliseconds are more than these.

The peer is the seed's road (requirements DP-01, RB-02, RB-03): a Lambda that calls UpdateEndpoint, Wait 300,
a health check, and a Lambda that calls UpdateEndpoint again.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import statistics
import tarfile
import tempfile
import threading
import timeit
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import xgboost as xgb
from botocore.exceptions import ClientError

from bench.world import World
from linnet.decisions.sequential import Minute, growth
from linnet.events.spec_rollout import Rollout
from linnet.gateways import metrics
from linnet.monitoring.holdout import spread

RATE, ROUNDS = 60, 2
MODEL, PEER = "weighed", "peer"
COLUMNS, ROWS = 9, 10
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/bench"
FEW_CALLERS = {"canary_percent": 50, "health": {"min_requests": 5}}
GOAL_TRANSITIONS, GOAL_SECONDS = 6, 3.0
PRICES = {
    "transition": 0.025 / 1_000, "gb_second": 0.0000166667, "invocation": 0.20 / 1e6, "metric": 0.01 / 1_000,
    "put_metric": 0.01 / 1_000, "s3_get": 0.0004 / 1_000, "s3_list": 0.005 / 1_000,
    "read_unit": 0.125 / 1e6, "write_unit": 0.625 / 1e6, "alarm_month": 0.10, "custom_metric_month": 0.30,
    "high_resolution_alarm_month": 0.30,
}  # fmt: skip
"""US dollars, us-east-1, on demand, beyond free tiers, by AWS's public price pages as of November 2026."""
_MONTH = 730.0
"""Hours of which AWS's price examples make a month."""
_READS = ("GetItem", "Query")
_WRITES = ("PutItem", "UpdateItem", "DeleteItem")
_LOOKED = ("GetObject", "ListObjectsV2", "ListObjects", "GetMetricData", "PutMetricData", *_READS, *_WRITES)
_WATCHED = ("UpdateEndpoint", "UpdateEndpointWeightsAndCapacities")


def _booster(columns: int) -> xgb.Booster:
    numbers = np.random.default_rng(1).random((300, columns))
    return xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(numbers, label=numbers[:, 0] > 0.5), 3)


def _archive(columns: int) -> bytes:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=out, mode="w:gz") as tar:
        path = Path(folder) / "model.ubj"
        _booster(columns).save_model(path)
        tar.add(path, "xgboost-model")
    return out.getvalue()


def _lines(seed: int, count: int, columns: int = COLUMNS) -> list[str]:
    return [",".join(f"{v:.4f}" for v in row) for row in np.random.default_rng(seed).random((count, columns))]


class Released(World):
    """The stack, and what callers, the registry and a person do with one model."""

    versions = 0
    trail: Any
    approved_at: datetime
    """When the last version was approved."""

    def begin(self) -> None:
        """Let the emulator record calls as CloudTrail does."""
        given = json.dumps({"cloudtrail._recording_enabled": "true"}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.stack.endpoint}/_ministack/config", given)).read()  # noqa: S310 - loopback # nosec B310
        self.trail = self.stack.client("cloudtrail")

    def approve(self, columns: int = COLUMNS) -> dict[str, Any]:
        """Register a version as its run would have left it, approve it, and return the end of its release."""
        type(self).versions += 1
        version, known = self.versions, self.known("release")
        run, bucket = f"r{version:012x}", self.out["DataBucket"]
        self.s3.put_object(Bucket=bucket, Key=f"models/{MODEL}/{version}/model.tar.gz", Body=_archive(columns))
        self.put(f"processed-data/{MODEL}/{run}/test/features.csv", "\n".join(_lines(2, 30, columns)))
        held = np.random.default_rng(3).random((3000, columns))
        expected = spread(_booster(columns).predict(xgb.DMatrix(held)).astype(float))
        self.put(f"results/{MODEL}/{run}/evaluation.json", json.dumps({"predictions": expected}))
        package = self.sagemaker.create_model_package(
            ModelPackageGroupName=f"linnet-{MODEL}", ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [
                    {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/models/{MODEL}/{version}/model.tar.gz"}
                ],
                "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"]  # fmt: skip
        self.dynamodb.put_item(TableName=self.out["LedgerTable"], Item={
            "pk": {"S": f"model/{MODEL}"}, "sk": {"S": f"candidate#{version:06d}"}, "version": {"N": str(version)},
            "package_arn": {"S": package}, "run": {"S": run}, "baseline": {"S": ""},
            "evaluation_uri": {"S": f"s3://{bucket}/results/{MODEL}/{run}/evaluation.json"},
        })  # fmt: skip
        self.approved_at = self.stack.clock.now()
        self.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
        return self.execution("release", known, 150, model=MODEL)

    @contextmanager
    def callers(self, endpoint: str) -> Iterator[Counter[str]]:
        """Call an endpoint with ten rows a request all the while; yield what the callers see."""
        seen, halt = Counter[str](), threading.Event()
        bodies = itertools.cycle("\n".join(_lines(seed, ROWS)) for seed in range(100, 160))

        def call() -> None:
            while not halt.wait(1 / 30):
                try:
                    self.runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=next(bodies))[
                        "Body"
                    ].read()
                    seen["answered"] += 1
                except ClientError:
                    seen["failed"] += 1

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            halt.set()
            thread.join()

    def history(self, arn: str) -> list[tuple[datetime, str, str]]:
        """Return time, type and state name (of an entered or left state) of an execution's events."""
        pages = self.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [
            (
                event["timestamp"].astimezone(UTC), event["type"],
                (event.get("stateEnteredEventDetails") or event.get("stateExitedEventDetails") or {}).get("name", ""),
            )
            for page in pages for event in page["events"]
        ]  # fmt: skip

    def of(self, began: datetime) -> dict[str, list[list[tuple[datetime, str, str]]]]:
        """Return the histories, machine by machine, of what was started for a release or rollback since a time."""
        machines = ("release", "watch", "rollback")
        return {
            m: [self.history(e["executionArn"]) for e in self.every(m) if e["startDate"].astimezone(UTC) >= began]
            for m in machines
        }

    def calls(self, name: str, since: datetime) -> list[datetime]:
        """Return when the emulator received an API's calls since a time; it hands out the newest 50 at once."""
        found: dict[str, datetime] = {}
        until: dict[str, datetime] = {}
        while True:
            events = self.trail.lookup_events(
                LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}], StartTime=since, **until
            )["Events"]
            fresh = {e["EventId"]: e["EventTime"].astimezone(UTC) for e in events if e["EventId"] not in found}
            if not fresh:
                return sorted(when for when in found.values() if when >= since)
            found |= fresh
            until = {"EndTime": min(fresh.values()) + timedelta(seconds=1)}  # whole seconds are sent

    def billed(self, began: datetime, model: str) -> dict[str, dict[str, float]]:
        """Return invocations, billed milliseconds (whole ones, a sandbox's start included) and memory by function."""
        group, start = "/linnet/linnet", int(began.timestamp() * 1000)
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start)
        named: dict[str, str] = {}
        took: dict[str, float] = {}
        for event in (e for page in pages for e in page["events"]):
            text, stream = event["message"], event["logStreamName"]
            if text.startswith("REPORT"):
                took[stream] = _took(text)
            elif text.startswith("{") and '"called"' in text and json.loads(text).get("model") == model:
                named[stream] = json.loads(text)["function"]
        found: dict[str, dict[str, Any]] = {}
        for stream, function in named.items():
            row = found.setdefault(function, {"invocations": 0, "ms": 0.0, "each": []})
            row["invocations"] += 1
            row["ms"] += math.ceil(took[stream])
            row["each"].append(took[stream])
        for function, row in found.items():
            row["memory_mb"] = self.functions.get_function_configuration(FunctionName=function)["MemorySize"]
            row["median_ms"] = round(statistics.median(row.pop("each")), 1)
        return {name.removeprefix("linnet-").split("Function")[0]: row for name, row in sorted(found.items())}


def _took(report: str) -> float:
    return float(report.split("\tDuration: ")[1].split(" ms", maxsplit=1)[0]) / RATE


def _transitions(history: Sequence[tuple[datetime, str, str]]) -> int:
    """Return the states entered and the tasks tried again."""
    kinds = Counter(kind for _, kind, _ in history)
    entered = sum(count for kind, count in kinds.items() if kind.endswith("StateEntered"))
    return entered + max(0, kinds["TaskScheduled"] - kinds["TaskStateEntered"])


def _between(
    histories: Sequence[Sequence[tuple[datetime, str, str]]], begin: datetime, end: datetime
) -> dict[str, Any]:
    """Return the states entered from a decision to a call, the real seconds without Wait states, and what those waited."""
    states, waited = [], 0.0
    for history in histories:
        for when, kind, name in history:
            if begin < when <= end and kind.endswith("StateEntered"):
                states.append((when, name))
            if begin < when <= end and kind in ("WaitStateEntered", "WaitStateExited"):
                waited += when.timestamp() * (1 if kind == "WaitStateExited" else -1)
    states.sort()
    return {
        "transitions": len(states), "seconds": round(((end - begin).total_seconds() - waited) / RATE, 3),
        "waited_seconds": round(waited), "states": [name for _, name in states],
    }  # fmt: skip


def _looks(histories: dict[str, list[list[tuple[datetime, str, str]]]]) -> int:
    return sum(
        name == "Judge the release" and kind == "TaskStateEntered" for h in histories["watch"] for _, kind, name in h
    )


def _whole(world: Released, *, guarded: bool) -> dict[str, Any]:
    """Release a good version; return what it took: transitions by machine, looks, Lambda, calls, and the price of it."""
    ended = world.approve()
    began = world.approved_at
    if ended["status"] != "SUCCEEDED":
        raise RuntimeError(f"the release ended as {ended['status']}: {ended.get('cause')} after {ended['states']}")
    seen = world.of(began)
    transitions = {m: sum(map(_transitions, histories)) for m, histories in seen.items()}
    hours = (ended["stopDate"] - ended["startDate"]).total_seconds() / 3600
    found = {
        "hours": round(hours, 3), "transitions": transitions, "looks": _looks(seen),
        "lambda": world.billed(began, MODEL), "calls": {n: len(world.calls(n, began)) for n in _LOOKED},
    }  # fmt: skip
    return found | {"price": price(found, hours, guarded=guarded, watched=Rollout().watch_hours)}


def price(found: dict[str, Any], hours: float, *, guarded: bool, watched: float) -> dict[str, float]:
    """Return US dollars by AWS's list, part by part; logs, traces and the endpoint's instances are not in it.

    `watched` is the window after the promotion in hours, in which a look each five minutes takes as long as a judge's.
    """
    run, calls, judge = found["lambda"].values(), found["calls"], found["lambda"]["JudgeRelease"]
    look = judge["median_ms"] / 1000 * judge["memory_mb"] / 1024 * PRICES["gb_second"]
    parts = {
        "transitions": sum(found["transitions"].values()) * PRICES["transition"],
        "lambda": sum(
            r["invocations"] * PRICES["invocation"] + r["ms"] / 1000 * r["memory_mb"] / 1024 * PRICES["gb_second"]
            for r in run
        ),
        "metrics_read": found["looks"] * metrics_of_a_look() * PRICES["metric"],
        "metrics_and_alarms": calls["PutMetricData"] * PRICES["put_metric"]
        + math.ceil(hours) / _MONTH * guarded * (2 * PRICES["alarm_month"] + PRICES["high_resolution_alarm_month"]
                                                 + PRICES["custom_metric_month"]),
        "watch_window": watched * 12 * (look + metrics_of_a_look() * PRICES["metric"]),
        "s3": calls["GetObject"] * PRICES["s3_get"]
        + (calls["ListObjectsV2"] + calls["ListObjects"]) * PRICES["s3_list"],
        "ledger": sum(calls[n] for n in _READS) * PRICES["read_unit"] + sum(calls[n] for n in _WRITES) * PRICES["write_unit"],
    }  # fmt: skip
    return {name: round(dollars, 6) for name, dollars in (parts | {"all": sum(parts.values())}).items()}


def metrics_of_a_look() -> int:
    """Return how many metrics a look at two fleets requests from CloudWatch: each is billed."""
    asked: list[Any] = []

    def read(queries: list[Any], *_: Any) -> dict[str, Any]:
        asked.extend(queries)
        return {}

    fleet, other, at = ("green", "both"), ("blue", "both"), datetime(2026, 11, 21, 12, tzinfo=UTC)
    with patch.object(metrics, "_read", read):
        metrics.evidence("e", fleet, at - timedelta(hours=1), at)
        metrics.minutes("e", fleet, other, at - timedelta(hours=1), at, 5.0)
    return len(asked)


_TASKS = """
import boto3, datetime, time
client = boto3.client("sagemaker")
def deploy(event, context):
    old = client.describe_endpoint(EndpointName=event["endpoint"])["EndpointConfigName"]
    client.update_endpoint(EndpointName=event["endpoint"], EndpointConfigName=event["config"], RetainAllVariantProperties=False)
    return event | {"old": old}
def check(event, context):
    found = client.describe_endpoint(EndpointName=event["endpoint"])
    if found["EndpointStatus"] != "InService":
        return event | {"deployment_health": "Unhealthy", "reason": "Endpoint status: " + found["EndpointStatus"]}
    metrics, now, read = boto3.client("cloudwatch"), datetime.datetime.now(datetime.timezone.utc), {}
    for name, statistic in (("Invocation5XXErrors", "Sum"), ("ModelLatency", "Average")):
        points = metrics.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=name, Statistics=[statistic], Period=300,
            Dimensions=[{"Name": "EndpointName", "Value": event["endpoint"]}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=now - datetime.timedelta(minutes=5), EndTime=now)["Datapoints"]
        read[name] = sum(point[statistic] for point in points)
    bad = read["Invocation5XXErrors"] > 10 or read["ModelLatency"] > 500_000 or event["bad"]
    return event | {"deployment_health": "Unhealthy" if bad else "Healthy"}
def rollback(event, context):
    client.update_endpoint(EndpointName=event["endpoint"], EndpointConfigName=event["old"])
"""
"""The seed's functions (requirements DP-01, RB-02, RB-03); `bad` stands for what its check would have to see."""


def _peer_machine(world: Released) -> str:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("app.py", _TASKS)
    arns = {
        name: world.functions.create_function(
            FunctionName=f"{PEER}-{name}", Runtime="python3.13", Role=ROLE, Handler=f"app.{name}", Timeout=60,
            MemorySize=512, Code={"ZipFile": zipped.getvalue()},
        )["FunctionArn"]
        for name in ("deploy", "check", "rollback")
    }  # fmt: skip
    healthy = [{"Variable": "$.deployment_health", "StringEquals": "Healthy", "Next": "Complete"}]
    states = {
        "Deploy": {"Type": "Task", "Resource": arns["deploy"], "Next": "Wait"},
        "Wait": {"Type": "Wait", "Seconds": 300, "Next": "Check"},
        "Check": {"Type": "Task", "Resource": arns["check"], "Next": "Healthy?"},
        "Healthy?": {"Type": "Choice", "Choices": healthy, "Default": "Roll back"},
        "Roll back": {"Type": "Task", "Resource": arns["rollback"], "Next": "Failed"},
        "Failed": {"Type": "Fail"},
        "Complete": {"Type": "Succeed"},
    }
    machine = world.stepfunctions.create_state_machine(
        name=PEER, roleArn=ROLE, definition=json.dumps({"StartAt": "Deploy", "States": states})
    )
    return str(machine["stateMachineArn"])


def _peer(world: Released) -> dict[str, Any]:
    """Release by the seed's road, well and badly; return transitions, Lambda and the way back of each round."""
    bucket, key = world.out["DataBucket"], f"models/{PEER}/model.tar.gz"
    world.s3.put_object(Bucket=bucket, Key=key, Body=_archive(COLUMNS))
    world.sagemaker.create_model(
        ModelName=PEER, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/{key}"}
    )
    variant = {
        "VariantName": "AllTraffic", "ModelName": PEER, "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 2,
    }  # fmt: skip
    for number in range(ROUNDS + 3):
        world.sagemaker.create_endpoint_config(EndpointConfigName=f"{PEER}-{number}", ProductionVariants=[variant])
    world.sagemaker.create_endpoint(EndpointName=PEER, EndpointConfigName=f"{PEER}-0")

    def in_service() -> bool:
        return bool(world.sagemaker.describe_endpoint(EndpointName=PEER)["EndpointStatus"] == "InService")

    world.wait("the peer's endpoint", in_service)
    machine, backs, whole = _peer_machine(world), [], {}
    for number in range(1, ROUNDS + 3):
        given = {"endpoint": PEER, "config": f"{PEER}-{number}", "bad": number > 1}
        arn = world.stepfunctions.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]
        began = world.stepfunctions.describe_execution(executionArn=arn)["startDate"].astimezone(UTC)
        world.follow(arn)
        history = world.history(arn)
        if number == 1:
            whole = {"transitions": _transitions(history), "lambda_ms": _peer_ms(world)}
            continue
        decided = next(w for w, kind, name in history if kind == "TaskStateExited" and name == "Check")
        call = next(when for when in world.calls("UpdateEndpoint", began) if when > decided)
        if number > 2:  # the functions have been started once
            backs.append(_between([history], decided, call))
        world.wait("the peer's endpoint", in_service)
    return {"whole": whole, "way_back": backs}


def _peer_ms(world: Released) -> dict[str, int]:
    def took(name: str) -> int:
        found = world.logs.filter_log_events(logGroupName=f"/aws/lambda/{PEER}-{name}", filterPattern="REPORT")
        return math.ceil(_took(found["events"][-1]["message"]))

    return {name: took(name) for name in ("deploy", "check")}


def _bad(world: Released) -> dict[str, dict[str, Any]]:
    """Release a model that was trained on other columns; return its way from the look that decides to each call."""
    ended = world.approve(columns=3)
    began = world.approved_at
    if ended.get("error") != "DeploymentFailed":
        raise RuntimeError(f"a bad release ended as {ended['status']}: {ended.get('cause')} after {ended['states']}")
    seen = world.of(began)
    every = [h for histories in seen.values() for h in histories]
    # The look that decided is the last one before `release` gives the traffic back.
    back = next(
        w for w, kind, name in seen["release"][0] if name == "Give the traffic back" and kind.endswith("Entered")
    )
    decided = max(
        w for h in seen["watch"] for w, kind, name in h
        if name == "Judge the release" and kind == "TaskStateExited" and w <= back
    )  # fmt: skip
    first = {name: next(w for w in world.calls(name, decided) if w > decided) for name in _WATCHED}
    return {
        "traffic": _between(every, decided, first["UpdateEndpointWeightsAndCapacities"]),
        "update": _between(every, decided, first["UpdateEndpoint"]),
    }


def _by_hand(world: Released) -> dict[str, Any]:
    """Start `rollback` as a person does; return its way from StartExecution to the call."""
    began = world.stack.clock.now()
    started = world.stepfunctions.start_execution(
        stateMachineArn=world.out["RollbackMachineArn"], input=json.dumps({"model": MODEL, "reason": "measured"})
    )
    ended = world.follow(started["executionArn"])
    if ended["status"] != "SUCCEEDED":
        raise RuntimeError(f"the rollback ended as {ended['status']}: {ended.get('cause')}")
    call = next(w for w in world.calls("UpdateEndpoint", began) if w > began)
    return _between([h for histories in world.of(began).values() for h in histories], began, call)


def multi_stage(stepped: dict[str, Any]) -> dict[str, Any]:
    """Return what RO-08's rollout costs at a look a minute, reckoned from what a measured look took.

    A look of a watch has four states, and a thousand of them have four more in the two machines. It weighs all minutes
    of its stage (`growth`, timed here for both tests at the mean length), which a look of a short release does not.
    """
    rules = Rollout(strategy="multi_stage")
    stages = (rules.shadow_seconds, sum(rules.waits))
    looks = sum(stages) // 60
    draw = np.random.default_rng(5)
    minutes = [Minute(60, int(n), 540, int(o)) for n, o in draw.binomial((60, 540), 0.005, (2_000, 2))]
    each = 2 * 1000 * min(timeit.repeat(lambda: growth(minutes), number=1, repeat=3)) / len(minutes)
    weighed = sum(each * (seconds / 60) ** 2 / 2 for seconds in stages) / looks
    judge = stepped["lambda"]["JudgeRelease"]
    scale, others = looks / stepped["looks"], {n: r for n, r in stepped["lambda"].items() if n != "JudgeRelease"}
    look = judge | {"invocations": looks, "ms": looks * (judge["median_ms"] + weighed)}
    around = {m: n - 4 * stepped["looks"] * (m == "watch") for m, n in stepped["transitions"].items()}
    found = {
        "days": sum(stages) / 86_400, "looks": looks,
        "transitions": around | {"watch": around["watch"] + 4 * looks + 4 * (looks // 1000)},
        "lambda": others | {"JudgeRelease": look}, "weighing_ms_a_look": round(weighed, 1),
        "calls": {name: round(count * scale) for name, count in stepped["calls"].items()},
    }  # fmt: skip
    return found | {"price": price(found, sum(stages) / 3600, guarded=False, watched=rules.watch_hours)}


def run() -> dict[str, Any]:
    """Release well by canary and by steps, badly by steps, go back by hand, and do it the seed's way."""
    with Released.deployed(RATE, "ReconcileSchedule", "WatchSchedule") as world:
        world.begin()
        world.onboard(MODEL, rollout=FEW_CALLERS | {"strategy": "canary"})
        world.approve()
        with world.callers(f"linnet-{MODEL}"):
            canary = _whole(world, guarded=True)
            world.onboard(MODEL, rollout=FEW_CALLERS | {"strategy": "stepped"})
            stepped = _whole(world, guarded=False)
            bad = [_bad(world) for _ in range(ROUNDS)]
            by_hand = [_by_hand(world)]
        peer = _peer(world)
    weeks = multi_stage(stepped)
    ways = {
        "bad_look_to_traffic_back": [b["traffic"] for b in bad], "bad_look_to_update": [b["update"] for b in bad],
        "started_by_hand_to_update": by_hand, "peer_check_to_update": peer["way_back"],
    }  # fmt: skip
    told = {}
    for name, found in ways.items():
        told[name] = {what: max(f[what] for f in found) for what in ("transitions", "waited_seconds")}
        told[name]["median_seconds"] = round(statistics.median(f["seconds"] for f in found), 3)
        print(f"   {name.replace('_', ' ')}: {told[name]['transitions']} transitions, {told[name]['median_seconds']} s"
              f" and {told[name]['waited_seconds']} s of waits")  # fmt: skip
    for name, found in (("canary", canary), ("stepped", stepped), ("multi_stage", weeks)):
        ms = sum(r["ms"] for r in found["lambda"].values())
        print(f"   {name}: {sum(found['transitions'].values())} transitions, {found['looks']} looks, "
              f"{ms:.0f} Lambda ms, ${found['price']['all']:.4f}")  # fmt: skip
    whole = peer["whole"]
    print(f"   the seed's road: {whole['transitions']} transitions, {sum(whole['lambda_ms'].values())} Lambda ms")
    first = [told[name] for name in ("bad_look_to_traffic_back", "started_by_hand_to_update")]
    return {
        "peer": "the seed's functions and states (requirements DP-01, RB-02, RB-03) on the same emulator",
        "seconds_are": f"real ones of this machine at rate {RATE}, without Wait states", "way_back": told, "raw": ways,
        "ratio_to_peer": round(told["bad_look_to_traffic_back"]["median_seconds"]
                               / told["peer_check_to_update"]["median_seconds"], 2),
        "releases": {"canary": canary, "stepped": stepped, "multi_stage": weeks, "peer": whole}, "prices": PRICES,
        "goal": f"at most {GOAL_TRANSITIONS} transitions, {GOAL_SECONDS} s and no wait until the first call of a rollback",
        "within_goal": all(
            way["transitions"] <= GOAL_TRANSITIONS and way["median_seconds"] <= GOAL_SECONDS and not way["waited_seconds"]
            for way in first
        ),
    }  # fmt: skip
