"""The metrics by name: for the pool, for the average server, for each slot; unknown is not zero."""

from __future__ import annotations

import pytest

from lab.core.metrics import QUANTILES, SHARES, Metric, by_slot, per_server, total
from lab.core.model import Metrics, Observation, Phase, Slot

SLOTS = (
    Slot(1, Phase.SERVING, sessions=4, queued=2, cpus=0.3, cpus_limit=0.5, memory_bytes=100,
         memory_limit_bytes=400),
    Slot(2, Phase.SERVING, sessions=1, cpus=0.4, memory_bytes=300, memory_limit_bytes=400),
    Slot(3, Phase.BOOTING, cpus=1.0),
    Slot(4, Phase.EMPTY),
)  # fmt: skip
SEEN = Observation(0, SLOTS, Metrics(5, 7, 40.0, 2.0, p50_ms=10.0, p95_ms=20.0, p99_ms=30.0))


@pytest.mark.parametrize(
    ("metric", "of_pool", "of_server"),
    [
        (Metric.IN_FLIGHT, 5, 2.5),
        (Metric.QUEUED, 7, 3.5),
        (Metric.CONCURRENCY, 12, 6),
        (Metric.REQUESTS_PER_S, 40, 20),
        (Metric.ERRORS_PER_S, 2, 1),
        (Metric.P50_MS, 10, 10),
        (Metric.P95_MS, 20, 20),
        (Metric.P99_MS, 30, 30),
        (Metric.CPU, 1.0, 0.5),
        (Metric.MEMORY, 1.0, 0.5),
    ],
)
def test_of_the_pool_and_of_the_average_server(metric, of_pool, of_server):
    assert total(metric, SEEN) == pytest.approx(of_pool)
    assert per_server(metric, SEEN) == pytest.approx(of_server)


def test_every_metric_is_in_the_table_above():
    assert len(Metric) == 10
    assert set(Metric) > QUANTILES | SHARES


@pytest.mark.parametrize("metric", Metric)
def test_what_was_not_measured_is_unknown(metric):
    nothing = Observation(0, (Slot(1, Phase.SERVING),))
    assert total(metric, nothing) is None
    assert per_server(metric, nothing) is None


def test_half_known_concurrency_is_unknown():
    assert total(Metric.CONCURRENCY, Observation(0, (), Metrics(in_flight=3))) is None


def test_the_sum_of_shares_is_unknown_where_one_is_missing_and_their_mean_is_not():
    seen = Observation(0, (*SLOTS[:2], Slot(5, Phase.SERVING)))
    assert total(Metric.CPU, seen) is None
    assert per_server(Metric.CPU, seen) == pytest.approx(0.5)


def test_memory_without_a_limit_has_no_share():
    assert by_slot(Metric.MEMORY, Observation(0, (Slot(1, Phase.SERVING, memory_bytes=9),))) == {}


def test_by_slot_takes_the_phases_that_it_is_told():
    assert by_slot(Metric.CONCURRENCY, SEEN) == {1: 6, 2: 1}
    assert by_slot(Metric.CPU, SEEN, (Phase.BOOTING,)) == {3: 1.0}
    assert by_slot(Metric.P95_MS, SEEN) == {}


def test_per_server_of_a_number_that_is_given():
    assert per_server(Metric.CONCURRENCY, SEEN, 4) == 3
    assert per_server(Metric.CONCURRENCY, SEEN, 0) == 12
    assert per_server(Metric.P95_MS, SEEN, 4) == 20


def test_a_name_is_as_good_as_the_metric():
    assert total("concurrency", SEEN) == 12
    assert per_server("cpu", SEEN) == pytest.approx(0.5)
