"""The lab as it was brought up: its settings, with the subnet and ports that were really taken.

`lab up` writes it; every other command of a lab that is up goes by it and not by `lab.toml`, which
may have been edited since.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.settings import Settings


@dataclass(frozen=True)
class Deployment:
    settings: Settings
    asked: Settings
    """The settings that `up` was called with, before anything that was taken was replaced."""
    notices: tuple[str, ...] = ()
    """What a person should know: a port that was taken, a share without NFS."""
    share_kind: str = ""
    share_source: str = ""
    """The host's directory that every clone has at /srv/share."""
    template: str = ""
    """The hash of the template's recipe."""

    @property
    def service_url(self) -> str:
        balancer = self.settings.balancer
        host = "127.0.0.1" if balancer.bind == "0.0.0.0" else balancer.bind
        return f"http://{host}:{balancer.port}"

    @property
    def statistics_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.balancer.stats_port}"


def path_of(settings: Settings) -> Path:
    return settings.directory / "deployment.json"


def write(deployment: Deployment) -> None:
    path = path_of(deployment.settings)
    document = {
        "settings": deployment.settings.model_dump(mode="json"),
        "asked": deployment.asked.model_dump(mode="json"),
        "notices": deployment.notices,
        "share_kind": deployment.share_kind,
        "share_source": deployment.share_source,
        "template": deployment.template,
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=2), encoding="utf-8")
    new.replace(path)


def read(settings: Settings) -> Deployment | None:
    """The deployment of the lab that `settings` name; None if it is not up."""
    try:
        document = json.loads(path_of(settings).read_text(encoding="utf-8"))
        return Deployment(
            Settings.model_validate(document["settings"]),
            Settings.model_validate(document["asked"]),
            tuple(document["notices"]),
            document["share_kind"],
            document["share_source"],
            document["template"],
        )
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise LabError(f"{error.filename} is not yours to read: use sudo") from None
    except (ValueError, KeyError):
        # Written by another version of the lab: `up` makes it anew.
        return None


def require(settings: Settings) -> Deployment:
    found = read(settings)
    if found is None:
        raise LabError(f"the lab {settings.lab.name!r} is not up: start it with `lab up`")
    return found
