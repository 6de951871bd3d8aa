"""Words for the time-series database: InfluxDB 1.8 in docker, one for all of OMS.

Source: OMS docs "Deploy a time-series database": the flags of `docker run`, authentication on, a
user with all privileges made by hand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from omsfab.command import Command, command, script
from omsfab.commands.docker import SPEC_LABEL
from omsfab.commands.scripts import script_text
from omsfab.fleet.model import Tsdb
from omsfab.secret import Secret

CONTAINER = "oms-influxdb"
BACKUPS = 14444
"""InfluxDB's own port for backups; the vendor publishes it."""


def flags(tsdb: Tsdb) -> tuple[str, ...]:
    """Return the vendor's flags."""
    return (
        "-p", f"{tsdb.port}:8086",
        "-p", f"{BACKUPS}:{BACKUPS}",
        "-v", f"{tsdb.data}:/var/lib/influxdb",
        "--env", f"INFLUXDB_BIND_ADDRESS=127.0.0.1:{BACKUPS}",
        "--env", "INFLUXDB_HTTP_AUTH_ENABLED=true",
        "--env", "INFLUXDB_HTTP_PING_AUTH_ENABLED=true",
        f"--name={CONTAINER}",
    )  # fmt: skip


def spec(tsdb: Tsdb, image: str) -> str:
    """Return the digest of everything that makes this container what it is (12 hex digits)."""
    return hashlib.sha256("\0".join((*flags(tsdb), image)).encode()).hexdigest()[:12]


def run(tsdb: Tsdb, image: str, *, pull_flag: bool = True) -> Command:
    """Start the container from an image id."""
    never = ("--pull=never",) if pull_flag else ()
    label = f"{SPEC_LABEL}={spec(tsdb, image)}"
    return command(
        "docker", "run", "-dit", *never, "--label", label, *flags(tsdb), image, limit=120
    )


_CREATE = script_text("influx_create_user")


def create_user(tsdb: Tsdb) -> Command:
    """Make the user.  As long as there is none, InfluxDB lets anybody make the first."""
    name = tsdb.username.replace("\\", "\\\\").replace('"', '\\"')
    password = tsdb.password.reveal().replace("\\", "\\\\").replace("'", "\\'")
    text = f"create user \"{name}\" with password '{password}' with all privileges\n"
    return script(_CREATE, CONTAINER, stdin=Secret(text), limit=60)


_LOGIN = script_text("influx_login")


def login(tsdb: Tsdb, *, stranger: bool = False) -> Command:
    """End with 0 if the user gets in, or if a ``stranger`` without a password does not."""
    text = f"{tsdb.username}:{tsdb.password.reveal()}"
    auth = Secret("\n" if stranger else base64.b64encode(text.encode()).decode() + "\n")
    return script(_LOGIN, tsdb.host, str(tsdb.port), "401" if stranger else "200", stdin=auth)


_POINTS = script_text("influx_points")


def points(tsdb: Tsdb, ips: Sequence[str]) -> Command:
    """End with 0 if lately a point came in from each address; else say from which none."""
    auth = Secret(base64.b64encode(f"{tsdb.username}:{tsdb.password.reveal()}".encode()).decode())
    return script(_POINTS, tsdb.host, str(tsdb.port), *ips, stdin=auth, limit=120)
