"""The protocol of a ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lab.balancer.config import Server
from lab.deployment import Deployment
from lab.progress import Progress
from lab.settings import Settings
from lab.worlds.base import Fleet


class Ground(Protocol):
    @property
    def needs_root(self) -> bool: ...

    def find_place(self, asked: Settings) -> tuple[Settings, list[str]]:
        """`asked` with what is free on this host, and a notice for each that had to change."""
        ...

    def lay(
        self, settings: Settings, asked: Settings, progress: Progress, notices: Sequence[str] = ()
    ) -> Deployment:
        """Make all that clones stand on, except the lab's own directory."""
        ...

    def fleet(self, deployment: Deployment) -> Fleet: ...

    def servers(self, settings: Settings) -> tuple[Server, ...]:
        """HAProxy's server line of each slot, in order."""
        ...

    def stale(self, deployment: Deployment) -> list[int]:
        """The slots whose clones were made from another template or with other settings."""
        ...

    def clear(self, settings: Settings, purge: bool, progress: Progress) -> tuple[str, ...]:
        """Remove the clones and what they stood on; what was left in place, and why."""
        ...
