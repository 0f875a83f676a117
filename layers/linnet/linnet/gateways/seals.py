"""Seals: the exact bytes that a candidate was made of and judged by, held against what S3 has now (F22, F34, F36).

A seal is `{uri: {version, sha256}}` and lies in the ledger, never beside what it seals. A version of an object never changes,
so where S3 still shows the sealed version nothing is read; where it shows another one, or the bucket keeps none, the bytes
are (Amazon S3 User Guide, "How S3 Versioning works").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linnet.errors import ConflictError, NotFoundError
from linnet.gateways import s3, sagemaker

Seals = dict[str, dict[str, str]]
DIGEST = "linnet-sha256"
"""The metadata of an object that says its digest."""
_UNVERSIONED = ("", "null")
"""What S3 shows for a version where versioning is off or suspended: such an object does change."""


def of(*uris: str) -> Seals:
    """Return the seals of objects as S3 has them now; what does not exist has none."""
    held = {uri: s3.held(uri) for uri in uris if uri}
    return {uri: {"version": found.version, "sha256": found.sha256} for uri, found in held.items() if found}


def of_bytes(uri: str, body: bytes, version: str) -> Seals:
    """Return the seal of an object that was put just now."""
    return {uri: {"version": version, "sha256": hashlib.sha256(body).hexdigest()}}


def of_upload(uri: str, sha256: str) -> Seals:
    """Return the seal of an object that was uploaded just now with its `DIGEST`.

    Raises:
        ConflictError: S3 has something else there already.
    """
    found = s3.head(uri) or {}
    if found.get("Metadata", {}).get(DIGEST) != sha256:
        raise ConflictError(f"{uri} was replaced while it was written")
    return {uri: {"version": str(found.get("VersionId", "")), "sha256": sha256}}


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(sealed: Mapping[str, Mapping[str, str]], whose: str) -> None:
    """See that no sealed object was replaced. What is gone is not: whoever needs it says so.

    Raises:
        ConflictError: one was; names it and both digests.
    """
    for uri, seal in sorted(sealed.items()):
        found = s3.head(uri)
        version = str((found or {}).get("VersionId", ""))
        if found is None or (version == seal["version"] and version not in _UNVERSIONED):
            continue
        held = s3.held(uri)
        if held is not None and held.sha256 != seal["sha256"]:
            raise ConflictError(
                f"{uri} was replaced since {whose} was made: it has sha256 {held.sha256}, sealed was {seal['sha256']} "
                f"(version {seal['version'] or 'unknown'}); see who put version {held.version or 'unknown'}"
            )


def unchanged(row: Mapping[str, Any]) -> None:
    """See that a candidate still is what was registered: its package's container, and the bytes under its seals (F36).

    A version that was registered elsewhere has no seals: who approved it answers for its bytes.

    Raises:
        ConflictError: something was replaced; names it.
        NotFoundError: the artifact is gone.
    """
    whose, made = f"version {row['version']}", row.get("container") or {}
    found = sagemaker.container(str(row["package_arn"])) if made else {}
    if other := [name for name in sorted(made) if found.get(name) != made[name]]:
        told = ", ".join(f"{name} {found.get(name)}, registered was {made[name]}" for name in other)
        raise ConflictError(f"the package of {whose} was changed in the registry: {told}")
    if made and s3.head(str(made["ModelDataUrl"])) is None:
        raise NotFoundError(f"the artifact of {whose} is gone: {made['ModelDataUrl']}")
    check(row.get("sealed") or {}, whose)
