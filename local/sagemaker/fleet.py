"""A fleet: one loaded model for every variant of an endpoint config, and what Describe shows of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.ports import Container, ModelServer
from local.sagemaker.records import Record


@dataclass
class Variant:
    """A variant's worker, weight and instances. One worker answers for all its instances."""

    name: str
    container: Container
    definition: Mapping[str, Any]
    """Its ProductionVariant in the endpoint config."""
    weight: float
    count: int
    desired_weight: float
    desired_count: int
    shadow: bool = False
    """Whether it gets copies of the production variant's requests and answers to nobody."""
    server: ModelServer | None = None
    in_flight: int = 0
    retired: bool = False
    status: list[dict[str, Any]] = field(default_factory=list)
    """VariantStatus: what is being done to it now."""
    copies: deque[Callable[[], object]] = field(default_factory=deque)
    """A shadow variant's requests that wait for an answer."""

    def retire(self) -> ModelServer | None:
        """Take no more requests; return the worker to close now, or none while it still answers some."""
        self.retired = True
        return self.server if self.in_flight == 0 else None

    def describe(self) -> dict[str, Any]:
        """Return its ProductionVariantSummary."""
        summary: dict[str, Any] = {
            "VariantName": self.name,
            "DeployedImages": [{"SpecifiedImage": self.container.image, "ResolvedImage": self.container.image}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.desired_weight,
        }
        if serverless := self.definition.get("ServerlessConfig"):
            summary |= {"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless}
        summary |= {"CurrentInstanceCount": self.count, "DesiredInstanceCount": self.desired_count}
        return summary | ({"VariantStatus": [dict(status) for status in self.status]} if self.status else {})


@dataclass
class Fleet:
    """All variants of one endpoint config on one endpoint."""

    config: Record
    capture: Mapping[str, Any] | None
    """The DataCaptureConfig in force; an update may retain an older one than the config's own."""
    variants: dict[str, Variant]
    """All of them: production and shadow."""

    @property
    def config_name(self) -> str:
        """The endpoint config's name."""
        return str(self.config["EndpointConfigName"])

    @property
    def production(self) -> dict[str, Variant]:
        """The variants that answer callers."""
        return {name: variant for name, variant in self.variants.items() if not variant.shadow}

    @property
    def shadow(self) -> Variant | None:
        """The shadow variant, of which an endpoint has one at most."""
        return next((variant for variant in self.variants.values() if variant.shadow), None)

    def describe(self) -> dict[str, Any]:
        """Return the members ProductionVariants and, if there is a shadow, ShadowProductionVariants."""
        members = {"ProductionVariants": [variant.describe() for variant in self.production.values()]}
        return members | ({"ShadowProductionVariants": [self.shadow.describe()]} if self.shadow else {})

    def counts(self) -> dict[str, int]:
        """Return production variant -> desired instances."""
        return {name: variant.desired_count for name, variant in self.production.items()}


def build(config: Record, containers: Mapping[str, Container], old: Fleet | None, retained: set[str]) -> Fleet:
    """Return a config's fleet, not loaded yet.

    Args:
        config: the endpoint config's record.
        containers: variant -> what it runs.
        old: the fleet that it replaces.
        retained: which of DesiredInstanceCount, DesiredWeight, DataCaptureConfig are taken over from the old fleet, for
            the variants that both have.
    """
    variants = {}
    shadows = config.get("ShadowProductionVariants", [])
    for definition in [*config["ProductionVariants"], *shadows]:
        name = definition["VariantName"]
        weight, count = float(definition["InitialVariantWeight"]), int(definition.get("InitialInstanceCount", 0))
        before = old.variants.get(name) if old else None
        if before and "DesiredWeight" in retained:
            weight = before.desired_weight
        if before and "DesiredInstanceCount" in retained and "ServerlessConfig" not in definition:
            count = before.desired_count or count
        shadow = definition in shadows
        variants[name] = Variant(name, containers[name], definition, weight, count, weight, count, shadow)
    capture = old.capture if old and "DataCaptureConfig" in retained else config.get("DataCaptureConfig")
    return Fleet(config, capture, variants)
