"""Every signal through its real handler: each counts once, none is lost, what is wrong for ever is kept with its reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
import time_machine

from linnet.events.spec import check_spec, spec_json
from linnet.gateways import ledger, runs
from linnet.gateways.clients import client
from linnet.settings import settings
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture

MODEL = "flights"


@pytest.fixture
def intake(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return the account with an onboarded model, its machines and its drift alarm in ALARM."""
    return furnish(world, monkeypatch)


def furnish(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("retrain", "intake"):
        world.machines[name] = world._machine(name)
        monkeypatch.setenv(f"LINNET_{name.upper()}_MACHINE", world.machines[name])
    monkeypatch.setenv("LINNET_SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/sagemaker")
    settings.cache_clear()
    onboard(MODEL)
    for alarm in ("linnet-flights-drift", "linnet-flights-quality"):
        world.cloudwatch.put_metric_alarm(
            AlarmName=alarm, MetricName="m", Namespace="n", Period=60, EvaluationPeriods=1, Threshold=1, Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip
        world.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="by a test")
    return world


def onboard(model: str, **retraining: Any) -> None:
    spec = spec_json(check_spec(flights.spec() | {"model": model, "retraining": retraining}))
    row = {"spec": spec, "digest": "d", "version_id": "v", "at": "2026-11-21T00:00:00Z"}
    ledger.change(f"model/{model}", "spec", put=row, only_if="attribute_not_exists(pk) OR attribute_exists(pk)")
    ledger.put_once("models", model, {"model": model})


def calm_alarms(world: World) -> None:
    for purpose in ("drift", "quality"):
        world.cloudwatch.set_alarm_state(
            AlarmName=f"linnet-{MODEL}-{purpose}", StateValue="OK", StateReason="by a test"
        )


def wake(event: Any, at: datetime | None = None) -> Any:
    """Deliver an event, in the moment that it tells of unless the test says another."""
    told = event.get("time") if isinstance(event, dict) and not time_machine.escape_hatch.is_travelling() else None
    with time_machine.travel(at or told, tick=False) if at or told else nullcontext():
        return handler("on_signal")(event, CONTEXT)


def wakes(*names: str) -> None:
    for name in names:
        wake(sample(name))


def reasons(model: str = MODEL) -> list[dict[str, Any]]:
    return list(ledger.query(f"model/{model}", "reason#"))


def put_batch(world: World, batch: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Upload a batch and return the event of its manifest."""
    event = sample("on_signal.manifest")
    for name in sorted(files, key=lambda n: n == "_MANIFEST.json"):
        version = world.put(f"raw-data/{MODEL}/{batch}/{name}", files[name])
    event["detail"]["object"] |= {"key": f"raw-data/{MODEL}/{batch}/_MANIFEST.json", "version-id": version}
    return event


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("on_signal.drift", "DataDriftDetected"),
        ("on_signal.quality", "ModelQualityDegraded"),
        ("on_signal.monitor", "ModelDriftDetected"),
        ("on_signal.schedule", "Scheduled"),
        ("on_signal.request", "Manual"),
        ("on_signal.commit", "CodeChanged"),
    ],
)
def test_eb_01_eb_02_eb_03_tg_02_an_event_of_each_family_starts_exactly_one_run_that_names_it(
    intake: World, name: str, reason: str
) -> None:
    wakes(name)

    assert len(intake.started("retrain")) == 1
    (kept,) = reasons()
    assert kept["signal"]["reason"] == reason
    assert sample(name)["id"] in kept["signal"]["source"]


@pytest.mark.parametrize(
    "name", ["on_signal.drift_over", "on_signal.drift_notice", "on_signal.monitor_quiet", "on_signal.folder",
             "on_signal.elsewhere"],
)  # fmt: skip
def test_da_02_eb_03_what_is_no_reason_starts_nothing_and_is_no_error(intake: World, name: str) -> None:
    wakes(name)

    assert intake.started("retrain") == []
    assert reasons() == []
    assert intake.documents("quarantine/") == {}


def test_f1_f2_f19_duplicates_with_the_same_and_with_fresh_ids_are_one_run(intake: World) -> None:
    for name in ("on_signal.drift", "on_signal.schedule"):
        for number in range(4):
            event = sample(name)
            event["id"] = event["id"] if number < 2 else f"fresh-{number}"
            wake(event)

    assert len(reasons()) == 2
    assert len(intake.started("retrain")) == 2  # by what waited each time; the slot lets one run


def test_f4_an_alarm_that_is_over_when_its_event_arrives_asks_for_nothing(intake: World) -> None:
    intake.cloudwatch.set_alarm_state(AlarmName="linnet-flights-drift", StateValue="OK", StateReason="by a test")
    wakes("on_signal.drift")

    assert reasons() == []


def test_f7_a_forged_alarm_of_a_model_that_does_not_exist_is_quarantined_and_told(intake: World) -> None:
    event = sample("on_signal.drift")
    event["detail"]["alarmName"] = "linnet-stranger-drift"

    assert "quarantined" in wake(event)
    (record,) = intake.documents("quarantine/").values()
    assert record["field"] == "detail.alarmName"
    assert "flights" in record["allowed"]
    assert [m["kind"] for m in intake.messages()] == ["quarantined"]
    assert intake.started("retrain") == []


def test_tg_01_a_signal_kind_that_the_spec_does_not_retrain_on_is_noted_and_starts_nothing(intake: World) -> None:
    onboard(MODEL, signals=["drift", "manual"])
    wakes("on_signal.schedule")

    assert [r["state"] for r in reasons()] == ["noted"]
    assert intake.started("retrain") == []


def test_f21_a_manifest_closes_its_batch_with_exactly_the_listed_versions_and_starts_one_run(intake: World) -> None:
    event = put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0))
    for _ in range(3):
        wake(event)

    assert len(intake.started("retrain")) == 1
    (batch,) = ledger.query(f"model/{MODEL}", "batch#")
    assert batch["state"] == "closed"
    (listed,) = intake.documents("processed-data/").values()
    version = intake.s3.head_object(Bucket=BUCKET, Key=f"raw-data/{MODEL}/2013-01/part-00001.csv")["VersionId"]
    assert [(o["uri"].rpartition("/")[2], o["version"]) for o in listed] == [("part-00001.csv", version)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda m: m["objects"][0].update(size=1), "size of part-00001.csv"),
        (lambda m: m["objects"][0].update(sha256="0" * 64), "sha256 of part-00001.csv"),
        (lambda m: m["objects"][0].update(key="part-00002.csv"), "_MANIFEST.json"),
        (lambda m: m["objects"][0].update(key="../secret"), "_MANIFEST.json objects[0].key"),
        (lambda m: m["objects"][0].update(rows=-1), "_MANIFEST.json objects[0].rows"),
        (lambda m: m["objects"][0].update(sha256="zz"), "_MANIFEST.json objects[0].sha256"),
        (lambda m: m.update(objects=[]), "_MANIFEST.json objects"),
        (lambda m: m["objects"].append(m["objects"][0]), "_MANIFEST.json objects"),
    ],
)
def test_f21_a_manifest_that_lies_is_quarantined_with_the_field_named_and_starts_nothing(
    intake: World, change: Any, field: str
) -> None:
    files = flights.batch(season="winter", rows=50, part=0)
    manifest = json.loads(files["_MANIFEST.json"])
    change(manifest)
    wake(put_batch(intake, "2013-01", files | {"_MANIFEST.json": json.dumps(manifest).encode()}))

    (record,) = intake.documents("quarantine/").values()
    assert record["field"] == field
    assert intake.started("retrain") == []


def arrival(key: str, at: datetime, sequencer: str, version: str = "v1") -> dict[str, Any]:
    event = sample("on_signal")
    event["time"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    event["detail"]["object"] |= {"key": key, "sequencer": sequencer, "version-id": version, "size": 5}
    return event


def test_a_burst_without_a_manifest_is_one_batch_of_the_distinct_latest_versions_whatever_the_order(
    intake: World,
) -> None:
    start = datetime(2026, 11, 21, 2, tzinfo=UTC)
    keys = [f"raw-data/{MODEL}/burst/{name}" for name in ("a b.csv", "c+d.csv", "ü.csv")]
    events = [arrival(k, start, f"0A{n}", f"v{n}") for n, k in enumerate(keys)]
    events.append(arrival(keys[1], start, "0A9", "newest"))
    for event in [*reversed(events), *events]:
        wake(event)
    quiet = {"model": MODEL, "batch": "burst", "at": "2026-11-21T02:04:00Z", "correlation_id": "c"}

    assert handler("close_batch")(quiet, CONTEXT)["closed"] is False
    assert handler("close_batch")(quiet | {"at": "2026-11-21T02:05:00Z"}, CONTEXT)["closed"] is True
    assert handler("close_batch")(quiet | {"at": "2026-11-21T02:06:00Z"}, CONTEXT)["closed"] is True

    assert len(intake.started("intake")) == 1
    assert len(intake.started("retrain")) == 1
    (listed,) = intake.documents("processed-data/").values()
    assert {o["uri"].rpartition("/")[2]: o["version"] for o in listed} == {
        "a b.csv": "v0", "c+d.csv": "newest", "ü.csv": "v2",
    }  # fmt: skip


def test_f4_an_event_that_comes_after_its_batch_was_closed_with_it_opens_no_other_batch(intake: World) -> None:
    """Events of the objects and of their manifest race, and each may come twice."""
    event = put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0))
    key = f"raw-data/{MODEL}/2013-01/part-00001.csv"
    version = intake.s3.head_object(Bucket=BUCKET, Key=key)["VersionId"]
    wake(event)
    late = arrival(key, datetime.fromisoformat(event["time"]) - timedelta(seconds=2), "0A1", version)
    overwritten = arrival(key, datetime.fromisoformat(event["time"]) - timedelta(seconds=3), "0A0", "an-older-version")
    wake(late)
    wake(overwritten)

    assert {r["batch"]: r["state"] for r in ledger.query(f"model/{MODEL}", "batch#")} == {"2013-01": "closed"}
    assert len(intake.started("retrain")) == 1


def test_an_object_that_arrives_while_its_batch_closes_is_in_the_list_or_in_the_next_batch(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2026, 11, 21, 2, tzinfo=UTC)
    wake(arrival(f"raw-data/{MODEL}/burst/a.csv", start, "0A1"))
    real = ledger.query

    def meanwhile(pk: str, prefix: str = "", **more: Any) -> Iterator[dict[str, Any]]:
        rows = list(real(pk, prefix, **more))
        if prefix == "object#":
            monkeypatch.setattr(ledger, "query", real)
            wake(arrival(f"raw-data/{MODEL}/burst/b.csv", start + timedelta(seconds=1), "0A2"))
        return iter(rows)

    monkeypatch.setattr(ledger, "query", meanwhile)
    quiet = {"model": MODEL, "batch": "burst", "at": "2026-11-21T02:05:01Z", "correlation_id": "c"}

    assert handler("close_batch")(quiet, CONTEXT) == {"closed": False, "why": "objects still arrive"}
    assert handler("close_batch")(quiet | {"at": "2026-11-21T02:06:00Z"}, CONTEXT)["closed"] is True
    (batch,) = runs.batches.for_run(MODEL, 10)
    assert sorted(o["uri"].rpartition("/")[2] for o in batch["objects"]) == ["a.csv", "b.csv"]


def test_an_object_version_that_two_batches_list_is_trained_on_once(intake: World) -> None:
    files = flights.batch(season="winter", rows=50, part=0)
    event = put_batch(intake, "2013-01", files)
    key = f"raw-data/{MODEL}/2013-01/part-00001.csv"
    version = intake.s3.head_object(Bucket=BUCKET, Key=key)["VersionId"]
    wake(arrival(key, datetime.fromisoformat(event["time"]) - timedelta(hours=1), "0A1", version))
    quiet = {"model": MODEL, "batch": "2013-01", "at": event["time"], "correlation_id": "c"}
    assert handler("close_batch")(quiet, CONTEXT)["closed"] is True
    wake(event)  # its manifest, an hour late

    (batch,) = runs.batches.for_run(MODEL, 10)
    assert batch["batch"] == "2013-01~2"
    assert [o["version"] for o in batch["objects"]] == [version]


def test_a_late_file_makes_the_next_batch(intake: World) -> None:
    start = datetime(2026, 11, 21, 2, tzinfo=UTC)
    wake(arrival(f"raw-data/{MODEL}/burst/a.csv", start, "0A1"))
    handler("close_batch")(
        {"model": MODEL, "batch": "burst", "at": "2026-11-21T03:00:00Z", "correlation_id": "c"}, CONTEXT
    )
    wake(arrival(f"raw-data/{MODEL}/burst/late.csv", start + timedelta(hours=2), "0A2"))

    states = {r["batch"]: r["state"] for r in ledger.query(f"model/{MODEL}", "batch#")}
    assert states == {"burst": "closed", "burst~2": "open"}


@pytest.mark.parametrize(
    "event", [None, [], 7, "text", {}, {"detail-type": "Object Created"}, {"id": "x", "source": 3}]
)
def test_f6_an_event_that_does_not_parse_is_quarantined_with_a_reason_and_never_retried(
    intake: World, event: Any
) -> None:
    assert "quarantined" in wake(event)
    (record,) = intake.documents("quarantine/").values()
    assert record["field"]
    assert record["allowed"]


def take(execution: str, at: str = "2026-11-21T02:00:00Z") -> dict[str, Any]:
    given_ = {"model": MODEL, "execution": execution, "at": at, "correlation_id": "c"}
    return dict(handler("take_slot")(given_, CONTEXT))


@pytest.fixture
def batched(intake: World) -> World:
    """Return the account with a closed batch that waits for a run."""
    wake(put_batch(intake, "2013-01", flights.batch(season="winter", rows=600, part=0)))
    return intake


def test_of_two_executions_one_takes_the_slot_and_the_same_one_may_ask_again(batched: World) -> None:
    first, second, again = take("e1"), take("e2"), take("e1")

    assert (first["proceed"], second["proceed"], again["proceed"]) == (True, False, True)
    assert "holds the slot" in second["why"]
    assert {k: again[k] for k in ("run", "trigger", "inputs_uri")} == {
        k: first[k] for k in ("run", "trigger", "inputs_uri")
    }


def test_tg_06_an_execution_by_hand_counts_as_a_manual_signal(batched: World) -> None:
    ledger.change(f"model/{MODEL}", f"reason#{reasons()[0]['signal']['id']}", put={"state": "answered"})

    assert take("by-hand")["trigger"]["TriggerReason"] == "Manual"


def test_an_execution_whose_reasons_another_one_answered_invents_none_of_its_own(batched: World) -> None:
    wakes("on_signal.drift")
    started = {e["name"]: e["input"] for e in batched.started("retrain")}
    assert len(started) == 2  # the second was started for both reasons before anybody took the slot
    answers = [
        handler("take_slot")({"execution": name, "at": "2026-11-21T02:00:00Z", **given_}, CONTEXT)
        for name, given_ in started.items()
    ]

    assert [a["proceed"] for a in answers] == [True, False]
    close(answers[0], next(iter(started)), "not better")
    again = handler("take_slot")(
        {"execution": list(started)[1], "at": "2026-11-21T03:00:00Z", **list(started.values())[1]}, CONTEXT
    )
    assert "another run answered" in again["why"]
    assert {r["signal"]["kind"] for r in reasons()} == {"data", "drift"}


def test_eb_05_merged_reasons_show_the_gravest_and_none_is_lost(batched: World) -> None:
    wakes("on_signal.drift", "on_signal.schedule")
    taken = take("e1")

    assert taken["trigger"] == {
        "TriggerReason": "DataDriftDetected", "Timestamp": "2026-11-21T02:00:00Z", "DriftSeverity": "High",
    }  # fmt: skip
    assert {r["state"] for r in reasons()} == {"answered"}
    assert len(reasons()) == 3


def close(taken: dict[str, Any], execution: str, outcome: str, at: str = "2026-11-21T02:10:00Z") -> None:
    given_ = {
        "model": MODEL, "run": taken["run"], "execution": execution, "at": at, "outcome": outcome, "why": "by a test",
        "correlation_id": "c",
    }  # fmt: skip
    handler("close_run")(given_, CONTEXT)


def test_f13_a_registered_candidate_cools_down_a_failed_run_does_not_and_the_reconciler_starts_what_waits(
    batched: World,
) -> None:
    failed = take("e1")
    close(failed, "e1", "failed")
    wakes("on_signal.drift")
    again = take("e2", "2026-11-21T02:11:00Z")
    runs.free(MODEL, "e2", "2026-11-21T02:20:00Z", judged=True, registered=again["run"])  # as register_candidate does
    calm_alarms(batched)
    wakes("on_signal.request")
    before = len(batched.started("retrain"))

    assert again["proceed"]
    assert take("e3", "2026-11-21T02:30:00Z")["why"].startswith("cooling down until 2026-11-21T08:20:00Z")
    tick = sample("reconcile_models")
    handler("reconcile_models")(tick, CONTEXT)
    assert len(batched.started("retrain")) == before
    handler("reconcile_models")(tick | {"time": "2026-11-21T08:30:00Z"}, CONTEXT)
    assert len(batched.started("retrain")) == before + 1
    assert [r["signal"]["kind"] for r in reasons() if r["state"] == "waiting"] == ["manual"]


def test_a_rejected_candidate_does_not_keep_the_next_run_waiting(batched: World) -> None:
    taken = take("e1")
    runs.free(MODEL, "e1", "2026-11-21T02:20:00Z", judged=True, registered=taken["run"])
    wakes("on_signal.drift")
    assert take("e2", "2026-11-21T02:30:00Z")["why"].startswith("cooling down")
    close(taken, "e1", "rejected", "2026-11-21T02:40:00Z")

    assert "cooled_from" not in (ledger.read(f"model/{MODEL}", "slot") or {})


def test_tg_07_where_the_spec_asks_a_person_nothing_starts_before_they_say_yes(intake: World) -> None:
    onboard(MODEL, ask_person=True)
    wakes("on_signal.drift", "on_signal.drift", "on_signal.schedule")

    assert intake.started("retrain") == []
    asked = [m for m in intake.messages() if m["kind"] == "decision-wanted"]
    assert len(asked) == 1
    said = {
        "decision_id": asked[0]["decision_id"],
        "decision": "approve",
        "decided_by": "ada@example.org",
        "comment": "y",
    }
    for _ in range(2):
        handler("decide_candidate")(said, CONTEXT)
    assert len(intake.started("retrain")) == 1
    assert {r["state"] for r in reasons()} == {"waiting"}


def test_tg_07_a_persons_no_declines_the_reasons_and_the_next_one_asks_again(intake: World) -> None:
    onboard(MODEL, ask_person=True)
    wakes("on_signal.drift")
    (asked,) = [m for m in intake.messages() if m["kind"] == "decision-wanted"]
    said = {"decision_id": asked["decision_id"], "decision": "reject", "decided_by": "ada@example.org", "comment": "n"}
    handler("decide_candidate")(said, CONTEXT)
    assert [r["state"] for r in reasons()] == ["declined"]
    wakes("on_signal.schedule")

    assert [m["kind"] for m in intake.messages()].count("decision-wanted") == 1
    assert intake.started("retrain") == []


def test_tg_06_a_persons_own_request_is_not_asked_about(intake: World) -> None:
    onboard(MODEL, ask_person=True)
    wakes("on_signal.request")

    assert len(intake.started("retrain")) == 1


def test_a_question_that_nobody_answered_is_asked_again_and_its_reasons_are_kept(intake: World) -> None:
    onboard(MODEL, ask_person=True)
    wakes("on_signal.drift")
    calm_alarms(intake)
    intake.messages()
    tick = sample("reconcile_models")
    late = (datetime.fromisoformat(tick["time"]) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for _ in range(2):
        handler("reconcile_models")(tick | {"time": late}, CONTEXT)

    assert [m["kind"] for m in intake.messages()].count("decision-wanted") == 1
    assert [r["state"] for r in reasons()] == ["asking"]


def test_f5_an_alarm_whose_event_was_lost_is_found_and_one_that_stands_is_heard_again_after_its_run(
    batched: World,
) -> None:
    onboard(MODEL, cooldown_seconds=0, signals=["drift"])
    close(take("e0"), "e0", "not better")  # what waited is answered
    batched.cloudwatch.set_alarm_state(AlarmName="linnet-flights-quality", StateValue="OK", StateReason="by a test")
    tick = sample("reconcile_models") | {"time": "2026-11-21T03:00:00Z"}

    def seen() -> list[str]:
        handler("reconcile_models")(tick, CONTEXT)
        return [r["state"] for r in reasons() if r["signal"]["kind"] == "drift"]

    assert seen() == ["waiting"]  # its event never came
    assert seen() == ["waiting"]
    close(take("e1", "2026-11-21T03:01:00Z"), "e1", "not better", "2026-11-21T03:10:00Z")
    assert sorted(seen()) == ["answered", "waiting"]  # it still stands
    calm_alarms(batched)
    assert sorted(seen()) == ["answered", "waiting"]


def test_f5_a_batch_of_which_no_event_told_is_found_with_and_without_its_manifest(intake: World) -> None:
    files = flights.batch(season="winter", rows=50, part=0)
    put_batch(intake, "told-by-manifest", files)
    intake.put(f"raw-data/{MODEL}/year=2026/month=11/part.csv", files["part-00001.csv"])
    tick = sample("reconcile_models")
    soon = datetime.now(UTC) + timedelta(hours=1)
    for hours in (0, 1, 2):
        at = (soon + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        handler("reconcile_models")(tick | {"time": at}, CONTEXT)

    assert {r["batch"]: r["state"] for r in ledger.query(f"model/{MODEL}", "batch#")} == {
        "told-by-manifest": "closed", "year=2026/month=11": "closed",
    }  # fmt: skip
    assert len([r for r in reasons() if r["signal"]["kind"] == "data"]) == 2


def test_f5_a_closed_batch_whose_signal_was_lost_is_admitted(intake: World) -> None:
    wake(put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0)))
    (kept,) = reasons()
    ledger.remove(f"model/{MODEL}", f"reason#{kept['signal']['id']}")
    ledger.remove(f"model/{MODEL}#seen", f"signal#{kept['signal']['id']}")
    handler("reconcile_models")(sample("reconcile_models"), CONTEXT)

    assert kept["signal"]["id"] in [r["signal"]["id"] for r in reasons()]


def test_one_models_trouble_keeps_no_other_from_being_reconciled_and_stops_the_heartbeat(intake: World) -> None:
    ledger.put_once("models", "broken", {"model": "broken"})  # onboarded, but its spec is gone
    wakes("on_signal.request")
    take("gone")
    with pytest.raises(RuntimeError, match="not reconciled: broken"):
        handler("reconcile_models")(sample("reconcile_models"), CONTEXT)

    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})
    beats = intake.cloudwatch.list_metrics(Namespace="Linnet", MetricName="Reconciled")["Metrics"]
    assert beats == []
    ledger.remove("models", "broken")
    handler("reconcile_models")(sample("reconcile_models"), CONTEXT)
    assert len(intake.cloudwatch.list_metrics(Namespace="Linnet", MetricName="Reconciled")["Metrics"]) == 1


@pytest.mark.parametrize("name", ["a b.csv", "c+d.csv", "ü.csv", "50%.csv"])
def test_s3s_own_notification_says_the_same_as_its_event_though_its_key_is_form_encoded(
    intake: World, name: str
) -> None:
    key = f"raw-data/{MODEL}/burst/{name}"
    event = arrival(key, datetime(2026, 11, 21, 2, tzinfo=UTC), "0A1")
    record = {
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-21T02:00:01.000Z",
        "s3": {"bucket": {"name": BUCKET},
               "object": {"key": quote_plus(key, safe="/"), "size": 5, "versionId": "v1", "sequencer": "0A1"}},
    }  # fmt: skip
    wake(event)
    wake({"Records": [record]})

    (row,) = ledger.query(f"model/{MODEL}/batch/burst", "object#")
    assert row["uri"] == f"s3://{BUCKET}/{key}"


@pytest.mark.parametrize(
    ("alarm", "reason"), [("bias", "BiasDriftDetected"), ("attribution", "AttributionDriftDetected")]
)
def test_tg_09_a_bias_or_attribution_finding_is_a_signal_like_drift(intake: World, alarm: str, reason: str) -> None:
    name = f"linnet-{MODEL}-{alarm}"
    intake.cloudwatch.put_metric_alarm(
        AlarmName=name, MetricName="m", Namespace="n", Period=60, EvaluationPeriods=1, Threshold=1, Statistic="Sum",
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    intake.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by a test")
    event = sample("on_signal.drift")
    event["detail"]["alarmName"] = name
    wake(event)

    assert [r["signal"]["reason"] for r in reasons()] == [reason]
    assert len(intake.started("retrain")) == 1


def test_f5_the_reasons_of_a_run_that_died_or_found_no_quota_wait_again_as_often_as_the_spec_allows(
    batched: World,
) -> None:
    onboard(MODEL, retries=2)
    calm_alarms(batched)
    for number, (outcome, kept) in enumerate([("quota", "waiting"), ("throttled", "waiting"), ("quota", "answered")]):
        taken = take(f"e{number}")
        assert taken["trigger"]["TriggerReason"] == "NewDataAvailable"
        for _ in range(2):  # told twice
            close(taken, f"e{number}", outcome)
        assert [r["state"] for r in reasons()] == [kept]
    messages = [m for m in batched.messages() if m["kind"] == "run-failed"]
    assert ["tried again" in m["what"] for m in messages] == [True, True, False]
    assert [(m["execution"], m["trigger_reason"]) for m in messages] == [
        (f"e{n}", "NewDataAvailable") for n in range(3)
    ]


@pytest.mark.parametrize("outcome", ["failed", "stopped", "refused", "not better"])
def test_f30_f31_what_failed_for_a_reason_of_its_own_is_not_tried_again(batched: World, outcome: str) -> None:
    close(take("e1"), "e1", outcome)

    assert [r["state"] for r in reasons()] == ["answered"]


def test_nothing_new_since_the_last_judged_run_does_not_start_and_says_so(batched: World) -> None:
    close(take("e1"), "e1", "not better")
    onboard(MODEL, cooldown_seconds=0)
    found = take("e2", "2026-11-21T09:00:00Z")

    assert (found["proceed"], "nothing is new" in found["why"]) == (False, True)
    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})


def put_labelled_requests(world: World, name: str, count: int) -> None:
    """Let the endpoint have captured requests, and their truth have come in."""
    asked = flights.requests(season="winter")[:count]
    folder = datetime.now(UTC).strftime("%Y/%m/%d/%H")
    capture = [
        {"captureData": {"endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": row, "encoding": "CSV"},
                         "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "0.5",
                                            "encoding": "CSV"}},
         "eventMetadata": {"eventId": f"{name}-{n}", "inferenceTime": "2026-11-21T01:00:00Z"}, "eventVersion": "0"}
        for n, row in enumerate(asked)
    ]  # fmt: skip
    truth = [
        {"groundTruthData": {"data": str(n % 2), "encoding": "CSV"}, "eventMetadata": {"eventId": f"{name}-{n}"},
         "eventVersion": "0"}
        for n in range(len(asked))
    ]  # fmt: skip
    place = f"linnet-{MODEL}-v1-f1/linnet-{MODEL}/blue"
    world.put(f"data-capture/{place}/{folder}/{name}.jsonl", "\n".join(json.dumps(line) for line in capture))
    world.put(f"ground-truth/linnet-{MODEL}/{folder}/{name}.jsonl", "\n".join(json.dumps(line) for line in truth))
    # Another model's name begins with this one's.
    other = f"data-capture/linnet-{MODEL}-v2-v1-f1/linnet-{MODEL}-v2/blue/{folder}/{name}.jsonl"
    world.put(other, "\n".join(json.dumps(line) for line in capture))


def test_a_run_trains_on_labelled_capture_of_exact_versions_and_new_labels_are_something_new(batched: World) -> None:
    onboard(MODEL, cooldown_seconds=0)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    put_labelled_requests(batched, "first", 40)
    taken = take("e1", now)
    (document,) = batched.documents(f"results/{MODEL}/{taken['run']}/inputs").values()
    for kind in ("truth", "capture"):
        (listed,) = document["labelled"][kind]
        assert listed["version"]
    given_ = {"model": MODEL, "run": taken["run"], "spec": taken["spec"], "inputs_uri": taken["inputs_uri"], "at": now,
              "too_large": taken["too_large"],
              "correlation_id": "c"}  # fmt: skip
    prepared = handler("prepare_data")(given_, CONTEXT)
    assert prepared["rows"]["labelled"] == 40
    close(taken, "e1", "not better", now)

    assert "nothing is new" in take("e2", now)["why"]
    put_labelled_requests(batched, "second", 10)
    assert take("e3", now)["proceed"]


def test_the_daily_limit_holds_and_ends_with_the_day(batched: World) -> None:
    onboard(MODEL, cooldown_seconds=0, daily_limit=1)
    close(take("e1"), "e1", "failed")

    assert "daily limit of 1" in take("e2")["why"]
    assert take("e3", "2026-11-22T00:00:00Z")["proceed"]


def test_f5_the_reconciler_frees_the_slot_of_an_execution_that_is_gone_and_starts_what_waits(batched: World) -> None:
    take("gone")
    wakes("on_signal.drift")
    calm_alarms(batched)
    handler("reconcile_models")(sample("reconcile_models"), CONTEXT)

    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})
    assert next(ledger.query(f"model/{MODEL}", "run#"))["state"] == "failed"
    assert len(batched.started("retrain")) == 2


@pytest.mark.parametrize(("name", "freed"), [("on_workflow_ended", True), ("on_workflow_ended.succeeded", False)])
def test_i9_an_ended_execution_frees_only_what_it_holds(batched: World, name: str, freed: bool) -> None:
    take("flights-0123456789ab")
    handler("on_workflow_ended")(sample(name), CONTEXT)

    assert ("owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})) == freed


def test_f52_the_event_of_an_execution_that_was_redriven_since_frees_nothing(batched: World) -> None:
    (started,) = batched.started("retrain")
    take(started["name"])
    event = sample("on_workflow_ended")
    event["detail"]["executionArn"] = event["detail"]["executionArn"].rpartition(":")[0] + f":{started['name']}"
    event["detail"]["name"] = started["name"]
    answer = handler("on_workflow_ended")(event, CONTEXT)

    assert "runs again" in answer["ignored"]
    assert (ledger.read(f"model/{MODEL}", "slot") or {})["owner"] == started["name"]


def test_i9_a_late_event_of_another_execution_frees_nobody(batched: World) -> None:
    take("somebody-else")
    handler("on_workflow_ended")(sample("on_workflow_ended"), CONTEXT)

    assert (ledger.read(f"model/{MODEL}", "slot") or {})["owner"] == "somebody-else"


WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "PutObject", "StartExecution", "Publish")


class CrashError(BaseException):
    """The function died."""


def crash_at(number: int, *, after: bool) -> Any:
    """Die at the n-th write to AWS, before it reached AWS or after it did and the answer was lost."""
    seen = {"writes": 0}

    def die(params: Any = None, model: Any = None, **_: Any) -> None:
        if model.name in WRITES:
            seen["writes"] += 1
            if seen["writes"] == number:
                raise CrashError(model.name)

    for service in ("dynamodb", "s3", "stepfunctions", "sns"):
        client(service).meta.events.register(
            f"{_when(after=after)}-call.*.*", die, unique_id=f"crash-{_when(after=after)}"
        )
    return seen


def _when(*, after: bool) -> str:
    return "after" if after else "before"


def calm() -> None:
    for service in ("dynamodb", "s3", "stepfunctions", "sns"):
        for when in ("after", "before"):
            client(service).meta.events.unregister(f"{when}-call.*.*", unique_id=f"crash-{when}")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 13))
def test_f28_f45_a_crash_at_any_write_loses_no_reason_and_starts_no_second_run(
    intake: World, number: int, after: bool
) -> None:
    event = put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0))
    steps = (
        lambda: wake(event),
        lambda: take("e1"),
        lambda: close(take("e1"), "e1", "not better"),
    )
    crash_at(number, after=after)
    for step in steps:
        try:
            step()
        except CrashError:
            calm()
            step()  # delivered again, as the event, the task's retry or the next state does
    calm()

    assert len(intake.started("retrain")) == 1
    assert [r["state"] for r in reasons()] == ["answered"]
    slot = ledger.read(f"model/{MODEL}", "slot") or {}
    assert "owner" not in slot
    assert slot["day_runs"] == 1
    (run,) = ledger.query(f"model/{MODEL}", "run#")
    assert run["state"] == "not better"
    kinds = [e["kind"] for e in ledger.history(f"model/{MODEL}")]
    assert sorted(kinds) == ["batch", "run-ended", "run-started", "signal"]


def test_the_crash_test_itself_fails_when_claiming_is_not_conditional(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wake(put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0)))
    monkeypatch.setattr(runs, "_claim", lambda *_: True)  # the deliberately broken variant: nobody checks who holds it

    assert take("e1")["proceed"]
    assert take("e2")["proceed"]  # two runs of one model: what the condition prevents


@pytest.mark.parametrize("broken", [False, True], ids=["real", "claim without its condition"])
def test_i5_of_two_that_read_the_same_free_slot_one_claims_it(
    batched: World, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """Calls in sequence are told apart by the governor's reading; only this race needs the condition of the write."""
    if broken:
        real, always = ledger.change, {"only_if": "attribute_exists(pk) OR attribute_not_exists(pk)", "given": {}}
        monkeypatch.setattr(ledger, "change", lambda *a, **k: real(*a, **(k | always)))
    held = ledger.read(f"model/{MODEL}", "slot") or {}
    won = [runs._claim(MODEL, e, f"r-{e}", "2026-11-21T02:00:00Z", held) for e in ("e1", "e2")]

    assert won == [True, broken]


def test_raw_data_is_read_only_its_bytes_are_the_same_after_intake(batched: World) -> None:
    files = flights.batch(season="winter", rows=600, part=0)
    for name, body in files.items():
        held = batched.s3.get_object(Bucket=BUCKET, Key=f"raw-data/{MODEL}/2013-01/{name}")["Body"].read()
        assert hashlib.sha256(held).hexdigest() == hashlib.sha256(body).hexdigest()
