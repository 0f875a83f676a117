"""CloudWatch's statistics over raw datapoints: which names there are, and the number that each one is.

Source: Amazon CloudWatch User Guide, "CloudWatch statistics definitions"; the API reference of PutMetricAlarm and of
GetMetricStatistics. CloudWatch itself approximates what is cut by percentages, and may approximate counts; here the cut
goes through a datapoint where it must, so that the middle half of 5 datapoints is 2.5 of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BASIC = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")
_NUMBER = r"\d+(?:\.\d{1,10})?"
_ONE = re.compile(rf"(p|tm|tc|ts|wm)({_NUMBER})")
_RANGE = re.compile(rf"(TM|TC|TS|WM|PR)\(({_NUMBER}%?)?:({_NUMBER}%?)?\)")
_ALL = 100.0
_ALARM_LEAST, _ALARM_MOST = 10.0, 90.0

Samples = Sequence[tuple[float, float]]
"""Values, each with how often it was seen."""


class UnknownStatisticError(ValueError):
    """CloudWatch has no statistic of this name."""


@dataclass(frozen=True)
class Statistic:
    """An extended statistic: what is computed (P, TM, TC, TS, WM, PR) of the values between two bounds."""

    kind: str
    low: float | None
    high: float | None
    percent: bool
    """Whether the bounds are percentiles; else they are values, the lower one exclusive, the upper one inclusive."""

    def value(self, samples: Samples) -> float | None:
        """Return the statistic of at least one sample; None for a mean of nothing."""
        ordered = sorted(samples)
        count = sum(weight for _, weight in ordered)
        if self.kind == "P":
            return _at(ordered, (self.high or 0.0) / _ALL * max(0.0, count - 1))
        inside = self._share(ordered, count) if self.percent else self._between(ordered)
        kept = sum(weight for _, weight in inside)
        total = sum(value * weight for value, weight in inside)
        if self.kind == "WM":
            return total / count
        if self.kind == "PR":
            return kept / count * _ALL
        if self.kind == "TM":
            return total / kept if kept else None
        return kept if self.kind == "TC" else total

    def _between(self, ordered: Samples) -> Samples:
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        if self.kind == "WM":
            return [(min(max(value, low), high), weight) for value, weight in ordered]
        return [(value, weight) for value, weight in ordered if low < value <= high]

    def _share(self, ordered: Samples, count: float) -> Samples:
        low, high = self.low or 0.0, _ALL if self.high is None else self.high
        start, end = count * low / _ALL, count * high / _ALL
        kept, seen = [], 0.0
        for value, weight in ordered:
            kept.append((value, max(0.0, min(seen + weight, end) - max(seen, start))))
            seen += weight
        if self.kind != "WM":
            return kept
        edges = (_at(ordered, low / _ALL * (count - 1)), start), (_at(ordered, high / _ALL * (count - 1)), count - end)
        return [*kept, *edges]


def _at(ordered: Samples, rank: float) -> float:
    """Return the value at a rank from 0, interpolated between its two neighbours."""
    whole, part = int(rank), rank % 1

    def value(index: int) -> float:
        seen = 0.0
        for found, weight in ordered:
            seen += weight
            if index < seen:
                return found
        return ordered[-1][0]

    return value(whole) + part * (value(whole + 1) - value(whole)) if part else value(whole)


def parse(name: str) -> Statistic:
    """Return the extended statistic of a name: p99.9, tm90, IQM, TC(150000:), PR(:300), WM(10%:90%) and the like.

    Raises:
        UnknownStatisticError: for any other name.
    """
    if name == "IQM":
        return Statistic("TM", 25.0, 75.0, percent=True)
    if (one := _ONE.fullmatch(name)) and float(one[2]) <= _ALL:
        return Statistic(one[1].upper(), None, float(one[2]), percent=True)
    if found := _RANGE.fullmatch(name):
        given = [bound for bound in found.groups()[1:] if bound is not None]
        low, high = (None if bound is None else float(bound.rstrip("%")) for bound in found.groups()[1:])
        percents = {bound.endswith("%") for bound in given}
        ordered = low is None or high is None or low < high
        if len(percents) == 1 and ordered:
            percent = percents.pop()
            fits = found[1] != "PR" and max(low or 0.0, high or 0.0) <= _ALL
            if fits or not percent:
                return Statistic(found[1], low, high, percent)
    message = (
        f"{name!r} is not a statistic: allowed are {', '.join(BASIC)}, p0 to p100, tm, tc, ts and wm with a number from 0 "
        "to 100, IQM, and TM, TC, TS, WM (bounds as values or with %) and PR (bounds as values) as in TC(5:), TM(2%:98%)"
    )
    raise UnknownStatisticError(message)


def check(name: str) -> None:
    """Refuse what is no statistic at all. Raises UnknownStatisticError."""
    if name not in BASIC:
        parse(name)


def check_alarm(name: str) -> None:
    """Refuse an ExtendedStatistic that PutMetricAlarm does not list. Raises UnknownStatisticError."""
    found = parse(name)
    bounds = [bound for bound in (found.low, found.high) if bound is not None]
    if not name.endswith(")"):
        return
    fits = all(_ALARM_LEAST <= bound <= _ALARM_MOST for bound in bounds) if found.percent else found.kind == "PR"
    if not fits:
        message = f"An alarm's {name!r} must have bounds from 10% to 90%; only PR(n:m) has bounds that are values"
        raise UnknownStatisticError(message)
