"""What HAProxy's HTTP log tells of the requests that ended, and the numbers made from it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque

from lab.core.model import MAX_TIMES, Metrics

WORTH_IT = 50_000


class RequestLog:
    """Every request that ended, in order; those of long ago are counted and forgotten."""

    __slots__ = ("_counted", "_requests_by_ms", "answers_ms", "ended_s", "total_ms")

    def __init__(self) -> None:
        self.ended_s: list[float] = []
        self.total_ms: list[int] = []
        """From a request's arrival to its end."""
        self.answers_ms: list[int] = []
        """Of the server's work; -1: it reached none."""
        self._requests_by_ms: Counter[int] = Counter()
        self._counted = 0

    def add(self, ended_s: float, total_s: float, answer_s: float) -> None:
        """Times are whole milliseconds, as in HAProxy."""
        self.ended_s.append(ended_s)
        self.total_ms.append(int(total_s * 1000 + 0.5))
        self.answers_ms.append(int(answer_s * 1000 + 0.5) if answer_s >= 0 else -1)

    @property
    def requests_by_ms(self) -> Counter[int]:
        """How many requests took how long, from the very first one on."""
        self._requests_by_ms.update(self.total_ms[self._counted :])
        self._counted = len(self.total_ms)
        return self._requests_by_ms

    def forget(self, count: int) -> int:
        """Forget the oldest `count`, if it is worth it; how many were forgotten."""
        if count < WORTH_IT:
            return 0
        _ = self.requests_by_ms
        del self.ended_s[:count], self.total_ms[:count], self.answers_ms[:count]
        self._counted = len(self.ended_s)
        return count


class LogReader:
    """The scaler's side of the log: the last seconds, and what is new since the last look."""

    def __init__(self, log: RequestLog, window_s: float) -> None:
        self._log = log
        self._window_s = window_s
        self._seen = len(log.ended_s)
        self._oldest = self._seen
        self._window: list[int] = []

    def read(self, now_s: float) -> tuple[list[int], tuple[int, ...], tuple[int, ...]]:
        """The window's times in order, and `total_ms` and `answer_ms` of what is new."""
        log = self._log
        new_ms = log.total_ms[self._seen :]
        answers_ms = log.answers_ms[max(self._seen, len(log.ended_s) - MAX_TIMES) :]
        oldest = bisect_left(log.ended_s, now_s - self._window_s, self._oldest)
        self._slide(log.total_ms[self._oldest : min(oldest, self._seen)], new_ms)
        if oldest > self._seen:  # nothing was read for longer than the window
            self._window = sorted(log.total_ms[oldest:])
        self._oldest = oldest - log.forget(oldest)
        self._seen = len(log.ended_s)
        return (
            self._window,
            tuple(new_ms[-MAX_TIMES:]),
            tuple([ms for ms in answers_ms if ms >= 0]),
        )

    def _slide(self, gone_ms: list[int], new_ms: list[int]) -> None:
        """The window stays in order, so that little is left to sort."""
        window = self._window
        for ms in gone_ms:
            del window[bisect_left(window, ms)]
        window += new_ms
        window.sort()


def quantile(ordered: list[int], share: float) -> float:
    """The nearest-rank quantile of an ordered, non-empty list."""
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


class Rate:
    """A counter's growth a second over the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._readings: deque[tuple[float, int]] = deque()

    def add(self, at_s: float, counter: int) -> float | None:
        """The rate at `at_s`; None until there are two readings."""
        readings = self._readings
        readings.append((at_s, counter))
        since_s = at_s - self._window_s
        while len(readings) > 2 and readings[1][0] <= since_s:
            readings.popleft()
        (first_s, first), (last_s, last) = readings[0], readings[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None


class Gauges:
    """Metrics as lab.balancer.haproxy makes them from HAProxy's counters and its log."""

    def __init__(self, log: RequestLog, log_window_s: float, rate_window_s: float) -> None:
        self._reader = LogReader(log, log_window_s)
        self._requests = Rate(rate_window_s)
        self._errors = Rate(rate_window_s)

    def metrics(
        self, now_s: float, in_flight: int, queued: int, requests: int, errors: int
    ) -> Metrics:
        times, total_ms, answer_ms = self._reader.read(now_s)
        return Metrics(
            in_flight,
            queued,
            self._requests.add(now_s, requests),
            self._errors.add(now_s, errors),
            quantile(times, 0.50) if times else None,
            quantile(times, 0.95) if times else None,
            quantile(times, 0.99) if times else None,
            total_ms,
            answer_ms,
        )
