"""Running programs: never for ever, and with failure in the program's own words."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence

from lab.errors import LabError

SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/snap/bin"]
)
"""Where programs are looked for: a plain user's PATH lacks the sbin directories."""

_PACKAGES = {
    "ab": "apache2-utils",
    "dnsmasq": "dnsmasq-base",
    "exportfs": "nfs-kernel-server",
    "ip": "iproute2",
    "mkfs.btrfs": "btrfs-progs",
    "modprobe": "kmod",
    "mount.nfs4": "nfs-common",
    "nft": "nftables",
}


class CommandFailed(LabError):
    """A program that ran and reported failure."""

    def __init__(self, message: str, code: int, output: str) -> None:
        super().__init__(message)
        self.code = code
        self.output = output
        """Everything that it wrote."""


def find(program: str) -> str | None:
    """The path of an installed program."""
    return shutil.which(program, path=SEARCH_PATH)


def package_of(program: str) -> str:
    """The Debian package that a program is in."""
    return _PACKAGES.get(program, program)


def run(command: Sequence[str], timeout_s: float, input: str | None = None) -> str:
    """Run a program to its end and return its standard output.

    Raises `CommandFailed` with its own last line when it fails, and `LabError` when it is not
    installed or does not end within `timeout_s` seconds (then it and its children are killed).
    """
    path = find(command[0])
    if path is None:
        package = package_of(command[0])
        raise LabError(f"{command[0]} is not installed: apt-get install {package}")
    process = subprocess.Popen(
        [path, *command[1:]],
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"},
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(input, timeout_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise LabError(
            f"{_brief(command)}: did not end within {timeout_s:g} s: try again"
        ) from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode:
        said = _last_line(complaint) or _last_line(output) or f"exit code {process.returncode}"
        raise CommandFailed(f"{_brief(command)}: {said}", process.returncode, complaint + output)
    return output


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # One that hangs in the kernel (on a dead NFS server, say) dies later or never.
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
        process.communicate(timeout=1)


def _brief(command: Sequence[str]) -> str:
    text = " ".join(command)
    return text if len(text) <= 100 else text[:97] + "..."


def _last_line(text: str) -> str:
    # `ip -batch` ends with "Command failed -:3", which says less than the line before it.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Command failed")]
    return (telling or lines or [""])[-1]


def require_root(what: str) -> None:
    """Raise `LabError` unless this process is root's. `what`: the command that needs it."""
    if os.geteuid() != 0:
        raise LabError(f"{what} needs root: run it with sudo")
