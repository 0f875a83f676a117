"""What stands behind the tasks of a played machine: the real handlers, the local SageMaker's core, and faults on demand."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from local.patches.workflows import Attempt, attempt
from local.sagemaker import service
from tests.contract.onboarding_world import CONTEXT, handler
from tests.machines.player import Call, Failed, Play, Player, definition, every
from tests.sagemaker.doubles import Lab

_JOBS = {action: job for action, job in service._OPTIMISED.items() if job}


class Outside:
    """One account: plays machines with the real handlers; `faults` come first, each error once and in order."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.faults: dict[tuple[str, str], list[Exception]] = {}
        self.instead: dict[tuple[str, str], Callable[[Call], Any]] = {}
        """What answers in a task's place, by machine and state."""
        self.tape: dict[tuple[str, str], list[Any]] = {}
        """Answers that were given, by machine and state."""
        self.plays: list[tuple[str, Play]] = []
        self.person: Callable[[Call], Any] = self.nobody
        self.before: Callable[[Call], None] = lambda _: None
        """Called before a task is carried out; what a test makes happen meanwhile."""
        self._kinds: list[str] = []
        self._player = Player(self._answer, self.now, self.advance, self.read)

    def now(self) -> datetime:
        """Return the virtual time."""
        return self.lab.clock.now()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.lab.clock.advance(seconds)

    def read(self, bucket: str, key: str) -> str:
        """Return the text of an object, as an ItemReader gets it."""
        raise NotImplementedError

    def began(self, kind: str, name: str) -> None:
        """Be told that an execution begins."""

    def ended(self, kind: str, name: str) -> None:
        """Be told that an execution has ended."""

    def nobody(self, call: Call) -> Any:
        """Let a question's time run out."""
        self.advance(call.limits["TimeoutSeconds"])
        raise Failed("States.Timeout", "")

    def play(self, kind: str, given: dict[str, Any], name: str = "e1") -> Play:
        """Play a machine of statemachines/ with this input."""
        self._kinds.append(kind)
        self.began(kind, name)
        try:
            play = self._player.play(definition(kind), name, given, kind)
        finally:
            self._kinds.pop()
            self.ended(kind, name)
        self.plays.append((kind, play))
        return play

    def _answer(self, call: Call) -> Any:
        place = (self._kinds[-1], call.state)
        if self.faults.get(place):
            raise self.faults[place].pop(0)
        self.before(call)
        answer = self.instead[place](call) if place in self.instead else self._carried_out(call)
        self.tape.setdefault(place, []).append(answer)
        return answer

    def _carried_out(self, call: Call) -> Any:
        service_, _, action = call.resource.removeprefix("arn:aws:states:::").partition(":")
        if service_ == "lambda":
            answer = self._called(call.arguments)
            return self.person(call) if action.endswith(".waitForTaskToken") else answer
        if service_ == "states":
            return self._nested(call)
        if service_ == "sns":
            return self.published(call.arguments)
        return self._job(action.removesuffix(".sync"), call)

    def published(self, message: dict[str, Any]) -> Any:
        """Be SNS."""
        raise NotImplementedError

    def _called(self, arguments: dict[str, Any]) -> Any:
        function = re.sub(r"(?<!^)(?=[A-Z])", "_", arguments["FunctionName"].removesuffix("Function")).lower()
        payload = json.loads(json.dumps(arguments["Payload"]))
        self.calling(payload)
        logging.disable(logging.CRITICAL)
        try:
            return {"StatusCode": 200, "Payload": handler(function)(payload, CONTEXT)}
        except Exception as error:
            kind = type(error).__name__
            cause = {"errorMessage": str(error), "errorType": kind, "requestId": "r", "stackTrace": []}
            raise Failed(kind, json.dumps(cause)) from error
        finally:
            logging.disable(logging.NOTSET)

    def calling(self, payload: dict[str, Any]) -> None:
        """Be told of a function's payload."""

    def _nested(self, call: Call) -> Any:
        kind = call.arguments["StateMachineArn"].removesuffix("Machine").lower()
        name = call.arguments.get("Name") or f"{call.name}-{call.state}-{call.visit}".replace(" ", "-").lower()
        end = self.play(kind, call.arguments["Input"], name).end
        if end["status"] != "SUCCEEDED":
            told = {"Status": end["status"], "Error": end["error"], "Cause": end["cause"], "Name": name}
            raise Failed("States.TaskFailed", json.dumps(told))
        return {"Status": "SUCCEEDED", "Name": name, "Output": end["output"]}

    def _job(self, action: str, call: Call) -> Any:
        from ministack.services import stepfunctions as states  # noqa: PLC0415 - reads its environment at import

        virtual = SimpleNamespace(sleep=lambda _: self.advance(60))
        attempt.set(Attempt({"status": "RUNNING"}))
        run = service._optimised(lambda: self.lab.sagemaker, action, _JOBS[action])
        try:
            with patch.object(service, "time", virtual):
                return run(call.resource, call.arguments)
        except states._ExecutionError as error:
            raise Failed(error.error, error.cause) from None


@contextmanager
def failing(outside: Outside, kind: str, state: str, *errors: str, cause: str = "by a test") -> Iterator[None]:
    """Let the next attempts of a state's task fail with these errors."""
    outside.faults[kind, state] = [Failed(error, cause) for error in errors]
    yield
    assert outside.faults.pop((kind, state)) == [], f"{state} was not asked so often"


@contextmanager
def storm(outside: Outside, *kinds: str, only: str = "") -> Iterator[None]:
    """Let tasks fail once in each way that passes, as their Retry knows it; `only` is how their states' names begin."""
    kept = dict(outside.faults)
    for kind in kinds:
        for name, state in every(definition(kind)).items():
            errors = [
                _example(clause["ErrorEquals"]) for clause in state.get("Retry", []) if clause.get("MaxAttempts", 3)
            ]
            if name.startswith(only) and (kind, name) not in kept:
                outside.faults[kind, name] = [Failed(error) for error in errors]
    yield
    outside.faults = {place: errors for place, errors in outside.faults.items() if place in kept}


def _example(errors: list[str]) -> str:
    """Return an error that a Retry clause is the first to know."""
    return {"States.ALL": "KeyError", "States.TaskFailed": "KeyError"}.get(errors[0], errors[0])
