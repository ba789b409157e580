"""Cron expressions: which minutes they mean, and which of those was the last one before now.

Five fields as in crontab(5): minute, hour, day of month, month, day of week; lists, ranges, steps,
and the English three-letter names of months and days; 7 is Sunday too. Where both day fields are
restricted, either may match; a field that begins with * is not restricted (Vixie's rule).

Clock changes: a local time that does not exist happens at the end of the gap; one that exists
twice happens the first time only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

Zone = tzinfo
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 7, DAYS),
)
LOOK_BACK_DAYS = 8 * 366
"""As far back as a time is looked for: 29 February may be eight years ago (1896 to 1904)."""


@dataclass(frozen=True)
class Cron:
    """A parsed expression; each field is the set of values that match."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def means(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week

    def last(self, utc_s: float, zone: Zone) -> float | None:
        """The last time that it meant, at or before `utc_s`; None if there is none in years."""
        today = datetime.fromtimestamp(utc_s, zone).date()
        for ago in range(LOOK_BACK_DAYS):
            day = today - timedelta(days=ago)
            if self.means(day):
                for local in self._times(day):
                    if (at_s := seconds(local, zone)) <= utc_s:
                        return at_s
        return None

    def _times(self, day: date) -> Iterator[datetime]:
        """The times of a day, the latest first."""
        for hour in sorted(self.hours, reverse=True):
            for minute in sorted(self.minutes, reverse=True):
                yield datetime.combine(day, time(hour, minute))


def parse(expression: str) -> Cron:
    """Read five fields; ValueError that names the field which cannot be read."""
    words = expression.lower().split()
    if len(words) != len(FIELDS):
        raise ValueError(f"{expression!r}: a cron expression has five fields, not {len(words)}")
    minutes, hours, days, months, weekdays = (
        _field(word, *field) for word, field in zip(words, FIELDS, strict=True)
    )
    either = not words[2].startswith("*") and not words[4].startswith("*")
    if not either and months <= {2, 4, 6, 9, 11} and min(days) > (29 if months == {2} else 30):
        raise ValueError(f"{expression!r}: none of these months has such a day")
    weekdays = frozenset(day % 7 for day in weekdays)
    return Cron(minutes, hours, days, months, weekdays, either)


def _field(word: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            if span == "*":
                start, end = low, high
            else:
                start = _value(first, low, names)
                end = _value(last, low, names) if dash else high if step else start
            each = _value(step, 0, ()) if "/" in part else 1
        except ValueError:
            raise ValueError(f"{part!r} is no {name}") from None
        if not (low <= start <= end <= high and each >= 1):
            raise ValueError(f"{part!r} is no {name}: {low} to {high}, the smaller first")
        values.update(range(start, end + 1, each))
    return frozenset(values)


def _value(word: str, low: int, names: tuple[str, ...]) -> int:
    if word in names:
        return names.index(word) + low
    if not (word.isascii() and word.isdigit()):
        raise ValueError(word)
    return int(word)


def find_zone(name: str) -> Zone:
    """The time zone of that name; ValueError if there is none. UTC needs no database."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; one is Europe/Berlin") from None


def date_and_time(text: str) -> datetime:
    """Read a date and time, with or without an offset; ValueError if it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date and time like 2026-12-24T18:00") from None


def shown(at_s: float, zone: Zone) -> str:
    """What the clocks of `zone` show."""
    return f"{datetime.fromtimestamp(at_s, zone):%Y-%m-%d %H:%M}"


def seconds(local: datetime, zone: Zone) -> float:
    """When the clocks of `zone` show `local` for the first time, in seconds since the epoch.

    A time with an offset of its own is that time; one in a gap is when the gap ends. What is later
    on the clocks is never earlier in truth, so the last one can be found by walking backwards.
    """
    if local.tzinfo is not None:
        return local.timestamp()
    aware = local.replace(tzinfo=zone, fold=0)
    shown = aware.astimezone(UTC).astimezone(zone)
    if shown.replace(tzinfo=None) == local:
        return aware.timestamp()
    # In the gap, fold 0 reads the clock as before the change and fold 1 as after it: the change
    # lies between, where the offset jumps.
    before_s, after_s = local.replace(tzinfo=zone, fold=1).timestamp(), aware.timestamp()
    old = datetime.fromtimestamp(before_s, zone).utcoffset()
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if datetime.fromtimestamp(middle_s, zone).utcoffset() == old:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s
