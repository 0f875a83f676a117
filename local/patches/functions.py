"""Patches of the emulator's Lambda."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from ministack.core import lambda_runtime as runtime
from ministack.services import eventbridge, lambda_svc, sns
from ministack.services import stepfunctions as states

from local.clock import WallClock
from local.patches.tools import edit, edit_text

_SANDBOXES = 8


def apply(clock: WallClock) -> None:
    """Apply them."""
    worker_clock(clock)
    worker_errors()
    worker_logs()
    sandbox_limit()
    asynchronous_retries(clock)
    failure_records()
    throttled_name()


def worker_clock(clock: WallClock) -> None:
    """Handlers see the stack's wall clock; their deadline counts real seconds, which is what the emulator kills by."""
    edit_text(
        runtime,
        "_PYTHON_WORKER_SCRIPT",
        ("_deadline = time.time() + float", "_deadline = time.monotonic() + float"),
        ("(_deadline - time.time()) * 1000", "(_deadline - time.monotonic()) * 1000"),
    )
    runtime._PYTHON_WORKER_SCRIPT = clock.prelude() + runtime._PYTHON_WORKER_SCRIPT
    # Idle sandboxes are reaped by wall-clock age.
    runtime._LOCAL_WORKER_TTL *= clock.rate


def worker_errors() -> None:
    """The class of a handler's exception is the errorType that Retry and Catch match; the emulator drops it.

    Also: a dead process is Runtime.ExitError, a failed import says why, and an exception leaves the sandbox alive.
    """
    edit_text(
        runtime,
        "_PYTHON_WORKER_SCRIPT",
        (
            '"error": str(e), "trace": traceback.format_exc()}',
            """
"error": str(e), "error_type": type(e).__name__,
                "stack": traceback.format_tb(e.__traceback__)[1:], "trace": traceback.format_exc()}""",
        ),
        (
            'json.dumps({"status": "error", "error": str(e)})',
            'json.dumps({"status": "error", "error": traceback.format_exc()})',
        ),
    )
    edit(
        lambda_svc,
        "_execute_function_warm",
        (
            """
                "body": {
                    "errorMessage": error_msg,
                    "errorType": error_type,
                },""",
            """
                "body": {
                    "errorMessage": error_msg,
                    "errorType": result.get("error_type") or error_type,
                    "requestId": request_id,
                    "stackTrace": result.get("stack") or [],
                },""",
        ),
        (
            'error_type = "Runtime.HandlerError"',
            'error_type = "Runtime.ExitError" if error_msg == "Worker process died" else "Runtime.HandlerError"',
        ),
    )
    edit(
        runtime.Worker,
        "invoke",
        ('if response.get("status") == "error":', 'if "error" in response and "stack" not in response:'),
    )


def worker_logs() -> None:
    """A handler's last log line ends with a mark, so that nobody waits 50 ms for lines that may still come."""
    edit_text(
        runtime,
        "_PYTHON_WORKER_SCRIPT",
        (
            """
"trace": traceback.format_exc()}) + "\\n")
        _real_stdout.flush()""",
            """
"trace": traceback.format_exc()}) + "\\n")
        sys.stderr.write("\\x00end of invocation\\n")
        sys.stderr.flush()
        _real_stdout.flush()""",
        ),
    )

    def drain(self: Any, **_limits: float) -> str:
        lines: list[str] = []
        deadline = time.monotonic() + 1.0
        while self._proc is not None and (left := deadline - time.monotonic()) > 0:
            try:
                line = self._stderr_queue.get(timeout=left)
            except runtime.queue.Empty:
                break
            if line == "\x00end of invocation":
                return "\n".join(lines)
            lines.append(line)
        if self._proc is None:  # it has ended, so its log has an end too
            self._stderr_thread.join(deadline - time.monotonic())
        return "\n".join(filter(None, [*lines, self._drain_stderr()]))

    runtime.Worker._drain_stderr_bounded = drain


def sandbox_limit() -> None:
    """A burst of 200 events starts 106 Python processes (3.1 GB) in the emulator; here at most 8 run at a time."""
    execute = lambda_svc._execute_function_warm
    free = threading.BoundedSemaphore(int(os.environ.get("LAMBDA_MAX_SANDBOXES", str(_SANDBOXES))))

    def limited(func: dict[str, Any], event: Any, request_id: str) -> Any:
        with free:
            return execute(func, event, request_id)

    lambda_svc._execute_function_warm = limited


def asynchronous_retries(clock: WallClock) -> None:
    """Rules and topics invoke functions asynchronously: retries after 1 and 2 minutes, then the failure destination.

    The emulator starts a thread for them and forgets the event when the handler raises.
    """
    lambda_svc._LAMBDA_ASYNC_RETRY_BASE_SECONDS = clock.real_seconds(60)
    lambda_svc._LAMBDA_ASYNC_RETRY_MAX_SECONDS = clock.real_seconds(300)
    edit(
        eventbridge,
        "_dispatch_to_lambda",
        (
            """
    threading.Thread(
        target=lambda_svc._execute_function_with_config_scope, args=(exec_record, event), daemon=True
    ).start()
""",
            """
    lambda_svc.invoke_async_with_retry(exec_record, event)
""",
        ),
    )
    edit(
        sns,
        "_deliver_to_lambda",
        ("_lambda_svc._execute_function_with_config_scope(", "_lambda_svc.invoke_async_with_retry("),
    )


def failure_records() -> None:
    """What AWS writes to a failure destination and to a dead-letter queue; the emulator writes one thing to both."""
    edit(
        lambda_svc,
        "_route_async_failure",
        (
            """
    envelope = {
""",
            """
    config = _functions.get(func_name, {}).get('config', {})
    envelope = {
        "version": "1.0",
        "timestamp": _now_iso(),
""",
        ),
        (
            '"functionArn": _functions.get(func_name, {}).get("config", {}).get("FunctionArn", ""),',
            """
"requestId": err_body.get("requestId") or new_uuid(),
            "functionArn": config.get("FunctionArn", "") + ":$LATEST",""",
        ),
        ('"approximateInvokeCount": 3,', '"approximateInvokeCount": result["attempts"],'),
        (
            '"statusCode": 200,',
            """
"statusCode": 200,
            "executedVersion": "$LATEST",""",
        ),
        (
            """
        body = json.dumps(envelope)
""",
            """
        dead_letter = target_arn == (config.get('DeadLetterConfig') or {}).get('TargetArn')
        body = json.dumps(event if dead_letter else envelope)
""",
        ),
    )
    edit(lambda_svc, "invoke_async_with_retry", (
        """
            last_result = _execute_function(func, event)
""",
        """
            last_result = {**_execute_function(func, event), "attempts": attempt + 1}
""",
    ))  # fmt: skip


def throttled_name() -> None:
    """A throttled function is Lambda.TooManyRequestsException in Step Functions; the emulator says Lambda.Unknown."""
    edit(
        states,
        "_call_lambda",
        (
            """
    if result.get("error"):
""",
            """
    if result.get("throttle"):
        raise _ExecutionError("Lambda.TooManyRequestsException", result["body"]["message"])
    if result.get("error"):
""",
        ),
    )
