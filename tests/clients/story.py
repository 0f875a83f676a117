"""What a client does with the stack, told once for all clients that speak the API's own operations.

Needs the standard library only: it runs in each client's own environment. A client that has words of its own (the
SageMaker SDK) tells the chapters itself and reports the same facts.
"""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cases import CASES, service

CODE = Path(__file__).parent / "code" / "train.py"
METRIC = {"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}
CSV = "text/csv"
QUESTION = b"0.9,0.1\n0.1,0.9\n"
SECONDS = 120.0
SHORT = {"Delay": 1, "MaxAttempts": 1}
ENDED = ("Completed", "Failed", "Stopped")
PAGED = 12
"""So many package groups are listed: a page has ten."""


class Client(Protocol):
    """One of the three clients, as the story speaks to it: operations in botocore's spelling."""

    def call(self, service: str, operation: str, **params: Any) -> Any:
        """Return an operation's answer."""

    def refused(self, service: str, operation: str, **params: Any) -> tuple[str, str]:
        """Return the error code and the words of an operation that must fail."""

    def pages(self, operation: str, **params: Any) -> list[Any]:
        """Return what all pages of a SageMaker list have, by the client's own paginator."""

    def wait(self, waiter: str, **params: Any) -> None:
        """Let the client's own SageMaker waiter look once; it must find what it waits for."""

    def waits_in_vain(self, waiter: str, **params: Any) -> bool:
        """Say whether the client's waiter gives up at its first look."""

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object."""

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""

    def run(self, function: str, payload: Any) -> Any:
        """Invoke a Lambda function."""

    def ask(self, endpoint: str, body: bytes) -> tuple[str, str]:
        """Invoke an endpoint; return the variant and the answer."""


def tell(*chapters: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Play the chapters with the case file of the command line and print their facts as one JSON object."""
    case: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    facts = {chapter.__name__: chapter(case) for chapter in chapters}
    Path(sys.argv[2]).write_text(json.dumps(facts), encoding="utf-8")


def until(look: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `look`. Raises TimeoutError after some real seconds."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.2)
    return found


def sourcedir() -> bytes:
    """Return sourcedir.tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(CODE, CODE.name)
    return buffer.getvalue()


def rows() -> bytes:
    """Return 200 rows `x above y, x, y`."""
    draw = random.Random(7)
    points = [(draw.random(), draw.random()) for _ in range(200)]
    return "".join(f"{int(x > y)},{x:.4f},{y:.4f}\n" for x, y in points).encode()


def training(case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a CreateTrainingJob request in script mode."""
    bucket = case["bucket"]
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/train/", "S3DataDistributionType": "FullyReplicated"}
    return {
        "TrainingJobName": f"{case['client']}-job",
        "AlgorithmSpecification": {
            "TrainingImage": case["image"],
            "TrainingInputMode": "File",
            "MetricDefinitions": [METRIC],
        },
        "RoleArn": case["role"],
        "HyperParameters": {
            "max-iter": "50",
            "sagemaker_program": CODE.name,
            "sagemaker_submit_directory": f"s3://{bucket}/code/sourcedir.tar.gz",
        },
        "InputDataConfig": [
            {"ChannelName": "train", "ContentType": CSV, "DataSource": {"S3DataSource": source}},
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Tags": [{"Key": "client", "Value": case["client"]}],
        **changes,
    }


def container(case: dict[str, Any]) -> dict[str, Any]:
    """Return the trained model as it is registered."""
    artifacts = f"s3://{case['bucket']}/models/{case['client']}-job/output/model.tar.gz"
    return {"Image": case["image"], "ModelDataUrl": artifacts}


def serving_code(case: dict[str, Any]) -> dict[str, str]:
    """Return the environment that tells the serving container its script."""
    source = f"s3://{case['bucket']}/code/sourcedir.tar.gz"
    return {"SAGEMAKER_PROGRAM": CODE.name, "SAGEMAKER_SUBMIT_DIRECTORY": source}


def taken(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the requests of a model, a config and an endpoint that exist when names are asked for twice."""
    name = f"{case['client']}-taken"
    variant = {"VariantName": "blue", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    served = container(case) | {"Environment": serving_code(case)}
    return {
        "model": {"ModelName": name, "ExecutionRoleArn": case["role"], "PrimaryContainer": served},
        "config": {"EndpointConfigName": name, "ProductionVariants": [variant]},
        "endpoint": {"EndpointName": name, "EndpointConfigName": name},
    }


def processing(case: dict[str, Any]) -> dict[str, Any]:
    """Return a CreateProcessingJob request that does nothing."""
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    return {
        "ProcessingJobName": f"{case['client']}-processing",
        "RoleArn": case["role"],
        "AppSpecification": {"ImageUri": case["image"], "ContainerEntrypoint": ["python3", "-c", "print('done')"]},
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def transform(case: dict[str, Any]) -> dict[str, Any]:
    """Return a CreateTransformJob request that asks the model QUESTION."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{case['bucket']}/questions/"}
    return {
        "TransformJobName": f"{case['client']}-transform",
        "ModelName": f"{case['client']}-taken",
        "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": CSV},
        "TransformOutput": {"S3OutputPath": f"s3://{case['bucket']}/answers", "Accept": CSV},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


class Story:
    """The chapters in API operations."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def chapters(self) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return the chapters in their order."""
        return [self.neighbours, self.training, self.registry, self.endpoint, self.pages, self.jobs, self.errors]

    def neighbours(self, case: dict[str, Any]) -> dict[str, Any]:
        """Use every service beside SageMaker that Linnet is made of."""
        client, call, name = self._client, self._client.call, case["client"]
        call("s3", "create_bucket", Bucket=case["bucket"])
        client.put(case["bucket"], "code/sourcedir.tar.gz", sourcedir())
        client.put(case["bucket"], "train/rows.csv", rows())
        client.put(case["bucket"], "questions/question.csv", QUESTION)
        functions = [found["FunctionName"] for found in call("lambda", "list_functions")["Functions"]]
        asked = next(function for function in functions if "ListMonitored" in function)
        answer = client.run(asked, {"time": "2026-01-31T12:00:00Z", "execution": name, "correlation_id": f"of-{name}"})
        stack = call("cloudformation", "describe_stacks", StackName=case["stack"])["Stacks"][0]
        table = call("dynamodb", "describe_table", TableName=case["ledger"])["Table"]
        machines = call("stepfunctions", "list_state_machines")["stateMachines"]
        return {
            "account": call("sts", "get_caller_identity")["Account"],
            "read back": client.get(case["bucket"], "train/rows.csv") == rows(),
            "keys": [found["Key"] for found in call("s3", "list_objects_v2", Bucket=case["bucket"])["Contents"]],
            "ledger": [table["TableStatus"], sorted(key["AttributeName"] for key in table["KeySchema"])],
            "machines": sorted(machine["name"] for machine in machines),
            "functions": len(functions),
            "answer": [answer["count"], answer["jobs"]],
            "alarms": [found["AlarmName"] for found in call("cloudwatch", "describe_alarms")["MetricAlarms"]],
            "log groups": [found["logGroupName"] for found in call("logs", "describe_log_groups")["logGroups"]],
            "stack": stack["StackStatus"],
            "outputs": {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
            "delivered": self._delivered(name),
            "unknown names": {
                "dynamodb": client.refused("dynamodb", "describe_table", TableName="nowhere")[0],
                "s3": client.refused("s3", "list_objects_v2", Bucket="nowhere-at-all")[0],
                "lambda": client.refused("lambda", "get_function", FunctionName="nowhere")[0],
                "stepfunctions": client.refused(
                    "stepfunctions", "describe_state_machine", stateMachineArn=f"{machines[0]['stateMachineArn']}-not"
                )[0],
                "sqs": client.refused("sqs", "get_queue_url", QueueName="nowhere")[0],
                "events": client.refused("events", "describe_rule", Name="nowhere")[0],
            },
        }

    def _delivered(self, name: str) -> list[str]:
        """Send one message by a topic and one by an event rule to a queue; return what arrives."""
        call = self._client.call
        queue = call("sqs", "create_queue", QueueName=f"{name}-inbox")["QueueUrl"]
        attributes = call("sqs", "get_queue_attributes", QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
        arn, raw = attributes["QueueArn"], {"RawMessageDelivery": "true"}
        topic = call("sns", "create_topic", Name=f"{name}-news")["TopicArn"]
        call("sns", "subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
        call("sns", "publish", TopicArn=topic, Message="by topic")
        pattern = json.dumps({"source": [f"clients.{name}"]})
        call("events", "put_rule", Name=f"{name}-rule", EventPattern=pattern)
        target = {"Id": "inbox", "Arn": arn, "InputPath": "$.detail.by"}
        call("events", "put_targets", Rule=f"{name}-rule", Targets=[target])
        entry = {"Source": f"clients.{name}", "DetailType": "News", "Detail": '{"by": "by rule"}'}
        call("events", "put_events", Entries=[entry])
        found: list[str] = []

        def look() -> bool:
            answer = call("sqs", "receive_message", QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600)
            found.extend(message["Body"] for message in answer.get("Messages", ()))
            return len(found) > 1

        until(look, f"only {found} arrived")
        return sorted(word.strip('"') for word in found)

    def training(self, case: dict[str, Any]) -> dict[str, Any]:
        """Run a job in script mode."""
        call, request = self._client.call, training(case)
        name = request["TrainingJobName"]
        arn = call("sagemaker", "create_training_job", **request)["TrainingJobArn"]

        def ended() -> Any:
            found = call("sagemaker", "describe_training_job", TrainingJobName=name)
            return found if found["TrainingJobStatus"] in ENDED else None

        described = until(ended, f"{name} did not end")
        if "FailureReason" in described:
            raise RuntimeError(described["FailureReason"])
        self._client.wait("training_job_completed_or_stopped", TrainingJobName=name)
        listed = call("sagemaker", "list_training_jobs", NameContains=name, StatusEquals="Completed")
        tags = call("sagemaker", "list_tags", ResourceArn=arn)["Tags"]
        return {
            "status": described["TrainingJobStatus"],
            "artifacts": described["ModelArtifacts"]["S3ModelArtifacts"],
            "metrics": {found["MetricName"]: found["Value"] for found in described["FinalMetricDataList"]},
            "steps": [step["Status"] for step in described["SecondaryStatusTransitions"]],
            "listed": [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]],
            "tags": {tag["Key"]: tag["Value"] for tag in tags},
        }

    def registry(self, case: dict[str, Any]) -> dict[str, Any]:
        """Register the model and approve it."""
        call, group = self._client.call, f"{case['client']}-group"
        call("sagemaker", "create_model_package_group", ModelPackageGroupName=group)
        arn = call(
            "sagemaker",
            "create_model_package",
            ModelPackageGroupName=group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [container(case)],
                "SupportedContentTypes": [CSV],
                "SupportedResponseMIMETypes": [CSV],
            },
        )["ModelPackageArn"]
        before = call("sagemaker", "describe_model_package", ModelPackageName=arn)
        call(
            "sagemaker",
            "update_model_package",
            ModelPackageArn=arn,
            ModelApprovalStatus="Approved",
            ApprovalDescription="good",
        )
        after = call("sagemaker", "describe_model_package", ModelPackageName=arn)
        approved = {"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved"}
        listed = call("sagemaker", "list_model_packages", **approved)["ModelPackageSummaryList"]
        return {
            "arn": arn,
            "version": after["ModelPackageVersion"],
            "approval": [before["ModelApprovalStatus"], after["ModelApprovalStatus"], after["ApprovalDescription"]],
            "listed": [package["ModelPackageArn"] for package in listed],
        }

    def endpoint(self, case: dict[str, Any]) -> dict[str, Any]:
        """Serve the registered model by two variants, shift the weight, take everything away."""
        client, call, name = self._client, self._client.call, case["client"]
        package = f"arn:aws:sagemaker:us-east-1:{case['account']}:model-package/{name}-group/1"
        call(
            "sagemaker",
            "create_model",
            ModelName=f"{name}-model",
            ExecutionRoleArn=case["role"],
            PrimaryContainer={"ModelPackageName": package, "Environment": serving_code(case)},
        )
        variants = [
            {
                "VariantName": variant,
                "ModelName": f"{name}-model",
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "InitialVariantWeight": weight,
            }
            for variant, weight in (("blue", 1.0), ("green", 0.0))
        ]
        call("sagemaker", "create_endpoint_config", EndpointConfigName=f"{name}-config", ProductionVariants=variants)
        which = {"EndpointName": f"{name}-endpoint"}
        call("sagemaker", "create_endpoint", EndpointConfigName=f"{name}-config", **which)
        begun = call("sagemaker", "describe_endpoint", **which)["EndpointStatus"]
        self._served(which)
        client.wait("endpoint_in_service", **which)
        first = client.ask(which["EndpointName"], QUESTION)
        wishes = [
            {"VariantName": variant, "DesiredWeight": weight} for variant, weight in (("blue", 0.0), ("green", 1.0))
        ]
        call("sagemaker", "update_endpoint_weights_and_capacities", DesiredWeightsAndCapacities=wishes, **which)
        shifted = self._served(which)
        second = client.ask(which["EndpointName"], QUESTION)
        listed = call("sagemaker", "list_endpoints", NameContains=which["EndpointName"])["Endpoints"]
        call("sagemaker", "delete_endpoint", **which)
        until(lambda: not call("sagemaker", "list_endpoints", NameContains=which["EndpointName"])["Endpoints"], "there")
        client.wait("endpoint_deleted", **which)
        call("sagemaker", "delete_endpoint_config", EndpointConfigName=f"{name}-config")
        call("sagemaker", "delete_model", ModelName=f"{name}-model")
        return {
            "begun": begun,
            "answers": [first, second],
            "weights": {variant["VariantName"]: variant["CurrentWeight"] for variant in shifted["ProductionVariants"]},
            "listed": [found["EndpointName"] for found in listed],
            "afterwards": [
                client.refused("sagemaker", "describe_endpoint", **which)[0],
                client.refused("sagemaker", "describe_model", ModelName=f"{name}-model")[0],
            ],
        }

    def _served(self, which: dict[str, str]) -> Any:
        def look() -> Any:
            found = self._client.call("sagemaker", "describe_endpoint", **which)
            return found if found["EndpointStatus"] in {"InService", "Failed"} else None

        return until(look, f"{which} never served")

    def pages(self, case: dict[str, Any]) -> dict[str, Any]:
        """List more than a page holds."""
        for number in range(PAGED):
            self._client.call(
                "sagemaker", "create_model_package_group", ModelPackageGroupName=f"{case['client']}-page-{number:02}"
            )
        which = {"NameContains": f"{case['client']}-page-", "SortBy": "Name", "SortOrder": "Descending"}
        found = self._client.pages("list_model_package_groups", **which)
        return {"names": [group["ModelPackageGroupName"] for group in found]}

    def jobs(self, case: dict[str, Any]) -> dict[str, Any]:
        """Run a processing and a transform job and let the client's own waiters wait for them."""
        client, call, name = self._client, self._client.call, case["client"]
        call("sagemaker", "create_model", **taken(case)["model"])
        requests = {"processing_job": processing(case), "transform_job": transform(case)}
        for kind, request in requests.items():
            call("sagemaker", f"create_{kind}", **request)
        statuses = {}
        for kind, title in (("processing_job", "ProcessingJob"), ("transform_job", "TransformJob")):
            which = {f"{title}Name": requests[kind][f"{title}Name"]}

            def ended(kind: str = kind, which: dict[str, str] = which, status: str = f"{title}Status") -> Any:
                found = call("sagemaker", f"describe_{kind}", **which)
                return found if found[status] in ENDED else None

            described = until(ended, f"{which} did not end")
            if "FailureReason" in described:
                raise RuntimeError(described["FailureReason"])
            client.wait(f"{kind}_completed_or_stopped", **which)
            statuses[kind] = described[f"{title}Status"]
        return {
            "statuses": statuses,
            "answers": len(client.get(case["bucket"], "answers/question.csv.out").split()),
            "in vain": client.waits_in_vain("endpoint_in_service", EndpointName=f"{name}-nowhere"),
        }

    def errors(self, case: dict[str, Any]) -> dict[str, Any]:
        """Ask for what must be refused."""
        known = {**case, "training": training(case), "taken": taken(case)}
        self._client.call("sagemaker", "create_endpoint_config", **known["taken"]["config"])
        self._client.call("sagemaker", "create_endpoint", **known["taken"]["endpoint"])
        return {
            one.name: self._client.refused(service(one.operation), one.operation, **one.params(known)) for one in CASES
        }
