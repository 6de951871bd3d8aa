"""Which rows belong to a region: looked up in the MetaDB, said in words, refused when unclear.

``cluster_info.code`` and ``resource_group.name`` hold cm_location, ``host`` hangs on the ids of
these groups.  The columns of ``location_cm`` are not public, so its values decide.  Never the whole
table because there is one region: groups of the customer's own, and their hosts, stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from omsfab.errors import OmsfabError
from omsfab.fleet.values import CmUrl
from omsfab.metadb import sql
from omsfab.metadb.backup import Cells, Column, TableRows
from omsfab.metadb.connection import DENIED, DbError, Link, Server, code_of
from omsfab.next_line import fab
from omsfab.plan.observed import Reference, Shown

TABLES = ("host", "location_cm", "resource_group", "cluster_info")
"""In the order in which rows are deleted: what hangs on others first."""

NEEDED: dict[str, tuple[str, ...]] = {
    "cluster_info": ("code", "region", "region_cn", "cm_url", "is_default_cm"),
    "resource_group": ("id", "name"),
    "host": ("ip", "resource_group_id", "host_status"),
    "location_cm": (),
}

LOCATION_COLUMNS = (
    "location", "cm_location", "location_code", "location_id", "code", "region_code", "region_id",
    "location_name", "name", "resource_group_name",
)  # fmt: skip
LOCATION_NAMES = LOCATION_COLUMNS[:4]
"""Those that mean a location whatever else is in them."""
REGION_COLUMNS = ("region", "cm_region", "region_name", "location", "location_name", "name")

Named: TypeAlias = "tuple[str, str, str, str]"
"""How a table is called here, schema and name; its kind, its engine."""

MAX_ROWS = 10_000
NUMBERS = {"tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "year"}


@dataclass(frozen=True, slots=True)
class Found:
    """A table as it is in this MetaDB; names are compared without case."""

    table: str
    schema: str
    name: str
    kind: str
    engine: str
    columns: tuple[Column, ...]

    @property
    def place(self) -> str:
        return sql.name(self.schema, self.name)

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    def need(self, name: str) -> Column:
        column = self.column(name)
        if column is None:
            raise LookupError(f"{self.name}.{name}: look() has not checked it")
        return column

    def is_named(self, schema: str, name: str) -> bool:
        return (self.schema.lower(), self.name.lower()) == (schema.lower(), name.lower())

    @property
    def written(self) -> tuple[Column, ...]:
        """The columns that a backup holds."""
        return tuple(column for column in self.columns if not column.generated)


@dataclass(frozen=True, slots=True)
class Seen:
    """A table as it was read whole: its rows, each with which of the conditions hold for it."""

    found: Found
    asked: tuple[str, ...]
    rows: tuple[tuple[tuple[bool, ...], Cells], ...]

    def cells(self, *columns: Column) -> Iterator[Cells]:
        """Yield these cells of every row."""
        places = [self.found.columns.index(column) for column in columns]
        for _, row in self.rows:
            yield tuple(row[n] for n in places)

    def values(self, column: Column) -> set[str]:
        """The distinct values of a column, NULL and '' left out."""
        return {_text(value) for (value,) in self.cells(column)} - {""}

    def written(self, rows: Iterable[Cells]) -> tuple[Cells, ...]:
        """Rows as a backup has them: the columns that can be written, in canonical order."""
        places = [n for n, column in enumerate(self.found.columns) if not column.generated]
        return tuple(sorted((tuple(row[n] for n in places) for row in rows), key=repr))


@dataclass(frozen=True, slots=True)
class TableScope:
    """The rows of one table that belong to the region.  ``prose`` is a line of the plan."""

    found: Found
    where: str
    whole: bool
    prose: str
    mine: tuple[Cells, ...] = ()
    """The region's rows, and beside them all others, as they were in the moment of the look."""
    others: tuple[Cells, ...] = ()

    @property
    def table(self) -> str:
        return self.found.table

    @property
    def rows(self) -> int:
        return len(self.mine)

    def seen(self) -> TableRows:
        """The rows as they were in the moment of the look."""
        return self.told(self.mine, self.others)

    def told(self, rows: tuple[Cells, ...], others: tuple[Cells, ...]) -> TableRows:
        found = self.found
        return TableRows(
            table=found.table,
            schema=found.schema,
            name=found.name,
            columns=found.written,
            where=self.where,
            whole=self.whole,
            rows=rows,
            others=others,
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """What clearing a region would delete, table by table, in that order."""

    location: int
    regions: tuple[str, ...]
    """cm_location of every region that the MetaDB knows, as text."""
    tables: tuple[TableScope, ...]
    stays: tuple[str, ...] = ()
    """What belongs to no region and is left alone, a line each."""
    shown: Shown = ()
    """The fingerprint of the rows; empty unless it was asked for."""
    references: tuple[Reference, ...] = ()
    """What refers to them; empty unless it was asked for."""

    @property
    def prose(self) -> tuple[str, ...]:
        return (*(scope.prose for scope in self.tables), *self.stays)

    def of(self, table: str) -> TableScope | None:
        return next((scope for scope in self.tables if scope.table == table), None)


# --- looking ---------------------------------------------------------------------------------


def schema_of(server: Server, table: str) -> str:
    metadb = server.metadb
    return metadb.cm_db if table in {"host", "resource_group", "location_cm"} else metadb.rm_db


def find(link: Link, schema: str, table: str) -> Found | None:
    """The table, whatever the case of its name; None where there is none.  Asked once a look."""
    return find_all(link, [(schema, table)]).get(table)


def find_all(link: Link, places: Sequence[tuple[str, str]]) -> dict[str, Found]:
    """Those of the tables that are there, by the names that were asked for; places are schema and
    table.

    How a name is written, and that it is a table, is asked once: a table that has columns under
    that name is there.  What was asked in this look is not asked again, be it there or not.
    """
    known: dict[tuple[str, str], Found | None] = link.tables
    names: dict[tuple[str, str], Named] = link.server.names
    wanted = [place for place in places if place not in known]
    written = {place: names[place] for place in wanted if place in names}
    _describe(link, written)
    rest = [place for place in wanted if place not in known]
    if rest:
        written = _written(link, rest)
        names |= written
        known |= dict.fromkeys(rest)
        _describe(link, written)
    return {place[1]: here for place in places if (here := known[place])}


def _written(link: Link, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Named]:
    """How the names of the tables are written here, with kind and engine: by name as it was asked
    for, or else whatever its case."""
    there: dict[tuple[str, str], list[Named]] = {}
    for row in link.rows(sql.tables(len(wanted)), [part for place in wanted for part in place]):
        schema, name, kind, engine = map(_text, row)
        words = (schema, name, kind, engine)
        there.setdefault((schema.lower(), name.lower()), []).append(words)
    return {
        (schema, table): min(rows, key=lambda row: (row[0] != schema, row[1] != table))
        for schema, table in wanted
        if (rows := there.get((schema.lower(), table.lower())))
    }


def _describe(link: Link, written: Mapping[tuple[str, str], Named]) -> None:
    """Ask for the columns; a table that has none is not there."""
    columns: dict[tuple[str, str], list[Column]] = {}
    names = [part for row in written.values() for part in row[:2]]
    for row in link.rows(sql.columns(len(written)), names) if written else ():
        column, kind, charset, extra = row[2:]
        columns.setdefault((_text(row[0]), _text(row[1])), []).append(
            Column(
                _text(column), _text(kind).lower(), charset and _text(charset).lower(), _text(extra)
            )
        )
    for place, (schema, name, kind, engine) in written.items():
        if found := columns.get((schema, name)):
            link.tables[place] = Found(place[1], schema, name, kind, engine, tuple(found))


def look(link: Link, tables: Sequence[str]) -> dict[str, Found]:
    """Find the tables; raises DB-023 listing what was expected and what is there.

    A MetaDB may have no location_cm: its name is all that is public of it.
    """
    found: dict[str, Found] = {}
    missing: list[str] = []
    there = find_all(link, [(schema_of(link.server, table), table) for table in tables])
    for table in tables:
        schema = schema_of(link.server, table)
        here = there.get(table)
        if here is None and table == "location_cm":
            continue
        if here is None:
            missing.append(f"{schema}.{table}: expected a table, found none")
            continue
        lacking = [name for name in NEEDED[table] if here.column(name) is None]
        if lacking:
            columns = ", ".join(column.name for column in here.columns)
            missing.append(
                f"{here.schema}.{here.name}: expected column {', '.join(lacking)}, found {columns}"
            )
        found[table] = here
    if missing:
        raise link.server.refusal(
            "DB-023",
            "the MetaDB has not the tables of an OMS that omsfab knows",
            where=link.server.where,
            evidence="\n".join(missing),
            fix="compare metadb.rm_db and metadb.cm_db in hosts.yaml with drc_rm_db"
            " and drc_cm_db in config.yaml",
            next=fab("fleet.check"),
        )
    return found


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


# --- scoping ---------------------------------------------------------------------------------


def scope_of(
    link: Link,
    location: int,
    tables: Sequence[str],
    *,
    by_value: bool = False,
    known: Mapping[str, str] | None = None,
    also: Mapping[str, Sequence[str]] | None = None,
) -> Scope:
    """Find the rows of the region; raises DB-022, -023, -026 where that cannot be done safely.

    Where no column of location_cm tells whose a row is: ``by_value`` takes the rows that name the
    cm_url, and ``known`` has the conditions by which a backup found them.  ``also`` has conditions
    for rows that are meant, too.
    """
    wanted = [table for table in TABLES if table in tables]
    context = {"cluster_info"} | (
        {"resource_group"} if {"host", "location_cm"} & {*wanted} else set()
    )
    found = look(link, [table for table in TABLES if table in {*wanted} | context])
    seen = read_region(link, found, location, known, also)
    return scope_in(link, seen, location, wanted, by_value=by_value, known=known, also=also)


def scope_in(
    link: Link,
    seen: Mapping[str, Seen],
    location: int,
    wanted: Sequence[str],
    *,
    by_value: bool = False,
    known: Mapping[str, str] | None = None,
    also: Mapping[str, Sequence[str]] | None = None,
) -> Scope:
    """As ``scope_of``, in what ``read_region`` has read."""
    found = {table: one.found for table, one in seen.items()}
    further = {table: _either(conditions) for table, conditions in (also or {}).items()}
    regions = _regions(seen)
    scopes: list[TableScope] = []
    stays: list[str] = []
    for table in wanted:
        if table not in found:
            stays.append(f"the MetaDB has no table {schema_of(link.server, table)}.{table}")
            continue
        here = found[table]
        where, why = _where_or_named(link, table, seen, location, regions, by_value, known)
        mine, others = _split(
            link, seen[table], _as_asked(found, table, where, location), further.get(table, "")
        )
        total = len(seen[table].rows)
        prose = f"{here.schema}.{here.name}: {len(mine)} of {total} rows, {why}"
        if also and also.get(table):
            where = _either([where, *also[table]])
        scopes.append(TableScope(here, where, False, prose, mine, others))
    if "host" in wanted and "host" in found:
        stays += _of_no_region(seen, location)
    return Scope(location, tuple(sorted(regions)), tuple(scopes), tuple(stays))


def _either(conditions: Sequence[str]) -> str:
    return " or ".join(f"({one})" for one in dict.fromkeys(conditions))


def read_region(
    link: Link,
    found: Mapping[str, Found],
    location: int,
    known: Mapping[str, str] | None = None,
    also: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Seen]:
    """Read the tables whole, with whatever tells a region's rows from others."""
    further = {table: _either(conditions) for table, conditions in (also or {}).items()}
    return read_whole(link, found, _conditions(link, found, location, known or {}, further))


def read_whole(
    link: Link, found: Mapping[str, Found], conditions: Mapping[str, Sequence[str]]
) -> dict[str, Seen]:
    """Read all of these tables in one statement, and have the server say of each row which of the
    conditions hold; raises DB-022 where a table is too large to be one of an OMS."""
    if not found:
        return {}
    asked = {table: tuple(dict.fromkeys(conditions.get(table, ()))) for table in found}
    parts = [
        (here.place, [column.expression for column in here.columns], asked[table])
        for table, here in found.items()
    ]
    rows: dict[str, list[tuple[tuple[bool, ...], Cells]]] = {table: [] for table in found}
    names, flags = [*found], max(map(len, asked.values()))
    for n, *row in link.rows(sql.whole(parts, MAX_ROWS * len(parts) + 1)):
        table = names[int(n)]
        truths = tuple(bool(one) for one in row[: len(asked[table])])
        cells = row[flags : flags + len(found[table].columns)]
        rows[table].append((truths, tuple(map(_bytes, cells))))
    for table, here in found.items():
        if len(rows[table]) > MAX_ROWS:
            raise _too_large(link, here, len(rows[table]))
    return {table: Seen(here, asked[table], tuple(rows[table])) for table, here in found.items()}


def _conditions(
    link: Link,
    found: Mapping[str, Found],
    location: int,
    known: Mapping[str, str],
    further: Mapping[str, str],
) -> dict[str, list[str]]:
    """What is asked of each row: by which condition it may be the region's."""
    asked = {table: [further[table]] if further.get(table) else [] for table in found}
    for table in {"cluster_info", "resource_group", "host"} & {*found}:
        if table != "host":
            key = "code" if table == "cluster_info" else "name"
            asked[table].append(equals(found[table].need(key), str(location)))
        elif hanging := _hanging(found, location):
            asked[table].append(hanging)
    if here := found.get("location_cm"):
        names = {*LOCATION_COLUMNS, link.server.metadb.location_cm_column or ""}
        columns = filter(None, map(here.column, sorted(names)))
        asked["location_cm"] += [equals(column, str(location)) for column in columns]
        if "location_cm" in known:
            asked["location_cm"].append(known["location_cm"])
    return asked


def _hanging(found: Mapping[str, Found], location: int) -> str:
    """The hosts of the region's groups as one condition; nothing where ids are no numbers, which
    two tables may compare otherwise than one."""
    host, group = found["host"], found["resource_group"]
    column, key = host.need("resource_group_id"), group.need("id")
    if not {column.type, key.type} <= NUMBERS:
        return ""
    where = equals(group.need("name"), str(location))
    return sql.hanging(column.name, key.name, group.place, where)


def _as_asked(found: Mapping[str, Found], table: str, where: str, location: int) -> str:
    """The condition as the server was asked for it: ids of groups were not known by then."""
    return (_hanging(found, location) or where) if table == "host" else where


def _split(
    link: Link, seen: Seen, where: str, further: str = ""
) -> tuple[tuple[Cells, ...], tuple[Cells, ...]]:
    """The rows for which a condition holds, or the further one, and all others; what was not asked
    with them is asked now."""
    wanted = [one for one in (where, further) if one and one != "1 = 0"]
    if not {*wanted} <= {*seen.asked}:
        seen = read_whole(link, {seen.found.table: seen.found}, {seen.found.table: wanted})[
            seen.found.table
        ]
    places = [seen.asked.index(one) for one in wanted]
    mine = [row for truths, row in seen.rows if any(truths[n] for n in places)]
    others = [row for truths, row in seen.rows if not any(truths[n] for n in places)]
    return seen.written(mine), seen.written(others)


def _where_or_named(
    link: Link,
    table: str,
    seen: Mapping[str, Seen],
    location: int,
    regions: set[str],
    by_value: bool,
    known: Mapping[str, str] | None,
) -> tuple[str, str]:
    """The condition for the region's rows of a table, and why it is that one."""
    try:
        return _where(link, table, seen, location, regions)
    except OmsfabError as unclear:
        if unclear.id != "DB-026" or not (by_value or known):
            raise
        if known and table in known:
            return known[table], "as they were found when they were saved"
        return _where_it_names(seen[table], seen["cluster_info"], location)


def _of_no_region(seen: Mapping[str, Seen], location: int) -> list[str]:
    """Groups that no region of cluster_info has, and hosts of no group: each stays as it is."""
    group, host, info = (seen[table] for table in ("resource_group", "host", "cluster_info"))
    codes = info.values(info.found.need("code"))
    groups = {
        _text(key): _text(name)
        for key, name in group.cells(group.found.need("id"), group.found.need("name"))
    }
    hosts: dict[str, list[str]] = {}
    for key, ip in host.cells(host.found.need("resource_group_id"), host.found.need("ip")):
        hosts.setdefault(_text(key), []).append(_text(ip))
    own = {key: name for key, name in groups.items() if name not in codes | {str(location)}}
    lines = [
        f"{group.found.schema}.{group.found.name} {name} (id {key}) is of no region: it stays,"
        + " with "
        + (", ".join(sorted(hosts.get(key, ()))) or "no host")
        for key, name in sorted(own.items())
    ]
    lines += [
        f"{host.found.schema}.{host.found.name} {ip} is of "
        + (f"resource_group {key}, which is gone" if key else "no resource_group")
        + ": it stays"
        for key, ips in sorted(hosts.items())
        if key not in groups
        for ip in sorted(ips)
    ]
    return lines


def _regions(seen: Mapping[str, Seen]) -> set[str]:
    """Every cm_location that the MetaDB knows, be it half initialised."""
    info = seen["cluster_info"]
    regions = info.values(info.found.need("code"))
    if group := seen.get("resource_group"):
        names = group.values(group.found.need("name"))
        regions |= {name for name in names if name.isdigit() and int(name) <= 127}
    return regions


def _too_large(link: Link, found: Found, rows: int) -> OmsfabError:
    return link.server.refusal(
        "DB-022",
        f"{found.schema}.{found.name} has {rows} rows or more: this is not the table we expect",
        where=link.server.where,
        evidence=f"an OMS has a handful of rows there, at most {MAX_ROWS}",
        fix="compare metadb.rm_db and metadb.cm_db in hosts.yaml with config.yaml",
        next=fab("fleet.check"),
    )


def equals(column: Column, value: str) -> str:
    """``column = value``, as number or text, whichever the column is."""
    if column.type in NUMBERS and value.isdigit():
        return f"{sql.name(column.name)} = {int(value)}"
    return f"{sql.name(column.name)} = {column.literal(value.encode())}"


def _where(
    link: Link, table: str, seen: Mapping[str, Seen], location: int, regions: set[str]
) -> tuple[str, str]:
    """The condition, and why it is the right one."""
    here = seen[table].found
    if table == "cluster_info":
        return equals(here.need("code"), str(location)), f"where code is {location}"
    if table == "resource_group":
        return equals(here.need("name"), str(location)), f"where name is {location}"
    if table == "host":
        return _where_host(seen, location)
    return _where_location_cm(link, seen, location, regions)


def _where_host(seen: Mapping[str, Seen], location: int) -> tuple[str, str]:
    """By the ids as they are now: a sub-select would find none once the groups are deleted."""
    group = seen["resource_group"]
    at = group.found.columns.index(group.found.need("id"))
    name = equals(group.found.need("name"), str(location))
    named = group.asked.index(name)
    ids = sorted(_text(row[at]) for truths, row in group.rows if truths[named])
    if not ids:
        return "1 = 0", f"none, since no resource_group has the name {location}"
    column = seen["host"].found.need("resource_group_id")
    either = [equals(column, value) for value in ids]
    return " or ".join(either), f"where resource_group_id is {', '.join(ids)}"


def _where_location_cm(
    link: Link, seen: Mapping[str, Seen], location: int, regions: set[str]
) -> tuple[str, str]:
    """The configured column, or else the one whose values are this MetaDB's locations, or else
    the one that means a location and has this one, or else the rows that name the cm_url."""
    rows = seen["location_cm"]
    here = rows.found
    chosen = link.server.metadb.location_cm_column
    if chosen is not None:
        column = here.column(chosen)
        if column is None:
            raise _unclear(link, here, f"it has no column {chosen}, which hosts.yaml names")
        return equals(column, str(location)), f"where {column.name} is {location} (hosts.yaml)"
    if not rows.rows:
        return "1 = 0", "it is empty"
    codes = regions | {str(location)}
    fits = _fitting(rows, LOCATION_COLUMNS, codes)
    why = "its values: the regions of this MetaDB"
    wanted = str(location)
    if not fits:
        names = _names(seen["cluster_info"])
        wanted = next((name for name, code in names.items() if code == str(location)), "")
        fits = _fitting(rows, REGION_COLUMNS, set(names)) if wanted else []
    if not fits:
        why, wanted = "other values are of no region", str(location)
        columns = filter(None, map(here.column, LOCATION_NAMES))
        fits = [column for column in columns if wanted in rows.values(column)]
    wheres = {equals(column, wanted): column for column in fits}
    if not wheres and regions <= {str(location)}:
        return _where_it_names(rows, seen["cluster_info"], location)
    if len({_split(link, rows, where)[0] for where in wheres}) != 1:
        shown = ", ".join(column.name for column in fits) or "none"
        raise _unclear(link, here, f"columns whose values look like locations: {shown}")
    where, column = next(iter(wheres.items()))
    return where, f"where {column.name} is {wanted} ({why})"


def _where_it_names(here: Seen, info: Seen, location: int) -> tuple[str, str]:
    """The rows that name the region's cm_url: no column says whose they are, and there is but one
    region."""
    at = info.found.columns.index(info.found.need("cm_url"))
    code = info.asked.index(equals(info.found.need("code"), str(location)))
    urls = [CmUrl.read(_text(row[at])) for truths, row in info.rows if truths[code]]
    wheres = [where for url in urls for where in _naming(here, url)]
    if not wheres:
        return "1 = 0", f"none, since no row names the cm_url of location {location}"
    return " or ".join(wheres), f"where a row names {', '.join(map(str, urls))}"


def _naming(seen: Seen, url: CmUrl) -> list[str]:
    """Conditions for the rows in which a text names host and port of the url."""
    return [
        f"{column.expression} = {sql.hexadecimal(value)}"
        for column in seen.found.columns
        if column.text
        for value in sorted({value for (value,) in seen.cells(column) if value is not None})
        if url.carried_by(value)
    ]


def _fitting(seen: Seen, names: Sequence[str], known: set[str]) -> list[Column]:
    """Columns of these names with no value but known ones, and without a gap."""
    fits = []
    for column in filter(None, map(seen.found.column, names)):
        there = seen.values(column)
        if there and there <= known and (None,) not in {*seen.cells(column)}:
            fits.append(column)
    return fits


def _names(info: Seen) -> dict[str, str]:
    rows = info.cells(info.found.need("region"), info.found.need("code"))
    return {_text(region): _text(code) for region, code in rows if _text(region)}


def _unclear(link: Link, found: Found, seen: str) -> OmsfabError:
    columns = ", ".join(f"{column.name} {column.type}" for column in found.columns)
    return link.server.refusal(
        "DB-026",
        f"omsfab cannot tell whose row of {found.schema}.{found.name} is whose",
        where=link.server.where,
        evidence=f"{seen}\nits columns: {columns}",
        fix="name the column that holds cm_location in hosts.yaml: metadb.location_cm_column",
        next=fab("meta.show"),
    )


# --- may they be deleted, and brought back? --------------------------------------------------


def refuse_unsafe(link: Link, scopes: Sequence[TableScope], deleted: Collection[str]) -> None:
    """Raise DB-020 where a rollback would not bring everything back; ``deleted`` has the tables
    whose rows go, and are not merely changed."""
    places = [part for one in scopes for part in (one.found.schema, one.found.name)]
    engines = {_text(row[0]).lower() for row in link.rows(sql.TRANSACTIONAL_ENGINES)}
    triggers = [[*map(_text, row)] for row in link.rows(sql.triggers(len(scopes)), places)]
    cascades = [[*map(_text, row)] for row in link.rows(sql.cascades(len(scopes)), places)]
    problems: list[str] = []
    for one in scopes:
        found = one.found
        place = f"{found.schema}.{found.name}"
        if found.kind.upper() != "BASE TABLE":
            problems.append(f"{place} is a {found.kind.lower()}, not a table")
        elif found.engine.lower() not in engines:
            problems.append(f"{place} uses {found.engine}: a delete cannot be rolled back")
        for schema, table, name, event in triggers:
            if found.is_named(schema, table):
                problems.append(f"{place} has trigger {name} on {event}: it may do anything")
        for schema, table, *child, name, rule in cascades:
            if found.is_named(schema, table) and one.table in deleted:
                problems.append(
                    f"{'.'.join(child)} hangs on {place} ({name}, on delete {rule.lower()}): its"
                    " rows would go, too, and are in no backup"
                )
    if problems:
        raise link.server.refusal(
            "DB-020",
            problems[0],
            where=link.server.where,
            evidence="\n".join(problems),
            fix="ask the DBA to change that",
            next=fab("meta.show"),
        )


def refuse_powerless(link: Link, scope: TableScope, *, deleted: bool = True) -> None:
    """Raise DB-027 where this user may not change the rows, or could not put them back."""
    found = scope.found
    # All columns: OceanBase refuses to explain an insert that leaves out one without a default.
    columns = [column.name for column in found.written]
    asked = [sql.may_replace(found.place, columns)]
    if not deleted:
        asked.append(sql.may_update(found.place, columns[0]))
    for text in asked:
        try:
            link.rows(text)
        except DbError as exc:
            if code_of(exc) not in DENIED:
                raise
            raise link.server.error(exc, f"changing {found.schema}.{found.name}") from exc


# --- reading rows ----------------------------------------------------------------------------


def read_rows(
    link: Link,
    found: Found,
    where: str,
    *,
    lock: bool = False,
    columns: Sequence[Column] | None = None,
) -> tuple[Cells, ...]:
    """The rows as bytes per column (default: all that can be written), in canonical order."""
    expressions = [column.expression for column in columns or found.written]
    rows = link.rows(sql.select_rows(found.place, expressions, where, lock=lock))
    return tuple(sorted((tuple(map(_bytes, row)) for row in rows), key=repr))


def rows_as(link: Link, seen: Seen, columns: Sequence[Column]) -> tuple[Cells, ...]:
    """All rows with these columns, which may be those of a backup: others than it has now."""
    if {*columns} <= {*seen.found.columns}:
        return tuple(sorted(seen.cells(*columns), key=repr))
    return read_rows(link, seen.found, "1 = 1", columns=columns)


def _bytes(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise TypeError(f"a cast to binary came back as {type(value).__name__}")


def read_table(link: Link, scope: TableScope, *, lock: bool) -> TableRows:
    """The rows in scope as they are now (locked, when they are to be deleted), and the others.

    Where the rows are those of the look, its others go with them: of one moment, so that no row is
    in both or in neither.
    """
    found = scope.found
    rows = read_rows(link, found, scope.where, lock=lock)
    if rows == scope.mine and scope.rows:
        return scope.told(rows, scope.others)
    others = () if scope.whole else read_rows(link, found, sql.others(scope.where))
    return scope.told(rows, others)
