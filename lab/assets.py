"""Finds what ships beside the code: containers/, haproxy/, loadtests/ and lab.toml."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "_assets"
_CHECKOUT = Path(__file__).parent.parent


def asset(name: str) -> Path:
    """The path of a shipped file or directory, from the wheel or from the checkout."""
    root = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    return root / name
