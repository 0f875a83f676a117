"""Data capture: what came in and went out of an endpoint, as JSON lines in S3."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.sagemaker.world import World, iso

_FULL = 100
"""Records in an object; fewer when the buffering time is over first."""


@dataclass
class _Buffer:
    name: str
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Exchange:
    """One request and, when the model answered well, its answer."""

    endpoint: str
    variant: str
    request: bytes
    request_type: str
    answer: bytes | None
    answer_type: str
    inference_id: str
    custom_attributes: str
    event_id: str
    """From `Capture.draw`; production and shadow variant record the same one."""
    shadow: bool = False


class Capture:
    """Buffers captured records and writes `<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<name>.jsonl`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buffers: dict[str, _Buffer] = {}

    def draw(self, config: Mapping[str, Any] | None) -> str:
        """Return the eventId of a new request, or nothing when it is not to be captured: off, or not sampled."""
        if not config or not config.get("EnableCapture"):
            return ""
        sampled = self._world.rng.random() * 100 < config["InitialSamplingPercentage"]
        return self._world.identifier() if sampled else ""

    def record(self, config: Mapping[str, Any] | None, exchange: Exchange) -> None:
        """Capture an exchange whose request was drawn; the hour is the answer's in UTC."""
        if not config or not exchange.event_id:
            return
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        data: dict[str, Any] = {}
        if modes & {"Input", "InputAndOutput"}:
            data["endpointInput"] = _side("INPUT", exchange.request, exchange.request_type, config)
        if exchange.answer is not None and modes & {"Output", "InputAndOutput"}:
            data["endpointOutput"] = _side("OUTPUT", exchange.answer, exchange.answer_type, config)
        if data:
            self._append(config["DestinationS3Uri"].rstrip("/"), exchange, data)

    def _append(self, destination: str, exchange: Exchange, data: dict[str, Any]) -> None:
        now = self._world.now()
        at = datetime.fromtimestamp(now, UTC)
        metadata: dict[str, Any] = {"eventId": exchange.event_id}
        if exchange.shadow:
            metadata["invocationSource"] = "ShadowExperiment"
        if exchange.inference_id:
            metadata["inferenceId"] = exchange.inference_id
        if exchange.custom_attributes:
            metadata["customAttributes"] = [exchange.custom_attributes]
        metadata["inferenceTime"] = iso(now)
        prefix = f"{destination}/{exchange.endpoint}/{exchange.variant}/{at:%Y/%m/%d/%H}"
        buffer = self._buffers.get(prefix)
        if buffer is None:
            name = f"{at:%M-%S}-{at.microsecond // 1000:03d}-{self._world.identifier()}.jsonl"
            buffer = self._buffers[prefix] = _Buffer(name)
            self._world.later(self._world.timings.poll, lambda: self._flush(prefix, buffer))
        buffer.lines.append(json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}))
        if len(buffer.lines) >= _FULL:
            self._flush(prefix, buffer)

    def _flush(self, prefix: str, buffer: _Buffer) -> None:
        if self._buffers.get(prefix) is buffer:
            del self._buffers[prefix]
            self._world.put(f"{prefix}/{buffer.name}", "".join(f"{line}\n" for line in buffer.lines).encode())

    def flush(self) -> None:
        """Write all that is buffered."""
        for prefix, buffer in list(self._buffers.items()):
            self._flush(prefix, buffer)


def _side(mode: str, body: bytes, content_type: str, config: Mapping[str, Any]) -> dict[str, str]:
    kinds = config.get("CaptureContentTypeHeader", {})
    plain = content_type.partition(";")[0].strip().lower()
    encoding = "BASE64"
    if plain in [kind.lower() for kind in kinds.get("CsvContentTypes", ())]:
        encoding = "CSV"
    elif plain in [kind.lower() for kind in kinds.get("JsonContentTypes", ())]:
        encoding = "JSON"
    try:
        data = body.decode() if encoding != "BASE64" else base64.b64encode(body).decode()
    except UnicodeDecodeError:
        encoding, data = "BASE64", base64.b64encode(body).decode()
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
