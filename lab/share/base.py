"""What every kind of share offers: a directory of the host's that all clones see at once."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Share(Protocol):
    @property
    def kind(self) -> str:
        """`nfs` or `directory`."""

    @property
    def notice(self) -> str:
        """What a person should know about it, in one line, like why it is not NFS; or ""."""

    @property
    def source(self) -> Path:
        """The host's path that LXD passes into every clone as a disk device."""

    def up(self) -> None:
        """Make it so, whatever an earlier or an interrupted run left. Raises `LabError`."""

    def down(self, purge: bool) -> str:
        """Undo `up`; `purge`: the shared directory's own files too, as far as the lab made them.

        Returns what was left in place and why, or "". Raises `LabError`.
        """
