"""The coarse model against the fine one, where both can be run, and against itself."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean

import pytest

from lab.core.decide import Brain
from lab.core.guards import Limits, ShrinkStabilisation
from lab.core.policies.sessions import Sessions
from lab.load.rates import (
    Day,
    Drift,
    FlashCrowd,
    Herd,
    OnOff,
    RateRamp,
    RateSpike,
    RateSteps,
    Sawtooth,
)
from lab.load.scenario import Requests, Scenario, load_scenario
from lab.simulation import Setup, Simulation
from lab.worlds.sim.faults import Dies, Hangs
from lab.worlds.sim.fluid import closed_step, open_step, waiting

BRAIN = Brain(Sessions(4.0, 2.0), (ShrinkStabilisation(8.0),), Limits(1, 8), 30.0)

LOADS = {
    "ramp": RateRamp(kind="rate-ramp", low=5, high=100, rise_s=120, hold_s=30, fall_s=120),
    "steps": RateSteps(kind="rate-steps", rates=(10, 60, 110, 60, 10), each_s=60),
    "spike": RateSpike(kind="rate-spike", base=10, peak=90, before_s=60, spike_s=60, after_s=60),
    "crowd": FlashCrowd(
        kind="flash-crowd",
        base=10,
        peak=90,
        before_s=60,
        rise_s=10,
        half_life_s=30,
        after_s=200,
    ),
    "sawtooth": Sawtooth(kind="sawtooth", threshold=44, swing=15, period_s=60, times=5),
    "day": Day(kind="day", base=45, day_s=600),
    "on-off": OnOff(kind="on-off", rate=70, on_s=40, off_s=40, times=4),
    "herd": Herd(kind="herd", idle_s=30, herd=200, rate=40, after_s=60),
    "drift": Drift(kind="drift", start=5, end=100, length_s=600),
    "overload": RateSpike(
        kind="rate-spike", base=10, peak=220, before_s=30, spike_s=40, after_s=60
    ),
}


def made(load) -> Scenario:
    mix = [{"path": "/work?ms=200", "weight": 9}, {"path": "/"}]
    return Scenario("made", Path("made.toml"), "x", 30.0, load, Requests(mix=mix), ())


@pytest.mark.parametrize("case", [*LOADS, "demo.toml", "ramp.toml", "spike.toml", "steps.toml"])
def test_coarse_agrees_with_fine_within_the_stated_bounds(case):
    scenario = load_scenario(case.removesuffix(".toml")) if "." in case else made(LOADS[case])
    fine, coarse = (Simulation(scenario, BRAIN, Setup(coarse=coarse)) for coarse in (False, True))
    seen, expected = coarse.finish(), fine.finish()

    pairs = zip(fine.samples, coarse.samples, strict=False)
    assert fmean(abs(one.serving - other.serving) for one, other in pairs) <= 0.5
    assert abs(seen.peak_servers - expected.peak_servers) <= 2
    assert seen.container_seconds == pytest.approx(expected.container_seconds, rel=0.06)
    assert seen.requests == pytest.approx(expected.requests, rel=0.03)
    assert seen.failed == pytest.approx(expected.failed, abs=0.02 * expected.requests)
    assert seen.p50_ms == pytest.approx(expected.p50_ms, rel=0.05)
    assert seen.p95_ms == pytest.approx(expected.p95_ms, rel=0.25)
    assert seen.tau_o == pytest.approx(expected.tau_o, abs=8)


@pytest.mark.parametrize("faults", [(), (Dies(40.0), Hangs(70.0, 10.0))])
def test_no_request_is_lost_or_counted_twice(faults):
    simulation = Simulation(made(LOADS["overload"]), BRAIN, Setup(coarse=True, faults=faults))
    balancer = simulation.plant.balancer
    for _ in simulation.ticks():
        flow = balancer.flow
        accounted = flow.answered + flow.failed + balancer.in_system
        assert flow.arrived == pytest.approx(accounted, rel=1e-9, abs=1e-6)
        assert flow.number >= -1e-9
    result = simulation.result()
    assert result.requests == pytest.approx(flow.arrived - balancer.in_system, abs=2)


@pytest.mark.parametrize(("servers", "busy"), [(1, 0.7), (4, 0.8), (12, 0.85), (40, 0.95)])
def test_the_formula_for_waiting_is_near_erlangs(servers, busy):
    offered = servers * busy
    last = offered**servers / math.factorial(servers) / (1 - busy)
    share = last / (sum(offered**n / math.factorial(n) for n in range(servers)) + last)
    assert waiting(servers, busy, 1.0) == pytest.approx(share * busy / (1 - busy), rel=0.08)


@pytest.mark.parametrize("step_s", [0.01, 0.5, 10.0])
@pytest.mark.parametrize("number", [0.0, 3.0, 500.0])
@pytest.mark.parametrize("arrivals", [0.0, 0.3, 40.0, 4000.0])
def test_a_step_loses_nothing_and_stays_within_its_workers(number, arrivals, step_s):
    share, after = open_step(number, arrivals, 8, 0.2, 0.6, step_s)
    assert 0 <= share < 1
    assert after >= 0
    assert number + arrivals - after == pytest.approx(8 * share * step_s / 0.2, abs=1e-6)
    if number + arrivals > 8 * (1 + step_s / 0.2) + 50:
        assert share > 0.98


def test_a_long_step_ends_in_the_steady_state():
    share, after = open_step(0.0, 32.0 * 1e6, 8, 0.2, 1.0, 1e6)
    assert share == pytest.approx(32 * 0.2 / 8, rel=1e-4)
    assert after == pytest.approx(8 * share + waiting(8, share, 1.0), rel=1e-3)


def test_users_without_a_pause_are_all_in_the_system():
    for users, busy in ((4, 0.5), (8, 1.0), (30, 1.0)):
        share, after = closed_step(float(users), users, 0.0005, 8, 0.2, 1.0)
        assert share == pytest.approx(busy, rel=0.01)
        assert after == pytest.approx(users, rel=0.01)


def test_without_a_server_requests_fail_and_with_one_they_are_answered():
    load = RateSteps(kind="rate-steps", rates=(20,), each_s=20)
    empty = Brain(Sessions(4.0, 2.0), (), Limits(0, 0), 30.0)
    verdict = Simulation(made(load), empty, Setup(coarse=True)).finish()
    assert (verdict.requests, verdict.failed) == (400, 400)
    one = Brain(Sessions(4.0, 2.0), (), Limits(1, 1), 30.0)
    verdict = Simulation(made(load), one, Setup(coarse=True)).finish()
    assert verdict.failed == 0


def test_a_coarse_run_says_so():
    simulation = Simulation(load_scenario("demo"), BRAIN, Setup(coarse=True))
    assert simulation.finish().world == "sim-coarse"
