"""From an event to a signal: which events count, for which model, and under which identity."""

from __future__ import annotations

from collections.abc import Collection

from linnet.decisions import names
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, Envelope, MonitorEvent
from linnet.events.signals import REASONS, Kind, Requested, Signal

PREFIX = "raw-data/"
MANIFEST = "_MANIFEST.json"
CONTINUED = "~"
"""Between a folder's name and the number of the batch that continues it."""
_ALARMS: dict[str, Kind] = {"drift": "drift", "quality": "quality"}


def place(key: str) -> tuple[str, str, str] | None:
    """Return model, batch and file name of `raw-data/<model>/<batch>/<file>`; None for what means nothing (DA-02).

    The key is taken as it comes: EventBridge does not encode it, so a '+' is a '+'.

    Raises:
        BadInputError: data lies under raw-data/ but not in a model's batch.
    """
    if not key.startswith(PREFIX) or key.endswith("/"):
        return None
    parts = key[len(PREFIX) :].split("/", 2)
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - model, batch, file
        raise BadInputError("key", key, "raw-data/<model>/<batch>/<file>")
    if CONTINUED in parts[1]:
        raise BadInputError("batch in key", parts[1], f"a folder without {CONTINUED}, which numbers late continuations")
    return parts[0], parts[1], parts[2]


def known(model: str | None, models: Collection[str], field: str, said: str) -> str:
    """Return `model` when it is onboarded.

    Raises:
        BadInputError: it is not; names the onboarded ones.
    """
    if model not in models or model is None:
        raise BadInputError(field, said, "an onboarded model: " + (", ".join(sorted(models)) or "none yet"))
    return model


def of_alarm(event: AlarmEvent, stack: str, models: Collection[str]) -> Signal | None:
    """Return the signal of an alarm; None unless it went to ALARM with its actions not suppressed (EB-03)."""
    state = event.detail.state
    if state.value != "ALARM" or state.actions_suppressed_by:
        return None
    alarm = event.detail.alarm_name
    model, _, purpose = alarm.removeprefix(f"{stack}-").rpartition("-")
    if purpose not in _ALARMS or not alarm.startswith(f"{stack}-"):
        return None  # one of our alarms that only tells
    kind = _ALARMS[purpose]
    known(model, models, "detail.alarmName", alarm)
    since = state.timestamp or event.at
    return Signal(
        id=f"{kind}-{names.digest(alarm, since)}",
        kind=kind,
        model=model,
        at=event.at,
        reason=REASONS[kind],
        source=f"alarm {alarm} since {since} (event {event.id})",
        severity="High" if kind == "drift" else "",
        text=state.reason[:500],
    )


def of_monitor(event: MonitorEvent, stack: str, models: Collection[str]) -> Signal | None:
    """Return the signal of a monitor's end; None unless it was CompletedWithViolations (EB-02)."""
    if event.detail.monitoring_execution_status != "CompletedWithViolations":
        return None
    schedule = event.detail.monitoring_schedule_name
    model = names.model_of(stack, schedule, tuple(models))
    return Signal(
        id=f"drift-{names.digest(schedule, event.at)}",
        kind="drift",
        model=known(model, models, "detail.MonitoringScheduleName", schedule),
        at=event.at,
        reason="ModelDriftDetected",
        source=f"monitor {schedule} (event {event.id})",
        severity="High",
    )


def of_schedule(event: Envelope, model: str) -> Signal:
    """Return a model's signal of a tick; a rule that fires twice for one tick gives the same id (F19)."""
    return Signal(
        id=f"schedule-{names.digest(model, event.at)}",
        kind="schedule",
        model=model,
        at=event.at,
        reason=REASONS["schedule"],
        source=f"schedule at {event.at} (event {event.id})",
    )


def of_request(event: Envelope, asked: Requested, models: Collection[str]) -> Signal:
    """Return the signal of a person's or a build's request."""
    kind: Kind = "code" if asked.commit else "manual"
    return Signal(
        id=f"{kind}-{names.digest(asked.model, asked.request_id or asked.commit or event.id)}",
        kind=kind,
        model=known(asked.model, models, "detail.model", asked.model),
        at=event.at,
        reason=REASONS[kind],
        source=f"{asked.requested_by} (event {event.id})" + (f", commit {asked.commit}" if asked.commit else ""),
        text=asked.reason,
    )


def of_batch(model: str, batch: str, digest: str, at: str) -> Signal:
    """Return the signal of a closed batch: its identity is what it holds."""
    return Signal(
        id=f"data-{names.digest(model, batch, digest)}",
        kind="data",
        model=model,
        at=at,
        reason=REASONS["data"],
        source=f"batch {batch}",
    )


def of_hand(model: str, execution: str, at: str) -> Signal:
    """Return the signal of an execution that somebody started in the console."""
    return Signal(
        id=f"manual-{names.digest(execution)}",
        kind="manual",
        model=model,
        at=at,
        reason=REASONS["manual"],
        source=f"execution {execution}",
    )


def trigger(signals: Collection[Signal]) -> dict[str, str]:
    """Return what a run shows of its merged reasons: the gravest first (EB-05)."""
    order = ("drift", "quality", "data", "code", "manual", "schedule")
    first = min(signals, key=lambda s: (order.index(s.kind), s.at))
    shown = {"TriggerReason": first.reason, "Timestamp": first.at}
    severity = next((s.severity for s in signals if s.severity), "")
    return shown | ({"DriftSeverity": severity} if severity else {})
