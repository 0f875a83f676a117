"""Findings of the layers that no monitor reads: an alarm on what serves, a business value that somebody measured (MO-11)."""

from __future__ import annotations

from typing import Any

from linnet.decisions import layers
from linnet.errors import BadInputError
from linnet.events.aws import AlarmEvent, Envelope, parse
from linnet.events.signals import Measured
from linnet.gateways import findings, ledger, specs
from linnet.gateways.clients import client
from linnet.settings import settings


def receive(event: dict[str, Any]) -> dict[str, Any]:
    """Write down the finding that an event makes; return it in short, or why there is none.

    Raises:
        BadInputError: the event is malformed, of an unknown kind, or names an unknown model.
    """
    envelope = parse(Envelope, event)
    match envelope.detail_type:
        case "CloudWatch Alarm State Change":
            return _alarm(parse(AlarmEvent, event))
        case "Business Measured":
            measured = parse(Measured, event.get("detail"))
            specs.spec_of(measured.model, field="detail.model")
            found = layers.of_measure(measured, envelope.id, envelope.at)
            return _write(measured.model, measured.name, found, envelope.id)
        case other:
            raise BadInputError("detail-type", other, "CloudWatch Alarm State Change, Business Measured")


def _alarm(event: AlarmEvent) -> dict[str, Any]:
    alarm, state, before = event.detail.alarm_name, event.detail.state, event.detail.previous_state
    place = layers.place(alarm, settings().stack)
    over = state.value == "OK" and before is not None and before.value == "ALARM"
    if place is None or not (state.value == "ALARM" or over) or state.actions_suppressed_by:
        return {"ignored": f"{alarm} is {state.value}"}
    model, purpose = place
    specs.spec_of(model, field="detail.alarmName", said=alarm)
    # The event is a claim: of an alarm that has changed again since then, the later event tells (F4, F7).
    alarms = client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    if not alarms or alarms[0]["StateValue"] != state.value:
        return {"ignored": f"{alarm} is not {state.value} any more"}
    return _write(model, purpose, layers.of_alarm(event, purpose, str(alarms[0]["AlarmArn"])), event.id)


def _write(model: str, name: str, found: dict[str, Any], correlation_id: str) -> dict[str, Any]:
    champion = ledger.read(f"model/{model}", "champion") or {}
    found["champion"] = {part: champion.get(part) for part in ("version", "run", "baseline")}
    findings.write(model, found, name=name, correlation_id=correlation_id)
    return {"model": model, "correlation_id": correlation_id} | {
        part: found[part] for part in ("kind", "status", "severity", "features")
    }
