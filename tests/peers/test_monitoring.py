"""Public bugs of monitors: silence that fails or passes, baselines that move, constraints that cannot be changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from linnet.decisions import monitoring, schedules
from linnet.decisions.gates import judge
from linnet.decisions.onboarding import alarms
from linnet.errors import BadInputError, NotFoundError
from linnet.events.schedules import Every
from linnet.events.spec import check_spec
from linnet.gateways import findings, ledger
from linnet.monitoring.drift import compare, drift_scores
from linnet.monitoring.files import read_constraints, suggest_constraints
from linnet.monitoring.profile import Profile, kinds_of, profile
from tests.contract.onboarding_world import World, world  # noqa: F401 - a fixture
from tests.model.aws import MODEL

DOCUMENT: dict[str, Any] = {
    "model": MODEL, "data": {"label": "late", "entity": "id", "features": {"a": "number"}},
    "training": {"algorithm": "xgboost", "framework_version": "1.7-1"},
}  # fmt: skip


def of(values: list[float], known: Profile | None = None, name: str = "a") -> Profile:
    """Return the profile of one column."""
    batch = pa.record_batch({name: pa.array(values, pa.float64())})
    return profile([batch], kinds=kinds_of(known) if known else {name: "number"})


CALM = [n / 100 for n in range(1000)]
BASELINE = of(CALM)


def test_sagemaker_python_sdk_2634_no_traffic_is_a_status_and_neither_drift_nor_a_failure() -> None:
    """sagemaker-python-sdk#2634, amazon-sagemaker-examples#1938: 'Job inputs had no data' failed the monitor."""
    found = compare(BASELINE, of([], BASELINE), minimum_rows=30)

    assert (found.status, found.violations, dict(found.drift)) == ("no_data", (), {})
    lines = {
        "kind": "data-quality",
        "status": found.status,
        "scores": {},
        "rows": 0,
        "lines": {"bad": 0},
        "coverage": 1.0,
        "emit": True,
    }
    silent = {monitoring.SILENT: 1.0, "rows": 0.0, "bad_lines": 0.0, "window_coverage": 0.0}
    assert monitoring.metrics(lines | {"coverage": 0.0}) == silent  # and no drift of 0


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
def test_sagemaker_python_sdk_3233_2629_a_window_may_be_five_minutes(minutes: int) -> None:
    """sagemaker-python-sdk#3233, #2629: an hour at least, at a time of the service's choosing."""
    spec = check_spec(DOCUMENT | {"monitors": {"data_quality": {"window_minutes": minutes}}})
    start, end = schedules.window("2026-11-21T10:07:13Z", Every(minutes))

    assert spec.monitors.data_quality.window_minutes == minutes
    assert (end - start).total_seconds() == minutes * 60
    assert end <= datetime(2026, 11, 21, 10, 7, 13, tzinfo=UTC)


@pytest.mark.parametrize(("threshold", "broken"), [(0.05, True), (0.9, False)])
def test_sagemaker_python_sdk_2628_a_changed_constraint_is_the_one_that_counts(threshold: float, broken: bool) -> None:
    """sagemaker-python-sdk#2628: the defaults of constraints could not be changed."""
    document = suggest_constraints(BASELINE)
    distances = document["monitoring_config"]["distribution_constraints"]
    del distances["linnet"]  # Model Monitor's constraints have none
    distances["comparison_threshold"] = threshold
    now = of([value + 3 for value in CALM], BASELINE)

    found = compare(BASELINE, now, read_constraints(document))

    assert ("baseline_drift_check" in {v.check for v in found.violations}) is broken


def test_packtpublishing_learn_amazon_sagemaker_14_the_same_data_is_no_drift_and_a_shift_is() -> None:
    """PacktPublishing/Learn-Amazon-SageMaker#14: the monitor found what was not there and missed what was."""
    assert compare(BASELINE, of(CALM[::-1], BASELINE)).status == "Completed"
    assert compare(BASELINE, of([value + 5 for value in CALM], BASELINE)).status == "CompletedWithViolations"


def test_sample_mlops_bestpractices_baseline_without_one_nothing_is_compared(world: World) -> None:
    """sample-mlops-bestpractices 4996bed: a missing baseline became the current data, and drift could never show."""
    baseline = "s3://linnet-data/baselines/flights/r1/"
    with pytest.raises(NotFoundError):
        findings.baseline(baseline, "statistics.json")
    for content in ("", "[]", "null", "{"):
        world.put("baselines/flights/r1/statistics.json", content)
        with pytest.raises(BadInputError):
            findings.baseline(baseline, "statistics.json")


def test_sample_mlops_bestpractices_limit_every_row_counts_whatever_the_order() -> None:
    """sample-mlops-bestpractices 4996bed: an unordered LIMIT 10000 decided which rows were compared."""
    many = [float(n % 10) for n in range(30_000)] + [1000.0] * 6_000
    forth, back = of(many), of(many[::-1])

    assert forth.rows == back.rows == 36_000
    assert drift_scores(BASELINE, forth) == drift_scores(BASELINE, back)
    assert forth.columns["a"].counts.sum() == len(many)  # and none was left out


def test_aiops_modules_rebaseline_what_a_look_finds_never_becomes_the_baseline(world: World) -> None:
    """awslabs/aiops-modules dfd7f15: the nightly baseline was made of the data that it then judged."""
    champion = {"version": 1, "baseline": "s3://linnet-data/baselines/flights/r1/", "config": "c"}
    ledger.put_once(f"model/{MODEL}", "champion", champion)
    version = world.put("baselines/flights/r1/statistics.json", {"version": 0})
    found = {
        "status": "CompletedWithViolations", "severity": "High", "features": ["a"], "rows": 500, "violations": [],
        "class": None, "baseline": champion["baseline"], "season": None,
        "broken": 1, "lines": {"bad": 0}, "coverage": 1.0, "emit": True, "muted": [], "named": {},
        "kind": "data-quality", "scores": {"a": 0.9}, "uri": "s3://linnet-data/monitoring/", "start": "2026-11-21T09:00:00Z",
        "end": "2026-11-21T10:00:00Z", "at": "2026-11-21T10:00:00Z",
    }  # fmt: skip
    findings.put_files(MODEL, datetime(2026, 11, 21, 9, tzinfo=UTC), {"statistics.json": {"version": 9}})
    findings.record(MODEL, found, correlation_id="c")

    assert (ledger.read(f"model/{MODEL}", "champion") or {})["baseline"] == champion["baseline"]
    head = world.s3.head_object(Bucket="linnet-data", Key="baselines/flights/r1/statistics.json")
    assert head["VersionId"] == version
    assert findings.baseline(str(champion["baseline"]), "statistics.json") == {"version": 0}


@pytest.mark.parametrize("worst", ["a", "fare_amount", "zz"])
def test_amazon_sagemaker_drift_detection_feature_any_feature_raises_the_alarm(worst: str) -> None:
    """amazon-sagemaker-drift-detection b281df4: only feature_baseline_drift_fare_amount was watched."""
    scores = {"a": 0.1, "fare_amount": 0.1, "zz": 0.1} | {worst: 0.8}
    found = monitoring.metrics({
        "status": "Completed", "scores": scores, "rows": 500, "broken": 1, "lines": {"bad": 0}, "coverage": 1.0, "emit": True,
        "muted": [], "named": {}, "kind": "data-quality",
    })  # fmt: skip
    watched = alarms("linnet", check_spec(DOCUMENT), "topic")

    assert found[monitoring.WORST] == 0.8
    assert {a["MetricName"] for a in watched} - {"accuracy"} == {monitoring.WORST}


def test_sample_sagemaker_image_classification_mlops_periods_one_window_starts_no_run() -> None:
    """sample-sagemaker-image-classification-mlops: alarm to pipeline with EvaluationPeriods 1."""
    retrain, *_ = alarms("linnet", check_spec(DOCUMENT), "topic")

    assert retrain["EvaluationPeriods"] == retrain["DatapointsToAlarm"] >= 2
    assert "AlarmActions" not in retrain  # it speaks by its event, which intake reads again


@pytest.mark.parametrize(
    ("value", "champion", "verdict"), [(0.9, 0.95, "not better"), (0.9, 0.85, "better"), (0.9, 0.9, "not better")]
)
def test_sample_sagemaker_image_classification_mlops_gate_good_enough_is_not_better(
    value: float, champion: float, verdict: str
) -> None:
    """sample-sagemaker-image-classification-mlops, amazon-sagemaker-drift-detection: absolute gates only."""
    spec = check_spec(DOCUMENT)
    evaluation = spec.evaluation.model_dump() | {"threshold": 0.8, "metric": "auc"}
    report = {"metrics": {"auc": value}, "champion": {"metrics": {"auc": champion}}}

    assert judge(report, evaluation, spec.approval.model_dump()).verdict == verdict


@pytest.mark.parametrize("threshold", [0.1, 0.99])
def test_amazon_sagemaker_safe_deployment_pipeline_gate_the_threshold_is_the_specs(threshold: float) -> None:
    """amazon-sagemaker-safe-deployment-pipeline run_pipeline.py:214, drift-detection: RMSE < 10, rmse <= 7.0 in the code."""
    spec = check_spec(DOCUMENT | {"evaluation": {"threshold": threshold}})
    report = {"metrics": {spec.evaluation.metric: 0.5}}

    found = judge(report, spec.evaluation.model_dump(), spec.approval.model_dump())

    assert found.threshold == threshold
    assert (found.verdict == "better") is (threshold == 0.1)


def test_amazon_sagemaker_safe_deployment_pipeline_text_violations_are_read_as_fields() -> None:
    """amazon-sagemaker-safe-deployment-pipeline: the drift was taken out of a sentence by a regex."""
    found = compare(BASELINE, of([value + 5 for value in CALM], BASELINE))

    assert json.loads(json.dumps(dict(found.drift)))["a"] > 0.1
