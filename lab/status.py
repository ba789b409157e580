"""What `lab status` tells: the deployment, the scaler's last tick, and where each slot is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lab import deployment, grounds, scaler, trace
from lab.balancer.process import HAProxyProcess
from lab.operator import OperatorFile
from lab.settings import Settings


def report(settings: Settings) -> dict[str, Any]:
    """The lab as a plain dict; `up` is false, and little else is there, when it is not up."""
    found = deployment.read(settings)
    if found is None:
        return {"lab": settings.lab.name, "world": settings.lab.world, "up": False, "slots": []}
    directory = found.settings.directory
    haproxy = HAProxyProcess(directory).pid() is not None
    last = trace.last_line(directory / "trace.jsonl")
    servers = grounds.of(found.settings).servers(found.settings)
    slots = last["observation"]["slots"] if last else []
    return {
        "lab": settings.lab.name,
        "world": found.settings.lab.world,
        "up": True,
        "service_url": found.service_url if haproxy else None,
        "statistics_url": found.statistics_url if haproxy else None,
        "statistics_password": str(directory / "stats-password"),
        "share": {
            "kind": found.share_kind,
            "path": str(found.settings.share.path),
            "notice": "",
        },
        "template": f"{found.settings.template.image}, recipe {found.template}",
        "scaler": _scaler(settings, last),
        "slots": [slot | {"address": servers[slot["number"] - 1].where} for slot in slots],
        "notices": list(found.notices),
    }


def _scaler(settings: Settings, last: dict[str, Any] | None) -> dict[str, Any]:
    operator = OperatorFile(settings.directory).now()
    age_s = None
    if last is not None:
        age_s = (datetime.now(UTC) - datetime.fromisoformat(last["at"])).total_seconds()
    return {
        "pid": scaler.running_pid(settings.directory),
        "policy": last["policy"] if last else None,
        "last_tick_age_s": age_s,
        "tick_ms": last["tick_ms"] if last else None,
        "wanted": last["wanted"] if last else None,
        "sentence": last["sentence"] if last else None,
        "paused": operator.paused,
        "pin": operator.pin,
        "pin_left_s": operator.pin_left_s,
    }


def fault(settings: Settings) -> str:
    """What the scaler says is wrong with a slot, if it says so now; else ""."""
    last = trace.last_line(settings.directory / "trace.jsonl")
    slots = last["observation"]["slots"] if last else []
    return next((f"slot {slot['number']}: {slot['fault']}" for slot in slots if slot["fault"]), "")
