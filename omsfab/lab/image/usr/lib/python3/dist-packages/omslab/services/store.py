"""A Store, a Connector, or a late writer: processes of user ds that supervisord knows nothing of.

``late`` remembers the row of its host and puts it back whenever it is gone, with its former group.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from omslab import settings

PORTS = {"store": 17001, "connector": 18001}


def place(kind: str) -> Path:
    """Where it lives: documents, logs of components; a late writer is nobody's."""
    if kind == "store":
        return Path(f"/home/ds/store/store{PORTS[kind]}")
    if kind == "connector":
        return Path(f"/home/ds/run/{settings.host_ip()}-9000:connector_v2:lab:0000000001")
    return Path("/")


def write(kind: str, cursor: Any, values: dict[str, Any]) -> None:
    """A checkpoint a second."""
    cursor.execute(
        f"insert into `{values['drc_cm_heartbeat_db']}`.heatbeat_sequence "
        "(gmt_created, gmt_modified) values (now(), now())"
    )
    time.sleep(1)


def put_back(known: dict[str, Any], cursor: Any) -> dict[str, Any]:
    """The row of the host as it was last seen, put back if it is gone; returned for next time."""
    cursor.execute("select * from host where ip = %s", (settings.host_ip(),))
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    if rows:
        known = dict(zip(names, rows[0], strict=True))
    elif known:
        marks = ", ".join(["%s"] * len(known))
        columns = ", ".join(f"`{name}`" for name in known)
        cursor.execute(f"insert into host ({columns}) values ({marks})", [*known.values()])
        print(f"late writer: put the row of {settings.host_ip()} back", flush=True)
    time.sleep(0.2)
    return known


def main() -> None:
    kind = sys.argv[1]
    values = settings.component("supervisor")
    if values is None:
        sys.exit("not initialised")
    held = None
    if kind in PORTS:
        held = socket.create_server(("0.0.0.0", PORTS[kind]))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cursor: Any = None
    known: dict[str, Any] = {}
    knob = "LATE_WRITER" if kind == "late" else "STORES"
    while settings.knob(knob):
        try:
            cursor = cursor or settings.connect(values, values["drc_cm_db"]).cursor()
            if kind == "late":
                known = put_back(known, cursor)
            else:
                write(kind, cursor, values)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            cursor = None
            time.sleep(1)
    if held:
        held.close()


if __name__ == "__main__":
    main()
