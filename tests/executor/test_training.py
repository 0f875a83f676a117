"""Training jobs: the container contract, endings, checkpoints. Real processes; no test asserts wall time."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.sagemaker.executor import ProcessExecutor, process
from local.sagemaker.executor.training import TrainingJob
from tests.executor.doubles import SKLEARN, Lab, Report, archive, channel, contents, xgboost_request

LOGS = "/aws/sagemaker/TrainingJobs"
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
    "CheckpointConfig": {"S3Uri": "s3://b/checkpoints"},
}

TOUCHES_ALL = """
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
for name in ("--alpha", "--criterion", "--flag", "-d"):
    parser.add_argument(name)
arguments = vars(parser.parse_args())
config = pathlib.Path(os.environ["SM_INPUT_CONFIG_DIR"])
found = {
    "arguments": arguments,
    "config": {path.stem: json.loads(path.read_text()) for path in config.iterdir()},
    "train": sorted(str(path.relative_to(os.environ["SM_CHANNEL_TRAIN"])) for path in
                    pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).rglob("*") if path.is_file()),
    "test": pathlib.Path(os.environ["SM_CHANNEL_TEST"], "one.csv").read_text(),
    "env": dict(os.environ),
    "cwd": os.getcwd(),
}
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps(found))
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "metrics.json").write_text('{"auc": 0.9}')
print("loss\\t0.25; auc=0.75")
"""


def _contract_request(lab: Lab) -> dict[str, Any]:
    lab.aws.objects |= {
        "s3://b/in/train/part-1.csv": b"1,2\n",
        "s3://b/in/train/deep/part-2.csv": b"3,4\n",
        "s3://b/in/train/folder/": b"",
        "s3://b/in/test/one.csv": b"5,6\n",
    }
    given = {"alpha": "0.5", "criterion": '"gini"', "flag": "true", "d": "3"}
    request = lab.script(TOUCHES_ALL, given=given, Environment={"MINE": "yes"})
    request["InputDataConfig"] = [channel("train", "s3://b/in/train"), channel("test", "s3://b/in/test/one.csv")]
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "loss", "Regex": r"loss#011([0-9.]+)"},
        {"Name": "auc", "Regex": r"auc=(\S+)"},
    ]
    return request


def test_TR_01_TR_11_a_script_finds_the_containers_files_and_its_output_reaches_s3(either_lab: Lab) -> None:  # noqa: N802
    lab, request = either_lab, _contract_request(either_lab)
    outcome, report = lab.run("training", request)
    assert outcome.status == "Completed", outcome
    assert outcome.model_artifacts == "s3://b/out/job/output/model.tar.gz"
    assert outcome.seconds > 0
    assert report.steps == ["Downloading", "Training", "Uploading"]
    found = json.loads(contents(lab.aws.objects[outcome.model_artifacts])["model.json"])
    assert found["arguments"] == {"alpha": "0.5", "criterion": "gini", "flag": "True", "d": "3"}
    assert found["train"] == ["deep/part-2.csv", "part-1.csv"]
    assert found["test"] == "5,6\n"
    config = found["config"]
    assert config["hyperparameters"] == request["HyperParameters"]
    assert config["inputdataconfig"]["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert config["resourceconfig"]["hosts"] == [config["resourceconfig"]["current_host"]] == ["algo-1"]
    env = found["env"]
    assert json.loads(env["SM_HPS"]) == {"alpha": 0.5, "criterion": "gini", "flag": True, "d": 3}
    assert json.loads(env["SM_CHANNELS"]) == ["test", "train"]
    assert (env["SM_HP_ALPHA"], env["SM_USER_ENTRY_POINT"], env["MINE"]) == ("0.5", "train.py", "yes")
    assert contents(lab.aws.objects["s3://b/out/job/output/output.tar.gz"]) == {"metrics.json": b'{"auc": 0.9}'}
    assert sorted(report.metrics) == [("auc", 0.75), ("loss", 0.25)]
    assert "loss#0110.25; auc=0.75" in lab.aws.log(LOGS)
    (stream,) = [stream for group, stream in lab.aws.logs if group == LOGS]
    assert stream.startswith("job/algo-1-")
    root = "/opt/ml" if lab.executor._site.isolated else str(lab.directory / "job-1" / "ml")
    assert (env["SM_MODEL_DIR"], env["SM_CHANNEL_TRAIN"]) == (f"{root}/model", f"{root}/input/data/train")
    assert found["cwd"] == f"{root}/code"


def test_without_a_mount_namespace_the_log_says_that_there_is_no_opt_ml(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(isolated=False)
    lab.run("training", lab.script("pass"))
    assert [line for line in lab.aws.log(LOGS) if "WARNING" in line and "/opt/ml" in line and "SM_*" in line]


def test_a_container_inherits_nothing_of_ours(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor what the fast clock or a caller's shell put into the environment."""
    for name in ("LD_PRELOAD", "FAKETIME", "PYTHONPATH", "PYTHONSTARTUP", "AWS_SECRET_ACCESS_KEY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    outcome, _ = lab.run("training", _contract_request(lab))
    env = json.loads(contents(lab.aws.objects[outcome.model_artifacts])["model.json"])["env"]
    inherited = set(env) - {name for name in env if name.startswith("SM_")}
    assert inherited - {"MINE", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"} == {
        "HOME", "LANG", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH", "PYTHONUNBUFFERED",
        "TMPDIR", "TRAINING_JOB_NAME",
    }  # fmt: skip
    assert env["OMP_NUM_THREADS"] == str(process.CPUS)
    assert process.CPUS <= 2


def test_credentials_reach_a_job_unless_its_network_is_isolated(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(credentials={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    program = """
import os, pathlib, socket
try:
    network = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 5) and "open"
except OSError:
    network = "closed"
pathlib.Path(os.environ["SM_MODEL_DIR"], "found").write_text(f"{os.environ.get('AWS_ENDPOINT_URL')} {network}")
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {"Environment": {"PORT": str(server.getsockname()[1])}}
        free, _ = lab.run("training", lab.script(program, "free", **env))
        alone, _ = lab.run("training", lab.script(program, "alone", EnableNetworkIsolation=True, **env))
    assert contents(lab.aws.objects[free.model_artifacts])["found"] == b"http://127.0.0.1:1 open"
    network = b"closed" if lab.executor._site.isolated else b"open"
    assert contents(lab.aws.objects[alone.model_artifacts])["found"] == b"None " + network


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('no such column: age')", "ValueError: no such column: age"),
        ("import sys; sys.exit(3)", "exit code: 3"),
        ("import sys; sys.exit('gave up')", "gave up"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code: 137"),
        (
            "import os, sys\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('own words')\nos._exit(9)",
            "AlgorithmError: own words, exit code: 9",
        ),
        ("import not_there", "ModuleNotFoundError"),
    ],
)
def test_TR_01_a_failed_container_fails_the_job_with_its_reason(lab: Lab, program: str, reason: str) -> None:  # noqa: N802
    outcome, report = lab.run("training", lab.script(program))
    assert outcome.status == "Failed"
    assert outcome.failure_reason.startswith("AlgorithmError: ")
    assert reason in outcome.failure_reason
    assert len(outcome.failure_reason) <= 1024
    assert outcome.model_artifacts == ""
    assert "Uploading" not in report.steps
    assert not [key for key in lab.aws.objects if key.endswith("model.tar.gz")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"InputDataConfig": [channel("train", "s3://b/nothing/")]},
            'No S3 objects found under S3 URL "s3://b/nothing/"',
        ),
        ({"InputDataConfig": [channel("train", "s3://b/job/", InputMode="Pipe")]}, "Pipe is not emulated"),
        (
            {"InputDataConfig": [channel("train", "s3://b/job/", RecordWrapperType="RecordIO")]},
            "RecordIO is not emulated",
        ),
        ({"InputDataConfig": [channel("train", "s3://b/plain", CompressionType="Gzip")]}, "is not a gzip file"),
        ({"InputDataConfig": [{"ChannelName": "x", "DataSource": {"FileSystemDataSource": {}}}]}, "only S3DataSource"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/checkpoints"}}, "CheckpointConfig.LocalPath"),
        ({"AlgorithmSpecification": {"TrainingImage": "mine:1"}}, "image 'mine:1' cannot run here; allowed are"),
        ({"HyperParameters": {}}, "script mode needs sagemaker_program"),
        ({"HyperParameters": {"sagemaker_submit_directory": "s3://b/none.tar.gz"}}, "there is no object s3://b/none"),
        (
            {"AlgorithmSpecification": {"TrainingImage": SKLEARN, "MetricDefinitions": [{"Name": "m", "Regex": "("}]}},
            r"is not a regular expression",
        ),
    ],
)
def test_what_cannot_be_run_fails_as_a_client_error_that_says_why(
    lab: Lab, change: dict[str, Any], reason: str
) -> None:
    lab.aws.objects["s3://b/plain"] = b"1,2"
    request = lab.script("pass") | change
    outcome, _ = lab.run("training", request)
    assert outcome.status == "Failed"
    assert outcome.failure_reason.startswith("ClientError: ")
    assert reason in outcome.failure_reason
    assert [line for line in lab.aws.log(LOGS) if reason in line]


def test_code_with_a_trick_is_refused_before_it_runs(lab: Lab) -> None:
    request = lab.script("pass")
    lab.aws.objects["s3://b/job/sourcedir.tar.gz"] = archive({"../train.py": b"print('ran')"})
    outcome, _ = lab.run("training", request)
    assert "only relative paths" in outcome.failure_reason
    assert "ran" not in lab.aws.log(LOGS)


# -- endings ----------------------------------------------------------------------------------------------------------

WAITS = """
import os, pathlib, signal, subprocess, sys, time
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
def end(*_):
    (model / "saved").write_text("in time")
    sys.exit(0)
signal.signal(signal.SIGTERM, {handler})
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(os.environ["SM_MODEL_DIR"], "child").write_text(str(child.pid))
print("waiting")
time.sleep(60)
"""


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] in "ZX"
    except FileNotFoundError:
        return True


def test_a_stopped_job_gets_sigterm_and_what_it_saved_is_uploaded(lab: Lab) -> None:
    job, report = lab.start("training", lab.script(WAITS.format(handler="end")))
    _until(lambda: "waiting" in lab.aws.log(LOGS))
    job.stop()
    job.stop()
    outcome = report.outcome()
    assert outcome.status == "Stopped"
    left = contents(lab.aws.objects[outcome.model_artifacts])
    assert left["saved"] == b"in time"
    assert _gone(int(left["child"])), "SIGTERM goes to the whole process group"


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(stop_seconds=0.3)
    job, report = lab.start("training", lab.script(WAITS.format(handler="signal.SIG_IGN")))
    _until(lambda: "waiting" in lab.aws.log(LOGS))
    job.stop()
    outcome = report.outcome()
    assert outcome.status == "Stopped"
    assert outcome.seconds >= 0.3
    assert "saved" not in contents(lab.aws.objects[outcome.model_artifacts])


def test_the_default_grace_is_sagemakers_120_seconds(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    assert ProcessExecutor(new_lab().aws, tmp_path / "none")._site.grace == 120


def test_max_runtime_counts_real_seconds_of_the_container(lab: Lab) -> None:
    request = lab.script(WAITS.format(handler="end"), StoppingCondition={"MaxRuntimeInSeconds": 1})
    outcome, _ = lab.run("training", request)
    assert outcome.status == "MaxRuntimeExceeded"
    assert outcome.seconds >= 1
    assert contents(lab.aws.objects[outcome.model_artifacts])["saved"] == b"in time"


def test_a_job_stopped_while_it_downloads_never_starts_its_container(lab: Lab) -> None:
    request = lab.script("print('ran')")
    found = lab.aws.get_object
    started: list[TrainingJob] = []

    def stops_first(uri: str) -> bytes:
        started[0].stop()
        return found(uri)

    lab.aws.get_object = stops_first  # type: ignore[method-assign]
    report = Report()
    started.append(TrainingJob(lab.executor._site, "job", request, report, 1))
    started[0].start()
    assert report.outcome().status == "Stopped"
    assert lab.aws.log(LOGS) == [line for line in lab.aws.log(LOGS) if "ran" not in line]


def test_a_killed_process_leaves_no_unanswered_job(lab: Lab) -> None:
    job, report = lab.start("training", lab.script(WAITS.format(handler="end")))
    _until(lambda: "waiting" in lab.aws.log(LOGS))
    assert job.process is not None
    os.kill(job.process.pid, signal.SIGKILL)
    assert report.outcome().failure_reason.endswith("exit code: 137")


# -- the built-in algorithm -------------------------------------------------------------------------------------------


def test_the_builtin_algorithm_trains_a_model_and_reports_its_metrics(lab: Lab) -> None:
    outcome, report = lab.run("training", xgboost_request(lab, "job", {"eval_metric": "logloss,auc"}))
    assert outcome.status == "Completed", outcome
    assert list(contents(lab.aws.objects[outcome.model_artifacts])) == ["xgboost-model"]
    lines = lab.aws.log(LOGS)
    rounds = [line for line in lines if line.startswith("[") and "#011validation-auc:" in line]
    assert [line.split("]")[0] for line in rounds] == [f"[{number}" for number in range(12)]
    assert rounds[0].startswith("[0]#011train-logloss:0.")
    final = dict(report.metrics)
    assert set(final) == {"train:logloss", "train:auc", "validation:logloss", "validation:auc"}
    assert final["validation:auc"] == float(rounds[-1].rsplit("validation-auc:", 1)[1]) > 0.8
    assert [line for line in lines if "the image carries xgboost 1.7-1" in line]


def test_the_same_data_and_seed_give_the_same_model_file(lab: Lab) -> None:
    given = {"num_round": "3", "seed": "7", "subsample": "0.5"}
    first, _ = lab.run("training", xgboost_request(lab, "one", given))
    again, _ = lab.run("training", xgboost_request(lab, "two", given))
    assert lab.aws.objects[first.model_artifacts] == lab.aws.objects[again.model_artifacts]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"eta": "2"}, "Hyperparameter eta: 2 is not in [0, 1]"),
        ({"depth": "2"}, "Extraneous hyperparameter found: depth"),
    ],
)
def test_a_wrong_hyperparameter_fails_the_job_by_name(lab: Lab, given: dict[str, str], reason: str) -> None:
    outcome, _ = lab.run("training", xgboost_request(lab, "job", given))
    assert outcome.failure_reason.startswith("AlgorithmError: Customer Error: ")
    assert reason in outcome.failure_reason
    assert outcome.failure_reason.endswith("exit code: 1")


def test_data_that_is_no_number_fails_the_job_with_file_and_place(lab: Lab) -> None:
    request = xgboost_request(lab, "job")
    lab.aws.objects["s3://b/train/part-00002.csv"] = b"label,f1,f2,f3,f4,f5\n1,1,2,3,4,5\n"
    outcome, _ = lab.run("training", request)
    assert "part-00002.csv" in outcome.failure_reason
    assert "'label'" in outcome.failure_reason


def test_TR_05_early_stopping_stops_before_the_limit_and_keeps_the_best_iteration(lab: Lab) -> None:  # noqa: N802
    given = {"num_round": "200", "early_stopping_rounds": "5", "eta": "0.9", "max_depth": "6"}
    outcome, _ = lab.run("training", xgboost_request(lab, "job", given))
    (best,) = [line for line in lab.aws.log(LOGS) if "Best iteration" in line]
    number = int(best.split("Best iteration ")[1].split()[0])
    rounds = [line for line in lab.aws.log(LOGS) if "#011validation-auc" in line]
    assert len(rounds) == number + 6 < 200
    worker = lab.load(lab.aws.objects[outcome.model_artifacts])
    saved = contents(lab.aws.objects[outcome.model_artifacts])["xgboost-model"]
    assert saved.count(b"base_weights") == number + 1, "the model holds the rounds up to the best one"
    assert worker.invoke(b"1,2,3,4,5", "text/csv", "*/*").status == 200


SLOW = {"num_round": "80", "eval_metric": "logloss", "subsample": "0.7", "seed": "3"}


def test_TR_03_TR_04_an_interrupted_job_resumes_and_ends_like_an_unbroken_one(lab: Lab) -> None:  # noqa: N802
    _, unbroken = lab.run("training", xgboost_request(lab, "unbroken", SLOW))
    job, report = lab.start("training", xgboost_request(lab, "spot", SLOW, **SPOT))

    def saved() -> list[Path]:
        return list((lab.directory / "spot-1" / "ml" / "checkpoints").glob("xgboost-checkpoint.?"))

    _until(saved)
    job.interrupt()
    assert report.outcome().status == "Interrupted"
    kept = [key for key in lab.aws.objects if key.startswith("s3://b/checkpoints/xgboost-checkpoint.")]
    last = max(int(key.rsplit(".", 1)[1]) for key in kept)
    assert last < 79, "it was interrupted before its end"
    outcome, resumed = lab.run("training", xgboost_request(lab, "spot", SLOW, **SPOT), attempt=2)
    assert outcome.status == "Completed"
    log = lab.aws.log(LOGS)
    (at,) = [number for number, line in enumerate(log) if "Resuming from checkpoint at iteration" in line]
    assert log[at].endswith(f"iteration {last + 1}")
    assert log[at + 1].startswith(f"[{last + 1}]#011"), "no saved round is done again"
    final, expected = dict(resumed.metrics), dict(unbroken.metrics)
    assert final["validation:logloss"] == pytest.approx(expected["validation:logloss"], abs=0.03)


def test_early_stopping_remembers_the_best_iteration_across_an_interruption(lab: Lab) -> None:
    given = {"num_round": "200", "early_stopping_rounds": "5", "eta": "0.9", "max_depth": "6"}
    unbroken, _ = lab.run("training", xgboost_request(lab, "unbroken", given))
    # An instance that is taken away leaves its last checkpoints: here those of a training that ended after some rounds.
    lab.run("training", xgboost_request(lab, "begun", {**given, "num_round": "4"}, **SPOT))
    resumed, _ = lab.run("training", xgboost_request(lab, "resumed", given, **SPOT))
    assert "Resuming from checkpoint at iteration 4" in "\n".join(lab.aws.log(LOGS))
    assert contents(lab.aws.objects[resumed.model_artifacts]) == contents(lab.aws.objects[unbroken.model_artifacts])


def test_a_stopped_algorithm_that_saves_on_termination_leaves_its_model(lab: Lab) -> None:
    given = {"num_round": "4000", "save_model_on_termination": "true"}
    job, report = lab.start("training", xgboost_request(lab, "job", given))
    _until(lambda: any("[3]#011" in line for line in lab.aws.log(LOGS)))
    (job.ml / "model" / "half-a-save").touch()  # what a stop in the middle of a save leaves
    job.stop()
    outcome = report.outcome()
    assert outcome.status == "Stopped"
    assert list(contents(lab.aws.objects[outcome.model_artifacts])) == ["xgboost-model"]


def test_a_manifest_and_fast_file_are_read_like_a_prefix(lab: Lab) -> None:
    request = xgboost_request(lab, "job", {"num_round": "1"})
    lab.aws.objects["s3://b/list"] = json.dumps([{"prefix": "s3://b/"}, "train/part-00001.csv"]).encode()
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"] |= {
        "S3DataType": "ManifestFile",
        "S3Uri": "s3://b/list",
    }
    request["InputDataConfig"][1]["InputMode"] = "FastFile"
    outcome, _ = lab.run("training", request)
    assert outcome.status == "Completed", outcome
    assert [line for line in lab.aws.log(LOGS) if line.endswith("Train matrix has 600 rows and 5 columns")]
    assert [line for line in lab.aws.log(LOGS) if "FastFile is emulated as File" in line]
