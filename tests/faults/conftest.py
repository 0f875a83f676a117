"""The stack behind microburst, a proxy that speaks AWS's protocols and answers, cuts or drops as rules tell it to.

Clients, functions, jobs and the machines' own calls of SageMaker go through it. What it did is in its own log.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.demo import RATE, ROOT, STACK
from local.stack import Stack
from local.story import PARAMETERS

Rule = dict[str, Any]


class Proxy:
    """A running proxy and the stack behind it, which a client reaches through it."""

    def __init__(self, endpoint: str, stack: Stack) -> None:
        self._control = f"{endpoint}/_microburst"
        self.stack = replace(stack, endpoint=endpoint, process=None)

    def befall(self, rules: Sequence[Rule]) -> None:
        """Replace the rules: each is a fault, the calls that it befalls and how often it does."""
        self._ask("POST", "rules", json.dumps(rules).encode())

    def faults(self) -> Counter[tuple[str, str]]:
        """Return how often each fault befell each operation (`dynamodb PutItem`), from the proxy's own log."""
        fired = json.loads(self._ask("GET", "fired?limit=2000"))
        return Counter((f"{one['service']} {one['operation']}", one["action"]) for one in fired)

    def answers(self) -> bool:
        """Say whether the proxy serves."""
        try:
            self._ask("GET", "health")
        except urllib.error.URLError:
            return False
        return True

    def _ask(self, method: str, what: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self._control}/{what}", body, method=method)  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return bytes(answer.read())


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Start the stack, the proxy in front of it, and deploy the template through both, as yet without faults."""
    folder: Path = tmp_path_factory.mktemp("faults")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    front = f"http://127.0.0.1:{port}"
    with (
        Stack.start(rate=RATE, state=folder / "stack.json", front=front) as stack,
        (folder / "proxy.log").open("wb") as log,
    ):
        command = [
            sys.executable,
            Path(__file__).with_name("proxy.py"),
            "--upstream",
            stack.endpoint,
            "--port",
            str(port),
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            found = Proxy(front, stack)
            until = time.monotonic() + 60
            while not found.answers():
                assert process.poll() is None, (folder / "proxy.log").read_text()
                assert time.monotonic() < until, "the proxy does not answer"
                time.sleep(0.1)
            found.stack.deploy(ROOT / "template.yaml", STACK, PARAMETERS)
            yield found
        finally:
            process.kill()  # told to end it would wait for its callers' open connections
            process.wait()
