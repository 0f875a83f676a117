"""From the question to the release: a person's word, the registry's word, and the order in which they may come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from linnet.errors import BadInputError, ConflictError
from linnet.events.aws import PackageDetail
from linnet.gateways import approvals, ledger, registry
from tests.model.aws import GROUP, MODEL, Lost
from tests.model.world import Execution, World, finished


@pytest.fixture
def world() -> Iterator[World]:
    with World().open() as opened:
        opened.onboard()
        yield opened


def ask(world: World, arn: str, version: int, token: str = "t1") -> str:  # noqa: S107 - no password
    world.states.tokens[token] = "waiting"
    question = {
        "model": MODEL, "version": version, "package_arn": arn, "token": token, "at": world.at, "timeout_seconds": 3600,
        "correlation_id": "c1", "metrics": {"auc": 0.87}, "champion_metrics": {"auc": 0.85},
        "evaluation_uri": "s3://b/results/flights/r1/evaluation.json", "run": "r1",
    }  # fmt: skip
    return str(registry.ask(question)["decision_id"])


def say(world: World, decision: str, word: str = "approve", by: str = "ada") -> dict[str, Any]:
    return registry.decide({"decision_id": decision, "decision": word, "decided_by": by, "comment": "fits"}, world.at)


def apply(world: World, arn: str, version: int, status: str, kind: str = "person") -> dict[str, Any]:
    return registry.apply(
        model=MODEL, version=version, package_arn=arn, approval_status=status, decided_by="ada", comment="fits", kind=kind,
        at=world.at, correlation_id="c1",
    )  # fmt: skip


def event(world: World, arn: str, status: str = "Approved", fields: list[str] | None = None) -> str:
    detail = PackageDetail(
        ModelPackageArn=arn, ModelPackageGroupName=GROUP, ModelApprovalStatus=status, UpdatedModelPackageFields=fields
    )
    return registry.observe(detail, "e1", world.at)["done"]


def test_rg_04_a_word_resumes_the_workflow_and_i12_the_token_is_shown_to_nobody(world: World) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version, "secret-token")

    answer = say(world, decision)

    assert world.states.answers["secret-token"] == {
        "approval_status": "Approved", "decision": "approve", "decided_by": "ada", "comment": "fits",
    }  # fmt: skip
    assert (answer["state"], answer["accepted"], answer["why"]) == ("APPROVED", True, "taken")
    shown = [world.messages, list(ledger.query(f"model/{MODEL}")), list(ledger.history(f"model/{MODEL}")), answer]
    assert "secret-token" not in repr(shown)


def test_rg_06_the_message_has_metrics_lineage_and_the_way_to_answer(world: World) -> None:
    arn, version = world.register()

    decision = ask(world, arn, version)

    message = world.messages[-1]
    assert message["kind"] == "decision-wanted"
    for part in ("0.87", "0.85", "evaluation.json", "r1", decision, arn):
        assert part in repr(message)


def test_f37_the_first_word_wins_and_the_second_is_shown_the_first(world: World) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version)
    say(world, decision, "approve", "ada")

    second = say(world, decision, "reject", "bob")

    assert (second["state"], second["accepted"]) == ("APPROVED", False)
    assert "ada" in second["why"]
    assert len(world.states.answers) == 1


def test_rg_04_a_repeated_task_asks_once_and_its_last_token_counts(world: World) -> None:
    arn, version = world.register()
    ask(world, arn, version, "old")
    world.states.tokens["old"] = "late"

    decision = ask(world, arn, version, "new")
    say(world, decision)

    assert [m["kind"] for m in world.messages].count("decision-wanted") == 1
    assert list(world.states.answers) == ["new"]


def test_f40_a_word_after_the_time_is_over_is_told_so(world: World) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version)
    world.states.tokens["t1"] = "late"
    apply(world, arn, version, "Expired")

    late = say(world, decision)

    assert (late["state"], late["accepted"]) == ("EXPIRED", False)
    assert "no longer open" in late["why"]
    assert ledger.read(f"model/{MODEL}", "candidate#000001")["status"] == "Expired"  # type: ignore[index]


def test_f40_a_word_that_meets_the_timeout_is_closed_as_expired_when_the_workflow_says_so(world: World) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version)
    world.states.tokens["t1"] = "late"

    answer = say(world, decision)
    apply(world, arn, version, "Expired")

    assert answer["accepted"] is False
    assert approvals.read(decision)["state"] == "EXPIRED"


def test_f41_an_applied_word_whose_receipt_was_lost_stays_applied(world: World) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version)
    world.states.lose = True
    with pytest.raises(Lost):
        say(world, decision)

    say(world, decision)
    apply(world, arn, version, "Approved")

    assert approvals.read(decision)["state"] == "APPROVED"
    assert approvals.read(decision)["applied"] is True
    assert approvals.expire(decision, at=world.at)["state"] == "APPROVED"  # I5


@pytest.mark.parametrize("word", ["maybe", "", "APPROVE"])
def test_only_approve_and_reject_are_words(world: World, word: str) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version)

    with pytest.raises(BadInputError, match="approve or reject"):
        say(world, decision, word)


def test_rg_02_a_decision_needs_somebody(world: World) -> None:
    arn, version = world.register()

    with pytest.raises(BadInputError, match="decided_by"):
        say(world, ask(world, arn, version), by=" ")


def test_rg_02_who_when_and_why_are_written_into_the_registry_and_the_ledger(world: World) -> None:
    arn, version = world.register()

    apply(world, arn, version, "Approved")
    apply(world, arn, version, "Approved")  # again: nothing new

    package = world.lab.call("DescribeModelPackage", ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == "Approved"
    assert all(part in package["ApprovalDescription"] for part in ("ada", "fits", world.at))
    assert [m["kind"] for m in world.messages].count("decision-made") == 1


@pytest.mark.parametrize(("first", "then"), [("Approved", "Rejected"), ("Rejected", "Approved")])
def test_rg_02_a_decided_package_is_not_decided_otherwise(world: World, first: str, then: str) -> None:
    arn, version = world.register()
    apply(world, arn, version, first)

    with pytest.raises(ConflictError, match="no legal change"):
        apply(world, arn, version, then)


def test_f36_approving_a_superseded_version_is_refused(world: World) -> None:
    old, one = world.register()
    new, two = world.register()
    apply(world, new, two, "Approved")

    with pytest.raises(ConflictError, match="superseded by version 2"):
        apply(world, old, one, "Approved")


def test_f36_a_newer_candidate_closes_the_question_about_the_older_one(world: World) -> None:
    old, one = world.register()
    decision = ask(world, old, one, "old")
    new, two = world.register()

    ask(world, new, two, "new")

    assert approvals.read(decision)["state"] == "REJECTED"
    assert world.states.answers["old"]["approval_status"] == "Rejected"


# -- the registry's events -----------------------------------------------------------------------------------------------


def test_eb_06_an_approval_starts_one_release_however_often_it_is_told(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)

    first, second = event(world, arn), event(world, arn)

    (name,) = world.states.started
    assert (first, second) == (f"started: {name}", f"already started: {name}")
    assert world.states.started[name] == {
        "machine": "release-machine", "input": {"model": MODEL, "version": version, "correlation_id": "c1"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("Approved", ["ApprovalDescription"]),
        ("Approved", ["CustomerMetadataProperties"]),
        ("Rejected", None),
        ("PendingManualApproval", None),
    ],
)
def test_peer_bug_sagemaker_custom_project_templates_15_edits_and_rejections_release_nothing(
    world: World, status: str, fields: list[str] | None
) -> None:
    arn, _ = world.register()
    if status != "PendingManualApproval":
        world.approve(arn, status)

    event(world, arn, status, fields)

    assert world.states.started == {}


def test_f7_an_event_that_claims_an_approval_which_the_registry_denies_does_nothing(world: World) -> None:
    arn, _ = world.register()

    assert event(world, arn, "Approved", ["ModelApprovalStatus"]).startswith("ignored")
    assert world.states.started == {}


def test_a_group_that_is_not_a_models_is_left_alone(world: World) -> None:
    detail = PackageDetail(ModelPackageArn="a", ModelPackageGroupName="linnet-other", ModelApprovalStatus="Approved")

    assert "belongs to no onboarded model" in registry.observe(detail, "e", world.at)["done"]


def test_an_approval_in_the_console_answers_the_open_question(world: World) -> None:
    arn, version = world.register()
    decision = ask(world, arn, version)
    world.approve(arn)

    event(world, arn)

    assert approvals.read(decision)["state"] == "APPROVED"
    assert world.states.answers["t1"]["approval_status"] == "Approved"


def test_a_package_from_outside_gets_a_candidates_row_and_is_released(world: World) -> None:
    arn, version = world.register(origin="registry")
    world.approve(arn)

    event(world, arn)

    row = ledger.read(f"model/{MODEL}", f"candidate#{version:06d}") or {}
    assert (row["origin"], row["status"], row["package_arn"]) == ("registry", "Approved", arn)
    assert len(world.states.started) == 1


def test_f3_an_approval_told_again_after_its_release_ended_starts_nothing(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)
    event(world, arn)
    finished(Execution(world, "v1", version=version))
    world.states.started.clear()  # Step Functions forgets names after 90 days

    assert "was promoted" in event(world, arn)
    assert world.states.started == {}


def test_a_rejection_of_what_serves_is_told_to_people(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)
    event(world, arn)
    finished(Execution(world, "v1", version=version))
    world.approve(arn, "Rejected")

    assert event(world, arn, "Rejected") == "noted: version 1 is rejected and serves"
    assert world.messages[-1]["kind"] == "attention"


def test_f5_an_approval_whose_event_was_lost_is_found_once_i8(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)

    first, second = registry.reconcile(MODEL, world.at), registry.reconcile(MODEL, world.at)
    (name,) = world.states.started

    assert (first, second) == ({"release": f"started: {name}"}, {"release": f"already started: {name}"})
    finished(Execution(world, "v1", version=version))
    assert registry.reconcile(MODEL, world.at) == {}


def test_i9_the_lease_of_a_release_that_died_unseen_is_found(world: World) -> None:
    arn, version = world.register()
    world.approve(arn)
    dead = Execution(world, "dead", version=version)
    dead.step()
    dead.end("aborted")

    assert registry.reconcile(MODEL, world.at)["lease"] == "held"
    assert world.messages[-1]["kind"] == "release-held"
