"""Real engines for the MetaDB tests: OceanBase, MariaDB and MySQL, an OMS schema, a proxy.

Import the fixtures into the test module.  An engine whose binary is missing is skipped, with the
reason; only processes started here are ended.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest

from omsfab.fleet.model import MetaDb
from omsfab.fleet.values import CmUrl
from omsfab.lab import mysql
from omsfab.lab.metadb import engine_path
from omsfab.metadb.client import Limits, MetaDbEdge
from omsfab.secret import Secret

PASSWORD = "o'm\"s $x #ö\\ &"
# PyMySQL reads the machine's certificates for each connection (27 ms), even where no TLS follows.
connect = functools.partial(pymysql.connect, ssl_disabled=True)
SHORT = Limits(connect=5, read=3, lock=1, query=5, transaction=20, idle=20, patience=20, quiet=0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- engines ---------------------------------------------------------------------------------


@dataclass
class Engine:
    """A running server; ``sql`` speaks to it as root, apart from omsfab."""

    kind: str
    port: int

    def connect(self, **more: Any) -> pymysql.connections.Connection:
        values = {"user": "root", "password": "", "autocommit": True, "charset": "utf8mb4"}
        return connect(host="127.0.0.1", port=self.port, **{**values, **more})

    def sql(self, *texts: str) -> list[tuple[Any, ...]]:
        """Run statements, return the rows of the last."""
        return self.ask(*texts)[-1]

    def ask(self, *texts: str) -> list[list[tuple[Any, ...]]]:
        """Run statements, return the rows of each."""
        answers = []
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for text in texts:
                cursor.execute(text)
                answers.append(list(cursor.fetchall()))
        return answers

    def metadb(self, oms: str = "oms", port: int = 0, **more: Any) -> MetaDb:
        values: dict[str, Any] = {"user": "oms", "password": Secret(PASSWORD)}
        values |= {"rm_db": f"{oms}_rm", "cm_db": f"{oms}_cm"} | more
        return MetaDb(host="127.0.0.1", port=port or self.port, **values)

    def edge(self, oms: str = "oms", limits: Limits = SHORT, **more: Any) -> MetaDbEdge:
        on_statement = more.pop("on_statement", None)
        metadb = self.metadb(oms, **more)
        return MetaDbEdge(metadb, connect, limits=limits, on_statement=on_statement)


def seekdb_command(base: Path, port: int) -> list[str]:
    binary = engine_path()
    if binary is None:
        pytest.skip("no OceanBase engine: scripts/setup lab did not get the wheel pylibseekdb")
    sizes = ("memory_limit=2G", "datafile_size=256M", "log_disk_size=2G")
    flags = [word for size in sizes for word in ("--parameter", size)]
    return [str(binary), "--nodaemon", "--port", str(port), "--base-dir", str(base), *flags]


def mariadb_command(base: Path, port: int) -> list[str]:
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("no MariaDB: the package mariadb-server is not installed")
    subprocess.run(
        [install, "--no-defaults", f"--datadir={base}", "--user=root", "--skip-test-db",
         "--auth-root-authentication-method=normal"],
        check=True, capture_output=True,
    )  # fmt: skip
    # a server that starts deletes what others have in a common one
    temporary = base.with_name(f"{base.name}-tmp")
    temporary.mkdir()
    return [
        server, "--no-defaults", "--user=root", f"--datadir={base}", f"--port={port}",
        f"--tmpdir={temporary}",
        "--bind-address=127.0.0.1", f"--socket={base}/sock", f"--pid-file={base}/pid",
        "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0",
        "--debug-no-sync", "--innodb-flush-method=nosync",
        "--max-allowed-packet=32M",
    ]  # fmt: skip


def mysql_command(base: Path, port: int) -> list[str]:
    if why := mysql.missing():
        pytest.skip(why)
    limits = ("--bind-address=127.0.0.1", "--max-allowed-packet=32M")
    return [*mysql.command(base / "data", port), *limits]


COMMANDS = {"oceanbase": seekdb_command, "mariadb": mariadb_command, "mysql": mysql_command}


@pytest.fixture(scope="session", params=[*COMMANDS])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    base = tmp_path_factory.mktemp(request.param)
    engine = Engine(request.param, free_port())
    command = COMMANDS[engine.kind](base, engine.port)
    with (base.parent / f"{engine.kind}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=base)
    try:
        _await(engine, process)
        if engine.kind == "oceanbase":  # it listens on every address
            engine.sql("set global ob_tcp_invited_nodes = '127.0.0.0/8'")
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        engine.sql(
            f"create user 'oms'@'%' identified by '{quoted}'",
            "grant all privileges on *.* to 'oms'@'%'",
        )
        create_oms(engine, "oms")
        yield engine
    finally:
        process.kill()
        process.wait()


def _await(engine: Engine, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            engine.sql("select 1", "create database probe_ready", "drop database probe_ready")
            return
        except pymysql.Error:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


# --- an OMS in it ----------------------------------------------------------------------------

TABLES = ("rm.cluster_info", "cm.resource_group", "cm.host", "cm.location_cm")

DDL = {
    "rm.cluster_info": "id bigint not null auto_increment primary key, code int,"
    " region varchar(64), region_cn varchar(64), cm_url varchar(255), is_default_cm tinyint(1),"
    " `order` varchar(20), gmt_modified datetime(6)",
    "cm.resource_group": "id bigint not null auto_increment primary key, name varchar(64),"
    " gmt_modified datetime",
    "cm.host": "id bigint not null auto_increment primary key, ip varchar(64),"
    " resource_group_id bigint, host_status varchar(32), gmt_modified datetime",
    "cm.location_cm": "id bigint not null auto_increment primary key, cm_location varchar(16),"
    " cm_url varchar(255)",
    "rm.oms_normal_config": "cfg_name varchar(64) primary key, cfg_value text",
    "hb1.heart_beat": "id bigint not null auto_increment primary key, task_name varchar(64),"
    " task_type varchar(64), host_ip varchar(64), gmt_created datetime, gmt_modified datetime",
}

OLD, NEW, OTHER = CmUrl("10.0.0.1", 8088), CmUrl("10.0.0.100", 8088), CmUrl("10.1.0.1", 8088)

ROWS = {
    "rm.cluster_info": [
        f"(1, 1, 'cn-hangzhou', '杭州', '{OLD}', 1, 'a''\\\\b', '2020-01-01 00:00:00.123456')",
        f"(2, 2, 'cn-jiangsu', '江苏', '{OTHER}', 0, null, null)",
    ],
    "cm.resource_group": ["(7, '1', '2020-01-01')", "(8, '2', null)"],
    "cm.host": [
        "(1, '10.0.0.1', 7, 'ONLINE', '2020-01-01')",
        "(2, '10.0.0.3', 7, 'OFFLINE', null)",
        "(3, '10.1.0.1', 8, 'ONLINE', '2020-01-01')",
    ],
    "cm.location_cm": [f"(1, '1', '{OLD}')", f"(2, '2', '{OTHER}')"],
    "rm.oms_normal_config": ["""('ha.config', '{"enable": false, "enableHost": true}')"""],
    "hb1.heart_beat": [
        "(1, 'supervisor', 'x', '10.0.0.1', now(), now())",
        "(2, 'supervisor', 'x', '10.0.0.1', now(), now() - interval 1 hour)",
        "(3, 'supervisor', 'x', '10.0.0.3', now(), now() - interval 300 second)",
        "(4, 'other', 'x', '10.0.0.9', now(), now())",
    ],
}


def place(oms: str, table: str) -> str:
    """``cm.host`` -> ``oms_cm.host``."""
    schema, name = table.split(".")
    return f"{oms}_{schema}.{name}"


def create_oms(engine: Engine, oms: str, **other: str) -> None:
    """Make the databases and tables; ``other`` replaces columns, e.g. ``location_cm="…"``."""
    for schema in ("rm", "cm", "hb1"):
        engine.sql(
            f"drop database if exists {oms}_{schema}",
            f"create database {oms}_{schema} default character set utf8mb4",
        )
    for table, columns in DDL.items():
        columns = other.get(table.split(".")[1], columns)
        engine.sql(f"create table {place(oms, table)} ({columns})")


def fill(engine: Engine, oms: str, regions: int = 2, tables: tuple[str, ...] = ()) -> None:
    """The rows of two regions, or of the first alone."""
    texts = []
    for table, rows in ROWS.items():
        if tables and table not in tables:
            continue
        if regions == 1 and table in TABLES:
            rows = rows[:-1]
        texts.append(f"delete from {place(oms, table)}")
        texts.append(f"insert into {place(oms, table)} values {', '.join(rows)}")
    engine.sql("set sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", *texts)


@dataclass
class Oms:
    """An OMS schema under test, filled with two regions."""

    engine: Engine
    name: str = "oms"

    def place(self, table: str) -> str:
        return place(self.name, table)

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows, by an oracle that is not omsfab."""
        answers = self.engine.ask(*(f"select * from {self.place(table)}" for table in TABLES))
        return {t: sorted(rows, key=repr) for t, rows in zip(TABLES, answers, strict=True)}

    def region(self, location: int) -> dict[str, list[tuple[Any, ...]]]:
        column = {"cluster_info": 1, "resource_group": 1, "host": 2, "location_cm": 1}
        group = {1: 7, 2: 8}[location]
        rows = {}
        for table, all_rows in self.dump().items():
            at = column[table.split(".")[1]]
            value = str(group) if table == "cm.host" else str(location)
            rows[table] = [row for row in all_rows if str(row[at]) == value]
        return rows


@pytest.fixture
def oms(engine: Engine) -> Oms:
    fill(engine, "oms")
    engine.sql("drop database if exists omsfab")
    for table in ("omsfab_lease", "omsfab_marker"):
        engine.sql(f"drop table if exists oms_rm.{table}")
    return Oms(engine)


# --- a proxy that injures --------------------------------------------------------------------


@dataclass
class Proxy:
    """A TCP proxy that knows MySQL packets, and hurts the first one that matches.

    ``before``: it never arrives, both sides are cut.  ``after``: the server answers, the answer is
    lost and the client is cut.  ``hole``: it is swallowed and the line stays open, dead.
    ``deaf``: it arrives, and nothing ever comes back.
    """

    target: int
    pattern: bytes = b"never"
    action: str = "before"
    hits: int = 0
    refuse: bool = False
    port: int = 0
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, pattern: str, action: str) -> None:
        self.pattern, self.action, self.hits = pattern.encode(), action, 0

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            mute = threading.Event()
            args = (client, server, mute)
            threading.Thread(target=self._up, args=args, daemon=True).start()
            threading.Thread(target=self._down, args=args, daemon=True).start()

    def _matches(self, packet: bytes) -> bool:
        with self._lock:
            if self.hits or packet[4:5] != b"\x03":
                return False
            if not re.search(self.pattern, packet[5:], re.IGNORECASE | re.DOTALL):
                return False
            self.hits += 1
            return True

    def _up(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while True:
                head = _exactly(client, 4)
                packet = head + _exactly(client, int.from_bytes(head[:3], "little"))
                if not self._matches(packet):
                    server.sendall(packet)
                elif self.action == "before":
                    break
                elif self.action == "hole":
                    return
                else:
                    mute.set()
                    server.sendall(packet)
        if not mute.is_set():
            _shut(client, server)

    def _down(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not mute.is_set():
                    client.sendall(data)
                elif self.action == "after":
                    break
        _shut(client, server)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def _shut(*sockets: socket.socket) -> None:
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@pytest.fixture
def proxy(engine: Engine) -> Iterator[Proxy]:
    proxy = Proxy(engine.port)
    proxy.start()
    yield proxy
    proxy.stop()


def nowhere(path: Path) -> None:
    """A mirror for tests that are not about mirrors."""
