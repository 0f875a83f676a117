"""The data-quality gate's end: the report, the batches' judgement, the metrics (DV-01, DV-02)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.gateways import inputs, ledger, metrics, quarantine, s3


def conclude(model: str, run: str, reports: Mapping[str, Mapping[str, Any]], at: str) -> dict[str, Any]:
    """Write the run's validation_report.json and mark its batches as accepted or refused, from the reports by batch.

    Returns `{passed, failures, report_uri}`. A batch that is judged keeps its first judgement.
    """
    failures = [f"{name}: {text}" for name, report in reports.items() for text in report["failures"]]
    document = {
        "version": 1, "model": model, "run": run, "at": at,
        "verdict": "FAIL" if failures else "PASS", "failures": failures, "batches": reports,
    }  # fmt: skip
    uri = inputs.results_uri(model, run, "validation_report.json")
    s3.put(uri, json.dumps(document, indent=1).encode())
    refused = {name: "; ".join(r["failures"])[:500] for name, r in reports.items() if r["verdict"] != "PASS"}
    for name in reports:
        state, why = ("refused", refused[name]) if name in refused else ("accepted", "")
        ledger.change(
            f"model/{model}", f"batch#{name}", put={"state": state, "why": why, "judged_at": at},
            only_if="#state = :closed", given={"closed": "closed"},
        )  # fmt: skip
    rules = [rule for report in reports.values() for rule in report["rules"]]
    metrics.put_quality(model, len(rules), sum(not rule["passed"] for rule in rules))
    if refused:
        quarantine.keep_batches(model, run, refused, uri)
    return {"passed": not failures, "failures": failures[:20], "report_uri": uri}
