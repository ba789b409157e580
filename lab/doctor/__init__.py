"""What this host has, what it lacks for the lab, and what to do about it.

It changes nothing, needs none of the programs that it looks for, and no root.
"""

from __future__ import annotations

from lab.doctor import programs, room
from lab.doctor.check import Check, Status
from lab.errors import LabError
from lab.settings import Settings

__all__ = ["Check", "Status", "checks"]

TABLE = (*programs.TABLE, *room.TABLE)
"""Every check: a function of the settings; its name is what it looks at."""


def checks(settings: Settings) -> list[Check]:
    """All of them, in the order in which they are best mended."""
    found = []
    for check in TABLE:
        try:
            found.append(check(settings))
        except (LabError, OSError) as error:
            name = check.__name__.replace("_", " ")
            found.append(Check(name, "fail", f"cannot be looked at: {error}"))
    return found
