"""A window of live traffic against what is known of the champion: its data's baseline, its own evaluation (MO-02, MO-05)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from linnet.data import explanation
from linnet.data import shards as large
from linnet.decisions import baselines, datasets, monitoring, quality, report, schedules
from linnet.decisions.classes import classify
from linnet.decisions.evaluation import read_metrics
from linnet.errors import BadInputError
from linnet.gateways import explanations, findings
from linnet.monitoring import bias
from linnet.monitoring.capture import Capture, Counts, hours, read_capture
from linnet.monitoring.datasets import profile_files
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
from linnet.monitoring.live import profile_capture, together
from linnet.monitoring.plots import bars
from linnet.monitoring.profile import Profile, kinds_of
from linnet.monitoring.quality import judge, pairs
from linnet.monitoring.store import PROFILE, read_profile
from linnet.monitoring.tables import Source
from linnet.monitoring.truth import Joined, Truth, join, read_truth
from linnet.settings import settings

_SHOWN = 100
_HALF = 0.5
_EARLY = timedelta(hours=1)
"""Labels may come before the capture of their request is written."""


def look(
    kind: str, model: str, start: datetime, end: datetime, *, work: str = "", shards: int = 0, data: Any = None
) -> dict[str, Any]:
    """Return what a monitor finds in the window, after its files and the report for people were written.

    Or only how many `shards` it was cut into below the prefix `work`: more capture than one function looks at, to be
    profiled in shards (`linnet.data.shards`), with whose number this is called again. Attributions are concluded from what
    `linnet.data.explanation` left below `work`. Of the kind data-set it looks at `data`, `{uri, name}`, instead.

    Raises:
        BadInputError: there is no such monitor, or what it compares with cannot be used.
        NotFoundError: the model has no spec, no champion, or its champion no baseline.
    """
    looks: dict[str, Callable[..., dict[str, Any]]] = {
        monitoring.DATA_QUALITY: functools.partial(_data_quality, work=work, shards=shards),
        monitoring.MODEL_QUALITY: _model_quality, monitoring.BIAS: _bias,
        monitoring.ATTRIBUTION: functools.partial(_attribution, work=work),
    }  # fmt: skip
    if kind not in (*looks, monitoring.DATA_SET):
        raise BadInputError("kind", kind, " | ".join((*looks, monitoring.DATA_SET)))
    spec, champion = findings.subject(model)
    window = (start, end)
    if kind == monitoring.DATA_SET:
        found = _data_set(model, spec, champion, end, datasets.read(data, settings().data_bucket))
    else:
        found = looks[kind](model, spec, champion, window)
    if "shards" in found:
        return found
    beside = findings.beside(model, window) if found.get("verdict") == "DEGRADED" else []
    found["class"] = classify(found, beside, season_fits=found.pop("season_fits", None))
    part = "data_quality" if kind == monitoring.DATA_SET else kind.replace("-", "_")
    plots, least = found.pop("bars", []), spec["monitors"][part]["minimum_rows"]
    more = {"model": model, "bars": plots, "minimum_rows": least, "links": findings.links(model, champion)}
    more |= {"top": explanation.top(model, spec, champion)}
    findings.put_report(str(found["uri"]), report.html(found | more))
    return found


def read_baseline(uri: str, features: Sequence[str] | None = None) -> tuple[Profile, dict[str, Any]]:
    """Return a baseline's profile and its constraints.json; of somebody else's, only the model's own `features`, in order.

    A baseline that Model Monitor made of training data has the label too, which no request has.

    Raises:
        NotFoundError: a file is missing.
        BadInputError: a file cannot be read, or does not know one of the features.
    """
    own = findings.own_profile(uri, PROFILE)
    known = read_profile(own) if own else read_statistics(findings.baseline(uri, STATISTICS))
    limits = findings.baseline(uri, CONSTRAINTS)
    if features is None:
        return known, limits
    baselines.check(f"{uri}/{PROFILE if own else STATISTICS}", known.columns, features)
    baselines.check(f"{uri}/{CONSTRAINTS}", baselines.names(f"{uri}/{CONSTRAINTS}", limits), features)
    kept = [one for one in limits["features"] if one["name"] in features]
    return Profile(known.rows, {name: known.columns[name] for name in features}), limits | {"features": kept}


def _data_quality(
    model: str,
    spec: Mapping[str, Any],
    champion: Mapping[str, Any],
    window: schedules.Window,
    *,
    work: str,
    shards: int,
) -> dict[str, Any]:
    known, limits, used = _chosen(spec, champion, window[0])
    if shards:
        current, counts = together(large.parts(shards, known, champion, window, work), known)
    else:
        files = findings.captured(model, champion, hours(*window))
        if sum(file.size for file in files) > findings.largest_window():
            return {"shards": large.plan(files, known, champion, window, work)}
        current, counts = profile_capture(findings.contents(file.uri for file in files), known, window)
    documents, found = _compared(spec, champion, (known, limits, used), current)
    uri = findings.put_files(model, window[0], documents)
    return _common(monitoring.DATA_QUALITY, champion, counts, window, window[1]) | found | {"uri": uri}


def _data_set(
    model: str, spec: Mapping[str, Any], champion: Mapping[str, Any], at: datetime, data: datasets.DataSet
) -> dict[str, Any]:
    """Compare a data set at rest with the baseline of the day on which it is looked at; it has no window, so no metrics."""
    known, limits, used = _chosen(spec, champion, at)
    skipped: list[str] = []
    files = findings.data_files(data.uri, skipped)
    read: dict[str, Any]
    if data.captured:
        current, counts = profile_capture(_captured(files), known)
        read = {"lines": _lines(counts)}
    else:
        tables = (Source(name, path, kind) for name, kind, path in files)
        current, seen = profile_files(tables, known, label_first=data.label_first)
        read = {
            "files": {"read": seen.files, "passed_over": len(skipped)}, "deleted": seen.deleted,
            "ignored": sorted(seen.ignored)[:_SHOWN],
        }  # fmt: skip
    documents, found = _compared(spec, champion, (known, limits, used), current)
    moment = monitoring.stamp(at)
    return (
        found
        | read
        | {
            "kind": monitoring.DATA_SET,
            "name": data.name,
            "data": data.uri,
            "champion": _judged(champion),
            "start": moment,
            "end": moment,
            "at": moment,
            "emit": False,
            "uri": findings.put_data_set(model, data.name, documents),
        }
    )


def _captured(files: Iterable[tuple[str, datasets.Format, Path]]) -> Iterator[IO[bytes]]:
    for name, kind, path in files:
        if kind != "jsonl":
            raise BadInputError("data.uri", name, "only .jsonl files below captures/, as SageMaker writes them")
        yield path.open("rb")


def _chosen(
    spec: Mapping[str, Any], champion: Mapping[str, Any], start: datetime
) -> tuple[Profile, dict[str, Any], dict[str, str]]:
    """Return profile and constraints.json of the baseline for what began at `start`, and what the finding says of it."""
    chosen = baselines.choose(spec["monitors"]["data_quality"], str(champion["baseline"]), start)
    foreign = chosen.uri != champion["baseline"]
    known, limits = read_baseline(chosen.uri, list(spec["data"]["features"]) if foreign else None)
    return known, limits, {"baseline": chosen.uri} | ({"season": chosen.season} if chosen.season else {})


def _compared(
    spec: Mapping[str, Any],
    champion: Mapping[str, Any],
    against: tuple[Profile, dict[str, Any], dict[str, str]],
    current: Profile,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the result files and the finding of a profile against a baseline, as `_chosen` gives it."""
    known, limits, used = against
    settings, constraints = spec["monitors"]["data_quality"], read_constraints(limits)
    result = compare(known, current, constraints, minimum_rows=int(settings["minimum_rows"]))
    chosen = baselines.Chosen(used["baseline"], used.get("season"))
    seasons = baselines.others(settings, str(champion["baseline"]), chosen) if result.violations else []
    fits = any(_fits(uri, spec, known, current) for uri in seasons) if seasons else None
    statistics = statistics_json(current)
    told = {"linnet": used} if used["baseline"] != champion["baseline"] else {}
    documents = {
        STATISTICS: statistics, CONSTRAINTS: limits, VIOLATIONS: violations_json(result.violations) | told,
    }  # fmt: skip
    return documents, {
        **used,
        "status": result.status,
        "season_fits": fits,
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
        "resolution": round(result.resolution, 6),
        "rows": result.rows,
        "emit": constraints.settings.emit,
        "muted": [name for name, one in constraints.features.items() if not one.settings.emit],
        "named": monitoring.named(statistics, spec["monitors"]["metrics_for"]),
        "bars": [
            {
                "feature": name,
                "drift": result.drift[name],
                "threshold": constraints.features[name].settings.threshold(numeric=bool(known.columns[name].numeric)),
            }
            | bars(known.columns[name], current.columns[name])
            for name in result.features
            if name in result.drift
        ],
    }


def _fits(uri: str, spec: Mapping[str, Any], known: Profile, current: Profile) -> bool:
    """Say whether a window that was profiled for one baseline breaks nothing of another's (MO-09)."""
    other, limits = read_baseline(uri, list(spec["data"]["features"]))
    if kinds_of(other) != kinds_of(known):  # the window's columns were read as numbers or texts by the first one's
        return False
    return not compare(other, current, read_constraints(limits)).violations


def _model_quality(
    model: str, spec: Mapping[str, Any], champion: Mapping[str, Any], window: schedules.Window
) -> dict[str, Any]:
    """Judge the champion's own answers by the labels that came until the delay was over; what came later does not count.

    The limits are those of its own evaluation on held-out rows, at the threshold for calls that was tuned there.
    """
    settings = spec["monitors"]["model_quality"]
    decided = _decision(findings.evaluation(model, champion))
    limits = quality.constraints(read_metrics(decided), float(settings["tolerance"]))
    at = window[1] + schedules.delay(settings)
    seen, labels, joined = _answered(model, spec, champion, window, at)
    rows = pairs(
        "BinaryClassification", joined.labels, joined.scores,
        unlabelled=joined.unlabelled, unpredicted=joined.unpredicted,
    )  # fmt: skip
    result = judge(
        rows, limits, threshold=float(decided.get("threshold", _HALF)), minimum_rows=int(settings["minimum_rows"])
    )
    dataset = {
        "item_count": rows.scored, "start_time": monitoring.stamp(window[0]), "end_time": monitoring.stamp(window[1]),
        "evaluation_time": monitoring.stamp(at),
    }  # fmt: skip
    documents = {
        STATISTICS: quality.statistics_json(rows.problem, result.metrics, dataset),
        CONSTRAINTS: quality.constraints_json(rows.problem, limits),
        VIOLATIONS: {"violations": list(result.violations)},
    }
    uri = findings.put_files(model, window[0], documents, monitoring.MODEL_QUALITY)
    values = quality.numbers(result.metrics)
    return _common(monitoring.MODEL_QUALITY, champion, seen.counts, window, at) | {
        "status": result.status,
        "verdict": result.verdict,
        "severity": monitoring.severity_by_labels(result.status, result.verdict),
        "features": [str(violation["metric_name"]) for violation in result.violations],
        "scores": {name: round(values[name], 6) for name in limits if name in values},
        "unknown": {name: "the labelled rows leave it undefined" for name in limits if name not in values},
        "violations": list(result.violations[:_SHOWN]),
        "broken": len(result.violations),
        "rows": rows.rows,
        "labels": _labels(labels, joined) | {"odd": rows.odd_labels},
        "join_rate": rows.join_rate,
        "emit": True,
        "uri": uri,
    }  # fmt: skip


def _bias(model: str, spec: Mapping[str, Any], champion: Mapping[str, Any], window: schedules.Window) -> dict[str, Any]:
    """Judge how the champion's answers treat a group of its callers, by the labels that came until the delay was over."""
    settings = spec["monitors"]["bias"]
    facet, values = str(settings["facet"]), list(settings["disadvantaged"])
    evaluated = findings.evaluation(model, champion)
    threshold = float(_decision(evaluated).get("threshold", _HALF))
    at = window[1] + schedules.delay(settings)
    seen, labels, joined = _answered(model, spec, champion, window, at)
    if facet not in seen.features.column_names:
        raise BadInputError(
            "monitors.bias.facet", facet, f"one of {len(seen.features.column_names)} columns most rows have"
        )
    column = seen.features.column(facet)
    group = pc.is_in(column, pa.array(values, pa.string())).to_numpy()[joined.kept]
    others = column.is_valid().to_numpy()[joined.kept] & ~group
    usable = np.isin(joined.labels, (0.0, 1.0))
    table = bias.count(joined.labels[usable], joined.scores[usable] >= threshold, group[usable], others[usable])
    scored = int(usable.sum())
    result = bias.judge(
        table, settings["limits"], bias.of_evaluation(evaluated, facet, values),
        rows=seen.rows, labelled=scored, minimum_rows=int(settings["minimum_rows"]),
        about={"label": str(spec["data"]["label"]), "facet": facet, "facet_value": ",".join(values)},
    )  # fmt: skip
    documents = {"analysis.json": result.analysis, VIOLATIONS: result.violations}
    uri = findings.put_files(model, window[0], documents, monitoring.BIAS)
    broken = result.violations["violations"]
    return _common(monitoring.BIAS, champion, seen.counts, window, at) | {
        "status": result.status,
        "verdict": result.verdict,
        "severity": monitoring.severity_by_labels(result.status, result.verdict),
        "facet": facet,
        "features": [one["metric_name"] for one in broken],
        "scores": {name: round(value, 6) for name, value in result.values.items()},
        "excess": {name: round(value, 6) for name, value in result.excess.items()},
        "unknown": result.unknown,
        "violations": broken,
        "broken": len(broken),
        "rows": seen.rows,
        "labels": _labels(labels, joined) | {"odd": len(usable) - scored},
        "join_rate": joined.join_rate,
        "emit": True,
        "uri": uri,
    }


def _attribution(
    model: str, spec: Mapping[str, Any], champion: Mapping[str, Any], window: schedules.Window, work: str
) -> dict[str, Any]:
    """Conclude from what a job has explained, of the champion that it explained."""
    seen = explanations.seen(work)
    counts = explanation.counted(seen)
    found = explanation.conclude(model, spec, window, seen)
    return _common(monitoring.ATTRIBUTION, {**champion, **seen["champion"]}, counts, window, window[1]) | found


def _decision(evaluated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an evaluation at the threshold that was tuned, or as it is."""
    return evaluated.get("decision") or evaluated


def _answered(
    model: str, spec: Mapping[str, Any], champion: Mapping[str, Any], window: schedules.Window, at: datetime
) -> tuple[Capture, Truth, Joined]:
    """Return what the champion itself answered in a window, and the labels that came up to `at`."""
    files = findings.own_capture(model, champion, hours(*window))
    seen = read_capture(files, list(spec["data"]["features"]), window=window)
    labels = read_truth(findings.truth(model, hours(window[0] - _EARLY, at)))
    return seen, labels, join(seen, labels)


def _labels(labels: Truth, joined: Joined) -> dict[str, int]:
    return {
        "bad": labels.bad, "duplicates": labels.duplicates, "unlabelled": joined.unlabelled,
        "unpredicted": joined.unpredicted,
    }  # fmt: skip


def _common(
    kind: str, champion: Mapping[str, Any], n: Counts, window: schedules.Window, at: datetime
) -> dict[str, Any]:
    """Return what the findings of all monitors have."""
    return {
        "kind": kind,
        "class": None,
        "lines": _lines(n),
        "coverage": round(n.coverage, 6),
        "champion": _judged(champion),
        "start": monitoring.stamp(window[0]),
        "end": monitoring.stamp(window[1]),
        "at": monitoring.stamp(at),
    }


def _judged(champion: Mapping[str, Any]) -> dict[str, Any]:
    return {name: champion[name] for name in ("version", "run", "baseline")}


def _lines(n: Counts) -> dict[str, int]:
    return {"read": n.lines, "bad": n.bad, "outside": n.outside, "odd_rows": n.odd_rows}
