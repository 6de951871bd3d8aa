"""Words for OMS itself: its scripts in the container, its health on the node."""

from __future__ import annotations

from omsfab.command import Command, script
from omsfab.commands import files
from omsfab.commands.docker import LOGS
from omsfab.commands.scripts import script_text
from omsfab.fleet import values as fleet_values
from omsfab.fleet.model import Install, Node

INIT = ("bash", "/root/docker_init.sh")
"""Initialise (guide, step 5 and step 7).  2 to 4 minutes, not to be interrupted."""

ATTEMPTS = "omsfab"
"""Directory below the logs mount where the attempts of an initialisation are kept."""

_REFRESH = script_text("refresh")
_COMPONENTS = script_text("component_files")


READERS = ("oms_console", "oms_drc_supervisor")
"""What the vendor's procedure restarts after a change of config.yaml."""


def refresh(install: Install, *more: str) -> Command:
    """Bring a changed config.yaml to the components without a full initialisation.

    ``more`` programs are restarted beside the vendor's.
    """
    return script(_REFRESH, install.container, "restart", *READERS, *more, limit=300)


def component_files(install: Install) -> Command:
    """Write the component files anew out of config.yaml, and restart nothing."""
    return script(_COMPONENTS, install.container, limit=120)


def health_url(node: Node, install: Install) -> str:
    """Return the health page of this node; with a certificate mounted it is HTTPS only."""
    return health_at(node.ip, install)


def health_at(host: str, install: Install) -> str:
    """Return the health page under this host, which may be the VIP."""
    scheme = "https" if install.https else "http"
    return f"{scheme}://{host}:{install.ports.nginx}/oms/health"


def page_of_cm(host: str, install: Install) -> Command | None:
    """Fetch CM's page, which tells where there is no health page; None where that is known to be.

    Source: only the vendor's deployer names /oms/health, for 4.2.11 and newer; that CM answers
    ``GET /`` with 200 stands in its callers' logs of 4.2.0.
    """
    if fleet_values.version_of(install.image) >= (4, 2, 11):
        return None
    return files.http_get(f"http://{host}:{install.ports.cm}/")


def attempts(install: Install) -> tuple[str, str]:
    """Return the attempts' directory as the node and as the container sees it."""
    return f"{install.mounts.logs}/{ATTEMPTS}", f"{LOGS}/{ATTEMPTS}"
