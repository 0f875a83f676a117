"""S3 by URI; versions are named where an object must not change between two looks (F22)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, cast

from botocore.exceptions import ClientError

from linnet.errors import BadInputError, NotFoundError
from linnet.gateways.clients import client, error_code

_ABSENT = ("NoSuchKey", "404", "NoSuchVersion", "NotFound", "NoSuchBucket")


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`."""
    if not uri.startswith("s3://") or "/" not in uri[5:]:
        raise BadInputError("uri", uri, "s3://bucket/key")
    bucket, _, key = uri[5:].partition("/")
    return bucket, key


def head(uri: str, version: str | None = None) -> dict[str, Any] | None:
    """Return an object's size, version and metadata, or None when it does not exist."""
    bucket, key = split(uri)
    try:
        return dict(client("s3").head_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {})))
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return None
        raise


def read(uri: str, *, version: str | None = None, limit: int) -> bytes:
    """Return an object's bytes.

    Raises:
        NotFoundError: there is no such object or version.
        BadInputError: it is larger than `limit` bytes.
    """
    return stream(uri, version=version, limit=limit).read()


def stream(uri: str, *, version: str | None = None, limit: int) -> IO[bytes]:
    """Return an object to be read piece by piece; its length and checksum are checked when its end is read.

    Raises:
        NotFoundError: there is no such object or version.
        BadInputError: it is larger than `limit` bytes.
    """
    bucket, key = split(uri)
    try:
        found = client("s3").get_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
    except ClientError as error:
        if error_code(error) in _ABSENT:
            raise NotFoundError(f"{uri} (version {version or 'latest'}) does not exist") from None
        raise
    if found["ContentLength"] > limit:
        raise BadInputError("object size", found["ContentLength"], f"at most {limit} bytes for {uri}")
    return cast("IO[bytes]", found["Body"])


def put(uri: str, body: bytes, content_type: str = "application/json") -> str:
    """Write an object; return its version id (empty on an unversioned bucket)."""
    bucket, key = split(uri)
    answer = client("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
    return str(answer.get("VersionId", ""))


@dataclass(frozen=True)
class Version:
    """The latest version of an object: key, version id, size in bytes, when it was put."""

    key: str
    version: str
    size: int
    at: datetime


def versions(uri: str) -> Iterator[Version]:
    """Yield the latest version of every object under a prefix, in key order."""
    bucket, prefix = split(uri)
    for page in client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Versions", []):
            if found["IsLatest"]:
                yield Version(found["Key"], found["VersionId"], int(found["Size"]), found["LastModified"])


def folders(uri: str, inner: Callable[[str], bool]) -> Iterator[str]:
    """Yield the folders below a prefix, relative to it; one whose name is `inner` is opened, its folders are meant."""
    bucket, prefix = split(uri)
    for page in client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
        for found in page.get("CommonPrefixes", []):
            name = found["Prefix"][len(prefix) :].rstrip("/")
            deeper = list(folders(f"s3://{bucket}/{found['Prefix']}", inner)) if inner(name) else []
            partitions = [f"{name}/{d}" for d in deeper if inner(d.split("/", 1)[0])]
            yield from partitions or [name]


@dataclass(frozen=True)
class Object:
    """An object: its URI, size in bytes, when it was put."""

    uri: str
    size: int
    at: datetime


def objects(uri: str, *, after: str = "", most: int | None = None) -> Iterator[Object]:
    """Yield the objects under a prefix in key order; only those `after` a URI, only the first `most`."""
    bucket, prefix = split(uri)
    start = {"StartAfter": split(after)[1]} if after else {}
    paginator = client("s3").get_paginator("list_objects_v2")
    for page in paginator.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": most}, **start):
        for found in page.get("Contents", []):
            yield Object(f"s3://{bucket}/{found['Key']}", int(found["Size"]), found["LastModified"])


@dataclass(frozen=True)
class Held:
    """An object version as S3 holds it: version id (empty on an unversioned bucket), size in bytes, hex SHA-256."""

    version: str
    size: int
    sha256: str


def held(uri: str, version: str | None = None) -> Held | None:
    """Return what S3 holds under a URI, its digest computed in pieces; None when there is no such object or version."""
    bucket, key = split(uri)
    try:
        found = client("s3").get_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return None
        raise
    seen = hashlib.sha256()
    for piece in iter(lambda: found["Body"].read(1024 * 1024), b""):
        seen.update(piece)
    return Held(str(found.get("VersionId", "")), int(found["ContentLength"]), seen.hexdigest())
