"""The whole story on the local stack, with real training and real inference; every claim of it is checked as it plays.

Nothing deployed knows of this file: it only does what people and other systems do - put specs and data, call the
endpoint, approve - and reads what anybody could read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from local.stack import Stack

ROOT = Path(__file__).parents[1]
STACK, MODEL = "linnet", "flights"
ENDPOINT = GROUP = f"{STACK}-{MODEL}"
RATE = 60
REQUESTS_PER_SECOND = 40


class ExpectationError(AssertionError):
    """The story did not go as it must."""


@dataclass
class Phase:
    """One phase of the story, as report.json holds it."""

    name: str
    start: float
    end: float = 0.0
    result: str = ""
    ids: dict[str, Any] = field(default_factory=dict)
    expectations: list[dict[str, Any]] = field(default_factory=list)

    def expect(self, claim: str, held: object, shown: object = "") -> None:
        """Note a claim and stop the story when it does not hold."""
        self.expectations.append({"claim": claim, "held": bool(held), "shown": str(shown)[:300]})
        if not held:
            raise ExpectationError(f"{claim}; seen: {shown}")

    def row(self) -> dict[str, Any]:
        """Return the phase as a JSON document."""
        return {
            "phase": self.name,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "seconds": round(self.end - self.start, 2),
            "ids": self.ids,
            "result": self.result,
            "expectations": self.expectations,
        }


class Callers(threading.Thread):
    """The users of the endpoint: a steady stream of real rows; remembers what they saw in which phase."""

    def __init__(self, runtime: Any, rows: Sequence[str]) -> None:
        super().__init__(daemon=True, name="callers")
        self._runtime, self._rows, self._halt = runtime, itertools.cycle(rows), threading.Event()
        self._lock = threading.Lock()
        self.seen: dict[str, Counter[str]] = {}
        self.phase = "first traffic"
        self.start()

    def send(self, rows: Sequence[str]) -> None:
        """Send these rows from now on."""
        with self._lock:
            self._rows = itertools.cycle(rows)

    def run(self) -> None:
        """Call the endpoint until halted; an error is counted, as a user would curse it."""
        due = time.monotonic()
        while not self._halt.is_set():
            due += 1 / REQUESTS_PER_SECOND
            with self._lock:
                row = next(self._rows)
            counted = self.seen.setdefault(self.phase, Counter())
            try:
                answer = self._runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="text/csv", Body=row)
                answer["Body"].read()
                counted["answered"] += 1
                counted[f"by {answer['InvokedProductionVariant']}"] += 1
            except ClientError as error:
                counted["errors"] += 1
                counted[error.response["Error"]["Code"]] += 1
            self._halt.wait(max(0.0, due - time.monotonic()))

    def halt(self) -> None:
        """Stop calling."""
        self._halt.set()
        self.join()


class Story:
    """The local stack as a person sees it: clients, what was learnt so far, and the timeline."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.phases: list[Phase] = []
        self.began = time.monotonic()
        self.stack: Stack
        self.s3: Any
        self.sagemaker: Any
        self.stepfunctions: Any
        self.dynamodb: Any
        self.events: Any
        self.cloudwatch: Any
        self.out: dict[str, str] = {}
        self._mail: list[dict[str, Any]] = []
        self._mailbox = ""
        self.progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )

    def connect(self) -> None:
        """Make the clients the story needs."""
        self.s3, self.sagemaker, self.stepfunctions, self.dynamodb, self.events, self.cloudwatch = (
            self.stack.client(name) for name in ("s3", "sagemaker", "stepfunctions", "dynamodb", "events", "cloudwatch")
        )
        self.runtime = self.stack.client("sagemaker-runtime", retries={"total_max_attempts": 1})
        self.functions = self.stack.client("lambda")

    def subscribe(self) -> None:
        """Hear what people are told from now on, as a mailbox subscribed to the stack's topic does."""
        sqs = self.stack.client("sqs")
        self._mailbox = sqs.create_queue(QueueName="people")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self._mailbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        told = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        sqs.set_queue_attributes(QueueUrl=self._mailbox, Attributes={"Policy": json.dumps({"Statement": [told]})})
        self.stack.client("sns").subscribe(
            TopicArn=self.out["TopicArn"], Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
        )

    def messages(self, kind: str, model: str = MODEL) -> list[dict[str, Any]]:
        """Return what people were told of a kind about a model, oldest first."""
        sqs = self.stack.client("sqs")
        while found := sqs.receive_message(QueueUrl=self._mailbox, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                self._mail.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self._mailbox, ReceiptHandle=message["ReceiptHandle"])
        return [m for m in self._mail if (m.get("kind"), m.get("model")) == (kind, model)]  # alarms tell people too

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Play one phase: a line in the timeline when it ends, whatever its end is."""
        phase = Phase(name, time.monotonic() - self.began)
        self.phases.append(phase)
        self.console.print(f"{phase.start:6.1f}s  [bold]{name}[/bold]")
        shown = self.progress.add_task(name)
        try:
            yield phase
            phase.result = phase.result or "as told"
        except BaseException as error:
            phase.result = f"FAILED: {type(error).__name__}: {error}"
            raise
        finally:
            phase.end = time.monotonic() - self.began
            self.progress.remove_task(shown)
            mark = "[red]x[/red] " if phase.result.startswith("FAILED") else "[green]ok[/green]"
            self.console.print(f"{phase.end:6.1f}s  {mark} {phase.result}", highlight=False)

    def note(self, text: str) -> None:
        """Print one line below the running phase."""
        self.console.print(f"[dim]{time.monotonic() - self.began:6.1f}s      {text}[/dim]", highlight=False)

    def wait(self, what: str, look: Callable[[], Any], seconds: float = 300) -> Any:
        """Look until there is something to see; raise when it does not come in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise ExpectationError(f"waited {seconds:.0f} s in vain for: {what}")

    def execution(
        self, machine: str, since: set[str], seconds: float = 300, *, model: str = MODEL, follow: bool = True
    ) -> dict[str, Any]:
        """Return the end of a machine's first execution for a model that was not there before; its states pass by as lines."""
        arn = self.out[f"{machine.capitalize()}MachineArn"]

        def fresh() -> Any:
            listed = self.stepfunctions.list_executions(stateMachineArn=arn)["executions"]
            mine = [e for e in listed if e["name"].startswith(f"{model}-")]
            return next((e for e in reversed(mine) if e["executionArn"] not in since), None)

        found = self.wait(f"an execution of {machine}", fresh)
        return self.follow(found["executionArn"], seconds) if follow else dict(found)

    def known(self, machine: str) -> set[str]:
        """Return the executions of a machine that exist now."""
        arn = self.out[f"{machine.capitalize()}MachineArn"]
        listed = self.stepfunctions.list_executions(stateMachineArn=arn)["executions"]
        return {e["executionArn"] for e in listed}

    def follow(self, arn: str, seconds: float = 300, look: Callable[[], None] | None = None) -> dict[str, Any]:
        """Wait for an execution's end, looking meanwhile; tell each state when it is entered for the first time."""
        told: set[str] = set()
        until = time.monotonic() + seconds
        while True:
            if look:
                look()
            entered = self.states(arn)
            for name in entered:
                if name not in told:
                    self.note(f"{arn.split(':')[6].removeprefix(STACK + '-')}: {name}")
                    told.add(name)
            now = dict(self.stepfunctions.describe_execution(executionArn=arn))
            if now["status"] != "RUNNING":
                now["states"] = self.states(arn)
                return now
            if time.monotonic() > until:
                raise ExpectationError(f"{arn} still runs after {seconds:.0f} s, in state {entered[-1:]}")
            time.sleep(0.25)

    def states(self, arn: str) -> list[str]:
        """Return the names of the states that an execution has entered, in order."""
        events: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            page = self.stepfunctions.get_execution_history(executionArn=arn, maxResults=1000, **token)
            events += page["events"]
            if "nextToken" not in page:
                return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]
            token = {"nextToken": page["nextToken"]}

    def rows(self, pk: str, prefix: str = "") -> list[dict[str, Any]]:
        """Return the ledger's rows of a partition."""
        from boto3.dynamodb.types import TypeDeserializer

        found = self.dynamodb.query(
            TableName=self.out["LedgerTable"],
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)" if prefix else "pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}} | ({":sk": {"S": prefix}} if prefix else {}),
        )["Items"]
        take = TypeDeserializer().deserialize
        return [{k: take(v) for k, v in item.items()} for item in found]

    def put(self, key: str, body: bytes | str) -> None:
        """Put an object into the data bucket."""
        raw = body.encode() if isinstance(body, str) else body
        self.s3.put_object(Bucket=self.out["DataBucket"], Key=key, Body=raw)

    def get(self, key: str) -> bytes:
        """Return an object of the data bucket."""
        return bytes(self.s3.get_object(Bucket=self.out["DataBucket"], Key=key)["Body"].read())

    def endpoint(self) -> dict[str, Any]:
        """Return what the endpoint says of itself."""
        return dict(self.sagemaker.describe_endpoint(EndpointName=ENDPOINT))

    def weights(self) -> dict[str, float]:
        """Return the endpoint's traffic weights as percent by variant."""
        found = {v["VariantName"]: v["CurrentWeight"] for v in self.endpoint()["ProductionVariants"]}
        total = sum(found.values()) or 1.0
        return {name: round(100 * weight / total, 1) for name, weight in found.items()}


def spec(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sample spec of flights with some fields of its parts changed, as a team edits it in its repository."""
    written: dict[str, Any] = yaml.safe_load((ROOT / "models" / "flights" / "flights.yaml").read_text())
    for part, fields in changes.items():
        written.setdefault(part, {}).update(fields)
    return written
