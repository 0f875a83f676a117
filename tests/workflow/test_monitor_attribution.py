"""Attributions on the local stack: a real booster out of `retrain`, explained by real processing jobs (MO-08, TG-09)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from models.flights import data as flights
from tests.workflow.conftest import World
from tests.workflow.test_retrain_training import begin

HOUR = timedelta(hours=1)
MODEL = "explained"
CONFIG, ENDPOINT = f"linnet-{MODEL}-v1-f1", f"linnet-{MODEL}"
WATCHED = {"enabled": True, "schedule": "hourly", "sample": 300, "minimum_rows": 60}


@pytest.fixture(scope="module")
def serving(world: World) -> Iterator[World]:
    """Give a world whose model has a candidate of a real run as its champion in the ledger; no endpoint is needed.

    No release made it, so it goes with these tests: what looks at all models would stumble over it.
    """
    monitors = {"data_quality": {"enabled": False}, "attribution": WATCHED}
    world.onboard(MODEL, monitors=monitors, approval={"automatic": 1.0})
    begin(world, MODEL)
    (candidate,) = world.wait("a candidate", lambda: world.rows(f"model/{MODEL}", "candidate#"))
    champion = {
        "pk": {"S": f"model/{MODEL}"}, "sk": {"S": "champion"}, "version": {"N": "1"}, "run": {"S": candidate["run"]},
        "config": {"S": CONFIG}, "variant": {"S": "blue"}, "at": {"S": (world.stack.clock.now() - 9 * HOUR).isoformat()},
        "package_arn": {"S": candidate["package_arn"]}, "baseline": {"S": candidate["baseline"]},
    }  # fmt: skip
    world.dynamodb.put_item(TableName=world.out["LedgerTable"], Item=champion)
    yield world
    world.dynamodb.delete_item(TableName=world.out["LedgerTable"], Key={key: champion[key] for key in ("pk", "sk")})


@pytest.fixture(scope="module")
def began(serving: World) -> datetime:
    """Return the hour in which these tests began: they look at hours before it, one after the other."""
    return serving.stack.clock.now().replace(minute=0, second=0, microsecond=0)


def look(world: World, rows: list[str], at: datetime) -> dict[str, Any]:
    """Capture requests at a time and let the monitor look at their hour and at what was not seen before; return the end."""
    lines = [
        json.dumps({
            "captureData": {"endpointInput": {"data": row, "encoding": "CSV", "observedContentType": "text/csv"}},
            "eventMetadata": {"eventId": f"e{n}", "inferenceTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}, "eventVersion": "0",
        })
        for n, row in enumerate(rows)
    ]  # fmt: skip
    world.put(f"data-capture/{CONFIG}/{ENDPOINT}/blue/{at:%Y/%m/%d/%H}/{at:%M-%S}.jsonl", "\n".join(lines) + "\n")
    return world.start("monitor", {"time": (at + HOUR).isoformat(), "model": MODEL})


def finding(world: World, at: datetime) -> dict[str, Any] | None:
    return world.row(f"model/{MODEL}", f"finding#attribution#{at:%Y-%m-%dT%H:00:00Z}")


def jobs(world: World) -> list[str]:
    """Return the statuses of the jobs that explain, the oldest first."""
    listed = world.sagemaker.list_processing_jobs(
        NameContains=f"{ENDPOINT}-", SortBy="CreationTime", SortOrder="Ascending"
    )
    return [job["ProcessingJobStatus"] for job in listed["ProcessingJobSummaries"]]


def test_i7_too_few_rows_start_no_job(serving: World, began: datetime) -> None:
    ended = look(serving, flights.requests(count=10), began - 3 * HOUR)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert "Explain each sample" in ended["states"]
    assert jobs(serving) == []
    found = finding(serving, began - 3 * HOUR)
    assert found is not None
    assert (found["status"], found["verdict"], found["rows"]) == ("no_data", "UNKNOWN", 10)


def test_i7_a_job_that_fails_leaves_the_window_unknown_and_is_told_with_its_own_words(
    serving: World, began: datetime
) -> None:
    (candidate,) = serving.rows(f"model/{MODEL}", "candidate#")
    key = candidate["artifact"].partition(serving.out["DataBucket"] + "/")[2]
    good = serving.get(key)
    serving.put(key, b"no archive")
    ended = look(serving, flights.requests(count=200), began - 2 * HOUR)
    serving.put(key, good)

    assert (ended["status"], ended["error"]) == ("FAILED", "MonitorFailed")
    assert f"{MODEL} " in ended["cause"]
    assert "ReadError" in ended["cause"]
    assert jobs(serving) == ["Failed"]
    assert finding(serving, began - 2 * HOUR) is None


def test_mo_08_f28_the_same_traffic_ranks_the_features_as_before_and_what_failed_or_was_unheard_is_explained_too(
    serving: World, began: datetime
) -> None:
    assert serving.stack.trouble("lose_answers", operation="CreateProcessingJob", times=1) == ""
    ended = look(serving, flights.requests(count=200), began - HOUR)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert jobs(serving) == ["Failed", "Completed", "Completed"]  # SageMaker takes a job's name once
    for hours in (2, 1):
        found = finding(serving, began - hours * HOUR)
        assert found is not None
        assert (found["status"], found["verdict"], found["rows"]) == ("Completed", "HEALTHY", 200)
        assert found["ndcg"] >= 0.9
        kept = json.loads(serving.get(f"baselines/{MODEL}/{found['champion']['run']}/analysis.json"))
        assert kept["linnet"]["method"] == "TreeSHAP"


def test_tg_09_a_main_feature_that_a_source_has_lost_violates_and_raises_its_alarm(serving: World) -> None:
    place, now = flights.FEATURES.index("dep_delay"), serving.stack.clock.now()
    rows = [row.split(",") for row in flights.requests(count=200)]
    ended = look(serving, [",".join([*row[:place], "7", *row[place + 1 :]]) for row in rows], now)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    found = finding(serving, now)
    assert found is not None
    assert (found["status"], found["severity"]) == ("CompletedWithViolations", "High")
    assert found["ndcg"] < 0.9
    assert "dep_delay" in found["features"]
    (told,) = [m for m in serving.messages("attention", MODEL) if "Feature attribution drift" in m["what"]]
    assert f"Feature attribution drift {found['ndcg']} exceeds threshold 0.9" in told["what"]
    serving.wait("the alarm", lambda: alarm_state(serving) == "ALARM", 60)


def alarm_state(world: World) -> str:
    return str(
        world.cloudwatch.describe_alarms(AlarmNames=[f"{ENDPOINT}-attribution"])["MetricAlarms"][0]["StateValue"]
    )
