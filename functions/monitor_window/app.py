"""The first data-quality monitor: a window of live traffic against the champion's own baseline (MO-02, MO-03)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from linnet.decisions import monitoring
from linnet.gateways import findings
from linnet.handling import task
from linnet.monitoring.capture import Capture, hours, read_capture
from linnet.monitoring.drift import Comparison, compare
from linnet.monitoring.files import (
    CONSTRAINTS,
    STATISTICS,
    VIOLATIONS,
    read_constraints,
    read_statistics,
    statistics_json,
    violations_json,
)
from linnet.monitoring.profile import kinds_of, profile


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, start, end, correlation_id}`; return `{model, status, severity, features}`."""
    start, end = monitoring.parse_time(event["start"]), monitoring.parse_time(event["end"])
    found = look(event["model"], start, end)
    findings.record(event["model"], start, found, correlation_id=event["correlation_id"])
    return {"model": event["model"]} | {name: found[name] for name in ("status", "severity", "features")}


def look(model: str, start: datetime, end: datetime) -> dict[str, Any]:
    """Return what the window holds, after its files were written."""
    spec, champion = findings.subject(model)
    quality = spec["monitors"]["data_quality"]
    known = read_statistics(findings.baseline(champion, STATISTICS))
    limits = findings.baseline(champion, CONSTRAINTS)
    seen = read_capture(findings.capture(model, champion, hours(start, end)), list(known.columns), window=(start, end))
    current = profile(seen.features.to_batches(), kinds=kinds_of(known))
    result = compare(known, current, read_constraints(limits), minimum_rows=int(quality["minimum_rows"]))
    documents = {
        STATISTICS: statistics_json(current),
        CONSTRAINTS: limits,
        VIOLATIONS: violations_json(result.violations),
    }
    uri = findings.put_files(model, start, documents)
    return _finding(result, seen, quality, champion) | {
        "start": monitoring.stamp(start), "end": monitoring.stamp(end), "uri": uri,
    }  # fmt: skip


def _finding(
    result: Comparison, seen: Capture, quality: Mapping[str, Any], champion: Mapping[str, Any]
) -> dict[str, Any]:
    n = seen.counts
    grade = monitoring.severity(
        result.drift, notify_above=float(quality["notify_above"]), retrain_above=float(quality["retrain_above"])
    )
    return {
        "kind": "data-quality",
        "status": result.status,
        "severity": grade,
        "features": result.features,
        "scores": {name: round(score, 6) for name, score in result.drift.items()},
        "distances": {name: dict(values) for name, values in result.distances.items()},
        "violations": violations_json(result.violations[:100])["violations"],
        "rows": result.rows,
        "lines": {"read": n.lines, "bad": n.bad, "outside": n.outside, "odd_rows": n.odd_rows},
        "champion": {"version": champion["version"], "run": champion["run"], "baseline": champion["baseline"]},
    }
