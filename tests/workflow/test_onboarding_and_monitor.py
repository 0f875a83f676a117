"""`onboard`, `monitor` and `offboard` on the emulator's own engine with the real handlers: every road out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from linnet.monitoring.files import statistics_json, suggest_constraints
from linnet.monitoring.profile import profile
from linnet.monitoring.tables import Source, read_table
from models.flights import data as flights
from tests.workflow.conftest import World

MODEL = "watched"
RUN = "r00000000aaaa"
CONFIG, ENDPOINT = f"linnet-{MODEL}-v1-f1", f"linnet-{MODEL}"
QUALITY = {"window_minutes": 5, "minimum_rows": 60, "retrain_windows": 1}


@pytest.fixture(scope="module")
def onboarded(world: World) -> dict[str, Any]:
    return world.onboard(MODEL, monitors={"data_quality": QUALITY}, notifications={"emails": ["ada@example.org"]})


@pytest.fixture(scope="module")
def serving(world: World, onboarded: dict[str, Any]) -> World:
    """Return a world whose model has a champion in the ledger with the baseline of winter; its endpoint is not needed."""
    assert onboarded["status"] == "SUCCEEDED", onboarded.get("cause")
    lines = flights.requests(season="winter", count=3000)[300:]
    content = "\n".join([",".join(flights.FEATURES), *lines]).encode()
    known = profile(read_table([Source("train", content)]))
    world.put(f"baselines/{MODEL}/{RUN}/statistics.json", json.dumps(statistics_json(known)))
    world.put(f"baselines/{MODEL}/{RUN}/constraints.json", json.dumps(suggest_constraints(known)))
    champion = {
        "pk": {"S": f"model/{MODEL}"}, "sk": {"S": "champion"}, "version": {"N": "1"}, "run": {"S": RUN},
        "config": {"S": CONFIG}, "at": {"S": world.stack.clock.now().isoformat()},
        "baseline": {"S": f"s3://{world.out['DataBucket']}/baselines/{MODEL}/{RUN}"},
    }  # fmt: skip
    world.dynamodb.put_item(TableName=world.out["LedgerTable"], Item=champion)
    return world


def capture(world: World, season: str, rows: int, files: int = 1) -> datetime:
    """Capture requests now, in so many files; return when."""
    now = world.stack.clock.now()
    lines = [
        json.dumps(
            {
                "captureData": {"endpointInput": {"data": row, "encoding": "CSV", "observedContentType": "text/csv"}},
                "eventMetadata": {"eventId": f"e{n}", "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")},
                "eventVersion": "0",
            }
        )
        for n, row in enumerate(flights.requests(season=season, count=rows))
    ]
    for n in range(files):
        world.put(f"{folder(now)}{now:%M-%S}-{n}.jsonl", "\n".join(lines[n::files]) + "\n")
    return now


def folder(at: datetime) -> str:
    return f"data-capture/{CONFIG}/{ENDPOINT}/blue/{at:%Y/%m/%d/%H}/"


def files(world: World, at: datetime) -> int:
    """Return how many files the hour of a moment has: those of earlier tests too, if they came in the same one."""
    return int(world.s3.list_objects_v2(Bucket=world.out["DataBucket"], Prefix=folder(at))["KeyCount"])


def monitor(world: World, at: datetime, **more: Any) -> dict[str, Any]:
    """Let the monitor look at the window of a moment and return the execution's end."""
    return world.start("monitor", {"time": (at + timedelta(minutes=5)).isoformat(), "model": MODEL, **more})


def finding(world: World, at: datetime) -> dict[str, Any] | None:
    """Return the finding of the window of a moment."""
    start = datetime.fromtimestamp(at.timestamp() // 300 * 300, at.tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")
    return world.row(f"model/{MODEL}", f"finding#data-quality#{start}")


def look(world: World, season: str, rows: int) -> dict[str, Any]:
    """Capture requests now, let the monitor look when their window is over, and return the window's finding."""
    now = capture(world, season, rows)
    ended = monitor(world, now)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["states"][-1] == "All windows are looked at"
    found = finding(world, now)
    assert found is not None
    return found


@pytest.fixture
def little(serving: World) -> Iterator[World]:
    """Return a world in which one function looks at 20,000 bytes of capture only."""
    listed = serving.functions.list_functions()["Functions"]
    (name,) = [one["FunctionName"] for one in listed if "MonitorWindow" in one["FunctionName"]]
    known = serving.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    less = known | {"LINNET_LARGEST_WINDOW": "20000"}
    serving.functions.update_function_configuration(FunctionName=name, Environment={"Variables": less})
    yield serving
    serving.functions.update_function_configuration(FunctionName=name, Environment={"Variables": known})


def spec_row(world: World) -> dict[str, Any]:
    row = world.row(f"model/{MODEL}", "spec")
    assert row is not None
    return row


# --- onboard -----------------------------------------------------------------------------------------------------


def test_a_spec_that_is_put_is_onboarded_without_a_change_of_the_template(
    world: World, onboarded: dict[str, Any]
) -> None:
    assert onboarded["states"] == [
        "Remember which file", "Read the spec", "Is it the latest version?", "Make what the model needs",
        "The model is onboarded",
    ]  # fmt: skip
    group = world.sagemaker.describe_model_package_group(ModelPackageGroupName=ENDPOINT)
    assert group["ModelPackageGroupStatus"] == "Completed"
    alarms = world.cloudwatch.describe_alarms(AlarmNamePrefix=f"{ENDPOINT}-drift")["MetricAlarms"]
    assert sorted(a["AlarmName"] for a in alarms) == [f"{ENDPOINT}-drift", f"{ENDPOINT}-drift-notice"]
    assert spec_row(world)["digest"] == (world.row("models", MODEL) or {})["spec_digest"]


def test_starting_it_again_from_the_console_repairs_and_changes_nothing(
    world: World, onboarded: dict[str, Any]
) -> None:
    world.cloudwatch.delete_alarms(AlarmNames=[f"{ENDPOINT}-drift-notice"])
    before = spec_row(world)
    ended = world.start("onboard", {"bucket": world.out["DataBucket"], "key": f"specs/{MODEL}.yaml"})

    assert ended["status"] == "SUCCEEDED"
    assert {k: v for k, v in spec_row(world).items() if k != "at"} == {k: v for k, v in before.items() if k != "at"}
    assert world.cloudwatch.describe_alarms(AlarmNames=[f"{ENDPOINT}-drift-notice"])["MetricAlarms"]


def test_an_older_version_of_a_spec_does_nothing(world: World, onboarded: dict[str, Any]) -> None:
    version = spec_row(world)["version_id"]
    given = json.loads(onboarded["input"])
    world.put(f"specs/{MODEL}.yaml", world.get(f"specs/{MODEL}.yaml") + b"\n")
    world.wait("the new version", lambda: spec_row(world)["version_id"] != version)
    ended = world.start("onboard", given)

    assert (ended["status"], ended["states"][-1]) == ("SUCCEEDED", "Nothing to do")
    assert "supersedes" in json.loads(ended["output"])["why"]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({}, "BadInputError: bucket: '' is not allowed"),
        ({"bucket": "{bucket}", "key": "specs/nobody.yaml"}, "NotFoundError: s3://"),
        ({"bucket": "{bucket}", "key": "specs/twisted.yaml"}, "BadInputError: data: 3 is not allowed; allowed: "),
    ],
)
def test_a_spec_that_cannot_be_onboarded_fails_the_execution_with_the_handlers_own_words(
    world: World, given: dict[str, str], cause: str
) -> None:
    world.put("specs/twisted.yaml", "model: twisted\ndata: 3\n")
    filled = {name: value.replace("{bucket}", world.out["DataBucket"]) for name, value in given.items()}
    ended = world.start("onboard", filled)

    assert (ended["status"], ended["error"]) == ("FAILED", "OnboardingFailed")
    assert ended["cause"].startswith(cause)
    assert ended["states"][-2:] == ["Tell people that it failed", "Onboarding failed"]


# --- monitor -----------------------------------------------------------------------------------------------------


def test_quiet_traffic_is_completed_drifted_is_a_violation_and_raises_the_alarm_mo_02_eb_03(serving: World) -> None:
    quiet = look(serving, "winter", 200)
    serving.wait("the next window", lambda: look_is_over(serving, str(quiet["end"])))
    drifted = look(serving, "summer", 200)
    serving.wait("the alarm", lambda: alarm_state(serving) == "ALARM", 30)

    assert (quiet["status"], quiet["severity"]) == ("Completed", None)
    assert (drifted["status"], drifted["severity"]) == ("CompletedWithViolations", "High")
    assert "temp" in drifted["features"]
    assert quiet["start"] < drifted["start"]


def look_is_over(world: World, end: str) -> bool:
    return world.stack.clock.now() >= datetime.fromisoformat(end)


def alarm_state(world: World) -> str:
    return str(world.cloudwatch.describe_alarms(AlarmNames=[f"{ENDPOINT}-drift"])["MetricAlarms"][0]["StateValue"])


@pytest.fixture
def looked_at(serving: World) -> tuple[datetime, dict[str, Any]]:
    """Return a moment whose window one function has looked at, and what it found."""
    now = capture(serving, "summer", 200, files=4)
    ended = monitor(serving, now, correlation_id="the same")
    found = finding(serving, now)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    ((windows, looked),) = items(serving, ended)
    assert windows == looked
    assert found is not None
    return now, found


def items(world: World, ended: dict[str, Any]) -> list[tuple[int, int]]:
    """Return how many items each Distributed Map of an execution had, and how many got through; the fewest first."""
    runs = world.stepfunctions.list_map_runs(executionArn=ended["executionArn"])["mapRuns"]
    counts = [world.stepfunctions.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"] for run in runs]
    return sorted((count["total"], count["succeeded"]) for count in counts)


def test_a_large_window_goes_through_the_distributed_map_and_ends_with_the_same_finding(
    looked_at: tuple[datetime, dict[str, Any]], little: World
) -> None:
    now, found = looked_at
    ended = monitor(little, now, correlation_id="the same", again=True)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["states"][-1] == "All windows are looked at"
    assert items(little, ended) == [(1, 1), (files(little, now), files(little, now))]
    assert finding(little, now) == found


def test_a_shard_that_cannot_be_read_leaves_its_window_unknown_and_is_told(little: World) -> None:
    now = capture(little, "winter", 200, files=2)
    key = f"{folder(now)}{now:%M-%S}-x.jsonl"
    little.put(key, b"\n" * 34_000_000)
    ended, count = monitor(little, now), files(little, now)
    little.s3.delete_object(Bucket=little.out["DataBucket"], Key=key)

    assert (ended["status"], ended["error"]) == ("FAILED", "MonitorFailed")
    assert (
        f"{MODEL} 1 of {count} shards failed, shard {count - 1}: BadInputError: object size: 34000000 is not"
        in ended["cause"]
    )
    assert ended["states"][-2:] == ["Tell people that nobody watches", "The monitor is blind"]
    assert finding(little, now) is None


def test_a_monitor_that_cannot_look_fails_by_name_instead_of_staying_green(serving: World) -> None:
    key = f"baselines/{MODEL}/{RUN}/statistics.json"
    good = serving.get(key)
    serving.put(key, "[]")
    now = serving.stack.clock.now() + timedelta(minutes=60)
    ended = serving.start("monitor", {"time": now.isoformat()})
    serving.put(key, good)

    assert (ended["status"], ended["error"]) == ("FAILED", "MonitorFailed")
    assert f"{MODEL} BadInputError: s3://" in ended["cause"]
    assert "The monitor is blind" in ended["states"]


def test_a_wrong_time_fails_the_monitor_by_name(world: World) -> None:
    ended = world.start("monitor", {"time": "soon"})

    assert (ended["status"], ended["error"]) == ("FAILED", "MonitorFailed")
    assert ended["cause"].startswith("BadInputError: time: 'soon' is not allowed")


# --- offboard ----------------------------------------------------------------------------------------------------


def ask(world: World) -> tuple[str, str]:
    """Delete the spec, wait for the question, and return the execution and the decision's id."""
    known = world.known("offboard")
    world.s3.delete_object(Bucket=world.out["DataBucket"], Key=f"specs/{MODEL}.yaml")
    arn = world.execution("offboard", known, model=MODEL, follow=False)["executionArn"]
    rows = world.wait(
        "the question",
        lambda: [r for r in world.rows(f"model/{MODEL}", "decision#") if r["about"] == arn and r["state"] == "OPEN"],
    )
    return arn, str(rows[0]["decision_id"])


def answer(world: World, decision: str, word: str) -> dict[str, Any]:
    said = {"decision_id": decision, "decision": word, "decided_by": "ada@example.org", "comment": "as agreed"}
    got = world.functions.invoke(FunctionName=world.out["DecideCandidateFunction"], Payload=json.dumps(said))
    assert "FunctionError" not in got, got["Payload"].read()
    return dict(json.loads(got["Payload"].read()))


def test_a_model_goes_only_after_a_person_confirmed_it(serving: World) -> None:
    spec = serving.get(f"specs/{MODEL}.yaml")
    execution, decision = ask(serving)
    answer(serving, decision, "reject")
    kept = serving.follow(execution)
    assert (kept["status"], kept["states"][-1]) == ("SUCCEEDED", "The model stays")
    assert spec_row(serving)["model"] == MODEL

    known = serving.known("onboard")
    serving.put(f"specs/{MODEL}.yaml", spec)
    assert serving.execution("onboard", known, model=MODEL)["status"] == "SUCCEEDED"
    execution, decision = ask(serving)
    assert serving.row("models", MODEL) is not None  # nothing goes while the question is open
    answer(serving, decision, "approve")
    gone = serving.follow(execution)

    assert (gone["status"], gone["states"][-1]) == ("SUCCEEDED", "The model is off-boarded")
    assert serving.cloudwatch.describe_alarms(AlarmNamePrefix=f"{ENDPOINT}-drift")["MetricAlarms"] == []
    assert serving.row(f"model/{MODEL}", "spec") is None
    assert serving.sagemaker.describe_model_package_group(ModelPackageGroupName=ENDPOINT)
    kinds = [e["kind"] for e in serving.rows(f"model/{MODEL}#history")]
    assert kinds.count("offboarding") == 2


def test_off_boarding_what_is_not_onboarded_fails_by_name(world: World) -> None:
    ended = world.start("offboard", {"model": "nobody"})

    assert (ended["status"], ended["error"]) == ("FAILED", "OffboardingFailed")
    assert ended["cause"].startswith("NotFoundError: model nobody is not onboarded")


def test_without_an_answer_the_model_stays(world: World) -> None:
    assert world.onboard("forgotten")["status"] == "SUCCEEDED"
    arn = world.out["OffboardMachineArn"]
    execution = world.stepfunctions.start_execution(stateMachineArn=arn, input='{"model": "forgotten"}')["executionArn"]
    rows = world.wait("the question", lambda: world.rows("model/forgotten", "decision#"))
    token = world.rows(f"decision/{rows[0]['decision_id']}")[0]["token"]
    # Three days are 36 minutes even here: the timeout is played by the error that the engine raises for it.
    world.stepfunctions.send_task_failure(taskToken=token, error="States.Timeout", cause="the task timed out")
    ended = world.follow(execution)

    assert (ended["status"], ended["states"][-1]) == ("SUCCEEDED", "The model stays")
    assert world.rows("model/forgotten", "decision#")[0]["state"] == "EXPIRED"
    late = answer(world, str(rows[0]["decision_id"]), "approve")
    assert late["accepted"] is False
