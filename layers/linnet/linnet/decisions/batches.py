"""When a batch is complete, and what is in it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from linnet.decisions.governor import moment
from linnet.errors import BadInputError

MANIFEST_BYTES = 4 * 1024 * 1024
MAXIMUM_OBJECTS = 10_000
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Entry:
    """One object that a manifest lists; `name` is relative to the batch's folder."""

    name: str
    size: int
    sha256: str
    rows: int
    version: str = ""


def read_manifest(body: bytes) -> list[Entry]:
    """Return what `_MANIFEST.json` lists: `{"objects": [{key, size, sha256, rows, version_id?}]}` (F21).

    It may list MAXIMUM_OBJECTS in MANIFEST_BYTES; more data makes more batches.

    Raises:
        BadInputError: names the first field that is wrong.
    """
    try:
        document = json.loads(body)
    except ValueError:
        raise BadInputError("_MANIFEST.json", body[:60], "a JSON object with the field objects") from None
    listed = document.get("objects") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAXIMUM_OBJECTS:
        raise BadInputError("_MANIFEST.json objects", listed, f"a list of 1 to {MAXIMUM_OBJECTS} objects")
    entries = [_entry(number, item) for number, item in enumerate(listed)]
    doubled = sorted(name for name, times in Counter(e.name for e in entries).items() if times > 1)
    if doubled:
        raise BadInputError("_MANIFEST.json objects", doubled, "each key once")
    return entries


def _entry(number: int, item: Any) -> Entry:
    where = f"_MANIFEST.json objects[{number}]"
    if not isinstance(item, dict):
        raise BadInputError(where, item, "an object with key, size, sha256, rows")
    name, size, sha, rows = (item.get(field) for field in ("key", "size", "sha256", "rows"))
    if not isinstance(name, str) or not name or name.startswith("/") or ".." in name.split("/"):
        raise BadInputError(f"{where}.key", name, "a name below the batch's folder")
    for field, value in (("size", size), ("rows", rows)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise BadInputError(f"{where}.{field}", value, "a whole number from 0")
    if not isinstance(sha, str) or not _SHA256.match(sha):
        raise BadInputError(f"{where}.sha256", sha, "64 lower-case hex characters")
    return Entry(name, int(size or 0), sha, int(rows or 0), str(item.get("version_id") or ""))


def newer(sequencer: str, than: str) -> bool:
    """Say whether one S3 sequencer of a key is later than another: right-pad with zeros, compare as text (peers.md 4.1)."""
    length = max(len(sequencer), len(than))
    return sequencer.ljust(length, "0") > than.ljust(length, "0")


def may_list(closed_at: str, put_at: str) -> bool:
    """Say whether a batch that closed at one time can list an object that was put at another; events tell whole seconds."""
    return moment(closed_at) + timedelta(seconds=1) > moment(put_at)


def each_object_once(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return batches, oldest first, in which every object version counts once, in the newest that lists it."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for batch in reversed(found):
        objects = [o for o in batch["objects"] if (o["uri"], o["version"]) not in seen]
        seen.update((o["uri"], o["version"]) for o in objects)
        if objects:
            kept.append({**batch, "objects": objects})
    return kept[::-1]


def is_over(opened: str, last: str, at: str, *, quiet_seconds: int, limit_seconds: int) -> bool:
    """Say whether a batch without a manifest closes: nothing came for the quiet period, or it has been open too long."""
    now = moment(at)
    quiet = (now - moment(last)).total_seconds() >= quiet_seconds
    return quiet or (now - moment(opened)).total_seconds() >= limit_seconds
