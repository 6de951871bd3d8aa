"""Which rows belong to a region: looked up in the MetaDB, said in words, refused when unclear.

``cluster_info.code`` and ``resource_group.name`` hold cm_location, ``host`` hangs on the ids of
these groups.  The columns of ``location_cm`` are not public, so its values decide.  Never the whole
table because there is one region: groups of the customer's own, and their hosts, stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omsfab.errors import OmsfabError
from omsfab.fleet.values import CmUrl
from omsfab.metadb import sql
from omsfab.metadb.backup import Cells, Column, TableRows
from omsfab.metadb.connection import DENIED, DbError, Link, code_of
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

    @property
    def written(self) -> tuple[Column, ...]:
        """The columns that a backup holds."""
        return tuple(column for column in self.columns if not column.generated)


@dataclass(frozen=True, slots=True)
class TableScope:
    """The rows of one table that belong to the region.  ``prose`` is a line of the plan."""

    found: Found
    where: str
    whole: bool
    rows: int
    prose: str

    @property
    def table(self) -> str:
        return self.found.table


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


def schema_of(link: Link, table: str) -> str:
    metadb = link.server.metadb
    return metadb.rm_db if table in {"cluster_info", "oms_normal_config"} else metadb.cm_db


def find(link: Link, schema: str, table: str) -> Found | None:
    """The table, whatever the case of its name; None where there is none.  Asked once a look."""
    return find_all(link, [(schema, table)]).get(table)


def find_all(link: Link, places: Sequence[tuple[str, str]]) -> dict[str, Found]:
    """Those of the tables that are there, by the names that were asked for; places are schema and
    table."""
    known: dict[tuple[str, str], Found] = link.tables
    wanted = [place for place in places if place not in known]
    names = [part for place in wanted for part in place]
    there: dict[tuple[str, str], list[Sequence[str]]] = {}
    for row in link.rows(sql.tables(len(wanted)), names) if wanted else ():
        words = tuple(map(_text, row))
        there.setdefault((words[0].lower(), words[1].lower()), []).append(words)
    best = {
        (schema, table): min(rows, key=lambda row: (row[0] != schema, row[1] != table))
        for schema, table in wanted
        if (rows := there.get((schema.lower(), table.lower())))
    }
    columns: dict[tuple[str, str], list[Column]] = {}
    names = [part for row in best.values() for part in row[:2]]
    for row in link.rows(sql.columns(len(best)), names) if best else ():
        column, kind, charset, extra = row[2:]
        columns.setdefault((_text(row[0]), _text(row[1])), []).append(
            Column(
                _text(column), _text(kind).lower(), charset and _text(charset).lower(), _text(extra)
            )
        )
    for place, (schema, name, kind, engine) in best.items():
        found = tuple(columns.get((schema, name), ()))
        known[place] = Found(place[1], schema, name, kind, engine, found)
    return {place[1]: known[place] for place in places if place in known}


def look(link: Link, tables: Sequence[str]) -> dict[str, Found]:
    """Find the tables; raises DB-023 listing what was expected and what is there.

    A MetaDB may have no location_cm: its name is all that is public of it.
    """
    found: dict[str, Found] = {}
    missing: list[str] = []
    there = find_all(link, [(schema_of(link, table), table) for table in tables])
    for table in tables:
        schema = schema_of(link, table)
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
) -> Scope:
    """Find the rows of the region; raises DB-022, -023, -026 where that cannot be done safely.

    Where no column of location_cm tells whose a row is: ``by_value`` takes the rows that name the
    cm_url, and ``known`` has the conditions by which a backup found them.
    """
    wanted = [table for table in TABLES if table in tables]
    context = {"cluster_info"} | (
        {"resource_group"} if {"host", "location_cm"} & {*wanted} else set()
    )
    found = look(link, [table for table in TABLES if table in {*wanted} | context])
    regions = _regions(link, found)
    scopes: list[TableScope] = []
    stays: list[str] = []
    for table in wanted:
        if table not in found:
            stays.append(f"the MetaDB has no table {schema_of(link, table)}.{table}")
            continue
        here = found[table]
        total = _limited(link, here)
        where, why = _where_or_named(link, table, found, location, regions, by_value, known)
        rows = _count(link, here, where)
        prose = f"{here.schema}.{here.name}: {rows} of {total} rows, {why}"
        scopes.append(TableScope(here, where, False, rows, prose))
    if "host" in wanted and "host" in found:
        stays += _of_no_region(link, found, location)
    return Scope(location, tuple(sorted(regions)), tuple(scopes), tuple(stays))


def _where_or_named(
    link: Link,
    table: str,
    found: dict[str, Found],
    location: int,
    regions: set[str],
    by_value: bool,
    known: Mapping[str, str] | None,
) -> tuple[str, str]:
    """The condition for the region's rows of a table, and why it is that one."""
    try:
        return _where(link, table, found, location, regions)
    except OmsfabError as unclear:
        if unclear.id != "DB-026" or not (by_value or known):
            raise
        if known and table in known:
            return known[table], "as they were found when they were saved"
        return _where_it_names(link, found[table], found["cluster_info"], location)


def _of_no_region(link: Link, found: dict[str, Found], location: int) -> list[str]:
    """Groups that no region of cluster_info has, and hosts of no group: each stays as it is."""
    group, host = found["resource_group"], found["host"]
    codes = values(link, found["cluster_info"], found["cluster_info"].need("code"))
    columns = [group.need("id").expression, group.need("name").expression]
    groups = {
        _text(key): _text(name)
        for key, name in link.rows(sql.select_rows(group.place, columns, "1 = 1"))
    }
    hosts: dict[str, list[str]] = {}
    columns = [host.need("resource_group_id").expression, host.need("ip").expression]
    for key, ip in link.rows(sql.select_rows(host.place, columns, "1 = 1")):
        hosts.setdefault(_text(key), []).append(_text(ip))
    own = {key: name for key, name in groups.items() if name not in codes | {str(location)}}
    lines = [
        f"{group.schema}.{group.name} {name} (id {key}) is of no region: it stays, with "
        + (", ".join(sorted(hosts.get(key, ()))) or "no host")
        for key, name in sorted(own.items())
    ]
    lines += [
        f"{host.schema}.{host.name} {ip} is of "
        + (f"resource_group {key}, which is gone" if key else "no resource_group")
        + ": it stays"
        for key, ips in sorted(hosts.items())
        if key not in groups
        for ip in sorted(ips)
    ]
    return lines


def values(link: Link, found: Found, column: Column) -> set[str]:
    """The distinct values of a column, NULL and '' left out."""
    rows = link.rows(sql.distinct(found.place, column.expression))
    return {_text(value) for (value,) in rows} - {""}


def _regions(link: Link, found: dict[str, Found]) -> set[str]:
    """Every cm_location that the MetaDB knows, be it half initialised."""
    info = found["cluster_info"]
    regions = values(link, info, info.need("code"))
    if group := found.get("resource_group"):
        names = values(link, group, group.need("name"))
        regions |= {name for name in names if name.isdigit() and int(name) <= 127}
    return regions


def _count(link: Link, found: Found, where: str) -> int:
    return int(link.rows(sql.count(found.place, where))[0][0])


def _limited(link: Link, found: Found) -> int:
    total = _count(link, found, "1 = 1")
    if total > MAX_ROWS:
        raise link.server.refusal(
            "DB-022",
            f"{found.schema}.{found.name} has {total} rows: this is not the table we expect",
            where=link.server.where,
            evidence=f"an OMS has a handful of rows there, at most {MAX_ROWS}",
            fix="compare metadb.rm_db and metadb.cm_db in hosts.yaml with config.yaml",
            next=fab("fleet.check"),
        )
    return total


def equals(column: Column, value: str) -> str:
    """``column = value``, as number or text, whichever the column is."""
    if column.type in NUMBERS and value.isdigit():
        return f"{sql.name(column.name)} = {int(value)}"
    return f"{sql.name(column.name)} = {column.literal(value.encode())}"


def _where(
    link: Link, table: str, found: dict[str, Found], location: int, regions: set[str]
) -> tuple[str, str]:
    """The condition, and why it is the right one."""
    here = found[table]
    if table == "cluster_info":
        return equals(here.need("code"), str(location)), f"where code is {location}"
    if table == "resource_group":
        return equals(here.need("name"), str(location)), f"where name is {location}"
    if table == "host":
        return _where_host(link, found, location)
    return _where_location_cm(link, found, location, regions)


def _where_host(link: Link, found: dict[str, Found], location: int) -> tuple[str, str]:
    """By the ids as they are now: a sub-select would find none once the groups are deleted."""
    group = found["resource_group"]
    key = group.need("id")
    where = equals(group.need("name"), str(location))
    ids = [row[0] for row in link.rows(sql.select_rows(group.place, [key.expression], where))]
    if not ids:
        return "1 = 0", f"none, since no resource_group has the name {location}"
    column = found["host"].need("resource_group_id")
    either = [equals(column, _text(value)) for value in sorted(ids)]
    return " or ".join(either), f"where resource_group_id is {', '.join(map(_text, sorted(ids)))}"


def _where_location_cm(
    link: Link, found: dict[str, Found], location: int, regions: set[str]
) -> tuple[str, str]:
    """The configured column, or else the one whose values are this MetaDB's locations, or else
    the one that means a location and has this one, or else the rows that name the cm_url."""
    here = found["location_cm"]
    chosen = link.server.metadb.location_cm_column
    if chosen is not None:
        column = here.column(chosen)
        if column is None:
            raise _unclear(link, here, f"it has no column {chosen}, which hosts.yaml names")
        return equals(column, str(location)), f"where {column.name} is {location} (hosts.yaml)"
    if _count(link, here, "1 = 1") == 0:
        return "1 = 0", "it is empty"
    codes = regions | {str(location)}
    fits = _fitting(link, here, LOCATION_COLUMNS, codes)
    why = "its values: the regions of this MetaDB"
    wanted = str(location)
    if not fits:
        names = _names(link, found["cluster_info"])
        wanted = next((name for name, code in names.items() if code == str(location)), "")
        fits = _fitting(link, here, REGION_COLUMNS, set(names)) if wanted else []
    if not fits:
        why, wanted = "other values are of no region", str(location)
        columns = filter(None, map(here.column, LOCATION_NAMES))
        fits = [column for column in columns if wanted in values(link, here, column)]
    wheres = {equals(column, wanted): column for column in fits}
    if not wheres and regions <= {str(location)}:
        return _where_it_names(link, here, found["cluster_info"], location)
    if len({read_rows(link, here, where) for where in wheres}) != 1:
        seen = ", ".join(column.name for column in fits) or "none"
        raise _unclear(link, here, f"columns whose values look like locations: {seen}")
    where, column = next(iter(wheres.items()))
    return where, f"where {column.name} is {wanted} ({why})"


def _where_it_names(link: Link, here: Found, info: Found, location: int) -> tuple[str, str]:
    """The rows that name the region's cm_url: no column says whose they are, and there is but one
    region."""
    code = equals(info.need("code"), str(location))
    rows = read_rows(link, info, code, columns=[info.need("cm_url")])
    urls = [CmUrl.read((value or b"").decode("utf-8", "replace")) for (value,) in rows]
    wheres = [where for url in urls for where in naming(link, here, url)]
    if not wheres:
        return "1 = 0", f"none, since no row names the cm_url of location {location}"
    return " or ".join(wheres), f"where a row names {', '.join(map(str, urls))}"


def naming(link: Link, found: Found, url: CmUrl) -> list[str]:
    """Conditions for the rows in which a text names host and port of the url."""
    return [
        f"{column.expression} = {sql.hexadecimal(value)}"
        for column in found.columns
        if column.text
        for value in sorted(_distinct(link, found, column))
        if url.carried_by(value)
    ]


def _distinct(link: Link, found: Found, column: Column) -> set[bytes]:
    rows = link.rows(sql.distinct(found.place, column.expression))
    return {value for (value,) in rows if isinstance(value, bytes)}


def _fitting(link: Link, found: Found, names: Sequence[str], known: set[str]) -> list[Column]:
    """Columns of these names with no value but known ones, and without a gap."""
    columns = (found.column(name) for name in names)
    fits = []
    for column in columns:
        if column is None or _count(link, found, f"{sql.name(column.name)} is null"):
            continue
        there = values(link, found, column)
        if there and there <= known:
            fits.append(column)
    return fits


def _names(link: Link, info: Found) -> dict[str, str]:
    expressions = [info.need(name).expression for name in ("region", "code")]
    rows = link.rows(sql.select_rows(info.place, expressions, "1 = 1"))
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


def refuse_unsafe(link: Link, scope: TableScope, *, deleted: bool = True) -> None:
    """Raise DB-020 where a rollback would not bring everything back; ``deleted`` = rows of the
    table go, and are not merely changed."""
    found = scope.found
    place = f"{found.schema}.{found.name}"
    problems: list[str] = []
    engines = {_text(row[0]).lower() for row in link.rows(sql.TRANSACTIONAL_ENGINES)}
    if found.kind.upper() != "BASE TABLE":
        problems.append(f"{place} is a {found.kind.lower()}, not a table")
    elif found.engine.lower() not in engines:
        problems.append(f"{place} uses {found.engine}: a delete cannot be rolled back")
    for name, event in link.rows(sql.TRIGGERS, (found.schema, found.name)):
        problems.append(f"{place} has trigger {_text(name)} on {_text(event)}: it may do anything")
    for row in link.rows(sql.CASCADES, (found.schema, found.name)) if deleted else ():
        schema, table, name, rule = map(_text, row)
        problems.append(
            f"{schema}.{table} hangs on {place} ({name}, on delete {rule.lower()}): its rows would"
            " go, too, and are in no backup"
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
    asked = [sql.may_delete(found.place), sql.may_insert(found.place, columns)]
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


def _bytes(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise TypeError(f"a cast to binary came back as {type(value).__name__}")


def read_table(link: Link, scope: TableScope, *, lock: bool) -> TableRows:
    """The rows in scope (locked, when they are to be deleted), and the others beside them."""
    found = scope.found
    rows = read_rows(link, found, scope.where, lock=lock)
    others = () if scope.whole else read_rows(link, found, sql.others(scope.where))
    return TableRows(
        table=found.table,
        schema=found.schema,
        name=found.name,
        columns=found.written,
        where=scope.where,
        whole=scope.whole,
        rows=rows,
        others=others,
    )
