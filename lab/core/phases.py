"""Which phase a slot is in, and what may be asked of it there: two tables and nothing else."""

from __future__ import annotations

from enum import StrEnum

from lab.core.model import Phase, Verb


class Container(StrEnum):
    """What the container of a slot is doing; a process of the process world counts as one."""

    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"
    FROZEN = "frozen"


class Gate(StrEnum):
    """What the balancer does with a slot's server."""

    CLOSED = "closed"
    """In maintenance: no request, no health check."""
    OPEN = "open"
    DOWN = "down"
    """Open, and its health checks fail."""
    DRAINING = "draining"


PHASES: dict[tuple[Container, Gate], Phase] = {
    (Container.ABSENT, Gate.CLOSED): Phase.EMPTY,
    (Container.STOPPED, Gate.CLOSED): Phase.STOPPED,
    (Container.RUNNING, Gate.CLOSED): Phase.BOOTING,
    (Container.FROZEN, Gate.CLOSED): Phase.WARM,
    (Container.RUNNING, Gate.OPEN): Phase.SERVING,
    (Container.RUNNING, Gate.DOWN): Phase.SERVING,
    (Container.RUNNING, Gate.DRAINING): Phase.DRAINING,
}
"""Any other pair is broken: the balancer would send requests to something that cannot answer.
A world calls a booting slot `joining` while it opens the gate."""

ALLOWED: dict[Phase, frozenset[Verb]] = {
    Phase.EMPTY: frozenset({Verb.SERVE}),
    Phase.STOPPED: frozenset({Verb.SERVE, Verb.REMOVE}),
    Phase.BOOTING: frozenset({Verb.SERVE, Verb.PARK, Verb.REMOVE}),
    Phase.WARM: frozenset({Verb.SERVE, Verb.PARK, Verb.REMOVE}),
    Phase.JOINING: frozenset({Verb.SERVE, Verb.PARK, Verb.REMOVE}),
    Phase.SERVING: frozenset({Verb.DRAIN}),
    Phase.DRAINING: frozenset({Verb.SERVE, Verb.PARK, Verb.REMOVE}),
    Phase.BROKEN: frozenset({Verb.REMOVE}),
}
"""What may be asked of a slot in a phase. A serving slot is drained before anything else."""


def phase_of(container: Container, gate: Gate) -> Phase:
    return PHASES.get((container, gate), Phase.BROKEN)
