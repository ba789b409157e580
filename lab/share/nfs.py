"""The NFS kind of share: exported by this host's kernel, mounted by this host, given to LXD.

An unprivileged container cannot mount NFS, but it can be given a mount of the host's. The export
goes to 127.0.0.1 only, and whoever writes through it writes as one user ("squashed"), so nothing in
a clone has to match the host's ids.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from lab import host
from lab.errors import LabError
from lab.host import nfs_server
from lab.share.content import Content

CLIENT = "127.0.0.1"
MOUNT_OPTIONS = (
    "vers=4.2,nosuid,nodev,"
    # An edit shows at once. With NFS's own caching, 67 of 100 pages that an editor replaced by
    # renaming were served stale, and new files stayed invisible; with this, none of 350.
    "actimeo=0,"
    # A dead server gives an error after 1 + 2 + 3 s; "hard" would hang every clone's workers.
    "soft,timeo=10,retrans=2"
)
COMMAND_TIMEOUT_S = 60.0
MOUNT_DEADLINE_S = 60.0
UNMOUNT_TIMEOUT_S = 15.0

_EXPORTS = Path("/etc/exports.d")
_MADE_MARK = "trusted.lab.made"


@dataclass(frozen=True, slots=True)
class NfsShare:
    content: Content
    mount_point: Path

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

    @property
    def export_file(self) -> Path:
        return _EXPORTS / f"lab-{self.content.lab}.exports"

    def up(self) -> None:
        if obstacle := nfs_server.obstacle():
            raise LabError(str(obstacle))
        self.content.prepare()
        nfs_server.start(self.content.lab)
        self._export()
        if not self._is_mounted():
            self._unmount()
            self._mount()

    def down(self, purge: bool) -> str:
        self.withdraw()
        return self.content.remove() if purge else ""

    def withdraw(self) -> None:
        """Take away mount and export, whatever is left of them, but not the directory."""
        self._unmount()
        if self.mount_point.is_dir() and not any(self.mount_point.iterdir()):
            self.mount_point.rmdir()
        self._unexport()
        nfs_server.stop(self.content.lab)

    # --- export. Only ever our own: `exportfs -ra` would also drop what others exported by hand.

    def _export(self) -> None:
        path = str(self.content.path)
        exported = self._exported_path()
        if exported and exported != path:
            _exportfs("-u", f"{CLIENT}:{exported}")
        if not _EXPORTS.is_dir():
            _EXPORTS.mkdir(mode=0o755)
            _mark_as_made(_EXPORTS)
        options = export_options(path, *self.content.squash_ids)
        # The server reads it when it starts again; only names that end in .exports count.
        draft = self.export_file.with_suffix(".new")
        draft.write_text(
            f"# The lab's, rewritten by `lab up` and removed by `lab down`.\n"
            f"{escape(path)} {CLIENT}({options})\n"
        )
        draft.replace(self.export_file)
        _exportfs("-o", options, f"{CLIENT}:{path}")

    def _unexport(self) -> None:
        if path := self._exported_path():
            # Not exported, or the package is gone: either way nothing is left to undo.
            with contextlib.suppress(LabError):
                _exportfs("-u", f"{CLIENT}:{path}")
        self.export_file.with_suffix(".new").unlink(missing_ok=True)
        self.export_file.unlink(missing_ok=True)
        if _EXPORTS.is_dir() and not any(_EXPORTS.iterdir()) and _is_made(_EXPORTS):
            _EXPORTS.rmdir()

    def _exported_path(self) -> str:
        try:
            return exported_path(self.export_file.read_text())
        except OSError:
            return ""

    # --- mount

    def _mount(self) -> None:
        self.mount_point.mkdir(parents=True, exist_ok=True)
        source = f"{CLIENT}:{self.content.path}"
        command = ["mount", "-t", "nfs4", "-o", MOUNT_OPTIONS, source, str(self.mount_point)]
        until = time.monotonic() + MOUNT_DEADLINE_S
        while True:
            try:
                host.run(command, COMMAND_TIMEOUT_S)
                return
            except LabError:
                # A server that has just started, or a client that still waits for a stalled one.
                if time.monotonic() > until:
                    raise
                time.sleep(1)

    def _is_mounted(self) -> bool:
        """Whether our export, and nothing else, is mounted there and answers."""
        found = mounts_at(self.mount_point, Path("/proc/self/mountinfo").read_text())
        if found != [("nfs4", f"{CLIENT}:{self.content.path}")]:
            return False
        try:
            host.run(["ls", str(self.mount_point)], COMMAND_TIMEOUT_S)
        except LabError:
            return False
        return True

    def _unmount(self) -> None:
        for _ in mounts_at(self.mount_point, Path("/proc/self/mountinfo").read_text()):
            try:
                host.run(["umount", str(self.mount_point)], UNMOUNT_TIMEOUT_S)
            except LabError:
                # In use, or its server is dead: out of sight now, gone with its last user.
                host.run(["umount", "-f", "-l", str(self.mount_point)], UNMOUNT_TIMEOUT_S)


def export_options(path: str, uid: int, gid: int) -> str:
    # File systems without an id of their own (overlay, tmpfs) can only be exported with a fsid.
    fsid = uuid.uuid5(uuid.NAMESPACE_URL, f"file://{path}")
    return f"rw,all_squash,anonuid={uid},anongid={gid},no_subtree_check,fsid={fsid}"


def escape(path: str) -> str:
    """A path as exports(5) and mountinfo write it: what is not plain, in octal."""
    return re.sub(r"[^\w/.+@:,=-]", lambda found: octal(found[0]), path, flags=re.ASCII)


def octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def unescape(text: str) -> str:
    raw = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), os.fsencode(text))
    return os.fsdecode(raw)


def exported_path(text: str) -> str:
    """The path that an export file of the lab's names, or ""."""
    lines = [line for line in text.splitlines() if line.startswith("/")]
    return unescape(lines[0].split(" ")[0]) if lines else ""


def mounts_at(place: Path, mountinfo: str) -> list[tuple[str, str]]:
    """(type, source) of each mount on `place`, in the order in which they were stacked."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if unescape(left.split(" ")[4]) == str(place):
            kind, source = right.split(" ")[:2]
            found.append((kind, unescape(source)))
    return found


def _exportfs(*arguments: str) -> None:
    host.run(["exportfs", *arguments], COMMAND_TIMEOUT_S)


def _mark_as_made(directory: Path) -> None:
    with contextlib.suppress(OSError):
        os.setxattr(directory, _MADE_MARK, b"1")


def _is_made(directory: Path) -> bool:
    try:
        return bool(os.getxattr(directory, _MADE_MARK))
    except OSError:
        return False
