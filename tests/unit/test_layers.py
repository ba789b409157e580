"""Which part may know of which: the arrows of docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lab

ROOT = Path(lab.__file__).parent

SHARED = {"errors", "settings", "assets", "progress", "trace", "rate"}
"""What every part may use."""

MAY_IMPORT = {
    "core": set(),
    "settings": {"errors", "core"},
    "trace": {"core"},
    "loop": {"core", "worlds.base"},
    "host": {"errors"},
    "lxd": SHARED,
    "balancer": {*SHARED, "core", "worlds.base"},
    "worlds": {*SHARED, "core", "lxd"},
    "share": {*SHARED, "host"},
    "template": {*SHARED, "lxd"},
    "load": {*SHARED, "core"},
    "views": {*SHARED, "core"},
    "doctor": {*SHARED, "host"},
}
WIRES = {
    "wiring",
    "lifecycle",
    "simulation",
    "status",
    "bench",
    "compare",
    "validate",
    "cli",
    "grounds",
    "__main__",
}
"""The parts that put others together: they may know of everything."""
PLAIN = {"errors", "assets", "progress", "rate", "operator", "deployment", "scaler", "__init__"}
"""The parts that are used by those alone, and know of SHARED and core."""


def part_of(module: str) -> str:
    words = module.split(".")
    return ".".join(words[1:3]) if words[1:3] == ["worlds", "base"] else words[1]


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lab."):
            yield part_of(node.module)
        elif isinstance(node, ast.ImportFrom) and node.module == "lab":
            yield from (alias.name for alias in node.names if alias.name != "__version__")
        elif isinstance(node, ast.Import):
            yield from (part_of(a.name) for a in node.names if a.name.startswith("lab."))


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        yield pytest.param(path, relative.parts[0].removesuffix(".py"), id=str(relative))


@pytest.mark.parametrize(("path", "part"), list(modules()))
def test_a_part_knows_only_what_it_may(path, part):
    if part in WIRES:
        return
    allowed = {*SHARED, "core"} if part in PLAIN else MAY_IMPORT[part]
    assert set(imports(path)) - {part, f"{part}.base"} <= allowed


def test_the_core_reads_no_clock_and_does_no_io():
    forbidden = {"time", "datetime", "random", "os", "socket", "subprocess", "logging", "pathlib"}
    for path in (ROOT / "core").rglob("*.py"):
        # The calendar: datetime's types for a time that it is given, and never its clock.
        allowed = {"datetime"} if path.name == "cron.py" else set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not (forbidden - allowed) & {name.split(".")[0] for name in names}, path
            clock = ("now", "utcnow", "today")
            assert not (isinstance(node, ast.Attribute) and node.attr in clock), path
            assert not (isinstance(node, ast.Name) and node.id in ("print", "open")), path
