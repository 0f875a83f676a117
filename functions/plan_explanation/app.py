"""Called by `monitor` for attributions that are due: a sample of the window, and the request of its job (MO-08)."""

from __future__ import annotations

from typing import Any

from linnet.data import explanation
from linnet.decisions.monitoring import parse_time
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, start, end, work}`; return `{request}`, empty where the window has too few rows."""
    start, end = parse_time(event["start"]), parse_time(event["end"])
    return {"request": explanation.plan(event["model"], start, end, event["work"])}
