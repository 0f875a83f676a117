"""What the files and metrics of a monitor are called, and what a look is worth telling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from linnet.decisions.classes import MEANINGS
from linnet.decisions.names import base
from linnet.decisions.quality import Verdict
from linnet.errors import BadInputError

DATA_QUALITY: Final = "data-quality"
MODEL_QUALITY: Final = "model-quality"
BIAS: Final = "bias"
ATTRIBUTION: Final = "attribution"
DATA_SET: Final = "data-set"
LAYERS: Mapping[str, str] = {
    "infrastructure": "A standing alarm rings",
    "business": "A business value is beyond its limit",
}
"""The kinds of findings that no monitor makes, and what the runbook calls them (MO-11)."""
PREFIX = "aws/sagemaker"
"""Before all namespaces of metrics, unless the stack says otherwise."""
_NAMESPACES = {
    DATA_QUALITY: "data-metrics", MODEL_QUALITY: "model-metrics", BIAS: "bias-metrics", ATTRIBUTION: "explainability-metrics",
}  # fmt: skip
_FOLDERS = {DATA_QUALITY: "", MODEL_QUALITY: "model-quality/", BIAS: "bias/", ATTRIBUTION: "explainability/"}
DRIFT = "feature_baseline_drift_"
WORST = "feature_baseline_drift_max"
SILENT = "windows_without_data"
UNLABELLED = "windows_without_labels"
EXCESS = "bias_excess_max"
NDCG = "ndcg"
_SHOWN_FEATURES = 10
_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d\d)/(\d\d)/(\d\d)/[^/]+$")

Kind = Literal["data-quality", "model-quality", "bias", "attribution", "data-set"]
BY_JOB: frozenset[Kind] = frozenset({ATTRIBUTION})
"""The monitors whose windows a SageMaker job looks at; functions look at those of all others."""
Status = Literal["Completed", "CompletedWithViolations", "no_data", "no_labels"]
Measure = float | dict[str, float]
"""The value of a metric, or its StatisticValues."""


def parse_time(text: Any) -> datetime:
    """Return an ISO 8601 time with a zone as UTC.

    Raises:
        BadInputError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadInputError("time", text, "ISO 8601 with a zone, such as 2026-01-31T10:00:00Z") from None
    if moment.tzinfo is None:
        raise BadInputError("time", text, "a time with a zone, such as 2026-01-31T10:00:00Z")
    return moment.astimezone(UTC)


def stamp(moment: datetime) -> str:
    """Return a UTC time to the second, as the ledger writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(spec: Mapping[str, Any]) -> dict[Kind, dict[str, Any]]:
    """Return the settings of a spec's monitors that are on; none without capture."""
    if not spec["endpoint"]["capture_percent"]:
        return {}
    monitors = spec["monitors"]
    known: dict[Kind, dict[str, Any]] = {
        DATA_QUALITY: monitors["data_quality"], MODEL_QUALITY: monitors["model_quality"], BIAS: monitors["bias"],
        ATTRIBUTION: monitors["attribution"],
    }  # fmt: skip
    return {kind: settings for kind, settings in known.items() if settings["enabled"]}


def namespace(prefix: str, kind: Kind = DATA_QUALITY) -> str:
    """Return the namespace of a monitor's metrics, as Model Monitor's own are called below a prefix."""
    return f"{prefix}/Endpoints/{_NAMESPACES[kind]}"


def dimensions(stack: str, model: str, kind: Kind = DATA_QUALITY) -> list[dict[str, str]]:
    """Return the dimensions of the metrics of a model's monitor, as Model Monitor's own have them."""
    endpoint = base(stack, model)
    return [
        {"Name": "Endpoint", "Value": endpoint},
        {"Name": "MonitoringSchedule", "Value": f"{endpoint}-{kind}"},
    ]


def metrics(found: Mapping[str, Any]) -> dict[str, Measure]:
    """Return the metrics of a finding by name.

    A window without data has no drift, neither 0 nor any other (I7), one without labels no quality; what was read of it is
    known all the same. Of quality, there are the metrics that the champion's own evaluation has too. Only the
    features that the spec names have metrics of their own, because each costs as much as all the others that a model
    has. `emit_metrics: Disabled` in constraints.json is obeyed: of all, there are no metrics; of a feature, it has none
    and does not count in the largest drift.
    """
    if not found["emit"]:
        return {}
    values: dict[str, Measure] = {
        SILENT: float(found["status"] == "no_data"),
        "rows": float(found["rows"]),
        "bad_lines": float(found["lines"]["bad"]),
        "window_coverage": float(found["coverage"]),
    }
    if found["kind"] in (MODEL_QUALITY, BIAS):
        values[UNLABELLED] = float(found["status"] == "no_labels")
        values |= {"join_rate": float(found["join_rate"])} if found["join_rate"] is not None else {}
    if found["status"] in ("no_data", "no_labels"):
        return values
    return values | {"violations": float(found["broken"])} | _judged(found)


def _judged(found: Mapping[str, Any]) -> dict[str, Measure]:
    """Return the metrics of what a window was judged by."""
    values: dict[str, Measure] = {}
    if found["kind"] == BIAS:
        worst = max(found["excess"].values(), default=0.0)
        if worst > 0 or not found["unknown"]:  # where a limit could not be judged, 0 would say that all are kept (I7)
            values[EXCESS] = worst
        return values | {f"bias_metric_{name}": float(score) for name, score in found["scores"].items()}
    if found["kind"] == MODEL_QUALITY:
        return values | {name: float(score) for name, score in found["scores"].items()}
    if found["kind"] == ATTRIBUTION:
        values[NDCG] = float(found["ndcg"])
        return values | {
            f"feature_{name}": float(found["scores"][name]) for name in found["named"] if name in found["scores"]
        }
    scores = {name: float(score) for name, score in found["scores"].items() if name not in found["muted"]}
    if scores:
        values[WORST] = max(scores.values())
    for name, numbers in found["named"].items():
        if name not in found["muted"]:
            values |= {f"{kind}_{name}": number for kind, number in numbers.items()}
            values |= {f"{DRIFT}{name}": scores[name]} if name in scores else {}
    return values


def named(statistics: Mapping[str, Any], features: Sequence[str]) -> dict[str, dict[str, Measure]]:
    """Return of these features in a statistics.json what Model Monitor's metrics say of each: its values, how many are there.

    `feature_non_null` is 1 a row that has a value and 0 a row that has none: its average is the completeness.
    """
    found: dict[str, dict[str, Measure]] = {}
    for feature in statistics["features"]:
        numbers = feature.get("numerical_statistics") or {}
        common = (numbers or feature["string_statistics"])["common"]
        present, missing = float(common["num_present"]), float(common["num_missing"])
        if feature["name"] not in features or not present + missing:
            continue
        here = {
            "SampleCount": present + missing, "Sum": present,
            "Minimum": float(not missing), "Maximum": float(present > 0),
        }  # fmt: skip
        found[feature["name"]] = {"feature_non_null": here}
        if "sum" in numbers:
            of = {"Sum": "sum", "Minimum": "min", "Maximum": "max"}
            values = {name: float(numbers[field]) for name, field in of.items()}
            found[feature["name"]]["feature_data"] = {"SampleCount": present} | values
    return found


def capture_folders(configs: Sequence[str], endpoint: str, hours: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Return the prefixes below the bucket in which the capture of a window may lie, each once."""
    return [
        f"data-capture/{config}/{endpoint}/{variant}/{hour}/"
        for config in dict.fromkeys(configs)
        for variant in variants
        for hour in hours
    ]


def truth_folders(endpoint: str, days: Sequence[str]) -> list[str]:
    """Return the prefixes below the bucket in which ground truth that came on these days (`yyyy/mm/dd`) lies."""
    return [f"ground-truth/{endpoint}/{day}/" for day in days]


def data_set_folder(endpoint: str, name: str) -> str:
    """Return the prefix of the result files of a data set; no window's begins so."""
    return f"monitoring/{endpoint}/data-sets/{name}/"


def results_folder(endpoint: str, start: datetime, kind: Kind = DATA_QUALITY) -> str:
    """Return the prefix of a window's result files: the hour it starts in, and its minute unless that is 0.

    Those of data quality lie there themselves, those of other monitors in a folder of their own.
    """
    minute = f"{start:%M}/" if start.minute else ""
    return f"monitoring/{endpoint}/{start:%Y/%m/%d/%H}/{minute}{_FOLDERS[kind]}"


def work_folder(execution: str, window: Mapping[str, str] | None = None) -> str:
    """Return the prefix of what an execution of the monitor keeps for its own later steps, or for those of a window."""
    inner = f"{window['model']}/{window['kind']}/{window['start']}/" if window else ""
    return f"monitoring-shards/{execution}/{inner}"


def worth_telling(found: Mapping[str, Any]) -> bool:
    """Say whether people hear of a finding: of broken constraints, and of what cannot be judged, for want of labels or else."""
    return unjudged(found) or found["status"] in ("CompletedWithViolations", "no_labels")


def unjudged(found: Mapping[str, Any]) -> bool:
    """Say whether a limit could not be judged although labels were there; none that could be is broken."""
    return bool(found["status"] == "Completed" and found.get("verdict") == "UNKNOWN")


def same_state(found: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Say whether a finding goes on with what the one before it said: a state that lasts is told once.

    That is so for limits that the windows of one champion cannot judge, and for the layers that no monitor reads: what is
    broken there is told again when it was kept in between. Each window of a monitor that breaks a constraint is told.
    """
    alike = ["kind", "status", "verdict", "features", *(["champion"] if unjudged(found) else [])]
    same = all(found.get(name) == before.get(name) for name in alike)
    same = same and sorted(found.get("unknown") or ()) == sorted(before.get("unknown") or ())
    return same and (unjudged(found) or found["kind"] in LAYERS)


def non_compliant(found: Mapping[str, Any]) -> bool:
    """Say whether those who answer for fair treatment hear of a finding too: a limit on bias is broken (MO-07)."""
    return bool(found["kind"] == BIAS and found["status"] == "CompletedWithViolations")


def severity(drift: Mapping[str, float], *, notify_above: float, retrain_above: float) -> Literal["High", "Low"] | None:
    """Return how bad the worst drift is by the model's own thresholds: High above one, Low above the other (TG-07)."""
    worst = max(drift.values(), default=0.0)
    return "High" if worst > retrain_above else "Low" if worst > notify_above else None


def severity_by_labels(status: Status, verdict: Verdict) -> Literal["High", "Low"] | None:
    """Return how bad a finding of the answers is: High when they broke a limit, Low while they cannot be judged (TG-08)."""
    return "High" if verdict == "DEGRADED" else "Low" if verdict == "UNKNOWN" and status != "no_data" else None


def message(model: str, found: Mapping[str, Any]) -> dict[str, str]:
    """Return subject, what, why and next step of a finding, for people; features by name, the worst first (MO-04)."""
    if found["kind"] in LAYERS:
        return _message_of_layer(model, found)
    if found["kind"] == ATTRIBUTION:
        return _message_of_attribution(model, found)
    text = (
        _message_of_data(model, found)
        if found["kind"] in (DATA_QUALITY, DATA_SET)
        else _message_by_labels(model, found)
    )
    meaning = MEANINGS.get(found["class"] or "")
    return text | ({"next_step": f"{meaning} {text['next_step']}"} if meaning else {})


def _message_of_data(model: str, found: Mapping[str, Any]) -> dict[str, str]:
    scores = sorted(found["scores"].items(), key=lambda item: -item[1])
    worst = ", ".join(f"{name} {score:.2f}" for name, score in scores[:_SHOWN_FEATURES] if score > 0)
    broken = ", ".join(found["features"][:_SHOWN_FEATURES])
    season = f", that of {found['season']}" if found.get("season") else ""
    live = found["kind"] == DATA_QUALITY
    runs = "Sustained drift starts a run by itself where the spec lets it" if live else "No run starts by itself"
    subject = "the live data" if live else f"the data set {found['name']}"
    place = f"{found['start']} to {found['end']}" if live else f"{subject}, {found['data']}"
    return {
        "subject": f"{model}: {subject} left its baseline ({found['severity'] or 'no drift'})",
        "what": f"{found['broken']} constraints broken in {place}: {broken}",
        "why": f"Drift by feature: {worst or 'none above 0'}. Rows looked at: {found['rows']}. "
        f"Baseline: {found['baseline']}{season}.",
        "next_step": f"Some drift is expected. {runs}; to start one now, send Retraining Requested on Linnet's bus.",
    }


def _message_by_labels(model: str, found: Mapping[str, Any]) -> dict[str, str]:
    window = f"{found['start']} to {found['end']}"
    counted = f"{found['rows']} rows were answered, of which {found['labels']['unlabelled']} have no label"
    if found["status"] == "no_labels":
        return {
            "subject": f"{model}: too few labels to judge the live answers",
            "what": f"The answers of {window} cannot be judged: {counted}.",
            "why": f"Lines of ground truth that could not be read: {found['labels']['bad']}. Labels count that came up to "
            f"{found['at']}.",
            "next_step": "See that labels arrive under ground-truth/<endpoint>/yyyy/mm/dd/hh/ with the eventId or inferenceId "
            "of their request, or raise the monitor's label_delay_hours.",
        }
    if unjudged(found):
        unknown = "; ".join(f"{name}: {why}" for name, why in found["unknown"].items())
        return {
            "subject": f"{model}: not all of the live answers' {found['kind']} can be judged",
            "what": f"{len(found['unknown'])} limits are unknown in {window}, and later until something changes: "
            f"{', '.join(found['unknown'])}.",
            "why": f"{unknown}. {counted}.",
            "next_step": "docs/runbook.md, 'A limit cannot be judged'.",
        }
    if found["kind"] == BIAS:
        return _message_of_bias(model, found, counted)
    broken = "; ".join(violation["description"] for violation in found["violations"][:_SHOWN_FEATURES])
    return {
        "subject": f"{model}: the live answers got worse ({found['verdict']})",
        "what": f"{found['broken']} metrics of {window} are worse than the champion's own evaluation allows.",
        "why": f"{broken}. {counted}.",
        "next_step": "Where the alarm's floor is reached too, a run starts by itself if the spec lets it; to start one now, "
        "send Retraining Requested on Linnet's bus.",
    }


def _message_of_bias(model: str, found: Mapping[str, Any], counted: str) -> dict[str, str]:
    broken = "; ".join(f"{one['metric_name']}: {one['description']}" for one in found["violations"][:_SHOWN_FEATURES])
    unknown = "; ".join(f"{name}: {why}" for name, why in found["unknown"].items())
    return {
        "subject": f"{model}: {found['facet']} is treated unlike the others",
        "what": f"{found['broken']} limits on bias are broken in {found['start']} to {found['end']}.",
        "why": f"{broken}. {counted}." + (f" Unknown: {unknown}." if unknown else ""),
        "next_step": "docs/runbook.md, 'A group is treated worse'. Where the spec lets it, a run starts by itself.",
    }


def _message_of_attribution(model: str, found: Mapping[str, Any]) -> dict[str, str]:
    moved = "; ".join(
        f"{one['feature']} from place {one['baseline_rank']} to {one['live_rank']}"
        for one in found["ranks"][:_SHOWN_FEATURES]
    )
    return {
        "subject": f"{model}: it decides by other features than before",
        "what": f"{found['violations'][0]['description']} in {found['start']} to {found['end']}.",
        "why": f"Features that changed their place: {moved}. Rows explained: {found['explained']} of {found['rows']}.",
        "next_step": "Look for a damaged or new source of these features first. Where the spec lets it, a run starts by "
        "itself; to start one now, send Retraining Requested on Linnet's bus.",
    }


def _message_of_layer(model: str, found: Mapping[str, Any]) -> dict[str, str]:
    (broken,) = found["violations"]
    return {
        "subject": f"{model}: {found['kind']}: {broken['metric_name']} ({found['severity']})",
        "what": f"A limit of the layer {found['kind']} is broken since {found['start']}: {broken['metric_name']}.",
        "why": broken["description"],
        "next_step": f"docs/runbook.md, '{LAYERS[found['kind']]}'. No run starts by itself; to start one, send Retraining "
        "Requested on Linnet's bus.",
    }


def hour_of(key: str) -> datetime | None:
    """Return the UTC hour of the folder a capture file lies in (`.../yyyy/mm/dd/hh/<file>`), else None (DC-03)."""
    match = _HOUR.search(key)
    try:
        return datetime(*(int(part) for part in match.groups()), tzinfo=UTC) if match else None  # type: ignore[arg-type,misc]
    except ValueError:
        return None
