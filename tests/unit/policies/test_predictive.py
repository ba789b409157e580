"""Holt and Winters' smoothing against published tables, and the policy on it as a timeline.

Source of the table: UNISTAT 9.2.3, Winters' additive seasonal, cola sales (unistat.com/923); the
state before its first row is worked out from that row.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation
from lab.core.policies.predictive import Predictive, Smoothing

COLA = [
    # sales, forecast, level, trend, season
    (189.0, 132.8698, 411.1948, 10.6955, -264.8537),
    (229.0, 202.5518, 427.1800, 11.2245, -218.2806),
]


def test_unistats_cola_sales_row_by_row():
    alpha, beta, gamma = 0.2, 0.1, 0.05
    state = Smoothing(390.39586, 9.572896, (-267.09896, -219.3385, -216.2448))
    for row, (sales, forecast, level, trend, season) in enumerate(COLA):
        assert state.forecast(1, row) == pytest.approx(forecast, abs=2e-3)
        state = state.updated(sales, row, alpha, beta, gamma)
        assert state.level == pytest.approx(level, abs=2e-3)
        assert state.trend == pytest.approx(trend, abs=2e-3)
        assert state.season[row] == pytest.approx(season, abs=2e-3)
    assert state.forecast(1, 2) == pytest.approx(222.1597, abs=2e-3)


def test_holts_line_is_continued_exactly():
    state = Smoothing(10)
    for value in (12, 14, 16):
        state = state.updated(value, 0, alpha=0.3, beta=0.2, gamma=0)
    assert (state.level, state.trend) == (pytest.approx(16), pytest.approx(2))
    assert state.forecast(2.5, 0) == pytest.approx(21)


def feed(policy, current, *ticks, memory=None):
    said = []
    for at_s, requests in ticks:
        seen = Observation(at_s, (), Metrics(in_flight=requests, queued=0))
        recommendation, memory = policy.recommend(memory, seen, current)
        said.append(recommendation)
    return said, memory


def numbers(said):
    return [recommendation.servers for recommendation in said]


def test_a_ramp_is_answered_before_it_arrives():
    # 4 requests more each second; 3 s ahead of second 6 they are 36.
    said, _ = feed(Predictive(ahead_s=3), 1, *((second, 4 * second) for second in range(7)))
    assert numbers(said)[:2] == [1, 1]
    assert numbers(said)[-1] == 9
    # The last value known is the mean of second 5 and stands for its middle, 5.5.
    assert "concurrency 34.00 in 3 s by level and trend / 4)" in said[-1].formula


def test_it_only_grows():
    said, _ = feed(Predictive(), 5, *((second, 40 - 4 * second) for second in range(10)))
    assert min(numbers(said)) == 5


def test_in_combination_its_forecast_is_a_floor():
    assert Predictive.is_floor
    said, _ = feed(Predictive(), 0, *((second, 12) for second in range(5)))
    assert numbers(said)[-1] == 3


def test_the_second_season_is_foreseen():
    policy = Predictive(season_s=10, ahead_s=2, gamma=0.5, beta=0, alpha=0.2)

    def load(second):
        return 40 if second % 10 == 5 else 4

    said, memory = feed(policy, 1, *((second, load(second)) for second in range(23)))
    servers = numbers(said)
    # In the first season two seconds before the peak nothing is known of it.
    assert servers[3] == 1
    assert servers[13] == 10
    assert "by level, trend and season" in said[13].formula
    assert len(memory.smoothing.season) == 10


def test_the_season_is_learnt_as_the_difference_to_its_mean():
    policy = Predictive(season_s=4)
    _, memory = feed(policy, 1, *((second, second % 4) for second in range(5)))
    assert memory.smoothing == Smoothing(1.5, 0.0, (-1.5, -0.5, 0.5, 1.5))


def test_a_step_takes_the_mean_of_its_ticks():
    ticks = [(0, 0), (0.25, 8), (0.5, 8), (0.75, 8), (1, 0)]
    _, memory = feed(Predictive(), 1, *ticks)
    assert memory.smoothing == Smoothing(6)


def test_steps_without_a_value_follow_the_trend_and_a_long_gap_begins_anew():
    said, memory = feed(Predictive(), 1, (0, 10), (1, 12), (2, 14), (5, 20))
    assert memory.smoothing.level == pytest.approx(18)  # 14, and two steps without a value
    said, memory = feed(Predictive(), 1, (0, 10), (1, 12), (2, 14), (99, 20))
    assert said[-1].formula == "no step of 1 s has passed"
    assert memory.smoothing is None


def test_another_metric_can_be_forecast():
    policy = Predictive(metric=Metric.REQUESTS_PER_S, target=10, ahead_s=0)
    memory = None
    for second in range(4):
        seen = Observation(second, (), Metrics(requests_per_s=25.0))
        recommendation, memory = policy.recommend(memory, seen, 1)
    assert recommendation.servers == 3
    unknown, _ = policy.recommend(memory, Observation(5, (), Metrics(in_flight=3, queued=0)), 1)
    assert (unknown.servers, unknown.formula) == (None, "requests_per_s is unknown")


def test_a_season_of_too_many_steps_is_refused():
    with pytest.raises(ValueError, match="make `step_s` longer"):
        Predictive(season_s=86_400, step_s=1)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.none() | st.integers(0, 10**6)), max_size=40),
    st.sampled_from([Predictive(), Predictive(season_s=5, gamma=1), Predictive(alpha=1, beta=1)]),
    st.integers(0, 20),
)
def test_never_below_the_pool_unless_unknown(ticks, policy, current):
    at_s, timeline = 0.0, []
    for pause_s, requests in ticks:
        at_s += pause_s
        timeline.append((at_s, requests))

    def run():
        memory, said = None, []
        for second, requests in timeline:
            queued = None if requests is None else 0
            seen = Observation(second, (), Metrics(in_flight=requests, queued=queued))
            recommendation, memory = policy.recommend(memory, seen, current)
            said.append(recommendation)
        return said

    said = run()
    assert run() == said
    for (_, requests), recommendation in zip(timeline, said, strict=True):
        assert (recommendation.servers is None) == (requests is None)
        assert recommendation.servers is None or recommendation.servers >= current
        assert math.isfinite(recommendation.servers or 0)
        assert "nan" not in recommendation.formula
