"""Whether a run kept to its scenario's envelope, and its measures: `verdict.json`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from lab.load.expectations import (
    Expectation,
    MaxFailed,
    MaxP50,
    MaxP95,
    MaxP99,
    PeakAtLeast,
    ServingAtLeast,
    ServingAtMost,
)
from lab.load.measures import Sample, measure, samples_of
from lab.load.tool import LoadResult

COMPLETE = "complete"


@dataclass(frozen=True)
class Judgement:
    """One expectation, in words, and whether it held. What could not be judged did not hold."""

    expected: str
    seen: str
    held: bool


@dataclass(frozen=True)
class Verdict:
    """A run in numbers. Times are in seconds but for `_ms`; None: it could not be measured."""

    scenario: str
    policy: str | None
    world: str
    passed: bool
    """Every expectation held, and the run was not cut short."""
    ended: str
    """`complete`, or how the run was cut short."""
    started_at: str | None
    """Of the load: UTC, ISO 8601."""
    duration_s: float
    """From the start of the load to the last line of the trace that was recorded."""
    expectations: tuple[Judgement, ...]
    requests: int | None
    failed: int | None
    failures: Mapping[str, int]
    """Failed requests by kind."""
    requests_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    peak_servers: int
    final_servers: int
    container_seconds: float
    theta_u: float | None
    theta_o: float | None
    tau_u: float | None
    tau_o: float | None
    instability: float | None
    flaps: int

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)

    def write(self, folder: Path) -> Path:
        """`verdict.json` in the run's folder."""
        path = folder / "verdict.json"
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path


def judge_run(
    scenario: str,
    expectations: Sequence[Expectation],
    world: str,
    workers: int,
    lines: Sequence[dict[str, Any]],
    result: LoadResult | None,
    ended: str = COMPLETE,
) -> Verdict:
    """The verdict on a run.

    `lines` are the trace from the start of the load on; `workers` those of one server; `result`
    is None when the load tool left none.
    """
    policies = [line["policy"] for line in lines]
    policy = policies[-1] if policies else None
    samples = samples_of(lines, workers)
    return judge_samples(scenario, expectations, world, samples, policy, result, ended)


def judge_samples(
    scenario: str,
    expectations: Sequence[Expectation],
    world: str,
    samples: Sequence[Sample],
    policy: str | None,
    result: LoadResult | None,
    ended: str = COMPLETE,
) -> Verdict:
    """The same for a run whose trace was measured while it was made."""
    measures = measure(samples)
    judgements = tuple(judge(expectation, samples, result) for expectation in expectations)
    return Verdict(
        scenario=scenario,
        policy=policy,
        world=world,
        passed=ended == COMPLETE and all(judgement.held for judgement in judgements),
        ended=ended,
        started_at=result.started_at.isoformat(timespec="milliseconds") if result else None,
        duration_s=round(measures.duration_s, 3),
        expectations=judgements,
        requests=result.requests if result else None,
        failed=result.failed if result else None,
        failures=dict(result.failures) if result else {},
        requests_per_s=result.requests_per_s if result else None,
        p50_ms=result.p50_ms if result else None,
        p95_ms=result.p95_ms if result else None,
        p99_ms=result.p99_ms if result else None,
        peak_servers=measures.peak_servers,
        final_servers=measures.final_servers,
        container_seconds=round(measures.container_s, 3),
        theta_u=_rounded(measures.elasticity.theta_u),
        theta_o=_rounded(measures.elasticity.theta_o),
        tau_u=_rounded(measures.elasticity.tau_u),
        tau_o=_rounded(measures.elasticity.tau_o),
        instability=_rounded(measures.elasticity.instability),
        flaps=measures.flaps,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def judge(
    expectation: Expectation, samples: Sequence[Sample], result: LoadResult | None
) -> Judgement:
    """One expectation against what was seen; `samples` begin with the load."""
    expected = str(expectation)
    match expectation:
        case ServingAtLeast() | ServingAtMost() | PeakAtLeast() if not samples:
            return Judgement(expected, "not judged: the trace has no line of this run", False)
        case ServingAtLeast(at_least=least, serving_by_s=by_s):
            return _judge_at_least(expected, least, by_s, samples)
        case ServingAtMost(at_most=most, serving_by_s=by_s):
            return _judge_at_most(expected, most, [s for s in samples if s.t_s <= by_s])
        case PeakAtLeast(peak_at_least=least):
            top = max(samples, key=lambda sample: sample.serving)
            return Judgement(
                expected, f"{top.serving} serving at {top.t_s:.1f} s", top.serving >= least
            )
    if result is None or not result.requests:
        return Judgement(expected, "not judged: the load tool counted no request", False)
    match expectation:
        case MaxFailed(max_failed=most):
            seen = f"{result.failed} of {result.requests} failed"
            return Judgement(expected, seen, result.failed <= most)
        case MaxP50(p50_ms=most_ms):
            return _judge_percentile(expected, "p50", result.p50_ms, most_ms)
        case MaxP95(p95_ms=most_ms):
            return _judge_percentile(expected, "p95", result.p95_ms, most_ms)
        case MaxP99(p99_ms=most_ms):
            return _judge_percentile(expected, "p99", result.p99_ms, most_ms)


def _judge_at_least(expected: str, least: int, by_s: float, samples: Sequence[Sample]) -> Judgement:
    reached = next((sample for sample in samples if sample.serving >= least), None)
    if reached is None:
        top = max(samples, key=lambda sample: sample.serving)
        return Judgement(expected, f"never: {top.serving} serving at most", False)
    seen = f"{reached.serving} serving at {reached.t_s:.1f} s"
    return Judgement(expected, seen, reached.t_s <= by_s)


def _judge_at_most(expected: str, most: int, in_time: Sequence[Sample]) -> Judgement:
    last = in_time[-1]
    if last.serving > most:
        return Judgement(expected, f"{last.serving} serving at {last.t_s:.1f} s", False)
    below = takewhile(lambda sample: sample.serving <= most, reversed(in_time))
    *_, first = below
    seen = f"{last.serving} serving, no more than {most} since {first.t_s:.1f} s"
    return Judgement(expected, seen, True)


def _judge_percentile(expected: str, name: str, seen_ms: float | None, most_ms: float) -> Judgement:
    if seen_ms is None:
        return Judgement(expected, f"not judged: {name} was not measured", False)
    return Judgement(expected, f"{name} {seen_ms:g} ms", seen_ms <= most_ms)


def nothing_left_to_see(expectations: Sequence[Expectation], samples: Sequence[Sample]) -> bool:
    """Whether, with the load gone, recording on could not change what was seen.

    True when some expectation says where the pool must come back to, it is there and at rest (no
    slot on its way, and no more wanted), and every expectation with a time is reached or past it.
    """
    if not samples:
        return False
    now = samples[-1]
    ends_at = [e.at_most for e in expectations if isinstance(e, ServingAtMost)]
    if not ends_at or max(now.serving, now.wanted) > min(ends_at) or now.moving:
        return False
    return all(
        now.t_s >= expectation.serving_by_s
        or any(sample.serving >= expectation.at_least for sample in samples)
        for expectation in expectations
        if isinstance(expectation, ServingAtLeast)
    )
