"""How often a monitor looks, in the words of a spec: a name, a rate or a cron of Model Monitor's or EventBridge's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from linnet.errors import BadInputError

ALLOWED = (
    "hourly, daily, monthly, rate(n minutes|hours|days) that divides a day or is whole days up to 31, or one of "
    "cron(0 * ? * * *), cron(0 */n * * ? *), cron(0 h/n ? * * *), cron(0 h ? * * *), cron(0 0 1 * ? *) with n a divisor of "
    "24 and h an hour, in either order of the question mark"
)
DAY_MINUTES = 24 * 60
_NAMES = {"hourly": "rate(1 hour)", "daily": "rate(1 day)", "monthly": "cron(0 0 1 * ? *)"}
_UNITS = {"minute": 1, "hour": 60, "day": DAY_MINUTES}
_RATE = re.compile(r"rate\(([1-9]\d{0,3}) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(0 (?P<hour>\*|\d\d?)(?:/(?P<step>\d\d?))? (?P<day>\*|\?|1) \* (?:\*|\?) \*\)")


@dataclass(frozen=True)
class Every:
    """Windows of `minutes` that follow each other from midnight UTC and `offset` minutes, or calendar months (minutes 0)."""

    minutes: int
    offset: int = 0


MONTH = Every(0)
LONGEST_MONTH = 31 * DAY_MINUTES


def every(text: str) -> Every:
    """Return the windows that a schedule asks for: each run looks at what came since the one before.

    Model Monitor's own forms are cron(0 * ? * * *) for each hour, cron(0 h ? * * *) for each day at h, cron(0 h/n ? * * *)
    for every n hours from h (developer guide, "The cron expression for monitoring schedule"); its [00-23] stands for an hour.

    Raises:
        BadInputError: it is none of those that are allowed; lists them.
    """
    wrong = BadInputError("schedule", text, ALLOWED)
    written = _NAMES.get(text, text)
    if found := _RATE.fullmatch(written):
        minutes = int(found[1]) * _UNITS[found[2]]
        whole_days = minutes % DAY_MINUTES == 0 and minutes <= LONGEST_MONTH
        if minutes < 5 or not (whole_days or DAY_MINUTES % minutes == 0):  # noqa: PLR2004 - the shortest tick
            raise wrong
        return Every(minutes)
    found = _CRON.fullmatch(written)
    if not found or written.count("?") != 1:
        raise wrong
    hour, step, day = found["hour"], int(found["step"] or 0), found["day"]
    if day == "1":
        if (hour, step) != ("0", 0):
            raise wrong
        return MONTH
    start = 0 if hour == "*" else int(hour)
    length = step or (1 if hour == "*" else 24)
    if start > 23 or 24 % length or found["step"] in ("0", "00"):  # noqa: PLR2004 - the hours of a day
        raise wrong
    return Every(length * 60, start % length * 60)


def in_season(first: str, last: str, day: str) -> bool:
    """Say whether a day MM-DD lies in a season, both ends included; one that begins after it ends goes over new year."""
    return first <= day <= last if first <= last else day >= first or day <= last


@cache
def days() -> tuple[str, ...]:
    """Return the days of a leap year as MM-DD."""
    return tuple(f"{date(2000, 1, 1) + timedelta(days=n):%m-%d}" for n in range(366))
