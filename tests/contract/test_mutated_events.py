"""Every listener under thousands of events that are nearly right: handled or quarantined with a reason, never a crash (F6)."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from linnet.decisions import names
from linnet.gateways import ledger, s3
from tests.contract.onboarding_world import CONTEXT, ROOT, account, handler, sample
from tests.contract.test_intake import MODEL, furnish

LISTENERS = (
    "on_signal", "on_spec", "on_package_status", "on_workflow_ended", "on_finding", "reconcile_models", "decide_candidate",
)  # fmt: skip
EXAMPLES = -(-100_000 // len(LISTENERS)) if os.environ.get("LINNET_NIGHTLY") else 200
ACCOUNT_LASTS = 200
"""So many events meet one account: they meet what earlier ones left, and an account that only grows would be slow."""
RECORD_BYTES = 1024 * 1024
SAMPLES = {
    name: [
        path.stem
        for path in sorted((ROOT / "events").glob(f"{name}*.json"))
        if "detail-type" in json.loads(path.read_text())
    ]
    for name in LISTENERS
}
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=10**18), st.floats(), st.text(max_size=30),
    st.sampled_from(["", " ", "\x00", "\ud800", "../..", "raw-data/", "linnet-", "2026-02-30T00:00:00Z", "0", "-1", "null"]),
    st.sampled_from(["é" * 300, "x" * 3_000]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, child in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(child, (dict, list)):
            yield from _places(child)


@st.composite
def _mutated(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Return a sample of a listener's events of which one to three places are replaced or gone."""
    event = sample(draw(st.sampled_from(SAMPLES[name])))
    if name == "decide_candidate":
        event["detail"]["decision"] = draw(st.sampled_from(["approve", "reject"]))
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in _places(event) if place[1] != "detail-type" or name != "decide_candidate"]
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        if draw(st.booleans()):
            holder[key] = draw(ODD)
        else:
            del holder[key]
    return event


@contextmanager
def _furnished() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, account(patch) as world:
        furnish(world, patch)
        yield


def _ask() -> None:
    """Have the decision that the samples name wait for a person, whoever answered it before."""
    asked = sample("decide_candidate.event")["detail"]["decision_id"]
    row = {
        "decision_id": asked, "state": "OPEN", "kind": "retraining", "model": MODEL, "about": "a test", "token": "",
        "applied": False, "at": "2026-01-31T12:00:00Z", "expires_at": "2026-02-03T12:00:00Z", "correlation_id": "a test",
    }  # fmt: skip
    ledger.remove(f"decision/{asked}", "decision")
    ledger.put_once(f"decision/{asked}", "decision", row)


@pytest.mark.parametrize("name", LISTENERS)
def test_f6_a_mutated_event_is_handled_or_quarantined_with_a_reason_and_never_raises(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    took: Counter[str] = Counter()
    different: set[str] = set()

    @examples(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 200)
    @given(event=_mutated(name))
    def wake(event: dict[str, Any]) -> None:
        if took.total() % ACCOUNT_LASTS == 0:
            stack.close()
            stack.enter_context(_furnished())
        if name == "decide_candidate":
            _ask()
        different.add(names.digest(json.dumps(event, sort_keys=True)))
        answer = handler(name)(event, CONTEXT)

        assert isinstance(answer, dict)
        if "quarantined" in answer:
            record = json.loads(s3.read(str(answer["quarantined"]), limit=RECORD_BYTES))
            assert record["field"]
            assert record["allowed"]
        took["quarantined" if "quarantined" in answer else "handled"] += 1

    with ExitStack() as stack:
        wake()

    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {took.total()} events, {len(different)} of them different; {dict(took)}\n")
        sys.stdout.flush()
    assert took.total() >= EXAMPLES
    assert took["quarantined"]
    assert took["handled"]


@pytest.mark.parametrize(
    ("name", "place", "value", "field"),
    [
        ("on_spec.deleted", ("detail", "bucket", "name"), "", "bucket"),
        ("on_signal", ("detail", "bucket", "name"), "", "bucket"),
        ("on_signal.quality", ("detail", "state", "reason"), "half a character: \ud800", "event"),
        ("decide_candidate.event", ("time",), "yesterday", "time"),
    ],
)
def test_f6_what_long_runs_have_found_is_quarantined_with_its_field(
    name: str, place: tuple[str, ...], value: str, field: str
) -> None:
    event = sample(name)
    reduce(lambda node, key: node[key], place[:-1], event)[place[-1]] = value
    with _furnished():
        _ask()
        answer = handler(name.partition(".")[0])(event, CONTEXT)
        record = s3.read(str(answer["quarantined"]), limit=RECORD_BYTES)

    assert json.loads(record)["field"] == field
