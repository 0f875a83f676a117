"""The local stack as its users see it: start it, deploy a template into it, talk to it, stop it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import botocore.exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from local.clock import WallClock
from local.packaging import package, to_json

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "build" / "stack.json"
REGION = "us-east-1"
ARTIFACTS = "linnet-local-artifacts"
CALLS, RESOURCES = "calls.jsonl", "resources.json"
"""Beside a stack's state file: the kinds of calls that its roles made, and logical -> physical ids of what was deployed."""
_START_SECONDS = 60.0
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")


class DeployError(RuntimeError):
    """CloudFormation refused or rolled back; the message holds the reasons of all failed resources."""


@dataclass
class Stack:
    """A running local stack: an emulator process of its own on a loopback port."""

    endpoint: str
    clock: WallClock
    pid: int
    state: Path
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, *, rate: float = 60.0, port: int = 0, state: Path = STATE, attached: bool = True, pristine: bool = False,
        permissions: bool = False, front: str = "", also: str = "",
    ) -> Stack:  # fmt: skip
        """Start a stack and return when it answers.

        `rate` is how much faster deliberate waiting and timestamps run (1 is real time). An attached stack ends with
        this process. A pristine one is the emulator as published, for tests of what it lacks. With `permissions` it
        evaluates IAM and writes each kind of call of a role to `calls`. `front` is the address of what stands in front of
        the stack (a proxy): functions, jobs and workflows call SageMaker and all else there. It listens on loopback, and on
        the address `also` where one is given, at the same port: containers reach it at the Docker bridge's.

        Raises:
            RuntimeError: when the process ends or does not answer within 60 seconds; holds the end of its log.
        """
        state.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "local.server",
            "--rate",
            str(rate),
            "--port",
            str(port),
            "--state",
            str(state),
        ]
        command += ["--attached"] * attached + ["--pristine"] * pristine + (["--also", also] if also else [])
        command += ["--calls", str(state.with_name(CALLS))] * permissions
        # A Lambda sandbox inherits this environment: nothing of the caller's shell may reach handlers.
        environment = {key: os.environ[key] for key in _INHERITED if key in os.environ} | _CREDENTIALS
        environment |= {"AWS_ENDPOINT_URL": front} if front else {}
        log = state.with_suffix(".log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
                stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            found = cls.running(state)
            if found and found.pid == process.pid:
                if attached:
                    found.process = process
                else:
                    process.returncode = 0  # it outlives us on purpose, which Popen would warn of
                return found
            time.sleep(0.02)
        _end(process)
        words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        message = f"the local stack did not start; {log} ends with:\n{words}"
        raise RuntimeError(message)

    @classmethod
    def running(cls, state: Path = STATE) -> Stack | None:
        """Return the stack whose process holds the lock on the state file; None when there is none."""
        try:
            with state.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found = json.loads(file.read() or b"null")
                else:
                    return None
        except FileNotFoundError:
            return None
        if found is None:  # locked, but not yet serving
            return None
        return cls(found["endpoint"], WallClock(found["rate"], found["origin"]), found["pid"], state)

    def __enter__(self) -> Self:
        """Return the stack itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the stack."""
        self.stop()

    def stop(self) -> None:
        """End the stack's process and its workers; does nothing when it has ended."""
        if self.process is not None:
            _end(self.process)
            return
        current = self.running(self.state)
        if current is None or current.pid != self.pid:
            return
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while self.running(self.state) is not None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                deadline += 15
            time.sleep(0.05)
        self.state.unlink(missing_ok=True)

    def client(self, service: str, **settings: Any) -> Any:
        """Return a boto3 client of this stack. `settings` go into botocore's Config."""
        make: Any = boto3.client  # the stubs know services by literal names only
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the emulator asks for some value
            config=Config(inject_host_prefix=False, max_pool_connections=50, **settings),
        )

    def trouble(self, what: str, **arguments: Any) -> str:
        """Let something happen that only fate does on AWS; return an empty text, or why it cannot happen.

        `interrupt_training_job(name=)` takes a spot instance away, `fail_next_rollback(endpoint=)` and
        `system_update(endpoint=, seconds=)` befall an endpoint; `refuse_calls(operation=, code=, times=)` a busy account,
        `lose_answers(operation=, times=)` its network.
        """
        headers = {"x-amz-target": f"SageMaker.Local:{what}", "content-type": "application/x-amz-json-1.1"}
        body = json.dumps(arguments).encode()
        signed = AWSRequest("POST", self.endpoint, headers, body)
        SigV4Auth(Credentials("test", "test"), "sagemaker", REGION).add_auth(signed)
        request = urllib.request.Request(self.endpoint, body, dict(signed.headers))  # noqa: S310 - http
        try:
            urllib.request.urlopen(request, timeout=30).read()  # noqa: S310 - loopback # nosec B310
        except urllib.error.HTTPError as error:
            return str(json.loads(error.read())["message"])
        return ""

    def deploy(self, template: Path, name: str, parameters: dict[str, str] | None = None) -> None:
        """Create or update the CloudFormation stack `name` from a SAM template on disk, and wait until it is complete.

        Raises:
            DeployError: when CloudFormation refuses the template or a resource fails.
        """
        s3, cloudformation = self.client("s3"), self.client("cloudformation")
        s3.create_bucket(Bucket=ARTIFACTS)

        def put(key: str, body: bytes) -> str:
            s3.put_object(Bucket=ARTIFACTS, Key=key, Body=body)
            return f"s3://{ARTIFACTS}/{key}"

        put(f"{name}.template", to_json(package(template, put)).encode())
        request = {
            "StackName": name,
            "TemplateURL": f"{self.endpoint}/{ARTIFACTS}/{name}.template",
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in (parameters or {}).items()],
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        try:
            if self._status(name) is None:
                cloudformation.create_stack(**request)
            else:
                cloudformation.update_stack(**request)
        except botocore.exceptions.ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise DeployError(f"{name}: {error}") from error
        while (status := self._status(name) or "").endswith("_IN_PROGRESS"):
            time.sleep(0.1)
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
            failed = [
                f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
                for event in events
                if event["ResourceStatus"].endswith("_FAILED")
            ]
            raise DeployError(f"{name}: {status}\n" + "\n".join(failed))
        found = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}
        self.state.with_name(RESOURCES).write_text(to_json(ids))

    def outputs(self, name: str) -> dict[str, str]:
        """Return the outputs of the CloudFormation stack `name`."""
        stack = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def _status(self, name: str) -> str | None:
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except botocore.exceptions.ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        status = str(stacks[0]["StackStatus"])
        return None if status == "DELETE_COMPLETE" else status


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
