"""What is played of `release`, `rollback` and `watch`: real handlers, the local SageMaker's core, callers all the while."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from tests.machines.outside import Outside, failing, storm
from tests.machines.player import Call
from tests.machines.serving import serving
from tests.model.aws import ENDPOINT
from tests.model.world import broken

TAKEN_BACK = {"status": "FAILED", "error": "DeploymentFailed", "cause": "Model deployment health check failed"}
FIRST, SECOND = "linnet-flights-v1-f1", "linnet-flights-v2-f2"


def a_canary_is_promoted_the_next_is_taken_back_by_sagemaker_and_a_person_takes_back_the_first() -> Iterator[Outside]:
    with serving("canary") as stage:
        assert stage.release().end["output"]["outcome"] == "promoted"
        assert stage.release().end["output"]["outcome"] == "promoted"
        bad = stage.release(broken)
        assert (bad.end, bad.path[-2]) == (TAKEN_BACK, "Record that SageMaker took it back")
        assert stage.rollback().end["output"] == {"outcome": "rolled back", "why": "wrong answers"}
        assert stage.world.config() == FIRST
        yield stage


def a_ladder_is_climbed_and_a_broken_challenger_leaves_it() -> Iterator[Outside]:
    with serving("stepped") as stage:
        stage.release()
        climbed = stage.release()
        assert climbed.path.count("Shift the traffic") == 2
        assert (climbed.end["status"], stage.world.config()) == ("SUCCEEDED", SECOND)
        bad = stage.release(broken)
        assert (bad.end, bad.path[-3:-1]) == (TAKEN_BACK, ["Give the traffic back", "Roll back"])
        yield stage


def every_task_of_a_release_fails_once_in_every_way_that_passes_and_it_ends_as_well() -> Iterator[Outside]:
    with serving("stepped") as stage:
        stage.release()
        with storm(stage, "release", "watch"):
            assert stage.release().end["output"]["outcome"] == "promoted"
        with storm(stage, "rollback", "watch"):
            assert stage.rollback().end["output"]["outcome"] == "rolled back"
        with storm(stage, "release"):
            assert stage.release(broken).end == TAKEN_BACK
        assert stage.world.config() == FIRST
        yield stage
    with serving("canary") as stage:
        stage.release()
        with storm(stage, "release"):
            assert stage.release(broken).end == TAKEN_BACK
        yield stage


def what_is_asked_for_too_late_is_not_done() -> Iterator[Outside]:
    with serving("canary") as stage:
        stage.release()
        late = stage.release(serving=7)
        assert (late.path[-1], late.end["output"]["why"]) == ("Nothing to do", "version 7 does not serve any more")
        late = stage.rollback(serving=7)
        assert (late.path[-1], late.end["output"]["why"]) == ("Nothing to do", "version 7 does not serve any more")
        yield stage


def a_busy_endpoint_is_waited_for_eight_hours_and_no_longer() -> Iterator[Outside]:
    for kind in ("release", "rollback"):
        with serving("canary") as stage:
            stage.release()
            if kind == "rollback":
                stage.release()
            begin = stage.release if kind == "release" else stage.rollback
            stage.lab.sagemaker.system_update(endpoint=ENDPOINT, seconds=100)
            waited = begin()
            assert (waited.end["status"], waited.path.count("Wait for the endpoint")) == ("SUCCEEDED", 2)
            stage.rate = 0
            with failing(stage, kind, "Take the lease", *["BusyError"] * 481, cause="the endpoint is SystemUpdating"):
                waited = begin()
            assert waited.end["error"] == "ReleaseHeld"
            assert waited.end["cause"] == "BusyError: the endpoint is SystemUpdating"
            assert waited.path.count("Wait for the endpoint") == 480
            yield stage


def a_stuck_endpoint_is_left_to_people() -> Iterator[Outside]:
    for kind in ("release", "rollback"):
        with serving("canary") as stage:
            stage.release()
            stage.release()
            endpoint = stage.lab.sagemaker._endpoints._endpoints[ENDPOINT]

            def stuck(call: Call, record: Any = endpoint.record) -> None:
                if call.state == "Judge the release":
                    record["EndpointStatus"] = "UpdateRollbackFailed"

            stage.before = stuck
            end = (stage.release() if kind == "release" else stage.rollback()).end
            assert (end["error"], end["cause"]) == ("ReleaseHeld", "the endpoint is UpdateRollbackFailed")
            yield stage


def a_rollback_to_a_version_ends_as_that_release_does() -> Iterator[Outside]:
    with serving("canary") as stage:
        stage.release()
        stage.release()
        to = stage.rollback(to_version=1)
        assert to.end["output"] == {"outcome": "promoted", "version": 1}
        refused = stage.rollback(to_version=1)
        assert (refused.end["error"], refused.end["cause"]) == ("RollbackRefused", "version 1 serves already")
        stage.lab.executor.models["s3://linnet-data/models/flights/2/model.tar.gz"] = broken
        assert stage.rollback(to_version=2).end == TAKEN_BACK
        yield stage


def a_thousand_looks_without_an_end_are_followed_by_the_next_watch() -> Iterator[Outside]:
    """The first look's own answer is given a thousand times, for speed; the looks before and after are real."""
    for kind in ("release", "rollback"):
        with serving("canary") as stage:
            stage.release()
            stage.release()
            calls = stage._carried_out
            answers: list[Any] = []

            def look(call: Call, stage: Any = stage, calls: Any = calls, answers: list[Any] = answers) -> Any:
                again = len(answers) in range(1, 700)
                stage.rate = 0 if again else 40
                answers.append(answers[0] if again else calls(call))
                return answers[-1]

            stage.instead["watch", "Judge the release"] = look
            play = stage.release() if kind == "release" else stage.rollback()
            state = "Watch the release" if kind == "release" else "Watch the endpoint"
            assert (play.path.count(state) > 1, play.end["status"]) == (True, "SUCCEEDED")
            yield stage


RELEASE = {  # state -> how a release ends whose task fails there for good
    "Take the lease": "ReleaseHeld",
    "Prepare the release": "ReleaseHeld",
    "Start the rollout": "DeploymentFailed",
    "Watch the release": "DeploymentFailed",
    "Probe the new fleet": "DeploymentFailed",
    "Shift the traffic": "DeploymentFailed",
    "Make the next update": "DeploymentFailed",
    "Read back and promote": "ReleaseHeld",
}


def a_release_whose_task_fails_for_good_is_taken_back_or_held() -> Iterator[Outside]:
    for state, error in RELEASE.items():
        with serving("stepped") as stage:
            stage.release()
            with failing(stage, "release", state, "BadInputError"):
                end = stage.release().end
            assert end["error"] == error, state
            if error == "DeploymentFailed":
                assert (stage.world.config(), stage.world.champion()["version"]) == (FIRST, 1), state
            yield stage


def what_is_busy_is_not_asked_again_where_somebody_else_is_at_work() -> Iterator[Outside]:
    for state in ("Prepare the release", "Probe the new fleet", "Read back and promote"):
        with serving("stepped") as stage:
            stage.release()
            with failing(stage, "release", state, "BusyError"):
                assert stage.release().end["error"] == RELEASE[state], state
            yield stage
    for kind, state in (
        ("watch", "Judge the release"),
        ("release", "Record that SageMaker took it back"),
        ("rollback", "Record the rollback"),
    ):
        with serving("canary") as stage:
            stage.release()
            stage.release()
            with failing(stage, kind, state, "BusyError"):
                ends = [stage.release(broken).end] if kind != "rollback" else [stage.rollback().end]
            assert ends[0]["status"] == "FAILED"
            yield stage


def what_goes_wrong_on_the_way_back_is_held_and_said() -> Iterator[Outside]:
    for kind, state, error in (
        ("release", "Give the traffic back", "DeploymentFailed"),  # the rollback restores the old config in any case
        ("release", "Roll back", "ReleaseHeld"),
        ("rollback", "Take the lease", "ReleaseHeld"),
        ("rollback", "Restore the old config", "ReleaseHeld"),
        ("rollback", "Watch the endpoint", "ReleaseHeld"),
        ("rollback", "Record the rollback", "ReleaseHeld"),
    ):
        with serving("stepped") as stage:
            stage.release()
            with failing(stage, kind, state, "NotFoundError"):
                assert stage.release(broken).end["error"] == error, state
            yield stage


def where_the_endpoint_is_not_what_was_said_nothing_is_promoted() -> Iterator[Outside]:
    with serving("stepped") as stage:
        stage.release()
        with failing(stage, "release", "Read back and promote", "ConflictError"):
            end = stage.release()
        assert (end.end, end.path[-3:-1]) == (TAKEN_BACK, ["Give the traffic back", "Roll back"])
        yield stage


def an_end_that_cannot_be_written_down_is_an_end_all_the_same() -> Iterator[Outside]:
    with serving("canary") as stage:
        stage.release()
        with failing(stage, "release", "Record that SageMaker took it back", "ConflictError"):
            assert stage.release(broken).end["error"] == "ReleaseHeld"
        yield stage
    for kind, error in product(("release", "rollback"), ("BusyError", "ConflictError")):
        with serving("canary") as stage:
            stage.release()
            with (
                failing(stage, kind, "Take the lease", "ConflictError"),
                failing(stage, kind, "Stop and keep what serves", error),
            ):
                end = (stage.release() if kind == "release" else stage.rollback()).end
            assert end["error"] == "ReleaseHeld"
            yield stage


def what_ends_well_only_after_somebody_else_was_let_go_first_is_retried_in_time() -> Iterator[Outside]:
    """The closing tasks on the failure road are retried too."""
    for kind in ("release", "rollback"):
        with serving("canary") as stage:
            stage.release()
            with storm(stage, kind), failing(stage, kind, "Take the lease", "ConflictError"):
                end = (stage.release() if kind == "release" else stage.rollback()).end
            assert end["error"] == "ReleaseHeld"
            yield stage


def nobody_can_look() -> Iterator[Outside]:
    with serving("canary") as stage:
        stage.release()
        with failing(stage, "watch", "Judge the release", "ConflictError"):
            assert stage.release().end == TAKEN_BACK
        ends = [play.end for kind, play in stage.plays if kind == "watch"]
        assert {"status": "FAILED", "error": "ConflictError", "cause": "by a test"} in ends
        yield stage
