"""Package groups and packages."""

from __future__ import annotations

from typing import Any

import pytest

from local.sagemaker.api import ApiError
from tests.sagemaker.doubles import IMAGE, ROLE, Lab

SPECIFICATION = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/m.tar.gz", "Environment": {"A": "1", "B": "1"}}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.call("CreateModelPackageGroup", ModelPackageGroupName="G")
    return lab


def register(lab: Lab, **more: Any) -> str:
    request = {"ModelPackageGroupName": "G", "InferenceSpecification": SPECIFICATION, **more}
    return str(lab.call("CreateModelPackage", **request)["ModelPackageArn"])


def package(lab: Lab, arn: str) -> dict[str, Any]:
    return lab.call("DescribeModelPackage", ModelPackageName=arn)


def test_versions_count_up_and_are_never_used_again(lab: Lab) -> None:
    first, second = register(lab), register(lab)
    assert first == "arn:aws:sagemaker:us-east-1:000000000000:model-package/g/1"
    assert package(lab, second)["ModelPackageVersion"] == 2
    lab.call("DeleteModelPackage", ModelPackageName=second)
    assert package(lab, register(lab))["ModelPackageVersion"] == 3


def test_a_version_goes_by_its_arn_and_only_an_unversioned_package_has_a_name(lab: Lab) -> None:
    """The SageMaker SDK v3 describes and updates by `ModelPackageName` where an answer has one."""
    arn = register(lab)
    lab.call("CreateModelPackage", ModelPackageName="solo", InferenceSpecification=SPECIFICATION)
    (listed,) = lab.call("ListModelPackages", ModelPackageGroupName="G")["ModelPackageSummaryList"]
    (alone,) = lab.call("ListModelPackages")["ModelPackageSummaryList"]
    assert "ModelPackageName" not in package(lab, arn) | listed
    assert listed["ModelPackageArn"] == arn
    assert alone["ModelPackageName"] == package(lab, "solo")["ModelPackageName"] == "solo"
    found = lab.call("ListModelPackages", ModelPackageType="Both", NameContains="g", SortBy="Name")
    assert [item["ModelPackageArn"] for item in found["ModelPackageSummaryList"]] == [arn]


def test_a_candidate_waits_for_approval_by_default(lab: Lab) -> None:
    found = package(lab, register(lab))
    assert (found["ModelPackageStatus"], found["ModelApprovalStatus"]) == ("Completed", "PendingManualApproval")
    assert "LastModifiedTime" not in found


def test_a_client_token_makes_creation_idempotent(lab: Lab) -> None:
    """practice.md finding 7: moto makes two packages here."""
    assert register(lab, ClientToken="t-1") == register(lab, ClientToken="t-1")
    assert len(lab.call("ListModelPackages", ModelPackageGroupName="G")["ModelPackageSummaryList"]) == 1
    with pytest.raises(ApiError) as conflict:
        register(lab, ClientToken="t-1", ModelApprovalStatus="Approved")
    assert conflict.value.code == "ConflictException"


def test_what_was_registered_is_described(lab: Lab) -> None:
    metrics = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://bucket/e.json"}}}
    more = {
        "ModelMetrics": metrics,
        "CustomerMetadataProperties": {"run": "r1"},
        "ModelLifeCycle": {"Stage": "Development", "StageStatus": "Pending"},
        "MetadataProperties": {"GeneratedBy": "linnet"},
        "ModelPackageDescription": "Ein Modell",
    }
    found = package(lab, register(lab, **more))
    assert {name: found[name] for name in more} == more
    assert found["InferenceSpecification"] == SPECIFICATION


def test_an_approval_is_never_final(lab: Lab) -> None:
    """F42: the registry may be flipped at any time."""
    arn = register(lab)
    for status in ("Approved", "Rejected", "Approved"):
        lab.call("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription="said so")
        found = package(lab, arn)
        assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == (status, "said so")


def test_customer_metadata_is_merged_and_removed(lab: Lab) -> None:
    arn = register(lab, CustomerMetadataProperties={"a": "1", "b": "2"})
    lab.call(
        "UpdateModelPackage",
        ModelPackageArn=arn,
        CustomerMetadataProperties={"b": "3", "c": "4"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    assert package(lab, arn)["CustomerMetadataProperties"] == {"b": "3", "c": "4"}


def test_an_update_that_is_not_emulated_is_not_swallowed(lab: Lab) -> None:
    with pytest.raises(ApiError, match=r"NotEmulatedException.*ModelCard"):
        lab.call("UpdateModelPackage", ModelPackageArn=register(lab), ModelCard={"ModelCardStatus": "Draft"})


def test_packages_are_listed_by_group_and_approval_newest_first(lab: Lab) -> None:
    arns = [register(lab) for _ in range(12)]
    for arn in arns[2:4]:
        lab.call("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved")

    def versions(**more: Any) -> list[int]:
        answer = lab.call("ListModelPackages", ModelPackageGroupName="G", **more)
        return [item["ModelPackageVersion"] for item in answer["ModelPackageSummaryList"]]

    assert versions(ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending") == [4, 3]
    assert versions(SortOrder="Descending", MaxResults=3) == [12, 11, 10]
    assert versions(MaxResults=100) == list(range(1, 13))
    assert lab.call("ListModelPackages")["ModelPackageSummaryList"] == []


def test_groups_are_unique_found_by_name_or_arn_and_deleted_when_empty(lab: Lab) -> None:
    with pytest.raises(ApiError, match="already exists"):
        lab.call("CreateModelPackageGroup", ModelPackageGroupName="G")
    group = lab.call("DescribeModelPackageGroup", ModelPackageGroupName="G")
    assert group == lab.call("DescribeModelPackageGroup", ModelPackageGroupName=group["ModelPackageGroupArn"])
    arn = register(lab, ModelPackageGroupName=group["ModelPackageGroupArn"])
    with pytest.raises(ApiError, match="ConflictException"):
        lab.call("DeleteModelPackageGroup", ModelPackageGroupName="G")
    lab.call("DeleteModelPackage", ModelPackageName=arn)
    lab.call("DeleteModelPackageGroup", ModelPackageGroupName="G")
    assert lab.call("ListModelPackageGroups")["ModelPackageGroupSummaryList"] == []
    with pytest.raises(ApiError, match="ModelPackageGroup G does not exist"):
        register(lab)


def test_a_versioned_package_has_its_groups_tags(lab: Lab) -> None:
    with pytest.raises(ApiError, match="Tags"):
        register(lab, Tags=[{"Key": "a", "Value": "b"}])


def test_a_model_of_a_package_runs_its_container_with_the_models_environment_on_top(lab: Lab) -> None:
    lab.aws.objects["s3://bucket/m.tar.gz"] = b"model"
    container = {"ModelPackageName": register(lab), "Environment": {"B": "2"}}
    lab.call("CreateModel", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}}
    lab.call(
        "CreateTransformJob",
        TransformJobName="t",
        ModelName="m",
        TransformInput=source,
        TransformOutput={"S3OutputPath": "s3://bucket/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    lab.clock.advance(0)
    assert lab.executor.jobs[0].request["Container"] == {
        "Image": IMAGE,
        "ModelDataUrl": "s3://bucket/m.tar.gz",
        "Environment": {"A": "1", "B": "2"},
    }


def test_an_unversioned_package_has_a_name(lab: Lab) -> None:
    created = lab.call("CreateModelPackage", ModelPackageName="solo", InferenceSpecification=SPECIFICATION)
    assert package(lab, "solo")["ModelPackageArn"] == created["ModelPackageArn"]
    assert len(lab.call("ListModelPackages")["ModelPackageSummaryList"]) == 1
    with pytest.raises(ApiError, match="Missing ARN"):
        lab.call("CreateModelPackage", InferenceSpecification=SPECIFICATION)
