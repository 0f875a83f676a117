"""AWS as moto plays it, with the stack's own resources, for the functions of onboarding and monitoring."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from linnet.gateways import clients
from linnet.settings import settings

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION, BUCKET, STACK = "123456789012", "us-east-1", "linnet-data", "linnet"
CONTEXT = SimpleNamespace(function_name="linnet-under-test")


def sample(name: str) -> dict[str, Any]:
    """Return a sample of events/."""
    return dict(json.loads((ROOT / "events" / f"{name}.json").read_text()))


def handler(function: str) -> Any:
    """Return a function's handler, loaded from its own folder as Lambda does."""
    spec = importlib.util.spec_from_file_location(f"{function}_app", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


def due(**given: Any) -> list[dict[str, str]]:
    """Return model, kind, start and end of the windows that `list_monitored` hands out for the monitor's functions."""
    answer = handler("list_monitored")(sample("list_monitored") | given, CONTEXT)
    if not answer["count"]:
        return []
    content = boto3.client("s3").get_object(Bucket=answer["bucket"], Key=answer["key"])["Body"].read()
    return [{field: one[field] for field in ("model", "kind", "start", "end")} for one in json.loads(content)]


class World:
    """The stack's resources, and what has happened to them."""

    def __init__(self) -> None:
        self.s3, self.sns, self.sqs = boto3.client("s3"), boto3.client("sns"), boto3.client("sqs")
        self.dynamodb, self.cloudwatch = boto3.client("dynamodb"), boto3.client("cloudwatch")
        self.states, self.sagemaker = boto3.client("stepfunctions"), boto3.client("sagemaker")
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.dynamodb.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        self.topic, self._queue = self._topic(STACK, "people")
        _, self._officers = self._topic(f"{STACK}-compliance", "officers")
        self.machines = {name: self._machine(name) for name in ("onboard", "offboard", "release")}

    def _topic(self, name: str, queue: str) -> tuple[str, str]:
        """Return the ARN of a new topic and the URL of a queue that hears of it."""
        topic = str(self.sns.create_topic(Name=name)["TopicArn"])
        url = str(self.sqs.create_queue(QueueName=queue)["QueueUrl"])
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
        return topic, url

    def _machine(self, name: str) -> str:
        passing = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}})
        role = f"arn:aws:iam::{ACCOUNT}:role/machine"
        made = self.states.create_state_machine(name=f"{STACK}-{name}", definition=passing, roleArn=role)
        return str(made["stateMachineArn"])

    def put(self, key: str, body: bytes | str | dict[str, Any]) -> str:
        """Put an object; return its version."""
        raw = json.dumps(body) if isinstance(body, dict) else body
        content = raw.encode() if isinstance(raw, str) else raw
        return str(self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)["VersionId"])

    def started(self, name: str) -> list[dict[str, Any]]:
        """Return name and input of a machine's executions."""
        found = self.states.list_executions(stateMachineArn=self.machines[name])["executions"]
        return [
            {
                "name": e["name"],
                "input": json.loads(self.states.describe_execution(executionArn=e["executionArn"])["input"]),
            }
            for e in found
        ]

    def messages(self) -> list[dict[str, Any]]:
        """Return the bodies of the messages that people got since the last look."""
        return self._heard(self._queue)

    def compliance(self) -> list[dict[str, Any]]:
        """Return the bodies of the messages that those who answer for fair treatment got since the last look."""
        return self._heard(self._officers)

    def _heard(self, queue: str) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(json.loads(m["Body"])["Message"]) for m in found]

    def documents(self, prefix: str) -> dict[str, Any]:
        """Return the JSON objects below a prefix by key."""
        keys = [o["Key"] for o in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
        keys = [key for key in keys if key.endswith(".json")]
        return {key: json.loads(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys}


@contextmanager
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION,
        "MOTO_ACCOUNT_ID": ACCOUNT, "LINNET_STACK": STACK, "LINNET_DATA_BUCKET": BUCKET, "LINNET_TABLE": "ledger",
        "LINNET_BUS": STACK, "LINNET_TOPIC": f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}",
        "LINNET_COMPLIANCE_TOPIC": f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-compliance",
        "POWERTOOLS_SERVICE_NAME": "linnet",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for kind in ("onboard", "offboard", "release"):
        monkeypatch.setenv(
            f"LINNET_{kind.upper()}_MACHINE", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-{kind}"
        )
    with mock_aws():
        settings.cache_clear()
        clients.client.cache_clear()
        yield World()
    settings.cache_clear()
    clients.client.cache_clear()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Return a fresh account with the stack's resources."""
    with account(monkeypatch) as made:
        yield made
