"""Verdicts: what holds, what does not, and what cannot be judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError, UsageError
from lab.load.ab_tool import check_ab, parse
from lab.load.expectations import (
    Expectation,
    MaxFailed,
    MaxP95,
    PeakAtLeast,
    ServingAtLeast,
    ServingAtMost,
)
from lab.load.measures import samples_of
from lab.load.recorder import Recorder, read_record, result_of
from lab.load.session import make_folder
from lab.load.tool import LoadResult
from lab.load.verdict import judge, judge_run, nothing_left_to_see

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RESULT = LoadResult(1000, 0, 200.0, 300.0, 400.0, BEGAN, {}, 50.0)


def trace(*serving: int, every_s: float = 10.0, moving: int = 0) -> list[dict[str, Any]]:
    """A line every ten seconds with so many servers serving; the last has `moving` on their way."""
    last = len(serving) - 1
    return [
        {
            "at_s": 1000 + index * every_s,
            "policy": "sessions",
            "wanted": number,
            "observation": {
                "slots": [{"phase": "serving"}] * number
                + [{"phase": "draining"}] * (moving if index == last else 0),
                "metrics": {"in_flight": 4 * number, "queued": 0},
            },
        }
        for index, number in enumerate(serving)
    ]


def judged(
    expectation: Expectation, serving: Sequence[int], result: LoadResult | None = RESULT
) -> tuple[bool, str]:
    judgement = judge(expectation, samples_of(trace(*serving), workers=4), result)
    return judgement.held, judgement.seen


UP_AND_DOWN = (1, 2, 4, 7, 3, 1, 1)


@pytest.mark.parametrize(
    ("expectation", "held", "seen"),
    [
        (ServingAtLeast(at_least=4, serving_by_s=20), True, "4 serving at 20.0 s"),
        (ServingAtLeast(at_least=4, serving_by_s=19), False, "4 serving at 20.0 s"),
        (ServingAtLeast(at_least=8, serving_by_s=60), False, "never: 7 serving at most"),
        (
            ServingAtMost(at_most=1, serving_by_s=60),
            True,
            "1 serving, no more than 1 since 50.0 s",
        ),
        (
            ServingAtMost(at_most=3, serving_by_s=99),
            True,
            "1 serving, no more than 3 since 40.0 s",
        ),
        (ServingAtMost(at_most=1, serving_by_s=49), False, "3 serving at 40.0 s"),
        (PeakAtLeast(peak_at_least=6), True, "7 serving at 30.0 s"),
        (PeakAtLeast(peak_at_least=8), False, "7 serving at 30.0 s"),
        (MaxFailed(max_failed=0), True, "0 of 1000 failed"),
        (MaxP95(p95_ms=300), True, "p95 300 ms"),
        (MaxP95(p95_ms=299), False, "p95 300 ms"),
    ],
)
def test_an_expectation_holds_or_not(expectation: Expectation, held: bool, seen: str) -> None:
    assert judged(expectation, UP_AND_DOWN) == (held, seen)


def test_one_failed_request_is_one_too_many() -> None:
    failed = LoadResult(1000, 1, 200.0, 300.0, 400.0, BEGAN, {"HTTP 503": 1})

    assert judged(MaxFailed(max_failed=0), (1,), failed) == (False, "1 of 1000 failed")
    assert judged(MaxFailed(max_failed=1), (1,), failed)[0]


@pytest.mark.parametrize(
    ("expectation", "serving", "result"),
    [
        (PeakAtLeast(peak_at_least=0), (), RESULT),
        (ServingAtMost(at_most=9, serving_by_s=9), (), RESULT),
        (MaxFailed(max_failed=9), (1,), None),
        (MaxP95(p95_ms=9000), (1,), None),
        (MaxFailed(max_failed=9), (1,), LoadResult(0, 0, None, None, None, BEGAN)),
        (MaxP95(p95_ms=9000), (1,), LoadResult(5, 0, None, None, None, BEGAN)),
    ],
)
def test_what_cannot_be_judged_does_not_hold(
    expectation: Expectation, serving: tuple[int, ...], result: LoadResult | None
) -> None:
    held, seen = judged(expectation, serving, result)

    assert not held
    assert seen.startswith("not judged: ")


def test_a_verdict_has_all_that_the_design_promises(tmp_path: Path) -> None:
    expect = (ServingAtLeast(at_least=4, serving_by_s=40), MaxFailed(max_failed=0))

    verdict = judge_run("demo", expect, "process", 4, trace(*UP_AND_DOWN), RESULT)
    written = json.loads(verdict.write(tmp_path).read_text(encoding="utf-8"))

    assert written["passed"] is True
    assert (written["scenario"], written["policy"], written["world"]) == (
        "demo",
        "sessions",
        "process",
    )
    assert written["expectations"][1] == {
        "expected": "no failed request",
        "seen": "0 of 1000 failed",
        "held": True,
    }
    assert (written["peak_servers"], written["final_servers"]) == (7, 1)
    assert written["container_seconds"] == 10 * (1 + 2 + 4 + 7 + 3 + 1)
    assert (written["theta_u"], written["theta_o"], written["instability"]) == (0, 0, 0)
    assert written.keys() >= {
        "requests", "failed", "failures", "p50_ms", "p95_ms", "p99_ms",
        "tau_u", "tau_o", "flaps", "duration_s",
    }  # fmt: skip


def test_a_run_that_was_cut_short_has_not_passed() -> None:
    verdict = judge_run(
        "demo", (MaxFailed(max_failed=0),), "lxd", 4, trace(1), RESULT, "interrupted"
    )

    assert verdict.expectations[0].held
    assert not verdict.passed


def test_a_run_without_trace_and_result_has_a_verdict_all_the_same() -> None:
    verdict = judge_run("demo", (MaxFailed(max_failed=0),), "lxd", 4, [], None, "interrupted")

    assert json.loads(verdict.to_json())["requests"] is None


@pytest.mark.parametrize(
    ("lines", "over"),
    [
        (trace(1, 7, 1), True),
        (trace(1, 7, 2), False),
        (trace(1, 7, 1, moving=1), False),
        (trace(1, 3, 1), False),
        (trace(1, 3, 1, 1, 1), True),
        ([], False),
    ],
    ids=["back", "not yet back", "draining", "4 may still come", "4 came too late", "no line"],
)
def test_settling_ends_once_nothing_is_left_to_see(lines: list[dict[str, Any]], over: bool) -> None:
    expect = (
        ServingAtLeast(at_least=4, serving_by_s=40),
        ServingAtMost(at_most=1, serving_by_s=99),
    )

    assert nothing_left_to_see(expect, samples_of(lines, 4)) is over


def test_without_an_expected_end_settling_takes_its_whole_time() -> None:
    assert not nothing_left_to_see((PeakAtLeast(peak_at_least=1),), samples_of(trace(1, 7, 1), 4))


def test_two_runs_in_the_same_second_have_a_folder_each(tmp_path: Path) -> None:
    folders = {make_folder(tmp_path / "runs", "demo", {"settings.toml": "x"}) for _ in range(3)}

    assert len(folders) == 3
    assert all((folder / "settings.toml").read_text() == "x" for folder in folders)


def test_a_runs_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")

    with pytest.raises(LabError, match=r"set lab\.runs_dir"):
        make_folder(tmp_path / "runs", "demo")


def test_a_record_gives_exact_percentiles_and_failures_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "locust.json"
    recorder = Recorder(path)
    assert read_record(path) is None
    recorder.begin(BEGAN.timestamp())
    begun = read_record(path)
    for ms in range(1, 1001):
        recorder.count(ms + 0.2, "HTTP 503" if ms > 998 else None)
    recorder.end(BEGAN.timestamp() + 10)
    ended = read_record(path)

    assert begun is not None
    assert begun["ended_at_s"] is None
    assert ended is not None
    assert result_of(ended) == LoadResult(
        1000, 2, 500.0, 950.0, 990.0, BEGAN, {"HTTP 503": 2}, 100.0
    )


AB_REPORT = """
Complete requests:      20000
Failed requests:        7
   (Connect: 0, Receive: 3, Length: 0, Exceptions: 4)
Non-2xx responses:      5
Keep-Alive requests:    20000
Requests per second:    7380.57 [#/sec] (mean)
"""
AB_CSV = "Percentage served,Time in ms\n0,0.4\n50,11.488\n95,31.316\n99,46.739\n100,90.1\n"


def test_ab_counts_other_answers_than_2xx_apart_and_the_lab_does_not() -> None:
    result = parse(AB_REPORT, AB_CSV, BEGAN)

    assert (result.requests, result.failed) == (20000, 12)
    assert result.failures == {"receive": 3, "exception": 4, "non-2xx": 5}
    assert (result.p50_ms, result.p95_ms, result.p99_ms) == (11.488, 31.316, 46.739)
    assert result.requests_per_s == 7380.57


def test_ab_counts_a_refused_connection_twice_and_the_lab_does_not() -> None:
    report = """
Complete requests:      50
Failed requests:        75
   (Connect: 0, Receive: 50, Length: 0, Exceptions: 25)
"""
    assert parse(report, "", BEGAN).failed == 50


@pytest.mark.parametrize(
    ("report", "why"),
    [
        ("ab: Invalid number of requests\nUsage: ab [options]\n  -n requests", "Invalid number"),
        ("apr_pollset_poll: The timeout specified has expired (70007)\n", "timeout specified"),
        ("", "printed nothing"),
    ],
)
def test_a_report_that_was_not_finished_says_why(report: str, why: str) -> None:
    with pytest.raises(LabError, match=why):
        parse(report, "", BEGAN)


@pytest.mark.parametrize("arguments", [["-n", "9", "http://example.org/"], ["-e", "my.csv"]])
def test_ab_arguments_that_are_the_labs_own_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="leave"):
        check_ab(arguments)


def test_without_ab_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LabError, match=r"apache2-utils.*lab\.sh"):
        check_ab(["-n", "9"])
