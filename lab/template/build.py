"""The template: a container that was set up, booted once, cleaned of its identity and stopped.

It has booted once because the first start of a container shifts the owner of every file; a clone
of a template that never booted would pay for that each time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lab.lxd.client import Lxd
from lab.lxd.names import OWNER_KEY, TEMPLATE
from lab.progress import Progress
from lab.template import image
from lab.template.recipe import Recipe

RECIPE_KEY = "user.lab.recipe"
BUILDING = "template-building"
SETUP_DEADLINE_S = 900
BOOT_DEADLINE_S = 120
WAIT_FOR_BOOT = """
until case "$(systemctl is-system-running --wait 2>/dev/null)" in
    running | degraded) true ;;
    *) false ;;
esac; do sleep 0.1; done
"""
"""Until init listens it answers nothing; "degraded" is a unit that no container can run."""


def show(lxd: Lxd, recipe: Recipe) -> dict[str, Any]:
    """The template as it stands: whether it is there, and whether it is the recipe's."""
    found = lxd.find(f"instances/{TEMPLATE}")
    return {
        "exists": found is not None,
        "status": found["status"] if found else None,
        "created": found["created_at"] if found else None,
        "recipe": found["config"].get(RECIPE_KEY) if found else None,
        "wanted_recipe": recipe.hash,
        "current": found is not None and found["config"].get(RECIPE_KEY) == recipe.hash,
        "image": recipe.image,
        "release": recipe.release,
    }


def ensure(
    lxd: Lxd,
    recipe: Recipe,
    lab: str,
    workspace: Path,
    way_out: AbstractContextManager[dict[str, str]],
    progress: Progress,
) -> bool:
    """Build the template unless it is there and the recipe's; whether it was built.

    `way_out` is entered only for an image that is not the host's own: such a one may have to
    install what it lacks.
    """
    found = show(lxd, recipe)
    if found["current"]:
        if found["status"] != "Stopped":
            _state(lxd, TEMPLATE, "stop")
        return False
    _discard(lxd, BUILDING)
    fingerprint = image.ensure(lxd, recipe, workspace, progress)
    if recipe.image == "host":
        _make(lxd, recipe, lab, fingerprint, {}, progress)
    else:
        with way_out as nic:
            _make(lxd, recipe, lab, fingerprint, {"eth0": nic}, progress)
    _discard(lxd, TEMPLATE)
    lxd.post(f"instances/{BUILDING}", {"name": TEMPLATE})
    return True


def _make(
    lxd: Lxd,
    recipe: Recipe,
    lab: str,
    fingerprint: str,
    devices: dict[str, dict[str, str]],
    progress: Progress,
) -> None:
    progress("setting up the template")
    lxd.post(
        "instances",
        {
            "name": BUILDING,
            "source": {"type": "image", "fingerprint": fingerprint},
            "profiles": ["default"],
            "config": {OWNER_KEY: lab},
            "devices": devices,
        },
        SETUP_DEADLINE_S,
    )
    _state(lxd, BUILDING, "start")
    lxd.execute(BUILDING, ["sh", "-c", WAIT_FOR_BOOT], BOOT_DEADLINE_S)
    for name, content in recipe.files:
        lxd.push(BUILDING, f"/opt/lab/{name}", content, 0o755 if name.endswith(".sh") else 0o644)
    lxd.execute(BUILDING, ["sh", "/opt/lab/setup.sh"], SETUP_DEADLINE_S)
    lxd.execute(BUILDING, ["systemctl", "is-active", "lab-web.service"], BOOT_DEADLINE_S)
    lxd.execute(BUILDING, ["sh", "/opt/lab/clean.sh"], BOOT_DEADLINE_S)
    progress("stopping the template")
    _state(lxd, BUILDING, "stop")
    record = lxd.get(f"instances/{BUILDING}")
    lxd.put(
        f"instances/{BUILDING}",
        {
            "config": record["config"] | {RECIPE_KEY: recipe.hash},
            "devices": {},
            "profiles": record["profiles"],
        },
    )


def _state(lxd: Lxd, name: str, action: str) -> None:
    body = {"action": action, "timeout": 60 if action == "stop" else -1, "force": False}
    lxd.put(f"instances/{name}/state", body, BOOT_DEADLINE_S)


def _discard(lxd: Lxd, name: str) -> None:
    found = lxd.find(f"instances/{name}")
    if found is None:
        return
    if found["status"] != "Stopped":
        body = {"action": "stop", "timeout": -1, "force": True}
        lxd.put(f"instances/{name}/state", body, BOOT_DEADLINE_S)
    lxd.delete(f"instances/{name}")
