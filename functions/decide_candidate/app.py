"""Takes a person's word about a decision: invoked by hand, or by the event Decision Made on Linnet's bus."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from linnet.errors import BadInputError
from linnet.events.aws import Envelope, parse
from linnet.gateways import registry
from linnet.handling import listener, logger, task


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{decision_id, decision, decided_by, comment}`, plain or as an event's detail; return what counts now.

    A person who invokes it sees an error as an error; an event that is wrong for ever is quarantined.
    """
    frame = listener if "detail-type" in event else task
    return dict(frame(_decide)(event, context))


def _decide(event: dict[str, Any], context: Any) -> dict[str, Any]:
    word = event.get("detail", event)
    if not isinstance(word, dict):
        raise BadInputError("detail", word, "decision_id, decision, decided_by, comment")
    at = parse(Envelope, event).at if "detail-type" in event else datetime.now(UTC).isoformat(timespec="seconds")
    answer = registry.decide(word, at)
    logger.info("decided", extra={"decision_id": answer["decision_id"], "state": answer["state"], "why": answer["why"]})
    return answer
