"""Faults to inject: values that say what goes wrong, when, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lab.core.model import Action, Verb


@dataclass(frozen=True, slots=True)
class SlowBoot:
    """Clones that are started from `at_s` on, for `for_s`, take `extra_s` longer to answer."""

    at_s: float
    for_s: float
    extra_s: float = math.inf
    """Infinite: they boot and never listen."""
    slot: int | None = None
    """None: any."""


@dataclass(frozen=True, slots=True)
class Dies:
    """A clone stops all by itself: killed, or out of memory."""

    at_s: float
    slot: int | None = None
    """None: the first one that serves."""


@dataclass(frozen=True, slots=True)
class Hangs:
    """A clone runs and says nothing any more, for `for_s`."""

    at_s: float
    for_s: float = math.inf
    slot: int | None = None
    """None: the first one that serves."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something cannot be observed for `for_s`: all that HAProxy or LXD know, or only metrics."""

    at_s: float
    for_s: float
    what: Literal["haproxy", "lxd", "metrics", "log"] = "metrics"


@dataclass(frozen=True, slots=True)
class ActionFails:
    """A step of an action ends in an error, if it begins within `for_s`."""

    at_s: float
    for_s: float
    step: Literal["create", "start", "ready", "join", "drain", "shut", "stop", "delete"]
    why: str = "LXD: refused"
    verb: Verb | None = None
    """None: whatever the action."""
    slot: int | None = None
    """None: any."""


NAMES = {"lxd": "LXD", "haproxy": "HAProxy"}
OF = {"haproxy": ("join", "drain", "shut"), "lxd": ("create", "start", "stop", "delete")}
"""The steps that ask HAProxy or LXD to do something."""

Fault = SlowBoot | Dies | Hangs | Missing | ActionFails


class Faults:
    """Answers what is wrong at a moment."""

    def __init__(self) -> None:
        self._faults: tuple[SlowBoot | ActionFails, ...] = ()
        self._missing: tuple[Missing, ...] = ()

    def add(self, fault: SlowBoot | ActionFails | Missing) -> None:
        if isinstance(fault, Missing):
            self._missing += (fault,)
        else:
            self._faults += (fault,)

    def extra_boot_s(self, slot: int, now_s: float) -> float:
        return sum(
            fault.extra_s
            for fault in self._faults
            if isinstance(fault, SlowBoot) and _covers(fault, slot, now_s)
        )

    def failure(self, action: Action, step: str, now_s: float) -> str:
        """Why this step fails; "" if it does not."""
        for what in self.missing(now_s) & OF.keys():
            if step in OF[what]:
                return f"{NAMES[what]} does not answer"
        for fault in self._faults:
            if (
                isinstance(fault, ActionFails)
                and fault.step == step
                and fault.verb in (None, action.verb)
                and _covers(fault, action.slot, now_s)
            ):
                return fault.why
        return ""

    def missing(self, now_s: float) -> set[str]:
        """What cannot be observed."""
        if not self._missing:
            return set()
        return {fault.what for fault in self._missing if _lasts(fault, now_s)}


def _covers(fault: SlowBoot | ActionFails, slot: int, now_s: float) -> bool:
    return fault.slot in (None, slot) and _lasts(fault, now_s)


def _lasts(fault: SlowBoot | ActionFails | Missing, now_s: float) -> bool:
    return fault.at_s <= now_s < fault.at_s + fault.for_s
