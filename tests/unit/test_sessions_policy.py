"""Interoute's rule, with the numbers of its tutorial."""

from __future__ import annotations

from lab.core.model import Metrics, Observation
from lab.core.policies.sessions import Sessions

RULE = Sessions(sessions_per_server=5, window_s=10)


def feed(policy, *samples):
    """Recommendations for (at_s, in_flight, queued), one after the other."""
    memory = None
    for at_s, in_flight, queued in samples:
        seen = Observation(at_s, (), Metrics(in_flight=in_flight, queued=queued))
        recommendation, memory = policy.recommend(memory, seen, current=4)
        yield recommendation


def test_32_sessions_need_7_servers_at_5_each():
    (recommendation,) = feed(RULE, (0, 32, 0))
    assert recommendation.servers == 7
    assert "32.0 in flight and queued" in recommendation.formula
    assert "/ 5 per server) = 7" in recommendation.formula


def test_two_samples_ten_seconds_apart_are_averaged():
    policy = Sessions(sessions_per_server=5, window_s=10.5)
    assert [r.servers for r in feed(policy, (0, 30, 0), (10, 34, 0))] == [6, 7]


def test_requests_that_wait_count_like_those_in_flight():
    assert [r.servers for r in feed(RULE, (0, 12, 20))] == [7]


def test_samples_outside_the_window_are_forgotten():
    assert [r.servers for r in feed(RULE, (0, 100, 0), (10, 0, 0), (20, 0, 0))] == [20, 0, 0]


def test_no_session_needs_no_server_and_leaves_the_rest_to_the_limits():
    assert [r.servers for r in feed(RULE, (0, 0, 0))] == [0]


def test_unknown_metrics_say_nothing_and_are_not_taken_for_zero():
    first, unknown, again = feed(RULE, (0, 32, 0), (1, None, None), (2, 32, 0))
    assert (first.servers, unknown.servers, again.servers) == (7, None, 7)
