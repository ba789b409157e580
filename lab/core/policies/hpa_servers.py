"""Which servers an HPA sees, how old they are, and since when they are ready.

Source: Kubernetes, `groupPods` in `pkg/controller/podautoscaler/replica_calculator.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.core.model import Observation, Phase, Slot, Verb

LONG_S = 1e9
RUNNING = (Phase.SERVING, Phase.JOINING, Phase.BOOTING)


@dataclass(frozen=True)
class Readiness:
    """What the HPA remembers of a server: its start, and since when it is ready or not."""

    number: int
    started_s: float
    ready: bool
    changed_s: float


@dataclass(frozen=True)
class Youth:
    """When a young server's CPU is not to be trusted yet."""

    cpu_initialization_period_s: float
    initial_readiness_delay_s: float
    metric_window_s: float

    def hides(self, server: Readiness, at_s: float) -> bool:
        if at_s < server.started_s + self.cpu_initialization_period_s:
            return not server.ready or at_s < server.changed_s + self.metric_window_s
        return (
            not server.ready
            and server.started_s + self.initial_readiness_delay_s > server.changed_s
        )


def pods(observation: Observation) -> tuple[Slot, ...]:
    """The servers that an HPA would see: without those that are broken or on their way out."""
    return tuple(
        slot
        for slot in observation.slots
        if (
            slot.phase in RUNNING
            if slot.doing is None
            else slot.doing is Verb.SERVE and slot.phase is not Phase.BROKEN
        )
    )


def readiness(known: Iterable[Readiness], observation: Observation) -> tuple[Readiness, ...]:
    """The servers' readiness now. One that is seen for the first time has been in its phase, and
    running, for as long as the world says.

    A world whose scaler has just begun knows no age of any: then all are taken for old.
    """
    before = {server.number: server for server in known}
    at_s, slots, found = observation.at_s, pods(observation), []
    if not before and all(slot.up_s is None and slot.for_s == 0 for slot in slots):
        since_s = at_s - LONG_S
        return tuple(Readiness(s.number, since_s, s.phase is Phase.SERVING, since_s) for s in slots)
    for slot in slots:
        ready = slot.phase is Phase.SERVING
        seen = before.get(slot.number)
        if seen is None:
            up_s = slot.for_s if slot.up_s is None else slot.up_s
            seen = Readiness(slot.number, at_s - up_s, ready, at_s - slot.for_s)
        elif seen.ready != ready:
            seen = Readiness(slot.number, seen.started_s, ready, at_s - slot.for_s)
        found.append(seen)
    return tuple(found)
