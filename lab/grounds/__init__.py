"""What a live lab stands on, for each world: what `up` makes before a server can serve."""

from __future__ import annotations

from lab.grounds.base import Ground
from lab.grounds.lxd import LxdGround
from lab.grounds.process import ProcessGround
from lab.settings import Settings


def of(settings: Settings) -> Ground:
    """The ground of the world that the settings name."""
    return ProcessGround() if settings.lab.world == "process" else LxdGround()
