"""HAProxyScaleLXC's two rules and its ancestor's, as timelines.

Source of the numbers: haproxy_scale_lxccnt.py (400 above 1000 ms, 50 below 500 ms, -m 5, -s 2) and
README.md (1000 ms, 200 ms) of github.com/mehuljn/HAProxyScaleLXC; haproxy_autoscale.py of
alex.cloudware.it (15 requests, 500 ms, 3 breaches, 300 s).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Metrics, Observation
from lab.core.policies.latency import LastRequests, Latency, statistic

CODE = Latency(rule="code")
README = Latency(rule="readme")
BLOG = LastRequests()


def seen(at_s, times, in_flight=1):
    return Observation(
        at_s, (), Metrics(in_flight=in_flight, queued=0, total_ms=times, answer_ms=times)
    )


def feed(policy, servers, *ticks, in_flight=1):
    """The servers after each (at_s, times); every recommendation is followed."""
    memory, followed = None, []
    for at_s, times in ticks:
        recommendation, memory = policy.recommend(memory, seen(at_s, times, in_flight), servers)
        if recommendation.servers is not None:
            servers = recommendation.servers
        followed.append(recommendation.servers)
    return followed


@pytest.mark.parametrize(
    ("times", "servers", "expected"),
    [
        ((1001,) * 399, 2, 2),
        ((1001,) * 400, 2, 3),
        ((1000,) * 4000, 2, 2),  # not above 1000
        ((1001,) * 800, 2, 4),  # a backlog takes two steps at once
        ((1001,) * 4000, 2, 5),  # -m 5
        ((499,) * 49, 3, 3),
        ((499,) * 50, 3, 2),
        ((500,) * 5000, 3, 3),  # not below 500
        ((499,) * 5000, 2, 2),  # stable
        ((499,) * 5000, 5, 2),
        ((1001,) * 400, 1, 3),  # the stable ones are started first
    ],
)
def test_the_codes_counters(times, servers, expected):
    assert feed(CODE, servers, (0, times)) == [expected]


def test_the_code_counts_without_a_window_and_across_hours():
    assert feed(CODE, 2, (0, (2000,) * 399), (86_400, (2000,))) == [2, 3]


def test_opposite_evidence_never_resets_the_codes_counters():
    slow_then_fast = (2000,) * 399 + (10,) * 30 + (2000,)
    assert feed(CODE, 2, (0, slow_then_fast)) == [3]
    fast_slow_fast = (10,) * 49 + (2000,) * 300 + (10,)
    assert feed(CODE, 3, (0, fast_slow_fast)) == [2]


def test_the_code_does_not_count_fast_responses_at_the_stable_number():
    assert feed(CODE, 2, (0, (10,) * 49), (1, (2000,) * 400), (2, (10,) * 49)) == [2, 3, 3]


def test_at_the_maximum_the_slow_counter_stays_full_so_that_the_next_response_grows_again():
    ticks = [(0, (2000,) * 500), (1, (10,) * 49), (2, (10,)), (3, (700,))]
    assert feed(CODE, 5, *ticks) == [5, 5, 4, 5]


def test_the_codes_counters_are_in_the_formula():
    recommendation, _ = CODE.recommend(None, seen(0, (2000,) * 7 + (10,) * 3), 3)
    assert recommendation.formula == ("counted 7 of 400 above 1000 ms and 3 of 50 below 500 ms: 3")


@pytest.mark.parametrize(
    ("times", "servers", "expected"),
    [
        ((1001,), 2, 3),
        ((1000,), 2, 2),
        ((199,), 3, 2),
        ((200,), 3, 3),
        ((100, 2000), 3, 4),  # a mean of 1050
        ((100, 1800), 3, 3),
        ((1001,), 5, 5),
        ((10,), 2, 2),
    ],
)
def test_the_readmes_rule(times, servers, expected):
    assert feed(README, servers, (0, times)) == [expected]


def test_after_a_step_the_readmes_window_begins_anew():
    ticks = [(at_s, (2000,)) for at_s in range(0, 13)]
    assert feed(README, 2, *ticks) == [3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5]


def test_times_outside_the_readmes_window_are_forgotten():
    assert feed(README, 3, (0, (900,)), (4, (1050,)), (5.5, (1050,))) == [3, 3, 4]


def test_a_quantile_instead_of_the_mean():
    mostly_fast = (100,) * 94 + (3000,) * 6
    assert feed(Latency(statistic="p95"), 2, (0, mostly_fast)) == [3]
    assert feed(Latency(statistic="p50"), 3, (0, mostly_fast)) == [2]
    assert [statistic(name, [4, 3, 2, 1]) for name in ("mean", "p50", "p99")] == [2.5, 2, 4]


@pytest.mark.parametrize("policy", [CODE, README])
def test_without_traffic_one_server_goes_every_30_s_down_to_the_stable_ones(policy):
    ticks = [(at_s, ()) for at_s in (0, 29, 30, 59, 60, 90, 120)]
    assert feed(policy, 5, *ticks, in_flight=0) == [5, 5, 4, 4, 3, 2, 2]


@pytest.mark.parametrize("policy", [CODE, README])
def test_a_slow_request_in_flight_is_traffic_although_no_line_is_written(policy):
    assert feed(policy, 5, (0, ()), (60, ()), in_flight=1) == [5, 5]


def test_as_in_the_original_nothing_shrinks_without_traffic_if_told_so():
    assert feed(Latency(rule="code", idle_after_s=0), 5, (0, ()), (9999, ()), in_flight=0) == [5, 5]


@pytest.mark.parametrize("policy", [CODE, README])
def test_an_unknown_log_is_not_idle(policy):
    memory, known = None, []
    for at_s, times in ((0, ()), (29, None), (31, ()), (60, ()), (61, ())):
        recommendation, memory = policy.recommend(memory, seen(at_s, times, 0), 5)
        known.append(recommendation.servers)
    assert known == [5, None, 5, 5, 4]


def test_the_blog_needs_more_than_15_requests_and_then_3_breaches():
    assert feed(BLOG, 1, (0, (600,) * 17)) == [1]
    assert feed(BLOG, 1, (0, (600,) * 18)) == [2]
    assert feed(BLOG, 1, *((second, (600,)) for second in range(18)))[-2:] == [1, 2]


def test_the_blogs_mean_is_of_whole_milliseconds():
    assert feed(BLOG, 1, (0, (500,) * 100 + (514,))) == [1]  # 500.93 is 500
    assert feed(BLOG, 1, (0, (501,) * 18)) == [2]


def test_the_blogs_breaches_are_in_a_row():
    # Two breaches, then a fast one that stays in the window for 15 requests.
    assert feed(BLOG, 1, (0, (501,) * 17 + (0,) + (501,) * 16)) == [1]
    assert feed(BLOG, 1, (0, (501,) * 17 + (0,) + (501,) * 17)) == [2]


def test_the_blog_overshoots_because_the_window_is_not_emptied():
    assert feed(BLOG, 1, (0, (600,) * 18), (1, (600,) * 3), (2, (600,) * 6)) == [2, 3, 5]


def test_the_blog_removes_one_300_s_after_the_last_scaling_and_again_load_or_not():
    ticks = [(0, (600,) * 18), (299, (400,)), (300, (400,)), (599, ()), (600, ()), (900, ())]
    assert feed(BLOG, 2, *ticks) == [3, 3, 2, 2, 1, 1]


def test_the_blog_holds_when_the_answers_are_unknown():
    recommendation, memory = BLOG.recommend(None, seen(0, (600,) * 16), 3)
    unknown, memory = BLOG.recommend(memory, seen(400, None), 3)
    assert unknown.servers is None
    assert memory.times == (600,) * 15
    assert "1 of 3 breaches of 500 ms" in recommendation.formula


TICKS = st.lists(
    st.tuples(
        st.floats(0.01, 100), st.none() | st.lists(st.integers(0, 5000), max_size=40).map(tuple)
    ),
    max_size=20,
)


@given(st.sampled_from([CODE, README, BLOG]), TICKS, st.integers(0, 9))
def test_steps_are_known_numbers_and_the_same_again(policy, ticks, servers):
    def run():
        memory, said, at_s = None, [], 0.0
        for pause_s, times in ticks:
            at_s += pause_s
            recommendation, memory = policy.recommend(memory, seen(at_s, times, 0), servers)
            said.append(recommendation)
        return said

    said = run()
    assert run() == said
    for (_, times), recommendation in zip(ticks, said, strict=True):
        assert (recommendation.servers is None) == (times is None)
        assert recommendation.servers is None or recommendation.servers >= 0
        assert "nan" not in recommendation.formula
        assert "inf" not in recommendation.formula
