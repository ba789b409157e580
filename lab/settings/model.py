"""The keys of `lab.toml`: their defaults, their ranges, and what cannot work together."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from lab.core.guards import GuardSettings
from lab.core.policies.combine import Combine
from lab.core.policies.registry import BY_NAME
from lab.settings.section import Section, section
from lab.settings.words import Clash

DEFAULT_POLICY = "sessions"

FIRST_HOST = 10
"""Slot n has the subnet's host number FIRST_HOST + n; below it are the bridge and the reader."""

LONGEST_DIRECTORY = 80
"""Bytes; a Unix socket's whole path may have 107, and the lab's sockets stand below."""
PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


def _absolute(path: Path) -> Path:
    # These paths go into haproxy.cfg and the export file, where quoting is not to be relied on.
    text = str(path)
    if not re.fullmatch(r"[\w.@+/-]+", text):
        raise ValueError("must be a path of letters, digits and . _ @ + - / only")
    if not path.is_absolute():
        raise ValueError(f"must be a path from /; did you mean /{text.removeprefix('./')}?")
    if path == Path("/") or ".." in path.parts:
        raise ValueError("must be a directory of its own below /, written without ..")
    return path


def _printable(path: Path) -> Path:
    if not str(path).isprintable():
        raise ValueError("must be a path of printable characters")
    return path


Seconds = Annotated[float, Field(ge=0.01, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]
Size = Annotated[
    str, Field(pattern=r"^[1-9][0-9]{0,8}(MiB|GiB)$", description="a size like 256MiB or 8GiB")
]
AnyPath = Annotated[Path, Field(strict=False), AfterValidator(_printable)]
Directory = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]


def _state_dir() -> Path:
    """Root's labs are the system's; another user's are his own."""
    if os.geteuid() == 0:
        return Path("/var/lib/lab")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "lab"


class Lab(Section):
    name: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9-]{0,9}$",
            description="1 to 10 of a-z, 0-9 and -, and begin with a letter",
        ),
    ] = "lab"
    world: Literal["lxd", "process"] = "lxd"
    state_dir: Directory = Field(default_factory=_state_dir)
    runs_dir: AnyPath = Path("runs")


class Pool(Section):
    min: Annotated[int, Field(ge=1, le=1000)] = 1
    max: Annotated[int, Field(ge=1, le=1000)] = 8


class Server(Section):
    workers: Annotated[int, Field(ge=1, le=256)] = 4
    memory: Size = "256MiB"
    cpus: Annotated[float, Field(ge=0.01, le=256)] | None = None

    @property
    def memory_bytes(self) -> int:
        number, unit = int(self.memory[:-3]), self.memory[-3:]
        return number * {"MiB": 1024**2, "GiB": 1024**3}[unit]


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
    path: Directory = Path("/srv/lab")


class Storage(Section):
    driver: Literal["auto", "btrfs", "dir"] = "auto"
    size: Size = "8GiB"


class Template(Section):
    image: Annotated[
        str,
        Field(
            pattern=r"^(host|[a-z][\w.-]*:[\w./-]+)$",
            description="host, or REMOTE:IMAGE like ubuntu:24.04",
        ),
    ] = "host"


class Scaler(Section):
    interval_s: Annotated[float, Field(ge=0.05, le=60)] = 0.25
    boot_deadline_s: Seconds = 30.0
    drain_deadline_s: Seconds = 30.0
    unhealthy_deadline_s: Seconds = 5.0


class PolicyChoice(Section):
    """Which policies there are on a running lab; each one's own section is in `Policy`."""

    steer: str = DEFAULT_POLICY
    shadow: tuple[str, ...] = ()

    def built(self, name: str) -> Any:
        """The policy of that name with its settings.

        Raises KeyError if there is none.
        """
        policy = getattr(self, BY_NAME[name].name).built()
        wire = getattr(policy, "wired", None)
        return wire(self.built) if wire else policy


if TYPE_CHECKING:
    Policy = PolicyChoice
    Guards = GuardSettings
else:
    PolicyName = Literal[tuple(BY_NAME)]
    Policy = create_model(
        "Policy",
        __base__=PolicyChoice,
        steer=(PolicyName, DEFAULT_POLICY),
        shadow=(Annotated[tuple[PolicyName, ...], Field(strict=False)], ()),
        **{name: (section(kind), section(kind)()) for name, kind in BY_NAME.items()},
    )
    Guards = section(GuardSettings)


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
        pool, balancer = self.pool, self.balancer
        if pool.min > pool.max:
            raise Clash(
                {"pool.min": pool.min, "pool.max": pool.max},
                f"pool.min must not be above pool.max; set pool.min to {pool.max} or less",
            )
        if balancer.port == balancer.stats_port:
            raise Clash(
                {"balancer.port": balancer.port, "balancer.stats_port": balancer.stats_port},
                f"two ports are needed; set one of them to {balancer.port % 65535 + 1}, say",
            )
        self._directories_are_apart()
        self._members_are_policies()
        self._workers_are_the_servers()
        self._subnet_fits()
        self._bind_is_an_address()
        return self

    def _directories_are_apart(self) -> None:
        own, share = self.directory, self.share.path
        if len(bytes(own)) > LONGEST_DIRECTORY:
            raise Clash(
                {"lab.state_dir": str(self.lab.state_dir)},
                f"too long for the sockets in it; keep it within {LONGEST_DIRECTORY} bytes",
            )
        # Clones can write to the share, and the lab's own files include sockets and a password.
        if own.is_relative_to(share) or share.is_relative_to(own):
            raise Clash(
                {"lab.state_dir": str(self.lab.state_dir), "share.path": str(share)},
                f"the share and the lab's own {own} must not contain each other",
            )

    def _members_are_policies(self) -> None:
        members = getattr(self.policy, Combine.name).members
        for member in members:
            if member not in BY_NAME:
                raise Clash(
                    {f"policy.{Combine.name}.members": list(members)},
                    f"{member!r} is no policy; there are {', '.join(BY_NAME)}",
                )

    def _workers_are_the_servers(self) -> None:
        counted = self.policy.built("lab").workers
        asked = "lab" in (self.policy.steer, *self.policy.shadow)
        if asked and counted != self.server.workers:
            raise Clash(
                {"policy.lab.workers": counted, "server.workers": self.server.workers},
                "the policy must count the workers that there are; make them the same",
            )

    def _subnet_fits(self) -> None:
        subnet = {"network.subnet": self.network.subnet}
        try:
            net = ipaddress.IPv4Network(self.network.subnet, strict=False)
        except ValueError:
            raise Clash(subnet, "must be an IPv4 subnet like 10.77.0.0/24") from None
        if str(net.network_address) != self.network.subnet.partition("/")[0]:
            raise Clash(subnet, f"must be the first address of its subnet; did you mean {net}?")
        if not any(net.subnet_of(private) for private in PRIVATE):
            ranges = ", ".join(map(str, PRIVATE))
            raise Clash(subnet, f"must be private, so inside one of {ranges}")
        needed = FIRST_HOST + self.pool.max + 2
        if net.num_addresses < needed:
            raise Clash(
                subnet | {"pool.max": self.pool.max},
                f"{net.num_addresses} addresses are too few for the {needed} that are needed; "
                f"make the subnet a /{32 - (needed - 1).bit_length()} or larger",
            )

    def _bind_is_an_address(self) -> None:
        try:
            ipaddress.IPv4Address(self.balancer.bind)
        except ValueError:
            raise Clash(
                {"balancer.bind": self.balancer.bind},
                "must be an IPv4 address: 127.0.0.1, or 0.0.0.0 to be reached from other machines",
            ) from None

    @property
    def directory(self) -> Path:
        """This lab's own files: configuration, sockets, pid files, log and trace."""
        return self.lab.state_dir / self.lab.name
