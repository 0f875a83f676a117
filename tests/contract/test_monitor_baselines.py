"""Baselines that others made, and seasons with one of their own, against AWS as moto plays it (MO-10)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger
from linnet.monitoring.files import statistics_json, suggest_constraints
from linnet.monitoring.profile import profile
from linnet.monitoring.tables import Source, read_table
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, world  # noqa: F401 - a fixture
from tests.contract.test_monitor import capture, finding, look, serving  # noqa: F401 - a fixture

FOLDER = "baselines/flights/summer"
URI = f"s3://{BUCKET}/{FOLDER}"
WINDOW = "monitoring/linnet-flights/2026/11/21/09/"


def put_summer(world: World) -> None:
    """Put what Model Monitor made of labelled training data of summer: the label first, other order, only its own fields."""
    names = ["late", *reversed(flights.FEATURES)]
    rows = [["1", *reversed(line.split(","))] for line in flights.requests(season="summer", count=3000)[300:]]
    content = "\n".join(",".join(row) for row in [names, *rows]).encode()
    known = profile(read_table([Source("train", content)]))
    constraints = suggest_constraints(known)
    del constraints["monitoring_config"]["distribution_constraints"]["linnet"]
    world.put(f"{FOLDER}/statistics.json", statistics_json(known))
    world.put(f"{FOLDER}/constraints.json", constraints)


def set_monitor(**settings: Any) -> None:
    row = ledger.read("model/flights", "spec") or {}
    spec = copy.deepcopy(row["spec"])
    spec["monitors"]["data_quality"] |= settings
    ledger.change("model/flights", "spec", put={"spec": spec})


def season(first: str, last: str) -> dict[str, str]:
    return {"name": "summer", "from": first, "to": last, "baseline": URI}


def test_a_window_is_compared_with_a_baseline_of_model_monitors_own_whose_label_and_order_do_not_count(
    serving: World,
) -> None:
    put_summer(serving)
    set_monitor(baseline=URI)
    capture(serving, flights.requests(season="summer", count=250))

    assert look() == {"model": "flights", "status": "Completed", "severity": None, "features": []}

    found = finding()
    assert (found["baseline"], found["champion"]["baseline"]) == (URI, f"s3://{BUCKET}/baselines/flights/r0123456789ab")
    assert "season" not in found
    files = serving.documents(WINDOW)
    assert files[f"{WINDOW}constraint_violations.json"] == {"violations": [], "linnet": {"baseline": URI}}
    assert {one["name"] for one in files[f"{WINDOW}constraints.json"]["features"]} == set(flights.FEATURES)
    page = serving.s3.get_object(Bucket=BUCKET, Key=f"{WINDOW}report.html")["Body"].read().decode()
    assert URI in page
    assert "baselines/flights/r0123456789ab" not in page


def test_drift_from_somebody_elses_baseline_says_in_its_message_which_it_was(serving: World) -> None:
    put_summer(serving)
    set_monitor(baseline=URI)
    capture(serving, flights.requests(season="winter", count=250))

    assert "temp" in look()["features"]

    (message,) = serving.messages()
    assert f"Baseline: {URI}." in message["why"]


@pytest.mark.parametrize(
    ("first", "last", "status"),
    [
        ("11-21", "11-21", "Completed"),
        ("10-01", "03-31", "Completed"),
        ("11-22", "11-20", "CompletedWithViolations"),
        ("12-01", "02-28", "CompletedWithViolations"),
    ],
)
def test_mo_10_the_day_on_which_a_window_starts_selects_the_seasons_baseline(
    serving: World,
    first: str,
    last: str,
    status: str,
) -> None:
    """Summer traffic in November is drift, unless November is declared to be summer."""
    put_summer(serving)
    set_monitor(seasons=[season(first, last)])
    capture(serving, flights.requests(season="summer", count=250))

    assert look()["status"] == status

    inside = status == "Completed"
    assert finding().get("season") == ("summer" if inside else None)
    told = serving.documents(WINDOW)[f"{WINDOW}constraint_violations.json"].get("linnet")
    assert told == ({"baseline": URI, "season": "summer"} if inside else None)


def test_a_baseline_that_went_after_onboarding_leaves_the_window_unknown_and_names_the_file(serving: World) -> None:
    capture(serving, flights.requests(count=200))
    set_monitor(baseline=URI)
    with pytest.raises(NotFoundError, match=r"summer/statistics.json"):
        look()
    put_summer(serving)
    serving.s3.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/constraints.json")
    with pytest.raises(NotFoundError, match=r"summer/constraints.json"):
        look()


# --- at onboarding -----------------------------------------------------------------------------------------------


def read_spec(world: World, **settings: Any) -> dict[str, Any]:
    spec = flights.spec()
    spec["monitors"] = {"data_quality": settings}
    world.put("specs/flights.yaml", spec)
    return dict(handler("read_spec")({"bucket": BUCKET, "key": "specs/flights.yaml"}, CONTEXT))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"baseline": URI}, "monitors.data_quality.baseline"),
        ({"seasons": [season("06-01", "08-31")]}, "monitors.data_quality.seasons.summer.baseline"),
    ],
)
def test_a_spec_waits_for_both_files_of_the_baselines_that_it_names(
    world: World,
    settings: dict[str, Any],
    field: str,
) -> None:
    with pytest.raises(BadInputError, match=rf"^{field}: '{URI}/statistics.json' .* put the baseline before"):
        read_spec(world, **settings)
    put_summer(world)
    world.s3.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/constraints.json")
    with pytest.raises(BadInputError, match=rf"^{field}: '{URI}/constraints.json' .* put the baseline before"):
        read_spec(world, **settings)
    put_summer(world)
    assert read_spec(world, **settings)["proceed"] is True


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("[]", "a JSON object"),
        ("{", "a JSON object"),
        ({"features": {}}, "all features of the model; it lacks"),
        ({"feature": []}, "as Model Monitor writes them"),
        ({"features": [{"name": f"_c{n}"} for n in range(20)]}, "it lacks"),
    ],
)
def test_a_baseline_that_cannot_be_read_or_has_other_columns_is_refused_by_its_file(
    world: World,
    body: str | dict[str, Any],
    says: str,
) -> None:
    put_summer(world)
    world.put(f"{FOLDER}/constraints.json", body)

    with pytest.raises(BadInputError, match=rf"^{URI}/constraints.json: .*{says}"):
        read_spec(world, baseline=URI)


def test_a_baseline_of_another_bucket_is_refused_with_where_to_copy_it(world: World) -> None:
    with pytest.raises(BadInputError, match=rf"data_quality.baseline: .*below s3://{BUCKET}/baselines/: copy it there"):
        read_spec(world, baseline="s3://somebody-elses/baselines/flights/summer")
