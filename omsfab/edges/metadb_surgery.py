"""Taking a region's rows out of the MetaDB, and putting them back: one transaction each.

Order of a transaction: the lease row FOR UPDATE (the fence), the region's rows FOR UPDATE, the
backup written, read back, compared and copied to a second machine, then the change, whose row
counts must be those of the backup, then a marker, then COMMIT.  What happened is read from the
marker by a new connection that holds the lease row, never from the error of the client: that
lock cannot be had before the old transaction has ended, one way or the other.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from omsfab.edges import metadb_backup as files
from omsfab.edges import metadb_lease as leases
from omsfab.edges import metadb_sql as sql
from omsfab.edges.metadb_backup import Backup, BadBackup, Cells, TableRows
from omsfab.edges.metadb_lease import Lease
from omsfab.edges.metadb_link import LOCK_WAIT, DbError, Link, Row, Server, code_of, lost
from omsfab.edges.metadb_scope import (
    Scope,
    TableScope,
    equals,
    find,
    look,
    read_rows,
    read_table,
    schema_of,
    scope_of,
)
from omsfab.errors import Mismatch, OmsfabError, OutcomeUnknown

Mirror = Callable[[Path], None]
"""Copies a file to a second machine, and returns only when it is proven to be there."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a surgery did; ``already`` = an earlier attempt of the same run had done it."""

    rows: Mapping[str, int]
    files: tuple[Path, ...]
    already: bool = False


class _LateRows(Exception):
    """The DELETE found other rows than the backup holds."""


@dataclass
class _Work:
    """One attempt, as far as it has come; what a verdict needs to know."""

    run_id: str
    step: str
    lease: Lease
    scope: Scope | None = None
    backup: Backup | None = None
    paths: tuple[Path, ...] = ()
    changing: bool = False
    """True from the moment in which the first change may have been sent."""


def clear(
    server: Server,
    *,
    location: int,
    tables: Sequence[str],
    lease: Lease,
    directory: Path,
    step: str,
    undoes: str,
    mirror: Mirror,
    allow_empty: bool = False,
) -> Cleared:
    """Back up and delete the rows of a region; doing it again for the same run changes nothing.

    ``undoes`` is the step whose marker goes, so that the same run could restore again.

    Raises DB-010 or DB-011 when nothing was deleted, DB-015 when a row is locked, DB-016 when
    somebody keeps writing, DB-021 and DB-024 when the backup is not good, DB-013 when the rows
    are neither as before nor as after, DB-012 when nobody can tell yet.
    """
    late: Exception | None = None
    for _ in range(2):
        work = _Work(lease.run_id, step, lease)

        def change(link: Link, work: _Work = work) -> None:
            work.scope = scope_of(link, location, tables)
            work.backup = _read(link, work.scope, work, lock=True)
            _expect_one_region_row(server, work.backup, allow_empty)
            _refuse_oversize(link, work.backup)
            work.paths = files.save(work.backup, directory, stem(location))
            for path in work.paths:
                _copy(path, mirror)
            work.changing = True
            _delete(link, work.scope, work.backup)
            _mark(link, work, undoes, {"file": work.paths[0].name, "sha256": work.backup.sha256})

        try:
            done = _transact(server, work, change)
        except _LateRows as exc:
            late = exc
            continue
        if done == "already":
            return _already(server, work, location, directory)
        return Cleared(work.backup.counts if work.backup else {}, work.paths)
    raise Mismatch(
        "DB-016",
        f"{late}; processes not stopped?",
        where=server.where,
        changed="nothing: both attempts were rolled back",
        next="stop what writes, fab fleet.status shows it, then: "
        f"fab run.resume --run={lease.run_id}",
    )


def restore(
    server: Server, *, location: int, lease: Lease, source: Path, directory: Path, step: str,
    undoes: str, absent: Sequence[str] = (),
) -> Cleared:  # fmt: skip
    """Replace what the region has there now by the rows of a backup, and prove them by hash.

    What is there now is saved beside it first.  ``undoes`` is the step whose marker goes, so that
    the same run could delete again.  ``absent`` are tables that, if the backup lacks them, were not
    there then: all that the region has in them goes.
    """
    wanted = load(source, server)
    work = _Work(lease.run_id, step, lease)

    def change(link: Link) -> None:
        work.scope = _restore_scope(link, wanted, location, absent)
        work.backup = _read(link, work.scope, work, lock=True)
        work.paths = files.save(work.backup, directory, f"{stem(location)}-before-restore")
        work.changing = True
        _delete(link, work.scope, work.backup)
        for table in reversed(wanted.tables):
            for insert in table.inserts():
                link.run(insert)
        for now in _restore_scope(link, wanted, location, absent).tables:
            _expect_restored(link, now, wanted)
        _mark(link, work, undoes, {"file": source.name, "sha256": wanted.sha256})

    try:
        done = _transact(server, work, change)
    except _LateRows as exc:
        raise _still_written(server, exc) from exc
    return Cleared(wanted.counts, (source,), already=done == "already")


def drop_hosts(
    server: Server, *, location: int, ips: Sequence[str], lease: Lease, saved: Path,
    directory: Path, step: str, undoes: str,
) -> Cleared:  # fmt: skip
    """Take the rows of these hosts out of the region, saved first; one that the backup ``saved``
    has was there before, and stays.  Vendor's scale-in: ``delete from host where ip='<ip>'``."""
    before = load(saved, server)
    work = _Work(lease.run_id, step, lease)

    def change(link: Link) -> None:
        scope = scope_of(link, location, ["host"], narrow=True)
        (host,) = scope.tables
        column = host.found.need("ip")
        gone = [equals(column, ip) for ip in ips if ip not in _addresses(before)]
        where = f"({host.where}) and ({' or '.join(gone) or '1 = 0'})"
        work.scope = Scope(
            location, scope.regions, (TableScope(host.found, where, False, 0, host.prose),)
        )
        work.backup = _read(link, work.scope, work, lock=True)
        work.paths = files.save(work.backup, directory, f"{stem(location)}-before-restore")
        work.changing = True
        _delete(link, work.scope, work.backup)
        detail = {"file": work.paths[0].name, "sha256": work.backup.sha256}
        _mark(link, work, undoes, detail)

    try:
        done = _transact(server, work, change)
    except _LateRows as exc:
        raise _still_written(server, exc) from exc
    return Cleared(work.backup.counts if work.backup else {}, work.paths, already=done == "already")


def _addresses(backup: Backup) -> set[str]:
    host = backup.of("host")
    if host is None:
        return set()
    ip = [column.name.lower() for column in host.columns].index("ip")
    return {(row[ip] or b"").decode() for row in (*host.rows, *host.others)}


def _still_written(server: Server, exc: _LateRows) -> Mismatch:
    return Mismatch(
        "DB-016",
        f"{exc}; processes not stopped?",
        where=server.where,
        next="fab fleet.status   # stop what writes, and do it again",
    )


def save(
    server: Server,
    *,
    location: int,
    tables: Sequence[str],
    directory: Path,
    run_id: str,
    fresh: bool = False,
) -> Cleared:
    """Back the region's rows up, from one snapshot, without a lock and without any change.

    ``fresh``: tables may be missing, since OMS is about to make them; they hold no row.
    """
    with Link(server) as link:
        try:
            link.run(sql.REPEATABLE_READ)
            link.begin()
            scope = (
                _scope_of_there(link, location, tables)
                if fresh
                else scope_of(link, location, tables)
            )
            backup = _read(link, scope, None, lock=False, run_id=run_id)
        except DbError as exc:
            raise server.error(exc, "reading the rows of the region") from exc
    return Cleared(backup.counts, files.save(backup, directory, stem(location)))


def _scope_of_there(
    link: Link, location: int, tables: Sequence[str], *, narrow: bool = False
) -> Scope:
    """The scope in those of the tables that exist, and can be looked up."""
    there = {table for table in tables if find(link, schema_of(link, table), table)}
    if "resource_group" not in there:
        there -= {"host", "location_cm"}
    if not there or find(link, schema_of(link, "cluster_info"), "cluster_info") is None:
        return Scope(location, (), ())
    return scope_of(link, location, sorted(there), narrow=narrow)


def stem(location: int) -> str:
    return f"region-{location}"


def load(source: Path, server: Server) -> Backup:
    """Read a backup, or raise DB-021."""
    try:
        return files.load(source)
    except (BadBackup, OSError) as exc:
        raise Mismatch(
            "DB-021",
            f"this backup cannot be trusted: {exc}",
            where=str(source),
            next="name the node that has the copy, the initial one, then: "
            "fab run.resume --from=NODE",
        ) from exc


# --- one transaction, and its verdict --------------------------------------------------------


def _transact(
    server: Server, work: _Work, change: Callable[[Link], None]
) -> Literal["done", "already"]:
    link = Link(server)
    try:
        link.begin()
        _fence(link, work)
        if _marker(link, work) is not None:
            link.rollback()
            return "already"
        change(link)
        link.commit()
    except DbError as exc:
        link.drop()
        _verdict(server, work, link.identity, exc)
    except (OmsfabError, _LateRows, OSError):
        link.rollback()
        raise
    finally:  # Ctrl-C too: hanging up rolls back what is not committed
        link.drop()
    return "done"


def _fence(link: Link, work: _Work) -> None:
    schema = leases.own_schema(link)
    held = leases.read(link, schema, work.lease.cluster, lock=True) if schema else None
    if held is None or (held.token, held.run_id) != (work.lease.token, work.lease.run_id):
        raise leases.lost_lease(link.server, work.lease, held)


def marked(link: Link, run_id: str, step: str) -> bool:
    """True if the run has committed this step."""
    schema = leases.own_schema(link)
    text = sql.marker_read(leases.marker_table(schema)) if schema else ""
    return bool(text and link.rows(text, (run_id, step)))


def _marker(link: Link, work: _Work) -> Mapping[str, str] | None:
    schema = leases.own_schema(link)
    if schema is None:
        return None
    text = sql.marker_read(leases.marker_table(schema))
    rows = link.rows(text, (work.run_id, work.step))
    return json.loads(rows[0][1]) if rows else None


def _mark(link: Link, work: _Work, undoes: str, detail: Mapping[str, str]) -> None:
    """Write the marker, and renew the lease: its keeper had to wait for our lock."""
    schema = leases.own_schema(link) or sql.OWN_SCHEMA
    lease = work.lease
    link.run(
        sql.lease_renew(leases.lease_table(schema)),
        (leases.LIFE, lease.cluster, lease.token, lease.run_id),
    )
    marker = leases.marker_table(schema)
    link.run(sql.marker_drop(marker), (work.run_id, undoes))
    values = (work.run_id, work.step, lease.token, json.dumps(dict(detail)))
    link.run(sql.marker_write(marker), values)


def _verdict(server: Server, work: _Work, former: Row | None, exc: Exception) -> None:
    """Return if the transaction was committed; raise what is true otherwise.

    Waits for the lease row, which the old transaction holds for as long as it lives.
    """
    if not work.changing:
        _let_go(server, former)
        _failed(server, work, exc)
    end = time.monotonic() + server.limits.patience
    while True:
        try:
            with Link(server) as link:
                _hang_up(link, former)
                link.begin()
                schema = leases.own_schema(link) or sql.OWN_SCHEMA
                held = leases.read(link, schema, work.lease.cluster, lock=True)
                if _marker(link, work) is not None:
                    return
                now = _now(link, work)
            break
        except (DbError, OmsfabError) as trouble:
            refused = isinstance(trouble, OmsfabError) and trouble.id == "DB-002"
            if time.monotonic() > end or refused:  # a wrong password is never tried again
                raise OutcomeUnknown(
                    "DB-012",
                    "the MetaDB does not say whether the change was committed",
                    where=server.where,
                    changed="unknown; the marker in the MetaDB knows",
                    evidence=server.clean(f"{exc}; afterwards: {trouble}"),
                    next=f"fab run.resume --run={work.run_id}",
                ) from exc
            time.sleep(0.5)
    if held is None or held.token != work.lease.token:
        raise leases.lost_lease(server, work.lease, held) from exc
    if work.backup is not None and now != work.backup.sha256:
        raise Mismatch(
            "DB-013",
            "rows match neither before nor after",
            where=server.where,
            changed="unknown: the transaction was not committed, yet the rows are not those saved",
            evidence=f"saved rows: {work.paths[0]}" if work.paths else "",
            next=f"compare with the backup: fab meta.show, then: fab run.undo --run={work.run_id}",
        ) from exc
    _failed(server, work, exc)


def _now(link: Link, work: _Work) -> str:
    """The digest of the rows in scope as they are now; nothing if none were read before."""
    if work.scope is None or work.backup is None:
        return ""
    return _read(link, work.scope, work, lock=False).sha256


def _failed(server: Server, work: _Work, exc: Exception) -> NoReturn:
    """The transaction is certainly not committed: say why."""
    resume = f"fab run.resume --run={work.run_id}"
    evidence = server.clean(f"error {code_of(exc)}: {exc.args[-1] if exc.args else exc}")
    if code_of(exc) in LOCK_WAIT:
        raise OmsfabError(
            "DB-015",
            f"row lock held by {_who_locks(server) or 'another connection'}",
            where=server.where,
            evidence=evidence,
            next=f"end that session, then: {resume}",
        ) from exc
    if not lost(exc):
        raise OmsfabError(
            "DB-011",
            "the MetaDB refused a statement; nothing was changed",
            where=server.where,
            evidence=evidence,
            next=resume,
        ) from exc
    raise OmsfabError(
        "DB-010",
        "MetaDB connection lost before commit; nothing deleted",
        where=server.where,
        evidence=evidence,
        next=resume,
    ) from exc


def _hang_up(link: Link, former: Row | None) -> None:
    """End the old connection on the server, if it is certainly that one and still there."""
    if former is None:
        return
    with contextlib.suppress(DbError):
        if link.rows(sql.SAME_CONNECTION, (former[2],)) == [former]:
            link.run(sql.KILL, (former[2],))


def _let_go(server: Server, former: Row | None) -> None:
    """Free the locks of a transaction that changed nothing; its own time limit does so, too."""
    with contextlib.suppress(OmsfabError), Link(server) as link:
        _hang_up(link, former)


def _who_locks(server: Server) -> str:
    """Connections with an open transaction, e.g. ``connection 17 (oms@10.0.0.1:4711)``."""
    try:
        with Link(server) as link:
            for text in sql.OPEN_TRANSACTIONS:
                with contextlib.suppress(DbError):
                    held = (f"connection {n} ({user}@{host})" for n, user, host in link.rows(text))
                    return " or ".join(held)
    except OmsfabError:
        pass
    return ""


# --- parts of a change -----------------------------------------------------------------------


def _read(link: Link, scope: Scope, work: _Work | None, *, lock: bool, run_id: str = "") -> Backup:
    version, _, clock = link.rows(sql.FACTS)[0]
    return Backup(
        run_id=work.run_id if work else run_id,
        step=work.step if work else "save",
        location=scope.location,
        made=str(clock),
        server=str(version),
        tables=tuple(read_table(link, table, lock=lock) for table in scope.tables),
    )


def _copy(path: Path, mirror: Mirror) -> None:
    try:
        mirror(path)
    except OSError as exc:
        raise OmsfabError(
            "DB-029",
            f"cannot copy the row backup to a second machine: {exc.strerror or exc}",
            where=str(path),
            evidence="no row was deleted: without a second copy none ever is",
            next="fab fleet.check",
        ) from exc


def _delete(link: Link, scope: Scope, backup: Backup) -> None:
    """Delete by scope; READ COMMITTED lets late rows in, hence the comparison."""
    for table in scope.tables:
        deleted = link.run(sql.delete_rows(table.found.place, table.where))
        saved = backup.counts[table.table]
        if deleted != saved:
            raise _LateRows(
                f"table {table.table} is still being written: {saved} rows saved, {deleted} found"
            )


def _expect_one_region_row(server: Server, backup: Backup, allow_empty: bool) -> None:
    info = backup.of("cluster_info")
    if info is None or len(info.rows) == 1 or (allow_empty and not info.rows):
        return
    raise region_row_error(server, backup.location, len(info.rows), Mismatch)


def region_row_error(
    server: Server, location: int, rows: int, kind: type[OmsfabError]
) -> OmsfabError:
    return kind(
        "DB-025",
        f"cluster_info has {rows} rows for cm_location {location}, expected 1",
        where=server.where,
        evidence="an OMS writes one row per region"
        + ("; --allow-empty accepts none" if rows == 0 else ""),
        next="fab meta.show",
    )


def _refuse_oversize(link: Link, backup: Backup) -> None:
    """A row that no INSERT could bring back is not deleted."""
    limit = int(link.rows(sql.MAX_PACKET)[0][0])
    for table in backup.tables:
        longest = max((len(text) for text in table.inserts()), default=0)
        if longest + 1024 > limit:
            raise OmsfabError(
                "DB-028",
                f"a row of {table.table} takes {longest} bytes as INSERT; the server takes {limit}",
                where=link.server.where,
                next=f"ask the DBA: set global max_allowed_packet = {longest * 2}, "
                "then: fab meta.show",
            )


def _restore_scope(link: Link, wanted: Backup, location: int, absent: Sequence[str]) -> Scope:
    """What the region has there now, and what it had: both go before the saved rows come."""
    whole = all(table.whole for table in wanted.tables)
    names = [table.table for table in wanted.tables]
    scope = (
        _scope_of_there(link, location, [*names, *absent], narrow=not whole)
        if absent
        else scope_of(link, location, names, narrow=not whole)
    )
    tables: list[TableScope] = []
    for now in scope.tables:
        then = wanted.of(now.table)
        if then is None:
            tables.append(now)
            continue
        lacking = {c.name for c in then.columns} - {c.name for c in now.found.written}
        if lacking:
            raise OmsfabError(
                "DB-018",
                f"{now.table} has changed since the backup: it lacks {', '.join(sorted(lacking))}",
                where=link.server.where,
                next="restore into the version of OMS that the backup came from, "
                "then: fab meta.show",
            )
        both = now.where if now.whole or then.whole else f"({now.where}) or ({then.where})"
        tables.append(TableScope(now.found, both, now.whole, now.rows, now.prose))
    return Scope(location, scope.regions, tuple(tables))


def _expect_restored(link: Link, now: TableScope, wanted: Backup) -> None:
    """The rows in place are those saved, byte by byte."""
    table = wanted.of(now.table)
    saved = table.rows if table else ()
    columns = table.columns if table else now.found.written
    again = read_rows(link, now.found, now.where, columns=columns)
    if files.digest(again) != files.digest(saved):
        raise OmsfabError(
            "DB-017",
            f"restored rows of {now.table} differ from the backup; rolled back",
            where=link.server.where,
            evidence=f"{len(saved)} rows saved, {len(again)} rows read back",
            next="load the .sql beside the backup with the mysql client, then: fab meta.show",
        )


def _already(server: Server, work: _Work, location: int, directory: Path) -> Cleared:
    """An earlier attempt has committed: the backup it made must be here, and whole."""
    with Link(server) as link:
        detail = _marker(link, work) or {}
    path = directory / detail.get("file", "?")
    if not path.is_file():
        raise Mismatch(
            "DB-014",
            f"the rows of cm_location {location} are deleted, and their backup is not here",
            where=str(path),
            evidence="the initial node has a copy in the mirror of the run",
            next=f"fab run.resume --run={work.run_id} --from=NODE",
        )
    backup = load(path, server)
    if backup.sha256 != detail.get("sha256"):
        raise Mismatch(
            "DB-021",
            "this backup is not the one whose rows were deleted",
            where=str(path),
            next=f"fab run.resume --run={work.run_id} --from=NODE   # the initial node has a copy",
        )
    return Cleared(backup.counts, (path, path.with_suffix(".sql")), already=True)


# --- afterwards: nobody else's rows changed --------------------------------------------------

LIVELY = {"datetime", "timestamp"}


def others_unchanged(server: Server, source: Path) -> tuple[str, ...]:
    """Compare the rows of all other regions with those in the backup; raises Mismatch DB-040.

    Byte by byte, with one grain of life: in ``host``, whose rows the supervisors of running
    regions write, a time or ``host_status`` may have moved on.  Such tables are named in the
    answer.
    """
    backup = load(source, server)
    notes: list[str] = []
    wrong: list[str] = []
    names = [table.table for table in backup.tables if not table.whole]
    with Link(server) as link:
        try:
            scope = scope_of(link, backup.location, names, narrow=True)
            for table in backup.tables:
                now = scope.of(table.table)
                if now is not None:
                    _compare_others(link, table, now, notes, wrong)
        except DbError as exc:
            raise server.error(exc, "reading the rows of other regions") from exc
    if wrong:
        raise Mismatch(
            "DB-040",
            "rows of other regions are not what they were before this run",
            where=server.where,
            evidence="\n".join([*wrong, f"as they were: {source}"]),
            next="fab meta.show",
        )
    return tuple(notes)


def _compare_others(
    link: Link, table: TableRows, scope: TableScope, notes: list[str], wrong: list[str]
) -> None:
    """The region's rows may have new ids by now: neither these nor the old ones are others'."""
    where = sql.others(f"({table.where}) or ({scope.where})")
    now = read_rows(link, scope.found, where, columns=table.columns)
    if files.canonical(now) == files.canonical(table.others):
        return
    differing = _differing(table, table.others, now)
    if table.table == "host" and not differing:
        notes.append(f"{table.table}: other regions' hosts have reported meanwhile")
        return
    wrong += differing or [f"{table.table}: times have moved"]


def as_saved(server: Server, source: Path) -> str | None:
    """None when the rows of all regions are those of the backup; otherwise what differs.

    Times and ``host_status`` may have moved on: OMS is in service and writes them.
    """
    backup = load(source, server)
    wrong: list[str] = []
    with Link(server) as link:
        try:
            found = look(link, [table.table for table in backup.tables])
            for table in backup.tables:
                now = read_rows(link, found[table.table], "1 = 1", columns=table.columns)
                wrong += _differing(table, (*table.rows, *table.others), now)
        except DbError as exc:
            raise server.error(exc, "comparing rows with those saved") from exc
    return "\n".join([*wrong, f"as they were: {source}"]) if wrong else None


def _differing(table: TableRows, rows: Sequence[Cells], now: Sequence[Cells]) -> list[str]:
    """A line per row that came or went; times and ``host_status`` do not count."""
    steady = [
        n for n, column in enumerate(table.columns)
        if column.type not in LIVELY and column.name.lower() != "host_status"
    ]  # fmt: skip
    before, after = (
        files.canonical(tuple(row[n] for n in steady) for row in some) for some in (rows, now)
    )
    if before == after:
        return []
    gone, new = set(before) - set(after), set(after) - set(before)
    return [
        f"{table.table}: {len(rows)} rows before, {len(now)} now",
        *(f"  - {row[:200]}" for row in sorted(gone)[:5]),
        *(f"  + {row[:200]}" for row in sorted(new)[:5]),
    ]
