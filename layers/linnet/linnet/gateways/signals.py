"""The one intake: every signal is read again, written down once, kept until a run answers it."""

from __future__ import annotations

from typing import Any

from linnet.decisions import signals
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, Envelope, MonitorEvent, S3Event, ScheduledEvent, parse
from linnet.events.signals import Requested, Signal
from linnet.gateways import batches, ledger, notifications, runs, specs
from linnet.gateways.clients import client
from linnet.settings import settings


def receive(event: dict[str, Any]) -> dict[str, Any]:
    """Take an event of any source to what it means; return what was done for each model.

    Raises:
        BadInputError: the event is malformed, of an unknown kind, or names an unknown model.
    """
    envelope = parse(Envelope, event)
    match envelope.detail_type:
        case "Object Created":
            return batches.arrived(parse(S3Event, event))
        case "CloudWatch Alarm State Change":
            return _alarm(parse(AlarmEvent, event))
        case "SageMaker Model Monitor Execution Status Change":
            found = signals.of_monitor(parse(MonitorEvent, event), settings().stack, specs.models())
            return admit(found) if found else {"ignored": "no violations"}
        case "Scheduled Event":
            tick = parse(ScheduledEvent, event)
            return {model: admit(signals.of_schedule(tick, model)) for model in specs.models()}
        case "Retraining Requested":
            asked = parse(Requested, event.get("detail"))
            return admit(signals.of_request(envelope, asked, specs.models()))
        case other:
            raise BadInputError(
                "detail-type", other, "Object Created, CloudWatch Alarm State Change, SageMaker Model Monitor Execution "
                "Status Change, Scheduled Event, Retraining Requested",
            )  # fmt: skip


def _alarm(event: AlarmEvent) -> dict[str, Any]:
    signal = signals.of_alarm(event, settings().stack, specs.models())
    if signal is None:
        return {"ignored": f"{event.detail.alarm_name} is {event.detail.state.value}"}
    # The event is a claim: an alarm that has left ALARM since then asks for nothing any more (F4, F7).
    alarms = client("cloudwatch").describe_alarms(AlarmNames=[event.detail.alarm_name])["MetricAlarms"]
    if not alarms or alarms[0]["StateValue"] != "ALARM":
        return {"ignored": f"{event.detail.alarm_name} is not in ALARM any more"}
    return admit(signal)


def admit(signal: Signal, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write a signal down and start a run if one may start now. The same signal is admitted once, however often it comes."""
    spec = spec or specs.spec_of(signal.model)
    if signal.kind not in spec["retraining"]["signals"]:
        _note(signal, "noted")
        return {
            "signal": signal.id,
            "correlation_id": signal.id,
            "done": f"noted: the spec does not retrain on {signal.kind}",
        }
    _note(signal, "waiting")
    return {"signal": signal.id, "correlation_id": signal.id} | runs.start(signal.model, signal.at, spec=spec)


def _note(signal: Signal, state: str) -> None:
    """Tell people of a drift, then keep the reason and its entry: a crash between tells twice, not never."""
    subject = f"model/{signal.model}"
    if signal.kind in ("drift", "quality") and not ledger.told(subject, "signal", signal.id):
        notifications.notify(
            "drift",
            model=signal.model,
            subject=f"{signal.model}: {signal.reason}",
            what=signal.text or signal.source,
            why=signal.source,
            proof=f"ledger model/{signal.model} reason#{signal.id}",
            next_step="A run starts as soon as the slot, the cool-down and the daily limit allow it.",
            correlation_id=signal.id,
        )
    runs.keep(signal, state, signal.id)
