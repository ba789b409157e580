"""What is simulated: HAProxy, containers and load, whether or not a scaler looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Generic, TypeVar

from lab.core.phases import Gate
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.containers import Containers
from lab.worlds.sim.faults import Dies, Fault, Faults, Hangs
from lab.worlds.sim.gates import Answering, Balancer
from lab.worlds.sim.parameters import Parameters

B = TypeVar("B", bound=Balancer)


class Plant(Generic[B]):
    """At first the slots 1 to `serving` serve, the `frozen` next ones are warm, the `stopped` ones
    after those are stopped clones, and the others are empty. The load begins at 0 s.
    """

    def __init__(
        self,
        parameters: Parameters,
        make_balancer: Callable[[Clock, Parameters, Random], B],
        seed: str,
        faults: Iterable[Fault] = (),
        serving: int = 1,
        frozen: int = 0,
        stopped: int = 0,
    ) -> None:
        self.parameters = parameters
        self.clock = Clock()
        self.faults = Faults()
        self.balancer = make_balancer(self.clock, parameters, Random(f"{seed}-balancer"))
        self.containers = Containers(self.clock, parameters, self.faults, self.balancer, seed)
        for slot in range(1, min(serving + frozen + stopped, parameters.slots) + 1):
            self.containers.create(slot)
            if slot <= serving + frozen:
                self._boot(slot)
            if slot <= serving:
                self.balancer.open(slot)
            elif slot <= serving + frozen:
                self.containers.freeze(slot)
        for fault in faults:
            self.inject(fault)

    def _boot(self, slot: int) -> None:
        """It was started long ago, and answers."""
        self.containers.start(slot)
        self.containers.answers_at_s[slot] = 0.0
        self.balancer.becomes(slot, Answering.FINE)

    def inject(self, fault: Fault) -> None:
        """Let it happen in its time."""
        if isinstance(fault, Dies | Hangs):
            self.clock.at(fault.at_s, self._strike, fault)
        else:
            self.faults.add(fault)

    def _strike(self, fault: Dies | Hangs) -> None:
        slot = fault.slot or self._first_serving()
        if slot is None or not self.containers.runs(slot):
            return
        if isinstance(fault, Dies):
            self.containers.die(slot)
        else:
            self.containers.hang(slot, fault.for_s)

    def _first_serving(self) -> int | None:
        slots = range(1, self.parameters.slots + 1)
        return next((slot for slot in slots if self.balancer.gate(slot) is Gate.OPEN), None)
