"""Which features the champion decides by in a window, against those of its own held-out rows: a sample, then a verdict (MO-08).

Between the two, a processing job explains the sample with the program `attributions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any

import numpy as np
import pyarrow as pa

from linnet.decisions import monitoring, schedules
from linnet.decisions.attribution import SEED
from linnet.errors import NotFoundError
from linnet.gateways import explanations, findings
from linnet.monitoring import attribution
from linnet.monitoring.capture import Counts, hours, read_batches
from linnet.monitoring.files import VIOLATIONS
from linnet.monitoring.tables import numbers

_LARGEST = float(np.finfo(np.float32).max)
"""XGBoost computes in this precision."""
_FIELDS = ("version", "run", "baseline")


def plan(model: str, start: datetime, end: datetime, work: str) -> dict[str, Any]:
    """Take a sample of what the champion itself answered in a window; return the request of the job that explains it.

    The request is empty where the window has too few rows. `work` is the prefix of what the look keeps.

    Raises:
        NotFoundError: the model has no spec or no champion, or the champion no run.
    """
    today, champion = findings.subject(model)
    spec = explanations.spec(model, champion, today)
    settings, features = today["monitors"]["attribution"], spec["data"]["features"]
    capture = findings.own_capture(model, champion, hours(start, end))
    taken, counts = sampled(capture, list(features), (start, end), int(settings["sample"]))
    good = _fit(
        [column for name, column in zip(features, taken.columns, strict=True) if features[name] == "number"], len(taken)
    )
    rows = counts.widths[len(features)] - int(len(taken) - good.sum())
    kept = taken.filter(pa.array(good)) if rows >= int(settings["minimum_rows"]) else taken.slice(0, 0)
    seen = {
        "rows": rows, "explained": len(kept), "lines": counts.lines, "bad": counts.bad, "outside": counts.outside,
        "widths": sorted(counts.widths.items()), "slices": sorted(counts.slices),
        "champion": {name: champion[name] for name in _FIELDS},
    }  # fmt: skip
    texts = [column.fill_null("").to_pylist() for column in kept.columns]
    return explanations.plan(
        spec,
        champion,
        start=start,
        rows=list(zip(*texts, strict=True)),
        seen=seen,
        work=work,
    )


def sampled(
    files: Iterable[bytes | IO[bytes]], columns: Sequence[str], window: schedules.Window, most: int
) -> tuple[pa.Table, Counts]:
    """Return at most so many of the captured rows that have these columns, as text, in memory that does not grow.

    Each row is as likely as any other to be taken; the same files give the same rows.
    """
    counts, random = Counts(), np.random.RandomState(SEED)
    keys, table = np.zeros(0), pa.table({str(n): pa.array([], pa.string()) for n in range(len(columns))})
    for rows in read_batches(files, columns, {}, window=window, counts=counts):
        if rows.width != len(columns):
            continue
        keys = np.concatenate([keys, random.random_sample(len(rows.ids))])
        table = pa.concat_tables([table, pa.Table.from_batches([rows.features]).rename_columns(table.column_names)])
        if len(keys) > most:
            chosen = np.sort(np.argpartition(keys, most)[:most])
            keys, table = keys[chosen], table.take(pa.array(chosen)).combine_chunks()
    return table, counts


def _fit(columns: Sequence[Any], rows: int) -> Any:
    """Say which rows have numbers, or nothing, in all these columns: the model itself has refused any other."""
    good = np.ones(rows, dtype=bool)
    for column in columns:
        read = numbers(column)
        good &= read.nulls | (np.abs(read.values) <= _LARGEST)
    return good


def counted(seen: Mapping[str, Any]) -> Counts:
    """Return the counts that a sample's request keeps."""
    widths = Counter({int(width): int(rows) for width, rows in seen["widths"]})
    return Counts(0, seen["lines"], seen["bad"], seen["outside"], widths, set(seen["slices"]))


def conclude(model: str, spec: Mapping[str, Any], window: schedules.Window, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a window's attributions say against the champion's own, after the violations were written.

    Of several classes, the one whose ranking changed most is reported.

    Raises:
        NotFoundError: the window or the champion's own rows were not explained.
        BadInputError: what it wrote cannot be used.
    """
    least = float(spec["monitors"]["attribution"]["minimum_ndcg"])
    found: dict[str, Any] = {
        "status": "no_data", "verdict": "UNKNOWN", "severity": None, "features": [], "scores": {}, "ranks": [],
        "violations": [], "named": [], "rows": seen["rows"], "explained": seen["explained"], "emit": True,
    }  # fmt: skip
    if seen["explained"]:
        first, now = explanations.baseline(model, seen["champion"]), explanations.found(model, window[0])
        if first is None:
            raise NotFoundError(f"nobody has explained the held-out rows of {model}'s run {seen['champion']['run']}")
        found |= _judged(first, now, least) | {"named": spec["monitors"]["metrics_for"]}
    broken = {"version": "1.0", "violations": found["violations"]}
    uri = findings.put_files(model, window[0], {VIOLATIONS: broken}, monitoring.ATTRIBUTION)
    return found | {"broken": len(found["violations"]), "uri": uri}


def _judged(first: Mapping[str, Any], now: Mapping[str, Any], least: float) -> dict[str, Any]:
    sides = {
        label: (attribution.read_analysis(first, label=label), attribution.read_analysis(now, label=label))
        for label in attribution.labels(first)
    }
    scores = {label: attribution.ndcg(before, live) for label, (before, live) in sides.items()}
    worst = min(scores, key=lambda label: (scores[label], label))
    broken = [
        violation
        for label, score in scores.items()
        for violation in attribution.violations(score, least, label=label)["violations"]
    ]
    before, live = sides[worst]
    moved, then_at, now_at = attribution.ranks(before, live), attribution.places(before), attribution.places(live)
    return {
        "status": "CompletedWithViolations" if broken else "Completed",
        "verdict": "DEGRADED" if broken else "HEALTHY",
        "severity": "High" if broken else None,
        "features": [one["feature"] for one in moved] if broken else [],
        "violations": broken,
        "ndcg": scores[worst],
        "label": worst,
        "scores": {name: _short(value) for name, value in live.items()},
        "distances": {
            name: {"place": now_at[name], "place_before": then_at[name], "attribution_before": _short(before[name])}
            for name in sorted(before.keys() & live.keys())
        },
        "ranks": moved,
        "bars": [_bars(before, live, scores[worst], least)],
    }


def _bars(before: Mapping[str, float], live: Mapping[str, float], score: float, least: float) -> dict[str, Any]:
    """Return the plot of both rankings: the share that each feature has in all attributions, in the baseline's order."""
    ranked = sorted(before.keys() | live.keys(), key=lambda name: (-before.get(name, 0.0), name))
    sides = {"baseline": before, "current": live}
    return {
        "feature": "share of each feature in what decides", "measure": "NDCG", "drift": score, "threshold": least,
    } | {
        side: [{"label": name, "share": values.get(name, 0.0) / (sum(values.values()) or 1.0)} for name in ranked]
        for side, values in sides.items()
    }  # fmt: skip


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def top(model: str, spec: Mapping[str, Any], champion: Mapping[str, Any]) -> list[str]:
    """Return the five features that decide most in the champion's own held-out rows, none before they are known (XB-03)."""
    if not spec["monitors"]["attribution"]["enabled"] or not champion["run"]:
        return []
    first = explanations.baseline(model, champion)
    return attribution.top(first) if first else []
