"""Policies that read the times in HAProxy's HTTP log: HAProxyScaleLXC's, and its ancestor's.

Both go one server at a time, and both bring their own damping, so that the lab's general guards
are left to policies that have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from lab.core.model import Metrics, Observation, Recommendation


@dataclass(frozen=True, slots=True)
class LatencyMemory:
    times: tuple[tuple[float, tuple[int, ...]], ...] = ()
    """(at_s, the times of the requests that ended by then), oldest first."""
    stepped_s: float | None = None
    slow: int = 0
    fast: int = 0
    idle_since_s: float | None = None


@dataclass(frozen=True)
class Latency:
    """HAProxyScaleLXC: the total time of the requests, by its README's rule or by its code's.

    Source: github.com/mehuljn/HAProxyScaleLXC, README.md and haproxy_scale_lxccnt.py; -m and -s
    are `max_servers` and `stable`.

    `readme`: a time above 1000 ms adds a server, one well below 200 ms removes one. The README
    judges single requests; here it is `statistic` of those that ended within `window_s`, and
    after a step the window begins anew, so that a backlog from before it is not counted twice.

    `code`: two counters. One more server after 400 responses above 1000 ms, one less after 50
    below 500 ms while there are more than `stable`. Kept as they are: there is no window, nothing
    resets a counter but its own step, a backlog takes several steps at once, and the slow counter
    is not reset at the maximum, so that a server removed there comes back with the next response.

    Mended for both: no traffic writes no log line, and the original then never shrinks. Without
    a request for `idle_after_s` one server goes (0: never, as in the original). A pool smaller
    than `stable` is filled up to it, as the original does when it starts.
    """

    name: ClassVar[str] = "latency"
    own_guards: ClassVar[bool] = True

    rule: Literal["readme", "code"] = "readme"
    stable: Annotated[int, Ge(1), Le(1_000_000)] = 2
    max_servers: Annotated[int, Ge(1), Le(1_000_000)] = 5
    grow_above_ms: Annotated[float, Gt(0), Le(86_400_000)] = 1000.0
    shrink_below_ms: Annotated[float, Gt(0), Le(86_400_000)] = 200.0
    statistic: Literal["mean", "p50", "p95", "p99"] = "mean"
    window_s: Annotated[float, Gt(0), Le(86_400)] = 5.0
    code_shrink_below_ms: Annotated[float, Gt(0), Le(86_400_000)] = 500.0
    code_grow_after: Annotated[int, Ge(1), Le(1_000_000)] = 400
    code_shrink_after: Annotated[int, Ge(1), Le(1_000_000)] = 50
    idle_after_s: Annotated[float, Ge(0), Le(86_400)] = 30.0

    def recommend(
        self, memory: LatencyMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, LatencyMemory]:
        kept = memory or LatencyMemory()
        times = observation.metrics.total_ms
        if times is None:
            unknown = Recommendation(None, "the times of the requests are unknown")
            return unknown, replace(kept, idle_since_s=None)
        before = max(current, self.stable)
        rule = self._readme if self.rule == "readme" else self._code
        servers, why, kept = rule(kept, times, observation.at_s, before)
        if servers == before:
            servers, idle, kept = self._idle(kept, observation, before)
            why = idle or why
        if current < self.stable:
            why += f"; at least {self.stable} are stable"
        return Recommendation(servers, f"{why}: {servers}"), kept

    def _readme(
        self, kept: LatencyMemory, times: tuple[int, ...], at_s: float, servers: int
    ) -> tuple[int, str, LatencyMemory]:
        since_s = at_s - self.window_s
        samples = tuple(sample for sample in kept.times if sample[0] > since_s)
        if times:
            samples = (*samples, (at_s, times))
        kept = replace(kept, times=samples)
        if kept.stepped_s is not None and kept.stepped_s > since_s:
            left_s = kept.stepped_s - since_s
            return servers, f"{left_s:.1f} s until the window after the last step is full", kept
        if not samples:
            return servers, f"no request ended within {self.window_s:g} s", kept
        value = statistic(self.statistic, [ms for _, some in samples for ms in some])
        seen = f"{self.statistic} of {self.window_s:g} s is {value:.0f} ms"
        step = 0
        if value > self.grow_above_ms:
            seen += f" > {self.grow_above_ms:g}"
            step = 1 if servers < self.max_servers else 0
        elif value < self.shrink_below_ms:
            seen += f" < {self.shrink_below_ms:g}"
            step = -1 if servers > self.stable else 0
        else:
            seen += f", between {self.shrink_below_ms:g} and {self.grow_above_ms:g}"
        if not step:
            return servers, seen, kept
        stepped = replace(kept, times=(), stepped_s=at_s)
        return servers + step, f"{seen}: {servers} {step:+d}", stepped

    def _code(
        self, kept: LatencyMemory, times: tuple[int, ...], at_s: float, servers: int
    ) -> tuple[int, str, LatencyMemory]:
        before, slow, fast = servers, kept.slow, kept.fast
        for ms in times:
            slow += ms > self.grow_above_ms
            if slow >= self.code_grow_after and servers < self.max_servers:
                servers, slow = servers + 1, 0
            fast += ms < self.code_shrink_below_ms and servers > self.stable
            if fast >= self.code_shrink_after and servers > self.stable:
                servers, fast = servers - 1, 0
        what = (
            f"counted {slow} of {self.code_grow_after} above {self.grow_above_ms:g} ms and"
            f" {fast} of {self.code_shrink_after} below {self.code_shrink_below_ms:g} ms"
        )
        if servers != before:
            what += f", after {before} {servers - before:+d}"
        return servers, what, replace(kept, slow=slow, fast=fast)

    def _idle(
        self, kept: LatencyMemory, observation: Observation, servers: int
    ) -> tuple[int, str, LatencyMemory]:
        """One server less for each `idle_after_s` without a request."""
        at_s = observation.at_s
        if not self.idle_after_s or not _idle(observation.metrics):
            return servers, "", replace(kept, idle_since_s=None)
        since_s = at_s if kept.idle_since_s is None else kept.idle_since_s
        if at_s - since_s < self.idle_after_s or servers <= self.stable:
            return servers, "", replace(kept, idle_since_s=since_s)
        why = f"no request for {at_s - since_s:.0f} s: {servers} -1"
        return servers - 1, why, replace(kept, idle_since_s=at_s)


@dataclass(frozen=True, slots=True)
class LastMemory:
    scaled_s: float
    times: tuple[int, ...] = ()
    breaches: int = 0


@dataclass(frozen=True)
class LastRequests:
    """The mean of the last 15 answer times; one more after 3 breaches, one less after 300 s.

    Source: Alex Vaghin, "Simple auto-scale with HAProxy" (alex.cloudware.it, October 2011) and its
    script haproxy_autoscale.py. Each request moves the window: with more than `requests` of them
    known, mean = sum // requests (whole milliseconds, as in Python 2), and a mean above
    `threshold_ms` is a breach. `breaches` in a row ("above a threshold for a while") add a
    server. `shrink_after_s` after the last scaling one goes, load or not, and again after that.

    Kept as it is: the window is not emptied by a step, so that slow requests from before it
    breach again and the pool overshoots. Chosen: the script sets up its pool when it starts; here
    the time until the first shrink begins with the first observation instead.
    """

    name: ClassVar[str] = "last-requests"
    own_guards: ClassVar[bool] = True

    requests: Annotated[int, Ge(1), Le(1_000_000)] = 15
    threshold_ms: Annotated[float, Gt(0), Le(86_400_000)] = 500.0
    breaches: Annotated[int, Ge(1), Le(1_000_000)] = 3
    shrink_after_s: Annotated[float, Gt(0), Le(86_400)] = 300.0
    always_up: Annotated[int, Ge(1), Le(1_000_000)] = 1

    def recommend(
        self, memory: LastMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, LastMemory]:
        at_s, new = observation.at_s, observation.metrics.answer_ms
        kept = memory or LastMemory(at_s)
        if new is None:
            return Recommendation(None, "the times of the answers are unknown"), kept
        times, breaches, scaled_s, servers = kept.times, kept.breaches, kept.scaled_s, current
        for ms in new:
            enough = len(times) >= self.requests
            times = (*times, ms)[-self.requests :]
            if not enough:
                continue
            breaches = breaches + 1 if sum(times) // self.requests > self.threshold_ms else 0
            if breaches >= self.breaches:
                servers, breaches, scaled_s = servers + 1, 0, at_s
        since_s = at_s - scaled_s
        mean = f"{sum(times) // len(times)} ms" if times else "unknown"
        formula = f"mean of the last {len(times)} is {mean}, "
        if servers == current and since_s >= self.shrink_after_s and servers > self.always_up:
            servers, scaled_s = servers - 1, at_s
            formula += f"{since_s:.0f} s since the last scaling: {current} -1 = {servers}"
        else:
            formula += (
                f"{breaches} of {self.breaches} breaches of {self.threshold_ms:g} ms:"
                f" {current} {servers - current:+d} = {servers}"
            )
        return Recommendation(servers, formula), LastMemory(scaled_s, times, breaches)


def statistic(name: str, times: Sequence[int]) -> float:
    """The mean, or a quantile by nearest rank, of times that must not be empty."""
    if name == "mean":
        return sum(times) / len(times)
    rank = -(-int(name.removeprefix("p")) * len(times) // 100)
    return float(sorted(times)[max(0, rank - 1)])


def _idle(metrics: Metrics) -> bool:
    """Nothing ended, nothing is being handled and nothing waits; unknown is not idle."""
    return metrics.total_ms == () and metrics.in_flight == 0 and metrics.queued == 0
