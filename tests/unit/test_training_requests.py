"""The training half of a spec, and the requests that follow from it: at their limits, and valid for SageMaker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions import failures, names, training, tuning
from linnet.errors import BadInputError
from linnet.events.spec import check_spec, spec_json
from linnet.events.spec_training import CPU_FAMILIES, GPU_FAMILIES
from local.sagemaker.api import check_request
from models.diamonds import data as diamonds
from models.flights import data as flights

WHERE: dict[str, Any] = {
    "run": "r0123456789", "stack": "s" * 20, "bucket": "b", "role": "arn:aws:iam::123456789012:role/x",
    "region": "us-east-1", "prepared": {"train_uri": "s3://b/t", "validation_uri": "s3://b/v"},
}  # fmt: skip
KEY = "arn:aws:kms:us-east-1:123456789012:key/k"
SCRIPT_TUNING = {
    "objective": "validation:auc", "ranges": {"max-iter": {"type": "integer", "min": 10, "max": 200, "scaling": "Logarithmic"}},
}  # fmt: skip
METRICS = {"validation:auc": "validation:auc=([0-9.]+)", "latency": "latency: ([0-9.]+)"}


def checked(kind: Any = flights, **changes: Any) -> dict[str, Any]:
    spec = kind.spec()
    spec["training"] = spec["training"] | changes
    return spec_json(check_spec(spec))


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (flights, {"mode": "incremental"}, r"mode incremental.*no channel 'model'; allowed: full"),
        (flights, {"mode": "online"}, r"training\.mode: 'online'.*'full' or 'incremental'"),
        (diamonds, {"input_mode": "Pipe"}, r"input_mode Pipe.*allowed: File, FastFile"),
        (flights, {"input_mode": "Fast"}, r"training\.input_mode: 'Fast'.*'File', 'FastFile' or 'Pipe'"),
        (flights, {"max_runtime_seconds": 28 * 86400 + 1}, r"max_runtime_seconds: 2419201.*2419200"),
        (flights, {"volume_gb": 16385}, r"volume_gb: 16385.*16384"),
        (flights, {"volume_gb": 0}, r"volume_gb: 0.*1"),
        (flights, {"instance_count": 0}, r"instance_count: 0"),
        (diamonds, {"instance_count": 2}, r"instance_count 2.*allowed: 1"),
        (flights, {"instance_type": "ml.m5"}, r"instance_type: 'ml\.m5'.*such as ml\.m5\.xlarge"),
        (flights, {"instance_type": "ml.z9.xlarge"}, r"instance_type ml\.z9\.xlarge.*allowed: t3, m4"),
        (flights, {"instance_type": "ml.g5.xlarge"}, r"instance_type ml\.g5\.xlarge.*gpu_hist"),
        (flights, {"instance_type": "ml.p5.48xlarge", "hyperparameters": {"tree_method": "gpu_hist"}}, r"ml\.p5"),
        (flights, {"metrics": METRICS}, r"metrics are for a script"),
        (flights, {"spot": {"enabled": False, "then_on_demand": True}}, r"then_on_demand true needs.*allowed: false"),
        (flights, {"spot": {"then_on_demand": True}, "tuning": {}}, r"then_on_demand true needs.*no 'tuning'"),
        (diamonds, {"metrics": {"auc": "("}}, r"metrics\.auc: '\(' is not a regular expression"),
        (flights, {"tuning": {"max_jobs": 101}}, r"max_jobs 101 is above the budget; allowed: 1 to 100"),
        (flights, {"tuning": {"max_jobs": 751, "budget": {"max_jobs": 751}}}, r"budget\.max_jobs: 751.*750"),
        (flights, {"tuning": {"max_jobs": 2, "max_parallel": 3}}, r"max_parallel 3.*allowed: 1 to 2"),
        (flights, {"tuning": {"budget": {"instance_hours": 19.9}}}, r"tuning may take 20 instance-hours.*allowed: 19\.9"),
        (flights, {"tuning": {"objective": "auc"}}, r"tuning\.objective auc is no metric of XGBoost"),
        (flights, {"tuning": {"objective": "validation:logloss"}}, r"direction Maximize is wrong.*allowed: Minimize"),
        (flights, {"tuning": {"strategy": "Hyperband"}}, r"early_stopping true.*allowed: false"),
        (flights, {"tuning": {"strategy": "Grid"}}, r"Grid takes categorical ranges only; not so: eta"),
        (flights, {"tuning": {"ranges": {}}}, r"tuning\.ranges"),
        (flights, {"tuning": {"ranges": {"eta": {"min": 0.3, "max": 0.3}}}}, r"'min' below 'max'.*min 0\.3, max 0\.3"),
        (flights, {"tuning": {"ranges": {"eta": {"min": 0, "max": 1, "scaling": "Logarithmic"}}}}, r"needs min > 0"),
        (flights, {"tuning": {"ranges": {"eta": {"min": 0.5, "max": 1, "scaling": "ReverseLogarithmic"}}}}, r"max < 1"),
        (flights, {"tuning": {"ranges": {"num_round": {"type": "integer", "min": 1.5, "max": 3}}}}, r"whole numbers"),
        (flights, {"tuning": {"ranges": {"eta": {"type": "categorical", "min": 1}}}}, r"categorical range has 'values'"),
        (flights, {"tuning": {"ranges": {"eta": {"from": 1}}}}, r"ranges\.eta\.from.*type, min, max, scaling, values"),
        (diamonds, {"tuning": {}}, r"tuning\.ranges are missing"),
        (diamonds, {"tuning": SCRIPT_TUNING}, r"tuning\.objective validation:auc must be one of 'metrics': \[\]"),
        (diamonds, {"metrics": METRICS, "tuning": SCRIPT_TUNING | {"limits": {"size": 1}}}, r"tuning\.limits name \['size'\]"),
    ],
)  # fmt: skip
def test_tr_16_hp_02_what_sagemaker_or_the_budget_refuses_is_refused_with_field_value_and_what_is_allowed(
    kind: Any, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInputError, match=said):
        checked(kind, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_runtime_seconds": 28 * 86400, "spot": {"max_wait_seconds": 28 * 86400}}, {"volume_gb": 16384},
        {"input_mode": "Pipe"}, {"instance_type": "ml.r8i-flex.large"},
        {"instance_type": "ml.g5.xlarge", "hyperparameters": {"num_round": 1, "tree_method": "gpu_hist"}},
        {"tuning": {"max_jobs": 100, "budget": {"instance_hours": 100}}},
        {"tuning": {"strategy": "Hyperband", "early_stopping": False}},
    ],
)  # fmt: skip
def test_tr_16_hp_02_what_lies_exactly_at_a_limit_is_allowed(changes: dict[str, Any]) -> None:
    assert checked(flights, **changes)


def test_tr_16_the_families_that_train_are_those_of_the_api() -> None:
    api = botocore.session.get_session().get_service_model("sagemaker").shape_for("TrainingInstanceType")

    assert {name.split(".")[1] for name in api.enum} == set(CPU_FAMILIES + GPU_FAMILIES)


def test_the_defaults_of_the_options_ask_for_what_a_run_asked_for_before_them() -> None:
    given = checked()["training"]

    assert (given["mode"], given["input_mode"], given["metrics"], given["tuning"]) == ("full", "File", {}, None)
    job = training.training_job(checked(), **WHERE)
    assert "MetricDefinitions" not in job["AlgorithmSpecification"]
    assert "KmsKeyId" not in job["OutputDataConfig"]


def test_a_spec_from_before_these_options_still_trains() -> None:
    old = checked()
    for field in ("mode", "input_mode", "metrics", "tuning"):
        del old["training"][field]

    assert training.training_job(old, **WHERE) == training.training_job(checked(), **WHERE)
    assert tuning.estimate(old) == {"jobs": 1, "instance_hours": 1.0}


def test_f29_the_job_on_demand_is_the_spot_job_without_spot_under_a_name_of_its_own_that_fits() -> None:
    spec = checked(spot={"then_on_demand": True}) | {"model": "abcdefghij-klmnopqrs"}
    spot = training.training_job(spec, **WHERE)
    found = training.on_demand(spot, model=spec["model"], stack=WHERE["stack"], run=WHERE["run"])

    check_request("CreateTrainingJob", found)
    differ = {name for name in spot if spot[name] != found[name]}
    assert differ == {"TrainingJobName", "EnableManagedSpotTraining", "StoppingCondition"}
    assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert found["CheckpointConfig"] == spot["CheckpointConfig"]


def test_hp_03_the_default_ranges_are_the_seeds() -> None:
    ranges = checked(tuning={})["training"]["tuning"]["ranges"]

    assert {name: (found["min"], found["max"]) for name, found in ranges.items()} == {
        "eta": (0.01, 0.3), "max_depth": (3, 10), "min_child_weight": (1, 10), "subsample": (0.5, 1),
        "colsample_bytree": (0.5, 1), "num_round": (50, 300), "gamma": (0, 5), "alpha": (0, 2), "lambda": (0, 2),
    }  # fmt: skip


@pytest.mark.parametrize("input_mode", ["File", "FastFile"])
@pytest.mark.parametrize(("kind", "mode"), [(flights, "full"), (diamonds, "full"), (diamonds, "incremental")])
def test_tr_02_tr_06_tr_08_every_request_is_valid_and_holds_its_options(kind: Any, input_mode: str, mode: str) -> None:
    spec = checked(kind, mode=mode, input_mode=input_mode)
    parent = "s3://b/champion/model.tar.gz" if mode == "incremental" else ""
    job = training.training_job(spec, **WHERE, parent=parent, key=KEY)

    check_request("CreateTrainingJob", job)
    assert job["AlgorithmSpecification"]["TrainingInputMode"] == input_mode
    assert (job["OutputDataConfig"]["KmsKeyId"], job["ResourceConfig"]["VolumeKmsKeyId"]) == (KEY, KEY)
    assert job["EnableNetworkIsolation"] is (kind is flights)
    models = [c for c in job["InputDataConfig"] if c["ChannelName"] == "model"]
    assert [c["DataSource"]["S3DataSource"]["S3Uri"] for c in models] == ([parent] if parent else [])
    assert all(c["ContentType"] == "application/x-sagemaker-model" for c in models)


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"strategy": "Bayesian", "objective": "validation:logloss", "direction": "Minimize"},
        {"strategy": "Hyperband", "early_stopping": False},
        {"strategy": "Grid", "max_jobs": 6, "ranges": {"eta": {"type": "categorical", "values": [0.1, 0.2, 0.3]},
         "booster": {"type": "categorical", "values": ["gbtree", "dart"]}}},
    ],
)  # fmt: skip
def test_hp_01_the_request_of_a_tuning_is_valid_and_a_hyperparameter_is_fixed_or_tuned_never_both(
    asked: dict[str, Any],
) -> None:
    spec = checked(tuning=asked)
    job = tuning.tuning_job(spec, **WHERE, key=KEY)

    check_request("CreateHyperParameterTuningJob", job)
    config, definition = job["HyperParameterTuningJobConfig"], job["TrainingJobDefinition"]
    tried = [item["Name"] for found in config["ParameterRanges"].values() for item in found]
    assert sorted(tried) == sorted(spec["training"]["tuning"]["ranges"])
    assert not set(tried) & set(definition["StaticHyperParameters"])
    assert "objective" in definition["StaticHyperParameters"]
    assert "CheckpointConfig" not in definition
    assert definition["EnableManagedSpotTraining"]
    assert definition["StoppingCondition"]["MaxWaitTimeInSeconds"] == 7200
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == spec["training"]["tuning"]["max_jobs"]


def test_hp_01_tr_06_a_scripts_tuning_has_its_metrics_and_may_go_on_from_the_champion() -> None:
    spec = checked(diamonds, metrics=METRICS, mode="incremental", tuning=SCRIPT_TUNING | {"limits": {"latency": 100}})
    job = tuning.tuning_job(spec, **WHERE, parent="s3://b/m.tar.gz")

    check_request("CreateHyperParameterTuningJob", job)
    definition = job["TrainingJobDefinition"]
    assert {m["Name"]: m["Regex"] for m in definition["AlgorithmSpecification"]["MetricDefinitions"]} == METRICS
    assert [c["ChannelName"] for c in definition["InputDataConfig"]] == ["train", "validation", "model"]
    assert "sagemaker_program" in definition["StaticHyperParameters"]


def test_a_tunings_name_has_at_most_the_32_characters_that_sagemaker_takes_and_is_the_runs() -> None:
    one, other = (names.run_id(model, "e") for model in ("a", "b"))

    assert len(tuning.name("s" * 20, one)) == 32
    assert tuning.name("s", one) != tuning.name("s", other)


@pytest.mark.parametrize(("count", "strategy"), [(1, "Random"), (9, "Random"), (10, "Bayesian"), (30, "Bayesian")])
def test_hp_04_few_hyperparameters_are_searched_at_random_and_many_by_what_was_learnt(
    count: int, strategy: str
) -> None:
    ranges = {f"h{number}": {"min": 0, "max": 1} for number in range(count)}

    assert tuning.strategy({"strategy": None, "ranges": ranges}) == strategy
    assert tuning.strategy({"strategy": "Hyperband", "ranges": ranges}) == "Hyperband"


def test_hp_02_the_estimate_is_jobs_times_runtime_times_instances() -> None:
    spec = checked(instance_count=2, max_runtime_seconds=1800, tuning={"max_jobs": 30, "max_parallel": 3})

    assert tuning.estimate(spec) == {"jobs": 30, "instance_hours": 30.0}


def job(name: str, value: float | None, status: str = "Completed") -> dict[str, Any]:
    found: dict[str, Any] = {"TrainingJobName": name, "TrainingJobStatus": status}
    if value is not None:
        found["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": "accuracy", "Value": value}
    return found


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_hp_05_the_best_job_does_not_depend_on_the_order_of_the_list(values: list[float], rng: Any) -> None:
    jobs = [job(f"j{number}", value) for number, value in enumerate(values)]
    shuffled = rng.sample(jobs, len(jobs))

    for direction, extreme in (("Maximize", max), ("Minimize", min)):
        best = tuning.best_first(jobs, direction)
        assert best == tuning.best_first(shuffled, direction)
        assert best[0]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == extreme(values)


def test_hp_05_a_job_that_failed_or_measured_nothing_is_never_the_best() -> None:
    assert tuning.best_first([job("a", None), job("b", 0.9, "Failed"), job("c", 0.1)], "Maximize") == [job("c", 0.1)]


def test_hp_06_of_the_seeds_two_candidates_the_one_within_the_latency_limit_is_chosen() -> None:
    metrics = {"slow": {"accuracy": 0.96, "latency": 150.0}, "fast": {"accuracy": 0.94, "latency": 85.0}}
    ordered = tuning.best_first([job(name, found["accuracy"]) for name, found in metrics.items()], "Maximize")
    final = {n: [{"MetricName": m, "Value": v} for m, v in found.items()] for n, found in metrics.items()}
    kept = [
        j["TrainingJobName"] for j in ordered if not tuning.broken_limits(final[j["TrainingJobName"]], {"latency": 100})
    ]

    assert [j["TrainingJobName"] for j in ordered] == ["slow", "fast"]
    assert kept == ["fast"]
    assert tuning.broken_limits(final["slow"], {"latency": 100}) == ["latency 150.0 (limit 100)"]
    assert tuning.broken_limits([], {"latency": 100}) == ["latency was not measured (limit 100)"]
    assert tuning.broken_limits([{"MetricName": "latency", "Value": float("nan")}], {"latency": 100})


CHAMPION = {
    "version": 3,
    "artifact": "s3://b/a",
    "image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
}


@pytest.mark.parametrize(
    ("mode", "champion", "trigger", "found", "why"),
    [
        ("full", CHAMPION, {}, "full", "the spec says"),
        ("incremental", None, {}, "full", "no champion"),
        ("incremental", CHAMPION, {"DriftSeverity": "High"}, "full", "High forces full"),
        ("incremental", CHAMPION, {"DriftSeverity": "Medium"}, "incremental", "from version 3"),
        ("incremental", CHAMPION, {}, "incremental", "from version 3"),
        ("incremental", CHAMPION | {"image": "other"}, {}, "full", "version 3 is of another image: other"),
    ],
)
def test_tr_07_incremental_training_needs_a_champion_of_the_same_image_and_no_large_drift(
    mode: str, champion: Any, trigger: dict[str, str], found: str, why: str
) -> None:
    given_ = checked(diamonds, mode=mode)["training"] | {"framework_version": "1.2-1"}
    answer = training.mode(given_, champion=champion, trigger=trigger, region="us-east-1")

    assert answer[0] == found
    assert why in answer[1]


@pytest.mark.parametrize(
    ("instance", "keyed"),
    [("ml.m5.xlarge", True), ("ml.p3.2xlarge", True), ("ml.p3dn.24xlarge", False), ("ml.r5d.large", False),
     ("ml.g5.xlarge", False), ("ml.trn1.2xlarge", False), ("ml.c5n.large", True)],
)  # fmt: skip
def test_a_volume_has_the_stacks_key_unless_the_instance_has_disks_of_its_own(instance: str, keyed: bool) -> None:
    assert training.volume_key(instance, KEY) == ({"VolumeKmsKeyId": KEY} if keyed else {})
    assert training.volume_key(instance, "") == {}


AWS = " (Service: AmazonSageMaker; Status Code: 400; Error Code: {}; Request ID: 5a1b; Proxy: null)"
QUOTA = (
    "The account-level service limit 'ml.m5.xlarge for spot training job usage' is 0 Instances, with current utilization of 0 "
    "Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request an increase for this quota."
    + AWS.format("ResourceLimitExceeded")
)


def described(status: str, secondary: str = "", reason: str = "", kind: str = "TrainingJob") -> str:
    found = {f"{kind}Name": "linnet-x-r1", f"{kind}Status": status, "SecondaryStatus": secondary or status}
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}}
    return json.dumps(found | limits | ({"FailureReason": reason} if reason else {}))


def told(error: str, message: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": error})


@pytest.mark.parametrize(
    ("code", "cause", "outcome", "error", "why"),
    [
        ("States.TaskFailed", described("Stopped"), "stopped", "RunStopped", "linnet-x-r1 was stopped by a person"),
        ("States.TaskFailed", described("Stopped", kind="HyperParameterTuningJob"), "stopped", "RunStopped", "tuning job"),
        ("States.TaskFailed", described("Stopped", kind="TransformJob"), "stopped", "RunStopped", "transform job"),
        ("States.TaskFailed", described("Stopped", "MaxWaitTimeExceeded"), "spot exhausted", "SpotExhausted", "7200"),
        ("States.TaskFailed", described("Stopped", "MaxRuntimeExceeded"), "failed", "TrainingFailed", "longer than 3600"),
        ("States.TaskFailed", described("Failed", reason="AlgorithmError: Customer Error: no label, exit code: 1"),
         "failed", "TrainingFailed", "no label"),
        ("States.TaskFailed", described("Failed", reason="AlgorithmError: ThrottlingException: Rate exceeded, exit code: 1"),
         "failed", "TrainingFailed", "Rate exceeded"),
        ("States.TaskFailed", described("Failed", reason="CapacityError: Unable to provision requested ML compute capacity. "
         "Please retry using a different ML instance type."), "no capacity", "NoCapacity", "different ML instance type"),
        ("States.TaskFailed", described("Failed", reason="ClientError: Data download failed"), "failed", "TrainingFailed",
         "Data"),
        ("States.TaskFailed", described("Failed", reason="InternalServerError: We encountered an internal error."), "failed",
         "TrainingFailed", "internal error"),
        ("States.TaskFailed", described("Failed"), "failed", "TrainingFailed", "no reason is given"),
        ("SageMaker.ResourceLimitExceededException", QUOTA, "quota", "QuotaExceeded", "request an increase"),
        ("SageMaker.AmazonSageMakerException", QUOTA, "quota", "QuotaExceeded", "account-level"),
        ("SageMaker.AmazonSageMakerException", "Rate exceeded" + AWS.format("ThrottlingException"), "throttled", "Throttled",
         "Rate exceeded"),
        ("SageMaker.AmazonSageMakerException", "2 validation errors detected" + AWS.format("ValidationException"), "failed",
         "TrainingFailed", "2 validation errors"),
        ("SageMaker.AmazonSageMakerException", "User: x is not authorized to perform: sagemaker:CreateTrainingJob"
         + AWS.format("AccessDeniedException"), "failed", "TrainingFailed", "not authorized"),
        ("SageMaker.ResourceInUseException", "Training job names must be unique" + AWS.format("ResourceInUse"),
         "lost answer", "LostAnswer", "must be unique"),
        ("States.Timeout", "", "failed", "TrainingFailed", "did not end in its time"),
        ("Lambda.TooManyRequestsException", "Rate Exceeded. (Service: Lambda, Status Code: 429)", "throttled",
         "Throttled", "429"),
        ("BadInputError", json.dumps({"errorMessage": "data.label: 'x' (Rate exceeded) is not", "errorType": "BadInputError"}),
         "failed", "TrainingFailed", "data.label"),
        ("ClientError", json.dumps({"errorMessage": "An error occurred (ThrottlingException) when calling CreateModel: Rate "
         "exceeded", "errorType": "ClientError"}), "throttled", "Throttled", "CreateModel"),
        ("ClientError", json.dumps({"errorMessage": "An error occurred (AccessDenied) when calling GetObject: no",
         "errorType": "ClientError"}), "failed", "TrainingFailed", "AccessDenied"),
        ("NameTakenError", told("NameTakenError", "training_job a exists and differs from what is asked in RoleArn"),
         "lost answer", "LostAnswer", "differs"),
        ("JobFailedError", told("JobFailedError", described("Failed", reason="AlgorithmError: exit 1")), "failed",
         "TrainingFailed", "exit 1"),
        ("JobFailedError", told("JobFailedError", described("Stopped")), "stopped", "RunStopped", "by a person"),
        ("", "not JSON {", "failed", "TrainingFailed", "not JSON"),
        ("", "[1]", "failed", "TrainingFailed", "[1]"),
    ],
)  # fmt: skip
def test_f29_f32_what_aws_says_of_a_broken_step_is_told_apart(
    code: str, cause: str, outcome: str, error: str, why: str
) -> None:
    found = failures.ending("TrainingFailed", cause, code)

    assert (found.outcome, found.error) == (outcome, error)
    assert why in found.why
    assert found.why.startswith(f"{error}: ")


@given(st.text(max_size=50), st.text(max_size=2000) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_whatever_the_cause_is_a_broken_run_has_a_known_outcome_and_a_short_reason(error: str, cause: str) -> None:
    found = failures.ending(error, cause)

    assert found.outcome in failures.BROKEN
    assert len(found.why) <= 1000


def test_every_outcome_that_is_worth_another_try_is_one_of_a_broken_run_and_neither_a_stop_nor_a_fault() -> None:
    assert set(failures.AGAIN) == set(failures.BROKEN) - {"failed", "stopped"}


def test_the_example_in_the_documentation_is_a_spec_whose_requests_are_valid() -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    written = yaml.safe_load(text.split("```yaml")[1].split("```")[0])["training"]
    spec = checked(diamonds, **written)

    check_request("CreateHyperParameterTuningJob", tuning.tuning_job(spec, **WHERE, parent="s3://b/m.tar.gz"))
    assert spec["training"]["tuning"]["limits"] == {"latency": 100}
