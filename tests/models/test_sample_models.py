"""The two sample models: real public data, real training, specs that hold what their tiers promise."""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.metrics import roc_auc_score

from linnet.events.spec import Spec, check_spec
from linnet.monitoring.drift import drift_scores
from linnet.monitoring.evaluate import read_scores, read_which
from linnet.monitoring.profile import profile
from linnet.monitoring.rules import rules_of, validate_files
from linnet.monitoring.split import Prepared, prepare
from linnet.monitoring.tables import Source, read_table
from local.sagemaker.executor.archives import unpack
from models.batches import DATA, MANIFEST
from models.diamonds import data as diamonds
from models.flights import data as flights

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("sample", [flights, diamonds], ids=["flights", "diamonds"])


def _rows(batch: dict[str, bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(batch[DATA].decode())))


def _spec(sample: Any) -> Spec:
    return check_spec(sample.spec())


def _report(sample: Any, batch: dict[str, bytes]) -> dict[str, Any]:
    rules = rules_of(_spec(sample).data.model_dump(mode="json"))
    return validate_files([Source(DATA, batch[DATA])], rules)


def _prepared(sample: Any, older: list[bytes], newest: bytes, into: Path) -> Prepared:
    spec = _spec(sample)
    return prepare(
        [Source("older", content) for content in older],
        [Source("newest", newest)],
        spec.data.model_dump(mode="json"),
        into,
        algorithm=spec.training.algorithm,
    )


def _numbers(path: Path) -> Any:
    return np.genfromtxt(path, delimiter=",", dtype=np.float64)


def _trained(prepared: Prepared) -> xgboost.Booster:
    table = _numbers(prepared.train)
    given = dict(_spec(flights).training.hyperparameters)
    rounds = int(given.pop("num_round"))
    return xgboost.train(given, xgboost.DMatrix(table[:, 1:], label=table[:, 0]), num_boost_round=rounds)


def _auc(model: xgboost.Booster, prepared: Prepared) -> float:
    return _judged(prepared, model.predict(xgboost.DMatrix(_numbers(prepared.test_features))))


def _judged(prepared: Prepared, answers: Any) -> float:
    """Return the AUC on the rows that decide: the newest batch's, not the samples of older and of training rows."""
    truth = prepared.test_labels.read_bytes()
    newest = read_which(truth)["newest"]
    return float(roc_auc_score(read_scores(truth)[newest], np.asarray(answers)[newest]))


@BOTH
def test_a_batch_has_thousands_of_real_rows_and_says_so_in_its_manifest(sample: Any) -> None:
    batch = sample.batch()
    (entry,) = json.loads(batch[MANIFEST])["objects"]

    assert entry == {
        "key": DATA,
        "size": len(batch[DATA]),
        "sha256": hashlib.sha256(batch[DATA]).hexdigest(),
        "rows": len(_rows(batch)),
    }
    assert entry["rows"] >= 5_000
    assert len({row[sample.ENTITY] for row in _rows(batch)}) == entry["rows"]


@BOTH
def test_the_spec_names_the_columns_of_the_data_in_the_order_of_the_requests(sample: Any) -> None:
    spec = _spec(sample)
    header = sample.batch()[DATA].decode().splitlines()[0].split(",")

    assert header == [spec.data.entity, spec.data.label, *spec.data.features]
    assert {request.count(",") for request in sample.requests(count=50)} == {len(spec.data.features) - 1}


@BOTH
def test_good_data_passes_its_rules_and_damaged_data_fails_them_by_name_dv_01(sample: Any) -> None:
    good, bad = _report(sample, sample.batch()), _report(sample, sample.batch(damaged=True))

    assert (good["verdict"], good["failures"]) == ("PASS", [])
    assert bad["verdict"] == "FAIL"
    assert [f for f in bad["failures"] if f.startswith(f'Completeness "{sample.ENTITY}" > 0.99: observed 0.98')]
    assert [f for f in bad["failures"] if f.startswith("ColumnValues")]


@BOTH
def test_parts_of_a_batch_are_disjoint_and_callers_ask_about_unseen_rows(sample: Any) -> None:
    parts = [{row[sample.ENTITY] for row in _rows(sample.batch(rows=500, part=part))} for part in (0, 1)]
    asked = set(sample.requests(count=500))
    trained = {",".join(list(row.values())[2:]) for row in _rows(sample.batch(rows=500))}

    assert parts[0].isdisjoint(parts[1])
    assert len(asked & trained) <= 5  # equal features of different rows


@BOTH
def test_too_large_a_part_is_an_error_that_names_it(sample: Any) -> None:
    with pytest.raises(ValueError, match="too few for part 1000 of 6000 rows"):
        sample.batch(part=1000)


@pytest.mark.parametrize("season", ["", "13", "autumn", "1,,2", "0"])
def test_an_unknown_season_is_an_error_that_names_it(season: str) -> None:
    with pytest.raises(ValueError, match=f"season '{season}' is not"):
        flights.batch(season=season)


@pytest.mark.parametrize("module", ["models.flights.data", "models.diamonds.data"])
def test_the_command_line_writes_what_the_function_returns(module: str, tmp_path: Path) -> None:
    sample = importlib.import_module(module)

    sample.main(["--batch", "2013-03", "--rows", "60", "--out", str(tmp_path)])

    expected = sample.batch(rows=60, **({"season": "3"} if sample is flights else {}))
    assert {p.name: p.read_bytes() for p in (tmp_path / "2013-03").iterdir()} == expected


def test_flights_of_summer_are_drift_and_other_flights_of_winter_are_not() -> None:
    def seen(lines: list[str]) -> Any:
        content = "\n".join([",".join(flights.FEATURES), *lines]).encode()
        return profile(read_table([Source("window", content)]), kinds=dict.fromkeys(flights.FEATURES, "number"))

    winter = [",".join(list(row.values())[2:]) for row in _rows(flights.batch(season="winter"))]
    quiet = drift_scores(seen(winter), seen(flights.requests(season="winter", count=300)))
    summer = drift_scores(seen(winter), seen(flights.requests(season="summer", count=300)))

    assert max(quiet.values()) < 0.1
    assert max(summer, key=lambda name: summer[name]) == "temp"
    assert summer["temp"] > 0.3


def test_the_first_candidate_reaches_the_automatic_tier_and_summer_data_beats_it_in_summer_rg_03_ev_03(
    tmp_path: Path,
) -> None:
    winter, summer = (flights.batch(season=season)[DATA] for season in ("winter", "summer"))
    first = _prepared(flights, [], winter, tmp_path / "first")
    second = _prepared(flights, [winter], summer, tmp_path / "second")
    champion, candidate = _trained(first), _trained(second)

    assert _auc(champion, first) >= _spec(flights).approval.automatic + 0.02
    assert _auc(candidate, second) > _auc(champion, second) + 0.01


def test_a_broken_flights_model_loads_but_answers_no_live_request(tmp_path: Path) -> None:
    unpack(flights.broken_model(), tmp_path)
    spec = importlib.util.spec_from_file_location(
        "inference", tmp_path / "code" / flights.BROKEN_ENVIRONMENT["SAGEMAKER_PROGRAM"]
    )
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    model = script.model_fn(str(tmp_path))
    assert model.num_features() == len(flights.FEATURES)
    for request in flights.requests(season="winter", count=50) + flights.requests(season="summer", count=50):
        with pytest.raises(Exception, match="shape"):
            script.predict_fn(script.input_fn(request, "text/csv"), model)


def _run_script(tmp_path: Path) -> tuple[Prepared, Path, str]:
    """Unpack sourcedir.tar.gz and train as the scikit-learn container does: arguments and SM_* variables."""
    prepared = _prepared(diamonds, [], diamonds.batch()[DATA], tmp_path / "prepared")
    assert prepared.validation is not None
    folders = {name: tmp_path / name for name in ("train", "validation", "model", "code")}
    for folder in folders.values():
        folder.mkdir()
    prepared.train.rename(folders["train"] / "part-00001.csv")
    prepared.validation.rename(folders["validation"] / "part-00001.csv")
    unpack(diamonds.sourcedir(), folders["code"])
    training = _spec(diamonds).training
    arguments = [str(v) for name, value in training.hyperparameters.items() for v in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, "-W", "error", training.entry_point, *arguments, "--sagemaker_region", "us-east-1"],
        cwd=folders["code"],
        env=os.environ | {
            "SM_CHANNEL_TRAIN": str(folders["train"]),
            "SM_CHANNEL_VALIDATION": str(folders["validation"]),
            "SM_MODEL_DIR": str(folders["model"]),
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return prepared, folders["model"], done.stdout


def test_the_script_trains_as_in_its_container_and_serves_from_its_artifact_alone_tr_11_fe_04(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, artifact, printed = _run_script(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    script: Any = importlib.import_module("train")

    model = script.model_fn(str(artifact))
    body = prepared.test_features.read_text()
    answer, kind = script.output_fn(script.predict_fn(script.input_fn(body, "text/csv"), model), "text/csv")

    assert kind == "text/csv"
    assert _judged(prepared, [float(line) for line in answer.split()]) >= 0.90
    assert re.search(r"^validation:auc=0\.9\d+$", printed, re.MULTILINE)
    unseen = script.predict_fn(script.input_fn(b"1.2,Unheard of,E,SI1,61,57\n", "text/csv; charset=utf-8"), model)
    assert 0 <= float(unseen[0]) <= 1


def test_fe_04_the_same_row_has_identical_features_in_training_and_in_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the learner was fitted on, and what the loaded artifact hands it for a request of the same rows."""
    monkeypatch.syspath_prepend(str(ROOT / "models" / "diamonds"))
    script: Any = importlib.import_module("train")
    fitted, asked = [], []
    learner = script.HistGradientBoostingClassifier
    fit, predict = learner.fit, learner.predict_proba
    monkeypatch.setattr(learner, "fit", lambda self, x, y: (fitted.append(x), fit(self, x, y))[1])
    monkeypatch.setattr(learner, "predict_proba", lambda self, x: (asked.append(x), predict(self, x))[1])
    kinds = [("0.3", "Ideal", "E", "SI1", "61.5", "55"), ("", "Very Good", "H", "VS2", "60", "58.25"),
             ("1.2", "Unheard, of", "E", "", "nan", "1e2")]  # fmt: skip
    rows = [",".join(f'"{field}"' if "," in field else field for field in kind) for kind in kinds] * 10
    lines = [",".join(("expensive", *script.FEATURES))] + [f"{number % 2},{row}" for number, row in enumerate(rows)]
    (tmp_path / "part.csv").write_text("\n".join(lines) + "\n")
    script.main([f"--train={tmp_path}", f"--model-dir={tmp_path}", "--validation=", "--max-iter=1"])

    script.predict_fn(script.input_fn("\n".join(rows), "text/csv"), script.model_fn(str(tmp_path)))

    assert fitted[0].shape == (30, 11)  # three numbers, and a column for each category that training saw
    np.testing.assert_array_equal(asked[-1].astype(float), fitted[0].astype(float))  # NaN is NaN among floats alone


def test_the_artifacts_own_preprocessing_knows_only_what_the_training_rows_teach_f26(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of cut that only validation and holdout have must not be in the encoder that ships with the model."""
    prepared = _prepared(diamonds, [], diamonds.batch()[DATA], tmp_path / "prepared")
    assert prepared.validation is not None
    for name in ("train", "validation", "model", "code"):
        (tmp_path / name).mkdir()
    lines = prepared.train.read_text().splitlines(keepends=True)
    (tmp_path / "train" / "part.csv").write_text("".join(line for line in lines if ',"Fair",' not in line))
    prepared.validation.rename(tmp_path / "validation" / "part.csv")
    assert ',"Fair",' in (tmp_path / "validation" / "part.csv").read_text()
    unpack(diamonds.sourcedir(), tmp_path / "code")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    script: Any = importlib.import_module("train")
    script.main([f"--{name.replace('_', '-')}={tmp_path / name.partition('_')[0]}"
                 for name in ("train", "validation", "model_dir")])  # fmt: skip

    model = script.model_fn(str(tmp_path / "model"))
    known = {kind for kinds in model[0].named_transformers_["categories"].categories_ for kind in kinds}
    assert "Ideal" in known
    assert "Fair" not in known
    answers = script.predict_fn(script.input_fn(prepared.test_features.read_text(), "text/csv"), model)
    assert np.isfinite(answers).all()


@pytest.mark.parametrize(
    ("body", "kind", "wrong"),
    [
        ("1.2,Ideal,E", "text/csv", "row 1 has 3 fields"),
        ("1.2,Ideal,E,SI1,61,57\nx,Ideal,E,SI1,61,57", "text/csv", "could not convert"),
        ("{}", "application/json", "application/json is not supported"),
    ],
)
def test_a_request_that_cannot_be_read_is_an_error_that_says_why(body: str, kind: str, wrong: str) -> None:
    from models.diamonds import train  # noqa: PLC0415 - the script, as a module

    with pytest.raises(ValueError, match=wrong):
        train.input_fn(body, kind)
