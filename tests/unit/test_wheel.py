"""An installed lab brings everything that it needs: it works outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import lab

ROOT = Path(lab.__file__).parent.parent
SHIPPED = ("containers", "haproxy", "loadtests")


def run(*command, cwd=ROOT, **environment):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment or None)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_files_beside_the_code_and_works_by_itself(tmp_path):
    run(
        *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(tmp_path), str(ROOT)),
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    tracked = run("git", "ls-files", *SHIPPED).split()
    assert {f"lab/_assets/{name}" for name in [*tracked, "lab.toml"]} <= names

    packages = [path for path in sys.path if path.endswith("-packages")]
    where = {"PYTHONPATH": ":".join([str(tmp_path / "site"), *packages]), "PATH": "/usr/bin:/bin"}
    said = run(sys.executable, "-S", "-m", "lab", "load", cwd=tmp_path, **where)
    assert "demo" in said
    code = "from lab.assets import asset; print(asset('haproxy') / 'haproxy.cfg.j2')"
    path = run(sys.executable, "-S", "-c", code, cwd=tmp_path, **where).strip()
    assert path == str(tmp_path / "site/lab/_assets/haproxy/haproxy.cfg.j2")
    assert Path(path).is_file()
