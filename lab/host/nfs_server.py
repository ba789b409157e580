"""The kernel's NFS server: whether this host can have one, starting and stopping it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.host.kernel import has_filesystem
from lab.host.processes import find, package_of, run

START_TIMEOUT_S = 120.0

_THREADS = Path("/proc/fs/nfsd/threads")
_INIT_SCRIPT = Path("/etc/init.d/nfs-kernel-server")
_EXPORT_TABLE = Path("/var/lib/nfs/etab")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why this host cannot serve NFS, and what would change that."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


def obstacle() -> Obstacle | None:
    """What keeps this host from serving and mounting NFS; None: nothing that can be seen."""
    for module, filesystem, part in (("nfsd", "nfsd", "server"), ("nfsv4", "nfs4", "client")):
        if not has_filesystem(filesystem, module):
            return Obstacle(
                f"this kernel has no NFS {part} (module {module})",
                'set share.kind = "directory", or boot a kernel that has it',
            )
    for program in ("exportfs", "mount.nfs4"):
        if find(program) is None:
            return Obstacle(f"{program} is not installed", f"apt-get install {package_of(program)}")
    if not (is_running() or _has_systemd() or _INIT_SCRIPT.exists()):
        return Obstacle(
            "nothing here can start the NFS server (neither systemd nor its init script)",
            'start it yourself, or set share.kind = "directory"',
        )
    return None


def is_running() -> bool:
    try:
        return int(_THREADS.read_text(encoding="utf-8")) > 0
    except (OSError, ValueError):
        return False


def start(lab: str) -> None:
    """Make sure that the server runs. Raises `LabError` when it cannot be started."""
    if is_running():
        return
    # In /run, so that it is forgotten with the server when the host starts again.
    _started_mark(lab).touch()
    run(_service("start"), START_TIMEOUT_S)
    if not is_running():
        raise LabError(
            "the NFS server did not start: see `journalctl -u nfs-server`, "
            'or set share.kind = "directory"'
        )


def stop(lab: str) -> None:
    """Stop the server if it was this lab that started it and nobody else exports anything."""
    mark = _started_mark(lab)
    if not mark.exists():
        return
    if is_running() and not exports().strip():
        run(_service("stop"), START_TIMEOUT_S)
    mark.unlink()


def exports() -> str:
    """The table of all that is exported now, a line each."""
    try:
        return _EXPORT_TABLE.read_text(encoding="utf-8")
    except OSError:
        return ""


def _started_mark(lab: str) -> Path:
    return Path(f"/run/lab-{lab}.nfs-server")


def _service(verb: str) -> list[str]:
    return ["systemctl", verb, "nfs-server"] if _has_systemd() else [str(_INIT_SCRIPT), verb]


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()
