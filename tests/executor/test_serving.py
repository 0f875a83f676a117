"""Models in workers: the built-in algorithm, scripts, crashes and time-outs. Real processes."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from local.sagemaker.executor import Patience
from local.sagemaker.ports import Answer, Container
from tests.executor.doubles import FEATURES, SKLEARN, XGBOOST, Lab, archive, contents, csv, rows


def _scores(answer: Answer) -> list[float]:
    assert answer.status == 200, answer
    return [float(line) for line in answer.body.decode().splitlines()]


def test_the_builtin_algorithm_answers_csv_and_json(lab: Lab, xgboost_model: bytes) -> None:
    worker = lab.load(xgboost_model)
    table = rows(40, seed=9)
    answer = worker.invoke(csv(table[:, 1:]), "text/csv", "*/*")
    scores = _scores(answer)
    assert answer.content_type == "text/csv; charset=utf-8"
    assert 0 < answer.seconds < 60
    high = [score for score, label in zip(scores, table[:, 0], strict=True) if label]
    low = [score for score, label in zip(scores, table[:, 0], strict=True) if not label]
    assert sum(high) / len(high) > 0.6
    assert sum(low) / len(low) < 0.4
    one = worker.invoke(csv(table[:1, 1:]), "text/csv", "application/json")
    assert json.loads(one.body) == {"predictions": [{"score": scores[0]}]}
    lines = worker.invoke(csv(table[:2, 1:]), "text/csv", "application/jsonlines")
    assert [json.loads(line)["score"] for line in lines.body.splitlines()] == scores[:2]
    sparse = " ".join(f"{index}:{value:.6g}" for index, value in enumerate(table[0, 1:]))
    assert _scores(worker.invoke(sparse.encode(), "text/libsvm", "text/csv")) == pytest.approx(scores[:1])


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "reason"),
    [
        (b"1,2", "text/csv", "*/*", 400, "Feature size of csv inference data 2 is not consistent"),
        (b"1,2,3,4,5,6", "text/csv", "*/*", 400, "feature size of trained model 5"),
        (b"1,2,3,4,five", "text/csv", "*/*", 415, "'five'"),
        (b"{}", "application/json", "*/*", 415, "'application/json' is not an accepted ContentType"),
        (b"1,2,3,4,5", "text/csv", "image/png", 406, "Accept type image/png is not supported"),
        (b"", "text/csv", "*/*", 204, ""),
    ],
)
def test_the_builtin_algorithm_answers_a_wrong_request_as_its_container_does(
    shared: Any, body: bytes, content_type: str, accept: str, status: int, reason: str
) -> None:
    """Statuses: algorithm_mode/serve.py of aws/sagemaker-xgboost-container."""
    answer = shared.invoke(body, content_type, accept)
    assert answer.status == status
    assert reason in answer.body.decode()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, xgboost_model: bytes) -> Any:
    lab = Lab(tmp_path_factory.mktemp("shared"))
    yield lab.load(xgboost_model)
    lab.executor.close()


def test_callers_at_once_each_get_their_own_answer(shared: Any) -> None:
    table = rows(16, seed=4)[:, 1:]
    expected = _scores(shared.invoke(csv(table), "text/csv", "*/*"))
    found: dict[int, float] = {}

    def call(number: int) -> None:
        found[number] = _scores(shared.invoke(csv(table[number : number + 1]), "text/csv", "*/*"))[0]

    threads = [threading.Thread(target=call, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(16)] == expected


def test_a_worker_outlives_the_thread_that_loaded_it(lab: Lab, xgboost_model: bytes) -> None:
    loaded: list[Any] = []
    thread = threading.Thread(target=lambda: loaded.append(lab.load(xgboost_model)))
    thread.start()
    thread.join()
    assert len(_scores(loaded[0].invoke(csv(rows(1)[:, 1:]), "text/csv", "*/*"))) == 1


@pytest.mark.parametrize(
    ("artifact", "reason"),
    [
        (archive({"xgboost-model": b"no model"}), "did not answer /ping: exit code 1"),
        (archive({"xgboost-model": pickle.dumps(print)}), "did not answer /ping: exit code 1"),
        (archive({}), "no model file in"),
        (archive({"../xgboost-model": b"x"}), "only relative paths"),
        (b"no archive", "not a tar.gz"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_with_the_containers_last_words(
    lab: Lab, artifact: bytes, reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        lab.load(artifact)


def test_a_model_that_does_not_exist_or_has_no_stand_in_is_refused(lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="Could not find model data at s3://b/none"):
        lab.executor.load_model(Container(XGBOOST, "s3://b/none"), "ep/blue")
    with pytest.raises(RuntimeError, match="'mine:1' cannot run here"):
        lab.load(archive({"model": b""}), image="mine:1")


# -- script mode ------------------------------------------------------------------------------------------------------


def _sklearn_model() -> bytes:
    table = rows(300)
    target = io.BytesIO()
    joblib.dump(LogisticRegression().fit(table[:, 1:], table[:, 0]), target)
    return target.getvalue()


INFERENCE = b"""
import json, os
import joblib

def model_fn(model_dir):
    print("loading", model_dir)
    return joblib.load(os.path.join(model_dir, "model.joblib"))

def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction.tolist()}), accept
"""


def test_IN_07_a_script_in_the_models_archive_answers(lab: Lab) -> None:  # noqa: N802
    worker = lab.load(archive({"model.joblib": _sklearn_model(), "code/inference.py": INFERENCE}), SKLEARN, "ep/green")
    table = rows(20, seed=5)
    answer = worker.invoke(csv(table[:, 1:]), "text/csv", "application/json")
    assert answer.content_type == "application/json"
    predictions = json.loads(answer.body)["predictions"]
    assert sum(map(int.__eq__, map(int, predictions), map(int, table[:, 0]))) > 14
    assert worker.invoke(json.dumps(table[:1, 1:].tolist()).encode(), "application/json", "*/*").status == 200
    log = lab.aws.log("/aws/sagemaker/Endpoints/ep")
    root = "/opt/ml" if lab.executor._site.isolated else ""
    assert [line for line in log if line.startswith(f"loading {root}") and line.endswith("/model")]
    assert [line for line in log if "scikit-learn 1.4-2" in line]
    assert {stream.split("/")[0] for group, stream in lab.aws.logs if group == "/aws/sagemaker/Endpoints/ep"} == {
        "green"
    }


HOOKS = b"""
import os, time

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights")) as file:
        return float(file.read())

def input_fn(body, content_type):
    return body.decode() if isinstance(body, bytes) else body

def predict_fn(data, model):
    if data == "crash":
        os._exit(7)
    if data == "hang":
        time.sleep(60)
    return float(data) * model

def output_fn(prediction, accept):
    return str(prediction)
"""


def _script(lab: Lab, code: bytes, weights: bytes = b"2") -> Any:
    lab.aws.objects["s3://b/code.tar.gz"] = archive({"serve.py": code})
    return lab.load(
        archive({"weights": weights}),
        SKLEARN,
        SAGEMAKER_SUBMIT_DIRECTORY="s3://b/code.tar.gz",
        SAGEMAKER_PROGRAM="serve.py",
    )


def test_IN_07_a_script_submitted_beside_the_model_answers_with_all_its_functions(either_lab: Lab) -> None:  # noqa: N802
    worker = _script(either_lab, HOOKS)
    assert worker.invoke(b"21", "text/plain", "text/plain").body == b"42.0"
    failed = worker.invoke(b"no number", "text/plain", "text/plain")
    assert failed.status == 500
    assert b"ValueError: could not convert string to float" in failed.body
    assert worker.invoke(b"1", "text/plain", "text/plain").status == 200


def test_a_dead_worker_is_a_connection_error_and_the_next_request_gets_a_new_one(lab: Lab) -> None:
    worker = _script(lab, HOOKS)
    first = worker.pid
    with pytest.raises(ConnectionError, match="exit code 7"):
        worker.invoke(b"crash", "text/plain", "*/*")
    assert worker.invoke(b"3", "text/plain", "*/*").body == b"6.0"
    assert worker.pid != first
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ConnectionError, match="exit code 137"):
        worker.invoke(b"3", "text/plain", "*/*")


def test_no_answer_in_time_is_a_timeout_and_the_late_answer_reaches_nobody(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(patience=Patience(startup=30, answer=0.5))
    worker = _script(lab, HOOKS)
    with pytest.raises(TimeoutError, match=r"within 0\.5 seconds"):
        worker.invoke(b"hang", "text/plain", "*/*")
    assert Patience().answer == 60
    lab.executor._site.patience  # noqa: B018
    assert _patiently(worker, b"4") == b"8.0"


def _patiently(worker: Any, body: bytes) -> bytes:
    """Restarting may outlast the short patience on a busy machine: it is the caller who tries again."""
    for _ in range(20):
        try:
            answer: bytes = worker.invoke(body, "text/plain", "*/*").body
        except (TimeoutError, ConnectionError):
            continue
        return answer
    raise AssertionError("it never answered")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"x = 1", "Please provide a model_fn implementation"),
        (b"def model_fn(d): ...\ndef transform_fn(*a): ...\ndef input_fn(*a): ...", "Cannot use transform_fn"),
        (b"raise RuntimeError('bad weights')", "bad weights"),
        (b"import time\ntime.sleep(60)", "did not answer /ping"),
    ],
)
def test_a_script_that_cannot_serve_is_refused_with_its_last_words(
    new_lab: Callable[..., Lab], code: bytes, reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        _script(new_lab(patience=Patience(startup=1 if b"sleep" in code else 30)), code)


def test_transform_fn_and_default_functions(lab: Lab) -> None:
    code = b"def model_fn(d): return 3\ndef transform_fn(model, body, kind, accept): return body * model, 'text/plain'"
    answer = _script(lab, code).invoke(b"ab", "text/csv", "*/*")
    assert (answer.body, answer.content_type) == (b"ababab", "text/plain")
    summing = b"class Sum:\n  def predict(self, rows): return rows.sum(axis=1)\ndef model_fn(d): return Sum()"
    worker = _script(lab, summing)
    assert worker.invoke(b"1,2\n3,4\n", "text/csv", "text/csv").body == b"3.0\n7.0\n"
    assert json.loads(worker.invoke(b"[[1, 2]]", "application/json", "*/*").body) == [3.0]
    assert worker.invoke(b"1", "image/png", "*/*").status == 415
    assert worker.invoke(b"1,2", "text/csv", "image/png").status == 406


def test_a_script_on_the_xgboost_image_gets_and_predicts_a_dmatrix_by_default(lab: Lab, xgboost_model: bytes) -> None:
    (saved,) = contents(xgboost_model).values()
    code = b"""
import os, xgboost
def model_fn(directory):
    booster = xgboost.Booster()
    booster.load_model(bytearray(open(os.path.join(directory, "xgboost-model"), "rb").read()))
    return booster
"""
    packed = archive({"xgboost-model": saved, "code/serve.py": code})
    worker = lab.load(packed, SAGEMAKER_PROGRAM="serve.py", SAGEMAKER_SUBMIT_DIRECTORY="/opt/ml/model/code")
    algorithm, body = lab.load(xgboost_model), csv(rows(3)[:, 1:])
    assert worker.invoke(body, "text/csv", "text/csv").body == algorithm.invoke(body, "text/csv", "text/csv").body
    assert worker.invoke(body, "image/png", "text/csv").status == 415


def test_a_closed_worker_answers_nobody_and_leaves_no_files(lab: Lab, xgboost_model: bytes) -> None:
    worker = lab.load(xgboost_model)
    pid = worker.pid
    worker.close()
    worker.close()
    with pytest.raises(ConnectionError):
        worker.invoke(b"1,2,3,4,5", "text/csv", "*/*")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not worker.directory.exists()


def test_a_trained_models_archive_is_what_serving_reads(lab: Lab, xgboost_model: bytes) -> None:
    (saved,) = contents(xgboost_model).values()
    worker = lab.load(archive({"xgboost-model": saved, ".hidden": b"ignored"}))
    assert len(_scores(worker.invoke(csv([[0.5] * FEATURES]), "text/csv", "*/*"))) == 1
