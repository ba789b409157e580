"""What the commands share: the two consoles, the settings, and how things are printed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from lab import deployment, grounds, host, lifecycle
from lab import scaler as scaler_process
from lab.errors import LabError, UsageError
from lab.settings import Loaded, Settings
from lab.views.steps import Steps

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


World = Annotated[
    Literal["lxd", "process"] | None,
    typer.Option("--world", help="Containers, or local processes without root."),
]


def settings_of(context: typer.Context, world: str | None = None) -> Settings:
    """The settings of this command; `world` goes before `lab.world`."""
    loaded: Loaded = context.obj
    if world is None:
        return loaded.settings
    in_world = loaded.settings.lab.model_copy(update={"world": world})
    return loaded.settings.model_copy(update={"lab": in_world})


def show(value: Any, as_json: bool, drawn: RenderableType) -> None:
    if as_json:
        out.print_json(json.dumps(value, default=str))
    else:
        out.print(drawn)


def notices(console: Console, texts: Iterable[str]) -> None:
    for text in texts:
        console.print(Text("! ", "yellow").append(text, "default"), soft_wrap=True)


def complain(message: str) -> None:
    err.print(Text("lab: ", "bold red").append(message, "default"), soft_wrap=True)


def bring_up(settings: Settings) -> deployment.Deployment:
    with Steps(err) as steps:
        new = lifecycle.up(settings, steps)
    notices(err, new.notices)
    err.print(f"[green]✓[/] the lab serves at [bold]{new.service_url}[/]")
    return new


def running(settings: Settings, servers: int | None = None) -> deployment.Deployment:
    """The deployment, if the lab is up, its scaler runs and `servers` is within the limits."""
    found = deployment.require(settings)
    if grounds.of(found.settings).needs_root:
        host.require_root("steering the scaler")
    if scaler_process.running_pid(found.settings.directory) is None:
        raise LabError("the scaler does not run: start it with `lab up`")
    pool = found.settings.pool
    if servers is not None and not pool.min <= servers <= pool.max:
        raise UsageError(
            f"{servers} servers: pool.min is {pool.min} and pool.max is {pool.max}, "
            f"so give a number from {pool.min} to {pool.max}"
        )
    return found
