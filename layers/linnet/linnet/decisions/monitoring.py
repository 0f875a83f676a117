"""Which window a monitor looks at, what its files and metrics are called, and what a look is worth telling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from linnet.decisions.names import base
from linnet.errors import BadInputError

NAMESPACE = "aws/sagemaker/Endpoints/data-metrics"
DRIFT = "feature_baseline_drift_"
WORST = "feature_baseline_drift_max"
QUALITY_NAMESPACE = "aws/sagemaker/Endpoints/model-metrics"
SILENT = "windows_without_data"
_SHOWN_FEATURES = 10
_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d\d)/(\d\d)/(\d\d)/[^/]+$")
_DAY_MINUTES = 24 * 60
_LOOK_BACK = 2

Status = Literal["Completed", "CompletedWithViolations", "no_data"]


def window(at: str, minutes: int) -> tuple[datetime, datetime]:
    """Return start and end of the last window of `minutes` that was over at the time `at` (ISO 8601).

    Windows follow each other without gap or overlap from midnight UTC, however late a schedule fires; so each has
    exactly one datapoint, and "three windows in a row" is three periods of the alarm (TG-07).

    Raises:
        BadInputError: `at` is no time with a zone, or `minutes` does not divide a day.
    """
    if minutes < 1 or _DAY_MINUTES % minutes:
        raise BadInputError("window_minutes", minutes, "a number of minutes that divides a day")
    length = minutes * 60
    end = int(parse_time(at).timestamp()) // length * length
    return datetime.fromtimestamp(end - length, UTC), datetime.fromtimestamp(end, UTC)


def windows(at: str, minutes: int, *, since: str | None) -> list[tuple[datetime, datetime]]:
    """Return the last three windows that were over at `at`, oldest first, without those that were over at `since`."""
    start, end = window(at, minutes)
    length = end - start
    found = [(start - length * back, end - length * back) for back in range(_LOOK_BACK, -1, -1)]
    return [one for one in found if since is None or one[1] > parse_time(since)]


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


def schedule_name(stack: str, model: str, monitor: str = "data-quality") -> str:
    """Return the value of the dimension MonitoringSchedule of the metrics of a model's monitor."""
    return f"{base(stack, model)}-{monitor}"


def dimensions(stack: str, model: str, monitor: str = "data-quality") -> list[dict[str, str]]:
    """Return the dimensions of the metrics of a model's monitor, as Model Monitor's own have them."""
    return [
        {"Name": "Endpoint", "Value": base(stack, model)},
        {"Name": "MonitoringSchedule", "Value": schedule_name(stack, model, monitor)},
    ]


def metrics(status: Status, drift: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a look by name: a window without data has no drift, neither 0 nor any other (I7)."""
    if status == "no_data":
        return {SILENT: 1.0}
    found = {f"{DRIFT}{feature}": score for feature, score in drift.items()}
    return found | ({WORST: max(drift.values())} if drift else {}) | {SILENT: 0.0}


def capture_folders(configs: Sequence[str], endpoint: str, hours: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Return the prefixes below the bucket in which the capture of a window may lie, each once."""
    return [
        f"data-capture/{config}/{endpoint}/{variant}/{hour}/"
        for config in dict.fromkeys(configs)
        for variant in variants
        for hour in hours
    ]


def results_folder(endpoint: str, start: datetime) -> str:
    """Return the prefix of a window's result files: the hour it starts in, and its minute unless that is 0."""
    minute = f"{start:%M}/" if start.minute else ""
    return f"monitoring/{endpoint}/{start:%Y/%m/%d/%H}/{minute}"


def severity(drift: Mapping[str, float], *, notify_above: float, retrain_above: float) -> Literal["High", "Low"] | None:
    """Return how bad the worst drift is by the model's own thresholds: High above one, Low above the other (TG-07)."""
    worst = max(drift.values(), default=0.0)
    return "High" if worst > retrain_above else "Low" if worst > notify_above else None


def message(model: str, found: Mapping[str, Any]) -> dict[str, str]:
    """Return subject, what, why and next step of a finding, for people; features by name, the worst first (MO-04)."""
    scores = sorted(found["scores"].items(), key=lambda item: -item[1])
    worst = ", ".join(f"{name} {score:.2f}" for name, score in scores[:_SHOWN_FEATURES] if score > 0)
    broken = ", ".join(found["features"][:_SHOWN_FEATURES])
    return {
        "subject": f"{model}: the live data left its baseline ({found['severity'] or 'no drift'})",
        "what": f"{len(found['violations'])} constraints broken in {found['start']} to {found['end']}: {broken}",
        "why": f"Drift by feature: {worst or 'none above 0'}. Rows looked at: {found['rows']}.",
        "next_step": "Some drift is expected. Sustained drift starts a run by itself where the spec lets it; to start "
        "one now, send Retraining Requested on Linnet's bus.",
    }


def hour_of(key: str) -> datetime | None:
    """Return the UTC hour of the folder a capture file lies in (`.../yyyy/mm/dd/hh/<file>`), else None (DC-03)."""
    match = _HOUR.search(key)
    try:
        return datetime(*(int(part) for part in match.groups()), tzinfo=UTC) if match else None  # type: ignore[arg-type,misc]
    except ValueError:
        return None
