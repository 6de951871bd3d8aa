"""Taking a region's rows out of the MetaDB, and putting them back: one transaction each.

Order of a transaction: the lease row FOR UPDATE (the fence), the region's rows FOR UPDATE, the
backup written, read back, compared and copied to a second machine, then the change, whose row
counts must be those of the backup, then a marker, then COMMIT.  What happened is read from the
marker by a new connection that holds the lease row, never from the error of the client: that
lock cannot be had before the old transaction has ended, one way or the other.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from omsfab import retry
from omsfab.errors import MetaDbAway, Mismatch, OmsfabError, OutcomeUnknown
from omsfab.fleet.values import CmUrl
from omsfab.metadb import backup as files
from omsfab.metadb import identity, sql
from omsfab.metadb import lease as leases
from omsfab.metadb.backup import Backup, BadBackup, Cells, Column, TableRows
from omsfab.metadb.connection import LOCK_WAIT, DbError, Link, Row, Server, code_of, lost
from omsfab.metadb.lease import Lease
from omsfab.metadb.scope import (
    Scope,
    TableScope,
    equals,
    find,
    find_all,
    look,
    read_rows,
    read_table,
    read_whole,
    rows_as,
    schema_of,
    scope_of,
)
from omsfab.next_line import fab, shell
from omsfab.plan.records import ClearRows

Mirror = Callable[[Path], None]
"""Copies a file to a second machine, and returns only when it is proven to be there."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a surgery did; ``already`` = an earlier attempt of the same run had done it."""

    rows: Mapping[str, int]
    files: tuple[Path, ...]
    already: bool = False
    notes: tuple[str, ...] = ()


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
    record: ClearRows,
    lease: Lease,
    directory: Path,
    step: str,
    undoes: Sequence[str],
    mirror: Mirror,
    allow_empty: bool = False,
) -> Cleared:
    """Back up and delete (or change) the rows of a region; once more by the same run is no change.

    ``undoes`` are the steps whose markers go, so that the same run could restore again.

    Raises DB-010 or DB-011 when nothing was deleted, DB-015 when a row is locked, DB-016 when
    somebody keeps writing, DB-021 and DB-024 when the backup is not good, DB-041 when the rows are
    not those that were shown, DB-013 when they are neither as before nor as after, DB-012 when
    nobody can tell yet.
    """
    late: Exception | None = None
    notes, moved = _writers(server, record), list[str]()
    for _ in range(2):
        work = _Work(lease.run_id, step, lease)

        def change(link: Link, work: _Work = work) -> None:
            rows = _shown_rows(server, link, work, record, moved, allow_empty=allow_empty)
            _saved(work, rows, directory, stem(record.location), mirror)
            _change_and_mark(link, work, record, undoes)

        try:
            done = _transact(server, work, change)
        except _LateRows as exc:
            late = exc
            continue
        if done == "already":
            return _already(server, work, record.location, directory)
        assert work.backup  # noqa: S101 - read by change
        return Cleared(work.backup.counts, work.paths, notes=(*notes, *moved))
    raise _written_twice(server, late)


def _written_twice(server: Server, late: Exception | None) -> Mismatch:
    return Mismatch(
        "DB-016",
        f"{late}; processes not stopped?",
        where=server.where,
        changed="nothing: both attempts were rolled back",
        evidence=_who_is_there(server),
        fix="stop what writes (fab fleet.status)",
    )


def _shown_rows(
    server: Server,
    link: Link,
    work: _Work,
    record: ClearRows,
    moved: list[str],
    *,
    allow_empty: bool,
) -> Backup:
    """Lock and read the rows, which have to be those that were shown; ``moved`` gets what else has
    changed in them."""
    work.scope = scope_of(link, record.location, record.tables, by_value=record.rows == "update")
    rows = work.backup = _read(link, work.scope, work, lock=True)
    _expect_one_region_row(server, rows, allow_empty)
    moved[:] = _expect_shown(server, rows, record.shown)
    _refuse_oversize(link, rows)
    return rows


def _saved(work: _Work, rows: Backup, directory: Path, name: str, mirror: Mirror) -> None:
    """Save them here and on the second machine: nothing is changed before."""
    work.paths = files.save(rows, directory, name)
    for path in work.paths:
        _copy(path, mirror)


def _change_and_mark(link: Link, work: _Work, record: ClearRows, undoes: Sequence[str]) -> None:
    assert work.scope and work.backup  # noqa: S101 - read and saved before
    work.changing = True
    _change(link, work.scope, work.backup, record)
    after = _remains(link, work.backup)
    detail = {"file": work.paths[0].name, "sha256": work.backup.sha256, "after": after}
    _mark(link, work, undoes, detail)


def _writers(server: Server, record: ClearRows) -> tuple[str, ...]:
    """Two looks, a moment apart: raise DB-016 where somebody writes rows of the region, and tell
    who else is connected.  That times or states move is told, too."""
    reads: list[Backup] = []
    with Link(server) as link:
        try:
            for pause in (0.0, server.limits.quiet):
                time.sleep(pause)
                by_value = record.rows == "update"
                scope = scope_of(link, record.location, record.tables, by_value=by_value)
                reads.append(_seen(scope))
        except DbError as exc:
            raise server.error(exc, "looking for others that write rows") from exc
    before, now = reads
    there = _who_is_there(server)
    if moved := identity.changed(identity.shown(before.tables), identity.shown(now.tables)):
        raise Mismatch(
            "DB-016",
            "rows of the region are still being written; processes not stopped?",
            where=server.where,
            evidence="\n".join([*moved, there]).strip(),
            next=fab("run.resume", first="stop what writes (fab fleet.status)"),
        )
    notes = [f"connected meanwhile: {there}"] if there else []
    if before.sha256 != now.sha256:
        notes.append("somebody still writes times or states into the rows of the region")
    return tuple(notes)


def _expect_shown(server: Server, backup: Backup, then: identity.Shown) -> list[str]:
    """The rows that were shown are the rows that are deleted; return what else moved in them."""
    now = identity.shown(backup.tables)
    if then and (lines := identity.changed(then, now)):
        raise not_as_shown(server, lines, Mismatch)
    return identity.retold(then, now)


def not_as_shown(server: Server, lines: Sequence[str], kind: type[OmsfabError]) -> OmsfabError:
    return kind(
        "DB-041",
        f"the rows are not those that the plan was made with: {lines[0]}",
        where=server.where,
        evidence="\n".join(lines),
        next=fab("run.undo", note="nothing was deleted; then plan again: fab scale.out --plan"),
    )


def _change(link: Link, scope: Scope, backup: Backup, record: ClearRows) -> None:
    """Delete the rows in scope; with ``update`` those of cluster_info alone, and in the other
    tables put the new cm_url where a text carries the old one.  Ids stay."""
    if record.rows == "delete":
        return _delete(link, scope, backup)
    assert record.old and record.new  # noqa: S101 - steps.cleared() gives both
    info = tuple(table for table in scope.tables if table.table == "cluster_info")
    for table in scope.tables:
        saved = backup.of(table.table)
        if table in info or saved is None:
            continue
        for column, old, new, count in carried(saved, record.old, record.new):
            text = sql.update_value(
                table.found.place, column.name, column.literal(new), table.where,
                f"{column.expression} = {sql.hexadecimal(old)}",
            )  # fmt: skip
            done = link.run(text)
            if done != count:
                raise _LateRows(
                    f"table {table.table} is still being written: {count} rows saved that carry"
                    f" {record.old}, {done} found"
                )
    _delete(link, Scope(scope.location, scope.regions, info), backup)


def carried(table: TableRows, old: CmUrl, new: CmUrl) -> Iterator[tuple[Column, bytes, bytes, int]]:
    """Yield each value that carries the old cm_url: its column, what it becomes, in how many
    rows."""
    for n, column in enumerate(table.columns):
        values = [row[n] for row in table.rows] if column.text else []
        for value in sorted({value for value in values if value is not None}):
            if (changed := old.replaced_in(value, new)) != value:
                yield column, value, changed, values.count(value)


# --- do they stay so? ------------------------------------------------------------------------


def keep(
    server: Server,
    *,
    record: ClearRows,
    lease: Lease,
    directory: Path,
    step: str,
    mirror: Mirror,
) -> Cleared:
    """Prove that the rows are as this run has left them, before docker_init.sh builds upon them.

    Rows that came back are told with who may have written them, DB-044.  Asked again, by
    run.resume, they are saved and taken out once more, and looked at once more.
    """
    location = record.location
    dirty, again = f"dirty@{location}", f"again@{location}"
    with Link(server) as link:
        try:
            marks = read_markers(link, lease.run_id, [step, dirty])
            cleared, redo = marks.get(step), dirty in marks
        except DbError as exc:
            raise server.error(exc, "reading the marker") from exc
    if cleared is None:
        what = f"this run has not changed the rows of cm_location {location}, or they were put back"
        raise Mismatch("DB-044", what, where=server.where, next=fab("run.undo"))
    backup = load(directory / str(cleared["file"]), server)
    expected = _pairs(cleared.get("after", ()))
    paths: tuple[Path, ...] = ()
    if redo:
        paths, expected = _once_more(
            server, record, lease, directory, backup, (again, dirty), mirror
        )
    came = _watch(server, backup, expected)
    if not came:
        return Cleared(backup.counts, paths)
    mark = _Work(lease.run_id, dirty, lease)
    _transact(server, mark, lambda link: _mark(link, mark, [again], {"came": came[:20]}))
    raise _not_as_left(server, came, lease.run_id)


def _not_as_left(server: Server, came: Sequence[str], run: str) -> Mismatch:
    return Mismatch(
        "DB-044",
        f"rows are not as this run has left them: {came[0]}",
        where=server.where,
        evidence="\n".join([*came, _who_is_there(server)]).strip(),
        next=fab(
            "run.resume",
            run=run,
            first="stop what writes them",
            note="what came is saved and taken out once more; docker_init.sh has not run",
        ),
    )


def _once_more(
    server: Server, record: ClearRows, lease: Lease, directory: Path, backup: Backup,
    steps: tuple[str, str], mirror: Mirror,
) -> tuple[tuple[Path, ...], identity.Shown]:  # fmt: skip
    """Save what came back, and change it as the first time; return what is expected then."""
    again, dirty = steps
    work = _Work(lease.run_id, again, lease)
    after: list[identity.Shown] = []

    def change(link: Link) -> None:
        work.scope = _remaining_scope(link, backup)
        rows = work.backup = _read(link, work.scope, work, lock=True)
        _saved(work, rows, directory, f"{stem(record.location)}-came-back", mirror)
        work.changing = True
        _change(link, work.scope, rows, record)
        after.append(_remains(link, backup))
        _mark(link, work, [dirty], {"file": work.paths[0].name, "after": after[-1]})

    try:
        _transact(server, work, change)
    except _LateRows as exc:
        raise _still_written(server, exc) from exc
    return work.paths, after[-1]


def _watch(server: Server, backup: Backup, expected: identity.Shown) -> list[str]:
    """What is otherwise than expected, in two looks a moment apart."""
    with Link(server) as link:
        try:
            for pause in (0.0, server.limits.quiet):
                time.sleep(pause)
                if came := identity.changed(expected, _remains(link, backup)):
                    return came
        except DbError as exc:
            raise server.error(exc, "looking whether rows have come back") from exc
    return []


def _remains(link: Link, backup: Backup) -> identity.Shown:
    """The fingerprint of what the region has now, and of whatever has a saved row's key."""
    return identity.shown(_seen(_remaining_scope(link, backup)).tables)


def _remaining_scope(link: Link, backup: Backup) -> Scope:
    """The rows that were saved, those of the region as it is now, and those with a saved row's
    natural key: a host of a group that is gone is among them."""
    known = {table.table: table.where for table in backup.tables}
    also = {table.table: [table.where, *_with_its_keys(table)] for table in backup.tables}
    return scope_of(link, backup.location, [*known], known=known, also=also)


def _with_its_keys(table: TableRows) -> Iterator[str]:
    """Yield the conditions for rows that have the natural key of one that was saved."""
    for n in identity.key_of(table):
        values = {row[n] for row in table.rows} - {None}
        yield from (equals(table.columns[n], v.decode()) for v in sorted(filter(None, values)))


def _pairs(found: object) -> identity.Shown:
    """A fingerprint, as it comes back out of a marker."""
    rows = found if isinstance(found, (list, tuple)) else ()
    return tuple((str(a), str(b), str(c)) for a, b, c in rows)


def _who_is_there(server: Server) -> str:
    """Other connections to the databases of OMS, as far as this user may see them."""
    metadb = server.metadb
    with contextlib.suppress(OmsfabError, DbError), Link(server) as link:
        rows = link.rows(sql.CONNECTIONS, (metadb.rm_db.lower(), metadb.cm_db.lower()))
        return ", ".join(
            f"connection {n} of {user}@{host} to {db} ({command}, {age} s)"
            for n, user, host, db, command, age in rows
        )
    return ""


def restore(
    server: Server, *, location: int, lease: Lease, source: Path, directory: Path, step: str,
    undoes: Sequence[str], absent: Sequence[str] = (),
) -> Cleared:  # fmt: skip
    """Replace what the region has there now by the rows of a backup, and prove them by hash.

    What is there now is saved beside it first.  ``undoes`` are the steps whose markers go, so that
    the same run could delete again.  Rows come back with the ids they had, so foreign keys that
    hang on them are not asked meanwhile.  ``absent`` are tables that, if the backup lacks them,
    were not there then: all that the region has in them goes.
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
        done = _transact(server, work, change, unchecked=True)
    except _LateRows as exc:
        raise _still_written(server, exc) from exc
    return Cleared(wanted.counts, (source,), already=done == "already")


def drop_hosts(
    server: Server, *, location: int, ips: Sequence[str], lease: Lease, saved: Path,
    directory: Path, step: str, undoes: Sequence[str],
) -> Cleared:  # fmt: skip
    """Take the rows of these hosts out of the region, saved first; one that the backup ``saved``
    has was there before, and stays.  Vendor's scale-in: ``delete from host where ip='<ip>'``."""
    before = load(saved, server)
    work = _Work(lease.run_id, step, lease)

    def change(link: Link) -> None:
        scope = scope_of(link, location, ["host"])
        (host,) = scope.tables
        column = host.found.need("ip")
        gone = [equals(column, ip) for ip in ips if ip not in _addresses(before)]
        where = f"({host.where}) and ({' or '.join(gone) or '1 = 0'})"
        work.scope = Scope(
            location, scope.regions, (TableScope(host.found, where, False, host.prose),)
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
        evidence=_who_is_there(server),
        next=fab("fleet.status", note="stop what writes, and do it again"),
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
            link.alter(sql.REPEATABLE_READ)
            link.begin()
            scope = (
                _scope_of_there(link, location, tables)
                if fresh
                else scope_of(link, location, tables)
            )
            backup = _seen(scope, _stamped(link, run_id, "save"))
        except DbError as exc:
            raise server.error(exc, "reading the rows of the region") from exc
    return Cleared(backup.counts, files.save(backup, directory, stem(location)))


def _scope_of_there(
    link: Link,
    location: int,
    tables: Sequence[str],
    known: Mapping[str, str] | None = None,
    also: Mapping[str, Sequence[str]] | None = None,
) -> Scope:
    """The scope in those of the tables that exist, and can be looked up."""
    there = {*find_all(link, [(schema_of(link.server, table), table) for table in tables])}
    if "resource_group" not in there:
        there -= {"host", "location_cm"}
    if not there or find(link, schema_of(link.server, "cluster_info"), "cluster_info") is None:
        return Scope(location, (), ())
    return scope_of(link, location, sorted(there), known=known, also=also)


COPY = "its copy on the initial node takes its place: --from"


def stem(location: int) -> str:
    return f"region-{location}"


def load(source: Path, server: Server) -> Backup:
    """Read a backup, or raise DB-021."""
    try:
        return files.load(source)
    except (BadBackup, OSError) as exc:
        aside = shell("mv", str(source), f"{source}.damaged", note="sets it aside")
        raise Mismatch(
            "DB-021",
            f"this backup cannot be trusted: {exc}",
            where=str(source),
            fix=COPY,
            next=aside if source.exists() else None,
        ) from exc


# --- one transaction, and its verdict --------------------------------------------------------


def _transact(
    server: Server, work: _Work, change: Callable[[Link], None], *, unchecked: bool = False
) -> Literal["done", "already"]:
    link = Link(server)
    try:
        if unchecked:
            link.alter(sql.UNCHECKED)
        link.identify()
        link.begin()
        _fence(link, work)
        if _marker(link, work) is not None:
            link.rollback()
            return "already"
        change(link)
        link.commit()
        link.put_by()
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
    leases.fenced(link, work.lease)


def marked(link: Link, run_id: str, step: str) -> bool:
    """True if the run has committed this step."""
    return read_marker(link, run_id, step) is not None


def read_marker(link: Link, run_id: str, step: str) -> Mapping[str, Any] | None:
    """What the run has written down with the step that it committed; None if it has not."""
    return read_markers(link, run_id, [step]).get(step)


def read_markers(link: Link, run_id: str, steps: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """What the run has written down with those of the steps that it committed.

    In whichever place: a run may have begun with a former version.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for schema in leases.places(link):
        text = sql.markers_read(leases.marker_table(schema), len(steps))
        for step, detail in link.rows(text, (run_id, *steps)):
            found.setdefault(leases.text_of(step), json.loads(detail))
    return found


def _marker(link: Link, work: _Work) -> Mapping[str, Any] | None:
    return read_marker(link, work.run_id, work.step)


def _mark(link: Link, work: _Work, undoes: Sequence[str], detail: Mapping[str, object]) -> None:
    """Write the marker, and renew the lease: its keeper had to wait for our lock."""
    lease = work.lease
    args = (leases.LIFE, lease.cluster, lease.token, lease.run_id)
    leases.in_all(link, lambda schema: sql.lease_renew(leases.lease_table(schema)), args)
    for step in (*undoes, work.step):  # each by its whole key: no row of another is waited for
        gone = (work.run_id, step)
        leases.in_all(link, lambda schema: sql.marker_drop(leases.marker_table(schema)), gone)
    first = (leases.places(link) or (sql.OWN_SCHEMA,))[0]
    values = (work.run_id, work.step, lease.token, json.dumps(dict(detail)))
    link.run(sql.marker_write(leases.marker_table(first)), values)


def _verdict(server: Server, work: _Work, former: Row | None, exc: Exception) -> None:
    """Return if the transaction was committed; raise what is true otherwise.

    Waits for the lease row, which the old transaction holds for as long as it lives.
    """
    if not work.changing:
        _let_go(server, former)
        _failed(server, work, exc)
    end = time.monotonic() + server.limits.patience
    try:
        committed, held, now = retry.call(
            lambda: _found(server, work, former),
            on=(DbError, OmsfabError),
            waits=itertools.repeat(0.5),
            again=lambda trouble: time.monotonic() <= end and not _refused(trouble),
        )
    except (DbError, OmsfabError) as trouble:
        raise OutcomeUnknown(
            "DB-012",
            "the MetaDB does not say whether the change was committed",
            where=server.where,
            changed="unknown; the marker in the MetaDB knows",
            evidence=server.clean(f"{exc}; afterwards: {trouble}"),
        ) from exc
    if committed:
        return
    if held is None or held.token != work.lease.token:
        raise leases.lost_lease(server, work.lease, held) from exc
    if work.backup is not None and now != work.backup.sha256:
        raise Mismatch(
            "DB-013",
            "rows match neither before nor after",
            where=server.where,
            changed="unknown: the transaction was not committed, yet the rows are not those saved",
            evidence=f"saved rows: {work.paths[0]}" if work.paths else "",
            fix="compare with the backup: fab meta.show",
            next=fab("run.undo", run=work.run_id),
        ) from exc
    _failed(server, work, exc)


def _found(
    server: Server, work: _Work, former: Row | None
) -> tuple[bool, leases.Holder | None, str]:
    """Whether the marker is there; the lease, under its lock, and the digest of the rows."""
    with Link(server) as link:
        _hang_up(link, former)
        link.begin()
        schema = (leases.places(link) or (sql.OWN_SCHEMA,))[0]
        held = leases.read(link, schema, work.lease.cluster, lock=True)
        if _marker(link, work) is not None:
            return True, held, ""
        return False, held, _now(link, work)


def _refused(trouble: Exception) -> bool:
    """A wrong password is never tried again."""
    return isinstance(trouble, OmsfabError) and trouble.id == "DB-002"


def _now(link: Link, work: _Work) -> str:
    """The digest of the rows in scope as they are now; nothing if none were read before."""
    if work.scope is None or work.backup is None:
        return ""
    return _read(link, work.scope, work, lock=False).sha256


def _failed(server: Server, work: _Work, exc: Exception) -> NoReturn:
    """The transaction is certainly not committed: say why."""
    evidence = server.clean(f"error {code_of(exc)}: {exc.args[-1] if exc.args else exc}")
    if code_of(exc) in LOCK_WAIT:
        raise OmsfabError(
            "DB-015",
            f"row lock held by {_who_locks(server) or 'another connection'}",
            where=server.where,
            evidence=evidence,
            fix="end that session",
        ) from exc
    if not lost(exc):
        raise OmsfabError(
            "DB-011",
            "the MetaDB refused a statement; nothing was changed",
            where=server.where,
            evidence=evidence,
        ) from exc
    raise MetaDbAway(
        "DB-010",
        "MetaDB connection lost before commit; nothing changed",
        where=server.where,
        evidence=evidence,
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


def _read(link: Link, scope: Scope, work: _Work, *, lock: bool) -> Backup:
    """The rows as they are now; a table without a row to delete needs no right to do so."""
    tables = tuple(read_table(link, one, lock=lock and one.rows > 0) for one in scope.tables)
    made = _stamped(link, work.run_id, work.step)
    return replace(made, location=scope.location, tables=tables)


def _seen(scope: Scope, made: Backup | None = None) -> Backup:
    """The rows as they were in the moment of the look."""
    tables = tuple(table.seen() for table in scope.tables)
    return replace(made or Backup("", "", 0, "", "", ()), location=scope.location, tables=tables)


def _stamped(link: Link, run_id: str, step: str) -> Backup:
    """A backup without rows, of this server and moment."""
    version, _, clock = link.rows(sql.FACTS)[0]
    return Backup(run_id, step, 0, str(clock), str(version), ())


def _copy(path: Path, mirror: Mirror) -> None:
    try:
        mirror(path)
    except OSError as exc:
        raise OmsfabError(
            "DB-029",
            f"cannot copy the row backup to a second machine: {exc.strerror or exc}",
            where=str(path),
            evidence="no row was deleted: without a second copy none ever is",
            next=fab("fleet.check"),
        ) from exc


def _delete(link: Link, scope: Scope, backup: Backup) -> None:
    """Delete by scope; READ COMMITTED lets late rows in, hence the comparison."""
    for table in scope.tables:
        saved = backup.counts[table.table]
        deleted = (
            link.run(sql.delete_rows(table.found.place, table.where))
            if saved
            else int(link.rows(sql.count(table.found.place, table.where))[0][0])
        )
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
        next=fab("meta.show"),
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
                fix=f"ask the DBA: set global max_allowed_packet = {longest * 2}",
                next=fab("meta.show"),
            )


def _restore_scope(link: Link, wanted: Backup, location: int, absent: Sequence[str]) -> Scope:
    """What the region has there now, and what it had: both go before the saved rows come."""
    known = {table.table: table.where for table in wanted.tables}
    also = {table.table: ["1 = 1" if table.whole else table.where] for table in wanted.tables}
    scope = (
        _scope_of_there(link, location, [*known, *absent], known, also)
        if absent
        else scope_of(link, location, [*known], known=known, also=also)
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
                fix="restore into the version of OMS that the backup came from",
                next=fab("meta.show"),
            )
        tables.append(replace(now, where="1 = 1", whole=True) if then.whole else now)
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
            fix="load the .sql beside the backup with the mysql client",
            next=fab("meta.show"),
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
            fix=COPY,
        )
    backup = load(path, server)
    if backup.sha256 != detail.get("sha256"):
        raise Mismatch(
            "DB-021",
            "this backup is not the one whose rows were deleted",
            where=str(path),
            fix=COPY,
            next=shell("mv", str(path), f"{path}.other", note="sets it aside"),
        )
    return Cleared(backup.counts, (path, path.with_suffix(".sql")), already=True)


# --- afterwards: nobody else's rows changed --------------------------------------------------


def others_unchanged(server: Server, source: Path) -> tuple[str, ...]:
    """Compare the rows of all other regions with those in the backup; raises Mismatch DB-040.

    What identifies a row is compared: keys, ids, addresses, urls, codes, names.  Whatever else has
    moved, OMS in service may have written: such tables are named in the answer.
    """
    backup = load(source, server)
    notes: list[str] = []
    wrong: list[str] = []
    names = {table.table: table.where for table in backup.tables if not table.whole}
    with Link(server) as link:
        try:
            also = {table: [where] for table, where in names.items()}
            scope = scope_of(link, backup.location, [*names], known=names, also=also)
            for table in backup.tables:
                now = scope.of(table.table)
                if now is not None and not table.whole:
                    others = _others(link, table, now)
                    wrong += _differing(table, table.others, others)
                    notes += _moved(table, table.others, others)
        except DbError as exc:
            raise server.error(exc, "reading the rows of other regions") from exc
    if wrong:
        raise Mismatch(
            "DB-040",
            "rows of other regions are not what they were before this run",
            where=server.where,
            evidence="\n".join([*wrong, f"as they were: {source}"]),
            next=fab("meta.show"),
        )
    return tuple(notes)


def _others(link: Link, table: TableRows, scope: TableScope) -> Sequence[Cells]:
    """The region's rows may have new ids by now: neither these nor the old ones are others'."""
    if table.columns == scope.found.written:
        return scope.others
    return read_rows(link, scope.found, sql.others(scope.where), columns=table.columns)


def _moved(table: TableRows, rows: Sequence[Cells], now: Sequence[Cells]) -> list[str]:
    """Which columns that identify nothing have other values by now."""
    moved = [
        column.name
        for n, column in enumerate(table.columns)
        if not identity.identifying(column)
        and files.canonical((row[n],) for row in rows) != files.canonical((row[n],) for row in now)
    ]
    return [f"{table.table}: {', '.join(moved)} moved meanwhile"] if moved else []


def as_saved(server: Server, source: Path) -> str | None:
    """None when the rows of all regions are those of the backup, by what identifies a row;
    otherwise what differs.  OMS is in service and writes whatever else is in them."""
    backup = load(source, server)
    wrong: list[str] = []
    with Link(server) as link:
        try:
            seen = read_whole(link, look(link, [table.table for table in backup.tables]), {})
            for table in backup.tables:
                if table.table not in seen:
                    wrong.append(f"{table.table}: the table is gone")
                    continue
                now = rows_as(link, seen[table.table], table.columns)
                wrong += _differing(table, (*table.rows, *table.others), now)
        except DbError as exc:
            raise server.error(exc, "comparing rows with those saved") from exc
    return "\n".join([*wrong, f"as they were: {source}"]) if wrong else None


def _differing(table: TableRows, rows: Sequence[Cells], now: Sequence[Cells]) -> list[str]:
    """A line per row that came or went, by what identifies it."""
    wanted = [column for column in table.columns if identity.identifying(column)]
    before, after = (
        Counter(files.canonical(identity.only(table.columns, some, wanted))) for some in (rows, now)
    )
    if before == after:
        return []
    return [
        f"{table.table}: {len(rows)} rows before, {len(now)} now",
        *(f"  - {row[:200]}" for row in sorted((before - after).elements())[:5]),
        *(f"  + {row[:200]}" for row in sorted((after - before).elements())[:5]),
    ]
