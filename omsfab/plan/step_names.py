"""Steps that others than their makers know by name: a rollback, a resume, the outages, the stakes.

The names stand in journals and in run.json: they are never changed.
"""

from __future__ import annotations

from typing import Final

IMAGE: Final = "image"
CONFIG: Final = "config"
HTTPS_CRT: Final = "https-crt"
HTTPS_KEY: Final = "https-key"
NGINX: Final = "nginx"
STOP_PROCESSES: Final = "stop-processes"
START_PROCESSES: Final = "start-processes"
START_CONTAINER: Final = "start-container"
STOP_CONTAINER: Final = "stop-container"
REMOVE_CONTAINER: Final = "remove-container"
RESTART: Final = "restart"
CONTAINER: Final = "container"
INITIALISE: Final = "initialise"
REFRESH: Final = "refresh"
SAVE_ROWS: Final = "save-rows"
CLEAR_ROWS: Final = "clear-rows"
ROWS_BACK: Final = "rows-back"
RESTORE_ROWS: Final = "restore-rows"
DROP_HOSTS: Final = "drop-hosts"

METADB: Final = "metadb"
"""In place of a node: what happens in MetaDB."""


def key(name: str, node: str = METADB) -> str:
    """Return what a step is called in a plan, e.g. ``initialise@oms1``."""
    return f"{name}@{node}"


def parts(key: str) -> tuple[str, str]:
    """Return name and node of such a key."""
    name, _, node = key.rpartition("@")
    return name, node
