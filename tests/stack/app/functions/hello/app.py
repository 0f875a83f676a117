from __future__ import annotations

import datetime
import os
import time

import boto3
from shared import answer


def handler(event: dict[str, object], context: object) -> dict[str, object]:
    time.sleep(float(event.get("sleep", 0)))
    if event.get("fail"):
        raise ValueError("asked to fail")
    if event.get("throttle"):
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody="worked")
    return {"answer": answer(), "now": datetime.datetime.now(datetime.UTC).timestamp(), "at": time.monotonic(),
            "left": context.get_remaining_time_in_millis(), "endpoint": os.environ["AWS_ENDPOINT_URL"], "event": event}
