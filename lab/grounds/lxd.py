"""The ground of real containers: storage, template, bridge, addresses and share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lab import host
from lab.assets import asset
from lab.balancer.config import Server
from lab.deployment import Deployment
from lab.lxd.client import Lxd
from lab.lxd.estate import Estate
from lab.lxd.names import PORT, TEMPLATE, Names, container_name
from lab.progress import Progress
from lab.settings import Settings
from lab.share.base import Share
from lab.share.choose import choose
from lab.template import build, recipe
from lab.worlds.lxd import SPEC_KEY, LxdFleet

DELETE_DEADLINE_S = 120
PARALLEL = 8


class LxdGround:
    """Implements `lab.grounds.base.Ground`."""

    needs_root = True

    def find_place(self, asked: Settings) -> tuple[Settings, list[str]]:
        names = Names.of(asked)
        subnet = host.free_subnet(names.subnet, names.bridge)
        if subnet == names.subnet:
            return asked, []
        network = asked.network.model_copy(update={"subnet": str(subnet)})
        notice = f"the subnet {names.subnet} is in use on this host: took {subnet}"
        return asked.model_copy(update={"network": network}), [notice]

    def lay(
        self, settings: Settings, asked: Settings, progress: Progress, notices: Sequence[str] = ()
    ) -> Deployment:
        names = Names.of(settings)
        lxd = Lxd(names.project)
        estate = Estate(settings, lxd)
        estate.refuse_strangers()
        host.block_route(names.subnet)
        found = [*notices, *estate.make_storage(progress)]
        wanted = recipe.read(settings.template.image, asset("containers"))
        _build(settings, estate, lxd, wanted, progress)
        estate.make_network(progress)
        _set_neighbours(settings)
        share = choose(settings, _id_base(lxd))
        progress(f"sharing {settings.share.path}")
        share.up()
        if share.notice:
            found.append(share.notice)
        return Deployment(settings, asked, tuple(found), share.kind, str(share.source), wanted.hash)

    def fleet(self, deployment: Deployment) -> LxdFleet:
        settings = deployment.settings
        return LxdFleet(
            Lxd(settings.lab.name),
            Names.of(settings),
            settings.pool.max,
            deployment.share_source,
            deployment.template,
        )

    def servers(self, settings: Settings) -> tuple[Server, ...]:
        names = Names.of(settings)
        return tuple(
            Server(container_name(slot), names.address(slot).ip, PORT)
            for slot in range(1, settings.pool.max + 1)
        )

    def stale(self, deployment: Deployment) -> list[int]:
        settings = deployment.settings
        fleet = self.fleet(deployment)
        return [
            slot
            for slot, record in Estate(settings, Lxd(settings.lab.name)).clones().items()
            if slot > settings.pool.max
            or record["config"].get(SPEC_KEY) != fleet.spec(slot)["config"][SPEC_KEY]
        ]

    def clear(self, settings: Settings, purge: bool, progress: Progress) -> tuple[str, ...]:
        estate = Estate(settings, Lxd(settings.lab.name))
        self._remove_clones(settings, estate, progress)
        progress("removing the share")
        left = [share.down(purge) for share in _shares(settings)]
        progress("removing the bridge")
        estate.remove_network()
        host.unblock_route(Names.of(settings).subnet)
        if purge:
            progress("removing the template, its image and the storage pool")
            estate.remove_storage()
        return tuple(dict.fromkeys(notice for notice in left if notice))

    def _remove_clones(self, settings: Settings, estate: Estate, progress: Progress) -> None:
        slots = list(estate.clones())
        if slots:
            progress(f"removing {len(slots)} clones")
            fleet = self.fleet(Deployment(settings, settings))
            with ThreadPoolExecutor(PARALLEL) as pool:
                for done in [pool.submit(fleet.delete, slot, DELETE_DEADLINE_S) for slot in slots]:
                    done.result()


def build_template(settings: Settings, progress: Progress) -> bool:
    """`lab template build`: the template and the storage that it needs; whether it was built."""
    lxd = Lxd(settings.lab.name)
    estate = Estate(settings, lxd)
    estate.make_storage(progress)
    wanted = recipe.read(settings.template.image, asset("containers"))
    return _build(settings, estate, lxd, wanted, progress)


def _build(
    settings: Settings, estate: Estate, lxd: Lxd, wanted: recipe.Recipe, progress: Progress
) -> bool:
    return build.ensure(
        lxd,
        wanted,
        settings.lab.name,
        settings.directory,
        estate.way_out(progress),
        progress,
    )


def _set_neighbours(settings: Settings) -> None:
    """Make the host know each slot's hardware address, so that it never has to ask for it.

    A question asked before a container's interface is up would delay its first answer by seconds.
    """
    names = Names.of(settings)
    addresses = [names.address(slot) for slot in range(1, settings.pool.max + 1)]
    host.set_neighbours(names.bridge, [(address.ip, address.mac) for address in addresses])


def _id_base(lxd: Lxd) -> int:
    """The host's user id that is root in the containers."""
    config = lxd.get(f"instances/{TEMPLATE}")["config"]
    # Not `volatile.last_state.idmap`: it is empty where the kernel maps ids at mount time.
    maps = json.loads(config.get("volatile.idmap.current") or "[]")
    return next((int(entry["Hostid"]) for entry in maps if entry["Nsid"] == 0), 0)


def _shares(settings: Settings) -> list[Share]:
    """Both kinds: an interrupted `up` or an edited lab.toml may have left either."""
    found = []
    for kind in ("nfs", "directory"):
        share = settings.share.model_copy(update={"kind": kind})
        found.append(choose(settings.model_copy(update={"share": share}), None, removing=True))
    return found
