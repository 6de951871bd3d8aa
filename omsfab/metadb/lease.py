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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import TracebackType

import pymysql

from omsfab.errors import InputError, Locked, LockLost, OmsfabError, PreflightError
from omsfab.metadb import sql
from omsfab.metadb.connection import DENIED, LOCK_WAIT, NO_TABLE, DbError, Link, Server, code_of
from omsfab.next_line import after_loss, fab

LIFE, RENEW = 120, 20

STILL, WATCH = 2 * LIFE, RENEW + 5
"""Seconds for which a lease must not have been renewed before it is broken, and for which it is
watched then: a renewal falls into them if anybody lives."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken; ``token`` is the fence, ``places`` where it lay by then."""

    cluster: str
    run_id: str
    owner: str
    token: int
    places: tuple[str, ...] = field(default=(), compare=False)
    was_free: bool = field(default=False, compare=False)
    """Nobody held it when it was taken; False where that is not known."""


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


def places(link: Link) -> tuple[str, ...]:
    """The schemas that hold lease and marker; the first one is that which everybody sees.

    That is rm_db, which no user of an OMS can do without.  Our own schema is for a MetaDB in which
    no OMS was initialised yet, and has the leases of former versions: a user who sees it looks
    there, too, but not everybody may.
    """
    if not link.places:
        rm_db = link.server.metadb.rm_db
        rows = link.rows(sql.OWN_TABLES, (rm_db,))
        there = {(text_of(schema), text_of(table)) for schema, table in rows}
        link.places = tuple(
            schema
            for schema in (rm_db, sql.OWN_SCHEMA)
            if {(schema.lower(), sql.LEASE), (schema.lower(), sql.MARKER)} <= there
        )
    return link.places


def text_of(value: object) -> str:
    """A name out of information_schema, which some servers tell as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def make_own_tables(link: Link) -> tuple[str, ...]:
    """Create them where everybody looks, and return all places.  Never in a transaction.

    Raises DB-032 where they cannot be there: two users with different rights would hold two leases.
    """
    there, rm_db = places(link), link.server.metadb.rm_db
    if rm_db in there:
        return there
    deployed = _deployed(link, rm_db)
    if there and not deployed:
        return there
    schema = rm_db if deployed else sql.OWN_SCHEMA
    try:
        if not deployed:
            link.run(sql.CREATE_SCHEMA)
        link.run(sql.create_lease(sql.name(schema, sql.LEASE)))
        link.run(sql.create_marker(sql.name(schema, sql.MARKER)))
    except DbError as exc:
        if code_of(exc) not in DENIED | NO_TABLE:
            raise
        raise _nowhere(link.server, f"may make no table in {schema}", schema, exc) from exc
    link.places = ()
    return places(link) or (schema,)


def _deployed(link: Link, rm_db: str) -> bool:
    """Whether rm_db is there; DB-032 where this user may not even be told."""
    if link.rows(sql.SCHEMA, (rm_db,)):
        return True
    try:
        link.rows(sql.count(sql.name(rm_db, "cluster_info"), "1 = 0"))
    except DbError as exc:
        if code_of(exc) in NO_TABLE:
            return False
        if code_of(exc) in DENIED:
            raise _nowhere(link.server, f"may not see {rm_db}", rm_db, exc) from exc
        raise
    return True


def _nowhere(server: Server, why: str, schema: str, exc: Exception) -> PreflightError:
    grant = f"grant all on {schema}.* to {server.metadb.user}"
    return PreflightError(
        "DB-032",
        f"user {server.metadb.user} {why}: there is no place for the lock that all users see",
        where=server.where,
        evidence=f"error {code_of(exc)}: {server.clean(str(exc.args[-1]))}",
        fix=f"ask the DBA: {grant}",
        next=fab("fleet.check"),
    )


def in_all(link: Link, text: Callable[[str], str], args: Sequence[object]) -> int:
    """Run a statement in every place; return how many rows it touched in the first.

    Further places may be for reading only.
    """
    first, *further = places(link) or (sql.OWN_SCHEMA,)
    touched = link.run(text(first), args)
    for schema in further:
        with _read_only(link):
            link.run(text(schema), args)
    return touched


@contextlib.contextmanager
def _read_only(link: Link) -> Iterator[None]:
    """A place that this user may look into, and not change, is looked into."""
    try:
        yield
    except DbError as exc:
        if code_of(exc) not in DENIED:
            raise


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
            first, *further = make_own_tables(link)
            link.run(sql.lease_first(lease_table(first)), (cluster,))
            for schema in further:
                with _read_only(link):
                    link.run(sql.lease_first(lease_table(schema)), (cluster,))
            link.begin()
            held = _all_held(link, cluster)
            if first not in held:
                raise _busy(server)  # somebody deletes rows that nobody may delete
            for one in held.values():
                if one.run_id and not _mine(one, run_id, owner):
                    raise refusal(server, one, run_id)
            token = max(one.token for one in held.values()) + 1
            free = not any(one.run_id for one in held.values())
            lease = Lease(cluster, run_id, owner, token, places(link), free)
            args = (lease.token, run_id, owner, life, cluster)
            in_all(link, lambda schema: sql.lease_take(lease_table(schema)), args)
            link.commit()
        except DbError as exc:
            link.drop()
            if code_of(exc) in LOCK_WAIT:
                raise _busy(server) from exc
            return _taken_after_all(server, cluster, run_id, owner, exc)
    return lease


def _all_held(link: Link, cluster: str) -> dict[str, Holder]:
    """The lease rows of all places, locked where they may be."""
    found: dict[str, Holder] = {}
    for schema in places(link):
        try:
            row = read(link, schema, cluster, lock=True)
        except DbError as exc:
            if code_of(exc) not in DENIED:
                raise
            row = read(link, schema, cluster)
        if row is not None:
            found[schema] = row
    return found


def holder(link: Link, cluster: str) -> Holder | None:
    """Who holds the lease, in whichever place; one that is alive counts before one that is not."""
    rows = (read(link, schema, cluster) for schema in places(link))
    held = [row for row in rows if row is not None and row.run_id]
    return next((row for row in held if row.live), held[0] if held else None)


def fenced(link: Link, lease: Lease) -> None:
    """Lock the lease rows, and raise LockLost DB-031 unless they are ours."""
    held = _all_held(link, lease.cluster)
    ours = [(one.token, one.run_id) == (lease.token, lease.run_id) for one in held.values()]
    if (
        not ours
        or not ours[0]
        or any(one.run_id not in ("", lease.run_id) for one in held.values())
    ):
        raise lost_lease(link.server, lease, next(iter(held.values()), None))


def _mine(held: Holder, run_id: str, owner: str) -> bool:
    return held.run_id == run_id and (held.owner == owner or not held.live)


def _taken_after_all(
    server: Server, cluster: str, run_id: str, owner: str, exc: Exception
) -> Lease:
    """The reply to COMMIT was lost: the row says whether it was done."""
    with Link(server) as link, contextlib.suppress(DbError):  # a table of somebody else's, say
        held = None
        held = next(iter(_all_held(link, cluster).values()), None)
    if held is not None and (held.run_id, held.owner) == (run_id, owner) and held.live:
        return Lease(cluster, run_id, owner, held.token)
    raise server.error(exc, "taking the lease") from exc


def renew(
    server: Server, lease: Lease, life: int = LIFE, known: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Push the end of the lease out; raises LockLost DB-031 when it is no longer ours.

    Returns the places, for the next renewal to know them: one where rm_db is the only one needs
    no other question, for a lease that is touched by our token was ours in that moment.

    Otherwise who has it says the row, and not how many rows the server claims to have touched:
    OceanBase was seen to touch none of a lease that was ours, behind a COMMIT.  That is no renewal:
    DB-005.
    """
    with Link(server) as link:
        try:
            args = (life, lease.cluster, lease.token, lease.run_id)
            if known == (server.metadb.rm_db,):
                link.places = known
                with contextlib.suppress(DbError):  # then it is looked for
                    if in_all(link, _renewal, args):
                        return known
                link.places = ()
            _move(link, lease, life)
            touched = in_all(link, _renewal, args) if places(link) else 0
            now = holder(link, lease.cluster)
            ours = now is not None and (now.run_id, now.token) == (lease.run_id, lease.token)
            if not ours and (now is not None or not touched):
                raise lost_lease(server, lease, now)
            if not touched:
                raise server.away(
                    "DB-005",
                    "the MetaDB did not renew the lease, and has it as ours all the same",
                    where=server.where,
                    evidence="its UPDATE touched no row",
                    next=fab("lock.show"),
                )
            return places(link)
        except DbError as exc:
            raise server.error(exc, "renewing the lease") from exc


def _renewal(schema: str) -> str:
    return sql.lease_renew(lease_table(schema))


def _move(link: Link, lease: Lease, life: int) -> None:
    """A first deployment has made rm_db meanwhile: from now on the lease is there, too, where users
    look who do not see our own schema."""
    rm_db = link.server.metadb.rm_db
    if rm_db in places(link):
        return
    with contextlib.suppress(OmsfabError, DbError):
        if rm_db in make_own_tables(link):
            table = lease_table(rm_db)
            link.run(sql.lease_first(table), (lease.cluster,))
            args = (lease.token, lease.run_id, lease.owner, life, lease.cluster)
            link.run(sql.lease_move(table), args)


def release(server: Server, lease: Lease) -> None:
    """Give the lease back.  A lease that is no longer ours is left alone, silently."""
    with Link(server) as link:
        try:
            if places(link):
                in_all(link, _freeing, (lease.cluster, lease.token, lease.run_id))
        except DbError as exc:
            raise server.error(exc, "giving the lease back") from exc


def _freeing(schema: str) -> str:
    return sql.lease_free(lease_table(schema))


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
    link.begin()
    _all_held(link, cluster)
    held = _breakable(link, cluster, run_id)
    if (held.token, held.renewed) != (before.token, before.renewed):
        raise _unbroken(link.server, f"run {run_id} has renewed its lease meanwhile: it lives")
    in_all(link, _freeing, (cluster, held.token, run_id))
    link.commit()
    return held


def _breakable(link: Link, cluster: str, run_id: str) -> Holder:
    held = holder(link, cluster)
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
    broken = fab("lock.break", run=held.run_id)
    if held.run_id == run_id:
        fix, line = f"wait until {held.expires}", fab("run.resume", run=run_id)
    elif held.live:
        gone = f"if that run is gone for good: {broken.line}"
        fix, line = "wait for its end", fab("lock.show", note=gone)
    else:
        fix, line = "make sure that run is dead: its process, and its jump host", broken
    return Locked(
        "DB-030",
        f"this OMS is locked by {held.owner} (run {held.run_id}) since {held.since}",
        where=server.where,
        evidence=f"lease {state}, last renewed {held.renewed}",
        fix=fix,
        next=line,
    )


class Busy(Locked):
    """The lease row is locked by a transaction that is under way, or that nobody has ended yet."""


def _busy(server: Server) -> Busy:
    return Busy(
        "DB-030",
        "this OMS is locked: another run is changing rows at this moment",
        where=server.where,
        evidence=f"its lease row was in use for more than {server.limits.lock} s",
        next=fab("lock.show"),
    )


def lost_lease(
    server: Server, lease: Lease, held: Holder | None, *, asked: bool = True
) -> LockLost:
    """The error of a run whose lock is gone.  It names no rollback: what is there now may be the
    work of others, and ``run.resume`` asks them first.  ``asked`` is False where the MetaDB has not
    answered, so that nobody knows whose the lock is now."""
    at = f"{datetime.now(timezone.utc):%H:%M:%SZ}"
    if held is not None and held.run_id:
        now = f"held by {held.owner} (run {held.run_id}) since {held.since}, token {held.token}"
    else:
        now = "free" if held is not None else "no lease row" if asked else "not known"
    return LockLost(
        "DB-031",
        f"run {lease.run_id} has lost its lock (seen at {at}): it was broken, taken over or not "
        "renewed in time; somebody else may have acted",
        where=server.where,
        evidence=f"our token {lease.token}; now: {now}\n"
        "nothing more was done, judged or copied since",
        next=after_loss(fab("run.resume", run=lease.run_id)),
    )


def _unbroken(server: Server, why: str, right: str = "") -> Locked:
    return Locked(
        "DB-033",
        f"the lock was not broken: {why}",
        where=server.where,
        next=fab("lock.break", run=right) if right else fab("lock.show"),
    )


def _awake() -> float:
    """Seconds of a clock that goes on while a jump host is suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseKeeper:
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
        self._places = lease.places
        self._renewed = _awake()
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="omsfab-lease", daemon=True)

    def check(self) -> None:
        if self._lost is None and self._overdue():
            with self._asking:  # many lanes may wake at once: one of them asks
                if self._overdue():
                    self._renew()
        if self._lost is None and _awake() - self._renewed > self._life:
            self._lost = lost_lease(self._server, self.lease, None, asked=False)
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        """Renew no more.  Before the lease is given back: a first deployment moves it into rm_db,
        and a move that is under way would take it there once more."""
        self._stop.set()
        self._thread.join(timeout=self._server.limits.connect + self._server.limits.lock)

    def _overdue(self) -> bool:
        return _awake() - self._renewed > 1.5 * self._every

    def _run(self) -> None:
        while not self._stop.wait(self._every) and self._lost is None:
            self._renew()

    def _renew(self) -> None:
        try:
            self._places = renew(self._server, self.lease, self._life, self._places)
            self._renewed = _awake()
        except LockLost as exc:
            self._lost = exc
        except (OmsfabError, pymysql.Error, OSError):
            pass  # a MetaDB that is away for a while; check() counts the seconds

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
