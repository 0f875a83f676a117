"""A wrong request fails as on AWS, with the same codes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.sagemaker import api
from local.sagemaker.api import ApiError
from tests.sagemaker.doubles import IMAGE, ROLE, Lab, training_request


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TrainingJobName": None}, ["TrainingJobName"]),
        ({"TrainingJobName": "under_score"}, ["trainingJobName", "under_score", "regular expression"]),
        ({"TrainingJobName": "x" * 64}, ["trainingJobName", "63"]),
        ({"Unheard": 1}, ["Unheard", "TrainingJobName"]),
        ({"HyperParameters": {"eta": 0.1}}, ["HyperParameters", "0.1"]),
        ({"RoleArn": "role"}, ["roleArn", "role", "20"]),
        ({"AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Fast"}}, ["Fast", "FastFile"]),
        ({"ResourceConfig": {"InstanceType": "ml.m5.tiny", "InstanceCount": 1, "VolumeSizeInGB": 1}}, ["ml.m5.tiny"]),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, ["stoppingCondition.maxRuntimeInSeconds", "0", "1"]),
        ({"Tags": [{"Key": "a", "Value": "b"}] * 51}, ["tags", "50"]),
        ({"Tags": [{"Key": "semi;colon", "Value": "b"}]}, ["tags.1.member.key", "semi;colon"]),
        ({"ResourceConfig": None}, ["ResourceConfig"]),
        ({"EnableManagedSpotTraining": True}, ["MaxWaitTimeInSeconds"]),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 9},
            },
            ["MaxWaitTimeInSeconds", "9", "10"],
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 20}}, ["EnableManagedSpotTraining"]),
    ],
)
def test_a_wrong_request_names_field_value_and_what_is_allowed(
    lab: Lab, change: dict[str, Any], words: list[str]
) -> None:
    request = {name: value for name, value in (training_request("job") | change).items() if value is not None}
    with pytest.raises(ApiError) as refusal:
        lab.sagemaker.call("CreateTrainingJob", request)
    assert refusal.value.code == "ValidationException"
    assert refusal.value.status == 400
    assert [word for word in words if word not in refusal.value.message] == []


def test_all_violations_are_reported_at_once(lab: Lab) -> None:
    with pytest.raises(ApiError, match="2 validation errors detected"):
        lab.call("CreateTrainingJob", **training_request("under_score", RoleArn="r" * 20))


def test_an_unknown_operation_and_one_that_only_aws_has_are_told_apart(lab: Lab) -> None:
    with pytest.raises(ApiError) as unknown:
        lab.call("CreateUnicorn")
    assert unknown.value.code == "UnknownOperationException"
    with pytest.raises(ApiError) as known:
        lab.call("DeleteApp", DomainId="d-abcdefghijklm", AppType="JupyterServer", AppName="a", SpaceName="s")
    assert (known.value.code, known.value.status) == ("NotEmulatedException", 501)
    assert "DeleteApp" in known.value.message


def test_fate_refuses_so_many_calls_of_one_operation_as_it_was_asked_to(lab: Lab) -> None:
    lab.sagemaker.refuse_calls("ListModels", "ThrottlingException", 2)

    assert [lab.refused("ListModels") for _ in range(3)] == ["ThrottlingException", "ThrottlingException", ""]
    assert lab.refused("ListEndpoints") == ""
    with pytest.raises(ApiError, match="allowed are ThrottlingException, ResourceLimitExceeded, A"):
        lab.sagemaker.refuse_calls("ListModels", "Whatever", 1)


def test_f28_a_call_whose_answer_is_lost_is_carried_out_and_asked_again_as_often_as_fate_was_asked_to(lab: Lab) -> None:
    lab.sagemaker.lose_answers("CreateModelPackageGroup", 2)

    refused = [lab.refused("CreateModelPackageGroup", ModelPackageGroupName=name) for name in ("a", "b", "c")]
    assert refused == ["ValidationException", "ValidationException", ""]
    listed = lab.call("ListModelPackageGroups")["ModelPackageGroupSummaryList"]
    assert sorted(found["ModelPackageGroupName"] for found in listed) == ["a", "b", "c"]


def test_no_inner_method_can_be_called_as_an_operation(lab: Lab) -> None:
    with pytest.raises(ApiError, match="UnknownOperationException"):
        lab.call("Find")


def test_every_pattern_of_the_service_model_compiles() -> None:
    """A pattern that Python cannot read would refuse or crash on requests that AWS takes."""
    model = api.service_model()
    patterns = {model.shape_for(name).metadata.get("pattern") for name in model.shape_names} - {None}
    assert len(patterns) > 200
    assert all(isinstance(api._pattern(pattern), re.Pattern) for pattern in patterns)


@pytest.mark.parametrize("text", ["Grüße, 世界 - 100 % ✓", "plain"])
def test_descriptions_take_every_script(lab: Lab, text: str) -> None:
    lab.call("CreateModelPackageGroup", ModelPackageGroupName="g", ModelPackageGroupDescription=text)
    with pytest.raises(ApiError, match="regular expression"):
        lab.call("CreateModelPackageGroup", ModelPackageGroupName="h", ModelPackageGroupDescription="bell\x07")


def test_the_response_check_can_fail() -> None:
    with pytest.raises(AssertionError, match="EndpointArn"):
        api.check_response("CreateEndpoint", {})
    with pytest.raises(AssertionError, match="InServise"):
        api.check_response(
            "DescribeEndpoint",
            {
                "EndpointName": "e",
                "EndpointArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e",
                "EndpointStatus": "InServise",
                "CreationTime": 1.0,
                "LastModifiedTime": 1.0,
            },
        )


def test_lists_page_filter_and_sort_and_survive_new_records(lab: Lab) -> None:
    for number in range(25):
        lab.model(f"m{number:02}")
        lab.clock.advance(1)
    seen: list[str] = []
    token: dict[str, str] = {}
    for page in range(4):
        answer = lab.call("ListModels", SortOrder="Ascending", NameContains="M", MaxResults=8, **token)
        seen += [item["ModelName"] for item in answer["Models"]]
        if page == 0:
            lab.call("DeleteModel", ModelName="m03")
        token = {"NextToken": answer.get("NextToken", "")}
    assert token == {"NextToken": ""}
    assert seen == [f"m{number:02}" for number in range(25)]
    newest = lab.call("ListModels")["Models"]
    assert [item["ModelName"] for item in newest] == [f"m{number:02}" for number in range(24, 14, -1)]
    created = lab.call("DescribeModel", ModelName="m10")["CreationTime"]
    assert len(lab.call("ListModels", CreationTimeAfter=created, MaxResults=100)["Models"]) == 14
    with pytest.raises(ApiError, match="NextToken"):
        lab.call("ListModels", NextToken="bm9uc2Vuc2U=")


def test_tags_are_added_listed_and_removed_and_end_with_their_resource(lab: Lab) -> None:
    lab.model("m")
    arn = lab.call("DescribeModel", ModelName="m")["ModelArn"]
    lab.call("AddTags", ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    lab.call("AddTags", ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    lab.call("DeleteTags", ResourceArn=arn, TagKeys=["b", "never"])
    assert lab.call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]
    lab.call("DeleteModel", ModelName="m")
    with pytest.raises(ApiError, match="ValidationException"):
        lab.call("ListTags", ResourceArn=arn)


def test_a_model_needs_its_artifact(lab: Lab) -> None:
    """F34."""
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/none.tar.gz"}
    with pytest.raises(ApiError, match=r"Could not find model data at s3://bucket/none\.tar\.gz"):
        lab.call("CreateModel", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    with pytest.raises(ApiError, match='Could not find model "arn'):
        lab.call("DescribeModel", ModelName="m")


def test_names_are_taken_whatever_their_case(lab: Lab) -> None:
    """ARNs are written in lower case, so two names that differ in case only would share one."""
    lab.model("Model")
    with pytest.raises(ApiError, match="already existing model"):
        lab.model("mODEL")


def test_an_answer_is_the_callers_own(lab: Lab) -> None:
    lab.config("v1", {"blue": lab.model("m")})
    lab.call("DescribeEndpointConfig", EndpointConfigName="v1")["ProductionVariants"][0]["ModelName"] = "changed"
    assert lab.call("DescribeEndpointConfig", EndpointConfigName="v1")["ProductionVariants"][0]["ModelName"] == "m"
