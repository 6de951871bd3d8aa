"""A MetaDB held in memory: transactions, row locks, a clock, connections that are lost.

One server as OMS and omsfab see it, by virtual time.  ``MetaDb.connect`` takes the words that
PyMySQL takes and gives what omsfab uses of its connections; errors are PyMySQL's, with the numbers
of real servers.  What a statement means stands in minisql.

Time: ``clock`` gives seconds since the epoch, UTC.  Where a statement would block on a row lock,
``wait`` is called with the seconds after which it looks again at the latest; a scheduler lets
others act meanwhile.  What ``wait`` raises leaves the statement undone, as if the client had died.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, NoReturn

import pymysql
from pymysql import err

from tests.simulation import minisql
from tests.simulation.minisql import (
    NO_DEFAULT,
    Answers,
    Choice,
    NotSimulated,
    Plan,
    Scope,
    Select,
    Shape,
    Statement,
    Values,
    num,
)

Phase = Literal["before", "after"]
EPOCH = datetime(1970, 1, 1)
FOREVER = 1e18

SCHEMA_OF_THE_STAND_IN = (
    Path(__file__).parents[2] / "omsfab/lab/image/usr/lib/python3/dist-packages/omslab/schema.py"
)


def failure(code: int, text: str) -> pymysql.Error:
    """The error as PyMySQL would raise it."""
    kind = err.error_map.get(code, err.OperationalError)
    return kind(code, text)  # type: ignore[no-any-return]


class _Blocked(Exception):
    """A row is locked by another connection."""

    def __init__(self, owner: Connection, row: Row) -> None:
        self.owner, self.row = owner, row


# --- what is stored --------------------------------------------------------------------------


class Row:
    """``values``: as committed, None = not yet or no longer; ``pending``: as ``owner`` has it.
    ``shared``: who wants it to stay as it is (InnoDB: whose insert found it to be a twin)."""

    __slots__ = ("owner", "pending", "shared", "values")

    def __init__(self) -> None:
        self.values: Values | None = None
        self.pending: Values | None = None
        self.owner: Connection | None = None
        self.shared: list[Connection] = []


class Table:
    __slots__ = ("_committed", "auto", "name", "rows", "schema", "shape", "unlocked")

    def __init__(self, schema: str, name: str, shape: Shape) -> None:
        self.schema, self.name, self.shape = schema, name, shape
        self.rows: list[Row] = []
        self.auto = 1
        self._committed: list[Values] | None = None

    def committed(self) -> list[Values]:
        if self._committed is None:
            self._committed = [row.values for row in self.rows if row.values is not None]
        return self._committed

    def fill(self, rows: Iterable[Values]) -> None:
        self.rows = []
        for values in rows:
            row = Row()
            row.values = values
            self.rows.append(row)
        self._committed = None

    def moved(self) -> None:
        self._committed = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was committed, as of one moment."""

    schemas: tuple[str, ...]
    tables: tuple[tuple[str, str, Shape, int, tuple[Values, ...]], ...]


# --- engines ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells the engines apart."""

    name: str
    version: str
    comment: str
    engine: str
    variables: Mapping[str, str]
    inactive: tuple[int, str]
    """What a client hears whose connection the server has closed."""
    no_schema: int = 1146
    """The error where a table is asked for in a schema that is not there."""
    innodb: bool = True
    """InnoDB locks rows one by one as it looks at them, keeps those locks while it waits and when
    the statement fails, and notices at once when two wait for each other.  The OceanBase engine
    locks what a statement means, all of it or nothing, and two that wait reach their limits."""
    overtakes: bool = False
    """Who shares a row's lock and wants it alone goes before those who wait for it already."""


_COMMON = {
    "wait_timeout": "28800", "sql_safe_updates": "OFF", "sql_mode": "", "read_only": "OFF",
    "lower_case_table_names": "0", "max_allowed_packet": "16777216", "time_zone": "SYSTEM",
    "sql_select_limit": "18446744073709551615", "foreign_key_checks": "ON",
    "hostname": "metadb", "port": "3306",
}  # fmt: skip

_LOST = (2013, "Lost connection to MySQL server during query")
KINDS = {
    "oceanbase": Kind(
        "oceanbase", "5.7.25-OceanBase-v4.3.5.3", "OceanBase 4.3.5.3", "InnoDB",
        _COMMON | {
            "ob_trx_lock_timeout": "-1", "ob_query_timeout": "10000000",
            "ob_trx_timeout": "86400000000", "ob_trx_idle_timeout": "86400000000",
            "innodb_lock_wait_timeout": "50", "lower_case_table_names": "1",
            "sql_select_limit": "9223372036854775807", "super_read_only": "OFF",
            "tx_read_only": "OFF", "transaction_read_only": "OFF",
            "transaction_isolation": "READ-COMMITTED", "tx_isolation": "READ-COMMITTED",
        },
        _LOST, innodb=False,
    ),
    "mariadb": Kind(
        "mariadb", "10.11.19-MariaDB-0+deb12u1", "Debian 12", "InnoDB",
        _COMMON | {
            "innodb_lock_wait_timeout": "50", "idle_transaction_timeout": "0",
            "tx_read_only": "OFF", "tx_isolation": "REPEATABLE-READ",
        },
        (2006, "MySQL server has gone away"),
    ),
    "mysql": Kind(
        "mysql", "9.7.4-2", "(Debian)", "InnoDB",
        _COMMON | {
            "innodb_lock_wait_timeout": "50", "super_read_only": "OFF",
            "transaction_read_only": "OFF", "transaction_isolation": "REPEATABLE-READ",
        },
        _LOST, no_schema=1049, overtakes=True,
    ),
}  # fmt: skip


# --- information_schema ----------------------------------------------------------------------


def _view(*columns: str) -> Shape:
    made = []
    for text in columns:
        name, _, kind = text.partition(" ")
        made.append(minisql.Column(name, "varchar", kind or "c"))
    return Shape(tuple(made))


VIEWS = {
    "schemata": _view("schema_name"),
    "tables": _view("table_schema", "table_name", "table_type", "engine"),
    "columns": _view(
        "table_schema", "table_name", "column_name", "data_type", "character_set_name", "extra",
        "ordinal_position n",
    ),
    "engines": _view("engine", "transactions"),
    "triggers": _view(
        "trigger_name", "event_manipulation", "event_object_schema", "event_object_table"
    ),
    "referential_constraints": _view(
        "constraint_schema", "table_name", "constraint_name", "delete_rule",
        "unique_constraint_schema", "referenced_table_name",
    ),
    "key_column_usage": _view(
        "constraint_schema", "constraint_name", "table_schema", "table_name", "column_name",
        "referenced_table_schema", "referenced_table_name", "referenced_column_name",
    ),
    "processlist": _view("id n", "user", "host", "db", "command", "time n"),
    "innodb_trx": _view("trx_mysql_thread_id n"),
}  # fmt: skip
LIVE = {"processlist", "innodb_trx", "v$ob_processlist"}
OB_PROCESSLIST = _view("id n", "user", "host", "trans_id n")


# --- the server ------------------------------------------------------------------------------


class MetaDb:
    """One server.  ``on_statement`` is called before and after each statement of a client, and may
    raise, e.g. ``connection.cut()``; ``down`` refuses new connections."""

    def __init__(
        self,
        clock: Callable[[], float],
        wait: Callable[[float], None],
        *,
        kind: str = "oceanbase",
        zone: int = 0,
        on_statement: Callable[[Connection, str, Phase], None] | None = None,
    ) -> None:
        """``zone``: minutes by which the server's own time is ahead of UTC."""
        self.clock, self.wait = clock, wait
        self.kind = KINDS[kind]
        self.zone = timedelta(minutes=zone)
        self.on_statement = on_statement
        self.down = False
        self.passwords: dict[str, str] = {}
        """By user; a user who is not in it may log in with any."""
        self.denied: set[tuple[str, str, str]] = set()
        """User, verb (select, insert, update, delete, create, drop), schema in lower case."""
        self.variables = dict(self.kind.variables)
        self.schemas: dict[str, str] = {}
        self.tables: dict[tuple[str, str], Table] = {}
        self.open: dict[int, Connection] = {}
        self._ids = self.statements = 0
        self._said: tuple[float, int] = (0.0, 0)
        self._answers: dict[Any, Any] = {}
        self._catalogue: Any = None

    # -- connections --

    def connect(self, **words: Any) -> Connection:
        """As ``pymysql.connect``; beside its words ``client``, the address one comes from."""
        if self.down:
            raise err.OperationalError(
                2003, f"Can't connect to MySQL server on '{words.get('host')}' (refused)"
            )
        user, password = str(words.get("user", "root")), words.get("password", "")
        if isinstance(password, bytes):
            password = password.decode()
        if self.passwords.get(user, password) != password:
            raise err.OperationalError(1045, f"Access denied for user '{user}' (using password)")
        self._ids += 1
        made = Connection(self, self._ids, user, words)
        self.open[made.id] = made
        return made

    def stop(self) -> None:
        """The server ends: all connections are lost, what was not committed is rolled back."""
        self.down = True
        for connection in [*self.open.values()]:
            connection.end()

    def start(self) -> None:
        self.down = False

    def sweep(self) -> None:
        """End the connections whose time has come; called wherever that could matter."""
        now = self.clock()
        for connection in [*self.open.values()]:
            connection.lapse(now)

    def moment(self, now: float) -> tuple[float, int]:
        """UTC as a statement sees it, as seconds and microseconds beside them: a microsecond passes
        between two statements at least."""
        last, micros = self._said
        self._said = said = (now, micros + 1 if now == last else 0)
        return said

    # -- past omsfab: rows by a DBA, by docker_init.sh, by an oracle --

    def table(self, schema: str, table: str) -> Table:
        found = self.tables.get((schema.lower(), table.lower()))
        if found is None:
            raise failure(1146, f"Table '{schema}.{table}' doesn't exist")
        return found

    def rows(self, schema: str, table: str) -> list[dict[str, Any]]:
        """The committed rows; none where there is no such table."""
        found = self.tables.get((schema.lower(), table.lower()))
        if found is None:
            return []
        names = [column.name for column in found.shape.columns]
        return [dict(zip(names, values, strict=True)) for values in found.committed()]

    def run(self, text: str, args: Sequence[Any] = (), *, user: str = "dba") -> int:
        """Say one statement on a connection of its own, past the hook; how many rows it touched.

        It waits for locks as anybody does.
        """
        made = self.connect(user=user)
        try:
            return made.say(text, tuple(args) or None)[0]
        finally:
            made.end()

    def insert(self, schema: str, table: str, **values: Any) -> int:
        names = ", ".join(f"`{name}`" for name in values)
        marks = ", ".join(["%s"] * len(values))
        text = f"insert into `{schema}`.`{table}` ({names}) values ({marks})"
        return self.run(text, [*values.values()])

    def update(self, schema: str, table: str, where: Mapping[str, Any], **values: Any) -> int:
        sets = ", ".join(f"`{name}` = %s" for name in values)
        text = f"update `{schema}`.`{table}` set {sets}{_conditions(where)}"
        return self.run(text, [*values.values(), *where.values()])

    def delete(self, schema: str, table: str, **where: Any) -> int:
        return self.run(f"delete from `{schema}`.`{table}`{_conditions(where)}", [*where.values()])

    def create(self, schema: str, tables: Mapping[str, str]) -> None:
        """Make a schema and those of the tables that are missing; names with their columns."""
        self.run(f"create database if not exists `{schema}`")
        for table, columns in tables.items():
            self.run(f"create table if not exists `{schema}`.`{table}` ({columns})")

    def create_oms(self, rm: str = "oms_rm", cm: str = "oms_cm", heartbeat: str = "oms_hb") -> None:
        """Databases and tables as docker_init.sh of the stand-in makes them, without rows."""
        made = stand_in()
        self.create(cm, made["CM"])
        self.create(rm, made["RM"])
        self.create(heartbeat, made["HEARTBEAT"])

    def add_region(
        self,
        location: int,
        url: str,
        ips: Sequence[str],
        *,
        region: str = "",
        status: str = "ONLINE",
        default: bool = True,
        rm: str = "oms_rm",
        cm: str = "oms_cm",
        heartbeat: str = "oms_hb",
    ) -> None:
        """The rows of a region in service: as an initialisation and its programs leave them."""
        name = region or f"cn-region{location}"
        self.insert(
            rm, "cluster_info", code=location, region=name, region_cn=name, cm_url=url,
            is_default_cm=int(default),
        )  # fmt: skip
        self.insert(cm, "resource_group", name=str(location))
        group = max(
            row["id"] for row in self.rows(cm, "resource_group") if row["name"] == str(location)
        )
        if (cm.lower(), "location_cm") in self.tables:
            self.insert(cm, "location_cm", location=str(location), cm_url=url, region=name)
        for ip in ips:
            self.insert(cm, "host", ip=ip, resource_group_id=group, host_status=status)
            self.insert(
                heartbeat, "heart_beat", task_name="supervisor", task_type="supervisor", host_ip=ip
            )

    # -- yesterday --

    def snapshot(self) -> Snapshot:
        return Snapshot(
            tuple(self.schemas.values()),
            tuple(
                (table.schema, table.name, table.shape, table.auto, tuple(table.committed()))
                for table in self.tables.values()
            ),
        )

    def restore(self, then: Snapshot) -> None:
        """Everything is as it was then, and every connection is lost."""
        for connection in [*self.open.values()]:
            connection.end()
        self.schemas = {name.lower(): name for name in then.schemas}
        self.tables = {}
        for schema, name, shape, auto, rows in then.tables:
            table = self.tables[schema.lower(), name.lower()] = Table(schema, name, shape)
            table.auto = auto
            table.fill(rows)
        self.changed_tables()

    # -- information_schema --

    def changed_tables(self) -> None:
        self._answers = {}
        key = (self.kind.name, *((*place, id(t.shape)) for place, t in self.tables.items()),
               *self.schemas)  # fmt: skip
        if len(_CATALOGUES) > 2000:
            _CATALOGUES.clear()
        self._answers = _CATALOGUES.setdefault(key, {})

    def view(self, name: str) -> list[Values]:
        """The rows of a view of information_schema."""
        if name in LIVE:
            self.sweep()
            if name == "processlist":
                return [one.listed() for one in self.open.values()]
            busy = [one for one in self.open.values() if one.touched or one.in_transaction]
            if name == "innodb_trx":
                return [(one.id,) for one in busy]
            return [
                (one.id, one.user, one.host, one.id if one in busy else 0)
                for one in self.open.values()
            ]
        found = self._answers.get(name)
        if found is None:
            found = self._answers[name] = [*self._view(name)]
        return found  # type: ignore[no-any-return]

    def _view(self, name: str) -> Iterator[Values]:
        tables = self.tables.values()
        if name == "schemata":
            yield from ((schema,) for schema in [*self.schemas.values(), "information_schema"])
        elif name == "tables":
            for table in tables:
                yield table.schema, table.name, "BASE TABLE", self.kind.engine
        elif name == "columns":
            for table in tables:
                for n, column in enumerate(table.shape.columns):
                    yield (
                        table.schema, table.name, column.name, column.type, column.charset,
                        column.extra, n + 1,
                    )  # fmt: skip
        elif name == "engines":
            yield self.kind.engine, "YES"
        elif name in ("referential_constraints", "key_column_usage"):
            for table in tables:
                for key, column_name, to, there, rule in table.shape.foreign:
                    target = to[0] or table.schema
                    if name == "key_column_usage":
                        yield (
                            table.schema, key, table.schema, table.name, column_name, target, to[1],
                            there,
                        )  # fmt: skip
                    else:
                        yield table.schema, table.name, key, rule, target, to[1]
        elif name != "triggers":
            raise NotSimulated(f"no such view here: information_schema.{name}")


_CATALOGUES: dict[Any, dict[Any, Any]] = {}


def _conditions(where: Mapping[str, Any]) -> str:
    return " where " + " and ".join(f"`{name}` = %s" for name in where) if where else ""


_STAND_IN: dict[str, Any] = {}


def stand_in() -> dict[str, Any]:
    """RM, CM and HEARTBEAT: the tables of the lab's stand-in image."""
    if not _STAND_IN:
        _STAND_IN.update(runpy.run_path(str(SCHEMA_OF_THE_STAND_IN)))
    return _STAND_IN


# --- a connection ----------------------------------------------------------------------------


class Cursor:
    """What omsfab uses of PyMySQL's."""

    __slots__ = ("_connection", "_rows", "lastrowid", "rowcount", "warning_count")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Values] = []
        self.rowcount = self.lastrowid = self.warning_count = 0

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def execute(self, text: str, args: Sequence[Any] | None = None) -> int:
        connection = self._connection
        given = None if args is None else tuple(args)
        self.rowcount, self._rows = connection.heard(text, given)
        self.warning_count = 0 if text == "show warnings" else len(connection.warnings)
        self.lastrowid = connection.last_id
        return self.rowcount

    def fetchall(self) -> tuple[Values, ...]:
        found, self._rows = tuple(self._rows), []
        return found

    def fetchone(self) -> Values | None:
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        pass


class Connection:
    """One client's connection, both its ends.

    ``_sock`` is the client's end, as in PyMySQL; ``ended`` says that the server has no longer its
    own.  Between the two anything may lie.
    """

    def __init__(self, server: MetaDb, id: int, user: str, words: Mapping[str, Any]) -> None:
        self.server, self.id, self.user, self.words = server, id, user, words
        self.host = f"{words.get('client', '127.0.0.1')}:{40000 + id % 20000}"
        self.database: str | None = words.get("database") or words.get("db")
        self.session = dict(server.variables)
        self.zone = server.zone
        self.repeatable = server.kind.innodb
        """REPEATABLE READ, as InnoDB begins; otherwise READ COMMITTED."""
        self.in_transaction = False
        self.doomed = False
        """OceanBase: the transaction lived too long; only ROLLBACK is answered in it."""
        self.ended = False
        self.touched: list[tuple[Table, Row]] = []
        self.sharing: list[Row] = []
        self.hears = server.kind.inactive
        """What the client hears once the server has closed the connection."""
        self.warnings: list[tuple[str, int, str]] = []
        self.last_id = 0
        self.waiting_for: Connection | None = None
        self.wanted: Row | None = None
        self.since = 0
        """Which statement of the server this is: who waits longer goes first."""
        self.waited: list[Row] = []
        """The rows whose locks the statement at hand has waited for."""
        self.victim = False
        self.used = self.begun = server.clock()
        self.began = 0.0
        """When its client began the transaction, as who looks on has written it down."""
        self._moment = (0.0, 0)
        self.gone = FOREVER
        """When the server notices that the client has gone."""
        self._sock: object | None = self
        self._undo: list[tuple[Row, Values | None, Connection | None]] = []
        self._snapshot: dict[Table, list[tuple[Row, Values]]] | None = None

    # -- the client's side --

    def cursor(self, *_: object) -> Cursor:
        return Cursor(self)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._sock is None:
            raise err.Error("Already closed")
        self._force_close()

    def _force_close(self) -> None:
        """The client hangs up; the server hears it at once, unless the line was cut before."""
        if self._sock is not None:
            self._sock = None
            self.end()

    @property
    def open(self) -> bool:
        return self._sock is not None

    def cut(self, after: float | None = 0.0) -> NoReturn:
        """The line is cut: raises what the client hears.  The server notices ``after`` seconds, or
        by its own limit for idle connections where that is None, and rolls back."""
        self._sock = None
        self.gone = FOREVER if after is None else self.server.clock() + after
        if after == 0:
            self.end()
        raise err.OperationalError(2013, "Lost connection to MySQL server during query")

    def lose(self, after: float | None = None) -> None:
        """As ``cut``, where nobody is there to hear it: the client's machine has died."""
        self._sock = None
        self.gone = FOREVER if after is None else self.server.clock() + after
        if after == 0:
            self.end()

    def heard(self, text: str, args: Values | None) -> tuple[int, list[Values]]:
        if self._sock is None:
            raise err.InterfaceError(0, "")
        hook = self.server.on_statement
        if hook is not None:
            hook(self, text, "before")
        answer = self.say(text, args)
        if hook is not None:
            hook(self, text, "after")
        return answer

    # -- the server's side --

    def end(self) -> None:
        """The server closes the connection and rolls back what was not committed."""
        if not self.ended:
            self.ended = True
            self.roll_back()
            self.server.open.pop(self.id, None)

    def deadline(self) -> float:
        """When the server ends this connection, or its transaction, unless it hears from it."""
        found = self._end_of_connection()
        if "ob_trx_timeout" in self.session and not self.doomed and self._busy():
            found = min(found, self.begun + float(self.session["ob_trx_timeout"]) / 1e6)
        return found

    def _busy(self) -> bool:
        return self.in_transaction or bool(self.touched)

    def _end_of_connection(self) -> float:
        session, used = self.session, self.used
        found = min(self.gone, used + float(session["wait_timeout"]))
        # ob_trx_idle_timeout does nothing in the engine that this is compared with
        if self._busy() and session.get("idle_transaction_timeout", "0") != "0":
            found = min(found, used + float(session["idle_transaction_timeout"]))
        return found

    def lapse(self, now: float) -> None:
        """End what has lived too long: the connection, or in OceanBase the transaction alone."""
        if self._end_of_connection() <= now:
            self.end()
        elif self._busy() and self.deadline() <= now:
            self.roll_back()
            self.in_transaction = self.doomed = True

    def listed(self) -> Values:
        now = self.server.clock()
        command = "Query" if self.waiting_for else "Sleep"
        return self.id, self.user, self.host, self.database, command, int(now - self.used)

    def variable(self, name: str) -> Any:
        if name == "version":
            return self.server.kind.version
        if name == "version_comment":
            return self.server.kind.comment
        value = self.session.get(name.lower())
        if value is None:
            raise failure(1193, f"Unknown system variable '{name}'")
        return int(value) if value.isdigit() else value

    @property
    def utc(self) -> datetime:
        seconds, micros = self._moment
        return EPOCH + timedelta(microseconds=round(seconds * 1e6) + micros)

    @property
    def local(self) -> datetime:
        return self.utc + self.zone

    def _lock_limit(self) -> float:
        session = self.session
        if "ob_trx_lock_timeout" not in session:
            return float(session["innodb_lock_wait_timeout"])
        names = ("ob_trx_lock_timeout", "ob_query_timeout", "ob_trx_timeout")
        lock, query, whole = (float(session[name]) / 1e6 for name in names)
        rest = self.begun + whole - self.server.clock() if self.in_transaction else whole
        return min(query if lock < 0 else min(lock, query), rest)

    def say(self, text: str, args: Values | None = None) -> tuple[int, list[Values]]:
        """Answer a statement: rows touched or found, and the rows."""
        server = self.server
        now = server.clock()
        if not self.ended:
            self.lapse(now)
        if self.ended:
            self._sock = None
            raise failure(*self.hears)
        self.used = now
        self._moment = server.moment(now)
        statement = minisql.parse(text)
        if statement.kind != "show warnings":
            self.warnings = []
        try:
            answer = getattr(self, _HANDLERS[statement.kind])(statement, args or ())
        except minisql.Unknown as exc:
            raise failure(1054, f"Unknown column '{exc}' in 'field list'") from None
        self.used = server.clock()
        return answer  # type: ignore[no-any-return]

    def _patiently(self, act: Callable[[], Any]) -> Any:
        """Do it, as one statement: again whenever a lock is free, until the limit."""
        server = self.server
        self._refuse_doomed()
        until = server.clock() + self._lock_limit()
        own = not self.in_transaction
        server.statements += 1
        self.since = server.statements
        self.waited = []
        if own:
            self.begun = server.clock()
        for _ in range(100_000):
            mark = len(self._undo)
            try:
                done = act()
                if own:
                    self._commit()
                return done
            except _Blocked as blocked:
                self._take_back(mark)
                owner, blocked_row = blocked.owner, blocked.row
                self.wanted = blocked_row
            except BaseException:
                self._take_back(mark)
                if own:
                    self.roll_back()
                raise
            try:
                self._await(owner, until)
            except pymysql.Error:
                if own:
                    self.roll_back()
                raise
            finally:
                self.waited.append(blocked_row)
                self.wanted = None
        raise NotSimulated("a lock was waited for, and the clock stands still")

    def _refuse_doomed(self) -> None:
        if self.doomed:
            raise failure(4012, "Transaction timeout occurred, please rollback the transaction")

    def _await(self, owner: Connection, until: float) -> None:
        server = self.server
        now = server.clock()
        if owner.deadline() <= now:
            return owner.lapse(now)
        if now >= until:
            raise failure(1205, "Lock wait timeout exceeded; try restarting transaction")
        if server.kind.innodb and self._deadlock(owner):
            return
        self.waiting_for = owner
        self.used = now
        try:
            server.wait(max(0.0, min(until, owner.deadline()) - now))
        finally:
            self.waiting_for = None
        self.used = server.clock()
        if self.victim:
            self.victim = False
            raise failure(1213, "Deadlock found when trying to get lock")
        if self.ended or self._sock is None:
            self.end()
            self._sock = None
            raise err.OperationalError(2013, "Lost connection to MySQL server during query")

    def _deadlock(self, owner: Connection) -> bool:
        """If we wait for ourselves: the one who did least is rolled back, and hears 1213."""
        circle, other = [self], owner
        while other is not self:
            circle.append(other)
            if other.waiting_for is None or len(circle) > 100:
                return False
            other = other.waiting_for
        least = min(circle, key=lambda one: one.weight)
        least.roll_back()
        if least is self:
            raise failure(1213, "Deadlock found when trying to get lock")
        least.victim, least.wanted, least.waiting_for = True, None, None
        return True

    @property
    def weight(self) -> int:
        changed = sum(row.pending is not row.values for _, row in self.touched)
        return changed + len(self.touched) + len(self.sharing)

    # -- transactions --

    def _commit(self) -> None:
        for table, row in self.touched:
            if row.owner is not self:
                continue
            row.owner = None
            if row.values is not row.pending:
                row.values = row.pending
                if row.values is None:
                    table.rows.remove(row)
                table.moved()
            elif row.values is None:
                table.rows.remove(row)
            row.pending = None
        self._over()

    def roll_back(self) -> None:
        for table, row in self.touched:
            if row.owner is self:
                row.owner = row.pending = None
                if row.values is None:
                    table.rows.remove(row)
        self._over()

    def _over(self) -> None:
        for row in self.sharing:
            row.shared.remove(self)
        self.touched, self._undo, self.sharing = [], [], []
        self.in_transaction = self.doomed = False
        self._snapshot = None

    def _take_back(self, mark: int) -> None:
        """Undo what a failed statement did; whether its locks stay is the engine's matter."""
        stays = self.server.kind.innodb
        for row, pending, owner in reversed(self._undo[mark:]):
            row.pending, row.owner = pending, owner
            if owner is None and stays and row.values is not None:
                row.pending, row.owner = row.values, self
        del self._undo[mark:]
        if any(row.owner is not self for _, row in self.touched):
            for table, row in self.touched:
                if row.owner is None and row.values is None:
                    table.rows.remove(row)
            self.touched = [(table, row) for table, row in self.touched if row.owner is self]

    def _hold(self, table: Table, row: Row) -> None:
        """Lock the row for this transaction."""
        if row.owner is self:
            self._undo.append((row, row.pending, self))
            return
        if row.owner is not None:
            raise _Blocked(row.owner, row)
        self._pass(row)
        self._undo.append((row, row.pending, None))
        row.owner, row.pending = self, row.values
        self.touched.append((table, row))

    def _pass(self, row: Row) -> None:
        """Ask for a lock that others may have to share, or wait for since before."""
        if not self.server.kind.innodb:
            return
        for other in row.shared:
            if other is not self:
                raise _Blocked(other, row)
        if not (self.server.kind.overtakes and self in row.shared):
            self._queue(row)

    def _queue(self, row: Row) -> None:
        for other in self.server.open.values():
            if other.wanted is row and other is not self and other.since < self.since:
                raise _Blocked(other, row)

    def _share(self, row: Row) -> None:
        """InnoDB: an insert that finds a twin keeps that as it is, until the transaction ends."""
        if self.server.kind.innodb and row.owner is not self and self not in row.shared:
            self._queue(row)
            row.shared.append(self)
            self.sharing.append(row)

    def _visible(self, table: Table) -> list[Values]:
        """What a reading statement sees of the table."""
        if self.in_transaction and self.repeatable:
            if self._snapshot is None:
                self._snapshot = {
                    one: [(row, row.values) for row in one.rows if row.values is not None]
                    for one in self.server.tables.values()
                }
            if table in self._snapshot:
                then = dict(self._snapshot[table])
                mine = [row for row in table.rows if row.owner is self]
                then.update((row, row.pending) for row in mine)  # type: ignore[misc]
                return [values for values in then.values() if values is not None]
        if not self.touched:
            return table.committed()
        found = ((row.pending if row.owner is self else row.values) for row in table.rows)
        return [values for values in found if values is not None]

    # -- statements --

    def _allow(self, verb: str, schema: str, table: str) -> None:
        denied = self.server.denied
        if denied and (self.user, verb, schema.lower()) in denied:
            raise failure(
                1142, f"{verb.upper()} command denied to user '{self.user}' for table '{table}'"
            )

    def _table(self, place: tuple[str, str], verb: str) -> Table:
        schema = place[0] or self.database
        if schema is None:
            raise failure(1046, "No database selected")
        self._allow(verb, schema, place[1])
        found = self.server.tables.get((schema.lower(), place[1].lower()))
        if found is None:
            code = 1146 if schema.lower() in self.server.schemas else self.server.kind.no_schema
            raise failure(code, f"Table '{schema}.{place[1]}' doesn't exist")
        return found

    def _source(self, source: minisql.Source) -> tuple[Shape, Any]:
        """Shape, and a function that gives the rows."""
        schema, name = source.schema.lower(), source.table.lower()
        if source.select is not None:
            inner = source.select
            return _NOTHING, lambda: self._select(inner, ())
        if schema == "information_schema":
            shape = VIEWS.get(name)
            if shape is None:
                raise NotSimulated(f"no such view here: information_schema.{name}")
            return shape, lambda: self.server.view(name)
        if schema == "oceanbase" and name == "v$ob_processlist":
            if self.server.kind.name != "oceanbase":
                raise failure(self.server.kind.no_schema, "no table V$OB_PROCESSLIST")
            return OB_PROCESSLIST, lambda: self.server.view("v$ob_processlist")
        table = self._table((source.schema, source.table), "select")
        self._refuse_doomed()
        return table.shape, lambda: self._visible(table)

    def _select(self, select: Select, args: Values) -> list[Values]:
        sources = [self._source(source) for source in select.sources]
        made = minisql.plan(select, [shape for shape, _ in sources])
        if select.lock:
            rows = self._locked(select, made, args)
        else:
            answers = self._answers_of(select, args)
            rows = made.rows([rows() for _, rows in sources], args, self, answers)
        for one in select.further:
            rows = [*rows, *self._select(one, args)]
        return rows if select.limit is None else rows[: select.limit]

    def _answers_of(self, one: Select | Statement, args: Values) -> list[Answers]:
        found = []
        for sub in one.subs:
            shape, _ = self._source(sub.sources[0])
            kind = Scope((sub.sources[0].alias, "r0", shape)).code(sub.items[0])[1]
            found.append(Answers(self._select(sub, args), kind))
        return found

    def _locked(self, select: Select, made: Plan, args: Values) -> list[Values]:
        source = select.sources[0]
        table = self._table((source.schema, source.table), "select")
        assert made.choice and made.project
        answers = self._answers_of(select, args)
        found = []
        for row in self._matching(table, made.choice, args, answers, "select"):
            assert row.pending is not None
            found.append(made.project(row.pending, args, self, answers))
        return found

    def _matching(
        self, table: Table, choice: Choice, args: Values, answers: Any, verb: str
    ) -> Iterator[Row]:
        """Lock and yield the rows that a statement means, by their newest committed state or our
        own."""
        match = choice.match
        if not self.server.kind.innodb:
            found = []
            for row in table.rows:
                values = row.pending if row.owner is self else row.values
                if values is not None and match(values, args, self, answers):
                    found.append(row)
            for row in found:
                self._hold(table, row)
            yield from found
            return
        for row in self._scanned(table, choice, args):
            if row.owner in (None, self):
                values = row.pending if row.owner is self else row.values
                if values is not None and match(values, args, self, answers):
                    self._hold(table, row)
                    yield row
                elif values is not None and row in self.waited:
                    self._hold(table, row)  # a lock that was waited for is not given back
                elif row.owner is None and (verb != "update" or choice.key is not None):
                    self._pass(row)
            elif verb == "update" and choice.key is None:
                # what another changes is looked at as it was, and skipped if it is not meant
                if row.values is not None and match(row.values, args, self, answers):
                    raise _Blocked(row.owner, row)
            else:
                raise _Blocked(row.owner, row)

    def _scanned(self, table: Table, choice: Choice, args: Values) -> list[Row]:
        """The rows that the server looks at: the one of a unique key, or all in their order."""
        shape = table.shape
        if choice.key is not None:
            places, wanted = choice.key
            key = wanted(args, self)
            return [
                row
                for row in table.rows
                if any(
                    values is not None and shape.key(values, places) == key
                    for values in (row.values, row.pending)
                )
            ]
        primary = next((places for name, places in shape.keys if name == "PRIMARY"), None)
        if primary is None:
            return [*table.rows]
        return sorted(
            table.rows, key=lambda row: shape.key(row.pending or row.values or (), primary)
        )

    def do_select(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        select = statement.select
        assert select is not None
        if select.lock:
            rows = self._patiently(lambda: self._select(select, args))
            return len(rows), rows
        sources = select.sources
        if sources and all(
            one.schema.lower() == "information_schema" and one.table.lower() not in LIVE
            for one in sources
        ):
            known, key = self.server._answers, (id(select), args)
            rows = known.get(key)
            if rows is None:
                rows = self._select(select, args)
                known[key] = rows
                known["kept", id(select)] = select  # its id is nobody else's meanwhile
            return len(rows), [*rows]
        rows = self._select(select, args)
        return len(rows), rows

    def do_insert(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        table = self._table(statement.table, "insert")
        if statement.select is not None:
            raise NotSimulated(f"an insert out of a select: {statement.text}")
        plan = statement.plans.get(table.shape)
        if plan is None:
            plan = statement.plans[table.shape] = _insertion(statement, table.shape)
        places, makers = plan

        def act() -> int:
            done = 0
            for maker in makers:
                values = self._complete(table, places, maker(args, self))
                try:
                    self._refuse_twin(table, values, None)
                except pymysql.IntegrityError as exc:
                    if not statement.ignore:
                        raise
                    self.warnings.append(("Warning", *exc.args))
                    continue
                row = Row()
                table.rows.append(row)
                self._undo.append((row, None, None))
                row.owner, row.pending = self, values
                self.touched.append((table, row))
                done += 1
            return done

        return self._patiently(act), []

    def _complete(self, table: Table, places: Sequence[int], given: Values) -> Values:
        shape = table.shape
        made: list[Any] = [NO_DEFAULT] * len(shape.columns)
        for n, value in zip(places, given, strict=True):
            made[n] = value
        for n, column in enumerate(shape.columns):
            value = made[n]
            if n == shape.auto:
                keeps_zero = "NO_AUTO_VALUE_ON_ZERO" in self.session["sql_mode"]
                if value is NO_DEFAULT or value is None or (num(value) == 0 and not keeps_zero):
                    value = self.last_id = table.auto
                value = num(value)
                table.auto = max(table.auto, value + 1)
            elif value is NO_DEFAULT:
                if column.default is NO_DEFAULT:
                    if not column.nullable:
                        raise failure(1364, f"Field '{column.name}' doesn't have a default value")
                    value = None
                elif column.default[0] == "func":
                    value = self.local
                else:
                    value = column.default[1] if len(column.default) > 1 else None
            made[n] = self._stored(column, value)
        return tuple(made)

    def _stored(self, column: minisql.Column, value: Any) -> Any:
        """The value as the column keeps it."""
        if value is None:
            if not column.nullable:
                raise failure(1048, f"Column '{column.name}' cannot be null")
            return None
        kind = column.kind
        if kind == "n":
            made = num(value)
            return float(made) if column.type in minisql.FLOATS else round(made)
        if kind in ("c", "b"):
            text = value.decode() if isinstance(value, bytes) else str(value)
            if column.type in ("varchar", "char") and len(text) > column.length:
                raise failure(1406, f"Data too long for column '{column.name}' at row 1")
            return text
        if kind == "t":
            made = datetime.fromisoformat(value) if isinstance(value, str) else value
            return _rounded(made, column.length)
        return value if isinstance(value, bytes) else str(value).encode()

    def _refuse_twin(self, table: Table, values: Values, but: Row | None) -> None:
        """Raise 1062 where a unique key has these values, or wait for who decides about them."""
        shape = table.shape
        for name, places in shape.keys:
            key = shape.key(values, places)
            if None in key:
                continue
            for row in table.rows:
                if row is but:
                    continue
                for now in (row.values, row.pending) if row.owner else (row.values,):
                    if row.owner is self and now is not row.pending:
                        continue
                    if now is not None and key == shape.key(now, places):
                        if row.owner not in (None, self):
                            raise _Blocked(row.owner, row)
                        self._share(row)
                        shown = "-".join(str(values[n]) for n in places)
                        raise failure(1062, f"Duplicate entry '{shown}' for key '{name}'")

    def do_update(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        table = self._table(statement.table, "update")
        choice, change, places = _changing(statement, table.shape)

        def act() -> int:
            done = 0
            answers = self._answers_of(statement, args)
            for row in self._matching(table, choice, args, answers, "update"):
                before = row.pending
                assert before is not None
                values = [*before]
                for n, value in zip(places, change(before, args, self, answers), strict=True):
                    values[n] = self._stored(table.shape.columns[n], value)
                after = tuple(values)
                if after != before:
                    self._refuse_twin(table, after, row)
                    row.pending = after
                    done += 1
            return done

        return self._patiently(act), []

    def do_delete(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        table = self._table(statement.table, "delete")
        choice, _, _ = _changing(statement, table.shape)

        def act() -> int:
            answers = self._answers_of(statement, args)
            done = 0
            for row in self._matching(table, choice, args, answers, "delete"):
                self._refuse_orphans(table, row)
                row.pending = None
                done += 1
            return done

        return self._patiently(act), []

    def _refuse_orphans(self, table: Table, row: Row) -> None:
        """Raise 1451 where a foreign key hangs on the row."""
        if self.session["foreign_key_checks"] in ("0", "OFF"):
            return
        for child in self.server.tables.values():
            for name, column, to, there, rule in child.shape.foreign:
                if (to[0] or child.schema).lower() != table.schema.lower():
                    continue
                if to[1].lower() != table.name.lower():
                    continue
                if rule not in ("RESTRICT", "NO ACTION"):
                    raise NotSimulated(f"a foreign key with on delete {rule}")
                at = child.shape.index[column.lower()]
                assert row.pending is not None
                wanted = row.pending[table.shape.index[there.lower()]]
                if any(values[at] == wanted for values in self._visible(child)):
                    raise failure(
                        1451, f"Cannot delete or update a parent row: a foreign key {name} fails"
                    )

    def do_begin(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        self._commit()
        self.in_transaction = True
        self.begun = self.used
        return 0, []

    def do_commit(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        if self.doomed:
            self._over()
            raise failure(6002, "Transaction rollbacked")
        self._commit()
        return 0, []

    def do_rollback(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        self.roll_back()
        return 0, []

    def do_kill(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        n = args[0] if statement.more[0] == "param" else statement.more[1]
        other = self.server.open.get(int(n))
        if other is None:
            raise failure(1094, f"Unknown thread id: {n}")
        other.end()
        other.hears = _LOST
        return 0, []

    def do_use(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        if statement.more.lower() not in self.server.schemas:
            raise failure(1049, f"Unknown database '{statement.more}'")
        self.database = statement.more
        return 0, []

    def do_show_warnings(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        found: list[Values] = [*self.warnings]
        return len(found), found

    def do_show_tables(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        schema = statement.more.lower()
        found: list[Values] = [(t.name,) for t in self.server.tables.values()
                               if t.schema.lower() == schema]  # fmt: skip
        return len(found), found

    def do_show_variables(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        found: list[Values] = [
            (name, self.session[name]) for name in sorted(statement.more) if name in self.session
        ]
        return len(found), found

    def do_set(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        for name, node in statement.more:
            value = str(node[-1])
            if name not in self.session and name != "isolation":
                raise failure(1193, f"Unknown system variable '{name}'")
            if name in ("isolation", "transaction_isolation", "tx_isolation"):
                value = value.upper().replace(" ", "-")
                self.repeatable = value == "REPEATABLE-READ"
            elif name == "time_zone":
                found = re.fullmatch(r"([+-]\d+):(\d+)", value)
                if found is None:
                    raise NotSimulated(f"a time zone by name: {statement.text}")
                minutes = abs(int(found[1])) * 60 + int(found[2])
                self.zone = timedelta(minutes=-minutes if value[0] == "-" else minutes)
            self.session[name] = value
        return 0, []

    def do_explain(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        """Rights are asked, and whether there are such tables and columns; nothing is done."""
        inner: Statement = statement.more
        for verb in ("delete", "insert") if inner.kind == "replace" else (inner.kind,):
            table = self._table(inner.table, verb)
        if inner.kind in ("insert", "replace"):
            if inner.select is not None:
                self._select(inner.select, args)
            for name in inner.names:
                if name.lower() not in table.shape.index:
                    raise minisql.Unknown(name)
        else:
            _changing(inner, table.shape)
        return 1, [("1",)]

    # -- tables --

    def do_create_database(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        name = statement.table[0]
        self._commit()
        self._allow("create", name, name)
        if name.lower() in self.server.schemas:
            if not statement.ignore:
                raise failure(1007, f"Can't create database '{name}'; database exists")
            self.warnings.append(("Note", 1007, f"Can't create database '{name}'"))
            return 1, []
        self.server.schemas[name.lower()] = name
        self.server.changed_tables()
        return 1, []

    def do_create_table(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        schema, name = statement.table
        schema = schema or self.database or ""
        self._commit()
        self._allow("create", schema, name)
        if schema.lower() not in self.server.schemas:
            raise failure(1049, f"Unknown database '{schema}'")
        place = (schema.lower(), name.lower())
        if place in self.server.tables:
            if not statement.ignore:
                raise failure(1050, f"Table '{name}' already exists")
            self.warnings.append(("Note", 1050, f"Table '{name}' already exists"))
            return 0, []
        real = self.server.schemas[schema.lower()]
        self.server.tables[place] = Table(real, name, statement.more)
        self.server.changed_tables()
        return 0, []

    def do_drop_table(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        schema, name = statement.table
        schema = schema or self.database or ""
        self._commit()
        self._allow("drop", schema, name)
        if self.server.tables.pop((schema.lower(), name.lower()), None) is None:
            if not statement.ignore:
                raise failure(1051, f"Unknown table '{schema}.{name}'")
            self.warnings.append(("Note", 1051, f"Unknown table '{schema}.{name}'"))
        self.server.changed_tables()
        return 0, []

    def do_drop_database(self, statement: Statement, args: Values) -> tuple[int, list[Values]]:
        name = statement.table[0]
        self._commit()
        self._allow("drop", name, name)
        if self.server.schemas.pop(name.lower(), None) is None and not statement.ignore:
            raise failure(1008, f"Can't drop database '{name}'; database doesn't exist")
        for place in [*self.server.tables]:
            if place[0] == name.lower():
                del self.server.tables[place]
        self.server.changed_tables()
        return 0, []


_HANDLERS = {
    kind: "do_" + kind.replace(" ", "_")
    for kind in (
        "select", "insert", "update", "delete", "begin", "commit", "rollback", "kill", "use",
        "show warnings", "show tables", "show variables", "set", "explain", "create database",
        "create table", "drop table", "drop database",
    )
}  # fmt: skip
_NOTHING = Shape(())


def _rounded(value: datetime, digits: int) -> datetime:
    unit = 10 ** (6 - digits)
    rest = value.microsecond % unit
    if not rest:
        return value
    up = unit if rest * 2 >= unit else 0
    return value + timedelta(microseconds=up - rest)


def _insertion(statement: Statement, shape: Shape) -> tuple[list[int], list[Any]]:
    """Where the given values go, and a function for each row of them."""
    scope = Scope()
    names = statement.names or [column.name for column in shape.columns]
    places = []
    for name in names:
        if name.lower() not in shape.index:
            raise minisql.Unknown(name)
        places.append(shape.index[name.lower()])
    makers = []
    for row in statement.rows:
        if len(row) != len(places):
            raise failure(1136, "Column count doesn't match value count at row 1")
        cells = "".join(scope.value(node) + ", " for node in row)
        makers.append(scope.function("p, c", f"({cells})"))
    return places, makers


def _changing(statement: Statement, shape: Shape) -> tuple[Any, Any, list[int]]:
    """Which rows an update or a delete means, the new values, and where these go."""
    found = statement.plans.get(shape)
    if found is None:
        scope = Scope((statement.table[1].lower(), "r0", shape))
        places = []
        for name, _ in statement.sets:
            if name not in shape.index:
                raise minisql.Unknown(name)
            places.append(shape.index[name])
        choice = minisql.choose(scope, shape, statement.where)
        cells = "".join(scope.value(node) + ", " for _, node in statement.sets)
        found = (choice, scope.function("r0, p, c, s", f"({cells})"), places)
        statement.plans[shape] = found
    return found  # type: ignore[no-any-return]


def epoch(value: datetime) -> float:
    """Seconds since the epoch of a UTC time as the server gives it."""
    return value.replace(tzinfo=timezone.utc).timestamp()


__all__ = ["KINDS", "Connection", "MetaDb", "NotSimulated", "Snapshot", "epoch"]
