"""`release` and `rollback` on the emulator's own engine with the real handlers and real serving (more in tests/model, e2e)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.flights import data as flights
from tests.workflow.conftest import World

MODEL = "released"
ENDPOINT = f"linnet-{MODEL}"


@pytest.fixture(scope="module")
def first(world: World) -> dict[str, Any]:
    """Onboard a model, let its first data train it, and return the end of its first release."""
    world.onboard(MODEL, approval={"automatic": 0.86}, rollout={"strategy": "all_at_once", "deadline_seconds": 120})
    known = world.known("release")
    world.batch(MODEL, "b1", flights.batch(season="winter", rows=1500, part=0))
    return world.execution("release", known, 120, model=MODEL)


def test_dp_01_f51_the_first_release_creates_probes_and_promotes_without_any_traffic(
    world: World, first: dict[str, Any]
) -> None:
    assert first["status"] == "SUCCEEDED", first.get("cause")
    assert {"Take the lease", "Probe the new fleet", "Read back and promote"} <= set(first["states"])
    champion = world.row(f"model/{MODEL}", "champion")
    endpoint = world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    assert champion is not None
    assert champion["config"] == endpoint["EndpointConfigName"]
    assert champion["baseline"].startswith("s3://")
    lease = world.row(f"endpoint/{ENDPOINT}", "lease")
    assert lease is not None
    assert not lease.get("owner")


def test_dc_01_the_first_config_captures_both_sides_below_its_own_name(world: World, first: dict[str, Any]) -> None:
    name = world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    capture = world.sagemaker.describe_endpoint_config(EndpointConfigName=name)["DataCaptureConfig"]

    assert capture["EnableCapture"] is True
    assert capture["DestinationS3Uri"].rstrip("/").endswith(f"/data-capture/{name}")
    assert {o["CaptureMode"] for o in capture["CaptureOptions"]} == {"Input", "Output"}


def test_a_rollback_with_nothing_to_go_back_to_changes_nothing_and_says_so(world: World, first: dict[str, Any]) -> None:
    before = world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    ended = world.start("rollback", {"model": MODEL, "reason": "by a test"})

    assert ended["status"] == "FAILED"
    assert "off-board it" in ended["cause"]
    assert world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"] == before


def test_f14_rb_02_a_release_that_nobody_calls_is_unknown_and_taken_back_never_promoted(
    world: World, first: dict[str, Any]
) -> None:
    before = world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    known = world.known("release")
    world.batch(MODEL, "b2", flights.batch(season="summer", rows=3000, part=0))
    ended = world.execution("release", known, 180, model=MODEL)

    assert ended["status"] == "FAILED", ended["states"]
    assert world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"] == before
    champion = world.row(f"model/{MODEL}", "champion")
    assert champion is not None
    assert champion["version"] == 1
    releases = world.rows(f"model/{MODEL}", "release#")
    assert [r["state"] for r in releases][:2] == ["promoted", "rolled back"]


def test_eb_06_editing_an_approved_packages_description_releases_nothing(world: World, first: dict[str, Any]) -> None:
    known = world.known("release")
    package = world.rows(f"model/{MODEL}", "candidate#")[0]["package_arn"]
    world.sagemaker.update_model_package(ModelPackageArn=package, ApprovalDescription="a nicer text")
    world.start("release", {"model": "nobody", "version": 1})  # time passes while another execution runs

    assert len(world.known("release") - known) == 1


def test_a_release_started_by_hand_of_a_version_that_is_not_approved_is_refused(
    world: World, first: dict[str, Any]
) -> None:
    container = world.sagemaker.describe_model_package(
        ModelPackageName=world.rows(f"model/{MODEL}", "candidate#")[0]["package_arn"]
    )["InferenceSpecification"]["Containers"][0]
    arn = world.sagemaker.create_model_package(
        ModelPackageGroupName=ENDPOINT, ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": container["Image"], "ModelDataUrl": container["ModelDataUrl"]}],
            "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]  # fmt: skip
    ended = world.start("release", {"model": MODEL, "version": int(arn.rpartition("/")[2])})

    assert ended["status"] == "FAILED"
    assert json.dumps(ended["cause"])
    assert "Prepare the release" not in ended["states"]


def test_ex_03_on_the_real_stack_the_endpoints_data_leads_back_to_the_endpoint(
    world: World, first: dict[str, Any]
) -> None:
    def ask(**question: Any) -> dict[str, Any]:
        answer = world.functions.invoke(FunctionName="linnet-trace-model", Payload=json.dumps(question))
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, found
        return found

    behind = ask(endpoint=ENDPOINT)
    assert behind["serves"]["config"] == world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    assert behind["training_job"].startswith(f"{ENDPOINT}-")
    assert behind["approver"]["decided_by"]
    assert behind["hyperparameters"]
    uris = [o["uri"] for b in behind["data"]["batches"] for o in b["objects"]]
    assert uris
    for uri in uris:
        reached = [e for e in ask(data=uri)["endpoints"] if e["serves"]]
        assert [(e["endpoint"], e["version"]) for e in reached] == [(ENDPOINT, behind["serves"]["version"])]
    package = world.sagemaker.describe_model_package(ModelPackageName=behind["serves"]["package_arn"])
    assert package["CustomerMetadataProperties"]["trial"] == behind["trial"]  # EX-06
