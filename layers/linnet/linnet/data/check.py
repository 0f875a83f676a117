"""The data-quality gate's work: every batch that was not judged yet, read once and held against the rules (DV-01, DV-02)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linnet.gateways import inputs
from linnet.monitoring.rules import Facet, rules_of, validate_files
from linnet.monitoring.tables import Limits, Source


def check(spec: Mapping[str, Any], batches: Sequence[Mapping[str, Any]], limits: Limits) -> dict[str, dict[str, Any]]:
    """Return the validation report of every batch that was not judged before, or else of the newest, by its name.

    Raises:
        BadInputError: together a batch's files are larger than the limit.
        NotFoundError: a listed version of a file is gone.
    """
    data = spec["data"]
    wanted = spec["evaluation"].get("bias") or {}
    rules = rules_of(data, wanted.get("facet"))
    facet = Facet(wanted["facet"], tuple(wanted["disadvantaged"]), data["label"]) if wanted else None
    judged = [b for b in batches if b["state"] == "closed"] or list(batches[-1:])
    reports = {}
    for batch in judged:
        with inputs.files(batch["objects"], limits.bytes) as paths:
            promised = [item.get("rows") for item in batch["objects"]]
            sources = [
                Source(name, path, data["format"], rows) for (name, path), rows in zip(paths, promised, strict=True)
            ]
            reports[str(batch["batch"])] = validate_files(sources, rules, limits, facet)
    return reports


def good(reports: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether every batch passed."""
    return all(report["verdict"] == "PASS" for report in reports.values())
