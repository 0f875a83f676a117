"""The attribution monitor against AWS as moto plays it: a sample, its job's program on a real booster, the verdict (MO-08)."""

from __future__ import annotations

import csv
import io
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from linnet.data import attributions, explanation
from linnet.decisions import onboarding
from linnet.errors import BadInputError, NotFoundError
from linnet.events.spec import check_spec
from linnet.gateways import findings, ledger
from linnet.settings import settings
from models.flights import data as flights
from tests.contract.monitor_world import CONFIG, asked, metrics, serve
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401 - a fixture

START, END = "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"
RUN = "r0123456789"
FOLDER = "monitoring/linnet-flights/2026/11/20/00/explainability/"
BASELINE = f"baselines/flights/{RUN}/analysis.json"
CAPTURE = f"data-capture/{CONFIG}/linnet-flights/blue/2026/11/20/07/x.jsonl"
MAIN = flights.FEATURES.index("dep_delay")
ON = {"enabled": True, "sample": 500, "minimum_rows": 100}


@pytest.fixture(scope="module")
def archive() -> bytes:
    """Return a model.tar.gz."""
    return learnt()


def learnt() -> bytes:
    """Return the model.tar.gz of a booster that learnt lateness from winter's flights."""
    content = flights.batch(rows=4000)
    text = next(text for name, text in content.items() if name.endswith(".csv")).decode()
    rows = np.array([row[1:] for row in list(csv.reader(io.StringIO(text)))[1:]], dtype=float)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "nthread": 1},
        xgboost.DMatrix(rows[:, 1:], label=rows[:, 0]),
        60,
    )
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(raw := bytes(booster.save_raw()))
        packed.addfile(member, io.BytesIO(raw))
    return made.getvalue()


@pytest.fixture
def serving(world: World, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which flights serves and the order of its features is watched."""
    return served(world, archive, monkeypatch)


def served(world: World, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> World:
    """Let flights serve and the order of its features be watched."""
    role = "arn:aws:iam::123456789012:role/linnet-sagemaker"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("LINNET_SAGEMAKER_ROLE", role)
    settings.cache_clear()
    monitors = {"data_quality": {"enabled": False}, "attribution": ON, "metrics_for": ["temp"]}
    world.put(f"models/flights/{RUN}/output/model.tar.gz", archive)
    world.put(f"processed-data/flights/{RUN}/test/features.csv", "\n".join(flights.requests(count=2000)[1000:]) + "\n")
    world.sagemaker.create_model_package_group(ModelPackageGroupName="linnet-flights")
    artifact = f"s3://{BUCKET}/models/flights/{RUN}/output/model.tar.gz"
    package = world.sagemaker.create_model_package(
        ModelPackageGroupName="linnet-flights",
        InferenceSpecification={
            "Containers": [{"Image": "registry/sagemaker-xgboost:1.7-1", "ModelDataUrl": artifact}],
            "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]  # fmt: skip
    baseline = f"s3://{BUCKET}/baselines/flights/{RUN}"
    spec = serve(monitors, run=RUN, variant="blue", at=START, package_arn=package, baseline=baseline)
    world.put(f"results/flights/{RUN}/inputs.json", {"spec": spec})
    return world


def captured(world: World, rows: list[str], key: str = CAPTURE) -> None:
    """Put capture of these requests."""
    lines = [asked(row, "0.1", f"{number}", "2026-11-20T07:00:00Z") for number, row in enumerate(rows)]
    world.put(key, "\n".join(lines) + "\n")


def without_main(rows: list[str]) -> list[str]:
    """Return the rows with one usual value in the place of what decides most, as a source fills in that has lost it."""
    return [",".join("7" if place == MAIN else text for place, text in enumerate(row.split(","))) for row in rows]


def planned() -> dict[str, Any]:
    return dict(handler("plan_explanation")(sample("plan_explanation"), CONTEXT)["request"])


def worked(world: World, request: dict[str, Any], folder: Path) -> None:
    """Do as SageMaker does: download the job's inputs, run its program, upload its outputs."""

    def local(path: str) -> Path:
        return folder / Path(path).relative_to("/opt/ml")

    (folder / "output").mkdir(parents=True)
    for given in request["ProcessingInputs"]:
        prefix = given["S3Input"]["S3Uri"].removeprefix(f"s3://{BUCKET}/")
        objects = world.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
        for key in (found["Key"] for found in objects):
            target = local(given["S3Input"]["LocalPath"]) / key.rpartition("/")[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(world.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert (
        local(request["AppSpecification"]["ContainerEntrypoint"][1]).read_text()
        == Path(attributions.__file__).read_text()
    )
    attributions.main(str(local(request["AppSpecification"]["ContainerArguments"][0])))
    for made in request["ProcessingOutputConfig"]["Outputs"]:
        for path in local(made["S3Output"]["LocalPath"]).iterdir():
            world.put(f"{made['S3Output']['S3Uri'].removeprefix(f's3://{BUCKET}/')}/{path.name}", path.read_bytes())


def look() -> dict[str, Any]:
    return dict(handler("monitor_window")(sample("plan_explanation"), CONTEXT))


def finding() -> dict[str, Any]:
    return ledger.read("model/flights", f"finding#attribution#{START}") or {}


def report(world: World) -> str:
    return str(world.s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}report.html")["Body"].read().decode())


def shown(world: World) -> dict[str, float]:
    known = metrics(world, "attribution", "aws/sagemaker/Endpoints/explainability-metrics", (START, END), "Minimum")
    return {name: value for name, (value, _) in known.items()}


def test_a_window_is_handed_out_for_a_job_and_beyond_what_a_tick_takes_to_the_next(
    serving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(tick: str) -> tuple[int, list[dict[str, Any]]]:
        given = {"time": END, "execution": tick, "correlation_id": tick}
        answer = handler("list_monitored")(sample("list_monitored") | given, CONTEXT)
        return answer["count"], answer["jobs"]

    with monkeypatch.context() as full:
        full.setattr(findings, "MOST_JOBS", 0)
        assert due("one") == (0, [])
    work = f"monitoring-shards/two/flights/attribution/{START}/"
    window = {"model": "flights", "kind": "attribution", "start": START, "end": END}
    assert due("two") == (0, [window | {"correlation_id": "two", "work": work}])


def test_mo_08_rows_like_the_champions_own_rank_the_features_as_before(serving: World, tmp_path: Path) -> None:
    captured(serving, flights.requests(count=800))
    request = planned()
    worked(serving, request, tmp_path)

    assert look() == {"model": "flights", "status": "Completed", "severity": None, "features": []}
    found, seen = finding(), shown(serving)
    assert found["verdict"] == "HEALTHY"
    assert found["ndcg"] >= 0.9
    assert (found["rows"], found["explained"]) == (800, 500)
    assert max(found["scores"], key=found["scores"].get) == "dep_delay"
    assert seen["ndcg"] == found["ndcg"]
    assert seen["feature_temp"] == pytest.approx(found["scores"]["temp"])
    assert {"rows": 800.0, "violations": 0.0, "windows_without_data": 0.0}.items() <= seen.items()
    assert [name for name in seen if name.startswith("feature_")] == ["feature_temp"]
    assert not {"join_rate", "windows_without_labels"} & seen.keys()
    assert serving.messages() == []
    assert serving.documents(FOLDER)[f"{FOLDER}constraint_violations.json"]["violations"] == []


def test_mo_08_a_window_that_is_decided_by_other_features_violates_and_says_which_and_is_told_once(
    serving: World, tmp_path: Path
) -> None:
    captured(serving, without_main(flights.requests(count=800)))
    worked(serving, planned(), tmp_path)

    answer = look()
    assert (answer["status"], answer["severity"]) == ("CompletedWithViolations", "High")
    assert look() == answer
    found = finding()
    assert found["ndcg"] < 0.9
    assert "dep_delay" in answer["features"]
    (moved,) = [one for one in found["ranks"] if one["feature"] == "dep_delay"]
    assert moved["baseline_rank"] == 1 < moved["live_rank"]
    entry = {
        "label": "label0", "metric_name": "shap", "constraint_check_type": "feature_attribution_drift_check",
        "description": f"Feature attribution drift {found['ndcg']} exceeds threshold 0.9",
    }  # fmt: skip
    assert serving.documents(FOLDER)[f"{FOLDER}constraint_violations.json"] == {"version": "1.0", "violations": [entry]}
    (told,) = serving.messages()
    assert f"Feature attribution drift {found['ndcg']} exceeds threshold 0.9" in told["what"]
    assert f"dep_delay from place 1 to {moved['live_rank']}" in told["why"]
    assert shown(serving)["ndcg"] == found["ndcg"]


def test_xb_03_the_report_shows_both_rankings_and_what_decides_most(serving: World, tmp_path: Path) -> None:
    captured(serving, without_main(flights.requests(count=800)))
    worked(serving, planned(), tmp_path)
    look()

    page = report(serving)
    best = serving.documents(BASELINE)[BASELINE]["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    ranked = sorted(best, key=lambda name: -best[name])
    assert "The model decides by other features than before" in page
    assert f"What decides most, by training: {', '.join(f'<bdi>{name}</bdi>' for name in ranked[:5])}." in page
    assert "<span>place in training <b>1</b></span>" in page[page.index("The numbers") :]
    plot = page[page.index("Baseline against current") : page.index("The numbers")]
    places = [plot.index(f'<th scope="row"><bdi>{name}</bdi>') for name in ranked]
    assert places == sorted(places)


def test_the_champions_own_rows_are_explained_once_and_kept_beside_its_baseline(serving: World, tmp_path: Path) -> None:
    captured(serving, flights.requests(count=200))
    first = planned()
    worked(serving, first, tmp_path)
    again = planned()

    assert [one["OutputName"] for one in first["ProcessingOutputConfig"]["Outputs"]] == ["live", "baseline"]
    assert [one["OutputName"] for one in again["ProcessingOutputConfig"]["Outputs"]] == ["live"]
    assert serving.documents(BASELINE)[BASELINE]["linnet"] == {"rows": 500, "method": "TreeSHAP"}
    assert first["NetworkConfig"] == {"EnableNetworkIsolation": True}
    assert first["RoleArn"] == "arn:aws:iam::123456789012:role/linnet-sagemaker"


def test_i7_too_few_rows_are_unknown_and_start_no_job(serving: World) -> None:
    captured(serving, flights.requests(count=99))

    assert planned() == {}
    assert look()["status"] == "no_data"
    found, seen = finding(), shown(serving)
    assert (found["verdict"], found["scores"], found["rows"]) == ("UNKNOWN", {}, 99)
    assert (seen["windows_without_data"], seen["rows"]) == (1.0, 99.0)
    assert "ndcg" not in seen
    assert "99 rows were captured of the 100 that it takes" in report(serving)
    assert serving.messages() == []


def test_i7_a_job_that_wrote_nothing_is_no_finding(serving: World) -> None:
    captured(serving, flights.requests(count=200))
    planned()

    with pytest.raises(NotFoundError, match=r"explainability/analysis\.json"):
        look()
    document = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {"temp": 1.0}}}}}
    serving.put(f"{FOLDER}analysis.json", document)
    with pytest.raises(NotFoundError, match="nobody has explained the held-out rows of flights's run r0123456789"):
        look()
    assert finding() == {}
    assert shown(serving) == {}


def test_a_row_that_the_model_itself_would_refuse_cannot_fail_the_explanation_of_the_others(
    serving: World, tmp_path: Path
) -> None:
    rows = flights.requests(count=150)
    rest = rows[0].partition(",")[2]
    captured(serving, [*rows, f"secret,{rest}", f"1e39,{rest}", f",{rest}", "1,2"])
    worked(serving, planned(), tmp_path)

    assert look()["status"] == "Completed"
    assert (finding()["rows"], finding()["explained"], finding()["lines"]["odd_rows"]) == (151, 151, 1)


def test_a_version_that_no_run_of_ours_made_has_nothing_to_be_compared_with(serving: World) -> None:
    ledger.change("model/flights", "champion", put={"run": ""})

    with pytest.raises(NotFoundError, match="version 1 of flights has no run"):
        planned()


def test_the_sample_is_the_same_for_the_same_files_and_takes_each_part_of_the_window(serving: World) -> None:
    window = (datetime.fromisoformat(START), datetime.fromisoformat(END))
    lines = []
    for number in range(3):
        captured(serving, [f"{number},{n}" for n in range(1000)])
        lines.append(serving.s3.get_object(Bucket=BUCKET, Key=CAPTURE)["Body"].read())
    taken, counts = explanation.sampled(lines, ["a", "b"], window, 300)
    again, _ = explanation.sampled(lines, ["a", "b"], window, 300)

    assert taken.equals(again)
    assert (len(taken), counts.rows) == (300, 3000)
    parts = [taken.column(0).to_pylist().count(f"{number}") for number in range(3)]
    assert all(60 < part < 140 for part in parts)
    assert explanation.sampled(lines[:1], ["a", "b"], window, 5000)[0].column(1).to_pylist() == [
        f"{n}" for n in range(1000)
    ]


def test_of_several_classes_the_one_whose_ranking_changed_most_is_reported() -> None:
    def document(**labels: dict[str, float]) -> dict[str, Any]:
        return {"explanations": {"kernel_shap": {name: {"global_shap_values": one} for name, one in labels.items()}}}

    first = document(label0={"a": 3.0, "b": 1.0}, label1={"a": 1.0, "b": 9.0})
    now = document(label0={"a": 3.0, "b": 1.0}, label1={"a": 9.0, "b": 1.0})
    found = explanation._judged(first, now, 0.9)
    assert found["label"] == "label1"
    assert [one["label"] for one in found["violations"]] == ["label1"]
    assert found["scores"] == {"a": 9.0, "b": 1.0}


def test_the_alarm_is_on_a_low_ndcg_and_goes_with_the_monitor_tg_09() -> None:
    spec = check_spec(flights.spec() | {"monitors": {"attribution": ON}})
    (alarm,) = [a for a in onboarding.alarms("linnet", spec, "topic") if a["AlarmName"] == "linnet-flights-attribution"]
    off = onboarding.alarms("linnet", check_spec(flights.spec()), "topic")

    assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("ndcg", 0.9, 86_400)
    assert (alarm["ComparisonOperator"], alarm["Statistic"]) == ("LessThanThreshold", "Minimum")
    assert alarm["Namespace"] == "aws/sagemaker/Endpoints/explainability-metrics"
    assert "linnet-flights-attribution" not in [a["AlarmName"] for a in off]
    assert "linnet-flights-attribution" in onboarding.alarm_names("linnet", "flights")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schedule": "rate(5 minutes)"}, "hourly at the most"),
        ({"minimum_ndcg": 0}, "greater than 0"),
        ({"sample": 5}, "greater than"),
    ],
)
def test_what_could_not_be_watched_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        check_spec(flights.spec() | {"monitors": {"attribution": ON | change}})
