"""Each mechanism of intake, and the same story with it broken on purpose: a promise that cannot break is no promise."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from linnet.decisions import batches as decisions
from linnet.decisions import names
from linnet.gateways import batches, ledger, notifications, runs, signals
from models.flights import data as flights
from tests.contract.onboarding_world import CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import (
    MODEL,
    CrashError,
    arrival,
    calm,
    crash_at,
    intake,  # noqa: F401 - a fixture
    put_batch,
    reasons,
    wake,
    wakes,
)

START = datetime(2026, 11, 21, 2, tzinfo=UTC)
QUIET = {"model": MODEL, "batch": "burst", "at": "2026-11-21T02:30:00Z", "correlation_id": "c"}
Break = Callable[[pytest.MonkeyPatch], None]


def one_entry_a_signal(world: World) -> bool:
    for number in range(2):
        wake(sample("on_signal.request"))
        if number == 0:
            ledger.remove(f"model/{MODEL}", f"reason#{reasons()[0]['signal']['id']}")
    return len(reasons()) == 0  # the signal was seen: off-boarding or a person took its row away, it stays away


def forget_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ledger.append

    def forgetful(subject: str, kind: str, at: str, detail: Any, *, key: str, beside: Any = ()) -> bool:
        return real(subject, kind, at, detail, key=f"{key}#{uuid.uuid4()}", beside=beside)

    monkeypatch.setattr(ledger, "append", forgetful)


def the_newest_version_is_listed(world: World) -> bool:
    key = f"raw-data/{MODEL}/burst/a.csv"
    wake(arrival(key, START, "0A2", "newest"))
    wake(arrival(key, START, "0A1", "older"))
    handler("close_batch")(QUIET, CONTEXT)
    return [o["version"] for b in batches.for_run(MODEL, 9) for o in b["objects"]] == ["newest"]


def nothing_is_lost_while_a_batch_closes(world: World) -> bool:
    wake(arrival(f"raw-data/{MODEL}/burst/a.csv", START, "0A1"))
    real = ledger.query

    def meanwhile(pk: str, prefix: str = "", **more: Any) -> Any:
        rows = list(real(pk, prefix, **more))
        if prefix == "object#":
            ledger.query = real  # type: ignore[assignment] - restored by the one that is patched
            wake(arrival(f"raw-data/{MODEL}/burst/b.csv", START + timedelta(seconds=1), "0A2"))
        return iter(rows)

    ledger.query = meanwhile  # type: ignore[assignment] - in the very moment between reading and closing
    try:
        for minutes in (0, 30):
            handler("close_batch")(QUIET | {"at": f"2026-11-21T02:{29 + minutes}:00Z"}, CONTEXT)
    finally:
        ledger.query = real  # type: ignore[assignment] - as above
    found = {o["uri"].rpartition("/")[2] for b in batches.for_run(MODEL, 9) for o in b["objects"]}
    return found == {"a.csv", "b.csv"}


def close_without_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    real = batches._close

    def careless(model: str, batch: str, listed: Any, at: str, condition: Any) -> bool:
        return real(model, batch, listed, at, {"only_if": "#state = :open", "given": {"open": "open"}})

    monkeypatch.setattr(batches, "_close", careless)


def a_late_event_opens_no_batch(world: World) -> bool:
    event = put_batch(world, "2013-01", flights.batch(season="winter", rows=50, part=0))
    wake(event)
    key = f"raw-data/{MODEL}/2013-01/part-00001.csv"
    listed = batches.for_run(MODEL, 9)[0]["objects"][0]
    wake(arrival(key, datetime.fromisoformat(event["time"]) - timedelta(seconds=2), "0A1", listed["version"]))
    return len(list(ledger.query(f"model/{MODEL}", "batch#"))) == 1


def an_object_version_counts_once(world: World) -> bool:
    event = put_batch(world, "2013-01", flights.batch(season="winter", rows=50, part=0))
    key = f"raw-data/{MODEL}/2013-01/part-00001.csv"
    version = world.s3.head_object(Bucket="linnet-data", Key=key)["VersionId"]
    wake(arrival(key, datetime.fromisoformat(event["time"]) - timedelta(hours=1), "0A1", version))
    handler("close_batch")(QUIET | {"batch": "2013-01", "at": event["time"]}, CONTEXT)
    wake(event)
    trained = [(o["uri"], o["version"]) for b in batches.for_run(MODEL, 9) for o in b["objects"]]
    return len(trained) == len(set(trained)) == 1


def the_same_reasons_start_one_execution(world: World) -> bool:
    wakes("on_signal.request")
    for _ in range(3):
        runs.start(MODEL, "2026-11-21T02:00:00Z")
    return len(world.started("retrain")) == 1


def names_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "digest", lambda *_: uuid.uuid4().hex[:12])


def two_at_once_are_one_run(world: World) -> bool:
    wake(put_batch(world, "2013-01", flights.batch(season="winter", rows=50, part=0)))
    held = ledger.read(f"model/{MODEL}", "slot") or {}
    return [runs._claim(MODEL, e, f"r-{e}", "2026-11-21T02:00:00Z", held) for e in ("e1", "e2")] == [True, False]


def claim_without_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    real, always = ledger.change, {"only_if": "attribute_exists(pk) OR attribute_not_exists(pk)", "given": {}}
    monkeypatch.setattr(ledger, "change", lambda *a, **k: real(*a, **(k | always)))


def what_no_event_told_is_found(world: World) -> bool:
    put_batch(world, "2013-01", flights.batch(season="winter", rows=50, part=0))  # and nobody delivers its events
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    handler("reconcile_models")(sample("reconcile_models") | {"time": later}, CONTEXT)
    return "data" in [r["signal"]["kind"] for r in reasons()]


def a_death_loses_no_message(world: World) -> bool:
    for number in range(1, 8):
        crash_at(number, after=True)
        try:
            wakes("on_signal.drift")
        except CrashError:
            calm()
            wakes("on_signal.drift")
        calm()
        if "drift" not in [m["kind"] for m in world.messages()]:
            return False
        for row in reasons():
            ledger.remove(f"model/{MODEL}", f"reason#{row['signal']['id']}")
            ledger.remove(f"model/{MODEL}#seen", f"signal#{row['signal']['id']}")
    return True


def tell_after_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    real, tell = runs.keep, notifications.notify
    held: list[tuple[Any, Any]] = []

    def keep(*a: Any) -> None:
        mine = held[:]
        held.clear()  # what a process remembers dies with it
        real(*a)
        for args, more in mine:
            tell(*args, **more)

    monkeypatch.setattr(notifications, "notify", lambda *a, **k: held.append((a, k)))
    monkeypatch.setattr(runs, "keep", keep)


def a_broken_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the parts of an append one by one, as two puts did: a death between them parts a reason from its entry."""
    real = ledger._write

    def apart(operation: str, **arguments: Any) -> Any:
        if operation != "transact_write_items":
            return real(operation, **arguments)
        for item in arguments["TransactItems"]:
            ((kind, write),) = item.items()
            if real({"Put": "put_item", "Update": "update_item"}[kind], **write) is None:
                return None
        return {}

    monkeypatch.setattr(ledger, "_write", apart)


def a_reason_and_its_entry_are_never_parted(world: World) -> bool:
    for number in range(1, 6):
        crash_at(number, after=True)
        try:
            wakes("on_signal.request")
        except CrashError:
            calm()
            wakes("on_signal.request")
        calm()
        kept = {r["signal"]["id"] for r in reasons()}
        told = {e["key"] for e in ledger.history(f"model/{MODEL}") if e["kind"] == "signal"}
        if kept != told or not kept:
            return False
        for signal in kept:
            ledger.remove(f"model/{MODEL}", f"reason#{signal}")
            ledger.remove(f"model/{MODEL}#seen", f"signal#{signal}")
            for entry in list(ledger.query(f"model/{MODEL}#history")):
                ledger.remove(f"model/{MODEL}#history", entry["sk"])
    return True


MECHANISMS: dict[str, tuple[Callable[[World], bool], Break]] = {
    "what was seen is remembered": (one_entry_a_signal, forget_what_was_seen),
    "sequencers are compared": (
        the_newest_version_is_listed, lambda m: m.setattr(decisions, "newer", lambda *_: True),
    ),
    "closing asks for the count": (nothing_is_lost_while_a_batch_closes, close_without_counting),
    "late events are compared with closed lists": (
        a_late_event_opens_no_batch, lambda m: m.setattr(batches, "_is_stale", lambda *_: False),
    ),
    "object versions count once": (
        an_object_version_counts_once, lambda m: m.setattr(decisions, "each_object_once", list),
    ),
    "names follow from reasons": (the_same_reasons_start_one_execution, names_by_chance),
    "the claim has a condition": (two_at_once_are_one_run, claim_without_condition),
    "the reconciler looks": (
        what_no_event_told_is_found, lambda m: m.setattr(signals, "reconcile", lambda *_: {}),
    ),
    "people are told first": (a_death_loses_no_message, tell_after_the_entry),
    "rows and entries go together": (a_reason_and_its_entry_are_never_parted, a_broken_transaction),
}  # fmt: skip


@pytest.mark.parametrize("broken", [False, True], ids=["real", "broken"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_a_promise_of_intake_holds_with_its_mechanism_and_fails_without_it(
    intake: World, monkeypatch: pytest.MonkeyPatch, name: str, broken: bool
) -> None:
    story, damage = MECHANISMS[name]
    if broken:
        damage(monkeypatch)

    assert story(intake) is not broken
