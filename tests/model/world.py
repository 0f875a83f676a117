"""Linnet's gateways against the local SageMaker's core and moto's tables, in one thread and virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws

from linnet.errors import ConflictError
from linnet.events.spec import check_spec, spec_json
from linnet.gateways import clients, conclusions, judging, ledger, releases
from linnet.settings import settings
from local.sagemaker.api import ApiError
from local.sagemaker.ports import Answer
from tests.model.aws import (
    ARN,
    ENDPOINT,
    GROUP,
    MODEL,
    STACK,
    Change,
    CloudWatchClient,
    Lost,
    RuntimeClient,
    SageMakerClient,
    ScalingClient,
    StatesClient,
    Tapped,
    refusal,
)
from tests.model.stores import BucketClient, TablesClient
from tests.sagemaker.doubles import IMAGE, Lab, echo

BUCKET = "linnet-data"
ENVIRONMENT = {
    "LINNET_STACK": STACK, "LINNET_DATA_BUCKET": BUCKET, "LINNET_TABLE": "ledger", "LINNET_BUS": STACK, "LINNET_TOPIC": "topic",
    "LINNET_SAGEMAKER_ROLE": "arn:aws:iam::000000000000:role/sagemaker", "LINNET_RELEASE_MACHINE": "release-machine",
    "LINNET_ROLLBACK_MACHINE": "arn:aws:states:us-east-1:000000000000:stateMachine:linnet-rollback",
    "POWERTOOLS_SERVICE_NAME": "linnet", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip


def broken(body: bytes) -> Answer:
    """Answer every request with a server error."""
    return Answer(500, "text/plain", b"no", 0.005)


@dataclass
class World:
    """Everything outside Linnet's handlers, and short words for what tests do with it."""

    lab: Lab = field(default_factory=Lab)
    states: StatesClient = field(default_factory=StatesClient)
    changes: list[Change] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    actor: int = 0
    """The fence in whose name the current step acts."""
    lose: str = ""
    """The operation whose next answer is lost."""
    captures: bool = False
    """Whether what the endpoint captures reaches the bucket that Linnet reads."""
    labelled: set[str] = field(default_factory=set)
    """The captured files whose truth was put."""
    tap: Callable[[str, str], None] | None = None
    """Called with every AWS call's method and `before` or `after`; S3 and the runtime, which change nothing, left out."""
    quick: bool = False
    """Whether DynamoDB and S3 are dictionaries instead of moto's."""

    def __post_init__(self) -> None:
        self.cloudwatch = CloudWatchClient(self)
        if self.captures:
            keep = self.lab.aws.put_object

            def put(uri: str, body: bytes) -> None:
                keep(uri, body)
                bucket, _, key = uri.removeprefix("s3://").partition("/")
                clients.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

            self.lab.aws.put_object = put  # type: ignore[method-assign]
        self.scaling = ScalingClient(self)
        self.lab.aws.targets = self.scaling.targets

    @contextmanager
    def open(self) -> Iterator[World]:
        """Put this world behind boto3 for a while."""
        real = boto3.client
        own = {
            "sagemaker": SageMakerClient(self), "sagemaker-runtime": RuntimeClient(self), "cloudwatch": self.cloudwatch,
            "stepfunctions": self.states, "application-autoscaling": self.scaling, "sns": self,
        }  # fmt: skip
        if self.quick:
            own |= {"dynamodb": TablesClient(), "s3": BucketClient(self.lab.clock.now)}

        def made(name: str, **more: Any) -> Any:
            found = own.get(name) or real(name, region_name="us-east-1", **more)
            return found if name in ("s3", "sagemaker-runtime") else Tapped(found, self._tapped)

        with patch.dict("os.environ", ENVIRONMENT), nullcontext() if self.quick else mock_aws():
            clients.client.cache_clear()
            settings.cache_clear()
            virtual = SimpleNamespace(perf_counter=lambda: self.lab.clock.now().timestamp())
            with patch("boto3.client", made), patch("linnet.gateways.sagemaker.time", virtual):
                if not self.quick:
                    real("dynamodb", region_name="us-east-1").create_table(
                        TableName="ledger", BillingMode="PAY_PER_REQUEST",
                        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
                        KeySchema=[
                            {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"},
                        ],
                    )  # fmt: skip
                    real("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
                self.lab.call("CreateModelPackageGroup", ModelPackageGroupName=GROUP)
                try:
                    yield self
                finally:
                    clients.client.cache_clear()
                    settings.cache_clear()

    def _tapped(self, method: str, moment: str) -> None:
        if self.tap:
            self.tap(method, moment)

    def publish(self, **request: Any) -> None:
        """Be SNS: keep the message."""
        self.messages.append({"subject": request["Subject"], **json.loads(request["Message"])})

    @property
    def at(self) -> str:
        """The virtual time."""
        return self.lab.clock.now().isoformat()

    def onboard(self, **changes: Any) -> None:
        """Write a spec into the ledger; `changes` by section."""
        document: dict[str, Any] = {
            "model": MODEL,
            "data": {"label": "late", "entity": "id", "features": {"a": "number"}},
            "training": {"algorithm": "xgboost", "framework_version": "1.7-1"},
            "rollout": {"health": {"min_requests": 10}},
        }
        for section, values in changes.items():
            document[section] = {**document.get(section, {}), **values}
        anything = "attribute_not_exists(pk) OR attribute_exists(pk)"
        ledger.change(f"model/{MODEL}", "spec", put={"spec": spec_json(check_spec(document))}, only_if=anything)
        ledger.put_once("models", MODEL, {"model": MODEL})

    def register(
        self, behaviour: Any = echo, *, rows: int = 30, origin: str = "run", spread: Mapping[str, Any] | None = None
    ) -> tuple[str, int]:
        """Register a candidate that behaves so; return ARN and version."""
        number = (
            len(
                self.lab.sagemaker.call("ListModelPackages", {"ModelPackageGroupName": GROUP})[
                    "ModelPackageSummaryList"
                ]
            )
            + 1
        )
        url = f"s3://{BUCKET}/models/{MODEL}/{number}/model.tar.gz"
        self.lab.aws.objects[url], self.lab.executor.models[url] = b"model", behaviour
        arn = str(self.lab.call(
            "CreateModelPackage", ModelPackageGroupName=GROUP, ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": url}], "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"])  # fmt: skip
        version = int(arn.rsplit("/", 1)[1])
        if origin == "run":
            run = f"r{version:012x}"
            ledger.put_once(f"model/{MODEL}", f"candidate#{version:06d}", {
                "version": version, "package_arn": arn, "run": run, "baseline": f"s3://{BUCKET}/baselines/{MODEL}/{run}/",
                "status": "PendingManualApproval", "correlation_id": f"c{version}",
                **({"evaluation_uri": self._evaluation(run, spread)} if spread else {}),
            })  # fmt: skip
            if rows:
                text = "\n".join(f"0.{n}" for n in range(rows)).encode()
                clients.client("s3").put_object(
                    Bucket=BUCKET, Key=f"processed-data/{MODEL}/{run}/test/features.csv", Body=text
                )
        return arn, version

    def _evaluation(self, run: str, spread: Mapping[str, Any]) -> str:
        """Write the evaluation.json of a run: how the candidate's answers on its holdout are spread."""
        key = f"results/{MODEL}/{run}/evaluation.json"
        clients.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps({"predictions": spread}).encode())
        return f"s3://{BUCKET}/{key}"

    def approve(self, arn: str, status: str = "Approved") -> None:
        """Change the approval in the registry, as a person in the console does."""
        self.lab.call(
            "UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription="by hand"
        )

    def endpoint(self) -> dict[str, Any]:
        """Describe the endpoint."""
        return self.lab.describe(ENDPOINT)

    def types(self, config: str) -> dict[str, str]:
        """Return the instance type of each variant of a config."""
        found = self.lab.call("DescribeEndpointConfig", EndpointConfigName=config)["ProductionVariants"]
        return {variant["VariantName"]: variant["InstanceType"] for variant in found}

    def check_scaling(self, request: Mapping[str, Any]) -> None:
        """Refuse, as SageMaker does, to remove a scalable target or to change its instance type."""
        now, then = self.types(self.config()), self.types(str(request["EndpointConfigName"]))
        for resource in self.scaling.targets:
            variant = resource.rpartition("/")[2]
            if then.get(variant) != now.get(variant):
                raise refusal("ValidationException", "UpdateEndpoint", f"deregister {resource} first")

    def config(self) -> str:
        """Return the name of the config that serves."""
        return str(self.endpoint()["EndpointConfigName"])

    def champion(self) -> dict[str, Any]:
        """Return the champion's row."""
        return ledger.read(f"model/{MODEL}", "champion") or {}

    def release(self, fence: int) -> dict[str, Any]:
        """Return a release's row."""
        return ledger.read(f"model/{MODEL}", f"release#{fence:06d}") or {}

    def traffic(self, requests: int) -> int:
        """Send requests; return how many failed."""
        failed = 0
        for _ in range(requests):
            try:
                self.lab.invoke(ENDPOINT)
            except ApiError:
                failed += 1
        return failed


class Execution:
    """An execution of `release` or `rollback`, stepped by hand: the same functions in the same order as the machine.

    The workflow tests play the real definitions on the emulator; this stepper exists because a step there is not one
    that a test can lose, kill or overtake.
    """

    def __init__(
        self, world: World, name: str, *, kind: str = "release", version: int | None = None, **more: Any
    ) -> None:
        self.world, self.name, self.kind, self.version, self.more = world, name, kind, version, more
        self.arn = f"{ARN}-{kind}:{name}"
        self.fence: int | None = None
        self.next, self.why = "take", ""
        self.progress: dict[str, Any] = {}
        self.outcome = ""
        self.child: Execution | None = None
        self.rate = 0
        """Requests a minute that callers send while this execution waits."""
        world.states.running.add(self.arn)

    @property
    def lives(self) -> bool:
        """Say whether it still runs."""
        return self.arn in self.world.states.running

    def end(self, outcome: str) -> None:
        """End it."""
        self.outcome = outcome
        self.world.states.running.discard(self.arn)
        self.world.states.ended.add(self.arn)

    def step(self) -> None:
        """Do one state; errors of handlers are raised and leave the state as it is, as a retry would find it."""
        self.world.actor = self.fence or 0
        getattr(self, "_" + self.next.replace(" ", "_"))()

    def play(self, steps: int = 400) -> str:
        """Step to the end, waiting in virtual time where the machine waits; return the outcome."""
        for _ in range(steps):
            if not self.lives:
                return self.outcome
            self.step()
        raise AssertionError(f"{self.name} did not end: {self.next}, {self.why}")

    def _who(self) -> dict[str, Any]:
        assert self.fence is not None
        return {"owner": self.arn, "fence": self.fence}

    def _take(self) -> None:
        answer = releases.take(
            MODEL,
            version=self.version,
            owner=self.arn,
            at=self.world.at,
            correlation_id=self.name,
            kind=self.kind,
            **self.more,
        )
        self.fence, self.why = answer["fence"], answer["why"]
        self.world.actor = answer["fence"]
        if not answer["proceed"]:
            self.end("nothing to do")
        self.next = "prepare" if self.kind == "release" else "start"

    def _prepare(self) -> None:
        releases.prepare(MODEL, **self._who())
        self.next = "start"

    def _start(self) -> None:
        self.progress = releases.start(MODEL, **self._who(), at=self.world.at)["progress"]
        self.next = "wait"

    def _update(self) -> None:
        self.progress = releases.start(MODEL, **self._who(), at=self.world.at, given=self.progress)["progress"]
        self.next = "wait"

    def _wait(self) -> None:
        for _ in range(2):
            self.world.traffic(self.rate // 2)
            self.world.lab.clock.advance(30)
        self.next = "judge"

    def _follow(self, answer: Mapping[str, Any]) -> None:
        self.next, self.why, self.progress = answer["next"], answer["why"], answer["progress"]

    def _judge(self) -> None:
        self._follow(judging.judge(MODEL, **self._who(), at=self.world.at, progress=self.progress))

    def _probe(self) -> None:
        self._follow(judging.probe_release(MODEL, **self._who(), at=self.world.at, progress=self.progress))

    def _shift(self) -> None:
        releases.shift(MODEL, **self._who(), step=self.progress["step"])
        self.next = "wait"

    def _conclude(self) -> None:
        self._end_as("promoted" if self.kind == "release" else "rolled back")

    def _rolled_back(self) -> None:
        self._end_as("rolled back")

    def _hold(self) -> None:
        self._end_as("held")

    def _end_as(self, outcome: str) -> None:
        conclusions.conclude(
            MODEL,
            owner=self.arn,
            fence=self.fence,
            outcome=outcome,
            why=self.why,
            at=self.world.at,
            correlation_id=self.name,
        )
        self.end(outcome)

    def _roll_back(self) -> None:
        releases.shift(MODEL, **self._who(), step=None)
        self._hand_over()

    def _hand_over(self) -> None:
        name = f"{MODEL}-back-f{self.fence}"
        if name in self.world.states.started:  # by whoever thought this release dead
            self.next = "hold"
            return
        self.world.states.started[name] = {"machine": "linnet-rollback", "input": {"lease": self._who()}}
        self.child = Execution(self.world, name, kind="rollback", handed=self._who(), reason=self.why)
        self.next = "child"

    def _child(self) -> None:
        assert self.child is not None
        try:
            if self.child.lives:
                self.child.step()
        finally:
            if self.child.outcome == "rolled back":
                self.end("rolled back")
            elif not self.child.lives:
                self.next = "hold"

    def caught(self, error: Exception) -> None:
        """Take the road that the state's Catch takes when its retries are used up."""
        if self.next == "child" and self.child and self.child.lives:
            self.child.caught(error)
            return
        if self.next == "hold":
            self.end("held")  # the reconciler frees what a dead execution holds
            return
        self.why = f"{type(error).__name__}: {error}"[:500]
        if self.kind == "rollback" or self.next in ("take", "prepare", "rolled back"):
            self.next = "hold"
        elif self.next == "roll back":
            self._hand_over()
        else:
            self.next = "roll back" if self.next != "conclude" or isinstance(error, ConflictError) else "hold"


def finished(execution: Execution, steps: int = 600) -> str:
    """Play an execution as the machine does: a busy endpoint is waited for, a lost answer is tried again."""
    from linnet.errors import BusyError  # noqa: PLC0415

    for _ in range(steps):
        if not execution.lives:
            return execution.outcome
        try:
            execution.step()
        except BusyError:
            execution.world.lab.clock.advance(30)
        except Lost:
            continue
    raise AssertionError(f"{execution.name} did not end: {execution.next}, {execution.why}")
