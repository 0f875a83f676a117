"""A model's standing alarms: made as its spec has them, on the variant that serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linnet.decisions import onboarding
from linnet.gateways import ledger, metrics, specs
from linnet.settings import settings


def follow(model: str, tags: Sequence[Mapping[str, str]]) -> list[str]:
    """Put the alarms of what serves by the spec that holds, delete those that are off; return the names of those that are.

    Call it after the spec or the champion was written: what is written meanwhile is seen in a second look, so that of two
    callers the last one is right.
    """
    known: tuple[Any, str | None] | None = None
    wanted: list[dict[str, Any]] = []
    while known != (known := _now(model)):
        limits, variant = known
        wanted = []
        if limits is not None and variant is not None:
            wanted = onboarding.serving_alarms(settings().stack, model, limits, variant, settings().topic)
        renew(onboarding.serving_names(settings().stack, model), wanted, tags)
    return [request["AlarmName"] for request in wanted]


def _now(model: str) -> tuple[Any, str | None]:
    """Return the limits of the spec and the variant that serves; None where the model has no spec or nothing serves."""
    spec, champion = specs.read(model), ledger.read(f"model/{model}", "champion") or {}
    return spec and spec["monitors"]["alarms"], champion.get("variant")


def renew(names: Sequence[str], wanted: Sequence[Mapping[str, Any]], tags: Sequence[Mapping[str, str]]) -> None:
    """Create or change the wanted alarms, delete the others of these names."""
    metrics.put_alarms(wanted, tags)
    metrics.delete_alarms(sorted(set(names) - {request["AlarmName"] for request in wanted}))
