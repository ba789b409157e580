"""The lab's own policy: enough workers for the load that is there, as soon as there is a queue.

*Load.* Little's law, L = λS: the number of busy workers is the arrival rate times the time of
service. So the mean of the requests in flight is the load a, in workers, as long as nobody waits.
With a queue the busy workers stand at their number and hide it; then a = λS of the arrivals. All
requests together rising above their mean by more than 3 √mean, which Poisson's noise rarely does,
are a surge, where every mean comes too late: what arrives is what is served and what the queue
grows by, a = busy + S Δqueue/Δt. A trend that is no chance is projected over the time to capacity.

*Servers.* With a workers all would always be busy and the queue would never end. Square-root
staffing (Halfin and Whitt 1981; Whitt, "What you should know about queueing models", 2019) adds
β √a: with β = 0.7 about one request in three waits, and briefly. Where the load varies less than
Poisson's, less is added; where it is so large that this is little, up to `utilisation`. A queue is
to be gone within `drain_s`: backlog S / drain_s workers more, where the backlog counts what will
have come until the new servers serve. That time is known for each phase of a slot.

*When the model is wrong.* A queue that stands for `patience_s`, and not for servers that are on
their way, is taken at its word: a worker for each request that is there.

*Shrinking* costs a queue where it was wrong, and little where it comes late. So it goes to the
largest need of `shrink_after_s`, half of the surplus at a time, and never with a queue: a panic
decays. Each flap (servers go and are wanted again within `flap_s`) doubles the wait for a while; a
single one only where one server is at stake. Growing begins `tolerance` of a server above the
pool and shrinking as much below, so that noise at a border moves nothing.

*Time* is in seconds and never in ticks; with slow ticks at least three must agree to shrink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval, Le

from lab.core import windows
from lab.core.changes import Changes
from lab.core.model import Metrics, Observation, Phase, Recommendation
from lab.core.policies import lab_load
from lab.core.policies.lab_load import FEW, FEW_RECENT, NOISE, History, Seen

MOST_DOUBLINGS = 3
SHORTEST_SERVICE_S = 0.001
NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class LabMemory:
    began_s: float
    seen: History = ()
    needs: windows.Samples = ()
    """How many servers would have done, in fractions."""
    service_s: float | None = None
    queued_since_s: float | None = None
    changes: Changes = NO_CHANGES
    flaps: tuple[float, ...] = ()
    """When servers went that were soon wanted again."""


@dataclass(frozen=True)
class Lab:
    """servers = ceil((a + β √a + backlog S / drain_s) / workers); see the module."""

    name: ClassVar[str] = "lab"
    own_guards: ClassVar[bool] = True

    workers: Annotated[float, Gt(0), Le(100_000)] = 4.0
    """Requests that a server works on at once."""
    headroom: Annotated[float, Ge(0), Le(100)] = 0.7
    """β of the square-root staffing."""
    utilisation: Annotated[float, Interval(gt=0, le=1)] = 0.9
    window_s: Annotated[float, Gt(0), Le(86_400)] = 2.0
    trend_s: Annotated[float, Gt(0), Le(86_400)] = 10.0
    drain_s: Annotated[float, Gt(0), Le(86_400)] = 2.0
    patience_s: Annotated[float, Gt(0), Le(86_400)] = 1.0
    shrink_after_s: Annotated[float, Gt(0), Le(86_400)] = 3.0
    tolerance: Annotated[float, Interval(ge=0, lt=1)] = 0.2
    flap_s: Annotated[float, Ge(0), Le(86_400)] = 10.0
    flap_memory_s: Annotated[float, Ge(0), Le(86_400)] = 120.0
    warm_s: Annotated[float, Ge(0), Le(86_400)] = 0.03
    stopped_s: Annotated[float, Ge(0), Le(86_400)] = 0.5
    empty_s: Annotated[float, Ge(0), Le(86_400)] = 0.8

    def recommend(
        self, memory: LabMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, LabMemory]:
        at_s, metrics = observation.at_s, observation.metrics
        kept = memory or LabMemory(at_s)
        if metrics.in_flight is None or metrics.queued is None:
            return Recommendation(None, "in flight and queued are unknown"), kept
        kept = self._remember(
            kept, metrics, Seen(at_s, metrics.in_flight, metrics.queued, observation.serving)
        )
        kept = replace(kept, changes=kept.changes.seen(current).since(at_s - self.flap_memory_s))
        need, why = self._need(kept, observation, current)
        kept = replace(
            kept, needs=windows.add(kept.needs, at_s, need, self._wait_s(MOST_DOUBLINGS))
        )
        wanted = math.ceil(need - self.tolerance)
        why += f" = {need:.2f} servers"
        if wanted > current:
            kept, servers, why = self._regret(kept, at_s), wanted, f"{why}: {wanted}"
        else:
            servers, why = self._shrunk(kept, at_s, current, metrics.queued, why)
        kept = replace(kept, changes=kept.changes.decided(at_s, current, servers))
        return Recommendation(servers, why), kept

    def _remember(self, kept: LabMemory, metrics: Metrics, now: Seen) -> LabMemory:
        past = [seen for seen in kept.seen if seen.at_s < now.at_s]
        # The last few stay whatever their age: with slow ticks there are no others to compare with.
        inside = [seen for seen in past if seen.at_s > now.at_s - self.trend_s]
        past = max(inside, past[1 - FEW :], key=len)
        service_s = kept.service_s
        if metrics.answer_ms:
            new_s = max(SHORTEST_SERVICE_S, sum(metrics.answer_ms) / len(metrics.answer_ms) / 1000)
            fresh = 1 - math.exp((past[-1].at_s - now.at_s) / self.window_s) if past else 1.0
            service_s = new_s if service_s is None else service_s + fresh * (new_s - service_s)
        since_s = now.at_s if kept.queued_since_s is None else kept.queued_since_s
        return replace(
            kept,
            seen=(*past, now),
            service_s=service_s,
            queued_since_s=since_s if now.queued else None,
        )

    def _need(self, kept: LabMemory, observation: Observation, current: int) -> tuple[float, str]:
        """How many servers would do, in fractions, and the numbers behind it."""
        seen, now, service_s = kept.seen, kept.seen[-1], kept.service_s
        load, what = lab_load.load(
            seen, self.window_s, service_s, observation.metrics.requests_per_s
        )
        spread = lab_load.spread(seen, load)
        most = min(load / self.utilisation - load, NOISE * spread)
        staffed = load + max(self.headroom * spread, most)
        ready_s = self._time_to_capacity(observation, math.ceil(staffed / self.workers) - current)
        if now.queued and (service_s is None or self._stands(kept, ready_s)):
            why = f"all {now.requests} requests ({now.queued} queued) / {self.workers:g}"
            return max(now.requests, staffed) / self.workers, why
        tick_s = now.at_s - seen[-2].at_s if len(seen) > 1 else 0.0
        slope = lab_load.trend(seen, self.trend_s, self.window_s, service_s or 0.0)
        rise = slope * (ready_s + tick_s)
        more = max(0.0, load - now.busy) * ready_s if now.queued else 0.0
        backlog = (now.queued * (service_s or 0.0) + more) / self.drain_s
        why = f"({staffed:.1f} workers for {what}"
        why += f", {rise:.1f} for its rise" if rise else ""
        why += f", {backlog:.1f} for the queue of {now.queued}" if now.queued else ""
        return (staffed + rise + backlog) / self.workers, f"{why}) / {self.workers:g}"

    def _stands(self, kept: LabMemory, ready_s: float) -> bool:
        """A queue has stood for `patience_s`, and as long since servers asked for should serve."""
        since_s, last = kept.seen[-1].at_s - self.patience_s, kept.changes.last
        asked_s = last.at_s + ready_s if last and last.servers > 0 else kept.began_s
        if kept.queued_since_s is None or since_s < max(kept.queued_since_s, asked_s):
            return False
        return lab_load.stands(kept.seen, since_s, self.drain_s)

    def _time_to_capacity(self, observation: Observation, servers: int) -> float:
        """Until the last of so many more servers serves; the warmest slots are taken first."""
        cold = {
            Phase.DRAINING: 0.0,
            Phase.WARM: self.warm_s,
            Phase.STOPPED: self.stopped_s,
            Phase.EMPTY: self.empty_s,
        }
        times = sorted(
            cold[slot.phase]
            for slot in observation.slots
            if slot.phase in cold and slot.doing is None and not slot.fault
        )
        return times[min(max(servers, 1), len(times)) - 1] if times else self.empty_s

    def _wait_s(self, flaps: int) -> float:
        return self.shrink_after_s * 2.0 ** min(max(flaps, 0), MOST_DOUBLINGS)

    def _regret(self, kept: LabMemory, at_s: float) -> LabMemory:
        """Growing: if servers went just now, they should not have."""
        last = kept.changes.last
        flaps = tuple(flap_s for flap_s in kept.flaps if flap_s > at_s - self.flap_memory_s)
        if last and last.servers < 0 and at_s - last.at_s <= self.flap_s and last.at_s not in flaps:
            flaps = (*flaps, last.at_s)
        return replace(kept, flaps=flaps)

    def _shrunk(
        self, kept: LabMemory, at_s: float, current: int, queued: int, why: str
    ) -> tuple[int, str]:
        flaps = sum(flap_s > at_s - self.flap_memory_s for flap_s in kept.flaps)
        wait_s = self._wait_s(flaps - 1)
        target = self._least(kept, at_s, wait_s)
        if target == current - 1:
            # At the border of one server noise looks like a change: there the first flap counts.
            wait_s = self._wait_s(flaps)
            target = self._least(kept, at_s, wait_s)
        why += f", {wait_s:g} s needed {target} at most"
        if target >= current:
            return current, f"{why}: keep {current}"
        last = kept.changes.last
        pause_s = self.shrink_after_s / 4
        begins_s = max(kept.began_s + wait_s, last.at_s + pause_s if last else kept.began_s)
        if queued or at_s < begins_s:
            until = "there is a queue" if queued else f"for {begins_s - at_s:.1f} s more"
            return current, f"{why}: keep {current} while {until}"
        servers = current - math.ceil((current - target) / 2)
        return servers, f"{why}: {servers}, half way from {current}"

    def _least(self, kept: LabMemory, at_s: float, wait_s: float) -> int:
        """The fewest servers that would have done at all times of the last `wait_s`."""
        inside = [need for time_s, need in kept.needs if time_s >= at_s - wait_s]
        largest = max(*inside, *(need for _, need in kept.needs[-FEW_RECENT:]))
        return max(1, math.ceil(largest + self.tolerance))
