"""What served when and who said so, asked after real releases, rollbacks and words in the registry (EX-03, RG-02)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import lineage as pure
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger, lineage
from tests.contract.test_release_functions import call
from tests.model.aws import MODEL
from tests.model.world import Execution, World, broken, echo, finished


@pytest.fixture
def world() -> Iterator[World]:
    with World().open() as opened:
        opened.onboard(rollout={"strategy": "all_at_once"})
        yield opened


def release(world: World, name: str, behaviour: Any = echo) -> str:
    arn, version = world.register(behaviour)
    world.approve(arn)
    execution = Execution(world, name, version=version)
    execution.rate = 40
    return finished(execution)


def version_at(moment: str) -> int:
    return int(lineage.trace({"model": MODEL, "at": moment})["serves"]["version"])


def test_ex_03_what_served_then_is_what_was_champion_then_through_rollbacks_and_failed_releases(world: World) -> None:
    stories = [
        lambda: release(world, "e1"), lambda: release(world, "e2"),
        lambda: finished(Execution(world, "b", kind="rollback")),
        lambda: release(world, "e3", broken), lambda: release(world, "e4"),
    ]  # fmt: skip
    begun, seen, outcomes = world.at, {}, []
    world.lab.clock.advance(60)
    for story in stories:
        outcomes.append(story())
        world.lab.clock.advance(60)
        seen[world.at] = world.champion()["version"]

    assert outcomes == ["promoted", "promoted", "rolled back", "rolled back", "promoted"]
    assert list(seen.values()) == [1, 2, 1, 1, 4]
    assert {moment: version_at(moment) for moment in seen} == seen
    with pytest.raises(NotFoundError, match="nothing of flights served at"):
        version_at(begun)


def test_a_model_that_was_taken_out_keeps_its_past_and_has_no_present(world: World) -> None:
    release(world, "e1")
    served = world.at
    world.lab.clock.advance(600)
    gone = {"decided_by": "ada@example.org", "packages_deleted": False}
    ledger.append(f"model/{MODEL}", "offboarding", world.at, gone, key="c")
    for sk in ("champion", "spec"):
        ledger.remove(f"model/{MODEL}", sk)

    assert version_at(served) == 1
    for question in ({"at": world.at}, {}):
        with pytest.raises(NotFoundError, match="nothing of flights serve"):
            lineage.trace({"model": MODEL} | question)


def test_rg_02_who_approves_in_the_registry_is_the_approver_also_after_a_question_that_expired(world: World) -> None:
    arn, version = world.register()
    call("apply_decision", "expired")
    world.approve(arn)
    call("on_package_status")
    finished(Execution(world, "e1", version=version))

    found = lineage.trace({"model": MODEL})["approver"]
    assert (found["decided_by"], found["decided_how"], found["comment"]) == (
        "the SageMaker registry",
        "registry",
        "by hand",
    )
    told = [e["detail"] for e in ledger.history(f"model/{MODEL}") if e["kind"] == "candidate"]
    assert [t["decided_by"] for t in told] == ["the SageMaker registry"]


@pytest.mark.parametrize("registry_first", [True, False])
def test_rg_02_a_persons_word_to_linnet_is_the_approval_whichever_is_written_first(
    world: World, *, registry_first: bool
) -> None:
    arn, version = world.register()
    said = {"decided_by": "ada@example.org", "kind": "person", "comment": "fits"}
    if registry_first:
        world.approve(arn)
        call("on_package_status")
        call("apply_decision", **said)
    else:
        call("apply_decision", **said)
        call("on_package_status")
    finished(Execution(world, "e1", version=version))

    assert lineage.trace({"model": MODEL})["approver"]["decided_by"] == "ada@example.org"


def test_ex_03_the_release_that_brought_what_serves_is_told(world: World) -> None:
    release(world, "e1")
    found = lineage.trace({"model": MODEL})["release"]

    assert (found["fence"], found["kind"], found["state"], found["strategy"]) == (1, "release", "promoted", "create")
    assert found["at"] < found["ended_at"]


@pytest.mark.parametrize(
    ("hyperparameters", "name"),
    [
        ({"learning_rate": 0.01, "max_depth": 5}, "lr-0.01-depth-5-2025-01-15"),
        ({"max_depth": "5", "eta": "0.1", "gamma": 1}, "lr-0.1-depth-5-2025-01-15"),
        ({"c": 1, "b": 2, "a": 3}, "a-3-b-2-2025-01-15"), ({}, "2025-01-15"),
    ],
)  # fmt: skip
def test_ex_05_names(hyperparameters: dict[str, Any], name: str) -> None:
    assert pure.trial(hyperparameters, "2025-01-15T10:00:00Z") == name
    assert pure.experiment("fraud-detection", "xgboost", 2) == "fraud-detection-xgboost-v2"


@given(st.lists(st.floats(0, 1), max_size=10), st.sampled_from(["log_loss", "auc"]))
def test_ex_04_the_best_of_a_loss_is_the_smallest(values: list[float], metric: str) -> None:
    rows = [
        pure.Row(run=str(n), at="2026-01-01T00:00:00Z", state="approved", metrics={metric: v})
        for n, v in enumerate(values)
    ]
    ranked = [r.metrics[metric] for r in pure.rank(rows, pure.wish({"metric": metric}))]
    assert ranked == sorted(values, reverse=metric == "auc")


def test_ex_04_a_hyperparameters_bound_asks_for_those_that_have_it_and_since_compares_moments() -> None:
    rows = [
        pure.Row(run="text", at="2026-01-01T00:00:00Z", state="approved", hyperparameters={"eta": "0.1"}),
        pure.Row(run="much", at="2026-01-01T00:00:00Z", state="approved", hyperparameters={"eta": 0.3}),
        pure.Row(run="none", at="2026-01-01T00:00:00Z", state="approved"),
    ]
    wish = pure.wish({"hyperparameter": {"eta": {"below": 0.3}}, "since": "2026-01-01T02:00:00+02:00", "limit": 2.0})
    assert [r.run for r in pure.rank(rows, wish)][: wish.limit] == ["text"]
    later = pure.wish({"since": "2026-01-01T01:00:00+00:00"})
    assert pure.rank(rows, later) == []
    with pytest.raises(BadInputError):
        pure.wish({"hyperparameter": {"eta": {"beneath": 1}}})
