"""SageMaker inside the emulator: the same address, the Step Functions integrations, its neighbours in this process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError
from ministack import app
from ministack.core import responses, router
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge, s3
from ministack.services import stepfunctions as states

from local import autoscaling
from local.clock import WallClock
from local.patches.tools import scope
from local.patches.workflows import attempt
from local.sagemaker.api import service_model
from local.sagemaker.core import ApiError, SageMaker
from local.sagemaker.executor import ProcessExecutor

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.05
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
_TARGET = "SageMaker."
_LOCAL = "Local:"
TROUBLES = ("interrupt_training_job", "fail_next_rollback", "system_update", "refuse_calls", "lose_answers")
"""What only fate does on AWS, and a person may ask for here: methods of the local SageMaker that no API has."""
_OPTIMISED = {
    "createTrainingJob": "TrainingJob",
    "createProcessingJob": "ProcessingJob",
    "createTransformJob": "TransformJob",
    "createHyperParameterTuningJob": "HyperParameterTuningJob",
    "createModel": "",
    "createEndpointConfig": "",
    "createEndpoint": "",
    "updateEndpoint": "",
    "addTags": "",
}
"""Operation -> the kind of job that its `.sync` form waits for."""


class Neighbours:
    """S3, EventBridge, CloudWatch, Logs and Auto Scaling of one account and region, inside this process (ports.Aws)."""

    def __init__(self, account: str, region: str) -> None:
        self._where = (account, region)

    def get_object(self, uri: str) -> bytes:
        """Return the object at `s3://bucket/key`. Raises FileNotFoundError."""
        bucket, key = _bucket_and_key(uri)
        status, _, body = self._s3("GET", bucket, key)
        if status != 200:  # noqa: PLR2004
            raise FileNotFoundError(uri)
        return bytes(body)

    def put_object(self, uri: str, body: bytes) -> None:
        """Write the object at `s3://bucket/key`. Raises FileNotFoundError when there is no such bucket."""
        bucket, key = _bucket_and_key(uri)
        status, _, answer = self._s3("PUT", bucket, key, body)
        if status != 200:  # noqa: PLR2004
            raise FileNotFoundError(f"{uri}: {answer!r}")

    def list_objects(self, uri: str) -> Sequence[str]:
        """Return the URIs of all objects under an S3 prefix, sorted."""
        name, prefix = _bucket_and_key(uri)
        with scope(*self._where):
            bucket = s3._ensure_bucket(name)
            keys = [] if bucket is None else [key for key in list(bucket["objects"]) if key.startswith(prefix)]
        return [f"s3://{name}/{key}" for key in sorted(keys)]

    def put_event(self, detail_type: str, detail: Mapping[str, Any], resource_arn: str) -> None:
        """Emit an event with source `aws.sagemaker` on the default bus."""
        entry = {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": [resource_arn],
        }
        with scope(*self._where):
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str], at: datetime
    ) -> None:
        """Record one CloudWatch datum."""
        with scope(*self._where):
            cloudwatch._store_datum(namespace, name, dict(dimensions), at.timestamp(), unit, value, None, None, None)

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return name -> OK | ALARM | INSUFFICIENT_DATA of those alarms that exist."""
        with scope(*self._where):
            found = {name: cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name) for name in names}
        return {name: str(alarm["StateValue"]) for name, alarm in found.items() if alarm}

    def scaled_variants(self, endpoint: str) -> Sequence[str]:
        """Return the variants of an endpoint that are scalable targets."""
        return autoscaling.here(*self._where).scaled_variants(endpoint)

    def forget_targets(self, endpoint: str) -> None:
        """Deregister all variants of an endpoint as scalable targets."""
        autoscaling.here(*self._where).forget(endpoint)

    def put_logs(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """Append lines to a log stream, creating group and stream when absent."""
        now = int(time.time() * 1000)
        with scope(*self._where):
            cloudwatch_logs._create_log_group({"logGroupName": group})
            cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})
            events = [{"timestamp": now, "message": line} for line in lines]
            cloudwatch_logs._put_log_events({"logGroupName": group, "logStreamName": stream, "logEvents": events})

    def _s3(self, method: str, bucket: str, key: str, body: bytes = b"") -> Any:
        # On the server's own thread, as any request: the emulator's S3 is not made for several threads.
        with scope(*self._where):
            path = f"/{bucket}/{key}"
            headers = {"host": "127.0.0.1", "authorization": "AWS4-HMAC-SHA256 Credential=test/x/x/s3/aws4_request"}
            return app.call_service_handler_sync(app.SERVICE_HANDLERS["s3"], method, path, headers, body, {})


def register(clock: WallClock, build: Path) -> Callable[[], None]:
    """Add SageMaker to this process's emulator; returns what ends its jobs and workers."""
    made: dict[tuple[str, str], SageMaker] = {}
    executors: list[ProcessExecutor] = []
    making = threading.Lock()

    def here() -> SageMaker:
        """Return the SageMaker of the account and region that the current request is for."""
        account, region = where = (responses.get_account_id(), responses.get_region())
        with making:
            if where not in made:
                aws = Neighbours(account, region)
                keys = {"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": region}
                own = f"http://127.0.0.1:{app._resolve_port()}"
                keys |= {"AWS_REGION": region, "AWS_ENDPOINT_URL": os.environ.get("AWS_ENDPOINT_URL", own)}
                executors.append(ProcessExecutor(aws, build / "sagemaker" / f"{account}-{region}", credentials=keys))
                made[where] = SageMaker(clock=clock, aws=aws, executor=executors[-1], account=account, region=region)
        return made[where]

    router.SERVICE_PATTERNS["sagemaker"] = {
        "target_prefixes": ["SageMaker"],
        "host_patterns": [r"sagemaker\."],
        "credential_scope": "sagemaker",
    }
    app.SERVICE_HANDLERS["sagemaker"] = _handler(here)
    _integrate(here)

    def close() -> None:
        for sagemaker in made.values():
            sagemaker.close()
        for executor in executors:
            executor.close()

    return close


# ----------------------------------------------------------------------------------------------------------- HTTP
def _handler(here: Callable[[], SageMaker]) -> Callable[..., Any]:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, _query: Any) -> Any:
        # In a thread: SageMaker calls back into services that this thread's loop serves.
        return await asyncio.to_thread(answer, method, path, headers, body)

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        invocation = _INVOCATION.fullmatch(path)
        try:
            if invocation and method == "POST":
                result = here().invoke_endpoint(unquote(invocation[1]), bytes(body), headers)
                return result.status, result.headers, result.body
            operation = headers.get("x-amz-target", "").removeprefix(_TARGET)
            params = json.loads(body or b"{}")
            if operation.startswith(_LOCAL):
                return _json(200, _befall(here(), operation.removeprefix(_LOCAL), params))
            return _json(200, here().call(operation, params))
        except ApiError as error:
            status, headers, text = _json(error.status, _error(error))
            return status, headers | {"x-amzn-errortype": error.code}, text

    return handle


def _befall(sagemaker: SageMaker, trouble: str, params: Mapping[str, Any]) -> dict[str, Any]:
    if trouble not in TROUBLES:
        raise ApiError("UnknownOperationException", f"{trouble!r} is none of {', '.join(TROUBLES)}")
    getattr(sagemaker, trouble)(**params)
    return {}


def _json(status: int, document: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(document).encode()


def _error(error: ApiError) -> dict[str, Any]:
    return {"__type": error.code, "message": error.message, "Message": error.message, **error.fields}


# ------------------------------------------------------------------------------------------------- Step Functions
def _integrate(here: Callable[[], SageMaker]) -> None:
    states._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    states._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"
    dispatch = states._dispatch_aws_sdk_json

    def dispatch_named_as_java(info: Any, service: str, action: str, arguments: Any) -> Any:
        try:
            return dispatch(info, service, action, arguments)
        except states._ExecutionError as error:
            if service == "sagemaker":
                code = error.error.removeprefix("SageMaker.")
                raise states._ExecutionError(error_name(code, "SageMakerException"), error.cause) from None
            raise

    states._dispatch_aws_sdk_json = dispatch_named_as_java
    for action, job in _OPTIMISED.items():
        # Longer names first where one is the beginning of another: the emulator takes the first that fits.
        states._SERVICE_DISPATCH[f"arn:aws:states:::sagemaker:{action}"] = _optimised(here, action, job)
    ordered = sorted(states._SERVICE_DISPATCH.items(), key=lambda item: -len(item[0]))
    states._SERVICE_DISPATCH.clear()
    states._SERVICE_DISPATCH.update(ordered)


def error_name(code: str, base: str) -> str:
    """Return an API error as Step Functions names it: after the SDK's class for a modelled error, else the base class.

    The optimised integrations use the first SDK for Java (AmazonSageMakerException), aws-sdk the second
    (SageMakerException). What only the local SageMaker lacks is States.Runtime, which no Catch hides.
    """
    if code in {"NotEmulatedException", "States.Runtime"}:
        return "States.Runtime"
    if code in service_model().shape_names:
        return f"SageMaker.{code.removesuffix('Exception')}Exception"
    return f"SageMaker.{base}"


def _optimised(here: Callable[[], SageMaker], action: str, job: str) -> Callable[[str, dict[str, Any]], Any]:
    operation = action[0].upper() + action[1:]

    def call(name: str, params: dict[str, Any], ask: Callable[[str, dict[str, Any]], Any] | None = None) -> Any:
        try:
            return (ask or here().call)(name, params)
        except ApiError as error:
            raise states._ExecutionError(
                error_name(error.code, "AmazonSageMakerException"),
                f"{error.message} (Service: AmazonSageMaker; Status Code: {error.status}; Error Code: {error.code})",
            ) from None

    def run(resource: str, params: dict[str, Any]) -> dict[str, Any]:
        if resource.endswith(".sync") and not job:
            raise states._ExecutionError("States.Runtime", f"{resource}: {action} has no .sync form")
        answer: dict[str, Any] = call(operation, params, _ask_in_front if "AWS_ENDPOINT_URL" in os.environ else None)
        if not resource.endswith(".sync"):
            return answer
        which, mine = {f"{job}Name": params[f"{job}Name"]}, attempt.get()
        while True:
            described = call(f"Describe{job}", which)
            status = described[f"{job}Status"]
            if status in {"Completed", "Failed", "Stopped"}:
                break
            if not mine.wanted:
                call(f"Stop{job}", which)
                raise states._ExecutionError("States.TaskFailed", f"{job} {which[f'{job}Name']} is no longer wanted")
            time.sleep(_LOOK_SECONDS)
        shown: dict[str, Any] = _milliseconds(described, service_model().operation_model(f"Describe{job}").output_shape)
        if status != "Completed":
            raise states._ExecutionError("States.TaskFailed", json.dumps(shown))
        return shown

    return run


def _ask_in_front(operation: str, params: dict[str, Any]) -> Any:
    """Call an operation at AWS_ENDPOINT_URL, where something stands in front of this stack, as an SDK does: with retries.

    Raises:
        ApiError: the last answer's.
    """
    session = boto3.Session(responses.get_account_id(), "test", region_name=responses.get_region())
    sagemaker: Any = session.client("sagemaker")  # a session of its own: branches of a workflow are threads
    try:
        return getattr(sagemaker, xform_name(operation))(**params)
    except ClientError as error:
        answer = error.response
        code, status = answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
        raise ApiError(code, answer["Error"]["Message"], status) from None


def _milliseconds(value: Any, shape: Any) -> Any:
    """Return an answer with its times as `.sync` tasks see them: milliseconds since 1970."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return {
            key: _milliseconds(item, shape.members[key]) if key in shape.members else item
            for key, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, Sequence):
        return [_milliseconds(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: _milliseconds(item, shape.value) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return int(value * 1000)
    return value


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        message = f"{uri!r} is not an S3 URI (s3://bucket/key)"
        raise ValueError(message)
    return bucket, key
