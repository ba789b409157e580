"""Open-loop load: rates, the arrivals made from them, and files that they are read from."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.load.arrivals import RateCurve, autoregression, counted, even, poisson
from lab.load.rates import Day, FlashCrowd, Herd, OnOff, RateRamp, RateSpike, RateSteps, Sawtooth
from lab.load.scenario import load_scenario
from lab.load.session import run_scenario

TRIANGLE = RateCurve(((0.0, 0.0), (10.0, 20.0), (20.0, 0.0)))


def test_a_rate_is_a_line_through_its_points():
    assert [TRIANGLE.at(t_s) for t_s in (-1, 0, 5, 10, 15, 20, 21)] == [0, 0, 10, 20, 10, 0, 0]
    assert TRIANGLE.requests(0, 20) == 200
    assert TRIANGLE.requests(5, 15) == 150
    assert TRIANGLE.requests(-5, 99) == 200
    assert (TRIANGLE.duration_s, TRIANGLE.peak) == (20, 20)


def test_after_a_jump_the_new_rate_counts():
    stairs = RateCurve(((0.0, 5.0), (2.0, 5.0), (2.0, 50.0), (3.0, 50.0)))
    assert [stairs.at(t_s) for t_s in (1.9, 2.0, 2.5)] == [5, 50, 50]
    assert stairs.requests(1, 2.5) == 30


def test_even_arrivals_come_like_a_metronome():
    steady = RateCurve(((0.0, 4.0), (2.0, 4.0)))
    assert list(steady.times_s(even())) == [0.125 + 0.25 * index for index in range(8)]
    rising = list(TRIANGLE.times_s(even()))
    assert len(rising) == 200
    assert sum(at_s < 5 for at_s in rising) == 25
    assert rising == sorted(rising)


@given(
    st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 100)), min_size=2, max_size=8),
    st.integers(0, 1000),
)
def test_arrivals_are_in_order_within_the_curve_and_as_many_as_expected(steps, seed):
    at_s, points = 0.0, []
    for length_s, rate in steps:
        points.append((at_s, rate))
        at_s += length_s
    curve = RateCurve(tuple(points))
    times_s = list(curve.times_s(poisson(Random(seed))))
    assert all(before <= after for before, after in pairwise(times_s))
    assert all(-1e-9 <= at_s <= curve.duration_s + 1e-9 for at_s in times_s)
    expected = curve.requests(0, curve.duration_s)
    assert abs(len(times_s) - expected) <= 6 * expected**0.5 + 6
    assert abs(len(list(curve.times_s(even()))) - expected) <= 1


def test_poisson_arrivals_have_exponential_gaps():
    times_s = list(RateCurve(((0.0, 50.0), (400.0, 50.0))).times_s(poisson(Random(1))))
    gaps_s = [after - before for before, after in pairwise(times_s)]
    assert fmean(gaps_s) == pytest.approx(0.02, rel=0.03)
    assert pstdev(gaps_s) == pytest.approx(0.02, rel=0.04)


def test_noise_has_the_deviation_and_memory_that_it_is_asked_for():
    values = list(islice(autoregression(Random(2), 0.3, 600.0, 60.0), 50_000))
    assert pstdev(values) == pytest.approx(0.3, rel=0.05)
    products = [before * after for before, after in zip(values, values[10:], strict=False)]
    assert fmean(products) / 0.09 == pytest.approx(0.37, abs=0.06)


def test_kinds_have_the_shapes_that_they_say():
    ramp = RateRamp(kind="rate-ramp", low=2, high=10, rise_s=4, hold_s=2, fall_s=4, rest_s=1)
    assert [ramp.curve.at(t_s) for t_s in (0, 2, 5, 8, 11)] == [2, 6, 10, 6, 2]
    steps = RateSteps(kind="rate-steps", rates=(1, 5, 3), each_s=10)
    assert [steps.curve.at(t_s) for t_s in (0, 10, 19, 20, 30)] == [1, 5, 5, 3, 3]
    spike = RateSpike(kind="rate-spike", base=2, peak=9, before_s=5, spike_s=5, after_s=5)
    assert [spike.curve.at(t_s) for t_s in (4, 5, 9, 10)] == [2, 9, 9, 2]
    crowd = FlashCrowd(
        kind="flash-crowd", base=10, peak=90, before_s=10, rise_s=5, half_life_s=20, after_s=60
    )
    assert [round(crowd.curve.at(t_s)) for t_s in (5, 15, 35, 55)] == [10, 90, 50, 30]
    saw = Sawtooth(kind="sawtooth", threshold=20, swing=5, period_s=10, times=3)
    assert [saw.curve.at(t_s) for t_s in (0, 5, 10, 12.5, 30)] == [15, 25, 15, 20, 15]
    on_off = OnOff(kind="on-off", rate=8, on_s=5, off_s=5, times=2)
    assert [on_off.curve.at(t_s) for t_s in (0, 5, 10, 16)] == [8, 0, 8, 0]
    herd = Herd(kind="herd", idle_s=60, herd=300, burst_s=2, rate=10, after_s=30)
    assert [herd.curve.at(t_s) for t_s in (30, 61, 70)] == [0, 150, 10]
    assert herd.curve.requests(0, 62) == 300


def test_a_day_is_the_same_for_the_same_seed_and_may_be_made_shorter():
    day = Day(kind="day", base=20, noise=0.2, crowds=2, seed=5)
    assert day.points() == Day(kind="day", base=20, noise=0.2, crowds=2, seed=5).points()
    assert day.points() != Day(kind="day", base=20, noise=0.2, crowds=2, seed=6).points()
    hour = Day(kind="day", base=20, noise=0.2, crowds=2, seed=5, day_s=3600)
    assert hour.duration_s == 3600
    assert hour.curve.at(1000) == pytest.approx(day.curve.at(24_000))


def test_a_day_swings_about_its_base_and_is_quiet_at_the_weekend():
    week = Day(kind="day", base=20, noise=0, crowds=0, diurnal=0.5, weekend=0.3, days=7)
    at = week.curve.at
    assert (at(4 * 3600), at(16 * 3600)) == (pytest.approx(10), pytest.approx(30))
    assert at(5 * 86_400 + 16 * 3600) == pytest.approx(24)
    assert week.curve.requests(0, 86_400) == pytest.approx(20 * 86_400, rel=0.001)


def test_counted_requests_become_a_rate():
    assert counted([0.1, 0.2, 2.5], 1.0) == ((0, 2), (1, 2), (1, 0), (2, 0), (2, 1), (3, 1))


SCENARIO = """
about = "from a file"
[load]
{load}
[requests]
mix = [{{ path = "/" }}]
[envelope]
expect = [{{ max_failed = 0 }}]
"""


def written(folder: Path, load: str, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    path = folder / "mine.toml"
    path.write_text(SCENARIO.format(load=load), encoding="utf-8")
    return path


def test_a_table_of_rates_lies_beside_its_scenario(tmp_path):
    table = "time,requests per second\n# a remark\n100,5\n110,15\n130.5,0\n"
    path = written(
        tmp_path,
        'kind = "rate-file"\nfile = "rates.csv"\nfaster = 2\ntimes_rate = 10',
        rates_csv=table,
    )
    assert load_scenario(path).load.points() == ((0, 50), (5, 150), (15.25, 0))


def test_a_tables_times_may_be_dates(tmp_path):
    table = "2026-11-21T03:00:00Z,5\n2026-11-21T03:01:00Z,15\n"
    path = written(tmp_path, 'kind = "rate-file"\nfile = "rates.csv"', rates_csv=table)
    assert load_scenario(path).load.points() == ((0, 5), (60, 15))


LOGS = {
    "combined": '127.0.0.1 - - [21/Nov/2026:03:12:{second:02} +0000] "GET / HTTP/1.1" 200 5 "-"',
    "haproxy": "10.0.0.1:4711 [21/Nov/2026:03:12:{second:02}.345] web web/web-1 0/0/0/1/1 200",
    "lab": "17952307{second:02}.004 200 web-1 0 0 0 1 1 -- 0 0 GET /",
}


@pytest.mark.parametrize("kind", LOGS)
def test_an_access_log_is_counted_by_the_second(tmp_path, kind):
    text = "\n".join(LOGS[kind].format(second=second) for second in (10, 10, 12, 11, 10))
    path = written(tmp_path, 'kind = "access-log"\nfile = "access.log"', access_log=text)
    assert load_scenario(path).load.curve.points[::2] == ((0, 3), (1, 1), (2, 1))


@pytest.mark.parametrize(
    ("load", "files", "said"),
    [
        ('kind = "rate-file"\nfile = "none.csv"', {}, "none.csv: No such file"),
        ('kind = "rate-file"\nfile = "a.csv"', {"a_csv": "1,2\nx,y\n"}, "a.csv, line 2: no time"),
        ('kind = "rate-file"\nfile = "a.csv"', {"a_csv": "1,2\n0,1\n"}, "line 2: its time is"),
        ('kind = "rate-file"\nfile = "a.csv"', {"a_csv": "1,2\n2,-1\n"}, "line 2: -1 requests/s"),
        ('kind = "rate-file"\nfile = "a.csv"', {"a_csv": "1,2\n"}, "fewer than two rows"),
        ('kind = "access-log"\nfile = "a.log"', {"a_log": "hello\n"}, "no line with a time"),
        ('kind = "rate"\nrates = [[1, 2], [3, 4]]', {}, "the first point is at 1 s: begin at 0 s"),
        ('kind = "swatooth"', {}, "load.kind = 'swatooth': did you mean sawtooth?"),
        ('kind = "drift"\nstrat = 1', {}, "unknown key load.strat: did you mean start?"),
    ],
)
def test_a_wrong_load_is_refused_in_one_line(tmp_path, load, files, said):
    with pytest.raises(UsageError) as error:
        load_scenario(written(tmp_path, load, **files))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_locust_refuses_a_rate_before_anything_is_started(tmp_path):
    scenario = load_scenario(written(tmp_path, 'kind = "rate"\nrates = [[0, 2], [3, 4]]'))
    runs_dir = tmp_path / "runs"
    with pytest.raises(UsageError, match="mine: its load is a rate"):
        run_scenario(scenario, "http://127.0.0.1:1", tmp_path / "t", runs_dir, "lxd", 4)
    assert not runs_dir.exists()


def test_the_locustfile_refuses_a_rate_in_one_line(tmp_path):
    path = written(tmp_path, 'kind = "rate"\nrates = [[0, 2], [3, 4]]')
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "locust", f"--locustfile={root}/loadtests/locustfile.py", "--list"],
        env={"LAB_SCENARIO": str(path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "locustfile: mine: its load is a rate" in done.stderr
    assert "Traceback" not in done.stderr
