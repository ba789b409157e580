"""A scenario file: the load, the requests, and the envelope that must hold.

    about = "one plain sentence"
    settle_s = 40                    # how long to keep recording after the load ended, at most

    [load]                           # users: points, ramp, steps, spike; see lab/load/shapes.py
    kind = "points"                  # requests a second: rate, day, …; see lab/load/rates.py
    points = [[0, 2], [30, 26], [60, 2]]

    [requests]
    think_s = 0.0                    # a user's pause between an answer and its next request
    seed = 1                         # of the order in which the mix is taken from, and of arrivals
    mix = [{ path = "/work?ms=200", weight = 9 }, { path = "/", weight = 1 }]

    [envelope]                       # see lab/load/expectations.py for the forms
    expect = [{ at_least = 4, serving_by_s = 40 }, { max_failed = 0 }]

The scenario's name is the file's name without `.toml`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from lab.assets import asset
from lab.errors import UsageError
from lab.load.expectations import (
    FORMS,
    HOW_TO_WRITE,
    AnyExpectation,
    Expectation,
    ServingAtLeast,
    ServingAtMost,
)
from lab.load.rates import RATE_SHAPES, AnyRateShape
from lab.load.shapes import SHAPES, AnyUserShape, Closed, RateShape, Seconds, Shape

KINDS: dict[str, type[Closed]] = {**SHAPES, **RATE_SHAPES}
AnyShape = Annotated[AnyUserShape | AnyRateShape, Field(discriminator="kind")]

USERS_OWN = Path("loadtests/scenarios")
"""Where a user's own scenarios are looked for, below the directory that the lab is run in."""


class Request(Closed):
    path: Annotated[str, Field(pattern=r"^/\S*$")]
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class Requests(Closed):
    mix: Annotated[tuple[Request, ...], Field(min_length=1)]
    think_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    seed: int = 1


class Envelope(Closed):
    expect: Annotated[tuple[AnyExpectation, ...], Field(min_length=1)]


class Document(Closed):
    """What stands in the file."""

    about: Annotated[str, Field(min_length=1)]
    settle_s: Seconds = 0.0
    load: AnyShape
    requests: Requests
    envelope: Envelope

    @model_validator(mode="after")
    def _envelope_within_the_run(self) -> Document:
        end_s = self.load.duration_s + self.settle_s
        for index, expectation in enumerate(self.envelope.expect):
            if (
                isinstance(expectation, ServingAtLeast | ServingAtMost)
                and expectation.serving_by_s > end_s
            ):
                raise ValueError(
                    f"envelope.expect[{index}].serving_by_s = {expectation.serving_by_s:g} is past "
                    f"the end of the run at {end_s:g} s (load and settle_s): make settle_s larger"
                )
        return self


@dataclass(frozen=True)
class Scenario:
    name: str
    path: Path
    about: str
    settle_s: float
    """Recording goes on for at most so long after the load ended."""
    load: Shape | RateShape
    requests: Requests
    expect: tuple[Expectation, ...]

    @property
    def duration_s(self) -> float:
        """Of the load; the run takes up to `settle_s` more."""
        return self.load.duration_s

    def require_users(self) -> Shape:
        """The load as users. Raises `UsageError` when it is a rate, which users cannot keep up."""
        if isinstance(self.load, Shape):
            return self.load
        raise UsageError(
            f"{self.name}: its load is a rate (requests a second), which Locust's users do not "
            f"keep up when the service is slow: `lab sim {self.name}` simulates it"
        )

    def users_at(self, t_s: float) -> int:
        return self.require_users().users_at(t_s)


def list_scenarios() -> dict[str, Path]:
    """All scenarios by name: the shipped ones, and the user's own, which go before them."""
    places = (asset("loadtests") / "scenarios", USERS_OWN)
    found = {path.stem: path for place in places for path in sorted(place.glob("*.toml"))}
    return dict(sorted(found.items()))


def find_scenario(text: str) -> Path:
    """The file that `text` means: a path (it has a `/` or ends in `.toml`) or a name.

    Raises `UsageError` when there is none.
    """
    if "/" in text or text.endswith(".toml"):
        return Path(text)
    known = list_scenarios()
    if text in known:
        return known[text]
    close = difflib.get_close_matches(text, known, 1, 0.5)
    meant = f": did you mean {close[0]}?" if close else ":"
    raise UsageError(
        f"no scenario {text!r}{meant} There are {', '.join(known) or 'none'}; "
        "or give the path of a .toml file"
    )


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Find, read and check a scenario. Raises `UsageError` of one line that says what is wrong."""
    path = find_scenario(str(name_or_path))
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", path.stem, re.ASCII):
        raise UsageError(
            f"{path}: the run folder is named after the scenario: "
            "use letters, digits, '-', '_' and '.' in the file's name"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        document = Document.model_validate(table, context={"folder": path.parent})
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: `lab load` lists the scenarios") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{path}: {_one_line(error)}") from None
    return Scenario(
        path.stem,
        path.resolve(),
        document.about,
        document.settle_s,
        document.load,
        document.requests,
        document.envelope.expect,
    )


def _one_line(error: ValidationError) -> str:
    # A misspelt key is also a missing one; the spelling is what helps.
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    loc = problem["loc"]
    key = _key(loc)
    match problem["type"]:
        case "extra_forbidden":
            fields = list(_table_at(list(loc[:-1])).model_fields)
            return f"unknown key {key}: {_nearest(str(loc[-1]), fields)}"
        case "missing":
            return f"{key} is missing"
        case "union_tag_not_found":
            return f"{key}.kind is missing: one of {', '.join(KINDS)}"
        case "union_tag_invalid":
            kind = problem["input"]["kind"]
            return f"{key}.kind = {kind!r}: {_nearest(str(kind), list(KINDS))}"
        case "no_such_expectation":
            written = problem["input"]
            first = str(next(iter(written), "")) if isinstance(written, dict) else str(written)
            return f"{key} is none of {HOW_TO_WRITE}: {_nearest(first, list(FORMS))}"
        case "value_error":
            reason = str(problem["ctx"]["error"])
            return f"{key}: {reason}" if key else reason
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key} = {problem['input']!r}: {message}"


def _key(loc: tuple[int | str, ...]) -> str:
    """`("envelope", "expect", 0, "at_least", "at_least")` → `envelope.expect[0].at_least`."""
    key = ""
    for index, part in enumerate(loc):
        if index == _union_tag_at(loc):
            continue
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _union_tag_at(loc: tuple[int | str, ...]) -> int | None:
    """Where pydantic's path names the form of a union, which does not stand in the file."""
    if loc[:1] == ("load",):
        return 1
    return 3 if loc[:2] == ("envelope", "expect") else None


def _nearest(written: str, known: list[str]) -> str:
    close = difflib.get_close_matches(written, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"known here are {', '.join(known)}"


def _table_at(table: list[Any]) -> type[Closed]:
    match table:
        case ["load", str(kind)]:
            return KINDS[kind]
        case ["requests"]:
            return Requests
        case ["requests", "mix", _]:
            return Request
        case ["envelope"]:
            return Envelope
        case ["envelope", "expect", _, str(form)]:
            return FORMS[form]
    return Document
