"""Measures of a run, from its trace alone. Pure.

Elasticity after the SPEC Research Group's cloud group (Herbst et al., "Ready for Rain? A View from
SPEC Research on the Future of Cloud Metrics", 2016). Supply s(t) is the number of serving servers.
Demand d(t) is the least number of servers that could have held the requests of that moment:

    d(t) = max(1, ceil((in flight + queued) / workers))

By Little's law (L = λ·W) requests in flight and queued are the concurrency that the clients offer;
one clone works on `workers` of them at once. Demand is not capped at the pool's maximum: what
cannot be served is under-provisioned. A line whose metrics are unknown has no demand and is left
out of sums and of the time T that they are divided by; it is not taken for idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

from lab.core.model import Phase

FLAP_S = 60.0
RUNNING = frozenset({Phase.BOOTING, Phase.JOINING, Phase.SERVING, Phase.DRAINING, Phase.BROKEN})
"""Phases in which a container uses CPU and memory; a warm one is frozen, and costs memory only."""
MOVING = frozenset({Phase.BOOTING, Phase.JOINING, Phase.DRAINING, Phase.BROKEN})


@dataclass(frozen=True, slots=True)
class Sample:
    """What the measures need of one line of the trace."""

    t_s: float
    """Seconds since the first line."""
    for_s: float
    """Until the next line; 0 for the last one."""
    serving: int
    wanted: int
    running: int
    """Containers that are up, serving or not."""
    moving: int
    """Slots on their way from one phase to another."""
    demand: int | None
    """Servers; None: the metrics of this line are unknown."""


@dataclass(frozen=True)
class Elasticity:
    """All in percent; None: demand was known for no stretch of time. Less is better."""

    theta_u: float | None
    """θ_U: how much was missing, relative to demand, on average over time."""
    theta_o: float | None
    """θ_O: how much was too much, likewise."""
    tau_u: float | None
    """τ_U: part of the time in which something was missing."""
    tau_o: float | None
    """τ_O: part of the time in which something was too much."""
    instability: float | None
    """υ: part of the time in which supply and demand did not move in the same direction."""


@dataclass(frozen=True)
class Measures:
    elasticity: Elasticity
    flaps: int
    container_s: float
    peak_servers: int
    final_servers: int
    duration_s: float


def samples_of(lines: Iterable[dict[str, Any]], workers: int) -> tuple[Sample, ...]:
    """The lines of a trace with their times. `workers` are those of one server.

    A line that is not later than the one before it (the host was restarted) is left out.
    """
    ordered: list[dict[str, Any]] = []
    for line in lines:
        if not ordered or line["at_s"] > ordered[-1]["at_s"]:
            ordered.append(line)
    ends_s = [line["at_s"] for line in ordered[1:]] + [line["at_s"] for line in ordered[-1:]]
    return tuple(
        _sample(line, line["at_s"] - ordered[0]["at_s"], end_s - line["at_s"], workers)
        for line, end_s in zip(ordered, ends_s, strict=True)
    )


def _sample(line: dict[str, Any], t_s: float, for_s: float, workers: int) -> Sample:
    phases = [slot["phase"] for slot in line["observation"]["slots"]]
    metrics = line["observation"]["metrics"]
    return Sample(
        t_s=t_s,
        for_s=for_s,
        serving=phases.count(Phase.SERVING),
        wanted=line["wanted"],
        running=sum(phase in RUNNING for phase in phases),
        moving=sum(phase in MOVING for phase in phases),
        demand=demand_servers(metrics["in_flight"], metrics["queued"], workers),
    )


def demand_servers(in_flight: int | None, queued: int | None, workers: int) -> int | None:
    """d(t) in servers, at least one; None when either number is unknown."""
    if in_flight is None or queued is None:
        return None
    return max(1, ceil((in_flight + queued) / workers))


def measure(samples: Sequence[Sample]) -> Measures:
    """All measures of a run. Without any sample they are zero or None."""
    return Measures(
        elasticity=elasticity(samples),
        flaps=flaps(samples),
        container_s=sum(sample.running * sample.for_s for sample in samples),
        peak_servers=max((sample.serving for sample in samples), default=0),
        final_servers=samples[-1].serving if samples else 0,
        duration_s=samples[-1].t_s if samples else 0.0,
    )


def elasticity(samples: Sequence[Sample]) -> Elasticity:
    """The five measures, with each line weighted by the time Δt to the next one.

    θ_U = 100/T·Σ max(d−s, 0)/d·Δt    τ_U = 100/T·Σ max(sgn(d−s), 0)·Δt
    θ_O = 100/T·Σ max(s−d, 0)/d·Δt    τ_O = 100/T·Σ max(sgn(s−d), 0)·Δt
    υ = 100/T'·Σ min(|sgn Δs − sgn Δd|, 1)·Δt, where T' (T−1 in the original, whose samples are one
    second apart) is the time between neighbouring lines that both have a demand.
    """
    known = [(s.serving, s.demand, s.for_s) for s in samples if s.demand is not None]
    pairs = [
        (
            _sign(after.serving - before.serving) != _sign(after.demand - before.demand),
            before.for_s,
        )
        for before, after in pairwise(samples)
        if before.demand is not None and after.demand is not None
    ]
    return Elasticity(
        theta_u=_percent((max(d - s, 0) / d, for_s) for s, d, for_s in known),
        theta_o=_percent((max(s - d, 0) / d, for_s) for s, d, for_s in known),
        tau_u=_percent((d > s, for_s) for s, d, for_s in known),
        tau_o=_percent((s > d, for_s) for s, d, for_s in known),
        instability=_percent(pairs),
    )


def _percent(weighted: Iterable[tuple[float, float]]) -> float | None:
    """100 × the mean of (value, seconds) over time; None when there is no time."""
    total = total_s = 0.0
    for value, for_s in weighted:
        total += value * for_s
        total_s += for_s
    return 100 * total / total_s if total_s > 0 else None


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def flaps(samples: Sequence[Sample]) -> int:
    """Changes of `wanted` in the direction opposite to the change before, at most `FLAP_S` later.

    1 → 3 at 10 s, 3 → 2 at 30 s, 2 → 4 at 50 s are two flaps; with the last at 100 s, one.
    """
    count = 0
    last_sign, last_s = 0, 0.0
    for before, after in pairwise(samples):
        sign = _sign(after.wanted - before.wanted)
        if sign == 0:
            continue
        if sign == -last_sign and after.t_s - last_s <= FLAP_S:
            count += 1
        last_sign, last_s = sign, after.t_s
    return count


def eta(none: Elasticity, auto: Elasticity) -> float | None:
    """Elastic speed-up of `auto` against `none`, the same load without scaling; above 1 is better.

    η = [(θ_U,n/θ_U,a)·(θ_O,n/θ_O,a)·(τ_U,n/τ_U,a)·(τ_O,n/τ_O,a)]^¼
    (Herbst et al.; Imdoukh et al. 2019, doi 10.1007/s00521-019-04507-z, table 8, as a test)

    Two zeros are equally good, a ratio of 1. None where it is not defined: a measure is unknown,
    or is zero with scaling but not without.
    """
    product = 1.0
    for without, scaled in (
        (none.theta_u, auto.theta_u),
        (none.theta_o, auto.theta_o),
        (none.tau_u, auto.tau_u),
        (none.tau_o, auto.tau_o),
    ):
        if without is None or scaled is None or (scaled == 0 and without != 0):
            return None
        product *= without / scaled if scaled else 1.0
    fourth_root: float = product**0.25
    return fourth_root
