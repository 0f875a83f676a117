"""Every listener under thousands of events that are nearly right: handled or quarantined with a reason, never a crash (F6)."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from linnet.gateways.clients import client
from tests.contract.onboarding_world import BUCKET, CONTEXT, ROOT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import intake  # noqa: F401 - a fixture

LISTENERS = ("on_signal", "on_spec", "on_package_status", "on_workflow_ended", "reconcile_models", "decide_candidate")
EXAMPLES = -(-100_000 // len(LISTENERS)) if os.environ.get("LINNET_NIGHTLY") else 200
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
    st.sampled_from(["", " ", "\x00", "../..", "raw-data/", "linnet-", "2026-02-30T00:00:00Z", "0", "-1", "null", "é" * 300]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, child in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(child, (dict, list)):
            yield from _places(child)


@pytest.mark.parametrize("name", LISTENERS)
@examples(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 200)
@given(data=st.data())
def test_f6_a_mutated_event_is_handled_or_quarantined_with_a_reason_and_never_raises(
    intake: World, name: str, data: Any
) -> None:
    event = copy.deepcopy(sample(data.draw(st.sampled_from(SAMPLES[name]))))
    for _ in range(data.draw(st.integers(1, 3))):
        places = [place for place in _places(event) if place[1] != "detail-type" or name != "decide_candidate"]
        if not places:
            break
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        if data.draw(st.booleans()):
            holder[key] = data.draw(ODD)
        else:
            del holder[key]
    answer = handler(name)(event, CONTEXT)

    assert isinstance(answer, dict)
    if "quarantined" in answer:
        key = str(answer["quarantined"]).removeprefix(f"s3://{BUCKET}/")
        record = json.loads(client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())
        assert record["field"]
        assert record["allowed"]
