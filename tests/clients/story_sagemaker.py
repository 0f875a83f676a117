"""The story by the SageMaker SDK v3, in its own words: `python story_sagemaker.py CASE REPORT`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from cases import CASES
from sagemaker.core import image_uris, resources
from sagemaker.core.helper.iam_role_resolver import IamRoleResolver
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import (
    Endpoint,
    EndpointConfig,
    Model,
    ModelPackage,
    ModelPackageGroup,
    ProcessingJob,
    Tag,
    TrainingJob,
    TransformJob,
)
from sagemaker.core.shapes import (
    DesiredWeightAndCapacity,
    OutputDataConfig,
    ProductionVariant,
)
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.utils.code_injection.codec import pascal_to_snake
from sagemaker.train.model_trainer import ModelTrainer
from story import CODE, CSV, PAGED, QUESTION, SECONDS, container, rows, serving_code, sourcedir, taken, tell
from story import processing as processing_of
from story import training as request_of
from story import transform as transform_of

QUIET = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
FREE = {"HyperParameters", "Environment"}
NEVER = 1e-9
"""As good as no weight: the pinned SDK leaves a number that is 0 out of its requests."""
LOOK = {"poll": 1, "timeout": int(SECONDS)}


def snake(value: Any) -> Any:
    """Return a request of the API with the SDK's names of its members; a map's free keys stay."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {pascal_to_snake(key): item if key in FREE else snake(item) for key, item in value.items()}


def refused(ask: Callable[[], Any]) -> tuple[str, str]:
    """Return the error code and the words of what must fail."""
    try:
        answer = ask()
    except ClientError as error:
        return str(error.response["Error"]["Code"]), str(error.response["Error"]["Message"])
    raise AssertionError(f"it answered {answer}")


def neighbours(case: dict[str, Any]) -> dict[str, Any]:
    """Put the job's files where it finds them, by the SDK's own session."""
    session = Session(default_bucket=case["bucket"], sagemaker_config=QUIET)
    bucket = session.default_bucket()
    session.s3_client.put_object(Bucket=bucket, Key="code/sourcedir.tar.gz", Body=sourcedir())
    session.upload_string_as_file_body(rows().decode(), bucket, "train/rows.csv")
    session.upload_string_as_file_body(QUESTION.decode(), bucket, "questions/question.csv")
    return {
        "read back": session.read_s3_file(bucket, "train/rows.csv").encode() == rows(),
        "keys": session.list_s3_files(bucket, ""),
        "image": image_uris.retrieve("sklearn", "us-east-1", version="1.2-1"),
    }


def training(case: dict[str, Any]) -> dict[str, Any]:
    """Run a job in script mode."""
    request = snake(request_of(case))
    job = TrainingJob.create(**request)
    job.wait(**LOOK)
    listed = TrainingJob.get_all(name_contains=request["training_job_name"], status_equals="Completed")
    return {
        "status": job.training_job_status,
        "artifacts": job.model_artifacts.s3_model_artifacts,
        "metrics": {found.metric_name: found.value for found in job.final_metric_data_list},
        "steps": [step.status for step in job.secondary_status_transitions],
        "listed": [found.training_job_name for found in listed],
        "tags": {tag.key: tag.value for tag in Tag.get_all(resource_arn=job.training_job_arn)},
    }


def registry(case: dict[str, Any]) -> dict[str, Any]:
    """Register the model and approve it."""
    group = ModelPackageGroup.create(model_package_group_name=f"{case['client']}-group")
    group.wait_for_status("Completed", **LOOK)
    of_group = {"model_package_group_name": group.model_package_group_name}
    # The pinned SDK looks for ModelPackageName in an answer that by the API's model has only ModelPackageArn.
    with contextlib.suppress(KeyError):
        ModelPackage.create(
            **of_group,
            model_approval_status="PendingManualApproval",
            inference_specification={
                "containers": [snake(container(case))],
                "supported_content_types": [CSV],
                "supported_response_mime_types": [CSV],
            },
        )
    (package,) = ModelPackage.get_all(**of_group)
    package.wait_for_status("Completed", **LOOK)
    before = package.model_approval_status
    package.update(model_approval_status="Approved", approval_description="good")
    package.refresh()
    approved = of_group | {"model_approval_status": "Approved"}
    return {
        "arn": package.model_package_arn,
        "version": package.model_package_version,
        "approval": [before, package.model_approval_status, package.approval_description],
        "listed": [found.model_package_arn for found in ModelPackage.get_all(**approved)],
    }


def endpoint(case: dict[str, Any]) -> dict[str, Any]:
    """Serve the registered model by two variants, shift the weight, take everything away."""
    name = case["client"]
    package = f"arn:aws:sagemaker:us-east-1:{case['account']}:model-package/{name}-group/1"
    model = Model.create(
        model_name=f"{name}-model",
        execution_role_arn=case["role"],
        primary_container={"model_package_name": package, "environment": serving_code(case)},
    )
    variants = [
        ProductionVariant(
            variant_name=variant,
            model_name=model.model_name,
            initial_instance_count=1,
            instance_type="ml.m5.large",
            initial_variant_weight=weight,
        )
        for variant, weight in (("blue", 1.0), ("green", NEVER))
    ]
    config = EndpointConfig.create(endpoint_config_name=f"{name}-config", production_variants=variants)
    serving = Endpoint.create(endpoint_name=f"{name}-endpoint", endpoint_config_name=config.endpoint_config_name)
    begun = serving.endpoint_status
    serving.wait_for_status("InService", **LOOK)

    def ask() -> tuple[str, str]:
        answer = serving.invoke(body=QUESTION, content_type=CSV, accept=CSV)
        return answer.invoked_production_variant, answer.body.read().decode()

    first = ask()
    serving.update_weights_and_capacities(
        [
            DesiredWeightAndCapacity(variant_name="blue", desired_weight=NEVER),
            DesiredWeightAndCapacity(variant_name="green", desired_weight=1.0),
        ]
    )
    serving.wait_for_status("InService", **LOOK)
    second = ask()
    weights = {variant.variant_name: round(variant.current_weight, 6) for variant in serving.production_variants}
    listed = [found.endpoint_name for found in Endpoint.get_all(name_contains=serving.endpoint_name)]
    serving.delete()
    serving.wait_for_delete(**LOOK)
    config.delete()
    model.delete()
    return {
        "begun": begun,
        "answers": [first, second],
        "weights": weights,
        "listed": listed,
        "afterwards": [refused(serving.refresh)[0], refused(model.refresh)[0]],
    }


def pages(case: dict[str, Any]) -> dict[str, Any]:
    """List more than a page holds."""
    for number in range(PAGED):
        ModelPackageGroup.create(model_package_group_name=f"{case['client']}-page-{number:02}")
    found = ModelPackageGroup.get_all(name_contains=f"{case['client']}-page-", sort_by="Name", sort_order="Descending")
    return {"names": [group.model_package_group_name for group in found]}


def jobs(case: dict[str, Any]) -> dict[str, Any]:
    """Run a processing and a transform job and wait for them."""
    Model.create(**snake(taken(case)["model"]))
    processing = ProcessingJob.create(**snake(processing_of(case)))
    transform = TransformJob.create(**snake(transform_of(case)))
    processing.wait(**LOOK)
    transform.wait(**LOOK)
    session = Session(default_bucket=case["bucket"], sagemaker_config=QUIET)
    code, _ = refused(lambda: Endpoint(endpoint_name=f"{case['client']}-nowhere").wait_for_status("InService", **LOOK))
    return {
        "statuses": {
            "processing_job": processing.processing_job_status,
            "transform_job": transform.transform_job_status,
        },
        "answers": len(session.read_s3_file(case["bucket"], "answers/question.csv.out").split()),
        "in vain": code == "ValidationException",
    }


def asked(operation: str, params: dict[str, Any]) -> Any:
    """Ask for an operation of the API in the SDK's words: `describe_model` is Model.get, `list_apps` goes by App.get_all."""
    verb, _, noun = operation.partition("_")
    words = snake(params)
    resource = getattr(resources, "".join(part.capitalize() for part in noun.removesuffix("s").split("_")))
    if verb == "create":
        return resource.create(**words)
    if verb == "describe":
        return resource.get(*words.values())
    if verb == "list":
        return list(resource.get_all(**words))
    if verb == "invoke":
        return resource(**words).invoke(body=b"1")
    return getattr(resource(**words), verb)()


def errors(case: dict[str, Any]) -> dict[str, Any]:
    """Ask for what must be refused."""
    known = {**case, "training": request_of(case), "taken": taken(case)}
    EndpointConfig.create(**snake(known["taken"]["config"]))
    Endpoint.create(**snake(known["taken"]["endpoint"]))
    return {one.name: refused(lambda one=one: asked(one.operation, one.params(known))) for one in CASES}


def trainer(case: dict[str, Any]) -> dict[str, Any]:
    """Train by ModelTrainer: it uploads code and drivers and runs a shell script of its own in the container."""
    if not case["isolated"]:
        return {}
    bucket = case["bucket"]
    session = Session(default_bucket=bucket, sagemaker_config=QUIET)
    # It checks the role's policies in IAM against all that any training may need, VPCs too: a role of the SDK's own.
    role = IamRoleResolver(session).create_execution_role(role_type="training")
    trainer = ModelTrainer(
        sagemaker_session=session,
        role=role,
        training_image=case["image"],
        base_job_name=f"{case['client']}-trainer",
        source_code=SourceCode(source_dir=str(Path(CODE).parent), entry_script=CODE.name),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters={"max-iter": 50},
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/models"),
    )
    trainer.train([InputData(channel_name="train", data_source=f"s3://{bucket}/train/", content_type=CSV)], logs=True)
    job = trainer._latest_training_job
    return {"status": job.training_job_status, "artifacts": job.model_artifacts.s3_model_artifacts}


tell(neighbours, training, registry, endpoint, pages, jobs, errors, trainer)
