"""OpenStack's scaling policies: Heat's, and Senlin's variant of them.

Source: openstack/heat, `heat/scaling/scalingutil.py` and `cooldown.py`; openstack/senlin,
`senlin/policies/scaling_policy.py` and `common/scaleutils.py`. Two alarms on the mean of a period
signal one adjustment each. Heat: by so many, to so many, or by so many percent (less than one
server is one, more are rounded towards zero, `min_adjustment_step` at least), clamped to the
limits; refused while servers still come and during the cooldown, which only follows a change.
Senlin: percent are cut off and at least `min_step`, a number outside the limits is refused unless
`best_effort`, and an adjustment in the wrong direction is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.changes import NO_CHANGES, Changes
from lab.core.metrics import Metric, per_server
from lab.core.model import Observation, Phase, Recommendation
from lab.core.policies.adjustments import AdjustmentType, clamp, rounded_percent
from lab.core.policies.alarms import NO_DATA, Comparison, Datapoints

Servers = Annotated[int, Ge(0), Le(1_000_000)]


class Variant(StrEnum):
    HEAT = "heat"
    SENLIN = "senlin"


def new_capacity(
    current: int,
    adjustment: int,
    adjustment_type: AdjustmentType,
    min_adjustment_step: int | None,
    minimum: int,
    maximum: int,
) -> int:
    """Heat's number of servers after an adjustment."""
    if adjustment_type == AdjustmentType.EXACT_CAPACITY:
        wanted = adjustment
    elif adjustment_type == AdjustmentType.CHANGE_IN_CAPACITY:
        wanted = current + adjustment
    else:
        delta = rounded_percent(current, adjustment)
        if min_adjustment_step and min_adjustment_step > abs(delta):
            # As in Heat, 0 % counts as shrinking here.
            delta = min_adjustment_step if delta > 0 else -min_adjustment_step
        wanted = current + delta
    return clamp(wanted, minimum, maximum)


def senlin_count(
    current: int, number: int, adjustment_type: AdjustmentType, min_step: int, out: bool
) -> int:
    """By how many servers Senlin's policy changes a cluster, in the direction of its event."""
    if adjustment_type == AdjustmentType.EXACT_CAPACITY:
        return number - current if out else current - number
    if adjustment_type == AdjustmentType.CHANGE_IN_CAPACITY:
        return number
    return max(int(number * current / 100), min_step)


@dataclass(frozen=True)
class Alarm:
    """When the metric's mean of a period is past the threshold, and what is done then.

    Senlin's `number` is above zero in both directions; the sign of Heat's says the direction.
    """

    threshold: float
    comparison: Comparison
    adjustment: int
    adjustment_type: AdjustmentType = AdjustmentType.CHANGE_IN_CAPACITY
    min_adjustment_step: Servers | None = None
    evaluation_periods: Annotated[int, Ge(1), Le(1000)] = 1
    cooldown_s: Annotated[float, Ge(0), Le(86_400)] = 60.0


@dataclass(frozen=True)
class AdjustmentMemory:
    desired: int | None = None
    points: Datapoints = NO_DATA
    changes: Changes = NO_CHANGES
    asked_cooldown_s: float = 0.0
    """Of the alarm that asked for the last change."""
    cooldown_end_s: float | None = None


@dataclass(frozen=True)
class Adjustment:
    """servers = servers + change, exactly so many, or servers + percent, when an alarm goes off."""

    name: ClassVar[str] = "adjustment"
    own_guards: ClassVar[bool] = True

    variant: Variant = Variant.HEAT
    metric: Metric = Metric.CPU
    period_s: Annotated[float, Gt(0), Le(86_400)] = 60.0
    best_effort: bool = False
    min_size: Servers = 0
    max_size: Servers = 1000
    scale_up: Alarm = Alarm(0.5, Comparison.GREATER, 1)
    scale_down: Alarm = Alarm(0.15, Comparison.LESS, -1)

    def recommend(
        self, memory: AdjustmentMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, AdjustmentMemory]:
        at_s = observation.at_s
        memory = self._seen(memory or AdjustmentMemory(), current)
        value = per_server(self.metric, observation, observation.serving or current)
        keep = max(self.scale_up.evaluation_periods, self.scale_down.evaluation_periods)
        before = memory.points
        points = before.add(at_s, value, self.period_s, keep)
        memory = replace(memory, points=points)
        if value is None:
            return Recommendation(None, f"{self.metric} is unknown"), memory
        desired = current if memory.desired is None else memory.desired
        if before.begun_s in (None, points.begun_s):
            return Recommendation(desired, f"{desired}, periods of {self.period_s:g} s"), memory
        alarm = next((a for a in (self.scale_up, self.scale_down) if _off(a, points)), None)
        if alarm is None:
            return Recommendation(desired, f"{self.metric}: no alarm"), memory
        refused = self._refused(memory, observation)
        if refused:
            return Recommendation(desired, f"{desired}, {refused}"), memory
        wanted, why = self.adjusted(alarm, current)
        changes = replace(memory.changes, made=()).decided(at_s, current, wanted)
        why = f"{self.metric} {points.means[-1]:.4g} {alarm.comparison} {alarm.threshold:g}: {why}"
        return Recommendation(wanted, why), replace(
            memory, desired=wanted, changes=changes, asked_cooldown_s=alarm.cooldown_s
        )

    def _seen(self, memory: AdjustmentMemory, current: int) -> AdjustmentMemory:
        """A cooldown follows a change that came about, and never ends before an earlier one."""
        changes = memory.changes.seen(current)
        if changes.last is None or changes.last == memory.changes.last:
            return replace(memory, changes=changes)
        end_s = changes.last.at_s + memory.asked_cooldown_s
        if memory.cooldown_end_s is not None:
            end_s = max(end_s, memory.cooldown_end_s)
        return replace(memory, changes=changes, cooldown_end_s=end_s)

    def _refused(self, memory: AdjustmentMemory, observation: Observation) -> str:
        moving = sum(s.doing is not None or s.phase is Phase.DRAINING for s in observation.slots)
        if moving:
            return f"scaling in progress ({moving} servers still come or go)"
        if memory.cooldown_end_s is not None and observation.at_s < memory.cooldown_end_s:
            left_s = memory.cooldown_end_s - observation.at_s
            return f"in cooldown for {left_s:.1f} s more"
        return ""

    def adjusted(self, alarm: Alarm, current: int) -> tuple[int, str]:
        """The number of servers after one alarm, and how it came about."""
        kind, number = AdjustmentType(alarm.adjustment_type), alarm.adjustment
        words = f"{kind} {number:+d} of {current}"
        if self.variant == Variant.HEAT:
            step = alarm.min_adjustment_step
            wanted = new_capacity(current, number, kind, step, self.min_size, self.max_size)
            return wanted, f"{words} = {wanted}"
        out = alarm == self.scale_up
        step = 1 if alarm.min_adjustment_step is None else alarm.min_adjustment_step
        count = senlin_count(current, abs(number), kind, step, out)
        if self.best_effort:
            room = self.max_size - current if out else current - self.min_size
            count = min(count, room)
        if count < 0:
            return current, f"{words}: refused, a count of {count} is the other direction"
        wanted = current + count if out else current - count
        if not self.min_size <= wanted <= self.max_size:
            return current, f"{words} = {wanted}: refused, outside the limits"
        return wanted, f"{words} = {wanted}"


def _off(alarm: Alarm, points: Datapoints) -> bool:
    return points.breach(alarm.comparison, alarm.threshold, alarm.evaluation_periods)
