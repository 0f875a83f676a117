"""A model package changed in the registry: an approval starts its release."""

from __future__ import annotations

from typing import Any

from linnet.events.aws import PackageEvent, parse
from linnet.gateways import registry
from linnet.handling import listener, logger


@listener
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a SageMaker Model Package State Change; return `{done}`: what was started, or why nothing was."""
    woken = parse(PackageEvent, event)
    done = registry.observe(woken.detail, woken.id, woken.at)
    logger.info("package", extra={"done": done, "package": woken.detail.model_package_arn})
    return {"done": done}
