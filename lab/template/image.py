"""The image below the template: made here with mmdebstrap, or pulled by LXD."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.lxd.client import Lxd
from lab.progress import Progress
from lab.template.recipe import Recipe, host_release

ALIAS = "lab-base"
BASE_KEY = "lab.base"
MMDEBSTRAP_TIMEOUT_S = 3600
TAR_TIMEOUT_S = 600
PULL_DEADLINE_S = 1800
REMOTES = {
    "ubuntu": "https://cloud-images.ubuntu.com/releases",
    "ubuntu-daily": "https://cloud-images.ubuntu.com/daily",
    "images": "https://images.lxd.canonical.com",
}


def ensure(lxd: Lxd, recipe: Recipe, workspace: Path, progress: Progress) -> str:
    """The fingerprint of the recipe's image, which is made or pulled if LXD has it not yet."""
    alias = lxd.find(f"images/aliases/{ALIAS}")
    if alias is not None:
        fingerprint: str = alias["target"]
        if lxd.get(f"images/{fingerprint}")["properties"].get(BASE_KEY) == recipe.base_hash:
            return fingerprint
        lxd.delete(f"images/{fingerprint}")
    if recipe.image == "host":
        metadata = _build(lxd, recipe, workspace, progress)
    else:
        metadata = _pull(lxd, recipe, workspace, progress)
    fingerprint = metadata["fingerprint"]
    _label(lxd, fingerprint, recipe)
    return fingerprint


def _label(lxd: Lxd, fingerprint: str, recipe: Recipe) -> None:
    """Only a labelled image is used again, so one of an interrupted run is made anew."""
    lxd.patch(f"images/{fingerprint}", {"properties": {BASE_KEY: recipe.base_hash}})
    lxd.post("images/aliases", {"name": ALIAS, "target": fingerprint})


def _pull(lxd: Lxd, recipe: Recipe, workspace: Path, progress: Progress) -> Any:
    remote, alias = recipe.image.split(":", 1)
    progress(f"pulling the image {recipe.image}")
    if remote == "local":
        return _copy(lxd, recipe, alias, workspace)
    if remote in REMOTES:
        source = {
            "type": "image",
            "mode": "pull",
            "protocol": "simplestreams",
            "server": REMOTES[remote],
            "alias": alias,
        }
    else:
        known = ", ".join([*REMOTES, "local"])
        raise LabError(f"template.image = {recipe.image!r}: unknown remote; known are {known}")
    return lxd.post("images", {"source": source}, PULL_DEADLINE_S)


def _copy(lxd: Lxd, recipe: Recipe, alias: str, workspace: Path) -> Any:
    """An image of LXD's default project, out of it and in again: LXD copies none between its own
    projects by itself."""
    default = Lxd("default")
    found = default.find(f"images/aliases/{alias}")
    if found is None:
        raise LabError(
            f"template.image = {recipe.image!r}: LXD's default project has no image with the "
            f"alias {alias!r}: `lxc image list` shows those it has"
        )
    with tempfile.TemporaryFile(dir=workspace) as content:
        kind = default.download(f"images/{found['target']}/export", content)
        content.seek(0)
        return lxd.upload("images", content, {"Content-Type": kind, "X-LXD-public": "false"})


def _build(lxd: Lxd, recipe: Recipe, workspace: Path, progress: Progress) -> Any:
    name, codename = host_release()
    with tempfile.TemporaryDirectory(prefix="image-", dir=workspace) as folder:
        progress(f"building a minimal {name} {codename} with mmdebstrap")
        _run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={','.join(recipe.packages)}",
                codename,
                f"{folder}/rootfs",
            ],
            MMDEBSTRAP_TIMEOUT_S,
        )
        metadata = {
            "architecture": lxd.server()["kernel_architecture"],
            "creation_date": int(time.time()),
            "properties": {"os": name, "release": codename, "description": f"{name} {codename}"},
        }
        # JSON is YAML too.
        Path(folder, "metadata.yaml").write_text(json.dumps(metadata))
        progress("importing the image into LXD")
        archive = Path(folder, "image.tar")
        tar = ["tar", "--numeric-owner", "--xattrs", "-C", folder, "-cf", str(archive)]
        _run([*tar, "metadata.yaml", "rootfs"], TAR_TIMEOUT_S)
        with archive.open("rb") as content:
            headers = {"Content-Type": "application/octet-stream", "X-LXD-public": "false"}
            return lxd.upload("images", content, headers)


def _run(command: list[str], timeout_s: float) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not installed: apt-get install {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{command[0]} took longer than {timeout_s:g} s") from None
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        raise LabError(f"{command[0]} failed: {lines[-1] if lines else 'no reason given'}")
