"""Elasticity and the other measures: worked numbers, the published table, and properties."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Phase
from lab.load.measures import (
    Elasticity,
    Sample,
    demand_servers,
    elasticity,
    eta,
    flaps,
    measure,
    samples_of,
)
from lab.load.recorder import percentile_ms


def line(
    at_s: float,
    phases: str = "serving",
    in_flight: int | None = 0,
    queued: int | None = 0,
    wanted: int = 1,
) -> dict[str, Any]:
    return {
        "at_s": at_s,
        "wanted": wanted,
        "observation": {
            "slots": [{"phase": phase} for phase in phases.split()],
            "metrics": {"in_flight": in_flight, "queued": queued},
        },
    }


def sample(t_s: float, serving: int, demand: int | None, for_s: float = 1.0) -> Sample:
    return Sample(t_s, for_s, serving, wanted=serving, running=serving, moving=0, demand=demand)


def each_second(supply: list[int], demand: list[int | None]) -> tuple[Sample, ...]:
    """One sample a second; the last one has no time after it."""
    last = len(supply) - 1
    return tuple(
        sample(t, s, d, 0.0 if t == last else 1.0)
        for t, (s, d) in enumerate(zip(supply, demand, strict=True))
    )


def wanted_at(*changes: tuple[float, int]) -> tuple[Sample, ...]:
    return tuple(replace(sample(t_s, 1, 1), wanted=wanted) for t_s, wanted in changes)


@pytest.mark.parametrize(
    ("in_flight", "queued", "servers"),
    [(0, 0, 1), (4, 0, 1), (4, 1, 2), (32, 8, 10), (None, 0, None), (3, None, None)],
)
def test_demand_is_the_offered_concurrency_in_servers(
    in_flight: int | None, queued: int | None, servers: int | None
) -> None:
    assert demand_servers(in_flight, queued, workers=4) == servers


def test_a_trace_becomes_samples_weighted_by_the_time_to_the_next_line() -> None:
    lines = [
        line(100.0, "serving stopped empty", in_flight=4),
        line(100.5, "serving booting warm", in_flight=8, queued=1, wanted=2),
        line(102.0, "serving joining draining broken", in_flight=None),
    ]

    first, second, third = samples_of(lines, workers=4)

    assert (first.t_s, first.for_s, first.demand, first.running) == (0.0, 0.5, 1, 1)
    assert (second.t_s, second.for_s, second.demand, second.running) == (0.5, 1.5, 3, 2)
    assert (third.t_s, third.for_s, third.demand, third.running) == (2.0, 0.0, None, 4)
    assert [s.moving for s in (first, second, third)] == [0, 1, 3]


def test_a_line_from_before_the_one_ahead_of_it_is_left_out() -> None:
    assert [s.t_s for s in samples_of([line(5.0), line(6.0), line(1.0), line(7.0)], 4)] == [0, 1, 2]


def test_containers_cost_while_they_run_and_not_while_they_are_stopped_or_frozen() -> None:
    phases = " ".join(Phase)
    lines = [line(0.0, phases), line(10.0, "serving serving"), line(14.0, "serving")]

    measures = measure(samples_of(lines, workers=4))

    running_of_all_eight = 5
    assert measures.container_s == running_of_all_eight * 10 + 2 * 4
    assert (measures.peak_servers, measures.final_servers, measures.duration_s) == (2, 1, 14.0)


def test_the_formulas_by_hand() -> None:
    supply = [1, 1, 2, 4, 4, 4]
    demand: list[int | None] = [1, 2, 4, 4, 2, 2]

    measured = elasticity(each_second(supply, demand))

    # Five intervals. Missing: 1 of 2, 2 of 4. Too much: 2 of 2, in the one before the last point.
    assert measured.theta_u == pytest.approx(100 * (1 / 2 + 2 / 4) / 5)
    assert measured.theta_o == pytest.approx(100 * (2 / 2) / 5)
    assert measured.tau_u == pytest.approx(100 * 2 / 5)
    assert measured.tau_o == pytest.approx(100 * 1 / 5)
    # Directions of supply 0 + + 0 0, of demand + + 0 − 0: they differ in three of five.
    assert measured.instability == pytest.approx(100 * 3 / 5)


def test_unknown_metrics_are_left_out_and_not_taken_for_idle() -> None:
    known = elasticity(each_second([1, 1, 1], [2, 2, 2]))
    gap = elasticity(each_second([1, 1, 1, 1, 1], [2, None, None, 2, 2]))

    assert gap == known
    assert known.theta_u == pytest.approx(50)


def test_without_any_known_demand_nothing_is_measured() -> None:
    assert set(asdict(elasticity(each_second([1, 2], [None, None]))).values()) == {None}
    assert set(asdict(elasticity(())).values()) == {None}
    assert measure(()).peak_servers == 0


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ([(0, 1), (10, 3), (30, 2), (50, 4)], 2),
        ([(0, 1), (10, 3), (30, 2), (100, 4)], 1),
        ([(0, 1), (10, 2), (20, 4), (30, 8)], 0),
        ([(0, 1), (10, 7), (70, 6), (71, 5)], 1),
        ([(0, 1), (10, 7), (70.5, 6), (71, 5)], 0),
        ([(0, 1), (10, 2), (65, 3), (120, 2)], 1),
        ([], 0),
    ],
)
def test_a_flap_is_a_change_back_within_a_minute(
    changes: list[tuple[float, int]], count: int
) -> None:
    assert flaps(wanted_at(*changes)) == count


NONE = Elasticity(3.29, 3.06, 57.95, 57.05, None)


@pytest.mark.parametrize(
    ("scaled", "published"),
    [
        (Elasticity(0.94, 3.51, 26.50, 73.20, None), 1.50),
        (Elasticity(0.48, 4.28, 15.85, 89.10, None), 1.84),
        (Elasticity(5.07, 1.42, 76.50, 32.55, None), 1.17),
        (Elasticity(1.88, 2.62, 42.55, 57.25, None), 1.29),
    ],
    ids=["ANN-1", "LSTM-1", "ANN-5", "LSTM-5"],
)
def test_elastic_speed_up_is_that_of_imdoukh_2019_table_8(
    scaled: Elasticity, published: float
) -> None:
    # Three rows agree to the last place. The inputs printed for ANN-1 give 1.506 to 1.514, however
    # they were rounded; the paper has 1.50.
    assert eta(NONE, scaled) == pytest.approx(published, abs=0.011)


def test_elastic_speed_up_is_not_defined_against_a_zero_or_an_unknown() -> None:
    assert eta(NONE, replace(NONE, theta_u=0.0)) is None
    assert eta(NONE, replace(NONE, tau_o=None)) is None
    assert eta(replace(NONE, theta_u=0.0), replace(NONE, theta_u=0.0)) == pytest.approx(1.0)


servers = st.integers(0, 10)
demands = st.one_of(st.none(), st.integers(1, 10))
runs = st.lists(st.tuples(servers, demands, st.floats(0.05, 5.0)), min_size=1, max_size=30).map(
    lambda rows: tuple(
        sample(sum(row[2] for row in rows[:i]), *rows[i][:2], for_s=rows[i][2])
        for i in range(len(rows))
    )
)


@given(runs)
def test_every_measure_is_within_its_bounds(samples: tuple[Sample, ...]) -> None:
    measured = elasticity(samples)
    for name, value in asdict(measured).items():
        if value is not None:
            assert value >= 0
            assert name == "theta_o" or value <= 100 + 1e-9
    if measured.tau_u is not None and measured.tau_o is not None:
        assert measured.tau_u + measured.tau_o <= 100 + 1e-9


@given(runs)
def test_supply_that_is_demand_is_perfect(samples: tuple[Sample, ...]) -> None:
    perfect = tuple(replace(s, serving=s.demand or 0) for s in samples)
    assert set(asdict(elasticity(perfect)).values()) <= {0.0, None}


@given(runs, st.floats(0.1, 10))
def test_the_unit_of_time_does_not_matter(samples: tuple[Sample, ...], factor: float) -> None:
    slower = tuple(replace(s, t_s=s.t_s * factor, for_s=s.for_s * factor) for s in samples)
    for ours, theirs in zip(
        asdict(elasticity(samples)).values(), asdict(elasticity(slower)).values(), strict=True
    ):
        assert ours == pytest.approx(theirs)


@given(runs)
def test_ticks_of_any_length_weigh_by_their_time(samples: tuple[Sample, ...]) -> None:
    """Each line seen twice, half as long: θ and τ are the same."""
    halves = [replace(s, for_s=s.for_s / 2) for s in samples for _ in range(2)]
    whole, split = elasticity(samples), elasticity(halves)
    for name in ("theta_u", "theta_o", "tau_u", "tau_o"):
        assert getattr(whole, name) == pytest.approx(getattr(split, name))


@given(st.lists(st.tuples(servers, st.integers(1, 10)), min_size=2, max_size=30))
def test_at_one_sample_a_second_instability_is_the_published_sum(
    rows: list[tuple[int, int]],
) -> None:
    def sign(number: int) -> int:
        return (number > 0) - (number < 0)

    differing = sum(
        min(abs(sign(s1 - s0) - sign(d1 - d0)), 1) for (s0, d0), (s1, d1) in pairwise(rows)
    )
    measured = elasticity(each_second([s for s, _ in rows], [d for _, d in rows]))
    assert measured.instability == pytest.approx(100 * differing / (len(rows) - 1))


positive = st.floats(0.01, 100)
scaled = st.builds(Elasticity, positive, positive, positive, positive, st.none())


@given(scaled, scaled)
def test_elastic_speed_up_is_one_against_itself_and_turns_over(
    one: Elasticity, other: Elasticity
) -> None:
    there, back = eta(one, other), eta(other, one)
    assert eta(one, one) == pytest.approx(1)
    assert there is not None
    assert back is not None
    assert there * back == pytest.approx(1)


@given(st.lists(st.integers(0, 5000), min_size=1), st.sampled_from([50, 95, 99, 100]))
def test_a_percentile_is_the_nearest_rank(times_ms: list[int], percent: int) -> None:
    counts = {ms: times_ms.count(ms) for ms in times_ms}
    expected = sorted(times_ms)[ceil(len(times_ms) * percent / 100) - 1]
    assert percentile_ms(counts, percent) == expected


def test_without_requests_there_is_no_percentile() -> None:
    assert percentile_ms({}, 95) is None
