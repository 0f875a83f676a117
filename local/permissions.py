"""IAM in the local stack: each call is held against the policies of its caller's role and written down.

The emulator evaluates what Lambda functions call over HTTP (emulation.md section 10). Here it also learns what it does not
know: the resources of SageMaker, Application Auto Scaling and alarms, PassRole and tags inside a request, the bucket that
must be listable for "not found", and the roles of state machines, whose calls it makes in this process without a look.
"""

from __future__ import annotations

import contextvars
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

_KINDS = {
    "Endpoint": "endpoint",
    "EndpointConfig": "endpoint-config",
    "Experiment": "experiment",
    "HyperParameterTuningJob": "hyper-parameter-tuning-job",
    "Model": "model",
    "ModelPackage": "model-package",
    "ModelPackageGroup": "model-package-group",
    "ProcessingJob": "processing-job",
    "TrainingJob": "training-job",
    "TransformJob": "transform-job",
    "Trial": "experiment-trial",
    "TrialComponent": "experiment-trial-component",
}
"""A SageMaker operation's noun -> the resource type of its ARN (Service Authorization Reference, Amazon SageMaker)."""
_TRIAL = [("experiment-trial", "{TrialName}"), ("experiment-trial-component", "{TrialComponentName}")]
_ENDPOINT = ("endpoint", "{EndpointName}")
_SPECIAL = {
    "AddTags": [("", "{ResourceArn}")],
    "AssociateTrialComponent": _TRIAL,
    "CreateEndpoint": [_ENDPOINT, ("endpoint-config", "{EndpointConfigName}")],
    "CreateModelPackage": [("model-package", "{ModelPackageGroupName}/1")],
    "DisassociateTrialComponent": _TRIAL,
    "InvokeEndpoint": [_ENDPOINT],
    "ListModelPackages": [("model-package", "{ModelPackageGroupName}/*")],
    "ListTags": [("", "{ResourceArn}")],
    "ListTrainingJobsForHyperParameterTuningJob": [("hyper-parameter-tuning-job", "{HyperParameterTuningJobName}")],
    "UpdateEndpoint": [_ENDPOINT, ("endpoint-config", "{EndpointConfigName}")],
    "UpdateEndpointWeightsAndCapacities": [_ENDPOINT],
}
"""Operation -> the resources that it is on, where its noun does not say."""
_OPERATION = re.compile(r"(?:Create|Delete|Describe|Stop|Update)(\w+)")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")


class Need(NamedTuple):
    """One permission that a call needs: an action on a resource, with the request's condition keys."""

    action: str
    resource: str = "*"
    keys: Mapping[str, str] = {}


class Place(NamedTuple):
    """The account and region that a call is for."""

    account: str
    region: str

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a regional resource."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{name}"


def needs(service: str, operation: str, params: Mapping[str, Any], place: Place) -> list[Need]:
    """Return what a request needs, where the emulator's own answer is wrong or missing; nothing where it is right."""
    if service == "sagemaker":
        return list(_sagemaker(operation, params, place))
    if service == "application-autoscaling":
        described = operation.startswith("Describe")
        keys = {"application-autoscaling:service-namespace": str(params.get("ServiceNamespace"))}
        target = place.arn(service, f"scalable-target/{params.get('ResourceId')}")  # AWS has an opaque id there
        return [Need(f"{service}:{operation}") if described else Need(f"{service}:{operation}", target, keys)]
    if service == "monitoring":
        return list(_cloudwatch(operation, params, place))
    if service == "sns" and operation == "SetSubscriptionAttributes":
        return [Need("sns:SetSubscriptionAttributes", str(params["SubscriptionArn"]).rpartition(":")[0])]
    return []


def _sagemaker(operation: str, params: Mapping[str, Any], place: Place) -> Iterator[Need]:
    found = [
        name if name.startswith("arn:") else place.arn("sagemaker", f"{kind}/{name}".lower())
        for kind, name in _named(operation, params)
    ]
    yield from (Need(f"sagemaker:{operation}", arn) for arn in found)
    if params.get("Tags") and operation != "AddTags":
        yield Need("sagemaker:AddTags", found[0])
    trained = params.get("TrainingJobDefinition") or {}
    for role in filter(None, (params.get("RoleArn"), params.get("ExecutionRoleArn"), trained.get("RoleArn"))):
        yield Need("iam:PassRole", str(role), {"iam:PassedToService": "sagemaker.amazonaws.com"})


def _named(operation: str, params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (resource type, name or ARN) of what an operation is on. Raises ValueError for one that is not known here."""
    if operation in _SPECIAL:
        return [(kind, form.format_map(params)) for kind, form in _SPECIAL[operation]]
    noun = _OPERATION.fullmatch(operation)
    if noun is None or noun[1] not in _KINDS:
        raise ValueError(f"sagemaker:{operation}: its resource is not known here; add it to local/permissions.py")
    return [(_KINDS[noun[1]], str(next(params[key] for key in (f"{noun[1]}Name", f"{noun[1]}Arn") if key in params)))]


def _cloudwatch(operation: str, params: Mapping[str, Any], place: Place) -> Iterator[Need]:
    action = f"cloudwatch:{operation}"
    if operation == "PutMetricData":
        yield Need(action, "*", {"cloudwatch:namespace": str(params["Namespace"])})
    elif operation in ("DeleteAlarms", "DescribeAlarms", "PutMetricAlarm"):
        names = [params["AlarmName"]] if "AlarmName" in params else params.get("AlarmNames") or ["*"]
        alarms = [place.arn("cloudwatch", f"alarm:{name}") for name in names]
        yield from (Need(action, alarm) for alarm in alarms)
        if params.get("Tags"):
            yield Need("cloudwatch:TagResource", alarms[0])
    else:
        yield Need(action)


def of_task(resource: str, arguments: Mapping[str, Any], place: Place) -> list[Need]:
    """Return what a task of a state machine needs of the machine's role.

    Raises:
        ValueError: for an integration whose permissions are not known here.
    """
    name = resource.removeprefix("arn:aws:states:::").partition(".")[0]
    if name == "lambda:invoke":
        return [Need("lambda:InvokeFunction", str(arguments["FunctionName"]))]
    if name == "sns:publish":
        return [Need("sns:Publish", str(arguments["TopicArn"]))]
    if name == "states:startExecution":
        return [Need("states:StartExecution", str(arguments["StateMachineArn"]))]
    if name.startswith("sagemaker:"):
        operation = name.partition(":")[2]
        return needs("sagemaker", operation[0].upper() + operation[1:], arguments, place)
    raise ValueError(f"{resource}: its permissions are not known here; add them to local/permissions.py")


class Book:
    """The calls of the stack, each kind once: a JSON line with role, action, resource, condition keys and verdict."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        path.touch()
        self._path = path
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def note(self, role: str, need: Need, allowed: bool) -> None:  # noqa: FBT001 - the line's last field
        """Write a call down, unless an equal one is there."""
        line = json.dumps({"role": role, **need._asdict(), "allowed": allowed})
        with self._lock:
            if line not in self._known:
                self._known.add(line)
                with self._path.open("a") as file:
                    file.write(line + "\n")

    def judge(self, role: str, found: Iterable[Need], place: Place) -> None:
        """Hold calls that this process makes for a role against its policies, and write them down."""
        from ministack.core import iam_evaluator as iam

        policies = iam._gather_role_policies(role, place.account)
        for need in found:
            context = iam.EvalContext(
                f"arn:aws:sts::{place.account}:assumed-role/{role}/machine", "AssumedRole", place.account, need.action,
                need.resource, place.region, service_context={key.lower(): value for key, value in need.keys.items()},
            )  # fmt: skip
            self.note(role, need, iam.evaluate(context, policies).decision == "Allow")


def evaluate(path: Path) -> None:
    """Let this process's emulator evaluate IAM and write all calls to `path`. Call once, before it serves."""
    from ministack import app
    from ministack.core import iam_actions, iam_evaluator

    book = Book(path)
    # On AWS every call is made over TLS, and the bucket's policy refuses others; here the address is a loopback one.
    origin = app.pin_request_origin
    app.pin_request_origin = lambda address, _secure: origin(address, True)  # noqa: FBT003 - the emulator's signature
    iam_actions.SERVICE_TO_IAM_NAMESPACE |= {name: name for name in ("sagemaker", "application-autoscaling")}
    found: contextvars.ContextVar[list[Need]] = contextvars.ContextVar("found")
    name_action, judge = iam_actions.extract_iam_action, iam_evaluator.enforce

    def action(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> str | None:
        invoked = _INVOCATION.fullmatch(path) if service == "sagemaker" else None
        name = "sagemaker:InvokeEndpoint" if invoked else name_action(service, method, path, headers, body, query)
        found.set([])
        if name and _role(app.extract_access_key_id(headers, query)):
            params = {"EndpointName": unquote(invoked[1])} if invoked else _params(body, query)
            found.set(needs(service, name.partition(":")[2], params, _here()))
        return str(name) if name else None

    def enforce(
        key: str, action: str, service: str, region: str, resource_arn: str = "*", service_context: Any = None
    ) -> Any:
        wanted = found.get([]) or [Need(action, resource_arn)]
        found.set([])
        role, refused = _role(key), None
        for need in wanted:
            keys = {**(service_context or {}), **need.keys}
            denied = judge(key, need.action, service, region, need.resource, keys)
            refused = refused or denied
            if role:
                book.note(role, need, denied is None)
        return refused

    iam_actions.extract_iam_action, iam_evaluator.enforce = action, enforce
    _missing_objects(book)
    _machines(book)
    _failures(book)
    _schedules(book)


def _missing_objects(book: Book) -> None:
    """S3 says "not found" only to those who may list the bucket, to others "forbidden" (API reference, GetObject)."""
    from ministack import app

    serve = app.SERVICE_HANDLERS["s3"]

    async def answer(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
        answered = await serve(method, path, headers, body, query)
        role = _role(app.extract_access_key_id(headers, query))
        if role and answered[0] == 404 and method in ("GET", "HEAD"):  # noqa: PLR2004 - HTTP
            bucket = path.strip("/").partition("/")[0]
            book.judge(role, [Need("s3:ListBucket", f"arn:aws:s3:::{bucket}")], _here())
        return answered

    app.SERVICE_HANDLERS["s3"] = answer


def _machines(book: Book) -> None:
    """What a state machine's tasks and Distributed Maps call, its role must allow; the emulator does not look."""
    from ministack.services import stepfunctions as states

    from local.patches.workflows import attempt

    invoke, read, run_map = states._invoke_resource, states._s3_object_text, states._run_distributed_map
    mapping: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("mapping")

    def note(execution: Mapping[str, Any], *found: Need) -> None:
        machine = execution["stateMachineArn"].partition("/")[0]
        book.judge(states._state_machines[machine]["roleArn"].rpartition("/")[2], found, _here())

    def task(resource: str, arguments: Any) -> Any:
        note(attempt.get().execution, *of_task(resource, arguments, _here()))
        return invoke(resource, arguments)

    def read_items(bucket: str, key: str) -> Any:
        note(mapping.get(), Need("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}"))
        return read(bucket, key)

    def distributed(state: Any, given: Any, effective: Any, iterator: Any, execution: Any, context: Any) -> Any:
        mapping.set(execution)
        note(execution, Need("states:StartExecution", execution["stateMachineArn"].partition("/")[0]))
        return run_map(state, given, effective, iterator, execution, context)

    states._invoke_resource, states._s3_object_text, states._run_distributed_map = task, read_items, distributed


def _failures(book: Book) -> None:
    """A function's failure destination is written to with the function's own role."""
    from ministack.services import lambda_svc

    route = lambda_svc._route_async_failure

    def send(target: str, function: str, event: Any, result: Any) -> None:
        role = lambda_svc._functions[function]["config"]["Role"].rpartition("/")[2]
        book.judge(role, [Need("sqs:SendMessage", target)], _here())
        route(target, function, event, result)

    lambda_svc._route_async_failure = send


def _schedules(book: Book) -> None:
    """A schedule starts its target with the role that it names."""
    from ministack.services import eventbridge

    invoke = eventbridge._invoke_target

    def start(target: Mapping[str, Any], event: Any, rule: Any, view: Any = None) -> None:
        if target.get("RoleArn") and ":stateMachine:" in target["Arn"]:
            book.judge(target["RoleArn"].rpartition("/")[2], [Need("states:StartExecution", target["Arn"])], _here())
        invoke(target, event, rule, view)

    eventbridge._invoke_target = start


def _here() -> Place:
    from ministack.core import responses

    return Place(responses.get_account_id(), responses.get_region())


def _role(key: str) -> str:
    """Return the role whose temporary key this is; empty for the root key of people and tests."""
    from ministack.services import sts

    arn = str((sts._sessions.get(key) or {}).get("Arn", ""))
    return arn.split("/")[1] if ":assumed-role/" in arn else ""


def _params(body: bytes, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request's parameters: a JSON body, or the form of the query protocol."""
    if body[:1] == b"{":
        return dict(json.loads(body))
    return {key: value[0] if isinstance(value, list) else value for key, value in query.items()}
