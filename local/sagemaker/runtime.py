"""sagemaker-runtime: InvokeEndpoint with its routing, metrics and data capture."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from local.sagemaker.api import ApiError, not_emulated
from local.sagemaker.capture import Capture, Exchange
from local.sagemaker.endpoints import Endpoint, Endpoints
from local.sagemaker.fleet import Fleet, Variant
from local.sagemaker.ports import Answer
from local.sagemaker.world import World

_MAX_BODY = 6 * 1024 * 1024
_MAX_ID, _MAX_ATTRIBUTES = 64, 1024
_OK, _CLIENT_ERROR, _SERVER_ERROR = 200, 400, 500
_HEADER = "x-amzn-sagemaker-"
_UNKNOWN_HEADERS = (
    "target-model",
    "target-container-hostname",
    "inference-component",
    "session-id",
    "enable-explanations",
)


@dataclass(frozen=True)
class InvokeResult:
    """The answer to an invocation as it goes on the wire; an error is an ApiError instead."""

    status: int
    headers: dict[str, str]
    body: bytes


class Runtime:
    """Answers invocations from the fleets of the endpoints."""

    def __init__(self, world: World, endpoints: Endpoints) -> None:
        self._world = world
        self._endpoints = endpoints
        self._capture = Capture(world)

    def invoke(self, name: str, body: bytes, headers: Mapping[str, str]) -> InvokeResult:
        """Send a request to a variant: the one asked for, else one drawn by weight.

        Raises:
            ApiError: ValidationError for an endpoint or variant that does not serve, 413 for a body over 6 MB,
                ModelError (HTTP 424, OriginalStatusCode, OriginalMessage, LogStreamArn) when the model fails.
        """
        started = time.perf_counter()
        target, inference_id, attributes = self._headers(body, headers)
        with self._world.locked():
            endpoint = self._endpoints.serving(name)
            fleet, variant = self._route(endpoint, target)
            server = variant.server
            if server is None:
                raise ApiError("ServiceUnavailable", f"Variant {variant.name} of endpoint {name} has no instance", 503)
            variant.in_flight += 1
        content_type, accept = headers.get("content-type", "application/octet-stream"), headers.get("accept", "*/*")
        asked, failure = time.perf_counter(), ""
        try:
            answer = server.invoke(body, content_type, accept)
        except TimeoutError:
            failure = "Your invocation timed out while waiting for a response from container primary."
            answer = Answer(0, "", failure.encode(), time.perf_counter() - asked)
        except ConnectionError as error:
            failure = f"The container primary closed the connection: {error}"
            answer = Answer(0, "", failure.encode(), time.perf_counter() - asked)
        finally:
            with self._world.locked():
                self._release(variant)
        good = _OK <= answer.status < _OK + 100
        with self._world.locked():
            self._measure(name, fleet, variant, answer, max(0.0, time.perf_counter() - started - answer.seconds))
            result = answer.body if good else None
            exchange = (body, content_type, result, answer.content_type, inference_id, attributes)
            self._capture.record(fleet.capture, Exchange(name, variant.name, *exchange))
        if not good:
            raise self._model_error(name, answer, failure)
        wire = {"content-type": answer.content_type, "x-Amzn-Invoked-Production-Variant": variant.name}
        return InvokeResult(_OK, wire, answer.body)

    @staticmethod
    def _headers(body: bytes, headers: Mapping[str, str]) -> tuple[str, str, str]:
        for unknown in _UNKNOWN_HEADERS:
            if headers.get(_HEADER + unknown):
                raise not_emulated(f"the header {_HEADER}{unknown}")
        if len(body) > _MAX_BODY:
            raise ApiError("413", f"HTTP content length exceeded {_MAX_BODY} bytes.", 413)
        inference_id, attributes = (headers.get(_HEADER + key, "") for key in ("inference-id", "custom-attributes"))
        if len(inference_id) > _MAX_ID:
            raise ApiError("ValidationError", f"InferenceId {inference_id!r} is longer than {_MAX_ID} characters")
        if len(attributes) > _MAX_ATTRIBUTES:
            raise ApiError("ValidationError", f"CustomAttributes are longer than {_MAX_ATTRIBUTES} characters")
        return headers.get(_HEADER + "target-variant", ""), inference_id, attributes

    def _route(self, endpoint: Endpoint, target: str) -> tuple[Fleet, Variant]:
        fleet = endpoint.fleet
        if endpoint.deployment and self._world.rng.random() < endpoint.deployment.share:
            fleet = endpoint.deployment.fleet
        if fleet is None:
            raise ApiError("ValidationError", f"Endpoint {endpoint.name} of account {self._world.account} not found.")
        if target:
            if target not in fleet.variants:
                raise ApiError("ValidationError", f"Variant {target} not found for endpoint {endpoint.name}.")
            return fleet, fleet.variants[target]
        variants = list(fleet.variants.values())
        weights = [variant.weight for variant in variants]
        if not any(weights):
            raise ApiError("ValidationError", f"All variants of endpoint {endpoint.name} have weight 0.")
        return fleet, self._world.rng.choices(variants, weights)[0]

    def _release(self, variant: Variant) -> None:
        variant.in_flight -= 1
        if variant.retired and variant.in_flight == 0 and variant.server and not self._world.closed:
            self._world.clock.call_later(0.0, variant.server.close)

    def _measure(self, name: str, fleet: Fleet, variant: Variant, answer: Answer, overhead: float) -> None:
        client = _CLIENT_ERROR <= answer.status < _SERVER_ERROR
        bad = not _OK <= answer.status < _OK + 100
        own = {"EndpointName": name, "VariantName": variant.name}
        for dimensions in (own, own | {"EndpointConfigName": fleet.config_name}):
            for metric, value, unit in (
                ("Invocations", 1.0, "None"),
                ("InvocationsPerInstance", 1.0 / max(1, variant.count), "None"),
                ("Invocation4XXErrors", float(client), "None"),
                ("Invocation5XXErrors", float(bad and not client), "None"),
                ("InvocationModelErrors", float(bad), "None"),
                ("ModelLatency", answer.seconds * 1e6, "Microseconds"),
                ("OverheadLatency", overhead * 1e6, "Microseconds"),
            ):
                self._world.metric("AWS/SageMaker", metric, value, unit, dimensions)

    def _model_error(self, name: str, answer: Answer, failure: str) -> ApiError:
        side = "client" if _CLIENT_ERROR <= answer.status < _SERVER_ERROR else "server"
        text = failure or answer.body[:1024].decode(errors="replace")
        region, account, group = self._world.region, self._world.account, f"/aws/sagemaker/Endpoints/{name}"
        return ApiError(
            "ModelError",
            f'Received {side} error ({answer.status}) from primary with message "{text}". '
            f"See the log group {group} in account {account} for more information.",
            424,
            OriginalStatusCode=answer.status,
            OriginalMessage=text,
            LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
        )

    def close(self) -> None:
        """Write the captured records that are still buffered."""
        self._capture.flush()
