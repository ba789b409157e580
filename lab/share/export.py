"""The lab's NFS export: an export file of its own, and its lines in the server's table.

Each export carries an id that follows from the lab's name and the path. By it the lab knows its
own lines, and file systems that have no id (overlay, tmpfs) can be exported at all. Only these
lines are touched: `exportfs -ra` would also drop what others have exported by hand.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path

from lab import host
from lab.errors import LabError
from lab.host import nfs_server

CLIENT = "127.0.0.1"
EXPORTFS_TIMEOUT_S = 60.0

_DIRECTORY = Path("/etc/exports.d")
_MADE_MARK = "trusted.lab.made"


def publish(lab: str, path: str, uid: int, gid: int) -> None:
    """Export `path` to this host alone, written by everybody as this one user, and nothing else.

    Raises `LabError` when the server refuses.
    """
    for other in ours(lab, nfs_server.exports()) - {path}:
        _exportfs("-u", f"{CLIENT}:{other}")
    if not _DIRECTORY.is_dir():
        _DIRECTORY.mkdir(mode=0o755)
        with contextlib.suppress(OSError):
            os.setxattr(_DIRECTORY, _MADE_MARK, b"1")
    options = (
        f"rw,all_squash,anonuid={uid},anongid={gid},no_subtree_check,fsid={export_id(lab, path)}"
    )
    # The server reads this when it starts again; only names that end in .exports count.
    draft = file_of(lab).with_suffix(".new")
    draft.write_text(
        "# The lab's, rewritten by `lab up` and removed by `lab down`.\n"
        f"{escape(path)} {CLIENT}({options})\n",
        encoding="utf-8",
    )
    draft.replace(file_of(lab))
    _exportfs("-o", options, f"{CLIENT}:{path}")


def withdraw(lab: str) -> None:
    """Undo `publish`, whatever is left of it."""
    for path in ours(lab, nfs_server.exports()):
        # If exportfs is gone, so is the server, and the table is a dead file.
        with contextlib.suppress(LabError):
            _exportfs("-u", f"{CLIENT}:{path}")
    file = file_of(lab)
    file.with_suffix(".new").unlink(missing_ok=True)
    file.unlink(missing_ok=True)
    if _DIRECTORY.is_dir() and not any(_DIRECTORY.iterdir()) and _was_made_by_a_lab():
        _DIRECTORY.rmdir()


def file_of(lab: str) -> Path:
    return _DIRECTORY / f"lab-{lab}.exports"


def export_id(lab: str, path: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"file://{path}#lab-{lab}")


def ours(lab: str, table: str) -> set[str]:
    """The paths that `lab` exports, in the table of a NFS server (/var/lib/nfs/etab)."""
    found = set()
    for line in table.splitlines():
        left, _, right = line.partition("\t")
        path = unescape(left)
        if right.startswith(f"{CLIENT}(") and f"fsid={export_id(lab, path)}," in right:
            found.add(path)
    return found


def escape(path: str) -> str:
    """A path as exports(5) has it: each byte that is not plain as a backslash and three digits."""
    plain = rb"[^\w/.+@:,=-]"
    return re.sub(plain, lambda byte: b"\\%03o" % byte[0][0], os.fsencode(path)).decode()


def unescape(text: str) -> str:
    """The reverse of `escape`, for what the kernel and the NFS server write."""
    digits = rb"\\([0-7]{3})"
    return os.fsdecode(re.sub(digits, lambda byte: bytes([int(byte[1], 8)]), os.fsencode(text)))


def _exportfs(*arguments: str) -> None:
    host.run(["exportfs", *arguments], EXPORTFS_TIMEOUT_S)


def _was_made_by_a_lab() -> bool:
    try:
        return bool(os.getxattr(_DIRECTORY, _MADE_MARK))
    except OSError:
        return False
