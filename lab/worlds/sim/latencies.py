"""How long requests take when only their average number is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lab.core.model import MAX_TIMES
from lab.worlds.sim.requestlog import quantile

WAITS = tuple(-math.log(1.0 - share) for share in (1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12))
"""Equally likely values of an exponential distribution with mean 1."""
SERVICES = ((0.1, 0.2), (0.3, 0.2), (0.5, 0.2), (0.7, 0.2), (0.85, 0.1), (0.94, 0.08), (0.99, 0.02))
"""(quantile, weight): a service time distribution in few values."""
NEGLIGIBLE_MS = 0.2


@dataclass(frozen=True, slots=True)
class Wait:
    """The time in the queue: `backlog_s` for all, and an exponential time for a part of them."""

    backlog_s: float = 0.0
    share: float = 0.0
    mean_s: float = 0.0
    """Of that part."""

    @property
    def negligible(self) -> bool:
        return (self.backlog_s + self.share * self.mean_s) * 1000 < NEGLIGIBLE_MS


class Latencies:
    """Adds up how many requests took how long. `services_s` is a large sample, in order."""

    def __init__(self, services_s: Sequence[float]) -> None:
        self._plain_ms = [round(time_s * 1000) for time_s in services_s]
        count = len(services_s)
        self._services = [(services_s[int(share * count)], weight) for share, weight in SERVICES]
        self._without_wait = 0.0
        self._weights: dict[int, float] = {}
        self._last: list[tuple[int, float]] | None = None
        """(ms, weight) of the last step, in order; None: nobody waited."""
        self._answer_ms: tuple[int, ...] = ()

    def answered(self, count: float, wait: Wait) -> None:
        if count <= 0:
            return
        if wait.negligible:
            self._without_wait += count
            self._last = None
            return
        weights: dict[int, float] = {}
        for service_s, weight in self._services:
            least_s = service_s + wait.backlog_s
            for later, part in self._waits(wait):
                ms = round((least_s + later) * 1000)
                weights[ms] = weights.get(ms, 0.0) + weight * part
        self._last = sorted(weights.items())
        for ms, weight in self._last:
            self._weights[ms] = self._weights.get(ms, 0.0) + weight * count

    def failed(self, count: float, after_s: float) -> None:
        ms = round(after_s * 1000)
        self._weights[ms] = self._weights.get(ms, 0.0) + count

    def _waits(self, wait: Wait) -> list[tuple[float, float]]:
        delayed = [(value * wait.mean_s, wait.share / len(WAITS)) for value in WAITS]
        return [(0.0, 1.0 - wait.share), *delayed]

    def requests_by_ms(self) -> Counter[int]:
        total = dict(self._weights)
        each = self._without_wait / len(self._plain_ms)
        for ms, count in Counter(self._plain_ms).items():
            total[ms] = total.get(ms, 0.0) + each * count
        return _whole(total)

    def quantiles_ms(self, shares: Sequence[float]) -> list[float]:
        """Of the last step."""
        if self._last is None:
            return [quantile(self._plain_ms, share) for share in shares]
        return [self._last_quantile(share) for share in shares]

    def _last_quantile(self, share: float) -> float:
        assert self._last is not None
        seen = 0.0
        for ms, weight in self._last:
            seen += weight
            if seen >= share - 1e-9:
                return float(ms)
        return float(self._last[-1][0])

    def samples_ms(self, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """At most MAX_TIMES typical times of the last step: in all, and at the server."""
        count = min(count, MAX_TIMES)
        if len(self._answer_ms) != count:
            size = len(self._plain_ms)
            self._answer_ms = tuple(
                [self._plain_ms[int((index + 0.5) / count * size)] for index in range(count)]
            )
        if self._last is None:
            return self._answer_ms, self._answer_ms
        total_ms: list[int] = []
        seen = 0.0
        for ms, weight in self._last:
            seen += weight
            total_ms += [ms] * (round(seen * count) - len(total_ms))
        return tuple(total_ms), self._answer_ms


def _whole(weights: dict[int, float]) -> Counter[int]:
    """Whole numbers with (nearly) the same sum: what is cut off is carried to the next one."""
    counts: Counter[int] = Counter()
    carried = 0.0
    for ms in sorted(weights):
        carried += weights[ms]
        whole = math.floor(carried + 1e-6)
        if whole:
            counts[ms] = whole
            carried -= whole
    return counts
