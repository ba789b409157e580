"""What a template is made from, and the hash that says whether it must be made again."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True)
class Recipe:
    image: str
    """`host`, or REMOTE:ALIAS."""
    release: str
    """The host's distribution and release, like `debian bookworm`; "" for another image."""
    packages: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]
    """Each file that goes into the template: its path below /opt/lab, and its content."""

    @property
    def base_hash(self) -> str:
        """Changes when the image below the lab's own files must be made again."""
        text = repr((self.image, self.release, self.packages if self.image == "host" else ()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def hash(self) -> str:
        """Changes when anything in the template would."""
        return hashlib.sha256(repr((self.base_hash, self.files)).encode()).hexdigest()[:16]


def read(image: str, containers: Path, os_release: Path = OS_RELEASE) -> Recipe:
    """The recipe for `image` with the files in `containers`."""
    lines = (containers / "packages.txt").read_text(encoding="utf-8").splitlines()
    packages = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    sources = {
        "app.py": containers / "app" / "app.py",
        "setup.sh": containers / "setup.sh",
        "clean.sh": containers / "clean.sh",
    }
    for unit in sorted((containers / "systemd").glob("*.service")):
        sources[f"systemd/{unit.name}"] = unit
    files = tuple((name, path.read_bytes()) for name, path in sources.items())
    release = " ".join(host_release(os_release)) if image == "host" else ""
    return Recipe(image, release, packages, files)


def host_release(os_release: Path = OS_RELEASE) -> tuple[str, str]:
    """This host's distribution and release, like ("debian", "bookworm")."""
    try:
        found = platform.freedesktop_os_release() if os_release == OS_RELEASE else _read(os_release)
    except OSError:
        found = {}
    name, codename = found.get("ID", ""), found.get("VERSION_CODENAME", "")
    if name not in ("debian", "ubuntu") or not codename:
        raise LabError(
            f"cannot build a template from {name or 'this host'}: only Debian and Ubuntu releases "
            'can be; set template.image = "ubuntu:24.04", say'
        )
    return name, codename


def _read(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value.strip('"') for key, equals, value in pairs if equals}
