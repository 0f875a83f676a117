"""IAM as the local stack evaluates it: what a role does not allow is refused, or at least written down."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from local.permissions import Place, needs, of_task
from local.stack import Stack
from tests.stack.conftest import until

HERE = Place("000000000000", "us-east-1")
CODE = """
import boto3
def handler(event, context):
    try:
        getattr(boto3.client(event["service"]), event["call"])(**event["given"])
    except Exception as error:
        return error.response["Error"]["Code"]
    return "done"
"""
MODEL = {"ModelName": "mine-m", "PrimaryContainer": {"Image": "i"}}
ALLOWED = [
    {"Action": ["sagemaker:CreateModel", "sagemaker:DescribeModel"], "Resource": HERE.arn("sagemaker", "model/mine-*")},
    {"Action": "sagemaker:InvokeEndpoint", "Resource": HERE.arn("sagemaker", "endpoint/mine-*")},
    {"Action": "iam:PassRole", "Resource": "arn:aws:iam::000000000000:role/passed"},
    {"Action": "cloudwatch:DescribeAlarms", "Resource": HERE.arn("cloudwatch", "alarm:mine-*")},
    {
        "Action": "cloudwatch:PutMetricData", "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": "Mine"}},
    },
    {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"},
]  # fmt: skip
REFUSED = "AccessDenied"


class Guarded:
    """A stack that evaluates IAM, with one function and its role."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        trust = {"Statement": {"Effect": "Allow", "Principal": {"Service": "*"}, "Action": "sts:AssumeRole"}}
        iam = stack.client("iam")
        for name, allowed in (("caller", ALLOWED), ("passed", []), ("other", [])):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
            statements = [{"Effect": "Allow", **one} for one in allowed]
            if statements:
                iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": statements}))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.py", CODE)
        self.function = stack.client("lambda").create_function(
            FunctionName="calls", Runtime="python3.13", Handler="app.handler", Timeout=30,
            Role="arn:aws:iam::000000000000:role/caller", Code={"ZipFile": packed.getvalue()},
        )["FunctionArn"]  # fmt: skip
        s3 = stack.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="there", Body=b"x")
        tls = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*"}
        tls["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}  # type: ignore[assignment]
        s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Statement": tls}))

    def call(self, service: str, call: str, **given: Any) -> str:
        """Return the error code that the function's call got, or `done`."""
        event = json.dumps({"service": service, "call": call, "given": given})
        answer = self.stack.client("lambda").invoke(FunctionName="calls", Payload=event)
        return str(json.loads(answer["Payload"].read()))

    def book(self) -> list[tuple[str, str, bool]]:
        """Return (role, action, allowed) of every call written down."""
        lines = self.stack.state.with_name("calls.jsonl").read_text().splitlines()
        return [(one["role"], one["action"], one["allowed"]) for one in map(json.loads, lines)]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Stack.start(rate=60, state=tmp_path_factory.mktemp("guarded") / "stack.json", permissions=True) as stack:
        yield Guarded(stack)


@pytest.mark.parametrize(
    ("service", "call", "given", "expected"),
    [
        ("sagemaker", "describe_model", {"ModelName": "mine-none"}, "ValidationException"),
        ("sagemaker", "describe_model", {"ModelName": "yours"}, REFUSED),
        ("sagemaker", "create_model", MODEL | {"ExecutionRoleArn": "arn:aws:iam::000000000000:role/passed"}, "done"),
        ("sagemaker", "create_model", MODEL | {"ExecutionRoleArn": "arn:aws:iam::000000000000:role/other"}, REFUSED),
        ("sagemaker", "create_model", MODEL | {"Tags": [{"Key": "a", "Value": "b"}]}, REFUSED),
        ("sagemaker", "stop_training_job", {"TrainingJobName": "mine-j"}, REFUSED),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "mine-e", "Body": "1"}, "ValidationError"),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "yours", "Body": ""}, REFUSED),
        ("cloudwatch", "describe_alarms", {"AlarmNames": ["mine-a"]}, "done"),
        ("cloudwatch", "describe_alarms", {"AlarmNames": ["mine-a", "yours"]}, REFUSED),
        ("cloudwatch", "put_metric_data", {"Namespace": "Mine", "MetricData": [{"MetricName": "m", "Value": 1}]}, "done"),
        ("cloudwatch", "put_metric_data", {"Namespace": "Yours", "MetricData": [{"MetricName": "m", "Value": 1}]}, REFUSED),
        ("s3", "get_object", {"Bucket": "bucket", "Key": "there"}, "done"),
        ("s3", "put_object", {"Bucket": "bucket", "Key": "there", "Body": "y"}, REFUSED),
        (
            "application-autoscaling", "deregister_scalable_target",
            {
                "ServiceNamespace": "sagemaker", "ResourceId": "endpoint/mine-e/variant/v",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            },
            REFUSED,
        ),
    ],
)  # fmt: skip
def test_a_function_gets_what_its_role_allows_and_nothing_else(
    guarded: Guarded, service: str, call: str, given: dict[str, Any], expected: str
) -> None:
    code = guarded.call(service, call, **given)

    assert code.startswith(expected)
    action = f"{service.removesuffix('-runtime')}:{''.join(map(str.capitalize, call.split('_')))}"
    assert any(seen == action for _, seen, _ in guarded.book())


def test_an_object_that_is_not_there_asks_for_the_right_to_list_the_bucket(guarded: Guarded) -> None:
    assert guarded.call("s3", "get_object", Bucket="bucket", Key="not-there") == "NoSuchKey"

    assert ("caller", "s3:ListBucket", False) in guarded.book()


def test_what_a_state_machines_role_does_not_allow_is_written_down(guarded: Guarded) -> None:
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    task["Arguments"] = {"FunctionName": guarded.function, "Payload": {"service": "sts", "call": "x", "given": {}}}  # type: ignore[assignment]
    definition = {"QueryLanguage": "JSONata", "StartAt": "Do", "States": {"Do": task}}
    states = guarded.stack.client("stepfunctions")
    machine = states.create_state_machine(
        name="m", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/other"
    )["stateMachineArn"]
    states.start_execution(stateMachineArn=machine)

    until(lambda: ("other", "lambda:InvokeFunction", False) in guarded.book())


def test_a_root_key_is_not_written_down(guarded: Guarded) -> None:
    guarded.stack.client("sqs").create_queue(QueueName="q")

    assert not [seen for seen in guarded.book() if seen[1].startswith("sqs:")]


def test_an_operation_whose_resource_is_not_known_is_an_error_not_a_pass() -> None:
    with pytest.raises(ValueError, match="sagemaker:ListEndpoints"):
        needs("sagemaker", "ListEndpoints", {}, HERE)
    with pytest.raises(ValueError, match="sqs:sendMessage"):
        of_task("arn:aws:states:::sqs:sendMessage", {}, HERE)


def test_what_starts_an_endpoint_needs_its_config_its_role_and_its_tags() -> None:
    made = needs("sagemaker", "CreateEndpoint", {"EndpointName": "E", "EndpointConfigName": "C", "Tags": [1]}, HERE)

    assert [(need.action, need.resource.rpartition(":")[2]) for need in made] == [
        ("sagemaker:CreateEndpoint", "endpoint/e"),
        ("sagemaker:CreateEndpoint", "endpoint-config/c"),
        ("sagemaker:AddTags", "endpoint/e"),
    ]
