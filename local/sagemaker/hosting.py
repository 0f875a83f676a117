"""Models and endpoint configs: what an endpoint is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.sagemaker.api import invalid, not_emulated, shaped
from local.sagemaker.ports import Container
from local.sagemaker.records import Record, listing, named
from local.sagemaker.registry import Registry
from local.sagemaker.world import World

_KINDS = ("ProductionVariants", "ShadowProductionVariants")


class Models:
    """Models: one container image with an artifact, named directly or through a model package."""

    def __init__(self, world: World, registry: Registry) -> None:
        self._world = world
        self._registry = registry
        self._models: dict[str, Record] = {}

    def create_model(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Create a model. Raises ApiError when the name is taken or the artifact is not in S3."""
        name = params["ModelName"]
        arn = self._world.arn("model", name)
        containers = [*params.get("Containers", ())]
        if ("PrimaryContainer" in params) == bool(containers):
            raise invalid("Exactly one of PrimaryContainer and Containers must be given")
        if len(containers) > 1:
            raise not_emulated("an inference pipeline of several Containers")
        if "ExecutionRoleArn" not in params:
            raise invalid("Missing required parameter 'ExecutionRoleArn' of a model")
        if arn in self._world.tags:
            raise invalid(f'Cannot create already existing model "{arn}".')
        record = dict(params)
        self._check(params.get("PrimaryContainer") or containers[0])
        record["ModelArn"] = arn
        self._world.created(record, arn, named(params))
        self._models[name] = record
        return {"ModelArn": arn}

    def _check(self, definition: Mapping[str, Any]) -> None:
        url = self._resolved(definition).model_data_url
        if url and url not in self._world.aws.list_objects(url):
            raise invalid(f"Could not find model data at {url}.")

    def describe_model(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a model."""
        return shaped("DescribeModel", self.find(params["ModelName"]))

    def delete_model(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete a model; endpoints that serve it go on serving, as on AWS."""
        record = self.find(params["ModelName"])
        del self._models[record["ModelName"]], self._world.tags[record["ModelArn"]]
        return {}

    def list_models(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List models."""
        return listing("ListModels", params, self._models.values(), "Model")

    def find(self, name: str) -> Record:
        """Return a model's record. Raises ApiError(ValidationException)."""
        if name not in self._models:
            raise invalid(f'Could not find model "{self._world.arn("model", name)}".')
        return self._models[name]

    def container(self, name: str) -> Container:
        """Return what a model runs."""
        record = self.find(name)
        return self._resolved(record.get("PrimaryContainer") or record["Containers"][0])

    def definition(self, name: str) -> dict[str, Any]:
        """Return what a model runs, as a container definition of the API."""
        container = self.container(name)
        definition: dict[str, Any] = {"Image": container.image, "Environment": dict(container.environment)}
        return definition | ({"ModelDataUrl": container.model_data_url} if container.model_data_url else {})

    def _resolved(self, definition: Mapping[str, Any]) -> Container:
        environment = definition.get("Environment", {})
        if definition.get("Mode") == "MultiModel":
            raise not_emulated("a MultiModel container")
        if "ModelPackageName" in definition:
            package = self._registry.find(definition["ModelPackageName"])
            containers = package.get("InferenceSpecification", {}).get("Containers", [])
            if package["ModelPackageStatus"] != "Completed" or len(containers) != 1:
                raise invalid(f"Model package {definition['ModelPackageName']} has no single container to deploy")
            definition = containers[0]
            environment = {**definition.get("Environment", {}), **environment}
        if not definition.get("Image"):
            raise invalid("A container needs an Image or a ModelPackageName")
        url = definition.get("ModelDataUrl", "")
        if source := definition.get("ModelDataSource", {}).get("S3DataSource"):
            if source["CompressionType"] != "Gzip":
                raise not_emulated(f"ModelDataSource with CompressionType {source['CompressionType']!r}")
            url = source["S3Uri"]
        return Container(definition["Image"], url, environment)


class EndpointConfigs:
    """Endpoint configs; they never change and may be deleted while an endpoint uses them, as on AWS."""

    def __init__(self, world: World, models: Models) -> None:
        self._world = world
        self._models = models
        self._configs: dict[str, Record] = {}

    def create_endpoint_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Create a config. Raises ApiError when the name is taken, a model is missing or the variants do not fit."""
        name = params["EndpointConfigName"]
        arn = self._world.arn("endpoint-config", name)
        if arn in self._world.tags:
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        for unknown in ("AsyncInferenceConfig", "ExplainerConfig"):
            if params.get(unknown):
                raise not_emulated(unknown)
        variants = every_variant(params)
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) < len(names):
            raise invalid(f"ProductionVariants and ShadowProductionVariants must have unique names, not {names}")
        for variant in variants:
            self._check(variant, params)
        if params.get("ShadowProductionVariants"):
            self._check_shadow(params)
        if len(variants) > 1 and any("ServerlessConfig" in variant for variant in variants):
            raise invalid("An endpoint config with a serverless variant must have exactly one variant")
        record = {**params, "EndpointConfigArn": arn}
        for kind in _KINDS:
            if params.get(kind):
                record[kind] = [{"InitialVariantWeight": 1.0, **variant} for variant in params[kind]]
        self._world.created(record, arn, named(params))
        self._configs[name] = record
        return {"EndpointConfigArn": arn}

    def _check(self, variant: Mapping[str, Any], params: Mapping[str, Any]) -> None:
        title = f"production variant {variant['VariantName']!r}"
        if "ModelName" not in variant:
            raise not_emulated(f"{title} without ModelName (inference components)")
        self._models.find(variant["ModelName"])
        serverless = "ServerlessConfig" in variant
        for name in ("InstanceType", "InitialInstanceCount"):
            if not serverless and name not in variant:
                raise invalid(f"Missing required parameter {name!r} of {title}")
            if serverless and name in variant:
                raise invalid(f"{name} {variant[name]!r} is not allowed beside ServerlessConfig in {title}")
        if serverless and params.get("DataCaptureConfig", {}).get("EnableCapture"):
            raise invalid(f"DataCaptureConfig is not supported for serverless {title}")

    @staticmethod
    def _check_shadow(params: Mapping[str, Any]) -> None:
        """Refuse what has no shadow. Source: CreateEndpointConfig; the developer guide's "Shadow tests", Exclusions."""
        counts = {kind: len(params[kind]) for kind in _KINDS}
        if set(counts.values()) != {1}:
            raise invalid(f"With ShadowProductionVariants there must be one variant of each kind, not {counts}")
        for variant in every_variant(params):
            title = f"variant {variant['VariantName']!r} of an endpoint config with ShadowProductionVariants"
            for name in ("ServerlessConfig", "AcceleratorType"):
                if name in variant:
                    raise invalid(f"{name} {variant[name]!r} is not supported in {title}")
            if variant["InstanceType"].startswith("ml.inf1."):
                raise invalid(f"InstanceType {variant['InstanceType']!r} is not supported in {title}")

    def describe_endpoint_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a config."""
        return shaped("DescribeEndpointConfig", self.find(params["EndpointConfigName"]))

    def delete_endpoint_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete a config, in use or not: the next update of an endpoint that uses it will fail."""
        record = self.find(params["EndpointConfigName"])
        del self._configs[record["EndpointConfigName"]], self._world.tags[record["EndpointConfigArn"]]
        return {}

    def list_endpoint_configs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List configs."""
        return listing("ListEndpointConfigs", params, self._configs.values(), "EndpointConfig")

    def find(self, name: str) -> Record:
        """Return a config's record. Raises ApiError(ValidationException)."""
        if name not in self._configs:
            raise invalid(f'Could not find endpoint configuration "{self._world.arn("endpoint-config", name)}".')
        return self._configs[name]

    def containers(self, name: str) -> dict[str, Container]:
        """Return variant name -> container. Raises ApiError when the config or one of its models is gone."""
        variants = every_variant(self.find(name))
        return {variant["VariantName"]: self._models.container(variant["ModelName"]) for variant in variants}


def every_variant(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a config's production variants and behind them its shadow variant, if it has one."""
    return [variant for kind in _KINDS for variant in config.get(kind) or ()]
