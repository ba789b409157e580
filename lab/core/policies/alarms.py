"""Alarms on a metric: the mean of each period, and whether the last few of them breach a threshold.

As in CloudWatch and Ceilometer: a period counts when it is over, an alarm goes off when the last
`evaluation_periods` means all breach, and it goes off again with each further one. A period in
which the metric was not known breaches nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum


class Comparison(StrEnum):
    """How a mean is compared with the threshold."""

    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    LESS = "<"
    LESS_OR_EQUAL = "<="


COMPARE: dict[Comparison, Callable[[float, float], bool]] = {
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
    Comparison.LESS: operator.lt,
    Comparison.LESS_OR_EQUAL: operator.le,
}


@dataclass(frozen=True)
class Datapoints:
    """The means of the periods that are over, and what the running one has so far."""

    means: tuple[float | None, ...] = ()
    """Oldest first; None: not known."""
    begun_s: float | None = None
    sum: float = 0.0
    samples: int = 0

    def add(self, at_s: float, value: float | None, period_s: float, keep: int) -> Datapoints:
        """With one more sample (None: unknown), keeping the last `keep` periods."""
        points = self._closed(at_s, period_s, keep)
        if value is None:
            return points
        return replace(points, sum=points.sum + value, samples=points.samples + 1)

    def _closed(self, at_s: float, period_s: float, keep: int) -> Datapoints:
        """The running period is over at its end; those of which nothing is known follow it."""
        if self.begun_s is None:
            return replace(self, begun_s=at_s)
        over = int((at_s - self.begun_s + 1e-6) // period_s)
        if over < 1:
            return self
        mean = self.sum / self.samples if self.samples else None
        means = (*self.means, mean, *(None,) * min(over - 1, keep))[-keep:]
        return Datapoints(means, self.begun_s + over * period_s)

    def breach(self, comparison: Comparison, threshold: float, periods: int) -> bool:
        """Whether each of the last `periods` means is known and breaches the threshold."""
        last = self.means[-periods:]
        compare = COMPARE[comparison]
        return len(last) == periods and all(
            mean is not None and compare(mean, threshold) for mean in last
        )


NO_DATA = Datapoints()
