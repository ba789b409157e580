"""The metrics that a policy can be told to look at, by name: `metric = "concurrency"`.

Each has a number for the whole pool (`total`), one for the average server (`per_server`) and, where
it is measured there, one for each slot (`by_slot`). What was not measured is None and never zero.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from lab.core.model import Observation, Phase, Slot


class Metric(StrEnum):
    """What can be looked at."""

    IN_FLIGHT = "in_flight"
    """Requests that a server works on."""
    QUEUED = "queued"
    """Requests that wait for a server."""
    CONCURRENCY = "concurrency"
    """Both of these: all requests that are in the system."""
    REQUESTS_PER_S = "requests_per_s"
    ERRORS_PER_S = "errors_per_s"
    P50_MS = "p50_ms"
    P95_MS = "p95_ms"
    P99_MS = "p99_ms"
    CPU = "cpu"
    """CPU time used, as a share of what a server may use (of one CPU where it has no limit)."""
    MEMORY = "memory"
    """Memory used, as a share of the server's limit; unknown where it has none."""


QUANTILES = frozenset({Metric.P50_MS, Metric.P95_MS, Metric.P99_MS})
"""A server's share of these is the number itself."""
SHARES = frozenset({Metric.CPU, Metric.MEMORY})
"""Measured in each clone. The pool's is their sum, and unknown where one is missing; the average
server's is the mean of those that are known."""


def cpu_share(slot: Slot) -> float | None:
    """The share of its CPUs that a clone uses: 0.5 is half of them."""
    return None if slot.cpus is None else slot.cpus / (slot.cpus_limit or 1.0)


def memory_share(slot: Slot) -> float | None:
    """The share of its memory limit that a clone uses; None without a measurement or a limit."""
    if slot.memory_bytes is None or not slot.memory_limit_bytes:
        return None
    return slot.memory_bytes / slot.memory_limit_bytes


_OF_SLOT: dict[Metric, Callable[[Slot], float | None]] = {
    Metric.IN_FLIGHT: lambda slot: slot.sessions,
    Metric.QUEUED: lambda slot: slot.queued,
    Metric.CONCURRENCY: lambda slot: slot.sessions + slot.queued,
    Metric.CPU: cpu_share,
    Metric.MEMORY: memory_share,
}


def by_slot(
    metric: Metric, observation: Observation, phases: tuple[Phase, ...] = (Phase.SERVING,)
) -> dict[int, float]:
    """The known numbers of the slots in `phases`, by slot number.

    Empty for what is measured at the balancer only.
    """
    of_slot = _OF_SLOT.get(metric)
    if of_slot is None:
        return {}
    values = {slot.number: of_slot(slot) for slot in observation.in_phase(*phases)}
    return {number: value for number, value in values.items() if value is not None}


def total(metric: Metric, observation: Observation) -> float | None:
    """The whole pool's number: a sum, or the quantile of all requests."""
    seen = observation.metrics
    if metric == Metric.CONCURRENCY:
        if seen.in_flight is None or seen.queued is None:
            return None
        return seen.in_flight + seen.queued
    if metric in SHARES:
        shares = by_slot(metric, observation)
        return sum(shares.values()) if shares and len(shares) == observation.serving else None
    value: float | None = getattr(seen, metric)
    return value


def per_server(
    metric: Metric, observation: Observation, servers: int | None = None
) -> float | None:
    """The average server's number, among `servers` (None: those that serve, at least one)."""
    if metric in SHARES:
        shares = by_slot(metric, observation)
        return sum(shares.values()) / len(shares) if shares else None
    value = total(metric, observation)
    if value is None or metric in QUANTILES:
        return value
    return value / max(1, observation.serving if servers is None else servers)
