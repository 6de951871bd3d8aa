"""A local fleet of real servers: sshd, dockerd, OceanBase or MariaDB, and a stand-in for OMS.

omsfab is demonstrated and tested on it.  Everything lives in namespaces of this machine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omsfab.lab.life import down, load, start_node, status, stop_node, up
    from omsfab.lab.machine import PACKAGES, install_packages, missing
    from omsfab.lab.model import Lab, MetaDbOfLab, NodeOfLab
    from omsfab.lab.system import LabError

__all__ = [
    "PACKAGES",
    "Lab",
    "LabError",
    "MetaDbOfLab",
    "NodeOfLab",
    "down",
    "install_packages",
    "load",
    "missing",
    "start_node",
    "status",
    "stop_node",
    "up",
]

_HOMES = {
    "omsfab.lab.life": ("down", "load", "start_node", "status", "stop_node", "up"),
    "omsfab.lab.machine": ("PACKAGES", "install_packages", "missing"),
    "omsfab.lab.model": ("Lab", "MetaDbOfLab", "NodeOfLab"),
    "omsfab.lab.system": ("LabError",),
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: `fab --list` must not pay for the lab (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
