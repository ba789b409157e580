from __future__ import annotations

import pytest

from lab.balancer.statistics import StatisticsCut, gate_of, parse
from lab.core.phases import Gate
from lab.rate import Rate

CSV = """# svname,pxname,scur,qcur,status,lastchg,req_tot,hrsp_5xx,
FRONTEND,service,9,,OPEN,,120,3,
web-1,web,4,1,UP,12,,0,
web-2,web,3,0,DRAIN,3,,0,
web-3,web,0,0,MAINT,,,0,
web-10,web,0,0,DOWN 1/2,7,,0,
BACKEND,web,9,2,UP,12,,3,
FRONTEND,statistics,1,,OPEN,,7,0,

"""


def test_columns_are_found_by_name_wherever_they_stand():
    statistics = parse(CSV, "service", "web")
    assert [(s.name, s.gate, s.sessions, s.queued) for s in statistics.servers] == [
        ("web-1", Gate.OPEN, 4, 1),
        ("web-2", Gate.DRAINING, 3, 0),
        ("web-3", Gate.CLOSED, 0, 0),
        ("web-10", Gate.DOWN, 0, 0),
    ]
    assert (statistics.in_flight, statistics.queued) == (7, 3)
    assert (statistics.requests, statistics.errors) == (120, 3)


@pytest.mark.parametrize("length", [0, 1, 80, len(CSV) // 2, len(CSV) - 2, len(CSV) - 1])
def test_a_cut_answer_is_an_error_and_not_a_smaller_pool(length):
    with pytest.raises(StatisticsCut):
        parse(CSV[:length], "service", "web")


def test_an_answer_without_our_frontend_is_an_error():
    with pytest.raises(StatisticsCut, match="other"):
        parse(CSV, "other", "web")


@pytest.mark.parametrize(
    ("status", "gate"),
    [
        ("UP", Gate.OPEN),
        ("UP 1/3", Gate.OPEN),
        ("no check", Gate.OPEN),
        ("DOWN", Gate.DOWN),
        ("DOWN 1/2", Gate.DOWN),
        ("DRAIN", Gate.DRAINING),
        ("NOLB", Gate.DRAINING),
        ("MAINT", Gate.CLOSED),
        ("MAINT (via web/web-1)", Gate.CLOSED),
    ],
)
def test_every_status_of_a_server_has_a_gate(status, gate):
    assert gate_of(status) is gate


def test_an_unknown_status_is_not_guessed():
    with pytest.raises(StatisticsCut):
        gate_of("")


def test_a_rate_needs_two_readings_and_survives_a_reset():
    rate = Rate(window_s=2)
    assert rate.add(0, 100) is None
    assert rate.add(1, 150) == 50
    assert rate.add(2, 250) == 75
    assert rate.add(4, 250) == 0
    assert rate.add(5, 3) is None
    assert rate.add(6, 13) == 10
