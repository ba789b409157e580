"""Reads a settings file and `--set` overrides: the values, and where each one stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError

BY_HAND = "--set"


@dataclass(frozen=True)
class Source:
    """What the user wrote: nested sections, and the origin of each dotted key in them."""

    document: dict[str, Any]
    origins: dict[str, str]
    """`FILE:LINE` or `--set`; also for sections, by the line that opens them."""


def read(path: Path | None, overrides: tuple[str, ...] = ()) -> Source:
    """The file's values (None: no file) with the overrides, each `section.key=value`, on top.

    Raises UsageError where the file cannot be read or either is not written as it should be.
    """
    try:
        return _read(path, overrides)
    except RecursionError:
        raise UsageError(f"{path or BY_HAND}: nested too deeply") from None


def _read(path: Path | None, overrides: tuple[str, ...]) -> Source:
    document: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        text = _text(path)
        document = _parse(path, text)
        origins = {key: f"{path.name}:{line}" for key, line in _lines_of_keys(text)}
    for override in overrides:
        for key in _apply(document, override):
            origins[key] = BY_HAND
    return Source(document, origins)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}: name a readable file with --settings"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        # tomllib ends its messages in "(at line 3, column 5)".
        message, at = str(error), re.search(r" \(at line (\d+), column \d+\)$", str(error))
        where = f"{path}:{at[1]}" if at else str(path)
        what = message[: at.start()] if at else message.removesuffix(" (at end of document)")
        raise UsageError(f"{where}: not TOML: {what}") from None


def _lines_of_keys(text: str) -> Iterator[tuple[str, int]]:
    """Each dotted key and section of a valid TOML text with the line on which it begins.

    TOML's statements end with a line, so lines are gathered until they parse: that is exact for
    dotted and quoted keys, inline tables and values of several lines, and needs no second grammar.
    """
    section: tuple[str, ...] = ()
    statement, begin = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except ValueError:
            continue
        if statement.lstrip().startswith("["):
            section = _path_of_header(parsed)
            yield ".".join(section), begin
        else:
            for key in _keys(parsed):
                yield ".".join((*section, *key)), begin
        statement, begin = "", number + 1


def _path_of_header(parsed: Any) -> tuple[str, ...]:
    path: list[str] = []
    while parsed:
        name, parsed = next(iter(parsed.items()))
        path.append(name)
        parsed = parsed[0] if isinstance(parsed, list) else parsed
    return tuple(path)


def _keys(value: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths of all sections and values in a parsed statement."""
    for name, inner in value.items():
        yield (name,)
        if isinstance(inner, dict):
            yield from ((name, *key) for key in _keys(inner))


def _apply(document: dict[str, Any], override: str) -> list[str]:
    """Put one override into the document; the keys that it sets."""
    key, equals, text = override.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        raise UsageError(
            f"--set {_quoted(override)}: write it as section.key=value, like pool.max=6"
        )
    place = document
    for depth, name in enumerate(names[:-1], 1):
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            path = _quoted(".".join(names[:depth]))
            raise UsageError(f"--set {_quoted(override)}: {path} is no section")
    value = _value(text)
    _merge(place, names[-1], value)
    inner = _keys(value) if isinstance(value, dict) else ()
    return [".".join(names), *(".".join((*names, *more)) for more in inner)]


def _value(text: str) -> Any:
    """A TOML value, or the text itself, so that strings need no quotes in the shell."""
    try:
        parsed = tomllib.loads(f"v = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return parsed["v"] if len(parsed) == 1 else text


def _merge(place: dict[str, Any], name: str, value: Any) -> None:
    before = place.get(name)
    if isinstance(before, dict) and isinstance(value, dict):
        for inner, more in value.items():
            _merge(before, inner, more)
    else:
        place[name] = value


def _quoted(text: str) -> str:
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= 60 else shown[:59] + "…"
