"""How fast a counter grows."""

from __future__ import annotations

from collections import deque


class Rate:
    """A counter's growth a second over the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, counter: float) -> float | None:
        """The rate at `at_s`; None until two readings exist, and after a reset of the counter."""
        if self._readings and counter < self._readings[-1][1]:
            self._readings.clear()
        self._readings.append((at_s, counter))
        while len(self._readings) > 2 and self._readings[1][0] <= at_s - self._window_s:
            self._readings.popleft()
        (first_s, first), (last_s, last) = self._readings[0], self._readings[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None
