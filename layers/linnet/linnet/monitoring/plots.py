"""What the report draws: the shares of baseline and window, side by side, of one feature."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from linnet.monitoring.profile import Column

_MOST_BARS = 20
_MOST_CATEGORIES = 12


def bars(before: Column, now: Column) -> dict[str, list[dict[str, Any]]]:
    """Return `baseline` and `current`, each a list of `{label, share}` with the same labels.

    Numbers: at most 20 bars between the baseline's own quantiles, which a window without drift fills alike. Categories:
    the 12 most frequent of the baseline, and `other` for the rest. A side without values has shares of 0.
    """
    labels, sides = _numbers(before, now) if before.numeric else _categories(before, now)
    return {
        side: [{"label": label, "share": share} for label, share in zip(labels, shares, strict=True)]
        for side, shares in zip(("baseline", "current"), sides, strict=True)
    }


def _numbers(before: Column, now: Column) -> tuple[list[str], list[list[float]]]:
    if not before.values.size:
        return [], [[], []]
    ends = np.cumsum(before.counts)
    ranks = np.ceil(np.arange(1, _MOST_BARS) / _MOST_BARS * ends[-1])
    edges = np.unique(before.values[np.searchsorted(ends, ranks)])
    names = [f"{edge:.6g}" for edge in edges.tolist()]
    labels = [
        f"up to {names[0]}",
        *(f"{a} to {b}" for a, b in itertools.pairwise(names)),
        f"above {names[-1]}",
    ]
    return labels, [_between(column, edges) for column in (before, now)]


def _between(column: Column, edges: Any) -> list[float]:
    """Return the shares of a column's numbers in the half-open intervals that end at the edges, and above the last."""
    places = np.searchsorted(edges, column.values)
    sums = np.bincount(places, weights=column.counts, minlength=edges.size + 1)
    found: list[float] = (sums / max(1.0, float(sums.sum()))).tolist()
    return found


def _categories(before: Column, now: Column) -> tuple[list[str], list[list[float]]]:
    ranked = sorted(before.categories.items(), key=lambda item: (-item[1], item[0]))
    names = [name for name, _ in ranked[:_MOST_CATEGORIES]]
    sides = []
    for column in (before, now):
        rows = max(column.text, sum(column.categories.values()))
        shares = [column.categories.get(name, 0) / rows if rows else 0.0 for name in names]
        sides.append([*shares, max(0.0, 1 - sum(shares)) if rows else 0.0])
    return [*names, "other"], sides
