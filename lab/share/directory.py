"""The plain kind of share: LXD gets the shared directory itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.share.content import Content


@dataclass(frozen=True, slots=True)
class DirectoryShare:
    content: Content
    before: Callable[[], None]
    """Called first by `up`: takes away what an earlier share of another kind left."""
    why: str = ""
    """Why it is not NFS, where that would have been taken."""

    @property
    def kind(self) -> str:
        return "directory"

    @property
    def notice(self) -> str:
        notes = [self.why] if self.why else []
        if self.content.is_foreign():
            notes.append(
                f"{self.content.path} held files before the lab, so its ownership stays as it is: "
                f"the clones can write only what user {self.content.application_id} can"
            )
        return "; ".join(notes)

    @property
    def source(self) -> Path:
        return self.content.path

    def up(self) -> None:
        self.before()
        self.content.prepare()

    def down(self, purge: bool) -> str:
        return self.content.remove() if purge else ""
