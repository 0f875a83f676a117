"""The one intake: every signal is read again, written down once, kept until a run answers it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from linnet.decisions import governor, names, schedules, signals
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, Envelope, MonitorEvent, S3Event, S3Notification, ScheduledEvent, parse
from linnet.events.signals import Requested, Signal
from linnet.gateways import batches, ledger, notifications, runs, specs
from linnet.gateways.clients import client
from linnet.settings import settings


def receive(event: dict[str, Any], at: str) -> dict[str, Any]:
    """Take an event that came at a time to what it means; return what was done, for each model or object of many.

    Raises:
        BadInputError: the event is malformed, of an unknown kind, or names an unknown model.
    """
    if "Records" in event:
        return _notified(parse(S3Notification, event), at)
    envelope = parse(Envelope, event)
    match envelope.detail_type:
        case "Object Created":
            return batches.arrived(parse(S3Event, event), at)
        case "CloudWatch Alarm State Change":
            return _alarm(parse(AlarmEvent, event))
        case "SageMaker Model Monitor Execution Status Change":
            return _monitor(parse(MonitorEvent, event))
        case "Scheduled Event":
            return _ticked(parse(ScheduledEvent, event))
        case "Retraining Requested":
            asked = parse(Requested, event.get("detail"))
            spec = specs.spec_of(asked.model, field="detail.model")
            return admit(signals.of_request(envelope, asked), spec)
        case other:
            raise BadInputError(
                "detail-type", other, "Object Created, CloudWatch Alarm State Change, SageMaker Model Monitor Execution "
                "Status Change, Scheduled Event, Retraining Requested",
            )  # fmt: skip


def _notified(notification: S3Notification, at: str) -> dict[str, Any]:
    """Take an S3 event notification record by record; a wrong one is refused after the others have counted."""
    done: dict[str, Any] = {}
    wrong: BadInputError | None = None
    for record in notification.records:
        try:
            done[record.s3.object.key] = batches.arrived(record.as_event(), at)
        except BadInputError as error:
            wrong = wrong or error
    if wrong:
        raise wrong
    return done


def _ticked(tick: ScheduledEvent) -> dict[str, Any]:
    """Admit the tick for every model, whatever befalls another one: a model may be taken out in the same moment.

    Raises:
        RuntimeError: names the models that have not heard of it, after the others have; the event is delivered again.
    """
    done: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    for model in specs.models():
        try:
            spec = specs.read(model)
            done[model] = admit(signals.of_schedule(tick, model), spec) if spec else {"ignored": "it is taken out"}
        except Exception as error:  # noqa: BLE001 - one model's trouble must not keep the others from their signal
            failed[model] = error
    if failed:
        first = next(iter(failed.values()))
        raise RuntimeError(f"not told: {', '.join(failed)}; the first because of {type(first).__name__}") from first
    return done


def _monitor(event: MonitorEvent) -> dict[str, Any]:
    schedule = event.detail.monitoring_schedule_name
    spec = specs.first_of(
        names.possible_models(settings().stack, schedule), field="detail.MonitoringScheduleName", said=schedule
    )
    signal = signals.of_monitor(event, str(spec["model"]))
    return admit(signal, spec) if signal else {"ignored": "no violations"}


def _alarm(event: AlarmEvent) -> dict[str, Any]:
    signal = signals.of_alarm(event, settings().stack)
    if signal is None:
        return {"ignored": f"{event.detail.alarm_name} is {event.detail.state.value}"}
    spec = specs.spec_of(signal.model, field="detail.alarmName", said=event.detail.alarm_name)
    # The event is a claim: an alarm that has left ALARM since then asks for nothing any more (F4, F7).
    alarms = client("cloudwatch").describe_alarms(AlarmNames=[event.detail.alarm_name])["MetricAlarms"]
    if not alarms or alarms[0]["StateValue"] != "ALARM":
        return {"ignored": f"{event.detail.alarm_name} is not in ALARM any more"}
    return admit(signal, spec)


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
    asks = spec["retraining"]["ask_person"] and signal.kind not in ("manual", "code")
    _note(signal, "asking" if asks else "waiting")
    done = runs.ask(signal.model, signal.at, spec) if asks else runs.start(signal.model, signal.at, spec=spec)
    return {"signal": signal.id, "correlation_id": signal.id} | done


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
            next_step="A run starts as soon as the slot, the cool-down and the limits of the spec allow it"
            + (", and a person has said yes." if state == "asking" else "."),
            correlation_id=signal.id,
            severity=signal.severity,
        )
    runs.keep(signal, state, signal.id)


def reconcile(model: str, at: str) -> dict[str, Any]:
    """Find the signals that events missed: batches without one, folders nobody told of, alarms that stand (F5)."""
    spec = specs.spec_of(model)
    found = batches.reconcile(model, at, spec)
    slot = ledger.read(f"model/{model}", "slot") or {}
    rows = {str(r["signal"]["id"]): r for r in ledger.query(f"model/{model}", "reason#")}
    ours = client("cloudwatch").describe_alarms(AlarmNames=signals.alarms(settings().stack, model))["MetricAlarms"]
    for alarm in ours:
        name, since = alarm["AlarmName"], alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"]
        if alarm["StateValue"] != "ALARM" or not governor.may_start(slot, spec, at).start:
            continue
        told = [r for r in rows.values() if signals.tells_of(r["signal"]["source"], name, since)]
        # Answered and still standing: the same alarm's next word, once a turn of the slot, a cool-down and a window.
        turn = int(slot.get("turn", 0)) if any(r["state"] == "answered" for r in told) else None
        cooldown = timedelta(seconds=spec["retraining"]["cooldown_seconds"])
        cooled = governor.moment(at) - max(cooldown, schedules.pause(spec, name.rpartition("-")[2]))
        if turn is not None and max(governor.moment(r["signal"]["at"]) for r in told) > cooled:
            continue
        signal = signals.of_standing_alarm(name, model, since, at, alarm.get("StateReason", ""), turn=turn)
        if signal.id not in rows and (turn is not None or not told):
            found[signal.id] = admit(signal, spec)
    if spec["retraining"]["ask_person"]:
        found["question"] = runs.ask(model, at, spec)
    return found
