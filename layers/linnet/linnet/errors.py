"""The errors that handlers raise; their names are the error names that the state machines match."""

from __future__ import annotations

from typing import Any


class LinnetError(Exception):
    """Something that Linnet refuses or cannot do, said so that the reader knows the next step."""


class BadInputError(LinnetError):
    """An input is wrong and stays wrong: it is quarantined, never retried (F6).

    Names the field, the value and what is allowed.
    """

    def __init__(self, field: str, value: Any, allowed: str) -> None:
        shown = repr(value)
        if len(shown) > 200:  # noqa: PLR2004 - a log line, not a dump of the input
            shown = shown[:200] + "..."
        super().__init__(f"{field}: {shown} is not allowed; allowed: {allowed}")
        self.field, self.value, self.allowed = field, value, allowed


class NotFoundError(LinnetError):
    """A thing that an event or a person named does not exist (any more)."""


class BusyError(LinnetError):
    """Somebody else holds the slot or the lease; trying again later is right."""


class ConflictError(LinnetError):
    """The world is not as the caller assumed (superseded, taken over, already decided); trying again is wrong."""


class UnknownOutcomeError(LinnetError):
    """The evidence is missing or unreadable; unknown is never treated as healthy (I7)."""


class NameTakenError(LinnetError):
    """The name of what is to be made belongs to something else; trying again under the same name is wrong."""


class JobFailedError(LinnetError):
    """A SageMaker job ended without completing; the message is its description as JSON, as a `.sync` task tells it."""
