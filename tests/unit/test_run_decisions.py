"""The pure decisions of intake and retrain at their boundaries."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import batches, gates, governor, images, names, signals, training
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, parse
from linnet.events.signals import Signal
from linnet.events.spec import check_spec, spec_json
from models.diamonds import data as diamonds
from models.flights import data as flights
from tests.contract.onboarding_world import sample

EVALUATION = {"metric": "auc", "threshold": 0.85, "margin": 0.0}
APPROVAL = {"automatic": 0.90, "person": 0.85, "require_person": False}


def report(auc: Any, champion: float | None = None, *, fit: str = "") -> dict[str, Any]:
    """Return what the gates read of an evaluation.json."""
    found: dict[str, Any] = {"metrics": {"auc": auc}}
    found |= {} if champion is None else {"champion": {"metrics": {"auc": champion}}}
    return found | ({"fit": {"verdict": fit}} if fit else {})


@pytest.mark.parametrize(
    ("auc", "verdict", "tier"),
    [
        (0.8499, "below threshold", "reject"),
        (0.85, "better", "person"),
        (0.8999, "better", "person"),
        (0.90, "better", "automatic"),
        (0.95, "better", "automatic"),
        (0.70, "below threshold", "reject"),
    ],
)
def test_ev_02_rg_03_the_threshold_and_the_tiers_hold_at_their_boundaries(auc: float, verdict: str, tier: str) -> None:
    judged = gates.judge(report(auc), EVALUATION, APPROVAL)

    assert (judged.verdict, judged.tier) == (verdict, tier)
    assert (judged.value, judged.threshold) == (auc, 0.85)


def test_rg_08_a_spec_that_always_asks_a_person_has_no_automatic_tier() -> None:
    assert gates.judge(report(0.99), EVALUATION, APPROVAL | {"require_person": True}).tier == "person"


@pytest.mark.parametrize(
    ("candidate", "champion", "margin", "verdict"),
    [(0.91, 0.92, 0.0, "not better"), (0.92, 0.92, 0.0, "not better"), (0.9201, 0.92, 0.0, "better"),
     (0.925, 0.92, 0.01, "not better"), (0.94, 0.92, 0.01, "better")],
)  # fmt: skip
def test_ev_03_a_tie_keeps_the_champion_and_the_margin_counts(
    candidate: float, champion: float, margin: float, verdict: str
) -> None:
    judged = gates.judge(report(candidate, champion), EVALUATION | {"margin": margin}, APPROVAL)

    assert judged.verdict == verdict
    assert judged.champion_value == champion


@given(st.floats(0.85, 1), st.floats(0.85, 1))
def test_f35_of_two_models_at_most_one_beats_the_other(one: float, other: float) -> None:
    forth = gates.judge(report(one, other), EVALUATION, APPROVAL).verdict
    back = gates.judge(report(other, one), EVALUATION, APPROVAL).verdict

    assert [forth, back].count("better") <= 1
    assert (forth == back == "not better") == (one == other)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.9", True])
def test_f27_a_metric_that_is_missing_or_not_finite_is_refused_never_compared(value: Any) -> None:
    with pytest.raises(BadInputError, match=r"candidate\.auc"):
        gates.judge(report(value), EVALUATION, APPROVAL)
    with pytest.raises(BadInputError, match=r"champion\.auc"):
        gates.judge({"metrics": {"auc": 0.9}, "champion": {"metrics": {"auc": value}}}, EVALUATION, APPROVAL)


START = datetime(2026, 11, 21, tzinfo=UTC)


def stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@given(
    st.lists(st.integers(0, 3 * 86400), min_size=1, max_size=60),
    st.integers(0, 86400),
    st.integers(1, 10),
    st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_f13_i6_runs_are_at_most_one_a_cooldown_and_the_daily_limit_and_a_waiting_signal_is_served(
    arrivals: list[int], cooldown: int, limit: int, judged: list[bool]
) -> None:
    limits = {"retraining": {"cooldown_seconds": cooldown, "daily_limit": limit}}
    slot: dict[str, Any] = {}
    started: list[tuple[int, bool]] = []
    for number, at in enumerate(sorted(arrivals)):
        if not governor.may_start(slot, limits, stamp(at)).start:
            continue
        day = governor.day(stamp(at))
        count = slot.get("day_runs", 0) if slot.get("day") == day else 0
        slot |= {"day": day, "day_runs": count + 1}
        if judged[number]:
            slot["cooled_from"] = stamp(at)
        started.append((at, judged[number]))

    for (before, was_judged), (after, _) in itertools.pairwise(started):
        assert not was_judged or after - before >= cooldown
    days = [stamp(at)[:10] for at, _ in started]
    assert all(days.count(d) <= limit for d in days)
    # No starvation: what waits now may start once the cool-down and the day are over.
    assert governor.may_start(slot, limits, stamp(4 * 86400 + cooldown)).start


def test_a_taken_slot_answers_its_owner_and_nobody_else() -> None:
    slot = {"owner": "e1", "run": "r1", "since": stamp(0)}
    limits = {"retraining": {"cooldown_seconds": 0, "daily_limit": 1}}

    assert governor.may_start(slot, limits, stamp(1), me="e1").start
    assert "r1 holds the slot" in governor.may_start(slot, limits, stamp(1), me="e2").why


@pytest.mark.parametrize(
    ("fit", "refuse", "verdict"),
    [("overfit", True, "not better"), ("overfit", False, "better"), ("healthy", True, "better")],
)
def test_ev_07_overfitting_is_told_and_refuses_only_where_the_spec_says_so(
    fit: str, refuse: bool, verdict: str
) -> None:
    wanted = EVALUATION | {"refuse_overfit": refuse, "overfit_gap": 0.1}
    judged = gates.judge(report(0.95, fit=fit), wanted, APPROVAL)

    assert judged.verdict == verdict
    assert ("overfit" in judged.why or "training rows" in judged.why) == (fit == "overfit")


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        ({"DPPL": 0.1, "DI": 0.8}, "better", "better"),
        ({"DPPL": -0.11, "DI": 0.8}, "not better", "DPPL -0.1100 is farther than 0.1 from 0"),
        ({"DPPL": 0.0, "DI": 1.3}, "not better", "DI 1.3000 is farther than 0.2 from 1"),
        ({"DPPL": 0.0, "DI": 2.348543e108}, "not better", "DI 2.34854e+108 is farther than 0.2 from 1"),
        ({"DPPL": 0.0}, "not better", "DI is unknown: the group has 12 rows"),
    ],
)
def test_a_bias_beyond_its_limit_or_unknown_refuses_the_candidate_by_name(
    found: dict[str, float], verdict: str, said: str
) -> None:
    wanted = EVALUATION | {"bias": {"facet": "sex", "disadvantaged": ["F"], "limits": {"DPPL": 0.1, "DI": 0.2000001}}}
    unknown = {"DI": "the group has 12 rows, the others 300; at least 30 are needed"} if "DI" not in found else {}
    judged = gates.judge(report(0.95) | {"bias": {"metrics": found, "unknown": unknown}}, wanted, APPROVAL)

    assert judged.verdict == verdict
    assert said in f"{judged.verdict} {judged.why}"


def test_a_bias_that_the_report_does_not_have_refuses_where_the_spec_limits_it() -> None:
    wanted = EVALUATION | {"bias": {"facet": "sex", "disadvantaged": ["F"], "limits": {"DRR": 1}}}
    judged = gates.judge(report(0.95), wanted, APPROVAL)

    assert (judged.verdict, judged.why) == ("not better", "bias: DRR is unknown: the report does not have it")


@pytest.mark.parametrize(
    ("most", "verdict", "said"),
    [
        (None, "better", "tier: automatic"),
        (41.5, "better", "tier: automatic"),
        (41.4, "not better", "its cost of 41.5000 a row (the champion's is 60.2500) is above the maximum 41.4000"),
    ],
)
def test_ev_06_a_candidate_above_the_maximum_cost_is_refused_beside_the_champions(
    most: float | None, verdict: str, said: str
) -> None:
    found = {
        "metrics": {"auc": 0.95, "cost_per_row": 41.5},
        "champion": {"metrics": {"auc": 0.9, "cost_per_row": 60.25}},
    }
    judged = gates.judge(found, EVALUATION | {"maximum_cost_per_row": most}, APPROVAL)

    assert judged.verdict == verdict
    assert judged.why.endswith(said)


def test_ev_06_f27_a_cost_that_is_missing_where_it_is_limited_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"candidate\.cost_per_row"):
        gates.judge(report(0.95), EVALUATION | {"maximum_cost_per_row": 1.0}, APPROVAL)


@pytest.mark.parametrize("refuse", [False, True])
def test_all_that_speaks_against_a_candidate_is_told_at_once(refuse: bool) -> None:
    wanted = EVALUATION | {
        "refuse_overfit": refuse, "overfit_gap": 0.1, "maximum_cost_per_row": 1.0,
        "bias": {"facet": "sex", "disadvantaged": ["F"], "limits": {"DPPL": 0.1, "DI": 0.2}},
    }  # fmt: skip
    found = {
        "metrics": {"auc": 0.84, "cost_per_row": 2.0}, "champion": {"metrics": {"auc": 0.9, "cost_per_row": 1.5}},
        "fit": {"verdict": "overfit"}, "bias": {"metrics": {"DPPL": 0.3, "DI": 0.5}, "unknown": {}},
    }  # fmt: skip
    judged = gates.judge(found, wanted, APPROVAL)

    assert judged.verdict == "below threshold"
    told = ("below the threshold", "the champion's 0.9", "cost of 2.0", "DPPL 0.3", "DI 0.5", "overfit")
    assert [word for word in told if word not in judged.why] == []
    assert len(judged.why.split("; ")) == len(told)


def test_an_underfit_is_told_whatever_the_verdict() -> None:
    verdicts = [gates.judge(report(auc, fit="underfit"), EVALUATION, APPROVAL) for auc in (0.5, 0.95)]

    assert [judged.verdict for judged in verdicts] == ["below threshold", "better"]
    assert all(judged.why.endswith("underfit") for judged in verdicts)


def test_gap_13_a_run_that_might_exceed_the_months_budget_waits_for_the_next_month() -> None:
    budget = {"per_month": 1.0, "price_per_instance_hour": 0.5}
    spec = {
        "retraining": {"cooldown_seconds": 0, "daily_limit": 9, "budget": budget},
        "training": {"max_runtime_seconds": 3600, "instance_count": 1},
    }
    slot = {"month": "2026-11", "month_cost": 0.5}

    assert governor.may_start(slot, spec, stamp(0)).start  # 0.50 spent, 0.50 at worst: exactly the budget
    assert "0.51 spent; a run may cost 0.50" in governor.may_start(slot | {"month_cost": 0.51}, spec, stamp(0)).why
    assert governor.may_start(slot | {"month_cost": 0.51}, spec, "2026-12-01T00:00:00Z").start
    spec["training"] = {"max_runtime_seconds": 3600, "instance_count": 2}
    assert not governor.may_start(slot, spec, stamp(0)).start


@pytest.mark.parametrize(
    ("key", "batch", "name"),
    [
        ("year=2024/month=01/day=01/data.parquet", "year=2024/month=01/day=01", "data.parquet"),
        ("year=2024/month=01/day=01/_MANIFEST.json", "year=2024/month=01/day=01", "_MANIFEST.json"),
        ("2024-01-01/day=01/data.parquet", "2024-01-01", "day=01/data.parquet"),
    ],
)
def test_da_03_hive_partitions_are_one_batch_together(key: str, batch: str, name: str) -> None:
    assert signals.place(f"raw-data/flights/{key}") == ("flights", batch, name)


@pytest.mark.parametrize(
    ("later", "earlier"),
    [("0055AED6DCD90281E6", "0055AED6DCD90281E5"), ("617f08299329d19", "617f08299329d189"), ("1", "")],
)
def test_f4_sequencers_are_right_padded_before_they_are_compared(later: str, earlier: str) -> None:
    assert batches.newer(later, earlier)
    assert not batches.newer(earlier, later)
    assert not batches.newer(later, later)


@pytest.mark.parametrize(
    ("quiet_for", "open_for", "over"), [(299, 400, False), (300, 400, True), (10, 3599, False), (10, 3600, True)]
)
def test_a_batch_closes_after_its_quiet_period_or_at_its_limit(quiet_for: int, open_for: int, over: bool) -> None:
    found = batches.is_over(
        stamp(0), stamp(open_for - quiet_for), stamp(open_for), quiet_seconds=300, limit_seconds=3600
    )

    assert found == over


@pytest.mark.parametrize("name", ["a b.csv", "c+d.csv", "é/ü.csv", "a%20b.csv"])
def test_da_02_eventbridge_keys_are_taken_as_they_are(name: str) -> None:
    assert signals.place(f"raw-data/flights/b/{name}") == ("flights", "b", name)


@pytest.mark.parametrize("key", ["raw-data/flights/part.csv", "raw-data//b/part.csv", "raw-data/flights//part.csv"])
def test_data_outside_a_batch_is_refused_by_name(key: str) -> None:
    with pytest.raises(BadInputError, match="raw-data/<model>/<batch>/<file>"):
        signals.place(key)


@pytest.mark.parametrize(("value", "suppressed"), [("OK", None), ("INSUFFICIENT_DATA", None), ("ALARM", "WaitPeriod")])
def test_eb_03_i7_only_an_unsuppressed_alarm_is_a_signal(value: str, suppressed: str | None) -> None:
    event = sample("on_signal.drift")
    event["detail"]["state"] |= {"value": value} | ({"actionsSuppressedBy": suppressed} if suppressed else {})

    assert signals.of_alarm(parse(AlarmEvent, event), "linnet") is None


def test_eb_05_a_runs_trigger_is_its_gravest_reason_and_keeps_the_severity() -> None:
    def made(kind: Any, severity: Any = "") -> Signal:
        return Signal(id=kind, kind=kind, model="m", at=stamp(0), reason=kind, source="s", severity=severity)

    found = signals.trigger([made("schedule"), made("data"), made("drift", "High")])
    assert found == {"TriggerReason": "drift", "Timestamp": stamp(0), "DriftSeverity": "High"}
    assert signals.trigger([made("schedule")]) == {"TriggerReason": "schedule", "Timestamp": stamp(0)}


SERVICE = botocore.session.get_session().get_service_model("sagemaker")


def check_request(operation: str, request: dict[str, Any]) -> None:
    found = ParamValidator().validate(request, SERVICE.operation_model(operation).input_shape)  # type: ignore[arg-type]
    assert not found.has_errors(), found.generate_report()


@pytest.mark.parametrize("spec", [flights.spec(), diamonds.spec()], ids=["xgboost", "script"])
def test_tr_02_tr_03_tr_04_the_requests_of_a_run_are_complete_and_valid(spec: dict[str, Any]) -> None:
    checked = spec_json(check_spec(spec))
    prepared = {"train_uri": "s3://b/t", "validation_uri": "s3://b/v"}
    job = training.training_job(
        checked, run="r1", stack="linnet", bucket="b", role="arn:aws:iam::123456789012:role/x", region="us-east-1",
        prepared=prepared,
    )  # fmt: skip
    transform = training.transform_job(
        checked,
        run="r1",
        stack="linnet",
        bucket="b",
        who="candidate",
        model_name="m",
        features_uri="s3://b/f/features.csv",
    )

    check_request("CreateTrainingJob", job)
    check_request("CreateTransformJob", transform)
    assert job["EnableManagedSpotTraining"] is True
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert ("CheckpointConfig" in job) == checked["training"]["spot"]["checkpoints"]
    assert job.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints") == "/opt/ml/checkpoints"
    assert job["ResourceConfig"]["VolumeSizeInGB"] == 30
    assert {c["ChannelName"] for c in job["InputDataConfig"]} == {"train", "validation"}
    assert all(isinstance(v, str) for v in job["HyperParameters"].values())
    assert (
        training.predictions_uri(transform)
        == "s3://b/results/" + checked["model"] + "/r1/predictions/candidate/features.csv.out"
    )


@pytest.mark.parametrize(("run", "wait", "right"), [(3600, 7200, True), (172800, 259200, True), (7200, 3600, False)])
def test_tr_03_max_wait_below_max_run_is_refused(run: int, wait: int, right: bool) -> None:
    spec = flights.spec()
    spec["training"] |= {"max_runtime_seconds": run, "spot": {"max_wait_seconds": wait}}
    if right:
        assert check_spec(spec)
    else:
        with pytest.raises(BadInputError, match="max_wait_seconds"):
            check_spec(spec)


def test_a_script_model_serves_with_the_code_that_trained_it_fe_04() -> None:
    found = training.container(
        spec_json(check_spec(diamonds.spec()))["training"], artifact="s3://b/a", bucket="b", region="eu-west-1"
    )

    assert found["Environment"]["SAGEMAKER_PROGRAM"] == "train.py"
    assert "sagemaker-scikit-learn" in found["Image"]
    assert ".eu-west-1." in found["Image"]


def test_an_unknown_region_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="mars-north-1"):
        images.image("xgboost", "1.7-1", "mars-north-1")


def test_every_name_fits_sagemakers_63_characters_for_the_longest_stack_and_model() -> None:
    stack, model, run = "s" * 20, "abcdefghij-klmnopqrs", names.run_id("m", "e")
    assert names.valid_model(model)
    made = [
        names.base(stack, model), names.job(stack, model, run, "candidate"), names.job(stack, model, run),
        names.sagemaker_model(stack, model, 9999), names.endpoint_config(stack, model, 9999, 9999, stage="-shadow"),
    ]  # fmt: skip

    assert max(map(len, made)) <= 63


@pytest.mark.parametrize("name", ["", "Flights", "a--b", "-a", "a-", "a" * 21, "a_b", "../x", "flights\n"])
def test_a_name_that_could_leave_the_stacks_prefix_is_no_models_name(name: str) -> None:
    assert not names.valid_model(name)


@pytest.mark.parametrize(("fit", "verdict"), [("healthy", "better"), ("overfit", "not better"), ("", "not better")])
def test_f27_where_the_spec_refuses_overfitting_an_unknown_fit_is_refused_too(fit: str, verdict: str) -> None:
    wanted = EVALUATION | {"refuse_overfit": True, "overfit_gap": 0.1}
    assert gates.judge(report(0.95, fit=fit), wanted, APPROVAL).verdict == verdict
