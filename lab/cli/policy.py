"""The commands about policies: which there are, what they do, and which one steers."""

from __future__ import annotations

import difflib
from typing import Any

import typer

from lab import deployment
from lab.cli.base import Json, err, running, settings_of, show
from lab.core.policies.registry import BY_NAME, POLICIES
from lab.errors import UsageError
from lab.operator import OperatorFile
from lab.settings import Settings
from lab.views.policies import policy_list, policy_page


def list_(context: typer.Context, as_json: Json = False) -> None:
    """All policies, and which of them steers."""
    settings, steers = _in_force(settings_of(context))
    shadows = settings.policy.shadow
    names = {"policies": list(BY_NAME), "steer": steers, "shadow": list(shadows)}
    show(names, as_json, policy_list(POLICIES, steers, shadows))


def show_(context: typer.Context, name: str, as_json: Json = False) -> None:
    """What a policy does, where it is from, and its settings."""
    known(name)
    settings, _ = _in_force(settings_of(context))
    values = getattr(settings.policy, BY_NAME[name].name).model_dump(mode="json")
    show(values, as_json, policy_page(BY_NAME[name], values))


def set_(context: typer.Context, name: str) -> None:
    """Let another policy steer the running lab, from its next tick on, until `down`."""
    known(name)
    found = running(settings_of(context))
    OperatorFile(found.settings.directory).steer(name)
    err.print(f"{name} steers; `lab explain` shows its next decision")


def known(name: str) -> None:
    if name not in BY_NAME:
        close = difflib.get_close_matches(name, BY_NAME, 1, 0.5)
        hint = f"did you mean {close[0]}?" if close else "`lab policy list` lists them"
        raise UsageError(f"there is no policy {name!r}: {hint}")


def _in_force(asked: Settings) -> tuple[Any, str]:
    """The settings of the lab if it is up, and who steers it; else those that were asked for."""
    found = deployment.read(asked)
    if found is None:
        return asked, asked.policy.steer
    by_hand = OperatorFile(found.settings.directory).wishes().policy
    return found.settings, by_hand or found.settings.policy.steer
