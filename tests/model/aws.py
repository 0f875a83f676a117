"""boto3's clients as the model tests see them: SageMaker over the local core, the others as small as the gateways need."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import botocore.session
from botocore import xform_name

from linnet.gateways import ledger
from local.sagemaker.api import ApiError
from tests.sagemaker.doubles import Datum

if TYPE_CHECKING:
    from tests.model.world import World

MODEL, STACK = "flights", "linnet"
ENDPOINT = GROUP = f"{STACK}-{MODEL}"
CHANGES = ("CreateEndpoint", "UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "DeleteEndpoint")
ARN = "arn:aws:states:us-east-1:000000000000:execution:linnet"


class Lost(botocore.exceptions.ConnectionClosedError):
    """The call was carried out, its answer never came."""

    def __init__(self) -> None:
        super().__init__(endpoint_url="sagemaker")


def refusal(code: str, operation: str, message: str = "refused") -> botocore.exceptions.ClientError:
    """Return an AWS error."""
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass
class Change:
    """A change of the endpoint that SageMaker accepted."""

    operation: str
    request: dict[str, Any]
    fence: int
    """Of who made it."""
    newest: int
    """The highest fence that had been given out then."""


@cache
def _operations() -> dict[str, str]:
    names = botocore.session.get_session().get_service_model("sagemaker").operation_names
    return {xform_name(name): name for name in names}


class SageMakerClient:
    """boto3's client of SageMaker, over the core."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._operations = _operations()

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        if method.startswith("_") or method not in self._operations:
            raise AttributeError(method)
        operation = self._operations[method]

        def call(**request: Any) -> dict[str, Any]:
            if operation == "UpdateEndpoint":
                self._world.check_scaling(request)
            try:
                answer = self._world.lab.call(operation, **request)
            except ApiError as error:
                raise refusal(error.code, operation, error.message) from None
            if operation in CHANGES:
                lease = ledger.read(f"endpoint/{ENDPOINT}", "lease") or {}
                self._world.changes.append(Change(operation, request, self._world.actor, int(lease["fence"])))
            if self._world.lose == operation:
                self._world.lose = ""
                raise Lost
            return answer

        return call


class RuntimeClient:
    """boto3's client of sagemaker-runtime."""

    def __init__(self, world: World) -> None:
        self._world = world

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        """Ask the endpoint."""
        headers = {"target_variant": request["TargetVariant"]} if "TargetVariant" in request else {}
        wire = {f"x_amzn_sagemaker_{name}": value for name, value in headers.items()}
        try:
            answer = self._world.lab.invoke(request["EndpointName"], request["Body"], **wire)
        except ApiError as error:
            raise refusal(error.code, "InvokeEndpoint", error.message) from None
        return {"Body": BytesIO(answer.body)}


def statistic(name: str, values: list[float]) -> float:
    """Return a CloudWatch statistic of a period's datapoints."""
    if name.startswith("TC("):
        return float(sum(value > float(name[3:-2]) for value in values))
    known = {"Sum": sum(values), "SampleCount": len(values), "p99": sorted(values)[int(0.99 * len(values))]}
    return float(known[name])


class CloudWatchClient:
    """boto3's client of CloudWatch: metrics as kept by the lab; Linnet's verdict alarm is judged at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.requests: dict[str, dict[str, Any]] = {}
        self.broken = False
        self._series: dict[tuple[Any, ...], list[tuple[datetime, float]]] = {}
        self._sorted = 0

    def _points(self, name: str, dimensions: Mapping[str, str]) -> list[tuple[datetime, float]]:
        metrics = self._world.lab.aws.metrics
        for datum in metrics[self._sorted :]:
            self._series.setdefault((datum.name, *sorted(datum.dimensions.items())), []).append((datum.at, datum.value))
        self._sorted = len(metrics)
        return self._series.get((name, *sorted(dimensions.items())), [])

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        """Read the statistics that Linnet asks for."""
        if self.broken:
            raise refusal("AccessDenied", "GetMetricData")
        results = []
        for query in request["MetricDataQueries"]:
            stat = query["MetricStat"]
            dimensions = {d["Name"]: d["Value"] for d in stat["Metric"]["Dimensions"]}
            points: dict[datetime, list[float]] = {}
            for at, value in self._points(stat["Metric"]["MetricName"], dimensions):
                if request["StartTime"] <= at < request["EndTime"]:
                    points.setdefault(at.replace(second=0, microsecond=0), []).append(value)
            values = [statistic(stat["Stat"], found) for found in points.values()]
            results.append({"Id": query["Id"], "Timestamps": list(points), "Values": values, "StatusCode": "Complete"})
        return {"MetricDataResults": results}

    def put_metric_data(self, **request: Any) -> None:
        """Keep data; raise the alarms that look at it."""
        for datum in request["MetricData"]:
            dimensions = {d["Name"]: d["Value"] for d in datum["Dimensions"]}
            now = self._world.lab.clock.now()
            self._world.lab.aws.metrics.append(
                Datum(request["Namespace"], datum["MetricName"], datum["Value"], "None", dimensions, now)
            )
            for name, alarm in self.requests.items():
                watched = {d["Name"]: d["Value"] for d in alarm["Dimensions"]}
                if (alarm["MetricName"], watched) == (datum["MetricName"], dimensions):
                    raised = datum["Value"] >= alarm["Threshold"]
                    self._world.lab.aws.alarms[name] = "ALARM" if raised else "OK"

    def put_metric_alarm(self, **request: Any) -> None:
        """Keep an alarm."""
        self.requests[request["AlarmName"]] = request
        self._world.lab.aws.alarms.setdefault(request["AlarmName"], "INSUFFICIENT_DATA")

    def describe_alarms(self, **request: Any) -> dict[str, Any]:
        """Show alarms."""
        states = self._world.lab.aws.alarm_states(request["AlarmNames"])
        return {"MetricAlarms": [{"AlarmName": name, "StateValue": state} for name, state in states.items()]}

    def delete_alarms(self, **request: Any) -> None:
        """Forget alarms."""
        for name in request["AlarmNames"]:
            self.requests.pop(name, None)
            self._world.lab.aws.alarms.pop(name, None)


class StatesClient:
    """boto3's client of Step Functions: which executions run, which tokens wait."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.ended: set[str] = set()
        self.started: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        """Token -> waiting, done or late."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.lose = False

    def start_execution(self, **request: Any) -> dict[str, Any]:
        """Start an execution; a name once."""
        if request["name"] in self.started:
            raise refusal("ExecutionAlreadyExists", "StartExecution")
        self.started[request["name"]] = {"machine": request["stateMachineArn"], "input": json.loads(request["input"])}
        return {"executionArn": f"{ARN}:{request['name']}"}

    def describe_execution(self, **request: Any) -> dict[str, Any]:
        """Say whether an execution runs."""
        if request["executionArn"] not in self.running | self.ended:
            raise refusal("ExecutionDoesNotExist", "DescribeExecution")
        return {"status": "RUNNING" if request["executionArn"] in self.running else "ABORTED"}

    def send_task_success(self, **request: Any) -> None:
        """Answer a waiting task, once."""
        state = self.tokens.get(request["taskToken"])
        if state != "waiting":
            raise refusal(
                {"late": "TaskTimedOut", "done": "TaskDoesNotExist"}.get(state or "", "InvalidToken"), "SendTaskSuccess"
            )
        self.tokens[request["taskToken"]] = "done"
        self.answers[request["taskToken"]] = json.loads(request["output"])
        if self.lose:
            self.lose = False
            raise Lost


class ScalingClient:
    """boto3's client of Application Auto Scaling."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.targets: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, list[dict[str, Any]]] = {}

    def describe_scalable_targets(self, **request: Any) -> dict[str, Any]:
        """Show targets."""
        return {"ScalableTargets": [self.targets[name] for name in request["ResourceIds"] if name in self.targets]}

    def register_scalable_target(self, **request: Any) -> None:
        """Keep a target; only a variant that is there can be one."""
        if request["ResourceId"].rpartition("/")[2] not in self._world.types(self._world.config()):
            raise refusal("ValidationException", "RegisterScalableTarget", "no such variant")
        self.targets[request["ResourceId"]] = request

    def deregister_scalable_target(self, **request: Any) -> None:
        """Forget a target and its policies."""
        del self.targets[request["ResourceId"]]
        self.policies.pop(request["ResourceId"], None)

    def describe_scaling_policies(self, **request: Any) -> dict[str, Any]:
        """Show policies."""
        return {"ScalingPolicies": self.policies.get(request["ResourceId"], [])}

    def put_scaling_policy(self, **request: Any) -> None:
        """Keep a policy under its name."""
        others = [p for p in self.policies.get(request["ResourceId"], []) if p["PolicyName"] != request["PolicyName"]]
        self.policies[request["ResourceId"]] = [*others, request]


class Tapped:
    """A client whose every call a test may see, and fail, before and after it is carried out."""

    def __init__(self, inner: Any, tap: Callable[[str, str], None]) -> None:
        self._inner, self._tap = inner, tap

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._inner, method)

        def tapped(**request: Any) -> Any:
            self._tap(method, "before")
            answer = call(**request)
            self._tap(method, "after")
            return answer

        return tapped if callable(call) else call
