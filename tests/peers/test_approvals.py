"""Public bugs of approvals: edits that deploy, links that approve themselves, answers that nobody hears."""

from __future__ import annotations

import re
from typing import Any

import pytest

from linnet.errors import BadInputError
from linnet.gateways import approvals, ledger, registry
from tests.model.aws import GROUP, MODEL
from tests.model.test_decisions_story import apply, ask, event, say, world  # noqa: F401 - a fixture
from tests.model.world import Execution, World, finished
from tests.template.conftest import ROOT, load, machines, states

FIELDS = [
    "ApprovalDescription", "ModelLifeCycle", "sourceUri", "CustomerMetadataProperties", "InferenceSpecification",
]  # fmt: skip


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_sagemaker_custom_project_templates_15_only_an_approval_releases(world: World, status: str) -> None:
    """sagemaker-custom-project-templates#15, PR#16: `anything-but PendingManualApproval` deployed rejected models."""
    arn, _ = world.register()
    if status == "Rejected":
        world.approve(arn, status)
    for claimed in ("Approved", "Rejected", "PendingManualApproval", "", "Whatever"):
        event(world, arn, claimed)

    assert world.states.started == {}


def test_sample_sagemaker_image_classification_mlops_edit_an_edit_of_an_approved_package_releases_nothing(
    world: World,
) -> None:
    """sample-sagemaker-image-classification-mlops (finding 6): editing the description of a package redeployed it."""
    arn, _ = world.register()
    world.approve(arn)

    for fields in ([], FIELDS, *([field] for field in FIELDS)):
        event(world, arn, "Approved", fields)

    assert world.states.started == {}


def test_sample_sagemaker_image_classification_mlops_duplicate_one_approval_is_one_release(world: World) -> None:
    """sample-sagemaker-image-classification-mlops: each duplicate Approved event built a model, a config and a rollout."""
    arn, version = world.register()
    world.approve(arn)
    for fields in (None, ["ModelApprovalStatus"], ["ModelApprovalStatus"], ["ModelApprovalStatus", "ModelLifeCycle"]):
        event(world, arn, "Approved", fields)
    registry.reconcile(MODEL, world.at)
    assert len(world.states.started) == 1

    finished(Execution(world, "v1", version=version))
    event(world, arn)
    registry.reconcile(MODEL, world.at)

    assert len(world.states.started) == 1


def test_sagemaker_best_effort_a_lost_approval_is_found(world: World) -> None:
    """No peer reconciles (finding 5b, gap 22): one lost approval event and nothing was ever deployed."""
    arn, version = world.register()
    world.approve(arn)

    registry.reconcile(MODEL, world.at)

    assert [started["input"]["version"] for started in world.states.started.values()] == [version]


def test_mlops_at_edge_17_a_group_without_packages_is_nothing_to_do(world: World) -> None:
    """mlops-at-edge#17: an empty ModelPackageSummaryList crashed the state machine's JSONPath."""
    assert world.lab.call("ListModelPackages", ModelPackageGroupName=GROUP)["ModelPackageSummaryList"] == []
    assert registry.reconcile(MODEL, world.at) == {}


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_sam_sf_sagemaker_workflow_rejected_a_word_reaches_the_machine_as_an_answer(world: World, word: str) -> None:
    """sam-sf-sagemaker-workflow: send_task_failure without error, so that Catch ["rejected"] never matched."""
    arn, version = world.register()
    say(world, ask(world, arn, version), word)

    assert world.states.answers["t1"]["decision"] == word
    assert world.states.answers["t1"]["approval_status"] == {"approve": "Approved", "reject": "Rejected"}[word]


@pytest.mark.parametrize("path", machines(), ids=lambda path: path.name.partition(".")[0])
def test_sam_sf_sagemaker_workflow_timeout_flagger_738_every_wait_for_a_person_ends_and_says_so(path: Any) -> None:
    """sam-sf-sagemaker-workflow: no TimeoutSeconds on the wait; flagger#738: gates that never time out."""
    for where, state in states(load(path)):
        if "waitForTaskToken" in str(state.get("Resource", "")):
            assert state.get("TimeoutSeconds"), where
            ways = {error: c["Next"] for c in state["Catch"] for error in c["ErrorEquals"]}
            assert ways["States.Timeout"] not in (state.get("Next"), ways.get("States.ALL")), (
                where
            )  # neither yes nor failure


def test_sam_sf_sagemaker_workflow_timeout_there_is_a_wait_for_a_person_in_the_run() -> None:
    """sam-sf-sagemaker-workflow: the test above is about something."""
    retrain = load(ROOT / "statemachines" / "retrain.asl.json")

    assert any("waitForTaskToken" in str(s.get("Resource", "")) for _, s in states(retrain))


def test_step_functions_workflows_collection_416_a_message_has_no_link_and_no_token(world: World) -> None:
    """step-functions-workflows-collection PR#416, sam-sf-sagemaker-workflow, activepieces#14024: a prefetched GET approves."""
    arn, version = world.register()
    ask(world, arn, version, "raw-token")

    asked = [m for m in world.messages if m["kind"] == "decision-wanted"]
    assert asked
    assert not re.search(r"https?://|raw-token", repr(asked))


def test_step_functions_workflows_collection_416_another_word_is_neither_yes_nor_no(world: World) -> None:
    """step-functions-workflows-collection human-in-the-loop: anything but "approve" was a rejection."""
    arn, version = world.register()
    decision = ask(world, arn, version)

    for word in ("", "no", "rejected", "yes", "Approve", "approve "):
        with pytest.raises(BadInputError):
            say(world, decision, word)
    assert approvals.read(decision)["state"] == "OPEN"
    assert world.states.answers == {}


@pytest.mark.parametrize("again", ["approve", "reject"])
def test_activepieces_14024_an_answer_is_used_once(world: World, again: str) -> None:
    """activepieces#14024, #14026, step-functions-workflows-collection PR#416: no single use, no identity."""
    arn, version = world.register()
    decision = ask(world, arn, version)
    say(world, decision, "approve", "ada")

    second = say(world, decision, again, "mallory")

    assert (second["accepted"], second["decided_by"]) == (False, "ada")
    with pytest.raises(BadInputError):
        say(world, ask(world, *world.register(), "t2"), "approve", "")


def test_step_functions_workflows_collection_416_an_expired_question_takes_no_answer(world: World) -> None:
    """step-functions-workflows-collection human-in-the-loop: a link worked for ever."""
    arn, version = world.register()
    decision = ask(world, arn, version)
    apply(world, arn, version, "Expired")

    assert say(world, decision)["accepted"] is False
    assert world.states.answers == {}
    assert (
        world.lab.call("DescribeModelPackage", ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"
    )


def test_flagger_682_who_said_so_is_in_the_history(world: World) -> None:
    """flagger#682: no audit of who let a release go on."""
    arn, version = world.register()
    apply(world, arn, version, "Approved")

    said = [e["detail"] for e in ledger.history(f"model/{MODEL}") if e["kind"] == "decision"]
    assert [(s["version"], s["decided_by"], s["comment"]) for s in said] == [(version, "ada", "fits")]
