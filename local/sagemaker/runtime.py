"""sagemaker-runtime: InvokeEndpoint with its routing, metrics and data capture."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from local.sagemaker.api import ApiError, not_emulated
from local.sagemaker.capture import Capture, Exchange
from local.sagemaker.endpoints import Endpoint, Endpoints
from local.sagemaker.fleet import Fleet, Variant
from local.sagemaker.ports import Answer, ModelServer
from local.sagemaker.world import World

_LOG = logging.getLogger(__name__)
_MAX_BODY = 6 * 1024 * 1024
_MAX_ID, _MAX_ATTRIBUTES = 64, 1024
_LANES, _MOST_COPIES = 4, 100
"""How many copies a shadow variant answers at a time, and how many may wait; a further one is dropped."""
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


@dataclass(frozen=True)
class _Request:
    endpoint: str
    body: bytes
    content_type: str
    accept: str
    inference_id: str
    custom_attributes: str
    event_id: str


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
        content_type, accept = headers.get("content-type", "application/octet-stream"), headers.get("accept", "*/*")
        target, inference_id, attributes = self._headers(body, headers)
        with self._world.locked():
            endpoint = self._endpoints.serving(name)
            fleet, variant = self._route(endpoint, target)
            server = variant.server
            if server is None:
                raise ApiError("ServiceUnavailable", f"Variant {variant.name} of endpoint {name} has no instance", 503)
            variant.in_flight += 1
            event_id = self._capture.draw(fleet.capture)
            request = _Request(name, body, content_type, accept, inference_id, attributes, event_id)
            self._mirror(request, fleet)
        try:
            answer, failure = self._ask(request, fleet, variant, server, started)
        finally:
            with self._world.locked():
                self._release(variant)
        if not _OK <= answer.status < _OK + 100:
            raise self._model_error(name, answer, failure)
        wire = {"content-type": answer.content_type, "x-Amzn-Invoked-Production-Variant": variant.name}
        return InvokeResult(_OK, wire, answer.body)

    def _ask(
        self, request: _Request, fleet: Fleet, variant: Variant, server: ModelServer, started: float
    ) -> tuple[Answer, str]:
        """Return a variant's answer and, without one, why; it is measured and captured."""
        asked, failure = time.perf_counter(), ""
        try:
            answer = server.invoke(request.body, request.content_type, request.accept)
        except TimeoutError:
            failure = "Your invocation timed out while waiting for a response from container primary."
            answer = Answer(0, "", failure.encode(), time.perf_counter() - asked)
        except ConnectionError as error:
            failure = f"The container primary closed the connection: {error}"
            answer = Answer(0, "", failure.encode(), time.perf_counter() - asked)
        overhead = max(0.0, time.perf_counter() - started - answer.seconds)
        exchange = Exchange(
            request.endpoint,
            variant.name,
            request.body,
            request.content_type,
            answer.body if _OK <= answer.status < _OK + 100 else None,
            answer.content_type,
            request.inference_id,
            request.custom_attributes,
            request.event_id,
            variant.shadow,
        )
        with self._world.locked():
            self._measure(request.endpoint, fleet, variant, answer, overhead)
            self._capture.record(fleet.capture, exchange)
        return answer, failure

    def _mirror(self, request: _Request, fleet: Fleet) -> None:
        """Leave a copy for the shadow variant, for as large a part of the requests as its weight is of production's.

        Nobody waits for its answer: it is asked in the background, and a copy too many is dropped.
        """
        shadow = fleet.shadow
        if shadow is None or shadow.server is None or len(shadow.copies) >= _MOST_COPIES:
            return
        if self._world.rng.random() * sum(variant.weight for variant in fleet.production.values()) >= shadow.weight:
            return
        server = shadow.server
        shadow.copies.append(lambda: self._ask(request, fleet, shadow, server, time.perf_counter()))
        if shadow.in_flight < _LANES:
            shadow.in_flight += 1
            self._world.clock.call_later(0.0, lambda: self._answer_copies(shadow))

    def _answer_copies(self, shadow: Variant) -> None:
        """Ask a shadow variant until no copy waits; those that still wait when its fleet retires are dropped."""
        while True:
            with self._world.locked():
                if shadow.retired or self._world.closed:
                    shadow.copies.clear()
                if not shadow.copies:
                    self._release(shadow)
                    return
                ask = shadow.copies.popleft()
            try:
                ask()
            except Exception:  # a shadow's trouble is nobody's
                _LOG.exception("the shadow variant %s could not be asked", shadow.name)

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
            if target not in fleet.production:
                raise ApiError("ValidationError", f"Variant {target} not found for endpoint {endpoint.name}.")
            return fleet, fleet.production[target]
        variants = list(fleet.production.values())
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
