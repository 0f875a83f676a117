"""Clean-up: nothing that a live endpoint or a kept record names ever goes, and what nothing needs does (DP-12, F48)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.decisions.cleanup import KEEP, leftovers
from linnet.errors import NotFoundError
from linnet.gateways import cleanup, ledger
from tests.model.aws import ENDPOINT, MODEL
from tests.model.world import Execution, World, finished

HISTORIES = 10_000 if os.environ.get("LINNET_NIGHTLY") else 300
NOW = datetime(2026, 2, 1, tzinfo=UTC)
BASE = f"linnet-{MODEL}"
DAY = 24 * 3600


def row(fence: int, version: int, state: str, hours: float, *, previous: str | None = None, both: bool = False) -> Any:
    target = f"{BASE}-v{version}-f{fence}"
    names = [*([f"{target}-both"] if both else []), target]
    variants = [{"name": "blue", "model": f"{BASE}-v{version}", "count": 1, "weight": 1}]
    plan = {
        "target": target,
        "configs": [{"name": n, "variants": variants} for n in names],
        "previous_config": previous,
    }
    ended = None if state == "intent" else (NOW - timedelta(hours=hours)).isoformat()
    return {
        "fence": fence, "version": version, "kind": "release", "state": state, "previous": previous and {"config": previous},
        "plan": plan | {"alarms": [] if both else [f"{target}-{what}" for what in ("errors", "latency", "verdict")]},
        **({"ended_at": ended} if ended else {}),
    }  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """Releases in any order of versions, states and ages; a champion; an endpoint that serves and changes to anything."""
    rows: list[Any] = []
    configs = ["somebody-elses"]
    for fence in range(1, draw(st.integers(1, 14)) + 1):
        state = draw(st.sampled_from(["promoted", "promoted", "rolled back", "held", "intent"]))
        hours, previous = draw(st.sampled_from([0.5, 23.9, 24.1, 400])), draw(st.sampled_from([None, *configs]))
        version, both = draw(st.integers(1, 6)), draw(st.booleans())
        rows.append(row(fence, version, state, hours, previous=previous, both=both))
        configs += [config["name"] for config in rows[-1]["plan"]["configs"]]
        if draw(st.integers(0, 5)) == 0 and rows[-1]["state"] != "intent":
            rows[-1]["cleaned_at"] = "2026-01-30T00:00:00Z"
    own = draw(st.sampled_from([None, *rows]))
    champion = own and {
        "version": own["version"], "config": own["plan"]["target"], "model_name": f"{BASE}-v{own['version']}",
        "fence": draw(st.sampled_from([own["fence"], *(r["fence"] for r in rows)])),
    }  # fmt: skip
    live = draw(st.lists(st.sampled_from(configs), max_size=2))
    used = {*live, *(f"{BASE}-v{name.split('-v')[1].split('-')[0]}" for name in live if "-v" in name)}
    return {"stack": "linnet", "model": MODEL, "releases": rows, "champion": champion, "used": used, "at": NOW}


def needed(history: dict[str, Any]) -> set[str]:
    """What must stay, said without the code under test."""
    rows, champion = history["releases"], history["champion"]
    promoted = [r for r in rows if r["state"] == "promoted"][-KEEP:]
    young = [
        r for r in rows if "ended_at" not in r or NOW - datetime.fromisoformat(r["ended_at"]) <= timedelta(hours=24)
    ]
    own = [
        r for r in rows if champion and (r["fence"] == champion["fence"] or r["plan"]["target"] == champion["config"])
    ]
    stay = set(history["used"])
    for kept in (*promoted, *young, *own):
        stay |= {config["name"] for config in kept["plan"]["configs"]} | {f"{BASE}-v{kept['version']}"}
        stay |= {kept["previous"]["config"]} if kept["previous"] else set()
    return stay | {alarm for r in young for alarm in r["plan"]["alarms"]}


@settings(max_examples=HISTORIES, deadline=None)
@given(histories())
def test_g8_nothing_that_a_live_endpoint_or_a_kept_record_names_ever_goes(history: dict[str, Any]) -> None:
    stay, found = needed(history), leftovers(**history)

    gone = [name for one in found for name in (*one.configs, *one.models, *one.alarms)]
    assert stay.isdisjoint(gone)
    assert all(name.startswith(f"{BASE}-v") for name in gone)
    assert len(gone) == len(set(gone))
    models = {name for one in found for name in one.models}
    cleaned = {one.fence for one in found if one.whole}
    for other in history["releases"]:  # no config is left without its model
        if other["fence"] not in cleaned and "cleaned_at" not in other:
            assert f"{BASE}-v{other['version']}" not in models


def test_what_nothing_needs_goes_the_oldest_first_and_a_model_with_its_last_config() -> None:
    rows = [
        row(1, 1, "rolled back", 99),
        row(2, 1, "promoted", 90, both=True),
        *(row(n, n, "promoted", 80) for n in (3, 4, 5)),
    ]
    rows[4]["previous"] = {"config": f"{BASE}-v4-f4"}
    champion = {"version": 5, "config": f"{BASE}-v5-f5", "fence": 5}

    found = leftovers(stack="linnet", model=MODEL, releases=rows, champion=champion, used={f"{BASE}-v5-f5"}, at=NOW)

    assert [(one.fence, one.whole, one.configs, one.models) for one in found] == [
        (1, True, (f"{BASE}-v1-f1",), ()),
        (2, True, (f"{BASE}-v1-f2", f"{BASE}-v1-f2-both"), (f"{BASE}-v1",)),
        *((fence, False, (), ()) for fence in (3, 4, 5)),  # their alarms alone
    ]


@pytest.mark.parametrize("strange", ["prod-config", f"{BASE}-other-v1-f1", f"{BASE}-v1-f1-mine-too", "linnet-v1-f1"])
def test_a_name_that_is_not_ours_stays_whatever_a_record_says(strange: str) -> None:
    rows = [row(1, 1, "rolled back", 99), row(2, 2, "promoted", 90)]
    rows[0]["plan"]["configs"][0]["name"] = strange
    rows[0]["plan"]["alarms"] = [strange]

    (first, _) = leftovers(stack="linnet", model=MODEL, releases=rows, champion=None, used=(), at=NOW)

    assert (first.configs, first.models, first.alarms) == ((), (f"{BASE}-v1",), ())


# -- the gateway, against the local SageMaker's core --


@pytest.fixture
def world() -> Iterator[World]:
    with World(quick=True).open() as opened:
        opened.onboard(rollout={"strategy": "all_at_once"})
        yield opened


def released(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)
    execution = Execution(world, f"v{version}-{len(world.changes)}", version=version)
    execution.rate = 60 if world.champion() else 0
    assert finished(execution) == "promoted"


def there(world: World) -> set[str]:
    configs = world.lab.call("ListEndpointConfigs", MaxResults=100)["EndpointConfigs"]
    models = world.lab.call("ListModels", MaxResults=100)["Models"]
    return {c["EndpointConfigName"].removeprefix(BASE) for c in configs} | {
        m["ModelName"].removeprefix(BASE) for m in models
    }


def test_dp_12_old_releases_are_cleaned_up_once_and_can_be_made_again(world: World) -> None:
    for _ in range(6):
        released(world)
    world.cloudwatch.put_metric_alarm(AlarmName=f"{BASE}-v2-f2-errors")  # left over: the endpoint was changing then

    assert cleanup.clean(MODEL, world.at) == []  # all of it younger than the watch window
    world.lab.clock.advance(2 * DAY)
    gone = cleanup.clean(MODEL, world.at)

    assert gone == [f"{BASE}-v1-f1", f"{BASE}-v1", f"{BASE}-v2-f2-errors", f"{BASE}-v2-f2", f"{BASE}-v2"]
    assert there(world) == {f"-v{n}{end}" for n in (3, 4, 5, 6) for end in ("", f"-f{n}")}
    assert world.release(1)["cleaned_at"] == world.at
    rows = list(ledger.query(f"model/{MODEL}"))
    assert (cleanup.clean(MODEL, world.at), list(ledger.query(f"model/{MODEL}"))) == ([], rows)  # I8

    back = Execution(world, "back", kind="rollback")
    assert (finished(back), world.champion()["version"]) == ("rolled back", 5)
    old = Execution(world, "old", version=1, back=True)
    old.rate = 60
    assert (finished(old), world.config()) == ("promoted", f"{BASE}-v1-f8")


def test_while_a_release_is_at_work_nothing_is_touched(world: World) -> None:
    for _ in range(5):
        released(world)
    world.lab.clock.advance(2 * DAY)
    arn, version = world.register()
    world.approve(arn)
    Execution(world, "at-work", version=version).step()

    assert cleanup.clean(MODEL, world.at) == []


def test_a_pass_is_bounded_and_goes_on_where_one_died(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        released(world)
    world.lab.clock.advance(2 * DAY)
    monkeypatch.setattr(cleanup, "MOST", 1)
    with monkeypatch.context() as dying:
        dying.setattr(ledger, "change", lambda *_a, **_k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cleanup.clean(MODEL, world.at)

    assert cleanup.clean(MODEL, world.at) == []  # deleted before, noted now
    assert cleanup.clean(MODEL, world.at) == [f"{BASE}-v2-f2", f"{BASE}-v2"]


def test_without_the_config_that_serves_nobody_can_tell_what_is_needed(world: World) -> None:
    for _ in range(5):
        released(world)
    world.lab.clock.advance(2 * DAY)
    world.lab.call("DeleteEndpointConfig", EndpointConfigName=world.config())

    with pytest.raises(NotFoundError):
        cleanup.clean(MODEL, world.at)
    assert world.endpoint()["EndpointName"] == ENDPOINT
    assert "-v1-f1" in there(world)
