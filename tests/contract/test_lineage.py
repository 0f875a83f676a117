"""One question each way: endpoint to data and back, and the runs by metric, out of what the real handlers wrote (EX-03)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import failures
from linnet.decisions import lineage as pure
from linnet.errors import BadInputError
from linnet.gateways import ledger, lineage
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, ROOT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import (
    MODEL,
    close,
    intake,  # noqa: F401 - a fixture
    put_batch,
    put_labelled_requests,
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
        "version": 1, "run": taken["run"], "package_arn": arn, "at": "2026-11-21T02:00:00Z",
        "training_job": taken["training_job"], "metrics": {"auc": 0.93},
        "status": "Approved", "decided": "Approved",
        "decided_by": "ada@example.org", "decided_at": "2026-11-21T03:00:00Z", "decided_how": "person",
        "comment": "fits", "released": {"outcome": "promoted", "fence": 1, "at": "2026-11-21T04:00:00Z"},
    }  # fmt: skip
    ledger.put_once(f"model/{MODEL}", "candidate#000001", candidate)
    champion = {
        "version": 1,
        "package_arn": arn,
        "run": taken["run"],
        "config": "linnet-flights-v1-f1",
        "model_name": "m",
    }
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


def begin_runs(count: int) -> list[str]:
    """Write so many runs of batch 2013-01, an hour apart, each among other entries; return them, the newest first."""
    subject = f"model/{MODEL}"
    found: list[str] = []
    for number in range(count):
        run, at = f"r{number * 7 % 10}{number}", f"2026-11-22T{number:02d}:00:00Z"
        row = {
            "run": run,
            "execution": run,
            "state": "below threshold",
            "at": at,
            "batches": ["2013-01"],
            "inputs_uri": "",
        }
        ledger.append(subject, "run-started", at, row, key=run, beside=[ledger.new(subject, f"run#{run}", row)])
        ledger.append(subject, "judgement", at, {"run": run, "metric": "auc", "value": number / 100}, key=run)
        ledger.append(subject, "signal", at, {"id": f"s{number}"}, key=f"s{number}")
        found.insert(0, run)
    return found


def pages(ask_on: Callable[[dict[str, str]], dict[str, Any]]) -> list[list[str]]:
    """Ask until nothing older is left; return the runs of each answer."""
    found: list[list[str]] = []
    more: dict[str, str] = {}
    for _ in range(10):
        answer = ask_on(more)
        found.append([r["run"] for r in answer["runs"]])
        if answer["before"] is None:
            return found
        more = {"before": answer["before"]}
    raise AssertionError(f"there is no end to {found}")


def test_ex_04_a_leaderboard_reads_the_newest_runs_and_says_how_to_ask_for_older_ones(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "_RANKED", 2)
    runs = begin_runs(5)

    assert pages(lambda more: ask(model=MODEL, runs=more)) == [runs[:2], runs[2:4], runs[4:]]
    first = ask(model=MODEL, runs={"limit": 1, "above": 0.03})
    assert ([r["run"] for r in first["runs"]], first["found"], first["looked_at"]) == (runs[:1], 1, 2)
    late = ask(model=MODEL, runs={"since": "2026-11-22T05:00:00+01:00"})
    assert ([r["run"] for r in late["runs"]], late["before"]) == (runs[:1], None)
    then = ask(model=MODEL, runs={"before": "2026-11-22T02:00:00+01:00"})
    assert ([r["run"] for r in then["runs"]], then["before"]) == (runs[4:], None)


def test_a_question_reads_no_more_of_the_history_than_it_says(intake: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_ENTRIES", 4)
    runs = begin_runs(5)

    found = pages(lambda more: ask(model=MODEL, runs=more))
    assert len(found) > 3
    assert [r for page in found for r in page] == runs


def test_ex_03_what_became_of_data_is_told_newest_first_and_in_parts(intake: World) -> None:
    wake(put_batch(intake, "2013-01", flights.batch(season="winter", rows=50, part=0)))
    runs = begin_runs(5)

    for data in (FILE, FILE.rpartition("/")[0] + "/"):
        asked = {"data": data, "limit": 2}
        assert pages(lambda more, asked=asked: ask(**asked, **more)) == [runs[:2], runs[2:4], runs[4:]]  # type: ignore[misc]
    assert ask(data=FILE)["before"] is None


def test_of_a_folder_that_became_many_batches_the_newest_are_looked_at_and_the_rest_is_counted(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "_PARTS", 1)
    for number in range(3):
        row = {"batch": "2013-01" + (f"~{number + 1}" if number else ""), "state": "closed"}
        row["closed_at"] = f"2026-11-21T0{number}:00:00Z"
        ledger.put_once(f"model/{MODEL}", f"batch#{row['batch']}", row)

    found = ask(data=FILE.rpartition("/")[0] + "/")
    assert ([b["batch"] for b in found["batches"]], found["batches_left"]) == (["2013-01~3"], 2)


def test_ex_03_from_captured_requests_and_their_truth_one_question_gives_the_endpoints(
    intake: World, served: dict[str, Any]
) -> None:
    put_labelled_requests(intake, "first", 5)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wake(put_batch(intake, "2013-02", flights.batch(season="winter", rows=50, part=1)))
    taken = take("e2", now)
    candidate = {"version": 2, "run": taken["run"], "at": now, "released": {"outcome": "rolled back"}}
    ledger.put_once(f"model/{MODEL}", "candidate#000002", candidate)
    (inputs,) = intake.documents(f"results/{MODEL}/{taken['run']}/inputs").values()

    for (live,) in inputs["labelled"].values():
        found = ask(data=live["uri"])
        assert [r["run"] for r in found["runs"]] == [taken["run"]]
        assert [(e["version"], e["serves"]) for e in found["endpoints"]] == [(2, False)]
        assert ask(data=live["uri"].replace("first", "never"))["runs"] == []


def test_a_question_about_captured_requests_reads_the_inputs_of_few_runs(
    intake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "_READS", 2)
    read: list[str] = []

    def remember(run: dict[str, Any], uri: str) -> bool:
        read.append(run["run"])
        return uri in run

    monkeypatch.setattr(lineage, "_labelled", remember)
    runs = begin_runs(5)

    uri = f"s3://{BUCKET}/ground-truth/linnet-{MODEL}/2026/11/22/01/a.jsonl"
    assert pages(lambda more: ask(data=uri, **more)) == [[], []]
    assert read == runs[:4]  # the first run was over before that hour


def test_the_states_of_runs_that_may_be_asked_for_are_those_that_runs_end_in() -> None:
    machine = (ROOT / "statemachines" / "retrain.asl.json").read_text()
    ends = set(re.findall(r'"outcome": "([a-z ]+)"', machine))

    assert ends
    assert ends | {"running", "registered"} | set(failures.BROKEN) == set(pure.STATES)


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
        ({"model": MODEL, "runs": {"state": "succeeded"}}, "runs.state"),
        ({"model": MODEL, "runs": {"before": 1}}, "runs.before"),
        ({"data": FILE, "limit": 101}, "limit"), ({"data": FILE, "before": "then#x"}, "before"),
        ({"data": f"s3://{BUCKET}/ground-truth/elsewhere/2026/11/21/01/a.jsonl"}, "endpoint"),
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
        pure.Row(
            run=f"r{n}", at="2026", state="approved" if good else "failed", metrics={} if v is None else {"auc": v}
        )
        for n, (v, good) in enumerate(found)
    ]
    ranked = pure.rank(rows, pure.Wish(above=above, state="approved"))
    values = [r.metrics.get("auc") for r in ranked]

    numbers = [v for v in values if v is not None]
    assert numbers == sorted(numbers, reverse=True)
    assert values == numbers + [None] * (len(values) - len(numbers))
    wanted = [v for v, good in found if good and (above is None or (v is not None and v > above))]
    assert len(values) == len(wanted)


def test_the_inputs_that_are_shown_are_bounded_and_counted() -> None:
    batches = [{"batch": f"b{n}", "objects": [{"uri": str(i)} for i in range(10)]} for n in range(3)]
    shown = pure.objects({"batches": batches}, 15)

    assert [len(b["objects"]) for b in shown["batches"]] == [10, 5, 0]
    assert shown["objects"] == 30
    assert json.dumps(shown)
