"""One run under load: starts the tool, records the lab's trace meanwhile, and judges.

A run's folder, `RUNS_DIR/<UTC time>-<scenario>/`, holds `trace.jsonl` (the lab's trace from the
start of the load to the end of the run), `verdict.json` and what the tool left. It is kept however
the run ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

from lab.errors import LabError
from lab.load.ab_tool import Ab, check_ab
from lab.load.expectations import Expectation, MaxFailed
from lab.load.locust_tool import Locust
from lab.load.measures import samples_of
from lab.load.recording import OnLine, Recording
from lab.load.scenario import Scenario
from lab.load.tool import LoadResult, LoadTool, ToolProcess
from lab.load.verdict import COMPLETE, Verdict, judge_run, nothing_left_to_see

POLL_S = 0.1
TRACE_STALE_S = 5.0
"""A trace without a new line for so long means that the scaler is gone."""
OVERTIME_S = 300.0
"""A tool may take so much longer than its load: it starts slowly where the CPU is emulated."""
AB_EXPECTS: tuple[Expectation, ...] = (MaxFailed(max_failed=0),)


@dataclass(frozen=True)
class Progress:
    """Where a run stands; `total_s` and `users` are None where nobody knows (ab)."""

    stage: Literal["starting", "load", "settling"]
    elapsed_s: float
    """Since the load began; 0 before."""
    total_s: float | None
    """Of the load and the longest settling; most runs end sooner."""
    users: int | None


OnProgress = Callable[[Progress], None]


def run_scenario(
    scenario: Scenario,
    url: str,
    trace_path: Path,
    runs_dir: Path,
    world: str,
    workers: int,
    on_line: OnLine | None = None,
    on_progress: OnProgress | None = None,
    *,
    extra_files: Mapping[str, str] | None = None,
    trace_stale_s: float = TRACE_STALE_S,
) -> tuple[Path, Verdict]:
    """Run Locust on `scenario` against `url`; the run's folder and its verdict.

    `workers` are those of one server. `on_line` gets every line of the trace, `on_progress` is
    called some ten times a second, `extra_files` (name → text) are written into the folder.
    Recording goes on for `settle_s` after the load, or until nothing is left to see. On
    KeyboardInterrupt the load is stopped and the verdict says so (`ended`; it did not pass).
    Raises `LabError` when the scaler or the tool fails; the folder then has a verdict all the same.
    """
    scenario.require_users()
    folder = make_folder(runs_dir, scenario.name, extra_files)
    run = _Run(
        name=scenario.name,
        expect=scenario.expect,
        tool=Locust(scenario, url, folder),
        folder=folder,
        world=world,
        workers=workers,
        scenario=scenario,
        on_progress=on_progress or _ignore,
    )
    with Recording(trace_path, folder / "trace.jsonl", trace_stale_s, on_line) as recording:
        return folder, run.run(recording)


def run_ab(
    arguments: Sequence[str],
    url: str,
    trace_path: Path,
    runs_dir: Path,
    world: str,
    workers: int,
    on_line: OnLine | None = None,
    on_progress: OnProgress | None = None,
    *,
    extra_files: Mapping[str, str] | None = None,
    trace_stale_s: float = TRACE_STALE_S,
    path: str = "/",
) -> tuple[Path, Verdict]:
    """Run ab with the user's `arguments` on `path` of `url`; otherwise as `run_scenario`.

    It passes when no request failed. Raises `UsageError` for arguments that the lab sets itself,
    and `LabError` without ab, before there is a folder.
    """
    program = check_ab(arguments)
    folder = make_folder(runs_dir, "ab", extra_files)
    run = _Run(
        name="ab",
        expect=AB_EXPECTS,
        tool=Ab(program, tuple(arguments), url.rstrip("/") + path, folder, datetime.now(UTC)),
        folder=folder,
        world=world,
        workers=workers,
        scenario=None,
        on_progress=on_progress or _ignore,
    )
    with Recording(trace_path, folder / "trace.jsonl", trace_stale_s, on_line) as recording:
        return folder, run.run(recording)


def _ignore(progress: Progress) -> None: ...


def make_folder(runs_dir: Path, name: str, files: Mapping[str, str] | None = None) -> Path:
    """A new folder for a run, its own even when two begin in the same second."""
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    for number in count(1):
        folder = runs_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not runs_dir.is_dir():
                raise LabError(f"{runs_dir}: is no directory: set lab.runs_dir to one") from None
            continue
        except OSError as error:
            raise LabError(
                f"{folder}: {error.strerror}: set lab.runs_dir to a directory that you may write to"
            ) from None
        break
    for file_name, text in (files or {}).items():
        (folder / file_name).write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class _Run:
    name: str
    expect: tuple[Expectation, ...]
    tool: LoadTool
    folder: Path
    world: str
    workers: int
    scenario: Scenario | None
    on_progress: OnProgress

    def run(self, recording: Recording) -> Verdict:
        result: LoadResult | None = None
        ended = "failed"
        try:
            result = self._load(recording)
            self._settle(recording)
            ended = COMPLETE
        except KeyboardInterrupt:
            ended = "interrupted"
            result = result or self._partial_result()
        except LabError as error:
            ended = str(error)
            result = result or self._partial_result()
            raise
        finally:
            verdict = judge_run(
                self.name, self.expect, self.world, self.workers, recording.lines, result, ended
            )
            verdict.write(self.folder)
        return verdict

    def _load(self, recording: Recording) -> LoadResult:
        tool = self.tool
        with ToolProcess(tool.command, tool.log_path, tool.environment) as process:
            began_s: float | None = None
            limit_s = time.monotonic() + self._duration_s + OVERTIME_S
            while process.exit_code() is None:
                started_at = tool.started_at()
                recording.poll(started_at)
                if started_at and began_s is None:
                    began_s = time.monotonic()
                self._report("load" if started_at else "starting", began_s)
                if self.scenario and time.monotonic() > limit_s:
                    raise LabError(f"the load did not end in time: see {tool.log_path}")
                time.sleep(POLL_S)
        return tool.result()

    def _settle(self, recording: Recording) -> None:
        started_at = self.tool.started_at()
        began_s = time.monotonic() - self._duration_s
        until_s = time.monotonic() + (self.scenario.settle_s if self.scenario else 0.0)
        copied = recording.poll(started_at)
        while time.monotonic() < until_s:
            if copied and nothing_left_to_see(
                self.expect, samples_of(recording.lines, self.workers)
            ):
                return
            self._report("settling", began_s)
            time.sleep(POLL_S)
            copied = recording.poll(started_at)

    def _partial_result(self) -> LoadResult | None:
        try:
            return self.tool.result()
        except LabError:
            return None

    @property
    def _duration_s(self) -> float:
        return self.scenario.duration_s if self.scenario else 0.0

    def _report(
        self, stage: Literal["starting", "load", "settling"], began_s: float | None
    ) -> None:
        scenario = self.scenario
        elapsed_s = time.monotonic() - began_s if began_s is not None else 0.0
        if scenario is None:
            self.on_progress(Progress(stage, elapsed_s, None, None))
            return
        users = scenario.users_at(elapsed_s) if stage == "load" else 0
        total_s = scenario.duration_s + scenario.settle_s
        self.on_progress(Progress(stage, elapsed_s, total_s, users))
