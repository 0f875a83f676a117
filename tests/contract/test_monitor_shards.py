"""A window of more capture than one function looks at: cut, profiled in shards, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from linnet.data import shards
from linnet.errors import BadInputError, ConflictError, NotFoundError
from linnet.gateways import ledger
from linnet.settings import settings
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_monitor import START, capture, finding, look, metrics, serving  # noqa: F401 - a fixture


@pytest.fixture
def busy(serving: World) -> World:
    """Return a world with a window of several files, of both fleets, drifted, with lines and rows that do not count."""
    rows = flights.requests(season="summer", count=600)
    for number, hour in enumerate((START, "2026-11-21T09:20:00Z", "2026-11-21T09:30:00Z")):
        capture(serving, rows[200 * number : 200 * number + 200], at=hour, variant="blue")
        key = "data-capture/linnet-flights-v1-f1/linnet-flights/blue/2026/11/21/09/00-00-000-blue.jsonl"
        content = serving.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        serving.s3.delete_object(Bucket=BUCKET, Key=key)
        serving.put(f"data-capture/linnet-flights-v1-f1/linnet-flights/blue/2026/11/21/09/{number}.jsonl", content)
    capture(serving, [*(row + ",1" for row in rows[:9]), *rows[9:30]], variant="green")
    serving.put("data-capture/linnet-flights-v1-f1/linnet-flights/green/2026/11/21/09/x.jsonl", "{}\nno json\n")
    return serving


def cut(world: World, monkeypatch: pytest.MonkeyPatch, largest: int = 100_000) -> dict[str, Any]:
    """Look where one function looks at little; return the answer, the input of what profiles the shards."""
    monkeypatch.setenv("LINNET_LARGEST_WINDOW", str(largest))
    settings.cache_clear()
    return look()


def profile_shards(world: World, answer: dict[str, Any], numbers: Sequence[int] | None = None) -> None:
    given = {name: answer[name] for name in ("model", "correlation_id", "work")}
    listed = world.documents(answer["work"])[f"{answer['work']}shards.json"]
    assert [shard["number"] for shard in listed] == list(range(answer["shards"]))
    for number in range(answer["shards"]) if numbers is None else numbers:
        assert handler("profile_shard")(sample("profile_shard") | given | {"shard": listed[number]}, CONTEXT) is None


def written(world: World) -> dict[str, bytes]:
    keys = [o["Key"] for o in world.s3.list_objects_v2(Bucket=BUCKET, Prefix="monitoring/")["Contents"]]
    return {key: world.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def test_a_window_in_shards_gives_the_bytes_and_the_finding_of_one_look(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, files, row, seen = look(), written(busy), finding(), metrics(busy)
    for key in files:
        busy.s3.delete_object(Bucket=BUCKET, Key=key)
    ledger.remove("model/flights", f"finding#data-quality#{START}")

    asked = cut(busy, monkeypatch)
    assert asked == sample("monitor_window") | {"shards": 4}
    assert ledger.read("model/flights", f"finding#data-quality#{START}") is None
    profile_shards(busy, asked, [3, 1, 0, 2, 1])
    assert dict(handler("monitor_window")(asked, CONTEXT)) == answer

    lines = row["lines"]
    assert (lines["read"], lines["bad"], lines["odd_rows"]) == (632, 2, 9)
    assert (lines["outside"] > 0, row["rows"] + lines["outside"]) == (True, 621)
    assert answer["status"] == "CompletedWithViolations"
    assert len(files) == 4
    assert written(busy) == files
    assert finding() == row
    assert metrics(busy) == seen


def test_a_shard_that_is_not_there_leaves_the_window_unknown(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = cut(busy, monkeypatch)
    profile_shards(busy, asked, [0, 1, 3])

    with pytest.raises(NotFoundError, match=r"/2/counts.json .* does not exist"):
        handler("monitor_window")(asked, CONTEXT)
    busy.put(f"{asked['work']}2/counts.json", {"lines": 3})
    with pytest.raises(BadInputError, match=r"/2/counts.json: 'KeyError'"):
        handler("monitor_window")(asked, CONTEXT)
    assert ledger.read("model/flights", f"finding#data-quality#{START}") is None


def test_shards_that_were_read_for_another_champion_are_not_its(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = cut(busy, monkeypatch)
    profile_shards(busy, asked)
    ledger.change("model/flights", "champion", put={"version": 2})

    with pytest.raises(ConflictError, match="the champion or its baseline changed"):
        handler("monitor_window")(asked, CONTEXT)


def test_more_capture_than_a_thousand_shards_is_refused_by_name(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_SHARDS", 3)

    with pytest.raises(BadInputError, match=r"5 capture files in 4 shards.*at most 3 shards: lower endpoint.capture_"):
        cut(busy, monkeypatch)


def test_a_look_that_joins_labels_refuses_a_large_window_by_name(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    busy.put("results/flights/r0123456789ab/evaluation.json", {"metrics": {}})
    monkeypatch.setenv("LINNET_LARGEST_WINDOW", "100000")
    settings.cache_clear()

    with pytest.raises(BadInputError, match=r"over 100000 bytes.* lower endpoint.capture_percent"):
        look(kind="bias")
