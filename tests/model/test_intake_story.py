"""Signals through the real handlers in any order, twice, lost, with a death at any write: what must hold all the time.

No second run at a time, no reason lost, no object version trained on twice, and one pass of the reconciler is enough.
Each mechanism that this rests on is broken once on purpose, and the story must notice (practice.md F1-F5, F21, F28, I5).
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from moto.moto_api._internal import mock_random

from linnet.gateways import ledger, runs
from linnet.settings import settings as environment
from tests.contract.onboarding_world import BUCKET, CONTEXT, account, handler, sample
from tests.contract.test_intake import CrashError, calm, crash_at, onboard

NIGHTLY = bool(os.environ.get("LINNET_NIGHTLY"))
SETTINGS = settings(
    max_examples=200 if NIGHTLY else 10,
    stateful_step_count=50 if NIGHTLY else 25,
    deadline=None,
    derandomize=not NIGHTLY,
    suppress_health_check=list(HealthCheck),
    print_blob=NIGHTLY,
)
MODEL = "flights"
ALARM = "linnet-flights-drift"


class Intake(RuleBasedStateMachine):
    """One model, its signals, the executions of `retrain` that they start, and everything that may go wrong between."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.monkeypatch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.world = self.stack.enter_context(account(self.monkeypatch))
        # The account's own times and ids must be the same each time a story is told again.
        mock_random.seed(7)
        self.clock = self.stack.enter_context(time_machine.travel(datetime(2026, 11, 21, 2, tzinfo=UTC), tick=False))
        self.inbox: list[dict[str, Any]] = []
        self.asked: set[str] = set()
        self.number = 0
        self.active: dict[str, Any] = {}

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.stack.close()

    @initialize()
    def account(self) -> None:
        for name in ("retrain", "intake"):
            self.world.machines[name] = self.world._machine(name)
            self.monkeypatch.setenv(f"LINNET_{name.upper()}_MACHINE", self.world.machines[name])
        self.monkeypatch.setenv("LINNET_SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/sagemaker")
        environment.cache_clear()
        onboard(MODEL, cooldown_seconds=0, daily_limit=100)
        self.world.cloudwatch.put_metric_alarm(
            AlarmName=ALARM, MetricName="m", Namespace="n", Period=60, EvaluationPeriods=1, Threshold=1, Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip

    # -- what happens ------------------------------------------------------------------------------------------------

    def at(self) -> str:
        self.clock.shift(timedelta(seconds=20))
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _put(self, key: str, body: bytes) -> None:
        version = self.world.put(key, body)
        self.number += 1
        event = sample("on_signal")
        event |= {"id": f"put-{self.number}", "time": self.at()}
        event["detail"]["object"] |= {
            "key": key, "version-id": version, "size": len(body), "sequencer": f"{self.number:016X}",
        }  # fmt: skip
        self.inbox.append(event)

    @rule(folder=st.sampled_from(["a", "b", "day=1"]), name=st.sampled_from(["x.csv", "y z+ü.csv"]))
    def upload(self, folder: str, name: str) -> None:
        self._put(f"raw-data/{MODEL}/{folder}/{name}", f"content {self.number}".encode())

    @rule(folder=st.sampled_from(["a", "m"]))
    def upload_with_manifest(self, folder: str) -> None:
        body = f"content {self.number}".encode()
        self._put(f"raw-data/{MODEL}/{folder}/x.csv", body)
        digest = hashlib.sha256(body).hexdigest()
        listed = {"key": "x.csv", "size": len(body), "sha256": digest, "rows": 1,
                  "version_id": self.inbox[-1]["detail"]["object"]["version-id"]}  # fmt: skip
        self._put(f"raw-data/{MODEL}/{folder}/_MANIFEST.json", json.dumps({"objects": [listed]}).encode())

    @rule()
    def request(self) -> None:
        self.number += 1
        event = sample("on_signal.request") | {"id": f"request-{self.number}", "time": self.at()}
        event["detail"] |= {"request_id": f"q{self.number}"}
        self.asked.add(event["id"])
        self.inbox.append(event)

    @rule(value=st.sampled_from(["ALARM", "OK"]))
    def alarm(self, value: str) -> None:
        self.world.cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue=value, StateReason="by a test")
        since = self.world.cloudwatch.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"][0]["StateUpdatedTimestamp"]
        event = sample("on_signal.drift") | {"id": f"alarm-{self.number}", "time": self.at()}
        event["detail"]["state"] |= {"value": value, "timestamp": since.isoformat()}
        self.inbox.append(event)

    # -- what reaches Linnet -----------------------------------------------------------------------------------------

    def _with_death(self, call: Callable[[], Any], death: tuple[int, bool] | None) -> Any:
        if death:
            crash_at(death[0], after=death[1])
        try:
            return call()
        except CrashError:
            calm()
            return call()  # delivered again, or retried by the machine
        finally:
            calm()

    deaths = st.none() | st.tuples(st.integers(1, 8), st.booleans())

    @precondition(lambda self: self.inbox)
    @rule(data=st.data(), death=deaths, keep=st.booleans())
    def deliver(self, data: Any, death: tuple[int, bool] | None, keep: bool) -> None:
        place = data.draw(st.integers(0, len(self.inbox) - 1))
        event = self.inbox[place] if keep else self.inbox.pop(place)  # kept: it will come again
        self._with_death(lambda: handler("on_signal")(copy.deepcopy(event), CONTEXT), death)

    @precondition(lambda self: any(e["source"].startswith("aws.") for e in self.inbox))
    @rule(data=st.data())
    def lose(self, data: Any) -> None:
        lost = data.draw(st.sampled_from([e for e in self.inbox if e["source"].startswith("aws.")]))
        self.inbox.remove(lost)

    @rule(death=deaths)
    def look_at_the_batches(self, death: tuple[int, bool] | None) -> None:
        for found in self.world.started("intake"):
            given = found["input"] | {"at": self.at()}
            self._with_death(lambda given=given: handler("close_batch")(given, CONTEXT), death)

    @rule(death=deaths)
    def begin_a_run(self, death: tuple[int, bool] | None) -> None:
        running = self.world.states.list_executions(
            stateMachineArn=self.world.machines["retrain"], statusFilter="RUNNING"
        )["executions"]
        for name in sorted(e["name"] for e in running):
            given = {"model": MODEL, "execution": name, "at": self.at(), "correlation_id": "c"}
            taken = self._with_death(lambda given=given: handler("take_slot")(given, CONTEXT), death)
            if not taken["proceed"]:
                self._gone(name)
                continue
            assert self.active.get("execution", name) == name, "two runs of one model at a time"
            self._check_inputs(taken)
            self.active = {"execution": name, "run": taken["run"]}

    @precondition(lambda self: self.active)
    @rule(outcome=st.sampled_from(["not better", "failed", "refused", "below threshold"]), death=deaths)
    def end_the_run(self, outcome: str, death: tuple[int, bool] | None) -> None:
        given = self.active | {
            "model": MODEL, "at": self.at(), "outcome": outcome, "why": "by a test", "correlation_id": "c",
        }  # fmt: skip
        self._with_death(lambda: handler("close_run")(given, CONTEXT), death)
        self._gone(self.active["execution"])
        self.active = {}

    @precondition(lambda self: self.active)
    @rule()
    def the_execution_dies(self) -> None:
        self._gone(self.active["execution"])
        self.active = {}

    def _gone(self, execution: str) -> None:
        arn = self.world.machines["retrain"].replace(":stateMachine:", ":execution:") + f":{execution}"
        self.world.states.stop_execution(executionArn=arn)

    @rule(death=deaths)
    def reconcile(self, death: tuple[int, bool] | None) -> None:
        tick = sample("reconcile_models") | {"time": self.at()}
        self._with_death(lambda: handler("reconcile_models")(tick, CONTEXT), death)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def _check_inputs(self, taken: dict[str, Any]) -> None:
        inputs = self.world.documents(f"results/{MODEL}/{taken['run']}/inputs")
        (document,) = inputs.values()
        trained = Counter((o["uri"], o["version"]) for b in document["batches"] for o in b["objects"])
        assert not [o for o, times in trained.items() if times > 1], "an object version is trained on twice"

    def settle(self) -> None:
        """After the last event and one pass of the reconciler nothing is lost, and the runs that follow answer it all."""
        for event in self.inbox:
            handler("on_signal")(event, CONTEXT)
        self.inbox = []
        if self.active:
            self.the_execution_dies()
        self.clock.shift(timedelta(hours=2))
        handler("reconcile_models")(sample("reconcile_models") | {"time": self.at()}, CONTEXT)
        self.clock.shift(timedelta(minutes=10))
        self.look_at_the_batches(None)  # the machine that the pass has started
        self._nothing_is_lost()
        for _ in range(30):
            if not runs.waiting(MODEL):
                break
            self.begin_a_run(None)
            if self.active:
                self.end_the_run("not better", None)
            self.alarm("OK")
        self.inbox = []
        assert runs.waiting(MODEL) == [], "a reason waits for ever"
        assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {}), "the slot is held by nobody"
        assert self.world.documents("quarantine/") == {}

    def _nothing_is_lost(self) -> None:
        reasons = [r["signal"] for r in ledger.query(f"model/{MODEL}", "reason#")]
        told = [event for event in self.asked if any(event in s["source"] for s in reasons)]
        assert sorted(told) == sorted(self.asked), "a request is lost"
        entries = Counter(e["key"] for e in ledger.history(f"model/{MODEL}") if e["kind"] == "signal")
        assert {s["id"] for s in reasons} == set(entries), "a reason has no entry in the history"
        rows = list(ledger.query(f"model/{MODEL}", "batch#"))
        assert [r["batch"] for r in rows if r["state"] == "open"] == [], "a batch stays open"
        listed = {
            (o["uri"], o["version"])
            for r in rows
            for o in json.loads(
                self.world.s3.get_object(Bucket=BUCKET, Key=r["list_uri"].split("/", 3)[3])["Body"].read()
            )
        }
        current = [
            v for v in self.world.s3.list_object_versions(Bucket=BUCKET, Prefix="raw-data/").get("Versions", [])
            if v["IsLatest"] and not v["Key"].endswith("_MANIFEST.json")
        ]  # fmt: skip
        lost = [v["Key"] for v in current if (f"s3://{BUCKET}/{v['Key']}", v["VersionId"]) not in listed]
        assert lost == [], "objects are in no batch"


def test_f1_f5_f21_f28_i5_signals_in_any_order_twice_lost_and_with_deaths_are_answered_once_and_none_is_lost() -> None:
    run_state_machine_as_test(Intake, settings=SETTINGS)
