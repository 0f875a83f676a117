"""Processing and batch transform jobs. Real processes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.executor.channels import ClientError
from local.sagemaker.executor.transform import batches, csv_filter
from local.sagemaker.ports import Container
from tests.executor.doubles import SKLEARN, XGBOOST, DictAws, Lab, archive, csv, rows

PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"


def processing(program: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    return {
        "ProcessingJobName": "job",
        "ProcessingInputs": [
            {
                "InputName": "data",
                "S3Input": {"S3Uri": "s3://b/in/", "LocalPath": "/opt/ml/processing/input", "S3DataType": "S3Prefix"},
            },
            {
                "InputName": "code",
                "S3Input": {"S3Uri": "s3://b/code/run.py", "LocalPath": "/opt/ml/processing/input/code"},
            },
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "train",
                    "S3Output": {"S3Uri": "s3://b/out/train", "LocalPath": "/opt/ml/processing/train"},
                }
            ]
        },
        "AppSpecification": {
            "ImageUri": SKLEARN,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/run.py"],
            "ContainerArguments": ["/opt/ml/processing/", *arguments],
        },
        "Environment": {"FACTOR": "2"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | fields


DOUBLES = """
import os, pathlib, sys
root = pathlib.Path(sys.argv[1])
number = int((root / "input" / "one.txt").read_text()) * int(os.environ["FACTOR"])
(root / "train" / "deep").mkdir()
(root / "train" / "deep" / "two.txt").write_text(str(number))
print("did", sys.argv[2])
"""


def _lab_with(lab: Lab, program: str) -> Lab:
    lab.aws.objects |= {"s3://b/in/one.txt": b"21", "s3://b/code/run.py": program.encode()}
    return lab


def test_TR_12_a_processing_job_maps_inputs_and_outputs(either_lab: Lab) -> None:  # noqa: N802
    lab = _lab_with(either_lab, DOUBLES)
    outcome, _ = lab.run("processing", processing(DOUBLES, "well"))
    assert outcome.status == "Completed", outcome
    assert lab.aws.objects["s3://b/out/train/deep/two.txt"] == b"42"
    assert "did well" in lab.aws.log(PROCESSING_LOGS)


def test_a_failed_processing_job_tells_its_exit_message_and_uploads_nothing(either_lab: Lab) -> None:
    program = """
import pathlib, sys
root = pathlib.Path(sys.argv[1])
(root / "train" / "half").write_text("x")
(root.parent / "output" / "message").write_text("column age is missing")
sys.exit(4)
"""
    lab = _lab_with(either_lab, program)
    outcome, _ = lab.run("processing", processing(program))
    assert outcome.status == "Failed"
    assert outcome.failure_reason == "AlgorithmError: column age is missing, exit code: 4"
    assert outcome.exit_message == "column age is missing"
    assert not [key for key in lab.aws.objects if key.startswith("s3://b/out/")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"AppSpecification": {"ImageUri": SKLEARN}}, "ContainerEntrypoint is needed"),
        ({"ProcessingInputs": [{"InputName": "i", "S3Input": {"S3Uri": "s3://b/in/", "LocalPath": "/etc"}}]}, "'/etc'"),
        ({"ProcessingInputs": [{"InputName": "i", "DatasetDefinition": {}}]}, "input i: only S3Input"),
        (
            {"ProcessingInputs": [{"InputName": "i", "S3Input": {
                "S3Uri": "s3://b/in/", "LocalPath": "/opt/ml/processing/../../x"}}]},
            "is not below /opt/ml/processing",
        ),
    ],
)  # fmt: skip
def test_a_processing_job_that_cannot_be_run_says_why(lab: Lab, change: dict[str, Any], reason: str) -> None:
    outcome, _ = _lab_with(lab, DOUBLES).run("processing", processing(DOUBLES) | change)
    assert outcome.failure_reason.startswith("ClientError: ")
    assert reason in outcome.failure_reason


# -- batch transform --------------------------------------------------------------------------------------------------


def transform(container: Any, uri: str = "s3://b/in/", **fields: Any) -> dict[str, Any]:
    return {
        "TransformJobName": "job",
        "ModelName": "model",
        "Container": container,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": "s3://b/out", "AssembleWith": "Line", "Accept": "text/csv"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    } | fields


def test_DP_04_a_file_of_1000_rows_gives_1000_predictions_with_or_without_its_input(  # noqa: N802
    lab: Lab, xgboost_model: bytes
) -> None:
    table = rows(1000, seed=6)[:, 1:]
    lab.aws.objects |= {
        "s3://b/in/data.csv": csv(table),
        "s3://b/in/deep/more.csv": csv(table[:3]),
        "s3://b/m.tar.gz": xgboost_model,
    }
    container = {"Image": XGBOOST, "ModelDataUrl": "s3://b/m.tar.gz", "Environment": {}}
    outcome, _ = lab.run("transform", transform(container))
    assert outcome.status == "Completed", outcome
    plain = lab.aws.objects["s3://b/out/data.csv.out"].decode().splitlines()
    assert len(plain) == 1000
    assert all(0 <= float(line) <= 1 for line in plain)
    assert lab.aws.objects["s3://b/out/deep/more.csv.out"].decode().splitlines() == plain[:3]

    # An id in front, which the model must not see, comes back beside the prediction.
    lab.aws.objects["s3://b/in/data.csv"] = b"".join(
        b"id%d,%s\n" % (number, line) for number, line in enumerate(csv(table).splitlines())
    )
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    request = transform(
        Container(XGBOOST, "s3://b/m.tar.gz"), "s3://b/in/data.csv", DataProcessing=processing, MaxPayloadInMB=1
    )
    assert lab.run("transform", request)[0].status == "Completed"
    joined = lab.aws.objects["s3://b/out/data.csv.out"].decode().splitlines()
    assert joined == [f"id{number},{line}" for number, line in enumerate(plain)]


COUNTS = b"""
def model_fn(directory):
    return []
def transform_fn(model, body, content_type, accept):
    model.append(body)
    if "bad" in body:
        raise ValueError("a bad row")
    return "\\n".join(f"{len(model)}:{row}" for row in body.split("\\n")), "text/csv"
"""


def _counting(lab: Lab, body: bytes, **fields: Any) -> tuple[Any, str]:
    lab.aws.objects |= {"s3://b/in/x": body, "s3://b/m": archive({"code/inference.py": COUNTS})}
    outcome, _ = lab.run("transform", transform(Container(SKLEARN, "s3://b/m"), **fields))
    return outcome, lab.aws.objects.get("s3://b/out/x.out", b"").decode()


def test_records_go_one_by_one_or_together_as_the_strategy_says(lab: Lab) -> None:
    body = b"a\nb\nc\n"
    assert _counting(lab, body, BatchStrategy="SingleRecord")[1] == "1:a\n2:b\n3:c\n"
    assert _counting(lab, body, BatchStrategy="MultiRecord")[1] == "1:a\n1:b\n1:c\n"
    whole = transform(Container(SKLEARN, ""))["TransformInput"] | {"SplitType": "None"}
    output = {"S3OutputPath": "s3://b/out"}
    assert _counting(lab, body, TransformInput=whole, TransformOutput=output)[1] == "1:a\n1:b\n1:c\n1:"


def test_a_request_that_fails_fails_the_job_with_the_reason_and_the_file(lab: Lab) -> None:
    outcome, output = _counting(lab, b"good\nbad\n")
    assert outcome.status == "Failed"
    assert "s3://b/in/x: Bad HTTP status received from algorithm: 500. ValueError: a bad row" in outcome.failure_reason
    assert output == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"DataProcessing": {"InputFilter": "$.features"}}, r"filter '\$.features' is not emulated"),
        ({"DataProcessing": {"OutputFilter": "$[9]"}}, "the record has only 1 columns"),
        (
            {"DataProcessing": {"JoinSource": "Input"}, "TransformOutput": {"S3OutputPath": "s3://b/out"}},
            "AssembleWith",
        ),
        ({"MaxPayloadInMB": 0}, "larger than MaxPayloadInMB allows"),
        ({"TransformInput": {"DataSource": {"S3DataSource": {"S3Uri": "s3://b/none"}}}}, "No S3 objects found"),
        ({"TransformInput": {"DataSource": {}, "SplitType": "RecordIO"}}, "SplitType RecordIO is not emulated"),
        ({"TransformInput": {"DataSource": {}, "CompressionType": "Gzip"}}, "CompressionType Gzip is not emulated"),
    ],
)
def test_a_transform_that_cannot_be_done_says_why(lab: Lab, change: dict[str, Any], reason: str) -> None:
    outcome, _ = _counting(lab, b"a\n", **change)
    assert outcome.status == "Failed"
    assert outcome.failure_reason.startswith("ClientError: ")
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(outcome.failure_reason)


def test_a_stopped_transform_ends_as_stopped(lab: Lab) -> None:
    slow = (
        b"import time\ndef model_fn(d): return 1\ndef transform_fn(*a):\n  time.sleep(0.05)\n  return 'x', 'text/csv'"
    )
    lab.aws.objects |= {"s3://b/in/x": b"a\n" * 2000, "s3://b/m": archive({"code/inference.py": slow})}
    job, report = lab.start("transform", transform(Container(SKLEARN, "s3://b/m"), BatchStrategy="SingleRecord"))
    job.stop()
    assert report.outcome().status == "Stopped"
    assert "s3://b/out/x.out" not in lab.aws.objects


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", ["a", "b", "c"]), ("$[1:]", ["b", "c"]), ("$[:-1]", ["a", "b"]), ("$[0,2]", ["a", "c"]), ("$[-1]", ["c"]),
        ("$[2, 0]", ["c", "a"]), ("$[0:2]", ["a", "b"]), ("$[-2:]", ["b", "c"]),
    ],
)  # fmt: skip
def test_a_filter_takes_columns(path: str, expected: list[str]) -> None:
    assert csv_filter(path)(["a", "b", "c"]) == expected


@pytest.mark.parametrize("path", ["", "$.a", "$[*]", "$[1:2:3]", "$['a']", "$[1:][0]"])
def test_a_filter_that_is_not_known_is_refused(path: str) -> None:
    with pytest.raises(ClientError, match="is not emulated"):
        csv_filter(path)


@given(
    st.lists(st.binary(min_size=1, max_size=30).filter(lambda line: not {10, 13} & set(line)), max_size=40),
    st.sampled_from(["MultiRecord", "SingleRecord"]),
)
def test_batches_keep_every_record_in_order_and_fit_the_payload(lines: list[bytes], strategy: str) -> None:
    found = list(batches(b"\n".join(lines), "Line", strategy, 31))
    assert [line for batch in found for line in batch] == lines
    assert all(len(b"\n".join(batch)) <= 31 for batch in found)
    if strategy == "SingleRecord":
        assert all(len(batch) == 1 for batch in found)
    else:  # and each is as full as it can be
        assert all(len(b"\n".join([*batch, after[0]])) >= 31 for batch, after in pairwise(found))


def test_the_doubles_keep_what_the_ports_promise() -> None:
    with pytest.raises(FileNotFoundError):
        DictAws().get_object("s3://b/none")
