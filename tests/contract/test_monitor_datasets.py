"""A data set at rest against the champion's baseline, on AWS as moto plays it (MO-12, MO-15)."""

from __future__ import annotations

from typing import Any

import pytest

from linnet.decisions import datasets
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import findings, ledger
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_monitor import capture, look, serving  # noqa: F401 - a fixture

NAME = "nightly-2026-11-21"
DATA = {"uri": f"s3://{BUCKET}/results/flights/nightly/", "name": NAME}
FOLDER = f"monitoring/linnet-flights/data-sets/{NAME}/"


def put_scored(world: World, season: str, count: int = 250) -> None:
    """Put what a transform with JoinSource Input wrote, and what else lies beside it."""
    lines = [f"{line},0.25" for line in flights.requests(season=season, count=count)]
    world.put("results/flights/nightly/part-00001.csv.out", "\n".join(lines[: count // 2]) + "\n")
    world.put("results/flights/nightly/part-00002.csv.out", "\n".join(lines[count // 2 :]) + "\n")
    world.put("results/flights/nightly/_SUCCESS", "")
    world.put("results/flights/nightly/job.manifest", "{}")


def asked(world: World, **changes: Any) -> list[dict[str, Any]]:
    """Return what `list_monitored` hands out for a request, as the machine's map gets it."""
    given = sample("list_monitored") | {"model": "flights", "data": DATA} | changes
    answer = handler("list_monitored")(given, CONTEXT)
    found = list(world.documents(answer["key"])[answer["key"]])
    assert answer == {"count": len(found), "bucket": BUCKET, "key": answer["key"], "jobs": []}
    return found


def compared(world: World, **changes: Any) -> dict[str, Any]:
    (item,) = asked(world, **changes)
    return dict(handler("monitor_window")(item, CONTEXT))


def finding() -> dict[str, Any]:
    return ledger.read("model/flights", f"finding#data-set#{NAME}") or {}


def test_mo_12_a_transforms_output_is_compared_with_the_champions_baseline_without_any_metric(serving: World) -> None:
    put_scored(serving, "winter")

    assert compared(serving) == {"model": "flights", "status": "Completed", "severity": None, "features": []}

    found = finding()
    assert (found["rows"], found["files"], found["ignored"]) == (250, {"read": 2, "passed_over": 2}, ["other_1"])
    assert (found["data"], found["baseline"]) == (DATA["uri"], found["champion"]["baseline"])
    assert {one["Namespace"] for one in serving.cloudwatch.list_metrics()["Metrics"]} == {"AWS/S3"}  # the bucket's own
    assert serving.messages() == []
    assert sorted(serving.documents("monitoring/")) == [
        f"{FOLDER}{name}.json" for name in ("constraint_violations", "constraints", "statistics")
    ]
    page = serving.s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}report.html")["Body"].read().decode()
    assert NAME in page
    assert DATA["uri"] in page


def test_what_another_endpoint_captured_is_compared_too_each_line_counted(serving: World) -> None:
    capture(serving, flights.requests(season="summer", count=250))
    (found,) = serving.s3.list_objects_v2(Bucket=BUCKET, Prefix="data-capture/")["Contents"]
    lines = serving.s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()
    serving.put("captures/old-endpoint/AllTraffic/2024/01/31/10/a.jsonl", lines + b"\n{broken\n")

    answer = compared(serving, data={"uri": f"s3://{BUCKET}/captures/old-endpoint/", "name": NAME})

    assert "temp" in answer["features"]
    assert (finding()["rows"], finding()["lines"]) == (250, {"read": 251, "bad": 1, "outside": 0, "odd_rows": 0})

    serving.put("captures/old-endpoint/notes.csv", "no capture")
    with pytest.raises(BadInputError, match=r"notes\.csv.*\.jsonl"):
        compared(serving, data={"uri": f"s3://{BUCKET}/captures/old-endpoint/", "name": NAME})


@pytest.mark.parametrize("folder", ["captures", "processed-data"])
def test_the_first_folder_alone_says_what_a_data_set_is(folder: str) -> None:
    said = [datasets.DataSet(f"s3://{BUCKET}/{key}/", NAME) for key in (f"{folder}/x", f"results/{folder}/x")]

    assert [one.captured or one.label_first for one in said] == [True, False]


def test_mo_15_drift_in_an_extract_is_told_once_by_its_name_and_hides_no_window(serving: World) -> None:
    lines = [",".join([*flights.FEATURES, "write_time", "is_deleted"])]
    lines += [f"{line},2026-11-21,false" for line in flights.requests(season="summer", count=200)]
    lines += [f"{line},2026-11-21,true" for line in flights.requests(season="winter", count=300)]
    serving.put("extracts/flights/part.csv", "\n".join(lines))
    data = {"uri": f"s3://{BUCKET}/extracts/flights/", "name": NAME}
    capture(serving, flights.requests(season="winter", count=250))
    look()

    first, again = compared(serving, data=data), compared(serving, data=data)

    assert first == again
    assert first["severity"] == "High"
    assert "temp" in first["features"]
    found = finding()
    assert (found["rows"], found["deleted"], found["ignored"]) == (200, 300, ["is_deleted", "write_time"])
    (message,) = serving.messages()
    assert message["kind"] == "drift"
    assert f"constraints broken in the data set {NAME}, {data['uri']}: " in message["what"]
    window = ledger.read("model/flights", "finding#data-quality#2026-11-21T09:00:00Z") or {}
    assert window["status"] == "Completed"
    assert [entry["kind"] for entry in ledger.history("model/flights")] == ["finding", "finding"]


def test_a_data_set_of_too_few_rows_is_unknown_i7(serving: World) -> None:
    put_scored(serving, "summer", count=99)

    assert compared(serving)["status"] == "no_data"
    assert serving.messages() == []


def test_the_same_request_and_time_is_the_same_item(serving: World) -> None:
    at = "2026-11-21T10:00:00Z"

    (item,) = asked(serving)

    assert [item] == asked(serving)
    assert item.items() >= {"model": "flights", "kind": "data-set", "start": at, "end": at, "data": DATA}.items()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ("results/", "data"),
        ({"uri": DATA["uri"]}, "data"),
        (DATA | {"format": "csv"}, "data"),
        (DATA | {"name": "../a"}, "data.name"),
        (DATA | {"name": ""}, "data.name"),
        (DATA | {"name": "a" * 65}, "data.name"),
        (DATA | {"name": 3}, "data.name"),
        (DATA | {"uri": f"s3://{BUCKET}/specs/flights.yaml"}, "data.uri"),
        (DATA | {"uri": f"s3://{BUCKET}/results/"}, "data.uri"),
        (DATA | {"uri": "s3://elsewhere/results/x"}, "data.uri"),
        (DATA | {"uri": f"s3://{BUCKET}/results/" + "a" * 1024}, "data.uri"),
        (DATA | {"uri": None}, "data.uri"),
    ],
)
def test_a_data_set_elsewhere_or_without_a_name_is_refused_before_anything_is_read(
    serving: World, data: Any, field: str
) -> None:  # fmt: skip
    with pytest.raises(BadInputError, match=rf"^{field}: "):
        asked(serving, data=data)
    item = {"model": "flights", "kind": "data-set", "start": "2026-11-21T10:00:00Z", "end": "2026-11-21T10:00:00Z"}
    with pytest.raises(BadInputError, match=rf"^{field}: "):
        handler("monitor_window")(item | {"data": data, "correlation_id": "c", "work": "w/"}, CONTEXT)


def test_without_a_model_a_table_or_room_nothing_is_said_to_be_healthy(
    serving: World, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    with pytest.raises(NotFoundError, match="has no spec"):
        asked(serving, model=None)
    with pytest.raises(BadInputError, match=r"^data.uri: .*at least one .csv"):
        compared(serving)
    put_scored(serving, "winter")
    monkeypatch.setattr(findings, "LARGEST_DATA_SET", 1_000)
    with pytest.raises(BadInputError, match=r"^data.uri: .*part-0000.*name a part of it"):
        compared(serving)
    assert finding() == {}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/b.csv", "csv"), ("a/b.csv.out", "csv"), ("a/b.out", "csv"), ("a/b.CSV", "csv"), ("b.parquet", "parquet"),
        ("b.snappy.parquet", "parquet"), ("b.jsonl.out", "jsonl"), ("b.ndjson", "jsonl"), ("a/_SUCCESS", None),
        ("a/b.csv.metadata", None), ("a/.hidden.csv", None), ("a/b.csv.gz", None), ("a/", None), ("a.csv/b", None),
        ("a/b.json", None), ("a/.csv", None), ("a/b.tar.gz.out", None),
    ],
)  # fmt: skip
def test_a_files_name_says_whether_it_is_a_table(key: str, kind: str | None) -> None:
    assert datasets.format_of(key) == kind
