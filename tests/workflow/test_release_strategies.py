"""The release's longer strategies on the emulator with the real definitions: how each goes on, and how it is taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.onboarding_world import sample
from tests.workflow.conftest import World
from tests.workflow.test_release_ways import Registered

FEW = {"min_requests": 4}
ONCE: dict[str, Any] = {"strategy": "all_at_once", "health": FEW}


@pytest.fixture
def model(world: World) -> Registered:
    return Registered(world)


def release(model: Registered) -> dict[str, Any]:
    """Return the row of a model's last release."""
    return model.world.rows(f"model/{model.model}", "release#")[-1]


def reach(model: Registered, phase: str) -> dict[str, Any]:
    """Wait until a model's last release is in a phase; return its row."""

    def look() -> dict[str, Any] | None:
        row = release(model)
        return row if row.get("progress", {}).get("phase") == phase else None

    return dict(model.world.wait(f"the phase {phase}", look))


def begin(model: Registered, **kind: Any) -> str:
    """Approve a package; return the ARN of the release that its event starts."""
    known = model.world.known("release")
    model.approved(**kind)
    return str(model.world.execution("release", known, model=model.model, follow=False)["executionArn"])


def phases(model: Registered) -> list[str]:
    """Return the phases of the last release in which a verdict led on, in order."""
    fence = release(model)["fence"]
    entries = [e["detail"] for e in model.world.rows(f"model/{model.model}#history") if e["kind"] == "verdict"]
    return list(dict.fromkeys(e["phase"] for e in entries if e["fence"] == fence))


def looks(world: World, arn: str) -> list[dict[str, Any]]:
    """Return the executions of `watch` that a release has waited for, oldest first."""
    listed = world.stepfunctions.list_executions(stateMachineArn=world.out["WatchMachineArn"])["executions"]
    mine = [e for e in listed if e["name"].startswith(f"{arn.rpartition(':')[2]}-look-")]
    return sorted(mine, key=lambda e: int(e["name"].rpartition("-")[2]))


def lease(model: Registered) -> object:
    return (model.world.row(f"endpoint/{model.endpoint}", "lease") or {}).get("owner")


def function(world: World, part: str) -> str:
    """Return the name of a function of the stack."""
    found = world.functions.list_functions(MaxItems=100)["Functions"]
    return next(str(f["FunctionName"]) for f in found if part in f["FunctionName"])


@pytest.fixture
def two_looks(world: World) -> Iterator[None]:
    """Let an execution of `watch` end after two looks instead of 700, as in a rollout of weeks."""
    arn = world.out["WatchMachineArn"]
    written = world.stepfunctions.describe_state_machine(stateMachineArn=arn)["definition"]
    assert "$looks < 700" in written
    shorter = written.replace("$looks < 700", "$looks < 2")
    world.stepfunctions.update_state_machine(stateMachineArn=arn, definition=shorter)
    yield
    world.stepfunctions.update_state_machine(stateMachineArn=arn, definition=written)


def test_ro_06_a_shadow_is_never_heard_agrees_goes_on_as_a_canary_and_is_promoted(model: Registered) -> None:
    model.spec(strategy="shadow", shadow_seconds=60, canary_percent=50, health=FEW)
    assert model.released()["status"] == "SUCCEEDED"

    with model.callers():
        arn = begin(model, rounds=4)
        row = reach(model, "mirroring")
        shadows = model.world.sagemaker.describe_endpoint(EndpointName=model.endpoint)["ShadowProductionVariants"]
        asked = len(model.answers)
        model.world.wait("more calls", lambda: len(model.answers) > asked + 20)
        heard = {answer for _, answer in model.answers} if release(model)["progress"]["phase"] == "mirroring" else None
        ended = model.world.follow(arn, 180)

    assert [v["VariantName"] for v in shadows] == ["shadow"]
    assert heard == {model.answers[0][1]}
    assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert model.config() == f"{model.endpoint}-v2-f2"
    assert model.answers[-1][1] != model.answers[0][1]
    assert phases(model) == ["rolling", "watching"]
    answers = release(model)["answers"]["agreement"]
    assert (answers["hits"], answers["of"] >= FEW["min_requests"]) == (0, True)
    (told,) = model.world.messages("release-started", model.model)
    assert [s["stage"] for s in told["expected"]["stages"]] == ["shadow", "canary"]
    assert row["expected"]["per_minute"] > 0


def test_ro_05_labels_show_the_winner_of_an_ab_test_and_it_alone_is_promoted(model: Registered) -> None:
    model.spec(strategy="ab", ladder=[50, 100], wait_seconds=60, health=FEW, watch_hours=0)
    assert model.released(wrong=True)["status"] == "SUCCEEDED"
    labelled, due = 0, 0

    def label() -> None:
        """Put what was right about the calls of the look before, so that their capture has arrived."""
        nonlocal labelled, due
        names, labelled, due = [n for n, _ in model.answers[labelled:due]], max(labelled, due), len(model.answers)
        lines = [
            {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": n}, "eventVersion": "0"}
            for n in names
        ]
        when = model.world.stack.clock.now()
        key = f"ground-truth/{model.endpoint}/{when:%Y/%m/%d/%H}/{due:08d}.jsonl"
        model.world.put(key, "\n".join(map(json.dumps, lines)))

    with model.callers(50):
        arn = begin(model)
        reach(model, "baking")
        ended = model.world.follow(arn, 180, label)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert model.config() == f"{model.endpoint}-v2-f2"
    assert float(model.answers[0][1]) < 0.5 < float(model.answers[-1][1])
    won = next(
        e["detail"] for e in model.world.rows(f"model/{model.model}#history")
        if e["kind"] == "verdict" and (e["detail"]["phase"], e["detail"]["step"]) == ("shifting", 1)
    )  # fmt: skip
    quality = next(t for t in won["tests"] if t["metric"] == "quality")
    assert "the champion's" in quality["why"]


def test_ro_08_multi_stage_passes_all_its_stages_however_many_watches_that_takes(
    model: Registered, two_looks: None
) -> None:
    model.spec(strategy="multi_stage", shadow_seconds=60, ladder=[50, 100], waits=[60, 120], health=FEW)
    assert model.released()["status"] == "SUCCEEDED"

    with model.callers():
        arn = begin(model, rounds=4)
        reach(model, "mirroring")
        refused = {"operation": "DescribeEndpoint", "code": "AccessDeniedException", "times": 2}
        assert (
            model.world.stack.trouble("refuse_calls", **refused) == ""
        )  # a look that fails is made again by its Retry
        ended = model.world.follow(arn, 180)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert phases(model) == ["entering", "shifting", "finishing"]
    watched = [e["status"] for e in looks(model.world, arn)]
    assert set(watched) == {"SUCCEEDED"}
    assert len(watched) == ended["states"].count("Watch the release")
    pairs = list(zip(ended["states"], ended["states"][2:], strict=False))
    assert ("Watch the release", "Watch the release") in pairs  # what comes next is to go on watching
    assert [s for s in ended["states"] if s in ("Probe the new fleet", "Make the next update", "Shift the traffic")] == [
        "Make the next update", "Probe the new fleet", "Shift the traffic", "Shift the traffic", "Make the next update",
    ]  # fmt: skip


def test_ro_08_i9_multi_stage_stopped_in_the_middle_is_taken_back_and_nobody_watches_it_any_more(
    model: Registered,
) -> None:
    model.spec(strategy="multi_stage", shadow_seconds=60, ladder=[50, 100], waits=[3600, 3600], health=FEW)
    assert model.released()["status"] == "SUCCEEDED"
    backs = model.world.known("rollback")

    with model.callers() as seen:
        arn = begin(model)
        reach(model, "baking")
        model.world.stepfunctions.stop_execution(executionArn=arn)
        ended = model.world.execution("rollback", backs, 120, model=model.model)

    assert (ended["status"], model.config(), seen["failed"]) == ("SUCCEEDED", f"{model.endpoint}-v1-f1", 0)
    assert looks(model.world, arn)[-1]["status"] == "ABORTED"
    assert lease(model) is None


def test_unknown_at_the_deadline_a_person_is_asked_and_lets_it_go_on_or_takes_it_back(model: Registered) -> None:
    model.spec(strategy="stepped", ladder=[50, 100], wait_seconds=60, deadline_seconds=0, when_unknown="ask")
    assert model.released()["status"] == "SUCCEEDED"
    answered: set[str] = set()

    def say(word: str) -> None:
        for row in model.world.rows(f"model/{model.model}", "decision#"):
            if row["state"] == "OPEN" and row["decision_id"] not in answered:
                answered.add(row["decision_id"])
                said = {
                    "decision_id": row["decision_id"],
                    "decision": word,
                    "decided_by": "ada",
                    "comment": "nobody calls",
                }
                got = model.world.functions.invoke(
                    FunctionName=model.world.out["DecideCandidateFunction"], Payload=json.dumps(said)
                )
                assert "FunctionError" not in got, got["Payload"].read()

    approved = model.world.follow(begin(model), 180, lambda: say("approve"))
    assert approved["status"] == "SUCCEEDED", approved["cause"]
    assert (model.config(), len(answered)) == (f"{model.endpoint}-v2-f2", 2)  # at each share

    rejected = model.world.follow(begin(model), 180, lambda: say("reject"))
    assert rejected["error"] == "DeploymentFailed"
    assert (model.config(), len(answered)) == (f"{model.endpoint}-v2-f2", 3)
    assert "inconclusive, and a person took it back" in release(model)["reason"]


def test_cpt_16_a_rejected_live_version_goes_back_and_the_watch_window_takes_a_bad_one_back(model: Registered) -> None:
    model.spec(**ONCE)
    world = model.world
    with model.callers():
        for _ in range(2):
            ended = model.released()
            assert ended["status"] == "SUCCEEDED", ended["cause"]
    backs = world.known("rollback")

    def watch() -> Any:
        event = sample("watch_champions") | {"time": f"{world.stack.clock.now():%Y-%m-%dT%H:%M:%SZ}"}
        got = world.functions.invoke(FunctionName=function(world, "WatchChampions"), Payload=json.dumps(event))
        assert "FunctionError" not in got, got["Payload"].read()
        return json.loads(got["Payload"].read())[model.model]

    assert watch() in ("healthy", "unknown")
    with model.callers(row="no number"):
        started = watch()
        ended = world.execution("rollback", backs, 120, model=model.model)
    assert started == f"started: {model.model}-watch-f2"
    assert (ended["status"], model.config()) == ("SUCCEEDED", f"{model.endpoint}-v1-f1")

    with model.callers():
        ended = model.released()
        assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert model.config() == f"{model.endpoint}-v3-f4"
    backs = world.known("rollback")
    package = str((world.row(f"model/{model.model}", "champion") or {})["package_arn"])
    world.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    ended = world.execution("rollback", backs, 120, model=model.model)
    assert (ended["status"], model.config()) == ("SUCCEEDED", f"{model.endpoint}-v1-f1")


def test_f15_a_release_that_nobody_can_look_at_is_taken_back(model: Registered) -> None:
    world, judge = model.world, function(model.world, "JudgeRelease")
    model.spec(strategy="stepped", health=FEW)
    assert model.released()["status"] == "SUCCEEDED"

    def see_again() -> None:
        if any(e["status"] == "FAILED" for e in looks(world, arn)):
            world.functions.delete_function_concurrency(FunctionName=judge)

    arn = begin(model)
    world.functions.put_function_concurrency(FunctionName=judge, ReservedConcurrentExecutions=0)
    try:
        ended = world.follow(arn, 180, see_again)
    finally:
        world.functions.delete_function_concurrency(FunctionName=judge)

    assert (ended["error"], model.config(), lease(model)) == ("DeploymentFailed", f"{model.endpoint}-v1-f1", None)
    failed = looks(world, arn)[-1]["executionArn"]
    assert world.states(failed)[-1] == "Nobody can look"
    described = world.stepfunctions.describe_execution(executionArn=failed)
    assert described["error"] == "Lambda.TooManyRequestsException"
    events = world.stepfunctions.get_execution_history(executionArn=failed, maxResults=1000)["events"]
    assert len([e for e in events if e["type"] == "TaskFailed"]) == 6  # asked again five times


def test_a_watch_whose_name_is_taken_as_after_a_redrive_frees_the_lease_and_takes_the_release_back(
    model: Registered,
) -> None:
    model.spec(strategy="stepped", health=FEW)
    assert model.released()["status"] == "SUCCEEDED"
    arn = begin(model)
    given = sample("watch") | {"model": model.model, "fence": 1}
    stranger = model.world.start("watch", given, name=f"{arn.rpartition(':')[2]}-look-0")
    assert (stranger["error"], stranger["states"][-1]) == ("ConflictError", "Nobody can look")

    ended = model.world.follow(arn)

    assert (ended["error"], model.config(), lease(model)) == ("DeploymentFailed", f"{model.endpoint}-v1-f1", None)
    assert "ExecutionAlreadyExists" in release(model)["reason"]
