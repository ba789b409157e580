"""React, Hist, Reg and Adapt, row by row.

Sources: the autoscalers of Versluis et al. (CCGRID 2018), parts of which are by the algorithms'
authors; Urgaonkar et al. (ICAC 2005) for Hist; Chieu et al. (ICEBE 2009) for React's own rule. The
expected numbers are worked out by hand from their formulas. One server takes one request here, so
that a load of requests is a load of servers.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.classic import Adapt, Hist, React, Reg
from lab.core.policies.fits import percentile, quadratic

REACT = React(requests_per_server=1)
REG = Reg(requests_per_server=1)
ADAPT = Adapt(requests_per_server=1)
HIST = Hist(requests_per_server=1)


def seen(at_s, in_flight, queued=0, slots=(), utc_s=None):
    return Observation(at_s, slots, Metrics(in_flight=in_flight, queued=queued), utc_s=utc_s)


def follow(policy, servers, *ticks):
    """The servers after each (at_s, requests); every recommendation is followed."""
    memory, said = None, []
    for at_s, requests in ticks:
        recommendation, memory = policy.recommend(memory, seen(at_s, requests), servers)
        servers = recommendation.servers if recommendation.servers is not None else servers
        said.append(recommendation.servers)
    return said


def once(policy, servers, requests):
    return follow(policy, servers, (0, requests))[0]


@pytest.mark.parametrize(
    ("servers", "load", "expected"),
    [
        (4, 4, 6),  # missing 0: 2 to spare
        (4, 7, 9),  # missing 3: 4 + 3 + 2
        (4, 3, 4),  # missing -1 and -2 keep
        (4, 2, 4),
        (4, 1, 3),  # missing -3: to the load and 2 to spare
        (10, 0, 2),
        (0, 0, 2),
    ],
)
def test_react_keeps_two_servers_to_spare(servers, load, expected):
    assert once(REACT, servers, load) == expected


def serving(*sessions):
    return tuple(
        Slot(number, Phase.SERVING, sessions=count) for number, count in enumerate(sessions, 1)
    )


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        ((8, 8, 9), 4),  # all at the upper threshold, 0.8 of 10
        ((8, 8, 7), 3),
        ((0, 5, 8), 2),  # two below 6, one of them idle
        ((0, 6, 8), 3),  # only one below
        ((1, 5, 8), 3),  # none idle
        ((0, 0, 0), 2),
    ],
)
def test_reacts_own_rule_looks_at_every_server(sessions, expected):
    policy = React(rule="chieu", requests_per_server=10)
    observation = seen(0, sum(sessions), slots=serving(*sessions))
    recommendation, _ = policy.recommend(None, observation, 3)
    assert recommendation.servers == expected


def test_between_two_evaluations_the_last_number_stands():
    ticks = [(0, 4), (30, 50), (59, 50), (60, 50)]
    # The mean since the last evaluation is 50, and 52 are to spare for it.
    assert follow(REACT, 4, *ticks) == [6, 6, 6, 52]


def test_an_evaluation_uses_the_mean_since_the_one_before():
    assert follow(REACT, 4, (0, 4), (20, 10), (40, 20), (60, 30)) == [6, 6, 6, 22]


def test_the_formula_shows_the_numbers_and_when_the_next_evaluation_is():
    first, memory = REACT.recommend(None, seen(0, 7), 4)
    assert first.formula == "load 7.00 - 4 servers = +3.00: ceil(7.00) + 2 to spare = 9"
    waiting, _ = REACT.recommend(memory, seen(20, 7), 9)
    assert waiting.formula == f"{first.formula} (next evaluation in 40 s)"


@pytest.mark.parametrize(
    ("servers", "loads", "expected"),
    [
        (4, (9,), 9),  # growing is a reaction to the load
        (4, (4,), 4),
        (10, (9, 8, 7), 7),  # the parabola through a line is the line
        (20, (16, 9, 4), 4),  # (t - 4)^2 at t = 2
        (20, (4, 4, 4), 4),
        (10, (2, 9), 9),  # a line through two
        (5, (1,), 1),
    ],
)
def test_reg_shrinks_to_a_parabola(servers, loads, expected):
    ticks = [(60 * number, load) for number, load in enumerate(loads)]
    memory = None
    for at_s, load in ticks:
        recommendation, memory = REG.recommend(memory, seen(at_s, load), servers)
    assert recommendation.servers == expected


def test_a_parabola_above_the_capacity_keeps_it():
    # Least squares through 30, 1, 1, 29: 29.2 at the last one, when 29.1 are there.
    policy = Reg(requests_per_server=10)
    memory = None
    for at_s, load in ((0, 600), (60, 20), (120, 20), (180, 590)):
        recommendation, memory = policy.recommend(memory, seen(at_s, load), 60)
    assert quadratic([(0, 60), (1, 2), (2, 2), (3, 59)], 3) > 59
    assert recommendation.servers == 60


@pytest.mark.parametrize(
    ("samples", "at", "expected"),
    [
        ([(0, 5)], 7, 5),
        ([(0, 5), (0, 7)], 1, 6),
        ([(0, 1), (1, 3)], 3, 7),
        ([(0, 1), (1, 2), (2, 5)], 3, 10),  # 1 + x^2
        ([(0, 0), (1, 1), (2, 0), (3, 1)], 3, 0.8),  # numpy.polyfit(deg=2)
    ],
)
def test_the_polynomial(samples, at, expected):
    assert quadratic(samples, at) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e4)), min_size=1, max_size=72),
    st.floats(0, 1e6),
)
def test_the_polynomial_is_a_number_through_whatever_points(samples, at):
    assert abs(quadratic(samples, at)) < float("inf")


def test_adapt_grows_by_reaction_with_two_to_spare():
    assert once(ADAPT, 4, 7) == 9  # 3 missing + 2
    assert once(ADAPT, 4, 4) == 6
    assert once(ADAPT, 4, 3) == 4


def test_adapt_shrinks_a_fifteenth_of_the_surplus_at_a_time():
    # Owed after each: 10/10 * 9/15 = 0.60, 1.20 (one goes), 0.20 + 9/9.67 * 8/15 = 0.70,
    # + 9/9.5 * 8/15 = 1.20 (one goes), 0.20 + 8/9.2 * 7/15 = 0.61, + 8/9 * 7/15 = 1.02.
    ticks = [(60 * number, 1) for number in range(6)]
    assert follow(ADAPT, 10, *ticks) == [10, 9, 9, 8, 8, 7]


def test_adapts_gain_is_the_capacity_over_its_mean():
    _, memory = ADAPT.recommend(None, seen(0, 1), 10)
    recommendation, memory = ADAPT.recommend(memory, seen(60, 1), 20)
    # owed -0.6, and 20 / 15 of -19 / 15: -1.69
    assert "owed -0.60 -1.69 (capacity 20 / mean 15.00): 20 -2 = 18" in recommendation.formula
    assert memory.state.repair == pytest.approx(-0.6 - 20 / 15 * 19 / 15 + 2)


def test_adapt_leaves_two_to_spare():
    ticks = [(60 * number, 1) for number in range(200)]
    assert follow(ADAPT, 10, *ticks)[-1] == 3


def test_hist_reacts_on_the_first_day():
    ticks = [(0, 4), (300, 9), (600, 2), (3300, 2), (3600, 2)]
    # Within the hour it keeps what it allocated; the next one begins with what is seen then.
    assert follow(HIST, 1, *ticks) == [4, 9, 9, 9, 2]


def a_day(hist, load_of_hour, memory, day, servers):
    said = []
    for hour in range(24):
        for minute in range(0, 60, 5):
            at_s = day * 86_400 + hour * 3600 + minute * 60
            seen_now = seen(at_s, load_of_hour(hour))
            recommendation, memory = hist.recommend(memory, seen_now, servers)
            servers = recommendation.servers
            said.append(servers)
    return said, memory, servers


def test_hist_knows_on_the_second_day_what_the_hour_needs():
    def load(hour):
        return 20 if hour == 8 else 3

    _, memory, servers = a_day(HIST, load, None, 0, 1)
    second, memory, _ = a_day(HIST, load, memory, 1, servers)
    assert second[8 * 12 - 1 : 9 * 12 + 1] == [3, *(20,) * 12, 3]


def test_hist_adds_the_mean_error_of_the_last_two_hours():
    _, memory, servers = a_day(HIST, lambda hour: 10, None, 0, 1)
    # Day two needs 14 at 0 and 16 at 1 o'clock: errors of 4 and 6, 5 more are expected at 2.
    second, _, _ = a_day(HIST, lambda hour: {0: 14, 1: 16}.get(hour, 10), memory, 1, servers)
    assert second[:12] == [14] * 12  # 10 predicted, and the reaction
    assert second[12:24] == [16] * 12  # 10 + 4 / 2 predicted, and the reaction
    # Errors of 4 and 16 - 12 = 4: 10 + (4 + 4) / 2.
    assert second[24:36] == [14] * 12
    # Errors of 4 and 10 - 14 = -4.
    assert second[36:48] == [10] * 12


def test_hist_tolerates_a_little_more_than_it_predicted():
    policy = Hist(requests_per_server=1, reactive_ratio=1.1)
    _, memory, servers = a_day(policy, lambda hour: 100, None, 0, 1)
    kept, memory = policy.recommend(memory, seen(86_400, 110), servers)
    assert kept.servers == 100
    grown, memory = policy.recommend(memory, seen(86_700, 111), servers)
    assert grown.servers == 111
    assert "max(100.00 predicted for hour 0, 111 by reaction to load 111.00)" in grown.formula


def test_hists_hours_are_the_clocks_where_it_is_known():
    policy = Hist(requests_per_server=1)
    recommendation, _ = policy.recommend(None, seen(5, 1, utc_s=86_400 * 3 + 3600 * 7.5), 1)
    assert "for hour 7" in recommendation.formula


def test_a_percentile_is_of_all_observations():
    assert percentile([tuple(range(1, 101))], 0.99) == 99
    assert percentile([(1, 1, 1), (9,)], 0.75) == 1
    assert percentile([(1, 1, 1), (9,)], 0.76) == 9
    assert percentile([(5,)], 1) == 5


POLICIES = st.sampled_from([REACT, React(rule="chieu"), REG, ADAPT, HIST])


@given(
    POLICIES,
    st.lists(st.tuples(st.floats(0.1, 4000), st.none() | st.integers(0, 500)), max_size=25),
    st.integers(0, 30),
)
def test_numbers_are_known_not_negative_and_the_same_again(policy, ticks, servers):
    def run():
        memory, said, at_s = None, [], 0.0
        for pause_s, requests in ticks:
            at_s += pause_s
            slots = serving(*(requests or 0 for _ in range(servers)))
            recommendation, memory = policy.recommend(
                memory, seen(at_s, requests, slots=slots), servers
            )
            said.append(recommendation)
        return said

    said = run()
    assert run() == said
    for (_, requests), recommendation in zip(ticks, said, strict=True):
        assert (recommendation.servers is None) == (requests is None)
        assert recommendation.servers is None or recommendation.servers >= 0
        assert "nan" not in recommendation.formula
        assert "inf " not in recommendation.formula
