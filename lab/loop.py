"""The whole scaler: observe, decide, act, record; then wait for the next tick."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.core.decide import Brain, decide
from lab.core.model import Decision, Memory, Observation, Operator, Outcome
from lab.worlds.base import World


@dataclass(frozen=True)
class Tick:
    """One turn of the loop, as it is recorded."""

    number: int
    at: datetime
    policy: str
    observation: Observation
    decision: Decision
    outcomes: tuple[Outcome, ...]
    took_ms: float


def tick(
    world: World, brain: Brain, memory: Memory, operator: Operator, number: int
) -> tuple[Tick, Memory]:
    """Observe, decide and act once."""
    began = time.perf_counter()
    outcomes = world.outcomes()
    observation = world.observe(operator)
    decision = decide(brain, memory, observation)
    world.apply(decision.actions)
    took_ms = (time.perf_counter() - began) * 1000
    done = Tick(
        number, datetime.now(UTC), brain.policy.name, observation, decision, outcomes, took_ms
    )
    return done, decision.memory


def run(
    world: World,
    brain_for: Callable[[Operator], Brain],
    interval_s: float,
    operator: Callable[[], Operator],
    record: Callable[[Tick], None],
    stopping: Callable[[], bool],
) -> None:
    """Tick every `interval_s` until `stopping()`. A late tick is not made up for."""
    memory = Memory()
    number = 0
    due_s = world.now_s()
    while not stopping():
        asked = operator()
        done, memory = tick(world, brain_for(asked), memory, asked, number)
        record(done)
        number += 1
        due_s = max(due_s + interval_s, world.now_s())
        world.sleep_until(due_s)
