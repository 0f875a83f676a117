"""From an event to a signal: which events count, for which model, and under which identity."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from linnet.decisions import names
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, Envelope, MonitorEvent
from linnet.events.signals import REASONS, Kind, Requested, Signal

PREFIX = "raw-data/"
MANIFEST = "_MANIFEST.json"
CONTINUED = "~"
"""Between a folder's name and the number of the batch that continues it."""
_ALARMS: dict[str, tuple[Kind, str]] = {
    "drift": ("drift", REASONS["drift"]),
    "bias": ("drift", "BiasDriftDetected"),
    "attribution": ("drift", "AttributionDriftDetected"),
    "quality": ("quality", REASONS["quality"]),
}
"""The last word of an alarm that asks for a run -> the kind of its signal and its TriggerReason (TG-09)."""
_PARTITION = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=[^/]+$")


def place(key: str) -> tuple[str, str, str] | None:
    """Return model, batch and file name of `raw-data/<model>/<batch>/<file>`; None for what means nothing (DA-02).

    Hive partitions are one batch together: `year=2026/month=11/day=21` (DA-03). The key is taken as it comes:
    EventBridge does not encode it, so a '+' is a '+'.

    Raises:
        BadInputError: data lies under raw-data/ but not in a model's batch.
    """
    if not key.startswith(PREFIX) or key.endswith("/"):
        return None
    model, *path = key[len(PREFIX) :].split("/")
    folders = len(list(takewhile(is_partition, path[:-1]))) or 1
    batch, name = "/".join(path[:folders]), "/".join(path[folders:])
    if not (model and batch and name and all(path[:folders])):
        raise BadInputError("key", key, "raw-data/<model>/<batch>/<file>")
    if CONTINUED in batch:
        raise BadInputError("batch in key", batch, f"a folder without {CONTINUED}, which numbers late continuations")
    return model, batch, name


def is_partition(folder: str) -> bool:
    """Say whether a folder is a Hive partition such as `year=2026`."""
    return _PARTITION.match(folder) is not None


def of_alarm(event: AlarmEvent, stack: str) -> Signal | None:
    """Return the signal of an alarm; None unless it went to ALARM with its actions not suppressed (EB-03)."""
    state = event.detail.state
    if state.value != "ALARM" or state.actions_suppressed_by:
        return None
    alarm = event.detail.alarm_name
    model, _, purpose = alarm.removeprefix(f"{stack}-").rpartition("-")
    if purpose not in _ALARMS or not alarm.startswith(f"{stack}-"):
        return None  # one of our alarms that only tells
    since = _second(state.timestamp) or event.at
    return _alarmed(alarm, purpose, model, since, event.at, f"event {event.id}", state.reason)


def alarms(stack: str, model: str) -> list[str]:
    """Return the names of the model's alarms that ask for a run."""
    return [f"{names.base(stack, model)}-{purpose}" for purpose in _ALARMS]


def of_standing_alarm(alarm: str, model: str, since: datetime, at: str, reason: str, *, turn: int | None) -> Signal:
    """Return the signal of an alarm that the reconciler sees in ALARM since a time.

    Without a `turn` it is the signal of the alarm's own event, which may have been lost. With the slot's turn it is the
    same alarm's next word: the run that answered it has ended, and the alarm still stands.
    """
    found = f"seen again by the reconciler in turn {turn}" if turn is not None else "seen by the reconciler"
    stamp = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _alarmed(alarm, alarm.rpartition("-")[2], model, stamp, at, found, reason, turn)


def tells_of(source: str, alarm: str, since: datetime) -> bool:
    """Say whether a signal's source is this alarm's change to ALARM: its event and its description may differ a little."""
    beginning = f"alarm {alarm} since "
    try:
        told = datetime.fromisoformat(source.removeprefix(beginning).split(" ")[0])
    except ValueError:
        return False
    return source.startswith(beginning) and abs(told - since) <= timedelta(minutes=1)


def _alarmed(
    alarm: str, purpose: str, model: str, since: str, at: str, found: str, text: str, turn: int | None = None
) -> Signal:
    kind, reason = _ALARMS[purpose]
    identity = (alarm, since) if turn is None else (alarm, since, turn)
    return Signal(
        id=f"{kind}-{names.digest(*identity)}", kind=kind, model=model, at=at, reason=reason,
        source=f"alarm {alarm} since {since} ({found})", severity="High", text=text[:500],
    )  # fmt: skip


def _second(text: str) -> str:
    """Return a time as the ledger writes it, to the second; as it came when it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return text


def of_monitor(event: MonitorEvent, model: str) -> Signal | None:
    """Return the signal of a model's monitor that ended; None unless it was CompletedWithViolations (EB-02)."""
    if event.detail.monitoring_execution_status != "CompletedWithViolations":
        return None
    schedule = event.detail.monitoring_schedule_name
    return Signal(
        id=f"drift-{names.digest(schedule, event.at)}",
        kind="drift",
        model=model,
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


def of_request(event: Envelope, asked: Requested) -> Signal:
    """Return the signal of a person's or a build's request."""
    kind: Kind = "code" if asked.commit else "manual"
    return Signal(
        id=f"{kind}-{names.digest(asked.model, asked.request_id or asked.commit or event.id)}",
        kind=kind,
        model=asked.model,
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
