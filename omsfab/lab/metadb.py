"""The database of a lab: the OceanBase engine of the wheel ``pylibseekdb``, MariaDB or MySQL."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from omsfab.errors import Next
from omsfab.lab import mysql, network
from omsfab.lab.model import Engine, Lab, MetaDbOfLab
from omsfab.lab.system import (
    LabError,
    answers,
    background,
    lives,
    private_dir,
    private_file,
    wait_for,
)

MEMBER = "metadb"
NUMBER = 200

# All engines take this as a plain user name, and omsfab sees the form that a tenant has.
USER = "oms@oms_meta"
# The same user as OBProxy would be told, with the same password.
USER_OF_PROXY = "oms@oms_meta#lab"


def planned(kind: Engine, subnet: str, password: str | None) -> MetaDbOfLab:
    """A database with passwords, before it exists."""
    return MetaDbOfLab(
        kind=kind,
        host=network.address(subnet, 9),
        port=2881 if kind == "oceanbase" else 3306,
        user=USER,
        password=password or secrets.token_urlsafe(12),
        admin_password=secrets.token_hex(12),
    )


MOST_STARTS = 3


def start(lab: Lab) -> None:
    """Start the database unless it lives; returns when OMS's user can log in."""
    place, db, directory = lab.place, lab.metadb, private_dir(lab.directory / MEMBER)
    network.cable(place, MEMBER, NUMBER, db.host)
    log, netns = directory / f"{db.kind}.log", place.netns(MEMBER)
    starts: list[int] = []

    def begin() -> None:
        network.empty(netns)
        argv = {"oceanbase": _oceanbase, "mariadb": _mariadb, "mysql": _mysql}[db.kind](lab)
        words = (
            *("nsenter", f"--net={network.NETNS / netns}"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *argv,
        )
        starts.append(background(words, log))

    def ready() -> bool:
        if starts and len(starts) < MOST_STARTS and not lives(starts[-1]):
            begin()  # on a machine that is short of something it may die in its first second
        return answers(db.host, db.port)

    if network.first_process(netns) is None:
        begin()
    wait_for("MetaDB", ready, 120, log)
    wait_for("the administrator of MetaDB", lambda: settled(lab), 60, log)


def engine_path() -> Path | None:
    """The ``seekdb`` program out of the wheel pylibseekdb, where scripts/setup puts it."""
    program = Path(sys.prefix) / "engine" / "pylibseekdb" / "seekdb"
    return program if program.exists() else None


def _oceanbase(lab: Lab) -> tuple[str, ...]:
    program = engine_path()
    if program is None:
        raise LabError("the OceanBase engine is missing", next=Next("scripts/setup lab"))
    return (
        *(str(program), "--nodaemon", "--port", str(lab.metadb.port)),
        *("--base-dir", str(lab.directory / MEMBER / "data")),
        *("--parameter", "memory_limit=2G", "--parameter", "datafile_size=256M"),
        *("--parameter", "log_disk_size=2G"),
    )


def _mariadb(lab: Lab) -> tuple[str, ...]:
    """Made and run by one shell, so that a half-made database too is in the namespaces."""
    _first_file(lab)
    return ("bash", "-c", _MARIADB, "mariadb", str(lab.directory / MEMBER))


def _mysql(lab: Lab) -> tuple[str, ...]:
    """OMS logs in by caching_sha2_password, which is MySQL's default."""
    return (
        *mysql.command(lab.directory / MEMBER / "data", lab.metadb.port),
        *("--bind-address=0.0.0.0", "--skip-name-resolve", "--max-connections=300"),
        f"--init-file={_first_file(lab)}",
    )


def _first_file(lab: Lab) -> Path:
    """Statements at each start: the administrator from everywhere, by his password."""
    admin = lab.metadb.admin_password
    first = (
        f"create user if not exists 'root'@'%' identified by '{admin}';\n"
        "grant all privileges on *.* to 'root'@'%' with grant option;\n"
        f"alter user 'root'@'localhost' identified by '{admin}';\n"
    )
    return private_file(lab.directory / MEMBER / "first.sql", first)


_MARIADB = """
set -eu
cd "$1"
if [ ! -d data ]; then
    rm -rf new
    mariadb-install-db --no-defaults --datadir="$1/new" --user=root --skip-test-db \\
        --auth-root-authentication-method=normal
    mv new data
fi
exec mariadbd --no-defaults --user=root --datadir="$1/data" --port=3306 --bind-address=0.0.0.0 \\
    --socket="$1/socket" --pid-file="$1/pid" --skip-name-resolve --innodb-buffer-pool-size=64M \\
    --character-set-server=utf8mb4 --max-connections=300 --init-file="$1/first.sql"
"""


def settled(lab: Lab) -> bool:
    """The administrator has his password, OMS's user exists, the clock is this machine's."""
    import pymysql

    try:
        _give_admin_a_password(lab)
        connection = lab.connect()
    except pymysql.err.OperationalError:
        return False
    try:
        with connection.cursor() as cursor:
            for statement, args in _accounts(lab.metadb):
                cursor.execute(statement, args)
        # MySQL wants the first login of a user by RSA, which the Python of the stand-in image
        # lacks; from then on until its next start it knows the password without.
        lab.connect(admin=False).close()
        lab.connect(admin=False, user=USER_OF_PROXY).close()
    except pymysql.err.MySQLError:
        return False
    finally:
        connection.close()
    return True


def _give_admin_a_password(lab: Lab) -> None:
    """A new OceanBase lets root in without one; the others have been told by their first file."""
    import pymysql

    if lab.metadb.kind != "oceanbase":
        return
    try:
        lab.connect().close()
    except pymysql.err.OperationalError:
        db = lab.metadb
        with pymysql.connect(host=db.host, port=db.port, user=db.admin, connect_timeout=5) as new:
            new.cursor().execute(f"alter user {db.admin} identified by %s", (db.admin_password,))


def _accounts(db: MetaDbOfLab) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    for user in (USER, USER_OF_PROXY):
        yield "create user if not exists %s@'%%' identified by %s", (user, db.password)
        yield "alter user %s@'%%' identified by %s", (user, db.password)
        yield "grant all privileges on *.* to %s@'%%' with grant option", (user,)
    # OMS itself breaks when database and nodes disagree about the hour (OMS guide, requirements).
    offset = datetime.now().astimezone().strftime("%z")
    yield "set global time_zone = %s", (f"{offset[:3]}:{offset[3:]}",)
