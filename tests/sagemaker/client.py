"""Real boto3 clients that end in a SageMaker object instead of a socket.

Everything of botocore runs: validation, serialisation, retries, parsing of errors and times, waiters, paginators and
its event hooks, so that a crash or a lost answer can be injected before and after any call (practice.md B9).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.config import Config

from local.sagemaker.core import ApiError, SageMaker


def client(sagemaker: SageMaker, service: str = "sagemaker") -> Any:
    """Return a boto3 client of `sagemaker` or `sagemaker-runtime` for this object."""
    made = boto3.client(
        service,  # type: ignore[call-overload]
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        status, headers, body = _answer(sagemaker, request)
        return AWSResponse(request.url, status, HeadersDict(headers), _Body(body))  # type: ignore[arg-type]

    made.meta.events.register("before-send", answer)
    return made


def _answer(sagemaker: SageMaker, request: AWSPreparedRequest) -> tuple[int, dict[str, str], bytes]:
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    body = request.body.encode() if isinstance(request.body, str) else bytes(request.body or b"")  # type: ignore[arg-type]
    try:
        if invocation := re.fullmatch(r"/endpoints/([^/]+)/invocations", urlsplit(request.url).path):
            result = sagemaker.invoke_endpoint(unquote(invocation[1]), body, headers)
            return result.status, result.headers, result.body
        operation = headers["x-amz-target"].removeprefix("SageMaker.")
        return 200, {}, json.dumps(sagemaker.call(operation, json.loads(body))).encode()
    except ApiError as error:
        document = {"__type": error.code, "message": error.message, "Message": error.message, **error.fields}
        return error.status, {"x-amzn-errortype": error.code}, json.dumps(document).encode()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Body(io.BytesIO):
    """A response body as urllib3 offers it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """Yield what is there."""
        while chunk := self.read(65536):
            yield chunk
