"""The functions of `retrain` on real data: validate, prepare, plan, judge, register - each from its sample's shape."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import numpy as np
import pytest
import xgboost
from botocore import xform_name
from botocore.exceptions import ClientError

from linnet.errors import BadInputError, ConflictError
from linnet.events.spec import check_spec, spec_json
from linnet.gateways import clients, ledger
from local.sagemaker.api import ApiError
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture
from tests.contract.test_intake import MODEL, intake, onboard, put_batch, take, wake  # noqa: F401 - fixtures
from tests.sagemaker.doubles import Lab

Steps = dict[str, Any]


def put(world: World, batch: str, **how: Any) -> None:
    wake(put_batch(world, batch, flights.batch(season="winter", rows=600, **how)))


def object_(world: World, uri: str) -> bytes:
    return bytes(world.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read())


def call(function: str, taken: Steps, **more: Any) -> Steps:
    payload = {
        "model": MODEL,
        "run": taken["run"],
        "at": "2026-11-21T02:01:00Z",
        "correlation_id": "c",
        "spec": taken["spec"],
        "too_large": taken["too_large"],
    }
    return dict(handler(function)(payload | {"inputs_uri": taken["inputs_uri"]} | more, CONTEXT))


class _Core:
    """boto3's client of SageMaker, over the local core: moto would answer a real client of this process itself."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        names = botocore.session.get_session().get_service_model("sagemaker").operation_names
        self._operations = {xform_name(name): name for name in names}

    def __getattr__(self, method: str) -> Any:
        operation = self._operations[method]

        def answer(**request: Any) -> dict[str, Any]:
            try:
                return self._lab.call(operation, **request)
            except ApiError as error:
                raise ClientError({"Error": {"Code": error.code, "Message": error.message}}, operation) from None

        return answer


@pytest.fixture
def lab(intake: World, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return the local SageMaker's core behind the gateways' client."""
    return behind(monkeypatch)


def behind(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Put a new core behind the gateways' client."""
    made = Lab()
    real, core = clients.client, _Core(made)
    for module in ("candidates", "jobs", "machines", "removal", "sagemaker", "trials"):
        monkeypatch.setattr(
            f"linnet.gateways.{module}.client", lambda name: core if name == "sagemaker" else real(name)
        )
    made.call("CreateModelPackageGroup", ModelPackageGroupName="linnet-flights")
    made.call("CreateExperiment", ExperimentName="linnet-flights")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return made


def test_dv_01_a_clean_batch_passes_and_is_accepted_with_a_report(intake: World) -> None:
    put(intake, "good", part=0)
    taken = take("e1")
    found = call("validate_data", taken)

    assert found["passed"]
    report = json.loads(object_(intake, found["report_uri"]))
    assert (report["verdict"], report["batches"]["good"]["rows"]) == ("PASS", 600)
    assert all("observed" in rule for rule in report["batches"]["good"]["rules"])
    assert (ledger.read(f"model/{MODEL}", "batch#good") or {})["state"] == "accepted"
    assert gate_metrics() == {"DataQualityRules": len(report["batches"]["good"]["rules"]), "DataQualityRulesFailed": 0}


def gate_metrics() -> dict[str, float]:
    """Return the sums of the metrics that the gate has published."""
    cloudwatch = clients.client("cloudwatch")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    found = {}
    for name in ("DataQualityRules", "DataQualityRulesFailed"):
        points = cloudwatch.get_metric_statistics(
            Namespace="Linnet", MetricName=name, Dimensions=[{"Name": "Model", "Value": MODEL}], Period=3600,
            StartTime=hour - timedelta(hours=1), EndTime=hour + timedelta(hours=2), Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        found[name] = sum(point["Sum"] for point in points)
    return found


def test_dv_01_only_the_damaged_batch_is_refused_with_its_rules_named_and_its_bytes_untouched(
    intake: World,
) -> None:
    put(intake, "good", part=0)
    put(intake, "bad", part=1, damaged=True)
    taken = take("e1")
    found = call("validate_data", taken)

    assert not found["passed"]
    assert [f for f in found["failures"] if 'Completeness "flight_id"' in f]
    assert all(f.startswith("bad: ") for f in found["failures"])
    states = {b: (ledger.read(f"model/{MODEL}", f"batch#{b}") or {})["state"] for b in ("good", "bad")}
    assert states == {"good": "accepted", "bad": "refused"}
    assert intake.documents(f"quarantine/{MODEL}/")
    assert gate_metrics()["DataQualityRulesFailed"] == len(found["failures"])
    original = flights.batch(season="winter", rows=600, part=1, damaged=True)["part-00001.csv"]
    assert object_(intake, f"s3://{BUCKET}/raw-data/{MODEL}/bad/part-00001.csv") == original


def test_f22_an_object_that_was_overwritten_after_its_batch_closed_is_read_in_the_listed_version(
    intake: World,
) -> None:
    put(intake, "good", part=0)
    taken = take("e1")
    intake.put(f"raw-data/{MODEL}/good/part-00001.csv", b"poison\n1\n")

    assert call("validate_data", taken)["passed"]


def prepared(world: World) -> tuple[Steps, Steps]:
    put(world, "older", part=0)
    put(world, "newest", part=1)
    taken = take("e1")
    return taken, call("prepare_data", taken)


def test_dv_04_f26_training_files_have_the_label_first_no_header_and_no_entity_on_both_sides(
    intake: World,
) -> None:
    taken, found = prepared(intake)
    train = object_(intake, found["train_uri"]).decode().splitlines()
    test = object_(intake, found["features_uri"]).decode().splitlines()
    labels = object_(intake, found["labels_uri"]).decode().split()

    assert {line.split(",")[0] for line in train} == {"0", "1"}
    assert {len(line.split(",")) for line in train} == {1 + len(taken["spec"]["data"]["features"])}
    assert len(test) == len(labels)
    assert [line.endswith('"newest"') for line in labels].count(True) == found["rows"]["test"]
    assert 0.1 < found["rows"]["test"] / 600 < 0.3  # held out of the newest batch alone
    held_out = {row for row, label in zip(test, labels, strict=True) if not label.endswith('"train"')}
    assert not {line.partition(",")[2] for line in train} & held_out


def test_mo_01_the_baseline_of_the_training_rows_is_written_and_linked_to_the_run(intake: World) -> None:
    taken, found = prepared(intake)

    assert found["baseline_uri"] == f"s3://{BUCKET}/baselines/{MODEL}/{taken['run']}"
    statistics = json.loads(object_(intake, f"{found['baseline_uri']}/statistics.json"))
    assert {f["name"] for f in statistics["features"]} == set(flights.FEATURES)
    assert statistics["dataset"]["item_count"] == found["rows"]["train"]


def answers(world: World, taken: Steps, found: Steps, rounds: int, who: str) -> str:
    """Train a real booster and write its answers as the transform job does."""

    def matrix(uri: str) -> Any:
        return np.array([line.split(b",") for line in object_(world, uri).split()], dtype=np.float64)

    train = matrix(found["train_uri"])
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3},
                            xgboost.DMatrix(train[:, 1:], train[:, 0]), num_boost_round=rounds)  # fmt: skip
    scores = booster.predict(xgboost.DMatrix(matrix(found["features_uri"])))
    key = f"results/{MODEL}/{taken['run']}/predictions/{who}/features.csv.out"
    world.put(key, "\n".join(str(float(s)) for s in scores) + "\n")
    return f"s3://{BUCKET}/{key}"


def test_ev_01_ev_03_candidate_and_champion_are_judged_on_the_same_rows_and_the_report_says_both(
    intake: World,
) -> None:
    taken, found = prepared(intake)
    predictions = {
        "candidate": answers(intake, taken, found, 60, "candidate"),
        "champion": answers(intake, taken, found, 2, "champion"),
    }
    judged = call("evaluate_candidate", taken, labels_uri=found["labels_uri"], predictions=predictions,
                  champion={"version": 3, "package_arn": "arn", "model_name": "m"})  # fmt: skip
    report = json.loads(object_(intake, judged["evaluation_uri"]))

    assert judged["verdict"] == "better"
    assert judged["champion_value"] < judged["value"]
    assert report["classification_metrics"]["auc"]["value"] == pytest.approx(judged["value"])
    assert report["champion"]["version"] == 3
    assert report["difference"]["low"] <= report["difference"]["value"] <= report["difference"]["high"]
    swapped = dict(zip(predictions, reversed(predictions.values()), strict=True))
    again = call("evaluate_candidate", taken, labels_uri=found["labels_uri"], predictions=swapped,
                 champion={"version": 3, "package_arn": "arn", "model_name": "m"})  # fmt: skip
    assert again["verdict"] in ("not better", "below threshold")


def test_ev_05_ev_07_the_report_tells_older_data_apart_how_the_model_fits_and_its_threshold(intake: World) -> None:
    taken, found = prepared(intake)
    predictions = {
        who: answers(intake, taken, found, rounds, who) for who, rounds in (("candidate", 200), ("champion", 2))
    }
    champion = {"version": 3, "package_arn": "arn", "model_name": "m"}
    judged = call(
        "evaluate_candidate", taken, labels_uri=found["labels_uri"], predictions=predictions, champion=champion
    )
    report = json.loads(object_(intake, judged["evaluation_uri"]))

    assert report["rows"] == found["rows"]["test"]  # the judgement's own rows: the newest batch's part
    assert report["older"]["rows"] == found["rows"]["held_out_older"]
    assert report["older"]["champion"]["version"] == 3
    assert report["older"]["difference"]["low"] <= report["older"]["difference"]["high"]
    fit = report["fit"]
    assert fit["train"] > 0.99 > fit["holdout"] == pytest.approx(judged["value"])
    assert fit["verdict"] == ("overfit" if fit["train"] - fit["holdout"] > 0.1 else "healthy")
    assert judged["decision_threshold"] == report["decision"]["threshold"]
    assert judged["metrics"] == report["metrics"]
    assert judged["champion_metrics"] == report["champion"]["metrics"]


def test_ev_06_a_candidate_whose_calls_cost_more_than_the_spec_allows_is_refused_beside_the_champions_cost(
    intake: World,
) -> None:
    taken, found = prepared(intake)
    predictions = {
        who: answers(intake, taken, found, rounds, who) for who, rounds in (("candidate", 60), ("champion", 2))
    }
    taken["spec"]["evaluation"]["maximum_cost_per_row"] = 0.01
    judged = call("evaluate_candidate", taken, labels_uri=found["labels_uri"], predictions=predictions,
                  champion={"version": 3, "package_arn": "arn", "model_name": "m"})  # fmt: skip

    assert judged["verdict"] == "not better"
    cost, other = (judged[of]["cost_per_row"] for of in ("metrics", "champion_metrics"))
    assert f"its cost of {cost:.4f} a row (the champion's is {other:.4f}) is above the maximum 0.0100" in judged["why"]


def test_f21_a_batch_with_other_rows_than_its_manifest_promised_is_refused(intake: World) -> None:
    files = flights.batch(season="winter", rows=600, part=0)
    manifest = json.loads(files["_MANIFEST.json"])
    manifest["objects"][0]["rows"] += 1
    event = put_batch(intake, "short", files | {"_MANIFEST.json": json.dumps(manifest).encode()})
    handler("on_signal")(event, CONTEXT)
    found = call("validate_data", take("e1"))

    assert not found["passed"]
    (failure,) = found["failures"]
    assert "part-00001.csv, rows: 600 is not allowed; allowed: 601, as its manifest says" in failure


def test_f25_answers_that_do_not_fit_the_rows_are_refused_never_compared(intake: World) -> None:
    taken, found = prepared(intake)
    intake.put("results/short.out", "0.5\n")
    with pytest.raises(BadInputError):
        call("evaluate_candidate", taken, labels_uri=found["labels_uri"], champion=None,
             predictions={"candidate": f"s3://{BUCKET}/results/short.out"})  # fmt: skip


def registration(taken: Steps, artifact: str) -> Steps:
    judged = sample("register_candidate")["judged"]
    return {
        "execution": "e1", "trained": {"artifact": artifact, "training_job": taken["training_job"]},
        "trigger": taken["trigger"], "judged": judged,
    }  # fmt: skip


def test_rg_01_f28_registering_twice_is_one_pending_version_bound_to_the_artifacts_bytes_and_frees_the_slot(
    intake: World,
    lab: Lab,
) -> None:
    put(intake, "good", part=0)
    taken = take("e1")
    intake.put("models/model.tar.gz", b"an artifact")
    given = registration(taken, f"s3://{BUCKET}/models/model.tar.gz")
    first, second = call("register_candidate", taken, **given), call("register_candidate", taken, **given)

    assert first == second
    described = lab.call("DescribeModelPackage", ModelPackageName=first["package_arn"])
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"] == given["judged"]["evaluation_uri"]
    kept = described["CustomerMetadataProperties"]
    assert (kept["run"], kept["trigger"], len(kept["sha256"])) == (taken["run"], "NewDataAvailable", 64)
    assert float(kept["decision_threshold"]) == given["judged"]["decision_threshold"]
    assert "owner" not in (ledger.read(f"model/{MODEL}", "slot") or {})
    row = ledger.read(f"model/{MODEL}", "candidate#000001") or {}
    assert row["baseline"].endswith(f"/{MODEL}/{taken['run']}")
    assert row["decision_threshold"] == given["judged"]["decision_threshold"]


def test_f34_a_missing_artifact_is_not_registered(intake: World, lab: Lab) -> None:
    put(intake, "good", part=0)
    taken = take("e1")
    with pytest.raises(Exception, match=r"does not exist|NoSuchKey|Not Found"):
        call("register_candidate", taken, **registration(taken, f"s3://{BUCKET}/models/gone.tar.gz"))

    assert lab.call("ListModelPackages", ModelPackageGroupName="linnet-flights")["ModelPackageSummaryList"] == []


def test_f45_the_candidates_model_is_created_once_and_another_artifact_under_its_name_is_refused(
    intake: World,
    lab: Lab,
) -> None:
    put(intake, "good", part=0)
    taken = take("e1")
    lab.aws.put_object(f"s3://{BUCKET}/a", b"x")
    given = {
        "trained": {"training_job": "j", "artifact": f"s3://{BUCKET}/a"},
        "champion": {"model_name": "old"},
        "features_uri": f"s3://{BUCKET}/f/features.csv",
    }
    first, second = call("plan_evaluation", taken, **given), call("plan_evaluation", taken, **given)

    assert first == second
    assert [t["ModelName"] for t in first["transforms"]] == [f"linnet-flights-{taken['run']}", "old"]
    with pytest.raises(ConflictError, match="another artifact"):
        call("plan_evaluation", taken, **given | {"trained": {"training_job": "j", "artifact": f"s3://{BUCKET}/b"}})


def test_a_payload_without_a_field_is_refused_by_the_fields_name(intake: World) -> None:
    for function in ("take_slot", "validate_data", "prepare_data", "plan_training", "evaluate_candidate", "close_run"):
        with pytest.raises(BadInputError, match=r"model|spec"):
            handler(function)({}, CONTEXT)


def test_the_plan_of_the_training_follows_from_the_sample(lab: Lab) -> None:
    plan = handler("plan_training")(sample("plan_training"), CONTEXT)

    request = plan["request"]
    assert not plan["tuned"]
    assert request["TrainingJobName"] == "linnet-flights-r0123456789"
    assert request["OutputDataConfig"]["S3OutputPath"].endswith("/models/flights/r0123456789")
    assert spec_json(check_spec(flights.spec())) == sample("plan_training")["spec"]


def test_the_processing_jobs_archive_needs_only_what_its_image_has(
    intake: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scikit-learn image has numpy, pyarrow and boto3; pydantic and powertools are in no image of SageMaker's."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    put(intake, "b1")
    taken = take("e1")
    request, again = call("plan_processing", taken), call("plan_processing", taken)
    code = request["ProcessingInputs"][0]["S3Input"]["S3Uri"]
    archive = tmp_path / code.rpartition("/")[2]
    archive.write_bytes(object_(intake, code))
    program = (
        "import runpy, sys\n"
        "for name in ('pydantic', 'pydantic_core', 'aws_lambda_powertools', 'yaml'): sys.modules[name] = None\n"
        f"sys.argv = [{str(archive)!r}]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert request == again  # the same code is the same archive
    assert request["AppSpecification"]["ContainerEntrypoint"][1].endswith(archive.name)
    assert "main() missing 3 required positional arguments" in ran.stderr  # it got as far as the work itself


def test_a_facet_that_the_data_lacks_is_refused_by_the_gate_before_anything_is_trained(intake: World) -> None:
    put(intake, "b1")
    taken = take("e1")
    taken["spec"]["evaluation"]["bias"] = {"facet": "region", "disadvantaged": ["north"], "limits": {"DI": 0.2}}
    found = call("validate_data", taken)

    assert not found["passed"]
    assert "region" in found["failures"][0]


def test_xb_01_the_bias_of_the_labels_is_in_the_validation_report_where_the_spec_names_a_facet(intake: World) -> None:
    put(intake, "b1", part=0)
    taken = take("e1")
    taken["spec"]["evaluation"]["bias"] = {"facet": "visib", "disadvantaged": ["10.0"], "limits": {"DI": 0.2}}
    found = call("validate_data", taken)

    assert found["passed"]
    bias = json.loads(object_(intake, found["report_uri"]))["batches"]["b1"]["bias"]
    assert (bias["facet"], bias["left_out"], bias["unknown"]) == ("visib", 0, {})
    assert bias["metrics"]["CI"] < 0 < bias["metrics"]["DPL"]  # most days are clear, and late flights are rarer then


def test_dv_02_a_run_that_dies_before_its_data_is_judged_leaves_a_report_that_says_unknown(intake: World) -> None:
    put(intake, "b1")
    taken = take("e1")
    uri = f"s3://{BUCKET}/results/{MODEL}/{taken['run']}/validation_report.json"

    assert json.loads(object_(intake, uri))["verdict"] == "UNKNOWN"
    call("validate_data", taken)
    assert json.loads(object_(intake, uri))["verdict"] == "PASS"
