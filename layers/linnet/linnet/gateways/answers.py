"""What the fleets of a release answered, read from data capture, and which of it turned out wrong, read from ground truth.

A look reads only what was not read before: the state that it leaves is a small JSON document in the release's row.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from linnet.decisions.rollout import Fleet
from linnet.gateways import s3
from linnet.gateways.sagemaker import PROBE
from linnet.monitoring.records import BAD, Asked, labels_of, read_line
from linnet.settings import settings

MOST_ANSWERS = 10_000
"""So many answers of a fleet are looked at; a shift that matters shows in fewer (bench/verdicts.py)."""
_MOST_FILES, _MOST_TRUTH = 400, 4_000
"""Read in one look; listed."""
_MOST_OPEN = 500
"""Mirrored answers whose other half has not come are remembered up to this."""
_LARGEST = 32 * 1024 * 1024
_READERS = 8


def predictions(fleet: Fleet, endpoint: str, edges: list[float], state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state `{after, counts}` of a fleet's answers over the bins between `edges`, gone on with."""
    counts = list(state.get("counts") or [0] * (len(edges) + 1))
    after = str(state.get("after") or "")
    if sum(counts) >= MOST_ANSWERS:
        return {"after": after, "counts": counts}
    for uri, asked in _answered(fleet, endpoint, after):
        after = uri
        for score in _scores(asked):
            counts[bisect.bisect_left(edges, score)] += 1
    return {"after": after, "counts": counts}


def agreement(
    shadow: Fleet, champion: Fleet, endpoint: str, thresholds: tuple[float, float], state: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state `{after, open, hits, of}` of mirrored requests: how many the two models call differently.

    A call is a score at or above the model's own threshold, (shadow's, champion's). Both halves of a request carry one id.
    """
    seen: dict[str, Any] = {"after": ["", ""], "open": {}, "hits": 0, "of": 0} | dict(state)
    if seen["of"] >= MOST_ANSWERS:
        return seen
    after, waiting = list(seen["after"]), dict(seen["open"])
    hits, of = int(seen["hits"]), int(seen["of"])
    for who, fleet in enumerate((shadow, champion)):
        for uri, asked in _answered(fleet, endpoint, after[who]):
            after[who] = uri
            calls = "".join("1" if score >= thresholds[who] else "0" for score in _scores(asked))
            other = waiting.pop(asked.identity, None)
            if other is None or other[0] == who:
                waiting[asked.identity] = [who, calls]
            elif len(other[1]) == len(calls):
                of += len(calls)
                hits += sum(a != b for a, b in zip(other[1], calls, strict=True))
    kept = dict(list(waiting.items())[-_MOST_OPEN:])
    return {"after": after, "open": kept, "hits": hits, "of": of}


def labelled(
    new: Fleet, old: Fleet, endpoint: str, since: datetime, thresholds: tuple[float, float], state: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state `{after, last, files, calls}` of labelled requests: which calls went wrong, file of labels by file.

    `files` are the rows of a `Minute` each, in the order in which the labels came; `calls` has one letter a request, of
    the new and of the old fleet: `.` right, `p` a false positive, `n` a false negative. While no labels come, nothing
    else is read.
    """
    after, last = str(state.get("after") or ""), list(state.get("last") or ())
    files, calls = [list(row) for row in state.get("files") or []], list(state.get("calls") or ("", ""))
    folder = f"s3://{settings().data_bucket}/ground-truth/{endpoint}/"
    truth = (
        (o.at.isoformat(), o.uri) for o in s3.objects(folder, after=f"{folder}{since:%Y/%m/%d/%H}", most=_MOST_TRUTH)
    )
    # In the order in which they came: a label may come hours after later ones, and none is counted twice.
    fresh = sorted((when, uri) for when, uri in truth if when >= after and uri not in last)[:_MOST_FILES]
    if not fresh or sum(map(len, calls)) >= MOST_ANSWERS:
        return {"after": after, "last": last, "files": files, "calls": calls}
    made: dict[str, tuple[int, list[bool]]] = {}
    for who, fleet in enumerate((new, old)):
        for _, asked in _answered(fleet, endpoint, "", since):
            made[asked.identity] = (who, [score >= thresholds[who] for score in _scores(asked)])
    for when, uri in fresh:
        after, last = when, [*last, uri] if when == after else [uri]
        counts = [[0, 0], [0, 0]]
        for found in labels_of(s3.read(uri, limit=_LARGEST)):
            who, mine = made.pop(found[0], (0, [])) if found else (0, [])
            if not found or len(mine) != len(found[1]):
                continue
            for call, label in zip(mine, map(_label, found[1]), strict=True):
                if label is not None:
                    counts[who][0] += 1
                    counts[who][1] += call != label
                    calls[who] += "." if call == label else "np"[call]
        if counts != [[0, 0], [0, 0]]:
            files.append([*counts[0], *counts[1]])
    return {"after": after, "last": last, "files": files, "calls": calls}


def _label(text: str | None) -> bool | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return None if value not in (0.0, 1.0) else bool(value)


def _scores(asked: Asked) -> list[float]:
    """Return the numbers answered, all or none of them."""
    try:
        found = [float(output) for output in asked.outputs if output is not None]
    except ValueError:
        return []
    return found if len(found) == len(asked.outputs) and all(score == score for score in found) else []  # noqa: PLR0124 - NaN


def _answered(fleet: Fleet, endpoint: str, after: str, since: datetime | None = None) -> Iterator[tuple[str, Asked]]:
    """Yield a fleet's captured requests after a file, oldest first, each with its file's URI; probes left out."""
    variant, config = fleet
    folder = f"s3://{settings().data_bucket}/data-capture/{config}/{endpoint}/{variant}/"
    if since:  # the names of the files begin with their hour
        after = max(after, f"{folder}{since:%Y/%m/%d/%H}")
    found = [each.uri for each in s3.objects(folder, after=after, most=_MOST_FILES)]
    seen = 0
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(found), _READERS):  # a few files at a time: a busy endpoint's are megabytes each
            uris = found[start : start + _READERS]
            contents = readers.map(lambda uri: s3.read(uri, limit=_LARGEST), uris)
            for uri, content in zip(uris, contents, strict=True):
                for line in content.splitlines():
                    try:
                        asked = read_line(line, ())
                    except BAD:
                        continue
                    if asked and not asked.identity.startswith(PROBE) and (since is None or asked.at >= since):
                        seen += 1
                        yield uri, asked
                if seen >= MOST_ANSWERS:
                    return
