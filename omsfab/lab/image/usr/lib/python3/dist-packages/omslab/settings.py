"""config.yaml, the component files made of it, the knobs, and the database."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

CONFIG = Path("/home/admin/conf/config.yaml")
KNOBS = Path("/home/admin/logs/.lab/knobs")
PROFILE = Path("/usr/lib/omslab/profile")
STEP_4 = Path("/tmp/.lab-step-4")
DS = 501
"""User and group of oms_drc_supervisor."""
COMPONENTS = {
    "cm": Path("/home/ds/cm/package/config/drc-cm.properties"),
    "supervisor": Path("/home/ds/supervisor/config/drc.properties"),
    "console": Path("/home/ds/ghana/config/application-oms.properties"),
}
PORTS = {
    "ghana_server_port": 8090,
    "nginx_server_port": 8089,
    "cm_server_port": 8088,
    "supervisor_server_port": 9000,
    "sshd_server_port": 2023,
}


def knob(name: str, default: str = "") -> str:
    """The last value that the tests have written for a knob, else that of the image's profile."""
    for path in (KNOBS, PROFILE):
        with contextlib.suppress(OSError):
            for line in reversed(path.read_text("utf-8", "replace").splitlines()):
                if line.startswith(f"{name}="):
                    return line.partition("=")[2]
    return default


def named(*knobs: str) -> set[str]:
    """The programs that any of these knobs names; several stand apart by commas."""
    return {word for name in knobs for word in knob(name).split(",") if word}


def may_start(program: str) -> None:
    """End here if a knob has this program FATAL, or never come."""
    if program in named("PROGRAM_NEVER"):
        time.sleep(1)
        sys.exit(f"{program}: still waiting for its configuration")
    in_step_4 = named("INIT_FATAL") if STEP_4.exists() else set()
    if program in named("PROGRAM_FATAL") | in_step_4:
        sys.exit(f"{program}: cannot start")


def config() -> dict[str, Any]:
    """config.yaml with every scalar as text: quoted, plain and ``!!bool`` forms are equal."""
    import yaml

    with CONFIG.open(encoding="utf-8") as file:
        document = yaml.safe_load(file)
    if not isinstance(document, dict):
        raise ValueError(f"{CONFIG} is not a mapping of keys and values")
    return {str(key): _plain(value) for key, value in document.items()}


def component(name: str) -> dict[str, Any] | None:
    """What initialisation wrote for a component; None before that."""
    try:
        lines = COMPONENTS[name].read_text("utf-8").splitlines()
    except OSError:
        return None
    return {key: json.loads(value) for key, _, value in (line.partition("=") for line in lines)}


def port(key: str) -> int:
    """A port of config.yaml, or its default; a broken file must not keep programs from starting."""
    try:
        return int(config().get(key) or PORTS[key])
    except Exception:
        return PORTS[key]


def host_ip() -> str:
    """What `docker run -e OMS_HOST_IP` said, right or wrong."""
    return os.environ.get("OMS_HOST_IP", "")


def connect(values: dict[str, Any], database: str | None = None) -> Any:
    """A connection to MetaDB with autocommit."""
    import pymysql

    return pymysql.connect(
        host=values["oms_meta_host"],
        port=int(values["oms_meta_port"]),
        user=values["oms_meta_user"],
        # As bytes: a str would be sent as latin-1.
        password=str(values["oms_meta_password"]).encode(),
        database=database,
        charset="utf8mb4",
        connect_timeout=10,
        read_timeout=30,
        autocommit=True,
        ssl_disabled=True,  # else each connection reads the machine's certificates, 27 ms
    )


def cm_url(values: dict[str, Any]) -> str:
    return knob("CM_URL_OVERRIDE") or str(values["cm_url"])


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [str(item) for item in value]
    return "" if value is None else str(value)
