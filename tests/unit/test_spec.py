"""The spec: a wrong field is named with its value and what is allowed; the defaults are the requirements' numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from linnet.errors import BadInputError
from linnet.events.spec import check_spec, spec_json
from linnet.events.spec_file import read_yaml

ROOT = Path(__file__).parents[2]


def document() -> dict[str, Any]:
    """Return the smallest spec."""
    return {
        "model": "churn",
        "data": {"label": "left", "entity": "customer_id", "features": {"age": "number"}},
        "training": {"algorithm": "xgboost", "framework_version": "1.7-1"},
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the smallest spec with one field set."""
    made = document()
    part: Any = made
    *parents, last = path.split(".")
    for name in parents:
        part = part.setdefault(name, {})
    part[last] = value
    return made


XMAS = {"name": "xmas", "from": "12-20", "to": "01-06", "baseline": "s3://our-data/baselines/churn/xmas"}
WRONG = [
    # path, value, field that the error names, what it says is allowed
    ("model", "Churn", "model", "lower case letters, digits and single hyphens"),
    ("model", "a" * 15 + "-" + "b" * 10, "model", "at most 20 characters"),
    ("model", "churn--eu", "model", "lower case letters"),
    ("modle", "churn", "modle", "did you mean 'model'? the fields are model, description, owner, data"),
    ("data.features", {}, "data.features", "at least 1 item"),
    ("data.features", {"a b": "number"}, "data.features.a b", "a column name"),
    ("data.features", {"age": "text"}, "data.features.age", "'number' or 'category'"),
    ("data.features", {"left": "number"}, "data", "the label 'left' must not be a feature"),
    ("data.entity", "left", "data", "must be another column than the label"),
    ("data.holdout", 1.0, "data.holdout", "less than 0.9"),
    ("data.holdout", float("nan"), "data.holdout", "finite"),
    ("data.rules", [{"kind": "completeness", "column": "age"}], "data.rules.0", "needs 'above'"),
    ("data.rules", [{"kind": "range", "column": "age"}], "data.rules.0", "needs 'min' or 'max'"),
    ("data.rules", [{"kind": "range", "column": "age", "min": 2, "max": 1}], "data.rules.0", "'min' must not be above"),
    ("data.rules", [{"kind": "median", "column": "age"}], "data.rules.0.kind", "'completeness'"),
    ("data.rules", [{"kind": "range", "colum": "age", "min": 1}], "data.rules.0.colum", "did you mean 'column'?"),
    ("training.framework_version", 1.7, "training.framework_version", "valid string"),
    ("training.framework_version", "latest", "training.framework_version", "such as '1.7-1'"),
    ("training.algorithm", "script", "training", "needs 'source'"),
    ("training.source", "../elsewhere.tar.gz", "training.source", "a key of the data bucket such as code/"),
    ("training.hyperparameters", {"a b": 1}, "training.hyperparameters.a b", "a hyperparameter's name"),
    ("training.hyperparameters", {"a": [1]}, "training.hyperparameters.a", "string"),
    ("training.spot", {"max_wait_seconds": 60}, "training", "max_wait_seconds must be at least max_runtime_seconds"),
    ("training.instance_type", "m5.xlarge", "training.instance_type", "such as ml.m5.xlarge"),
    ("evaluation.threshold", 85, "evaluation.threshold", "less than or equal to 1"),
    ("approval.person", 0.95, "approval", "'person' must not be above 'automatic'"),
    ("rollout.ladder", [5, 50], "rollout", "must rise from at least 1 to 100"),
    ("rollout.ladder", [5, 5, 100], "rollout", "must rise"),
    ("rollout.wait_seconds", 3600, "rollout", "larger than the waits"),
    ("rollout.health.max_errors", -1, "rollout.health.max_errors", "greater than or equal to 0"),
    ("rollout.health.max_eror", 1, "rollout.health.max_eror", "did you mean 'max_errors'?"),
    ("retraining.signals", ["drift", "mood"], "retraining.signals.1", "'drift'"),
    ("monitors.data_quality.notify_above", 0.5, "monitors.data_quality", "must not be above 'retrain_above'"),
    ("monitors.data_quality.window_minutes", 7, "monitors.data_quality", "must divide a day"),
    ("monitors.data_quality", {"window_minutes": 720, "retrain_windows": 20}, "monitors.data_quality", "alarm's limit"),
    ("monitors.data_quality.schedule", "cron(5 * * * ? *)", "monitors.data_quality.schedule", "cron(0 h/n ? * * *)"),
    ("monitors.data_quality.schedule", "monthly", "monitors.data_quality", "'retrain_windows' must be 1"),
    ("monitors.data_quality", {"schedule": "rate(2 days)", "retrain_windows": 2}, "monitors.data_quality", "must be 1"),
    ("monitors.data_quality", {"schedule": "daily", "retrain_windows": 8}, "monitors.data_quality", "alarm's limit"),
    ("monitors.model_quality.schedule", "yearly", "monitors.model_quality.schedule", "hourly, daily, monthly"),
    ("monitors.model_quality.label_delay_hours", 721, "monitors.model_quality.label_delay_hours", "equal to 720"),
    ("monitors.metrics_for", ["hight"], "spec", "no feature of data.features: ['hight']"),
    ("monitors.data_quality.baseline", "s3://our-data/elsewhere/x", "monitors.data_quality.baseline", "/baselines/<folder>"),
    ("monitors.data_quality.seasons", [XMAS | {"from": "02-30"}], "monitors.data_quality.seasons.0.from", "MM-DD"),
    ("monitors.data_quality.seasons", [XMAS | {"to": ""}], "monitors.data_quality.seasons.0.to", "MM-DD"),
    ("monitors.data_quality.seasons", [XMAS | {"name": ""}], "monitors.data_quality.seasons.0.name", "a season's name"),
    ("monitors.data_quality.seasons", [XMAS | {"baseline": None}], "monitors.data_quality.seasons.0.baseline", "string"),
    ("monitors.data_quality.seasons", [{"from": "12-20"}], "monitors.data_quality.seasons.0.name", "required"),
    ("monitors.data_quality.seasons", [XMAS | {"form": "1"}], "monitors.data_quality.seasons.0.form", "did you mean 'from'"),
    ("monitors.data_quality.seasons", [XMAS, XMAS | {"from": "06-01"}], "monitors.data_quality", "has the name or all days"),
    ("monitors.data_quality.seasons", [XMAS, XMAS | {"name": "y", "to": "12-31"}], "monitors.data_quality", "the name or all"),
    ("notifications.emails", ["nobody"], "notifications.emails.0", "an e-mail address"),
    ("owner", "R&D", "owner", "letters, digits, spaces"),
    ("data", None, "data", "dictionary"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "field", "allowed"), WRONG, ids=[f"{w[0]}={w[1]}"[:60] for w in WRONG])
def test_a_wrong_field_is_named_with_its_value_and_what_is_allowed(
    path: str, value: Any, field: str, allowed: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        check_spec(changed(path, value))

    assert caught.value.field == field
    assert allowed in caught.value.allowed
    assert str(caught.value).startswith(f"{field}: ")


DAY = 86400
IMPOSSIBLE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # rollout, endpoint, what is said
    ({}, {"instance_count": 1}, "strategy canary needs an instance_count of at least 2"),
    ({"strategy": "linear"}, {"instance_count": 1}, "strategy linear needs an instance_count of at least 2"),
    ({"strategy": "shadow"}, {"instance_count": 1}, "or the strategy stepped"),
    ({"strategy": "shadow"}, {"capture_percent": 0}, "strategy shadow compares captured answers"),
    ({"strategy": "multi_stage"}, {"capture_percent": 0}, "endpoint.capture_percent must be above 0"),
    ({"strategy": "ab"}, {"capture_percent": 0}, "strategy ab compares captured answers"),
    ({"strategy": "ab", "better_by": "cost"}, {"capture_percent": 0}, "strategy ab compares captured answers"),
    ({"health": {"alarm_periods": 6}}, {}, "alarms take 360 seconds to be raised, the bake ends after 300"),
    ({"wait_seconds": 119}, {}, "alarms take 120 seconds to be raised, the bake ends after 119"),
    ({"strategy": "linear", "wait_seconds": 60}, {}, "the bake ends after 60: lengthen the bake or lower health.alarm_periods"),
    ({"strategy": "all_at_once", "termination_wait_seconds": 119}, {}, "the bake ends after 119"),
    ({"strategy": "shadow", "health": {"alarm_period_seconds": 300}}, {}, "alarms take 600 seconds"),
    ({"wait_seconds": 2000, "termination_wait_seconds": 1600}, {}, "larger than the waits"),
    ({"ladder": []}, {}, "must rise from at least 1 to 100"),
    ({"ladder": [50, 20, 100]}, {}, "must rise"),
    ({"ladder": [5, 50]}, {}, "to 100"),
    ({"waits": [300]}, {}, "'waits' must have 5 values"),
    ({"strategy": "multi_stage", "waits": [DAY]}, {}, "'waits' must have 6 values"),
    ({"strategy": "ab", "ladder": [100]}, {}, "an ab test needs a share below 100"),
]  # fmt: skip
POSSIBLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"strategy": "stepped"}, {"instance_count": 1}),
    ({"strategy": "all_at_once"}, {"instance_count": 1}),
    ({"strategy": "ab"}, {"instance_count": 1}),
    ({"strategy": "ab", "better_by": "errors"}, {"capture_percent": 0}),
    ({"strategy": "stepped"}, {"capture_percent": 0}),
    ({"health": {"alarm_periods": 5}}, {}),
    ({"wait_seconds": 120}, {}),
    ({"strategy": "stepped", "wait_seconds": 60}, {}),
    ({"strategy": "all_at_once", "termination_wait_seconds": 0}, {}),
    ({"strategy": "multi_stage", "ladder": [10, 100]}, {}),
    ({"waits": [60, 60, 60, 60, 60 * DAY]}, {}),
    ({"ladder": [100]}, {}),
]


@pytest.mark.parametrize(("rollout", "endpoint", "says"), IMPOSSIBLE, ids=[i[2][:50] for i in IMPOSSIBLE])
def test_an_impossible_rollout_is_refused_before_anything_is_created_saying_why(
    rollout: dict[str, Any], endpoint: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        check_spec(document() | {"rollout": rollout, "endpoint": endpoint})

    assert says in caught.value.allowed


@pytest.mark.parametrize(("rollout", "endpoint"), POSSIBLE)
def test_what_only_looks_impossible_is_taken(rollout: dict[str, Any], endpoint: dict[str, Any]) -> None:
    taken = check_spec(document() | {"rollout": rollout, "endpoint": endpoint}).rollout

    assert all(spec_json(taken)[name] == value for name, value in rollout.items() if name != "health")


@pytest.mark.parametrize("name", ["waits", "wait_seconds", "shadow_seconds"])
@pytest.mark.parametrize("seconds", [59, 60 * DAY + 1, 1.5, "long"])
def test_a_wait_is_whole_seconds_from_a_minute_to_what_sagemaker_or_the_workflow_bears(name: str, seconds: Any) -> None:
    with pytest.raises(BadInputError, match=rf"^rollout\.{name}"):
        check_spec(document() | {"rollout": {name: [seconds] * 5 if name == "waits" else seconds}})


def test_ro_05_ro_08_the_long_strategies_have_numbers_of_their_own_and_what_is_given_wins() -> None:
    ab, stages = (check_spec(changed("rollout.strategy", name)).rollout for name in ("ab", "multi_stage"))

    assert (ab.ladder, ab.waits, ab.deadline_seconds) == ((10, 50, 100), (), 14 * DAY)
    assert stages.ladder == (5, 10, 25, 50, 75, 100)
    assert [wait / DAY for wait in stages.waits] == [2, 2, 2, 1, 1, 7]
    assert (stages.shadow_seconds, stages.watch_hours) == (14 * DAY, 720)
    given = check_spec(document() | {"rollout": {"strategy": "multi_stage", "ladder": [50, 100], "watch_hours": 1}})
    assert (given.rollout.ladder, given.rollout.waits, given.rollout.watch_hours) == ((50, 100), (), 1)


def test_a_missing_field_is_named_and_the_others_are_counted() -> None:
    with pytest.raises(BadInputError, match=r"^data: '\(missing\)' is not allowed; .* \(and 1 more wrong fields\)$"):
        check_spec({"model": "churn"})


def test_xgboost_refuses_categories_by_name() -> None:
    with pytest.raises(BadInputError, match=r"takes numbers only; these features are categories: \['city'\]"):
        check_spec(changed("data.features", {"age": "number", "city": "category"}))


@pytest.mark.parametrize("value", [None, [], "model: churn", 7])
def test_a_file_that_holds_no_mapping_is_an_error_of_the_spec(value: Any) -> None:
    with pytest.raises(BadInputError, match=r"^spec: "):
        check_spec(value)


def test_the_defaults_are_the_requirements_numbers() -> None:
    spec = check_spec(document())

    assert (spec.approval.automatic, spec.approval.person) == (0.90, 0.85)  # RG-03
    assert spec.evaluation.threshold == 0.85  # EV-02
    assert (spec.rollout.strategy, spec.rollout.canary_percent, spec.rollout.wait_seconds) == (
        "canary",
        10,
        300,
    )  # RO-01
    assert spec.rollout.ladder == (5, 10, 25, 50, 100)  # RO-02
    assert (spec.rollout.health.max_errors, spec.rollout.health.max_latency_ms) == (10, 500.0)  # RB-02
    quality = spec.monitors.data_quality
    assert (quality.notify_above, quality.retrain_above, quality.retrain_windows) == (0.1, 0.3, 3)  # AL-01, TG-07
    assert (quality.window_minutes, spec.endpoint.capture_percent) == (60, 100)  # MO-02, DC-01
    assert spec.training.spot.enabled  # TR-03


def test_a_spec_survives_its_own_json() -> None:
    spec = check_spec(changed("training.hyperparameters", {"eta": 0.1, "rounds": 5, "objective": "x", "flag": True}))

    assert check_spec(spec_json(spec)) == spec


def test_seasons_survive_a_specs_json_and_their_overlap_is_the_firsts() -> None:
    later = XMAS | {"name": "winter", "from": "12-01", "to": "02-29"}
    spec = check_spec(changed("monitors.data_quality.seasons", [XMAS, later]))

    assert spec_json(spec)["monitors"]["data_quality"]["seasons"] == [XMAS, later]
    assert check_spec(spec_json(spec)) == spec


@pytest.mark.parametrize("path", sorted(ROOT.glob("models/*/*.yaml")), ids=lambda p: p.stem)
def test_the_sample_specs_are_valid_under_their_own_names(path: Path) -> None:
    assert check_spec(read_yaml(path.read_bytes())).model == path.stem


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe", "'byte 0' is not allowed; allowed: text in UTF-8"),
        (b"a: 1\nb: [", "line 2"),
        (b"a: &x [1]\nb: *x\n", "line 2: alias \\*x"),
        (b"a: 1\nb: 2\na: 3\n", "line 3: a again"),
        (b"a:\n  b: {c: 1, c: 2}\n", "line 2: c again"),
        (b"a: !!python/object:os.system {}\n", "line 1: tag"),
        (b"a: 1\n---\nb: 2\n", "line 2"),
        (b"[" * 60_000, "nested 21 deep"),
        (b"? [a]\n: 1\n", "line 1: a key that is no text"),
        (b"a: 2026-13-45\n", "values that YAML can read"),
        (b"a: \x00\n", "YAML document"),
    ],
)
def test_a_file_that_reads_two_ways_or_none_is_refused_with_its_place(content: bytes, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        read_yaml(content)


def test_json_is_yaml_and_a_byte_order_mark_is_no_error() -> None:
    assert read_yaml(b'\xef\xbb\xbf{"model": "churn", "data": {"holdout": 0.2}}') == {
        "model": "churn", "data": {"holdout": 0.2},
    }  # fmt: skip


@given(st.binary(max_size=300))
def test_any_bytes_are_a_document_or_an_error_that_names_the_file(content: bytes) -> None:
    try:
        read_yaml(content)
    except BadInputError as error:
        if error.field != "spec file":
            pytest.fail(str(error))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["model", "data", "training", "approval", "rollout", "monitors"]), documents))
def test_any_document_is_a_spec_or_an_error_that_names_a_field(found: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as caught:
        check_spec(found)

    assert caught.value.field


@given(documents)
def test_what_yaml_writes_is_read_back(found: Any) -> None:
    try:
        seen = read_yaml(yaml.safe_dump(found, default_flow_style=True).encode())
    except BadInputError:
        return  # keys that are no text, or twice the same when spelled
    assert seen == found
