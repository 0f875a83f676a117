"""SageMaker's registry and hosting: thin calls, create or adopt, and the endpoint as it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from linnet.errors import ConflictError, NotFoundError
from linnet.gateways.clients import client, error_code
from linnet.gateways.removal import is_gone
from linnet.settings import settings

_TAKEN = ("ValidationException", "ResourceInUse", "ConflictException")
_DESCRIPTION_LIMIT = 1024
STAGE = "stage"
PROBE = "linnet-probe-"
"""What the inference ids of Linnet's own requests begin with: they are no traffic."""


def package(arn: str) -> dict[str, Any]:
    """Return a model package as the registry has it now.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return dict(client("sagemaker").describe_model_package(ModelPackageName=arn))
    except ClientError as error:
        if is_gone(error):
            raise NotFoundError(f"model package {arn} does not exist") from None
        raise


def container(arn: str) -> dict[str, Any]:
    """Return the container of a model package: its Image, ModelDataUrl, Environment.

    Raises:
        NotFoundError: there is no such package, or it has no artifact.
    """
    found = dict(package(arn)["InferenceSpecification"]["Containers"][0])
    if not found.get("ModelDataUrl"):
        raise NotFoundError(f"model package {arn} has no artifact")
    return found


def approve(arn: str, status: str, description: str) -> None:
    """Write a decision into the registry; the description says who and why."""
    client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=description[:_DESCRIPTION_LIMIT]
    )


def mark_production(arn: str, *, on: bool) -> None:
    """Set or take a package's mark `stage: production` (RG-07); a version has no tags of its own, so it is metadata."""
    has = package(arn).get("CustomerMetadataProperties", {}).get(STAGE) == "production"
    if on and not has:
        client("sagemaker").update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={STAGE: "production"})
    if has and not on:
        client("sagemaker").update_model_package(ModelPackageArn=arn, CustomerMetadataPropertiesToRemove=[STAGE])


def endpoint(name: str) -> dict[str, Any] | None:
    """Return the endpoint as it is: status, config, pending (the config on its way in), weights, counts, baking."""
    try:
        found = client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    variants = found.get("ProductionVariants", [])
    pending = found.get("PendingDeploymentSummary", {})
    statuses = [s["Status"] for v in pending.get("ProductionVariants", []) for s in v.get("VariantStatus", [])]
    return {
        "status": found["EndpointStatus"],
        "config": found.get("EndpointConfigName"),
        "pending": pending.get("EndpointConfigName"),
        "baking": "Baking" in statuses,
        "weights": {v["VariantName"]: float(v.get("CurrentWeight", 0)) for v in variants},
        "counts": {v["VariantName"]: int(v.get("DesiredInstanceCount", 0)) for v in variants},
        "current_counts": {v["VariantName"]: int(v.get("CurrentInstanceCount", 0)) for v in variants},
        "reason": found.get("FailureReason", ""),
    }


def config(name: str) -> dict[str, Any]:
    """Return an endpoint config after proving that its models exist too (F48).

    Raises:
        NotFoundError: the config or one of its models is gone; names it.
    """
    sagemaker = client("sagemaker")
    try:
        found = dict(sagemaker.describe_endpoint_config(EndpointConfigName=name))
        for variant in found["ProductionVariants"]:
            sagemaker.describe_model(ModelName=variant["ModelName"])
    except ClientError as error:
        if is_gone(error):
            raise NotFoundError(f"there is no way back to {name}: {error}") from None
        raise
    return found


def ensure_model(name: str, package_arn: str, role: str, tags: Sequence[Mapping[str, str]], *, isolated: bool) -> None:
    """Create the model that serves a package, or adopt it when it is the same (F28).

    An `isolated` one has no network, not even for S3: SageMaker itself brings the artifact and captures the traffic.

    Raises:
        ConflictError: the name is taken by a model of another package.
    """
    sagemaker = client("sagemaker")
    try:
        sagemaker.create_model(
            ModelName=name, PrimaryContainer={"ModelPackageName": package_arn}, ExecutionRoleArn=role, Tags=tags,
            EnableNetworkIsolation=isolated, **settings().vpc(),
        )  # fmt: skip
    except ClientError as error:
        if error_code(error) not in _TAKEN:
            raise
        try:
            found = sagemaker.describe_model(ModelName=name)
        except ClientError:
            raise error from None
        containers = [found.get("PrimaryContainer") or {}, *found.get("Containers", [])]
        if package_arn not in [container.get("ModelPackageName") for container in containers]:
            raise ConflictError(f"the model {name} exists and serves something else than {package_arn}") from None


def ensure_config(request: Mapping[str, Any]) -> None:
    """Create an endpoint config, or adopt it when its variants are the same; then see that it can be read.

    Raises:
        ConflictError: the name is taken by a config with other variants.
    """
    sagemaker, name = client("sagemaker"), request["EndpointConfigName"]
    try:
        sagemaker.create_endpoint_config(**request)
    except ClientError as error:
        if error_code(error) not in _TAKEN:
            raise
        try:
            found = sagemaker.describe_endpoint_config(EndpointConfigName=name)
        except ClientError:
            raise error from None
        if _variants(found) != _variants(request):
            raise ConflictError(f"the endpoint config {name} exists with other variants: {_variants(found)}") from None
        return
    sagemaker.describe_endpoint_config(EndpointConfigName=name)


def _variants(request: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    names = ("VariantName", "ModelName", "InstanceType", "InitialInstanceCount")
    return sorted(tuple(variant.get(name) for name in names) for variant in request["ProductionVariants"])


def create_endpoint(name: str, config_name: str, tags: Sequence[Mapping[str, str]]) -> None:
    """Create the endpoint."""
    client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config_name, Tags=tags)


def update_endpoint(
    name: str, config_name: str, deployment: Mapping[str, Any] | None, *, resized: bool = False
) -> None:
    """Replace the endpoint's fleets, guarded by `deployment` or on purpose without a guard.

    Nothing relies on what an earlier call said (peers.md finding 3). Counts and weights are kept as auto scaling and
    the ladder left them, with `resized` the counts are the config's; the capture's destination is not kept, because it
    names the config.
    """
    own = ["DataCaptureConfig", *(["DesiredInstanceCount"] if resized else [])]
    client("sagemaker").update_endpoint(
        EndpointName=name,
        EndpointConfigName=config_name,
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": kind} for kind in own],
        **({"DeploymentConfig": deployment} if deployment else {}),
    )


def delete_endpoint(name: str) -> None:
    """Delete the endpoint."""
    client("sagemaker").delete_endpoint(EndpointName=name)


def set_weights(name: str, weights: Mapping[str, float]) -> None:
    """Ask for weights; they hold when the endpoint is InService again, so read them back (peer bug MCD (f))."""
    wanted = [{"VariantName": variant, "DesiredWeight": weight} for variant, weight in weights.items()]
    client("sagemaker").update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)


def ask(name: str, variant: str | None, row: bytes, inference_id: str) -> tuple[float, str]:
    """Send one row of CSV; return the milliseconds it took, and what went wrong or an empty text. Reads no artifact."""
    runtime = client("sagemaker-runtime")  # making the client is not the model's time
    began = time.perf_counter()
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=name, Body=row, ContentType="text/csv", InferenceId=inference_id,
            **({"TargetVariant": variant} if variant else {}),
        )  # fmt: skip
        answer["Body"].read()
    except (ClientError, BotoCoreError) as error:
        return (time.perf_counter() - began) * 1000, f"{error_code(error) or type(error).__name__}: {error}"[:300]
    return (time.perf_counter() - began) * 1000, ""
