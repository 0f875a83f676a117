"""Release and rollback on the emulator: the real definitions, handlers and models, each way a release may end."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError

from tests.workflow.conftest import World

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
COLUMNS = 9
NAMES = itertools.count(1)


def archive(columns: int, rounds: int = 3, *, wrong: bool = False) -> bytes:
    """Return the model.tar.gz of a small model: is the first of so many features above a half? `wrong` says the opposite."""
    draw = np.random.default_rng(1)
    numbers = draw.random((300, columns))
    booster = xgboost.train(
        {"objective": "binary:logistic"}, xgboost.DMatrix(numbers, label=(numbers[:, 0] > 0.5) != wrong), rounds
    )
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=out, mode="w:gz") as tar:
        path = Path(folder) / "model.ubj"
        booster.save_model(path)
        tar.add(path, "xgboost-model")
    return out.getvalue()


class Registered:
    """A model on the stack, and what a person and callers do with it."""

    def __init__(self, world: World) -> None:
        self.world, self.model = world, f"rel-{next(NAMES)}"
        self.endpoint = f"linnet-{self.model}"
        self.versions = itertools.count(1)
        self.answers: list[tuple[str, str]] = []

    def spec(self, **rollout: Any) -> None:
        assert self.world.onboard(self.model, rollout=rollout)["status"] == "SUCCEEDED"

    def approved(self, columns: int = COLUMNS, **kind: Any) -> int:
        """Register a package with the candidate's row that its run would have left, and approve it in the console."""
        version = next(self.versions)
        run, key = f"r{version:012x}", f"models/{self.model}/{version}/model.tar.gz"
        self.world.put(key, archive(columns, **kind))
        rows = "\n".join(",".join(f"0.{n}{c}" for c in range(COLUMNS)) for n in range(1, 31))
        self.world.put(f"processed-data/{self.model}/{run}/test/features.csv", rows)
        bucket = self.world.out["DataBucket"]
        package = self.world.sagemaker.create_model_package(
            ModelPackageGroupName=self.endpoint,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/{key}"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"]
        item = {"version": {"N": str(version)}, "package_arn": {"S": package}, "run": {"S": run}, "baseline": {"S": ""}}
        key_of = {"pk": {"S": f"model/{self.model}"}, "sk": {"S": f"candidate#{version:06d}"}}
        self.world.dynamodb.put_item(TableName=self.world.out["LedgerTable"], Item=key_of | item)
        self.world.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
        return version

    def released(self, columns: int = COLUMNS, **kind: Any) -> dict[str, Any]:
        """Approve a package and return the end of the release that its event starts."""
        known = self.world.known("release")
        self.approved(columns, **kind)
        return self.world.execution("release", known, 180, model=self.model)

    def config(self) -> str:
        return str(self.world.sagemaker.describe_endpoint(EndpointName=self.endpoint)["EndpointConfigName"])

    @contextmanager
    def callers(self, each_second: int = 100, row: str = "0.6") -> Iterator[Counter[str]]:
        """Call the endpoint all the while; yield what the callers see, once they have called for some minutes.

        `answers` collects (inference id, answer). A release whose bake is too short for the traffic it finds is refused.
        """
        seen, halt = Counter[str](), threading.Event()

        def call() -> None:
            body = ",".join([row] * COLUMNS)
            while not halt.wait(1 / each_second):
                name = f"call-{len(self.answers)}"
                try:
                    found = self.world.runtime.invoke_endpoint(
                        EndpointName=self.endpoint, ContentType="text/csv", Body=body, InferenceId=name
                    )
                    self.answers.append((name, found["Body"].read().decode()))
                    seen["answered"] += 1
                except ClientError:
                    seen["failed"] += 1

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            self.world.wait("some minutes of calls", lambda: seen.total() >= each_second)
            yield seen
        finally:
            halt.set()
            thread.join()


@pytest.fixture
def model(world: World) -> Registered:
    return Registered(world)


def test_dp_01_ro_02_first_release_then_a_ladder_and_callers_see_no_error(model: Registered) -> None:
    model.spec(strategy="stepped", ladder=[25, 100], wait_seconds=60, maximum_seconds=3600)
    assert model.released()["status"] == "SUCCEEDED"
    assert model.config() == f"{model.endpoint}-v1-f1"

    with model.callers() as seen:
        ended = model.released()

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert model.config() == f"{model.endpoint}-v2-f2"
    assert (seen["failed"], seen["answered"] > 50) == (0, True)


def test_ro_01_rb_01_rb_06_a_broken_canary_is_rolled_back_by_sagemaker_and_says_so(model: Registered) -> None:
    model.spec(strategy="canary", canary_percent=10, health={"min_requests": 2})
    assert model.released()["status"] == "SUCCEEDED"

    with model.callers() as seen:
        ended = model.released(columns=3)

    assert (ended["status"], ended["error"]) == ("FAILED", "DeploymentFailed")
    assert ended["cause"] == "Model deployment health check failed"
    assert model.config() == f"{model.endpoint}-v1-f1"
    assert 0 < seen["failed"] <= 0.2 * seen.total()


def test_a_broken_challenger_is_found_by_the_probe_before_callers_are_sent_to_it(model: Registered) -> None:
    model.spec(strategy="stepped")
    assert model.released()["status"] == "SUCCEEDED"

    with model.callers() as seen:
        ended = model.released(columns=3)

    assert (ended["error"], model.config(), seen["failed"]) == ("DeploymentFailed", f"{model.endpoint}-v1-f1", 0)


def test_i9_a_stopped_ladder_is_taken_back_without_anybody(model: Registered) -> None:
    model.spec(strategy="stepped")
    assert model.released()["status"] == "SUCCEEDED"
    known, backs = model.world.known("release"), model.world.known("rollback")
    model.approved()
    arn = model.world.execution("release", known, model=model.model, follow=False)["executionArn"]
    until = time.monotonic() + 60
    while len(model.world.sagemaker.describe_endpoint(EndpointName=model.endpoint)["ProductionVariants"]) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)

    model.world.stepfunctions.stop_execution(executionArn=arn)
    ended = model.world.execution("rollback", backs, 120, model=model.model)

    assert (ended["status"], model.config()) == ("SUCCEEDED", f"{model.endpoint}-v1-f1")
    lease = model.world.row(f"endpoint/{model.endpoint}", "lease") or {}
    assert "owner" not in lease


def test_rb_04_a_version_that_may_not_go_out_is_refused_with_the_reason(model: Registered) -> None:
    model.spec(strategy="all_at_once")
    assert model.released()["status"] == "SUCCEEDED"
    given = {"model": model.model, "reason": "by a test"}

    refused = model.world.start("rollback", given | {"to_version": 1})
    late = model.world.start("rollback", given | {"serving": 7})

    assert (refused["status"], refused["error"]) == ("FAILED", "RollbackRefused")
    assert refused["cause"] == "version 1 serves already"
    assert (late["status"], json.loads(late["output"])["why"]) == ("SUCCEEDED", "version 7 does not serve any more")
    assert model.config() == f"{model.endpoint}-v1-f1"


def test_rb_03_a_rollback_by_hand_brings_the_old_model_back(model: Registered) -> None:
    model.spec(strategy="all_at_once")
    assert model.released()["status"] == "SUCCEEDED"
    with model.callers():
        assert model.released()["status"] == "SUCCEEDED"

    ended = model.world.start("rollback", {"model": model.model, "reason": "wrong answers"})

    champion = model.world.row(f"model/{model.model}", "champion") or {}
    assert (ended["status"], model.config(), champion["version"]) == ("SUCCEEDED", f"{model.endpoint}-v1-f1", 1)
    assert json.loads(ended["output"])["outcome"] == "rolled back"
