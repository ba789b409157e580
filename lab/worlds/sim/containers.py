"""The slots' containers: what they do, what the scaler knows of it, and how long changes take."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from lab.core.phases import Container
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.faults import Faults
from lab.worlds.sim.gates import Answering, Balancer
from lab.worlds.sim.parameters import Parameters


class Containers:
    def __init__(
        self, clock: Clock, parameters: Parameters, faults: Faults, balancer: Balancer, seed: str
    ) -> None:
        self._clock = clock
        self._parameters = parameters
        self._faults = faults
        self._balancer = balancer
        slots = parameters.slots + 1
        self._real = [Container.ABSENT] * slots
        self.known = [Container.ABSENT] * slots
        """What the scaler takes them to be: its own changes, and what LXD said last."""
        self.answers_at_s = [math.inf] * slots
        """From when on the application answers."""
        self.started_s: list[float | None] = [None] * slots
        """When each running one was started."""
        self._seed = seed
        self._random: dict[int, Random] = {}
        self.on_change: Callable[[int], None] = lambda slot: None
        """Called with a slot of which something else is known now."""
        self.busy = 0
        """Actions under way that need the host's CPUs."""

    # How long things take. Each slot draws from a sequence of its own, so that one policy's
    # actions on a slot take as long as another policy's.

    def duration_s(self, slot: int, median_s: float, outliers: bool = False) -> float:
        """How long a step takes that begins now."""
        parameters = self._parameters
        random = self._random.get(slot)
        if random is None:
            random = self._random[slot] = Random(f"{self._seed}-slot-{slot}")
        took_s: float = median_s * math.exp(parameters.spread * random.gauss(0.0, 1.0))
        took_s *= max(1.0, self.busy / parameters.cores) ** parameters.contention
        if outliers and random.random() < parameters.outlier_share:
            took_s += parameters.outlier_s
        return took_s

    # What the scaler does

    def create(self, slot: int) -> None:
        self._change(slot, Container.STOPPED)

    def start(self, slot: int) -> None:
        thawed = self._real[slot] is Container.FROZEN
        self._change(slot, Container.RUNNING)
        boot_s = 0.0
        if not thawed:
            boot_s = self.duration_s(slot, self._parameters.ready_s)
            boot_s += self._faults.extra_boot_s(slot, self._clock.now_s)
        self._answers_from(slot, self._clock.now_s + boot_s)

    def freeze(self, slot: int) -> None:
        self._silence(slot, Answering.NEVER)
        self._change(slot, Container.FROZEN)

    def stop(self, slot: int) -> None:
        self._silence(slot, Answering.REFUSED)
        self._change(slot, Container.STOPPED)

    def delete(self, slot: int) -> None:
        self._silence(slot, Answering.REFUSED)
        self._change(slot, Container.ABSENT)

    # What happens to them

    def die(self, slot: int) -> None:
        """It stops all by itself. The scaler sees it when it asks LXD for the next time."""
        self._silence(slot, Answering.REFUSED)
        self._real[slot] = Container.STOPPED
        every_s, now_s = self._parameters.watch_s, self._clock.now_s
        seen_s = math.floor(now_s / every_s + 1) * every_s if every_s else now_s
        self._clock.at(seen_s, self._look, slot)

    def hang(self, slot: int, for_s: float = math.inf) -> None:
        """It runs, and says nothing any more."""
        self._silence(slot, Answering.NEVER)
        self._answers_from(slot, self._clock.now_s + for_s)

    def runs(self, slot: int) -> bool:
        return self._real[slot] is Container.RUNNING

    def _look(self, slot: int) -> None:
        self.known[slot] = self._real[slot]
        self.on_change(slot)

    def _change(self, slot: int, container: Container) -> None:
        if container is not Container.RUNNING:
            self.started_s[slot] = None
        elif self._real[slot] is not Container.FROZEN:
            self.started_s[slot] = self._clock.now_s
        self._real[slot] = container
        self._look(slot)

    def _silence(self, slot: int, answering: Answering) -> None:
        self.answers_at_s[slot] = math.inf
        self._balancer.becomes(slot, answering)

    def _answers_from(self, slot: int, at_s: float) -> None:
        self.answers_at_s[slot] = at_s
        if at_s < math.inf:
            self._clock.at(at_s, self._answers, slot)

    def _answers(self, slot: int) -> None:
        # Unless it was stopped, or started once more, in the meantime.
        if self.answers_at_s[slot] == self._clock.now_s:
            self._balancer.becomes(slot, Answering.FINE)
