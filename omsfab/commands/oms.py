"""Words for OMS itself: its scripts in the container, its health on the node."""

from __future__ import annotations

from omsfab.commands.command import Command, script
from omsfab.commands.docker import LOGS
from omsfab.fleet.model import Install, Node

INIT = ("bash", "/root/docker_init.sh")
"""Initialise (guide, step 5 and step 7).  2 to 4 minutes, not to be interrupted."""

ATTEMPTS = "omsfab"
"""Directory below the logs mount where the attempts of an initialisation are kept."""

# Vendor's procedure for a changed config.yaml (OMS docs, deployment pages): component files anew,
# then restart what reads them.
_REFRESH = """# refresh the component files from config.yaml, restart console and supervisor
docker exec "$1" python -m omsflow.scripts.units.oms_init_manager --init-config-file &&
docker exec "$1" supervisorctl restart oms_console oms_drc_supervisor
"""


def refresh(install: Install) -> Command:
    """Bring a changed config.yaml to the components without a full initialisation."""
    return script(_REFRESH, install.container, limit=300)


def health_url(node: Node, install: Install) -> str:
    """Return the health page of this node; with a certificate mounted it is HTTPS only."""
    scheme = "https" if install.https else "http"
    return f"{scheme}://{node.ip}:{install.ports.nginx}/oms/health"


def attempts(install: Install) -> tuple[str, str]:
    """Return the attempts' directory as the node and as the container sees it."""
    return f"{install.mounts.logs}/{ATTEMPTS}", f"{LOGS}/{ATTEMPTS}"
