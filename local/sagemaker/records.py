"""Lists of SageMaker's records and their tags: filters, order, pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore.model import ListShape, StructureShape

from local.sagemaker.api import invalid, output_shape, shaped
from local.sagemaker.world import World

Record = dict[str, Any]
"""A resource: its create request's members and those of its Describe answer, under their API names."""

_PAGE = 10
_DESCENDING = {"ListEndpoints", "ListEndpointConfigs", "ListModels", "ListTransformJobs"}
"""Lists whose documented default order is Descending; all others ascend."""
_TIMES = {
    "CreationTimeAfter": ("CreationTime", 1),
    "CreationTimeBefore": ("CreationTime", -1),
    "LastModifiedTimeAfter": ("LastModifiedTime", 1),
    "LastModifiedTimeBefore": ("LastModifiedTime", -1),
}


def listing(operation: str, params: Mapping[str, Any], records: Iterable[Record], kind: str) -> dict[str, Any]:
    """Answer a List operation over all records of a kind such as `TrainingJob`.

    Takes NameContains, StatusEquals, the four time bounds, SortBy Name | Status | CreationTime | LastModifiedTime,
    SortOrder, MaxResults (default 10) and NextToken.
    """
    wanted = [record for record in records if _matches(record, params, kind)]
    column = {"Name": f"{kind}Name", "Status": f"{kind}Status"}.get(params.get("SortBy", ""), "")
    column = column or params.get("SortBy", "CreationTime")
    default = "Descending" if operation in _DESCENDING else "Ascending"
    return paged(
        operation,
        params,
        wanted,
        key=lambda record: [record.get(column, 0), record["#"]],
        descending=params.get("SortOrder", default) == "Descending",
    )


def _matches(record: Record, params: Mapping[str, Any], kind: str) -> bool:
    if params.get("NameContains", "").lower() not in str(record.get(f"{kind}Name", "")).lower():
        return False
    if "StatusEquals" in params and record[f"{kind}Status"] != params["StatusEquals"]:
        return False
    return all(
        (record[column] - seconds(params[bound])) * sign > 0
        for bound, (column, sign) in _TIMES.items()
        if bound in params
    )


def seconds(value: Any) -> float:
    """Return a timestamp parameter (epoch number or datetime) as epoch seconds."""
    return float(value.timestamp() if hasattr(value, "timestamp") else value)


def paged(
    operation: str,
    params: Mapping[str, Any],
    records: Iterable[Record],
    *,
    key: Callable[[Record], list[Any]],
    descending: bool = False,
) -> dict[str, Any]:
    """Return one page in the answer's shape. A token names the last record shown, so pages survive new records."""
    ordered = sorted(records, key=key, reverse=descending)
    if "NextToken" in params:
        last = _decode(params["NextToken"])
        ordered = [record for record in ordered if (key(record) < last if descending else key(record) > last)]
    size = int(params.get("MaxResults", _PAGE))
    page = ordered[:size]
    answer, member = _list_member(operation)
    result: dict[str, Any] = {answer: [shaped(member, record) for record in page]}
    if len(ordered) > size:
        result["NextToken"] = base64.urlsafe_b64encode(json.dumps(key(page[-1])).encode()).decode()
    return result


def _decode(token: str) -> list[Any]:
    try:
        last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError as error:
        raise invalid(f"Value {token!r} at 'NextToken' is not a token that this operation returned") from error
    if not isinstance(last, list):
        raise invalid(f"Value {token!r} at 'NextToken' is not a token that this operation returned")
    return last


def _list_member(operation: str) -> tuple[str, StructureShape]:
    for name, shape in output_shape(operation).members.items():
        if isinstance(shape, ListShape) and isinstance(shape.member, StructureShape):
            return name, shape.member
    raise LookupError(f"{operation} answers no list")


class Tags:
    """AddTags, ListTags and DeleteTags for every resource that exists."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _of(self, arn: str) -> dict[str, str]:
        if arn not in self._world.tags:
            raise invalid(f"Could not find resource {arn!r} given as 'ResourceArn'")
        return self._world.tags[arn]

    def add_tags(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Add or replace tags; answers with all tags."""
        tags = self._of(params["ResourceArn"])
        tags |= named(params)
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def list_tags(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page (default 50) of tags."""
        tags = [{"Key": key, "Value": value} for key, value in self._of(params["ResourceArn"]).items()]
        return paged("ListTags", {"MaxResults": 50, **params}, tags, key=lambda tag: [tag["Key"]])

    def delete_tags(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Remove tags; one that is not there is no error."""
        tags = self._of(params["ResourceArn"])
        for key in params["TagKeys"]:
            tags.pop(key, None)
        return {}


def named(params: Mapping[str, Any]) -> dict[str, str]:
    """Return a request's Tags as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in params.get("Tags", ())}
