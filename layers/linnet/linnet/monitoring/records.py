"""Lines of data capture and of ground truth, one by one and without a number library: what was asked, answered and true.

A release's judge reads a few of them at every look; the monitors read whole windows by columns (`capture`).
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

BAD = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, csv.Error)
"""What a line that is no record raises."""
LONGEST_LINE = 32 * 1024 * 1024
LONGEST_FIELD = csv.field_size_limit()
_MOST_FIELDS = 1_000_000
"""In a line: Python's objects take a hundred times what the text takes that asks for them."""
NULLS = ("", "NA", "NaN", "nan", "null", "NULL")
"""How a CSV file spells a missing value."""


@dataclass(frozen=True)
class Asked:
    """One captured request: its rows as text, the first number answered for each, its id and when it came."""

    identity: str
    """The inference id that the caller gave, else the event id: what ground truth is joined by."""
    at: datetime
    rows: list[list[str | None]]
    outputs: list[str | None]


def read_line(
    line: bytes, columns: Sequence[str] = (), window: tuple[datetime, datetime] | None = None
) -> Asked | None:
    """Return a captured request, or None when its time lies outside the window (from, to; aware).

    Raises:
        BAD: the line is no capture record, or its input cannot be read.
    """
    record = _record(line)
    meta, captured = record["eventMetadata"], record["captureData"]
    at = moment_of(meta["inferenceTime"])
    if window is not None and not window[0] <= at < window[1]:
        return None
    name = _id(meta.get("inferenceId") or meta["eventId"])
    rows = _some(rows_of(payload_of(captured["endpointInput"]), columns))
    return Asked(name, at, rows, answers_of(captured.get("endpointOutput"), len(rows)))


def labels_of(file: bytes) -> Iterator[tuple[str, list[str | None]] | None]:
    """Yield the id and the labels, one a row of the request, of each line of ground truth; None for a line that is none."""
    for line in file.split(b"\n"):
        if not line.strip():
            continue
        try:
            record = _record(line)
            rows = _some(rows_of(payload_of(record["groundTruthData"]), ()))
            yield _id(record["eventMetadata"]["eventId"]), [row[0] if row else None for row in rows]
        except BAD:
            yield None


def _record(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise ValueError("too long")
    if line.count(b",") + line.count(b"[") + line.count(b"{") > _MOST_FIELDS:
        raise ValueError("too many fields")
    record = json.loads(line)
    if not isinstance(record, dict):
        raise TypeError("no object")
    return record


def _id(found: Any) -> str:
    if not isinstance(found, str) or not found:
        raise ValueError("no id")
    return _text(found)


def _text(found: str) -> str:
    """Return a text that is one: JSON can spell halves of a character, which no column of text can hold."""
    found.encode()
    return found


def _some(rows: Iterator[list[str | None]]) -> list[list[str | None]]:
    found = list(rows)
    if not found or not all(found):
        raise ValueError("no rows")
    return found


def moment_of(text: str) -> datetime:
    """Return a time of a record in UTC, which it also means where it names no zone."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def payload_of(found: Mapping[str, Any]) -> Any:
    """Return one side of a record: text for CSV, a parsed document (a list of them for JSON lines) for JSON."""
    text, encoding = found["data"], found.get("encoding", "CSV")
    if not isinstance(text, str):
        raise TypeError("data is no text")
    kind = str(found.get("observedContentType") or "")
    if encoding == "BASE64":
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError("no BASE64 of UTF-8") from None
        encoding = "JSON" if "json" in kind else "CSV"
    if sum(map(text.count, ",\n[{")) > _MOST_FIELDS:
        raise ValueError("too many fields")
    if encoding == "CSV":
        return _text(text)
    if encoding != "JSON":
        raise ValueError("unknown encoding")
    if "lines" in kind:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    return json.loads(text)


def rows_of(payload: Any, columns: Sequence[str]) -> Iterator[list[str | None]]:
    """Yield the rows of an input: CSV lines; JSON lists, objects by column name, `instances`, `features`."""
    if isinstance(payload, str):
        for row in _csv(payload):
            if row:
                yield [None if value in NULLS else value for value in row]
        return
    if isinstance(payload, Mapping):
        for wrapper in ("instances", "features"):
            if isinstance(payload.get(wrapper), list):
                yield from rows_of(payload[wrapper], columns)
                return
        extra = [name for name in payload if name not in columns]
        yield [field_of(payload.get(name)) for name in (*columns, *extra)]
        return
    if not isinstance(payload, list):
        raise TypeError("no rows")
    if payload and all(isinstance(item, list | Mapping) for item in payload):
        for item in payload:
            yield from rows_of(item, columns)
    else:
        yield [field_of(item) for item in payload]


def _csv(text: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), strict=True)


def field_of(value: Any) -> str | None:
    """Return a JSON value as a CSV file would spell it, None where it is missing.

    Raises:
        TypeError: it is a list or an object.
    """
    if value is None or value in NULLS or value != value:  # noqa: PLR0124 - NaN, which JSON cannot spell but Python reads
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError("a field is no number and no text")


def answers_of(found: Mapping[str, Any] | None, count: int) -> list[str | None]:
    """Return the first number answered for each of `count` rows, None for each where the answer does not fit them."""
    nothing: list[str | None] = [None] * count
    if not found or found.get("data") is None:
        return nothing
    try:
        payload = payload_of(found)
        if isinstance(payload, str):
            rows = [row for row in _csv(payload.strip()) if row]
            # XGBoost's container answers many rows in one line.
            values = rows[0] if len(rows) == 1 and count > 1 else [row[0] for row in rows]
            answers: list[str | None] = [value.strip() for value in values]
        else:
            answers = [_answer(item) for item in _items(payload)]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, csv.Error):
        return nothing
    return answers if len(answers) == count else nothing


def _items(payload: Any) -> list[Any]:
    if isinstance(payload, Mapping):
        inner = payload.get("predictions")
        return inner if isinstance(inner, list) else [payload]
    return payload if isinstance(payload, list) else [payload]


def _answer(item: Any) -> str | None:
    if isinstance(item, Mapping):
        names = [name for name in ("score", "probability", "prediction", "predicted_label") if name in item]
        return _answer(item[names[0]]) if names else None
    return _answer(item[0]) if isinstance(item, list) else field_of(item)
