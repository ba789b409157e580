"""Kubernetes' Horizontal Pod Autoscaler, version 2.

Source: Kubernetes, `pkg/controller/podautoscaler` (horizontal.go, replica_calculator.go). For each
metric `servers = ceil(ready × metric / target)`, unless the metric is within `tolerance` of its
target; servers without a metric count as at full when shrinking and as idle when growing, those
that are not ready as idle when growing, and what turns the direction changes nothing. Of several
metrics the largest number counts; if one is unknown, nothing shrinks. Then stabilisation windows,
rate policies and limits bound it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core.changes import NO_CHANGES, Changes, is_due, next_due
from lab.core.model import Observation, Recommendation
from lab.core.policies.hpa_behavior import (
    SCALE_DOWN,
    SCALE_UP,
    Recommendations,
    ScalingRules,
    limit_rates,
    stabilize,
    without_behavior,
)
from lab.core.policies.hpa_replicas import MetricSpec, Proposal, Tolerances, is_known, propose
from lab.core.policies.hpa_servers import Readiness, Youth, readiness


@dataclass(frozen=True)
class HpaMemory:
    due_s: float | None = None
    desired: int | None = None
    """What the last sync decided; it stands until the next one."""
    recommendations: Recommendations = ()
    changes: Changes = NO_CHANGES
    servers: tuple[Readiness, ...] = ()
    """As of the last sync."""
    scaled_to_zero: bool = False
    """It was the HPA that took the last server away, so it may bring one back."""


@dataclass(frozen=True)
class Hpa:
    """servers = ceil(ready × metric / target), the largest of all metrics, then behaviour."""

    name: ClassVar[str] = "hpa"
    own_guards: ClassVar[bool] = True

    metrics: tuple[MetricSpec, ...] = (MetricSpec(),)
    min_replicas: Annotated[int, Ge(0), Le(1000)] = 1
    max_replicas: Annotated[int, Ge(1), Le(1_000_000)] = 1000
    tolerance: Annotated[float, Ge(0)] = 0.1
    sync_period_s: Annotated[float, Gt(0), Le(3600)] = 15.0
    cpu_initialization_period_s: Annotated[float, Ge(0), Le(86_400)] = 300.0
    initial_readiness_delay_s: Annotated[float, Ge(0), Le(86_400)] = 30.0
    metric_window_s: Annotated[float, Ge(0), Le(3600)] = 15.0
    behavior: bool = True
    downscale_stabilization_s: Annotated[float, Ge(0), Le(3600)] = 300.0
    scale_up: ScalingRules = SCALE_UP
    scale_down: ScalingRules = SCALE_DOWN

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("metrics must name at least one metric")
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas must not be above max_replicas")

    def recommend(
        self, memory: HpaMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, HpaMemory]:
        at_s = observation.at_s
        # A controller that starts takes the number that it finds for its first recommendation.
        memory = memory or HpaMemory(recommendations=((at_s, current),))
        memory = replace(memory, changes=memory.changes.seen(current))
        if not is_due(memory.due_s, at_s):
            return self._between(memory, observation, current), memory
        memory = replace(
            memory,
            due_s=next_due(memory.due_s, at_s, self.sync_period_s),
            servers=readiness(memory.servers, observation),
        )
        desired, why, memory = self._sync(memory, observation, current)
        if desired is None:
            return Recommendation(None, why), replace(memory, desired=None)
        return Recommendation(desired, why), self._rescaled(memory, at_s, current, desired)

    def _between(self, memory: HpaMemory, observation: Observation, current: int) -> Recommendation:
        if memory.desired is None:
            return Recommendation(None, "the last sync had no metric; waiting for the next")
        if memory.desired < current:
            unknown = [spec.metric for spec in self.metrics if not is_known(spec, observation)]
            if unknown:
                return Recommendation(None, f"{', '.join(unknown)} unknown")
        left_s = (memory.due_s or 0) - observation.at_s
        return Recommendation(memory.desired, f"{memory.desired}, next sync in {left_s:.1f} s")

    def _sync(
        self, memory: HpaMemory, observation: Observation, current: int
    ) -> tuple[int | None, str, HpaMemory]:
        least, most = self.min_replicas, self.max_replicas
        if current == 0 and least != 0 and not memory.scaled_to_zero:
            return 0, "scaling is disabled: somebody else scaled to 0", memory
        if current > most:
            return most, f"{current} is above max_replicas {most}", memory
        if 0 < current < least:
            return least, f"{current} is below min_replicas {least}", memory
        proposed, why = largest(self._proposals(memory, observation, current), current)
        if proposed is None:
            return None, why, memory
        desired, words, memory = self._bounded(memory, observation.at_s, current, proposed)
        if current == 0:
            desired = max(desired, least)
        return desired, "; ".join(filter(None, (why, words))), memory

    def _proposals(
        self, memory: HpaMemory, observation: Observation, current: int
    ) -> list[Proposal]:
        youth = Youth(
            self.cpu_initialization_period_s, self.initial_readiness_delay_s, self.metric_window_s
        )
        up, down = self.scale_up.tolerance, self.scale_down.tolerance
        tolerances = Tolerances(
            self.tolerance if down is None or not self.behavior else down,
            self.tolerance if up is None or not self.behavior else up,
        )
        return [
            propose(spec, observation, current, memory.servers, tolerances, youth)
            for spec in self.metrics
        ]

    def _bounded(
        self, memory: HpaMemory, at_s: float, current: int, proposed: int
    ) -> tuple[int, str, HpaMemory]:
        past = memory.recommendations
        up_s, down_s = self.scale_up.stabilization_window_s, self.scale_down.stabilization_window_s
        if self.behavior:
            stable = stabilize(past, at_s, current, proposed, up_s, down_s)
            desired, reason = limit_rates(
                self.scale_up, self.scale_down, memory.changes, at_s, current, stable,
                self.min_replicas, self.max_replicas,
            )  # fmt: skip
        else:
            up_s, down_s = 0, self.downscale_stabilization_s
            stable, desired, reason = without_behavior(
                past, at_s, current, proposed, down_s, self.min_replicas, self.max_replicas
            )
        words = []
        if stable != proposed:
            window_s = up_s if proposed >= current else down_s
            words.append(f"stabilised to {stable} (window of {window_s:g} s)")
        if desired != stable:
            words.append(f"{reason} makes it {desired}")
        kept = tuple(each for each in past if each[0] >= at_s - max(up_s, down_s))
        memory = replace(memory, recommendations=(*kept, (at_s, proposed)))
        return desired, "; ".join(words), memory

    def _rescaled(self, memory: HpaMemory, at_s: float, current: int, desired: int) -> HpaMemory:
        rates = (*self.scale_up.policies, *self.scale_down.policies)
        longest_s = max((rate.period_s for rate in rates), default=0.0)
        changes = memory.changes.since(at_s - longest_s).decided(at_s, current, desired)
        to_zero = memory.scaled_to_zero
        if desired != current:
            to_zero = desired == 0 and any(spec.of_the_pool for spec in self.metrics)
        return replace(memory, desired=desired, changes=changes, scaled_to_zero=to_zero)


def _says(proposal: Proposal) -> bool:
    return proposal.servers is not None


def largest(proposals: list[Proposal], current: int) -> tuple[int | None, str]:
    """The largest proposal and its reason; None if no metric is known, or if one is unknown and
    the others would shrink."""
    best: Proposal | None = None
    for proposal in filter(_says, proposals):
        # Zero is no rival: any later proposal takes its place.
        if best is None or not best.servers or (proposal.servers or 0) > best.servers:
            best = proposal
    unknown = "; ".join(proposal.why for proposal in proposals if not _says(proposal))
    if best is None or best.servers is None:
        return None, unknown
    if unknown and best.servers < current:
        return None, f"{unknown}, so no shrinking to {best.servers}"
    return best.servers, best.why
