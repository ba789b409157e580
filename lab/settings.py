"""The lab's settings: `lab.toml`, checked, with the line that each value came from.

Every key has a default, so an empty file is a valid one. An unknown key, a value out of its range
or a combination that cannot work is a `UsageError` of one line that names the key and what would
be right.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab.errors import UsageError

FIRST_HOST = 10
"""Slot n has the subnet's host number FIRST_HOST + n; below it are the bridge and the reader."""

Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]
Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*(MiB|GiB)$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lab(Section):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,9}$")] = "lab"
    state_dir: Path = Path("/var/lib/lab")
    runs_dir: Path = Path("runs")


class Pool(Section):
    min: Annotated[int, Field(ge=1, le=1000)] = 1
    max: Annotated[int, Field(ge=1, le=1000)] = 8


class Server(Section):
    workers: Annotated[int, Field(ge=1, le=256)] = 4
    memory: Size = "256MiB"
    cpus: Annotated[float, Field(gt=0, le=256)] | None = None


class Network(Section):
    subnet: str = "10.77.0.0/24"

    @property
    def net(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.subnet)


class Balancer(Section):
    bind: str = "127.0.0.1"
    port: Port = 8080
    stats_port: Port = 8404
    check_interval_ms: Annotated[int, Field(ge=10, le=60_000)] = 500
    queue_timeout_s: Seconds = 10.0
    server_timeout_s: Seconds = 30.0


class Share(Section):
    kind: Literal["auto", "nfs", "directory"] = "auto"
    path: Path = Path("/srv/lab")


class Storage(Section):
    driver: Literal["auto", "btrfs", "dir"] = "auto"
    size: Size = "8GiB"


class Template(Section):
    image: Annotated[str, Field(pattern=r"^(host|[a-z][\w.-]*:[\w./-]+)$")] = "host"


class Scaler(Section):
    interval_s: Annotated[float, Field(ge=0.05, le=60)] = 0.25
    boot_deadline_s: Seconds = 30.0
    drain_deadline_s: Seconds = 30.0
    unhealthy_deadline_s: Seconds = 5.0


class SessionsPolicy(Section):
    sessions_per_server: Annotated[float, Field(gt=0, le=100_000)] = 4.0
    window_s: Seconds = 2.0


class Policy(Section):
    steer: Literal["sessions"] = "sessions"
    sessions: SessionsPolicy = SessionsPolicy()


class Guards(Section):
    shrink_after_s: Annotated[float, Field(ge=0, le=3600)] = 8.0


class Settings(Section):
    """Everything that can be set, by section; `lab.toml` in the checkout explains each key."""

    lab: Lab = Lab()
    pool: Pool = Pool()
    server: Server = Server()
    network: Network = Network()
    balancer: Balancer = Balancer()
    share: Share = Share()
    storage: Storage = Storage()
    template: Template = Template()
    scaler: Scaler = Scaler()
    policy: Policy = Policy()
    guards: Guards = Guards()

    @model_validator(mode="after")
    def _can_work_together(self) -> Settings:
        if self.pool.min > self.pool.max:
            raise ValueError(
                f"pool.min = {self.pool.min} is above pool.max = {self.pool.max}: "
                f"set pool.min to {self.pool.max} or less"
            )
        if self.balancer.port == self.balancer.stats_port:
            raise ValueError(
                f"balancer.port and balancer.stats_port are both {self.balancer.port}: "
                f"set one of them to {self.balancer.port % 65535 + 1}, say"
            )
        for key in ("lab.state_dir", "share.path"):
            section, name = key.split(".")
            path = getattr(getattr(self, section), name)
            if not path.is_absolute():
                raise ValueError(f"{key} = {str(path)!r} is relative: give a path from /")
        self._subnet_fits()
        self._bind_is_an_address()
        return self

    def _subnet_fits(self) -> None:
        try:
            net = self.network.net
        except ValueError as error:
            raise ValueError(
                f"network.subnet = {self.network.subnet!r} is no IPv4 subnet ({error}): "
                "write it like 10.77.0.0/24"
            ) from None
        if not net.is_private:
            raise ValueError(
                f"network.subnet = {net} is a public range: take a private one like 10.77.0.0/24"
            )
        needed = FIRST_HOST + self.pool.max + 2
        if net.num_addresses < needed:
            largest = 32 - (needed - 1).bit_length()
            raise ValueError(
                f"network.subnet = {net} has {net.num_addresses} addresses and pool.max = "
                f"{self.pool.max} needs {needed}: make it a /{largest} or larger"
            )

    def _bind_is_an_address(self) -> None:
        try:
            ipaddress.IPv4Address(self.balancer.bind)
        except ValueError:
            raise ValueError(
                f"balancer.bind = {self.balancer.bind!r} is no IPv4 address: write 127.0.0.1, "
                "or 0.0.0.0 to be reached from other machines"
            ) from None

    @property
    def directory(self) -> Path:
        """This lab's own files: configuration, sockets, pid files, log and trace."""
        return self.lab.state_dir / self.lab.name


@dataclass(frozen=True)
class Loaded:
    settings: Settings
    origins: dict[str, str]
    """Where each key's value came from: `default`, `FILE:LINE` or `--set`."""


def load(path: Path | None, overrides: tuple[str, ...] = ()) -> Loaded:
    """Read `path` (None: defaults only), then apply `overrides`, each `section.key=value`."""
    document: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        document, lines = _read(path)
        origins = {key: f"{path.name}:{lines[key]}" for key in lines}
    for text in overrides:
        key = _apply_override(document, text)
        origins[key] = "--set"
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise UsageError(_one_line(error, origins)) from None
    return Loaded(settings, {key: origins.get(key, "default") for key in flatten(settings)})


def flatten(settings: Settings) -> dict[str, Any]:
    """All values by their dotted key, in the order of the sections."""

    def walk(prefix: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, BaseModel):
            return {prefix: value}
        found: dict[str, Any] = {}
        for name in type(value).model_fields:
            found |= walk(f"{prefix}.{name}" if prefix else name, getattr(value, name))
        return found

    return walk("", settings)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: name a readable file with --settings") from None
    try:
        return tomllib.loads(text), _lines_of_keys(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def _lines_of_keys(text: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([\w.\- ]+)\]", line):
            section = header[1].replace(" ", "") + "."
        elif key := re.match(r"\s*([\w.\-]+)\s*=", line):
            lines[section + key[1]] = number
    return lines


def _apply_override(document: dict[str, Any], text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write it as section.key=value, like pool.max=6")
    *sections, name = key.strip().split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {text}: {section} is no section")
    try:
        place[name] = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        place[name] = value.strip()
    return key.strip()


def _one_line(error: ValidationError, origins: dict[str, str]) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    where = origins.get(key)
    at = f"{where}: " if where else ""
    if problem["type"] == "extra_forbidden":
        return f"{at}unknown setting {key}{_did_you_mean(key)}"
    if problem["type"] == "value_error" and not key:
        return str(problem["ctx"]["error"])
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{at}{key} = {problem['input']!r}: {message}"


def _did_you_mean(key: str) -> str:
    known = list(flatten(Settings())) + list(Settings.model_fields)
    by_name = {name.rsplit(".", 1)[-1]: name for name in known}
    close = difflib.get_close_matches(key, known, 1, 0.7) or [
        by_name[name]
        for name in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(by_name), 1, 0.6)
    ]
    return f": did you mean {close[0]}?" if close else ": `lab settings` lists them all"


def policy_names() -> tuple[str, ...]:
    return get_args(Policy.model_fields["steer"].annotation)
