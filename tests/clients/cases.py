"""What SageMaker refuses, and with which code and words: one list for all clients. Needs the standard library only.

The words are AWS's own where somebody has published them; `source` says where. A case without words states the code alone,
from the operation's page in the API reference: https://docs.aws.amazon.com/sagemaker/latest/APIReference/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Params = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One request that must be refused. In `words`, {client} and {arn} are filled in; what follows a * is not compared."""

    name: str
    operation: str
    params: Callable[[Params], Params]
    code: str
    words: str = ""
    source: str = ""

    def expected(self, client: str, account: str) -> str:
        """Return the words for a client."""
        arn = f"arn:aws:sagemaker:us-east-1:{account}:"
        return self.words.replace("{client}", client).replace("{account}", account).replace("{arn}", arn)


def _nowhere(member: str) -> Callable[[Params], Params]:
    return lambda _: {member: "nowhere"}


def _job(**changes: Any) -> Callable[[Params], Params]:
    """Return the request of the client's training job, changed; a text may hold {client}."""

    def request(case: Params) -> Params:
        filled = {k: v.replace("{client}", case["client"]) if isinstance(v, str) else v for k, v in changes.items()}
        return {**case["training"], **filled}

    return request


def _taken(kind: str) -> Callable[[Params], Params]:
    return lambda case: dict(case["taken"][kind])


EXAMPLES, SDK = "https://github.com/aws/amazon-sagemaker-examples", "https://github.com/aws/sagemaker-python-sdk"
CASES = (
    Case(
        "a training job's name is taken for ever", "create_training_job", _job(), "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name already "
        "exists ({arn}training-job/{client}-job)",
        "https://github.com/SuperCowPowers/workbench/issues/384",
    ),
    Case(
        "a model's name is taken", "create_model", _taken("model"), "ValidationException",
        'Cannot create already existing model "{arn}model/{client}-taken".',
        f"{SDK}/blob/v2.200.0/src/sagemaker/session.py",
    ),
    Case(
        "an endpoint config's name is taken", "create_endpoint_config", _taken("config"), "ValidationException",
        'Cannot create already existing endpoint configuration "{arn}endpoint-config/{client}-taken".',
        "https://github.com/awslabs/spot-tagging-bot-for-digital-assets/issues/2",
    ),
    Case(
        "an endpoint's name is taken", "create_endpoint", _taken("endpoint"), "ValidationException",
        'Cannot create already existing endpoint "{arn}endpoint/{client}-taken".', f"{EXAMPLES}/issues/2491",
    ),
    Case(
        "a package group's name is taken", "create_model_package_group",
        lambda case: {"ModelPackageGroupName": f"{case['client']}-group"}, "ValidationException",
        "Model Package Group already exists: {arn}model-package-group/{client}-group",
        "https://github.com/apache/airflow/pull/28024",
    ),
    Case(
        "a value is in no enumeration", "create_training_job",
        _job(
            TrainingJobName="{client}-wrong",
            ResourceConfig={"InstanceType": "ml.enormous", "InstanceCount": 1, "VolumeSizeInGB": 10},
        ),
        "ValidationException",
        "1 validation error detected: Value 'ml.enormous' at 'resourceConfig.instanceType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [*",
        "https://github.com/aws-samples/aws-sagemaker-heart-disease-prediction/issues/1",
    ),
    Case(
        "a value inside a list is in no enumeration", "create_endpoint_config",
        lambda case: {
            "EndpointConfigName": "wrong",
            "ProductionVariants": [{**case["taken"]["config"]["ProductionVariants"][0], "InstanceType": "ml.enormous"}],
        },
        "ValidationException",
        "1 validation error detected: Value 'ml.enormous' at 'productionVariants.1.member.instanceType' failed to satisfy "
        "constraint: Member must satisfy enum value set: [*",
        "the same form as above; lists as CreateEndpointConfig's refusals of ml.t3.medium are quoted in public notebooks",
    ),
    Case(
        "a name breaks its pattern", "create_training_job", _job(TrainingJobName="{client}_job"), "ValidationException",
        "1 validation error detected: Value '{client}_job' at 'trainingJobName' failed to satisfy constraint: Member must "
        "satisfy regular expression pattern: *",
        f"{SDK}/issues/384",
    ),
    Case(
        "a name is too long and breaks its pattern", "create_training_job",
        _job(TrainingJobName="{client}-" + 64 * "x"), "ValidationException", "2 validation errors detected: Value '{client}-*",
        "https://github.com/zenml-io/zenml/issues/1502",
    ),
    Case(
        "a package is in a group and has a name of its own", "create_model_package",
        lambda case: {"ModelPackageGroupName": f"{case['client']}-group", "ModelPackageName": "alone"}, "ValidationException",
        "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use.",
        "https://github.com/getmoto/moto/pull/7165",
    ),
    Case(
        "a package has neither group nor name", "create_model_package",
        lambda _: {"ModelPackageDescription": "nobody's"}, "ValidationException", "Missing ARN.",
        "https://github.com/getmoto/moto/pull/7165",
    ),
    Case(
        "a job that has ended is stopped", "stop_training_job",
        lambda case: {"TrainingJobName": f"{case['client']}-job"}, "ValidationException",
        "The request was rejected because the training job is in status Completed.",
        "https://github.com/awslabs/benchmark-ai/issues/928",
    ),
    Case(
        "a training job is unknown", "describe_training_job", _nowhere("TrainingJobName"), "ValidationException",
        "Requested resource not found.", f"{EXAMPLES}/issues/2360",
    ),
    Case(
        "a model is unknown", "describe_model", _nowhere("ModelName"), "ValidationException",
        'Could not find model "{arn}model/nowhere".', f"{SDK}/issues/2112",
    ),
    Case(
        "an endpoint config is unknown", "describe_endpoint_config", _nowhere("EndpointConfigName"), "ValidationException",
        'Could not find endpoint configuration "{arn}endpoint-config/nowhere".', f"{EXAMPLES}/issues/2339",
    ),
    Case(
        "an endpoint is unknown", "describe_endpoint", _nowhere("EndpointName"), "ValidationException",
        'Could not find endpoint "{arn}endpoint/nowhere".', f"{EXAMPLES}/issues/2402",
    ),
    Case(
        "an endpoint that is unknown is deleted", "delete_endpoint", _nowhere("EndpointName"), "ValidationException",
        'Could not find endpoint "{arn}endpoint/nowhere".', f"{EXAMPLES}/issues/2402",
    ),
    Case(
        "a package group is unknown", "describe_model_package_group", _nowhere("ModelPackageGroupName"),
        "ValidationException",
    ),
    Case(
        "a package group that has packages is deleted", "delete_model_package_group",
        lambda case: {"ModelPackageGroupName": f"{case['client']}-group"}, "ConflictException",
    ),
    Case(
        "a tuning job is unknown", "describe_hyper_parameter_tuning_job", _nowhere("HyperParameterTuningJobName"),
        "ResourceNotFound",
    ),
    Case(
        "an endpoint that is unknown is invoked", "invoke_endpoint", _nowhere("EndpointName"), "ValidationError",
        "Endpoint nowhere of account {account} not found.", f"{EXAMPLES}/issues/559",
    ),
    Case(
        "an operation is not emulated", "list_apps", lambda _: {}, "NotEmulatedException",
        "The local SageMaker does not emulate ListApps", "docs/emulation.md",
    ),
)  # fmt: skip


def service(operation: str) -> str:
    """Return the service of an operation."""
    return "sagemaker-runtime" if operation == "invoke_endpoint" else "sagemaker"
