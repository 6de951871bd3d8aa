"""oms_console: says whether this OMS is healthy."""

from __future__ import annotations

import signal
import socket
import sys
import time

from omslab import settings
from omslab.services.web import Answer, serve


def healthy() -> bool:
    """Initialised, the CM beside it up, and its region known to MetaDB."""
    values = settings.component("console")
    if values is None or settings.knob("UNHEALTHY") == "1":
        return False
    try:
        socket.create_connection(("127.0.0.1", settings.port("cm_server_port")), 2).close()
        connection = settings.connect(values, values["drc_rm_db"])
        cursor = connection.cursor()
        cursor.execute(
            "select count(*) from cluster_info where code = %s", (int(values["cm_location"]),)
        )
        known = cursor.fetchone()[0]
        connection.close()
    except Exception as error:
        print(f"not healthy: {type(error).__name__}: {error}", flush=True)
        return False
    return bool(known)


PAGE = "<!DOCTYPE html><html><head><title>OMS</title></head><body>OMS</body></html>\n"
ABSENT = "<html><body><h1>Whitelabel Error Page</h1>type=Not Found, status=404</body></html>\n"


def answer(path: str) -> Answer:
    """The health page as the knob HEALTH has it: 1, or as older consoles answer, 404 or html."""
    if not path.startswith("/oms/health"):
        return 200, PAGE
    kind = settings.knob("HEALTH", "1")
    if kind != "1":
        return (404, ABSENT) if kind == "404" else (200, PAGE)
    well = healthy()
    return (200 if well else 503), {"success": True, "data": {"healthy": well}}


def leave(*_: object) -> None:
    time.sleep(float(settings.knob("STOP_SECONDS") or 0))
    sys.exit(0)


def main() -> None:
    settings.may_start("oms_console")
    signal.signal(signal.SIGTERM, leave)
    serve(settings.port("ghana_server_port"), answer)


if __name__ == "__main__":
    main()
