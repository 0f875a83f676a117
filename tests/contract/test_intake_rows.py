"""Rows of the requirements and failures of practice.md that intake and runs promise, each through the real handlers."""

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from botocore.exceptions import ClientError

from linnet.decisions import names, signals
from linnet.events.spec import check_spec, filled, spec_json
from linnet.gateways import approvals, batches, ledger, runs, specs
from linnet.gateways.clients import client
from models.diamonds import data as diamonds
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import (
    MODEL,
    arrival,
    batched,  # noqa: F401 - a fixture
    calm_alarms,
    close,
    intake,  # noqa: F401 - a fixture
    onboard,
    put_batch,
    reasons,
    take,
    wake,
    wakes,
)
from tests.contract.test_retrain_functions import (
    call,
    lab,  # noqa: F401 - a fixture
    object_,
    put,
)
from tests.contract.test_retrain_training import EXECUTION as OWNER
from tests.contract.test_retrain_training import RUN as OWNED
from tests.contract.test_retrain_training import begin_jobs, running  # noqa: F401 - a fixture
from tests.contract.test_rules import _fill, _matches
from tests.sagemaker.doubles import Lab
from tests.template.conftest import resources, template  # noqa: F401 - a fixture

AT = "2026-11-21T02:00:00Z"
START = datetime(2026, 11, 21, 2, tzinfo=UTC)


# -- one road for every signal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped", "InProgress"])
def test_eb_02_a_monitor_that_ended_otherwise_starts_nothing(intake: World, template: Any, status: str) -> None:
    event = sample("on_signal.monitor")
    event["detail"]["MonitoringExecutionStatus"] = status
    wake(event)

    assert reasons() == []
    assert intake.documents("quarantine/") == {}
    assert not any(_matches(rule, event) for rule in resources(template, "AWS::Events::Rule").values())


def test_eb_02_the_schedule_of_nobodys_model_starts_nothing_and_is_kept(intake: World) -> None:
    event = sample("on_signal.monitor")
    event["detail"]["MonitoringScheduleName"] = "churn-monitoring-schedule"
    wake(event)

    assert intake.started("retrain") == []
    (record,) = intake.documents("quarantine/").values()
    assert record["field"] == "detail.MonitoringScheduleName"


def test_eb_03_tg_09_every_alarm_that_intake_answers_wakes_it_and_no_other_does(template: Any) -> None:
    event = sample("on_signal.drift")
    woken = {}
    for alarm in [
        *signals.alarms("linnet", MODEL),
        f"linnet-{MODEL}-drift-notice",
        "linnet-reconciler",
        "other-x-drift",
    ]:
        for state in ("ALARM", "OK", "INSUFFICIENT_DATA"):
            event["detail"] |= {"alarmName": alarm, "state": event["detail"]["state"] | {"value": state}}
            if any(_matches(rule, event) for rule in resources(template, "AWS::Events::Rule").values()):
                woken[alarm] = state

    assert woken == dict.fromkeys(signals.alarms("linnet", MODEL), "ALARM")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("on_signal.drift", {"TriggerReason": "DataDriftDetected", "DriftSeverity": "High"}),
        ("on_signal.monitor", {"TriggerReason": "ModelDriftDetected", "DriftSeverity": "High"}),
        ("on_signal.quality", {"TriggerReason": "ModelQualityDegraded", "DriftSeverity": "High"}),
        ("on_signal.schedule", {"TriggerReason": "Scheduled"}),
        ("on_signal.commit", {"TriggerReason": "CodeChanged"}),
    ],
)
def test_eb_05_the_run_shows_reason_time_and_severity_of_its_event(
    batched: World, name: str, shown: dict[str, str]
) -> None:
    ledger.change(f"model/{MODEL}", f"reason#{reasons()[0]['signal']['id']}", put={"state": "answered"})
    wakes(name)
    taken = take("e1")

    event = datetime.fromisoformat(sample(name)["time"]).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert taken["trigger"] == shown | {"Timestamp": event}
    assert (ledger.read(f"model/{MODEL}", f"run#{taken['run']}") or {})["trigger"] == taken["trigger"]


def test_eb_07_a_drift_starts_one_execution_and_tells_people_once_under_one_id(intake: World) -> None:
    wakes("on_signal.drift", "on_signal.drift")

    (execution,) = intake.started("retrain")
    (message,) = intake.messages()
    assert (message["kind"], message["model"], message["severity"]) == ("drift", MODEL, "High")
    assert message["correlation_id"] == execution["input"]["correlation_id"]
    assert "linnet-flights-drift" in message["why"]


def test_tg_05_the_run_of_a_code_change_leads_to_its_commit(batched: World) -> None:
    wakes("on_signal.commit")
    taken = take("e1")

    row = ledger.read(f"model/{MODEL}", f"run#{taken['run']}") or {}
    sources = [(ledger.read(f"model/{MODEL}", f"reason#{each}") or {})["signal"]["source"] for each in row["signals"]]
    assert any(f"commit {sample('on_signal.commit')['detail']['commit']}" in source for source in sources)


def test_tg_03_one_models_trouble_keeps_no_other_from_the_weekly_signal(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("aaa-first", "zzz-last"):
        onboard(model)
    ledger.put_once("models", "leaving", {"model": "leaving"})  # its spec has gone in the same moment
    real = runs.start

    def trouble(model: str, *rest: Any, **more: Any) -> Any:
        if model == "aaa-first":
            raise ConnectionError("Step Functions does not answer")
        return real(model, *rest, **more)

    with monkeypatch.context() as broken:
        broken.setattr(runs, "start", trouble)
        with pytest.raises(RuntimeError, match="not told: aaa-first"):
            wakes("on_signal.schedule")
    assert len(intake.started("retrain")) == 2
    wakes("on_signal.schedule")  # delivered again

    assert sorted(e["input"]["model"] for e in intake.started("retrain")) == ["aaa-first", MODEL, "zzz-last"]
    assert intake.documents("quarantine/") == {}


def test_gap_2_every_record_of_a_notification_counts_though_one_between_them_is_wrong(intake: World) -> None:
    def record(key: str) -> dict[str, Any]:
        found = {"key": key, "size": 5, "versionId": "v1", "sequencer": "0A1"}
        return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-21T02:00:01.000Z",
                "s3": {"bucket": {"name": BUCKET}, "object": found}}  # fmt: skip

    keys = [f"raw-data/{MODEL}/burst/a.csv", "raw-data/stranger/burst/b.csv", f"raw-data/{MODEL}/burst/c.csv"]
    assert "quarantined" in wake({"Records": [record(key) for key in keys]})

    kept = {row["uri"].rpartition("/")[2] for row in ledger.query(f"model/{MODEL}/batch/burst", "object#")}
    assert kept == {"a.csv", "c.csv"}


# -- nothing twice, nothing lost -----------------------------------------------------------------------------------------


def test_f3_everything_that_is_replayed_after_400_days_is_known(intake: World) -> None:
    every = ["on_signal.drift", "on_signal.monitor", "on_signal.schedule", "on_signal.request", "on_signal.commit"]
    manifest = put_batch(intake, "2013-01", flights.batch(season="winter", rows=600, part=0))
    version = intake.s3.head_object(Bucket=BUCKET, Key=f"raw-data/{MODEL}/2013-01/part-00001.csv")["VersionId"]
    put_at = datetime.fromisoformat(manifest["time"]) - timedelta(seconds=5)
    arrived = arrival(f"raw-data/{MODEL}/2013-01/part-00001.csv", put_at, "0A1", version)
    wakes(*every)
    wake(arrived)
    wake(manifest)
    close(take("e1"), "e1", "not better")
    before = (reasons(), len(intake.started("retrain")), list(ledger.query(f"model/{MODEL}", "batch#")))

    with time_machine.travel(START + timedelta(days=400), tick=False):
        wakes(*every)
        wake(manifest)
        wake(arrived)

    assert (reasons(), len(intake.started("retrain")), list(ledger.query(f"model/{MODEL}", "batch#"))) == before
    assert {r["state"] for r in before[0]} == {"answered"}


def test_f3_the_ledger_forgets_nothing(template: Any) -> None:
    (table,) = resources(template, "AWS::DynamoDB::Table").values()

    assert "TimeToLiveSpecification" not in table


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_f4_every_order_of_the_same_events_ends_in_the_same_state(intake: World, order: tuple[int, ...]) -> None:
    manifest = put_batch(intake, "m", flights.batch(season="winter", rows=50, part=0))
    closed = datetime.fromisoformat(manifest["time"])
    version = intake.s3.head_object(Bucket=BUCKET, Key=f"raw-data/{MODEL}/m/part-00001.csv")["VersionId"]
    events = [
        arrival(f"raw-data/{MODEL}/m/part-00001.csv", closed - timedelta(seconds=4), "0A2", version),
        arrival(f"raw-data/{MODEL}/m/part-00001.csv", closed - timedelta(seconds=9), "0A1", "overwritten"),
        manifest,
        sample("on_signal.drift"),
    ]
    for place in order:
        wake(events[place])

    assert {r["batch"]: r["state"] for r in ledger.query(f"model/{MODEL}", "batch#")} == {"m": "closed"}
    (batch,) = batches.for_run(MODEL, 9)
    assert [o["version"] for o in batch["objects"]] == [version]
    assert sorted(r["signal"]["kind"] for r in reasons()) == ["data", "drift"]


@pytest.mark.parametrize("skew", [-300, 300])
def test_f18_clocks_that_differ_by_five_minutes_close_a_batch_early_or_late_and_lose_no_object(
    intake: World, skew: int
) -> None:
    """The objects' times are S3's, the time of looking is the workflow's."""
    wake(arrival(f"raw-data/{MODEL}/burst/a.csv", START + timedelta(seconds=skew), "0A1"))
    wake(arrival(f"raw-data/{MODEL}/burst/b.csv", START + timedelta(seconds=skew + 290), "0A2"))
    closed_after = None
    for looked in range(300, 1500, 300):
        at = (START + timedelta(seconds=looked)).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = {"model": MODEL, "batch": "burst", "at": at, "correlation_id": "c"}
        if closed_after is None and handler("close_batch")(given, CONTEXT)["closed"]:
            closed_after = looked
    wake(arrival(f"raw-data/{MODEL}/burst/late.csv", START + timedelta(seconds=2000), "0A3"))

    assert closed_after == {-300: 300, 300: 900}[skew]
    (batch,) = batches.for_run(MODEL, 9)
    assert sorted(o["uri"].rpartition("/")[2] for o in batch["objects"]) == ["a.csv", "b.csv"]
    assert (ledger.read(f"model/{MODEL}", "batch#burst~2") or {})["state"] == "open"


def test_gap_2_a_burst_that_never_rests_closes_at_its_limit_and_the_rest_is_the_next_batch(intake: World) -> None:
    limit = 3600  # data.batch_limit_seconds of the default; quiet_seconds are 300
    closed: list[int] = []
    for seconds in range(0, limit + 400, 200):
        at = START + timedelta(seconds=seconds)
        wake(arrival(f"raw-data/{MODEL}/burst/{seconds:05}.csv", at, f"0A{seconds:04}"))
        given = {"model": MODEL, "batch": "burst", "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "correlation_id": "c"}
        if handler("close_batch")(given, CONTEXT)["closed"]:
            closed.append(seconds)

    assert closed[0] == limit
    (batch,) = batches.for_run(MODEL, 9)
    assert len(batch["objects"]) == limit // 200 + 1
    assert [r["batch"] for r in ledger.query(f"model/{MODEL}", "batch#") if r["state"] == "open"] == ["burst~2"]


def test_f15_an_alarm_that_cannot_be_read_is_neither_drift_nor_none_and_is_asked_again(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeAlarms")

    with monkeypatch.context() as broken:
        broken.setattr(client("cloudwatch"), "describe_alarms", unreadable)
        with pytest.raises(ClientError, match="AccessDenied"):
            wakes("on_signal.drift")
    assert reasons() == []
    wakes("on_signal.drift")  # delivered again

    assert [r["signal"]["kind"] for r in reasons()] == ["drift"]


STEPS = ("before the slot is taken", "before validation", "before preparation")


@pytest.mark.parametrize("step", STEPS)
def test_f22_what_is_overwritten_between_any_two_steps_changes_nothing_of_the_run(intake: World, step: str) -> None:
    def overwrite(moment: str) -> None:
        if moment == step:
            intake.put(f"raw-data/{MODEL}/good/part-00001.csv", b"poison\n1\n")

    put(intake, "good", part=0)
    overwrite(STEPS[0])
    taken = take("e1")
    overwrite(STEPS[1])
    assert call("validate_data", taken)["passed"]
    overwrite(STEPS[2])
    found = call("prepare_data", taken)

    rows = flights.batch(season="winter", rows=600, part=0)["part-00001.csv"].count(b"\n") - 1
    assert found["rows"]["train"] + found["rows"]["validation"] + found["rows"]["test"] <= rows
    assert b"poison" not in object_(intake, found["train_uri"])
    assert found["rows"]["train"] > 300


def test_da_03_a_run_reads_only_the_partitions_of_its_window(intake: World) -> None:
    spec = spec_json(check_spec(flights.spec()))
    spec["data"]["window_batches"] = 1
    ledger.change(f"model/{MODEL}", "spec", put={"spec": spec})
    for day in (1, 2):
        put(intake, f"year=2013/month=01/day={day}", part=day)
    read: list[str] = []
    client("s3").meta.events.register(
        "provide-client-params.s3.GetObject", lambda params, **_: read.append(params["Key"]), unique_id="read"
    )
    try:
        taken = take("e1")
        assert call("validate_data", taken)["passed"]
        call("prepare_data", taken)
    finally:
        client("s3").meta.events.unregister("provide-client-params.s3.GetObject", unique_id="read")

    raw = {key for key in read if key.startswith("raw-data/")}
    assert raw == {f"raw-data/{MODEL}/year=2013/month=01/day=2/part-00001.csv"}


@pytest.mark.parametrize(("schedule", "times"), [(None, 4), ("monthly", 1)])  # at 03:00, 09:00, 15:00 and 21:00
def test_f13_an_alarm_that_stands_is_heard_once_a_cool_down_or_long_window_and_what_finds_nothing_new_keeps_nothing_waiting(
    batched: World, schedule: str | None, times: int
) -> None:
    onboard(MODEL, cooldown_seconds=6 * 3600, daily_limit=2)
    spec = (ledger.read(f"model/{MODEL}", "spec") or {})["spec"]
    spec["monitors"]["data_quality"]["schedule"] = schedule
    ledger.change(f"model/{MODEL}", "spec", put={"spec": spec})
    calm_alarms(batched)
    batched.cloudwatch.set_alarm_state(AlarmName=f"linnet-{MODEL}-drift", StateValue="ALARM", StateReason="by a test")
    close(take("e0"), "e0", "not better")  # it answers the batch
    judged = 0
    for hour in range(1, 21):
        at = (START + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
        handler("reconcile_models")(sample("reconcile_models") | {"time": at}, CONTEXT)
        if runs.waiting(MODEL):
            assert "nothing is new" in take(f"q{hour}", at)["why"]
            judged += 1
    assert judged == times
    assert (ledger.read(f"model/{MODEL}", "slot") or {})["day_runs"] == 1
    put(batched, "2013-02", part=1)

    assert take("e1", "2026-11-21T22:55:00Z")["proceed"]


# -- runs that die -------------------------------------------------------------------------------------------------------


def ended(execution: str, status: str, error: str = "") -> Any:
    event = sample("on_workflow_ended")
    event["detail"] |= {"name": execution, "status": status, "error": error or None}
    event["detail"]["executionArn"] = event["detail"]["executionArn"].rpartition(":")[0] + f":{execution}"
    with contextlib.suppress(ClientError):  # where one of this name was started
        client("stepfunctions").stop_execution(executionArn=event["detail"]["executionArn"])
    return handler("on_workflow_ended")(event, CONTEXT)


@pytest.mark.parametrize("seen_by", ["its event", "the reconciler"])
@pytest.mark.parametrize(
    ("status", "outcome", "kept"),
    [("FAILED", "failed", "waiting"), ("TIMED_OUT", "failed", "waiting"), ("ABORTED", "stopped", "answered")],
)
def test_f5_f10_f30_the_reasons_of_a_run_that_died_wait_again_but_not_of_one_that_a_person_stopped(
    batched: World, monkeypatch: pytest.MonkeyPatch, seen_by: str, status: str, outcome: str, kept: str
) -> None:
    calm_alarms(batched)
    (started,) = batched.started("retrain")
    taken = take(started["name"])
    monkeypatch.setattr(runs, "start", lambda *_, **__: {})  # what starts next is another promise
    if seen_by == "its event":
        ended(started["name"], status, "States.DataLimitExceeded")
    else:
        arn = batched.machines["retrain"].replace(":stateMachine:", ":execution:") + f":{started['name']}"
        described = {"status": status}
        real = client("stepfunctions")
        monkeypatch.setattr(
            real, "describe_execution", lambda **asked: described if asked["executionArn"] == arn else {}
        )
        handler("reconcile_models")(sample("reconcile_models"), CONTEXT)

    assert (ledger.read(f"model/{MODEL}", f"run#{taken['run']}") or {})["state"] == outcome
    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})
    assert [r["state"] for r in reasons()] == [kept]


@pytest.mark.parametrize("seen_by", ["its event", "the reconciler"])
def test_f33_no_01_a_run_that_is_stopped_while_a_person_is_asked_ends_says_so_once_and_closes_the_question(
    batched: World, seen_by: str
) -> None:
    (started,) = batched.started("retrain")
    taken = take(started["name"])
    ledger.change(f"model/{MODEL}", f"run#{taken['run']}", put={"state": "registered"})
    runs.free(MODEL, started["name"], AT, judged=True, registered=taken["run"])  # as register_candidate does
    approvals.open_decision(
        model=MODEL, kind="candidate", about="arn", token="a-token", at=AT, timeout_seconds=3600, correlation_id="c",
        more={"run": taken["run"], "version": 1},
    )  # fmt: skip
    arn = batched.machines["retrain"].replace(":stateMachine:", ":execution:") + f":{started['name']}"
    batched.states.stop_execution(executionArn=arn)
    batched.messages()
    for _ in range(2):
        if seen_by == "its event":
            ended(started["name"], "ABORTED")
        else:
            handler("reconcile_models")(sample("reconcile_models"), CONTEXT)

    assert (ledger.read(f"model/{MODEL}", f"run#{taken['run']}") or {})["state"] == "stopped"
    assert approvals.waiting(MODEL) == []
    (message,) = [m for m in batched.messages() if m["kind"] == "run-failed"]
    assert "can still be approved" in message["what"]
    assert {r["state"] for r in reasons() if r["signal"]["kind"] == "data"} == {"answered"}


def test_f28_a_job_whose_making_was_not_heard_is_stopped_and_the_run_is_made_again_under_another_name(
    running: Lab, intake: World
) -> None:
    begin_jobs(running)
    wakes("on_signal.request")
    (reason,) = reasons()
    ledger.change(f"model/{MODEL}", f"reason#{reason['signal']['id']}", put={"state": "answered", "run": OWNED})
    cause = "Training job names must be unique (Service: AmazonSageMaker; Status Code: 400; Error Code: ResourceInUse)"
    failure = {"Error": "TrainingFailed", "Code": "SageMaker.ResourceInUseException", "Cause": cause}
    given = {"model": MODEL, "run": OWNED, "execution": OWNER, "at": AT, "correlation_id": "c", "failure": failure}
    answer = handler("close_run")(given, CONTEXT)

    assert (answer["outcome"], answer["error"]) == ("lost answer", "LostAnswer")
    assert all(job.stopped for job in running.executor.jobs)
    assert [r["state"] for r in reasons()] == ["waiting"]
    (message,) = [m for m in intake.messages() if m["kind"] == "run-failed"]
    assert "tried again" in message["what"]
    assert names.run_id(MODEL, "another-execution") != OWNED


# -- what people hear ----------------------------------------------------------------------------------------------------

OUTCOMES = ("approved", "rejected", "not better", "below threshold", "refused", "expired", "failed", "stopped")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_01_tr_13_eb_11_one_message_for_each_finished_run_with_execution_performance_reason_and_next_step(
    batched: World, outcome: str
) -> None:
    taken = take("e1")
    measured = {"metric": "auc", "value": 0.84, "threshold": 0.85, "run": taken["run"]}
    ledger.append(f"model/{MODEL}", "judgement", AT, measured, key=taken["run"])
    for _ in range(2):
        close(taken, "e1", outcome)

    (message,) = batched.messages()
    broken = outcome in ("refused", "failed", "stopped")
    assert message["kind"] == ("run-failed" if broken else "run-finished")
    assert (message["execution"], message["trigger_reason"]) == ("e1", "NewDataAvailable")
    assert message["performance"] == measured
    assert outcome in message["what"]
    assert taken["run"] in message["proof"]
    assert message["next_step"]


def test_no_02_subscribers_choose_by_kind_and_by_model(intake: World) -> None:
    policies = {
        "drift": {"kind": ["drift"]},
        "runs-of-flights": {"kind": ["run-failed", "run-finished"], "model": [MODEL]},
        "refused": {"kind": ["quarantined"]},
    }
    queues = {}
    for name, policy in policies.items():
        queues[name] = intake.sqs.create_queue(QueueName=name)["QueueUrl"]
        intake.sns.subscribe(
            TopicArn=intake.topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{name}",
            Attributes={"FilterPolicy": json.dumps(policy)},
        )  # fmt: skip
    onboard("other")
    wake(put_batch(intake, "2013-01", flights.batch(season="winter", rows=600, part=0)))
    close(take("e1"), "e1", "failed")
    for name in ("e2", "e3"):  # a run of another model
        ledger.put_once("model/other", f"run#{name}", {"run": name, "state": "running"})
        runs.close("other", name, name, AT, "failed", "by a test", correlation_id="c")
    wakes("on_signal.drift")
    wake({"id": "x", "source": 3})

    def heard(name: str) -> list[tuple[str, str]]:
        got = intake.sqs.receive_message(QueueUrl=queues[name], MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(json.loads(m["Body"])["Message"]) for m in got]
        return [(b["kind"], b["model"]) for b in bodies]

    assert {name: heard(name) for name in queues} == {
        "drift": [("drift", MODEL)], "runs-of-flights": [("run-failed", MODEL)], "refused": [("quarantined", "_unknown")],
    }  # fmt: skip


def test_gap_19_the_heartbeats_alarm_watches_the_metric_that_a_whole_pass_puts(intake: World, template: Any) -> None:
    handler("reconcile_models")(sample("reconcile_models"), CONTEXT)
    (put_,) = intake.cloudwatch.list_metrics(Namespace="Linnet", MetricName="Reconciled")["Metrics"]
    alarm = _fill(resources(template, "AWS::CloudWatch::Alarm")["ReconcilerAlarm"])

    assert (alarm["Namespace"], alarm["MetricName"]) == (put_["Namespace"], put_["MetricName"])
    assert alarm["Dimensions"] == put_["Dimensions"]
    assert (alarm["TreatMissingData"], alarm["AlarmActions"]) == ("breaching", ["Topic"])


# -- no loop, no lock by hand --------------------------------------------------------------------------------------------


def _statements(template: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        (role, statement)
        for role, properties in resources(template, "AWS::IAM::Role").items()
        for policy in properties.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_f8_da_01_no_role_of_the_stack_may_write_what_wakes_it(template: Any) -> None:
    inputs = ("raw-data/*", "specs/*", "ground-truth/*")
    writes: dict[str, set[str]] = {}
    denied: dict[str, set[str]] = {}
    for role, statement in _statements(template):
        if "s3:PutObject" in _listed(statement["Action"]):
            places = {str(_fill(place)).partition("/")[2] for place in _listed(statement["Resource"])}
            kept = denied if statement["Effect"] == "Deny" else writes
            kept.setdefault(role, set()).update(places)

    assert writes
    for role, places in writes.items():
        reached = {place for place in inputs if "*" in places or place in places}
        assert reached <= denied.get(role, set()), role


def test_f8_no_role_puts_events_so_that_no_rule_wakes_another(template: Any) -> None:
    assert [role for role, s in _statements(template) if "events:PutEvents" in _listed(s["Action"])] == []


def test_f20_no_role_may_turn_a_rule_or_an_alarm_off(template: Any) -> None:
    off = {"events:DisableRule", "events:DeleteRule", "events:RemoveTargets", "cloudwatch:DisableAlarmActions"}
    may = [(role, s) for role, s in _statements(template) if off & set(_listed(s["Action"]))]
    rules = {
        str(_fill(place)).rpartition("/")[2]
        for _, s in _statements(template)
        if "events:PutRule" in _listed(s["Action"])
        for place in _listed(s["Resource"])
    }

    assert may == []
    assert rules  # Step Functions' own, by which it waits for jobs
    assert all(rule.startswith("StepFunctionsGetEventsFor") for rule in rules)


# -- specs of before -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [flights.spec(), diamonds.spec()], ids=["flights", "diamonds"])
def test_f9_a_spec_that_an_older_version_stored_reads_with_todays_defaults(written: dict[str, Any]) -> None:
    today = spec_json(check_spec(written))

    assert filled(written) == today
    assert filled(today) == today
    for part in ("data", "training", "evaluation", "approval", "retraining", "monitors"):
        for field in today[part]:
            if field not in written.get(part, {}):
                older = today | {part: {k: v for k, v in today[part].items() if k != field}}
                assert filled(older) == today, f"{part}.{field}"
        if part not in written:
            assert filled({k: v for k, v in today.items() if k != part}) == today


def test_f9_a_part_within_a_list_or_mapping_is_filled_too() -> None:
    written = flights.spec()
    written["training"]["tuning"] = {"ranges": {"eta": {"min": 0.1, "max": 0.3}}, "max_jobs": 3, "max_parallel": 1}
    written["data"]["rules"] = [{"kind": "exists", "column": "distance"}]

    assert filled(written) == spec_json(check_spec(written))


def test_f9_intake_works_on_a_spec_of_before_these_fields(batched: World) -> None:
    row = ledger.read(f"model/{MODEL}", "spec") or {}
    older = {name: dict(part) if isinstance(part, dict) else part for name, part in row["spec"].items()}
    for part, field in (("retraining", "retries"), ("retraining", "ask_person"), ("data", "labelled_capture_days")):
        del older[part][field]
    ledger.change(f"model/{MODEL}", "spec", put={"spec": older})
    wakes("on_signal.drift")
    taken = take("e1")
    close(taken, "e1", "quota")
    handler("reconcile_models")(sample("reconcile_models"), CONTEXT)

    assert taken["spec"] == specs.read(MODEL) == row["spec"]
    assert {r["state"] for r in reasons()} == {"waiting"}
