"""Guards bound what a policy recommends, and each says what it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lab.core import windows
from lab.core.model import GuardNote, Observation


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
