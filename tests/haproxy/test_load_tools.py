"""Real Locust and real ab against the real application, as a process on loopback.

The lab's trace is written by the test, so that what is judged is known.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.assets import asset
from lab.errors import LabError
from lab.load.locust_tool import run_locust_page
from lab.load.scenario import Scenario, load_scenario
from lab.load.session import Progress, run_ab, run_scenario
from lab.load.verdict import Verdict

WORKERS = 8
START_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    environment = {
        "LAB_PORT": str(port),
        "LAB_ADDRESS": "127.0.0.1",
        "LAB_WORKERS": str(WORKERS),
        "LAB_SHARE": str(tmp_path_factory.mktemp("share")),
        "LAB_NAME": "web-1",
    }
    application = asset("containers") / "app" / "app.py"
    process = subprocess.Popen([sys.executable, str(application)], env=environment)
    try:
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class Scaler:
    """Writes a trace, one line every 50 ms, with as many servers serving as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.serving = 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            line = {
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "at_s": time.monotonic(),
                "policy": "sessions",
                "wanted": self.serving,
                "observation": {
                    "slots": [{"phase": "serving"}] * self.serving,
                    "metrics": {"in_flight": 4, "queued": 0},
                },
            }
            with self.path.open("a", encoding="utf-8") as trace:
                trace.write(json.dumps(line) + "\n")


@pytest.fixture
def scaler(tmp_path: Path) -> Iterator[Scaler]:
    running = Scaler(tmp_path / "trace.jsonl")
    yield running
    running.stop()


def scenario(folder: Path, points: str, mix: str, expect: str, settle_s: float = 0) -> Scenario:
    path = folder / "tried.toml"
    path.write_text(
        f"""
        about = "a short load"
        settle_s = {settle_s}
        [load]
        kind = "points"
        points = {points}
        [requests]
        mix = {mix}
        [envelope]
        expect = {expect}
        """,
        encoding="utf-8",
    )
    return load_scenario(path)


WORK = '[{ path = "/work?ms=50", weight = 3 }, { path = "/", weight = 1 }]'
NO_FAILURE = "[{ max_failed = 0 }]"


def run(
    tried: Scenario,
    url: str,
    scaler: Scaler,
    on_line: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stale_s: float = 5.0,
) -> tuple[Path, Verdict]:
    return run_scenario(
        tried,
        url,
        scaler.path,
        scaler.path.parent / "runs",
        "process",
        WORKERS,
        on_line,
        on_progress,
        trace_stale_s=stale_s,
    )


def processes_of(folder: Path) -> list[str]:
    """Processes that were started for this run: its folder stands in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_run_leaves_its_folder_and_a_verdict(tmp_path: Path, url: str, scaler: Scaler) -> None:
    seen: list[dict[str, Any]] = []
    stages: list[str] = []
    expect = "[{ max_failed = 0 }, { p95_ms = 5000 }, { at_least = 1, serving_by_s = 3 }]"
    tried = scenario(tmp_path, "[[0, 2], [2, 6], [4, 6]]", WORK, expect)

    folder, verdict = run(tried, url, scaler, seen.append, lambda p: stages.append(p.stage))

    assert verdict.passed, verdict
    assert json.loads((folder / "verdict.json").read_text())["requests"] == verdict.requests
    assert {path.name for path in folder.iterdir()} == {
        "locust.html", "locust.json", "locust.log", "scenario.toml", "trace.jsonl", "verdict.json",
    }  # fmt: skip
    # Closed loop: two to six users, three of four requests take 50 ms, so 100 to 600 in 4 s.
    assert verdict.requests is not None
    assert 60 < verdict.requests < 700
    assert verdict.p50_ms is not None
    assert 50 <= verdict.p50_ms < 150
    assert list(dict.fromkeys(stages)) == ["starting", "load"]
    recorded = (folder / "trace.jsonl").read_text().splitlines()
    assert verdict.started_at is not None
    assert all(json.loads(line)["at"] >= verdict.started_at for line in recorded)
    assert 3.5 < verdict.duration_s < 8
    assert len(seen) >= len(recorded)


def test_locust_and_the_record_count_the_same(tmp_path: Path, url: str, scaler: Scaler) -> None:
    mix = '[{ path = "/work?ms=20" }, { path = "/nowhere" }]'

    folder, verdict = run(scenario(tmp_path, "[[0, 3], [3, 3]]", mix, NO_FAILURE), url, scaler)

    assert not verdict.passed
    assert verdict.failed
    assert verdict.failures == {"HTTP 404": verdict.failed}
    log = (folder / "locust.log").read_text()
    total = next(line.split() for line in log.splitlines() if "Aggregated" in line)
    assert int(total[1]) == verdict.requests
    # Statistics are by page, without the query.
    assert "/work " in log
    assert "ms=20" not in log


def test_users_that_stop_finish_their_requests(tmp_path: Path, url: str, scaler: Scaler) -> None:
    """All of eight requests of 1.5 s are in flight when users have to go, twice."""
    mix = '[{ path = "/work?ms=1500" }]'
    tried = scenario(tmp_path, "[[0, 8], [2, 8], [2, 1], [4, 1]]", mix, NO_FAILURE)

    _, verdict = run(tried, url, scaler)

    assert verdict.passed, verdict
    assert verdict.requests is not None
    assert verdict.requests >= 8 + 8


def test_a_service_that_is_not_there_fails_requests_and_not_the_run(
    tmp_path: Path, scaler: Scaler
) -> None:
    tried = scenario(tmp_path, "[[0, 1], [1, 1]]", '[{ path = "/" }]', NO_FAILURE)

    _, verdict = run(tried, f"http://127.0.0.1:{free_port()}", scaler)

    assert verdict.ended == "complete"
    assert not verdict.passed
    assert verdict.failed == verdict.requests
    assert verdict.failures.keys() == {"ConnectionRefusedError"}


def test_settling_ends_when_the_pool_is_back(tmp_path: Path, url: str, scaler: Scaler) -> None:
    expect = "[{ at_least = 2, serving_by_s = 3 }, { at_most = 1, serving_by_s = 60 }]"
    tried = scenario(tmp_path, "[[0, 1], [2, 1]]", WORK, expect, settle_s=58)
    settling_s: list[float] = []

    def scale(progress: Progress) -> None:
        if progress.stage == "load":
            scaler.serving = 2
        elif progress.stage == "settling":
            settling_s.append(progress.elapsed_s)
            if progress.elapsed_s > 3.5:
                scaler.serving = 1

    _, verdict = run(tried, url, scaler, on_progress=scale)

    assert verdict.passed, verdict
    assert verdict.peak_servers == 2
    assert verdict.final_servers == 1
    assert 3.5 < settling_s[-1] < 20


def test_an_interrupted_run_stops_the_load_and_keeps_what_it_has(
    tmp_path: Path, url: str, scaler: Scaler
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.elapsed_s > 2:
            raise KeyboardInterrupt

    tried = scenario(tmp_path, "[[0, 4], [60, 4]]", WORK, NO_FAILURE)

    folder, verdict = run(tried, url, scaler, on_progress=interrupt)

    assert not verdict.passed
    assert verdict.ended == "interrupted"
    assert verdict.requests
    assert verdict.failed == 0
    assert json.loads((folder / "verdict.json").read_text())["ended"] == "interrupted"
    assert processes_of(folder) == []


def test_a_scaler_that_died_ends_the_run_with_the_remedy(
    tmp_path: Path, url: str, scaler: Scaler
) -> None:
    def kill(progress: Progress) -> None:
        if progress.stage == "load":
            scaler.stop()

    tried = scenario(tmp_path, "[[0, 4], [60, 4]]", WORK, NO_FAILURE)

    with pytest.raises(LabError, match="the scaler is gone: `lab up` starts it again"):
        run(tried, url, scaler, on_progress=kill, stale_s=1.0)

    (folder,) = (tmp_path / "runs").iterdir()
    assert "scaler is gone" in json.loads((folder / "verdict.json").read_text())["ended"]
    assert processes_of(folder) == []


def test_a_locust_that_does_not_start_says_why(
    tmp_path: Path, url: str, scaler: Scaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    tried = scenario(tmp_path, "[[0, 1], [1, 1]]", WORK, NO_FAILURE)

    with pytest.raises(LabError, match="Locust failed: it said nothing"):
        run(tried, url, scaler)


def test_plain_locust_runs_the_demo_scenario_outside_the_lab(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    locustfile = asset("loadtests") / "locustfile.py"
    command = [sys.executable, "-m", "locust", "-f", str(locustfile)]

    listed = subprocess.run(
        [*command, "--list"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    refused = subprocess.run(
        [*command, "--list"],
        cwd=tmp_path,
        env=environment | {"LAB_SCENARIO": "dmo"},
        capture_output=True,
        text=True,
    )

    assert listed.returncode == 0, listed.stderr
    assert "LabUser" in listed.stdout
    assert refused.returncode != 0
    assert "no scenario 'dmo': did you mean demo?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_locusts_own_page_is_served_until_it_is_interrupted(url: str) -> None:
    pages: list[str] = []

    def look(address: str) -> None:
        with urllib.request.urlopen(address, timeout=10) as answer:
            pages.append(answer.read().decode())
        raise KeyboardInterrupt

    run_locust_page(load_scenario("smoke"), url, look, free_port())

    assert "Locust" in pages[0]


def ab(scaler: Scaler, url: str, *arguments: str, path: str = "/") -> tuple[Path, Verdict]:
    runs = scaler.path.parent / "runs"
    return run_ab(arguments, url, scaler.path, runs, "process", WORKERS, path=path)


def test_ab_leaves_its_folder_and_a_verdict(url: str, scaler: Scaler) -> None:
    folder, verdict = ab(scaler, url, "-n", "200", "-c", "8", path="/work?ms=20")

    assert verdict.passed, verdict
    assert (verdict.scenario, verdict.requests, verdict.failed) == ("ab", 200, 0)
    assert verdict.p50_ms is not None
    assert verdict.p99_ms is not None
    assert 20 <= verdict.p50_ms <= verdict.p99_ms
    assert {path.name for path in folder.iterdir()} == {
        "ab.csv", "ab.log", "trace.jsonl", "verdict.json",
    }  # fmt: skip


def test_ab_answers_other_than_2xx_fail_the_run(url: str, scaler: Scaler) -> None:
    _, verdict = ab(scaler, url, "-n", "50", "-c", "5", path="/nowhere")

    assert not verdict.passed
    assert (verdict.failed, verdict.failures) == (50, {"non-2xx": 50})


def test_ab_arguments_that_ab_refuses_are_ab_s_own_words(url: str, scaler: Scaler) -> None:
    with pytest.raises(LabError, match="Invalid number of requests"):
        ab(scaler, url, "-n", "many")
