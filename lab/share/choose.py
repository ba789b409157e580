"""Which kind of share this host gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.assets import asset
from lab.errors import LabError
from lab.host import nfs_server
from lab.settings import Settings
from lab.share.base import Share
from lab.share.content import Content
from lab.share.directory import DirectoryShare
from lab.share.nfs import NfsShare


def choose(settings: Settings, idmap_base: int | None, removing: bool = False) -> Share:
    """The share that the settings ask for; this only looks, and changes nothing.

    `idmap_base`: the host's user id of the containers' root; None: the host's own ids.
    `removing`: it is going to be taken down, so nothing has to be possible any more.
    Raises `LabError` when `share.kind` is "nfs" and this host cannot serve it.
    """
    path = settings.share.path.resolve()
    state = settings.directory.resolve()
    if path.is_relative_to(state) or state.is_relative_to(path):
        raise LabError(
            f"share.path = {path} and the lab's own files in {state} must not contain each other: "
            "share another directory"
        )
    seed = asset("containers") / "share" / "index.html"
    content = Content(path, settings.lab.name, seed, idmap_base or 0)
    nfs = NfsShare(content, state / "share" / "mount")
    directory = DirectoryShare(content, before=nfs.withdraw)
    if settings.share.kind == "directory":
        return directory
    obstacle = None if removing else nfs_server.obstacle()
    if settings.share.kind == "nfs":
        if obstacle is not None:
            raise LabError(f'share.kind = "nfs": {obstacle}')
        return nfs
    if obstacle is not None:
        return replace(directory, why=f"no NFS: {obstacle.reason}")
    return NfsOrDirectory(nfs, directory)


class NfsOrDirectory:
    """NFS on a host that seems to have it; the plain directory if `up` finds that it has not."""

    def __init__(self, nfs: NfsShare, directory: DirectoryShare) -> None:
        self._nfs = nfs
        self._directory = directory
        self._chosen: Share = nfs

    @property
    def kind(self) -> str:
        return self._chosen.kind

    @property
    def notice(self) -> str:
        return self._chosen.notice

    @property
    def source(self) -> Path:
        return self._chosen.source

    def up(self) -> None:
        try:
            self._nfs.up()
            self._chosen = self._nfs
        except LabError as error:
            self._chosen = replace(self._directory, why=f"no NFS: {error}")
            self._chosen.up()

    def down(self, purge: bool) -> str:
        return self._nfs.down(purge)
