"""The story by the AWS CLI beside this interpreter: `python story_awscli.py CASE REPORT`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from story import CSV, Story, tell

AWS = Path(sys.executable).parent / "aws"
COMMANDS = {"s3": "s3api"}


class AwsCli:
    """One process of `aws` for every operation."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "body"

    def _aws(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        # Version 1 sends SQS of the old regions to a host of its own, whatever AWS_ENDPOINT_URL says (aws-cli#8737).
        endpoint = ["--endpoint-url", os.environ["AWS_ENDPOINT_URL"]] if service == "sqs" else []
        command = [sys.executable, str(AWS), *endpoint, COMMANDS.get(service, service), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _done(self, service: str, *words: str) -> Any:
        done = self._aws(service, *words)
        if done.returncode:
            raise RuntimeError(f"aws {service} {words}: {done.stderr}")
        return json.loads(done.stdout or "null")

    @staticmethod
    def _words(operation: str, params: dict[str, Any]) -> list[str]:
        return [operation.replace("_", "-"), "--cli-input-json", json.dumps(params)]

    def call(self, service: str, operation: str, **params: Any) -> Any:
        """Return an operation's answer."""
        return self._done(service, *self._words(operation, params))

    def refused(self, service: str, operation: str, **params: Any) -> str:
        """Return the error code of an operation that must fail."""
        words = self._words(operation, params)
        if operation == "invoke_endpoint":
            words = self._asking(params["EndpointName"], b"1")
        done = self._aws(service, *words)
        code = re.search(r"An error occurred \(([^)]+)\) when calling the ", done.stderr)
        if code is None:
            raise AssertionError(f"{service} {operation} answered {done.stdout}{done.stderr}")
        return code[1]

    def wait(self, waiter: str, **params: Any) -> None:
        """Let the waiter look; it looks at once and then every half minute."""
        flags = [
            word for key, value in params.items() for word in ("-" + re.sub("([A-Z])", r"-\1", key).lower(), value)
        ]
        self._done("sagemaker", "wait", waiter.replace("_", "-"), *flags)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object."""
        self._file.write_bytes(body)
        self._done("s3", "put-object", "--bucket", bucket, "--key", key, "--body", str(self._file))

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        self._done("s3", "get-object", "--bucket", bucket, "--key", key, str(self._file))
        return self._file.read_bytes()

    def run(self, function: str, payload: Any) -> Any:
        """Invoke a Lambda function."""
        self._done("lambda", "invoke", "--function-name", function, "--payload", json.dumps(payload), str(self._file))
        return json.loads(self._file.read_bytes())

    def _asking(self, endpoint: str, body: bytes) -> list[str]:
        self._file.write_bytes(body)
        words = ["invoke-endpoint", "--endpoint-name", endpoint, "--content-type", CSV, "--accept", CSV]
        return [*words, "--body", f"fileb://{self._file}", f"{self._file}.out"]

    def ask(self, endpoint: str, body: bytes) -> tuple[str, str]:
        """Invoke an endpoint."""
        answer = self._done("sagemaker-runtime", *self._asking(endpoint, body))
        return answer["InvokedProductionVariant"], Path(f"{self._file}.out").read_text(encoding="utf-8")


with tempfile.TemporaryDirectory() as found:
    tell(*Story(AwsCli(Path(found))).chapters())
