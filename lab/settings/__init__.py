"""The lab's settings: `lab.toml`, checked, with the line that each value came from.

Every key has a default, so an empty file is a valid one. An unknown key, a value out of its range
or a combination that cannot work is a `UsageError` of one line that names the key and what would
be right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lab.errors import UsageError
from lab.settings import file
from lab.settings.model import FIRST_HOST, Policy, Settings
from lab.settings.words import explain

__all__ = ["FIRST_HOST", "Loaded", "Settings", "flatten", "load", "policy_names"]


@dataclass(frozen=True)
class Loaded:
    settings: Settings
    origins: dict[str, str]
    """Where each key's value came from: `default`, `FILE:LINE` or `--set`."""


def load(path: Path | None, overrides: tuple[str, ...] = ()) -> Loaded:
    """Read `path` (None: defaults only), then apply `overrides`, each `section.key=value`.

    Raises UsageError, in one line, for whatever cannot be right.
    """
    source = file.read(path, overrides)
    known = list(flatten(Settings()))
    try:
        settings = Settings.model_validate(source.document)
    except ValidationError as error:
        raise UsageError(explain(error, Settings, known, source.origins)) from None
    return Loaded(settings, {key: source.origins.get(key, "default") for key in known})


def flatten(settings: Settings) -> dict[str, Any]:
    """All values by their dotted key, in the order of the sections."""

    def walk(prefix: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, BaseModel):
            return {prefix: _shown(value)}
        found: dict[str, Any] = {}
        for name in type(value).model_fields:
            found |= walk(f"{prefix}.{name}" if prefix else name, getattr(value, name))
        return found

    return walk("", settings)


def _shown(value: Any) -> Any:
    """A list as it would be written: tables in it without the keys that have no value."""
    if isinstance(value, tuple):
        return list(map(_shown, value))
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    return value


def policy_names() -> tuple[str, ...]:
    return get_args(Policy.model_fields["steer"].annotation)
