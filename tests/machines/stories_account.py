"""What is played of `monitor`, `onboard` and `offboard`: real handlers, real capture, real statistics, a real booster."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from linnet.gateways import ledger
from linnet.settings import settings
from models.flights import data as flights
from tests.contract import test_monitor, test_monitor_attribution, test_onboarding
from tests.contract.onboarding_world import BUCKET, account
from tests.machines.account import Account
from tests.machines.outside import Outside, failing, storm
from tests.machines.player import Play
from tests.sagemaker.doubles import Lab

TICK = {"time": test_monitor.END, "correlation_id": "story"}
LOOKED = "All windows are looked at"
BLIND = "The monitor is blind"


@contextmanager
def watched(rows: int = 300, largest: int = 0) -> Iterator[Account]:
    """Open an account in which flights serves, with an hour of captured requests."""
    with pytest.MonkeyPatch.context() as patched, account(patched) as world:
        test_monitor.served(world)
        for part in range(3) if rows else ():
            key = f"data-capture/linnet-flights-v1-f1/linnet-flights/blue/2026/11/21/09/{part}.jsonl"
            test_monitor.capture(world, flights.requests(count=rows)[part::3])
            made = f"{key.rpartition('/')[0]}/00-00-000-blue.jsonl"
            world.put(key, world.s3.get_object(Bucket=BUCKET, Key=made)["Body"].read())
            world.s3.delete_object(Bucket=BUCKET, Key=made)
        if largest:
            patched.setenv("LINNET_LARGEST_WINDOW", str(largest))
            settings.cache_clear()
        yield Account(world, Lab())


@functools.cache
def _archive() -> bytes:
    return test_monitor_attribution.learnt()


@contextmanager
def explained(rows: int = 300) -> Iterator[Account]:
    """Open an account in which the order of the features is watched; the job's own program does the job's work."""
    with pytest.MonkeyPatch.context() as patched, account(patched) as world:
        test_monitor_attribution.served(world, _archive(), patched)
        if rows:
            test_monitor_attribution.captured(world, flights.requests(count=rows))
        made = Account(world, Lab())
        done = made._worked

        def worked(job: Any) -> None:
            if not made.endings:
                with tempfile.TemporaryDirectory() as folder:
                    test_monitor_attribution.worked(world, job.request, Path(folder))
            done(job)

        made.lab.executor.on_job = worked
        yield made


def monitor(stage: Account, name: str = "tick", **given: Any) -> Play:
    """Play a tick of the monitor."""
    return stage.play("monitor", TICK | given, name)


def blind(stage: Account, play: Play, why: str) -> None:
    """Check that people were told why nobody watches."""
    assert (play.path[-1], play.end["error"]) == (BLIND, "MonitorFailed")
    assert why in play.end["cause"]
    told = [m for m in stage.world.messages() if m["kind"] == "attention"]
    assert why in told[-1]["why"]


def a_quiet_hour_and_nothing_at_all_are_looked_at() -> Iterator[Outside]:
    with watched() as stage:
        with storm(stage, "monitor"):
            assert monitor(stage).path[-1] == LOOKED
        again = monitor(stage, "again")
        assert (again.path[-1], "Look at each window" in again.path) == (LOOKED, False)
        yield stage


def a_window_that_cannot_be_looked_at_is_told() -> Iterator[Outside]:
    with watched() as stage:
        with failing(stage, "monitor", "Compare with the baseline", "DataError", cause="no baseline"):
            blind(stage, monitor(stage), "flights DataError: no baseline")
        with failing(stage, "monitor", "Compare with the baseline", "BadInputError", cause="no baseline"):
            blind(stage, monitor(stage, "t2"), "flights BadInputError: no baseline")
        with failing(stage, "monitor", "Find the windows that are over", "NotFoundError", cause="no ledger"):
            blind(stage, monitor(stage, "t3"), "NotFoundError: no ledger")
        yield stage


def a_large_window_is_profiled_in_shards() -> Iterator[Outside]:
    with watched(900, 50_000) as stage:
        with storm(stage, "monitor"):
            assert monitor(stage).path[-1] == LOOKED
        yield stage
    for state, error, why in (
        ("Profile the files of a shard", "BadInputError", "shards failed, shard 0: BadInputError: by a test"),
        ("Put the shards together", "NotFoundError", "flights NotFoundError: by a test"),
    ):
        with watched(900, 50_000) as stage:
            with failing(stage, "monitor", state, error), storm(stage, "monitor", only="Tell people"):
                blind(stage, monitor(stage), why)
            yield stage
    with watched(900, 50_000) as stage:
        stage.unreadable = "shards.json"
        blind(stage, monitor(stage), "flights States.ItemReaderFailed")
        stage.unreadable = ""
        stage.faults["monitor", "Put the shards together"] = [RuntimeError("the service lost an item")]
        blind(stage, monitor(stage, "t2"), "the service lost an item")
        yield stage


def a_list_that_cannot_be_read_is_told() -> Iterator[Outside]:
    with watched() as stage:
        stage.unreadable = "due.json"
        blind(stage, monitor(stage), "States.ItemReaderFailed")
        with failing(stage, "monitor", "Tell people that nobody watches", *["AuthorizationError"] * 6):
            assert monitor(stage, "t2").path[-1] == BLIND
        yield stage


def a_sample_of_a_day_is_explained_in_a_job() -> Iterator[Outside]:
    given = {"time": test_monitor_attribution.END}
    with explained() as stage:
        with storm(stage, "monitor"):
            assert monitor(stage, **given).path[-1] == LOOKED
        yield stage
    with explained(0) as stage:
        without = monitor(stage, **given)
        assert (without.path[-1], "Explain the sample in a job" in without.path) == (LOOKED, False)
        yield stage
    for state, error in (
        ("Take a sample of the window", "BadInputError"),
        ("Explain the sample in a job", "States.TaskFailed"),
        ("Compare with the champion's own ranking", "NotFoundError"),
    ):
        with explained() as stage:
            with failing(stage, "monitor", state, error, cause="no rows"):
                blind(stage, monitor(stage, **given), f"flights {error}: no rows")
            yield stage
    with explained() as stage:
        stage.faults["monitor", "Take a sample of the window"] = [RuntimeError("the service lost an item")]
        blind(stage, monitor(stage, **given), "the service lost an item")
        yield stage


# -- onboard and offboard ------------------------------------------------------------------------------------------------


@contextmanager
def office() -> Iterator[Account]:
    """Open an account with a spec in its bucket."""
    with pytest.MonkeyPatch.context() as patched, account(patched) as world:
        world.put("specs/flights.yaml", flights.spec())
        yield Account(world, Lab())


SPEC = {"bucket": BUCKET, "key": "specs/flights.yaml", "correlation_id": "story"}


def a_spec_is_onboarded_and_an_older_version_of_it_is_not() -> Iterator[Outside]:
    with office() as stage:
        first = stage.world.put("specs/flights.yaml", flights.spec() | {"description": "older"})
        stage.world.put("specs/flights.yaml", flights.spec())
        with storm(stage, "onboard"):
            assert stage.play("onboard", SPEC).path[-1] == "The model is onboarded"
        late = stage.play("onboard", SPEC | {"version_id": first}, "e2")
        assert late.path[-1] == "Nothing to do"
        yield stage


def a_spec_that_cannot_be_onboarded_is_told() -> Iterator[Outside]:
    with office() as stage:
        wrong = stage.play("onboard", SPEC | {"key": "specs/other.yaml"})
        assert wrong.end["error"] == "OnboardingFailed"
        (told,) = (m for m in stage.world.messages() if m["kind"] == "attention")
        assert told["what"].startswith("specs/other.yaml was not onboarded: ")
        for number, state in enumerate(("Read the spec", "Make what the model needs")):
            with (
                failing(stage, "onboard", state, "BadInputError", cause="a reason"),
                storm(stage, "onboard", only="Tell people"),
            ):
                wrong = stage.play("onboard", SPEC, f"t{number}")
            assert wrong.end["cause"] == "BadInputError: a reason"
        with (
            failing(stage, "onboard", "Read the spec", "ConflictError"),
            failing(stage, "onboard", "Tell people that it failed", *["AuthorizationError"] * 6),
        ):
            assert stage.play("onboard", SPEC, "t9").end["error"] == "OnboardingFailed"
        yield stage


GONE = {"model": "flights", "delete_packages": False, "correlation_id": "story"}


@contextmanager
def onboarded() -> Iterator[Account]:
    """Open an account with an onboarded model that does not serve."""
    with office() as stage:
        test_onboarding.onboard(stage.world, flights.spec())
        stage.world.messages()
        yield stage


def a_model_goes_when_a_person_says_so_and_stays_otherwise() -> Iterator[Outside]:
    with onboarded() as stage:
        stage.says("approve")
        with storm(stage, "offboard"):
            assert stage.play("offboard", GONE).path[-1] == "The model is off-boarded"
        assert ledger.read("models", "flights") is None
        yield stage
    with onboarded() as stage:
        stage.says("reject")
        with storm(stage, "offboard"):
            assert stage.play("offboard", GONE).path[-1] == "The model stays"
        stage.person = stage.nobody
        assert stage.play("offboard", GONE, "e2").path[-1] == "The model stays"
        assert ledger.read("models", "flights") is not None
        yield stage


def an_off_boarding_that_fails_is_told() -> Iterator[Outside]:
    for state in ("See what the model has", "Ask a person", "Write down that it stays", "Delete what the model has"):
        with onboarded() as stage:
            stage.says("reject" if state.startswith("Write") else "approve")
            with (
                failing(stage, "offboard", state, "BadInputError", cause="a reason"),
                storm(stage, "offboard", only="Tell people"),
            ):
                wrong = stage.play("offboard", GONE)
            assert (wrong.end["error"], wrong.end["cause"]) == ("OffboardingFailed", "BadInputError: a reason")
            assert [m["why"] for m in stage.world.messages() if m["kind"] == "attention"] == ["BadInputError: a reason"]
            yield stage
    with onboarded() as stage:
        with (
            failing(stage, "offboard", "See what the model has", "ConflictError"),
            failing(stage, "offboard", "Tell people that it failed", *["AuthorizationError"] * 6),
        ):
            assert stage.play("offboard", GONE).end["error"] == "OffboardingFailed"
        yield stage
