"""What the live view knows: trace lines folded, one at a time, into one bounded value.

`fold` and `with_progress` are pure and read no clock. Times are seconds since the first line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lab.core.model import Observation
from lab.trace import observation_of
from lab.views.changes import Event, changes

MAX_SAMPLES = 480
MAX_EVENTS = 60
RESTARTED_S = 2.0
SAMPLE_S = 0.5
"""Ticks closer together than this share a sample: 480 of them show four minutes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One point of the charts. None: not measured."""

    at_s: float
    serving: int
    wanted: int
    demand: float | None
    """Requests in flight and queued."""
    requests_per_s: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the load scenario is."""

    done_s: float
    total_s: float | None
    users: int | None
    began_s: float
    """When the scenario began, on the view's own axis."""


@dataclass(frozen=True, slots=True)
class ViewState:
    """All that is drawn. Its size does not grow with the length of the run."""

    lab: str = "lab"
    world: str = ""
    scenario: str = ""
    policy: str = ""
    first_at_s: float | None = None
    elapsed_s: float = 0.0
    observation: Observation | None = None
    wanted: int | None = None
    sentence: str = ""
    samples: tuple[Sample, ...] = ()
    sample_s: float = SAMPLE_S
    events: tuple[Event, ...] = ()
    events_seen: int = 0
    """How many events there were in all, those included that are no longer kept."""
    progress: Progress | None = None
    silent_s: float = 0.0
    """Seconds since the last line came, by the clock of whoever draws."""


def fold(state: ViewState, line: dict[str, Any]) -> ViewState:
    """The state after one more trace line (a dict as `lab.trace.to_line` writes it)."""
    observation = observation_of(line)
    first_at_s = observation.at_s if state.first_at_s is None else state.first_at_s
    if observation.at_s < first_at_s + state.elapsed_s:
        # The world's clock went back: the host was restarted, and a new record begins.
        fresh = ViewState(lab=state.lab, world=state.world, scenario=state.scenario)
        return fold(fresh, line)
    elapsed_s = observation.at_s - first_at_s
    new = tuple(
        Event(elapsed_s, kind, text)
        for kind, text in changes(state.observation, state.wanted, line, observation)
    )
    sampled = _add_sample(state, _sample(elapsed_s, line["wanted"], observation))
    return replace(
        sampled,
        policy=line["policy"],
        first_at_s=first_at_s,
        elapsed_s=elapsed_s,
        observation=observation,
        wanted=line["wanted"],
        sentence=line["sentence"],
        events=(state.events + new)[-MAX_EVENTS:],
        events_seen=state.events_seen + len(new),
        silent_s=0.0,
    )


def with_progress(
    state: ViewState, done_s: float, total_s: float | None, users: int | None = None
) -> ViewState:
    """The state with the load's own progress: seconds done and in all, users now.

    `done_s` stays 0 until the load begins; None for what nobody knows.
    """
    began_s = max(state.elapsed_s - done_s, 0.0)
    if state.progress is not None and abs(began_s - state.progress.began_s) < RESTARTED_S:
        # The trace comes in ticks and the load does not: do not let the chart's end tremble.
        began_s = state.progress.began_s
    return replace(state, progress=Progress(done_s, total_s, users, began_s))


def new_events(before: ViewState, after: ViewState) -> tuple[Event, ...]:
    """The events that `after` has and `before` had not."""
    added = after.events_seen
    if after.first_at_s == before.first_at_s or before.first_at_s is None:
        added -= before.events_seen
    return after.events[-added:] if added else ()


def _sample(at_s: float, wanted: int, observation: Observation) -> Sample:
    metrics = observation.metrics
    demand = None
    if metrics.in_flight is not None and metrics.queued is not None:
        demand = metrics.in_flight + metrics.queued
    return Sample(at_s, observation.serving, wanted, demand, metrics.requests_per_s, metrics.p95_ms)


def _add_sample(state: ViewState, sample: Sample) -> ViewState:
    samples, step_s = state.samples, state.sample_s
    if samples and int(samples[-1].at_s / step_s) == int(sample.at_s / step_s):
        return replace(state, samples=(*samples[:-1], _merged(samples[-1], sample)))
    samples = (*samples, sample)
    if len(samples) <= MAX_SAMPLES:
        return replace(state, samples=samples)
    if state.progress is None:
        return replace(state, samples=samples[-MAX_SAMPLES:])
    # A scenario is shown from its beginning to its end, so a long one is shown coarser.
    coarser = tuple(_merge_by(samples, step_s * 2))
    return replace(state, samples=coarser, sample_s=step_s * 2)


def _merge_by(samples: tuple[Sample, ...], step_s: float) -> Iterator[Sample]:
    pending = samples[0]
    for sample in samples[1:]:
        if int(pending.at_s / step_s) == int(sample.at_s / step_s):
            pending = _merged(pending, sample)
        else:
            yield pending
            pending = sample
    yield pending


def _merged(first: Sample, second: Sample) -> Sample:
    """The later counts and the higher measurements: a peak must not vanish in a wide step."""
    return Sample(
        first.at_s,
        second.serving,
        max(first.wanted, second.wanted),
        _higher(first.demand, second.demand),
        _higher(first.requests_per_s, second.requests_per_s),
        _higher(first.p95_ms, second.p95_ms),
    )


def _higher(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)
