"""How a batch closes: its manifest verified by many at once, or by a quiet that is counted from when events came."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.decisions import batches as pure
from linnet.errors import BadInputError
from linnet.gateways import batches, ledger, s3
from linnet.gateways.batches import _AT_ONCE
from tests.contract.onboarding_world import CONTEXT, World, handler, world  # noqa: F401 - a fixture
from tests.contract.test_intake import (
    MODEL,
    arrival,
    intake,  # noqa: F401 - a fixture
    put_batch,
    wake,
)

START = datetime(2026, 11, 21, 2, tzinfo=UTC)
QUIET, LONG = 300, 30.0


def files_of(names: list[str], wrong: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return files, and a manifest that lies about the size of some."""
    files = {name: name.encode() for name in names}
    listed = [
        {"key": n, "size": len(b) + (n in wrong), "sha256": hashlib.sha256(b).hexdigest(), "rows": 1}
        for n, b in files.items()
    ]
    return files | {"_MANIFEST.json": json.dumps({"objects": listed}).encode()}


@pytest.mark.parametrize("slow", ["b.csv", "d.csv"])
def test_f21_of_two_wrong_objects_the_one_listed_first_is_named_whichever_was_read_first(
    intake: World, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    event = put_batch(intake, "b", files_of(["a.csv", "b.csv", "c.csv", "d.csv"], ("b.csv", "d.csv")))
    real, other = s3.held, threading.Event()

    def held(uri: str, version: str | None = None) -> s3.Held | None:
        if uri.endswith(slow):
            assert other.wait(LONG)
        found = real(uri, version)
        if uri.endswith(({"b.csv", "d.csv"} - {slow}).pop()):
            other.set()
        return found

    monkeypatch.setattr(s3, "held", held)
    wake(event)

    (record,) = intake.documents("quarantine/").values()
    assert record["field"] == "size of b.csv"


def test_f21_ten_objects_of_a_manifest_are_verified_at_once_and_listed_in_its_order(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n}.csv" for n in range(2 * _AT_ONCE)]
    event = put_batch(intake, "b", files_of(names))
    real, full, lock = s3.held, threading.Barrier(_AT_ONCE), threading.Lock()
    busy: list[int] = [0, 0]

    def held(uri: str, version: str | None = None) -> s3.Held | None:
        with lock:
            busy[0] += 1
            busy[1] = max(busy)
        full.wait(LONG)  # breaks unless so many are here at once
        threading.Event().wait(0.2)  # time for one more to come, if it could
        with lock:
            busy[0] -= 1
        return real(uri, version)

    monkeypatch.setattr(s3, "held", held)
    wake(event)

    assert busy == [0, _AT_ONCE]
    (batch,) = batches.for_run(MODEL, 1)
    assert [o["uri"].rpartition("/")[2] for o in batch["objects"]] == names


def test_f21_the_digest_of_a_large_object_is_computed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytes(3 * 1024 * 1024 + 5)
    asked: list[int] = []

    class Body(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or -1)
            return super().read(size)

    class Store:
        def get_object(self, **_: Any) -> dict[str, Any]:
            return {"Body": Body(body), "ContentLength": len(body), "VersionId": "v"}

    monkeypatch.setattr(s3, "client", lambda _: Store())

    assert s3.held("s3://b/k") == s3.Held("v", len(body), hashlib.sha256(body).hexdigest())
    assert len(asked) == 5
    assert {1} == {-(-size // (1024 * 1024)) for size in asked}


def test_f21_a_manifest_lists_so_many_objects_at_most_and_they_fit_its_bytes() -> None:
    one = {"size": 10**9, "sha256": "0" * 64, "rows": 10**6, "version_id": "v" * 32}
    most = [one | {"key": f"{n:0150}"} for n in range(pure.MAXIMUM_OBJECTS)]
    body = json.dumps({"objects": most}).encode()

    assert len(pure.read_manifest(body)) == pure.MAXIMUM_OBJECTS
    assert len(body) <= pure.MANIFEST_BYTES
    with pytest.raises(BadInputError, match="1 to 10000 objects"):
        pure.read_manifest(json.dumps({"objects": [*most, one | {"key": "one more"}]}).encode())


def test_f4_however_late_events_are_told_those_that_come_without_a_quiet_between_them_are_one_batch(
    intake: World,
) -> None:
    folders = itertools.count()

    @settings(max_examples=15, derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, 86_400), st.integers(0, QUIET - 1)), min_size=1, max_size=6))
    def told(burst: list[tuple[int, int]]) -> None:
        """Each event comes so many seconds after its object was put, and so many after the event before."""
        folder, now = f"burst-{next(folders):03}", START

        def is_closed(at: datetime) -> bool:
            asked = {"model": MODEL, "batch": folder, "at": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "correlation_id": "c"}
            return bool(handler("close_batch")(asked, CONTEXT)["closed"])

        for number, (late, gap) in enumerate(burst):
            now += timedelta(seconds=gap)
            assert number == 0 or not is_closed(now)
            key = f"raw-data/{MODEL}/{folder}/{number}.csv"
            wake(arrival(key, now - timedelta(seconds=late), f"0A{number}"), now)
        assert not is_closed(now + timedelta(seconds=QUIET - 1))
        assert is_closed(now + timedelta(seconds=QUIET))
        (row,) = ledger.query(f"model/{MODEL}", f"batch#{folder}")
        assert row["objects"] == len(burst)

    told()


def test_f4_the_limit_of_a_batch_is_counted_from_when_its_first_event_came(intake: World) -> None:
    """Of a burst that never rests, told a day late."""
    closed = []
    for minute in range(0, 64, 4):
        now = START + timedelta(minutes=minute)
        wake(arrival(f"raw-data/{MODEL}/b/{minute}.csv", now - timedelta(days=1), f"0A{minute:02}"), now)
        asked = {"model": MODEL, "batch": "b", "at": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "correlation_id": "c"}
        closed.append(handler("close_batch")(asked, CONTEXT)["closed"])

    assert closed == [False] * 15 + [True]
