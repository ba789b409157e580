"""The commands that make the lab, remove it, and look at it."""

from __future__ import annotations

from typing import Annotated

import typer

from lab import deployment, host, lifecycle
from lab import doctor as host_doctor
from lab import status as status_report
from lab.assets import asset
from lab.cli.base import Json, World, bring_up, err, notices, out, settings_of, show
from lab.lxd.client import Lxd
from lab.settings import Loaded, flatten
from lab.template import build, recipe
from lab.views import tables
from lab.views.steps import Steps


def up(context: typer.Context, world: World = None) -> None:
    """Bring the lab up, or bring it in line with the settings."""
    bring_up(settings_of(context, world))


def down(
    context: typer.Context,
    purge: Annotated[bool, typer.Option("--purge", help="The template and its image too.")] = False,
) -> None:
    """Remove all that the lab made, except the template and its image."""
    with Steps(err) as steps:
        left = lifecycle.down(settings_of(context), purge, steps)
    notices(err, left)
    err.print("[green]✓[/] the lab is down")


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


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """What this host has, lacks, and what to do about it."""
    checks = [vars(check) for check in host_doctor.checks(settings_of(context))]
    show(checks, as_json, tables.doctor(checks))
    if any(check["status"] == "fail" for check in checks):
        raise typer.Exit(1)


def settings(context: typer.Context, as_json: Json = False) -> None:
    """The settings in force, and where each came from."""
    loaded: Loaded = context.obj
    rows = [(key, value, loaded.origins[key]) for key, value in flatten(loaded.settings).items()]
    values = {key: {"value": value, "from": origin} for key, value, origin in rows}
    show(values, as_json, tables.settings(rows))


def template_build(context: typer.Context) -> None:
    """Build the template, unless it is up to date."""
    host.require_root("`lab template build`")
    settings = settings_of(context)
    with Steps(err) as steps:
        built = lifecycle.build_template_alone(settings, steps)
    err.print("[green]✓[/] the template is " + ("built" if built else "up to date"))


def template_show(context: typer.Context, as_json: Json = False) -> None:
    """Whether the template is there, and whether it is up to date."""
    settings = settings_of(context)
    wanted = recipe.read(settings.template.image, asset("containers"))
    found = build.show(Lxd(settings.lab.name), wanted)
    show(found, as_json, tables.settings((key, value, "") for key, value in found.items()))
    if not found["exists"]:
        raise typer.Exit(1)
