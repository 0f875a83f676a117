"""Reads and checks one version of a spec, and says whether it is the one to onboard."""

from __future__ import annotations

from typing import Any

from linnet.gateways import onboarding
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{bucket, key, version_id?}`; return `{proceed, why, model, version_id, digest}`."""
    return onboarding.plan(event.get("bucket", ""), event.get("key", ""), event.get("version_id") or "")
