"""What a world is: a place where slots live, that can be observed and acted upon.

The loop knows no more of a world than `World`. A live world is made of two parts that know
nothing of each other: a `Fleet` (containers or processes) and a `Balancer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lab.core.model import Action, Metrics, Observation, Operator, Outcome
from lab.core.phases import Container, Gate


class World(Protocol):
    @property
    def name(self) -> str: ...

    def now_s(self) -> float:
        """Monotonic seconds."""
        ...

    def sleep_until(self, at_s: float) -> None: ...

    def observe(self, operator: Operator) -> Observation: ...

    def apply(self, actions: tuple[Action, ...]) -> None:
        """Begin the actions and return at once; their outcomes come later."""
        ...

    def outcomes(self) -> tuple[Outcome, ...]:
        """What ended since the last call."""
        ...

    def close(self) -> None:
        """Let go of everything and leave the servers as they are."""
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used since it was started."""

    cpu_s: float
    memory_bytes: int


class Fleet(Protocol):
    """The containers of the slots. Every call may block, but none for longer than `deadline_s`."""

    def containers(self) -> Mapping[int, Container] | None:
        """Each slot's container; None when the latest answer is too old to act upon."""
        ...

    def usage(self) -> Mapping[int, Usage]:
        """Of each container that runs; one that cannot be measured is left out. Must be cheap."""
        ...

    def create(self, slot: int, deadline_s: float) -> None:
        """Clone the template; the clone is stopped."""
        ...

    def start(self, slot: int, deadline_s: float) -> None:
        """Start a stopped container, or thaw a frozen one."""
        ...

    def stop(self, slot: int, deadline_s: float) -> None: ...

    def delete(self, slot: int, deadline_s: float) -> None:
        """Remove the container, running or not; nothing happens if there is none."""
        ...

    def answers(self, slot: int) -> bool:
        """Whether the application in the container says that it can serve. Returns within 1 s."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ServerState:
    """HAProxy's view of one slot's server."""

    gate: Gate
    sessions: int
    queued: int
    gate_for_s: float
    """Seconds since HAProxy changed the server's state for the last time."""


class Balancer(Protocol):
    def servers(self) -> Mapping[int, ServerState] | None:
        """Each slot's server; None when the balancer could not be asked."""
        ...

    def metrics(self) -> Metrics: ...

    def gate(self, slot: int) -> Gate:
        """What is done with the server now. LabError when the balancer could not be asked."""
        ...

    def open(self, slot: int) -> None:
        """Send the server requests. It must be able to answer by now."""
        ...

    def drain(self, slot: int) -> None: ...

    def shut(self, slot: int) -> int:
        """Take the server out, cut what is still in flight, and say how many that were."""
        ...

    def close(self) -> None: ...
