"""Invoked by people and tools: what serves and where it comes from, what became of data, which runs were best (EX-03)."""

from __future__ import annotations

from typing import Any

from linnet.gateways import lineage
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{endpoint}` or `{model}` (and `at`), `{data}` (and `limit`, `before`), or `{model, runs: {metric, ...}}`."""
    return lineage.trace(event)
