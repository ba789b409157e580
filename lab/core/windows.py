"""Samples over the last seconds, as values."""

from __future__ import annotations

Samples = tuple[tuple[float, float], ...]
"""(at_s, value), oldest first."""


def add(samples: Samples, at_s: float, value: float, window_s: float) -> Samples:
    """`samples` with a new one, without those older than `window_s` before it.

    A sample that is not later than the last one replaces nothing and is kept: clocks of a world
    are monotonic, but two ticks may fall on one reading.
    """
    since = at_s - window_s
    return (*(sample for sample in samples if sample[0] > since), (at_s, value))


def mean(samples: Samples) -> float:
    """The arithmetic mean; `samples` must not be empty."""
    return sum(value for _, value in samples) / len(samples)
