"""Steps 2 and 3: the databases, and the configuration files of the components."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from omsflow import schema, settings

VERSION = Path("/home/admin/version")


def init_db() -> None:
    """Make databases and tables that are missing.  Existing rows are kept, whatever they say."""
    values = settings.config()
    connection = settings.connect(values)
    cursor = connection.cursor()
    wanted = (
        (values["drc_rm_db"], schema.RM),
        (values["drc_cm_db"], schema.CM),
        (values["drc_cm_heartbeat_db"], schema.HEARTBEAT),
    )
    for database, tables in wanted:
        cursor.execute(f"create database if not exists `{database}`")
        cursor.execute(f"show tables from `{database}`")
        known = {row[0].lower() for row in cursor.fetchall()}
        for table, columns in tables.items():
            if table not in known:
                cursor.execute(f"create table if not exists `{database}`.`{table}` ({columns})")
                print(f"create table {database}.{table}")
    cursor.execute("select version()")
    if "oceanbase" in cursor.fetchone()[0].lower():
        print("ERROR 1235 (0A000): Modify large text/lob column not supported")
    seed(cursor, values)
    print("init db finished")


def seed(cursor: Any, values: dict[str, Any]) -> None:
    rm = values["drc_rm_db"]
    version = VERSION.read_text().strip() if VERSION.exists() else "unknown"
    once(cursor, f"`{rm}`.oms_version", "version", version, {})
    ha = json.dumps(schema.HA_CONFIG)
    once(cursor, f"`{rm}`.oms_normal_config", "cfg_name", "ha.config", {"cfg_value": ha})
    once(cursor, f"`{rm}`.oms_user", "name", "admin", {})
    region = values.get("cm_region") or "cn-default"
    once(
        cursor,
        f"`{rm}`.cluster_info",
        "code",
        int(values["cm_location"]),
        {
            "region": region,
            "region_cn": values.get("cm_region_cn") or region,
            "cm_url": settings.cm_url(values),
            "is_default_cm": 0 if values.get("cm_is_default", "true").lower() == "false" else 1,
        },
    )


def once(cursor: Any, table: str, key: str, value: object, rest: dict[str, object]) -> None:
    """Insert a row unless there is one with that key: the old one is kept as it is."""
    cursor.execute(f"select count(*) from {table} where `{key}` = %s", (value,))
    if cursor.fetchone()[0]:
        print(f"{table}: row {key} = {value} exists, kept")
        return
    columns = [key, *rest]
    names, marks = ", ".join(f"`{c}`" for c in columns), ", ".join(["%s"] * len(columns))
    cursor.execute(
        f"insert ignore into {table} ({names}) values ({marks})", [value, *rest.values()]
    )


def init_config_file() -> None:
    """One file for each component; they hold the password and are for root alone."""
    values = settings.config()
    text = "".join(f"{key}={json.dumps(value)}\n" for key, value in values.items())
    for path in settings.COMPONENTS.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        os.chmod(path, 0o600)
        path.write_text(text, "utf-8")
        print(f"write {path}")


def main() -> int:
    jobs = {"--init-db": init_db, "--init-config-file": init_config_file}
    try:
        jobs[sys.argv[1]]()
    except Exception as error:
        print(f"ERROR: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
