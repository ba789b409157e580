"""Runs Locust on a scenario, in a process of its own: it patches sockets with gevent."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.assets import asset
from lab.errors import LabError
from lab.load.recorder import read_record, result_of
from lab.load.scenario import Scenario
from lab.load.tool import LoadResult, ToolProcess, last_words

WEB_PORT = 8089


@dataclass(frozen=True)
class Locust:
    """One headless run. Its length is the scenario's: the load shape ends it.

    It leaves `locust.html` (Locust's report), `locust.log` and `locust.json` (the record that
    `result` reads; see `lab.load.recorder` for the precision) in the run folder, and a copy of the
    scenario.
    """

    scenario: Scenario
    url: str
    folder: Path

    def __post_init__(self) -> None:
        shutil.copyfile(self.scenario.path, self._scenario_path)

    @property
    def command(self) -> list[str]:
        return [
            *_locust(self.url),
            "--headless",
            "--only-summary",
            "--html=locust.html",
            # Failed requests are the verdict's to judge; any other code is a failure of Locust.
            "--exit-code-on-error=0",
        ]

    @property
    def environment(self) -> dict[str, str]:
        return {"LAB_SCENARIO": str(self._scenario_path), "LAB_LOAD_RECORD": str(self._record_path)}

    @property
    def log_path(self) -> Path:
        return self.folder / "locust.log"

    @property
    def _scenario_path(self) -> Path:
        return self.folder.resolve() / "scenario.toml"

    @property
    def _record_path(self) -> Path:
        return self.folder.resolve() / "locust.json"

    def started_at(self) -> datetime | None:
        record = read_record(self._record_path)
        return datetime.fromtimestamp(record["started_at_s"], UTC) if record else None

    def result(self) -> LoadResult:
        record = read_record(self._record_path)
        if record is None or record["ended_at_s"] is None:
            raise LabError(f"Locust failed: {last_words(self.log_path)} ({self.log_path})")
        return result_of(record)


def run_locust_page(
    scenario: Scenario, url: str, on_ready: Callable[[str], None], web_port: int = WEB_PORT
) -> None:
    """Serve Locust's own page on loopback until it is stopped (Ctrl-C); nothing is recorded.

    `on_ready` gets the page's address once it answers. If `web_port` is taken a free one is used.
    Raises `LabError` when Locust does not start.
    """
    scenario.require_users()
    port = _free_port(web_port)
    with TemporaryDirectory(prefix="lab-locust-") as folder, suppress(KeyboardInterrupt):
        command = [*_locust(url), "--web-host=127.0.0.1", f"--web-port={port}"]
        log_path = Path(folder) / "locust.log"
        with ToolProcess(command, log_path, {"LAB_SCENARIO": str(scenario.path)}) as process:
            while process.exit_code() is None and not _answers(port):
                time.sleep(0.1)
            if process.exit_code() is None:
                on_ready(f"http://127.0.0.1:{port}/")
            if code := process.wait():
                raise LabError(f"Locust ended with code {code}: {last_words(log_path)}")


def _locust(url: str) -> list[str]:
    locustfile = asset("loadtests") / "locustfile.py"
    return [sys.executable, "-m", "locust", f"--locustfile={locustfile}", f"--host={url}"]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise LabError("no free port on 127.0.0.1 for Locust's page")
