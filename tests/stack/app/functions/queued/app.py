"""A function that is fed by a queue and says which messages it could not handle."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    failed = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        if "fail" in body:
            failed.append({"itemIdentifier": record["messageId"]})
        else:
            boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=body["send"])
    return {"batchItemFailures": failed}
