"""The MetaDB of an OMS: questions, the surgery on a region's rows, and the lock.

This is the door; behind it are metadb_sql (every SQL text), metadb_link (one connection),
metadb_scope (which rows belong to a region), metadb_backup (rows as files), metadb_surgery
(delete and restore) and metadb_lease (the lock).  A connection that a call has used rests for the
next one.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import pymysql

from omsfab import retry
from omsfab.errors import Mismatch, OmsfabError
from omsfab.fleet.model import MetaDb
from omsfab.fleet.values import CmUrl
from omsfab.metadb import backup as files
from omsfab.metadb import compare as proof
from omsfab.metadb import identity, own, sql
from omsfab.metadb import lease as leases
from omsfab.metadb import references as referring
from omsfab.metadb import rows as surgery
from omsfab.metadb import scope as scopes
from omsfab.metadb.connection import Connect, DbError, Limits, Link, OnStatement, Server
from omsfab.metadb.lease import Holder, Lease, LeaseKeeper
from omsfab.metadb.own import Place
from omsfab.metadb.rows import Cleared, Mirror
from omsfab.metadb.scope import Scope
from omsfab.next_line import fab
from omsfab.plan.observed import Shown
from omsfab.plan.records import ClearRows, DropHosts, KeepRows, RestoreRows

__all__ = [
    "Cleared", "ClusterRow", "Facts", "Holder", "HostRow", "Lease", "LeaseKeeper", "Limits",
    "MetaDbEdge", "Mirror", "Place", "Scope",
]  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A row of cluster_info: one region.  ``code`` is cm_location."""

    code: int
    region: str
    region_cn: str
    cm_url: CmUrl
    is_default: bool


@dataclass(frozen=True, slots=True)
class HostRow:
    """A row of host; ``status`` such as ONLINE."""

    ip: str
    status: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What kind of server this is; ``clock`` is its own, UTC."""

    version: str
    kind: Literal["mysql", "mariadb", "oceanbase"]
    read_only: bool
    clock: datetime
    settings: Mapping[str, str]


EVERY_TABLE = (
    *scopes.TABLES, "oms_normal_config", "oms_project", "oms_sync_project", "oms_version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Look:
    """The tables that the questions of one look have in common."""

    places: Sequence[tuple[str, str]]
    known: dict[tuple[str, str], Any] = field(default_factory=dict)

    def begin(self, link: Link) -> None:
        link.tables = self.known
        scopes.find_all(link, self.places)


class MetaDbEdge:
    """Everything omsfab asks of a MetaDB or does to it.

    ``in_run`` says that a run is under way, so that an error is a failed step (exit 6) and no
    longer a refused preflight (exit 3).  No password is in any text of an error.
    """

    def __init__(
        self,
        metadb: MetaDb,
        connect: Connect = pymysql.connect,
        *,
        limits: Limits | None = None,
        on_statement: OnStatement | None = None,
        in_run: bool = False,
        from_node: Callable[[str], MetaDbEdge] | None = None,
    ) -> None:
        self._from_node = from_node
        self._look: _Look | None = None
        self._server = Server(metadb, connect, limits or Limits(), on_statement, in_run)

    def running(self, on_statement: OnStatement | None = None) -> MetaDbEdge:
        """The same MetaDB for the time of a run: its errors are failed steps."""
        made = copy.copy(self)
        server = self._running
        made._server = replace(server, on_statement=on_statement or server.on_statement)
        return made

    @property
    def _running(self) -> Server:
        return replace(self._server, in_run=True)

    def _ask(self, doing: str, question: Callable[[Link], T], *, utc: bool = True) -> T:
        with Link(self._server, utc=utc) as link:
            try:
                if self._look is not None:
                    self._look.begin(link)
                return question(link)
            except DbError as exc:
                raise self._server.error(exc, doing) from exc

    def one_look(self, tables: Sequence[str] = (), heartbeat_db: str = "") -> MetaDbEdge:
        """The same MetaDB for questions that belong together, one right after the other: what is
        there of these tables (default: of all) is asked once, by the first of them."""
        made = copy.copy(self)
        places = [(scopes.schema_of(self._server, one), one) for one in tables or EVERY_TABLE]
        made._look = _Look([*places, *([(heartbeat_db, "heart_beat")] if heartbeat_db else ())])
        return made

    # --- questions ---------------------------------------------------------------------------

    def exists(self) -> bool:
        """False on a fresh MetaDB: no OMS was ever initialised there."""
        rm_db = self._server.metadb.rm_db
        return self._ask(
            "looking for OMS", lambda link: scopes.find(link, rm_db, "cluster_info") is not None
        )

    def kept_out(self, node: str) -> str | None:
        """What the MetaDB says to a login of our user that comes from there; None if it lets him
        in, or if nobody can be asked that way: the node's sshd need not forward anything."""
        if self._from_node is None:
            return None
        edge = self._from_node(node)
        try:
            edge.exists()
        except OmsfabError as error:
            return f"{error.what}: {error.evidence}" if error.id in ("DB-002", "DB-003") else None
        finally:
            edge.close()
        return None

    def close(self) -> None:
        """Hang up; whoever asks again logs in again."""
        self._server.close()

    def clusters(self) -> tuple[ClusterRow, ...]:
        """The regions of this OMS by cm_location; none on a fresh MetaDB."""
        return self._ask("reading cluster_info", _clusters)

    def hosts(self, location: int) -> tuple[HostRow, ...]:
        """The nodes of a region as OMS knows them; none on a fresh MetaDB."""
        return self._ask("reading host", lambda link: _hosts(link, location))

    def beats(self, heartbeat_db: str) -> Mapping[str, float]:
        """How many seconds ago each node's supervisor last reported, by the database's clock."""
        return self._ask("reading heart_beat", lambda link: _beats(link, heartbeat_db), utc=False)

    def clock(self) -> datetime:
        """The database's clock, UTC."""
        return self._ask("reading the clock", lambda link: _stamp(link.rows(sql.CLOCK)[0][0]))

    def time_and_zone(self) -> tuple[float, int]:
        """The database's clock in seconds since the epoch, and its zone in minutes from UTC."""

        def question(link: Link) -> tuple[float, int]:
            clock, apart = link.rows(sql.ZONE)[0]
            seconds = _stamp(clock).replace(tzinfo=timezone.utc).timestamp()
            return seconds, round(int(apart) / 60)

        return self._ask("reading the clock", question, utc=False)

    def facts(self) -> Facts:
        return self._ask("asking for its version", _facts)

    def statement_time(self) -> float:
        """Seconds that a statement takes, without way and login: the best of three."""

        def question(link: Link) -> float:
            took = []
            for _ in range(3):
                began = time.monotonic()
                link.rows(sql.CLOCK)
                took.append(time.monotonic() - began)
            return min(took)

        return self._ask("measuring a statement", question)

    def oms_versions(self) -> tuple[str, ...]:
        """What oms_version says; nothing where there is no such table."""

        def question(link: Link) -> tuple[str, ...]:
            found = scopes.find(link, self._server.metadb.rm_db, "oms_version")
            if found is None:
                return ()
            return tuple(str(row[0]) for row in link.rows(sql.oms_versions(found.place)))

        return self._ask("reading oms_version", question)

    def ha_config(self) -> Mapping[str, Any] | None:
        """The JSON under ``ha.config``; None where OMS has none."""
        return self._ask("reading oms_normal_config", _ha_config)

    def traffic(self) -> tuple[str, ...]:
        """What stopping OMS would interrupt: HA that would act on it, projects that run."""
        ha = self.ha_config() or {}
        on = ("ha.config: enable is true, HA would move tasks",) if ha.get("enable") is True else ()
        return (*on, *self._ask("reading projects", _running_projects))

    def preflight(
        self,
        location: int,
        tables: Sequence[str] = scopes.TABLES,
        *,
        rows: str = "delete",
        allow_empty: bool = False,
        facts: Facts | None = None,
    ) -> Scope:
        """Find the rows of a region, what they are and what refers to them, and prove that they
        could be deleted (or changed, with ``rows`` "update") and restored.  ``facts``: as they were
        asked in the same look.

        Raises DB-020, -022, -023, -025, -026, -027; changes nothing.
        """
        update = rows == "update"

        def question(link: Link) -> Scope:
            self._refuse_read_only(facts or _facts(link))
            scope = scopes.scope_of(link, location, tables, by_value=update)
            # where nothing goes, nothing is asked for
            changes = [table for table in scope.tables if table.rows]
            deleted = ["cluster_info"] if update else [table.table for table in changes]
            if changes:
                scopes.refuse_unsafe(link, changes, deleted)
            for table in changes:
                scopes.refuse_powerless(link, table, deleted=table.table in deleted)
            info = scope.of("cluster_info")
            if info is not None and info.rows != 1 and not (allow_empty and info.rows == 0):
                raise surgery.region_row_error(
                    self._server, location, info.rows, self._server.refusal
                )
            return replace(scope, shown=_shown(scope), references=referring.references(link, scope))

        return self._ask("preparing the change of rows", question)

    def scope(self, location: int, tables: Sequence[str] = scopes.TABLES) -> Scope:
        """The rows of a region, whether or not they could be deleted."""
        return self._ask(
            "looking for the rows of a region", lambda link: scopes.scope_of(link, location, tables)
        )

    def changed_rows(self, record: ClearRows) -> str | None:
        """None when the rows are those that were shown; otherwise what came, went or was edited."""

        def question(link: Link) -> str | None:
            by_value = record.rows == "update"
            scope = scopes.scope_of(link, record.location, record.tables, by_value=by_value)
            lines = identity.changed(record.shown, _shown(scope)) if record.shown else []
            return "\n".join(lines) or None

        return self._ask("comparing the rows with those shown", question)

    def _refuse_read_only(self, facts: Facts) -> None:
        if facts.read_only:
            raise self._server.refusal(
                "DB-027",
                "the MetaDB is read-only: a replica, or being switched over",
                where=self._server.where,
                evidence=", ".join(f"{k}={v}" for k, v in facts.settings.items() if "read" in k),
                fix="write the address of the primary as metadb.host in hosts.yaml",
                next=fab("fleet.check"),
            )

    # --- surgery -----------------------------------------------------------------------------

    def clear_region(
        self,
        record: ClearRows,
        *,
        lease: Lease,
        backup_dir: Path,
        mirror: Mirror,
        allow_empty: bool = False,
    ) -> Cleared:
        """Back up the rows of the region, verified, and delete them: once per run and step.

        ``mirror`` is called with each backup file before any row is deleted; it returns when the
        copy on a second machine is proven, and raises otherwise.
        """
        return surgery.clear(
            self._running,
            record=record,
            lease=lease,
            directory=backup_dir,
            step=clear_step(record.location),
            undoes=[restore_step(record.location)],
            mirror=mirror,
            allow_empty=allow_empty,
        )

    def keep_region(
        self, record: KeepRows, *, lease: Lease, backup_dir: Path, mirror: Mirror
    ) -> Cleared:
        """Prove that the rows are still as clear_region has left them, or raise Mismatch DB-044.

        Asked again for the same run, what came back is saved and taken out once more before.
        """
        return surgery.keep(
            self._running,
            record=record.clear,
            lease=lease,
            directory=backup_dir,
            step=clear_step(record.clear.location),
            mirror=mirror,
        )

    def restore_region(
        self,
        record: RestoreRows,
        *,
        lease: Lease,
        backup_dir: Path,
        source: Path | None = None,
        attempt: int = 0,
    ) -> Cleared:
        """Replace the region's rows by those of ``source``, or of the run's newest backup.

        What SaveRows has saved is all there was, so a table that it lacks had no rows.  Done once
        by a run; once more after each ``attempt`` of docker_init.sh that made others of them.
        """
        location = record.location
        step = restore_step(location)
        return surgery.restore(
            self._running,
            location=location,
            lease=lease,
            source=source or self._latest(backup_dir, location),
            directory=backup_dir,
            step=f"{step}-again-{attempt}" if attempt else step,
            undoes=_clearing(location),
            absent=scopes.TABLES if record.saved else (),
        )

    def drop_hosts(self, record: DropHosts, *, lease: Lease, backup_dir: Path) -> Cleared:
        """Take the host rows of nodes that joined since SaveRows out of the region."""
        location = record.location
        return surgery.drop_hosts(
            self._running,
            location=location,
            ips=record.ips,
            lease=lease,
            saved=self._latest(backup_dir, location),
            directory=backup_dir,
            step=restore_step(location),
            undoes=_clearing(location),
        )

    def rows_as_saved(self, location: int, backup_dir: Path) -> str | None:
        """None when the rows of all regions are those SaveRows saved, by what identifies a row;
        otherwise what differs."""
        return surgery.as_saved(self._running, self._latest(backup_dir, location))

    def marks(self, run_id: str, location: int) -> frozenset[str]:
        """Which markers the run has of the rows of the region: "clear", "restore"."""
        names = {"clear": clear_step(location), "restore": restore_step(location)}
        return self._ask(
            "reading the marker",
            lambda link: frozenset(
                key for key, name in names.items() if surgery.marked(link, run_id, name)
            ),
        )

    def deleted_by(self, run_id: str, location: int) -> bool:
        """True if the run has deleted the rows of the region, or put them back since."""

        def question(link: Link) -> bool:
            names = (clear_step(location), restore_step(location))
            return any(surgery.marked(link, run_id, name) for name in names)

        return self._ask("reading the marker", question)

    def save(
        self,
        location: int,
        backup_dir: Path,
        run_id: str,
        tables: Sequence[str] = scopes.TABLES,
        *,
        fresh: bool = False,
    ) -> Cleared:
        """Back up the rows of a region and delete nothing; ``fresh``: tables may be missing."""
        return surgery.save(
            self._server,
            location=location,
            tables=tables,
            directory=backup_dir,
            run_id=run_id,
            fresh=fresh,
        )

    def read_backup(self, path: Path) -> files.Backup:
        """A backup file, verified; raises Mismatch DB-021."""
        return surgery.load(path, self._server)

    def backup(self, location: int, backup_dir: Path) -> files.Backup:
        """The newest backup of a region in a directory, verified."""
        return surgery.load(self._latest(backup_dir, location), self._server)

    def others_unchanged(self, location: int, backup_dir: Path) -> tuple[str, ...]:
        """Raise Mismatch DB-040 unless all other regions' rows are as the backup saw them.

        Returns notes, such as that hosts of other regions have reported meanwhile.
        """
        return surgery.others_unchanged(self._running, self._latest(backup_dir, location))

    def _latest(self, directory: Path, location: int) -> Path:
        path = files.latest(directory, surgery.stem(location))
        if path is None:
            raise Mismatch(
                "DB-014",
                f"no backup of cm_location {location} is here",
                where=str(directory),
                evidence="the initial node has a copy in the mirror of the run",
                fix=surgery.COPY,
            )
        return path

    # --- lock --------------------------------------------------------------------------------

    @property
    def cluster(self) -> str:
        """The name under which this OMS is locked: regions share rm_db, so it names the OMS."""
        return self._server.metadb.rm_db

    def lease_take(
        self,
        run_id: str,
        owner: str,
        *,
        life: int = leases.LIFE,
        on_busy: Callable[[], None] | None = None,
    ) -> Lease:
        """Take the lock, or raise Locked DB-030 naming who has it; DB-032 without a place.

        Where a jump host died in a transaction, the server keeps its locks for a while.  With
        ``on_busy``, which is called before each further try, that is waited for if the transaction
        is this very run's.
        """

        def take() -> Lease:
            return leases.take(self._server, self.cluster, run_id, owner, life)

        def ours(error: leases.Busy) -> bool:
            held = self.lease_holder()
            return held is not None and held.run_id == run_id

        say = on_busy
        if say is None:
            return take()
        tries = math.ceil(self._server.limits.patience / self._server.limits.lock)
        return retry.call(
            take,
            on=(leases.Busy,),
            waits=[1.0] * tries,
            again=ours,
            on_wait=lambda error, pause: say(),
        )

    def lease_keep(self, lease: Lease, *, every: float = leases.RENEW) -> LeaseKeeper:
        """A context in which the lease is renewed from a thread; ``check()`` tells if lost."""
        return LeaseKeeper(self._server, lease, every=every)

    def lease_renew(self, lease: Lease, *, life: int = leases.LIFE) -> None:
        leases.renew(self._server, lease, life)

    def lease_release(self, lease: Lease) -> None:
        leases.release(self._server, lease)

    def lease_break(
        self,
        run_id: str,
        *,
        still: float = leases.STILL,
        watch: float = leases.WATCH,
        wait: Callable[[float], None] = time.sleep,
    ) -> Holder:
        """Free the lease of exactly this run, which has expired and lies still; ``wait`` is called
        with the seconds for which it is watched.  Raises Locked DB-033 otherwise."""
        return leases.break_(
            self._server, self.cluster, run_id, still=still, watch=watch, wait=wait
        )

    def lease_breakable(self, run_id: str) -> None:
        """Raise Locked DB-033 unless ``lease_break`` might free the lease of this run."""
        leases.breakable(self._server, self.cluster, run_id)

    def lease_refuse_taken(self, left: Callable[[Holder], bool] = lambda held: False) -> None:
        """Raise Locked DB-030 if a run has the lock, unless it has ``left`` it behind."""
        held = self.lease_holder()
        if held and not left(held):
            raise leases.refusal(self._server, held)

    def lease_holder(self) -> Holder | None:
        """Who has the lock; None when nobody has."""

        return self._ask("reading the lease", lambda link: leases.holder(link, self.cluster))

    # --- what is omsfab's own ----------------------------------------------------------------

    def own_places(self, runs: Collection[str] = ()) -> tuple[Place, ...]:
        """Where tables of omsfab lie; ``runs`` are those of this OMS, as far as is known."""
        return self._ask(
            "looking for omsfab's own tables", lambda link: own.look(link, self.cluster, runs)
        )

    def forget(self, lease: Lease | None, runs: Collection[str]) -> None:
        """Remove omsfab's tables, or of those of several OMSs what is of this one."""
        own.forget(self._running, lease, self.cluster, runs)

    # --- verification ------------------------------------------------------------------------

    def check_cm_url(self, location: int, url: CmUrl, old: CmUrl | None = None) -> str | None:
        """None when cluster_info has one row of the region, with this cm_url, and none carries the
        old one; otherwise what is there instead."""
        return self._ask("verifying cm_url", lambda link: proof.wrong_url(link, location, url, old))

    def check_other_urls(
        self,
        location: int,
        url: CmUrl,
        old: CmUrl | None = None,
        tables: Sequence[str] = scopes.TABLES,
    ) -> str | None:
        """None when the tables whose columns are not public say nothing else about cm_url."""
        return self._ask(
            "looking for the old cm_url",
            lambda link: proof.other_urls(link, location, url, old, tables),
        )

    def check_rows_back(
        self, location: int, backup_dir: Path, old: CmUrl | None, new: CmUrl
    ) -> str | None:
        """None when each row that a run took out is there again, by its natural key, and nothing
        refers to a former id; otherwise what is not, with the line that mends it."""
        backup = self.backup(location, backup_dir)
        return self._ask(
            "looking for the rows", lambda link: proof.rows_back(link, backup, backup_dir, old, new)
        )

    def check_left_over(self, tables: Sequence[str] = scopes.TABLES) -> str | None:
        """None when no host is of a group that is gone, and no key has two rows."""
        return self._ask("looking at whole tables", lambda link: proof.left_over(link, tables))

    def check_hosts_online(
        self, location: int, heartbeat_db: str, ips: Sequence[str], beat_age: float
    ) -> str | None:
        """None when each address is ONLINE with a young enough beat; otherwise what is missing."""
        look = self.one_look(["host", "resource_group"], heartbeat_db)
        hosts = {row.ip: row.status for row in look.hosts(location)}
        beats = look.beats(heartbeat_db)
        missing = []
        for ip in ips:
            status, age = hosts.get(ip), beats.get(ip)
            if status is None:
                missing.append(self._ask("reading host", partial(_where_is, location, ip)))
            elif status.upper() != "ONLINE":
                missing.append(f"{ip} is {status or 'without status'}")
            if age is None:
                missing.append(f"{ip} has no heart beat")
            elif not -5 <= age <= beat_age:
                missing.append(f"{ip} reported {age:.0f} s ago" + _zones(age))
        return "; ".join(missing) or None


def _where_is(location: int, ip: str, link: Link) -> str:
    return proof.where_is(link, location, ip)


def _shown(scope: Scope) -> Shown:
    return identity.shown(table.seen() for table in scope.tables)


def clear_step(location: int) -> str:
    """The name under which a run marks that it has cleared a region."""
    return f"clear@{location}"


def _clearing(location: int) -> list[str]:
    """All steps by which a run takes rows out: a restore forgets them."""
    return [clear_step(location), f"dirty@{location}", f"again@{location}"]


def restore_step(location: int) -> str:
    return f"restore@{location}"


# --- the questions, on a connection ----------------------------------------------------------


def _clusters(link: Link) -> tuple[ClusterRow, ...]:
    if scopes.find(link, link.server.metadb.rm_db, "cluster_info") is None:
        return ()
    info = scopes.look(link, ["cluster_info"])["cluster_info"]
    return tuple(
        ClusterRow(
            _code(link, code),
            str(region or ""),
            str(label or ""),
            CmUrl.read(str(url or "")),
            _true(default),
        )
        for code, region, label, url, default in link.rows(sql.clusters(info.place))
    )


def _code(link: Link, code: object) -> int:
    try:
        return int(str(code))
    except ValueError:
        raise link.server.refusal(
            "DB-025",
            f"cluster_info has a row whose code is {code!r}: that is no cm_location",
            where=link.server.where,
            evidence="an OMS writes one row per region",
            next=fab("meta.show"),
        ) from None


def _hosts(link: Link, location: int) -> tuple[HostRow, ...]:
    if scopes.find(link, link.server.metadb.cm_db, "host") is None:
        return ()
    found = scopes.look(link, ["host", "resource_group"])
    text = sql.hosts(found["host"].place, found["resource_group"].place)
    rows = link.rows(text, (str(location),))
    return tuple(HostRow(str(ip), str(status or "")) for ip, status in rows)


def _beats(link: Link, heartbeat_db: str) -> Mapping[str, float]:
    table = scopes.find(link, heartbeat_db, "heart_beat")
    if table is None:
        return {}
    rows = link.rows(sql.beats(table.place))
    return {str(ip): int(micros) / 1e6 for ip, micros in rows if micros is not None}


def _facts(link: Link) -> Facts:
    version, comment, clock = link.rows(sql.FACTS)[0]
    said = f"{version} {comment}".lower()
    kind: Literal["mysql", "mariadb", "oceanbase"] = "mysql"
    if "oceanbase" in said:
        kind = "oceanbase"
    elif "mariadb" in said:
        kind = "mariadb"
    names = "', '".join(SETTINGS)
    settings = {str(k).lower(): str(v) for k, v in link.rows(sql.VARIABLES % f"'{names}'")}
    read_only = any(_true(settings.get(name, "")) for name in READ_ONLY)
    return Facts(str(version), kind, read_only, _stamp(clock), settings)


READ_ONLY = ("read_only", "super_read_only", "tx_read_only", "transaction_read_only")
SETTINGS = (*READ_ONLY, "lower_case_table_names", "max_allowed_packet", "time_zone")


AT_REST = {
    "", "init", "initialized", "created", "stopped", "suspend", "suspended", "finished", "released",
    "deleted", "destroyed", "failed", "success", "completed",
}  # fmt: skip
"""Statuses of a project that a stop does not interrupt; any other one counts as running."""


def _running_projects(link: Link) -> tuple[str, ...]:
    found: list[str] = []
    for name in ("oms_project", "oms_sync_project"):
        table = scopes.find(link, link.server.metadb.rm_db, name)
        if not table or not (table.column("project_name") and table.column("project_status")):
            continue
        rows = link.rows(sql.projects(table.place))
        found += [f"project {n} is {s}" for n, s in rows if str(s or "").lower() not in AT_REST]
    return tuple(found)


def _ha_config(link: Link) -> Mapping[str, Any] | None:
    table = scopes.find(link, link.server.metadb.rm_db, "oms_normal_config")
    rows = link.rows(sql.ha_config(table.place)) if table else []
    if not rows:
        return None
    try:
        value = json.loads(rows[0][0])
    except (TypeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise link.server.refusal(
            "DB-023",
            "ha.config in oms_normal_config is no JSON object",
            where=link.server.where,
            evidence=str(rows[0][0])[:200],
            fix="open the HA settings in the OMS console and save them again",
            next=fab("fleet.check"),
        )
    return value


def _stamp(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


def _true(value: object) -> bool:
    """0/1 as number, text or BIT, ON/OFF, true/false."""
    if isinstance(value, bytes):
        return value.strip(b"\0") not in {b"", b"0"}
    return str(value).strip().lower() in {"1", "on", "true", "yes"}


def _zones(age: float) -> str:
    """A beat hours away to the minute comes from another time zone (OMS FAQ: time zones)."""
    hours = round(age / 3600)
    off = abs(age - hours * 3600)
    return ": do database and node have the same time zone?" if hours and off < 90 else ""
