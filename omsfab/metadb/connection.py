"""One connection to the MetaDB: how it is set up, what may be said on it, how it fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from omsfab.errors import MetaDbAway, OmsfabError, PreflightError
from omsfab.fleet.mask import Redactor
from omsfab.fleet.model import MetaDb
from omsfab.metadb import sql
from omsfab.next_line import fab, shell

DbError: TypeAlias = pymysql.Error
Connect: TypeAlias = Callable[..., "Connection[Cursor]"]
OnStatement: TypeAlias = Callable[[str], None]
Row: TypeAlias = "tuple[Any, ...]"

LOCK_WAIT = {1205, 1213, 3572}
DENIED = {1044, 1142, 1143, 1227, 1410, 1370}
TOO_MANY = {1040, 1203, 1226}
"""Connections: of all users, of this one."""
NO_TABLE = {1049, 1051, 1109, 1146}

# DDL commits implicitly, before and after; between BEGIN and COMMIT only these words may be said.
IN_TRANSACTION = {"select", "show", "insert", "update", "delete", "commit", "rollback"}

CUT_OFF = 1301
"""A warning: a function's result exceeds max_allowed_packet, and NULL was returned instead."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds.  ``idle`` ends a transaction that its client has left; ``patience`` is how long a
    verdict waits for the server to end it; ``quiet`` lies between two looks that must be alike."""

    connect: int = 10
    read: int = 30
    lock: int = 10
    query: int = 25
    transaction: int = 60
    idle: int = 60
    patience: float = 75
    quiet: float = 2


@dataclass(frozen=True, slots=True)
class Server:
    """What hosts.yaml says about the MetaDB, and how to talk to it."""

    metadb: MetaDb
    connect: Connect = pymysql.connect
    limits: Limits = Limits()
    on_statement: OnStatement | None = None
    in_run: bool = False
    session: list[str] = field(default_factory=list, compare=False, repr=False)
    """How a session is set up, once a connection has asked which limits this server knows."""
    names: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)
    """How tables are written here, by schema and name as they are asked for."""
    rest: dict[bool, list[tuple[Any, float]]] = field(
        default_factory=lambda: {True: [], False: []}, compare=False, repr=False
    )
    """Connections that nobody uses at the moment, by ``utc``, each with the second since when."""

    @property
    def where(self) -> str:
        way = f" through {self.metadb.through}" if self.metadb.through else ""
        return f"MetaDB {self.metadb.host}:{self.metadb.port}{way}"

    @property
    def refusal(self) -> type[OmsfabError]:
        """Before a run has begun nothing is changed; afterwards it is a failed step."""
        return OmsfabError if self.in_run else PreflightError

    @property
    def away(self) -> type[OmsfabError]:
        """As ``refusal``; a run waits a while for a MetaDB whose leader changes."""
        return MetaDbAway if self.in_run else PreflightError

    def close(self) -> bool:
        """Hang up the connections that rest; tell if there were any."""
        closed = False
        for resting in self.rest.values():
            while resting:
                with contextlib.suppress(IndexError):
                    resting.pop()[0]._force_close()
                    closed = True
        return closed

    def clean(self, text: str) -> str:
        """Return what the server said as it may be shown."""
        return Redactor((self.metadb.password,))(text)

    def error(self, exc: Exception, doing: str) -> OmsfabError:
        """The error for a statement that failed outside of a transaction of ours."""
        code = code_of(exc)
        text = self.clean(f"{exc.args[-1] if exc.args else exc}")
        if lost(exc):
            return self.away(
                "DB-005",
                f"connection to the MetaDB lost while {doing}",
                where=self.where,
                evidence=text,
                next=shell("nc", "-vz", self.metadb.host, str(self.metadb.port)),
            )
        if code in DENIED:
            return self.refusal(
                "DB-027",
                f"user {self.metadb.user} has no right for {doing}",
                where=self.where,
                evidence=f"error {code}: {text}",
                fix="ask the DBA for SELECT, INSERT, UPDATE, DELETE and CREATE on the OMS"
                " databases of this user",
                next=fab("fleet.check"),
            )
        return self.refusal(
            "DB-004",
            f"the MetaDB refused {doing}",
            where=self.where,
            evidence=f"error {code}: {text}",
            next=fab("fleet.check"),
        )

    def login_error(self, exc: Exception) -> OmsfabError:
        code = code_of(exc)
        text = self.clean(f"{exc.args[-1] if exc.args else exc}")
        host, port, user = self.metadb.host, self.metadb.port, self.metadb.user
        evidence = f"error {code}: {text}"
        if code == 1045:
            return self.refusal(
                "DB-002",
                f"the MetaDB refuses user {user} with this password (tried once, not again)",
                where=self.where,
                evidence=evidence,
                fix="correct metadb.user or metadb.password in hosts.yaml",
                next=fab("fleet.check"),
            )
        if code in {2002, 2003, 2005, 2006, 2013}:
            return self.away(
                "DB-001",
                "the MetaDB does not answer"
                if "timed out" in text
                else "the MetaDB is not reached",
                where=self.where,
                evidence=evidence,
                next=shell("nc", "-vz", host, str(port)),
            )
        return self.refusal(
            "DB-003",
            f"the MetaDB does not let user {user} in",
            where=self.where,
            evidence=evidence,
            fix="ask the DBA: TLS, host rule, connection limit or login plugin, as named above",
            next=fab("fleet.check"),
        )


def code_of(exc: BaseException) -> int:
    first = exc.args[0] if exc.args else 0
    return first if isinstance(first, int) else 0


def lost(exc: BaseException) -> bool:
    """True when the connection is gone, so that the server may or may not have acted."""
    return isinstance(exc, OSError | pymysql.InterfaceError) or code_of(exc) in {
        0, 1053, 1077, 1152, 1153, 1158, 1159, 1160, 1161, 1317, 1927, 2006, 2013, 2014, 2055, 3169,
        4012, 4031,
    }  # fmt: skip


class Link:
    """A connection, autocommit but for ``begin`` … ``commit``; an error leaves as DbError.

    One that did its work without an error rests until the next that asks takes it up: a login and
    its settings are many ways there and back.  Whether the server still has its end is told by the
    first statement: it is said again on a connection of now.  Such a first one is a question, or
    harms nobody if it is done twice; that of a transaction is none of the change itself.
    """

    def __init__(self, server: Server, *, utc: bool = True) -> None:
        self.server = server
        self.in_transaction = False
        self.identity: Row | None = None
        self.places: tuple[str, ...] = ()
        """The schemas where lease and marker are, once that was asked."""
        self.tables: dict[tuple[str, str], Any] = {}
        """What is known of tables by schema and name, for one look at the MetaDB."""
        self._utc, self._altered = utc, False
        self._rested = self._take_up()
        if not self._rested:
            self._connect()

    def _take_up(self) -> bool:
        """Take the connection that rests shortest; after half of its idle time none is trusted."""
        resting = self.server.rest[self._utc]
        while resting:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._connection, since = resting.pop()
                if time.monotonic() - since < self.server.limits.idle / 2:
                    return True
                self.drop()
        return False

    def _connect(self) -> None:
        server = self.server
        try:
            self._connection = self._log_in()
        except (pymysql.Error, OSError, RuntimeError) as exc:
            raise server.login_error(exc) from None  # the cause holds the password in its frames
        try:
            self._set_up(server.limits, self._utc)
        except DbError as exc:
            self.drop()
            raise server.error(exc, "setting up the session") from exc
        except BaseException:
            self.drop()
            raise

    def _log_in(self) -> Connection[Cursor]:
        """Connect; where no more connections are to be had, those that rest make room."""
        try:
            return self._dial()
        except pymysql.Error as exc:
            if code_of(exc) not in TOO_MANY or not self.server.close():
                raise
        time.sleep(0.3)  # the server notices it in a moment
        return self._dial()

    def _dial(self) -> Connection[Cursor]:
        metadb, limits = self.server.metadb, self.server.limits
        return self.server.connect(
            host=metadb.host,
            port=metadb.port,
            user=metadb.user,
            # as bytes: PyMySQL would write a text as latin1, and no server reads that
            password=metadb.password.reveal().encode(),
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=limits.connect,
            read_timeout=limits.read,
            write_timeout=limits.read,
            local_infile=False,
        )

    def _set_up(self, limits: Limits, utc: bool) -> None:
        """Set the limits that this server knows; which it knows is asked once, not assumed."""
        for known in [*self.server.session]:
            try:
                return self._set(known, utc)
            except DbError as exc:
                if lost(exc):
                    raise  # otherwise another server answers there by now, and is asked
        setting = self._ask_for_limits(limits)
        self._set(setting, utc)
        self.server.session[:] = [setting]

    def _ask_for_limits(self, limits: Limits) -> str:
        """The words of a SET; what no SET of this server knows is done otherwise, or left."""
        micro = 1_000_000
        wanted: dict[str, int] = {
            "innodb_lock_wait_timeout": limits.lock,
            "wait_timeout": limits.idle,
            "idle_transaction_timeout": limits.idle,
            "ob_trx_lock_timeout": limits.lock * micro,
            "ob_query_timeout": limits.query * micro,
            "ob_trx_timeout": limits.transaction * micro,
            "ob_trx_idle_timeout": limits.idle * micro,
            "sql_safe_updates": 0,
        }
        settings = [f"sql_mode = '{sql.SQL_MODE}'"]
        with contextlib.suppress(pymysql.Error):  # before any answer, which it would cut short
            self.run(sql.SESSION.format(sql.NO_LIMIT))
            settings.append(sql.NO_LIMIT)
        names = ", ".join(f"'{name}'" for name in (*wanted, *sql.ISOLATION))
        known = {str(row[0]).lower() for row in self.rows(sql.VARIABLES % names)}
        settings += [f"{name} = {value}" for name, value in wanted.items() if name in known]
        isolation = [name for name in sql.ISOLATION if name in known]
        settings.append(sql.READ_COMMITTED.format(isolation[0] if isolation else sql.ISOLATION[0]))
        return ", ".join(settings)

    def _set(self, settings: str, utc: bool) -> None:
        self.run(sql.SESSION.format(f"{settings}, {sql.UTC}" if utc else settings))

    def rows(self, text: str, args: Sequence[object] = ()) -> list[Row]:
        cursor, _ = self._said(text, args)
        with cursor:
            rows = list(cursor.fetchall())
            if cursor.warning_count:
                self._refuse_cut_values(cursor)
            return rows

    def _refuse_cut_values(self, cursor: Cursor) -> None:
        cursor.execute(sql.WARNINGS)
        cut = [text for _, code, text in cursor.fetchall() if code == CUT_OFF]
        if cut:
            raise self.server.refusal(
                "DB-028",
                "a value is too large for the server to hand out",
                where=self.server.where,
                evidence=str(cut[0]),
                fix="ask the DBA: set global max_allowed_packet = 67108864",
                next=fab("fleet.check"),
            )

    def run(self, text: str, args: Sequence[object] = ()) -> int:
        """Run a statement; return how many rows it touched."""
        cursor, touched = self._said(text, args)
        with cursor:
            return touched

    def _said(self, text: str, args: Sequence[object]) -> tuple[Cursor, int]:
        """Say it; return the cursor with the answer, and how many rows were touched."""
        if self.in_transaction and text.split(None, 1)[0].lower() not in IN_TRANSACTION:
            raise AssertionError(f"never inside a transaction: {text[:60]}")
        if self.server.on_statement:
            self.server.on_statement(text)
        rested, self._rested = self._rested, False
        try:
            return self._execute(text, args)
        except (pymysql.Error, OSError) as exc:
            if not (rested and lost(exc)):
                raise
        self.drop()
        self._connect()
        return self._execute(text, args)

    def _execute(self, text: str, args: Sequence[object]) -> tuple[Cursor, int]:
        cursor = self._connection.cursor()
        return cursor, cursor.execute(text, tuple(args) or None)

    def alter(self, text: str) -> None:
        """Set the session otherwise than all others have it: this connection never rests."""
        self.run(text)
        self._altered = True

    def identify(self) -> None:
        """Ask which connection this is, for whoever has to end it from elsewhere."""
        with contextlib.suppress(pymysql.Error):
            rows = self.rows(sql.WHO_AM_I)
            self.identity = rows[0] if rows else None

    def begin(self) -> None:
        self.run(sql.BEGIN)
        self.in_transaction = True

    def commit(self) -> None:
        self.run(sql.COMMIT)
        self.in_transaction = False

    def rollback(self) -> None:
        """Give the transaction up; where the server does not answer, hang up, which does too."""
        try:
            self.run(sql.ROLLBACK)
            self.in_transaction = False
        except (pymysql.Error, OSError):
            self.drop()

    def drop(self) -> None:
        """Hang up at once, without a farewell that could block."""
        self.in_transaction = False
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection._force_close()

    def put_by(self) -> None:
        """Let a sound connection rest, for the next that asks; any other is hung up."""
        if self._altered or self.in_transaction or not self._connection.open:
            return self.drop()
        resting = self.server.rest[self._utc]
        resting.append((self._connection, time.monotonic()))
        del self._connection

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.in_transaction:
            self.rollback()
        if kind is None:
            self.put_by()
        else:
            self.drop()
