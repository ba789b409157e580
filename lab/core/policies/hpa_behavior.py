"""The second half of the HPA: what of a proposal is followed at once (`spec.behavior`).

Source: Kubernetes, `pkg/controller/podautoscaler/horizontal.go`. Three steps, in this order:
stabilisation (the smallest of the recent proposals bounds growing, the largest bounds shrinking),
the rate policies of the direction, and the limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le

from lab.core.changes import Changes

LARGEST = 2**31 - 1
"""Kubernetes counts replicas in 32 bits."""


class ScalingType(StrEnum):
    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several rate policies holds: the one that allows most, least, or no change."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True)
class RatePolicy:
    """At most `value` servers, or percent of them, within `period_s`."""

    type: ScalingType
    value: Annotated[int, Gt(0)]
    period_s: Annotated[float, Gt(0), Le(1800)]


@dataclass(frozen=True)
class ScalingRules:
    """`scaleUp` or `scaleDown` of an HPA's behaviour."""

    stabilization_window_s: Annotated[float, Ge(0), Le(3600)]
    policies: tuple[RatePolicy, ...]
    select_policy: SelectPolicy = SelectPolicy.MAX
    tolerance: Annotated[float, Ge(0)] | None = None
    """In this direction, in place of the HPA's own."""


SCALE_UP = ScalingRules(
    0, (RatePolicy(ScalingType.PODS, 4, 15), RatePolicy(ScalingType.PERCENT, 100, 15))
)
SCALE_DOWN = ScalingRules(300, (RatePolicy(ScalingType.PERCENT, 100, 15),))

Recommendations = tuple[tuple[float, int], ...]
"""(at_s, servers) of earlier proposals, before anything bounded them; oldest first."""


def stabilize(
    past: Recommendations, at_s: float, current: int, desired: int, up_s: float, down_s: float
) -> int:
    """Move from `current` no further than the recent proposals agree."""
    lowest = min([desired, *(n for then_s, n in past if then_s > at_s - up_s)])
    highest = max([desired, *(n for then_s, n in past if then_s > at_s - down_s)])
    return min(max(current, lowest), highest)


def limit_up(rules: ScalingRules, changes: Changes, at_s: float, current: int) -> int:
    """The largest number that the rates allow now; below `current` if they were used up."""
    if rules.select_policy == SelectPolicy.DISABLED:
        return current
    allowed = []
    for policy in rules.policies:
        start = current - changes.net(at_s - policy.period_s)
        if policy.type == ScalingType.PODS:
            allowed.append(start + policy.value)
        else:
            # Rounded up, or a pool of one would never grow by 50 %.
            allowed.append(math.ceil(start * (1 + policy.value / 100)))
    if rules.select_policy == SelectPolicy.MIN:
        return min(allowed, default=LARGEST)
    return max(allowed, default=-LARGEST)


def limit_down(rules: ScalingRules, changes: Changes, at_s: float, current: int) -> int:
    """The smallest number that the rates allow now; above `current` if they were used up."""
    if rules.select_policy == SelectPolicy.DISABLED:
        return current
    allowed = []
    for policy in rules.policies:
        start = current - changes.net(at_s - policy.period_s)
        if policy.type == ScalingType.PODS:
            allowed.append(start - policy.value)
        else:
            allowed.append(int(start * (1 - policy.value / 100)))
    if rules.select_policy == SelectPolicy.MIN:
        return max(allowed, default=-LARGEST)
    return min(allowed, default=LARGEST)


def limit_rates(
    up: ScalingRules,
    down: ScalingRules,
    changes: Changes,
    at_s: float,
    current: int,
    desired: int,
    least: int,
    most: int,
) -> tuple[int, str]:
    """`desired` within rates and limits, and Kubernetes' name for what bounded it."""
    if desired > current:
        rate = max(limit_up(up, changes, at_s, current), current)
        if desired > min(most, rate):
            return (rate, "ScaleUpLimit") if most > rate else (most, "TooManyReplicas")
    elif desired < current:
        rate = min(limit_down(down, changes, at_s, current), current)
        if desired < max(least, rate):
            return (rate, "ScaleDownLimit") if least < rate else (least, "TooFewReplicas")
    return desired, "DesiredWithinRange"


def without_behavior(
    past: Recommendations,
    at_s: float,
    current: int,
    desired: int,
    down_s: float,
    least: int,
    most: int,
) -> tuple[int, int, str]:
    """An HPA without `spec.behavior`: stabilised number, final number, what bounded it.

    It shrinks only to the largest proposal of the window, and grows to at most twice the current
    number or 4 in one go.
    """
    stable = max([desired, *(n for then_s, n in past if then_s >= at_s - down_s)])
    rate = max(2 * current, 4)
    if stable < least:
        return stable, least, "TooFewReplicas"
    if stable > min(most, rate):
        bound = (rate, "ScaleUpLimit") if most > rate else (most, "TooManyReplicas")
        return stable, *bound
    return stable, stable, "DesiredWithinRange"
