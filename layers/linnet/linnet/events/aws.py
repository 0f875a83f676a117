"""The AWS events that wake Linnet, as they really come (shapes: AWS documentation, spelling differences included).

Events are claims: a handler reads the named thing again before it acts. Unknown fields are ignored.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote_plus

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from linnet.errors import BadInputError


def _time(value: Any) -> Any:
    """Accept RFC 3339 and epoch milliseconds, as string or number: AWS sends all of them in `time` (peers.md 4.4)."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / 1000, UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError("a time in epoch milliseconds or RFC 3339") from None
    return value


def _source(value: Any) -> Any:
    """Accept `source` as a list of one: AWS's own model package sample has it so."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


Time = Annotated[datetime, BeforeValidator(_time)]


class Envelope(BaseModel):
    """What every EventBridge event has."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, defer_build=True)

    id: str = Field(min_length=1, max_length=200)
    source: Annotated[str, BeforeValidator(_source)]
    detail_type: str = Field(alias="detail-type")
    time: Time
    account: str = ""
    resources: list[str] = Field(default_factory=list)

    @property
    def at(self) -> str:
        """The event's own time as ISO 8601 in UTC, to the second: what the ledger writes."""
        return self.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Detail(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True, defer_build=True)


class Bucket(_Detail):
    """The bucket of an S3 event."""

    name: str


class S3Object(_Detail):
    """The object of an S3 event. `key` is plain text on EventBridge, not form-encoded (peers.md 4.1)."""

    key: str = Field(min_length=1, max_length=1024)
    size: int = Field(default=0, ge=0)
    etag: str = ""
    version_id: str = Field(default="", alias="version-id")
    sequencer: str = ""


class S3Detail(_Detail):
    """Detail of Object Created and Object Deleted."""

    bucket: Bucket
    object: S3Object
    reason: str = ""


class S3Event(Envelope):
    """An object was created or deleted."""

    source: Annotated[Literal["aws.s3"], BeforeValidator(_source)]
    detail_type: Literal["Object Created", "Object Deleted"] = Field(alias="detail-type")
    detail: S3Detail


class _NotifiedObject(_Detail):
    key: Annotated[str, BeforeValidator(lambda key: unquote_plus(key) if isinstance(key, str) else key)] = Field(
        min_length=1, max_length=1024
    )
    size: int = Field(default=0, ge=0)
    version_id: str = Field(default="", alias="versionId")
    sequencer: str = ""


class _NotifiedPlace(_Detail):
    bucket: Bucket
    object: _NotifiedObject


class S3Record(_Detail):
    """One record of an S3 event notification. Its key is form-encoded: a blank is a '+' (peers.md 4.1)."""

    event_source: Literal["aws:s3"] = Field(alias="eventSource")
    event_name: str = Field(alias="eventName", pattern=r"^ObjectCreated:")
    event_time: Time = Field(alias="eventTime")
    s3: _NotifiedPlace

    def as_event(self) -> S3Event:
        """Return the record as the EventBridge event that would tell the same."""
        found = self.s3.object
        return S3Event.model_validate({
            "id": f"{found.key}#{found.version_id or found.sequencer}"[:200], "source": "aws.s3",
            "detail-type": "Object Created", "time": self.event_time,
            "detail": {"bucket": self.s3.bucket.model_dump(), "object": found.model_dump()},
        })  # fmt: skip


class S3Notification(_Detail):
    """An S3 event notification, as a bucket sends it to a function directly."""

    records: list[S3Record] = Field(alias="Records", max_length=1000)


class AlarmState(_Detail):
    """State of an alarm in its event."""

    value: Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
    reason: str = ""
    timestamp: str = ""
    actions_suppressed_by: str | None = Field(default=None, alias="actionsSuppressedBy")


class AlarmDetail(_Detail):
    """Detail of CloudWatch Alarm State Change."""

    alarm_name: str = Field(alias="alarmName", min_length=1, max_length=255)
    state: AlarmState
    previous_state: AlarmState | None = Field(default=None, alias="previousState")


class AlarmEvent(Envelope):
    """A CloudWatch alarm changed its state."""

    source: Annotated[Literal["aws.cloudwatch"], BeforeValidator(_source)]
    detail_type: Literal["CloudWatch Alarm State Change"] = Field(alias="detail-type")
    detail: AlarmDetail


class PackageDetail(_Detail):
    """Detail of SageMaker Model Package State Change."""

    model_package_arn: str = Field(alias="ModelPackageArn", min_length=1)
    model_package_group_name: str = Field(default="", alias="ModelPackageGroupName")
    model_package_version: int = Field(default=0, alias="ModelPackageVersion")
    model_package_status: str = Field(default="", alias="ModelPackageStatus")
    model_approval_status: str = Field(default="", alias="ModelApprovalStatus")
    updated_fields: list[str] | None = Field(default=None, alias="UpdatedModelPackageFields")


class PackageEvent(Envelope):
    """A model package changed. Only a change of ModelApprovalStatus can be a decision (peers.md finding 6)."""

    source: Annotated[Literal["aws.sagemaker"], BeforeValidator(_source)]
    detail_type: Literal["SageMaker Model Package State Change"] = Field(alias="detail-type")
    detail: PackageDetail


class ExecutionDetail(_Detail):
    """Detail of Step Functions Execution Status Change; `input` is a JSON string or null when too large."""

    execution_arn: str = Field(
        alias="executionArn", pattern=r"^arn:[a-z-]+:states:[a-z0-9-]+:\d{12}:execution:[^:]+:[^:]+$"
    )
    state_machine_arn: str = Field(alias="stateMachineArn", min_length=1)
    name: str
    status: Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    input: str | None = None
    error: str | None = None
    cause: str | None = None


class ExecutionEvent(Envelope):
    """A Standard workflow's execution changed its status."""

    source: Annotated[Literal["aws.states"], BeforeValidator(_source)]
    detail_type: Literal["Step Functions Execution Status Change"] = Field(alias="detail-type")
    detail: ExecutionDetail


class MonitorDetail(_Detail):
    """Detail of the seed's own drift event (EB-02): custom or forwarded, never sent by SageMaker itself (T-01)."""

    monitoring_schedule_name: str = Field(alias="MonitoringScheduleName", min_length=1)
    monitoring_execution_status: str = Field(alias="MonitoringExecutionStatus")


class MonitorEvent(Envelope):
    """A monitor's execution ended; the detail-type is the one that requirement EB-02 gives."""

    source: Annotated[str, BeforeValidator(_source)]
    detail_type: Literal["SageMaker Model Monitor Execution Status Change"] = Field(alias="detail-type")
    detail: MonitorDetail


class ScheduledEvent(Envelope):
    """A scheduled rule fired."""

    source: Annotated[Literal["aws.events"], BeforeValidator(_source)]
    detail_type: Literal["Scheduled Event"] = Field(alias="detail-type")


Event = TypeVar("Event", bound=BaseModel)


def parse(kind: type[Event], event: Any) -> Event:
    """Return `event` as `kind`.

    Raises:
        BadInputError: names the first wrong field, its value and what is allowed.
    """
    try:
        return kind.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "event"
        raise BadInputError(
            field, first["input"] if first["type"] != "missing" else "(missing)", first["msg"]
        ) from None
