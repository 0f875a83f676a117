"""A model package changed in the registry: an approval starts its release."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import PackageEvent, parse
from linnet.gateways import registry
from linnet.handling import listener


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a SageMaker Model Package State Change; return `{done, correlation_id}`: what was started, or why nothing was."""
    woken = parse(PackageEvent, event)
    return registry.observe(woken.detail, woken.id, woken.at)
