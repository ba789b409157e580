"""Averages over a window of one-second buckets, as Knative takes them.

Source: knative/serving, `pkg/autoscaler/aggregation/bucketing.go` and `max/timewindow.go`. Knative
records one sample a second and adds up what falls into a second; a lab ticks more often, so here a
second counts with the mean of its samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

PRECISION = 1e6
"""Averages are cut off after six digits, so that a rounding error asks for no server."""
LEAST_COEFFICIENT = 0.2
WEIGHT = 0.9999


@dataclass(frozen=True)
class Buckets:
    """The seconds of a window; those in a gap count as zero."""

    seconds: tuple[tuple[int, float, int], ...] = ()
    """(second, sum, samples), oldest first."""
    first: int | None = None
    """The second of the first sample, after the window was empty."""

    def record(self, at_s: float, value: float, window_s: float) -> Buckets:
        """With one more sample; `at_s` must not be before the last one's."""
        second = math.floor(at_s)
        if self.first is None or not self.seconds or second - self.last >= window_s:
            return Buckets(((second, value, 1),), second)
        last, sum_, samples = self.seconds[-1]
        if last == second:
            return replace(self, seconds=(*self.seconds[:-1], (last, sum_ + value, samples + 1)))
        since = second - math.ceil(window_s)
        kept = tuple(each for each in self.seconds if each[0] > since)
        return Buckets((*kept, (second, value, 1)), self.first)

    @property
    def last(self) -> int:
        return self.seconds[-1][0]

    def is_empty(self, at_s: float, window_s: float) -> bool:
        """Whether nothing was recorded for a whole window."""
        return not self.seconds or math.floor(at_s) - self.last > window_s

    def average(self, at_s: float, window_s: float) -> float:
        """Over the seconds from the first sample, or the window's begin, to the last sample."""
        if self.first is None or math.floor(at_s) - self.last >= window_s:
            return 0.0
        gap = max(0, math.floor(at_s) - self.last)
        size = math.ceil(window_s)
        since = self.last + gap - size
        total = sum(sum_ / samples for second, sum_, samples in self.seconds if second > since)
        count = min(self.last - self.first + 1, size - gap)
        return math.floor(total / count * PRECISION) / PRECISION

    def weighted_average(self, at_s: float, window_s: float) -> float:
        """The same with weights that fall exponentially with age."""
        if self.is_empty(at_s, window_s):
            return 0.0
        size = math.ceil(window_s)
        coefficient = max(1 - (1 - WEIGHT) ** (1 / size), LEAST_COEFFICIENT)
        now = max(math.floor(at_s), self.last)
        return math.fsum(
            sum_ / samples * coefficient * (1 - coefficient) ** (now - second)
            for second, sum_, samples in self.seconds
            if second > now - size
        )


EMPTY = Buckets()

Steps = tuple[tuple[int, int], ...]
"""(tick, servers), oldest first."""


def largest_in(steps: Steps, tick: int, servers: int, ticks: int) -> Steps:
    """`steps` of the last `ticks`, this one included; one tick counts with its largest number."""
    if steps and steps[-1][0] == tick:
        servers = max(servers, steps[-1][1])
        steps = steps[:-1]
    return (*(step for step in steps if step[0] > tick - ticks), (tick, servers))
