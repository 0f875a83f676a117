"""Called by `retrain`: registers the better candidate and frees the run's slot."""

from __future__ import annotations

from typing import Any

from linnet.gateways import candidates
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take the run, its artifact and its judgement; return `{package_arn, version}`."""
    return candidates.register(event)
