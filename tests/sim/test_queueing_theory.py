"""The queue against formulas that are known to be right."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from random import Random
from statistics import fmean, stdev

import pytest

from lab.load.arrivals import RateCurve, even
from lab.worlds.sim.parameters import Parameters
from lab.worlds.sim.service import Service, Work
from lab.worlds.sim.traffic import ClosedLoop
from support.simulated import EXACT, poisson_arrivals, queue_of

REQUESTS = 6_000
RUNS = 16


def erlang_c(servers: int, offered: float) -> float:
    """The probability that an arrival has to wait in M/M/c, with the offered load λ·S."""
    busy = offered / servers
    last = offered**servers / math.factorial(servers) / (1 - busy)
    return last / (sum(offered**n / math.factorial(n) for n in range(servers)) + last)


def mean_wait_s(parameters: Parameters, serving: int, per_s: float, ms: int, seed: str) -> float:
    arrivals_s = poisson_arrivals(per_s, REQUESTS / per_s, seed)
    plant = queue_of(parameters, arrivals_s, f"/work?ms={ms}", serving, seed)
    plant.balancer.run(REQUESTS / per_s)
    log = plant.balancer.log
    assert len(log.ended_s) > 0.95 * REQUESTS
    pairs = zip(log.total_ms, log.answers_ms, strict=True)
    return fmean(total_ms - answer_ms for total_ms, answer_ms in pairs) / 1000


def assert_mean_wait(parameters: Parameters, serving: int, per_s: float, expected_s: float) -> None:
    """The mean of independent runs is within three standard errors, and those are not wide."""
    means = [mean_wait_s(parameters, serving, per_s, 100, f"run {n}") for n in range(RUNS)]
    error_s = stdev(means) / math.sqrt(RUNS)
    assert error_s < 0.08 * expected_s
    assert abs(fmean(means) - expected_s) < 3 * error_s


@pytest.mark.parametrize(
    ("serving", "workers", "busy"), [(1, 1, 0.6), (1, 4, 0.8), (5, 1, 0.7), (3, 4, 0.85)]
)
def test_mean_wait_in_mmc_is_erlangs(serving: int, workers: int, busy: float) -> None:
    # Leastconn with one queue sends a request wherever there is room, so all workers of all
    # servers are one M/M/c queue.
    parameters = replace(
        EXACT, slots=serving, workers=workers, service="exponential", queue_timeout_s=1e6
    )
    count, service_s = serving * workers, 0.1
    per_s = busy * count / service_s
    expected_s = erlang_c(count, per_s * service_s) * service_s / (count * (1 - busy))
    assert_mean_wait(parameters, serving, per_s, expected_s)


@pytest.mark.parametrize(("service", "spread"), [("constant", 0.0), ("lognormal", 0.8)])
def test_mean_wait_in_mg1_is_pollaczek_and_khinchins(service: str, spread: float) -> None:
    parameters = replace(
        EXACT, workers=1, service=service, service_spread=spread, queue_timeout_s=1e6
    )
    busy, service_s = 0.6, 0.1
    variation = math.exp(spread**2) - 1
    expected_s = busy * service_s * (1 + variation) / (2 * (1 - busy))
    assert_mean_wait(parameters, 1, busy / service_s, expected_s)


def test_littles_law_holds_exactly() -> None:
    # Arrivals, service times and the timeout are multiples of 10 ms, so the number in the system
    # is constant between them, and its sum over all of these steps is the integral of it.
    step_s = 0.01
    curve = RateCurve(((0.0, 50.0), (40.0, 50.0)))
    plant = queue_of(EXACT, curve.times_s(even()), "/work?ms=110", serving=1)
    balancer, area_s = plant.balancer, 0.0
    for step in range(round(60.0 / step_s)):
        balancer.run((step + 0.5) * step_s)
        area_s += step_s * (balancer.in_flight + balancer.queued)
    assert balancer.arrived == 2000 == balancer.answered + balancer.failed
    assert balancer.failed > 100
    assert area_s == pytest.approx(sum(balancer.log.total_ms) / 1000, rel=1e-9)


@pytest.mark.parametrize(("users", "think_s"), [(3, 0.4), (8, 0.1), (20, 2.3)])
def test_unsaturated_users_are_served_at_once(users: int, think_s: float) -> None:
    parameters = replace(EXACT, slots=5, client_s=0.0)
    service = Service([Work("/work?ms=200")], parameters, Random("service"))
    loop = ClosedLoop(lambda t_s: users, 100.0, think_s, service, "1", 0.0)
    plant = queue_of(parameters, iter(()), "/", serving=5, traffic=loop)
    plant.balancer.run(100.0)
    rounds = 100.0 / (0.2 + think_s)
    assert plant.balancer.answered == pytest.approx(users * rounds, abs=users)


def test_saturated_users_keep_every_worker_busy() -> None:
    service = Service([Work("/work?ms=200")], EXACT, Random("service"))
    loop = ClosedLoop(lambda t_s: 20, 100.0, 0.0, service, "1", 0.0005)
    plant = queue_of(EXACT, iter(()), "/", serving=2, traffic=loop)
    plant.balancer.run(100.0)
    assert plant.balancer.answered == pytest.approx(8 * 100.0 / 0.2, abs=8)
    assert plant.balancer.in_flight + plant.balancer.queued <= 20


def test_users_who_are_to_go_finish_what_they_have_sent() -> None:
    service = Service([Work("/work?ms=300")], EXACT, Random("service"))
    loop = ClosedLoop(lambda t_s: 6 if t_s < 2 else 2, 4.0, 0.0, service, "1", 0.0005)
    plant = queue_of(EXACT, iter(()), "/", serving=2, traffic=loop)
    seen = []
    for at_s in (1.95, 2.05, 2.5, 3.95, 4.05, 4.5):
        plant.balancer.run(at_s)
        seen.append(plant.balancer.in_flight)
    assert seen == [6, 6, 2, 2, 2, 0]
    assert plant.balancer.answered == plant.balancer.arrived


def test_answers_come_in_the_order_of_arrival_when_work_is_equal() -> None:
    plant = queue_of(EXACT, poisson_arrivals(60.0, 30.0), "/work?ms=100", serving=2)
    plant.balancer.run(60.0)
    log = plant.balancer.log
    arrived_s = [
        ended_s - total / 1000 for ended_s, total in zip(log.ended_s, log.total_ms, strict=True)
    ]
    assert all(after - before > -0.002 for before, after in pairwise(arrived_s))
