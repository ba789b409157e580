"""What is wrong with a setting, in one plain line: `KEY = VALUE (ORIGIN): RULE; NEAREST`."""

from __future__ import annotations

import difflib
import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

MAX_VALUE = 60


class Clash(ValueError):
    """Settings that are each valid and cannot work together."""

    def __init__(self, values: Mapping[str, object], rule: str) -> None:
        """`values`: the settings that clash, by dotted key; `rule`: what to do about it."""
        super().__init__(rule)
        self.values = values


def explain(
    error: ValidationError, model: type[BaseModel], known: Sequence[str], origins: Mapping[str, str]
) -> str:
    """The first problem of `error`, in one line. `known` are the dotted keys of all settings."""
    problem = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in problem["loc"])
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, Clash):
        said = (f"{_named(key, value)}{_at(key, origins, 'default')}" for key, value in
                cause.values.items())  # fmt: skip
        return f"{', '.join(said)}: {cause}"
    origin = _at(".".join(path), origins)
    if problem["type"] == "extra_forbidden":
        near = _did_you_mean(path, [*known, *_beside(model, path)])
        return f"{_key(path)}{origin}: no such setting{near}"
    if problem["type"] == "missing":
        return f"{_key(path)}{origin}: must be given, {_missing(model, path)}"
    value = problem["input"]
    return f"{_named(_key(path), value)}{origin}: {_rule(model, path, value, cause)}"


def _rule(model: type[BaseModel], path: tuple[str, ...], value: object, cause: object) -> str:
    if isinstance(cause, ValueError):
        return str(cause)
    field = _field(model, path)
    if field is None and path[-1].isdigit():
        return "must be a table in braces, like {key = value}"
    if field is None:
        return f"must be a section: write [{_key(path)}] and its keys below it"
    return f"must be {_wanted(field, path[-1])}{_nearest(field, value)}"


def _missing(model: type[BaseModel], path: tuple[str, ...]) -> str:
    field = _field(model, path)
    return "a table in braces" if field is None else _wanted(field, path[-1])


def _beside(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """The keys that there are in the list item in which an unknown one stands."""
    if not any(part.isdigit() for part in path):
        return []
    parent = _annotation(model, path[:-1])
    names = parent.model_fields if _is_section(parent) else ()
    return [".".join((*path[:-1], name)) for name in names]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _annotation(model: type[BaseModel], path: tuple[str, ...]) -> Any:
    """The type of the setting or section at `path`; of what may be left out, without the None."""
    kind: Any = model
    for part in path:
        kind = kind.model_fields[part].annotation if _is_section(kind) else get_args(kind)[0]
        while get_origin(kind) in (Annotated, Union, types.UnionType):
            kind = get_args(kind)[0]
    return kind


def _field(model: type[BaseModel], path: tuple[str, ...]) -> dict[str, Any] | None:
    """The JSON schema of one setting; None if the path leads to a section."""
    *sections, name = path
    if _is_section(_annotation(model, path)):
        return None
    owner = _annotation(model, tuple(sections))
    if _is_section(owner):
        # Of this field alone: the section of all policies takes half a second.
        info = owner.model_fields[name]
        field: dict[str, Any] = {name: (info.annotation, info)}
        alone: Any = create_model("Alone", **field)
        whole: dict[str, Any] = alone.model_json_schema()
        schema = whole["properties"][name]
    else:
        whole = schema = TypeAdapter(get_args(owner)[0]).json_schema()
    schema = {**next(iter(schema.get("anyOf", ())), {}), **schema}
    if "$ref" in schema:
        schema = {**whole["$defs"][schema["$ref"].rsplit("/", 1)[-1]], **schema}
    return schema


def _wanted(field: dict[str, Any], name: str) -> str:
    """What a setting must be, such as "a number of seconds from 0.01 to 3600"."""
    choices = _choices(field)
    if choices:
        return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
    if "description" in field:
        return str(field["description"])
    if field.get("type") in ("integer", "number"):
        noun = "a whole number" if field["type"] == "integer" else "a number"
        if name.endswith("_ms"):
            noun += " of milliseconds"
        elif name.endswith("_s"):
            noun += " of seconds"
        return f"{noun}{_range(field)}"
    if field.get("type") == "boolean":
        return "true or false"
    if field.get("type") == "array":
        return "a list in brackets"
    return "a path in quotes" if field.get("format") == "path" else "text in quotes"


def _range(field: dict[str, Any]) -> str:
    """ " from 1 to 8", " above 0 and at most 8" and the like; "" where every number will do."""
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    least = f", at least {low}" if low is not None else ""
    if above is not None:
        least = f" above {above}"
    most = f" at most {high}" if high is not None else ""
    if below is not None:
        most = f" below {below}"
    return f"{least} and{most}" if least and most else least or most


def _choices(field: dict[str, Any]) -> list[str]:
    return list(field.get("enum") or filter(None, [field.get("const")]))


def _nearest(field: dict[str, Any], value: object) -> str:
    """The nearest valid value, where there is one; ready to be appended."""
    if choices := _choices(field):
        close = difflib.get_close_matches(str(value).lower(), choices, 1, 0.6)
        return f"; did you mean {close[0]}?" if close else ""
    if field.get("type") in ("integer", "number"):
        return _nearest_number(field, value)
    suggestion = _mended(value, field.get("pattern", "")) if isinstance(value, str) else ""
    return f"; did you mean {suggestion}?" if suggestion else ""


def _nearest_number(field: dict[str, Any], value: object) -> str:
    whole = field["type"] == "integer"
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        if not _fits(field, number) or (whole and number != int(number)):
            return ""
        return f"; write {int(number) if whole else value.strip()} without quotes"
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return ""
    inside = max(value, field.get("minimum", value))
    inside = min(inside, field.get("maximum", inside))
    if not _fits(field, inside):
        return ""
    return f"; the nearest is {round(inside) if whole else inside}"


def _fits(field: dict[str, Any], number: float) -> bool:
    return (
        math.isfinite(number)
        and field.get("minimum", -math.inf) <= number <= field.get("maximum", math.inf)
        and field.get("exclusiveMinimum", -math.inf) < number
        and number < field.get("exclusiveMaximum", math.inf)
    )


def _mended(value: str, pattern: str) -> str:
    """A likely meant spelling that matches: `256mb` is 256MiB, `My_Lab` is my-lab."""
    size = re.fullmatch(r"\s*0*(\d{1,9})\s*([mg])i?b?\s*", value, re.IGNORECASE | re.ASCII)
    image = re.fullmatch(r"(ubuntu|debian|images)[ /-]([\w./-]+)", value.strip().lower())
    tries = (
        f"{size[1]}{size[2].upper()}iB" if size else "",
        f"{image[1]}:{image[2]}" if image else "",
        re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:10].rstrip("-"),
    )
    return next((t for t in tries if t and pattern and re.fullmatch(pattern, t)), "")


def _did_you_mean(path: tuple[str, ...], known: Sequence[str]) -> str:
    """The most alike key: as a whole, else by its last name, in its own section first."""
    key, section = ".".join(path), ".".join(path[:-1])
    depth = key.count(".")
    sections = {s for name in known if (s := name.rsplit(".", 1)[0]).count(".") == depth}
    level = {name for name in known if name.count(".") == depth}
    close = difflib.get_close_matches(key, sorted(level | sections), 1, 0.7)
    if not close:
        ordered = sorted(known, key=lambda name: not name.startswith(f"{section}."))
        by_name: dict[str, str] = {}
        for name in ordered:
            by_name.setdefault(name.rsplit(".", 1)[-1], name)
        alike = difflib.get_close_matches(path[-1], list(by_name), 1, 0.6)
        close = [by_name[name] for name in alike]
    return f"; did you mean {close[0]}?" if close else "; `lab settings` lists all there are"


def _at(key: str, origins: Mapping[str, str], otherwise: str = "") -> str:
    """Where a key was set, in brackets; else where something in it, or the section around it."""
    within = [origin for name, origin in origins.items() if name.startswith(f"{key}.")]
    origin = origins.get(key) or otherwise or (within[-1] if within else "")
    if not origin and "." in key:
        return _at(key.rsplit(".", 1)[0], origins)
    return f" ({origin})" if origin else ""


def _named(key: str, value: object) -> str:
    return f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    """The value as it would be written, on one line and not too long."""
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return "[…]" if value else "[]"
    if isinstance(value, str | bool):
        plain = isinstance(value, bool) or value.isprintable()
        return _short(json.dumps(value, ensure_ascii=not plain))
    if isinstance(value, int) and abs(value) >= 10**MAX_VALUE:
        return "(a huge number)"
    return _short(str(value))


def _key(path: tuple[str, ...]) -> str:
    bare = re.compile(r"[A-Za-z0-9_-]+")
    return _short(".".join(part if bare.fullmatch(part) else json.dumps(part) for part in path))


def _short(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
