"""Two stacks of one small application: ours at 60 times real time, and the emulator as published."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack

APP = Path(__file__).parent / "app" / "template.yaml"
SECONDS = 20.0


@dataclass
class Bench:
    """A stack with the small application, and short words for what tests do with it."""

    stack: Stack
    outputs: dict[str, str]
    clients: dict[str, Any] = field(default_factory=dict)
    names: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def __getattr__(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.stack.client(service, retries={"max_attempts": 0})
        return self.clients[service]

    def name(self) -> str:
        return f"n{next(self.names)}"

    def invoke(self, event: dict[str, Any]) -> tuple[str | None, Any]:
        answer = self.__getattr__("lambda").invoke(FunctionName=self.outputs["Function"], Payload=json.dumps(event))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def machine(self, definition: dict[str, Any]) -> str:
        return str(
            self.stepfunctions.create_state_machine(
                name=self.name(),
                definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
                roleArn="arn:aws:iam::000000000000:role/any",
            )["stateMachineArn"]
        )

    def start(self, definition: dict[str, Any], document: Any = None, **settings: Any) -> str:
        arn = self.machine(definition)
        return str(
            self.stepfunctions.start_execution(stateMachineArn=arn, input=json.dumps(document), **settings)[
                "executionArn"
            ]
        )

    def ended(self, execution: str, seconds: float = SECONDS) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.stepfunctions.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        found: dict[str, Any] = until(look, seconds)
        return found

    def run(self, definition: dict[str, Any], document: Any = None, seconds: float = SECONDS) -> dict[str, Any]:
        return self.ended(self.start(definition, document), seconds)

    def task(self, resource: str, arguments: dict[str, Any], **fields: Any) -> dict[str, Any]:
        state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **fields}
        return {"StartAt": "Do", "States": {"Do": state}}

    def hello(self, payload: Any, suffix: str = "", **fields: Any) -> dict[str, Any]:
        arguments = {"FunctionName": self.outputs["Function"], "Payload": payload}
        return self.task(f"arn:aws:states:::lambda:invoke{suffix}", arguments, **fields)

    def messages(self, queue: str, wanted: int = 1, seconds: float = SECONDS) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def look() -> bool:
            answer = self.sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=3600 * 12
            )
            found.extend(answer.get("Messages", []))
            return len(found) >= wanted

        until(look, seconds, why=lambda: f"{len(found)} messages instead of {wanted}")
        for message in found:
            self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def queue(self) -> str:
        return str(self.sqs.create_queue(QueueName=self.name())["QueueUrl"])

    def arn(self, queue: str) -> str:
        return str(self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])

    def listen(self, pattern: dict[str, Any], **target: Any) -> str:
        """Return a queue that receives the events of a pattern."""
        queue, rule = self.queue(), self.name()
        self.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": self.arn(queue), **target}])
        return queue


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def sandboxes(bench: Bench, function: str) -> int:
    """How many sandboxes of a function live."""
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children(bench.stack.pid) if alive(pid)]
    return sum(f"ministack-lambda-{function}-" in line for line in lines)


def until(look: Callable[[], Any], seconds: float = SECONDS, why: Callable[[], str] = lambda: "never came") -> Any:
    """Return the first true answer of `look`; fail after some real seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        if time.monotonic() > deadline:
            pytest.fail(why())
        time.sleep(0.02)
    return answer


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Stack.start(rate=60, state=tmp_path_factory.mktemp("ours") / "stack.json") as stack:
        stack.deploy(APP, "t")
        yield Bench(stack, stack.outputs("t"))
        started = children(stack.pid)
    until(lambda: not any(alive(pid) for pid in started), why=lambda: "the stack left processes behind")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Stack.start(rate=1, state=tmp_path_factory.mktemp("published") / "stack.json", pristine=True) as stack:
        stack.deploy(APP, "t")
        yield Bench(stack, stack.outputs("t"))
