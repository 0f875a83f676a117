"""What boto3 makes of the answers: the wire format, the errors, the waiters."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from local.sagemaker.ports import Answer
from tests.sagemaker.client import client
from tests.sagemaker.doubles import Lab, training_request


def test_times_arrive_as_times_and_an_accepted_request_needs_no_repair(lab: Lab) -> None:
    sagemaker = client(lab.sagemaker)
    sagemaker.create_training_job(**training_request("j"))
    found = sagemaker.describe_training_job(TrainingJobName="j")
    assert found["CreationTime"].astimezone(UTC) == datetime(2026, 1, 31, 12, tzinfo=UTC)
    after = sagemaker.list_training_jobs(CreationTimeAfter=datetime(2026, 1, 31, 11, tzinfo=UTC))
    assert [job["TrainingJobName"] for job in after["TrainingJobSummaries"]] == ["j"]
    before = sagemaker.list_training_jobs(CreationTimeBefore=datetime(2026, 1, 31, 11, tzinfo=UTC))
    assert before["TrainingJobSummaries"] == []


@pytest.mark.parametrize(
    ("operation", "params", "code", "kind"),
    [
        ("create_training_job", training_request("j"), "ResourceInUse", "ResourceInUse"),
        ("describe_endpoint", {"EndpointName": "e"}, "ValidationException", "ClientError"),
        (
            "describe_hyper_parameter_tuning_job",
            {"HyperParameterTuningJobName": "t"},
            "ResourceNotFound",
            "ResourceNotFound",
        ),
        ("list_apps", {}, "NotEmulatedException", "ClientError"),
    ],
)
def test_errors_arrive_as_botocores_own(
    lab: Lab, operation: str, params: dict[str, object], code: str, kind: str
) -> None:
    sagemaker = client(lab.sagemaker)
    sagemaker.create_training_job(**training_request("j"))
    with pytest.raises(ClientError) as error:
        getattr(sagemaker, operation)(**params)
    assert error.value.response["Error"]["Code"] == code
    assert type(error.value).__name__ == kind


def test_a_generated_client_token_makes_two_packages_of_two_calls(lab: Lab) -> None:
    sagemaker = client(lab.sagemaker)
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    arns = {sagemaker.create_model_package(ModelPackageGroupName="g")["ModelPackageArn"] for _ in range(2)}
    assert len(arns) == 2


def test_paginators_and_waiters_work(lab: Lab) -> None:
    sagemaker = client(lab.sagemaker)
    for number in range(23):
        lab.model(f"m{number}")
    pages = sagemaker.get_paginator("list_models").paginate()
    assert len([model for page in pages for model in page["Models"]]) == 23
    lab.config("v1", {"blue": "m1"})
    lab.endpoint("e", "v1")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 0, "MaxAttempts": 1})
    sagemaker.delete_endpoint(EndpointName="e")
    lab.clock.advance(10)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="e", WaiterConfig={"Delay": 0, "MaxAttempts": 1})


def test_an_invocation_goes_both_ways(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("m")})
    lab.endpoint("e", "v1")
    runtime = client(lab.sagemaker, "sagemaker-runtime")
    found = runtime.invoke_endpoint(EndpointName="e", Body=b"1,2", ContentType="text/csv", TargetVariant="blue")
    assert found["Body"].read() == b"1,2"
    assert (found["InvokedProductionVariant"], found["ContentType"]) == ("blue", "text/csv; charset=utf-8")
    with pytest.raises(ClientError) as error:
        runtime.invoke_endpoint(EndpointName="x", Body=b"")
    assert error.value.response["Error"]["Code"] == "ValidationError"


def test_a_model_error_carries_its_members(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("m", lambda _: Answer(500, "text/plain", b"broken", 0.001))})
    lab.endpoint("e", "v1")
    runtime = client(lab.sagemaker, "sagemaker-runtime")
    with pytest.raises(runtime.exceptions.ModelError) as error:
        runtime.invoke_endpoint(EndpointName="e", Body=b"1")
    response = error.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (500, "broken")
    assert response["LogStreamArn"].endswith("log-group:/aws/sagemaker/Endpoints/e")


def test_a_body_that_is_too_large_is_refused_as_by_the_front_door(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("m")})
    lab.endpoint("e", "v1")
    with pytest.raises(ClientError) as error:
        client(lab.sagemaker, "sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"x" * (6 * 2**20 + 1))
    assert error.value.response["Error"]["Code"] == "413"
