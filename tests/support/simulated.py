"""Simulated worlds for tests: small, and without chance unless a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from lab.core.model import Action, Observation, Operator, Outcome, Phase, Verb
from lab.load.arrivals import RateCurve, poisson
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.parameters import Parameters
from lab.worlds.sim.plant import Plant
from lab.worlds.sim.queueing import Queueing
from lab.worlds.sim.service import Service, Work
from lab.worlds.sim.traffic import OpenLoop, Request, Traffic
from lab.worlds.sim.world import SimWorld

EXACT = Parameters(
    slots=3,
    workers=4,
    spread=0.0,
    outlier_share=0.0,
    overhead_s=0.0,
    queue_timeout_s=5.0,
    server_timeout_s=5.0,
    check_interval_s=0.1,
    boot_deadline_s=20.0,
    unhealthy_deadline_s=2.0,
)
"""Times that do not vary; otherwise what tests/support/stage.py has."""


class Clients:
    """Traffic that a test sends by hand. Each client sends one request."""

    def __init__(self) -> None:
        self.sent_s: list[float] = []
        self.ended_s: dict[int, float] = {}
        self.statuses: dict[int, int] = {}
        self._clock: Clock
        self._send: Callable[[Request], None]
        self.balancer: Queueing
        self._failed = 0

    def incoming(self) -> Iterator[Request]:
        return iter(())

    def begin(self, clock: Clock, send: Callable[[Request], None]) -> None:
        self._clock, self._send = clock, send

    def send(self, count: int, service_s: float) -> list[int]:
        """So many at once; their numbers."""
        numbers = list(range(len(self.sent_s), len(self.sent_s) + count))
        for number in numbers:
            self.sent_s.append(self._clock.now_s)
            self._send(Request(self._clock.now_s, service_s, 0, number))
        return numbers

    def ended(self, user: int) -> None:
        failed = self.balancer.failed > self._failed
        self._failed = self.balancer.failed
        self.ended_s[user] = self._clock.now_s
        self.statuses[user] = 503 if failed else 200

    def burned_s(self, request: Request) -> float:
        return request.service_s


@dataclass
class Simulated:
    """A simulated world, with what a test needs to look behind it."""

    plant: Plant[Queueing]
    world: SimWorld
    clients: Clients

    @property
    def balancer(self) -> Queueing:
        return self.plant.balancer

    @property
    def now_s(self) -> float:
        return self.world.now_s()

    def pass_s(self, seconds: float) -> Observation:
        self.world.sleep_until(self.now_s + seconds)
        return self.observe()

    def observe(self) -> Observation:
        return self.world.observe(Operator())

    def phases(self) -> dict[int, Phase]:
        return {slot.number: slot.phase for slot in self.observe().slots}

    def begin(self, verb: Verb, *slots: int) -> None:
        self.world.apply(tuple(Action(verb, slot, "test") for slot in slots))

    def do(self, verb: Verb, *slots: int, patience_s: float = 90) -> dict[int, Outcome]:
        """Apply and wait for the outcomes."""
        self.begin(verb, *slots)
        done: dict[int, Outcome] = {}
        until_s = self.now_s + patience_s
        while set(done) != set(slots):
            assert self.now_s < until_s, f"{verb} {set(slots) - set(done)} did not end"
            self.world.sleep_until(self.now_s + 0.001)
            ended = self.world.outcomes()
            done |= {
                outcome.action.slot: outcome for outcome in ended if outcome.action.verb is verb
            }
        return done

    def wait(self, ready: Callable[[Observation], bool], patience_s: float = 20) -> Observation:
        until_s = self.now_s + patience_s
        while not ready(seen := self.observe()):
            assert self.now_s < until_s, f"never so: {seen}"
            self.world.sleep_until(self.now_s + 0.01)
        return seen

    def in_system(self) -> int:
        balancer = self.balancer
        return balancer.in_flight + balancer.queued + balancer.waiting_to_retry


def simulated(parameters: Parameters = EXACT, serving: int = 0, **slots: int) -> Simulated:
    """A world with no load but what the test sends."""
    clients = Clients()
    plant = Plant(
        parameters,
        lambda clock, parameters, random: Queueing(clock, parameters, clients, random),
        "test",
        serving=serving,
        **slots,
    )
    clients.balancer = plant.balancer
    return Simulated(plant, SimWorld(plant), clients)


def queue_of(
    parameters: Parameters,
    arrivals_s: Iterator[float],
    path: str,
    serving: int,
    seed: str = "test",
    traffic: Traffic | None = None,
) -> Plant[Queueing]:
    """Servers under a load, and nobody who scales them."""
    service = Service([Work(path)], parameters, Random(f"{seed}-service"))
    load = traffic or OpenLoop(arrivals_s, service, Random(f"{seed}-mix"))
    return Plant(
        replace(parameters, slots=max(parameters.slots, serving)),
        lambda clock, parameters, random: Queueing(clock, parameters, load, random),
        seed,
        serving=serving,
    )


def poisson_arrivals(per_s: float, for_s: float, seed: str = "test") -> Iterator[float]:
    curve = RateCurve(((0.0, per_s), (for_s, per_s)))
    return curve.times_s(poisson(Random(f"{seed}-arrivals")))
