"""The story by boto3: `python story_boto3.py CASE REPORT`."""

from __future__ import annotations

import functools
import json
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError
from story import CSV, SHORT, Story, tell


class Boto3:
    """boto3 as it comes: endpoint, region and credentials are those of the environment."""

    @functools.cache  # noqa: B019 - one client lives as long as the program
    def _client(self, service: str) -> Any:
        make: Any = boto3.client
        return make(service)

    def call(self, service: str, operation: str, **params: Any) -> Any:
        """Return an operation's answer."""
        return getattr(self._client(service), operation)(**params)

    def refused(self, service: str, operation: str, **params: Any) -> tuple[str, str]:
        """Return the error code and the words of an operation that must fail."""
        if operation == "invoke_endpoint":
            params["Body"] = b"1"
        try:
            answer = self.call(service, operation, **params)
        except ClientError as error:
            return str(error.response["Error"]["Code"]), str(error.response["Error"]["Message"])
        raise AssertionError(f"{service} {operation} answered {answer}")

    def pages(self, operation: str, **params: Any) -> list[Any]:
        """Return what all pages have."""
        pages = self._client("sagemaker").get_paginator(operation).paginate(**params)
        return [found for page in pages for value in page.values() if isinstance(value, list) for found in value]

    def waits_in_vain(self, waiter: str, **params: Any) -> bool:
        """Say whether the waiter gives up."""
        try:
            self.wait(waiter, **params)
        except WaiterError as error:
            return "terminal failure" in str(error)
        return False

    def wait(self, waiter: str, **params: Any) -> None:
        """Let the waiter look once."""
        self._client("sagemaker").get_waiter(waiter).wait(WaiterConfig=SHORT, **params)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object."""
        self.call("s3", "put_object", Bucket=bucket, Key=key, Body=body)

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        return bytes(self.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read())

    def run(self, function: str, payload: Any) -> Any:
        """Invoke a Lambda function."""
        return json.load(self.call("lambda", "invoke", FunctionName=function, Payload=json.dumps(payload))["Payload"])

    def ask(self, endpoint: str, body: bytes) -> tuple[str, str]:
        """Invoke an endpoint."""
        answer = self.call(
            "sagemaker-runtime", "invoke_endpoint", EndpointName=endpoint, Body=body, ContentType=CSV, Accept=CSV
        )
        return answer["InvokedProductionVariant"], answer["Body"].read().decode()


tell(*Story(Boto3()).chapters())
