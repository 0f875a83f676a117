"""Called by `retrain`: the data-quality gate before any training (DV-01, DV-02)."""

from __future__ import annotations

import json
from typing import Any

from linnet.gateways import batches, inputs, quarantine, s3
from linnet.handling import task
from linnet.monitoring.rules import rules_of, validate_files
from linnet.monitoring.tables import Limits, Source


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, run, spec, inputs_uri, at}`; return `{passed, failures, report_uri}`."""
    return validate(event["model"], event["run"], event["spec"], event["inputs_uri"], event["at"])


def validate(model: str, run: str, spec: dict[str, Any], inputs_uri: str, at: str) -> dict[str, Any]:
    """Hold every batch that was not judged yet, or else the newest, against the rules; write the report; judge them."""
    data = spec["data"]
    found = inputs.read(inputs_uri)
    judged = [b for b in found if b["state"] == "closed"] or found[-1:]
    limits = Limits(bytes=data["maximum_bytes"])
    reports = {}
    for batch in judged:
        with inputs.files(batch["objects"], data["maximum_bytes"]) as paths:
            promised = [item.get("rows") for item in batch["objects"]]
            sources = [
                Source(name, path, data["format"], rows) for (name, path), rows in zip(paths, promised, strict=True)
            ]
            reports[batch["batch"]] = validate_files(sources, rules_of(data), limits)
    failures = [f"{name}: {text}" for name, report in reports.items() for text in report["failures"]]
    document = {
        "version": 1, "model": model, "run": run, "at": at,
        "verdict": "FAIL" if failures else "PASS", "failures": failures, "batches": reports,
    }  # fmt: skip
    uri = inputs.results_uri(model, run, "validation_report.json")
    s3.put(uri, json.dumps(document, indent=1).encode())
    refused = {name: "; ".join(r["failures"])[:500] for name, r in reports.items() if r["verdict"] != "PASS"}
    batches.judge(model, [name for name in reports if name not in refused], refused, at)
    if refused:
        quarantine.keep_batches(model, run, refused, uri)
    return {"passed": not failures, "failures": failures[:20], "report_uri": uri}
