"""The balancer without single requests, for days of load and a thousand servers.

Time goes in steps of a second, and the number of requests is an expected value (see `fluid`). What
is left out: which server a request goes to (all have the same share), requests that a dying server
makes fail, and chance. Only what a scaler reads has a seeded noise, of the size that Poisson
arrivals give it. Slots, actions and their times are those of the fine world.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop
from random import Random

from lab.core.model import Metrics
from lab.core.phases import Gate
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.flow import Flow, RateDemand, UserDemand
from lab.worlds.sim.gates import Answering, Balancer
from lab.worlds.sim.latencies import Wait
from lab.worlds.sim.parameters import Parameters
from lab.worlds.sim.requestlog import Rate
from lab.worlds.sim.service import ServiceTimes

STEP_S = 1.0
FINEST_S = 0.1
"""What follows sooner upon another is taken to happen at the same time."""
NONE: Sequence[float | None] = (None, None, None)


class Fluid(Balancer):
    """The balancer as a flow of requests."""

    def __init__(
        self,
        clock: Clock,
        parameters: Parameters,
        demand: RateDemand | UserDemand,
        service: ServiceTimes,
        random: Random,
    ) -> None:
        super().__init__(clock, parameters, random)
        self.flow = Flow(parameters, demand, service)
        """Without the requests at draining servers."""
        self._service = service
        self._servers: list[int] = []
        """Slots that are sent requests and answer them."""
        self._draining: dict[int, tuple[float, float, float]] = {}
        """Slot → (since when, requests then, requests now)."""
        self._burned_each = 0.0
        """CPU seconds of a server that answers all the time."""
        self._burned_before = [0.0] * (parameters.slots + 1)
        self._noise, self._looked_s = random.gauss(0.0, 1.0), -math.inf
        self._seen = (0, 0)

    @property
    def in_system(self) -> float:
        """Expected requests, waiting or at any server."""
        return self.flow.number + sum(left for _, _, left in self._draining.values())

    def run(self, until_s: float) -> None:
        clock, events, flow = self._clock, self._clock.events, self.flow
        while True:
            to_s = min(until_s, events[0][0], flow.now_s + STEP_S)
            step_s = to_s - flow.now_s
            if step_s >= FINEST_S or (to_s == until_s and step_s > 0):
                self._pass(step_s)
            clock.now_s = to_s
            if events[0][0] <= to_s:
                _, _, _, function, argument = heappop(events)
                function(argument)
            elif to_s >= until_s:
                return

    def _pass(self, step_s: float) -> None:
        self._finish_draining(step_s)
        answered = self.flow.step(step_s, self._workers, refused=not self._usable_count)
        if self._servers:
            self._burned_each += answered / len(self._servers) * self._service.burned_s

    @property
    def _workers(self) -> int:
        return len(self._servers) * self._parameters.workers

    # Servers

    def _joins(self, slot: int) -> None:
        if slot in self._draining:
            self.flow.number += self._draining.pop(slot)[2]
        self._count_servers(slot)

    def _leaves(self, slot: int) -> None:
        if self._admin[slot] is Gate.DRAINING and slot in self._servers:
            mine = self._each()
            self.flow.number -= mine
            self._draining[slot] = (self._clock.now_s, mine, mine)
        self._count_servers(slot)

    def _fill(self, slot: int) -> None:
        """There is one queue for all, and no single server's place in it."""

    def _lose(self, slot: int) -> int:
        if slot in self._servers:
            cut = self._each()
        else:
            cut = self._draining.pop(slot, (0.0, 0.0, 0.0))[2]
            self.flow.number += cut
        self._count_servers(slot)
        return round(cut)

    def _now_answers(self, slot: int, answering: Answering) -> None:
        self._answering[slot] = answering
        self._count_servers(slot)

    def _each(self) -> float:
        """Requests at one server."""
        busy = self.flow.busy_share * self._parameters.workers
        return min(busy, self.flow.number / len(self._servers))

    def _count_servers(self, slot: int) -> None:
        before = slot in self._servers
        now = self._usable[slot] and self._answering[slot] is Answering.FINE
        if now and not before:
            self._burned_before[slot] -= self._burned_each
            self._servers = sorted([*self._servers, slot])
        elif before and not now:
            self._burned_before[slot] += self._burned_each
            self._servers.remove(slot)

    def _finish_draining(self, step_s: float) -> None:
        """Requests at draining servers end one after the other within a service time."""
        now_s, ended = self.flow.now_s + step_s, 0.0
        for slot, (since_s, at_first, before) in list(self._draining.items()):
            left = at_first * max(0.0, 1.0 - (now_s - since_s) / self._service.longest_s)
            left = min(left, before)
            ended += before - left
            self._draining[slot] = (since_s, at_first, left)
            if left == 0:
                del self._draining[slot]
        self.flow.answered += ended
        self.flow.latencies.answered(ended, Wait())

    # What is read

    def _look(self) -> tuple[int, int]:
        """In flight and queued, with the noise of a single look."""
        now_s, flow = self._clock.now_s, self.flow
        if now_s > self._looked_s:
            keep = math.exp(-(now_s - self._looked_s) / self._service.mean_s)
            fresh = math.sqrt(1.0 - keep * keep)
            self._noise = keep * self._noise + fresh * self._random.gauss(0.0, 1.0)
            self._looked_s = now_s
            spread = math.sqrt(self._workers * flow.busy_share) if flow.noisy else 0.0
            seen = max(0, round(flow.number + spread * self._noise))
            in_flight = min(seen, self._workers)
            self._seen = (in_flight, seen - in_flight)
        return self._seen

    def sessions(self) -> Sequence[int]:
        sessions = [0] * (self._parameters.slots + 1)
        if self._servers:
            each, more = divmod(self._look()[0], len(self._servers))
            for index, slot in enumerate(self._servers):
                sessions[slot] = each + (index < more)
        for slot, (_, _, left) in self._draining.items():
            sessions[slot] = math.ceil(left)
        return sessions

    def burned_s(self) -> Sequence[float]:
        burned_s = list(self._burned_before)
        for slot in self._servers:
            burned_s[slot] += self._burned_each
        return burned_s

    def gauges(self) -> Callable[[float], Metrics]:
        window_s, flow = self._parameters.rate_window_s, self.flow
        requests, errors = Rate(window_s), Rate(window_s)
        arrived, ended, counted = flow.arrived, flow.answered + flow.failed, 0

        def metrics(now_s: float) -> Metrics:
            nonlocal arrived, ended, counted
            in_flight, queued = self._look()
            in_flight += sum(math.ceil(left) for _, _, left in self._draining.values())
            counted += self._count(flow.arrived - arrived)
            new = int(flow.answered + flow.failed) - int(ended)
            arrived, ended = flow.arrived, flow.answered + flow.failed
            total_ms, answer_ms = flow.latencies.samples_ms(new) if new > 0 else ((), ())
            p50, p95, p99 = flow.latencies.quantiles_ms((0.5, 0.95, 0.99)) if new > 0 else NONE
            return Metrics(
                in_flight,
                queued,
                requests.add(now_s, counted),
                errors.add(now_s, round(flow.failed)),
                p50,
                p95,
                p99,
                total_ms,
                answer_ms,
            )

        return metrics

    def _count(self, expected: float) -> int:
        """A number of arrivals with this mean."""
        spread = math.sqrt(max(0.0, expected)) if self.flow.noisy else 0.0
        return max(0, round(expected + self._random.gauss(0.0, 1.0) * spread))

    def requests_by_ms(self) -> Counter[int]:
        return self.flow.latencies.requests_by_ms()

    @property
    def failures(self) -> Counter[str]:
        failed = round(self.flow.failed)
        return Counter({"HTTP 503": failed}) if failed else Counter()
