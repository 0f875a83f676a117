"""Releases judged by what the models answer: shadows, tests with a winner, silent shifts, people asked, the watch after."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from linnet.errors import BusyError
from linnet.gateways import approvals, clients, judging, ledger, lineage
from local.sagemaker.ports import Answer
from tests.model.aws import ENDPOINT, MODEL
from tests.model.world import BUCKET, Execution, World, broken, finished

Model = Callable[[bytes], Answer]
LOW = {"edges": [0.1, 0.2, 0.3], "shares": [0.25, 0.25, 0.25, 0.25]}
"""How a model's answers are spread on its holdout: a quarter each at or below 0.1, 0.2, 0.3, and above."""


def scores(*values: float) -> Model:
    """Return a model that answers these scores in turn."""
    following = itertools.cycle(values)
    return lambda _: Answer(200, "text/csv", str(next(following)).encode(), 0.005)


EVEN = scores(0.05, 0.15, 0.25, 0.35)


@pytest.fixture
def world() -> Iterator[World]:
    with World(captures=True, quick=True).open() as opened:
        yield opened


def approved(world: World, behaviour: Any, name: str, *, rate: int = 120, spread: Any = None) -> Execution:
    arn, version = world.register(behaviour, spread=spread)
    world.approve(arn)
    execution = Execution(world, name, version=version)
    execution.rate = rate
    return execution


def serving(world: World, behaviour: Any = EVEN, **rollout: Any) -> None:
    """Bring a first version on the endpoint and some traffic to it."""
    world.onboard(rollout={"health": {"min_requests": 10}, **rollout})
    first = approved(world, behaviour, "v1", rate=0)
    assert finished(first) == "promoted"
    for _ in range(5):
        world.traffic(60)
        world.lab.clock.advance(60)


def step(execution: Execution) -> None:
    """Do one state; a busy endpoint is waited for, as the machine does."""
    try:
        execution.step()
    except BusyError:
        execution.world.lab.clock.advance(30)


def phases(execution: Execution) -> list[str]:
    """Play an execution to its end; return the phases that it went through."""
    seen: list[str] = []
    for _ in range(900):
        if not execution.lives:
            return seen
        step(execution)
        phase = str(execution.progress.get("phase", ""))
        if phase and seen[-1:] != [phase]:
            seen.append(phase)
    raise AssertionError(execution.why)


def metrics_of(world: World, fence: int) -> set[str]:
    return {test["metric"] for test in world.release(fence)["verdict"]["tests"]}


def test_ro_06_a_shadow_that_agrees_goes_on_as_a_canary_without_hands_and_callers_hear_only_the_champion(
    world: World,
) -> None:
    serving(world, scores(0.2), strategy="shadow", shadow_seconds=600)
    second = approved(world, scores(0.21), "v2")

    seen = phases(second)

    assert seen[:4] == ["joining", "mirroring", "rolling", "watching"]
    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")
    updates = [change.request["EndpointConfigName"] for change in world.changes[1:]]
    assert updates == ["linnet-flights-v2-f2-shadow", "linnet-flights-v2-f2"]
    assert ["DeploymentConfig" in change.request for change in world.changes[1:]] == [False, True]
    verdicts = [e["detail"] for e in ledger.history(f"model/{MODEL}", newest_first=False) if e["kind"] == "verdict"]
    mirrored = next(v for v in verdicts if v["phase"] == "rolling")  # the verdict that let it go on
    assert {"errors", "latency", "agreement"} <= {test["metric"] for test in mirrored["tests"]}
    assert mirrored["state"] == "healthy"


def test_ro_06_a_shadow_that_calls_otherwise_is_taken_back_and_no_caller_ever_heard_it(world: World) -> None:
    serving(world, scores(0.2), strategy="shadow", shadow_seconds=1800)
    second = approved(world, scores(0.9), "v2")
    heard: set[bytes] = set()
    invoke = world.lab.invoke
    world.lab.invoke = lambda *a, **k: (heard.add((answer := invoke(*a, **k)).body), answer)[1]  # type: ignore[method-assign]

    seen = phases(second)

    assert (second.outcome, seen[-1], world.config()) == ("rolled back", "mirroring", "linnet-flights-v1-f1")
    assert "calls unlike the champion's" in second.why
    assert heard == {b"0.2"}


def test_g6_a_model_that_is_wrong_without_an_error_is_taken_back_by_its_answers(world: World) -> None:
    serving(world, EVEN, wait_seconds=900)
    second = approved(world, scores(0.8), "v2", spread=LOW, rate=600)

    finished(second)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert "answers unlike the holdout's" in second.why
    assert [change.operation for change in world.changes[1:]] == [
        "UpdateEndpoint"
    ]  # SageMaker took it back, nobody fought
    assert not [name for name in world.cloudwatch.requests if "-f2-" in name]  # the release's alarms went with it


def test_a_model_that_answers_as_on_its_holdout_is_promoted_however_unlike_the_champion_it_is(world: World) -> None:
    serving(world, scores(0.9), wait_seconds=900)
    second = approved(world, EVEN, "v2", spread=LOW, rate=600)

    finished(second)

    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")
    assert "predictions" in metrics_of(world, 2)
    told = lineage.behind(MODEL)["release"]  # gap 10: with which verdict and numbers
    assert (told["verdict"]["state"], told["strategy"]) == ("healthy", "canary")
    assert {test["metric"]: test["seen"] for test in told["verdict"]["tests"]}["errors"] > 100
    assert told["expected"]["stages"][0]["requests"] > 0


def label(world: World, name: str, truth: Callable[[str], int]) -> None:
    """Put the truth about all captured requests that have none yet."""
    s3 = clients.client("s3")
    lines = []
    for uri, content in list(world.lab.aws.objects.items()):
        if "/data-capture/" not in uri or uri in world.labelled:
            continue
        world.labelled.add(uri)
        for line in content.splitlines():
            record = json.loads(line)
            identity = record["eventMetadata"]["eventId"]
            value = truth(record["captureData"]["endpointInput"]["data"])
            lines.append(json.dumps({
                "groundTruthData": {"data": str(value), "encoding": "CSV"}, "eventMetadata": {"eventId": identity},
                "eventVersion": "0",
            }))  # fmt: skip
    hour = f"{world.lab.clock.now():%Y/%m/%d/%H}"
    if lines:
        key = f"ground-truth/{ENDPOINT}/{hour}/{name}.jsonl"
        s3.put_object(Bucket=BUCKET, Key=key, Body="\n".join(lines).encode())


def labelled_to_the_end(world: World, execution: Execution, truth: Callable[[str], int]) -> None:
    for number in range(900):
        if not execution.lives:
            return
        step(execution)
        if execution.next == "judge" and number % 5 == 0:
            label(world, f"{number:04d}", truth)


def test_ro_05_an_ab_test_ends_with_all_traffic_on_the_challenger_when_labels_show_it_is_better(world: World) -> None:
    serving(world, scores(0.9, 0.9, 0.1), strategy="ab", wait_seconds=300)  # the champion is wrong every third time
    second = approved(world, scores(0.9), "v2", rate=240)

    labelled_to_the_end(world, second, lambda _: 1)

    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")
    shifts = [c.request for c in world.changes if c.operation == "UpdateEndpointWeightsAndCapacities"]
    shares = [{w["VariantName"]: w["DesiredWeight"] for w in s["DesiredWeightsAndCapacities"]}["green"] for s in shifts]
    assert shares == [10.0, 50.0, 100.0]
    row = world.release(2)["verdict"]
    quality = next(test for test in row["tests"] if test["metric"] == "quality")
    assert "wrong calls: 0 of" in quality["why"]
    assert row["better"] == {"by": "quality", "shown": True}


def test_ro_05_an_ab_test_that_nobody_wins_leaves_the_champion(world: World) -> None:
    serving(world, scores(0.9), strategy="ab", deadline_seconds=1800)
    second = approved(world, scores(0.9), "v2")

    labelled_to_the_end(world, second, lambda _: 1)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert "no winner yet" in second.why
    assert world.release(2)["verdict"]["better"] == {"by": "quality", "shown": False}


def test_a_challenger_that_labels_show_to_be_wrong_is_taken_back_at_the_small_share(world: World) -> None:
    serving(world, scores(0.9), strategy="stepped", ladder=(10, 100), wait_seconds=3600, maximum_seconds=28800)
    second = approved(world, scores(0.1), "v2", rate=240)

    labelled_to_the_end(world, second, lambda _: 1)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert "wrong calls" in second.why or "dear calls" in second.why
    shifts = [c for c in world.changes if c.operation == "UpdateEndpointWeightsAndCapacities"]
    assert [s.request["DesiredWeightsAndCapacities"][0]["DesiredWeight"] for s in shifts][:1] == [10.0]
    assert world.release(2)["plan"]["steps"] == [10, 100]
    assert not any(s.request["DesiredWeightsAndCapacities"][0]["DesiredWeight"] == 100.0 for s in shifts)


def until_asked(world: World, execution: Execution) -> dict[str, Any]:
    for _ in range(200):
        execution.step()
        if found := approvals.waiting(MODEL):
            return found[0]
    raise AssertionError(execution.why)


def asking(world: World) -> Execution:
    serving(world, strategy="stepped", ladder=(10, 100), deadline_seconds=120, when_unknown="ask")
    return approved(world, EVEN, "v2", rate=0)


def answer(world: World, asked: dict[str, Any], word: str) -> None:
    approvals.decide(asked["decision_id"], word, decided_by="ada@example.org", comment="", at=world.at)


def test_unknown_at_the_deadline_asks_a_person_once_and_their_no_takes_it_back(world: World) -> None:
    second = asking(world)
    asked = until_asked(world, second)
    for _ in range(6):
        second.step()

    assert [m["kind"] for m in world.messages].count("decision-wanted") == 1
    message = next(m for m in world.messages if m["kind"] == "decision-wanted")
    assert asked["decision_id"] in message["next_step"]
    answer(world, asked, "reject")
    finished(second)
    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert "a person took it back" in second.why


def test_a_persons_yes_lets_an_unknown_release_go_on(world: World) -> None:
    second = asking(world)
    for _ in range(3):
        answer(world, until_asked(world, second), "approve")
        for _ in range(4):
            if second.lives:
                second.step()
        if second.progress["phase"] == "finishing":
            break
    finished(second)

    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")


def test_gap_9_a_breach_while_a_person_is_being_asked_still_rolls_back_and_closes_the_question(world: World) -> None:
    serving(world, strategy="stepped", ladder=(50, 100), deadline_seconds=120, when_unknown="ask")
    second = approved(world, scores(0.2), "v2", rate=0)
    asked = until_asked(world, second)
    world.lab.executor.models[f"s3://{BUCKET}/models/{MODEL}/2/model.tar.gz"] = broken
    for variant in world.lab.sagemaker._endpoints._endpoints[ENDPOINT].fleet.variants.values():
        if variant.name == "green":
            variant.server.model = broken
    second.rate = 120

    finished(second)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert "High error rate" in second.why
    assert approvals.read(asked["decision_id"])["state"] == "EXPIRED"


def test_a_question_that_nobody_answers_takes_the_release_back(world: World) -> None:
    world.onboard(approval={"timeout_hours": 1})
    second = asking(world)
    asked = until_asked(world, second)
    spec_hours = int(world.release(2)["spec"]["timeout_hours"])
    world.lab.clock.advance(3600 * spec_hours)

    finished(second)

    assert second.outcome == "rolled back"
    assert "nobody answered in time" in second.why
    assert approvals.read(asked["decision_id"])["state"] == "EXPIRED"


def test_ro_08_multi_stage_passes_through_shadow_and_ladder_and_decommissions_the_champion(world: World) -> None:
    serving(
        world, scores(0.2), strategy="multi_stage", shadow_seconds=300, ladder=(5, 50, 100), waits=(600, 300, 300),
        deadline_seconds=7200,
    )  # fmt: skip
    second = approved(world, scores(0.21), "v2", rate=240)

    seen = phases(second)

    assert seen == [
        "joining", "mirroring", "entering", "shifting", "baking", "shifting", "baking", "shifting", "baking", "finishing",
    ]  # fmt: skip
    assert (second.outcome, world.config()) == ("promoted", "linnet-flights-v2-f2")
    assert [v["VariantName"] for v in world.endpoint()["ProductionVariants"]] == ["green"]


@pytest.mark.parametrize("phase", ["joining", "mirroring", "entering", "shifting", "baking", "finishing"])
def test_ro_08_a_rejection_stops_multi_stage_at_any_stage_and_the_champion_serves(world: World, phase: str) -> None:
    serving(
        world, scores(0.2), strategy="multi_stage", shadow_seconds=300, ladder=(5, 100), waits=(300, 300),
        deadline_seconds=7200,
    )  # fmt: skip
    arn, version = world.register(scores(0.21))
    world.approve(arn)
    second = Execution(world, "v2", version=version)
    second.rate = 240
    while second.progress.get("phase") != phase:
        second.step()

    world.approve(arn, "Rejected")
    finished(second)

    assert (second.outcome, world.config()) == ("rolled back", "linnet-flights-v1-f1")
    assert [v["VariantName"] for v in world.endpoint()["ProductionVariants"]] == ["blue"]


def test_g8_a_champion_that_turns_out_bad_in_its_watch_window_goes_back_by_one_rollback(world: World) -> None:
    serving(world, strategy="all_at_once", termination_wait_seconds=300)
    second = approved(world, scores(0.2), "v2")
    assert finished(second) == "promoted"
    assert judging.watch(MODEL, world.at) in ("healthy", "unknown")
    world.lab.clock.advance(3600)
    assert judging.watch(MODEL, world.at) == "unknown"  # nobody called: no reason to go back
    assert world.states.started == {}
    for variant in world.lab.sagemaker._endpoints._endpoints[ENDPOINT].fleet.variants.values():
        variant.server.model = broken
    world.traffic(60)
    world.lab.clock.advance(30)
    before = len(world.changes)

    assert judging.watch(MODEL, world.at) == "started: flights-watch-f2"
    assert judging.watch(MODEL, world.at) == "already started: flights-watch-f2"

    assert list(world.states.started) == ["flights-watch-f2"]
    given = world.states.started["flights-watch-f2"]["input"]
    back = Execution(world, "back", kind="rollback", reason=given["reason"])
    assert finished(back) == "rolled back"
    assert world.config() == "linnet-flights-v1-f1"
    assert [change.operation for change in world.changes[before:]] == ["UpdateEndpoint"]
    assert judging.watch(MODEL, world.at) is None  # what was restored is not watched: there is nothing before it


def test_g8_the_watch_ends_with_its_window(world: World) -> None:
    serving(world, strategy="all_at_once", watch_hours=2)
    assert finished(approved(world, scores(0.2), "v2")) == "promoted"

    world.lab.clock.advance(2 * 3600 - 60)
    assert judging.watch(MODEL, world.at) == "unknown"
    world.lab.clock.advance(120)
    assert judging.watch(MODEL, world.at) is None


def test_a_stage_of_hours_is_judged_on_all_its_minutes_though_only_the_last_are_read_again(world: World) -> None:
    serving(world, strategy="stepped", ladder=(50, 100), waits=(2 * 3600, 300), maximum_seconds=28800)
    second = approved(world, scores(0.2), "v2", rate=20)
    asked: list[float] = []
    read = world.cloudwatch.get_metric_data

    def reading(**request: Any) -> dict[str, Any]:
        minutes = (request["EndTime"] - request["StartTime"]).total_seconds() / 60
        asked.append(sum(60 * minutes / query["MetricStat"]["Period"] for query in request["MetricDataQueries"]))
        return read(**request)

    world.cloudwatch.get_metric_data = reading  # type: ignore[method-assign]
    assert finished(second) == "promoted"

    row = world.release(2)
    seen = next(test["seen"] for test in row["verdict"]["tests"] if test["metric"] == "errors")
    folded = row["answers"]["minutes"]["past"]["errors"]["counts"]
    assert folded[0] > 500
    assert folded[0] < seen < 2000  # half of 20 a minute in two hours, and the last stage
    assert max(asked) < 1000  # datapoints: eight metrics over two hours
