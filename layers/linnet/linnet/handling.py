"""The frame of every handler: JSON logs with one correlation id, and a home for input that is wrong for ever."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger

from linnet import imported
from linnet.errors import BadInputError
from linnet.gateways import quarantine

Handler = Callable[[dict[str, Any], Any], Any]
logger = Logger(use_rfc3339=True)


def correlation_of(event: dict[str, Any]) -> str:
    """Return the id that follows one story: the one handed on, else the id of the event that starts it."""
    detail = event.get("detail")
    inner = detail if isinstance(detail, dict) else {}
    return str(event.get("correlation_id") or inner.get("correlation_id") or event.get("id") or "none")


class Payload(dict[str, Any]):
    """A workflow's payload: a field that is not there is bad input, named as such (an execution started by hand)."""

    def __missing__(self, field: str) -> Any:
        raise BadInputError(field, "(missing)", "a field of the payload; events/ has an example input of every machine")


def task(handler: Handler) -> Handler:
    """Frame a function that a workflow calls: an error is raised, so that the state machine's Catch sees its name."""
    imported()

    @functools.wraps(handler)
    def framed(event: dict[str, Any], context: Any) -> Any:
        logger.set_correlation_id(correlation_of(event))
        logger.info("called", extra={"function": context.function_name, "model": event.get("model")})
        try:
            return handler(Payload(event), context)
        except Exception as error:
            logger.exception("failed", extra={"error": type(error).__name__})
            raise

    return framed


def listener(handler: Handler) -> Handler:
    """Frame a function that an event wakes: bad input is quarantined and told, everything else is raised and retried.

    A quarantined event is handled: raising would only repeat it (F6). Returns what the handler returns.
    """
    imported()

    @functools.wraps(handler)
    def framed(event: dict[str, Any], context: Any) -> Any:
        try:
            _check(event)
            logger.set_correlation_id(correlation_of(event))
            logger.info("woken", extra={"function": context.function_name, "source": event.get("source")})
            return _entered(handler(event, context), event, context)
        except BadInputError as error:
            record = quarantine.keep(event, error, context.function_name)
            logger.warning("quarantined", extra={"record": record, "field": error.field, "allowed": error.allowed})
            return {"quarantined": record}
        except Exception as error:
            logger.exception("failed", extra={"error": type(error).__name__})
            raise

    return framed


def _entered(answer: Any, event: dict[str, Any], context: Any) -> Any:
    """Log what was done under the id of the story, which goes on from here: this line joins it to the event's id."""
    parts = list(answer.values()) if isinstance(answer, dict) else []
    each = parts if parts and all(isinstance(part, dict) for part in parts) else [answer]  # one a model
    for story in each:
        told = story.get("correlation_id") if isinstance(story, dict) else None
        logger.set_correlation_id(str(told or correlation_of(event)))
        logger.info("done", extra={"function": context.function_name, "event": event.get("id"), "answer": story})
    return answer


def _check(event: Any) -> None:
    if not isinstance(event, dict):
        raise BadInputError("event", event, "a JSON object")
    try:
        json.dumps(event, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # JSON may escape half a character; DynamoDB and S3 take none
        half = ascii(error.object[error.start : error.end])
        raise BadInputError("event", half, "texts of whole characters") from None
