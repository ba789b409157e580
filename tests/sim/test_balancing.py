"""What HAProxy does with requests. What is marked as tried was seen on HAProxy 2.6.12 in front of
local processes, with the same numbers of requests and servers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.core.model import Phase, Verb
from lab.worlds.sim.faults import Dies, Hangs
from lab.worlds.sim.room import Room
from support.simulated import EXACT, simulated


def test_room_is_filled_evenly_and_the_one_that_had_it_longest_comes_first():
    room = Room(2)
    for slot in (1, 2, 3):
        room.add(slot, 0)
    given = []
    busy = {1: 0, 2: 0, 3: 0}
    for _ in range(6):
        given.append(slot := room.first())
        room.move(slot, busy[slot], busy[slot] + 1)
        busy[slot] += 1
    assert given == [1, 2, 3, 1, 2, 3]
    assert room.first() == 0


def test_a_server_to_avoid_is_taken_only_when_no_other_has_room():
    room = Room(1)
    room.add(1, 0)
    room.add(2, 0)
    assert room.first(avoid=1) == 2
    room.move(2, 0, 1)
    assert room.first(avoid=1) == 1
    room.move(1, 0, 1)
    assert room.first(avoid=1) == 0


def test_requests_go_to_the_least_busy_server():
    sim = simulated(serving=3)
    sim.clients.send(7, 1.0)
    assert [slot.sessions for slot in sim.observe().slots] == [3, 2, 2]


def test_requests_beyond_all_workers_wait_and_are_served_first_come_first_served():
    sim = simulated(serving=1)
    sim.clients.send(10, 1.0)
    seen = sim.observe()
    assert (seen.metrics.in_flight, seen.metrics.queued) == (4, 6)
    sim.pass_s(4)
    assert [sim.clients.ended_s[number] for number in range(10)] == [1] * 4 + [2] * 4 + [3] * 2


def test_a_request_that_waited_too_long_gets_a_503():
    sim = simulated(serving=1)
    sim.clients.send(4, 60.0)
    sim.pass_s(1)
    late = sim.clients.send(2, 1.0)
    sim.pass_s(4.999)
    assert not sim.clients.statuses
    sim.pass_s(0.002)
    assert {sim.clients.statuses[number] for number in late} == {503}
    assert sim.balancer.failures == {"HTTP 503": 2}
    assert sim.balancer.queued == 0


def test_without_any_server_there_is_a_503_at_once():
    sim = simulated()
    sim.clients.send(3, 1.0)
    assert set(sim.clients.statuses.values()) == {503}
    assert sim.observe().metrics.total_ms == (0, 0, 0)


def test_a_queue_may_have_a_limit():
    sim = simulated(replace(EXACT, max_queue=2), serving=1)
    sim.clients.send(8, 1.0)
    assert sorted(sim.clients.statuses) == [6, 7]
    sim.pass_s(3)
    assert sorted(sim.clients.statuses.values()) == [200] * 6 + [503] * 2


def test_a_server_that_joins_takes_what_waits():  # tried
    sim = simulated(serving=1)
    sim.clients.send(10, 2.0)
    sim.do(Verb.SERVE, 2)
    seen = sim.observe()
    assert (seen.metrics.in_flight, seen.metrics.queued) == (8, 2)


def test_requests_wait_in_vain_when_the_last_server_drains():  # tried
    sim = simulated(serving=1)
    sim.clients.send(8, 2.0)
    sim.pass_s(0.5)
    sim.do(Verb.DRAIN, 1)
    late = sim.clients.send(1, 0.1)
    assert sim.clients.statuses == {late[0]: 503}
    sim.pass_s(2)
    assert (sim.balancer.in_flight, sim.balancer.queued) == (0, 4)
    sim.pass_s(4)
    assert [sim.clients.statuses[number] for number in range(8)] == [200] * 4 + [503] * 4
    assert [round(sim.clients.ended_s[number], 3) for number in (0, 7)] == [2.0, 5.0]


def test_a_server_that_is_taken_back_takes_from_the_queue_only_after_an_answer():  # tried
    sim = simulated(serving=1)
    sim.clients.send(8, 2.0)
    sim.pass_s(0.5)
    sim.do(Verb.DRAIN, 1)
    sim.pass_s(2)
    sim.do(Verb.SERVE, 1)
    assert (sim.balancer.in_flight, sim.balancer.queued) == (0, 4)
    newcomer = sim.clients.send(1, 0.1)
    sim.pass_s(0.2)
    assert sim.clients.statuses[newcomer[0]] == 200
    assert (sim.balancer.in_flight, sim.balancer.queued) == (4, 0)


def test_a_dead_servers_requests_are_sent_to_another_one():
    sim = simulated(serving=2)
    sent = sim.clients.send(4, 2.0)
    sim.plant.inject(Dies(0.5, slot=1))
    sim.pass_s(0.6)
    assert (sim.balancer.in_flight, sim.balancer.retried) == (4, 2)
    sim.pass_s(2)
    assert {sim.clients.statuses[number] for number in sent} == {200}
    assert sorted(round(sim.clients.ended_s[number], 3) for number in sent) == [2, 2, 2.5, 2.5]


def test_a_dead_server_fails_requests_as_long_as_the_others_are_full():  # tried
    sim = simulated(serving=2)
    sent = sim.clients.send(10, 2.0)
    sim.plant.inject(Dies(0.5, slot=1))
    sim.pass_s(0.51)
    more = sim.clients.send(2, 0.01)
    sim.pass_s(0.02)
    assert sorted(sim.clients.statuses.values()) == [503] * 8
    assert {sim.clients.statuses[number] for number in more} == {503}
    sim.pass_s(2)
    assert [sim.clients.statuses[number] for number in sent].count(200) == 4


def test_with_one_server_a_retry_waits_a_second():  # tried
    sim = simulated(serving=1)
    sim.clients.send(6, 2.0)
    sim.plant.inject(Dies(0.5))
    sim.pass_s(1.4)
    assert (sim.balancer.waiting_to_retry, sim.clients.statuses) == (6, {})
    sim.pass_s(0.2)
    assert set(sim.clients.statuses.values()) == {503}
    assert all(1.5 < ended_s < 1.51 for ended_s in sim.clients.ended_s.values())


def test_a_hung_servers_requests_time_out_and_are_sent_to_another_one():  # tried
    sim = simulated(serving=2)
    sim.clients.send(6, 1.0)
    sim.plant.inject(Hangs(0.3, slot=1))
    seen = sim.pass_s(1.2)
    assert [slot.sessions for slot in seen.slots] == [3, 0, 0]
    sim.pass_s(5)
    assert sorted(round(s, 3) for s in sim.clients.ended_s.values()) == [1, 1, 1, 6, 6, 6]
    assert set(sim.clients.statuses.values()) == {200}


def test_a_server_that_hangs_for_a_moment_goes_on_where_it_was():
    sim = simulated(serving=1)
    sim.clients.send(2, 1.0)
    sim.plant.inject(Hangs(0.4, for_s=0.5))
    sim.pass_s(2)
    assert sorted(sim.clients.ended_s.values()) == pytest.approx([1.5, 1.5])
    assert sim.balancer.retried == 0


def test_health_checks_find_a_dead_server_and_requests_then_go_elsewhere():
    sim = simulated(replace(EXACT, watch_s=60.0), serving=2)
    sim.plant.inject(Dies(1.0, slot=1))
    sim.pass_s(1.15)
    assert sim.phases()[1] is Phase.SERVING
    sim.pass_s(0.2)  # three checks, 100 ms apart
    sim.clients.send(4, 0.1)
    assert [slot.sessions for slot in sim.observe().slots] == [0, 4, 0]


def test_requests_that_are_cut_go_to_another_server():  # tried
    sim = simulated(serving=2)
    sent = sim.clients.send(4, 4.0)
    sim.pass_s(0.3)
    sim.do(Verb.DRAIN, 1)
    outcome = sim.do(Verb.PARK, 1)[1]
    assert outcome.steps[0][0] == "shut, 2 requests cut"
    sim.pass_s(5)
    assert {sim.clients.statuses[number] for number in sent} == {200}
    assert [round(sim.clients.ended_s[number], 2) for number in sent] == [4.3, 4.0, 4.3, 4.0]
