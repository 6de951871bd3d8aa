"""oms_drc_cm: answers on its port, and calls hosts without heartbeat OFFLINE."""

from __future__ import annotations

import threading
import time

from omsflow import settings
from omsflow.services.web import Answer, serve

STALE_SECONDS = 15


def answer(path: str) -> Answer:
    ready = settings.component("cm") is not None
    return (200 if ready else 503), {"success": ready, "data": {"path": path}}


def watch() -> None:
    """Only hosts that have beaten before; a new one is OFFLINE from the start."""
    values = settings.component("cm")
    cursor = None
    while values is not None:
        try:
            cursor = cursor or settings.connect(values, values["drc_cm_db"]).cursor()
            cursor.execute(
                "update host set host_status = 'OFFLINE', gmt_modified = now() "
                "where host_status = 'ONLINE' and ip in (select host_ip "
                f"from `{values['drc_cm_heartbeat_db']}`.heart_beat "
                f"where gmt_modified < now() - interval {STALE_SECONDS} second)"
            )
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            cursor = None
        time.sleep(2)


def main() -> None:
    threading.Thread(target=watch, daemon=True).start()
    serve(settings.port("cm_server_port"), answer)


if __name__ == "__main__":
    main()
