"""The HAProxy file: rendered from `haproxy/haproxy.cfg.j2`, checked, and put in place at once."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import secrets
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jinja2

from lab.errors import LabError

CHECK_TIMEOUT_S = 20
MAX_CONNECTIONS = 10_000
SPARE_DESCRIPTORS = 400


def max_connections() -> int:
    """How many connections HAProxy may hold: each needs two descriptors of those allowed here."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_CONNECTIONS, (allowed - SPARE_DESCRIPTORS) // 2)


@dataclass(frozen=True)
class Server:
    """A server line: one slot."""

    name: str
    address: str
    port: int

    @property
    def where(self) -> str:
        """The address, with the port where it is not the web's own."""
        return self.address if self.port == 80 else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class BalancerConfig:
    """All that the template asks for."""

    directory: Path
    bind: str
    port: int
    stats_port: int
    stats_password: str
    servers: tuple[Server, ...]
    server_maxconn: int
    check_interval_ms: int
    queue_timeout_ms: int
    server_timeout_ms: int
    maxconn: int = field(default_factory=max_connections)
    user: str = ""
    group: str = ""

    @property
    def path(self) -> Path:
        return self.directory / "haproxy.cfg"


def render(config: BalancerConfig, template: Path) -> str:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(asdict(config))


def install(config: BalancerConfig, text: str) -> bool:
    """Put `text` in place if HAProxy accepts it; whether it differs from what was there.

    The old file stays as it is when the new one is refused (`LabError`).
    """
    path = config.path
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    candidate = path.with_suffix(".new")
    with os.fdopen(os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    check(candidate)
    candidate.replace(path)
    return True


def check(path: Path) -> None:
    """`haproxy -c`; LabError with its first complaint."""
    try:
        result = subprocess.run(
            ["haproxy", "-c", "-q", "-f", str(path)],
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise LabError("haproxy is not installed: apt-get install haproxy") from None
    if result.returncode != 0:
        complaints = [line for line in result.stderr.splitlines() if "[ALERT]" in line]
        detail = complaints[0] if complaints else result.stderr.strip()
        raise LabError(f"HAProxy refuses {path}: {detail}")


def unprivileged_user() -> tuple[str, str]:
    """Whom HAProxy becomes once its ports are open: ("", "") stays who starts it."""
    if os.geteuid() != 0:
        return "", ""
    for name in ("haproxy", "nobody"):
        try:
            return name, grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name
        except KeyError:
            continue
    return "", ""


def stats_password(directory: Path) -> str:
    """The statistics page's password, made once for a lab."""
    path = directory / "stats-password"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(12))
    return path.read_text(encoding="utf-8")
