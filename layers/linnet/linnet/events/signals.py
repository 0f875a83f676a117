"""A signal: a normalised reason to act. Its id is its business identity, so that a repeat is the same signal (F1, F2).

And what others put on Linnet's bus: requests for a run, business values.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["data", "drift", "quality", "schedule", "manual", "code"]
REASONS: dict[str, str] = {
    "data": "NewDataAvailable",
    "drift": "DataDriftDetected",
    "quality": "ModelQualityDegraded",
    "schedule": "Scheduled",
    "manual": "Manual",
    "code": "CodeChanged",
}


class Signal(BaseModel):
    """What happened, to which model, when, and which event or person said so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=100)
    kind: Kind
    model: str
    at: str
    """The source's own time, ISO 8601 in UTC."""
    reason: str
    """TriggerReason as the run shows it (EB-05)."""
    source: str
    """Identity of the event, the person or the schedule behind it."""
    severity: Literal["High", "Low", ""] = ""
    """DriftSeverity (TG-08)."""
    text: str = Field(default="", max_length=500)


class Requested(BaseModel):
    """Detail of `Retraining Requested` on Linnet's bus: a person or a build asks for a run (TG-05, TG-06)."""

    model_config = ConfigDict(extra="ignore")

    model: str
    requested_by: str = Field(min_length=1, max_length=200)
    reason: str = Field(default="", max_length=500)
    commit: str = Field(default="", max_length=64)
    request_id: str = Field(default="", max_length=100)
    """The asker's own id; the same id asks once. Default: the event's id."""


class Measured(BaseModel):
    """Detail of `Business Measured` on Linnet's bus: revenue, conversion, ROI of what a model serves (MO-11)."""

    model_config = ConfigDict(extra="ignore")

    model: str
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
    value: Annotated[float, Field(ge=-1e15, le=1e15)]
    limit: Annotated[float, Field(ge=-1e15, le=1e15)]
    direction: Literal["below", "above"]
    """On which side of the limit the value is a finding; on the limit it is none."""
