"""Runs last in this folder: what its tests and the samples of events/ have made roles call, against the template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts import permissions
from scripts.needed import NEEDED
from tests.template.conftest import template  # noqa: F401 - a fixture
from tests.workflow.conftest import ROOT, World

MODEL = "sampled"
LISTENERS = ("OnSpec", "OnSignal", "OnFinding", "OnPackageStatus", "OnWorkflowEnded", "DecideCandidate")


@pytest.fixture(scope="module")
def judged(world: World, template: dict[str, Any]) -> tuple[set[permissions.Call], Any, Any]:
    """Return the calls, those that no grant allows, and the grants that allowed one."""
    folder = world.stack.state.parent
    ids = json.loads((folder / "resources.json").read_text())
    _play_samples(world, ids)
    seen = permissions.calls(folder, ids)
    return seen, *permissions.exercised(template, seen, ids)


def _play_samples(world: World, ids: dict[str, str]) -> None:
    """Invoke every function with every sample of its events, whatever it answers: seldom roads have permissions too."""
    world.onboard(MODEL)
    functions = world.stack.client("lambda", read_timeout=300)
    for listener in LISTENERS:  # what can never be processed is kept
        answer = functions.invoke(
            FunctionName=ids[f"{listener}Function"], Payload=b'{"detail-type": "Wrong", "detail": 1}'
        )
        assert "quarantined" in json.loads(answer["Payload"].read()), listener
    for path in sorted((ROOT / "events").glob("*.json")):
        function = "".join(map(str.capitalize, path.name.partition(".")[0].split("_"))) + "Function"
        text = path.read_text().replace("123456789012", "000000000000").replace("flights", MODEL)
        if function in ids:
            functions.invoke(
                FunctionName=ids[function], Payload=text.replace("linnet-data", world.out["DataBucket"]).encode()
            )


def test_se_01_no_role_was_refused_what_it_needs(judged: Any) -> None:
    seen, refused, _ = judged

    assert seen
    assert [call for call in seen if not call.allowed] == []
    assert refused == []


def test_se_01_what_a_role_may_do_it_does_or_aws_asks_for_it(
    judged: Any, template: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    ran = {item.path for item in request.session.items}
    if request.config.option.keyword or not set(Path(__file__).parent.glob("test_*.py")) <= ran:
        pytest.skip("only the whole folder shows what is never called")
    _, _, used = judged
    found = [grant for grant in permissions.grants(template) if grant.effect == "Allow"]
    reasons = permissions.explained(found)

    assert [grant for grant in found if grant not in used and grant not in reasons] == []
    always = {need: {grant for grant, needs in reasons.items() if need in needs} for need in NEEDED}
    assert [need for need, explained in always.items() if explained <= used] == []  # needs no reason any more
