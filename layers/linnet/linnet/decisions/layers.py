"""The findings of the layers that no monitor reads, in the shape of a monitor's: infrastructure and business (MO-11)."""

from __future__ import annotations

from typing import Any, Literal

from linnet.decisions.onboarding import SERVING
from linnet.events.aws import AlarmEvent
from linnet.events.signals import Measured

_SLOW = "slow"
_BROKEN = "CompletedWithViolations"


def place(alarm: str, stack: str) -> tuple[str, str] | None:
    """Return model and purpose of a standing alarm on what serves; None for any other alarm."""
    model, _, purpose = alarm.removeprefix(f"{stack}-").rpartition("-")
    return (model, purpose) if model and purpose in SERVING and alarm.startswith(f"{stack}-") else None


def of_alarm(event: AlarmEvent, purpose: str, arn: str) -> dict[str, Any]:
    """Return the finding of an alarm that went to ALARM or to OK; late answers are Low, wrong ones or none High (TG-08)."""
    state = event.detail.state
    broken = state.value == "ALARM"
    severity: Literal["Low", "High"] = "Low" if purpose == _SLOW else "High"
    return _found("infrastructure", purpose, event.at, arn, broken, severity, state.reason[:500], {})


def of_measure(measured: Measured, event: str, at: str) -> dict[str, Any]:
    """Return the finding of a business value; beyond its limit it is High: nothing nearer to the purpose can break."""
    broken = measured.value < measured.limit if measured.direction == "below" else measured.value > measured.limit
    said = f"{measured.name} is {measured.value:g}, {measured.direction} its limit {measured.limit:g}"
    values = {measured.name: round(measured.value, 12) + 0.0}  # smaller ones are beyond DynamoDB's numbers
    return _found("business", measured.name, at, f"event {event}", broken, "High", said, values)


def _found(
    kind: Literal["infrastructure", "business"], name: str, at: str, proof: str, broken: bool,  # noqa: FBT001 - private
    severity: Literal["Low", "High"], said: str, scores: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    violation = {"metric_name": name, "constraint_check_type": f"{kind}_check", "description": said}
    return {
        "kind": kind, "status": _BROKEN if broken else "Completed", "verdict": "DEGRADED" if broken else "HEALTHY",
        "severity": severity if broken else None, "class": None, "features": [name] if broken else [], "scores": scores,
        "violations": [violation] if broken else [], "broken": int(broken), "rows": 0, "join_rate": None,
        "coverage": None, "lines": {"read": 0, "bad": 0, "outside": 0, "odd_rows": 0},
        "start": at, "end": at, "at": at, "uri": proof, "emit": False,
    }  # fmt: skip
