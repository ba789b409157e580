"""What every test can ask for.

`require("lxd", "root")` skips a test where something is missing, and says what; unless the
environment variable LAB_REQUIRE names it (`LAB_REQUIRE=lxd,haproxy`): then the test fails.
For a whole file: `pytestmark = pytest.mark.require("lxd", "root")`.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import host
from lab.doctor import programs
from lab.host import nfs_server
from lab.settings import Settings
from support import lxd_lab as lxd_lab_module
from support.lxd_lab import LxdLab

TESTS = Path(__file__).parent
MARKED_BY_DIRECTORY = ("lxd", "haproxy", "browser")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def _missing_root() -> str:
    return "" if os.geteuid() == 0 else "these tests must run as root"


def _missing_lxd() -> str:
    found = programs.lxd(Settings())
    return "" if found.status == "ok" else f"{found.detail} ({found.remedy})"


def _missing_nfs() -> str:
    return str(nfs_server.obstacle() or "")


def _missing_chromium() -> str:
    found = any(shutil.which(name) for name in CHROMIUMS)
    return "" if found else f"none of {', '.join(CHROMIUMS)} is installed"


def _missing_program(name: str) -> str:
    return "" if host.find(name) else f"{name} is not installed"


MISSING: dict[str, Callable[[], str]] = {
    "root": _missing_root,
    "lxd": _missing_lxd,
    "nfs": _missing_nfs,
    "chromium": _missing_chromium,
    "haproxy": lambda: _missing_program("haproxy"),
    "ab": lambda: _missing_program("ab"),
}
"""For each thing that can be required: why it is not there, or ""."""


@functools.cache
def missing(name: str) -> str:
    """Why `name` cannot be had on this machine, or ""."""
    return MISSING[name]()


def insisted_on() -> set[str]:
    """What LAB_REQUIRE names."""
    names = {name.strip() for name in os.environ.get("LAB_REQUIRE", "").split(",")} - {""}
    if unknown := names - MISSING.keys():
        raise pytest.UsageError(f"LAB_REQUIRE: {sorted(unknown)}: known are {sorted(MISSING)}")
    return names


def _require(*names: str) -> None:
    for name in names:
        if reason := missing(name):
            if name in insisted_on():
                pytest.fail(f"LAB_REQUIRE names {name}: {reason}", pytrace=False)
            pytest.skip(f"{name}: {reason}")


@pytest.fixture
def require() -> Callable[..., None]:
    return _require


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "require(*names): what the test cannot do without")
    insisted_on()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS):
            folder = item.path.relative_to(TESTS).parts[0]
            if folder in MARKED_BY_DIRECTORY:
                item.add_marker(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("require"):
        _require(*mark.args)


@pytest.fixture(scope="session")
def lxd_lab() -> Iterator[LxdLab]:
    """A lab of the tests' own, with its template built; nothing of it is left at the end."""
    _require("root", "lxd", "haproxy")
    # Not pytest's own directory: HAProxy's user and the clones must be able to reach it.
    with tempfile.TemporaryDirectory(prefix="lab-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        lab = lxd_lab_module.make(Path(folder))
        lab.run("template", "build", timeout_s=900)
        yield lab
        lab.run("down", "--purge")
        assert lxd_lab_module.left_behind(lab) == []
