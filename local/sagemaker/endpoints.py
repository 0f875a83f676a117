"""Endpoints: their states, guarded deployments, automatic rollback, weights and capacities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from local.sagemaker import events, rollout
from local.sagemaker.api import ApiError, invalid, not_emulated, shaped
from local.sagemaker.fleet import Fleet, Variant, build
from local.sagemaker.hosting import EndpointConfigs
from local.sagemaker.records import Record, listing, named
from local.sagemaker.world import World

SERVING = ("InService", "Updating", "RollingBack", "SystemUpdating", "UpdateRollbackFailed")
"""The statuses in which an endpoint answers requests."""
_DELETABLE = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed")
_RETAINABLE = {"DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"}


@dataclass
class Deployment:
    """A new fleet on its way in."""

    fleet: Fleet
    steps: list[rollout.Step]
    config: Mapping[str, Any] | None
    started: float
    share: float = 0.0
    """Of the requests that the new fleet gets, 0 to 1."""
    baked: float = 0.0
    """Wall-clock time at which the current step ends."""

    @property
    def alarms(self) -> list[str]:
        """The alarms that roll it back."""
        rollback = (self.config or {}).get("AutoRollbackConfiguration", {})
        return [alarm["AlarmName"] for alarm in rollback.get("Alarms", ()) if "AlarmName" in alarm]

    @property
    def deadline(self) -> float | None:
        """When MaximumExecutionTimeoutInSeconds is over."""
        policies = [value for name, value in (self.config or {}).items() if name.endswith("UpdatePolicy")]
        longest = policies[0].get("MaximumExecutionTimeoutInSeconds") if policies else None
        return None if longest is None else self.started + longest


@dataclass
class Endpoint:
    """An endpoint: its record, the fleet that serves and the deployment in progress."""

    record: Record
    fleet: Fleet | None = None
    deployment: Deployment | None = None
    rollback_fails: bool = False

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return str(self.record["EndpointName"])

    @property
    def status(self) -> str:
        """The EndpointStatus."""
        return str(self.record["EndpointStatus"])

    def describe(self) -> dict[str, Any]:
        """Return the answer of DescribeEndpoint."""
        answer = shaped("DescribeEndpoint", self.record)
        if self.fleet:
            answer |= self.fleet.describe()
            if capture := self.fleet.capture:
                on = capture.get("EnableCapture", False)
                answer["DataCaptureConfig"] = {
                    "EnableCapture": on,
                    "CaptureStatus": "Started" if on and self.status in SERVING else "Stopped",
                    "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
                    "DestinationS3Uri": capture["DestinationS3Uri"],
                    "KmsKeyId": capture.get("KmsKeyId", ""),
                }
        if (pending := self.deployment) and self.status in {"Creating", "Updating", "RollingBack"}:
            answer["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending.fleet.config_name,
                "StartTime": pending.started,
                **pending.fleet.describe(),
            }
        return answer


class Endpoints:
    """The endpoints' operations. An endpoint that is InService says nothing about which config won: its name does."""

    def __init__(self, world: World, configs: EndpointConfigs) -> None:
        self._world = world
        self._configs = configs
        self._endpoints: dict[str, Endpoint] = {}

    # -- operations --------------------------------------------------------------------------------------------------

    def create_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Create an endpoint: Creating, then InService, or Failed when a model does not load."""
        name, config_name = params["EndpointName"], params["EndpointConfigName"]
        arn = self._world.arn("endpoint", name)
        if arn in self._world.tags:
            raise invalid(f'Cannot create already existing endpoint "{arn}".')
        fleet = build(self._configs.find(config_name), self._configs.containers(config_name), None, set())
        config = params.get("DeploymentConfig")
        if config is not None:
            self._check(config, fleet)
        record = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": config_name,
            "EndpointStatus": "Creating",
            "LastDeploymentConfig": deepcopy(config),
        }
        self._world.created(record, arn, named(params))
        endpoint = self._endpoints[name] = Endpoint(record)
        endpoint.deployment = Deployment(fleet, rollout.steps(None, fleet.counts()), None, self._world.now())
        self._enter(endpoint, "Creating")
        self._provision(endpoint, endpoint.deployment, self._world.timings.creating)
        return {"EndpointArn": arn}

    def update_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the fleets of all variants by those of another config.

        Nothing is remembered: without DeploymentConfig or RetainDeploymentConfig there is no canary and no rollback by
        alarm, and without RetainAllVariantProperties weights and counts are the config's.
        """
        endpoint = self._find(params["EndpointName"])
        self._require_in_service(endpoint)
        name, old = params["EndpointConfigName"], endpoint.fleet
        if old is None:
            raise invalid(f"Endpoint {endpoint.name} has no fleet to update")
        config = self._configs.find(name)
        if name == old.config_name:
            raise invalid(f"Endpoint {endpoint.name} already uses the endpoint configuration {name!r}")
        self._configs.find(old.config_name)
        retained = set(_RETAINABLE) if params.get("RetainAllVariantProperties") else set()
        retained -= {item["VariantPropertyType"] for item in params.get("ExcludeRetainedVariantProperties", ())}
        fleet = build(config, self._configs.containers(name), old, retained)
        guard = params.get("DeploymentConfig")
        if guard is None and params.get("RetainDeploymentConfig"):
            guard = endpoint.record.get("LastDeploymentConfig")
        if guard is not None:
            self._check(guard, fleet)
            if set(fleet.production) != set(old.production):  # of shadows AWS says nothing, so they may come and go
                raise invalid(
                    f"A deployment with guardrails needs the same variants in both endpoint configurations: "
                    f"{sorted(old.production)} and {sorted(fleet.production)}"
                )
        self._check_scaled(endpoint, old, fleet)
        endpoint.record.pop("FailureReason", None)
        endpoint.record["LastDeploymentConfig"] = deepcopy(guard)
        plan = rollout.steps(guard, fleet.counts())
        endpoint.deployment = Deployment(fleet, plan, deepcopy(guard), self._world.now())
        self._enter(endpoint, "Updating")
        self._provision(endpoint, endpoint.deployment, self._world.timings.provisioning)
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    def _check(self, config: Mapping[str, Any], fleet: Fleet) -> None:
        if any("ServerlessConfig" in variant.definition for variant in fleet.variants.values()):
            raise invalid("DeploymentConfig is not supported for serverless variants")
        rollout.check(config, fleet.counts())
        alarms = [alarm.get("AlarmName", "") for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", ())]
        known = self._world.aws.alarm_states(alarms) if alarms else {}
        if missing := [alarm for alarm in alarms if alarm not in known]:
            raise invalid(f"AutoRollbackConfiguration names CloudWatch alarms that do not exist: {missing}")

    def _check_scaled(self, endpoint: Endpoint, old: Fleet, new: Fleet) -> None:
        """Refuse to remove a scaled variant or to change its instance type.

        Source: the developer guide's "Update endpoints that use auto scaling", which tells of the instance type only.
        """
        scaled = self._world.aws.scaled_variants(endpoint.name)
        kinds = [
            {name: variant.definition.get("InstanceType") for name, variant in fleet.variants.items()}
            for fleet in (old, new)
        ]
        if blocked := [name for name in scaled if name in kinds[0] and kinds[0][name] != kinds[1].get(name, "removed")]:
            raise invalid(
                f'The variant(s) "{blocked}" must be deregistered as scalable targets with AWS Auto Scaling before they '
                "can be removed or have their instance type updated."
            )

    def update_endpoint_weights_and_capacities(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Change weights and instance counts of variants: Updating, then InService with the new ones."""
        endpoint = self._find(params["EndpointName"])
        self._require_in_service(endpoint)
        variants = endpoint.fleet.variants if endpoint.fleet else {}
        if endpoint.fleet:
            self._configs.find(endpoint.fleet.config_name)
        for wish in params["DesiredWeightsAndCapacities"]:
            self._check_wish(wish, variants)
        for wish in params["DesiredWeightsAndCapacities"]:
            variant = variants[wish["VariantName"]]
            variant.desired_weight = float(wish.get("DesiredWeight", variant.desired_weight))
            variant.desired_count = wish.get("DesiredInstanceCount", variant.desired_count)
            variant.status = [self._doing("Updating", "Updating weight and capacity")]
        self._enter(endpoint, "Updating")
        events.deployment(self._world, endpoint.describe())

        def done() -> None:
            if endpoint.status != "Updating" or self._endpoints.get(endpoint.name) is not endpoint:
                return
            for variant in variants.values():
                variant.weight, variant.count, variant.status = variant.desired_weight, variant.desired_count, []
            self._enter(endpoint, "InService")

        self._world.later(self._world.timings.weights, done)
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    @staticmethod
    def _check_wish(wish: Mapping[str, Any], variants: Mapping[str, Variant]) -> None:
        name = wish["VariantName"]
        if name not in variants:
            raise invalid(f"The endpoint has no variant {name!r}; it has {sorted(variants)}")
        if wish.get("DesiredInstanceCount") == 0:
            raise invalid(f"DesiredInstanceCount 0 of variant {name!r} must be at least 1")
        if "ServerlessUpdateConfig" in wish:
            raise not_emulated("ServerlessUpdateConfig")
        if "DesiredInstanceCount" in wish and "ServerlessConfig" in variants[name].definition:
            raise invalid(f"DesiredInstanceCount is not allowed for the serverless variant {name!r}")

    def describe_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe an endpoint."""
        return self._find(params["EndpointName"]).describe()

    def list_endpoints(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List endpoints."""
        return listing("ListEndpoints", params, [item.record for item in self._endpoints.values()], "Endpoint")

    def delete_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete an endpoint: it answers no more at once and is gone a little later."""
        endpoint = self._find(params["EndpointName"])
        if endpoint.status not in _DELETABLE:
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
        self._world.aws.forget_targets(endpoint.name)
        self._enter(endpoint, "Deleting")
        self._retire(endpoint.fleet)
        self._retire(endpoint.deployment.fleet if endpoint.deployment else None)

        def gone() -> None:
            del self._endpoints[endpoint.name], self._world.tags[endpoint.record["EndpointArn"]]

        self._world.later(self._world.timings.deleting, gone)
        return {}

    # -- what the API cannot ask for ---------------------------------------------------------------------------------

    def fail_next_rollback(self, name: str) -> None:
        """Let the endpoint's next rollback fail, which leaves it UpdateRollbackFailed on a mix of both fleets."""
        self._find(name).rollback_fails = True

    def system_update(self, name: str, seconds: float) -> None:
        """Patch the endpoint for some wall-clock seconds: SystemUpdating, when it takes no change but serves."""
        endpoint = self._find(name)
        self._require_in_service(endpoint)
        self._enter(endpoint, "SystemUpdating")
        self._world.later(seconds, lambda: self._enter(endpoint, "InService"))

    def serving(self, name: str) -> Endpoint:
        """Return an endpoint that answers. Raises ApiError(ValidationError), the runtime's spelling."""
        endpoint = self._endpoints.get(name)
        if endpoint is None or endpoint.status not in SERVING or endpoint.fleet is None:
            raise ApiError("ValidationError", f"Endpoint {name} of account {self._world.account} not found.")
        return endpoint

    # -- the machine -------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Endpoint:
        if name not in self._endpoints:
            raise invalid(f'Could not find endpoint "{self._world.arn("endpoint", name)}".')
        return self._endpoints[name]

    def _require_in_service(self, endpoint: Endpoint) -> None:
        if endpoint.status != "InService":
            state = f"its status is {endpoint.status}"
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}": {state}.')

    def _enter(self, endpoint: Endpoint, status: str) -> None:
        endpoint.record["EndpointStatus"] = status
        endpoint.record["LastModifiedTime"] = self._world.now()
        events.endpoint(self._world, endpoint.describe())

    def _doing(self, status: str, message: str) -> dict[str, Any]:
        return {"Status": status, "StatusMessage": message, "StartTime": self._world.now()}

    def _provision(self, endpoint: Endpoint, deployment: Deployment, seconds: float) -> None:
        """Load the new fleet's models outside the lock, then go on when the provisioning time is over too."""
        ready = self._world.now() + seconds
        for variant in deployment.fleet.variants.values():
            variant.count = 0
            variant.status = [self._doing("Creating", "Creating the instances of the new fleet")]
        if deployment.config:
            events.deployment(self._world, endpoint.describe())

        def load() -> None:
            failure = ""
            for variant in deployment.fleet.variants.values():
                try:
                    title = f"{endpoint.name}/{variant.name}"
                    variant.server = self._world.executor.load_model(variant.container, title)
                except Exception as error:  # whatever keeps a model from loading fails the endpoint, never the stack
                    failure = self._not_loaded(endpoint, variant, error)
                    break
            with self._world.locked():
                if self._world.closed:
                    self._retire(deployment.fleet)
                elif failure:
                    self._undo(endpoint, deployment, failure)
                else:
                    self._world.later(ready - self._world.now(), lambda: self._first_step(endpoint, deployment))

        if deployment.config and self._alarm(deployment):
            self._world.later(0.0, lambda: self._undo(endpoint, deployment, ""))
            return
        self._world.later_unlocked(0.0, load)

    def _not_loaded(self, endpoint: Endpoint, variant: Variant, error: Exception) -> str:
        with self._world.locked():
            group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
            stream = f"{variant.name}/{self._world.identifier()}"
            self._world.log(group, stream, str(error).splitlines() or [repr(error)])
        return (
            f"The primary container for production variant {variant.name} did not pass the ping health check. "
            f"Please check CloudWatch logs for this endpoint. {error}"
        )[:1024]

    def _first_step(self, endpoint: Endpoint, deployment: Deployment) -> None:
        if endpoint.deployment is not deployment:
            return
        if self._alarm(deployment):
            self._undo(endpoint, deployment, "")
        else:
            self._step(endpoint, deployment)

    def _step(self, endpoint: Endpoint, deployment: Deployment) -> None:
        step = deployment.steps.pop(0)
        deployment.share = step.share
        deployment.baked = self._world.now() + step.wait
        for name, variant in deployment.fleet.variants.items():
            variant.count = step.capacity.get(name, variant.desired_count)
            full = "full capacity" if step.share >= 1.0 else f"canary capacity of {variant.count} instance(s)"
            message = f"Baking for {step.wait} seconds ({step.reason}) with traffic enabled on {full}."
            variant.status = [self._doing("Baking", message)]
        if deployment.config:
            events.deployment(self._world, endpoint.describe())
        self._watch(endpoint, deployment)

    def _watch(self, endpoint: Endpoint, deployment: Deployment) -> None:
        """Look at the alarms and the clock until the step is over; runs every few seconds while baking."""
        if endpoint.deployment is not deployment or endpoint.status not in {"Creating", "Updating"}:
            return
        now = self._world.now()
        if deployment.config and self._alarm(deployment):
            self._undo(endpoint, deployment, "")
        elif deployment.deadline is not None and now >= deployment.deadline:
            self._undo(endpoint, deployment, "The deployment took longer than MaximumExecutionTimeoutInSeconds")
        elif now < deployment.baked:
            wait = min(deployment.baked - now, self._world.timings.poll)
            self._world.later(wait, lambda: self._watch(endpoint, deployment))
        elif deployment.steps:
            self._step(endpoint, deployment)
        else:
            self._finish(endpoint, deployment)

    def _alarm(self, deployment: Deployment) -> bool:
        """Tell whether a rollback alarm is in ALARM; alarms that cannot be read count as such."""
        if not deployment.alarms:
            return False
        try:
            states = self._world.aws.alarm_states(deployment.alarms)
        except Exception:  # unknown is never healthy
            return True
        return "ALARM" in states.values()

    def _finish(self, endpoint: Endpoint, deployment: Deployment) -> None:
        old, endpoint.fleet, endpoint.deployment = endpoint.fleet, deployment.fleet, None
        for variant in deployment.fleet.variants.values():
            variant.status = []
        endpoint.record["EndpointConfigName"] = deployment.fleet.config_name
        self._retire(old)
        self._enter(endpoint, "InService")
        if deployment.config:
            events.deployment(self._world, endpoint.describe())

    def _undo(self, endpoint: Endpoint, deployment: Deployment, reason: str) -> None:
        """Give all traffic back to the old fleet. Without one (creation) the endpoint has Failed."""
        if endpoint.deployment is not deployment:
            return
        if reason:
            endpoint.record["FailureReason"] = reason
        if endpoint.fleet is None:
            endpoint.deployment = None
            self._retire(deployment.fleet)
            self._enter(endpoint, "Failed")
            return
        if not endpoint.rollback_fails:
            deployment.share = 0.0
        for variant in deployment.fleet.variants.values():
            variant.status = [self._doing("Deleting", "Rolling back to the old fleet")]
        self._enter(endpoint, "RollingBack")
        if deployment.config:
            events.deployment(self._world, endpoint.describe())
        self._world.later(self._world.timings.rollback, lambda: self._undone(endpoint, deployment))

    def _undone(self, endpoint: Endpoint, deployment: Deployment) -> None:
        if endpoint.rollback_fails:
            endpoint.rollback_fails = False
            endpoint.record["FailureReason"] = "The rollback failed: the endpoint serves a mix of both configurations"
            self._enter(endpoint, "UpdateRollbackFailed")
            return
        endpoint.deployment = None
        self._retire(deployment.fleet)
        self._enter(endpoint, "InService")
        if deployment.config:
            events.deployment(self._world, endpoint.describe())

    def _retire(self, fleet: Fleet | None) -> None:
        """Close a fleet's workers; one that still answers a request is closed after it."""
        for variant in fleet.variants.values() if fleet else ():
            if server := variant.retire():
                self._close(server.close)

    def _close(self, close: Callable[[], None]) -> None:
        self._world.clock.call_later(0.0, close)

    def close(self) -> None:
        """End all workers now."""
        for endpoint in self._endpoints.values():
            for fleet in (endpoint.fleet, endpoint.deployment.fleet if endpoint.deployment else None):
                for variant in fleet.variants.values() if fleet else ():
                    if variant.server and not variant.retired:
                        variant.retired = True
                        variant.server.close()
