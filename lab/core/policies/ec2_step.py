"""EC2 Auto Scaling's step and simple scaling policies.

Source: Amazon EC2 Auto Scaling User Guide, "Step and simple scaling policies"; ec2.py has what they
share with target tracking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.metrics import Metric
from lab.core.model import Observation, Recommendation
from lab.core.policies.adjustments import AdjustmentType
from lab.core.policies.alarms import Comparison
from lab.core.policies.ec2 import (
    Count,
    Ec2Memory,
    Period,
    Seconds,
    Servers,
    StepAdjustment,
    StepRule,
    adjusted,
    warm_mean,
    warmed,
)

# The user guide's example: a threshold of 50 %, and bands of 10 % above and below it.
SCALE_OUT = StepRule(
    0.5,
    Comparison.GREATER_OR_EQUAL,
    (StepAdjustment(0, 0, 0.1), StepAdjustment(10, 0.1, 0.2), StepAdjustment(30, 0.2)),
)
SCALE_IN = StepRule(
    0.5,
    Comparison.LESS_OR_EQUAL,
    (StepAdjustment(0, -0.1, 0), StepAdjustment(-10, -0.2, -0.1), StepAdjustment(-30, None, -0.2)),
)


@dataclass(frozen=True)
class Step:
    """servers = servers + adjustment of the band, past the threshold, in which the metric is."""

    name: ClassVar[str] = "step"
    own_guards: ClassVar[bool] = True

    metric: Metric = Metric.CPU
    period_s: Period = 60.0
    estimated_instance_warmup_s: Seconds = 300.0
    min_size: Servers = 0
    max_size: Servers = 1000
    scale_out: StepRule = SCALE_OUT
    scale_in: StepRule = SCALE_IN

    def recommend(
        self, memory: Ec2Memory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, Ec2Memory]:
        at_s, warmup_s = observation.at_s, self.estimated_instance_warmup_s
        value = warm_mean(self.metric, observation, current, warmup_s)
        keep = max(self.scale_out.evaluation_periods, self.scale_in.evaluation_periods)
        memory, over = (memory or Ec2Memory()).observed(at_s, current, [value], self.period_s, keep)
        if value is None:
            return Recommendation(None, f"{self.metric} is unknown"), memory
        if not over:
            return memory.standing(current, f"periods of {self.period_s:g} s"), memory
        warm = warmed(memory.changes, at_s, current, warmup_s)
        desired, why = self.desired(memory, current, warm)
        desired = min(max(desired, self.min_size), self.max_size)
        return Recommendation(desired, why), memory.decided(at_s, current, desired, warmup_s)

    def desired(self, memory: Ec2Memory, current: int, warm: int) -> tuple[int, str]:
        """What the alarms ask for; growing goes before shrinking."""
        (points,) = memory.points
        mean = points.means[-1] if points.means else None
        wants = [(current, f"{self.metric}: no alarm")]
        for rule in (self.scale_out, self.scale_in):
            if mean is None or not points.breach(
                rule.comparison, rule.alarm_threshold, rule.evaluation_periods
            ):
                continue
            wanted, why = self.adjust(rule, mean, current, warm)
            wants.append((wanted, f"{self.metric} {mean:.4g}: {why}"))
        grow = max(wants, key=lambda want: want[0])
        return grow if grow[0] > current else min(reversed(wants), key=lambda want: want[0])

    def adjust(self, rule: StepRule, mean: float, current: int, warm: int) -> tuple[int, str]:
        """The desired number after one rule, given the servers that are past their warm-up."""
        step = rule.step(mean)
        if step is None:
            return current, "in no step"
        base = warm if rule.above else current
        wanted, why = adjusted(
            base, rule.adjustment_type, step.scaling_adjustment, rule.min_adjustment_magnitude
        )
        if rule.above and rule.adjustment_type != AdjustmentType.EXACT_CAPACITY:
            return max(current, wanted), why if warm == current else f"{why}, {warm} of them warm"
        if wanted < current and warm < current:
            return current, f"{why}, but {current - warm} servers warm up"
        return wanted, why


@dataclass(frozen=True)
class SimpleRule:
    """One simple scaling policy with its alarm."""

    alarm_threshold: float
    comparison: Comparison
    scaling_adjustment: int
    adjustment_type: AdjustmentType = AdjustmentType.CHANGE_IN_CAPACITY
    min_adjustment_magnitude: Servers = 0
    evaluation_periods: Count = 1
    cooldown_s: Annotated[float, Ge(0), Le(86_400)] | None = None
    """In place of the group's default cooldown."""


@dataclass(frozen=True)
class Simple:
    """servers = servers + adjustment when an alarm goes off, and not again in the cooldown."""

    name: ClassVar[str] = "simple"
    own_guards: ClassVar[bool] = True

    metric: Metric = Metric.CPU
    period_s: Annotated[float, Gt(0), Le(86_400)] = 60.0
    default_cooldown_s: Seconds = 300.0
    min_size: Servers = 0
    max_size: Servers = 1000
    scale_out: SimpleRule = SimpleRule(0.7, Comparison.GREATER, 1)
    scale_in: SimpleRule = SimpleRule(0.3, Comparison.LESS, -1)

    def recommend(
        self, memory: Ec2Memory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, Ec2Memory]:
        at_s = observation.at_s
        value = warm_mean(self.metric, observation, current, 0)
        keep = max(self.scale_out.evaluation_periods, self.scale_in.evaluation_periods)
        memory, over = (memory or Ec2Memory()).observed(at_s, current, [value], self.period_s, keep)
        if value is None:
            return Recommendation(None, f"{self.metric} is unknown"), memory
        left_s = self._cooldown_left_s(memory, at_s)
        if left_s > 0:
            return memory.standing(current, f"cooling down for {left_s:.1f} s more"), memory
        if not over:
            return memory.standing(current, f"periods of {self.period_s:g} s"), memory
        desired, why = self._desired(memory, current)
        desired = min(max(desired, self.min_size), self.max_size)
        last = memory.changes.last
        kept = replace(memory, changes=replace(memory.changes, made=(last,) if last else ()))
        kept = replace(kept, changes=kept.changes.decided(at_s, current, desired), desired=desired)
        return Recommendation(desired, why), kept

    def _cooldown_left_s(self, memory: Ec2Memory, at_s: float) -> float:
        last = memory.changes.last
        if last is None:
            return 0.0
        rule = self.scale_out if last.servers > 0 else self.scale_in
        cooldown_s = self.default_cooldown_s if rule.cooldown_s is None else rule.cooldown_s
        return last.at_s + cooldown_s - at_s

    def _desired(self, memory: Ec2Memory, current: int) -> tuple[int, str]:
        (points,) = memory.points
        for rule in (self.scale_out, self.scale_in):
            if points.breach(rule.comparison, rule.alarm_threshold, rule.evaluation_periods):
                mean = points.means[-1] or 0.0
                wanted, why = adjusted(
                    current,
                    rule.adjustment_type,
                    rule.scaling_adjustment,
                    rule.min_adjustment_magnitude,
                )
                words = f"{self.metric} {mean:.4g} {rule.comparison} {rule.alarm_threshold:g}"
                return wanted, f"{words}: {why}"
        return current, f"{self.metric}: no alarm"
