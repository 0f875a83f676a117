"""Windows, metrics and messages of the monitors; alarms, names and keys of onboarding."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import baselines, monitoring, names, onboarding, schedules
from linnet.errors import BadInputError
from linnet.events.schedules import MONTH, Every, days, every
from linnet.events.spec import check_spec, spec_json
from models.flights import data as flights

DIVISORS = [n for n in range(5, 1441) if 1440 % n == 0]
MOMENTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2050, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS, st.sampled_from(DIVISORS))
def test_a_window_is_over_whole_and_recent_and_the_next_follows_without_gap(at: datetime, minutes: int) -> None:
    start, end = schedules.window(at.isoformat(), Every(minutes))
    length = timedelta(minutes=minutes)

    assert end - start == length
    assert end <= at < end + length
    assert schedules.window((at + length).isoformat(), Every(minutes)) == (end, end + length)
    assert (start - start.replace(hour=0, minute=0)) % length == timedelta(0)


@given(MOMENTS, st.sampled_from(DIVISORS), st.integers(0, 5000))
def test_windows_join_and_end_after_the_champion_began(at: datetime, minutes: int, age: int) -> None:
    since = at - timedelta(minutes=age)
    found = schedules.windows(at.isoformat(), Every(minutes), since=since.isoformat())

    expected = max(3, -(-180 // minutes))
    assert len(found) <= expected
    assert all(one[1] == other[0] for one, other in pairwise(found))
    assert all(end > since for _, end in found)
    assert not found or found[-1] == schedules.window(at.isoformat(), Every(minutes))
    assert len(schedules.windows(at.isoformat(), Every(minutes), since=None)) == expected


@given(MOMENTS, st.sampled_from(DIVISORS), st.integers(0, 150))
def test_no_window_is_lost_between_two_ticks_that_come_late(at: datetime, minutes: int, late: int) -> None:
    """A window of five minutes under an hourly tick lost nine of twelve."""
    first = schedules.windows(at.isoformat(), Every(minutes), since=None)
    second = schedules.windows((at + timedelta(minutes=late)).isoformat(), Every(minutes), since=None)

    assert second[0][0] <= first[-1][1]


@given(MOMENTS, st.sampled_from(DIVISORS), st.integers(-12, 14))
def test_a_window_does_not_depend_on_the_zone_in_which_the_time_is_written(
    at: datetime, minutes: int, zone: int
) -> None:
    there = at.astimezone(timezone(timedelta(hours=zone)))

    assert schedules.window(there.isoformat(), Every(minutes)) == schedules.window(at.isoformat(), Every(minutes))


SCHEDULES = [
    ("hourly", 60, 0), ("daily", 1440, 0), ("rate(5 minutes)", 5, 0), ("rate(1 hour)", 60, 0), ("rate(2 days)", 2880, 0),
    ("cron(0 * * * ? *)", 60, 0), ("cron(0 * ? * * *)", 60, 0), ("cron(0 */4 * * ? *)", 240, 0),
    ("cron(0 0/4 ? * * *)", 240, 0), ("cron(0 */6 * * ? *)", 360, 0), ("cron(0 0 * * ? *)", 1440, 0),
    ("cron(0 17/12 ? * * *)", 720, 300), ("cron(0 12 ? * * *)", 1440, 720), ("cron(0 00 ? * * *)", 1440, 0),
    ("monthly", 0, 0), ("cron(0 0 1 * ? *)", 0, 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "minutes", "offset"), SCHEDULES)
def test_the_seeds_and_model_monitors_crons_are_windows_t_04(text: str, minutes: int, offset: int) -> None:
    assert every(text) == Every(minutes, offset)


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "cron(0 [00-23] ? * * *)", "cron(5 * * * ? *)", "cron(0 */5 * * ? *)", "cron(0 24 ? * * *)",
        "cron(0 0/0 ? * * *)", "cron(0 2 ? * SUN *)", "cron(0 * * * * *)", "cron(0 3 1 * ? *)", "rate(7 minutes)",
        "rate(4 minutes)", "rate(32 days)", "rate(0 days)", "rate(36 hours)", "cron(0 0 1 * ? *) ",
    ],
)  # fmt: skip
def test_a_schedule_that_is_no_window_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(BadInputError, match=r"^schedule: .*hourly, daily, monthly, rate.*cron\(0 h/n"):
        every(text)


@given(MOMENTS, st.sampled_from([s[0] for s in SCHEDULES]))
def test_windows_of_every_schedule_are_over_and_join_months_of_all_lengths_too(at: datetime, text: str) -> None:
    found = schedules.windows(at.isoformat(), every(text), since=None)
    start, end = found[-1]

    assert end <= at
    assert all(one[1] == other[0] for one, other in pairwise(found))
    longest = timedelta(days=31) if every(text) == MONTH else end - start
    assert schedules.window((end + longest).isoformat(), every(text))[0] == end
    assert schedules.windows(at.isoformat(), every(text), since=None, delay=at - end) == found


def test_a_month_is_a_calendar_month_and_a_day_may_begin_at_noon() -> None:
    months = schedules.windows("2026-03-01T00:00:00Z", MONTH, since=None)

    assert [f"{start:%d.%m.}-{end:%d.%m.}" for start, end in months] == [
        "01.12.-01.01.",
        "01.01.-01.02.",
        "01.02.-01.03.",
    ]
    assert [f"{m:%dT%H}" for m in schedules.window("2026-03-05T11:59:59Z", every("cron(0 12 ? * * *)"))] == [
        "03T12",
        "04T12",
    ]


def test_a_delay_lets_labels_come_in_before_their_window_is_due() -> None:
    day = timedelta(hours=72)

    assert (schedules.delay({"label_delay_hours": 72}), schedules.delay({})) == (day, timedelta(0))
    assert schedules.windows("2026-03-05T11:00:00Z", every("daily"), since=None, delay=day)[-1][1].day == 2


@pytest.mark.parametrize("at", ["", "10:00", "2026-11-21T10:00:00", None, 7, "2026-13-01T00:00:00Z"])
def test_a_time_without_zone_or_sense_is_refused_by_name(at: Any) -> None:
    with pytest.raises(BadInputError, match=r"^time: "):
        schedules.window(at, Every(60))


FOUND: dict[str, Any] = {
    "kind": "data-quality", "status": "Completed", "scores": {"age": 0.05, "income": 0.2}, "rows": 300, "broken": 2,
    "lines": {"read": 310, "bad": 4}, "coverage": 0.9, "emit": True, "muted": [], "named": {},
}  # fmt: skip
ALWAYS = {"windows_without_data": 0.0, "rows": 300.0, "bad_lines": 4.0, "window_coverage": 0.9, "violations": 2.0}


def test_no_data_has_no_drift_not_even_zero_i7() -> None:
    silent = {"windows_without_data": 1.0, "rows": 300.0, "bad_lines": 4.0, "window_coverage": 0.9}

    assert monitoring.metrics(FOUND | {"status": "no_data"}) == silent
    assert monitoring.metrics(FOUND | {"status": "no_data", "named": {"age": {"feature_data": {}}}}) == silent


def test_the_worst_feature_and_the_count_of_violations_are_always_there_and_others_only_if_named() -> None:
    assert monitoring.metrics(FOUND) == ALWAYS | {"feature_baseline_drift_max": 0.2}
    assert monitoring.metrics(FOUND | {"scores": {}, "status": "CompletedWithViolations"}) == ALWAYS
    one = {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}
    named = {"age": {"feature_data": one, "feature_non_null": one}, "city": {"feature_non_null": one}}
    assert monitoring.metrics(FOUND | {"named": named}) == ALWAYS | {
        "feature_baseline_drift_max": 0.2, "feature_baseline_drift_age": 0.05,
        "feature_data_age": one, "feature_non_null_age": one, "feature_non_null_city": one,
    }  # fmt: skip


def test_emit_metrics_disabled_is_obeyed_for_all_and_for_a_feature() -> None:
    muted = FOUND | {"muted": ["income"], "named": {"income": {"feature_non_null": {}}}}

    assert monitoring.metrics(FOUND | {"emit": False}) == {}
    assert monitoring.metrics(muted) == ALWAYS | {"feature_baseline_drift_max": 0.05}


@pytest.mark.parametrize(("status", "unlabelled"), [("no_labels", 1.0), ("no_data", 0.0)])
def test_without_labels_there_is_no_quality_but_a_metric_that_says_so_mo_05(status: str, unlabelled: float) -> None:
    found = FOUND | {"kind": "model-quality", "status": status, "join_rate": None, "scores": {"accuracy": 0.9}}

    assert monitoring.metrics(found) == {
        "windows_without_data": 1.0 - unlabelled, "windows_without_labels": unlabelled, "rows": 300.0, "bad_lines": 4.0,
        "window_coverage": 0.9,
    }  # fmt: skip
    assert monitoring.metrics(found | {"join_rate": 0.0})["join_rate"] == 0.0
    assert monitoring.worth_telling(found) is bool(unlabelled)


def test_quality_has_the_champions_own_metrics_the_join_rate_and_the_count_of_violations() -> None:
    found = FOUND | {"kind": "model-quality", "join_rate": 0.8, "scores": {"accuracy": 0.9, "auc": 0.8}}

    assert monitoring.metrics(found) == ALWAYS | {
        "windows_without_labels": 0.0, "join_rate": 0.8, "accuracy": 0.9, "auc": 0.8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("excess", "unknown", "worst"),
    [
        ({"DI": 0.0, "AD": 0.2}, {}, 0.2),
        ({"DI": 0.0}, {}, 0.0),
        ({"AD": 0.2}, {"DI": "few"}, 0.2),
        ({"AD": 0.0}, {"DI": "few"}, None),
    ],
)
def test_a_limit_on_bias_that_could_not_be_judged_never_reads_as_kept_i7(
    excess: dict[str, float], unknown: dict[str, str], worst: float | None
) -> None:
    found = FOUND | {"kind": "bias", "join_rate": 0.8, "scores": {"DI": 0.9}, "excess": excess, "unknown": unknown}

    assert monitoring.metrics(found) == ALWAYS | {
        "windows_without_labels": 0.0, "join_rate": 0.8, "bias_metric_DI": 0.9,
    } | ({} if worst is None else {"bias_excess_max": worst})  # fmt: skip


def test_a_named_features_metrics_are_what_statistics_json_says_of_it() -> None:
    document = {
        "features": [
            {"name": "age", "numerical_statistics": {
                "common": {"num_present": 3, "num_missing": 1}, "mean": 2.0, "sum": 6.0, "min": 1.0, "max": 3.0}},
            {"name": "gone", "numerical_statistics": {"common": {"num_present": 0, "num_missing": 4}}},
            {"name": "city", "string_statistics": {"common": {"num_present": 4, "num_missing": 0}}},
            {"name": "half", "string_statistics": {"common": {"num_present": 2, "num_missing": 2}}},
            {"name": "other", "string_statistics": {"common": {"num_present": 4, "num_missing": 0}}},
            {"name": "silent", "string_statistics": {"common": {"num_present": 0, "num_missing": 0}}},
        ]
    }  # fmt: skip

    assert monitoring.named(document, ["age", "gone", "city", "half", "silent"]) == {
        "age": {
            "feature_non_null": {"SampleCount": 4.0, "Sum": 3.0, "Minimum": 0.0, "Maximum": 1.0},
            "feature_data": {"SampleCount": 3.0, "Sum": 6.0, "Minimum": 1.0, "Maximum": 3.0},
        },
        "gone": {"feature_non_null": {"SampleCount": 4.0, "Sum": 0.0, "Minimum": 0.0, "Maximum": 0.0}},
        "city": {"feature_non_null": {"SampleCount": 4.0, "Sum": 4.0, "Minimum": 1.0, "Maximum": 1.0}},
        "half": {"feature_non_null": {"SampleCount": 4.0, "Sum": 2.0, "Minimum": 0.0, "Maximum": 1.0}},
    }


@pytest.mark.parametrize(
    ("worst", "grade"), [(0.0, None), (0.1, None), (0.1001, "Low"), (0.3, "Low"), (0.3001, "High"), (1.0, "High")]
)
def test_drift_is_low_above_one_threshold_and_high_above_the_other_tg_07(worst: float, grade: str | None) -> None:
    assert monitoring.severity({"a": 0.0, "b": worst}, notify_above=0.1, retrain_above=0.3) == grade


def test_results_of_each_window_have_a_folder_of_their_own() -> None:
    hour = datetime(2026, 11, 21, 9, tzinfo=UTC)

    assert monitoring.results_folder("linnet-flights", hour) == "monitoring/linnet-flights/2026/11/21/09/"
    folders = {monitoring.results_folder("e", hour + timedelta(minutes=5 * n)) for n in range(24)}
    assert len(folders) == 24
    assert monitoring.results_folder("e", hour, "bias") == "monitoring/e/2026/11/21/09/bias/"
    assert monitoring.results_folder("e", hour.replace(minute=5), "bias") == "monitoring/e/2026/11/21/09/05/bias/"


def test_capture_and_labels_lie_where_the_contract_says_each_folder_once_dc_03() -> None:
    assert monitoring.capture_folders(["c1", "c2", "c1"], "e", ["2026/11/21/09"], ["blue"]) == [
        "data-capture/c1/e/blue/2026/11/21/09/",
        "data-capture/c2/e/blue/2026/11/21/09/",
    ]
    assert monitoring.truth_folders("e", ["2026/11/21"]) == ["ground-truth/e/2026/11/21/"]


@pytest.mark.parametrize(
    ("status", "told"),
    [("Completed", False), ("no_data", False), ("no_labels", True), ("CompletedWithViolations", True)],
)
def test_people_hear_of_broken_constraints_and_of_missing_labels(status: str, told: Any) -> None:
    assert monitoring.worth_telling({"status": status}) is told


def test_without_capture_nothing_is_monitored_and_else_what_is_on() -> None:
    off, on = {"enabled": False}, {"enabled": True}
    monitors = dict.fromkeys(check_spec(flights.spec()).model_dump()["monitors"], off) | {
        "data_quality": on,
        "bias": on,
    }

    assert monitoring.running({"endpoint": {"capture_percent": 0}, "monitors": monitors}) == {}
    assert monitoring.running({"endpoint": {"capture_percent": 1}, "monitors": monitors}) == {
        "data-quality": on,
        "bias": on,
    }


def test_a_message_names_the_features_the_worst_first_mo_04() -> None:
    found = {
        "kind": "data-quality", "scores": {"age": 0.2, "income": 0.5, "city": 0.0}, "features": ["income", "age"], "broken": 2,
        "severity": "High", "start": "a", "end": "b", "rows": 200, "baseline": "s3://b/baselines/x", "season": "easter",
        "class": None,
    }  # fmt: skip
    text = monitoring.message("churn", found)

    assert "income 0.50, age 0.20." in text["why"]
    assert text["why"].endswith("Baseline: s3://b/baselines/x, that of easter.")
    assert "city" not in text["why"]
    assert text["what"].endswith("income, age")
    assert not text["next_step"].startswith("The data changed")
    assert monitoring.message("churn", found | {"class": "data"})["next_step"].startswith("The data changed")
    names_ = [f"f{n:02}" for n in range(11)]
    many = found | {"scores": dict.fromkeys(names_, 0.5), "features": names_, "severity": None}
    text = monitoring.message("churn", many)
    assert (text["why"].count("f09"), text["why"].count("f10")) == (1, 0)
    assert (text["what"].endswith("f09"), text["subject"].endswith("(no drift)")) == (True, True)
    assert "none above 0" in monitoring.message("churn", found | {"scores": {"age": 0.0}})["why"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"kind": "model-quality", "status": "no_labels"},
            ("too few labels", "70 have no label", "read: 3", "up to z"),
        ),
        (
            {"kind": "model-quality", "status": "CompletedWithViolations"},
            ("got worse (DEGRADED)", "2 metrics", "v0; v1"),
        ),
        ({"kind": "bias", "status": "no_labels"}, ("too few labels", "70 have no label")),
        (
            {"kind": "bias", "status": "CompletedWithViolations"},
            ("sex is treated", "2 limits", "m0: v0; m1: v1", "AD: few"),
        ),
    ],
)
def test_a_message_by_labels_says_what_is_worse_or_what_is_missing(
    more: dict[str, Any], words: tuple[str, ...]
) -> None:
    found = more | {
        "rows": 100, "labels": {"unlabelled": 70, "bad": 3}, "start": "a", "end": "b", "at": "z", "verdict": "DEGRADED",
        "broken": 2, "facet": "sex", "unknown": {"AD": "few"}, "class": None,
        "violations": [{"metric_name": f"m{n}", "description": f"v{n}"} for n in range(11)],
    }  # fmt: skip
    text = " ".join(monitoring.message("churn", found).values())

    assert [word for word in words if word not in text] == []
    assert "v10" not in text
    assert "Unknown" not in monitoring.message("churn", found | {"unknown": {}})["why"]


# --- which baseline ----------------------------------------------------------------------------------------------

DAYS = st.sampled_from(days())
SEASONS = st.lists(st.fixed_dictionaries({"from": DAYS, "to": DAYS}), max_size=4).map(
    lambda spans: [span | {"name": f"s{n}", "baseline": f"s3://b/baselines/s{n}"} for n, span in enumerate(spans)]
)


@given(SEASONS, st.sampled_from([None, "s3://b/baselines/ours"]), st.integers(2023, 2028), st.integers(0, 23))
def test_mo_10_every_day_of_every_year_has_exactly_one_baseline_and_the_first_season_that_holds_it(
    seasons: list[dict[str, str]], default: str | None, year: int, hour: int
) -> None:
    """Checked against calendars: a season is walked day by day from its first to its last."""
    settings = {"baseline": default, "seasons": seasons}
    held: list[set[str]] = []
    for season in seasons:
        at = days().index(season["from"])
        walked = {season["from"]}
        while days()[at] != season["to"]:
            at = (at + 1) % 366
            walked.add(days()[at])
        held.append(walked)
    day = datetime(year, 1, 1, hour, tzinfo=UTC)
    while day.year == year:
        holding = [n for n, walked in enumerate(held) if f"{day:%m-%d}" in walked]
        expected = (f"s3://b/baselines/s{holding[0]}", f"s{holding[0]}") if holding else (default or "own", None)
        assert baselines.choose(settings, "own", day) == expected
        day += timedelta(days=1)


@pytest.mark.parametrize("document", [{}, {"features": 3}, {"features": [1]}, {"features": [{}]}, {"features": None}])
def test_a_baseline_that_names_no_features_is_refused_by_its_file(document: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match=r"^s3://b/statistics.json: .*as Model Monitor writes"):
        baselines.names("s3://b/statistics.json", document)


# --- onboarding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["specs/Flights.yaml", "specs/flights.yml", "specs/a/b.yaml", "flights.yaml", "specs/.yaml", "specs/a--b.yaml"],
)
def test_only_a_models_own_file_is_a_spec(key: str) -> None:
    with pytest.raises(BadInputError, match=r"^key: "):
        onboarding.model_of_key(key)


@given(st.from_regex(names.MODEL_PATTERN, fullmatch=True).filter(lambda n: len(n) <= 20))
def test_every_name_that_the_model_may_have_has_a_file_and_legal_execution_names(name: str) -> None:
    name = name.rstrip("\n")

    assert onboarding.model_of_key(f"specs/{name}.yaml") == name
    assert len(onboarding.execution(name, "off", "v" * 1024, "m" * 1024)) <= 80


def test_one_version_is_one_execution_and_another_version_another() -> None:
    same = {onboarding.execution("churn", "on", "v1") for _ in range(3)}

    assert len(same | {onboarding.execution("churn", "on", "v2"), onboarding.execution("churn", "off", "v1")}) == 3


def test_alarm_names_belong_to_their_model() -> None:
    for name in onboarding.alarm_names("linnet", "churn-eu"):
        assert "churn-eu" in names.possible_models("linnet", name)
    assert names.possible_models("linnet", "linnet-churn-eu-drift-notice") == ["churn-eu-drift", "churn-eu", "churn"]
    assert names.possible_models("linnet", "other-churn") == []


def test_the_alarm_takes_its_numbers_from_the_spec() -> None:
    quality = {"window_minutes": 5, "retrain_windows": 2, "retrain_above": 0.4, "notify_above": 0.2}
    spec = check_spec(flights.spec() | {"monitors": {"data_quality": quality}})
    retrain, notice, accuracy = onboarding.alarms("linnet", spec, "topic", "mine")

    assert (retrain["Period"], retrain["EvaluationPeriods"], retrain["DatapointsToAlarm"]) == (300, 2, 2)
    assert (retrain["Threshold"], notice["Threshold"]) == (0.4, 0.2)
    assert {retrain["Namespace"], notice["Namespace"]} == {"mine/Endpoints/data-metrics"}
    assert accuracy["Namespace"] == "mine/Endpoints/model-metrics"
    assert (accuracy["Period"], accuracy["EvaluationPeriods"]) == (21_600, 2)  # AL-04
    hourly = {"monitors": {"model_quality": {"enabled": True, "schedule": "hourly"}}}
    assert onboarding.alarms("linnet", check_spec(flights.spec() | hourly), "topic")[-1]["Period"] == 3600
    daily = flights.spec() | {"monitors": {"data_quality": {"schedule": "cron(0 */6 * * ? *)"}}}
    assert onboarding.alarms("linnet", check_spec(daily), "topic")[0]["Period"] == 6 * 3600
    assert "AlarmActions" not in retrain  # EventBridge hears of its state by itself (EB-03)


@pytest.mark.parametrize("schedule", ["monthly", "cron(0 0 1 * ? *)", "rate(2 days)", "rate(31 days)"])
def test_mo_07_windows_longer_than_a_day_have_alarms_of_one_day_that_keep_their_state(schedule: str) -> None:
    """CloudWatch takes no period above a day: the window's one value must ring by itself, and silence must not end it."""
    monitors = {
        "data_quality": {"schedule": schedule, "retrain_windows": 1}, "model_quality": {"enabled": True, "schedule": schedule},
        "bias": {"enabled": True, "schedule": schedule, "facet": "carrier", "disadvantaged": ["AA"]},
    }  # fmt: skip
    facet = {"features": {"carrier": "number", "temp": "number"}}
    spec = flights.spec()
    found = onboarding.alarms(
        "linnet", check_spec(spec | {"data": spec["data"] | facet, "monitors": monitors}), "topic"
    )

    assert [alarm["AlarmName"].removeprefix("linnet-flights-") for alarm in found] == [
        "drift", "drift-notice", "bias", "quality",
    ]  # fmt: skip
    for alarm in found:
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (86_400, 1, 1)
        assert alarm["TreatMissingData"] == "ignore"
        assert "1440" not in alarm["AlarmDescription"]


def test_an_alarm_that_stands_by_a_months_one_value_speaks_again_after_a_month_not_after_each_cool_down() -> None:
    monitors = {
        "data_quality": {"schedule": "rate(2 days)", "retrain_windows": 1},
        "model_quality": {"schedule": "monthly"},
        "bias": {"schedule": "daily"},
    }
    spec = spec_json(check_spec(flights.spec() | {"monitors": monitors}))

    pauses = [schedules.pause(spec, purpose) for purpose in ("drift", "quality", "bias", "attribution")]

    assert pauses == [timedelta(days=2), timedelta(days=31), timedelta(0), timedelta(0)]
