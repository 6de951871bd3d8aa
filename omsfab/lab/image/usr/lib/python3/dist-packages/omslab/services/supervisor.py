"""oms_drc_supervisor, the agent: beats for OMS_HOST_IP, whatever that was set to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from omslab import settings
from omslab.services import store
from omslab.services.web import Answer, serve

MEMORY: dict[str, Any] = {"cursor": None, "beats": 0, "row": 0}
# The signal comes in the main thread; two threads on one connection would mix their packets.
LOCK = threading.Lock()
CHILDREN: dict[str, subprocess.Popen[bytes]] = {}


def answer(path: str) -> Answer:
    return 200, {"success": True, "data": {"host": settings.host_ip(), "beats": MEMORY["beats"]}}


def beat(values: dict[str, Any]) -> None:
    cursor = MEMORY["cursor"] or settings.connect(values, values["drc_cm_heartbeat_db"]).cursor()
    MEMORY["cursor"] = cursor
    # Each start of the agent has a row of its own: HaDao asks for the newest of a task and host.
    found = cursor.execute("select 1 from heart_beat where id = %s", (MEMORY["row"],))
    if found:
        cursor.execute("update heart_beat set gmt_modified = now() where id = %s", (MEMORY["row"],))
    else:
        cursor.execute(
            "insert into heart_beat (task_name, task_type, host_ip) "
            "values ('supervisor', 'supervisor', %s)",
            (settings.host_ip(),),
        )
        MEMORY["row"] = cursor.lastrowid
    if MEMORY["beats"] % 10 == 0:
        cursor.execute(
            "insert into heatbeat_sequence (gmt_created, gmt_modified) values (now(), now())"
        )
    if MEMORY["beats"] % 5 == 0:
        report(values)
    MEMORY["beats"] += 1
    say_status(cursor, values, "ONLINE")


def report(values: dict[str, Any]) -> None:
    """A point for InfluxDB; names of database and tags are not public, so these are made up."""
    if values.get("tsdb_enabled") != "true" or settings.knob("NO_POINTS") == "1":
        return
    import base64
    from urllib.request import Request, urlopen

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
            stores(values)
        time.sleep(1)


def stores(values: dict[str, Any]) -> None:
    """Start what is no program of supervisord: STORES=1 or survive, LATE_WRITER=1."""
    kinds = ("store", "connector") if settings.knob("STORES") else ()
    late = ("late",) if settings.knob("LATE_WRITER") == "1" else ()
    for kind in (*kinds, *late):
        child = CHILDREN.get(kind)
        if child is None or child.poll() is not None:
            place = store.place(kind)
            place.mkdir(parents=True, exist_ok=True)
            CHILDREN[kind] = subprocess.Popen(
                [sys.executable, "-m", "omslab.services.store", kind],
                cwd=place,
                start_new_session=True,
            )


def leave(*_: object) -> None:
    """On QUIT, which reaches the agent alone; its Stores end with it unless a knob says no."""
    if settings.knob("STORES") != "survive":
        for kind in CHILDREN.keys() - {"late"}:
            CHILDREN[kind].terminate()
    values = settings.component("supervisor")
    if LOCK.acquire(timeout=3):
        with contextlib.suppress(Exception):
            if values is not None and MEMORY["cursor"] is not None:
                say_status(MEMORY["cursor"], values, "OFFLINE")
    sys.exit(0)


def may_write() -> None:
    """User ds has to write to its mounts, and with a knob to read config.yaml: else it is dead."""
    for path in ("/home/ds/store", "/home/ds/run", "/home/admin/logs/supervisor"):
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            sys.exit(f"oms_drc_supervisor: {path}: Permission denied")
    if settings.knob("DS_READS_CONFIG") == "1" and not os.access(settings.CONFIG, os.R_OK):
        sys.exit(f"oms_drc_supervisor: {settings.CONFIG}: Permission denied")


def main() -> None:
    settings.may_start("oms_drc_supervisor")
    may_write()
    signal.signal(signal.SIGQUIT, leave)
    threading.Thread(target=beats, daemon=True).start()
    # config.yaml is root's; what user ds is to know stands in its own file.
    port = (settings.component("supervisor") or {}).get("supervisor_server_port")
    serve(int(port or settings.PORTS["supervisor_server_port"]), answer)


if __name__ == "__main__":
    main()
