"""Words for the time-series database: InfluxDB 1.8 in docker, one for all of OMS.

Source: OMS docs "Deploy a time-series database": the flags of `docker run`, authentication on, a
user with all privileges made by hand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from omsfab.commands.command import Command, command, script
from omsfab.commands.docker import SPEC_LABEL
from omsfab.fleet.model import Tsdb
from omsfab.fleet.secret import Secret

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


# The statement comes on standard input and never stands in any words.
_CREATE = r"""# create the user with all privileges, told on standard input
docker exec -i "$1" /usr/bin/influx
"""


def create_user(tsdb: Tsdb) -> Command:
    """Make the user.  As long as there is none, InfluxDB lets anybody make the first."""
    name = tsdb.username.replace("\\", "\\\\").replace('"', '\\"')
    password = tsdb.password.reveal().replace("\\", "\\\\").replace("'", "\\'")
    text = f"create user \"{name}\" with password '{password}' with all privileges\n"
    return script(_CREATE, CONTAINER, stdin=Secret(text), limit=60)


# bash alone, since a node may have no curl; its printf is no program, so `ps` shows nothing.
_LOGIN = r"""# the time-series database answers this user as expected
said=$(timeout 10 bash -c '
  IFS= read -r auth
  exec 3<>"/dev/tcp/$1/$2" || exit 7
  printf "GET /query?q=SHOW+DATABASES HTTP/1.0\r\nHost: %s:%s\r\n" "$1" "$2" >&3
  [ -z "$auth" ] || printf "Authorization: Basic %s\r\n" "$auth" >&3
  printf "Connection: close\r\n\r\n" >&3
  head -n 1 <&3
' bash "$1" "$2" 2>&1)
case $said in *" $3 "*) exit 0;; esac
printf '%s:%s says %s, %s was expected\n' "$1" "$2" "${said:-nothing}" "$3"
exit 1
"""


def login(tsdb: Tsdb, *, stranger: bool = False) -> Command:
    """End with 0 if the user gets in, or if a ``stranger`` without a password does not."""
    text = f"{tsdb.username}:{tsdb.password.reveal()}"
    auth = Secret("\n" if stranger else base64.b64encode(text.encode()).decode() + "\n")
    return script(_LOGIN, tsdb.host, str(tsdb.port), "401" if stranger else "200", stdin=auth)


# Which database and which tags OMS writes is not public, so any point counts that carries the
# address.  Names other than these letters would need quoting, and OMS has none.
_POINTS = r"""# points from these addresses have come in within ten minutes
host=$1 port=$2; shift 2
IFS= read -r auth
ask() {
  printf '%s\n' "$auth" | timeout 20 bash -c '
    IFS= read -r auth
    exec 3<>"/dev/tcp/$1/$2" || exit 7
    printf "GET /query?%s HTTP/1.0\r\nHost: %s:%s\r\n" "$3" "$1" "$2" >&3
    printf "Authorization: Basic %s\r\nConnection: close\r\n\r\n" "$auth" >&3
    cat <&3
  ' bash "$host" "$port" "$1"
}
databases=$(ask q=SHOW+DATABASES |
  grep -o '\["[A-Za-z0-9_.-]*"\]' | tr -d '["]' | grep -vx _internal)
lately='q=SELECT+*+FROM+/.*/+WHERE+time+%3E+now()+-+10m+GROUP+BY+*+LIMIT+1'
missing=
for ip in "$@"; do
  for database in $databases; do
    ask "db=$database&$lately" | grep -qwF "$ip" && continue 2
  done
  missing="$missing $ip"
done
[ -z "$missing" ] && exit 0
printf 'no point of%s within ten minutes\n' "$missing"
exit 1
"""


def points(tsdb: Tsdb, ips: Sequence[str]) -> Command:
    """End with 0 if lately a point came in from each address; else say from which none."""
    auth = Secret(base64.b64encode(f"{tsdb.username}:{tsdb.password.reveal()}".encode()).decode())
    return script(_POINTS, tsdb.host, str(tsdb.port), *ips, stdin=auth, limit=120)
