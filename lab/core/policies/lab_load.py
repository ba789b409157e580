"""What the lab's policy makes of the numbers that it has seen: load, surge, spread and trend.

All in busy workers; `seen` is never empty, oldest first, and no two are of the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NOISE = 3.0
"""Standard deviations that are not taken for chance."""
FEW_RECENT = 3
"""Observations that are too few for a mean, and the least that must agree to shrink."""
FEW = 8
"""Observations that are too few to see their spread."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation."""

    at_s: float
    busy: int
    """Requests in flight: workers that are busy."""
    queued: int
    serving: int

    @property
    def requests(self) -> int:
        return self.busy + self.queued


History = tuple[Seen, ...]


def load(
    seen: History, window_s: float, service_s: float | None, requests_per_s: float | None
) -> tuple[float, str]:
    """The offered load a, and where it comes from."""
    now = seen[-1]
    recent = [one for one in seen if one.at_s > now.at_s - window_s]
    busy = sum(one.busy for one in recent) / len(recent)
    counted = f"a load of {busy:.1f} (mean in flight of {window_s:g} s)"
    if service_s is None:
        return busy, counted
    if now.queued and (growth := surge(seen, window_s, service_s)) is not None:
        rising = now.busy + service_s * growth
        if rising > busy:
            grows = f"{now.busy} in flight + {service_s:.3f} s x {growth:+.0f} queued a second"
            return rising, f"a surge to {rising:.1f} ({grows})"
    arriving = (requests_per_s or 0.0) * service_s
    # With slow ticks too few numbers are in the window for a mean; the rate is one itself.
    few = len(recent) < FEW_RECENT and requests_per_s is not None
    if few if not now.queued else arriving > busy:
        rate = f"{requests_per_s:.0f} requests a second x {service_s:.3f} s"
        return arriving, f"a load of {arriving:.1f} ({rate})"
    return busy, counted


def surge(seen: History, window_s: float, service_s: float) -> float | None:
    """How fast the queue grows, a second; None unless there is far more than usual."""
    now, earlier = seen[-1], seen[:-1]
    if not earlier:
        return None
    inside = [one.requests for one in earlier if one.at_s > now.at_s - window_s]
    usual = sum(inside) / len(inside) if inside else earlier[-1].requests
    if now.requests - usual <= NOISE * max(1.0, spread(earlier, usual)):
        return None
    # Over a time of service: the growth in less is mostly noise, in more it is the past.
    since_s = now.at_s - min(service_s, window_s)
    then = next((one for one in reversed(earlier) if one.at_s <= since_s), earlier[0])
    return (now.queued - then.queued) / (now.at_s - then.at_s)


def spread(seen: History, load: float) -> float:
    """The standard deviation of the load: Poisson's √a, or less if less is seen.

    A fixed number of clients that do not pause has none, and needs no workers to spare.
    """
    if len(seen) < FEW:
        return math.sqrt(load)
    mean = sum(one.requests for one in seen) / len(seen)
    variance = sum((one.requests - mean) ** 2 for one in seen) / len(seen)
    return math.sqrt(min(load, variance))


def trend(seen: History, trend_s: float, window_s: float, service_s: float) -> float:
    """How fast the busy workers become more, a second; 0 where it may be chance or is over.

    The slope of the least squares; a line through n independent values of variance a rises over
    its length by √(12 a / n) for chance alone, and values are independent after a time of service.
    """
    now = seen[-1]
    recent = [one.busy for one in seen if one.at_s > now.at_s - window_s]
    seen = tuple(one for one in seen if one.at_s > now.at_s - trend_s)
    if len(seen) < FEW_RECENT or (len(recent) > 1 and now.busy * len(recent) <= sum(recent)):
        return 0.0
    span_s = now.at_s - seen[0].at_s
    mean_s = sum(one.at_s for one in seen) / len(seen)
    mean = sum(one.busy for one in seen) / len(seen)
    square = sum((one.at_s - mean_s) ** 2 for one in seen)
    slope = sum((one.at_s - mean_s) * (one.busy - mean) for one in seen) / square
    independent = 1 + span_s / max(span_s / (len(seen) - 1), service_s)
    chance = NOISE * math.sqrt(12 * max(1.0, mean) / independent)
    return slope if slope * span_s > chance else 0.0


def stands(seen: History, since_s: float, within_s: float) -> bool:
    """Whether the queue, at its pace since `since_s`, will not be gone within `within_s`.

    Not if servers have come since then: they change the pace.
    """
    now = seen[-1]
    then = next((one for one in reversed(seen) if one.at_s <= since_s), None)
    if then is None or then is now or then.serving < now.serving:
        return False
    gone = (then.queued - now.queued) / (now.at_s - then.at_s)
    return now.queued > gone * within_s
