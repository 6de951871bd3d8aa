"""Steps 2 and 3: the databases, and the configuration files of the components."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from omslab import schema, settings, shape

from omsflow import prelude

VERSION = Path("/home/admin/version")


def init_db() -> None:
    """Make databases and tables that are missing, then the rows."""
    print("\nno drop task\n\nno init task", flush=True)
    values = settings.config()
    wanted = (
        (values["drc_cm_db"], schema.CM),
        (values["drc_rm_db"], schema.RM),
        (values["drc_cm_heartbeat_db"], schema.HEARTBEAT),
    )
    cursor: Any = None
    for database, tables in wanted:
        say_engine(values, database)
        cursor = cursor or settings.connect(values).cursor()
        cursor.execute(f"create database if not exists `{database}` default character set utf8")
        cursor.execute(f"show tables from `{database}`")
        known = {row[0].lower() for row in cursor.fetchall()}
        for table, columns in tables.items():
            if table == "location_cm" and settings.knob("NO_LOCATION_CM") == "1":
                continue
            if table not in known:
                cursor.execute(f"create table if not exists `{database}`.`{table}` ({columns})")
    cursor.execute("select version()")
    if "oceanbase" in cursor.fetchone()[0].lower():
        print("ERROR 1235 (0A000): Modify large text/lob column not supported")
    if shape.wanted() != shape.applied():
        shape.apply(cursor, values)
    seed(cursor, values)


def say_engine(values: dict[str, Any], database: str) -> None:
    """What a log of 3.3.0 has of each database: its words, the password in clear among them."""
    account = {
        "username": values["oms_meta_user"],
        "database": database,
        "host": values["oms_meta_host"],
        "password_original": values["oms_meta_password"],
        "drivername": "mysql+pymysql",
        "query": {"charset": "utf8"},
        "port": int(values["oms_meta_port"]),
    }
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
    at = "{username}:***@{host}:{port}/{database}".format(**account)
    print(f"\nquery {{'charset': 'utf8'}} {account}")
    print(
        f"{now}-Oms-DEBUG units.create_engine_wrapper.70 :create a new sqlalchemy engine"
        f" wrapped Engine(mysql+pymysql://{at}?charset=utf8)",
        flush=True,
    )


def seed(cursor: Any, values: dict[str, Any]) -> None:
    rm = values["drc_rm_db"]
    version = VERSION.read_text().strip() if VERSION.exists() else "unknown"
    cursor.execute(
        f"insert ignore into `{rm}`.oms_version (version, gmt_modified) values (%s, now())",
        (version,),
    )
    ha = json.dumps(schema.HA_CONFIG)
    kept = f"`{rm}`.oms_normal_config"
    once(cursor, kept, {"cfg_name": "ha.config"}, {"cfg_value": ha}, manner="keep")
    once(cursor, f"`{rm}`.oms_user", {"name": "admin"}, {}, manner="keep")
    region = values.get("cm_region") or "cn-default"
    once(
        cursor,
        f"`{rm}`.cluster_info",
        {"code": int(values["cm_location"])},
        {
            "region": region,
            "region_cn": values.get("cm_region_cn") or region,
            "cm_url": settings.cm_url(values),
            "is_default_cm": 0 if values.get("cm_is_default", "true").lower() == "false" else 1,
        },
    )


def once(
    cursor: Any, table: str, key: dict[str, Any], rest: dict[str, Any], manner: str = ""
) -> None:
    """Insert a row.  If there is one with that key, what the knob ROWS says, which nobody knows.

    ``keep``: it stays as it is.  ``rewrite``: it gets the new values.  ``add``: a second row stands
    beside it, unless all values are the same.
    """
    manner = manner or settings.knob("ROWS", "keep")
    row = {**key, **rest}
    asked = row if manner == "add" else key
    where = " and ".join(f"`{name}` = %s" for name in asked)
    cursor.execute(f"select count(*) from {table} where {where}", [*asked.values()])
    if not cursor.fetchone()[0]:
        names, marks = ", ".join(f"`{name}`" for name in row), ", ".join(["%s"] * len(row))
        cursor.execute(f"insert ignore into {table} ({names}) values ({marks})", [*row.values()])
    elif manner == "rewrite" and rest:
        sets = ", ".join(f"`{name}` = %s" for name in rest)
        cursor.execute(f"update {table} set {sets} where {where}", [*rest.values(), *key.values()])


def init_config_file() -> None:
    """One file for each component; they hold the password and are their reader's alone."""
    values = settings.config()
    text = "".join(f"{key}={json.dumps(value)}\n" for key, value in values.items())
    for name, path in settings.COMPONENTS.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        os.chmod(path, 0o600)
        reader = settings.DS if name == "supervisor" else 0
        os.chown(path, reader, reader)
        path.write_text(text, "utf-8")


def main() -> None:
    """A fault ends it with its traceback."""
    jobs = {"--init-db": init_db, "--init-config-file": init_config_file}
    prelude()
    time.sleep(float(settings.knob("UNIT_SECONDS") or 0))
    jobs[sys.argv[1]]()


if __name__ == "__main__":
    main()
