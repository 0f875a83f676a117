"""A function that does what its event asks for."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from typing import Any

import boto3
from shared import answer


class TeapotError(Exception):
    pass


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    detail = event.get("detail", event)
    if "Records" in detail:
        raise TeapotError(detail["Records"][0]["Sns"]["Message"])
    sys.stderr.write(f"said {detail.get('say', 'nothing')}\n")
    time.sleep(detail.get("sleep", 0))
    if detail.get("exit"):
        os._exit(1)
    if "fail" in detail:
        raise TeapotError(detail["fail"])
    if detail.get("send"):
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=detail["send"])
    return {
        "answer": answer(),
        "now": dt.datetime.now(dt.UTC).timestamp(),
        "left": context.get_remaining_time_in_millis(),
        "process": os.getpid(),
        "event": event,
        "padding": "x" * detail.get("large", 0),
    }
