"""How long the application works on a request."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from statistics import NormalDist
from urllib.parse import parse_qs, urlsplit

from lab.worlds.sim.parameters import Distribution, Parameters

OVERHEADS = 1024


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request in a mix."""

    path: str
    weight: int = 1

    @property
    def held_s(self) -> float:
        """How long it holds a worker, on average, beyond the overhead of any answer."""
        url = urlsplit(self.path)
        if url.path not in ("/work", "/cpu"):
            return 0.0
        return int(parse_qs(url.query).get("ms", ["100"])[0]) / 1000

    @property
    def burned_s(self) -> float:
        """CPU time of it."""
        return self.held_s if urlsplit(self.path).path == "/cpu" else 0.0


class Service:
    """Draws service times for the requests of a mix."""

    def __init__(self, mix: Sequence[Work], parameters: Parameters, random: Random) -> None:
        weights = list(accumulate(work.weight for work in mix))
        self._bounds = [weight / weights[-1] for weight in weights[:-1]]
        self._held_s = [work.held_s for work in mix]
        self._vary = varied(parameters.service, parameters.service_spread, random)
        self._constant = parameters.service == "constant"
        self._random = random.random
        self._overheads_s = overheads_s(parameters)
        self.burned_s = [work.burned_s + parameters.cpu_overhead_s for work in mix]

    def draw(self, random: Random) -> tuple[int, float]:
        """Which of the mix comes next in the sequence `random`, and how long it takes."""
        chosen = bisect(self._bounds, random.random())
        held_s = self._held_s[chosen]
        if held_s and not self._constant:
            held_s = self._vary(held_s)
        return chosen, held_s + self._overheads_s[int(self._random() * OVERHEADS)]


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """What is known of service times where no single one is drawn."""

    mean_s: float
    variation: float
    """Variance divided by the square of the mean (cs²)."""
    longest_s: float
    """Nine of ten are shorter."""
    sample_s: tuple[float, ...]
    """Many of them, in order."""
    burned_s: float
    """CPU time of a request."""


def service_times(mix: Sequence[Work], parameters: Parameters, count: int = 4000) -> ServiceTimes:
    """Service times of a mix as a distribution."""
    service = Service(mix, parameters, Random("service times"))
    order = Random("mix")
    drawn = [service.draw(order) for _ in range(count)]
    sample_s = tuple(sorted(time_s for _, time_s in drawn))
    mean = sum(sample_s) / count
    variance = sum((time_s - mean) ** 2 for time_s in sample_s) / count
    return ServiceTimes(
        mean_s=mean_s(mix, parameters),
        variation=variance / mean**2 if mean else 0.0,
        longest_s=sample_s[int(0.9 * count)],
        sample_s=sample_s,
        burned_s=sum(service.burned_s[chosen] for chosen, _ in drawn) / count,
    )


def varied(distribution: Distribution, spread: float, random: Random) -> Callable[[float], float]:
    """Draws around a mean."""
    match distribution:
        case "constant":
            return lambda mean: mean
        case "exponential":
            return lambda mean: -mean * math.log(1.0 - random.random())
        case "lognormal":
            # The mean of a lognormal is exp(μ + σ²/2).
            below = spread**2 / 2
            return lambda mean: mean * math.exp(spread * random.gauss(0.0, 1.0) - below)


def overheads_s(parameters: Parameters) -> list[float]:
    """Equally likely ones: the middle quantiles of their distribution, which is quick to draw."""
    median_s, spread = parameters.overhead_s, parameters.overhead_spread
    if median_s == 0 or spread == 0:
        return [median_s] * OVERHEADS
    normal = NormalDist()
    shares = ((index + 0.5) / OVERHEADS for index in range(OVERHEADS))
    return [median_s * math.exp(spread * normal.inv_cdf(share)) for share in shares]


def mean_s(mix: Sequence[Work], parameters: Parameters) -> float:
    """The mean service time of a mix."""
    held_s = sum(work.weight * work.held_s for work in mix) / sum(work.weight for work in mix)
    return held_s + sum(overheads_s(parameters)) / OVERHEADS
