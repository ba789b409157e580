"""The checks by name: `nox -s lint`, or all that need no root: `nox`.

Each session has an environment of its own with the versions in constraints.txt. The project's one
test command, on the environment that lab.sh made, is `sudo ./lab.sh test`.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "unit"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session) -> None:
    # In the environment, the constraints reach the build backend's installation too.
    constraints = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    session.install("-c", "constraints.txt", "-e", ".[test]", env=constraints)


def run_tests(session: nox.Session, *directories: str, require: str = "") -> None:
    """Run pytest on those of the directories that exist; at least one must."""
    present = [name for name in directories if Path("tests", name).is_dir()]
    if not present:
        session.error(f"none of tests/{{{','.join(directories)}}} exists")
    install(session)
    paths = [f"tests/{name}" for name in present]
    # A tool that LAB_REQUIRE names and that is missing fails its tests instead of skipping them.
    session.run("python", "-m", "pytest", *paths, *session.posargs, env={"LAB_REQUIRE": require})


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    install(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    install(session)
    session.run("mypy", "--strict", "lab")


@nox.session
def unit(session: nox.Session) -> None:
    """What needs neither root nor daemons: the core, the simulator, the fakes' contracts."""
    run_tests(session, "unit", "sim", "contracts")


@nox.session
def haproxy(session: nox.Session) -> None:
    """Against a real HAProxy."""
    run_tests(session, "haproxy", require="haproxy")


@nox.session
def lxd(session: nox.Session) -> None:
    """Against a real LXD daemon; as root."""
    run_tests(session, "lxd", require="lxd,haproxy")


@nox.session
def browser(session: nox.Session) -> None:
    """The dashboard in a real Chromium."""
    run_tests(session, "browser", require="chromium")


@nox.session
def bench(session: nox.Session) -> None:
    """The measurements that the documentation quotes."""
    install(session)
    session.run("lab", "bench", *session.posargs)
