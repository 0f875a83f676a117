"""A window of more capture than one function looks at: its files in shards, each profiled by itself, then put together.

Below the window's own prefix of `monitoring-shards/` (`work`) lie `plan.json`, how the files are read; `shards.json`, an array
of `{number, files}` for a Distributed Map; and of each shard `<number>/<width>.arrow`, the profiles of its rows by their
width, and `<number>/counts.json`, put last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from linnet.decisions import monitoring, schedules
from linnet.errors import BadInputError, ConflictError
from linnet.gateways import findings, s3
from linnet.monitoring.capture import Counts
from linnet.monitoring.live import Part, profile_part
from linnet.monitoring.profile import Profile, kinds_of
from linnet.monitoring.store import profile_bytes, read_profile
from linnet.settings import settings

_A_WINDOW = 8
"""So many shards are as much capture as one function looks at, but for the file that crosses a shard's end."""
_MOST_FILES = 1_000
"""Files of a shard: their names are the item of a map, which holds 256 KiB."""
MOST_SHARDS = 1_000
_LARGEST_PROFILE = 512 * 1024 * 1024


def plan(
    files: Sequence[s3.Object], known: Profile, champion: Mapping[str, Any], window: schedules.Window, work: str
) -> int:
    """Write how a window's capture is read in shards of whole files; return how many shards there are.

    Raises:
        BadInputError: there is more than is read even in shards; says what to change.
    """
    shards: list[list[str]] = []
    left = 0
    for file in files:
        if left <= 0 or len(shards[-1]) >= _MOST_FILES:
            shards.append([])
            left = findings.largest_window() // _A_WINDOW
        shards[-1].append(file.uri)
        left -= file.size
    if len(shards) > MOST_SHARDS:
        allowed = f"at most {MOST_SHARDS} shards: lower endpoint.capture_percent"
        raise BadInputError(work, f"{len(files)} capture files in {len(shards)} shards", allowed)
    _put(work, "plan.json", _plan(known, champion, window))
    _put(work, "shards.json", [{"number": number, "files": uris} for number, uris in enumerate(shards)])
    return len(shards)


def profile_shard(work: str, number: int, files: Sequence[str]) -> None:
    """Profile a shard's files as the plan says. Done again, it is the same.

    Raises:
        NotFoundError: there is no plan, or a file is gone.
    """
    planned = findings.document(_uri(work, "plan.json"))
    window = monitoring.parse_time(planned["start"]), monitoring.parse_time(planned["end"])
    part = profile_part(findings.contents(files), planned["columns"], planned["kinds"], window)
    for width, one in part.profiles.items():
        s3.put(_uri(work, f"{number}/{width}.arrow"), profile_bytes(one), "application/vnd.apache.arrow.file")
    n = part.counts
    _put(work, f"{number}/counts.json", {
        "lines": n.lines, "bad": n.bad, "outside": n.outside, "slices": sorted(n.slices),
        "widths": {str(width): count for width, count in sorted(n.widths.items())}, "profiles": sorted(part.profiles),
    })  # fmt: skip


def parts(
    count: int, known: Profile, champion: Mapping[str, Any], window: schedules.Window, work: str
) -> Iterator[Part]:
    """Yield what the shards of a window hold, all of them or an error.

    Raises:
        ConflictError: the champion or its baseline is another than when the window was planned.
        NotFoundError: a shard was not profiled.
        BadInputError: what lies there is no such thing.
    """
    if findings.document(_uri(work, "plan.json")) != _plan(known, champion, window):
        raise ConflictError(
            f"the champion or its baseline changed while {work} was profiled; the next look starts anew"
        )
    for number in range(count):
        uri = _uri(work, f"{number}/counts.json")
        found = findings.document(uri)
        try:
            widths = Counter({int(width): int(rows) for width, rows in found["widths"].items()})
            lines, bad, outside = (int(found[name]) for name in ("lines", "bad", "outside"))
            counts = Counts(len(known.columns), lines, bad, outside, widths, {int(one) for one in found["slices"]})
            there = [int(width) for width in found["profiles"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(uri, type(error).__name__, "what profile_shard writes") from None
        read = (s3.read(_uri(work, f"{number}/{width}.arrow"), limit=_LARGEST_PROFILE) for width in there)
        yield Part({width: read_profile(one) for width, one in zip(there, read, strict=True)}, counts)


def _plan(known: Profile, champion: Mapping[str, Any], window: schedules.Window) -> dict[str, Any]:
    return {
        "champion": [str(champion[name]) for name in ("version", "run", "baseline")],
        "start": monitoring.stamp(window[0]), "end": monitoring.stamp(window[1]),
        "columns": list(known.columns), "kinds": kinds_of(known),
    }  # fmt: skip


def _uri(work: str, name: str) -> str:
    return f"s3://{settings().data_bucket}/{work}{name}"


def _put(work: str, name: str, document: Any) -> None:
    s3.put(_uri(work, name), json.dumps(document).encode())
