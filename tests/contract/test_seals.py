"""A model or an object of data that is swapped between two steps is refused by name (F22, F34, F36; issue 6 "Security")."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linnet.errors import ConflictError, NotFoundError
from linnet.gateways import inputs, ledger, s3, sagemaker, seals
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, world  # noqa: F401 - a fixture
from tests.contract.test_intake import MODEL, intake  # noqa: F401 - a fixture
from tests.contract.test_retrain_functions import Steps, call, lab, prepared, registration  # noqa: F401 - a fixture
from tests.sagemaker.doubles import Lab

AT = "2026-11-21T02:30:00Z"


class Run:
    """A run up to its candidate's registration, with the objects that make it up."""

    def __init__(self, world: World, lab: Lab) -> None:
        self._world, self._lab = world, lab
        self.taken, self.prepared = prepared(world)
        self.artifact = f"s3://{BUCKET}/models/{MODEL}/{self.taken['run']}/output/model.tar.gz"
        self.report = f"s3://{BUCKET}/results/{MODEL}/{self.taken['run']}/evaluation.json"

    def train(self) -> None:
        call("plan_training", self.taken, prepared=self.prepared, champion=None, trigger=self.taken["trigger"])
        self.put(self.artifact, b"the artifact that the job wrote")

    def evaluate(self) -> None:
        trained = {"training_job": self.taken["training_job"], "artifact": self.artifact}
        call("plan_evaluation", self.taken, trained=trained, champion=None, features_uri=self.prepared["features_uri"])
        self.put(self.report, b'{"verdict": "better"}')

    def register(self) -> Steps:
        given = registration(self.taken, self.artifact)
        judged = given["judged"] | {"evaluation_uri": self.report}
        return call("register_candidate", self.taken, **given | {"judged": judged})

    def registered(self) -> str:
        self.train()
        self.evaluate()
        return str(self.register()["package_arn"])

    def approve(self, arn: str) -> Any:
        return handler("apply_decision")(
            {
                "model": MODEL, "version": 1, "package_arn": arn, "approval_status": "Approved", "decided_by": "ada",
                "comment": "good", "kind": "person", "at": AT, "correlation_id": "c",
            }, CONTEXT,
        )  # fmt: skip

    def release(self) -> Any:
        return handler("take_lease")(
            {"model": MODEL, "version": 1, "owner": "arn:release", "at": AT, "correlation_id": "c"}, CONTEXT
        )

    def put(self, uri: str, body: bytes) -> None:
        self._world.put(uri.removeprefix(f"s3://{BUCKET}/"), body)
        self._lab.aws.put_object(uri, body)

    def objects(self) -> list[str]:
        """Return one object of every kind that the run is made of or judged by."""
        baseline = f"{self.prepared['baseline_uri']}/statistics.json"
        channels = [self.prepared[name] for name in ("train_uri", "labels_uri")]
        return [self.artifact, *channels, baseline, self.taken["inputs_uri"]]

    def refused(self, uri: str, step: Callable[[], Any]) -> str:
        """Swap an object for the time of a step; return why the step was refused."""
        kept = s3.read(uri, limit=10**8)
        self.put(uri, b"what an intruder wrote")
        with pytest.raises(ConflictError) as refused:
            step()
        self.put(uri, kept)
        return str(refused.value)

    def status(self, arn: str) -> str:
        return str(self._lab.call("DescribeModelPackage", ModelPackageName=arn)["ModelApprovalStatus"])


@pytest.fixture
def run(intake: World, lab: Lab) -> Run:
    return Run(intake, lab)


def test_f34_f22_what_was_swapped_before_the_registration_is_refused_by_name_and_nothing_is_registered(
    run: Run, lab: Lab
) -> None:
    run.train()
    run.evaluate()
    sealed = (ledger.read(f"model/{MODEL}", f"run#{run.taken['run']}") or {})["sealed"]

    for uri in run.objects():
        why = run.refused(uri, run.register)
        assert why.startswith(f"{uri} was replaced since run {run.taken['run']} was made")
        assert hashlib.sha256(b"what an intruder wrote").hexdigest() in why
        assert sealed[uri]["sha256"] in why
    assert lab.call("ListModelPackages", ModelPackageGroupName="linnet-flights")["ModelPackageSummaryList"] == []


def test_f36_what_was_swapped_before_the_approval_or_before_the_release_is_refused_by_name(run: Run) -> None:
    arn = run.registered()

    for uri in [*run.objects(), run.report]:
        assert run.refused(uri, lambda: run.approve(arn)).startswith(f"{uri} was replaced since version 1 was made")
    assert run.status(arn) == "PendingManualApproval"
    run.approve(arn)
    for uri in [*run.objects(), run.report]:
        assert run.refused(uri, run.release).startswith(f"{uri} was replaced since version 1 was made")
    assert list(ledger.query(f"model/{MODEL}", "release#")) == []


def test_what_nobody_swapped_is_registered_approved_and_released(run: Run) -> None:
    arn = run.registered()

    assert run.approve(arn)["approval_status"] == "Approved"
    assert run.release()["proceed"]
    row = ledger.read(f"model/{MODEL}", "candidate#000001") or {}
    kinds = {uri.removeprefix(f"s3://{BUCKET}/").partition("/")[0] for uri in row["sealed"]}
    assert kinds == {"models", "processed-data", "baselines", "results"}
    assert all(seal["version"] and len(seal["sha256"]) == 64 for seal in row["sealed"].values())


def test_the_same_bytes_put_again_are_no_swap_and_what_is_gone_is_only_missed_where_it_is_needed(
    run: Run, intake: World
) -> None:
    arn = run.registered()
    run.put(run.artifact, b"the artifact that the job wrote")
    intake.s3.delete_object(Bucket=BUCKET, Key=run.prepared["labels_uri"].removeprefix(f"s3://{BUCKET}/"))

    run.approve(arn)
    intake.s3.delete_object(Bucket=BUCKET, Key=run.artifact.removeprefix(f"s3://{BUCKET}/"))
    with pytest.raises(NotFoundError, match=r"the artifact of version 1 is gone: s3://"):
        run.release()


def test_f36_a_package_whose_container_was_exchanged_in_the_registry_is_refused_by_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = run.registered()
    run.approve(arn)
    found = sagemaker.container(arn)

    for name, value in (("ModelDataUrl", f"s3://{BUCKET}/else/model.tar.gz"), ("Image", "0.dkr.ecr/other:latest")):
        monkeypatch.setattr(sagemaker, "container", lambda _, n=name, v=value: found | {n: v})
        with pytest.raises(ConflictError, match=f"package of version 1 was changed in the registry: {name} {value}"):
            run.release()


def test_an_object_that_is_replaced_while_it_is_uploaded_is_noticed_at_once(
    intake: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, uri, head = tmp_path / "train.csv", f"s3://{BUCKET}/processed-data/{MODEL}/r1/train.csv", s3.head
    path.write_bytes(b"1,2\n")

    def meanwhile(uri: str, version: str | None = None) -> Any:
        s3.put(uri, b"0,0\n")
        return head(uri, version)

    assert seals.check(inputs.upload(path, uri), "it") is None  # type: ignore[func-returns-value]
    monkeypatch.setattr(s3, "head", meanwhile)
    with pytest.raises(ConflictError, match="was replaced while it was written"):
        inputs.upload(path, uri)


def test_where_versioning_is_suspended_the_bytes_are_compared_and_not_the_version(intake: World) -> None:
    intake.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    uri = f"s3://{BUCKET}/models/m.tar.gz"
    s3.put(uri, b"one")
    sealed = seals.of(uri)
    s3.put(uri, b"two")

    with pytest.raises(ConflictError, match=r"models/m\.tar\.gz was replaced"):
        seals.check(sealed, "it")
