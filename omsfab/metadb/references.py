"""Who refers to rows that are to go: by foreign key, or by the name of a column and its values.

Nobody outside the vendor knows what refers to ids of resource_group and host, and docker_init.sh
may give others.  So it is looked for and counted.  A foreign key that restricts would stop the
DELETE with error 1451, production stopped; here it is found out before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from omsfab.metadb import sql
from omsfab.metadb.connection import DbError, Link
from omsfab.metadb.identity import snake
from omsfab.metadb.scope import TABLES, Found, Scope, TableScope
from omsfab.plan.observed import Reference

REFERRING = {
    "host": re.compile(r"(.*_)?(host|machine|server)_?id"),
    "resource_group": re.compile(r"(.*_)?group_?id|(.*_)?rg_?id"),
    "location_cm": re.compile(r"(.*_)?location_?cm_?id"),
    "cluster_info": re.compile(r"(.*_)?cluster_?info_?id"),
}
"""Names of columns, in snake case, that mean the id of such a row."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """A column that refers, or may refer, to ``column`` of ``to``."""

    schema: str
    table: str
    name: str
    to: TableScope
    column: str
    key: str = ""
    """The foreign key; empty = by its name."""
    rule: str = ""

    @property
    def place(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"


def pointers(link: Link, scope: Scope) -> list[Pointer]:
    """Every column that refers to rows of the four tables, other than the four's own order."""
    found = [*_keys(link, scope)] if scope.tables else []
    keyed = {one.place.lower() for one in found}
    found += [one for one in _named(link, scope) if one.place.lower() not in keyed]
    return found


def references(link: Link, scope: Scope) -> tuple[Reference, ...]:
    """Those that refer to a row in scope, counted."""
    found = []
    for one in pointers(link, scope):
        rows = count(link, one, one.to.where)
        if rows is None or rows:
            held = bool(one.key) and one.rule.upper() in ("RESTRICT", "NO ACTION")
            by = f"foreign key {one.key}, {one.rule.lower()}" if one.key else "by name and values"
            to = f"{one.to.found.name}.{one.column}"
            found.append(Reference(one.place, to, -1 if rows is None else rows, by, held))
    return tuple(found)


def count(link: Link, one: Pointer, where: str) -> int | None:
    """How many rows refer to those that ``where`` selects; None where it cannot be counted."""
    place = sql.name(one.schema, one.table)
    try:
        rows = link.rows(sql.referring(place, one.name, one.to.found.place, one.column, where))
    except DbError:
        return None
    return int(rows[0][0])


def _keys(link: Link, scope: Scope) -> Iterator[Pointer]:
    places = [part for to in scope.tables for part in (to.found.schema, to.found.name)]
    rows = [
        [value.decode() if isinstance(value, bytes) else str(value) for value in row]
        for row in link.rows(sql.foreign_keys(len(scope.tables)), places)
    ]
    for to in scope.tables:
        for there, named, key, schema, table, name, column, rule in rows:
            if not to.found.is_named(there, named):
                continue
            if not _goes_before(schema, table, to.found, scope):
                yield Pointer(schema, table, name, to, column, key, rule)


def _goes_before(schema: str, table: str, to: Found, scope: Scope) -> bool:
    """True of one of the four whose rows are deleted first, e.g. host before resource_group."""
    child = next(
        (
            one.found.table
            for one in scope.tables
            if (one.found.schema.lower(), one.found.name.lower()) == (schema.lower(), table.lower())
        ),
        None,
    )
    return child is not None and TABLES.index(child) < TABLES.index(to.table)


def _named(link: Link, scope: Scope) -> Iterator[Pointer]:
    metadb = link.server.metadb
    own = {(one.found.schema.lower(), one.found.name.lower()) for one in scope.tables}
    rows = link.rows(sql.ID_COLUMNS, (metadb.rm_db.lower(), metadb.cm_db.lower()))
    for row in rows:
        schema, table, name = (
            value.decode() if isinstance(value, bytes) else str(value) for value in row
        )
        if (schema.lower(), table.lower()) in own:
            continue
        for to in scope.tables:
            column = to.found.column("id")
            if column is not None and REFERRING[to.table].fullmatch(snake(name)):
                yield Pointer(schema, table, name, to, column.name)
