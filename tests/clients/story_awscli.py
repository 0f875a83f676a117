"""The story by the AWS CLI of this interpreter's environment: `python story_awscli.py CASE REPORT`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from awscli.clidriver import create_clidriver
from story import CSV, Story, tell

COMMANDS = {"s3": "s3api"}


class Done(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    stdout: str
    stderr: str


class AwsCli:
    """A driver of its own for every command, as the program `aws` makes one; a process each would double the time."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "body"

    def _aws(self, service: str, *words: str) -> Done:
        # Version 1 sends SQS of the old regions to a host of its own, whatever AWS_ENDPOINT_URL says (aws-cli#8737).
        endpoint = ["--endpoint-url", os.environ["AWS_ENDPOINT_URL"]] if service == "sqs" else []
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            status = create_clidriver().main([*endpoint, COMMANDS.get(service, service), *words])
        return Done(status, stdout.getvalue(), stderr.getvalue())

    def _done(self, service: str, *words: str) -> Any:
        done = self._aws(service, *words)
        if done.status:
            raise RuntimeError(f"aws {service} {words}: {done.stderr}")
        return json.loads(done.stdout or "null")

    @staticmethod
    def _words(operation: str, params: dict[str, Any]) -> list[str]:
        return [operation.replace("_", "-"), "--cli-input-json", json.dumps(params)]

    def call(self, service: str, operation: str, **params: Any) -> Any:
        """Return an operation's answer."""
        return self._done(service, *self._words(operation, params))

    def refused(self, service: str, operation: str, **params: Any) -> tuple[str, str]:
        """Return the error code and the words of an operation that must fail."""
        words = self._words(operation, params)
        if operation == "invoke_endpoint":
            words = self._asking(params["EndpointName"], b"1")
        done = self._aws(service, *words)
        said = re.search(
            r"An error occurred \(([^)]+)\) when calling the \w+ operation(?: \(.*?\))?: (.*)", done.stderr
        )
        if said is None:
            raise AssertionError(f"{service} {operation} answered {done.stdout}{done.stderr}")
        return said[1], said[2].strip()

    def pages(self, operation: str, **params: Any) -> list[Any]:
        """Return what all pages have."""
        answer = self.call("sagemaker", operation, **params)
        return [found for value in answer.values() for found in value]

    def waits_in_vain(self, waiter: str, **params: Any) -> bool:
        """Say whether the waiter gives up."""
        done = self._aws("sagemaker", "wait", waiter.replace("_", "-"), *self._flags(params))
        return bool(done.status) and "terminal failure" in done.stderr

    def wait(self, waiter: str, **params: Any) -> None:
        """Let the waiter look; it looks at once and then every half minute."""
        self._done("sagemaker", "wait", waiter.replace("_", "-"), *self._flags(params))

    @staticmethod
    def _flags(params: dict[str, str]) -> list[str]:
        return [word for key, value in params.items() for word in ("-" + re.sub("([A-Z])", r"-\1", key).lower(), value)]

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
