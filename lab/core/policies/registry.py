"""Every policy by its name.

A new policy is one more class in POLICIES; its settings section, its name in `[policy] steer` and
its place in `lab policy list` follow from that.
"""

from __future__ import annotations

from typing import Any

from lab.core.policies.sessions import Sessions

POLICIES: tuple[type[Any], ...] = (Sessions,)
"""All there are, in the order in which they are listed: frozen dataclasses with a `name`."""

BY_NAME: dict[str, type[Any]] = {policy.name: policy for policy in POLICIES}
