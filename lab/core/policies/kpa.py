"""Knative's pod autoscaler: a slow window, and a fast one for panic.

Source: knative/serving, `pkg/autoscaler/scaling/autoscaler.go` (the number) and
`pkg/reconciler/autoscaling/kpa/scaler.go` (limits and scaling to zero). With R = max(1, ready):
`want = clamp(ceil(average / target), floor(R / max down rate), ceil(R × max up rate))` for the
average of the stable and of the panic window. It panics when the panic window asks for
`panic_threshold_percentage` of R, then takes the larger number and never a smaller one than
before, until the threshold was not reached for a stable window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.changes import is_due, next_due
from lab.core.metrics import Metric, total
from lab.core.model import Observation, Recommendation
from lab.core.policies.kpa_windows import EMPTY, Buckets, Steps, largest_in

TARGET_MIN = 0.01


class Aggregation(StrEnum):
    LINEAR = "linear"
    WEIGHTED_EXPONENTIAL = "weighted-exponential"


@dataclass(frozen=True)
class KpaMemory:
    due_s: float | None = None
    desired: int | None = None
    """What stands until the next tick of the autoscaler."""
    stable: Buckets = EMPTY
    panic: Buckets = EMPTY
    panic_s: float | None = None
    """When the panic threshold was last reached; None: no panic."""
    max_panic: int = 0
    """The largest number of this panic."""
    delayed: Steps = ()
    active_s: float | None = None
    """Since when there is traffic; None: there was none yet."""
    inactive_s: float | None = None
    """Since when the last server is only waiting to be taken away."""
    initialized: bool = False
    """`initial_scale` was reached once."""


@dataclass(frozen=True)
class Kpa:
    """servers = ceil(average concurrency / target), of a stable and a panic window."""

    name: ClassVar[str] = "kpa"
    own_guards: ClassVar[bool] = True

    metric: Metric = Metric.CONCURRENCY
    target: Annotated[float, Gt(0)] | None = None
    """None: 100 requests in flight, or 200 requests/s."""
    container_concurrency: Annotated[int, Ge(0), Le(1000)] = 0
    target_utilization_percentage: Annotated[float, Gt(0), Le(100)] = 70.0
    tick_s: Annotated[float, Gt(0), Le(60)] = 2.0
    stable_window_s: Annotated[float, Ge(6), Le(3600)] = 60.0
    panic_window_percentage: Annotated[float, Ge(1), Le(100)] = 10.0
    panic_threshold_percentage: Annotated[float, Ge(110), Le(1000)] = 200.0
    metric_aggregation_algorithm: Aggregation = Aggregation.LINEAR
    max_scale_up_rate: Annotated[float, Gt(1)] = 1000.0
    max_scale_down_rate: Annotated[float, Gt(1)] = 2.0
    scale_down_delay_s: Annotated[float, Ge(0), Le(3600)] = 0.0
    min_scale: Annotated[int, Ge(0), Le(1000)] = 0
    max_scale: Annotated[int, Ge(0), Le(1_000_000)] = 0
    initial_scale: Annotated[int, Ge(0), Le(1000)] = 1
    activation_scale: Annotated[int, Ge(1), Le(1000)] = 1
    enable_scale_to_zero: bool = True
    scale_to_zero_grace_period_s: Annotated[float, Gt(0), Le(3600)] = 30.0
    scale_to_zero_pod_retention_period_s: Annotated[float, Ge(0), Le(3600)] = 0.0
    reachable: bool = True

    def recommend(
        self, memory: KpaMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, KpaMemory]:
        at_s = observation.at_s
        ready = observation.serving if observation.slots else current
        # Its history is lost with a restart, so a pool of several starts in panic: no shrinking.
        memory = memory or KpaMemory(panic_s=at_s if ready > 1 else None, max_panic=ready)
        value = total(self.metric, observation)
        if value is None:
            return Recommendation(None, f"{self.metric} is unknown"), memory
        memory = replace(
            memory,
            stable=memory.stable.record(at_s, value, self.stable_window_s),
            panic=memory.panic.record(at_s, value, self.panic_window_s),
        )
        if memory.desired is not None and not is_due(memory.due_s, at_s):
            left_s = (memory.due_s or 0) - at_s
            why = f"{memory.desired}, next tick of the autoscaler in {left_s:.1f} s"
            return Recommendation(memory.desired, why), memory
        memory = replace(memory, due_s=next_due(memory.due_s, at_s, self.tick_s))
        stable, panic = self.averages(memory, at_s)
        wanted, why, memory = self.scale(memory, at_s, stable, panic, ready)
        desired, words, memory = self._applied(memory, at_s, current, wanted)
        why = "; ".join(filter(None, (why, words)))
        return Recommendation(desired, why), replace(memory, desired=desired)

    @property
    def panic_window_s(self) -> float:
        return max(1.0, self.stable_window_s * self.panic_window_percentage / 100)

    @property
    def target_value(self) -> float:
        """What each server should have: so much of what it may have."""
        total_value = self.target
        if self.metric == Metric.CONCURRENCY and self.container_concurrency:
            hard = float(self.container_concurrency)
            total_value = hard if total_value is None else min(total_value, hard)
        if total_value is None:
            total_value = 200.0 if self.metric == Metric.REQUESTS_PER_S else 100.0
        return max(TARGET_MIN, total_value * self.target_utilization_percentage / 100)

    def averages(self, memory: KpaMemory, at_s: float) -> tuple[float, float]:
        """Of the stable and the panic window."""
        if self.metric_aggregation_algorithm == Aggregation.WEIGHTED_EXPONENTIAL:
            return (
                memory.stable.weighted_average(at_s, self.stable_window_s),
                memory.panic.weighted_average(at_s, self.panic_window_s),
            )
        return (
            memory.stable.average(at_s, self.stable_window_s),
            memory.panic.average(at_s, self.panic_window_s),
        )

    def scale(
        self, memory: KpaMemory, at_s: float, stable: float, panic: float, ready: int
    ) -> tuple[int, str, KpaMemory]:
        """One tick of the autoscaler, given the two averages and the servers that are ready."""
        servers, target = max(1, ready), self.target_value
        most = math.ceil(self.max_scale_up_rate * servers)
        least = math.floor(servers / self.max_scale_down_rate) if self.reachable else 0
        wants = [math.ceil(stable / target), math.ceil(panic / target)]
        bounded = [min(max(want, least), most) for want in wants]
        if self.activation_scale > 1:
            bounded = [
                max(number, self.activation_scale) if want > 0 else number
                for number, want in zip(bounded, wants, strict=True)
            ]
        memory = self._panicking(memory, at_s, wants[1] / servers)
        desired = bounded[0]
        why = f"ceil(stable {stable:g} / {target:g}) = {wants[0]}"
        if desired != wants[0]:
            why += f", bounded to {desired} (rates {least} to {most} for {ready} ready)"
        if memory.panic_s is not None:
            desired = max(*bounded, memory.max_panic)
            memory = replace(memory, max_panic=desired)
            why += f"; panic: ceil({panic:g} / {target:g}) = {wants[1]}, so at least {desired}"
        if self.scale_down_delay_s > 0:
            tick = math.floor((at_s + 1e-6) / self.tick_s)
            ticks = math.ceil(self.scale_down_delay_s / self.tick_s)
            memory = replace(memory, delayed=largest_in(memory.delayed, tick, desired, ticks))
            delayed = max(number for _, number in memory.delayed)
            if delayed != desired:
                why += f"; delayed: {delayed} within {self.scale_down_delay_s:g} s"
            desired = delayed
        return desired, why, memory

    def _panicking(self, memory: KpaMemory, at_s: float, ratio: float) -> KpaMemory:
        if ratio >= self.panic_threshold_percentage / 100:
            return replace(memory, panic_s=at_s)
        if memory.panic_s is not None and memory.panic_s + self.stable_window_s < at_s:
            return replace(memory, panic_s=None, max_panic=0)
        return memory

    def _applied(
        self, memory: KpaMemory, at_s: float, current: int, wanted: int
    ) -> tuple[int, str, KpaMemory]:
        """Limits, and what has to pass before the last server goes."""
        initialized = memory.initialized or current >= self.initial_scale
        least = self.min_scale
        if self.initial_scale > 1 and not initialized:
            least = max(self.initial_scale, least)
        desired = wanted
        if wanted < least:
            desired = least
        elif self.max_scale and wanted > self.max_scale:
            desired = self.max_scale
        words = f"scale limits make it {desired}" if desired != wanted else ""
        memory = replace(memory, initialized=initialized)
        if desired:
            active_s = at_s if memory.active_s is None else memory.active_s
            return desired, words, replace(memory, active_s=active_s, inactive_s=None)
        return self._to_zero(memory, at_s, current)

    def _to_zero(self, memory: KpaMemory, at_s: float, current: int) -> tuple[int, str, KpaMemory]:
        if not self.enable_scale_to_zero:
            return 1, "scale to zero is off, so 1", memory
        if current == 0:
            return 0, "", replace(memory, active_s=None, inactive_s=None)
        active_s = at_s if memory.active_s is None else memory.active_s
        memory = replace(memory, active_s=active_s)
        if memory.inactive_s is None:
            left_s = active_s + self.stable_window_s - at_s
            if left_s > 0:
                return 1, f"1 for {left_s:.0f} s more: active for too short a time", memory
            memory = replace(memory, inactive_s=at_s)
        grace_s = max(self.scale_to_zero_grace_period_s, self.scale_to_zero_pod_retention_period_s)
        left_s = (memory.inactive_s or 0) + grace_s - at_s
        if left_s > 0:
            return current, f"keep {current} for a grace of {left_s:.0f} s", memory
        return 0, "no traffic for the grace period", replace(memory, active_s=None, inactive_s=None)
