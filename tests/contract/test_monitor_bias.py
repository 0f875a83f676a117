"""The bias monitor against AWS as moto plays it: how live answers treat a group, once labels have come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from linnet.errors import BadInputError
from linnet.events.spec import check_spec
from linnet.gateways import ledger
from models.flights import data as flights
from tests.contract.monitor_world import CONFIG, asked, metrics, serve, true
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, due, handler, sample, world  # noqa: F401 - a fixture

START, END, READY = "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-24T00:00:00Z"
RUN, FACET = "r0123456789ab", flights.FEATURES[0]
FOLDER = "monitoring/linnet-flights/2026/11/20/00/bias/"
BIAS = {"enabled": True, "facet": FACET, "disadvantaged": ["1"], "limits": {"DI": [0.8, 1.25], "AD": [-0.05, 0.05]}}


@pytest.fixture
def serving(world: World) -> World:
    """Return a world in which flights serves and is judged by how it treats those whose first feature is 1."""
    monitors = {"data_quality": {"enabled": False}, "bias": BIAS}
    serve(monitors, run=RUN, variant="blue", baseline="s3://b", at="2026-11-20T00:00:00Z")
    world.put(f"results/flights/{RUN}/evaluation.json", {"metrics": {}, "decision": {"threshold": 0.4}})
    return world


def answered(
    world: World, share_of_group: float, share_of_others: float, *, each: int = 400, labels: bool = True
) -> None:
    """Put capture in which so large shares of both sides are called positive, rightly; and their labels."""
    lines, truth = [], []
    rest = flights.requests(count=1)[0].partition(",")[2]
    for group, share in (("1", share_of_group), ("0", share_of_others)):
        for number in range(each):
            identity, called = f"{group}-{number}", number < share * each
            lines.append(asked(f"{group},{rest}", "0.41" if called else "0.39", identity, "2026-11-20T07:00:00Z"))
            truth.append(true(str(int(called)), identity))
    world.put(f"data-capture/{CONFIG}/linnet-flights/blue/2026/11/20/07/x.jsonl", "\n".join(lines) + "\n")
    if labels:
        world.put("ground-truth/linnet-flights/2026/11/22/11/labels.jsonl", "\n".join(truth) + "\n")


def look() -> dict[str, Any]:
    window = {"kind": "bias", "start": START, "end": END}
    return dict(handler("monitor_window")(sample("monitor_window") | window, CONTEXT))


def finding() -> dict[str, Any]:
    return ledger.read("model/flights", f"finding#bias#{START}") or {}


def shown(world: World) -> dict[str, float]:
    known = metrics(world, "bias", "aws/sagemaker/Endpoints/bias-metrics", (START, END))
    return {name: value for name, (value, _) in known.items()}


def test_a_window_is_due_when_its_labels_had_their_time(serving: World) -> None:
    assert due(time="2026-11-23T23:59:59Z") == []
    assert due(time=READY) == [{"model": "flights", "kind": "bias", "start": START, "end": END}]


def test_groups_that_are_treated_alike_are_healthy(serving: World) -> None:
    answered(serving, 0.5, 0.5)

    assert look() == {"model": "flights", "status": "Completed", "severity": None, "features": []}
    found = finding()
    assert (found["verdict"], found["scores"], found["unknown"]) == ("HEALTHY", {"DI": 1.0, "AD": 0.0}, {})
    assert shown(serving)["bias_excess_max"] == 0.0
    assert serving.messages() == []


def test_mo_07_a_group_called_positive_too_seldom_breaks_its_limit_and_people_are_told_once(serving: World) -> None:
    answered(serving, 0.25, 0.5)

    assert look() == {"model": "flights", "status": "CompletedWithViolations", "severity": "High", "features": ["DI"]}
    assert look()["features"] == ["DI"]
    found = finding()
    assert (found["verdict"], found["scores"]["DI"], found["facet"]) == ("DEGRADED", 0.5, FACET)
    files = serving.documents("monitoring/")
    assert sorted(files) == [f"{FOLDER}analysis.json", f"{FOLDER}constraint_violations.json"]
    (violation,) = files[f"{FOLDER}constraint_violations.json"]["violations"]
    assert (violation["facet"], violation["facet_value"], violation["metric_name"]) == (FACET, "1", "DI")
    seen = shown(serving)
    assert seen["bias_metric_DI"] == 0.5
    assert seen["bias_excess_max"] > 0.1
    (told,) = serving.messages()
    assert serving.compliance() == [told]
    assert "1 limits on bias are broken" in told["what"]
    assert "DI: Value 0.5 does not meet" in told["why"]


def test_i7_without_labels_nothing_is_known_and_it_is_told(serving: World) -> None:
    answered(serving, 0.25, 0.5, labels=False)

    assert look()["status"] == "no_labels"
    assert (finding()["verdict"], finding()["scores"]) == ("UNKNOWN", {})
    assert "are needed" in finding()["unknown"]["DI"]
    seen = shown(serving)
    assert seen["windows_without_labels"] == 1.0
    assert not [name for name in seen if name.startswith("bias_")]
    assert len(serving.messages()) == 1
    assert serving.compliance() == []


def test_i7_a_group_of_too_few_rows_is_unknown_and_says_why(serving: World) -> None:
    answered(serving, 0.25, 0.5, each=101)
    serving.put("ground-truth/linnet-flights/2026/11/22/12/none.jsonl", "")
    spec = (ledger.read("model/flights", "spec") or {})["spec"]
    spec["monitors"]["bias"]["disadvantaged"] = ["7"]
    ledger.change("model/flights", "spec", put={"spec": spec})

    assert look()["status"] == "Completed"
    found = finding()
    assert found["verdict"] == "UNKNOWN"
    assert "the group has 0 rows" in found["unknown"]["DI"]
    assert "bias_excess_max" not in shown(serving)


def limited(limits: dict[str, Any]) -> None:
    """Let these limits be the spec's."""
    spec = (ledger.read("model/flights", "spec") or {})["spec"]
    spec["monitors"]["bias"]["limits"] = limits
    ledger.change("model/flights", "spec", put={"spec": spec})


def test_mo_07_worse_than_the_champions_own_evaluation_of_the_group_is_a_violation(serving: World) -> None:
    limited({"DPL": "baseline", "DI": "baseline"})
    known = {
        "facet": FACET,
        "disadvantaged": ["1"],
        "metrics": {"DI": 0.9},
        "labels": {"metrics": {"DPL": 0.3}, "unknown": {}},
    }
    serving.put(
        f"results/flights/{RUN}/evaluation.json", {"decision": {"threshold": 0.4}, "bias": known | {"unknown": {}}}
    )
    answered(serving, 0.4, 0.5)

    assert look()["features"] == ["DI"]
    assert finding()["excess"] == {"DI": pytest.approx(0.1), "DPL": 0}


def test_i7_a_limit_without_its_baseline_is_unknown_and_told_once_in_a_row_of_windows(serving: World) -> None:
    limited({"DPL": "baseline", "DI": [0.8, 1.25]})
    answered(serving, 0.5, 0.5)
    assert look()["status"] == "Completed"
    assert finding()["severity"] == "Low"
    (told,) = serving.messages()
    assert "DPL: the champion was not evaluated for this group" in told["why"]
    for hour, messages in (("02", 0), ("04", 1)):
        later = {"kind": "bias", "start": f"2026-11-20T{hour}:00:00Z", "end": END}
        handler("monitor_window")(sample("monitor_window") | later, CONTEXT)
        assert len(serving.messages()) == messages
        limited({"DPL": "baseline", "KL": "baseline"})


def test_i7_rows_without_the_facets_column_are_refused_by_name(serving: World) -> None:
    answered(serving, 0.5, 0.5, labels=False)
    key = f"data-capture/{CONFIG}/linnet-flights/blue/2026/11/20/07/x.jsonl"
    spec = (ledger.read("model/flights", "spec") or {})["spec"]
    last = flights.FEATURES[-1]
    spec["monitors"]["bias"]["facet"] = last
    ledger.change("model/flights", "spec", put={"spec": spec})
    lines = serving.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode().splitlines()
    cut = []
    for record in map(json.loads, lines):
        asked = record["captureData"]["endpointInput"]
        asked["data"] = asked["data"].rpartition(",")[0]
        cut.append(json.dumps(record))
    serving.put(key, "\n".join(cut))

    with pytest.raises(BadInputError, match=f"facet.*{last}"):
        look()


def test_the_alarm_is_on_the_worst_excess_and_goes_with_the_monitor_tg_09() -> None:
    from linnet.decisions import onboarding  # noqa: PLC0415

    spec = check_spec(flights.spec() | {"monitors": {"bias": BIAS}})
    (alarm,) = [a for a in onboarding.alarms("linnet", spec, "topic") if a["AlarmName"] == "linnet-flights-bias"]
    off = onboarding.alarms("linnet", check_spec(flights.spec()), "topic")

    assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("bias_excess_max", 0.0, 86_400)
    assert alarm["Namespace"] == "aws/sagemaker/Endpoints/bias-metrics"
    assert "linnet-flights-bias" not in [a["AlarmName"] for a in off]
    assert "linnet-flights-bias" in onboarding.alarm_names("linnet", "flights")


def test_a_baseline_is_taken_where_the_evaluation_is_of_the_same_group() -> None:
    group = {"facet": FACET, "disadvantaged": ["2", "1"]}
    monitors = {"bias": BIAS | {"disadvantaged": ["1", "2"], "limits": {"DI": "baseline"}}}
    asked = flights.spec() | {"monitors": monitors}
    evaluation = flights.spec().get("evaluation", {})

    taken = check_spec(asked | {"evaluation": evaluation | {"bias": group | {"limits": {"DI": 0.2}}}})
    assert taken.monitors.bias.limits == {"DI": "baseline"}
    with pytest.raises(BadInputError, match="same facet"):
        check_spec(
            asked | {"evaluation": evaluation | {"bias": group | {"limits": {"DI": 0.2}, "disadvantaged": ["1"]}}}
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"facet": None}, "needs 'facet' and 'disadvantaged'"), ({"disadvantaged": []}, "needs 'facet' and 'disadvantaged'"),
        ({"facet": "nobody"}, "must be one of data.features"), ({"limits": {"DI": [1.2, 0.8]}}, "low below high"),
        ({"limits": {"NO": [0, 1]}}, "limits"), ({"limits": {"DI": "baseline"}}, "which evaluation.bias makes"),
        ({"limits": {"DI": "always"}}, "limits"),
    ],
)  # fmt: skip
def test_what_could_not_be_judged_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        check_spec(flights.spec() | {"monitors": {"bias": BIAS | change}})
