"""Patches of the emulator's Step Functions."""

from __future__ import annotations

import contextvars
import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions as states

from local.clock import WallClock
from local.patches.tools import edit

_LOG = logging.getLogger(__name__)
_NO_LIMIT = 99_999_999
_MOST_BYTES = 256 * 1024
_LOOK_SECONDS = 0.5


@dataclass
class Attempt:
    """One attempt of a task that is being carried out."""

    execution: dict[str, Any]
    over: bool = False

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it: the task has not timed out and its execution runs."""
        return not self.over and self.execution.get("status") == "RUNNING"


attempt: contextvars.ContextVar[Attempt] = contextvars.ContextVar("attempt")
"""The attempt that the current thread carries out; `.sync` integrations stop their job when it is unwanted."""


def apply(clock: WallClock) -> None:
    """Apply them."""
    waiting(clock)
    retries()
    start_at_once()
    same_start_again()
    task_limits(clock)
    closed_tokens()
    execution_limits(clock)
    ended_stays_ended()
    nested_executions()
    uncatchable_errors()


def waiting(clock: WallClock) -> None:
    """Wait states and retry intervals are deliberate waits."""
    states._SFN_WAIT_SCALE = clock.real_seconds(1)


def retries() -> None:
    """Retry honours MaxDelaySeconds and JitterStrategy and has no cap of its own; the emulator cuts off at 60 s."""

    def delay(retrier: Mapping[str, Any], count: int) -> float:
        seconds = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count)
        seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
        return random.uniform(0, seconds) if retrier.get("JitterStrategy") == "FULL" else seconds

    edit(states, "_execute_task", ("_scaled_sleep(min(sleep_sec, 60))", "_scaled_sleep(_retry_delay(retrier, count))"))
    edit(
        states,
        "_with_retry_and_catch",
        (
            '_scaled_sleep(min(interval * (retrier.get("BackoffRate", 2.0) ** count), 60))',
            "_scaled_sleep(_retry_delay(retrier, count))",
        ),
        _retry_delay=delay,
    )


def start_at_once() -> None:
    """Every execution begins with a fixed sleep of 150 ms in the emulator; nothing needs it."""
    edit(
        states,
        "_run_execution",
        (
            """
    time.sleep(0.15)
""",
            "",
        ),
    )


def same_start_again() -> None:
    """StartExecution with the name and input of a running execution answers with it; the emulator refuses."""
    edit(
        states,
        "_start_execution",
        (
            """
    if exec_arn in _executions:
""",
            """
    earlier = _executions.get(exec_arn)
    if (earlier and earlier["status"] == "RUNNING" and earlier["input"] == data.get("input", "{}")
            and sm["type"] == "STANDARD"):
        return json_response({"executionArn": exec_arn, "startDate": earlier["startDate"]})
    if exec_arn in _executions:
""",
        ),
    )


def task_limits(clock: WallClock) -> None:
    """A task ends after TimeoutSeconds, or when no heartbeat comes; both may be JSONata and count scaled seconds.

    The emulator knows neither HeartbeatSeconds nor expressions, waits on when the Lambda that was handed the token
    fails, and gives all retries one token.
    """

    def limit(name: str, state_def: Mapping[str, Any], raw_input: Any, ctx: dict[str, Any]) -> float | None:
        if f"{name}Path" in state_def:
            value = states._resolve_path_or_ctx(state_def[f"{name}Path"], raw_input, ctx)
        elif isinstance(state_def.get(name), str):
            value = states._jsonata_state_field(state_def, name, "number", raw_input, ctx)
        else:
            value = state_def.get(name)
        return None if value is None else clock.real_seconds(float(value))

    def run(
        resource: str,
        arguments: Any,
        state_def: Mapping[str, Any],
        raw_input: Any,
        execution: dict[str, Any],
        ctx: dict[str, Any],
    ) -> Any:
        mine = Attempt(execution)
        attempt.set(mine)
        most = limit("TimeoutSeconds", state_def, raw_input, ctx)
        pulse = limit("HeartbeatSeconds", state_def, raw_input, ctx)
        until = time.monotonic() + (_NO_LIMIT if most is None else most)
        try:
            if ".waitForTaskToken" not in resource:
                return _small(_within(until, states._invoke_resource, resource, arguments), ctx)
            token = ctx["Task"]["Token"]
            info = {"event": threading.Event(), "result": None, "error": None, "beat": time.monotonic()}
            states._task_tokens[token] = info
            try:
                _within(until, states._invoke_resource, resource.replace(".waitForTaskToken", ""), arguments)
                return _small(_await_token(info, until, pulse, execution), ctx)
            finally:
                states._closed_tokens.add(token)
                states._task_tokens.pop(token, None)
        finally:
            mine.over = True

    edit(
        states,
        "_execute_task",
        (
            """
    if is_callback:
        ctx["Task"] = {"Token": new_uuid()}
""",
            "",
        ),
        (
            """
        ctx["State"]["RetryCount"] = sum(retry_counts.values())
""",
            """
        ctx["State"]["RetryCount"] = sum(retry_counts.values())
        if is_callback:
            ctx["Task"] = {"Token": new_uuid()}
""",
        ),
        (
            """
            if is_callback:
                task_result = _invoke_with_callback(
                    resource, effective, ctx["Task"]["Token"], state_def)
            # Skip activities: their timeout starts when a worker gets the task, not here
            elif "TimeoutSeconds" in state_def and ":activity:" not in resource:
                task_result = _invoke_resource_with_timeout(
                    resource, effective, state_def["TimeoutSeconds"])
            else:
                task_result = _invoke_resource(resource, effective)
""",
            """
            task_result = _run_task(resource, effective, state_def, raw_input, execution, ctx)
""",
        ),
        _run_task=run,
    )
    states._closed_tokens = set()


def _small(result: Any, ctx: Mapping[str, Any]) -> Any:
    """Return a task's result; raise when it is over the service's 256 KiB, which the emulator does not look at."""
    if len(json.dumps(result).encode()) > _MOST_BYTES:
        cause = (
            f"The state/task '{ctx['State']['Name']}' returned a result with a size exceeding the maximum number of "
        )
        raise states._ExecutionError("States.DataLimitExceeded", cause + "bytes service limit.")
    return result


def _within(until: float, call: Any, *arguments: Any) -> Any:
    """Return what `call` returns; raise States.Timeout when it has not by `until` (monotonic), leaving it behind."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(call(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(work,), name="task", daemon=True).start()
    try:
        return future.result(max(0.0, until - time.monotonic()))
    except FutureTimeoutError:
        raise states._ExecutionError("States.Timeout", "") from None


def _await_token(info: dict[str, Any], until: float, pulse: float | None, execution: dict[str, Any]) -> Any:
    info["beat"] = time.monotonic()
    while True:
        now = time.monotonic()
        silent = _NO_LIMIT if pulse is None else info["beat"] + pulse - now
        left = min(until - now, silent)
        if info["event"].wait(max(0.0, min(left, _LOOK_SECONDS))):
            break
        if execution["status"] != "RUNNING":
            raise states._ExecutionError("States.TaskFailed", "the execution has ended")
        if time.monotonic() >= until:
            raise states._ExecutionError("States.Timeout", "")
        if pulse is not None and time.monotonic() >= info["beat"] + pulse:
            raise states._ExecutionError("States.HeartbeatTimeout", "")
    if info["error"]:
        raise states._ExecutionError(info["error"].get("Error", ""), info["error"].get("Cause", ""))
    return json.loads(info["result"] or "{}")


def closed_tokens() -> None:
    """A word for a task that has ended is TaskTimedOut, one with a token that never was is InvalidToken.

    The emulator says TaskDoesNotExist to both, and lets a second word overwrite the first.
    """

    def guarded(name: str) -> None:
        answer = getattr(states, name)

        def guard(data: dict[str, Any]) -> Any:
            token = data.get("taskToken")
            info = states._task_tokens.get(token)
            if info is None and token not in states._closed_tokens:
                return responses.error_response_json("InvalidToken", "Invalid Token: 'Invalid token'", 400)
            if info is None or info["event"].is_set():
                message = "Task Timed Out: 'Provided task does not exist anymore'"
                return responses.error_response_json("TaskTimedOut", message, 400)
            if name == "_send_task_success":
                try:
                    json.loads(data.get("output", "{}"))
                except ValueError:
                    return responses.error_response_json("InvalidOutput", "Invalid Output: 'Invalid JSON'", 400)
            info["beat"] = time.monotonic()
            return answer(data)

        setattr(states, name, guard)

    for name in ("_send_task_success", "_send_task_failure", "_send_task_heartbeat"):
        guarded(name)


def execution_limits(clock: WallClock) -> None:
    """A machine's own TimeoutSeconds ends its executions as TIMED_OUT; the emulator ignores it."""

    def expire(execution: dict[str, Any]) -> None:
        if execution["status"] != "RUNNING":
            return
        execution.update(status="TIMED_OUT", error="States.Timeout", cause=None, stopDate=responses.now_iso())
        states._add_event(
            execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}}
        )
        states._emit_execution_status_event(execution)

    def watch(execution: dict[str, Any], definition: Mapping[str, Any]) -> None:
        seconds = definition.get("TimeoutSeconds")
        if seconds is not None:
            context = contextvars.copy_context()
            clock.call_later(float(seconds), lambda: context.run(expire, execution))

    edit(
        states,
        "_run_execution",
        (
            """
    all_states = definition.get("States", {})
""",
            """
    _watch_execution(execution, definition)
    all_states = definition.get("States", {})
""",
        ),
        _watch_execution=watch,
    )
    edit(
        states,
        "_emit_execution_status_event",
        (
            """
    failed = status == "FAILED"
""",
            """
    failed = status in ("FAILED", "ABORTED", "TIMED_OUT")
""",
        ),
    )


def ended_stays_ended() -> None:
    """A stopped or timed-out execution does no further step; the emulator goes on in branches and then says FAILED."""
    fail = states._fail_execution

    def fail_if_running(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)
            execution["output"] = None

    states._fail_execution = fail_if_running
    edit(
        states,
        "_run_sub_machine",
        (
            """
    while current_name:
""",
            """
    while current_name:
        if execution.get("status", "RUNNING") != "RUNNING":
            raise _ExecutionError("States.TaskFailed", "the execution has ended")
""",
        ),
    )


def nested_executions() -> None:
    """A nested execution is an ordinary one: it has status events and its name is taken only once.

    When it does not succeed, the task fails with States.TaskFailed and the child's description as the cause. The
    emulator runs it as an express execution, overwrites one of the same name, and lets the child's own error through.
    """

    def run(resource: str, arguments: dict[str, Any]) -> dict[str, Any]:
        started = states._invoke_nested_start_execution(resource, arguments)
        child = states._executions[started["ExecutionArn"]]
        mine = attempt.get()
        while child["status"] == "RUNNING":
            if not mine.wanted:
                states._stop_execution({"executionArn": child["executionArn"]})
            time.sleep(0.02)
        shown = {
            "ExecutionArn": child["executionArn"],
            "Input": child["input"],
            "InputDetails": {"Included": True},
            "Name": child["name"],
            "StartDate": states._iso_to_epoch_ms(child["startDate"]),
            "StateMachineArn": child["stateMachineArn"],
            "Status": child["status"],
            "StopDate": states._iso_to_epoch_ms(child["stopDate"]),
        }
        if child["status"] != "SUCCEEDED":
            ended = {key: child.get(key.lower()) for key in ("Cause", "Error") if child.get(key.lower())}
            raise states._ExecutionError("States.TaskFailed", json.dumps(dict(sorted((shown | ended).items()))))
        output = json.loads(child["output"]) if resource.endswith(".sync:2") else child["output"]
        return shown | {"Output": output, "OutputDetails": {"Included": True}}

    states._invoke_nested_start_execution_sync = run
    edit(
        states,
        "_invoke_nested_start_execution",
        (
            """
            payload.get("__type", "States.Runtime"),
""",
            """
            "StepFunctions." + payload["__type"] + "Exception" * ("Exception" not in payload["__type"]),
""",
        ),
    )


def uncatchable_errors() -> None:
    """States.ALL catches neither States.Runtime nor States.DataLimitExceeded; the emulator catches them."""
    edit(
        states,
        "_error_matches",
        (
            """
    if "States.ALL" in error_equals or error in error_equals:
        return True
""",
            """
    if error in error_equals:
        return True
    if error in ("States.Runtime", "States.DataLimitExceeded"):
        return False
    if "States.ALL" in error_equals:
        return True
    if "States.Timeout" in error_equals and error == "States.HeartbeatTimeout":
        return True
""",
        ),
    )
