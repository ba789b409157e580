"""How a long piece of work says what it is doing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Told what begins now, in a few words."""
