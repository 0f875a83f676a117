"""Creates or adopts what a release puts on the endpoint: model, endpoint configs, rollback alarms."""

from __future__ import annotations

from typing import Any

from linnet.gateways import releases
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, owner, fence}`; return `{configs, alarms}`."""
    return releases.prepare(event["model"], owner=event["owner"], fence=int(event["fence"]))
