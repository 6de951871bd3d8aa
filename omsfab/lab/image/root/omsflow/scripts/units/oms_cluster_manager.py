"""Step 5: the resource group of the region, its hosts, and where its CM is."""

from __future__ import annotations

from typing import Any

from omslab import settings

from omsflow import prelude
from omsflow.scripts.units.oms_init_manager import once


def add_resource() -> None:
    values = settings.config()
    connection = settings.connect(values, values["drc_cm_db"])
    cursor = connection.cursor()
    location = str(int(values["cm_location"]))
    if settings.knob("NO_LOCATION_CM") != "1":
        locate(cursor, values, location)
    once(cursor, "resource_group", {"name": location}, {"description": "default group"})
    cursor.execute("select max(id) from resource_group where name = %s", (location,))
    group = cursor.fetchone()[0]
    for ip in values["cm_nodes"]:
        rest = {"resource_group_id": group, "cpu_total": 8, "memory_total": 34359738368}
        once(cursor, "host", {"ip": ip}, rest)


def locate(cursor: Any, values: dict[str, Any], location: str) -> None:
    """One row with cm_url, or with a knob one for each node with that node's own url."""
    region = {"region": values.get("cm_region") or "cn-default"}
    if settings.knob("URL_PER_NODE") != "1":
        rest = {"cm_url": settings.cm_url(values), **region}
        return once(cursor, "location_cm", {"location": location}, rest)
    for ip in values["cm_nodes"]:
        url = f"http://{ip}:{settings.port('cm_server_port')}"
        once(cursor, "location_cm", {"location": location, "cm_url": url}, region)


def main() -> None:
    prelude()
    add_resource()


if __name__ == "__main__":
    main()
