"""How far the simulator is from a live run of the same scenario, policy and settings."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import compare, wiring
from lab.errors import UsageError
from lab.load.measures import Sample, samples_of
from lab.load.scenario import load_scenario
from lab.settings import Settings
from lab.simulation import Setup, Simulation
from lab.trace import read_trace

STEP_S = 0.25
MEAN_BOUND, PEAK_BOUND, P95_BOUND = 0.5, 1, 0.20
NEEDED = ("trace.jsonl", "verdict.json", "settings.json", "scenario.toml")


@dataclass(frozen=True)
class Fidelity:
    """Live against simulated."""

    scenario: str
    policy: str
    mean_difference: float
    """Of the servers that serve, without its sign, on average over time."""
    live_peak: int
    simulated_peak: int
    live_p95_ms: float | None
    simulated_p95_ms: float | None
    p95_difference: float | None
    """Relative to the live one."""
    agrees: bool
    """Within 0.5 servers on average, 1 at the peak, and 20 % of the 95th percentile."""


def validate(folder: Path, seed: int = 1) -> Fidelity:
    """Simulate what was run live and compare. UsageError if the folder is no live run's."""
    for name in NEEDED:
        if not (folder / name).is_file():
            raise UsageError(f"{folder} has no {name}: give the folder of a `load` or `demo` run")
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    settings = Settings.model_validate(json.loads((folder / "settings.json").read_text()))
    scenario = load_scenario(folder / "scenario.toml")
    live = samples_of(read_trace(folder / "trace.jsonl"), settings.server.workers)
    setup = Setup(compare.parameters(settings), seed, settings.scaler.interval_s)
    simulation = Simulation(scenario, wiring.brain(settings, verdict["policy"]), setup)
    simulated = simulation.finish()
    return _fidelity(verdict, live, vars(simulated), simulation.samples)


def _fidelity(
    live: dict[str, Any],
    live_samples: tuple[Sample, ...],
    simulated: dict[str, Any],
    simulated_samples: list[Sample],
) -> Fidelity:
    mean = mean_difference(live_samples, simulated_samples)
    peak = abs(live["peak_servers"] - simulated["peak_servers"])
    p95 = None
    if live["p95_ms"] and simulated["p95_ms"]:
        p95 = abs(simulated["p95_ms"] - live["p95_ms"]) / live["p95_ms"]
    agrees = mean <= MEAN_BOUND and peak <= PEAK_BOUND and p95 is not None and p95 <= P95_BOUND
    return Fidelity(
        live["scenario"],
        live["policy"],
        round(mean, 3),
        live["peak_servers"],
        simulated["peak_servers"],
        live["p95_ms"],
        simulated["p95_ms"],
        None if p95 is None else round(p95, 3),
        agrees,
    )


def mean_difference(
    first: tuple[Sample, ...] | list[Sample], second: tuple[Sample, ...] | list[Sample]
) -> float:
    """The mean of |serving₁ − serving₂| over the time that both cover, every STEP_S seconds."""
    end_s = min(first[-1].t_s, second[-1].t_s)
    steps = int(end_s / STEP_S) + 1
    times = [step * STEP_S for step in range(steps)]
    return sum(abs(_serving(first, t) - _serving(second, t)) for t in times) / steps


def _serving(samples: tuple[Sample, ...] | list[Sample], t_s: float) -> int:
    index = bisect_right(samples, t_s, key=lambda sample: sample.t_s)
    return samples[max(0, index - 1)].serving
