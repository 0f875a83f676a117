"""A window of live traffic against the champion's own baseline (MO-02, MO-03)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from linnet.decisions import monitoring
from linnet.gateways import findings
from linnet.monitoring.capture import hours, read_capture
from linnet.monitoring.drift import compare
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

_SHOWN = 100


def look(model: str, start: datetime, end: datetime) -> dict[str, Any]:
    """Return what the data of the window holds, after its files were written."""
    spec, champion = findings.subject(model)
    monitors = spec["monitors"]
    settings = monitors["data_quality"]
    known = read_statistics(findings.baseline(champion, STATISTICS))
    limits = findings.baseline(champion, CONSTRAINTS)
    constraints = read_constraints(limits)
    seen = read_capture(findings.capture(model, champion, hours(start, end)), list(known.columns), window=(start, end))
    current = profile(seen.features.to_batches(), kinds=kinds_of(known))
    result = compare(known, current, constraints, minimum_rows=int(settings["minimum_rows"]))
    statistics = statistics_json(current)
    documents = {STATISTICS: statistics, CONSTRAINTS: limits, VIOLATIONS: violations_json(result.violations)}
    uri = findings.put_files(model, start, documents)
    return {
        "kind": monitoring.DATA_QUALITY,
        "status": result.status,
        "severity": monitoring.severity(
            result.drift,
            notify_above=float(settings["notify_above"]),
            retrain_above=float(settings["retrain_above"]),
        ),
        "features": result.features,
        "scores": {name: round(score, 6) for name, score in result.drift.items()},
        "distances": {name: dict(values) for name, values in result.distances.items()},
        "violations": violations_json(result.violations[:_SHOWN])["violations"],
        "broken": len(result.violations),
        "rows": result.rows,
        "lines": {"read": seen.lines, "bad": seen.bad_lines, "outside": seen.outside, "odd_rows": seen.odd_rows},
        "emit": constraints.settings.emit,
        "muted": [name for name, one in constraints.features.items() if not one.settings.emit],
        "named": monitoring.named(statistics, monitors["metrics_for"]),
        "champion": {"version": champion["version"], "run": champion["run"], "baseline": champion["baseline"]},
        "start": monitoring.stamp(start),
        "end": monitoring.stamp(end),
        "uri": uri,
    }
