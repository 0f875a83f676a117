"""Shadow variants: copies of the callers' requests for a model that answers to nobody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from local.sagemaker.api import ApiError
from local.sagemaker.core import SageMaker, Timings
from local.sagemaker.ports import Answer
from tests.sagemaker.doubles import FakeAws, FakeExecutor, Lab, Model, canary

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/capture",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


def says(text: str) -> Model:
    return lambda _: Answer(200, "text/csv", text.encode(), 0.001)


def variant(name: str, model: str, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    definition = {"VariantName": name, "ModelName": model, "InitialInstanceCount": 2, "InstanceType": "ml.m5.large"}
    return definition | {"InitialVariantWeight": weight} | more


def shadowed(lab: Lab, config: str, weight: float = 1.0, champion: float = 1.0, **more: Any) -> str:
    shadow = variant("shade", "candidate", weight)
    return lab.config(config, {"blue": ("champion", champion, 2)}, ShadowProductionVariants=[shadow], **more)


@pytest.fixture
def lab() -> Lab:
    """An endpoint `e` on `plain` and, beside it, the config `both` with a shadow that sees every request."""
    lab = Lab()
    lab.model("champion", says("champion"))
    lab.model("candidate", says("candidate"))
    lab.config("plain", {"blue": "champion"})
    shadowed(lab, "both", DataCaptureConfig=CAPTURE)
    lab.endpoint("e", "plain")
    lab.aws.alarms["errors"] = "OK"
    return lab


def update(lab: Lab, config: str, **more: Any) -> None:
    lab.call("UpdateEndpoint", EndpointName="e", EndpointConfigName=config, **more)


def asked(lab: Lab, server: int = -1) -> int:
    """Return how many requests a worker got, the youngest by default."""
    lab.clock.advance(0)
    return lab.executor.servers[server].requests


def captured(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Return the records of a variant of this endpoint and hour."""
    lab.clock.advance(10)
    prefix = f"s3://bucket/capture/e/{name}/2026/01/31/12/"
    return [json.loads(line) for uri in lab.aws.list_objects(prefix) for line in lab.aws.objects[uri].splitlines()]


# ----------------------------------------------------------------------------------------------- what may be configured
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ProductionVariants": [variant("a", "champion"), variant("b", "champion")]}, ["one variant of each kind"]),
        (
            {"ShadowProductionVariants": [variant("s", "candidate"), variant("t", "candidate")]},
            ["one variant of each kind", "'ShadowProductionVariants': 2"],
        ),
        ({"ShadowProductionVariants": [variant("blue", "candidate")]}, ["unique names", "'blue'"]),
        ({"ShadowProductionVariants": [variant("s", "nobody")]}, ["Could not find model"]),
        ({"ShadowProductionVariants": [{"VariantName": "s", "ModelName": "candidate"}]}, ["'InstanceType'", "'s'"]),
        (
            {
                "ShadowProductionVariants": [
                    {
                        "VariantName": "s",
                        "ModelName": "candidate",
                        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
                    }
                ]
            },
            ["ServerlessConfig", "'s'"],
        ),
        (
            {"ShadowProductionVariants": [variant("s", "candidate", AcceleratorType="ml.eia2.large")]},
            ["AcceleratorType", "ml.eia2.large"],
        ),
        (
            {"ProductionVariants": [variant("blue", "champion", InstanceType="ml.inf1.xlarge")]},
            ["InstanceType", "ml.inf1.xlarge"],
        ),
    ],
)
def test_what_cannot_have_a_shadow_is_refused(lab: Lab, change: dict[str, Any], words: list[str]) -> None:
    request = {
        "EndpointConfigName": "wrong",
        "ProductionVariants": [variant("blue", "champion")],
        "ShadowProductionVariants": [variant("shade", "candidate")],
    }
    with pytest.raises(ApiError, match="ValidationException") as refusal:
        lab.call("CreateEndpointConfig", **request | change)
    assert [word for word in words if word not in refusal.value.message] == []
    assert lab.refused("DescribeEndpointConfig", EndpointConfigName="wrong") == "ValidationException"


def test_a_config_shows_its_shadow_with_the_default_weight(lab: Lab) -> None:
    bare = {key: value for key, value in variant("shade", "candidate").items() if key != "InitialVariantWeight"}
    lab.config("bare", {"blue": "champion"}, ShadowProductionVariants=[bare])
    found = lab.call("DescribeEndpointConfig", EndpointConfigName="bare")
    assert found["ShadowProductionVariants"] == [{**bare, "InitialVariantWeight": 1.0}]
    assert "ShadowProductionVariants" not in lab.call("DescribeEndpointConfig", EndpointConfigName="plain")


# -------------------------------------------------------------------------------------------------- what a caller sees
def test_the_caller_gets_the_production_answer_and_the_shadow_gets_the_request(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    answers = {lab.invoke("e").body for _ in range(20)}
    assert answers == {b"champion"}
    assert asked(lab) == 20


def test_the_shadow_is_no_target_for_a_caller(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    assert lab.invoke("e", x_amzn_sagemaker_target_variant="blue").body == b"champion"
    with pytest.raises(ApiError, match="Variant shade not found"):
        lab.invoke("e", x_amzn_sagemaker_target_variant="shade")


@pytest.mark.parametrize(
    ("weight", "champion", "least", "most"),
    [(0.25, 1.0, 0.2, 0.3), (30.0, 60.0, 0.45, 0.55), (0.0, 1.0, 0, 0), (1.0, 1.0, 1, 1), (5.0, 1.0, 1, 1)],
)
def test_the_shadow_gets_the_share_that_its_weight_is_of_productions(
    lab: Lab, weight: float, champion: float, least: float, most: float
) -> None:
    shadowed(lab, "part", weight, champion)
    update(lab, "part")
    lab.clock.advance(120)
    for _ in range(1000):
        lab.invoke("e")
        lab.clock.advance(0)
    assert least <= asked(lab) / 1000 <= most


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionError("reset"), ValueError("a bug"), 500])
def test_a_failing_shadow_is_no_callers_business_and_measured_as_its_own(lab: Lab, error: Exception | int) -> None:
    def fail(_: bytes) -> Answer:
        if isinstance(error, Exception):
            raise error
        return Answer(error, "text/plain", b"broken", 0.001)

    update(lab, "both")
    lab.clock.advance(120)
    lab.executor.servers[-1].model = fail
    assert [lab.invoke("e").body for _ in range(3)] == [b"champion"] * 3
    assert asked(lab) == 3
    assert lab.aws.values("Invocation5XXErrors", EndpointName="e", VariantName="blue") == [0.0] * 3
    if not isinstance(error, ValueError):
        assert lab.aws.values("Invocation5XXErrors", EndpointName="e", VariantName="shade") == [1.0] * 3
    lab.executor.servers[-1].model = says("well again")
    lab.invoke("e")
    assert asked(lab) == 4


def test_the_shadow_sees_a_request_that_production_fails(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    lab.executor.servers[-2].model = lambda _: Answer(500, "text/plain", b"broken", 0.001)
    with pytest.raises(ApiError, match="ModelError"):
        lab.invoke("e")
    assert asked(lab) == 1


def test_copies_that_nobody_answers_in_time_are_dropped_beyond_a_bound(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    for _ in range(150):
        assert lab.invoke("e").body == b"champion"
    assert asked(lab) == 100
    lab.invoke("e")
    assert asked(lab) == 101


class ThreadClock:
    """A real clock, for the one test that needs two threads."""

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    @staticmethod
    def call_later(seconds: float, call: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, call)
        timer.daemon = True
        timer.start()


def test_a_shadow_that_hangs_does_not_hold_the_caller() -> None:
    lab = Lab(timings=Timings(creating=0.0, poll=0.0))
    lab.clock = ThreadClock()  # type: ignore[assignment]
    lab.aws, lab.executor = FakeAws(), FakeExecutor()
    lab.sagemaker = SageMaker(
        clock=ThreadClock(), aws=lab.aws, executor=lab.executor, timings=Timings(creating=0.0, poll=0.01)
    )
    free, seen = threading.Event(), threading.Semaphore(0)

    def hang(_: bytes) -> Answer:
        seen.release()
        free.wait(60)
        return Answer(200, "text/csv", b"late", 0.001)

    lab.model("champion", says("champion"))
    lab.model("candidate", hang)
    shadowed(lab, "both")
    lab.call("CreateEndpoint", EndpointName="e", EndpointConfigName="both")
    while lab.describe("e")["EndpointStatus"] != "InService":
        time.sleep(0.005)
    try:
        assert [lab.invoke("e").body for _ in range(10)] == [b"champion"] * 10
        assert all(seen.acquire(timeout=60) for _ in range(4))
        assert (
            lab.executor.servers[-1].requests == 4
        )  # a bounded number at a time, while all callers have their answers
    finally:
        free.set()
    assert all(seen.acquire(timeout=60) for _ in range(6))
    lab.sagemaker.close()


# ------------------------------------------------------------------------------------------- what it can be judged by
def test_a_shadow_has_metrics_of_its_own_with_and_without_the_config(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    lab.executor.servers[-1].model = lambda _: Answer(200, "text/csv", b"", 0.25)
    lab.invoke("e")
    lab.clock.advance(0)
    own = {"EndpointName": "e", "VariantName": "shade"}
    for dimensions in (own, own | {"EndpointConfigName": "both"}):
        assert lab.aws.values("Invocations", **dimensions) == [1.0]
        assert lab.aws.values("InvocationsPerInstance", **dimensions) == [0.5]
        assert lab.aws.values("ModelLatency", **dimensions) == [250000.0]
        assert lab.aws.values("InvocationModelErrors", **dimensions) == [0.0]
    assert lab.aws.values("ModelLatency", EndpointName="e", VariantName="blue") == [1000.0]


def test_both_variants_record_a_request_under_one_event_id_and_inference_id(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    for number in range(3):
        lab.invoke("e", f"{number}\n".encode(), x_amzn_sagemaker_inference_id=f"mine-{number}")
    production, shadow = captured(lab, "blue"), captured(lab, "shade")
    assert len(production) == len(shadow) == 3
    for ours, copy, number in zip(production, shadow, range(3), strict=True):
        assert ours["eventMetadata"]["eventId"] == copy["eventMetadata"]["eventId"]
        assert ours["eventMetadata"]["inferenceId"] == copy["eventMetadata"]["inferenceId"] == f"mine-{number}"
        assert ours["captureData"]["endpointInput"] == copy["captureData"]["endpointInput"]
        assert ours["captureData"]["endpointOutput"]["data"] == "champion"
        assert copy["captureData"]["endpointOutput"]["data"] == "candidate"
        assert "invocationSource" not in ours["eventMetadata"]
        assert copy["eventMetadata"]["invocationSource"] == "ShadowExperiment"


def test_a_request_is_sampled_for_both_variants_or_for_none(lab: Lab) -> None:
    shadowed(lab, "some", DataCaptureConfig=CAPTURE | {"InitialSamplingPercentage": 30})
    update(lab, "some")
    lab.clock.advance(120)
    for _ in range(300):
        lab.invoke("e")
        lab.clock.advance(0)
    ours, copies = (
        {record["eventMetadata"]["eventId"] for record in captured(lab, name)} for name in ("blue", "shade")
    )
    assert ours == copies
    assert 60 < len(ours) < 120


# ------------------------------------------------------------------------------------------ how it comes and how it goes
def test_a_shadow_is_described_with_its_fleet(lab: Lab) -> None:
    assert "ShadowProductionVariants" not in lab.describe("e")
    update(lab, "both")
    pending = lab.describe("e")["PendingDeploymentSummary"]
    assert [item["VariantName"] for item in pending["ShadowProductionVariants"]] == ["shade"]
    assert [item["VariantName"] for item in pending["ProductionVariants"]] == ["blue"]
    lab.clock.advance(120)
    description = lab.describe("e")
    assert [item["VariantName"] for item in description["ProductionVariants"]] == ["blue"]
    (shade,) = description["ShadowProductionVariants"]
    assert {name: shade[name] for name in shade if name != "DeployedImages"} == {
        "VariantName": "shade",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 2,
        "DesiredInstanceCount": 2,
    }


@pytest.mark.parametrize("guard", [{}, {"DeploymentConfig": canary(50, alarms=["errors"])}])
def test_a_shadow_comes_with_an_update_and_goes_with_the_next(lab: Lab, guard: dict[str, Any]) -> None:
    update(lab, "both", **guard)
    lab.clock.advance(720)
    assert lab.describe("e")["EndpointConfigName"] == "both"
    shade = lab.executor.servers[-1]
    lab.invoke("e")
    lab.clock.advance(0)
    assert (shade.requests, shade.closed) == (1, False)
    update(lab, "plain", **guard)
    lab.clock.advance(720)
    description = lab.describe("e")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "plain")
    assert "ShadowProductionVariants" not in description
    lab.invoke("e")
    lab.clock.advance(0)
    assert (shade.requests, shade.closed) == (1, True)


def test_while_a_canary_bakes_each_fleet_mirrors_only_its_own_requests(lab: Lab) -> None:
    update(lab, "both", DeploymentConfig=canary(50, alarms=["errors"]))
    lab.clock.advance(130)
    for _ in range(90):
        lab.invoke("e")
    own = {"EndpointName": "e", "EndpointConfigName": "both"}
    assert 0 < asked(lab) < 90
    assert len(lab.aws.values("Invocations", VariantName="blue", **own)) == asked(lab)
    assert len(lab.aws.values("Invocations", VariantName="shade", **own)) == asked(lab)


def test_a_rollback_takes_the_shadow_away_with_the_new_fleet(lab: Lab) -> None:
    update(lab, "both", DeploymentConfig=canary(50, alarms=["errors"]))
    lab.clock.advance(130)
    lab.aws.alarms["errors"] = "ALARM"
    lab.clock.advance(60)
    description = lab.describe("e")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "plain")
    assert [server.closed for server in lab.executor.servers] == [False, True, True]


def test_a_shadow_that_does_not_load_rolls_the_update_back(lab: Lab) -> None:
    broken = variant("shade", lab.model("broken", RuntimeError("ImportError: no module named model")))
    lab.config("bad", {"blue": "champion"}, ShadowProductionVariants=[broken])
    update(lab, "bad")
    lab.clock.advance(120)
    description = lab.describe("e")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "plain")
    assert "variant shade did not pass the ping health check" in description["FailureReason"]
    assert [server.closed for server in lab.executor.servers] == [False, True]


def test_copies_that_wait_when_their_fleet_retires_are_dropped(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    shade = lab.executor.servers[-1]
    for _ in range(20):
        lab.invoke("e")
    lab.call("DeleteEndpoint", EndpointName="e")
    lab.clock.advance(0)
    assert (shade.requests, shade.closed) == (0, True)


def test_a_copy_in_flight_is_answered_before_its_worker_is_closed(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    shade, closed = lab.executor.servers[-1], []

    def slow(_: bytes) -> Answer:
        lab.call("DeleteEndpoint", EndpointName="e")
        lab.clock.advance(5)
        closed.append(shade.closed)
        return Answer(200, "text/csv", b"", 0.001)

    shade.model = slow
    lab.invoke("e")
    lab.clock.advance(9)
    assert closed == [False]
    assert shade.closed


def test_a_shadows_weight_and_count_can_be_changed_and_retained(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    wishes = [{"VariantName": "shade", "DesiredWeight": 0.0, "DesiredInstanceCount": 3}]
    lab.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wishes)
    (shade,) = lab.describe("e")["ShadowProductionVariants"]
    assert (shade["CurrentWeight"], shade["DesiredWeight"]) == (1.0, 0.0)
    lab.invoke("e")
    assert asked(lab) == 1
    lab.clock.advance(30)
    (shade,) = lab.describe("e")["ShadowProductionVariants"]
    assert (shade["CurrentWeight"], shade["CurrentInstanceCount"]) == (0.0, 3)
    lab.invoke("e")
    assert asked(lab) == 1
    shadowed(lab, "again")
    update(lab, "again", RetainAllVariantProperties=True)
    lab.clock.advance(120)
    (shade,) = lab.describe("e")["ShadowProductionVariants"]
    assert (shade["CurrentWeight"], shade["CurrentInstanceCount"]) == (0.0, 3)


def test_a_shadow_can_become_the_production_variant(lab: Lab) -> None:
    update(lab, "both")
    lab.clock.advance(120)
    lab.config("promoted", {"shade": "candidate"})
    update(lab, "promoted")
    lab.clock.advance(120)
    assert lab.invoke("e").body == b"candidate"
    assert [item["VariantName"] for item in lab.describe("e")["ProductionVariants"]] == ["shade"]
