"""Public bugs of triggers: duplicates, bursts, lost events, races, cool-downs. What Linnet does instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import governor, names, signals
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, S3Event, S3Notification, parse
from linnet.events.spec import check_spec, spec_json
from linnet.gateways import batches, ledger, runs
from linnet.gateways.clients import client
from models.flights import data as flights
from tests.contract.onboarding_world import CONTEXT, World, handler, sample, world  # noqa: F401 - fixtures
from tests.contract.test_intake import (
    MODEL,
    arrival,
    intake,  # noqa: F401 - a fixture
    reasons,
    wake,
    wakes,
)

START = datetime(2026, 11, 21, 2, tzinfo=UTC)
QUIET = {"model": MODEL, "batch": "burst", "at": "2026-11-21T02:30:00Z", "correlation_id": "c"}
SPEC = {"retraining": {"cooldown_seconds": 3600, "daily_limit": 2}}
NOW = "2026-11-21T12:00:00Z"


def burst(*files: str) -> list[dict[str, Any]]:
    """Return the events of files of one folder."""
    return [arrival(f"raw-data/{MODEL}/burst/{name}", START, f"0A{n}", f"v{n}") for n, name in enumerate(files)]


def trained_on() -> list[str]:
    """Return the names of the objects that the next run trains on."""
    return sorted(o["uri"].rpartition("/")[2] for b in batches.for_run(MODEL, 9) for o in b["objects"])


def notification(*keys: str) -> dict[str, Any]:
    """Return S3's own notification of objects."""
    return {
        "Records": [
            {
                "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-21T02:00:01.000Z",
                "s3": {"bucket": {"name": "linnet-data"}, "object": {"key": key, "size": 5, "sequencer": f"0B{n}"}},
            }
            for n, key in enumerate(keys)
        ]
    }  # fmt: skip


# -- duplicates and bursts -----------------------------------------------------------------------------------------------


def test_accelerated_intelligent_document_processing_on_aws_904_one_upload_is_one_execution(intake: World) -> None:
    """accelerated-intelligent-document-processing-on-aws#904, AWSPics#1: one upload started 3.36 executions."""
    (event,) = burst("a.csv")
    for fresh in ("one", "one", "two", "three"):
        wake(event | {"id": fresh})
    for minutes in (30, 31, 32):
        handler("close_batch")(QUIET | {"at": f"2026-11-21T02:{minutes}:00Z"}, CONTEXT)

    assert len(intake.started("intake")) == 1
    assert len(intake.started("retrain")) == 1


def test_guiyom_e_cdk_scheduler_34_a_tick_that_comes_twice_is_one_reason(intake: World) -> None:
    """guiyom-e/cdk-scheduler#34: a schedule fired twice and the work was done twice."""
    event = sample("on_signal.schedule")
    wake(event)
    wake(event | {"id": "another"})

    assert len(reasons()) == 1


def test_mlops_at_edge_10_the_first_deploy_runs_nothing_twice(world: World) -> None:
    """mlops-at-edge#10: the pipeline ran twice after the first deploy."""
    event = sample("on_spec")
    event["detail"]["object"]["version-id"] = world.put("specs/flights.yaml", flights.spec())
    for fresh in ("one", "two", "two"):
        handler("on_spec")(event | {"id": fresh}, CONTEXT)

    assert len(world.started("onboard")) == 1


def test_ministryofjustice_analytical_platform_8003_a_burst_is_one_run_that_lists_every_file(intake: World) -> None:
    """analytical-platform#8003, prefect#20554: one run a file, or one run that knows one file only."""
    files = [f"part-{n:02}.csv" for n in range(6)]
    for event in burst(*files):
        wake(event)
    handler("close_batch")(QUIET, CONTEXT)

    assert len(intake.started("retrain")) == 1
    assert trained_on() == files


def test_aws_ddk_examples_16_every_record_of_a_notification_counts(intake: World) -> None:
    """aws-ddk-examples#16, mlops-workload-orchestrator: only Records[0] was read."""
    wake(notification(*(f"raw-data/{MODEL}/burst/{name}.csv" for name in "abc")), START)
    handler("close_batch")(QUIET, CONTEXT)

    assert trained_on() == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize(("wire", "name"), [("a+b.csv", "a b.csv"), ("a%2Bb.csv", "a+b.csv"), ("%C3%BC.csv", "ü.csv")])
def test_mlops_workload_orchestrator_decode_a_notifications_key_is_decoded(wire: str, name: str) -> None:
    """mlops-workload-orchestrator, aws-sdk-js#837: keys of S3 notifications are form-encoded and were used as they came."""
    (record,) = parse(S3Notification, notification(f"raw-data/{MODEL}/burst/{wire}")).records

    assert signals.place(record.as_event().detail.object.key) == (MODEL, "burst", name)


@pytest.mark.parametrize("name", ["a+b.csv", "a%2Bb.csv", "100%.csv", "ü.csv"])
def test_aws_mlops_platform_public_plus_an_eventbridge_key_is_taken_as_it_comes(name: str) -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: unquote_plus on an EventBridge key corrupted '+'."""
    (event,) = burst(name)

    assert signals.place(parse(S3Event, event).detail.object.key) == (MODEL, "burst", name)


# -- races, locks, cool-downs --------------------------------------------------------------------------------------------


def test_aws_mlops_platform_public_race_two_that_see_the_same_start_one(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: list, then start with a random token: two at once are two runs."""
    wakes("on_signal.request")
    monkeypatch.setattr(governor, "may_start", lambda *_, **__: governor.Answer(start=True))
    for _ in range(3):
        runs.start(MODEL, NOW)
    held = ledger.read(f"model/{MODEL}", "slot") or {}
    claims = [runs._claim(MODEL, execution, f"r-{execution}", NOW, held) for execution in ("e1", "e2", "e3")]

    assert len(intake.started("retrain")) == 1
    assert claims == [True, False, False]


@pytest.mark.parametrize(("registered", "starts"), [("", True), ("r1", False)])
def test_aws_mlops_platform_public_cooldown_a_failed_run_does_not_burn_the_cool_down(
    intake: World, registered: str, starts: bool
) -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: a failed run started the cool-down too."""
    runs._claim(MODEL, "e1", "r1", NOW, {})
    runs.free(MODEL, "e1", NOW, judged=False, registered=registered)

    slot = ledger.read(f"model/{MODEL}", "slot")
    assert governor.may_start(slot, SPEC, "2026-11-21T12:01:00Z").start is starts


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 99), st.integers(1, 99))
def test_aws_mlops_platform_public_time_names_come_from_intent_not_from_the_second(
    one: int, two: int, fence: int, later: int
) -> None:
    """emanuelGitCodes/aws-mlops-platform-public 26fbeee: names by int(time()) collided; github-actions: rerun = same name."""
    run = [names.run_id(MODEL, f"e{n}") for n in (one, two)]
    config = [names.endpoint_config("linnet", MODEL, 1, f) for f in (fence, later)]

    assert (run[0] == run[1]) is (one == two)
    assert (config[0] == config[1]) is (fence == later)


def test_amazon_sagemaker_drift_detection_disabled_rules_what_comes_during_a_run_is_kept_and_starts_the_next(
    intake: World,
) -> None:
    """amazon-sagemaker-drift-detection lambda_pipeline_change: rules were off during a run, their events lost."""
    runs._claim(MODEL, "e1", "r1", "2026-11-21T01:00:00Z", {})
    wakes("on_signal.drift", "on_signal.request")
    assert intake.started("retrain") == []

    runs.free(MODEL, "e1", NOW, judged=False)

    assert {r["signal"]["kind"] for r in reasons()} == {"drift", "manual"}
    assert len(intake.started("retrain")) == 1


def test_amazon_sagemaker_drift_detection_standing_an_alarm_that_stays_in_alarm_speaks_again() -> None:
    """amazon-sagemaker-drift-detection: an alarm that stayed in ALARM never fired again."""
    alarm, since = "linnet-flights-drift", START
    turns = [
        signals.of_standing_alarm(alarm, MODEL, since, NOW, "still", turn=turn).id for turn in (None, 1, 2, 2)
    ]  # fmt: skip

    assert len(set(turns)) == 3  # once a turn, and no oftener


@pytest.mark.parametrize("minutes", [1, 59, 60])
def test_mlrun_9739_image_classification_no_cooldown_an_alarm_after_a_run_waits(minutes: int) -> None:
    """mlrun#9739, sample-sagemaker-image-classification-mlops: alarm to pipeline without a cool-down."""
    at = (datetime.fromisoformat(NOW) + timedelta(minutes=minutes)).isoformat()

    assert governor.may_start({"cooled_from": NOW}, SPEC, at).start is (minutes == 60)


def test_sample_sagemaker_image_classification_mlops_dedup_an_alarm_told_twice_is_one_reason(intake: World) -> None:
    """sample-sagemaker-image-classification-mlops: alarm to pipeline without deduplication."""
    event = sample("on_signal.drift")
    wake(event)
    wake(event | {"id": "told again"})

    assert len(reasons()) == 1


@pytest.mark.parametrize(
    "text", ["", "Threshold Crossed", "distance: 0.9 exceeds threshold", "distanz: 0,9", "}{", "x" * 2000]
)
def test_amazon_sagemaker_safe_deployment_pipeline_regex_the_words_of_an_alarm_decide_nothing(text: str) -> None:
    """amazon-sagemaker-safe-deployment-pipeline: drift read by the regex `distance: (.+) exceeds threshold`."""
    event = sample("on_signal.drift")
    event["detail"]["state"]["reason"] = text
    plain = signals.of_alarm(parse(AlarmEvent, sample("on_signal.drift")), "linnet")
    found = signals.of_alarm(parse(AlarmEvent, event), "linnet")

    assert found is not None
    assert plain is not None
    assert (found.id, found.kind, found.severity) == (plain.id, "drift", "High")


# -- errors that are errors ----------------------------------------------------------------------------------------------


def test_mlops_workload_orchestrator_text_an_error_is_known_by_its_code_not_by_its_words(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlops-workload-orchestrator: every error whose text had 'already exists' was taken for success."""
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "role already exists"}}, "StartExecution")

    def refuse(**_: Any) -> None:
        raise refused

    monkeypatch.setattr(client("stepfunctions"), "start_execution", refuse)
    with pytest.raises(ClientError, match="AccessDenied"):
        wakes("on_signal.request")
    assert [r["state"] for r in reasons()] == ["waiting"]  # and the reason is kept


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"training": {}}, "training"),
        ({"data": {"label": "late"}}, "data"),
        ({"rollout": {"strategy": "magic"}}, "rollout.strategy"),
        ({"endpoint": {"instance_count": "many"}}, "endpoint.instance_count"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_mlops_workload_orchestrator_1_a_wrong_field_is_named(broken: dict[str, Any], field: str) -> None:
    """mlops-workload-orchestrator#1: missing parameters gave confusing errors."""
    document = {
        "model": MODEL, "data": {"label": "late", "entity": "id", "features": {"a": "number"}},
        "training": {"algorithm": "xgboost", "framework_version": "1.7-1"},
    }  # fmt: skip
    assert spec_json(check_spec(document))

    with pytest.raises(BadInputError, match=field):
        check_spec(document | broken)


def test_aiops_modules_500_a_function_of_a_machine_raises_instead_of_answering_500(world: World) -> None:
    """awslabs/aiops-modules, ml-canary-deployment (b), sample-mlops-bestpractices: statusCode 500 = success to a machine."""
    for function in ("take_slot", "judge_release", "prepare_release", "evaluate_candidate", "apply_decision"):
        with pytest.raises(BadInputError):
            handler(function)({"model": "nobody"}, CONTEXT)


def test_sagemaker_events_lost_a_folder_of_which_no_event_told_is_found(intake: World) -> None:
    """No peer reconciles (gap 22, EventBridge's best effort): one lost event stopped the loop for ever."""
    intake.put(f"raw-data/{MODEL}/burst/a.csv", b"late,a\n1,2\n")
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    batches.reconcile(MODEL, later, (ledger.read(f"model/{MODEL}", "spec") or {})["spec"])

    assert [row["batch"] for row in ledger.query(f"model/{MODEL}", "batch#")] == ["burst"]
