"""Guards bound what a policy recommends, and each says what it changed.

Any policy can be run with them; a policy whose original has such rules of its own has those
instead, and only the limits besides. Each guard knows the decisions that came about, not those
that something behind it stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Gt, Le

from lab.core import windows
from lab.core.changes import NO_CHANGES, Changes
from lab.core.model import GuardNote, Observation

Seconds = Annotated[float, Ge(0), Le(3600)]
Period = Annotated[float, Gt(0), Le(3600)]


class Guard(Protocol):
    @property
    def name(self) -> str: ...

    def bound(
        self, memory: Any, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, Any]:
        """The number that may be asked for, why it differs ("" if it does not), and the memory."""
        ...


@dataclass(frozen=True)
class Limits:
    min: int
    max: int
    name: str = "limits"

    def bound(
        self, memory: None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, None]:
        if wanted < self.min:
            return self.min, f"pool.min is {self.min}", None
        if wanted > self.max:
            return self.max, f"pool.max is {self.max}", None
        return wanted, "", None


@dataclass(frozen=True)
class Hold:
    """Shrinks only when it is known what the servers have to do."""

    name: str = "hold"

    def bound(
        self, memory: None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, None]:
        seen = observation.metrics
        unknown = [name for name in ("in_flight", "queued") if getattr(seen, name) is None]
        if wanted < current and unknown:
            return current, f"{' and '.join(unknown)} unknown", None
        return wanted, "", None


@dataclass(frozen=True)
class Tolerance:
    """Leaves the pool alone where at most this share of it would come or go."""

    share: float
    name: str = "tolerance"

    def bound(
        self, memory: None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, None]:
        if wanted != current and abs(wanted - current) <= self.share * current:
            return current, f"{wanted - current:+d} is within {self.share:.0%} of {current}", None
        return wanted, "", None


@dataclass(frozen=True)
class ShrinkStabilisation:
    """Shrinks only to the largest number that was wanted within the last `window_s` seconds.

    Source: Kubernetes HPA v2, `behavior.scaleDown.stabilizationWindowSeconds`.
    """

    window_s: float
    name: str = "shrink_after"

    def bound(
        self, memory: windows.Samples | None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, windows.Samples]:
        # A scaler that has just started knows of no wish but the servers that it finds.
        before = ((observation.at_s, float(current)),) if memory is None else memory
        samples = windows.add(before, observation.at_s, wanted, self.window_s)
        largest = int(max(value for _, value in samples))
        if wanted >= current or largest <= wanted:
            return wanted, "", samples
        return min(largest, current), f"{largest} wanted within {self.window_s:g} s", samples


@dataclass(frozen=True)
class GrowStabilisation:
    """Grows only to the smallest number that was wanted within the last `window_s` seconds."""

    window_s: float
    name: str = "grow_after"

    def bound(
        self, memory: windows.Samples | None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, windows.Samples]:
        before = ((observation.at_s, float(current)),) if memory is None else memory
        samples = windows.add(before, observation.at_s, wanted, self.window_s)
        smallest = int(min(value for _, value in samples))
        if wanted <= current or smallest >= wanted:
            return wanted, "", samples
        return max(smallest, current), f"{smallest} wanted within {self.window_s:g} s", samples


@dataclass(frozen=True)
class Cooldown:
    """After a change, grows and shrinks again only after some seconds, each of its own number."""

    grow_s: float
    shrink_s: float
    name: str = "cooldown"

    def bound(
        self, memory: Changes | None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, Changes]:
        changes = (memory or NO_CHANGES).seen(current)
        last = changes.last
        changes = replace(changes, made=(last,) if last else ())
        wait_s = self.grow_s if wanted > current else self.shrink_s
        left_s = last.at_s + wait_s - observation.at_s if last else 0.0
        bounded, why = wanted, ""
        if wanted != current and left_s > 0:
            how = "growing" if wanted > current else "shrinking"
            bounded, why = current, f"no {how} for {left_s:.1f} s more after a change"
        return bounded, why, changes.decided(observation.at_s, current, bounded)


@dataclass(frozen=True)
class Rate:
    """Grows (or shrinks) by at most so many servers, or percent of those at its beginning, within
    a period; where both are given, by the larger. 0: not at all by that measure."""

    grow: bool
    servers: int
    percent: float
    period_s: float

    @property
    def name(self) -> str:
        return "grow_rate" if self.grow else "shrink_rate"

    def bound(
        self, memory: Changes | None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, Changes]:
        at_s = observation.at_s
        changes = (memory or NO_CHANGES).seen(current).since(at_s - self.period_s)
        start = current - changes.net(at_s - self.period_s)
        step = max(self.servers, math.ceil(start * self.percent / 100))
        bounded, words = wanted, f"{step} within {self.period_s:g} s, from {start}"
        if self.grow and wanted > current:
            bounded = min(wanted, max(start + step, current))
        elif not self.grow and wanted < current:
            bounded = max(wanted, min(start - step, current))
        why = words if bounded != wanted else ""
        return bounded, why, changes.decided(at_s, current, bounded)


@dataclass(frozen=True)
class FlapMemory:
    changes: Changes = NO_CHANGES
    turns: tuple[float, ...] = ()
    """When growing turned into shrinking, or the other way."""


@dataclass(frozen=True)
class FlapBudget:
    """Turns from growing to shrinking, or back, at most so many times within a window."""

    turns: int
    window_s: float
    name: str = "flap_budget"

    def bound(
        self, memory: FlapMemory | None, observation: Observation, current: int, wanted: int
    ) -> tuple[int, str, FlapMemory]:
        memory = memory or FlapMemory()
        at_s, before = observation.at_s, memory.changes.last
        changes = memory.changes.seen(current)
        last, turns = changes.last, memory.turns
        if before and last and before is not last and before.servers * last.servers < 0:
            turns = (*turns, last.at_s)
        turns = tuple(turn_s for turn_s in turns if turn_s > at_s - self.window_s)
        bounded, why = wanted, ""
        if last and last.servers * (wanted - current) < 0 and len(turns) >= self.turns:
            bounded, why = current, f"{len(turns)} turns within {self.window_s:g} s"
        kept = replace(changes, made=(last,) if last else ())
        return bounded, why, FlapMemory(kept.decided(at_s, current, bounded), turns)


def apply(
    guards: tuple[Guard, ...],
    memories: tuple[Any, ...],
    observation: Observation,
    current: int,
    wanted: int,
) -> tuple[int, tuple[GuardNote, ...], tuple[Any, ...]]:
    """Run `wanted` through all guards in order."""
    notes: list[GuardNote] = []
    kept: list[Any] = []
    for guard, memory in zip(guards, memories or (None,) * len(guards), strict=True):
        bounded, why, memory = guard.bound(memory, observation, current, wanted)
        kept.append(memory)
        if bounded != wanted:
            notes.append(GuardNote(guard.name, wanted, bounded, why))
        wanted = bounded
    return wanted, tuple(notes), tuple(kept)


@dataclass(frozen=True)
class GuardSettings:
    """Which general guards there are; 0 means that there is none of that kind."""

    hold_on_unknown: bool = True
    tolerance: Annotated[float, Ge(0), Le(1)] = 0.0
    grow_after_s: Seconds = 0.0
    shrink_after_s: Seconds = 8.0
    grow_cooldown_s: Seconds = 0.0
    shrink_cooldown_s: Seconds = 0.0
    grow_servers: Annotated[int, Ge(0), Le(1000)] = 0
    grow_percent: Annotated[float, Ge(0), Le(100_000)] = 0.0
    grow_period_s: Period = 15.0
    shrink_servers: Annotated[int, Ge(0), Le(1000)] = 0
    shrink_percent: Annotated[float, Ge(0), Le(100)] = 0.0
    shrink_period_s: Period = 15.0
    flap_budget: Annotated[int, Ge(0), Le(1000)] = 0
    flap_window_s: Period = 300.0


def build(settings: GuardSettings) -> tuple[Guard, ...]:
    """The guards that are switched on, in the order in which they run; the limits come after."""
    guards: list[Guard] = []
    if settings.tolerance:
        guards.append(Tolerance(settings.tolerance))
    if settings.grow_after_s:
        guards.append(GrowStabilisation(settings.grow_after_s))
    if settings.shrink_after_s:
        guards.append(ShrinkStabilisation(settings.shrink_after_s))
    if settings.grow_cooldown_s or settings.shrink_cooldown_s:
        guards.append(Cooldown(settings.grow_cooldown_s, settings.shrink_cooldown_s))
    if settings.grow_servers or settings.grow_percent:
        guards.append(
            Rate(True, settings.grow_servers, settings.grow_percent, settings.grow_period_s)
        )
    if settings.shrink_servers or settings.shrink_percent:
        guards.append(
            Rate(False, settings.shrink_servers, settings.shrink_percent, settings.shrink_period_s)
        )
    if settings.flap_budget:
        guards.append(FlapBudget(settings.flap_budget, settings.flap_window_s))
    if settings.hold_on_unknown:
        guards.append(Hold())
    return tuple(guards)
