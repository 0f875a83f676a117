"""A model container: loads /opt/ml/model and answers invocations on one connection until the other end closes it.

A request is `["content type", "accept"]`, a line feed and the body; an answer `[status, "content type"]`, a line feed
and the body. The first message is `ready` (what /ping asks for); without it the process ends, its reason in the log.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Handler = Callable[[bytes, str, str], tuple[int, str, bytes]]
_CSV, _JSON, _JSON_LINES = "text/csv", "application/json", "application/jsonlines"


def main() -> None:
    """Serve the connection whose descriptor is the first argument, with the model kind of the second."""
    with Connection(int(sys.argv[1])) as connection:
        kinds = {"algorithm": algorithm, "scikit-learn": script, "xgboost": xgboost_script}
        handle = kinds[sys.argv[2]](Path(os.environ["SM_MODEL_DIR"]))
        connection.send_bytes(b"ready")
        while True:
            try:
                head, _, body = connection.recv_bytes().partition(b"\n")
            except EOFError:
                return
            content_type, accept = json.loads(head)
            status, kind, answer = handle(body, content_type, accept)
            connection.send_bytes(json.dumps([status, kind]).encode() + b"\n" + answer)


def _plain(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _accepted(accept: str, default: str) -> str:
    return os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", default) if accept in ("", "*/*") else accept


class RefusedError(Exception):
    """A request that the container does not answer: its message and HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def algorithm(directory: Path) -> Handler:
    """Return the built-in XGBoost algorithm's server for the first file in the model directory.

    Statuses are the container's own (algorithm_mode/serve.py): 415 for a body that cannot be read, 400 for one that the
    model refuses, 406 for an Accept that is not known. Differences, on purpose: a pickled model is never loaded, and a
    number of features other than the model's is always refused (the container scores a row that is too short).
    """
    from local.sagemaker.containers import xgboost_data

    sys.modules["sklearn"] = None  # type: ignore[assignment]  # two thirds of xgboost's import time, never used
    import xgboost

    files = sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"no model file in {directory}: allowed is one saved by Booster.save_model")
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(files[0].read_bytes()))
    features = booster.num_features()

    def rows(body: bytes, content_type: str) -> Any:
        try:
            kind = xgboost_data.content_format(content_type)
            if kind == "parquet":
                raise RefusedError(415, f"Content-type {content_type} is not supported.")
            found = xgboost_data.csv_rows(body) if kind == "csv" else xgboost_data.libsvm_rows(body, features)[0]
        except ValueError as error:
            raise RefusedError(415, f"Loading data failed with Exception: {error}") from error
        if found.shape[1] != features:
            reason = (
                f"Feature size of {kind} inference data {found.shape[1]} is not consistent "
                f"with feature size of trained model {features}."
            )
            raise RefusedError(400, f"Unable to evaluate payload provided: {reason}")
        return found

    def handle(body: bytes, content_type: str, accept: str) -> tuple[int, str, bytes]:
        if not body:
            return 204, _CSV, b""
        try:
            matrix = xgboost.DMatrix(rows(body, content_type), nthread=1)
            return _encoded(booster.predict(matrix, validate_features=False), _plain(_accepted(accept, _CSV)))
        except RefusedError as error:
            return error.status, "text/plain", str(error).encode()
        except ValueError as error:  # of which xgboost's own errors are a kind
            return 400, "text/plain", f"Unable to evaluate payload provided: {error}".encode()

    return handle


def _encoded(predictions: Any, accept: str) -> tuple[int, str, bytes]:
    """Encode the algorithm's predictions as the container does; in batch transform a row of several stays a list."""
    values = predictions.tolist()
    if accept == _CSV and os.environ.get("SAGEMAKER_BATCH"):
        return 200, _CSV, "".join(f"{value}\n" for value in values).encode()
    if accept == _CSV:
        return 200, f"{_CSV}; charset=utf-8", _to_csv(values).encode()
    scores = [json.dumps({"score": value}) for value in values]
    if accept == _JSON:
        return 200, _JSON, f'{{"predictions": [{", ".join(scores)}]}}'.encode()
    if accept == _JSON_LINES:
        return 200, _JSON_LINES, "".join(f"{score}\n" for score in scores).encode()
    allowed = [_JSON, _JSON_LINES, _CSV]
    raise RefusedError(406, f"Accept type {accept} is not supported. Please use supported accept types: {allowed}.")


def _to_csv(values: Any) -> str:
    rows = values.tolist() if hasattr(values, "tolist") else values
    return "".join(f"{','.join(map(str, row)) if isinstance(row, list) else row}\n" for row in rows)


def xgboost_script(directory: Path) -> Handler:
    """Return the server of a user's script whose default functions speak xgboost's DMatrix (serving.py, encoder.py)."""
    from local.sagemaker.containers import xgboost_data

    def input_fn(content: Any, content_type: str) -> Any:
        import xgboost

        body = content.encode() if isinstance(content, str) else content
        try:
            kind = xgboost_data.content_format(content_type)
        except ValueError as error:
            raise RefusedError(415, str(error)) from error
        return xgboost.DMatrix(xgboost_data.libsvm_rows(body)[0] if kind == "libsvm" else xgboost_data.csv_rows(body))

    return script(directory, input_fn, lambda data, model: model.predict(data, validate_features=False))


def script(
    directory: Path, default_input: Callable[..., Any] | None = None, default_predict: Callable[..., Any] | None = None
) -> Handler:
    """Return the server of a user's script: model_fn and, unless transform_fn, input_fn, predict_fn, output_fn.

    Defaults and statuses as the scikit-learn container (sagemaker_sklearn_container/serving.py, and _transformer.py of
    sagemaker-containers): model_fn has no default; 415 and 406 when the default functions do not know a content type,
    500 for every exception.
    """
    module = _imported()
    names = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
    given = {name: getattr(module, name, None) for name in names}
    if given["model_fn"] is None:
        raise NotImplementedError(f"Please provide a model_fn implementation in {module.__file__}.")
    if given["transform_fn"] and any(given[name] for name in ("input_fn", "predict_fn", "output_fn")):
        raise ValueError("Cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn")
    model = given["model_fn"](str(directory))
    input_fn = given["input_fn"] or default_input or _default_input
    predict_fn = given["predict_fn"] or default_predict or (lambda data, loaded: loaded.predict(data))
    output_fn = given["output_fn"] or _default_output

    def transform(loaded: Any, content: Any, content_type: str, accept: str) -> Any:
        return output_fn(predict_fn(input_fn(content, content_type), loaded), accept)

    transform_fn = given["transform_fn"] or transform

    def handle(body: bytes, content_type: str, accept: str) -> tuple[int, str, bytes]:
        wanted = _accepted(accept, _JSON)
        try:
            content = body.decode() if _plain(content_type) in (_CSV, _JSON) else body
            result = transform_fn(model, content, content_type, wanted)
            answer, kind = result if isinstance(result, tuple) else (result, wanted)
            return 200, kind, answer.encode() if isinstance(answer, str) else bytes(answer)
        except RefusedError as error:
            words = {"error": "UnsupportedFormatError", "error-message": str(error)}
            return error.status, _JSON, json.dumps(words).encode()
        except Exception as error:
            traceback.print_exc()
            return 500, "text/plain", f"{type(error).__name__}: {error}".encode()

    return handle


def _imported() -> Any:
    program = Path(os.environ["SM_MODULE_DIR"]) / os.environ["SAGEMAKER_PROGRAM"]
    sys.path.insert(0, str(program.parent))
    spec = importlib.util.spec_from_file_location(program.stem, program)
    if spec is None or spec.loader is None:
        raise ImportError(f"{program} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[program.stem] = module
    spec.loader.exec_module(module)
    return module


def _default_input(content: Any, content_type: str) -> Any:
    import numpy as np

    kind = _plain(content_type)
    if kind == _CSV:
        return np.loadtxt(content.splitlines(), delimiter=",", dtype=np.float32, comments=None, ndmin=2)
    if kind == _JSON:
        return np.atleast_2d(np.array(json.loads(content), dtype=np.float32))
    raise RefusedError(415, f"Content type {content_type} is not supported: implement input_fn to read it")


def _default_output(prediction: Any, accept: str) -> tuple[str, str]:
    if _plain(accept) == _CSV:
        return _to_csv(prediction), accept
    if _plain(accept) == _JSON:
        return json.dumps(prediction, default=lambda value: value.tolist()), accept
    raise RefusedError(406, f"Accept {accept} is not supported: implement output_fn to write it")


if __name__ == "__main__":
    main()
