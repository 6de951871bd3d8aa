"""What knobs do while OMS runs: somebody initialises, columns move, tables and keys come and go.

Lives in oms_drc_cm, since that is root's and runs in every container.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any

from omslab import settings, shape

FOREIGN = Path("/home/admin/logs/.lab/foreign")


def work() -> None:
    cursor = None
    while True:
        with contextlib.suppress(Exception):
            foreign_init()
        values = settings.component("cm")
        if values is not None:
            try:
                cursor = cursor or settings.connect(values, values["drc_cm_db"]).cursor()
                if shape.wanted() != shape.applied():
                    shape.apply(cursor, values)
                move(cursor, values)
            except Exception as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                cursor = None
        time.sleep(0.5)


def foreign_init() -> None:
    """FOREIGN_INIT=…: docker_init.sh is begun once for each new value of the knob."""
    value = settings.knob("FOREIGN_INIT")
    before = FOREIGN.read_text() if FOREIGN.exists() else ""
    if value == before:
        return
    FOREIGN.write_text(value)
    if value:
        subprocess.Popen(
            ["bash", "/root/docker_init.sh"],
            cwd="/root",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def move(cursor: Any, values: dict[str, Any]) -> None:
    """MOVING_COLUMNS=1: figures of every row of every region, and when they were taken."""
    if settings.knob("MOVING_COLUMNS") != "1":
        return
    for table in shape.four(values):
        cursor.execute(
            f"update {table} set lab_load = lab_load + 1, gmt_modified = now(), "
            "lab_report = concat(%s, ' at ', now(6))",
            (settings.host_ip(),),
        )
    time.sleep(0.5)
