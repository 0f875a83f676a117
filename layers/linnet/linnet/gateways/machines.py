"""The state machines of the stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from linnet.gateways.clients import client, error_code


def start(machine: str, name: str, given: Mapping[str, Any]) -> str:
    """Start an execution under a name that derives from its reason, so that a second start is the first one (I6).

    `given` must derive from the same reason: AWS takes the same name with the same input as one request, and refuses it
    with another one for as long as the first one's history is kept (90 days). Returns `started: NAME` or
    `already started: NAME`.
    """
    try:
        client("stepfunctions").start_execution(
            stateMachineArn=machine, name=name, input=json.dumps(given, sort_keys=True)
        )
    except ClientError as error:
        if error_code(error) != "ExecutionAlreadyExists":
            raise
        return f"already started: {name}"
    return f"started: {name}"


def status(execution: str) -> str | None:
    """Return what an execution is now, RUNNING or how it ended; None when there is none of this ARN."""
    try:
        return str(client("stepfunctions").describe_execution(executionArn=execution)["status"])
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return None
        raise
