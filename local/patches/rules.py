"""Patches of the emulator's EventBridge, and of the queues and buckets around it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from ministack.services import eventbridge, lambda_svc, s3, scheduler, sns, sqs
from ministack.services import stepfunctions as states

from local.clock import WallClock
from local.patches.tools import edit

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.25


def apply(clock: WallClock) -> None:
    """Apply them."""
    schedule_ticks()
    dead_letter_targets()
    object_versions()
    visibility_of_work(clock)


def schedule_ticks() -> None:
    """The emulator looks at schedules every 10 real seconds: 10 minutes of a clock that runs 60 times faster."""
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
        if queue is None or not why:
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


def object_versions() -> None:
    """Events of a versioned bucket name the version that came or went; the emulator leaves it out."""
    edit(
        s3,
        "_fire_s3_event",
        (
            """
                if reason is not None:
""",
            """
                if version_id:
                    detail["object"]["version-id"] = version_id
                if reason is not None:
""",
        ),
        (
            """
                    "event-version": "1.0",
""",
            "",
        ),
    )


def visibility_of_work(clock: WallClock) -> None:
    """A message stays hidden for its visibility timeout in real seconds, since work, not waiting, must fit into it."""
    sqs._WORK_RATE = clock.rate
    edit(
        sqs,
        "_collect_msgs",
        ('m["visible_at"] = now + vis_timeout', 'm["visible_at"] = now + vis_timeout * _WORK_RATE'),
    )
    edit(
        sqs,
        "_collect_fifo",
        ('m["visible_at"] = now + vis_timeout', 'm["visible_at"] = now + vis_timeout * _WORK_RATE'),
    )
    for name in ("_act_change_visibility", "_act_change_visibility_batch"):
        edit(sqs, name, ("time.time() + vt", "time.time() + vt * _WORK_RATE"))
