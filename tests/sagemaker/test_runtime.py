"""InvokeEndpoint: routing, errors, metrics, data capture."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from local.sagemaker.api import ApiError
from local.sagemaker.core import InvokeResult
from local.sagemaker.ports import Answer
from tests.sagemaker.doubles import Lab, canary

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/data-capture/v1/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


def served(lab: Lab, behaviour: Any = None, **capture: Any) -> Lab:
    model = lab.model("m", behaviour) if behaviour else lab.model("m")
    lab.config("v1", {"blue": model}, DataCaptureConfig=CAPTURE | capture)
    lab.endpoint("e", "v1")
    return lab


def captured(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    """Return the captured records by object key."""
    lab.clock.advance(10)
    objects = {uri: body for uri, body in lab.aws.objects.items() if uri.endswith(".jsonl")}
    return {uri: [json.loads(line) for line in body.decode().splitlines()] for uri, body in objects.items()}


def test_an_answer_names_its_variant_and_content_type(lab: Lab) -> None:
    assert served(lab).invoke("e", b"5") == InvokeResult(
        200, {"content-type": "text/csv; charset=utf-8", "x-Amzn-Invoked-Production-Variant": "blue"}, b"5"
    )


def test_a_target_variant_beats_the_weights(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("a"), "green": (lab.model("b"), 0.0, 1)})
    lab.endpoint("e", "v1")
    header = "x-Amzn-Invoked-Production-Variant"
    assert {lab.invoke("e").headers[header] for _ in range(20)} == {"blue"}
    assert lab.invoke("e", x_amzn_sagemaker_target_variant="green").headers[header] == "green"
    with pytest.raises(ApiError, match="ValidationError: Variant red not found"):
        lab.invoke("e", x_amzn_sagemaker_target_variant="red")


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (500, "server"), (503, "server")])
def test_a_model_error_carries_the_original(lab: Lab, status: int, side: str) -> None:
    served(lab, lambda _: Answer(status, "text/plain", b"broken", 0.002))
    with pytest.raises(ApiError) as failure:
        lab.invoke("e")
    error = failure.value
    assert (error.code, error.status) == ("ModelError", 424)
    assert f'Received {side} error ({status}) from primary with message "broken"' in error.message
    assert error.fields == {
        "OriginalStatusCode": status,
        "OriginalMessage": "broken",
        "LogStreamArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/Endpoints/e",
    }
    own = {"EndpointName": "e", "VariantName": "blue"}
    assert lab.aws.values("Invocation4XXErrors", **own) == [float(side == "client")]
    assert lab.aws.values("Invocation5XXErrors", **own) == [float(side == "server")]
    assert lab.aws.values("InvocationModelErrors", **own) == [1.0]


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionError("reset by peer")])
def test_a_silent_or_dead_worker_is_a_model_error(lab: Lab, error: Exception) -> None:
    def fail(_: bytes) -> Answer:
        raise error

    served(lab, fail)
    with pytest.raises(ApiError, match=r"ModelError: Received server error \(0\) from primary") as failure:
        lab.invoke("e")
    assert failure.value.fields["OriginalStatusCode"] == 0
    assert lab.aws.values("Invocation5XXErrors", EndpointName="e", VariantName="blue") == [1.0]


def test_the_limits_of_a_request(lab: Lab) -> None:
    served(lab)
    assert lab.invoke("e", b"x" * 6 * 1024 * 1024).status == 200
    with pytest.raises(ApiError) as large:
        lab.invoke("e", b"x" * (6 * 1024 * 1024 + 1))
    assert (large.value.code, large.value.status) == ("413", 413)
    with pytest.raises(ApiError, match="InferenceId"):
        lab.invoke("e", x_amzn_sagemaker_inference_id="x" * 65)
    with pytest.raises(ApiError, match=r"NotEmulated.*target-model"):
        lab.invoke("e", x_amzn_sagemaker_target_model="a.tar.gz")


def test_metrics_have_their_real_names_units_and_dimensions(lab: Lab) -> None:
    """T-03, T-05: latency is in microseconds; the config dimension tells a canary's two fleets apart."""
    served(lab).invoke("e")
    own = {"EndpointName": "e", "VariantName": "blue"}
    seen = [(datum.name, datum.unit, datum.dimensions) for datum in lab.aws.metrics]
    expected = [
        ("Invocations", "None"),
        ("InvocationsPerInstance", "None"),
        ("Invocation4XXErrors", "None"),
        ("Invocation5XXErrors", "None"),
        ("InvocationModelErrors", "None"),
        ("ModelLatency", "Microseconds"),
        ("OverheadLatency", "Microseconds"),
    ]
    both = (own, own | {"EndpointConfigName": "v1"})
    assert seen == [(name, unit, dimensions) for dimensions in both for name, unit in expected]
    assert {datum.namespace for datum in lab.aws.metrics} == {"AWS/SageMaker"}
    assert lab.aws.values("ModelLatency", **own) == [5000.0]
    assert lab.aws.values("InvocationsPerInstance", **own) == [0.5]
    assert lab.aws.values("Invocation5XXErrors", **own) == [0.0]


def test_errors_of_a_canary_show_under_its_own_config_only(lab: Lab) -> None:
    """F16, F49: the new fleet is seen alone."""
    served(lab)
    lab.config("v2", {"blue": lab.model("bad", lambda _: Answer(500, "text/plain", b"", 0.001))})
    lab.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="v2", DeploymentConfig=canary(10))
    lab.clock.advance(130)
    failed = 0
    for _ in range(500):
        try:
            lab.invoke("e")
        except ApiError:
            failed += 1
    own = {"EndpointName": "e", "VariantName": "blue"}
    assert 25 <= failed <= 75
    assert sum(lab.aws.values("Invocation5XXErrors", **own, EndpointConfigName="v2")) == failed
    assert sum(lab.aws.values("Invocation5XXErrors", **own, EndpointConfigName="v1")) == 0
    assert sum(lab.aws.values("Invocation5XXErrors", **own)) == failed
    assert len(lab.aws.values("Invocations", **own)) == 500


def test_a_captured_record_has_the_exact_shape(lab: Lab) -> None:
    """peers.md 4.9, monitoring.md 1.4."""
    served(lab).invoke("e", b"1,2\n", x_amzn_sagemaker_inference_id="mine")
    ((uri, (record,)),) = captured(lab).items()
    assert re.fullmatch(r"s3://bucket/data-capture/v1/e/blue/2026/01/31/12/02-00-000-[0-9a-f-]{36}\.jsonl", uri)
    event = record["eventMetadata"].pop("eventId")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event)
    assert record == {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2\n", "encoding": "CSV"},
            "endpointOutput": {
                "observedContentType": "text/csv; charset=utf-8",
                "mode": "OUTPUT",
                "data": "1,2\n",
                "encoding": "CSV",
            },
        },
        "eventMetadata": {"inferenceId": "mine", "inferenceTime": "2026-01-31T12:02:00Z"},
        "eventVersion": "0",
    }


@pytest.mark.parametrize(
    ("content_type", "body", "encoding", "data"),
    [
        ("text/csv", b"1,2", "CSV", "1,2"),
        ("application/json", b"{}", "JSON", "{}"),
        ("application/x-parquet", b"\x00\x01", "BASE64", base64.b64encode(b"\x00\x01").decode()),
        ("text/csv", b"\xff", "BASE64", base64.b64encode(b"\xff").decode()),
    ],
)
def test_the_encoding_follows_the_content_type(
    lab: Lab, content_type: str, body: bytes, encoding: str, data: str
) -> None:
    served(lab).sagemaker.invoke_endpoint("e", body, {"content-type": content_type})
    ((record,),) = captured(lab).values()
    side = record["captureData"]["endpointInput"]
    assert (side["encoding"], side["data"], side["observedContentType"]) == (encoding, data, content_type)


def test_without_content_type_headers_everything_is_base64(lab: Lab) -> None:
    served(lab, CaptureContentTypeHeader={}).invoke("e")
    ((record,),) = captured(lab).values()
    assert record["captureData"]["endpointInput"]["encoding"] == "BASE64"


def test_a_failed_request_is_captured_without_an_answer(lab: Lab) -> None:
    served(lab, lambda _: Answer(500, "text/plain", b"", 0.001))
    with pytest.raises(ApiError):
        lab.invoke("e")
    ((record,),) = captured(lab).values()
    assert list(record["captureData"]) == ["endpointInput"]


def test_sampling_and_modes_are_kept(lab: Lab) -> None:
    served(lab, InitialSamplingPercentage=20, CaptureOptions=[{"CaptureMode": "Output"}])
    for _ in range(500):
        lab.invoke("e")
    records = [record for lines in captured(lab).values() for record in lines]
    assert 70 < len(records) < 130
    assert {key for record in records for key in record["captureData"]} == {"endpointOutput"}


def test_nothing_is_captured_when_it_is_off(lab: Lab) -> None:
    served(lab, EnableCapture=False).invoke("e")
    assert captured(lab) == {}


def test_records_are_buffered_by_count_time_and_hour_and_written_on_close(lab: Lab) -> None:
    served(lab)
    for _ in range(150):
        lab.invoke("e")
    first = {uri for uri in lab.aws.objects if uri.endswith(".jsonl")}
    assert len(first) == 1
    assert sorted(len(lines) for lines in captured(lab).values()) == [50, 100]
    lab.clock.advance(58 * 60 - 10 - 5)
    lab.invoke("e")
    lab.clock.advance(6)
    lab.invoke("e")
    lab.sagemaker.close()
    hours = {uri.split("/")[-2] for uri in lab.aws.objects if uri.endswith(".jsonl")}
    assert hours == {"12", "13"}
    assert sum(len(lines) for lines in captured(lab).values()) == 152


def test_a_request_in_flight_is_answered_by_the_worker_it_went_to(lab: Lab) -> None:
    """Zero dropped requests: a worker is closed only after its last answer."""
    served(lab)
    lab.config("v2", {"blue": lab.model("m2")})

    def slow(body: bytes) -> Answer:
        lab.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="v2")
        lab.clock.advance(500)
        assert lab.describe("e")["EndpointConfigName"] == "v2"
        assert not lab.executor.servers[0].closed
        return Answer(200, "text/csv", b"old", 0.001)

    lab.executor.servers[0].model = slow
    assert lab.invoke("e").body == b"old"
    lab.clock.advance(0)
    assert lab.executor.servers[0].closed
