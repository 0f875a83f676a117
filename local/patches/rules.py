"""Patches of the emulator's EventBridge."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from ministack.services import eventbridge, lambda_svc, scheduler, sns, sqs
from ministack.services import stepfunctions as states

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.25


def apply() -> None:
    schedule_ticks()
    dead_letter_targets()


def schedule_ticks() -> None:
    """Schedules are looked at every 10 real seconds in the emulator: 10 minutes of a clock that runs 60 times faster."""
    eventbridge._SCHEDULER_TICK_INTERVAL = _TICK_SECONDS
    scheduler._SCHEDULE_TICK_INTERVAL = _TICK_SECONDS


def dead_letter_targets() -> None:
    """An event that a rule cannot deliver goes to the target's dead-letter queue; the emulator drops it."""
    invoke = eventbridge._invoke_target

    def missing(spec: Any) -> str:
        arn = str(spec)
        if spec.service == "lambda":
            return "" if lambda_svc._get_func_record_for_ref(arn)[0] else f"Function not found: {arn}"
        if spec.service == "sqs":
            return "" if sqs._queue_by_arn(arn) else f"Queue does not exist: {arn}"
        if spec.service == "states":
            return "" if states._resolve_state_machine_arn(arn) else f"State machine does not exist: {arn}"
        if spec.service == "sns":
            return "" if arn in sns._topics else f"Topic does not exist: {arn}"
        return ""

    def invoke_or_keep(target: Mapping[str, Any], event: Any, rule: Mapping[str, Any], view: Any = None) -> None:
        queue = (target.get("DeadLetterConfig") or {}).get("Arn")
        why = missing(eventbridge.parse_arn(target.get("Arn", ""))) if queue else ""
        if not why:
            invoke(target, event, rule, view)
            return
        view = view or eventbridge._pattern_event_view(event)
        attributes = {
            "ERROR_CODE": "NO_RESOURCE",
            "ERROR_MESSAGE": why,
            "RULE_ARN": rule.get("Arn", ""),
            "TARGET_ARN": target["Arn"],
        }
        sqs_send(queue, json.dumps(view.event_with_detail()), attributes)

    eventbridge._invoke_target = invoke_or_keep


def sqs_send(arn: str, body: str, attributes: Mapping[str, str]) -> None:
    """Put a message with string attributes into the queue `arn`."""
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        _LOG.error("the dead-letter queue %s does not exist; lost: %s", arn, body)
        return
    spec = eventbridge.parse_arn(arn)
    eventbridge._dispatch_to_sqs(spec, body)
    queue["messages"][-1]["message_attributes"] = {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
    }
