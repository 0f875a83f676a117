"""Plays a state machine in this process: the emulator's own interpreter, in virtual time, one thing at a time.

The emulator carries the local stack's patches; tests/stack/test_patches_*.py hold them against AWS's pages. What this adds
takes away what a test cannot repeat: threads, clocks, random numbers. A task is answered by whoever plays.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from jsonata import Jsonata

from local.clock import WallClock
from local.patches import expressions, workflows

ROOT = Path(__file__).parents[2]
ACCOUNT = "arn:aws:states:us-east-1:123456789012"
PATHS = {path.name.partition(".")[0]: path for path in sorted((ROOT / "statemachines").glob("*.asl.json"))}
Definition = dict[str, Any]
_LONG_NAME = "an-execution-" + "0123456789" * 7


class Failed(Exception):  # noqa: N818 - a task's outcome
    """A task fails with this error name and cause."""

    def __init__(self, error: str, cause: str = "by a test") -> None:
        super().__init__(error, cause)
        self.error, self.cause = error, cause


@dataclass(frozen=True)
class Call:
    """One attempt of a task, as the service behind it sees it; `visit` counts from 0 how often the state was entered."""

    state: str
    visit: int
    attempt: int
    resource: str
    arguments: Any
    limits: dict[str, Any]
    """TimeoutSeconds and HeartbeatSeconds as they are now."""
    name: str
    """The execution's."""


@dataclass
class Seen:
    """A state as it was entered: its input, the variables, the item of its Map; and what its tasks were answered."""

    state: str
    given: Any
    variables: dict[str, Any]
    item: Any
    answers: list[Any] = field(default_factory=list)
    """In order; a failure is `{"Error": ..., "Cause": ...}`."""


@dataclass
class Play:
    """What was seen of an execution."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    """In order: states entered, tasks called, retries' pauses, waits; last the end."""
    seen: list[Seen] = field(default_factory=list)
    """The states as they were entered, and what their tasks were answered."""
    covered: set[tuple[str, ...]] = field(default_factory=set)
    """(state), (state, `to`, next), (state, `Choices`, number), (state, `Retry`, number, error) and so `Catch`."""

    @property
    def end(self) -> dict[str, Any]:
        """How it ended: status and output, or status, error and cause."""
        return dict(self.steps[-1]["end"])

    @property
    def path(self) -> list[str]:
        """The states in the order in which they were entered."""
        return [step["state"] for step in self.steps if "state" in step]


Answer = Callable[[Call], Any]


def definition(machine: str) -> Definition:
    """Return a machine as it is deployed, its substitutions replaced by their own names."""
    text = PATHS[machine].read_text().replace("${DataBucket}", "linnet-data")
    return dict(json.loads(text.replace("${", "").replace("Arn}", "")))


class _Serial:
    """A pool of threads without threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, call: Any, *arguments: Any) -> Future[Any]:
        """Call at once; those whom this serves keep their errors themselves."""
        done: Future[Any] = Future()
        done.set_result(call(*arguments))
        return done


@functools.cache
def _parsed(expression: str, timeout: int) -> Jsonata:
    """Return an expression, parsed once and without a limit of time: parsing is most of the work of a play."""
    return Jsonata(expression)


@functools.cache
def _emulator() -> Any:
    """Return the emulator's Step Functions with the local stack's patches, which this process gets once."""
    from ministack.services import stepfunctions as states  # noqa: PLC0415 - reads its environment at import

    workflows.apply(WallClock())
    expressions.apply()
    return states


class Player:
    """Plays executions; `now` tells the virtual time and `advance` moves it on."""

    def __init__(
        self, answer: Answer, now: Callable[[], datetime], advance: Callable[[float], None], objects: Callable[..., str]
    ) -> None:
        """`objects(bucket, key)` returns the text of what an ItemReader reads."""
        self._answer, self._now, self._advance, self._objects = answer, now, advance, objects
        self._plays: list[_Running] = []
        self.covered: set[tuple[str, ...]] = set()
        """What the last entered state covered."""

    def play(self, machine: Definition, name: str, given: Any, kind: str = "machine") -> Play:
        """Play one execution to its end."""
        running = _Running(machine, name, kind)
        states = _emulator()
        arn = f"{ACCOUNT}:stateMachine:linnet-{kind}"
        execution = {
            "executionArn": f"{ACCOUNT}:execution:linnet-{kind}:{name}", "stateMachineArn": arn, "name": name,
            "status": "RUNNING", "startDate": self._iso(), "stopDate": None, "input": json.dumps(given), "output": None,
            "events": [],
        }  # fmt: skip
        self._plays.append(running)
        try:
            with self._engine(states):
                states._state_machines[arn] = {"definition": json.dumps(machine), "name": f"linnet-{kind}"}
                states._executions[execution["executionArn"]] = execution
                states._run_execution(execution["executionArn"])
                del states._executions[execution["executionArn"]], states._state_machines[arn]
        finally:
            self._plays.pop()
        running.ended(execution)
        return running.play

    def enter(self, machine: Definition, seen: Seen) -> dict[str, Any]:
        """Enter one state of a machine as it was seen; return its steps, where it leads to and what it leaves behind."""
        running = _Running(machine, "name", "machine")
        states = _emulator()
        state, variables = every(machine)[seen.state], copy.deepcopy(seen.variables)
        ctx = {
            "QueryLanguage": machine.get("QueryLanguage", "JSONPath"), "variables": variables,
            "Execution": {"Id": "execution", "Name": _LONG_NAME, "Input": {}, "StartTime": self._iso()},
            "StateMachine": {"Id": "machine", "Name": "machine"}, "Map": seen.item,
            "State": {"Name": seen.state, "EnteredTime": self._iso(), "RetryCount": 0},
        }  # fmt: skip
        execution = {
            "status": "RUNNING", "events": [], "executionArn": "execution", "name": "name",
            "stateMachineArn": f"{ACCOUNT}:stateMachine:machine",
        }  # fmt: skip
        self._plays.append(running)
        left: dict[str, Any] = {}
        self.covered = running.play.covered
        try:
            with self._engine(states):
                if state["Type"] == "Succeed":
                    left["output"] = states._success_output(state, seen.given, ctx)
                elif state["Type"] == "Fail":
                    left["error"], left["cause"] = states._fail_state_error(state, seen.given, ctx)
                else:
                    inner = [execution] if state["Type"] in ("Task", "Map", "Parallel") else []
                    execute = getattr(states, f"_execute_{state['Type'].lower()}")
                    left["output"], left["then"] = execute(state, copy.deepcopy(seen.given), *inner, ctx)
        except states._ExecutionError as error:
            left["error"] = error.error
        except Exception:  # noqa: BLE001 - as the emulator ends an execution that it cannot carry out
            left["error"] = "States.Runtime"
        finally:
            self._plays.pop()
        if variables != seen.variables:
            left["assigns"] = {
                name: value for name, value in variables.items() if seen.variables.get(name, ...) != value
            }
        steps = [{key: value for key, value in step.items() if key != "call"} for step in running.play.steps]
        return {"steps": [step for step in steps if step != {"state": seen.state}], **left}

    def _iso(self) -> str:
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @contextmanager
    def _engine(self, states: Any) -> Iterator[None]:
        running = self._plays[-1]
        numbers = itertools.count()
        wrapped = {
            f"_execute_{kind}": functools.partial(self._entered, getattr(states, f"_execute_{kind}"))
            for kind in ("pass", "choice", "wait", "task", "map", "parallel")
        }
        if len(self._plays) > 1:  # a child plays inside a task of its parent: the outer names are ours already
            wrapped = {}
        find = {n: getattr(states, n) for n in ("_find_matching_retrier", "_find_matching_catcher")}
        rule = states._evaluate_jsonata_choice_rule

        def retrier(clauses: list[Any], error: str, counts: dict[int, int]) -> Any:
            found = find["_find_matching_retrier"](clauses, error, counts)
            self._plays[-1].clause("Retry", clauses, error)
            return found

        def catcher(clauses: list[Any], error: str) -> Any:
            self._plays[-1].clause("Catch", clauses, error)
            return find["_find_matching_catcher"](clauses, error)

        def choice(one: Any, *rest: Any) -> Any:
            found = rule(one, *rest)
            if found:
                self._plays[-1].chosen(one)
            return found

        clauses = {
            "_find_matching_retrier": retrier, "_find_matching_catcher": catcher, "_evaluate_jsonata_choice_rule": choice,
        }  # fmt: skip
        with (
            patch.multiple(
                states,
                **wrapped,
                **(clauses if len(self._plays) == 1 else {}),
                now_iso=self._iso,
                new_uuid=lambda: f"{running.name}-{next(numbers)}",
                _run_task=self._task,
                _scaled_sleep=self._sleep,
                _retry_delay=self._pause,
                _watch_execution=lambda *_: None,
                _emit_execution_status_event=lambda *_: None,
                _sfn_jsonata_random=lambda *_: 0.5,
                _s3_object_text=self._objects,
                ThreadPoolExecutor=self._pool,
                futures_wait=lambda _: None,
            ),
            patch.object(Jsonata, "jsonata", _parsed),
        ):
            yield

    def _entered(self, execute: Any, state: dict[str, Any], given: Any, *more: Any) -> Any:
        running, name = self._plays[-1], more[-1]["State"]["Name"]
        item = more[-1].get("Map")
        running.play.seen.append(Seen(name, copy.deepcopy(given), copy.deepcopy(more[-1]["variables"]), item))
        running.enter(name, state, running.play.seen[-1])
        try:
            output, following = execute(state, given, *more)
        finally:
            running.leave()
        if state["Type"] == "Choice" and not running.rule:
            running.play.covered.add((name, "Choices", "Default"))
        running.rule = False
        if following:
            running.play.covered.add((name, "to", following))
            running.reach(following)
        return output, following

    def _task(
        self, resource: str, arguments: Any, state: dict[str, Any], given: Any, execution: Any, ctx: dict[str, Any]
    ) -> Any:
        from ministack.services import stepfunctions as states  # noqa: PLC0415 - reads its environment at import

        limits = {
            name: states._jsonata_state_field(state, name, "number", given, ctx)
            if isinstance(state[name], str)
            else state[name]
            for name in ("TimeoutSeconds", "HeartbeatSeconds")
            if name in state
        }
        running = self._plays[-1]
        name = running.stack[-1][0]
        arguments = copy.deepcopy(arguments)
        call = Call(
            name, running.visits[name] - 1, ctx["State"]["RetryCount"], resource, arguments, limits, running.name
        )  # fmt: skip
        running.play.steps.append({"call": name, "resource": resource, "sent": arguments, **limits})
        try:
            answer = self._answer(call)
        except Failed as failed:
            running.answered({"Error": failed.error, "Cause": failed.cause})
            running.play.steps.append({"failed": failed.error})
            raise states._ExecutionError(failed.error, failed.cause) from None
        running.answered(answer)
        return json.loads(json.dumps(answer))

    def _pool(self, max_workers: int) -> _Serial:
        self._plays[-1].play.steps.append({"at once": max_workers})
        return _Serial()

    def _pause(self, retrier: dict[str, Any], count: int) -> float:
        seconds = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count)
        return min(seconds, retrier.get("MaxDelaySeconds", seconds)) * (-1 if "JitterStrategy" in retrier else 1)

    def _sleep(self, seconds: float) -> None:
        """Let time pass; a pause that jitters comes as the negative of its longest, and takes half of it."""
        self._plays[-1].play.steps.append({"wait": seconds} if seconds >= 0 else {"wait up to": -seconds})
        self._advance(seconds if seconds >= 0 else -seconds / 2)


class _Running:
    """An execution that is being played."""

    def __init__(self, machine: Definition, name: str, kind: str) -> None:
        self.name, self.kind, self.play = name, kind, Play()
        self.ends = {n: s for n, s in every(machine).items() if s["Type"] in ("Succeed", "Fail")}
        self.stack: list[tuple[str, dict[str, Any]]] = []
        self.open: list[Seen] = []
        self.rule = False
        """Whether a rule of the Choice that is being asked holds."""
        self.visits: dict[str, int] = {}

    def enter(self, name: str, state: dict[str, Any], seen: Seen) -> None:
        self.stack.append((name, state))
        self.open.append(seen)
        self.visits[name] = self.visits.get(name, 0) + 1
        self.play.covered.add((name,))
        self.play.steps.append({"state": name})

    def reach(self, name: str) -> None:
        """Note a state that ends the execution, or the item of a Map."""
        if name in self.ends:
            self.play.covered.add((name,))
            self.play.steps.append({"state": name})

    def leave(self) -> None:
        self.stack.pop()
        self.open.pop()

    def answered(self, answer: Any) -> None:
        """Note an answer for the task's state and for the Maps around it."""
        for seen in self.open:
            seen.answers.append(answer)

    def clause(self, kind: str, clauses: list[dict[str, Any]], error: str) -> None:
        """Note which of a state's clauses an error meets first."""
        matches = _emulator()._error_matches
        for number, clause in enumerate(clauses):
            if matches(clause["ErrorEquals"], error):
                self.play.covered.add((self.stack[-1][0], kind, str(number), error))
                return

    def chosen(self, rule: dict[str, Any]) -> None:
        name, state = self.stack[-1]
        number = next(n for n, one in enumerate(state["Choices"]) if one is rule)
        self.play.covered.add((name, "Choices", str(number)))
        self.rule = True

    def ended(self, execution: dict[str, Any]) -> None:
        if execution["status"] == "SUCCEEDED":
            end = {"status": "SUCCEEDED", "output": json.loads(execution["output"])}
        else:
            end = {key: execution.get(key) for key in ("status", "error", "cause")}
        self.play.steps.append({"end": end})


def every(machine: Definition) -> dict[str, dict[str, Any]]:
    """Return all states by name, those of Maps too; a name is unique in a machine."""
    found: dict[str, dict[str, Any]] = {}
    for name, state in machine["States"].items():
        assert name not in found
        found[name] = state
        if "ItemProcessor" in state:
            found |= every(state["ItemProcessor"])
    return found
