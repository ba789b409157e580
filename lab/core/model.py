"""The values that everything else speaks in: what was observed, what was decided.

All of them are frozen. `None` means "unknown", which is never the same as zero.
Times are monotonic seconds of the world that was observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_TIMES = 2000


class Phase(StrEnum):
    """Where a slot stands between nothing at all and answering requests."""

    EMPTY = "empty"
    STOPPED = "stopped"
    BOOTING = "booting"
    WARM = "warm"
    JOINING = "joining"
    SERVING = "serving"
    DRAINING = "draining"
    BROKEN = "broken"


class Verb(StrEnum):
    """What the scaler can ask for, of one slot."""

    SERVE = "serve"
    """Whatever its phase, bring the slot to serving: copy, start, wait until ready, join."""
    DRAIN = "drain"
    """Send it no new request; let those in flight finish."""
    PARK = "park"
    """Take it out of the balancer and stop its container."""
    REMOVE = "remove"
    """Take it out of the balancer and delete its container, whatever state it is in."""


@dataclass(frozen=True, slots=True)
class Action:
    verb: Verb
    slot: int
    why: str

    def __str__(self) -> str:
        return f"{self.verb} {self.slot}"


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as observed: HAProxy's server and LXD's container of the same number."""

    number: int
    phase: Phase
    for_s: float = 0.0
    """Seconds since the slot was first seen in this phase."""
    sessions: int = 0
    """Requests in flight to this server (HAProxy's `scur`)."""
    queued: int = 0
    """Requests waiting in HAProxy for this very server (`qcur`)."""
    doing: Verb | None = None
    """The action under way on this slot."""
    fault: str = ""
    """Why it is broken, in a few words."""
    cpus: float | None = None
    """CPU seconds that the clone used a second; None: not measured."""
    memory_bytes: int | None = None
    cpus_limit: float | None = None
    """CPUs that the clone may use; None: not limited, or not known."""
    memory_limit_bytes: int | None = None
    up_s: float | None = None
    """Seconds since its container was started; None: not known."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the balancer measured. A field that could not be measured is None."""

    in_flight: int | None = None
    queued: int | None = None
    requests_per_s: float | None = None
    errors_per_s: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    total_ms: tuple[int, ...] | None = None
    """Of each request that ended since the last observation: from its arrival to its last byte,
    its time in the queue included (HAProxy's `Ta`). At most MAX_TIMES of them, the latest."""
    answer_ms: tuple[int, ...] | None = None
    """Of the same requests, those that a server answered: how long it took (HAProxy's `Tr`)."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What a person asked of the scaler; it goes before the policy."""

    pin: int | None = None
    pin_left_s: float | None = None
    """Seconds until the pin ends by itself; None: it stays until `unpin`."""
    paused: bool = False
    policy: str = ""
    """The policy that is to steer in the place of the one in the settings."""


@dataclass(frozen=True, slots=True)
class Observation:
    at_s: float
    slots: tuple[Slot, ...]
    metrics: Metrics = field(default_factory=Metrics)
    operator: Operator = field(default_factory=Operator)
    unknown: str = ""
    """What could not be observed; the slots are then the last ones known, and nothing is done."""
    utc_s: float | None = None
    """The wall clock, in seconds since the epoch; only schedules read it. None: not known."""

    def in_phase(self, *phases: Phase) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.phase in phases)

    @property
    def serving(self) -> int:
        return len(self.in_phase(Phase.SERVING))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A policy's word: how many servers should serve, and how it came to that number."""

    servers: int | None
    """None: nothing can be said (metrics are missing), so keep what is there."""
    formula: str


@dataclass(frozen=True, slots=True)
class GuardNote:
    """A guard that changed the number, and why."""

    guard: str
    before: int
    after: int
    why: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one policy makes of an observation: its word, and what the guards left of it."""

    policy: str
    recommendation: Recommendation
    guards: tuple[GuardNote, ...]
    wanted: int


@dataclass(frozen=True, slots=True)
class PolicyMemory:
    """What a policy and its guards want to be told again at the next tick."""

    policy: Any = None
    guards: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Of every policy by its name, whether it steers or is a shadow."""

    policies: Mapping[str, PolicyMemory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    wanted: int
    recommendation: Recommendation
    guards: tuple[GuardNote, ...]
    actions: tuple[Action, ...]
    memory: Memory
    sentence: str
    shadows: tuple[Opinion, ...] = ()
    """What the policies that do not steer would have wanted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    action: Action
    took_s: float
    error: str = ""
    steps: tuple[tuple[str, float], ...] = ()
    """What the action did, each step with its seconds."""
