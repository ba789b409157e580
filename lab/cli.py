"""The command line: parse, call, print."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text
from typer.exceptions import TyperException

from lab import __version__, deployment, doctor, host, lifecycle, wiring
from lab import scaler as scaler_process
from lab import status as status_report
from lab.assets import asset
from lab.errors import LabError, UsageError
from lab.lxd.client import Lxd
from lab.operator import OperatorFile
from lab.settings import Loaded, Settings, flatten, load
from lab.template import build, recipe
from lab.views import tables
from lab.views.steps import Steps

app = typer.Typer(
    name="lab",
    help="A local autoscaling lab: HAProxy, LXD containers, a scaler, and load.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
template_app = typer.Typer(help="The stopped container that clones are made from.")
app.add_typer(template_app, name="template", no_args_is_help=True)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
DEFAULT_HOLD_S = 60.0
PLAIN_WORDS = {
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
}


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"lab {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="The settings file [./lab.toml].")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one setting: section.key=value.")
    ] = None,
    no_settings: Annotated[
        bool, typer.Option("--no-settings", help="Read no settings file.", hidden=True)
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    path = None if no_settings else settings or _settings_file()
    context.obj = load(path, tuple(set_ or ()))


def _settings_file() -> Path | None:
    places = [Path("lab.toml")]
    if home := os.environ.get("LAB_HOME"):
        places.append(Path(home) / "lab.toml")
    return next((place for place in places if place.is_file()), None)


def settings_of(context: typer.Context) -> Settings:
    loaded: Loaded = context.obj
    return loaded.settings


def show(value: Any, as_json: bool, drawn: RenderableType) -> None:
    if as_json:
        out.print_json(json.dumps(value, default=str))
    else:
        out.print(drawn)


def notices(console: Console, texts: Iterable[str]) -> None:
    for text in texts:
        console.print(Text("! ", "yellow").append(text, "default"), soft_wrap=True)


@app.command()
def up(context: typer.Context) -> None:
    """Bring the lab up, or bring it in line with the settings."""
    bring_up(settings_of(context))


def bring_up(settings: Settings) -> deployment.Deployment:
    with Steps(err) as steps:
        new = lifecycle.up(settings, steps)
    notices(err, new.notices)
    err.print(f"[green]✓[/] the lab serves at [bold]{new.service_url}[/]")
    return new


@app.command()
def down(
    context: typer.Context,
    purge: Annotated[bool, typer.Option("--purge", help="The template and its image too.")] = False,
) -> None:
    """Remove all that the lab made, except the template and its image."""
    with Steps(err) as steps:
        left = lifecycle.down(settings_of(context), purge, steps)
    notices(err, left)
    err.print("[green]✓[/] the lab is down")


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Where each slot is, and what the scaler does."""
    report = status_report.report(settings_of(context))
    if not report["up"] and not as_json:
        deployment.require(settings_of(context))
    show(report, as_json, tables.status(report))
    if not as_json:
        notices(out, report["notices"])
    if not report["up"] or report["scaler"]["pid"] is None:
        raise typer.Exit(1)


@app.command(name="doctor")
def doctor_(context: typer.Context, as_json: Json = False) -> None:
    """What this host has, lacks, and what to do about it."""
    checks = [vars(check) for check in doctor.checks(settings_of(context))]
    show(checks, as_json, tables.doctor(checks))
    if any(check["status"] == "fail" for check in checks):
        raise typer.Exit(1)


@app.command()
def settings(context: typer.Context, as_json: Json = False) -> None:
    """The settings in force, and where each came from."""
    loaded: Loaded = context.obj
    rows = [(key, value, loaded.origins[key]) for key, value in flatten(loaded.settings).items()]
    values = {key: {"value": value, "from": origin} for key, value, origin in rows}
    show(values, as_json, tables.settings(rows))


@app.command()
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


@app.command()
def pin(context: typer.Context, servers: int) -> None:
    """Keep N servers, whatever the policy says, until `unpin`."""
    found = running(settings_of(context), servers)
    OperatorFile(found.settings.directory).pin(servers)
    err.print(f"pinned to {servers}; `lab unpin` lets the policy steer again")


@app.command()
def unpin(context: typer.Context) -> None:
    """Let the policy steer again."""
    OperatorFile(running(settings_of(context)).settings.directory).unpin()
    err.print("the policy steers")


@app.command()
def pause(context: typer.Context) -> None:
    """Let the scaler watch and explain, and do nothing."""
    OperatorFile(running(settings_of(context)).settings.directory).pause(True)
    err.print("paused; `lab resume` lets the scaler act again")


@app.command()
def resume(context: typer.Context) -> None:
    """Let the scaler act again."""
    OperatorFile(running(settings_of(context)).settings.directory).pause(False)
    err.print("the scaler acts again")


def running(settings: Settings, servers: int | None = None) -> deployment.Deployment:
    """The deployment, if the lab is up, its scaler runs and `servers` is within the limits."""
    host.require_root("steering the scaler")
    found = deployment.require(settings)
    if scaler_process.running_pid(found.settings.directory) is None:
        raise LabError("the scaler does not run: start it with `lab up`")
    pool = found.settings.pool
    if servers is not None and not pool.min <= servers <= pool.max:
        raise UsageError(
            f"{servers} servers: pool.min is {pool.min} and pool.max is {pool.max}, "
            f"so give a number from {pool.min} to {pool.max}"
        )
    return found


@app.command()
def run(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write to the log file only.")] = False,
) -> None:
    """Run the scaler here, in the foreground, until Ctrl-C."""
    host.require_root("`lab run`")
    wiring.run_scaler(deployment.require(settings_of(context)), echo=not quiet)


@app.command()
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


@template_app.command(name="build")
def template_build(context: typer.Context) -> None:
    """Build the template, unless it is up to date."""
    host.require_root("`lab template build`")
    settings = settings_of(context)
    with Steps(err) as steps:
        built = lifecycle.build_template_alone(settings, steps)
    err.print("[green]✓[/] the template is " + ("built" if built else "up to date"))


@template_app.command(name="show")
def template_show(context: typer.Context, as_json: Json = False) -> None:
    """Whether the template is there, and whether it is up to date."""
    settings = settings_of(context)
    wanted = recipe.read(settings.template.image, asset("containers"))
    found = build.show(Lxd(settings.lab.name), wanted)
    show(found, as_json, tables.settings((key, value, "") for key, value in found.items()))
    if not found["exists"]:
        raise typer.Exit(1)


def complain(message: str) -> None:
    err.print(Text("lab: ", "bold red").append(message, "default"), soft_wrap=True)


def main() -> None:
    """Run the command line; a person's mistake is one line and an exit code, never a traceback."""
    from lab import cli_load  # noqa: F401  adds its commands; last, as it uses this module

    try:
        code = app(prog_name="lab", standalone_mode=False)
    except LabError as error:
        complain(str(error))
        code = error.exit_code
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        for theirs, plain in PLAIN_WORDS.items():
            message = message.replace(theirs, plain)
        complain(f"{message.rstrip('.')} (`lab --help` lists what there is)")
        code = getattr(error, "exit_code", 2)
    except PermissionError as error:
        complain(f"{error.filename} is not yours to use: run it with sudo")
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
