"""SageMaker in one plain object: no server, no thread, no process of its own, nothing kept on disk."""

from __future__ import annotations

import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from botocore import xform_name

from local.sagemaker.api import ApiError, check_request, invalid, not_emulated
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.experiments import Experiments
from local.sagemaker.hosting import EndpointConfigs, Models
from local.sagemaker.jobs import Jobs
from local.sagemaker.ports import Aws, Clock, Executor
from local.sagemaker.records import Tags
from local.sagemaker.registry import Registry
from local.sagemaker.runtime import InvokeResult, Runtime
from local.sagemaker.tuning import Tunings
from local.sagemaker.world import Timings, World

__all__ = ["ApiError", "InvokeResult", "SageMaker", "Timings"]

_REFUSALS = {
    "ThrottlingException": "Rate exceeded",
    "ResourceLimitExceeded": "The account-level service limit 'ml.m5.xlarge for training job usage' is 0 Instances, with "
    "current utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request an "
    "increase for this quota.",
    "AccessDeniedException": "User is not authorized to perform this action because no identity-based policy allows it",
}
"""What AWS says to an account that calls too often, has too few instances, or may not do this."""
_VERBS = ("Create", "Describe", "List", "Update", "Delete", "Stop", "Add", "Associate", "Disassociate")


class SageMaker:
    """SageMaker's control plane and runtime for one account and region, thread-safe.

    Args:
        clock: the wall clock and its waiting.
        aws: S3, EventBridge, CloudWatch and Logs.
        executor: runs jobs and models.
        region: in ARNs.
        account: in ARNs.
        rng: draws variants, sampling, ids and duplicates; seed it for a repeatable run.
        duplicate_events: probability that an event comes twice.
        timings: how long SageMaker's own transitions take, in wall-clock seconds.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        aws: Aws,
        executor: Executor,
        region: str = "us-east-1",
        account: str = "000000000000",
        rng: random.Random | None = None,
        duplicate_events: float = 0.0,
        timings: Timings | None = None,
    ) -> None:
        rng, timings = rng or random.Random(), timings or Timings()
        self._world = World(clock, aws, executor, region, account, rng, duplicate_events, timings)
        registry = Registry(self._world)
        models = Models(self._world, registry)
        configs = EndpointConfigs(self._world, models)
        self._endpoints = Endpoints(self._world, configs)
        experiments = Experiments(self._world)
        self._jobs = Jobs(self._world, models.definition, experiments)
        self._runtime = Runtime(self._world, self._endpoints)
        self._refused: dict[str, list[str]] = {}
        self._unheard: dict[str, int] = {}
        tunings, tags = Tunings(self._world, self._jobs), Tags(self._world)
        self._services = (registry, models, configs, self._endpoints, self._jobs, tunings, tags, experiments)

    def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Carry out a control-plane operation such as `CreateEndpoint`; times in the answer are epoch seconds.

        Raises:
            ApiError: UnknownOperationException; NotEmulatedException for an operation that only AWS has;
                ValidationException naming field, value and what is allowed; ResourceInUse and the others of the API.
        """
        check_request(operation, params)
        self._refuse(operation)
        if self._is_unheard(operation):
            self._carry_out(operation, params)  # nobody hears the answer, and so the caller's SDK asks again
        return self._carry_out(operation, params)

    def _carry_out(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if not operation.startswith(_VERBS):
            raise not_emulated(operation)
        method = xform_name(operation)
        for service in self._services:
            if hasattr(service, method):
                with self._world.locked():
                    answer: dict[str, Any] = deepcopy(getattr(service, method)(deepcopy(params)))
                return answer
        raise not_emulated(operation)

    def invoke_endpoint(self, endpoint: str, body: bytes, headers: Mapping[str, str]) -> InvokeResult:
        """Answer InvokeEndpoint of sagemaker-runtime; header names in lower case.

        Raises:
            ApiError: ValidationError, ModelError (424 with OriginalStatusCode, OriginalMessage, LogStreamArn), 413.
        """
        return self._runtime.invoke(endpoint, body, headers)

    def refuse_calls(self, operation: str, code: str, times: int) -> None:
        """Let the next calls of an operation be refused, as those of a busy, a full or a barred account are.

        Raises:
            ApiError: for another code than ThrottlingException, ResourceLimitExceeded and AccessDeniedException.
        """
        if code not in _REFUSALS:
            raise invalid(f"code {code!r} is not one that fate hands out: allowed are {', '.join(_REFUSALS)}")
        with self._world.locked():
            self._refused[operation] = [code] * int(times)

    def lose_answers(self, operation: str, times: int) -> None:
        """Let the answers to the next calls of an operation be lost: each is asked again at once, as every SDK does."""
        with self._world.locked():
            self._unheard[operation] = int(times)

    def _is_unheard(self, operation: str) -> bool:
        with self._world.locked():
            left = self._unheard.pop(operation, 0)
            if left > 1:
                self._unheard[operation] = left - 1
            return left > 0

    def _refuse(self, operation: str) -> None:
        with self._world.locked():
            if waiting := self._refused.get(operation):
                code = waiting.pop()
                raise ApiError(code, _REFUSALS[code])

    def interrupt_training_job(self, name: str) -> None:
        """Take a running spot training job's instance away, as EC2 may at any time."""
        with self._world.locked():
            self._jobs.interrupt(name)

    def fail_next_rollback(self, endpoint: str) -> None:
        """Let the endpoint's next rollback fail: UpdateRollbackFailed, in service with a mix of both fleets."""
        with self._world.locked():
            self._endpoints.fail_next_rollback(endpoint)

    def system_update(self, endpoint: str, seconds: float) -> None:
        """Put an endpoint into SystemUpdating for some wall-clock seconds, as SageMaker's patching does."""
        with self._world.locked():
            self._endpoints.system_update(endpoint, seconds)

    def close(self) -> None:
        """Write what is buffered, stop the jobs and end the workers."""
        with self._world.locked():
            self._runtime.close()
            self._world.closed = True
            self._jobs.close()
            self._endpoints.close()
