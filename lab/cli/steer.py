"""The commands that steer the scaler, run it, and read what it says."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from lab import deployment, grounds, host, lifecycle, trace, wiring
from lab import status as status_report
from lab.cli.base import Json, err, running, settings_of, show
from lab.errors import LabError
from lab.operator import OperatorFile
from lab.views.explain import explain as draw
from lab.views.steps import Steps

DEFAULT_HOLD_S = 60.0


def scale(
    context: typer.Context,
    servers: int,
    hold: Annotated[
        float, typer.Option(min=1, help="Seconds until the policy steers again.")
    ] = DEFAULT_HOLD_S,
) -> None:
    """Go to N servers now, wait until they serve, and hold them for a while."""
    found = running(settings_of(context), servers)
    operator = OperatorFile(found.settings.directory)
    if operator.wishes().paused:
        raise LabError("the scaler is paused: `lab resume` first")
    operator.pin(servers, hold)
    began_s = time.monotonic()
    patience_s = found.settings.scaler.boot_deadline_s + found.settings.scaler.drain_deadline_s
    with Steps(err) as steps:
        steps(f"going to {servers} servers")
        while (serving := lifecycle.serving(found.settings)) != servers:
            steps.count(serving, servers)
            if time.monotonic() - began_s > patience_s:
                raise LabError(
                    f"{serving} servers serve after {patience_s:g} s, not {servers}: "
                    + (status_report.fault(found.settings) or "`lab logs` says why")
                )
            time.sleep(0.05)
    took_s = time.monotonic() - began_s
    err.print(f"[green]✓[/] {servers} serve after {took_s:.2f} s; held for {hold:g} s")


def pin(context: typer.Context, servers: int) -> None:
    """Keep N servers, whatever the policy says, until `unpin`."""
    found = running(settings_of(context), servers)
    OperatorFile(found.settings.directory).pin(servers)
    err.print(f"pinned to {servers}; `lab unpin` lets the policy steer again")


def unpin(context: typer.Context) -> None:
    """Let the policy steer again."""
    OperatorFile(running(settings_of(context)).settings.directory).unpin()
    err.print("the policy steers")


def pause(context: typer.Context) -> None:
    """Let the scaler watch and explain, and do nothing."""
    OperatorFile(running(settings_of(context)).settings.directory).pause(True)
    err.print("paused; `lab resume` lets the scaler act again")


def resume(context: typer.Context) -> None:
    """Let the scaler act again."""
    OperatorFile(running(settings_of(context)).settings.directory).pause(False)
    err.print("the scaler acts again")


def run(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write to the log file only.")] = False,
) -> None:
    """Run the scaler here, in the foreground, until Ctrl-C."""
    found = deployment.require(settings_of(context))
    if grounds.of(found.settings).needs_root:
        host.require_root("`lab run`")
    wiring.run_scaler(found, echo=not quiet)


def logs(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, help="How many to begin with.")
    ] = 20,
) -> None:
    """What the scaler decided, a line each."""
    path = deployment.require(settings_of(context)).settings.directory / "scaler.log"
    if not path.exists():
        raise LabError("the scaler has written nothing yet")
    os.execvp("tail", ["tail", *(["-F"] if follow else []), "-n", str(lines), str(path)])


def explain(
    context: typer.Context,
    tick: Annotated[int | None, typer.Argument(help="Its number [the newest].")] = None,
    as_json: Json = False,
) -> None:
    """A decision: what was seen, the formula with its numbers, the guards, what was done."""
    path = deployment.require(settings_of(context)).settings.directory / "trace.jsonl"
    line = trace.last_line(path) if tick is None else trace.find_tick(path, tick)
    if line is None:
        raise LabError("the scaler has not ticked yet" if tick is None else f"no tick {tick}")
    show(line, as_json, draw(line))
