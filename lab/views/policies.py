"""What `lab policy list` and `lab policy show` print. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def policy_list(policies: Iterable[type[Any]], steers: str, shadows: Iterable[str]) -> Table:
    """Every policy with what it does in a line; the one that steers and the shadows are marked."""
    shadows = set(shadows)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for policy in policies:
        name = policy.name
        mark = "steers" if name == steers else "shadow" if name in shadows else ""
        line = (inspect.getdoc(policy) or "").splitlines()[0]
        table.add_row(Text(mark, "bold green"), Text(name, "bold"), Text(line))
    return table


def policy_page(policy: type[Any], settings: Mapping[str, Any]) -> RenderableType:
    """All that a policy says of itself, its source included, and its settings in force."""
    rows = Table.grid(padding=(0, 2))
    for key, value in settings.items():
        rows.add_row(Text(key), Text(str(value), "bold"))
    page = inspect.getdoc(inspect.getmodule(policy)) or ""
    return Group(
        Text(policy.name, "bold"),
        Text(),
        Text(inspect.getdoc(policy) or ""),
        Text(),
        Text(page, "dim"),
        Text(),
        rows,
    )
