"""dask's adaptive scaling, with the cases of its own tests.

Source: dask/distributed, distributed/deploy/tests/test_adaptive_core.py, test_adaptive.py and the
documentation of `Scheduler.adaptive_target`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Metrics, Observation, Phase, Slot, Verb
from lab.core.policies.dask import Adaptive

GIB = 2**30


def seen(at_s=0.0, load=0, sessions=(), coming=0, answers=None, p50=None, used=None):
    """Servers with so many requests each, and `coming` ones that have not arrived."""
    slots = tuple(
        Slot(
            number + 1,
            Phase.SERVING,
            sessions=each,
            memory_bytes=None if used is None else used[number],
            memory_limit_bytes=None if used is None else GIB,
        )
        for number, each in enumerate(sessions)
    )
    on_the_way = tuple(
        Slot(100 + number, Phase.BOOTING, doing=Verb.SERVE) for number in range(coming)
    )
    metrics = Metrics(
        in_flight=None if load is None else sum(sessions),
        queued=load,
        answer_ms=answers,
        p50_ms=p50,
    )
    return Observation(at_s, slots + on_the_way, metrics)


def adapt(policy, target, *observations):
    """AdaptiveCore.adapt() again and again with one target: what should exist each time."""
    nominated, told = (), []
    for observation in observations:
        current = len(observation.slots)
        desired, _, nominated = policy.step(nominated, observation, current, target)
        told.append(desired)
    return told


def test_safe_target():
    bounded = Adaptive(minimum=1, maximum=4)
    assert bounded.recommend(None, seen(), 0)[0].servers == 1
    assert bounded.recommend(None, seen(load=1000), 0)[0].servers == 4


def test_scale_up_at_once():
    assert adapt(Adaptive(), 4, seen(sessions=(1,))) == [4]


def test_scale_down():
    """Three of four have arrived, wait_count is 2: the one that has not and one more go."""
    policy = Adaptive(wait_count=2)
    before = seen(sessions=(0, 0, 0), coming=1)
    assert adapt(policy, 2, before, before) == [4, 2]
    after = seen(sessions=(0, 0))
    assert adapt(policy, 2, after, after, after, after) == [2, 2, 2, 2]


def test_a_nomination_that_is_not_repeated_is_forgotten():
    policy, observation = Adaptive(), seen(sessions=(0, 0, 0))
    nominated = ()
    for target, expected in [(1, 3), (1, 3), (3, 3), (1, 3), (1, 3), (1, 1)]:
        desired, _, nominated = policy.step(nominated, observation, 3, target)
        assert desired == expected


def test_only_those_nominated_often_enough_go():
    policy = Adaptive()
    first = seen(sessions=(1, 0, 1))
    second = seen(sessions=(0, 0, 1))
    told = adapt(policy, 2, first, first)
    assert told == [3, 3]
    nominated = ()
    for observation, target, expected in [(first, 2, 3), (first, 2, 3), (second, 1, 2)]:
        desired, _, nominated = policy.step(nominated, observation, 3, target)
        assert desired == expected
    assert nominated == ((1, 1),)


def test_those_that_have_not_arrived_are_cancelled_first():
    policy = Adaptive(wait_count=1)
    observation = seen(sessions=(0, 0, 0), coming=2)
    assert adapt(policy, 3, observation) == [3]
    assert adapt(policy, 4, observation) == [4]


@pytest.mark.parametrize(
    ("requests", "servers", "duration_s", "expected"),
    [
        # adaptive_target: ceil(occupancy / 5 s), at most one thread a task, / threads
        pytest.param(0, 0, 0.5, 0, id="empty cluster, nothing to do"),
        pytest.param(1, 0, 0.5, 1, id="empty cluster, one task"),
        pytest.param(100, 0, 0.5, 10, id="empty cluster: not divided by threads"),
        pytest.param(100, 1, 0.5, 3, id="50 s of work in 5 s, 4 threads each"),
        pytest.param(10, 1, 1000, 3, id="a few long tasks ask for their own number of threads"),
        pytest.param(100, 2, 4, 20, id="400 s of work"),
    ],
)
def test_adaptive_target(requests, servers, duration_s, expected):
    busy = (1,) * servers
    observation = seen(load=requests - servers, sessions=busy)
    assert Adaptive().target(observation, requests, duration_s)[0] == expected


def test_twice_the_servers_where_more_than_60_percent_of_memory_is_used():
    used = [int(0.7 * GIB)] * 3
    assert Adaptive().target(seen(sessions=(1, 1, 1), used=used), 3, 0.1)[0] == 6
    used = [int(0.5 * GIB)] * 3
    assert Adaptive().target(seen(sessions=(1, 1, 1), used=used), 3, 0.1)[0] == 3


def test_busy_servers_are_not_nominated_however_little_there_is_to_do():
    assert Adaptive().target(seen(sessions=(1, 1, 1)), 3, 0.1)[0] == 3
    assert Adaptive().target(seen(sessions=(1, 0, 0)), 1, 0.1)[0] == 1


def test_idle_servers_go_while_twice_the_memory_in_use_remains():
    used = [GIB // 2, 0, GIB // 2, GIB // 4]
    observation = seen(sessions=(1, 0, 0, 0), used=used)
    # 1.25 GiB in use: 2.5 must remain of 4, so only the emptiest may go.
    assert Adaptive().workers_to_close(observation) == [2]
    assert Adaptive().workers_to_close(observation, 3) == [2, 4, 3]
    assert Adaptive().workers_to_close(observation, 4) == [2, 4, 3, 1]
    assert Adaptive().workers_to_close(seen(sessions=(1, 1))) == []


def run(policy, *ticks):
    memory, told = None, []
    for observation in ticks:
        recommendation, memory = policy.recommend(memory, observation, len(observation.slots))
        told.append(recommendation.servers)
    return told, memory


def test_checked_every_second_and_held_when_unknown():
    ticks = [seen(0, 100, (4,)), seen(0.5, 0, (0,)), seen(0.75, None, (0,)), seen(1, 400, (4,))]
    assert run(Adaptive(), *ticks)[0] == [3, 3, None, 11]


def test_shrinks_after_three_checks_in_a_row():
    assert run(Adaptive(), *[seen(1.0 * tick, 0, (0, 0, 0)) for tick in range(3)])[0] == [3, 3, 0]


def test_the_mean_duration_is_averaged_as_dask_does():
    _, memory = run(Adaptive(), seen(0, 0, (1,), answers=(1000, 3000)))
    assert memory.duration_s == 2
    _, memory = Adaptive().recommend(memory, seen(1, 0, (1,), answers=(1000,)), 1)
    assert memory.duration_s == 1.5
    _, memory = Adaptive().recommend(memory, seen(2, 0, (1,), answers=()), 1)
    assert memory.duration_s == 1.5
    assert run(Adaptive(), seen(0, 0, (1,), p50=800))[1].duration_s == 0.8
    assert run(Adaptive(), seen(0, 0, (1,)))[1].duration_s == 0.5


def test_the_formula_shows_the_numbers():
    recommendation, _ = Adaptive().recommend(None, seen(0, 96, (4,)), 1)
    assert recommendation.formula == "ceil(100 requests × 0.5 s / 5 s / 4 threads) = 3"


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 500), st.lists(st.integers(0, 3), max_size=9),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=25,
    )
)  # fmt: skip
def test_always_within_limits_deterministic_and_holding_when_unknown(ticks):
    policy = replace(Adaptive(), minimum=1, maximum=12)
    memory = None
    for number, (load, sessions, coming) in enumerate(ticks):
        observation = seen(1.0 * number, load, tuple(sessions), coming)
        current = len(observation.slots)
        once = policy.recommend(memory, observation, current)
        assert once == policy.recommend(memory, observation, current)
        recommendation, memory = once
        assert (recommendation.servers is None) == (load is None)
        if recommendation.servers is not None:
            assert min(1, current) <= recommendation.servers <= 12
