"""Scaling by the clock: cron expressions and single dates, in a time zone.

Source: the cron that the Heat tutorial suggests, EC2's scheduled actions (cron, one-off, IANA time
zone) and Nomad's cron schedules.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.core.model import Observation, Recommendation
from lab.core.policies import cron
from lab.core.policies.cron import Zone


@dataclass(frozen=True)
class Entry:
    """From each time that `cron` means, or from the one time `at`, so many servers."""

    servers: Annotated[int, Ge(0), Le(1_000_000)]
    cron: str = ""
    """Five fields, as in crontab(5)."""
    at: str = ""
    """A date and time like 2026-12-24T18:00; in the schedule's zone if it names no offset."""
    for_s: Annotated[float, Ge(0), Le(315_360_000)] = 0.0
    """It ends after so many seconds; 0: when the next one begins."""

    def __post_init__(self) -> None:
        if bool(self.cron) == bool(self.at):
            raise ValueError("an entry of the schedule has either `cron` or `at`")
        if self.cron:
            _parse(self.cron)
        else:
            cron.date_and_time(self.at)

    def began_s(self, utc_s: float, zone: Zone) -> float | None:
        """When it began to hold for the last time; None if it does not hold at `utc_s`."""
        if self.cron:
            began_s = _parse(self.cron).last(utc_s, zone)
        else:
            began_s = cron.seconds(cron.date_and_time(self.at), zone)
        if began_s is None or began_s > utc_s or 0 < self.for_s <= utc_s - began_s:
            return None
        return began_s


@dataclass(frozen=True)
class Schedule:
    """servers = those of the entry that began last; of two that began at once, the larger.

    It keeps nothing: a scaler that starts at noon finds out by itself what began at eight. Before
    any entry has begun the pool stays as it is. With `combine` a schedule is a floor under
    another policy.
    """

    name: ClassVar[str] = "schedule"
    own_guards: ClassVar[bool] = True
    is_floor: ClassVar[bool] = True

    zone: str = "UTC"
    """A name of the IANA time zone database, like Europe/Berlin."""
    entries: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        cron.find_zone(self.zone)

    def recommend(
        self, memory: None, observation: Observation, current: int
    ) -> tuple[Recommendation, None]:
        utc_s = observation.utc_s
        if utc_s is None:
            return Recommendation(None, "the time of day is unknown"), None
        zone = cron.find_zone(self.zone)
        began = [
            (began_s, entry.servers, entry)
            for entry in self.entries
            if (began_s := entry.began_s(utc_s, zone)) is not None
        ]
        if not began:
            return Recommendation(current, f"no entry has begun, so all stay: {current}"), None
        began_s, servers, entry = max(began, key=lambda found: found[:2])
        what = f"cron {entry.cron!r}" if entry.cron else "the date"
        formula = f"{what} holds since {cron.shown(began_s, zone)} {self.zone}: {servers}"
        return Recommendation(servers, formula), None


@functools.cache
def _parse(expression: str) -> cron.Cron:
    return cron.parse(expression)
