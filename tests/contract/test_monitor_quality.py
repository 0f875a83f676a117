"""The model-quality monitor against AWS as moto plays it: live answers, labels that come later, the champion's report."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger
from models.flights import data as flights
from tests.contract.monitor_world import CONFIG, asked, metrics, serve, true
from tests.contract.onboarding_world import CONTEXT, World, due, handler, sample, world  # noqa: F401 - a fixture

START, END, READY = "2026-11-21T06:00:00Z", "2026-11-21T12:00:00Z", "2026-11-24T12:00:00Z"
RUN = "r0123456789ab"
NAMESPACE = "aws/sagemaker/Endpoints/model-metrics"
FOLDER = "monitoring/linnet-flights/2026/11/21/06/model-quality/"


@pytest.fixture
def serving(world: World) -> World:
    """Return a world in which flights serves, is judged by its labels, and was right in 90 of 100 calls when it was made."""
    monitors = {"data_quality": {"enabled": False}, "model_quality": {"enabled": True, "minimum_rows": 100}}
    serve(monitors, run=RUN, variant="blue", baseline="s3://b", at="2026-11-21T06:00:00Z")
    decision = {"threshold": 0.4, "classification_metrics": {"accuracy": {"value": 0.9}, "log_loss": {"value": 0.3}}}
    world.put(f"results/flights/{RUN}/evaluation.json", {"metrics": {"accuracy": 0.99}, "decision": decision})
    return world


def answered(
    world: World, right: int, wrong: int, *, config: str = CONFIG, variant: str = "blue", day: int = 21
) -> list[str]:
    """Put capture of so many calls; return the lines of their ground truth, all of the class 1."""
    lines, truth = [], []
    row = flights.requests(count=1)[0]
    for number in range(right + wrong):
        identity = f"{config}{variant}{day}-{number}"
        said = "0.41" if number < right else "0.39"  # on the two sides of the threshold that the run tuned
        lines.append(asked(row, said, identity, f"2026-11-{day}T07:00:00Z"))
        truth.append(true("1", identity))
    world.put(f"data-capture/{config}/linnet-flights/{variant}/2026/11/{day}/07/x.jsonl", "\n".join(lines) + "\n")
    return truth


def labelled(world: World, truth: list[str], hour: str = "2026/11/24/11") -> None:
    world.put(f"ground-truth/linnet-flights/{hour}/labels.jsonl", "\n".join(truth) + "\n")


def look(day: int = 21) -> dict[str, Any]:
    window = {"kind": "model-quality", "start": f"2026-11-{day}T06:00:00Z", "end": f"2026-11-{day}T12:00:00Z"}
    return dict(handler("monitor_window")(sample("monitor_window") | window, CONTEXT))


def finding(day: int = 21) -> dict[str, Any]:
    return ledger.read("model/flights", f"finding#model-quality#2026-11-{day}T06:00:00Z") or {}


def test_a_window_is_due_when_its_labels_had_their_time_mo_05(serving: World) -> None:
    assert due(time="2026-11-24T11:59:59Z") == []
    assert due(time=READY) == [{"model": "flights", "kind": "model-quality", "start": START, "end": END}]
    labelled(serving, answered(serving, 90, 10))
    look()
    assert due(time=READY) == []


def test_as_good_as_the_champions_own_report_at_its_own_threshold_is_healthy_mo_06(serving: World) -> None:
    truth = answered(serving, 89, 11)
    labelled(serving, truth[:60])
    labelled(serving, truth[60:], hour="2026/11/21/05")  # labels may be there before the request's capture is

    assert look() == {"model": "flights", "status": "Completed", "severity": None, "features": []}

    assert finding()["verdict"] == "HEALTHY"
    assert serving.messages() == []
    files = serving.documents("monitoring/")
    assert sorted(files) == [f"{FOLDER}{n}.json" for n in ("constraint_violations", "constraints", "statistics")]
    assert files[f"{FOLDER}constraints.json"]["binary_classification_constraints"]["accuracy"]["threshold"] == 0.85
    dataset = files[f"{FOLDER}statistics.json"]["dataset"]
    assert dataset == {"item_count": 100, "start_time": START, "end_time": END, "evaluation_time": READY}
    seen = metrics(serving, "model-quality", NAMESPACE, (START, END))
    assert 0 < seen["window_coverage"][0] <= 1
    assert {name: value for name, (value, _) in seen.items() if name != "window_coverage"} == {
        "accuracy": 0.89, "join_rate": 1.0, "rows": 100.0, "bad_lines": 0.0, "violations": 0.0,
        "windows_without_data": 0.0, "windows_without_labels": 0.0,
    }  # fmt: skip
    # In the alarm's own period of six hours, when the labels had come.
    assert {when for _, when in seen.values()} == {datetime.fromisoformat("2026-11-24T11:59:00Z")}


def test_worse_than_the_tolerance_is_degraded_and_told_once_mo_06(serving: World) -> None:
    labelled(serving, answered(serving, 84, 16))

    first, again = look(), look()

    assert first == again == {
        "model": "flights", "status": "CompletedWithViolations", "severity": "High", "features": ["accuracy"],
    }  # fmt: skip
    assert finding()["verdict"] == "DEGRADED"
    (message,) = serving.messages()
    assert "Metric accuracy with 0.84" in message["why"]


def test_mo_09_worse_answers_to_quiet_data_are_concept_drift_in_row_history_message_and_page(serving: World) -> None:
    labelled(serving, answered(serving, 84, 16))
    (start, middle, end), status = (START, START.replace("T06", "T09"), END), {"status": "Completed"}
    for one, other in ((start, middle), (middle, end)):
        ledger.put_once("model/flights", f"finding#data-quality#{one}", {"start": one, "end": other} | status)

    look()

    assert finding()["class"] == "concept"
    (entry,) = [row for row in ledger.history("model/flights") if row["kind"] == "finding"]
    assert entry["detail"]["class"] == "concept"
    (message,) = serving.messages()
    assert "labelled capture" in message["next_step"]
    page = serving.s3.get_object(Bucket="linnet-data", Key=f"{FOLDER}report.html")["Body"].read().decode()
    assert "what they mean has changed" in page


def test_mo_09_worse_answers_while_nobody_looked_at_the_data_have_no_class(serving: World) -> None:
    labelled(serving, answered(serving, 84, 16))
    early = {"start": "2026-11-20T00:00:00Z", "end": START, "status": "Completed"}
    ledger.put_once("model/flights", "finding#data-quality#2026-11-20T00:00:00Z", early)

    look()

    assert (finding()["verdict"], finding()["class"]) == ("DEGRADED", None)


def test_mo_13_95_then_78_then_62_percent_alerts_at_the_first_breach_and_not_before(serving: World) -> None:
    """The seeds' months 0, 6 and 12 that nobody watched (S0:2135): the first look at the second of them tells."""
    serving.put(f"results/flights/{RUN}/evaluation.json", {
        "decision": {"threshold": 0.4, "classification_metrics": {"accuracy": {"value": 0.95}}},
    })  # fmt: skip
    verdicts = []
    for day, right, messages in ((21, 95, 0), (22, 78, 1), (23, 62, 1)):
        labelled(serving, answered(serving, right, 100 - right, day=day), hour=f"2026/11/{day}/13")
        look(day)
        verdicts.append(finding(day)["verdict"])
        assert len(serving.messages()) == messages
    assert verdicts == ["HEALTHY", "DEGRADED", "DEGRADED"]


def test_sagemaker_monitors_empty_join_is_a_loud_status_and_never_a_success(serving: World) -> None:
    """monitoring.md 1.5: an empty join succeeded in silence, metrics were missing and alarms had no data."""
    truth = answered(serving, 60, 60)
    labelled(serving, truth, hour="2026/11/24/12")  # after the delay

    assert look()["status"] == "no_labels"

    assert finding()["labels"]["unlabelled"] == 120
    seen = {name: value for name, (value, _) in metrics(serving, "model-quality", NAMESPACE, (START, END)).items()}
    assert (seen["windows_without_labels"], seen["join_rate"]) == (1.0, 0.0)
    assert "accuracy" not in seen
    (message,) = serving.messages()
    assert "120 have no label" in message["what"]


def test_nobody_asked_is_no_data_and_nobody_is_told(serving: World) -> None:
    assert look() == {"model": "flights", "status": "no_data", "severity": None, "features": []}
    assert serving.messages() == []


def test_only_the_champions_own_answers_count_for_it(serving: World) -> None:
    truth = answered(serving, 100, 0)
    truth += answered(serving, 0, 300, config="linnet-flights-v2-f2") + answered(serving, 0, 300, variant="green")
    labelled(serving, truth)

    look()

    assert (finding()["rows"], finding()["scores"]["accuracy"]) == (100, 1.0)


def test_without_the_champions_report_or_a_known_kind_nothing_is_judged(serving: World) -> None:
    with pytest.raises(BadInputError, match=r"data-quality \| model-quality"):
        handler("monitor_window")(sample("monitor_window") | {"kind": "mood"}, CONTEXT)
    serving.s3.delete_object(Bucket="linnet-data", Key=f"results/flights/{RUN}/evaluation.json")
    with pytest.raises(NotFoundError, match=r"evaluation.json"):
        look()
    assert finding() == {}
