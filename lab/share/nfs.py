"""The NFS kind of share: exported by this host's kernel, mounted by this host, given to LXD.

An unprivileged container cannot mount NFS, but it can be given a mount of the host's. Whoever
writes through it writes as one user ("squashed"), so nothing in a clone has to match the host's
ids.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lab import host
from lab.errors import LabError
from lab.host import nfs_server
from lab.share import export
from lab.share.content import Content
from lab.share.export import CLIENT

MOUNT_OPTIONS = (
    "vers=4.2,nosuid,nodev,"
    # An edit shows at once. With NFS's own caching, 67 of 100 pages that an editor replaced by
    # renaming were served stale, and new files stayed invisible; with this, none of 350.
    "actimeo=0,"
    # A dead server gives an error after 1 + 2 + 3 s; "hard" would hang every clone's workers.
    "soft,timeo=10,retrans=2"
)
MOUNT_TIMEOUT_S = 60.0
MOUNT_DEADLINE_S = 60.0
UNMOUNT_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class NfsShare:
    content: Content
    mount_point: Path
    """In a directory of its own, which `up` makes and closes to all but root."""

    @property
    def kind(self) -> str:
        return "nfs"

    @property
    def notice(self) -> str:
        if not self.content.is_foreign():
            return ""
        uid, _ = self.content.squash_ids
        return (
            f"{self.content.path} held files before the lab, so its ownership stays as it is: "
            f"the clones write as user {uid}"
        )

    @property
    def source(self) -> Path:
        return self.mount_point

    def up(self) -> None:
        if obstacle := nfs_server.obstacle():
            raise LabError(str(obstacle))
        self.content.prepare()
        nfs_server.start(self.content.lab)
        export.publish(self.content.lab, str(self.content.path), *self.content.squash_ids)
        if not self._is_mounted():
            self._unmount()
            self._mount()

    def down(self, purge: bool) -> str:
        self.withdraw()
        return self.content.remove() if purge else ""

    def withdraw(self) -> None:
        """Take away mount and export, whatever is left of them, but not the directory."""
        self._unmount()
        for place in (self.mount_point, self.mount_point.parent):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
        export.withdraw(self.content.lab)
        nfs_server.stop(self.content.lab)

    def _mount(self) -> None:
        # Whoever writes through the mount writes as the clones do, so it is behind a closed door.
        self.mount_point.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.mount_point.mkdir(exist_ok=True)
        source = f"{CLIENT}:{self.content.path}"
        command = ["mount", "-t", "nfs4", "-o", MOUNT_OPTIONS, source, str(self.mount_point)]
        until = time.monotonic() + MOUNT_DEADLINE_S
        while True:
            try:
                host.run(command, MOUNT_TIMEOUT_S)
                return
            except LabError:
                # A server that has just started, or a client that still waits for a stalled one.
                if time.monotonic() > until:
                    raise
                time.sleep(1)

    def _is_mounted(self) -> bool:
        """Whether our export, and nothing else, is mounted there and answers."""
        if mounts_at(self.mount_point) != [("nfs4", f"{CLIENT}:{self.content.path}")]:
            return False
        try:
            host.run(["ls", str(self.mount_point)], MOUNT_TIMEOUT_S)
        except LabError:
            return False
        return True

    def _unmount(self) -> None:
        for _ in mounts_at(self.mount_point):
            try:
                host.run(["umount", str(self.mount_point)], UNMOUNT_TIMEOUT_S)
            except LabError:
                # In use, or its server is dead: out of sight now, gone with its last user.
                host.run(["umount", "-f", "-l", str(self.mount_point)], UNMOUNT_TIMEOUT_S)


def mounts_at(place: Path, mountinfo: str | None = None) -> list[tuple[str, str]]:
    """(type, source) of each mount on `place`, in the order in which they were stacked.

    `mountinfo`: the text of /proc/self/mountinfo, if not this moment's.
    """
    found = []
    text = mountinfo or Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        if export.unescape(left.split(" ")[4]) == str(place):
            kind, source = right.split(" ")[:2]
            found.append((kind, export.unescape(source)))
    return found
