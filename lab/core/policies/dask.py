"""dask's adaptive clusters: enough servers to be done in a given time, and patience with shrinking.

Source: dask/distributed, `deploy/adaptive_core.py`, `deploy/adaptive.py` and
`Scheduler.adaptive_target`, `Scheduler.workers_to_close`. The requests in the system, each for its
mean duration, are the work: `servers = ceil(work / target_duration_s / threads)`, but no more
threads than requests, and twice the servers where memory runs short. A server is given up after it
was nominated `wait_count` times in a row: one that has not arrived yet before one that is idle,
and idle ones only while twice the memory in use would remain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.changes import is_due, next_due
from lab.core.metrics import Metric, total
from lab.core.model import Observation, Phase, Recommendation, Slot, Verb

Servers = Annotated[int, Ge(0), Le(1_000_000)]


@dataclass(frozen=True)
class AdaptiveMemory:
    due_s: float | None = None
    desired: int | None = None
    nominated: tuple[tuple[int, int], ...] = ()
    """(slot, how many times in a row)."""
    duration_s: float | None = None
    """The mean duration of a request, as last known."""


@dataclass(frozen=True)
class Adaptive:
    """servers = ceil(requests × duration / target_duration_s / threads), patient to shrink."""

    name: ClassVar[str] = "adaptive"
    own_guards: ClassVar[bool] = True

    interval_s: Annotated[float, Gt(0), Le(3600)] = 1.0
    target_duration_s: Annotated[float, Gt(0), Le(86_400)] = 5.0
    wait_count: Annotated[int, Ge(1), Le(10_000)] = 3
    minimum: Servers = 0
    maximum: Servers = 1_000_000
    threads: Annotated[int, Ge(1), Le(1000)] = 4
    unknown_task_duration_s: Annotated[float, Gt(0), Le(3600)] = 0.5
    memory_ratio: Annotated[float, Gt(0)] = 2.0
    memory_limit_share: Annotated[float, Gt(0), Le(1)] = 0.6

    def recommend(
        self, memory: AdaptiveMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, AdaptiveMemory]:
        memory = memory or AdaptiveMemory()
        requests = total(Metric.CONCURRENCY, observation)
        if requests is None:
            return Recommendation(None, "in flight and queued are unknown"), memory
        memory = replace(memory, duration_s=self._duration_s(memory, observation))
        at_s = observation.at_s
        if memory.desired is not None and not is_due(memory.due_s, at_s):
            why = f"{memory.desired}, checked every {self.interval_s:g} s"
            return Recommendation(memory.desired, why), memory
        memory = replace(memory, due_s=next_due(memory.due_s, at_s, self.interval_s))
        target, why = self.target(observation, requests, memory.duration_s)
        target = min(max(target, self.minimum), self.maximum)
        desired, words, nominated = self.step(memory.nominated, observation, current, target)
        why = "; ".join(filter(None, (why, words)))
        return Recommendation(desired, why), replace(memory, desired=desired, nominated=nominated)

    def _duration_s(self, memory: AdaptiveMemory, observation: Observation) -> float:
        """Half of what was known and half of what ended just now, as dask averages."""
        known, answers = memory.duration_s, observation.metrics.answer_ms
        if answers:
            now_s = sum(answers) / len(answers) / 1000
            return now_s if known is None else (known + now_s) / 2
        if known is None and observation.metrics.p50_ms is not None:
            return observation.metrics.p50_ms / 1000
        return self.unknown_task_duration_s if known is None else known

    def target(
        self, observation: Observation, requests: float, duration_s: float | None
    ) -> tuple[int, str]:
        """`Scheduler.adaptive_target`: the servers that should exist, and why."""
        duration_s = self.unknown_task_duration_s if duration_s is None else duration_s
        servers = observation.serving
        cpu = math.ceil(requests * duration_s / self.target_duration_s)
        words = f"{requests:g} requests × {duration_s:.3g} s / {self.target_duration_s:g} s"
        # A few long requests are not to ask for many servers.
        cpu = min(cpu, math.ceil(requests))
        if servers:
            cpu = math.ceil(cpu / self.threads)
        elif requests:
            cpu = max(1, cpu)
        words = f"ceil({words} / {self.threads} threads) = {cpu}"
        used, limit = _memory(observation)
        short = 2 * servers if limit > 0 and used > self.memory_limit_share * limit else 0
        wanted = max(cpu, short)
        if short > cpu:
            words += f"; memory is short, so {short}"
        if wanted >= servers:
            return wanted, words
        idle = self.workers_to_close(observation)
        return servers - len(idle), f"{words}; {len(idle)} of {servers} servers are idle"

    def workers_to_close(self, observation: Observation, count: int | None = None) -> list[int]:
        """`Scheduler.workers_to_close`: the slots that could go. Without a `count` only idle ones,
        those that hold least first, while `memory_ratio` × the memory in use remains."""
        serving = list(observation.in_phase(Phase.SERVING))
        if count is None and all(_is_busy(slot) for slot in serving):
            return []
        used, limit = _memory(observation)
        serving.sort(key=lambda slot: (_is_busy(slot), slot.memory_bytes or 0, -slot.number))
        going: list[int] = []
        for slot in serving:
            if count is None and _is_busy(slot):
                break
            limit -= slot.memory_limit_bytes or 0
            enough = count is not None and len(going) < count
            if not enough and (count is not None or limit < self.memory_ratio * used):
                break
            going.append(slot.number)
        return going

    def step(
        self,
        nominated: tuple[tuple[int, int], ...],
        observation: Observation,
        current: int,
        target: int,
    ) -> tuple[int, str, tuple[tuple[int, int], ...]]:
        """`AdaptiveCore.recommendations`: grow at once, shrink by those nominated long enough."""
        if target >= current:
            return target, "", ()
        coming = [slot.number for slot in observation.slots if _has_not_arrived(slot)]
        closing = coming[: current - target]
        if len(closing) < current - target:
            # As dask counts: down to `target` servers, whatever else has not arrived.
            closing += self.workers_to_close(observation, max(0, observation.serving - target))
        counts = dict(nominated)
        counts = {slot: counts.get(slot, 0) + 1 for slot in dict.fromkeys(closing)}
        firm = [slot for slot, count in counts.items() if count >= self.wait_count]
        left = tuple((slot, count) for slot, count in counts.items() if slot not in firm)
        words = f"{len(counts)} nominated to go, {len(firm)} of them {self.wait_count} times"
        return current - len(firm), words, left


def _is_busy(slot: Slot) -> bool:
    return slot.sessions + slot.queued > 0


def _has_not_arrived(slot: Slot) -> bool:
    return slot.doing is Verb.SERVE and slot.phase is not Phase.SERVING


def _memory(observation: Observation) -> tuple[float, float]:
    """Bytes that the servers use and may use; nothing where it is not measured."""
    serving = observation.in_phase(Phase.SERVING)
    limit = sum(slot.memory_limit_bytes or 0 for slot in serving)
    return sum(slot.memory_bytes or 0 for slot in serving) if limit else 0, limit
