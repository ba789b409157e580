"""The scaler as a process: one for a lab, in the foreground or in the background."""

from __future__ import annotations

import fcntl
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from lab.settings import Settings

START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 40
LOCK_PATIENCE_S = 0.5
LOG_BYTES = 4_000_000


class AlreadyRunning(LabError):
    pass


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the lock that makes this process the lab's scaler; AlreadyRunning if there is one.

    The kernel lets go of the lock when the process ends, however it ends, so the process id in
    the file counts only while the lock is held.
    """
    path = directory / "scaler.pid"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            # Somebody who only looks whether a scaler runs holds the lock for a moment, too.
            if time.monotonic() < deadline:
                time.sleep(0.01)
                continue
        raise AlreadyRunning(
            f"a scaler runs already (process {running_pid(directory)}): "
            "`lab logs -f` follows it, `lab down` ends it"
        )


def running_pid(directory: Path) -> int | None:
    """The process id of the lab's scaler; None if none runs."""
    try:
        with (directory / "scaler.pid").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def start(settings: Settings) -> None:
    """Start a scaler in the background and wait until it holds the lock."""
    directory = settings.directory
    if running_pid(directory) is not None:
        return
    overrides = [f"lab.name={settings.lab.name}", f"lab.state_dir={settings.lab.state_dir}"]
    command = [sys.executable, "-m", "lab", "--no-settings"]
    for override in overrides:
        command += ["--set", override]
    with (directory / "scaler.err").open("wb") as errors:
        child = subprocess.Popen(
            [*command, "run", "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while running_pid(directory) is None:
        if child.poll() is not None or time.monotonic() > deadline:
            words = (directory / "scaler.err").read_text(errors="replace").strip().splitlines()
            raise LabError(f"the scaler did not start: {words[-1] if words else 'see lab logs'}")
        time.sleep(0.02)


def stop(directory: Path) -> None:
    """End the lab's scaler and wait for it; nothing happens if none runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = running_pid(directory)
        if pid is None:
            return
        os.kill(pid, number)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while running_pid(directory) == pid and time.monotonic() < deadline:
            time.sleep(0.02)


def decision_log(directory: Path, echo: bool) -> logging.Logger:
    """The log of decisions: `scaler.log`, kept below LOG_BYTES, and the terminal if `echo`."""
    log = logging.getLogger("lab")
    log.setLevel(logging.INFO)
    log.propagate = False
    formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(
            directory / "scaler.log", maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8"
        )
    ]
    if echo:
        handlers.append(logging.StreamHandler(sys.stdout))
    for handler in handlers:
        handler.setFormatter(formatter)
        log.addHandler(handler)
    return log
