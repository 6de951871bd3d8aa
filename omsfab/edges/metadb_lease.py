"""The lock in the MetaDB: one row per OMS, its clock alone, and a token that fences late holders.

A lease lives 120 s and is renewed every 20 s.  Whoever takes it gets a higher token; a change of
rows first locks the lease row and compares the token, so that a holder that slept through a
take-over changes nothing.  Another's lease is never stolen, expired or not: that is what
``break_`` is for, which wants the exact run id.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType

import pymysql

from omsfab.commands.next_line import fab
from omsfab.edges import metadb_sql as sql
from omsfab.edges.metadb_link import DENIED, LOCK_WAIT, NO_TABLE, DbError, Link, Server, code_of
from omsfab.errors import InputError, Locked, LockLost, OmsfabError, PreflightError

LIFE, RENEW = 120, 20

STILL, WATCH = 2 * LIFE, RENEW + 5
"""Seconds for which a lease must not have been renewed before it is broken, and for which it is
watched then: a renewal falls into them if anybody lives."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken; ``token`` is the fence."""

    cluster: str
    run_id: str
    owner: str
    token: int


@dataclass(frozen=True, slots=True)
class Holder:
    """The lease row as it stands; ``live`` by the clock of the database, and ``idle`` the seconds
    since it was renewed.  Free: no ``run_id``."""

    token: int
    run_id: str
    owner: str
    since: str
    renewed: str
    expires: str
    live: bool
    idle: float


# --- where our own tables are ----------------------------------------------------------------


def own_schema(link: Link) -> str | None:
    """The schema that holds lease and marker: our own, or else rm_db; None = not made yet."""
    if link.own_schema is None:
        for schema in (sql.OWN_SCHEMA, link.server.metadb.rm_db):
            if all(link.rows(sql.TABLES, (schema, table)) for table in (sql.LEASE, sql.MARKER)):
                link.own_schema = schema
                break
    return link.own_schema


def make_own_tables(link: Link) -> str:
    """Create them where we may, and return the schema.  Raises DB-032.  Never in a transaction."""
    there = own_schema(link)
    if there is not None:
        return there
    refused: list[str] = []
    for schema in (sql.OWN_SCHEMA, link.server.metadb.rm_db):
        try:
            if schema == sql.OWN_SCHEMA:
                link.run(sql.CREATE_SCHEMA)
            link.run(sql.create_lease(sql.name(schema, sql.LEASE)))
            link.run(sql.create_marker(sql.name(schema, sql.MARKER)))
            return schema
        except DbError as exc:
            if code_of(exc) not in DENIED | NO_TABLE:
                raise
            refused.append(
                f"{schema}: error {code_of(exc)}: {link.server.clean(str(exc.args[-1]))}"
            )
    raise PreflightError(
        "DB-032",
        f"user {link.server.metadb.user} may create neither the database {sql.OWN_SCHEMA}"
        f" nor a table in {link.server.metadb.rm_db}: there is no place for the lock",
        where=link.server.where,
        evidence="\n".join(refused),
        next=f"ask the DBA: create database {sql.OWN_SCHEMA};"
        f" grant all on {sql.OWN_SCHEMA}.* to this user, then: fab fleet.check",
    )


def lease_table(schema: str) -> str:
    return sql.name(schema, sql.LEASE)


def marker_table(schema: str) -> str:
    return sql.name(schema, sql.MARKER)


# --- taking, renewing, giving back -----------------------------------------------------------


def read(link: Link, schema: str, cluster: str, *, lock: bool = False) -> Holder | None:
    rows = link.rows(sql.lease_read(lease_table(schema), lock=lock), (cluster,))
    if not rows:
        return None
    token, run_id, owner, since, renewed, expires, live, idle = rows[0]
    return Holder(
        token=int(token),
        run_id=str(run_id),
        owner=str(owner),
        since=f"{since} UTC",
        renewed=f"{renewed} UTC",
        expires=f"{expires} UTC",
        live=bool(live),
        idle=int(idle) / 1e6,
    )


def take(server: Server, cluster: str, run_id: str, owner: str, life: int = LIFE) -> Lease:
    """Take the lease, or raise Locked DB-030 naming who has it.

    A run takes its own lease back at once from the same owner, and from another jump host as soon
    as it has expired.
    """
    if not run_id:
        raise InputError("DB-033", "a lease needs a run id")
    with Link(server) as link:
        try:
            schema = make_own_tables(link)
            table = lease_table(schema)
            link.run(sql.lease_first(table), (cluster,))
            link.begin()
            held = read(link, schema, cluster, lock=True)
            if held is None:
                raise _busy(server)  # somebody deletes rows that nobody may delete
            if held.run_id and not _mine(held, run_id, owner):
                raise refusal(server, held, run_id)
            lease = Lease(cluster, run_id, owner, held.token + 1)
            link.run(sql.lease_take(table), (lease.token, run_id, owner, life, cluster))
            link.commit()
        except DbError as exc:
            link.drop()
            if code_of(exc) in LOCK_WAIT:
                raise _busy(server) from exc
            return _taken_after_all(server, cluster, run_id, owner, exc)
    return lease


def _mine(held: Holder, run_id: str, owner: str) -> bool:
    return held.run_id == run_id and (held.owner == owner or not held.live)


def _taken_after_all(
    server: Server, cluster: str, run_id: str, owner: str, exc: Exception
) -> Lease:
    """The reply to COMMIT was lost: the row says whether it was done."""
    with Link(server) as link, contextlib.suppress(DbError):  # a table of somebody else's, say
        held = None
        schema = own_schema(link)
        held = read(link, schema, cluster, lock=True) if schema else None
    if held is not None and (held.run_id, held.owner) == (run_id, owner) and held.live:
        return Lease(cluster, run_id, owner, held.token)
    raise server.error(exc, "taking the lease") from exc


def renew(server: Server, lease: Lease, life: int = LIFE, link: Link | None = None) -> None:
    """Push the end of the lease out; raises LockLost DB-031 when it is no longer ours."""
    own = link or Link(server)
    try:
        schema = own_schema(own)
        args = (life, lease.cluster, lease.token, lease.run_id)
        if schema is None or own.run(sql.lease_renew(lease_table(schema)), args) == 0:
            raise lost_lease(server, lease, read(own, schema, lease.cluster) if schema else None)
    except DbError as exc:
        raise server.error(exc, "renewing the lease") from exc
    finally:
        if link is None:
            own.drop()


def release(server: Server, lease: Lease) -> None:
    """Give the lease back.  A lease that is no longer ours is left alone, silently."""
    with Link(server) as link:
        try:
            schema = own_schema(link)
            if schema is not None:
                args = (lease.cluster, lease.token, lease.run_id)
                link.run(sql.lease_free(lease_table(schema)), args)
        except DbError as exc:
            raise server.error(exc, "giving the lease back") from exc


def break_(
    server: Server,
    cluster: str,
    run_id: str,
    *,
    still: float = STILL,
    watch: float = WATCH,
    wait: Callable[[float], None] = time.sleep,
) -> Holder:
    """Free the lease of a run that is dead; returns what it was.

    It must be exactly this run's, expired, and not renewed for ``still`` seconds, all by the clock
    of the database, and then unchanged for ``watch`` seconds more.  ``wait`` is called once, with
    the seconds that this takes.  Raises Locked DB-033 otherwise.
    """
    try:
        with Link(server) as link:
            held = _breakable(link, cluster, run_id)
        wait(max(0.0, still - held.idle) + watch)
        with Link(server) as link:
            return _free(link, cluster, run_id, held)
    except DbError as exc:
        raise server.error(exc, "breaking the lease") from exc


def breakable(server: Server, cluster: str, run_id: str) -> Holder:
    """Return the lease if it is this run's and has expired; raises Locked DB-033 otherwise."""
    try:
        with Link(server) as link:
            return _breakable(link, cluster, run_id)
    except DbError as exc:
        raise server.error(exc, "reading the lease") from exc


def _free(link: Link, cluster: str, run_id: str, before: Holder) -> Holder:
    schema = own_schema(link) or sql.OWN_SCHEMA
    link.begin()
    read(link, schema, cluster, lock=True)
    held = _breakable(link, cluster, run_id)
    if (held.token, held.renewed) != (before.token, before.renewed):
        raise _unbroken(link.server, f"run {run_id} has renewed its lease meanwhile: it lives")
    link.run(sql.lease_free(lease_table(schema)), (cluster, held.token, run_id))
    link.commit()
    return held


def _breakable(link: Link, cluster: str, run_id: str) -> Holder:
    schema = own_schema(link)
    held = read(link, schema, cluster) if schema else None
    if held is None or not held.run_id:
        raise _unbroken(link.server, "no run holds the lease")
    if held.run_id != run_id:
        raise _unbroken(
            link.server, f"the lease is held by run {held.run_id}, not {run_id}", held.run_id
        )
    if held.live:
        raise _unbroken(
            link.server,
            f"the lease of run {run_id} ({held.owner}) has not expired; it does at {held.expires}",
        )
    return held


# --- errors ----------------------------------------------------------------------------------


def refusal(server: Server, held: Holder, run_id: str = "") -> Locked:
    """The error that names who has the lock, and how it comes free."""
    state = f"live until {held.expires}" if held.live else f"expired at {held.expires}"
    broken = f"if that run is gone for good: fab lock.break --run={held.run_id}"
    if held.run_id == run_id:
        cure = fab("run.resume", run=run_id, first=f"wait until {held.expires}")
    elif held.live:
        cure = fab("lock.show", note=f"wait for its end; {broken}")
    else:
        cure = fab("lock.break", run=held.run_id, note="if that run is gone for good")
    return Locked(
        "DB-030",
        f"this OMS is locked by {held.owner} (run {held.run_id}) since {held.since}",
        where=server.where,
        evidence=f"lease {state}, last renewed {held.renewed}",
        next=cure,
    )


def _busy(server: Server) -> Locked:
    return Locked(
        "DB-030",
        "this OMS is locked: another run is changing rows at this moment",
        where=server.where,
        evidence=f"its lease row was in use for more than {server.limits.lock} s",
        next="fab lock.show",
    )


def lost_lease(server: Server, lease: Lease, held: Holder | None) -> LockLost:
    """The error of a run whose lock is gone.  It names no way back: what is there now may be the
    work of others, and ``run.resume`` asks them first."""
    at = f"{datetime.now(timezone.utc):%H:%M:%SZ}"
    if held is not None and held.run_id:
        now = f"held by {held.owner} (run {held.run_id}) since {held.since}, token {held.token}"
    else:
        now = "free" if held is not None else "no lease row"
    return LockLost(
        "DB-031",
        f"run {lease.run_id} has lost its lock (seen at {at}): it was broken, taken over or not "
        "renewed in time; somebody else may have acted",
        where=server.where,
        evidence=f"our token {lease.token}; now: {now}\n"
        "nothing more was done, judged or copied since",
        next=fab(
            "lock.show",
            note="and fab run.list on the other jump host; once it is free: "
            f"fab run.resume --run={lease.run_id}, which asks first what others did",
        ),
    )


def _unbroken(server: Server, why: str, right: str = "") -> Locked:
    return Locked(
        "DB-033",
        f"the lock was not broken: {why}",
        where=server.where,
        next=f"fab lock.break --run={right}" if right else "fab lock.show",
    )


def _awake() -> float:
    """Seconds of a clock that goes on while a jump host is suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Keeper:
    """Renews a lease from a thread of its own while the ``with`` block runs.

    ``check()`` raises LockLost DB-031 once the lease is lost: broken, taken over, or not renewed
    for its whole life.  Durations are by the clock since the boot.  A process that was stopped for
    a while and wakes asks at its first ``check()``, before its thread does.
    """

    def __init__(
        self, server: Server, lease: Lease, *, every: float = RENEW, life: int = LIFE
    ) -> None:
        self.lease = lease
        self._server, self._every, self._life = server, every, life
        self._stop = threading.Event()
        self._lost: LockLost | None = None
        self._renewed = _awake()
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="omsfab-lease", daemon=True)

    def check(self) -> None:
        if self._lost is None and self._overdue():
            with self._asking:  # many lanes may wake at once: one of them asks
                if self._overdue():
                    self._renew()
        if self._lost is None and _awake() - self._renewed > self._life:
            self._lost = lost_lease(self._server, self.lease, None)
        if self._lost is not None:
            raise self._lost

    def _overdue(self) -> bool:
        return _awake() - self._renewed > 1.5 * self._every

    def _run(self) -> None:
        while not self._stop.wait(self._every) and self._lost is None:
            self._renew()

    def _renew(self) -> None:
        try:
            renew(self._server, self.lease, self._life)
            self._renewed = _awake()
        except LockLost as exc:
            self._lost = exc
        except (OmsfabError, pymysql.Error, OSError):
            pass  # a MetaDB that is away for a while; check() counts the seconds

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=self._server.limits.connect + self._server.limits.lock)
