"""What omsfab itself keeps in a MetaDB: told, and removed (fab fleet.forget).

Its tables lie in rm_db, which is one OMS's, or in a schema of their own, which every OMS of the
server may have in common: there only the rows of this one go.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from omsfab.metadb import lease as leases
from omsfab.metadb import sql
from omsfab.metadb.connection import DENIED, DbError, Link, Server, code_of
from omsfab.metadb.lease import Lease

TABLES = (sql.LEASE, sql.MARKER)


@dataclass(frozen=True, slots=True)
class Place:
    """A schema that holds tables of omsfab."""

    schema: str
    tables: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Other OMSs whose lock is there: the tables stay."""
    ours: bool = True
    """Whether anything there is of this OMS: its row of the lease, or a marker of its runs."""
    markers: tuple[str, ...] = ()
    """The runs that have markers there, whosoever's."""
    alone: bool = False
    """Whether it is a schema of omsfab's, with nothing else in it."""

    @property
    def goes(self) -> bool:
        """Whether the tables go, and not only rows."""
        return not self.others


def look(link: Link, cluster: str, runs: Collection[str]) -> tuple[Place, ...]:
    """Return where tables of omsfab lie; ``runs`` are those of this OMS, as far as is known."""
    rm_db = link.server.metadb.rm_db
    there: dict[str, set[str]] = {}
    for schema, table in link.rows(sql.OWN_TABLES, (rm_db,)):
        own = leases.text_of(schema) == sql.OWN_SCHEMA
        there.setdefault(sql.OWN_SCHEMA if own else rm_db, set()).add(leases.text_of(table))
    holds = {leases.text_of(table) for (table,) in link.rows(sql.OWN_SCHEMA_HOLDS)}
    if not holds and link.rows(sql.SCHEMA, (sql.OWN_SCHEMA,)):
        there.setdefault(sql.OWN_SCHEMA, set())
    return tuple(
        _place(link, schema, tables, cluster, runs, alone=holds <= set(TABLES))
        for schema, tables in there.items()
    )


def _place(
    link: Link, schema: str, tables: set[str], cluster: str, runs: Collection[str], *, alone: bool
) -> Place:
    lease, marker = sql.name(schema, sql.LEASE), sql.name(schema, sql.MARKER)
    clusters = _first(link, sql.lease_clusters(lease)) if sql.LEASE in tables else ()
    markers = _first(link, sql.marker_runs(marker)) if sql.MARKER in tables else ()
    others = tuple(one for one in clusters if one != cluster)
    return Place(
        schema,
        tuple(one for one in TABLES if one in tables),
        others,
        not others or cluster in clusters or bool({*markers} & {*runs}),
        markers,
        alone and schema == sql.OWN_SCHEMA,
    )


def _first(link: Link, text: str) -> tuple[str, ...]:
    return tuple(leases.text_of(row[0]) for row in link.rows(text))


def forget(server: Server, lease: Lease | None, cluster: str, runs: Collection[str]) -> None:
    """Remove what is of this OMS; ``lease`` keeps every run away meanwhile, and goes last.

    Without one there is no whole place for a lock, so nobody has it.  Raises LockLost DB-031.
    """
    try:
        with Link(server) as link:
            if lease:
                link.begin()
                leases.fenced(link, lease)
                link.commit()
            places = look(link, cluster, runs)
            for place in places:
                for table in reversed(place.tables):  # the lock goes last
                    _forget(link, place, table, cluster, runs)
            for place in places:
                if place.goes and place.alone:
                    link.run(sql.DROP_SCHEMA)
    except DbError as exc:
        error = server.error(exc, "removing omsfab's own tables")
        if code_of(exc) in DENIED:
            error.fix = f"ask the DBA for DROP on them, or to do it: {by_hand(server)}"
        raise error from exc


def by_hand(server: Server) -> str:
    """What a DBA types instead."""
    tables = ", ".join(f"{server.metadb.rm_db}.{table}" for table in TABLES)
    return f"drop table if exists {tables}"


def _forget(link: Link, place: Place, table: str, cluster: str, runs: Collection[str]) -> None:
    name = sql.name(place.schema, table)
    if place.goes:
        link.run(sql.drop_table(name))
    elif table == sql.LEASE:
        link.run(sql.lease_forget(name), (cluster,))
    else:
        for run in sorted(runs):
            link.run(sql.marker_forget(name), (run,))
