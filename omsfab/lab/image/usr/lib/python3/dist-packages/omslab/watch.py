"""Beside docker_init.sh: notes its end if it is killed, and other ones at the same moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from omslab import settings

LAB = Path("/home/admin/logs/.lab")
TABLE = (
    "create table if not exists lab_init_runs (token varchar(64) primary key, host varchar(64), "
    "pid int, started datetime(6), seen datetime(6), ended datetime(6))"
)


def note(file: str, text: str) -> None:
    with (LAB / file).open("a") as out:
        out.write(f"{time.time():.6f} {text}\n")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def noted(stamp: str) -> bool:
    """By its stamp, since a new container counts its processes from 1 again."""
    try:
        return any(x.endswith(stamp) for x in (LAB / "init.ended").read_text().splitlines())
    except OSError:
        return False


def enter(token: str, pid: int) -> Any:
    """A row of this run in the console's database, once that exists; None until then."""
    values = settings.config()
    connection = settings.connect(values, values["drc_rm_db"])
    cursor = connection.cursor()
    cursor.execute(TABLE)
    cursor.execute(
        "insert into lab_init_runs values (%s, %s, %s, now(6), now(6), null)",
        (token, settings.host_ip(), pid),
    )
    cursor.execute(
        "select host, pid from lab_init_runs where ended is null and token <> %s "
        "and seen > now(6) - interval 2 second and host <> %s",
        (token, settings.host_ip()),
    )
    for host, other in cursor.fetchall():
        note("init.overlap", f"{pid} with pid {other} on {host}")
    return cursor


def main() -> None:
    pid, stamp = int(sys.argv[1]), sys.argv[2]
    token, cursor, seen = uuid.uuid4().hex, None, 0.0
    while alive(pid) and not noted(stamp):
        if time.monotonic() - seen > 0.3:
            seen = time.monotonic()
            with contextlib.suppress(Exception):
                if cursor is None:
                    cursor = enter(token, pid)
                else:
                    cursor.execute(
                        "update lab_init_runs set seen = now(6) where token = %s", (token,)
                    )
        time.sleep(0.05)
    if not noted(stamp):
        note("init.ended", f"{pid} -9 {stamp}")
    with contextlib.suppress(Exception):
        if cursor is not None:
            cursor.execute("update lab_init_runs set ended = now(6) where token = %s", (token,))


if __name__ == "__main__":
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is killed with the script, and notes that
    main()
