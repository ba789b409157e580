"""The command line: parse, call, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from lab import __version__
from lab.cli import ground, policy, simulated, steer, work
from lab.cli.base import complain, out
from lab.errors import LabError
from lab.host import processes
from lab.settings import load

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
policy_app = typer.Typer(help="The policies, and which one steers.")
app.add_typer(policy_app, name="policy", no_args_is_help=True)

ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}
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


COMMANDS: tuple[Callable[..., None], ...] = (
    ground.up,
    ground.down,
    ground.status,
    ground.doctor,
    ground.settings,
    steer.scale,
    steer.pin,
    steer.unpin,
    steer.pause,
    steer.resume,
    steer.run,
    steer.logs,
    steer.explain,
    work.demo,
    simulated.sim,
    simulated.compare,
    simulated.validate,
    work.bench,
)
for command in COMMANDS:
    app.command()(command)
app.command(context_settings=ANY_ARGUMENTS)(work.load)
policy_app.command(name="list")(policy.list_)
policy_app.command(name="show")(policy.show_)
policy_app.command(name="set")(policy.set_)
template_app.command(name="build")(ground.template_build)
template_app.command(name="show")(ground.template_show)


def main() -> None:
    """Run the command line; a person's mistake is one line and an exit code, never a traceback."""
    # A plain user's PATH lacks the directories that HAProxy and ip are in.
    os.environ["PATH"] = processes.SEARCH_PATH
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
