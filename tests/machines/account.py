"""An account of moto's in which `intake`, `retrain`, `monitor`, `onboard` and `offboard` are played."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from linnet.events.spec import check_spec, spec_json
from linnet.gateways import clients, ledger
from local.sagemaker.ports import JobOutcome
from models.flights import data as flights
from tests.contract import test_intake
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, account, handler
from tests.contract.test_retrain_functions import behind
from tests.machines.outside import Outside
from tests.machines.player import Call
from tests.sagemaker.doubles import FakeJob, Lab


class Account(Outside):
    """An account with its machines; jobs end at once, and well unless `endings` says otherwise."""

    def __init__(self, world: World, lab: Lab) -> None:
        super().__init__(lab)
        self.world = world
        self.wrong = {"candidate": 0, "champion": 40}
        """Of a hundred held-out rows, how many each side gets wrong."""
        self.endings: list[JobOutcome] = []
        """How the next jobs end, where not well."""
        self.unreadable = ""
        """The end of the key of a list that no ItemReader can read."""
        self.lab.executor.on_job = self._worked

    def read(self, bucket: str, key: str) -> str:
        """Return the text of an object."""
        if self.unreadable and key.endswith(self.unreadable):
            from ministack.services.stepfunctions import _ExecutionError  # noqa: PLC0415 - reads its environment at import

            raise _ExecutionError("States.ItemReaderFailed", f"{key} is gone")
        return str(self.world.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

    def published(self, message: dict[str, Any]) -> Any:
        """Publish where people listen."""
        answer = self.world.sns.publish(**message | {"TopicArn": self.world.topic})
        return {"MessageId": answer["MessageId"]}

    def says(self, word: str) -> None:
        """Let a person answer the next question with this word, by the function that takes it."""
        told: list[Any] = []

        def person(call: Call) -> Any:
            asked = [m for m in self.world.messages() if "decision_id" in m][-1]
            word_ = {"decision_id": asked["decision_id"], "decision": word, "decided_by": "ada", "comment": "seen"}
            states = clients.client("stepfunctions")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(states, "send_task_success", lambda **sent: told.append(json.loads(sent["output"])))
                handler("decide_candidate")(word_, CONTEXT)
            return told[-1]

        self.person = person

    def batch(self, name: str = "b1", **how: Any) -> None:
        """Upload a closed batch of flights."""
        how = {"season": "winter", "rows": 600, "part": 0} | how
        test_intake.wake(test_intake.put_batch(self.world, name, flights.batch(**how)))

    def _object(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.world.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def _worked(self, job: FakeJob) -> None:
        if self.endings:
            job.report.done(self.endings.pop(0))
            return
        outcome: dict[str, Any] = {}
        if "TrainingJobName" in job.request:
            uri = f"{job.request['OutputDataConfig']['S3OutputPath']}/{job.request['TrainingJobName']}/output/model.tar.gz"
            self.world.put(uri.removeprefix(f"s3://{BUCKET}/"), b"model")
            self.lab.aws.put_object(uri, b"model")
            job.report.metric("validation:auc", 0.9)
            outcome["model_artifacts"] = uri
        elif "TransformJobName" in job.request:
            self._answered(job.request)
        job.complete(**outcome)

    def _answered(self, request: Any) -> None:
        """Write the answers of a model that knows the labels but for the rows that it gets wrong."""
        features = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        labels = self._object(features.replace("features.csv", "labels.csv")).decode().split()
        out = request["TransformOutput"]["S3OutputPath"].removeprefix(f"s3://{BUCKET}/").rstrip("/")
        wrong = self.wrong[out.rpartition("/")[2]]
        scores = [
            abs(float(label.split(",")[0]) - (number * 37 % 100 < wrong)) * 0.8 + 0.1 + math.sin(number) / 20
            for number, label in enumerate(labels)
        ]
        self.world.put(f"{out}/features.csv.out", "\n".join(f"{score:.6f}" for score in scores) + "\n")


@contextmanager
def opened(**parts: Any) -> Iterator[Account]:
    """Open an account with the onboarded model flights; `parts` change its spec by sections."""
    with pytest.MonkeyPatch.context() as patched, account(patched) as world:
        test_intake.furnish(world, patched)
        written = flights.spec() | {"retraining": {"cooldown_seconds": 0, "daily_limit": 50}}
        for part, fields in parts.items():
            written[part] = {**written.get(part, {}), **fields}
        row = {"spec": spec_json(check_spec(written)), "digest": "d", "version_id": "v", "at": "2026-11-21T00:00:00Z"}
        ledger.change("model/flights", "spec", put=row, only_if="attribute_exists(pk)")
        patched.setenv("AWS_REGION", "us-east-1")
        yield Account(world, behind(patched))
