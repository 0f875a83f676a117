"""A crash before and after every AWS call of a release and a rollback: the endpoint and the ledger agree in the end."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from linnet.decisions import progress, rollout
from linnet.decisions.verdict import Verdict
from linnet.errors import BusyError
from linnet.gateways import cleanup, conclusions, endings, judging, leases, ledger, releases, sagemaker
from tests.model.aws import ENDPOINT, MODEL
from tests.model.faults import Crash, Stage, failing
from tests.model.world import Execution, World, broken

NIGHTLY = bool(os.environ.get("LINNET_NIGHTLY"))
DAY = 24 * 3600
FAMILIES = (
    "create", "canary", "stepped", "shadow", "multi_stage", "back by hand", "bad canary", "bad stepped", "bad create",
)  # fmt: skip
ENDS = {
    "back by hand": "rolled back",
    "bad canary": "rolled back",
    "bad stepped": "rolled back",
    "bad create": "rolled back",
}


@contextmanager
def staged(family: str) -> Iterator[tuple[Stage, Execution]]:
    """Open a world in which the last execution is the one that will crash."""
    strategy = family.removeprefix("bad ").replace("create", "canary").replace("back by hand", "canary")
    with World(captures=strategy in ("shadow", "multi_stage"), quick=True).open() as world:
        stage = Stage(world, strategy)
        if family == "bad create":
            stage.approved(RuntimeError("no such module"))
        elif family != "create":
            stage.approved()
            stage.play()
            stage.approved(broken if family.startswith("bad") else None)
        else:
            stage.approved()
        if family == "back by hand":
            stage.play()
            stage.executions.append(Execution(world, "by-hand", kind="rollback", reason="wrong answers"))
        assert [e.lives for e in stage.executions] == [*(False for _ in stage.executions[1:]), True]
        yield stage, stage.executions[-1]


def calls(family: str) -> int:
    """Count the AWS calls of an execution that nothing happens to."""
    count = 0

    def tap(_: str, moment: str) -> None:
        nonlocal count
        count += moment == "before"

    with staged(family) as (stage, execution):
        stage.world.tap = tap
        stage.play()
        assert execution.outcome == ENDS.get(family, "promoted"), (execution.outcome, execution.why)
    return count


def crashed(family: str, crashes: list[tuple[int, str]], *, again: bool) -> None:
    """Crash at these calls, each counted from the one before; the state is retried, or the execution is aborted."""
    with staged(family) as (stage, execution):
        for number, moment in crashes:
            stage.world.tap = failing(number, moment, lambda _: Crash())
            try:
                stage.play()
            except Crash:
                stage.check_owner()
                stage.check_serves()
                if not again:
                    stage.abort(execution)
        stage.converges()
        stage.check_end()
        if again:
            assert execution.outcome == ENDS.get(family, "promoted"), (execution.outcome, execution.why)
        stage.converges(later=2 * DAY)
        stage.check_alarms()
        stage.check_end()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_crash_at_any_aws_call_leaves_nothing_that_one_reconcile_does_not_mend(family: str) -> None:
    # Between two calls nothing happens that AWS sees: before a call is after the one before it, and only nightly both.
    points = [
        (0, "before"),
        *((k, moment) for k in range(calls(family)) for moment in ("before", "after")[not NIGHTLY :]),
    ]
    whole = NIGHTLY or family in ("create", "canary", "stepped")
    step = 1 if whole else max(1, len(points) // 30)
    for number, point in enumerate(points[::step]):
        for again in (True, False) if NIGHTLY else (number % 2 == 0,):
            try:
                crashed(family, [point], again=again)
            except AssertionError as error:
                raise AssertionError(
                    f"crash {point} of {family}, {'tried again' if again else 'aborted'}: {error}"
                ) from error


@pytest.mark.skipif(not NIGHTLY, reason="a nightly test")
@pytest.mark.parametrize("family", FAMILIES)
def test_two_crashes_leave_nothing_that_one_reconcile_does_not_mend(family: str) -> None:
    count, draw = calls(family), random.Random(family)
    for _ in range(200):
        pair = [(draw.randrange(count), draw.choice(("before", "after"))) for _ in range(2)]
        again = draw.random() < 0.5
        try:
            crashed(family, pair, again=again)
        except AssertionError as error:
            raise AssertionError(f"crashes {pair} of {family}, again={again}: {error}") from error


def test_two_crashes_in_a_row_are_mended_too() -> None:
    for pair in ([(30, "after"), (2, "after")], [(45, "before"), (4, "after")]):
        for again in (True, False):
            crashed("canary", pair, again=again)


# -- what the crashes found ----------------------------------------------------------------------------------------------


def until(stage: Stage, execution: Execution, state: str) -> None:
    """Step until this state, of the execution or of its child, comes next."""
    for _ in range(400):
        if state == (execution.child.next if execution.child else execution.next):
            return
        stage.step(execution)
    raise AssertionError(f"{state} never came; {execution.next}")


def mended(stage: Stage, execution: Execution) -> None:
    """Abort the execution; all must be well after one reconcile."""
    stage.abort(execution)
    stage.converges()
    stage.check_end()


def test_a_release_that_died_between_its_end_and_freeing_its_lease_is_set_free() -> None:
    """It was concluded once more, as held, which was refused: every reconcile of the model failed from then on."""
    with staged("canary") as (stage, execution):
        until(stage, execution, "conclude")
        with patch.object(leases, "free", side_effect=Crash()), pytest.raises(Crash):
            stage.step(execution)
        mended(stage, execution)
        assert stage.world.champion()["version"] == 2


@pytest.mark.parametrize("state", ["take", "start", "wait", "conclude"])
def test_the_rollback_of_a_release_that_died_on_its_way_is_gone_on_with(state: str) -> None:
    """It was held, the bad release kept its place; before it had the lease, its name was taken and none was ever started."""
    with staged("bad create") as (stage, execution):
        while execution.child is None:
            stage.step(execution)
        until(stage, execution, state)
        mended(stage, execution)
        assert sagemaker.endpoint(ENDPOINT) is None


def test_a_rollback_by_hand_that_died_after_its_update_is_gone_on_with() -> None:
    """It was held: the ledger's champion was not what served."""
    with staged("back by hand") as (stage, execution):
        until(stage, execution, "wait")
        mended(stage, execution)
        assert stage.world.champion()["version"] == 1


def test_a_rollback_by_hand_that_died_before_its_update_leaves_what_serves() -> None:
    with staged("back by hand") as (stage, execution):
        until(stage, execution, "start")
        mended(stage, execution)
        assert stage.world.champion()["version"] == 2


def test_a_release_waits_until_what_a_dead_one_left_on_the_endpoint_is_taken_back() -> None:
    """It took the lease over, and the unjudged version that it found serving became its own way back."""
    with staged("canary") as (stage, execution):
        until(stage, execution, "judge")
        stage.abort(execution)
        newer = stage.approved(broken)
        waiting = stage.executions[-1]
        for _ in range(3):
            stage.step(waiting)
            assert (waiting.next, waiting.fence) == ("take", None)
        stage.reconcile()
        stage.converges()
        assert stage.world.release(4)["version"] == newer
        assert stage.world.release(4)["previous"]["champion"]["version"] == 1
        assert [row["state"] for row in stage.rows()] == ["promoted", "rolled back", "rolled back", "rolled back"]
        stage.check_end()


def test_a_release_that_died_and_whose_rollback_could_not_begin_is_ended_and_told() -> None:
    """Its row stayed an intent for ever: nobody was told, and the clean-up took it for at work."""
    with staged("create") as (stage, execution):
        until(stage, execution, "judge")
        stage.quiet()
        lab = stage.world.lab
        variants = lab.call("DescribeEndpointConfig", EndpointConfigName=stage.world.config())["ProductionVariants"]
        lab.call("CreateEndpointConfig", EndpointConfigName="somebody-elses", ProductionVariants=variants)
        lab.call("UpdateEndpoint", EndpointName=ENDPOINT, EndpointConfigName="somebody-elses")
        stage.abort(execution)
        stage.quiet()
        stage.reconcile()
        assert stage.rows()[0]["state"] == "held"
        stage.check_end(held=True)


# -- the test of the tests: each mechanism taken away must be seen ----------------------------------------------------------


def at_call(method: str, then: Callable[[], None], moment: str = "after") -> Callable[[str, str], None]:
    """Return a tap that does something at the first call of a method."""
    seen: list[str] = []

    def tap(called: str, when: str) -> None:
        if (called, when) == (method, moment) and not seen:
            seen.append(called)
            then()

    return tap


def crash() -> None:
    """End the function in the middle."""
    raise Crash


def crash_at(family: str, method: str, *, again: bool) -> None:
    """Crash after the first call of a method; the execution is tried again or aborted, and all must be well."""
    with staged(family) as (stage, execution):
        stage.world.tap = at_call(method, crash)
        with pytest.raises(Crash):
            stage.play()
        if not again:
            stage.abort(execution)
        stage.converges()
        stage.check_end()
        assert not again or execution.outcome == ENDS.get(family, "promoted"), execution.why


def overtaken() -> None:
    """While one execution moves the champion it is taken for dead, and another one takes its release back."""
    with staged("canary") as (stage, execution):
        until(stage, execution, "conclude")
        highest: list[int] = []

        def another() -> None:
            stage.world.states.running.discard(execution.arn)
            stage.world.states.ended.add(execution.arn)
            endings.abandon(execution.arn, execution.name, {"model": MODEL}, stage.world.at)
            stage.adopt()
            newer = stage.executions[-1]
            while newer.lives:
                stage.step(newer)
            highest.append(int(stage.world.champion()["version"]))

        stage.world.tap = at_call("transact_write_items", another, "before")
        stage.step(execution)
        assert stage.world.champion()["version"] == highest[0] == 1


def stranger() -> None:
    """Somebody updates the endpoint between the last look and the end."""
    with staged("canary") as (stage, execution):
        until(stage, execution, "conclude")
        lab = stage.world.lab
        variants = lab.call("DescribeEndpointConfig", EndpointConfigName=stage.world.config())["ProductionVariants"]
        lab.call("CreateEndpointConfig", EndpointConfigName="somebody-elses", ProductionVariants=variants)
        lab.call("UpdateEndpoint", EndpointName=ENDPOINT, EndpointConfigName="somebody-elses")
        stage.quiet()
        stage.converges()
        stage.check_end()


def played(family: str, outcome: str, *, rate: int = 40) -> None:
    """Play a family to its end, which must be this one, and all must be well."""
    with staged(family) as (stage, execution):
        execution.rate = rate
        stage.play()
        assert execution.outcome == outcome
        stage.converges()
        stage.check_end()


def abandoned_while_updating() -> None:
    """A release dies while SageMaker shifts its traffic; its rollback comes at once."""
    with staged("canary") as (stage, execution):
        until(stage, execution, "judge")
        stage.abort(execution)
        stage.reconcile()
        stage.converges()
        stage.check_end()


def two_at_once() -> None:
    """Two executions of one candidate, in turns."""
    with staged("canary") as (stage, execution):
        other = Execution(stage.world, "other", version=execution.version)
        stage.executions.append(other)
        for one in (execution, other, execution, execution, other):
            if one.lives:
                stage.step(one)
            stage.check_changes()
        stage.play()
        stage.check_changes()


def old_config_serves() -> None:
    """Somebody went back to an old release's config by hand; the clean-up must leave it."""
    with staged("create") as (stage, _):
        stage.play()
        for _ in range(5):
            stage.approved()
            stage.play()
        stage.world.lab.call("UpdateEndpoint", EndpointName=ENDPOINT, EndpointConfigName="linnet-flights-v1-f1")
        stage.quiet()
        stage.world.lab.clock.advance(2 * DAY)
        cleanup.clean(MODEL, stage.world.at)
        there = stage.world.lab.refused("DescribeEndpointConfig", EndpointConfigName=stage.world.config()) == ""
        assert there, "the config that serves was deleted"


def everybody(endpoint: str, *, owner: str, at: str, handed: Any = None) -> int:
    """Give everybody the lease."""
    anything = "attribute_not_exists(pk) OR attribute_exists(pk)"
    put = {"owner": owner, "since": at}
    row = ledger.change(f"endpoint/{endpoint}", "lease", put=put, add={"fence": 1}, only_if=anything)
    return int((row or {})["fence"])


def once(endpoint: str, *, owner: str, at: str, handed: Any = None) -> int:
    """Give the lease, but not again to who has it."""
    held = ledger.read(f"endpoint/{endpoint}", "lease") or {}
    if "owner" in held:
        raise BusyError("held")
    return everybody(endpoint, owner=owner, at=at)


@contextmanager
def recorded_afterwards() -> Iterator[None]:
    """Write an intent only after the endpoint was changed."""
    kept: dict[str, Mapping[str, Any]] = {}
    put, read, change = ledger.put_once, ledger.read, releases._change

    def put_later(pk: str, sk: str, row: Mapping[str, Any]) -> bool:
        if sk.startswith("release#") and row["fence"] > 1:
            kept[sk] = row
            return True
        return put(pk, sk, row)

    def then_put(row: Mapping[str, Any], target: str | None, **more: Any) -> None:
        try:
            change(row, target, **more)
        except Crash:
            kept.clear()  # a function's memory ends with it
            raise
        for sk in list(kept):
            put(f"model/{MODEL}", sk, kept.pop(sk))

    def read_kept(pk: str, sk: str) -> Any:
        return dict(kept[sk]) if sk in kept else read(pk, sk)

    with (
        patch.object(ledger, "put_once", put_later), patch.object(ledger, "read", read_kept),
        patch.object(releases, "_change", then_put),
    ):  # fmt: skip
        yield


def put_anyway(row: Mapping[str, Any], champion: Mapping[str, Any]) -> None:
    """Move the champion whatever its fence and whoever holds the lease."""
    anything = "attribute_not_exists(pk) OR attribute_exists(pk)"
    ledger.together(ledger.changed(f"model/{row['model']}", "champion", put=champion, only_if=anything))


def in_service(_found: Any, now: Any, *_: Any) -> dict[str, Any]:
    """Take InService for success."""
    return progress._answer("conclude", now, "InService")


_look = judging._look


def hopeful(*given: Any) -> Any:
    """Take unknown for healthy."""
    look = _look(*given)
    return (
        judging._Look(Verdict("healthy", "nothing bad was seen"), look.seen)
        if look.verdict.state == "unknown"
        else look
    )


MECHANISMS: dict[str, tuple[Callable[[], None], list[Callable[[], Any]]]] = {
    "the fence is not checked": (two_at_once, [
        lambda: patch.object(leases, "take", everybody), lambda: patch.object(leases, "require", lambda *_a, **_k: None),
    ]),
    "the lease is not re-entrant": (
        lambda: crash_at("canary", "update_item", again=True), [lambda: patch.object(leases, "take", once)],
    ),
    "the intent is written after the change": (
        lambda: crash_at("canary", "update_endpoint", again=False), [recorded_afterwards],
    ),
    "InService is success": (lambda: played("bad canary", "rolled back"), [
        lambda: patch.object(progress, "_elsewhere", in_service),
        lambda: patch.object(conclusions, "_check_serving", lambda *_: None),
    ]),
    "what was made by a call without an answer is not adopted": (
        lambda: crash_at("canary", "create_model", again=True), [lambda: patch.object(sagemaker, "_TAKEN", ())],
    ),
    "a rollback does not wait for the endpoint": (
        abandoned_while_updating, [lambda: patch.object(rollout, "CHANGING", ())],
    ),
    "the end is not read back": (stranger, [lambda: patch.object(conclusions, "_check_serving", lambda *_: None)]),
    "the champion is moved without the lease": (overtaken, [lambda: patch.object(conclusions, "_put_champion", put_anyway)]),
    "the clean-up does not ask what serves": (
        old_config_serves, [lambda: patch.object(cleanup, "_used", lambda _: set())],
    ),
    "unknown is healthy": (
        lambda: played("canary", "rolled back", rate=0), [lambda: patch.object(judging, "_look", hopeful)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_model_sees_when_a_mechanism_is_taken_away(mechanism: str) -> None:
    schedule, taken = MECHANISMS[mechanism]
    schedule()  # with it all is well
    with ExitStack() as stack:
        for each in taken:
            stack.enter_context(each())
        with pytest.raises(AssertionError):
            schedule()


# -- the tables are as good as moto's ------------------------------------------------------------------------------------


def ledger_after(world: World, seed: int) -> list[Any]:
    """Do what the ledger can do, at random, and return all that it answered and holds."""
    draw, said = random.Random(seed), []
    conditions = (
        "attribute_exists(pk)", "attribute_not_exists(pk) OR #n <= :n", "attribute_not_exists(#n) OR #n <> :n",
        "attribute_exists(pk) AND (attribute_not_exists(#s) OR #n = :n)", "attribute_not_exists(pk) OR attribute_exists(pk)",
        "#n IN (:m, :n) AND attribute_exists(#s)",
    )  # fmt: skip
    for _ in range(60):
        key, number = draw.choice("abc"), draw.randrange(3)
        text = draw.choice(conditions)
        given = ({"n": number} if ":n" in text else {}) | ({"m": 2} if ":m" in text else {})
        more: dict[str, Any] = {"only_if": text, "given": given}
        if draw.random() < 0.3:
            more |= {"remove": ("s",)}
        else:
            more |= {"put": {"s": {"deep": [number, 0.5, None]}}}
        more |= {"add": {"n": number}} if draw.random() < 0.5 else {}
        act: list[Callable[[], Any]] = [
            lambda key=key, more=more: ledger.change("p", key, **more),
            lambda key=key, number=number: ledger.put_once("p", key, {"n": number}),
            lambda key=key, number=number: ledger.append(
                "s", "k", "t", {"n": number}, key=key, beside=[ledger.changed("p", key, add={"n": 1})]
            ),
            lambda key=key: ledger.remove("p", key),
        ]
        said.append(draw.choices(act, (6, 2, 2, 1))[0]())
    said += [
        list(ledger.query("p")),
        list(ledger.query("p", "b")),
        list(ledger.query("p", before="c", newest_first=True)),
    ]
    return [*said, list(ledger.query("p", limit=1)), list(ledger.history("s")), [ledger.read("p", k) for k in "abc"]]


def test_the_tables_answer_as_motos_do() -> None:
    for seed in range(6):
        with World().open() as world:
            expected = ledger_after(world, seed)
        with World(quick=True).open() as world:
            assert ledger_after(world, seed) == expected
