"""The lab's own policy as timelines. Expected numbers are worked out by hand in the comments."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies import lab_load
from lab.core.policies.lab_load import Seen
from lab.core.policies.lab_policy import Lab

LAB = Lab()


def seen(at_s, busy, queued=0, answer_ms=100, rate=None, slots=()):
    answers = () if answer_ms is None else (answer_ms,)
    metrics = Metrics(
        in_flight=busy, queued=queued, requests_per_s=rate, total_ms=answers, answer_ms=answers
    )
    return Observation(at_s, slots, metrics)


class Running:
    """A policy whose recommendations are followed at once."""

    def __init__(self, policy=LAB, servers=1, tick_s=0.25):
        self.policy, self.servers, self.tick_s = policy, servers, tick_s
        self.memory, self.at_s, self.formula = None, 0.0, ""
        self.timeline = []

    def tick(self, *args, **known):
        recommendation, self.memory = self.policy.recommend(
            self.memory, seen(self.at_s, *args, **known), self.servers
        )
        self.at_s += self.tick_s
        self.formula = recommendation.formula
        if recommendation.servers is not None:
            self.servers = recommendation.servers
        self.timeline.append(recommendation.servers)
        return recommendation.servers

    def hold(self, seconds, *args, **known):
        """The servers over so many seconds of the same load."""
        first = len(self.timeline)
        for _ in range(round(seconds / self.tick_s)):
            self.tick(*args, **known)
        return self.timeline[first:]


def test_square_root_staffing_sizes_a_load_without_a_queue():
    lab = Running()
    # 8 + 0.7 * sqrt(8) = 9.98 workers.
    assert lab.tick(8) == 3
    assert lab.formula == (
        "(10.0 workers for a load of 8.0 (mean in flight of 2 s)) / 4 = 2.49 servers: 3"
    )


def test_a_large_load_keeps_to_the_utilisation():
    # 360 / 0.9 = 400 workers; 0.7 * sqrt(360) = 13 more would be too few.
    assert Running().tick(360) == 100


def test_clients_that_never_pause_need_no_workers_to_spare():
    lab = Running(servers=7)
    lab.hold(10, 26)
    assert lab.timeline[0] == 8  # 26 + 0.7 * sqrt(26) = 29.6, as if it were Poisson's
    assert set(lab.hold(10, 26)[-20:]) == {7}  # 26 / 4 = 6.5: no spread was seen


def test_a_surge_is_seen_in_the_queue_before_any_answer_is_late():
    lab = Running()
    lab.hold(5, 2)
    assert lab.servers == 1
    # In 0.25 s 48 more wait: 4 + 0.1 s * 192/s = 23.2, + 0.7 * sqrt(23.2) = 26.6 workers. The
    # backlog is 48 * 0.1 s + (23.2 - 4) * 0.8 s until they serve = 20.2, / 2 s = 10.1 more.
    assert lab.tick(4, 48) == 9
    assert lab.formula == (
        "(26.6 workers for a surge to 23.2 (4 in flight + 0.100 s x +192 queued a second),"
        " 10.1 for the queue of 48) / 4 = 9.16 servers: 9"
    )


def test_what_is_a_surge_depends_on_the_noise_that_was_seen():
    calm, noisy = Running(servers=3), Running(servers=3)
    for number in range(40):
        calm.tick(10)
        noisy.tick(6 if number % 2 else 14)
    # Six requests more than usual: never seen with clients that do not pause, common with others.
    calm.tick(12, 4)
    noisy.tick(12, 4)
    assert "a surge" in calm.formula
    assert "a surge" not in noisy.formula


def test_servers_on_their_way_are_not_asked_for_again():
    lab = Running()
    lab.hold(5, 2)
    lab.tick(4, 48)
    # The queue grows by as much again, and the load is the same: the numbers stay.
    assert lab.tick(4, 96) <= 10


@pytest.mark.parametrize(
    ("phase", "ready_s"), [(Phase.WARM, 0.03), (Phase.STOPPED, 0.5), (Phase.EMPTY, 0.8)]
)
def test_warmer_slots_leave_a_smaller_backlog(phase, ready_s):
    slots = tuple(Slot(number, phase) for number in range(1, 30))
    lab = Running()
    lab.hold(5, 2)
    lab.tick(4, 48, slots=slots)
    backlog = (48 * 0.1 + (23.2 - 4) * ready_s) / 2
    assert f"{backlog:.1f} for the queue of 48" in lab.formula


def test_the_time_to_capacity_is_that_of_the_coldest_slot_that_is_needed():
    slots = (Slot(1, Phase.SERVING), Slot(2, Phase.WARM), Slot(3, Phase.STOPPED))
    slots += (Slot(4, Phase.EMPTY), Slot(5, Phase.EMPTY, fault="no answer"))
    observation = Observation(0, slots)
    times = [LAB._time_to_capacity(observation, servers) for servers in (0, 1, 2, 3, 9)]
    assert times == [0.03, 0.03, 0.5, 0.8, 0.8]


def test_a_queue_that_stands_gets_a_worker_for_each_request():
    # 26 clients that wait for their answers: 4 are served, and the queue neither grows nor ends.
    # Servers for the backlog are asked for at once; 0.8 s until they serve and 1 s of patience
    # later it still stands, and is taken at its word.
    lab = Running()
    assert lab.hold(2, 4, 22, rate=40) == [2] * 8
    assert lab.tick(4, 22, rate=40) == 7
    assert lab.formula == "all 26 requests (22 queued) / 4 = 6.50 servers: 7"


def test_a_queue_that_shrinks_fast_enough_is_left_to_it():
    lab = Running(servers=5)
    queue = [100, 80, 60, 40, 20, 5, 1, 0]
    for queued in queue:
        lab.tick(20, queued, rate=150)
    assert "all" not in lab.formula
    assert lab.servers <= 8


def test_without_any_answer_yet_each_request_gets_a_worker():
    assert Running().tick(4, 16, answer_ms=None) == 5


def test_it_never_shrinks_while_there_is_a_queue():
    lab = Running(servers=9)
    assert set(lab.hold(20, 3, 1)) == {9}
    assert "keep 9 while there is a queue" in lab.formula


def test_leaving_a_panic_goes_half_way_at_a_time():
    lab = Running(servers=9)
    steps = lab.hold(12, 0)
    changes = [
        servers for before, servers in zip([9, *steps], steps, strict=False) if servers != before
    ]
    assert changes == [5, 3, 2, 1]


def test_a_shrink_waits_for_the_largest_need_of_the_window():
    lab = Running(servers=5)
    lab.hold(5, 16)  # need 16 + 0.7 * 4 = 18.8 workers, 4.7 servers; then 4.0 without a spread
    lab.tick(16, 0)
    assert set(lab.hold(2.75, 2)) == {5}  # within 3 s 16 were there
    assert lab.hold(3, 2)[-1] < 5


def test_a_scaler_that_has_just_started_does_not_shrink():
    lab = Running(servers=6)
    assert set(lab.hold(3, 0)) == {6}
    assert lab.tick(0) < 6


def test_noise_at_the_border_of_a_server_moves_nothing():
    # 9.9 and 10.1 workers' worth of load around 2.5 servers, and around 2.0 at 8 workers.
    for low, high in ((7, 9), (11, 13), (3, 5)):
        lab = Running(servers=3)
        for number in range(400):
            lab.tick(low if number % 2 else high)
        changes = sum(a != b for a, b in zip(lab.timeline[40:], lab.timeline[41:], strict=False))
        assert changes == 0


def test_flaps_make_the_next_shrink_wait_longer():
    def seconds_to_shrink(lab):
        began_s = lab.at_s
        before = lab.servers
        while lab.servers == before:
            lab.tick(2)
        return lab.at_s - began_s

    # Four requests come and go: from 1 server to 2 and back, one server at stake.
    lab = Running(servers=2)
    waits = []
    for _ in range(4):
        waits.append(seconds_to_shrink(lab))
        lab.hold(1, 8)
        assert lab.servers > 1
    assert waits[0] < waits[1] < waits[2]
    assert len(lab.memory.flaps) == 4


def test_flaps_are_forgotten():
    lab = Running(replace(LAB, flap_memory_s=20), servers=2)
    lab.hold(6, 2)
    lab.hold(1, 8)
    assert len(lab.memory.flaps) == 1
    lab.hold(30, 2)
    lab.hold(1, 8)
    assert lab.memory.flaps == ()


def test_a_shrink_that_a_limit_forbids_is_no_flap():
    lab = Running(servers=2)
    memory = None
    for number in range(200):
        busy = 8 if number % 40 > 36 else 2
        _, memory = LAB.recommend(memory, seen(number / 4, busy), 2)  # never followed
    assert memory.flaps == ()
    assert lab.servers == 2


def test_unknown_metrics_hold_and_are_not_taken_for_zero():
    lab = Running(servers=4)
    lab.hold(5, 12)
    kept = lab.memory
    assert lab.tick(None, None) is None
    assert lab.tick(12, None) is None
    assert lab.memory == kept
    assert lab.hold(5, 12)[-1] == 4


def test_it_does_without_the_rate_and_the_times():
    lab = Running()
    assert lab.hold(3, 10, answer_ms=None, rate=None)[-1] == 3  # 10 / 4, no spread


@pytest.mark.parametrize("tick_s", [0.25, 1.0, 5.0])
def test_fast_and_slow_ticks_come_to_the_same(tick_s):
    lab = Running(servers=1, tick_s=tick_s)
    lab.hold(60, 18, rate=180)
    assert lab.servers == 5
    lab.hold(60, 2, rate=20)
    assert lab.servers == 1


def test_with_slow_ticks_one_low_number_does_not_shrink():
    lab = Running(servers=5, tick_s=5.0)
    lab.hold(60, 18, rate=180)
    assert (lab.tick(0, rate=0), lab.tick(0, rate=0)) == (5, 5)
    assert lab.tick(0, rate=0) < 5


def test_with_slow_ticks_the_rate_smooths_the_load():
    lab = Running(servers=3, tick_s=5.0)
    lab.hold(60, 8, rate=80)
    # By chance 15 are in flight; 80 requests a second of 0.1 s are a load of 8 all the same.
    assert lab.tick(15, rate=80) == 3


def history(*busy, every_s=0.25, queued=0, serving=1):
    return tuple(Seen(number * every_s, one, queued, serving) for number, one in enumerate(busy))


def test_a_trend_is_told_from_chance():
    climbing = history(*range(0, 80, 2))
    assert lab_load.trend(climbing, trend_s=10, window_s=2, service_s=0.1) == pytest.approx(
        8
    )  # 2 in 0.25 s
    assert (
        lab_load.trend(history(*(10, 14, 9, 12) * 10), trend_s=10, window_s=2, service_s=0.1) == 0
    )
    # A step that is over is none, although a line through it rises.
    assert (
        lab_load.trend(history(*(2,) * 20, *(30,) * 20), trend_s=10, window_s=2, service_s=0.1) == 0
    )
    assert lab_load.trend(history(*range(40, 0, -1)), trend_s=10, window_s=2, service_s=0.1) == 0
    # Values within one time of service are not independent: less of a proof.
    assert lab_load.trend(history(*range(10, 20)), trend_s=10, window_s=2, service_s=10) == 0


def test_the_spread_is_poissons_or_less():
    assert lab_load.spread(history(9), 9) == 3
    assert lab_load.spread(history(*(9,) * 20), 9) == 0
    assert lab_load.spread(history(*(0, 18) * 10), 9) == 3
    assert lab_load.spread(history(*(8, 10) * 10), 9) == 1


def test_a_queue_stands_unless_it_ends_soon_or_servers_came():
    def standing(*queues, serving=(1, 1, 1, 1, 1)):
        seen_now = tuple(
            Seen(number * 0.25, 4, queue, servers)
            for number, (queue, servers) in enumerate(zip(queues, serving, strict=True))
        )
        return lab_load.stands(seen_now, since_s=0.0, within_s=2.0)

    assert standing(20, 20, 20, 20, 20)
    assert standing(20, 19, 18, 17, 16)  # 4 a second: 4 s more
    assert not standing(20, 18, 16, 14, 12)  # 8 a second: 1.5 s more
    assert not standing(20, 20, 20, 20, 20, serving=(1, 1, 1, 1, 2))


TICKS = st.lists(
    st.tuples(
        st.floats(0, 10),
        st.none() | st.integers(0, 10_000),
        st.integers(0, 10_000),
        st.none() | st.integers(0, 60_000),
        st.none() | st.floats(0, 1e5),
        st.integers(0, 30),
    ),
    max_size=30,
)


@given(TICKS)
def test_known_numbers_only_and_no_shrinking_with_a_queue(ticks):
    def run():
        memory, said, at_s = None, [], 0.0
        for pause_s, busy, queued, answer_ms, rate, servers in ticks:
            at_s += pause_s
            observation = seen(at_s, busy, queued, answer_ms, rate)
            recommendation, memory = LAB.recommend(memory, observation, servers)
            said.append(recommendation)
        return said

    said = run()
    assert run() == said
    for (_, busy, queued, _, _, servers), recommendation in zip(ticks, said, strict=True):
        assert (recommendation.servers is None) == (busy is None)
        if recommendation.servers is None:
            continue
        assert recommendation.servers >= 0
        assert recommendation.servers >= servers // 2
        assert not queued or recommendation.servers >= servers
        assert "nan" not in recommendation.formula
        assert math.isfinite(recommendation.servers)
