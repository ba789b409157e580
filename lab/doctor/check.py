"""What one look at the host says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    name: str
    status: Status
    """`fail`: the lab cannot run; `warn`: it can, with the limitation that `detail` names."""
    detail: str
    remedy: str = ""
    """What to type or to set; "" if there is nothing to do."""


def install(package: str) -> str:
    """The command that installs a package."""
    return f"sudo apt-get install {package}"
