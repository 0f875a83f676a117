"""One question each way: endpoint to data and back, and the runs by metric, out of what the real handlers wrote (EX-03)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import lineage
from linnet.errors import BadInputError
from linnet.gateways import ledger
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import (
    MODEL,
    close,
    intake,  # noqa: F401 - a fixture
    put_batch,
    take,
    wake,
)

FILE = f"s3://{BUCKET}/raw-data/{MODEL}/2013-01/part-00001.csv"


def ask(**question: Any) -> dict[str, Any]:
    return dict(handler("trace_model")(question, CONTEXT))


@pytest.fixture
def served(intake: World) -> dict[str, Any]:
    """Return a run by a build's request whose candidate, version 1, was decided, released and serves."""
    wake(sample("on_signal.commit"))
    wake(put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0)))
    taken = take("e1")
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/linnet-flights/1"
    candidate = {
        "version": 1, "run": taken["run"], "package_arn": arn, "training_job": taken["training_job"], "metrics": {"auc": 0.93},
        "status": "Approved", "decided": "Approved",
        "decided_by": "ada@example.org", "decided_at": "2026-11-21T03:00:00Z", "decided_how": "person",
        "comment": "fits", "released": {"outcome": "promoted", "fence": 1, "at": "2026-11-21T04:00:00Z"},
    }  # fmt: skip
    ledger.put_once(f"model/{MODEL}", "candidate#000001", candidate)
    champion = {"version": 1, "package_arn": arn, "run": taken["run"], "config": "linnet-flights-v1-f1"}
    ledger.put_once(f"model/{MODEL}", "champion", champion)
    ledger.append(f"model/{MODEL}", "release", "2026-11-21T04:00:00Z", champion | {"outcome": "promoted"}, key="1")
    judged = {"run": taken["run"], "metric": "auc", "value": 0.93}
    ledger.append(f"model/{MODEL}", "judgement", "2026-11-21T02:30:00Z", judged, key=taken["run"])
    close(taken, "e1", "approved")
    return taken


def test_ex_03_from_an_endpoint_one_question_gives_package_job_data_commit_and_approver(served: dict[str, Any]) -> None:
    found = ask(endpoint="linnet-flights")

    assert found["candidate"]["package_arn"].endswith("/1")
    assert found["training_job"] == served["training_job"]
    assert found["approver"]["decided_by"] == "ada@example.org"
    assert found["commit"] == sample("on_signal.commit")["detail"]["commit"]
    ((listed,),) = [b["objects"] for b in found["data"]["batches"]]
    assert listed["uri"] == FILE
    assert listed["version"]
    assert {s["kind"] for s in found["signals"]} == {"code", "data"}


def test_ex_03_from_data_one_question_gives_the_endpoints_it_reached(served: dict[str, Any]) -> None:
    for question in (FILE, FILE.rpartition("/")[0] + "/"):
        found = ask(data=question)
        assert [b["batch"] for b in found["batches"]] == ["2013-01"]
        assert [r["run"] for r in found["runs"]] == [served["run"]]
        ((endpoint, version, serves),) = [(e["endpoint"], e["version"], e["serves"]) for e in found["endpoints"]]
        assert (endpoint, version, serves) == ("linnet-flights", 1, True)
    assert ask(data=FILE.replace("2013-01", "never"))["runs"] == []


def test_ex_04_runs_are_found_and_ranked_by_their_metric(intake: World, served: dict[str, Any]) -> None:
    assert [r["run"] for r in ask(model=MODEL, runs={"metric": "auc", "above": 0.9})["runs"]] == [served["run"]]
    assert ask(model=MODEL, runs={"metric": "auc", "above": 0.95})["runs"] == []
    assert ask(model=MODEL, runs={"state": "failed"})["found"] == 0


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "question"), ({"endpoint": "other-flights"}, "endpoint"), ({"model": "nobody"}, "model"),
        ({"data": "s3://elsewhere/raw-data/flights/b/x"}, "data"), ({"data": f"s3://{BUCKET}/models/x"}, "data"),
        ({"data": 7}, "uri"), ({"model": MODEL, "runs": []}, "runs"), ({"model": MODEL, "runs": {"about": 1}}, "runs.about"),
        ({"model": MODEL, "runs": {"above": "0.9"}}, "runs.above"), ({"model": MODEL, "runs": {"limit": 0}}, "runs.limit"),
        ({"model": MODEL, "runs": {"metric": ""}}, "runs.metric"), ({"model": MODEL, "at": "yesterday"}, "at"),
        ({"model": MODEL, "at": "2026-11-21"}, "at"), ({"model": MODEL, "runs": {"since": "last week"}}, "runs.since"),
        ({"model": MODEL, "runs": {"hyperparameter": {"eta": 0.3}}}, "runs.hyperparameter.eta"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_answered_names_its_field(
    served: dict[str, Any], question: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadInputError) as refused:
        ask(**question)
    assert refused.value.field == field


@given(st.lists(st.tuples(st.floats(0, 1) | st.none(), st.booleans()), max_size=30), st.floats(0, 1) | st.none())
def test_ex_04_the_best_comes_first_and_what_has_no_metric_last(
    found: list[tuple[float | None, bool]], above: float | None
) -> None:
    rows = [
        lineage.Row(
            run=f"r{n}", at="2026", state="approved" if good else "failed", metrics={} if v is None else {"auc": v}
        )
        for n, (v, good) in enumerate(found)
    ]
    ranked = lineage.rank(rows, lineage.Wish(above=above, state="approved"))
    values = [r.metrics.get("auc") for r in ranked]

    numbers = [v for v in values if v is not None]
    assert numbers == sorted(numbers, reverse=True)
    assert values == numbers + [None] * (len(values) - len(numbers))
    wanted = [v for v, good in found if good and (above is None or (v is not None and v > above))]
    assert len(values) == len(wanted)


def test_the_inputs_that_are_shown_are_bounded_and_counted() -> None:
    batches = [{"batch": f"b{n}", "objects": [{"uri": str(i)} for i in range(10)]} for n in range(3)]
    shown = lineage.objects({"batches": batches}, 15)

    assert [len(b["objects"]) for b in shown["batches"]] == [10, 5, 0]
    assert shown["objects"] == 30
    assert json.dumps(shown)
