"""Step 5: the resource group of the region, its hosts, and where its CM is."""

from __future__ import annotations

import sys

from omsflow import settings
from omsflow.scripts.units.oms_init_manager import once


def add_resource() -> None:
    """Insert what is missing; existing rows are kept."""
    values = settings.config()
    connection = settings.connect(values, values["drc_cm_db"])
    cursor = connection.cursor()
    location = str(int(values["cm_location"]))
    once(
        cursor,
        "location_cm",
        "location",
        location,
        {"cm_url": settings.cm_url(values), "region": values.get("cm_region") or "cn-default"},
    )
    once(cursor, "resource_group", "name", location, {"description": "default group"})
    cursor.execute("select id from resource_group where name = %s", (location,))
    group = cursor.fetchone()[0]
    for ip in values["cm_nodes"]:
        rest = {"resource_group_id": group, "cpu_total": 8, "memory_total": 34359738368}
        once(cursor, "host", "ip", ip, rest)
        print(f"add resource {ip} to group {location}")


def main() -> int:
    try:
        add_resource()
    except Exception as error:
        print(f"ERROR: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
