"""Step 1: check config.yaml."""

from __future__ import annotations

import ipaddress
import re
import sys
from typing import Any

from omslab import settings

from omsflow import prelude

REQUIRED = (
    *("oms_meta_host", "oms_meta_port", "oms_meta_user", "oms_meta_password"),
    *("drc_rm_db", "drc_cm_db", "drc_cm_heartbeat_db", "cm_url", "cm_location", "cm_nodes"),
)


def faults(values: dict[str, Any]) -> list[str]:
    found = [f"{key} is missing" for key in REQUIRED if not values.get(key)]
    if found:
        return found
    if not re.fullmatch(r"https?://[\w.-]+:\d+", values["cm_url"]):
        found.append(f"cm_url {values['cm_url']} must be like http://host:8088")
    if not values["cm_location"].isdigit() or not 0 <= int(values["cm_location"]) <= 127:
        found.append(f"cm_location {values['cm_location']} must be 0..127")
    if not isinstance(values["cm_nodes"], list):
        return [*found, "cm_nodes must be a list"]
    for ip in values["cm_nodes"]:
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            found.append(f"cm_nodes: {ip} is no address")
    return found


def main() -> int:
    prelude()
    try:
        values = settings.config()
        found = faults(values)
        if not found:
            settings.connect(values).close()
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    for fault in found:
        print(f"ERROR: check config.yaml: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
