"""The program of the job that explains a champion, on real boosters and files (MO-08)."""

from __future__ import annotations

import ast
import csv
import importlib.machinery
import inspect
import io
import json
import os
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from linnet.data import attributions
from linnet.data.attributions import AttributionError, main, sample, script, tree_shap, unpack
from linnet.decisions.attribution import REQUIREMENTS
from linnet.monitoring.attribution import ndcg, read_analysis

FEATURES = ["strong", "weak", "noise"]
SCRIPT = """
import helper, pathlib
def model_fn(folder): return float((pathlib.Path(folder) / "weight.txt").read_text())
def input_fn(body, content_type):
    assert content_type == "text/csv"
    return [line.split(",") for line in body.splitlines()]
def predict_fn(rows, weight): return [helper.worth(row, weight) for row in rows]
"""
HELPER = """
def worth(row, weight): return {"good": 1.0, "bad": -1.0, "": 0.0}[row[0].strip('"')] + weight * float(row[1])
"""


def table(seed: int, rows: int = 400) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def trained(**parameters: Any) -> xgboost.Booster:
    features = table(1)
    score = 3 * features[:, 0] + features[:, 1]
    labels = np.digitize(score, [-1, 1]) if "num_class" in parameters else score > 0
    return xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, **parameters},
        xgboost.DMatrix(features, label=labels),
        num_boost_round=8,
    )


def archive(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return made.getvalue()


def fields(rows: Any) -> list[list[str]]:
    return [[repr(float(value)) for value in row] for row in rows]


def job(folder: Path, model: bytes, sets: dict[str, list[list[str]]], source: bytes = b"", **request: Any) -> str:
    """Lay a job's inputs out as SageMaker does; return its argument."""
    wanted = {
        "algorithm": "xgboost", "entry_point": None, "features": FEATURES, "explain": sorted(sets), "sample": 2000, "seed": 1,
    } | request  # fmt: skip
    files = {"model/model.tar.gz": model, "request/request.json": json.dumps(wanted).encode()}
    files |= {"source/sourcedir.tar.gz": source} if source else {}
    for name, rows in sets.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        files[f"{name}/rows.csv"] = text.getvalue().encode()
    (folder / "output").mkdir(parents=True)
    for path, content in files.items():
        place = folder / "processing/input" / path
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
    return str(folder / "processing/input/request/request.json")


def xgboost_model(**parameters: Any) -> bytes:
    return archive({"xgboost-model": bytes(trained(**parameters).save_raw())})


def written(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / "processing/output" / name / "analysis.json").read_text()))


def test_the_program_is_read_by_python_38_and_needs_what_the_images_have_and_shap_alone() -> None:
    tree = ast.parse(inspect.getsource(attributions), feature_version=(3, 8))
    needed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            needed |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            needed.add(str(node.module).partition(".")[0])
    assert needed - sys.stdlib_module_names == {"numpy", "xgboost"}
    newer = {"removeprefix", "removesuffix", "is_relative_to", "strict", "filter"}  # of 3.9 and 3.10
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not newer & (words | {node.arg or "" for node in ast.walk(tree) if isinstance(node, ast.keyword)})


@pytest.mark.parametrize("stopped", [None, 2])
def test_treeshap_rows_sum_to_the_margin_of_the_trees_that_the_server_uses(tmp_path: Path, stopped: int | None) -> None:
    booster, rows = trained(), table(2, 50)
    if stopped is not None:
        booster.set_attr(best_iteration=str(stopped))
    (tmp_path / "xgboost-model").write_bytes(booster.save_raw())
    values, expected = tree_shap(tmp_path, {"live": fields(rows)})["live"]

    trees = (0, 0) if stopped is None else (0, stopped + 1)
    margin = booster.predict(xgboost.DMatrix(rows), output_margin=True, iteration_range=trees)
    assert values.shape == (50, 3, 1)
    assert np.abs(values[:, :, 0].sum(axis=1) + expected[0] - margin).max() < 1e-5


def test_mo_08_rows_like_the_baseline_rank_alike_and_a_broken_feature_violates(tmp_path: Path) -> None:
    live = table(3)
    broken = live.copy()
    broken[:, 0] *= 0.01  # another unit: the strongest feature hardly moves the answer any more
    broken[:, 1] *= 3
    for name, rows in (("sound", live), ("broken", broken)):
        main(job(tmp_path / name, xgboost_model(), {"baseline": fields(table(1)), "live": fields(rows)}))
    before, sound, dead = (
        read_analysis(written(tmp_path / name, part))
        for name, part in (("sound", "baseline"), ("sound", "live"), ("broken", "live"))
    )
    assert list(before) == FEATURES
    assert max(before, key=lambda name: before[name]) == "strong"
    assert ndcg(before, sound) >= 0.9 > ndcg(before, dead)
    assert written(tmp_path / "sound", "live")["linnet"] == {"rows": 400, "method": "TreeSHAP"}


def test_only_what_is_asked_for_is_explained_and_twice_the_same(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        main(job(tmp_path / name, xgboost_model(), {"live": fields(table(3))}, sample=100))
        assert not (tmp_path / name / "processing/output/baseline").exists()
        assert written(tmp_path / name, "live")["linnet"]["rows"] == 100
        texts.append((tmp_path / name / "processing/output/live/analysis.json").read_bytes())
    assert texts[0] == texts[1]


def test_every_class_of_several_has_its_own_label(tmp_path: Path) -> None:
    model = xgboost_model(objective="multi:softprob", num_class=3)
    main(job(tmp_path, model, {"live": fields(table(3, 20))}))
    assert sorted(written(tmp_path, "live")["explanations"]["kernel_shap"]) == ["label0", "label1", "label2"]
    found = [read_analysis(written(tmp_path, "live"), label=label) for label in ("label0", "label1", "label2")]
    assert all(list(one) == FEATURES and one["strong"] > one["noise"] for one in found)
    assert len({one["strong"] for one in found}) == 3


def test_an_empty_field_is_missing_to_xgboost(tmp_path: Path) -> None:
    (tmp_path / "xgboost-model").write_bytes(trained().save_raw())
    found = tree_shap(tmp_path, {"a": [["", "1", " "]], "b": [["nan", "1", "nan"]]})
    assert found["a"][0].tolist() == found["b"][0].tolist()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["1", "2"]], "rows.csv, line 1 has 2 fields; allowed: 3"),
        ([], "rows.csv has no rows"),
        ([["secret", "2", "3"]], "a field of the rows is no number"),
    ],
)
def test_rows_that_cannot_be_explained_fail_the_job_by_name_and_tell_no_data(
    tmp_path: Path, rows: list[list[str]], said: str
) -> None:
    with pytest.raises(AttributionError, match=said):
        main(job(tmp_path, xgboost_model(), {"live": rows}))
    message = (tmp_path / "output/message").read_text()
    assert message.startswith(f"AttributionError: {said}")
    assert "secret" not in message


def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("../evil", "/evil", "a/../../evil")):
        folder = tmp_path / f"{number}" / "model"
        folder.mkdir(parents=True)
        (folder / "model.tar.gz").write_bytes(archive({name: b"x"}))
        with pytest.raises(AttributionError, match="outside"):
            unpack(folder, tmp_path / "into")
    assert not list(tmp_path.rglob("evil"))


def test_a_sample_keeps_the_order_and_is_the_same_for_a_seed() -> None:
    rows = [[str(n)] for n in range(1000)]
    found = sample(rows, 10, 7)
    assert found == sample(rows, 10, 7) == sorted(found, key=lambda row: int(row[0]))
    assert len({row[0] for row in found}) == 10
    assert sample(rows, 1000, 7) == rows


# --- script mode ---------------------------------------------------------------------------------------------------


def unpacked(folder: Path) -> tuple[Path, Path]:
    code, model = folder / "code", folder / "model"
    for path, text in ((code / "train.py", SCRIPT), (code / "helper.py", HELPER), (model / "weight.txt", "0.5")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return code, model


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing of the model's code behind."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.usefixtures("own_modules")
def test_a_script_answers_as_its_own_server_would(tmp_path: Path) -> None:
    answer = script(*_with_entry(unpacked(tmp_path)))
    assert answer("good,2\n,4\n").tolist() == [2.0, 2.0]
    with pytest.raises(AttributionError, match=r"KeyError in helper\.py, line 2$") as failed:
        answer("secret,2\n")
    assert failed.value.__context__ is None  # nor does the log tell the row
    with pytest.raises(AttributionError, match=r"no script other\.py"):
        script(tmp_path / "code", "other.py", tmp_path / "model")
    with pytest.raises(AttributionError, match=r"helper\.py has no model_fn"):
        script(tmp_path / "code", "helper.py", tmp_path / "model")


def _with_entry(folders: tuple[Path, Path]) -> tuple[Path, str, Path]:
    return folders[0], "train.py", folders[1]


def script_job(folder: Path, **sets: list[list[str]]) -> str:
    source = archive({"train.py": SCRIPT.encode(), "helper.py": HELPER.encode()})
    wanted = {"algorithm": "script", "entry_point": "train.py", "features": ["word", "size"]}
    return job(folder, archive({"weight.txt": b"0.5"}), sets, source, **wanted)


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize("listed", [False, True])
def test_without_shap_a_script_fails_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    monkeypatch.setattr(attributions, "__file__", str(tmp_path / "attributions.py"))
    monkeypatch.setattr(sys, "executable", "false")  # a pip that finds no network
    if listed:
        (tmp_path / "requirements.txt").write_text("shap==0.51.0\n")
    rows = [["good", "1"], ["bad", "2"]]
    with pytest.raises(AttributionError, match="shap is not in the image"):
        main(script_job(tmp_path / "job", baseline=rows, live=rows))
    assert (tmp_path / "job/output/message").read_text() == f"AttributionError: {attributions.NO_SHAP}"


class _AdditiveShap(types.ModuleType):
    """Shapley values of a model that is a sum over its features, through the parts of shap's interface that are used."""

    def __init__(self) -> None:
        super().__init__("shap")
        self.maskers = types.SimpleNamespace(Independent=lambda data, **_: data)
        self.__spec__ = importlib.machinery.ModuleSpec("shap", None)

    def Explainer(self, ask: Any, background: Any, **_: Any) -> Any:  # noqa: N802 - the library's name
        def explained(rows: Any, **_: Any) -> Any:
            values = np.zeros(rows.shape)
            for place in range(rows.shape[1]):
                for number, row in enumerate(rows):
                    changed = background.copy()
                    changed[:, place] = row[place]
                    values[number, place] = (ask(changed) - ask(background)).mean()
            return types.SimpleNamespace(values=values, base_values=np.full(len(rows), ask(background).mean()))

        return explained


@pytest.mark.usefixtures("own_modules")
def test_a_script_is_asked_with_the_texts_that_callers_send_and_is_explained_against_baseline_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shap", _AdditiveShap())
    baseline = [["good", "1.50"], ["bad", "0.5"]]
    main(script_job(tmp_path, baseline=baseline, live=[["bad", "3"], ["", "1e1"], ["good", "-1"]]))
    found = written(tmp_path, "live")

    # Against words worth 0 and sizes worth 0.5 in the mean: |-1|, |0|, |1| and |1.5 - 0.5|, |5 - 0.5|, |-0.5 - 0.5|.
    assert read_analysis(found) == pytest.approx({"word": 2 / 3, "size": 6.5 / 3})
    assert found["explanations"]["kernel_shap"]["label0"]["expected_value"] == pytest.approx(0.5)
    assert found["linnet"] == {"rows": 3, "method": "shap"}


def test_in_an_image_without_shap_the_job_installs_it_and_finds_the_exact_values_of_a_sum(tmp_path: Path) -> None:
    program = tmp_path / "code" / "attributions.py"
    program.parent.mkdir()
    program.write_bytes(Path(attributions.__file__).read_bytes())
    program.with_name("requirements.txt").write_text(REQUIREMENTS)
    image = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", str(image)], check=True)
    python = str(image / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "numpy"], check=True)  # the images have it
    baseline = [["good", "1.50"], ["bad", "0.5"]]
    request = script_job(tmp_path / "job", baseline=baseline, live=[["bad", "3"], ["", "1e1"], ["good", "-1"]])
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # no linnet package either
    subprocess.run([python, str(program), request], check=True, env=without)

    assert read_analysis(written(tmp_path / "job", "live")) == pytest.approx({"word": 2 / 3, "size": 6.5 / 3})
