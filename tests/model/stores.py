"""DynamoDB and S3 as dictionaries: what the ledger and the captured answers need, a hundred times faster than moto.

Thousands of schedules a run are possible only so. test_release_crashes.py holds the tables against moto's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
_TOKENS = re.compile(r"attribute_exists|attribute_not_exists|<=|<>|[=(),]|AND|OR|[:#]?\w+")


def _failed(code: str, operation: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "refused"}, **more}, operation)  # type: ignore[arg-type]


def _value(attribute: Mapping[str, Any]) -> Any:
    return Decimal(attribute["N"]) if "N" in attribute else attribute


class _Condition:
    """A condition expression over one item: OR of AND of comparisons, by recursive descent."""

    def __init__(self, text: str, item: Item | None, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
        self._item, self._names, self._values = item or {}, names, values
        self._left = _TOKENS.findall(text)

    def holds(self) -> bool:
        found = self._either()
        assert not self._left, self._left
        return found

    def _take(self, wanted: str = "") -> str:
        token = str(self._left.pop(0))
        assert wanted in ("", token), (wanted, token)
        return token

    def _either(self) -> bool:
        found = self._both()
        while self._left[:1] == ["OR"]:
            self._take()
            found = self._both() or found
        return found

    def _both(self) -> bool:
        found = self._one()
        while self._left[:1] == ["AND"]:
            self._take()
            found = self._one() and found
        return found

    def _one(self) -> bool:
        token = self._take()
        if token == "(":
            found = self._either()
            self._take(")")
            return found
        if token.startswith("attribute_"):
            self._take("(")
            there = self._attribute(self._take()) is not None
            self._take(")")
            return there is (token == "attribute_exists")
        seen, comparator = self._attribute(token), self._take()
        if comparator == "IN":
            given = [self._values[token] for token in iter(self._take, ")") if token not in "(,"]
            return seen is not None and _value(seen) in map(_value, given)
        if comparator not in ("=", "<>", "<="):
            raise NotImplementedError(comparator)
        given = self._values[self._take()]
        if seen is None:
            return comparator == "<>"
        one, other = _value(seen), _value(given)
        return bool({"=": one == other, "<>": one != other}[comparator] if comparator != "<=" else one <= other)

    def _attribute(self, name: str) -> Any:
        return self._item.get(self._names[name] if name.startswith("#") else name)


class TablesClient:
    """boto3's client of DynamoDB, over one table with `pk` and `sk`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Item] = {}

    @staticmethod
    def _key(item: Mapping[str, Any]) -> tuple[str, str]:
        return item["pk"]["S"], item["sk"]["S"]

    def get_item(self, **request: Any) -> dict[str, Any]:
        """Return an item."""
        found = self._rows.get(self._key(request["Key"]))
        return {} if found is None else {"Item": dict(found)}

    def query(self, **request: Any) -> dict[str, Any]:
        """Return the items of a partition, by the three key conditions of the ledger."""
        values, text = request["ExpressionAttributeValues"], request["KeyConditionExpression"]
        pk, sk = values[":pk"]["S"], values.get(":sk", {"S": ""})["S"]
        within: Callable[[str], bool] = (lambda key: key < sk) if "sk <" in text else (lambda key: key.startswith(sk))
        keys = sorted(key for key in self._rows if key[0] == pk and within(key[1]))
        keys = keys if request["ScanIndexForward"] else keys[::-1]
        return {"Items": [dict(self._rows[key]) for key in keys[: request.get("Limit")]]}

    def _check(self, request: Mapping[str, Any], key: tuple[str, str], operation: str) -> None:
        text = request.get("ConditionExpression")
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        if text and not _Condition(text, self._rows.get(key), names, values).holds():
            raise _failed("ConditionalCheckFailedException", operation)

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Put an item where the condition holds."""
        key = self._key(request["Item"])
        self._check(request, key, "PutItem")
        self._rows[key] = dict(request["Item"])
        return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        """SET, REMOVE and ADD attributes where the condition holds; return all of them."""
        key = self._key(request["Key"])
        self._check(request, key, "UpdateItem")
        item = dict(self._rows.get(key) or request["Key"])
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        for verb, clause in re.findall(r"(SET|REMOVE|ADD) (.*?)(?= (?:REMOVE|ADD) |$)", request["UpdateExpression"]):
            for part in clause.split(", "):
                placeholder, _, value = part.replace(" = ", " ").partition(" ")
                name = names[placeholder]
                if verb == "REMOVE":
                    item.pop(name, None)
                elif verb == "SET":
                    item[name] = values[value]
                else:
                    item[name] = {"N": str(_value(item.get(name, {"N": "0"})) + _value(values[value]))}
        self._rows[key] = item
        return {"Attributes": dict(item)}

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """Delete an item."""
        self._rows.pop(self._key(request["Key"]), None)
        return {}

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        """Write all or nothing."""
        before, calls = dict(self._rows), {"Put": self.put_item, "Update": self.update_item}
        reasons: list[dict[str, str]] = []
        for each in request["TransactItems"]:
            ((kind, write),) = each.items()
            try:
                calls[kind](**write)
                reasons.append({"Code": "None"})
            except ClientError:
                reasons.append({"Code": "ConditionalCheckFailed"})
        if any(reason["Code"] != "None" for reason in reasons):
            self._rows = before
            raise _failed("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
        return {}


class BucketClient:
    """boto3's client of S3, over dictionaries."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._objects: dict[str, dict[str, tuple[bytes, datetime]]] = {}

    def put_object(self, **request: Any) -> dict[str, Any]:
        """Keep an object."""
        self._objects.setdefault(request["Bucket"], {})[request["Key"]] = (request["Body"], self._now())
        return {}

    def get_object(self, **request: Any) -> dict[str, Any]:
        """Return an object."""
        found = self._objects.get(request["Bucket"], {}).get(request["Key"])
        if found is None:
            raise _failed("NoSuchKey", "GetObject")
        return {"Body": BytesIO(found[0]), "ContentLength": len(found[0])}

    def get_paginator(self, operation: str) -> BucketClient:
        """Return what pages; list_objects_v2 alone."""
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Yield one page of keys."""
        found = self._objects.get(request["Bucket"], {})
        after = request.get("StartAfter", "")
        keys = sorted(key for key in found if key.startswith(request["Prefix"]) and key > after)
        most = request.get("PaginationConfig", {}).get("MaxItems")
        yield {"Contents": [{"Key": k, "Size": len(found[k][0]), "LastModified": found[k][1]} for k in keys[:most]]}
