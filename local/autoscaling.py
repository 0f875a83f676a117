"""Application Auto Scaling's control plane in the emulator: targets and policies are kept and shown; nothing scales.

One worker answers for all instances of a variant, so there is nothing to scale on this machine; what a caller registers
and takes away is what Linnet's ladder depends on.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from ministack import app
from ministack.core import responses, router

_TARGET = "AnyScaleFrontendService."
_Key = tuple[str, ...]


def _of(endpoint: str) -> str:
    return f"endpoint/{endpoint}/variant/"


class RefusedError(Exception):
    """An error of the API: its code and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AutoScaling:
    """The scalable targets and scaling policies of one account and region."""

    def __init__(self) -> None:
        self._targets: dict[_Key, dict[str, Any]] = {}
        self._policies: dict[_Key, dict[str, Any]] = {}

    @staticmethod
    def _key(params: Mapping[str, Any]) -> _Key:
        return params["ServiceNamespace"], params["ResourceId"], params["ScalableDimension"]

    def _target(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if self._key(params) not in self._targets:
            raise RefusedError("ObjectNotFoundException", f"No scalable target registered for {self._key(params)}")
        return self._targets[self._key(params)]

    def register_scalable_target(self, params: dict[str, Any]) -> dict[str, Any]:
        """Add a target or change its limits."""
        known = self._targets.get(self._key(params), {"CreationTime": time.time()})
        merged = {**known, **params}
        if not {"MinCapacity", "MaxCapacity"} <= set(merged) or merged["MinCapacity"] > merged["MaxCapacity"]:
            raise RefusedError(
                "ValidationException", "A target needs MinCapacity and MaxCapacity, the first not larger"
            )
        self._targets[self._key(params)] = merged
        return {}

    def deregister_scalable_target(self, params: dict[str, Any]) -> dict[str, Any]:
        """Take a target away, and its policies with it."""
        self._target(params)
        del self._targets[self._key(params)]
        self._policies = {key: row for key, row in self._policies.items() if key[1:] != self._key(params)}
        return {}

    def describe_scalable_targets(self, params: dict[str, Any]) -> dict[str, Any]:
        """Show the targets asked for."""
        return {"ScalableTargets": self._shown(self._targets, params, "ResourceIds", "ResourceId")}

    def put_scaling_policy(self, params: dict[str, Any]) -> dict[str, Any]:
        """Add a policy to a target, or replace the one of this name."""
        self._target(params)
        arn = f"arn:aws:autoscaling:{responses.get_region()}:{responses.get_account_id()}:scalingPolicy:{uuid.uuid4()}"
        row = {**params, "PolicyARN": arn, "CreationTime": time.time(), "Alarms": []}
        self._policies[params["PolicyName"], *self._key(params)] = row
        return {"PolicyARN": arn, "Alarms": []}

    def describe_scaling_policies(self, params: dict[str, Any]) -> dict[str, Any]:
        """Show the policies asked for."""
        return {"ScalingPolicies": self._shown(self._policies, params, "PolicyNames", "PolicyName")}

    def scaled_variants(self, endpoint: str) -> list[str]:
        """Return the variants of a SageMaker endpoint that are targets."""
        return [
            resource.removeprefix(_of(endpoint))
            for _, resource, _ in self._targets
            if resource.startswith(_of(endpoint))
        ]

    def forget(self, endpoint: str) -> None:
        """Deregister all variants of a SageMaker endpoint, which DeleteEndpoint does."""
        for key in [key for key in self._targets if key[1].startswith(_of(endpoint))]:
            self.deregister_scalable_target(
                dict(zip(("ServiceNamespace", "ResourceId", "ScalableDimension"), key, strict=True))
            )

    @staticmethod
    def _shown(rows: Mapping[_Key, Any], params: Mapping[str, Any], many: str, one: str) -> list[dict[str, Any]]:
        exact = {k: params[k] for k in ("ServiceNamespace", "ResourceId", "ScalableDimension") if k in params}
        found = [row for row in rows.values() if exact.items() <= row.items()]
        return [row for row in found if many not in params or row[one] in params[many]]


_made: dict[tuple[str, str], AutoScaling] = {}


def here(account: str, region: str) -> AutoScaling:
    """Return the Application Auto Scaling of an account and region in this process."""
    return _made.setdefault((account, region), AutoScaling())


def register() -> None:
    """Add Application Auto Scaling to this process's emulator."""
    model = ServiceModel(Loader().load_service_model("application-autoscaling", "service-2"))

    def operation(target: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        mine = here(responses.get_account_id(), responses.get_region())
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in target).lstrip("_")
        if target not in model.operation_names or not hasattr(mine, name):
            raise RefusedError("UnknownOperationException", f"{target} is not emulated")
        found: Callable[[dict[str, Any]], dict[str, Any]] = getattr(mine, name)
        return found

    def check(target: str, params: dict[str, Any]) -> None:
        shape = model.operation_model(target).input_shape
        wrong = ParamValidator().validate(params, shape) if shape else None
        if wrong and wrong.has_errors():
            raise RefusedError("ValidationException", wrong.generate_report())

    async def handle(_method: str, _path: str, headers: dict[str, str], body: bytes, _query: Any) -> Any:
        target = headers.get("x-amz-target", "").removeprefix(_TARGET)
        try:
            call, params = operation(target), json.loads(body or b"{}")
            check(target, params)
            return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(call(params)).encode()
        except RefusedError as error:
            text = {"__type": error.code, "message": str(error)}
            return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(text).encode()

    router.SERVICE_PATTERNS["application-autoscaling"] = {
        "target_prefixes": ["AnyScaleFrontendService"],
        "host_patterns": [r"application-autoscaling\."],
        "credential_scope": "application-autoscaling",
    }
    app.SERVICE_HANDLERS["application-autoscaling"] = handle
