"""oms_drc_cm: answers on its port, calls hosts without beats OFFLINE, and is the knobs' hand."""

from __future__ import annotations

import threading
import time

from omslab import hand, settings
from omslab.services.web import Answer, serve

STALE_SECONDS = 15


def answer(path: str) -> Answer:
    """Jetty answers its root page whether OMS is initialised or not."""
    ready = settings.component("cm") is not None
    status = 200 if ready or path == "/" else 503
    return status, {"success": ready, "data": {"path": path}}


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
                f"from `{values['drc_cm_heartbeat_db']}`.heart_beat group by host_ip "
                f"having max(gmt_modified) < now() - interval {STALE_SECONDS} second)"
            )
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            cursor = None
        time.sleep(2)


def main() -> None:
    settings.may_start("oms_drc_cm")
    threading.Thread(target=watch, daemon=True).start()
    threading.Thread(target=hand.work, daemon=True).start()
    serve(settings.port("cm_server_port"), answer)


if __name__ == "__main__":
    main()
