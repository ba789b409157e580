"""EC2 Auto Scaling's dynamic policies: target tracking, step scaling, simple scaling.

Source: Amazon EC2 Auto Scaling User Guide (its code is not public). Alarms look at the mean of each
period. Target tracking aims at `ceil(servers × metric / target)`, out as soon as the alarm goes
off, in only well below the target and after many periods; of several targets any may grow the pool
and all must agree to shrink it. Step scaling adds or takes by how far the threshold is breached.
Servers that still warm up count as added and not yet as capacity, and block shrinking. Simple
scaling makes one adjustment and waits for its cooldown.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.changes import NO_CHANGES, Changes
from lab.core.metrics import SHARES, Metric, by_slot, per_server
from lab.core.model import Observation, Phase, Recommendation
from lab.core.policies.adjustments import AdjustmentType, rounded_percent
from lab.core.policies.alarms import Comparison, Datapoints

Period = Annotated[float, Gt(0), Le(86_400)]
Seconds = Annotated[float, Ge(0), Le(86_400)]
Count = Annotated[int, Ge(1), Le(1000)]
Servers = Annotated[int, Ge(0), Le(1_000_000)]
DIGITS = 9
"""0.6 - 0.5 is to be 0.1: more digits than a metric has, fewer than a float."""


@dataclass(frozen=True)
class Ec2Memory:
    desired: int | None = None
    """The group's desired capacity; it stands until an alarm changes it."""
    points: tuple[Datapoints, ...] = ()
    """Of each alarmed metric."""
    changes: Changes = NO_CHANGES

    def observed(
        self, at_s: float, current: int, values: list[float | None], period_s: float, keep: int
    ) -> tuple[Ec2Memory, bool]:
        """With the metrics of this tick, and whether a period was over just now."""
        before = self.points or (Datapoints(),) * len(values)
        points = tuple(
            old.add(at_s, value, period_s, keep) for old, value in zip(before, values, strict=True)
        )
        over = any(
            old.begun_s not in (None, new.begun_s) for old, new in zip(before, points, strict=True)
        )
        return replace(self, points=points, changes=self.changes.seen(current)), over

    def decided(self, at_s: float, current: int, desired: int, keep_s: float) -> Ec2Memory:
        changes = self.changes.since(at_s - keep_s).decided(at_s, current, desired)
        return replace(self, desired=desired, changes=changes)

    def standing(self, current: int, why: str) -> Recommendation:
        desired = current if self.desired is None else self.desired
        return Recommendation(desired, f"{desired}, {why}")


def warmed(changes: Changes, at_s: float, current: int, warmup_s: float) -> int:
    """How many of the servers are past their warm-up."""
    young = sum(c.servers for c in changes.newer(at_s - warmup_s) if c.servers > 0)
    return max(0, current - young)


def warm_mean(
    metric: Metric, observation: Observation, current: int, warmup_s: float
) -> float | None:
    """The average server's metric; of CPU and memory, without servers that warm up."""
    if metric not in SHARES:
        return per_server(metric, observation, observation.serving or current)
    serving = observation.in_phase(Phase.SERVING)
    warm = {slot.number for slot in serving if slot.for_s >= warmup_s}
    shares = by_slot(metric, observation)
    values = [value for number, value in shares.items() if number in warm or not warm]
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Tracked:
    """A metric of the average server, and what it should be."""

    metric: Metric = Metric.CPU
    target_value: Annotated[float, Gt(0)] = 0.5
    disable_scale_in: bool = False


@dataclass(frozen=True)
class TargetTracking:
    """servers = ceil(servers × metric / target_value), after alarms on the metric's means."""

    name: ClassVar[str] = "target-tracking"
    own_guards: ClassVar[bool] = True

    targets: tuple[Tracked, ...] = (Tracked(),)
    period_s: Period = 60.0
    datapoints_to_scale_out: Count = 3
    datapoints_to_scale_in: Count = 15
    scale_in_margin: Annotated[float, Ge(0), Le(1)] = 0.1
    estimated_instance_warmup_s: Seconds = 300.0
    min_size: Servers = 0
    max_size: Servers = 1000

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("targets must have at least one target")

    def recommend(
        self, memory: Ec2Memory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, Ec2Memory]:
        at_s, warmup_s = observation.at_s, self.estimated_instance_warmup_s
        keep = max(self.datapoints_to_scale_in, self.datapoints_to_scale_out)
        values = [warm_mean(t.metric, observation, current, warmup_s) for t in self.targets]
        memory, over = (memory or Ec2Memory()).observed(at_s, current, values, self.period_s, keep)
        unknown = [t.metric for t, v in zip(self.targets, values, strict=True) if v is None]
        if len(unknown) == len(values):
            return Recommendation(None, f"{', '.join(unknown)} unknown"), memory
        if not over:
            return memory.standing(current, f"periods of {self.period_s:g} s"), memory
        warm = warmed(memory.changes, at_s, current, warmup_s)
        wants = [
            (self.wanted(t, p, current, warm), t.disable_scale_in)
            for t, p in zip(self.targets, memory.points, strict=True)
        ]
        desired, why = agreed(current, wants)
        desired = min(max(desired, self.min_size), self.max_size)
        if unknown and desired < current:
            return Recommendation(None, f"{', '.join(unknown)} unknown, so no shrinking"), memory
        return Recommendation(desired, why), memory.decided(at_s, current, desired, warmup_s)

    def wanted(
        self, target: Tracked, points: Datapoints, current: int, warm: int
    ) -> tuple[int, str]:
        """What one target asks for, given its periods and the servers that are warm."""
        goal, mean = target.target_value, points.means[-1] if points.means else None
        words = "unknown" if mean is None else f"{mean:.4g}"
        words = f"{target.metric} {words} of target {goal:g}"
        if mean is None:
            return current, words
        out, low = self.datapoints_to_scale_out, goal * (1 - self.scale_in_margin)
        if points.breach(Comparison.GREATER, goal, out):
            servers = math.ceil(round(warm * mean / goal, DIGITS))
            return max(current, servers), f"ceil({warm} warm × {words}) = {servers}"
        if points.breach(Comparison.LESS, low, self.datapoints_to_scale_in):
            servers = math.ceil(round(current * mean / goal, DIGITS))
            if warm < current:
                return current, f"{words}, but {current - warm} servers warm up"
            return min(current, servers), f"ceil({current} × {words}) = {servers}"
        return current, f"{words}: no alarm ({len(points.means)} periods)"


def agreed(current: int, wants: list[tuple[tuple[int, str], bool]]) -> tuple[int, str]:
    """Any may grow; all that may shrink must agree to, and the largest number counts.

    Each want is ((servers, why), whether it may not shrink).
    """
    largest = max((want for want, _ in wants), key=lambda want: want[0])
    if largest[0] > current:
        return largest
    votes = [want for want, disabled in wants if not disabled]
    if not votes:
        return current, f"{largest[1]}; scale in is disabled"
    return max(votes, key=lambda want: want[0])


@dataclass(frozen=True)
class StepAdjustment:
    """By how much, where the metric is between two distances from the threshold."""

    scaling_adjustment: int
    metric_interval_lower_bound: float | None = None
    metric_interval_upper_bound: float | None = None

    def holds(self, distance: float, above: bool) -> bool:
        """Above the threshold the lower bound is within, below it the upper one."""
        low, high = self.metric_interval_lower_bound, self.metric_interval_upper_bound
        low = -math.inf if low is None else low
        high = math.inf if high is None else high
        return low <= distance < high if above else low < distance <= high


@dataclass(frozen=True)
class StepRule:
    """One step scaling policy with its alarm."""

    alarm_threshold: float
    comparison: Comparison
    step_adjustments: tuple[StepAdjustment, ...]
    adjustment_type: AdjustmentType = AdjustmentType.PERCENT_CHANGE_IN_CAPACITY
    min_adjustment_magnitude: Servers = 0
    evaluation_periods: Count = 1

    def __post_init__(self) -> None:
        bounds = sorted(
            (
                -math.inf
                if s.metric_interval_lower_bound is None
                else s.metric_interval_lower_bound,
                math.inf
                if s.metric_interval_upper_bound is None
                else s.metric_interval_upper_bound,
            )
            for s in self.step_adjustments
        )
        if not bounds:
            raise ValueError("step_adjustments must have at least one step")
        if any(low >= high for low, high in bounds):
            raise ValueError("a step's lower bound must be below its upper bound")
        if any(lower[1] != upper[0] for lower, upper in itertools.pairwise(bounds)):
            raise ValueError("the ranges of steps must not overlap or have a gap")

    @property
    def above(self) -> bool:
        return self.comparison in (Comparison.GREATER, Comparison.GREATER_OR_EQUAL)

    def step(self, value: float) -> StepAdjustment | None:
        distance = round(value - self.alarm_threshold, DIGITS)
        return next((s for s in self.step_adjustments if s.holds(distance, self.above)), None)


def adjusted(
    current: int, kind: AdjustmentType, adjustment: int, min_magnitude: int
) -> tuple[int, str]:
    """`current` after an adjustment, and how it came about."""
    if kind == AdjustmentType.EXACT_CAPACITY:
        return adjustment, f"exactly {adjustment}"
    if kind == AdjustmentType.CHANGE_IN_CAPACITY:
        return current + adjustment, f"{current} {adjustment:+d} = {current + adjustment}"
    delta = rounded_percent(current, adjustment)
    if adjustment and abs(delta) < min_magnitude:
        delta = min_magnitude if adjustment > 0 else -min_magnitude
    return current + delta, f"{current} {adjustment:+d} % = {current + delta}"
