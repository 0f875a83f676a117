"""Asks SageMaker for the weights of a ladder's step, or gives all traffic back to the champion."""

from __future__ import annotations

from typing import Any

from linnet.gateways import releases
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, owner, fence, progress}` or, to give all back, `{..., back: true}`; return `{weights, wait}`."""
    step = None if event.get("back") is True else int(event["progress"]["step"])
    return releases.shift(event["model"], owner=event["owner"], fence=int(event["fence"]), step=step)
