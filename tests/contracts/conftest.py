"""Every contract test runs on every live world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lxd_lab import lxd_stage
from support.stage import Stage, process_stage


@pytest.fixture(params=["process", pytest.param("lxd", marks=pytest.mark.lxd)])
def stage(request: pytest.FixtureRequest, tmp_path: Path, require) -> Iterator[Stage]:
    require("haproxy")
    if request.param == "process":
        with process_stage(tmp_path) as made:
            yield made
    else:
        with lxd_stage(request.getfixturevalue("lxd_lab")) as made:
            yield made
