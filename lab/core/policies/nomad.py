"""The Nomad Autoscaler's strategies: a target value, and thresholds.

Source: hashicorp/nomad-autoscaler, `plugins/builtin/strategy/target-value`, `…/threshold`,
`policyeval/base_worker.go` and `sdk/strategy.go` (which of several actions goes before). A policy
is evaluated every 10 s, and not during the cooldown that follows each action.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.changes import NO_CHANGES, Changes, is_due, next_due
from lab.core.metrics import Metric, per_server
from lab.core.model import Observation, Recommendation

Seconds = Annotated[float, Ge(0), Le(86_400)]
Interval = Annotated[float, Gt(0), Le(86_400)]
Servers = Annotated[int, Ge(0), Le(1_000_000)]


class Direction(IntEnum):
    """In the order in which one goes before the other: growing before nothing before shrinking."""

    DOWN = -1
    NONE = 0
    UP = 1


class OnCheckError(StrEnum):
    """What a check whose metric is unknown means to the others."""

    IGNORE = "ignore"
    FAIL = "fail"


@dataclass(frozen=True)
class Action:
    direction: Direction
    count: int
    why: str


def toward(current: int, count: int) -> Direction:
    return Direction((count > current) - (count < current))


def prefer(first: Action | None, second: Action | None) -> Action | None:
    """The safer of two actions: the one that keeps more servers."""
    if first is None or second is None:
        return second if first is None else first
    if second.direction > first.direction:
        return second
    same = first.direction == second.direction != Direction.NONE
    return second if same and second.count > first.count else first


def winner(groups: Iterable[Iterable[Action]]) -> Action | None:
    """The safest action of all groups; within a group, a check that wants nothing is no vote."""
    best: Action | None = None
    for actions in groups:
        of_group: Action | None = None
        idle: Action | None = None
        for action in actions:
            if action.direction is Direction.NONE:
                idle = prefer(idle, action)
            else:
                of_group = prefer(of_group, action)
        best = prefer(best, of_group or idle)
    return best


@dataclass(frozen=True)
class NomadMemory:
    due_s: float | None = None
    count: int | None = None
    """What the job's count was set to; it stands."""
    changes: Changes = NO_CHANGES
    samples: tuple[tuple[float, tuple[float | None, ...]], ...] = ()
    """(at_s, of each check its metric), for thresholds."""


@dataclass(frozen=True)
class Cooldown:
    """When a policy that acted is evaluated again."""

    cooldown_s: float
    on_scale_up_s: float | None

    def left_s(self, changes: Changes, at_s: float) -> float:
        if (last := changes.last) is None:
            return 0.0
        up_s = self.cooldown_s if self.on_scale_up_s is None else self.on_scale_up_s
        return last.at_s + (up_s if last.servers > 0 else self.cooldown_s) - at_s


def _waiting(
    memory: NomadMemory, at_s: float, current: int, cooldown: Cooldown
) -> Recommendation | None:
    """Why nothing is evaluated now: the count that was set stands."""
    count = current if memory.count is None else memory.count
    left_s = cooldown.left_s(memory.changes, at_s)
    if left_s > 0:
        return Recommendation(count, f"{count}, cooling down for {left_s:.1f} s more")
    if not is_due(memory.due_s, at_s):
        return Recommendation(count, f"{count}, evaluated in {(memory.due_s or 0) - at_s:.1f} s")
    return None


def _acted(memory: NomadMemory, at_s: float, current: int, count: int) -> NomadMemory:
    last = memory.changes.last
    kept = replace(memory.changes, made=(last,) if last else ())
    return replace(memory, count=count, changes=kept.decided(at_s, current, count))


def capped(action: Action, current: int, least: int, most: int) -> Action:
    """`action` within the policy's limits, which count where it wanted nothing too."""
    count = current if action.direction is Direction.NONE else action.count
    bounded = min(max(count, least), most)
    why = action.why if bounded == count else f"{action.why}; limits make it {bounded}"
    return Action(toward(current, bounded), bounded, why)


@dataclass(frozen=True)
class NomadTarget:
    """servers = ceil(servers × metric / target), unless metric / target is within 1 ± threshold."""

    name: ClassVar[str] = "nomad-target"
    own_guards: ClassVar[bool] = True

    metric: Metric = Metric.CONCURRENCY
    target: Annotated[float, Ge(0)] = 3.0
    threshold: Annotated[float, Ge(0)] = 0.01
    max_scale_up: Servers | None = None
    max_scale_down: Servers | None = None
    min: Servers = 0
    max: Servers = 1000
    evaluation_interval_s: Interval = 10.0
    cooldown_s: Seconds = 300.0
    cooldown_on_scale_up_s: Seconds | None = None

    def recommend(
        self, memory: NomadMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, NomadMemory]:
        at_s = observation.at_s
        memory = memory or NomadMemory()
        memory = replace(memory, changes=memory.changes.seen(current))
        value = per_server(self.metric, observation, observation.serving or current)
        if value is None:
            return Recommendation(None, f"{self.metric} is unknown"), memory
        cooldown = Cooldown(self.cooldown_s, self.cooldown_on_scale_up_s)
        if waiting := _waiting(memory, at_s, current, cooldown):
            return waiting, memory
        due_s = next_due(memory.due_s, at_s, self.evaluation_interval_s)
        action = capped(self.strategy(current, value), current, self.min, self.max)
        memory = _acted(replace(memory, due_s=due_s), at_s, current, action.count)
        return Recommendation(action.count, action.why), memory

    def strategy(self, count: int, value: float) -> Action:
        """The strategy alone: the action for `count` servers and the metric's value."""
        factor = value / self.target if self.target else value
        words = f"{self.metric} {value:g} / {self.target:g} = {factor:.4f}"
        if count == 0:
            direction = Direction.UP if factor > 0 else Direction.NONE
        else:
            direction = Direction((factor > 1 + self.threshold) - (factor < 1 - self.threshold))
        if direction is Direction.NONE:
            return Action(direction, count, f"{words}: within {self.threshold:g} of 1")
        new = math.ceil(count * factor) if count else math.ceil(factor)
        why = f"{words}, ceil({count or 1} × {factor:.4f}) = {new}"
        step = new
        if direction is Direction.UP and self.max_scale_up is not None:
            step = min(new, count + self.max_scale_up)
        if direction is Direction.DOWN and self.max_scale_down is not None:
            step = max(new, count - self.max_scale_down)
        why = why if step == new else f"{why}; the largest step makes it {step}"
        return Action(toward(count, step), step, why)


@dataclass(frozen=True)
class ThresholdCheck:
    """Bounds of the metric (one at least), and one of three things to do within them."""

    metric: Metric = Metric.CONCURRENCY
    lower_bound: float | None = None
    upper_bound: float | None = None
    delta: int | None = None
    percentage: float | None = None
    value: Servers | None = None
    within_bounds_trigger: Annotated[int, Ge(0), Le(100_000)] = 5
    group: str = ""

    def __post_init__(self) -> None:
        if self.lower_bound is None and self.upper_bound is None:
            raise ValueError("a check must have either lower_bound or upper_bound")
        given = [each for each in (self.delta, self.percentage, self.value) if each is not None]
        if not given:
            raise ValueError("a check must have either delta, percentage or value")
        if len(given) > 1:
            raise ValueError("only one of delta, percentage or value must be given in a check")

    def strategy(self, count: int, values: Iterable[float]) -> Action:
        """The strategy alone: the action for `count` servers and the samples of the window."""
        low = -math.inf if self.lower_bound is None else self.lower_bound
        high = math.inf if self.upper_bound is None else self.upper_bound
        within = sum(low <= value < high for value in values)
        words = f"{within} samples of {self.metric} in [{low:g}, {high:g})"
        if within < self.within_bounds_trigger:
            why = f"{words}, {self.within_bounds_trigger} needed"
            return Action(Direction.NONE, count, why)
        if self.delta is not None:
            new, how = count + self.delta, f"{count} {self.delta:+d}"
        elif self.percentage is not None:
            new = math.ceil(count * (1 + self.percentage / 100))
            how = f"ceil({count} {self.percentage:+g} %)"
        else:
            new, how = int(self.value or 0), "set"
        return Action(toward(count, new), new, f"{words}: {how} = {new}")


CHECKS = (
    ThresholdCheck(Metric.CONCURRENCY, lower_bound=3.0, delta=1, group="load"),
    ThresholdCheck(Metric.CONCURRENCY, upper_bound=1.0, delta=-1, group="load"),
)


@dataclass(frozen=True)
class NomadThreshold:
    """servers = servers + delta, ceil(servers × (1 + percentage / 100)), or value, when at least
    `within_bounds_trigger` samples of the metric are within a check's bounds."""

    name: ClassVar[str] = "nomad-threshold"
    own_guards: ClassVar[bool] = True

    checks: tuple[ThresholdCheck, ...] = CHECKS
    query_window_s: Annotated[float, Gt(0), Le(3600)] = 60.0
    sample_interval_s: Annotated[float, Gt(0), Le(60)] = 1.0
    on_check_error: OnCheckError = OnCheckError.IGNORE
    min: Servers = 0
    max: Servers = 1000
    evaluation_interval_s: Interval = 10.0
    cooldown_s: Seconds = 300.0
    cooldown_on_scale_up_s: Seconds | None = None

    def __post_init__(self) -> None:
        if not self.checks:
            raise ValueError("checks must have at least one check")

    def recommend(
        self, memory: NomadMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, NomadMemory]:
        at_s = observation.at_s
        memory = memory or NomadMemory()
        memory = replace(memory, changes=memory.changes.seen(current))
        servers = observation.serving or current
        values = tuple(per_server(check.metric, observation, servers) for check in self.checks)
        memory = replace(memory, samples=self._sampled(memory, at_s, values))
        unknown = [c.metric for c, value in zip(self.checks, values, strict=True) if value is None]
        if len(unknown) == len(values) or (unknown and self.on_check_error == OnCheckError.FAIL):
            return Recommendation(None, f"{', '.join(unknown)} unknown"), memory
        cooldown = Cooldown(self.cooldown_s, self.cooldown_on_scale_up_s)
        if waiting := _waiting(memory, at_s, current, cooldown):
            return waiting, memory
        action = self._evaluate(memory, values, current)
        if unknown and action.direction is Direction.DOWN:
            why = f"{', '.join(unknown)} unknown, so no shrinking to {action.count}"
            return Recommendation(None, why), memory
        due_s = next_due(memory.due_s, at_s, self.evaluation_interval_s)
        memory = _acted(replace(memory, due_s=due_s), at_s, current, action.count)
        return Recommendation(action.count, action.why), memory

    def _sampled(
        self, memory: NomadMemory, at_s: float, values: tuple[float | None, ...]
    ) -> tuple[tuple[float, tuple[float | None, ...]], ...]:
        if memory.samples and not is_due(memory.samples[-1][0] + self.sample_interval_s, at_s):
            return memory.samples
        since_s = at_s - self.query_window_s
        return (*(each for each in memory.samples if each[0] > since_s), (at_s, values))

    def _evaluate(
        self, memory: NomadMemory, values: tuple[float | None, ...], current: int
    ) -> Action:
        groups: dict[object, list[Action]] = {}
        for index, check in enumerate(self.checks):
            if values[index] is None:
                continue
            series = [sample[index] for _, sample in memory.samples]
            known = [value for value in series if value is not None]
            action = capped(check.strategy(current, known), current, self.min, self.max)
            # A check without a group is one by itself.
            groups.setdefault(check.group or index, []).append(action)
        best = winner(groups.values())
        assert best is not None
        return best
