"""The shared directory itself: made, seeded, and writable from inside unprivileged containers.

A container's user N is the host's user BASE + N, so the directory belongs to the containers' root
(BASE + 0) and to their www-data's group (BASE + 33). A default ACL extends that to files that the
host's root puts there later: they stay root's, and can be edited from every clone.

What the lab did is written on the directory itself, as an extended attribute that only the host's
root can see or set. A directory that already held somebody's files gets none and is used as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError

APPLICATION_ID = 33
"""www-data, in Debian and Ubuntu: who the web application runs as in a clone."""

_MARK = "trusted.lab.share"
_SEED_MARK = "trusted.lab.seed"
_DEFAULT_ACL = "system.posix_acl_default"
_DIRECTORY_MODE = 0o2775
_FILE_MODE = 0o664
_PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class Mark:
    """The lab's claim to a directory, and how it was before."""

    lab: str
    made: bool
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True, slots=True)
class Content:
    path: Path
    lab: str
    """The lab's name."""
    seed: Path
    """The shipped page."""
    idmap_base: int
    """The host's user id of the containers' root."""

    @property
    def application_id(self) -> int:
        """The host's user and group id of the containers' www-data."""
        return self.idmap_base + APPLICATION_ID

    @property
    def squash_ids(self) -> tuple[int, int]:
        """Whom NFS writes as: (uid, gid). The lab's ids, or the owner's; never the host's root."""
        ours = self.idmap_base or self.application_id
        if not self.is_foreign():
            return ours, ours
        owner = self.path.stat()
        return owner.st_uid or ours, owner.st_gid or ours

    def is_foreign(self) -> bool:
        """Whether the directory holds files and was not made or adopted by this lab."""
        try:
            return not self._mark() and any(self.path.iterdir())
        except OSError:
            return False

    def prepare(self) -> None:
        """Create or adopt the directory, give it to the containers, put the first page into it.

        Raises `LabError` when the path cannot be such a directory.
        """
        made = self._make()
        if self.is_foreign():
            return
        mark = self._mark()
        if mark and mark.lab != self.lab:
            raise LabError(
                f"share.path = {self.path} belongs to the lab {mark.lab!r}: "
                "give this lab a directory of its own"
            )
        if mark or self._claim(made):
            os.chown(self.path, self.idmap_base, self.application_id)
            self.path.chmod(_DIRECTORY_MODE)
            self._set_default_acl()
        self._put_page()

    def remove(self) -> str:
        """Delete what the lab put there and nobody changed; say what was left and why, or ""."""
        mark = self._mark()
        if not mark or mark.lab != self.lab:
            return ""
        page = self.path / _PAGE
        if self._is_untouched(page):
            page.unlink()
        if left := sorted(entry.name for entry in self.path.iterdir()):
            names = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            return f"{self.path} stays, it holds files that are not the lab's: {names}"
        if mark.made:
            self.path.rmdir()
        else:
            self._give_back(mark)
        return ""

    def _make(self) -> bool:
        try:
            self.path.mkdir()
        except FileExistsError:
            if not self.path.is_dir():
                raise LabError(f"share.path = {self.path} is no directory: name another") from None
            return False
        except FileNotFoundError:
            parent = self.path.parent
            raise LabError(
                f"share.path = {self.path}: {parent} is missing: mkdir -p {parent}"
            ) from None
        except OSError as error:
            raise LabError(
                f"share.path = {self.path}: {error.strerror}: name another place"
            ) from None
        return True

    def _mark(self) -> Mark | None:
        try:
            return Mark(**json.loads(os.getxattr(self.path, _MARK)))
        except (OSError, ValueError, TypeError):
            return None

    def _claim(self, made: bool) -> bool:
        """Write the mark; False where the file system cannot hold one: then nothing is changed."""
        now = self.path.stat()
        mark = Mark(self.lab, made, now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode))
        try:
            os.setxattr(self.path, _MARK, json.dumps(asdict(mark)).encode())
        except OSError:
            return False
        return True

    def _give_back(self, mark: Mark) -> None:
        for name in (_DEFAULT_ACL, _MARK):
            with contextlib.suppress(OSError):
                os.removexattr(self.path, name)
        os.chown(self.path, mark.uid, mark.gid)
        self.path.chmod(mark.mode)

    def _set_default_acl(self) -> None:
        acl = default_acl(self.idmap_base, self.application_id)
        # Without ACLs, files of the host's root are read-only in the clones: no reason to fail.
        with contextlib.suppress(OSError):
            os.setxattr(self.path, _DEFAULT_ACL, acl)

    def _put_page(self) -> None:
        text = self.seed.read_bytes()
        page = self.path / _PAGE
        try:
            # A container may have put a link here: O_EXCL follows none.
            file = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:
            return
        with os.fdopen(file, "wb") as stream:
            stream.write(text)
            # Where there are no marks, as in _claim, the page is as the host's root made it.
            with contextlib.suppress(OSError):
                os.setxattr(file, _SEED_MARK, hashlib.sha256(text).hexdigest().encode())
                os.chown(file, self.idmap_base, self.application_id)

    def _is_untouched(self, page: Path) -> bool:
        try:
            seeded = os.getxattr(page, _SEED_MARK, follow_symlinks=False)
            return hashlib.sha256(page.read_bytes()).hexdigest().encode() == seeded
        except OSError:
            return False


def default_acl(*writers: int) -> bytes:
    """A default ACL in the kernel's form: these user ids may write, everybody may read.

    With it, the creator's umask does not count, so a root shell with umask 077 does no harm.
    """
    user_object, user, group_object, mask, other = 0x01, 0x02, 0x04, 0x10, 0x20
    nobody = 0xFFFFFFFF
    entries = [(user_object, 7, nobody)]
    entries += [(user, 7, writer) for writer in sorted(set(writers))]
    entries += [(group_object, 7, nobody), (mask, 7, nobody), (other, 5, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
