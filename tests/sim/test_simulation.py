"""Whole runs: the same loop, trace, verdict and folder as on real servers, at once."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.core.decide import Brain, decide
from lab.core.guards import Limits, ShrinkStabilisation
from lab.core.model import Memory, Metrics, Observation, Operator, Phase, Slot
from lab.core.policies.sessions import Sessions
from lab.load.expectations import MaxFailed, PeakAtLeast
from lab.load.measures import measure, samples_of
from lab.load.rates import OnOff, RatePointsShape, RateRamp
from lab.load.scenario import Requests, Scenario, list_scenarios, load_scenario
from lab.load.verdict import judge_run
from lab.simulation import Setup, Simulation, simulate, simulate_into
from lab.trace import observation_of, read_trace
from lab.worlds.sim.faults import Dies, Missing
from lab.worlds.sim.parameters import Parameters

SLOW = 2.5
"""How much slower than the lab's own machine a test machine may be."""


def brain(most: int = 8, shrink_after_s: float = 8.0) -> Brain:
    guards = (ShrinkStabilisation(shrink_after_s),)
    return Brain(Sessions(4.0, 2.0), guards, Limits(1, most), 30.0)


def scenario(load, *expect, settle_s: float = 0.0) -> Scenario:
    mix = [{"path": "/work?ms=200", "weight": 9}, {"path": "/"}]
    return Scenario("made", Path("made.toml"), "x", settle_s, load, Requests(mix=mix), expect)


RAMP = scenario(RateRamp(kind="rate-ramp", low=5, high=60, rise_s=40, fall_s=20, rest_s=20))


def test_the_same_seed_gives_the_same_bytes():
    lines, result = simulate(RAMP, brain(), Setup(seed=3))
    again, same = simulate(RAMP, brain(), Setup(seed=3))
    other, _ = simulate(RAMP, brain(), Setup(seed=4))
    assert lines == again
    assert result == same
    assert lines != other


def test_policies_meet_the_same_arrivals():
    counts = set()
    for most in (2, 8):
        simulation = Simulation(RAMP, brain(most))
        simulation.finish()
        counts.add(simulation.plant.balancer.arrived)
    assert len(counts) == 1


@pytest.mark.parametrize("name", sorted(list_scenarios()))
@pytest.mark.parametrize("coarse", [False, True])
def test_shipped_scenarios_pass(name, coarse):
    verdict = Simulation(load_scenario(name), brain(), Setup(coarse=coarse)).finish()
    assert verdict.passed, verdict.expectations
    assert verdict.world == ("sim-coarse" if coarse else "sim")


def test_a_run_leaves_the_folder_that_a_live_run_leaves(tmp_path):
    demo = load_scenario("demo")
    ticks = []
    folder, verdict = simulate_into(
        tmp_path, demo, brain(), Setup(stopped=5), ticks.append, {"settings.json": "{}"}
    )
    assert {path.name for path in folder.iterdir()} == {
        "trace.jsonl",
        "verdict.json",
        "scenario.toml",
        "settings.json",
    }
    lines = read_trace(folder / "trace.jsonl")
    assert len(lines) == len(ticks)
    assert observation_of(lines[100]) == ticks[100].observation
    assert lines[4]["at"] == "2000-01-01T00:00:01.000+00:00"
    assert json.loads((folder / "verdict.json").read_text())["policy"] == "sessions"
    # The verdict that was made along the way is the one that is made from the trace.
    simulation = Simulation(demo, brain(), Setup(stopped=5))
    simulation.finish()
    assert verdict == judge_run("demo", demo.expect, "sim", 4, lines, simulation.result())


def test_the_demo_is_what_it_was_on_lxd():
    # Live on LXD on 2 cores, 2026-11-21: 6340 requests, p50 201, p95 211, p99 242 ms, peak 7,
    # 381.5 container-seconds, θ_U 1.97, θ_O 44.9, τ_U 7.6, τ_O 23.6, υ 7.9, one flap.
    verdict = Simulation(load_scenario("demo"), brain(), Setup(stopped=5)).finish()
    assert verdict.requests == pytest.approx(6340, rel=0.02)
    assert verdict.p50_ms == pytest.approx(201, abs=2)
    assert verdict.p95_ms == pytest.approx(211, rel=0.1)
    assert verdict.p99_ms == pytest.approx(242, rel=0.2)
    assert verdict.peak_servers == 7
    assert verdict.container_seconds == pytest.approx(381.5, rel=0.03)
    assert verdict.theta_u == pytest.approx(1.97, abs=0.7)
    assert verdict.tau_o == pytest.approx(23.6, abs=3)


def test_nothing_is_recorded_once_there_is_nothing_left_to_see():
    demo = load_scenario("demo")
    simulation = Simulation(demo, brain())
    simulation.finish()
    assert demo.duration_s <= simulation.samples[-1].t_s < demo.duration_s + 5


def test_faults_are_survived():
    load = RatePointsShape(kind="rate", rates=[(0, 30), (120, 30)])
    plan = scenario(load, MaxFailed(max_failed=0), PeakAtLeast(peak_at_least=2), settle_s=10)
    faults = (Dies(30.0), Missing(60.0, 5.0, "haproxy"), Missing(70.0, 5.0, "metrics"))
    simulation = Simulation(plan, brain(), Setup(faults=faults, parameters=Parameters(workers=8)))
    unknown = broken = 0
    for tick in simulation.ticks():
        unknown += bool(tick.observation.unknown)
        broken += any(slot.phase is Phase.BROKEN for slot in tick.observation.slots)
        assert not (tick.observation.unknown and tick.decision.actions)
    assert unknown == 20
    assert 0 < broken < 12
    assert simulation.verdict().final_servers >= 1
    assert simulation.plant.balancer.retried > 0


def test_a_pin_is_followed():
    load = RatePointsShape(kind="rate", rates=[(0, 1), (30, 1)])
    setup = Setup(operator=lambda at_s: Operator(pin=5 if 5 <= at_s < 15 else None))
    simulation = Simulation(scenario(load), brain(), setup)
    serving = {sample.t_s: sample.serving for sample in _run(simulation)}
    assert (serving[4.0], serving[12.0], serving[29.0]) == (1, 5, 1)


def test_measures_are_those_of_the_trace():
    lines, _ = simulate(RAMP, brain())
    samples = samples_of(map(json.loads, lines), 4)
    assert measure(_run(Simulation(RAMP, brain()))) == measure(samples)


def _run(simulation):
    simulation.finish()
    return simulation.samples


def test_an_hour_of_50_requests_a_second_is_simulated_in_two_seconds():
    load = RatePointsShape(kind="rate", rates=[(0, 50), (3600, 50)])
    simulation = Simulation(scenario(load), brain(20), Setup(Parameters(slots=20)))
    began_s = time.process_time()
    verdict = simulation.finish()
    took_s = time.process_time() - began_s
    assert verdict.requests == pytest.approx(180_000, rel=0.01)
    assert took_s < 2.0 * SLOW


def test_a_day_with_a_thousand_servers_is_simulated_in_a_minute():
    # A twelfth of the day, for the twelfth of a minute.
    load = OnOff(kind="on-off", rate=15_000, rest=3_000, on_s=1200, off_s=1200, times=3)
    setup = Setup(Parameters(slots=1000), interval_s=10.0, coarse=True, serving=300)
    most = replace(brain(1000, shrink_after_s=60.0), policy=Sessions(3.0, 30.0))
    simulation = Simulation(scenario(load), most, setup)
    began_s = time.process_time()
    verdict = simulation.finish()
    took_s = time.process_time() - began_s
    assert verdict.duration_s == 7200
    assert verdict.peak_servers > 900
    assert took_s < 60 / 12 * SLOW


def test_a_decision_on_a_thousand_slots_takes_two_milliseconds():
    slots = tuple(
        Slot(
            number, Phase.SERVING if number <= 500 else Phase.EMPTY, 9.0, 4 if number <= 500 else 0
        )
        for number in range(1, 1001)
    )
    memory, times_s = Memory(), []
    for tick in range(60):
        seen = Observation(tick * 0.25, slots, Metrics(in_flight=2000, queued=0))
        began_s = time.process_time()
        memory = decide(brain(1000), memory, seen).memory
        times_s.append(time.process_time() - began_s)
    assert sorted(times_s)[30] < 0.002 * SLOW
