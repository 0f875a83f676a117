"""The real template, machines and handlers on the local stack, waiting x120; one stack serves all tests of this folder."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.demo import Story
from local.stack import Stack
from models.flights import data as flights

ROOT = Path(__file__).parents[2]
NEVER = "rate(365 days)"
"""The schedule of what tests invoke themselves: every few minutes is every two seconds here."""
SELDOM = "rate(2 hours)"
"""Every minute: a pass over all the models that these tests leave takes longer than 15 minutes last here, and passes that
overlap leave no sandbox to the steps of the runs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what judges the calls of all tests of this folder run after them."""
    items.sort(key=lambda item: item.path == ROOT / "tests" / "workflow" / "test_permissions.py")


class World(Story):
    """A deployed stack with shorthands for what tests do to it."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.stack = stack
        self.out = stack.outputs("linnet")
        self.connect()
        self.subscribe()

    def onboard(self, model: str, **changes: Any) -> dict[str, Any]:
        """Put a spec of the flights kind under another name and return the ended onboarding."""
        known = self.known("onboard")
        written = flights.spec() | {"model": model}
        written["retraining"] = {"cooldown_seconds": 0, "daily_limit": 50}
        for part, fields in changes.items():
            written[part] = {**written.get(part, {}), **fields}
        self.put(f"specs/{model}.yaml", json.dumps(written))
        return self.execution("onboard", known, model=model)

    def batch(self, model: str, name: str, files: dict[str, bytes]) -> None:
        """Upload a batch, its manifest last."""
        for file in sorted(files, key=lambda n: n == "_MANIFEST.json"):
            self.put(f"raw-data/{model}/{name}/{file}", files[file])

    def start(self, machine: str, given: dict[str, Any], name: str = "") -> dict[str, Any]:
        """Start a machine as a person does in the console and return its end."""
        arn = self.out[f"{machine.capitalize()}MachineArn"]
        more = {"name": name} if name else {}
        started = self.stepfunctions.start_execution(stateMachineArn=arn, input=json.dumps(given), **more)
        return self.follow(started["executionArn"])

    def row(self, pk: str, sk: str) -> dict[str, Any] | None:
        """Return one row of the ledger."""
        return next((r for r in self.rows(pk, sk) if r["sk"] == sk), None)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start a stack, deploy the template, end it with the session."""
    state = tmp_path_factory.mktemp("workflow") / "stack.json"
    with Stack.start(rate=120, state=state, permissions=True) as stack:
        schedules = {"MonitorSchedule": NEVER, "WatchSchedule": NEVER, "ReconcileSchedule": SELDOM}
        stack.deploy(ROOT / "template.yaml", "linnet", schedules)
        yield World(stack)
