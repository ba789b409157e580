"""Open-loop load: requests arrive at a rate, whether or not earlier ones were answered.

A rate over time is a line through points of (second, requests a second). Arrivals at the rate λ(t)
are arrivals at the rate 1 on a clock that runs λ(t) times as fast: the n-th comes when the integral
Λ(t) of the rate reaches the n-th arrival of a process with rate 1. Straight lines have an integral
that can be turned around, so nothing is approximated.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count, pairwise
from random import Random

RatePoints = tuple[tuple[float, float], ...]
"""(second, requests a second), in order of time; two at the same second are a jump."""


@dataclass(frozen=True)
class RateCurve:
    """Requests a second over time, from 0 s to the last point."""

    points: RatePoints

    @property
    def duration_s(self) -> float:
        return self.points[-1][0]

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(rate for _, rate in self.points)

    @cached_property
    def _seconds(self) -> list[float]:
        return [second for second, _ in self.points]

    @cached_property
    def _integral(self) -> list[float]:
        """Λ at each point."""
        areas = ((t - s) * (a + b) / 2 for (s, a), (t, b) in pairwise(self.points))
        return list(accumulate(areas, initial=0.0))

    def at(self, t_s: float) -> float:
        """λ(t), and 0 outside; at a jump, what comes after it."""
        index = bisect_right(self._seconds, t_s) - 1
        if index < 0 or t_s > self.duration_s:
            return 0.0
        if index == len(self.points) - 1:
            return self.points[-1][1]
        (from_s, before), (to_s, after) = self.points[index : index + 2]
        return before + (after - before) * (t_s - from_s) / (to_s - from_s)

    def requests(self, from_s: float, to_s: float) -> float:
        """How many are expected between two moments."""
        return self._until(to_s) - self._until(from_s)

    def _until(self, t_s: float) -> float:
        index = bisect_right(self._seconds, t_s) - 1
        if index < 0:
            return 0.0
        if index == len(self.points) - 1:
            return self._integral[-1]
        from_s, before = self.points[index]
        return self._integral[index] + (t_s - from_s) * (before + self.at(t_s)) / 2

    def times_s(self, gap: Callable[[], float]) -> Iterator[float]:
        """When requests arrive. `gap` gives the time between two at rate 1: `poisson`, `even`."""
        due = gap()
        for (from_s, a), (to_s, b), begun in zip(
            self.points, self.points[1:], self._integral, strict=False
        ):
            length_s = to_s - from_s
            ends = begun + length_s * (a + b) / 2
            slope = (b - a) / length_s if length_s else 0.0
            while due <= ends and length_s:
                # a·x + slope·x²/2 = due − begun, in the form that a slope of zero does not break.
                area = due - begun
                yield from_s + 2 * area / (a + math.sqrt(max(0.0, a * a + 2 * slope * area)))
                due += gap()


def poisson(random: Random) -> Callable[[], float]:
    """Gaps of a Poisson process with rate 1: independent users."""
    uniform, log = random.random, math.log
    return lambda: -log(1.0 - uniform())


def even() -> Callable[[], float]:
    """Gaps that are all the same: a metronome. The first request comes after half a gap."""
    first = count()
    return lambda: 1.0 if next(first) else 0.5


def sampled(
    rate: Callable[[float], float], duration_s: float, every_s: float, jumps_s: Sequence[float] = ()
) -> RatePoints:
    """Points of a smooth rate, `every_s` apart, and just before and at each jump."""
    steps = max(1, math.ceil(duration_s / every_s))
    seconds = {min(index * every_s, duration_s) for index in range(steps + 1)}
    points = {(second, max(0.0, rate(second))) for second in seconds.difference(jumps_s)}
    for jump_s in jumps_s:
        before_s = math.nextafter(jump_s, 0.0)
        points |= {(before_s, max(0.0, rate(before_s))), (jump_s, max(0.0, rate(jump_s)))}
    return tuple(sorted(points))


def autoregression(
    random: Random, deviation: float, lasts_s: float, every_s: float
) -> Iterator[float]:
    """AR(1): values `every_s` apart with this standard deviation, mean 0, and a correlation that
    falls to 1/e in `lasts_s`."""
    keep = math.exp(-every_s / lasts_s)
    fresh = deviation * math.sqrt(1.0 - keep * keep)
    value = random.gauss(0.0, deviation)
    while True:
        yield value
        value = keep * value + random.gauss(0.0, fresh)


def counted(times_s: Iterable[float], bin_s: float) -> RatePoints:
    """The rate of requests that arrived at these times, constant within each bin."""
    counts: dict[int, int] = {}
    for at_s in times_s:
        counts[int(at_s // bin_s)] = counts.get(int(at_s // bin_s), 0) + 1
    bins = range(max(counts, default=0) + 1)
    return tuple(
        (second, counts.get(index, 0) / bin_s)
        for index in bins
        for second in (index * bin_s, (index + 1) * bin_s)
    )
