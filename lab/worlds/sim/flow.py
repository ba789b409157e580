"""Requests as a flow: how many are in the system on average, and how long they take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lab.worlds.sim.fluid import closed_step, open_step, waiting, waits_share
from lab.worlds.sim.latencies import Latencies, Wait
from lab.worlds.sim.parameters import Parameters
from lab.worlds.sim.service import ServiceTimes

REFUSED_EVERY_S = 0.001
"""A user who is refused at once tries again no sooner."""
NEGLIGIBLE_S = 0.0002


@dataclass(frozen=True)
class RateDemand:
    """Open loop: how many requests are expected between two moments."""

    requests: Callable[[float, float], float]
    arrival_variation: float = 1.0
    """ca²: 1 for Poisson arrivals, 0 for even ones."""


@dataclass(frozen=True)
class UserDemand:
    """Closed loop: users, and the pause from an answer to the next request."""

    users_at: Callable[[float], int]
    duration_s: float
    pause_s: float


class Flow:
    """All that arrived was answered, has failed, is in the system, or was taken out by hand."""

    def __init__(
        self, parameters: Parameters, demand: RateDemand | UserDemand, service: ServiceTimes
    ) -> None:
        self._parameters = parameters
        self._demand = demand
        self._service = service
        ca2 = demand.arrival_variation if isinstance(demand, RateDemand) else 0.0
        self._variation = (ca2 + service.variation) / 2
        self.noisy = ca2 > 0
        """Whether chance plays a part in arrivals."""
        self.now_s = 0.0
        self.number = 0.0
        """Expected requests in the system."""
        self.busy_share = 0.0
        """Of the workers."""
        self.arrived = self.answered = self.failed = 0.0
        self.latencies = Latencies(service.sample_s)
        self._line: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        """(when, how many had arrived by then), since the arrival of those that leave now."""
        self._left = 0.0
        """How many had left at the end of the last step."""
        self._waited = False

    def step(self, step_s: float, workers: int, refused: bool) -> float:
        """Let requests arrive and leave; how many were answered. `refused`: there is no server."""
        arrivals, answered = self._move(step_s, workers, refused)
        self.arrived += arrivals
        self.answered += answered
        if refused:
            self._fail(arrivals, 0.0)
        self._time_out(step_s, workers)
        self.now_s += step_s
        self._line.append((self.now_s, self.arrived))
        wait = self._wait(arrivals / step_s, step_s, workers)
        self.latencies.answered(answered, wait)
        return answered

    def _move(self, step_s: float, workers: int, refused: bool) -> tuple[float, float]:
        """What arrives, and what is answered."""
        demand, before, service_s = self._demand, self.number, self._service.mean_s
        if isinstance(demand, RateDemand):
            arrivals = demand.requests(self.now_s, self.now_s + step_s)
            self.busy_share, self.number = open_step(
                before, arrivals, workers, service_s, self._variation, step_s
            )
            return arrivals, before + arrivals - self.number
        users = demand.users_at(self.now_s) if self.now_s < demand.duration_s else 0
        if refused:
            arrivals = users * step_s / max(demand.pause_s, REFUSED_EVERY_S)
            self.busy_share, self.number = 0.0, before + arrivals
            return arrivals, 0.0
        self.busy_share, self.number = closed_step(
            before, users, demand.pause_s, workers, service_s, step_s
        )
        answered = self.busy_share * workers * step_s / service_s
        return self.number - before + answered, answered

    def _time_out(self, step_s: float, workers: int) -> None:
        """Those that cannot be served in time fail."""
        timeout_s, service_s = self._parameters.queue_timeout_s, self._service.mean_s
        queue = self.number - workers * self.busy_share
        if workers:
            late = queue - timeout_s * workers / service_s
        else:
            late = queue * min(1.0, step_s / timeout_s)
        limit = self._parameters.max_queue
        if limit is not None and queue - late > limit:
            late = queue - limit
        if late > 0:
            self._fail(late, timeout_s)

    def _fail(self, count: float, after_s: float) -> None:
        self.number -= count
        self.failed += count
        self.latencies.failed(count, after_s)

    def _wait(self, requests_per_s: float, step_s: float, workers: int) -> Wait:
        """How long those have waited who were answered in this step.

        Those who leave came first, so they came when as many had arrived as have left by now. Of
        the time since then, a part is the wait of a steady state, which varies; the rest is a
        backlog, which delays all alike.
        """
        left = self.arrived - self.number
        middle, self._left = (self._left + left) / 2, left
        line = self._line
        while len(line) > 2 and line[1][1] <= middle:
            line.popleft()
        queue = max(0.0, self.number - workers * self.busy_share)
        waits = bool(workers) and queue * self._service.mean_s / workers > NEGLIGIBLE_S
        waited, self._waited = self._waited, waits
        if not workers or not (waits or waited):
            return Wait()
        (from_s, before), (to_s, after) = line[0], line[1]
        share = (middle - before) / (after - before) if after > before else 1.0
        spent_s = self.now_s - step_s / 2 - (from_s + share * (to_s - from_s))
        busy = requests_per_s * self._service.mean_s / workers
        steady = 0.0
        if isinstance(self._demand, RateDemand) and 0 < busy < 1:
            steady = min(queue, waiting(workers, busy, self._variation)) / requests_per_s
        delayed = waits_share(workers, min(1.0, busy))
        backlog_s = max(0.0, spent_s - self._service.mean_s - steady)
        return Wait(backlog_s, delayed, steady / delayed if delayed > 0 else 0.0)
