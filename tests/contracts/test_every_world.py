"""What holds in the simulator as on real servers: phases, verbs, steps, metrics and the unknown.

The same tests on the process world and on the simulated one, whose time is virtual. What needs a
real answer to a real request is in test_world.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from pathlib import Path
from typing import Protocol

import pytest

from lab.core.model import Action, Observation, Outcome, Phase, Verb
from lab.worlds.sim.faults import Missing
from lab.worlds.sim.world import SimWorld
from support.simulated import Simulated, simulated
from support.stage import Stage, process_stage

EMPTY, STOPPED, BOOTING, SERVING, DRAINING, BROKEN = (
    Phase.EMPTY,
    Phase.STOPPED,
    Phase.BOOTING,
    Phase.SERVING,
    Phase.DRAINING,
    Phase.BROKEN,
)


class World(Protocol):
    """A world of three slots with four workers each, all empty, and clients."""

    def observe(self) -> Observation: ...
    def phases(self) -> dict[int, Phase]: ...
    def begin(self, verb: Verb, *slots: int) -> None: ...
    def do(self, verb: Verb, *slots: int) -> dict[int, Outcome]: ...
    def wait(self, ready) -> Observation: ...

    def request(self, count: int, ms: int) -> list[int]:
        """Send so many at once; numbers to ask `statuses` for."""

    def statuses(self, requests: list[int]) -> list[int]:
        """Once all of them ended; 0: not answered."""

    def pass_s(self, seconds: float) -> None: ...
    def leave_booted(self, slot: int) -> None: ...
    def kill(self, slot: int) -> None: ...
    def restart_scaler(self) -> None: ...
    def silence_balancer(self) -> None: ...


class Virtual(Simulated):
    def request(self, count, ms):
        return self.clients.send(count, ms / 1000)

    def statuses(self, requests):
        while any(number not in self.clients.statuses for number in requests):
            self.world.sleep_until(self.now_s + 0.01)
        return [self.clients.statuses[number] for number in requests]

    def leave_booted(self, slot):
        self.plant.containers.create(slot)
        self.plant.containers.start(slot)

    def kill(self, slot):
        self.plant.containers.die(slot)

    def restart_scaler(self):
        self.world.close()
        self.world = SimWorld(self.plant)

    def silence_balancer(self):
        self.plant.inject(Missing(self.now_s, inf, "haproxy"))


class Real:
    def __init__(self, stage: Stage, clients: ThreadPoolExecutor) -> None:
        self.stage = stage
        self.observe, self.phases, self.wait = stage.observe, stage.phases, stage.wait
        self._clients = clients
        self._requests: list[Future[int]] = []

    def begin(self, verb, *slots):
        self.stage.world.apply(tuple(Action(verb, slot, "test") for slot in slots))

    def do(self, verb, *slots):
        self.begin(verb, *slots)
        done = {}
        until_s = time.monotonic() + 30
        while set(done) != set(slots):
            assert time.monotonic() < until_s, f"{verb} {set(slots) - set(done)} did not end"
            ended = self.stage.world.outcomes()
            done |= {
                outcome.action.slot: outcome for outcome in ended if outcome.action.verb is verb
            }
            time.sleep(0.005)
        return done

    def request(self, count, ms):
        first = len(self._requests)
        self._requests += [self._clients.submit(self._get, ms) for _ in range(count)]
        return list(range(first, first + count))

    def _get(self, ms: int) -> int:
        try:
            return self.stage.get(f"/work?ms={ms}")[0]
        except OSError:
            return 0

    def statuses(self, requests):
        return [self._requests[number].result() for number in requests]

    def pass_s(self, seconds):
        time.sleep(seconds)

    def leave_booted(self, slot):
        self.stage.fleet.create(slot, 10)
        self.stage.fleet.start(slot, 10)

    def kill(self, slot):
        self.stage.fleet.stop(slot, 10)

    def restart_scaler(self):
        self.stage.world.close()
        self.stage.world = self.stage.reopen()

    def silence_balancer(self):
        self.stage.haproxy.stop()


@pytest.fixture(params=["sim", "process"])
def world(request: pytest.FixtureRequest, tmp_path: Path, require) -> Iterator[World]:
    if request.param == "sim":
        made = simulated()
        yield Virtual(made.plant, made.world, made.clients)
        return
    require("haproxy")
    with ThreadPoolExecutor(24) as clients, process_stage(tmp_path) as stage:
        yield Real(stage, clients)


def steps(outcome: Outcome) -> list[str]:
    return [step for step, _ in outcome.steps]


def test_slots_are_empty_at_first_and_nobody_serves(world):
    assert world.phases() == {1: EMPTY, 2: EMPTY, 3: EMPTY}
    assert world.statuses(world.request(2, 10)) == [503, 503]


def test_each_verb_leads_to_its_phase_by_its_steps(world):
    assert steps(world.do(Verb.SERVE, 2)[2]) == ["create", "start", "ready", "join"]
    assert world.phases() == {1: EMPTY, 2: SERVING, 3: EMPTY}
    assert steps(world.do(Verb.DRAIN, 2)[2]) == ["drain"]
    assert world.phases()[2] is DRAINING
    assert steps(world.do(Verb.PARK, 2)[2]) == ["shut", "stop"]
    assert world.phases()[2] is STOPPED
    assert steps(world.do(Verb.SERVE, 2)[2]) == ["start", "ready", "join"]
    world.do(Verb.DRAIN, 2)
    assert steps(world.do(Verb.SERVE, 2)[2]) == ["ready", "join"]
    assert world.phases()[2] is SERVING
    world.do(Verb.DRAIN, 2)
    assert steps(world.do(Verb.REMOVE, 2)[2]) == ["shut", "delete"]
    assert world.phases()[2] is EMPTY


def test_an_outcome_tells_how_long_each_step_took(world):
    outcome = world.do(Verb.SERVE, 1)[1]
    assert outcome.error == ""
    assert all(took_s >= 0 for _, took_s in outcome.steps)
    assert outcome.took_s == pytest.approx(sum(s for _, s in outcome.steps), abs=0.02)


def test_serving_in_parallel_serves_all(world):
    assert not any(outcome.error for outcome in world.do(Verb.SERVE, 1, 2, 3).values())
    requests = world.request(12, 800)
    seen = world.wait(lambda seen: seen.metrics.in_flight == 12)
    assert [slot.sessions for slot in seen.slots] == [4, 4, 4]
    assert world.statuses(requests) == [200] * 12


def test_a_server_that_joins_takes_what_waits(world):
    world.do(Verb.SERVE, 1)
    requests = world.request(8, 1200)
    world.wait(lambda seen: (seen.metrics.in_flight, seen.metrics.queued) == (4, 4))
    world.do(Verb.SERVE, 2)
    seen = world.wait(lambda seen: seen.metrics.in_flight == 8)
    assert (seen.metrics.queued, [slot.sessions for slot in seen.slots]) == (0, [4, 4, 0])
    assert set(world.statuses(requests)) == {200}


def test_draining_finishes_what_is_in_flight_and_takes_nothing_new(world):
    world.do(Verb.SERVE, 1, 2)
    requests = world.request(8, 1500)
    world.wait(lambda seen: seen.metrics.in_flight == 8)
    world.do(Verb.DRAIN, 1)
    late = world.request(3, 100)
    seen = world.wait(lambda seen: seen.metrics.queued == 3)
    assert seen.slots[0].phase is DRAINING
    assert seen.slots[0].sessions == 4
    assert set(world.statuses(requests + late)) == {200}
    assert world.wait(lambda seen: seen.slots[0].sessions == 0).slots[0].phase is DRAINING


def test_requests_wait_in_vain_when_the_last_server_drains(world):
    world.do(Verb.SERVE, 1)
    served = world.request(4, 1000)
    world.wait(lambda seen: seen.metrics.in_flight == 4)
    waiting = world.request(2, 10)
    world.wait(lambda seen: seen.metrics.queued == 2)
    world.do(Verb.DRAIN, 1)
    assert world.statuses(world.request(1, 10)) == [503]
    assert world.statuses(served) == [200] * 4
    assert world.observe().metrics.queued == 2
    assert world.statuses(waiting) == [503, 503]


def test_requests_that_are_cut_are_counted_and_served_elsewhere(world):
    world.do(Verb.SERVE, 1, 2)
    requests = world.request(4, 1500)
    world.wait(lambda seen: seen.metrics.in_flight == 4)
    world.do(Verb.DRAIN, 1)
    assert steps(world.do(Verb.PARK, 1)[1]) == ["shut, 2 requests cut", "stop"]
    assert world.statuses(requests) == [200] * 4


def test_a_server_that_dies_is_broken_and_its_requests_are_served_elsewhere(world):
    world.do(Verb.SERVE, 1, 2)
    requests = world.request(4, 1500)
    world.wait(lambda seen: seen.metrics.in_flight == 4)
    world.kill(1)
    seen = world.wait(lambda seen: seen.slots[0].phase is BROKEN)
    assert "container stopped" in seen.slots[0].fault
    assert world.statuses(requests) == [200] * 4
    assert not world.do(Verb.REMOVE, 1)[1].error
    assert not world.do(Verb.SERVE, 1)[1].error


def test_a_join_can_be_called_off(world):
    world.begin(Verb.SERVE, 1)
    world.pass_s(0.005)
    world.do(Verb.PARK, 1)
    seen = world.wait(lambda seen: all(slot.doing is None for slot in seen.slots))
    assert seen.slots[0].phase in (STOPPED, EMPTY, SERVING)
    assert not seen.slots[0].fault


def test_a_call_off_that_comes_too_late_changes_nothing(world):
    world.do(Verb.SERVE, 1)
    assert world.do(Verb.PARK, 1)[1].error == "called off"
    assert world.phases()[1] is SERVING


def test_an_action_under_way_is_seen(world):
    world.begin(Verb.SERVE, 1)
    assert world.observe().slots[0].doing is Verb.SERVE
    assert world.wait(lambda seen: seen.slots[0].phase is SERVING).slots[0].fault == ""


def test_a_new_scaler_finds_what_the_last_one_left(world):
    world.do(Verb.SERVE, 1, 2)
    world.do(Verb.DRAIN, 2)
    world.leave_booted(3)
    before = world.phases()
    world.restart_scaler()
    assert world.phases() == before == {1: SERVING, 2: DRAINING, 3: BOOTING}


def test_metrics_count_requests_and_times(world):
    world.do(Verb.SERVE, 1)
    world.observe()
    requests = world.request(6, 1000)
    seen = world.wait(lambda seen: seen.metrics.queued == 2)
    assert seen.metrics.in_flight == 4
    assert seen.slots[0].sessions == 4
    assert world.statuses(requests) == [200] * 6
    metrics = world.wait(lambda seen: seen.metrics.p95_ms is not None).metrics
    assert 950 < metrics.p50_ms < 1100
    assert 1900 < metrics.p95_ms < 2200
    world.pass_s(0.3)
    assert world.observe().metrics.in_flight == 0


def test_each_request_is_told_once(world):
    world.do(Verb.SERVE, 1)
    world.observe()
    requests = world.request(5, 200)
    total_ms: list[int] = []
    answer_ms: list[int] = []

    def all_told(seen: Observation) -> bool:
        total_ms.extend(seen.metrics.total_ms)
        answer_ms.extend(seen.metrics.answer_ms)
        return len(total_ms) >= 5

    world.wait(all_told)
    assert world.statuses(requests) == [200] * 5
    world.pass_s(0.1)
    assert world.observe().metrics.total_ms == ()
    assert all(195 <= ms < 300 for ms in answer_ms)
    assert sorted(ms > 380 for ms in total_ms) == [False] * 4 + [True]


def test_a_silent_balancer_is_unknown_and_not_empty(world):
    world.do(Verb.SERVE, 1)
    before = world.phases()
    world.silence_balancer()
    seen = world.observe()
    assert "HAProxy does not answer" in seen.unknown
    assert seen.metrics.in_flight is None
    assert {slot.number: slot.phase for slot in seen.slots} == before
