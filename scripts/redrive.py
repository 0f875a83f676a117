"""Re-processes the dead letters of a stack, once their cause is mended: make redrive STACK=linnet.

Each message is given again to the function or machine that it failed for. What is done leaves the queue, what fails
again stays in it with its reason shown. Doing it twice does no harm: everything that an event wakes knows what it has seen.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import names
from linnet.gateways.clients import client

HIDDEN_SECONDS = 900


@dataclass(frozen=True)
class Letter:
    """A dead letter: what it was for (an ARN), what it said, and how to take it out of the queue."""

    target: str
    payload: Any
    receipt: str
    error: str


def read(message: dict[str, Any]) -> Letter:
    """Return a message of the queue as a letter: a rule's has attributes, a function's destination an envelope.

    Raises:
        ValueError: it is neither.
    """
    attributes = {k: v["StringValue"] for k, v in message.get("MessageAttributes", {}).items()}
    body = json.loads(message["Body"])
    if "TARGET_ARN" in attributes:
        error = attributes.get("ERROR_MESSAGE") or attributes.get("ERROR_CODE", "")
        return Letter(attributes["TARGET_ARN"], body, message["ReceiptHandle"], error)
    if isinstance(body, dict) and "requestContext" in body and "requestPayload" in body:
        error = str((body.get("responsePayload") or {}).get("errorMessage", ""))
        return Letter(body["requestContext"]["functionArn"], body["requestPayload"], message["ReceiptHandle"], error)
    raise ValueError("neither a rule's message (TARGET_ARN) nor a function's (requestContext, requestPayload)")


def give_again(letter: Letter) -> str:
    """Give a letter's payload to its target once more; return an empty text, or why it failed again."""
    try:
        if ":stateMachine:" in letter.target:
            name = f"redrive-{names.digest(letter.payload)}"
            client("stepfunctions").start_execution(
                stateMachineArn=letter.target, name=name, input=json.dumps(letter.payload)
            )
            return ""
        function = letter.target.removesuffix(":$LATEST")
        answer = client("lambda").invoke(FunctionName=function, Payload=json.dumps(letter.payload).encode())
    except ClientError as error:
        return "" if error.response["Error"]["Code"] == "ExecutionAlreadyExists" else str(error)
    said = answer["Payload"].read().decode()
    return said[:500] if "FunctionError" in answer else ""


def redrive(queue: str) -> tuple[int, int]:
    """Work through a queue; return how many letters were done and how many stay."""
    sqs, done, left = client("sqs"), 0, 0
    # A letter that stays is hidden while this runs, so the queue is empty once each was seen.
    ask = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "WaitTimeSeconds": 1}
    while messages := sqs.receive_message(**ask, VisibilityTimeout=HIDDEN_SECONDS).get("Messages", []):
        for message in messages:
            try:
                letter = read(message)
                why = give_again(letter)
            except ValueError as error:
                letter, why = None, str(error)
            target = letter.target.rpartition(":")[2] if letter else "unknown"
            print(f"{message['MessageId']}  {target}  {'stays: ' + why if why else 'done'}")
            if why:
                left += 1
            else:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                done += 1
    return done, left


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when no letter stays."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", default="linnet")
    options = parser.parse_args(arguments)
    try:
        queue = client("sqs").get_queue_url(QueueName=f"{options.stack}-dead-letters")["QueueUrl"]
    except ClientError as error:
        print(f"The stack {options.stack} has no dead-letter queue here: {error}", file=sys.stderr)
        return 1
    done, left = redrive(queue)
    print(f"{done} done, {left} stay" + (" (they are hidden for 15 minutes; see docs/runbook.md)" if left else ""))
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
