"""The commands that put the lab to work: `load`, `demo` and `bench`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lab import bench as bench_
from lab import deployment
from lab.cli.base import Json, World, bring_up, err, out, settings_of, show
from lab.deployment import Deployment
from lab.errors import UsageError
from lab.load.locust_tool import run_locust_page
from lab.load.scenario import find_scenario, list_scenarios, load_scenario
from lab.load.session import TRACE_STALE_S, Progress, run_ab, run_scenario
from lab.load.verdict import Verdict
from lab.views import tables
from lab.views.steps import Steps
from lab.views.terminal import LiveView

OnLine = Callable[[dict[str, Any]], None]
OnProgress = Callable[[Progress], None]
Run = Callable[[OnLine, OnProgress], tuple[Path, Verdict]]


def load(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(help="A scenario's name or file, or `ab`; none lists them.")
    ] = None,
    ui: Annotated[bool, typer.Option("--ui", help="Open Locust's own page instead.")] = False,
    path: Annotated[str, typer.Option(help="What ab asks for.")] = "/",
    as_json: Json = False,
) -> None:
    """Put a scenario's load on the lab, or ab's: `lab load ab -n 20000 -c 100 -k`."""
    if scenario is None:
        about = {name: load_scenario(file).about for name, file in list_scenarios().items()}
        out.print(tables.explained(about))
        return
    if scenario != "ab" and context.args:
        raise UsageError(f"unknown argument {context.args[0]!r}: only `lab load ab` takes more")
    found = deployment.require(settings_of(context))
    if scenario == "ab":
        arguments = list(context.args)

        def run(line: OnLine, progress: OnProgress) -> tuple[Path, Verdict]:
            return run_ab(
                arguments,
                found.service_url,
                *_where(found),
                line,
                progress,
                path=path,
                trace_stale_s=_stale_s(found),
            )

        finish(watched(found, "ab", run), as_json)
        return
    if ui:
        run_locust_page(
            load_scenario(find_scenario(scenario)),
            found.service_url,
            lambda address: err.print(f"Locust's page: [bold]{address}[/] (Ctrl-C ends it)"),
        )
        return
    finish(watch_scenario(found, scenario), as_json)


def demo(
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="A scenario's name or file.")] = "demo",
    world: World = None,
    as_json: Json = False,
) -> None:
    """Bring the lab up, put load on it, watch the scaler follow, and judge."""
    load_scenario(find_scenario(scenario))
    finish(watch_scenario(bring_up(settings_of(context, world)), scenario), as_json)


def bench(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Of each measurement.")] = 10,
    as_json: Json = False,
) -> None:
    """Measure how soon a server answers, beside the same LXD calls made raw."""
    found = bring_up(settings_of(context))
    tick_ms = bench_.tick_ms(found)
    with Steps(err) as steps:
        rows = bench_.run(found, rounds, steps)
    show({"rows": rows, "tick_ms": tick_ms}, as_json, tables.bench(rows, tick_ms))


def watch_scenario(found: Deployment, scenario: str) -> tuple[Path, Verdict]:
    chosen = load_scenario(find_scenario(scenario))
    settings = json.dumps(found.settings.model_dump(mode="json"), indent=2)
    return watched(
        found,
        chosen.name,
        lambda line, progress: run_scenario(
            chosen,
            found.service_url,
            *_where(found),
            line,
            progress,
            extra_files={
                "settings.json": settings,
                "scenario.toml": chosen.path.read_text(encoding="utf-8"),
            },
            trace_stale_s=_stale_s(found),
        ),
    )


def watched(found: Deployment, scenario: str, run: Run) -> tuple[Path, Verdict]:
    """Run with the live view on standard error's terminal."""
    with LiveView(found.settings.lab.name, found.settings.lab.world, scenario, console=err) as view:
        return run(
            view.line,
            lambda at: view.progress(at.elapsed_s, at.total_s, at.users),
        )


def finish(run: tuple[Path, Verdict], as_json: bool) -> None:
    """Print the verdict; the exit code is 1 unless it passed."""
    folder, verdict = run
    report = json.loads(verdict.to_json())
    show(report, as_json, tables.verdict(report))
    if not as_json:
        out.print(f"run folder: {folder}")
    if not verdict.passed:
        raise typer.Exit(1)


def _where(found: Deployment) -> tuple[Path, Path, str, int]:
    """What a run has to know of the lab: trace, run folders, world, workers of one server."""
    settings = found.settings
    trace = settings.directory / "trace.jsonl"
    return trace, settings.lab.runs_dir, settings.lab.world, settings.server.workers


def _stale_s(found: Deployment) -> float:
    """A scaler that has not ticked for so long has ended."""
    return max(TRACE_STALE_S, 3 * found.settings.scaler.interval_s)
