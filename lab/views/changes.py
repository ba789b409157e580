"""What changed from one trace line to the next, each change in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lab.core.model import Observation, Operator, Phase, Verb
from lab.views import words


class Kind(StrEnum):
    """What sort of change it is; the value is the word for it in plain output."""

    START = "start"
    DECISION = "decide"
    DONE = "done"
    FAILED = "FAILED"
    BROKEN = "BROKEN"
    ERRORS = "ERRORS"
    OPERATOR = "by hand"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Event:
    at_s: float
    """Seconds since the first trace line."""
    kind: Kind
    text: str


Change = tuple[Kind, str]


def changes(
    before: Observation | None, wanted_before: int | None, line: dict[str, Any], now: Observation
) -> Iterator[Change]:
    """The changes that one trace line brings, in the order in which they came about.

    `before` and `wanted_before` are the previous line's, or None for the first line.
    """
    yield from _outcomes(line["outcomes"])
    if before is None:
        yield Kind.START, f"{now.serving} of {words.plural(len(now.slots), 'slot')} serving"
    yield from _broken(before, now)
    yield from _errors(before, now)
    if before is not None:
        yield from _operator(before.operator, now.operator)
    yield from _unknown(before.unknown if before is not None else "", now.unknown)
    yield from _decision(wanted_before, line)


def _outcomes(outcomes: list[dict[str, Any]]) -> Iterator[Change]:
    done: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        action = outcome["action"]
        if outcome["error"]:
            took = words.seconds(outcome["took_s"])
            said = f"{action['verb']} {action['slot']}: after {took}: {outcome['error']}"
            yield Kind.FAILED, said
        elif action["verb"] != Verb.DRAIN:
            # A drain only begins here, at once; the park that follows says when it ended.
            done.setdefault(action["verb"], []).append(outcome)
    for verb, group in done.items():
        slots = ", ".join(str(outcome["action"]["slot"]) for outcome in group)
        yield Kind.DONE, f"{verb} {slots}: took {_range_s([o['took_s'] for o in group])}"


def _range_s(took_s: list[float]) -> str:
    fastest, slowest = words.seconds(min(took_s)), words.seconds(max(took_s))
    if fastest == slowest:
        return slowest
    return f"{fastest.removesuffix(' s')} to {slowest}"


def _broken(before: Observation | None, now: Observation) -> Iterator[Change]:
    slots_before = before.in_phase(Phase.BROKEN) if before is not None else ()
    known = {slot.number for slot in slots_before}
    for slot in now.in_phase(Phase.BROKEN):
        if slot.number not in known:
            yield Kind.BROKEN, f"slot {slot.number}: {slot.fault or 'no reason given'}"


def _errors(before: Observation | None, now: Observation) -> Iterator[Change]:
    failed_before = before.metrics.errors_per_s if before is not None else None
    failing = now.metrics.errors_per_s
    if failing and not failed_before:
        yield Kind.ERRORS, f"{words.rate(failing)} failed requests a second"
    elif failed_before and failing == 0:
        yield Kind.DONE, "no more failed requests"


def _operator(before: Operator, now: Operator) -> Iterator[Change]:
    if now.paused != before.paused:
        yield Kind.OPERATOR, "paused" if now.paused else "resumed"
    if now.pin != before.pin:
        yield Kind.OPERATOR, "unpinned" if now.pin is None else f"pinned to {now.pin}"


def _unknown(before: str, now: str) -> Iterator[Change]:
    if now and now != before:
        yield Kind.UNKNOWN, f"{now}, so nothing is done"
    elif before and not now:
        yield Kind.UNKNOWN, "all can be observed again"


def _decision(wanted_before: int | None, line: dict[str, Any]) -> Iterator[Change]:
    """The sentence where the number changed; else what is done with which slots, and why."""
    if line["wanted"] != wanted_before and (wanted_before is not None or line["actions"]):
        yield Kind.DECISION, line["sentence"]
        return
    groups: dict[tuple[str, str], list[str]] = {}
    for action in line["actions"]:
        groups.setdefault((action["verb"], action["why"]), []).append(str(action["slot"]))
    if groups:
        said = (f"{verb} {', '.join(slots)} ({why})" for (verb, why), slots in groups.items())
        yield Kind.DECISION, "; ".join(said)
