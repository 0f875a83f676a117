"""The ledger: one DynamoDB table, an append-only history of everything and the few rows that say what holds now.

Every write states the condition under which it is legal, and every claim is re-entrant: a lost answer may make the
same caller try again, and must then find that it already has what it asked for (practice.md finding 3). A row and the
history entry that tells of it are written together, so that no crash can part them.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from linnet.gateways.clients import client, error_code
from linnet.settings import settings

_ABSENT = "attribute_not_exists(pk)"
_ATTEMPTS = 6
_SERIALIZER, _DESERIALIZER = TypeSerializer(), TypeDeserializer()


def encode(value: Any) -> dict[str, Any]:
    """Return a DynamoDB attribute value; floats become exact decimals (peer bug ml-canary-deployment (c))."""
    exact = json.loads(json.dumps(value, default=str), parse_float=Decimal)
    return dict(_SERIALIZER.serialize(exact))


def decode(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain dict of a DynamoDB item; numbers become int or float."""
    return {name: _plain(_DESERIALIZER.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _item(pk: str, sk: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return _key(pk, sk) | {k: encode(v) for k, v in row.items()}


def read(pk: str, sk: str) -> dict[str, Any] | None:
    """Return a row by a consistent read, or None."""
    found = client("dynamodb").get_item(TableName=settings().table, Key=_key(pk, sk), ConsistentRead=True)
    return decode(found["Item"]) if "Item" in found else None


def query(
    pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None, before: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a partition whose sort key starts with `prefix`, or lies before a key, in order, page by page."""
    names: dict[str, Any] = {
        "TableName": settings().table,
        "ConsistentRead": True,
        "ScanIndexForward": not newest_first,
    }
    key = " AND sk < :sk" if before else " AND begins_with(sk, :sk)" if prefix else ""
    names["KeyConditionExpression"] = "pk = :pk" + key
    names["ExpressionAttributeValues"] = {":pk": {"S": pk}} | ({":sk": {"S": before or prefix}} if key else {})
    left = limit
    while True:
        page = client("dynamodb").query(**names, **({"Limit": left} if left else {}))
        for item in page["Items"]:
            yield decode(item)
        left = None if left is None else left - len(page["Items"])
        if "LastEvaluatedKey" not in page or (left is not None and left <= 0):
            return
        names["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def new(pk: str, sk: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the write of a row that is not there yet, for `append` and `together`."""
    return {"Put": {"TableName": settings().table, "Item": _item(pk, sk, row), "ConditionExpression": _ABSENT}}


def changed(
    pk: str,
    sk: str,
    *,
    put: Mapping[str, Any] | None = None,
    remove: tuple[str, ...] = (),
    add: Mapping[str, float] | None = None,
    only_if: str = "attribute_exists(pk)",
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the write of a change, for `append` and `together`; the arguments are those of `change`."""
    put, add, given = dict(put or {}), dict(add or {}), dict(given or {})
    names = {*put, *remove, *add, *re.findall(r"#(\w+)", only_if)}
    clauses = []
    if put:
        clauses.append("SET " + ", ".join(f"#{n} = :put_{n}" for n in put))
    if remove:
        clauses.append("REMOVE " + ", ".join(f"#{n}" for n in remove))
    if add:
        clauses.append("ADD " + ", ".join(f"#{n} :add_{n}" for n in add))
    values = {f":put_{n}": encode(v) for n, v in put.items()} | {f":add_{n}": encode(v) for n, v in add.items()}
    values |= {f":{n}": encode(v) for n, v in given.items()}
    write = {
        "TableName": settings().table,
        "Key": _key(pk, sk),
        "UpdateExpression": " ".join(clauses),
        "ConditionExpression": only_if,
    }
    write |= {"ExpressionAttributeNames": {f"#{n}": n for n in names}} if names else {}
    write |= {"ExpressionAttributeValues": values} if values else {}
    return {"Update": write}


def _write(operation: str, **arguments: Any) -> dict[str, Any] | None:
    """Call one write; None when its condition does not hold.

    A write that meets a transaction on the same row is refused with TransactionConflict, which the SDK does not repeat.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return dict(getattr(client("dynamodb"), operation)(**arguments))
        except ClientError as error:
            reasons = {r.get("Code") for r in error.response.get("CancellationReasons", [])} | {error_code(error)}
            if reasons & {"ConditionalCheckFailed", "ConditionalCheckFailedException"}:
                return None
            if not reasons & {"TransactionConflict", "TransactionConflictException"} or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - jitter, no secret # nosec B311
    raise AssertionError("the last attempt returned or raised")


def put_once(pk: str, sk: str, row: Mapping[str, Any]) -> bool:
    """Write a row unless one is there; say whether this call wrote it."""
    return _write("put_item", **new(pk, sk, row)["Put"]) is not None


def put_or_get(pk: str, sk: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write a row unless one is there; return the one that is there, None when this call wrote it."""
    return None if put_once(pk, sk, row) else read(pk, sk)


def change(
    pk: str,
    sk: str,
    *,
    put: Mapping[str, Any] | None = None,
    remove: tuple[str, ...] = (),
    add: Mapping[str, float] | None = None,
    only_if: str = "attribute_exists(pk)",
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Change attributes of a row where `only_if` holds; return the new row, or None where it does not.

    `only_if` is a condition expression; attribute names in it are written `#name`, values `:name` with `given`.
    The default condition refuses to create a row; pass an `attribute_not_exists(...)` clause to allow it.
    """
    write = changed(pk, sk, put=put, remove=remove, add=add, only_if=only_if, given=given)["Update"]
    answer = _write("update_item", **write, ReturnValues="ALL_NEW")
    return None if answer is None else decode(answer["Attributes"])


def together(*writes: dict[str, Any]) -> bool:
    """Make writes of `new` and `changed`, all or none; say whether all their conditions held."""
    return _write("transact_write_items", TransactItems=list(writes)) is not None


def remove(pk: str, sk: str) -> None:
    """Take away a row that says what holds now; history rows are never removed."""
    client("dynamodb").delete_item(TableName=settings().table, Key=_key(pk, sk))


def append(
    subject: str,
    kind: str,
    at: str,
    detail: Mapping[str, Any],
    *,
    key: str,
    beside: Sequence[dict[str, Any]] = (),
) -> bool:
    """Add one entry to the history of `subject` (`model/<name>`), and the rows `beside` it, all or nothing.

    The same `key` is written once, whoever repeats it. `at` is the ISO time of the thing itself, from its event or its
    execution. Returns whether it was written now: False when it was before, or when a condition of `beside` fails.
    """
    entry = f"{at}#{kind}#{key}"
    row = {"kind": kind, "at": at, "detail": dict(detail), "key": key}
    line = {"Put": {"TableName": settings().table, "Item": _item(f"{subject}#history", entry, row)}}
    once = new(f"{subject}#seen", f"{kind}#{key}", {"entry": entry})
    return together(once, line, *beside)


def told(subject: str, kind: str, key: str) -> bool:
    """Say whether the history of `subject` has this entry: what it says was also told to people, if it had to be."""
    return read(f"{subject}#seen", f"{kind}#{key}") is not None


def entry(subject: str, kind: str, key: str) -> dict[str, Any] | None:
    """Return one entry of the history of `subject`, or None."""
    seen = read(f"{subject}#seen", f"{kind}#{key}")
    return read(f"{subject}#history", str(seen["entry"])) if seen else None


def history(
    subject: str, *, newest_first: bool = True, limit: int | None = None, before: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a subject's history, only those before a time or an entry's key if one is given."""
    return query(f"{subject}#history", newest_first=newest_first, limit=limit, before=before)
