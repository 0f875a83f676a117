"""Which windows of time a monitor looks at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from linnet.decisions.monitoring import parse_time
from linnet.events.schedules import DAY_MINUTES, LONGEST_MONTH, MONTH, Every, every

Window = tuple[datetime, datetime]
_LOOK_BACK, _FEWEST = timedelta(hours=3), 3
_AT_ONCE = timedelta(0)


def of(settings: Mapping[str, Any]) -> Every:
    """Return how often a monitor of a spec looks: by its `schedule`, else by its `window_minutes`."""
    return every(settings["schedule"]) if settings["schedule"] else Every(int(settings["window_minutes"]))


def period(one: Every) -> tuple[int, bool]:
    """Return the period in seconds of the alarm on a monitor's metrics, and whether it is as long as the windows.

    CloudWatch has none above a day. The one value of a longer window lies in one day, all others are missing data, and the
    alarm, which takes that for unknown, keeps what the value said until the next one.
    """
    whole = 0 < one.minutes <= DAY_MINUTES
    return (one.minutes if whole else DAY_MINUTES) * 60, whole


def pause(spec: Mapping[str, Any], purpose: str) -> timedelta:
    """Return how long a model's alarm stands by one value of a window longer than a day; nothing for all other alarms.

    In that time the alarm has nothing new to say, whatever was done about it.
    """
    monitor = {
        "drift": "data_quality", "quality": "model_quality", "bias": "bias", "attribution": "attribution",
    }.get(purpose)  # fmt: skip
    if monitor is None or period(one := of(spec["monitors"][monitor]))[1]:
        return timedelta(0)
    return timedelta(minutes=LONGEST_MONTH if one == MONTH else one.minutes)


def delay(settings: Mapping[str, Any]) -> timedelta:
    """Return how long after its end a window of a monitor is looked at: until its labels are there."""
    return timedelta(hours=int(settings.get("label_delay_hours", 0)))


def window(at: str, one: Every) -> Window:
    """Return start and end of the last window that was over at the time `at` (ISO 8601).

    Windows follow each other without gap or overlap from a fixed time in UTC, however late a schedule fires; so each has
    exactly one datapoint, and "three windows in a row" is three periods of the alarm (TG-07).

    Raises:
        BadInputError: `at` is no time with a zone.
    """
    now = parse_time(at)
    if one == MONTH:
        end = datetime(now.year, now.month, 1, tzinfo=UTC)
        return _before(end, one), end
    length, offset = one.minutes * 60, one.offset * 60
    end = datetime.fromtimestamp((int(now.timestamp()) - offset) // length * length + offset, UTC)
    return _before(end, one), end


def windows(at: str, one: Every, *, since: str | None, delay: timedelta = _AT_ONCE) -> list[Window]:
    """Return the windows that were over for `delay` at `at`: of three hours, three at least, oldest first.

    Those that were over at `since` are left out. A span of time, not a number: a tick that comes late or was lost must not
    cost the short windows meanwhile.
    """
    found = [window((parse_time(at) - delay).isoformat(), one)]
    count = max(_FEWEST, -(-_LOOK_BACK // timedelta(minutes=one.minutes))) if one.minutes else _FEWEST
    while len(found) < count:
        end = found[-1][0]
        found.append((_before(end, one), end))
    return [w for w in reversed(found) if since is None or w[1] > parse_time(since)]


def _before(end: datetime, one: Every) -> datetime:
    if one != MONTH:
        return end - timedelta(minutes=one.minutes)
    return (end - timedelta(days=1)).replace(day=1)
