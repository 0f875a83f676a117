"""SageMaker at the stack's one address: from boto3, from `.sync` and aws-sdk tasks, real jobs and a real endpoint."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import boto3
import botocore.exceptions
import pytest

from tests.stack.conftest import Bench, until

BUCKET = "training-data"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/any-role"


def training(name: str, **changes: Any) -> dict[str, Any]:
    channel = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"s3://{BUCKET}/train/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": {"objective": "binary:logistic", "num_round": "5", "max_depth": "2"},
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **changes,
    }


@pytest.fixture(scope="module")
def model(ours: Bench) -> str:
    """A bucket with 500 rows, and the URI of a model that learnt x1 > x2 from them."""
    ours.s3.create_bucket(Bucket=BUCKET)
    draw = random.Random(1)
    rows = [(draw.random(), draw.random()) for _ in range(500)]
    text = "\n".join(f"{int(a > b)},{a:.4f},{b:.4f}" for a, b in rows)
    ours.s3.put_object(Bucket=BUCKET, Key="train/part-1.csv", Body=text.encode())
    ours.sagemaker.create_training_job(**training("by-boto3"))
    ended = until(
        lambda: (
            (found := ours.sagemaker.describe_training_job(TrainingJobName="by-boto3"))["TrainingJobStatus"]
            != "InProgress"
            and found
        ),
        60,
    )
    assert ended["TrainingJobStatus"] == "Completed", ended
    return str(ended["ModelArtifacts"]["S3ModelArtifacts"])


def test_a_training_job_leaves_a_model_logs_and_an_event(ours: Bench, model: str) -> None:
    queue = ours.listen({"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]})
    bucket, _, key = model.removeprefix("s3://").partition("/")
    assert ours.s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
    streams = ours.logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
    assert any(stream["logStreamName"].startswith("by-boto3/") for stream in streams)
    definition = ours.task("arn:aws:states:::sagemaker:createTrainingJob.sync", training("by-sync"))
    ended = ours.run(definition, seconds=60)
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["TrainingJobStatus"] == "Completed"
    assert output["ModelArtifacts"]["S3ModelArtifacts"].endswith("/by-sync/output/model.tar.gz")
    assert abs(output["CreationTime"] / 1000 - ended["startDate"].timestamp()) < 60  # milliseconds, on the wall clock
    seen: list[str] = []
    while "Completed" not in seen:
        seen += [json.loads(message["Body"])["detail"]["TrainingJobStatus"] for message in ours.messages(queue)]


def test_a_job_that_fails_fails_its_task_with_its_description_as_cause(ours: Bench, model: str) -> None:
    request = training(
        "by-sync-broken", HyperParameters={"objective": "binary:logistic", "num_round": "5", "max_depth": "many"}
    )
    ended = ours.run(ours.task("arn:aws:states:::sagemaker:createTrainingJob.sync", request), seconds=60)
    cause = json.loads(ended["cause"])
    assert ended["error"] == "States.TaskFailed"
    assert (cause["TrainingJobName"], cause["TrainingJobStatus"]) == ("by-sync-broken", "Failed")
    assert "max_depth" in cause["FailureReason"]


def test_api_errors_have_the_names_of_each_integration(ours: Bench, model: str) -> None:
    def error(resource: str, arguments: dict[str, Any]) -> Any:
        return ours.run(ours.task(f"arn:aws:states:::{resource}", arguments))["error"]

    taken = training("by-boto3")
    assert error("sagemaker:createTrainingJob.sync", taken) == "SageMaker.ResourceInUseException"
    assert error("aws-sdk:sagemaker:createTrainingJob", taken) == "SageMaker.ResourceInUseException"
    assert error("sagemaker:createTrainingJob", {"TrainingJobName": "x"}) == "SageMaker.AmazonSageMakerException"
    missing = {"EndpointName": "missing"}
    assert error("aws-sdk:sagemaker:describeEndpoint", missing) == "SageMaker.SageMakerException"
    assert error("aws-sdk:sagemaker:listClusters", {}) == "States.Runtime"
    with pytest.raises(botocore.exceptions.ClientError, match="ValidationException"):
        ours.sagemaker.describe_endpoint(EndpointName="missing")


def test_a_job_runs_into_its_max_runtime_in_real_seconds(ours: Bench, model: str) -> None:
    many = {"objective": "binary:logistic", "num_round": "1000000", "max_depth": "2"}
    request = training("too-long", HyperParameters=many, StoppingCondition={"MaxRuntimeInSeconds": 3})
    started = time.monotonic()
    ended = ours.run(ours.task("arn:aws:states:::sagemaker:createTrainingJob.sync", request), seconds=60)
    assert time.monotonic() - started >= 3  # the fast clock would have ended it after 50 ms
    cause = json.loads(ended["cause"])
    assert (cause["TrainingJobStatus"], cause["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_task_that_times_out_stops_its_job(ours: Bench, model: str) -> None:
    many = {"objective": "binary:logistic", "num_round": "1000000", "max_depth": "2"}
    request = training("given-up", HyperParameters=many)
    ended = ours.run(
        ours.task("arn:aws:states:::sagemaker:createTrainingJob.sync", request, TimeoutSeconds=120), seconds=30
    )
    assert ended["error"] == "States.Timeout"
    until(
        lambda: ours.sagemaker.describe_training_job(TrainingJobName="given-up")["TrainingJobStatus"] == "Stopped", 30
    )


def test_an_endpoint_is_created_by_tasks_and_answers_from_a_real_model(ours: Bench, model: str) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": model}
    variant = {
        "VariantName": "blue",
        "ModelName": "m",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": 1,
    }

    made = {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": container}
    config = {"EndpointConfigName": "c", "ProductionVariants": [variant]}
    status = {"status": "{% $states.result.EndpointStatus %}"}
    creating = {"Condition": "{% $status = 'Creating' %}", "Next": "Wait"}

    def task(resource: str, arguments: dict[str, Any], **then: Any) -> dict[str, Any]:
        return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, **then}

    definition = {
        "StartAt": "Model",
        "States": {
            "Model": task("sagemaker:createModel", made, Next="Config"),
            "Config": task("aws-sdk:sagemaker:createEndpointConfig", config, Next="Endpoint"),
            "Endpoint": task("sagemaker:createEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}, Next="Look"),
            "Look": task("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": "e"}, Assign=status, Next="There?"),
            "There?": {"Type": "Choice", "Choices": [creating], "Default": "Done"},
            "Wait": {"Type": "Wait", "Seconds": 10, "Next": "Look"},
            "Done": {"Type": "Pass", "Output": "{% $status %}", "End": True},
        },
    }  # fmt: skip
    ended = ours.run(definition, seconds=60)
    assert json.loads(ended["output"]) == "InService", ended
    runtime = ours.__getattr__("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="e", Body=b"0.9,0.1\n0.1,0.9", ContentType="text/csv")
    high, low = (float(word) for word in answer["Body"].read().decode().replace("\n", ",").strip(",").split(","))
    assert answer["InvokedProductionVariant"] == "blue"
    assert high > 0.8
    assert low < 0.2
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        runtime.invoke_endpoint(EndpointName="e", Body=b"not,numbers", ContentType="text/csv")
    assert refused.value.response["Error"]["Code"] == "ModelError"
    response: dict[str, Any] = {**refused.value.response}
    assert response["OriginalStatusCode"] in {400, 415, 500}
    latency = until(
        lambda: ours.cloudwatch.list_metrics(Namespace="AWS/SageMaker", MetricName="ModelLatency")["Metrics"]
    )
    assert {"Name": "VariantName", "Value": "blue"} in latency[0]["Dimensions"]
    ours.sagemaker.delete_endpoint(EndpointName="e")


def test_a_shadow_variant_answers_from_a_worker_of_its_own_and_to_nobody(ours: Bench, model: str) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": model}
    ours.sagemaker.create_model(ModelName="shadowed", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {
        "ModelName": "shadowed",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": 1.0,
    }
    ours.sagemaker.create_endpoint_config(
        EndpointConfigName="shadowed",
        ProductionVariants=[{**variant, "VariantName": "blue"}],
        ShadowProductionVariants=[{**variant, "VariantName": "shade"}],
        DataCaptureConfig={
            "EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": f"s3://{BUCKET}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        },
    )  # fmt: skip
    ours.sagemaker.create_endpoint(EndpointName="s", EndpointConfigName="shadowed")
    until(lambda: ours.sagemaker.describe_endpoint(EndpointName="s")["EndpointStatus"] == "InService", 60)
    (shade,) = ours.sagemaker.describe_endpoint(EndpointName="s")["ShadowProductionVariants"]
    assert (shade["VariantName"], shade["CurrentInstanceCount"]) == ("shade", 1)
    runtime = ours.__getattr__("sagemaker-runtime")
    for _ in range(20):
        answer = runtime.invoke_endpoint(EndpointName="s", Body=b"0.9,0.1", ContentType="text/csv")
        assert answer["InvokedProductionVariant"] == "blue"

    def records(name: str) -> dict[str, str]:
        listed = ours.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"capture/s/{name}/").get("Contents", [])
        lines = [
            json.loads(line)
            for item in listed
            for line in ours.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read().splitlines()
        ]
        return {line["eventMetadata"]["eventId"]: line["captureData"]["endpointOutput"]["data"] for line in lines}

    until(
        lambda: len(records("shade")) == len(records("blue")) == 20, 30, why=lambda: f"{len(records('shade'))} copies"
    )
    assert records("shade") == records("blue")
    scaling = ours.__getattr__("application-autoscaling")
    target = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/s/variant/shade"}
    target["ScalableDimension"] = "sagemaker:variant:DesiredInstanceCount"
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    ours.sagemaker.create_endpoint_config(
        EndpointConfigName="unshadowed", ProductionVariants=[{**variant, "VariantName": "blue"}]
    )
    with pytest.raises(botocore.exceptions.ClientError, match="must be deregistered as scalable targets"):
        ours.sagemaker.update_endpoint(EndpointName="s", EndpointConfigName="unshadowed")
    ours.sagemaker.delete_endpoint(EndpointName="s")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_another_account_has_a_sagemaker_of_its_own(ours: Bench, model: str) -> None:
    other = boto3.client(
        "sagemaker", endpoint_url=ours.stack.endpoint, region_name="us-east-1",
        aws_access_key_id="123456789012", aws_secret_access_key="x",
    )  # fmt: skip
    assert other.list_training_jobs()["TrainingJobSummaries"] == []
    arn = other.create_model_package_group(ModelPackageGroupName="g")["ModelPackageGroupArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/g"


def test_tr_04_a_person_takes_the_instance_of_a_spot_job_away_and_the_job_goes_on_from_its_checkpoints(
    ours: Bench, model: str
) -> None:
    slow = {"objective": "binary:logistic", "num_round": "300", "max_depth": "6"}
    spot = {
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints/", "LocalPath": "/opt/ml/checkpoints"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200},
    }
    ours.sagemaker.create_training_job(**training("taken-away", HyperParameters=slow, **spot))

    def described() -> dict[str, Any]:
        return dict(ours.sagemaker.describe_training_job(TrainingJobName="taken-away"))

    def logged() -> str:
        group = "/aws/sagemaker/TrainingJobs"
        streams = ours.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="taken-away/")["logStreams"]
        pages = [ours.logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"]) for s in streams]
        return "\n".join(event["message"] for page in pages for event in page["events"])

    until(lambda: "[20]#011" in logged(), 60, why=logged)
    assert ours.stack.trouble("interrupt_training_job", name="taken-away") == ""
    ended = until(lambda: (found := described())["TrainingJobStatus"] != "InProgress" and found, 120, why=logged)

    assert ended["TrainingJobStatus"] == "Completed"
    assert "Interrupted" in [t["Status"] for t in ended["SecondaryStatusTransitions"]]
    assert "Resuming from checkpoint" in logged()
    assert "Completed" in ours.stack.trouble("interrupt_training_job", name="taken-away")
    assert "none of" in ours.stack.trouble("close")
