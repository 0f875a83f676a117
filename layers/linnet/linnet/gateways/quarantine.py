"""Where input goes that is wrong for ever: kept with its reason in S3, and told to people (F6, I10)."""

from __future__ import annotations

import json
from typing import Any

from linnet.decisions.names import digest
from linnet.errors import BadInputError
from linnet.gateways import notifications, s3
from linnet.settings import settings

KEPT_CHARACTERS = 200_000


def keep(thing: Any, error: BadInputError, found_by: str, *, model: str = "_unknown") -> str:
    """Write a quarantine record of `thing` and notify; return the record's S3 URI. The same thing makes one record.

    The record holds the input as it came, because the operator needs it to mend the sender; logs hold only its name.
    """
    text = json.dumps(thing, sort_keys=True, default=str)
    key = f"quarantine/{model}/{digest(text, str(error))}.json"
    record = {
        "found_by": found_by,
        "field": error.field,
        "value": repr(error.value)[:1000],
        "allowed": error.allowed,
        "input": text[:KEPT_CHARACTERS],
    }
    uri = f"s3://{settings().data_bucket}/{key}"
    if s3.head(uri) is None:
        notifications.notify(
            "quarantined",
            model=model,
            subject=f"Input refused by {found_by}: {error.field}",
            what=str(error),
            why="The input can never be processed as it is; it was kept and not retried.",
            proof=uri,
            next_step="Mend the sender and send it again.",
        )
        s3.put(uri, json.dumps(record, indent=1).encode())  # last: a crash before it tells twice, not never
    return uri


def keep_batches(model: str, run: str, refused: dict[str, str], report_uri: str) -> None:
    """Write why batches were refused beside the other quarantine records; the data itself stays where it arrived."""
    record = {"found_by": f"run {run}", "batches": refused, "report": report_uri}
    s3.put(f"s3://{settings().data_bucket}/quarantine/{model}/{run}.json", json.dumps(record, indent=1).encode())
