"""oms_drc_supervisor, the agent: beats for OMS_HOST_IP, whatever that was set to."""

from __future__ import annotations

import base64
import contextlib
import signal
import sys
import threading
import time
from typing import Any
from urllib.request import Request, urlopen

from omsflow import settings
from omsflow.services.web import Answer, serve

MEMORY: dict[str, Any] = {"cursor": None, "beats": 0}
# The signal comes in the main thread; two threads on one connection would mix their packets.
LOCK = threading.Lock()


def answer(path: str) -> Answer:
    return 200, {"success": True, "data": {"host": settings.host_ip(), "beats": MEMORY["beats"]}}


def beat(values: dict[str, Any]) -> None:
    cursor = MEMORY["cursor"] or settings.connect(values, values["drc_cm_heartbeat_db"]).cursor()
    MEMORY["cursor"] = cursor
    changed = cursor.execute(
        "update heart_beat set gmt_modified = now() "
        "where task_name = 'supervisor' and host_ip = %s and gmt_modified <> now()",
        (settings.host_ip(),),
    )
    if not changed:
        cursor.execute(
            "insert ignore into heart_beat (task_name, task_type, host_ip) "
            "values ('supervisor', 'supervisor', %s)",
            (settings.host_ip(),),
        )
    if MEMORY["beats"] % 10 == 0:
        cursor.execute("insert into heatbeat_sequence (gmt_created) values (now())")
    if MEMORY["beats"] % 5 == 0:
        report(values)
    MEMORY["beats"] += 1
    say_status(cursor, values, "ONLINE")


def report(values: dict[str, Any]) -> None:
    """A point for InfluxDB; names of database and tags are not public, so these are made up."""
    if values.get("tsdb_enabled") != "true" or settings.knob("NO_POINTS") == "1":
        return
    pair = f"{values['tsdb_username']}:{values['tsdb_password']}"
    headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    line = f"oms_host,host_ip={settings.host_ip()} beats={MEMORY['beats']}i"
    for path, body in (
        ("query?q=CREATE+DATABASE+oms", b""),
        ("write?db=oms", line.encode()),
    ):
        url = f"http://{values['tsdb_url']}/{path}"
        with contextlib.suppress(OSError):
            urlopen(Request(url, body, headers), timeout=5).close()


def say_status(cursor: Any, values: dict[str, Any], status: str) -> None:
    cursor.execute(
        f"update `{values['drc_cm_db']}`.host set host_status = %s, gmt_modified = now() "
        "where ip = %s and host_status <> %s",
        (status, settings.host_ip(), status),
    )


def beats() -> None:
    values = settings.component("supervisor")
    while values is not None:
        if settings.knob("NO_BEAT") != "1":
            with LOCK:
                try:
                    beat(values)
                except Exception as error:
                    print(f"{type(error).__name__}: {error}", flush=True)
                    MEMORY["cursor"] = None
        time.sleep(1)


def leave(*_: object) -> None:
    values = settings.component("supervisor")
    if LOCK.acquire(timeout=3):
        with contextlib.suppress(Exception):
            if values is not None and MEMORY["cursor"] is not None:
                say_status(MEMORY["cursor"], values, "OFFLINE")
    sys.exit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=beats, daemon=True).start()
    serve(settings.port("supervisor_server_port"), answer)


if __name__ == "__main__":
    main()
