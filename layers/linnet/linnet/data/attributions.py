"""The processing job that explains a champion: mean absolute SHAP values by feature, of baseline rows and of live ones (MO-08).

It stands alone: it runs in the image that serves the model, whose Python may be 3.8 and which does not have the linnet package.
Built-in XGBoost is explained by its own TreeSHAP. A script-mode model is explained through its input_fn and predict_fn by the
shap library, which no image has: it is installed from requirements.txt beside this file, where the job has a network.

    python3 attributions.py /opt/ml/processing/input/request/request.json

The request is `{algorithm, entry_point, features, explain, sample, seed}`. Beside its folder lie `model` (model.tar.gz),
`baseline` and `live` (CSV without a header, fields in the order of `features`) and, for a script, `source` (sourcedir.tar.gz).
Written is output/<baseline or live>/analysis.json, in SageMaker Clarify's schema, for each of `explain`.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import shutil
import subprocess
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NO_SHAP = (
    "shap is not in the image and could not be installed from requirements.txt beside attributions.py:"
    " let the job have a network, or explain built-in XGBoost models alone"
)
BACKGROUND = 20
"""A feature is left out by giving it the values of so many baseline rows."""
EXPLAINED = 300
"""The shap library asks the model about 80 times for each feature of a row, so no more rows than these."""

MOST_UNPACKED, MOST_MEMBERS, RATIO, SLACK = 4 * 1024**3, 10_000, 100, 1024**2
"""What an archive may unpack to: bytes, members, and bytes for each packed one beyond the slack (practice.md B4)."""


class AttributionError(Exception):
    """The model cannot be explained; says why and what to do."""


def main(request_file: str) -> None:
    """Explain what the request names; a failure's text becomes the job's ExitMessage.

    Raises:
        AttributionError: a file is not as it should be, or shap is missing.
    """
    path = Path(request_file)
    root = path.parents[2]
    try:
        request = json.loads(path.read_text(encoding="utf-8"))
        for name, document in explain(request, root / "input").items():
            folder = root / "output" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "analysis.json").write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
            print("{}: {} rows by {}".format(name, document["linnet"]["rows"], document["linnet"]["method"]))  # noqa: T201
    except Exception as error:
        message = root.parent / "output" / "message"
        if message.parent.is_dir():
            message.write_text(f"{type(error).__name__}: {error}"[:1000], encoding="utf-8")
        raise


def explain(request: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the analysis.json of each set of rows that the request asks for."""
    features = request["features"]
    asked = sorted(set(request["explain"]) | ({"baseline"} if request["algorithm"] != "xgboost" else set()))
    rows = {name: read_rows(folder / name, len(features), request["sample"], request["seed"]) for name in asked}
    with tempfile.TemporaryDirectory() as unpacked:
        model_dir = unpack(folder / "model", Path(unpacked) / "model")
        if request["algorithm"] == "xgboost":
            method, values = "TreeSHAP", tree_shap(model_dir, rows)
        else:
            source = folder / "source"
            code = unpack(source, Path(unpacked) / "source") if source.is_dir() else model_dir / "code"
            answer = script(code, request["entry_point"], model_dir)
            kept = {name: sample(found, EXPLAINED, request["seed"]) for name, found in rows.items()}
            method, values = "shap", permutation_shap(answer, kept, request["seed"])
    return {name: analysis(features, method, *values[name]) for name in request["explain"]}


def read_rows(folder: Path, width: int, most: int, seed: int) -> list[list[str]]:
    """Return the fields of a sample of the one CSV file in a folder, which may be larger than the memory.

    Raises:
        AttributionError: it has no rows, or a line of another width.
    """
    path, count = only_file(folder), 0
    with path.open(encoding="utf-8", newline="") as file:
        for count, row in enumerate(csv.reader(file), 1):
            if len(row) != width:
                raise AttributionError(f"{path.name}, line {count} has {len(row)} fields; allowed: {width}")
    if not count:
        raise AttributionError(f"{path.name} has no rows")
    chosen = set(places(count, most, seed))
    with path.open(encoding="utf-8", newline="") as file:
        return [row for place, row in enumerate(csv.reader(file)) if place in chosen]


def only_file(folder: Path) -> Path:
    """Return the one file of a folder that an input was downloaded into."""
    found = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if len(found) != 1:
        raise AttributionError(f"input {folder.name} has {len(found)} files; allowed: one")
    return found[0]


def sample(rows: list[list[str]], most: int, seed: int) -> list[list[str]]:
    """Return at most so many of the rows, in their order; the same for the same seed."""
    return [rows[place] for place in places(len(rows), most, seed)]


def places(count: int, most: int, seed: int) -> list[int]:
    """Return at most so many of the places before a count, in their order; the same for the same seed."""
    if count <= most:
        return list(range(count))
    # Not default_rng: RandomState's stream is frozen over all versions of numpy.
    return sorted(np.random.RandomState(seed).choice(count, most, replace=False).tolist())


def unpack(folder: Path, into: Path) -> Path:
    """Unpack the regular files of the one archive in a folder.

    Raises:
        AttributionError: a member would lie outside, or there are too many or too large ones for the archive's size.
    """
    packed = only_file(folder)
    left = min(MOST_UNPACKED, RATIO * packed.stat().st_size + SLACK)
    with tarfile.open(str(packed)) as archive:
        for count, member in enumerate(archive, 1):
            left -= member.size
            if left < 0 or count > MOST_MEMBERS:
                raise AttributionError(
                    f"the archive of input {folder.name} unpacks to too much at {member.name}; allowed: {MOST_MEMBERS} files,"
                    f" {RATIO} times the archive's size, {MOST_UNPACKED} bytes"
                )
            target = Path(member.name)
            if target.is_absolute() or ".." in target.parts:
                raise AttributionError(f"the archive of input {folder.name} names a file outside of it: {member.name}")
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                (into / target).parent.mkdir(parents=True, exist_ok=True)
                with (into / target).open("wb") as file:
                    shutil.copyfileobj(content, file)
    return into


def tree_shap(model_dir: Path, rows: dict[str, list[list[str]]]) -> dict[str, tuple[Any, Any]]:
    """Return the TreeSHAP values (rows, features, labels) and expected values (labels) of each set; in margins, not shares."""
    import xgboost  # noqa: PLC0415 - the image of a script-mode model may lack it

    booster = xgboost.Booster()
    booster.load_model(
        bytearray(only_file(model_dir).read_bytes())
    )  # a path without a suffix is guessed at, with a warning
    best = booster.attr(
        "best_iteration"
    )  # set where training stopped early: the server predicts with these trees alone
    used = {"iteration_range": (0, int(best) + 1)} if best else {}
    found = {}
    for name, part in rows.items():
        numbers = np.array([[number(text) for text in row] for row in part], dtype=np.float32)
        matrix = xgboost.DMatrix(numbers)
        values = booster.predict(matrix, pred_contribs=True, validate_features=False, **used)
        # Two dimensions for one output, three (rows, outputs, features and the expected value) for several.
        by_label = values[:, None, :] if values.ndim == 2 else values  # noqa: PLR2004
        found[name] = (np.moveaxis(by_label[:, :, :-1], 1, 2), by_label[:, :, -1].mean(axis=0))
    return found


def number(text: str) -> float:
    """Return a field as XGBoost's container reads it: missing where it is empty.

    Raises:
        AttributionError: it spells no number. It is not told: no data goes into a log.
    """
    try:
        return float(text) if text.strip() else math.nan
    except ValueError:
        raise AttributionError("a field of the rows is no number; built-in XGBoost takes numbers alone") from None


def script(code: Path, entry_point: str, model_dir: Path) -> Callable[[str], Any]:
    """Return what answers CSV text as the model's own server would: input_fn, then predict_fn.

    Raises:
        AttributionError: there is no such script, it has no model_fn, or (when asked) it fails.
    """
    path = code / entry_point
    spec = importlib.util.spec_from_file_location(path.stem, str(path)) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise AttributionError(f"there is no script {entry_point} in the model's code")
    sys.path.insert(0, str(code))  # it may import what lies beside it
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "model_fn"):
        raise AttributionError(f"{entry_point} has no model_fn")
    model = module.model_fn(str(model_dir))
    read = getattr(module, "input_fn", lambda text, _: np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2))
    predict = getattr(module, "predict_fn", lambda data, made: made.predict(data))

    def answer(text: str) -> Any:
        try:
            return np.asarray(predict(read(text, "text/csv"), model), dtype=np.float64)
        except Exception as error:  # noqa: BLE001 - it is not our code
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        raise AttributionError(f"the model's own code fails on the rows: {told}")  # its text may hold a row's data

    return answer


def permutation_shap(
    answer: Callable[[str], Any], rows: dict[str, list[list[str]]], seed: int
) -> dict[str, tuple[Any, Any]]:  # fmt: skip
    """Return the shap values (rows, features, labels) and expected values (labels) of each set, against baseline rows."""
    shap = load_shap()
    every = np.array([row for name in sorted(rows) for row in rows[name]], dtype=object)
    # The library works on numbers and the model on what callers send: each text stands for itself by its place.
    texts = [np.unique(column.astype(str)) for column in every.T]

    def coded(part: Sequence[Sequence[str]]) -> Any:
        columns = np.array(part, dtype=object).T
        return np.array([np.searchsorted(texts[n], columns[n].astype(str)) for n in range(len(texts))], dtype=float).T

    def asked(codes: Any) -> Any:
        body = io.StringIO()
        csv.writer(body, lineterminator="\n").writerows(
            [[texts[n][int(c)] for n, c in enumerate(row)] for row in codes]
        )
        answers = answer(body.getvalue())
        return answers if answers.ndim > 1 and answers.shape[1] > 1 else answers.reshape(len(codes))

    background = coded(sample(rows["baseline"], BACKGROUND, seed))
    masker = shap.maskers.Independent(background, max_samples=len(background))
    found = {}
    for name, part in rows.items():
        explainer = shap.Explainer(asked, masker, algorithm="permutation", seed=seed)
        made = explainer(coded(part), max_evals=2 * (2 * len(texts) + 1), silent=True)
        values = np.asarray(made.values)
        expected = np.asarray(made.base_values)
        several = values.ndim == 3  # noqa: PLR2004 - rows, features, labels
        found[name] = (values if several else values[:, :, None], expected.reshape(len(part), -1).mean(axis=0))
    return found


def load_shap() -> Any:
    """Import the shap library, installed from requirements.txt beside this file where the image lacks it.

    Raises:
        AttributionError: it cannot be had.
    """
    if importlib.util.find_spec("shap") is None:
        wanted = Path(__file__).with_name("requirements.txt")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "-r", str(wanted)]
        if not wanted.is_file() or subprocess.run(command, check=False).returncode:
            raise AttributionError(NO_SHAP)
        importlib.invalidate_caches()
    try:
        return importlib.import_module("shap")
    except ImportError as error:
        raise AttributionError(NO_SHAP) from error


def analysis(features: Sequence[str], method: str, values: Any, expected: Any) -> dict[str, Any]:
    """Return analysis.json of shap values (rows, features, labels) and expected values (labels)."""
    mean = np.abs(np.asarray(values, dtype=np.float64)).mean(axis=0)
    if mean.shape[0] != len(features) or not np.isfinite(mean).all():
        allowed = f"{len(features)} finite numbers, one for each feature"
        raise AttributionError(f"the model's attributions are {mean.shape[0]} numbers; allowed: {allowed}")
    labels = {
        f"label{place}": {
            "global_shap_values": {name: float(mean[n, place]) for n, name in enumerate(features)},
            "expected_value": float(expected[place]),
        }
        for place in range(mean.shape[1])
    }
    told = {"rows": len(values), "method": method}
    return {"version": "1.0", "explanations": {"kernel_shap": labels}, "linnet": told}


if __name__ == "__main__":
    main(sys.argv[1])
