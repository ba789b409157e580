"""Every policy by its name.

A new policy is one more class in POLICIES; its settings section, its name in `[policy] steer` and
its place in `lab policy list` follow from that.
"""

from __future__ import annotations

from typing import Any

from lab.core.policies.classic import Adapt, Hist, React, Reg
from lab.core.policies.combine import Combine
from lab.core.policies.dask import Adaptive
from lab.core.policies.ec2 import TargetTracking
from lab.core.policies.ec2_step import Simple, Step
from lab.core.policies.heat import Adjustment
from lab.core.policies.hpa import Hpa
from lab.core.policies.kpa import Kpa
from lab.core.policies.lab_policy import Lab
from lab.core.policies.latency import LastRequests, Latency
from lab.core.policies.nomad import NomadTarget, NomadThreshold
from lab.core.policies.pinned import Pinned
from lab.core.policies.predictive import Predictive
from lab.core.policies.schedule import Schedule
from lab.core.policies.sessions import Sessions

POLICIES: tuple[type[Any], ...] = (
    Sessions,
    Lab,
    Latency,
    LastRequests,
    Hpa,
    Kpa,
    NomadTarget,
    NomadThreshold,
    TargetTracking,
    Step,
    Simple,
    Adjustment,
    Adaptive,
    React,
    Hist,
    Reg,
    Adapt,
    Predictive,
    Schedule,
    Pinned,
    Combine,
)
"""All there are, in the order in which they are listed: frozen dataclasses with a `name`."""

BY_NAME: dict[str, type[Any]] = {policy.name: policy for policy in POLICIES}
