"""Brings the tables into the shape that the knobs say, and back: ``python -m omslab.shape``.

MOVING_COLUMNS, REFERENCES, FOREIGN_KEYS, NO_LOCATION_CM, and keys that ROWS=add and URL_PER_NODE
cannot live with.  docker_init.sh, oms_drc_cm and tests call it; it says nothing if all is so.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from omslab import schema, settings

KNOBS = (
    *("MOVING_COLUMNS", "REFERENCES", "FOREIGN_KEYS", "NO_LOCATION_CM", "ROWS", "URL_PER_NODE"),
)
DONE = Path("/home/admin/logs/.lab/shape")
MOVING = {
    "lab_load": "double not null default 0",
    "lab_report": "varchar(256) not null default ''",
}
# Table below the CM's or the console's database -> columns, and the row for each group or host.
REFERRING = {
    "drc_cm_db": {
        "crawler": (
            f"{schema.ID}, store_id varchar(64), resource_group_id bigint, host_id bigint,"
            " ip varchar(64), status varchar(32)",
            "insert into {0}.crawler (store_id, resource_group_id, host_id, ip, status)"
            " select concat('s', id), resource_group_id, id, ip, 'running' from {0}.host",
        ),
        "config_task": (
            f"{schema.ID}, name varchar(64), group_id bigint",
            "insert into {0}.config_task (name, group_id)"
            " select concat('task of ', name), id from {0}.resource_group",
        ),
    },
}


def wanted() -> str:
    """The knobs that matter here, as one text; empty if none is turned."""
    return " ".join(f"{name}={settings.knob(name)}" for name in KNOBS if settings.knob(name))


def applied() -> str:
    return DONE.read_text() if DONE.exists() else ""


def four(values: dict[str, Any]) -> list[str]:
    """The four tables with their databases; without location_cm if there is none."""
    rm, cm = values["drc_rm_db"], values["drc_cm_db"]
    names = [f"`{rm}`.cluster_info", f"`{cm}`.resource_group", f"`{cm}`.host"]
    return names if settings.knob("NO_LOCATION_CM") == "1" else [*names, f"`{cm}`.location_cm"]


def apply(cursor: Any, values: dict[str, Any]) -> None:
    """Make it so; several nodes may do it at once."""
    cm = values["drc_cm_db"]
    location(cursor, cm)
    moving(cursor, values)
    keys(cursor, values)
    references(cursor, values)
    foreign_keys(cursor, cm)
    DONE.write_text(wanted())


def location(cursor: Any, cm: str) -> None:
    there = exists(cursor, cm, "location_cm")
    if settings.knob("NO_LOCATION_CM") == "1":
        if there:
            cursor.execute(f"rename table `{cm}`.location_cm to `{cm}`.lab_kept_location")
    elif not there and exists(cursor, cm, "lab_kept_location"):
        cursor.execute(f"rename table `{cm}`.lab_kept_location to `{cm}`.location_cm")


def moving(cursor: Any, values: dict[str, Any]) -> None:
    on = settings.knob("MOVING_COLUMNS") == "1"
    for table in four(values):
        there = columns(cursor, table)
        for name, kind in MOVING.items():
            if on and name not in there:
                alter(cursor, f"alter table {table} add column {name} {kind}")
            if not on and name in there:
                alter(cursor, f"alter table {table} drop column {name}")


def keys(cursor: Any, values: dict[str, Any]) -> None:
    """Unique keys go where rows of the same key are to stand beside each other.

    They come back when the knob is gone and the rows allow it.
    """
    rm, cm = values["drc_rm_db"], values["drc_cm_db"]
    beside = settings.knob("ROWS") == "add"
    for table, key, column, off in (
        (f"`{rm}`.cluster_info", "uk_code", "code", beside),
        (f"`{cm}`.resource_group", "uk_name", "name", beside),
        (f"`{cm}`.host", "uk_ip", "ip", beside),
        (
            f"`{cm}`.location_cm",
            "uk_location",
            "location",
            beside or settings.knob("URL_PER_NODE") == "1",
        ),
    ):
        if table not in four(values):
            continue
        cursor.execute(f"show index from {table} where key_name = %s", (key,))
        there = bool(cursor.fetchall())
        if off and there:
            alter(cursor, f"alter table {table} drop index {key}")
        if not off and not there:
            alter(cursor, f"alter table {table} add unique key {key} ({column})")


def references(cursor: Any, values: dict[str, Any]) -> None:
    """REFERENCES=1: tables whose columns hold ids of hosts and groups; no key says so."""
    on = settings.knob("REFERENCES") == "1"
    for part, tables in REFERRING.items():
        database = f"`{values[part]}`"
        for name, (kinds, fill) in tables.items():
            there = exists(cursor, values[part], name)
            if on:
                cursor.execute(f"create table if not exists {database}.{name} ({kinds})")
                if empty(cursor, f"{database}.{name}"):
                    cursor.execute(fill.format(database))
            if not on and there:
                cursor.execute(f"drop table if exists {database}.{name}")


def foreign_keys(cursor: Any, cm: str) -> None:
    """FOREIGN_KEYS=restrict: labels of hosts and of groups, which those cannot leave."""
    on = settings.knob("FOREIGN_KEYS")
    for name, to in (("host_label", "host"), ("group_label", "resource_group")):
        there = exists(cursor, cm, name)
        if on and not there:
            cursor.execute(
                f"create table if not exists `{cm}`.{name} ({schema.ID}, owner bigint not null,"
                f" label varchar(64), constraint fk_{name} foreign key (owner)"
                f" references `{cm}`.{to} (id) on delete {on})"
            )
        if on and empty(cursor, f"`{cm}`.{name}"):
            cursor.execute(
                f"insert into `{cm}`.{name} (owner, label) select id, 'production' from `{cm}`.{to}"
            )
        if not on and there:
            cursor.execute(f"drop table if exists `{cm}`.{name}")


def exists(cursor: Any, database: str, table: str) -> bool:
    cursor.execute(f"show tables from `{database}` like '{table}'")
    return bool(cursor.fetchall())


def empty(cursor: Any, table: str) -> bool:
    cursor.execute(f"select 1 from {table} limit 1")
    return not cursor.fetchall()


def columns(cursor: Any, table: str) -> set[str]:
    cursor.execute(f"show columns from {table}")
    return {row[0] for row in cursor.fetchall()}


def alter(cursor: Any, statement: str) -> None:
    """Another node may have done it a moment ago, or rows may forbid a key."""
    with contextlib.suppress(Exception):
        cursor.execute(statement)


def main() -> None:
    values = settings.config()
    for _ in range(3):
        apply(settings.connect(values, values["drc_cm_db"]).cursor(), values)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
