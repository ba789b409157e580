"""The first half of the HPA: from one metric to a proposed number of servers.

Source: Kubernetes, `pkg/controller/podautoscaler/replica_calculator.go` and
`metrics/utilization.go`. Numbers are whole thousandths and whole percent, cut off as there, because
the corners depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from annotated_types import Gt

from lab.core.metrics import QUANTILES, SHARES, Metric, by_slot, total
from lab.core.model import Observation, Phase, Slot
from lab.core.policies.hpa_behavior import LARGEST
from lab.core.policies.hpa_servers import Readiness, Youth, pods

MILLI = 1000


class Source(StrEnum):
    """Where a metric is measured."""

    RESOURCE = "resource"
    """In each server, CPU or memory, with the rules for missing and unready ones."""
    PODS = "pods"
    """In each server, anything else."""
    OBJECT = "object"
    EXTERNAL = "external"
    """These two: once for the whole pool, at the balancer."""


class TargetType(StrEnum):
    UTILIZATION = "utilization"
    """Percent of what a server may use."""
    AVERAGE_VALUE = "average_value"
    """So much for each server: CPUs, bytes, requests."""
    VALUE = "value"
    """So much in all, however many servers there are."""


@dataclass(frozen=True)
class MetricSpec:
    """One of the metrics of an HPA. `source` and `target_type` follow from the metric if left out:
    CPU and memory are resources with a utilisation, times are one value, the rest is what the
    balancer counts, shared by the servers."""

    metric: Metric = Metric.CPU
    target: Annotated[float, Gt(0)] = 80.0
    source: Source | None = None
    target_type: TargetType | None = None

    def __post_init__(self) -> None:
        allowed = {
            Source.RESOURCE: (TargetType.UTILIZATION, TargetType.AVERAGE_VALUE),
            Source.PODS: (TargetType.AVERAGE_VALUE,),
        }.get(self.measured, (TargetType.AVERAGE_VALUE, TargetType.VALUE))
        if self.aim not in allowed:
            raise ValueError(
                f"a {self.measured} metric has a target_type of {' or '.join(allowed)},"
                f" not {self.aim}"
            )
        if self.measured == Source.RESOURCE and self.metric not in SHARES:
            raise ValueError(f"{self.metric} is no resource; cpu and memory are")

    @property
    def measured(self) -> Source:
        if self.source is not None:
            return Source(self.source)
        return Source.RESOURCE if self.metric in SHARES else Source.EXTERNAL

    @property
    def aim(self) -> TargetType:
        if self.target_type is not None:
            return TargetType(self.target_type)
        if self.measured == Source.RESOURCE:
            return TargetType.UTILIZATION
        one = self.of_the_pool and self.metric in QUANTILES
        return TargetType.VALUE if one else TargetType.AVERAGE_VALUE

    @property
    def of_the_pool(self) -> bool:
        return self.measured in (Source.OBJECT, Source.EXTERNAL)


@dataclass(frozen=True)
class Tolerances:
    down: float
    up: float

    def hold(self, ratio: float) -> bool:
        """Whether a metric at `ratio` of its target is near enough to it."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True)
class Proposal:
    servers: int | None
    """None: the metric says nothing."""
    why: str


@dataclass(frozen=True)
class Groups:
    """The servers by what their metric is worth, with the values of those that count."""

    values: dict[int, int]
    unready: tuple[int, ...]
    missing: tuple[int, ...]


def group(
    spec: MetricSpec,
    slots: tuple[Slot, ...],
    values: dict[int, int],
    known: tuple[Readiness, ...],
    youth: Youth,
    at_s: float,
) -> Groups:
    """Sort the servers into those whose metric counts, unready ones, and those without a metric."""
    servers = {server.number: server for server in known}
    counted: dict[int, int] = {}
    unready: list[int] = []
    missing: list[int] = []
    of_cpu = spec.metric == Metric.CPU
    for slot in slots:
        value = values.get(slot.number)
        if value is None:
            (missing if slot.phase is Phase.SERVING else unready).append(slot.number)
        elif of_cpu and youth.hides(servers[slot.number], at_s):
            unready.append(slot.number)
        else:
            counted[slot.number] = value
    return Groups(counted, tuple(unready), tuple(missing))


def _milli_by_slot(spec: MetricSpec, observation: Observation) -> dict[int, int]:
    if spec.metric == Metric.CPU:
        raw = {s.number: s.cpus for s in observation.slots if s.cpus is not None}
    elif spec.metric == Metric.MEMORY:
        raw = {s.number: s.memory_bytes for s in observation.slots if s.memory_bytes is not None}
    else:
        raw = by_slot(spec.metric, observation, tuple(Phase))
    return {number: round(value * MILLI) for number, value in raw.items()}


def _milli_limits(metric: Metric, slots: tuple[Slot, ...]) -> dict[int, int] | None:
    """What each server may use. Without a limit that is one CPU; of memory it is not known."""
    if metric == Metric.CPU:
        return {slot.number: round((slot.cpus_limit or 1.0) * MILLI) for slot in slots}
    limits = {slot.number: (slot.memory_limit_bytes or 0) * MILLI for slot in slots}
    return limits if all(limits.values()) else None


def is_known(spec: MetricSpec, observation: Observation) -> bool:
    """Whether there is any value of the metric now."""
    if spec.of_the_pool:
        return total(spec.metric, observation) is not None
    return bool(_milli_by_slot(spec, observation))


def propose(
    spec: MetricSpec,
    observation: Observation,
    current: int,
    known: tuple[Readiness, ...],
    tolerances: Tolerances,
    youth: Youth,
) -> Proposal:
    """How many servers one metric asks for."""
    if spec.of_the_pool:
        return _of_pool(spec, observation, current, tolerances)
    slots = pods(observation)
    if not slots:
        return Proposal(None, "there are no servers")
    values = _milli_by_slot(spec, observation)
    groups = group(spec, slots, values, known, youth, observation.at_s)
    if not groups.values:
        return Proposal(None, f"{spec.metric} is unknown of every server that is ready")
    limits: dict[int, int] | None = None
    if spec.aim == TargetType.UTILIZATION:
        limits = _milli_limits(spec.metric, slots)
        if limits is None:
            return Proposal(None, f"{spec.metric} has no limit on some servers")
    return _of_servers(spec, groups, limits, current, tolerances)


def _ratio(spec: MetricSpec, values: dict[int, int], limits: dict[int, int] | None) -> float:
    if limits is None:
        return sum(values.values()) // len(values) / round(spec.target * MILLI)
    of = sum(limits[number] for number in values)
    return sum(values.values()) * 100 // of / spec.target


def _of_servers(
    spec: MetricSpec,
    groups: Groups,
    limits: dict[int, int] | None,
    current: int,
    tolerances: Tolerances,
) -> Proposal:
    values = dict(groups.values)
    ratio = _ratio(spec, values, limits)
    words = f"{spec.metric} at {ratio:.3f} of target {spec.target:g}"
    up_with_unready = bool(groups.unready) and ratio > 1
    if not up_with_unready and not groups.missing:
        if tolerances.hold(ratio):
            return Proposal(current, f"{words}, within tolerance")
        servers = math.ceil(ratio * len(values))
        return Proposal(servers, f"ceil({words} × {len(values)} ready) = {servers}")
    for number in groups.missing:
        if ratio < 1:
            full = round(spec.target * MILLI)
            if limits is not None:
                full = int(limits[number] * max(100, spec.target) // 100)
            values[number] = full
        elif ratio > 1:
            values[number] = 0
    if up_with_unready:
        values |= dict.fromkeys(groups.unready, 0)
    again = _ratio(spec, values, limits)
    aside = f"{len(groups.missing)} missing, {len(groups.unready)} unready"
    words = f"{words}, {again:.3f} with {aside}"
    if tolerances.hold(again) or (ratio - 1) * (again - 1) < 0:
        return Proposal(current, f"{words}: keep")
    servers = math.ceil(again * len(values))
    if (again < 1 and servers > current) or (again > 1 and servers < current):
        return Proposal(current, f"{words}: the other way by their number, so keep")
    return Proposal(servers, f"{words}: ceil({again:.3f} × {len(values)}) = {servers}")


def _of_pool(
    spec: MetricSpec, observation: Observation, current: int, tolerances: Tolerances
) -> Proposal:
    value = total(spec.metric, observation)
    if value is None:
        return Proposal(None, f"{spec.metric} is unknown")
    usage, target = round(value * MILLI), round(spec.target * MILLI)
    if spec.aim == TargetType.AVERAGE_VALUE:
        wanted = min(math.ceil(usage / target), LARGEST)
        words = f"{spec.metric} {value:g} / {spec.target:g} per server"
        if current and tolerances.hold(usage / (target * current)):
            return Proposal(current, f"{words} within tolerance of {current}")
        return Proposal(wanted, f"ceil({words}) = {wanted}")
    ratio = usage / target
    words = f"{spec.metric} {value:g} at {ratio:.3f} of target {spec.target:g}"
    if not current:
        return Proposal(math.ceil(ratio), f"ceil({words}) = {math.ceil(ratio)}, from zero")
    if tolerances.hold(ratio):
        return Proposal(current, f"{words}, within tolerance")
    ready = sum(slot.phase is Phase.SERVING for slot in pods(observation))
    wanted = min(math.ceil(ratio * ready), LARGEST)
    return Proposal(wanted, f"ceil({words} × {ready} ready) = {wanted}")
