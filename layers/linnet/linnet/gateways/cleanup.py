"""Deleting what old releases left behind, a few a pass; what may go is decided in linnet.decisions.cleanup (DP-12, F48)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from linnet.decisions import cleanup, names, rollout
from linnet.gateways import leases, ledger, metrics, removal, sagemaker
from linnet.settings import settings

MOST = 10
"""So many releases are cleaned up in a pass: the reconciler has more to do."""


def clean(model: str, at: str) -> list[str]:
    """Delete what nothing needs of a model's old releases, and note it in their rows as `cleaned_at`; return the names.

    While a release holds the endpoint or the endpoint changes, nothing is touched. Calling again goes on from there.

    Raises:
        NotFoundError: the config that serves is gone: nobody can tell what is needed.
    """
    endpoint = names.base(settings().stack, model)
    live = sagemaker.endpoint(endpoint)
    if leases.holder(endpoint) or (live and live["status"] in rollout.CHANGING):
        return []
    found = cleanup.leftovers(
        stack=settings().stack, model=model, releases=list(ledger.query(f"model/{model}", "release#")),
        champion=ledger.read(f"model/{model}", "champion"), used=_used(live), at=datetime.fromisoformat(at),
    )  # fmt: skip
    there = metrics.alarm_states([name for leftover in found for name in leftover.alarms])
    todo = [one for one in found if one.whole or there.keys() & set(one.alarms)][:MOST]
    gone: list[str] = []
    for one in todo:
        if leases.holder(endpoint):
            break  # its release may adopt a model of an old one
        alarms = [name for name in one.alarms if name in there]
        metrics.delete_alarms(alarms)
        things = [removal.Thing("endpoint config", name) for name in one.configs]
        things += [removal.Thing("model", name) for name in one.models]
        gone += alarms + [thing.name for thing in things if removal.delete(thing)]
        if one.whole:
            ledger.change(f"model/{model}", f"release#{one.fence:06d}", put={"cleaned_at": at})
    return gone


def _used(live: dict[str, Any] | None) -> set[str]:
    """Return the configs that an endpoint uses or changes to, and their models."""
    configs = {str(live[place]) for place in ("config", "pending") if live[place]} if live else set()
    variants = [
        variant
        for name in configs
        for kind in ("ProductionVariants", "ShadowProductionVariants")
        for variant in sagemaker.config(name).get(kind, [])
    ]
    return configs | {str(variant["ModelName"]) for variant in variants}
