"""What is looked at when OMS is in service again: did each row come back, and is nothing left over?

Only cluster_info has columns that are public, so only what it says stops a run; of the other tables
what looks wrong is told, with the line that mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from omsfab.errors import OmsfabError
from omsfab.fleet.values import CmUrl
from omsfab.metadb import backup as files
from omsfab.metadb import identity, sql
from omsfab.metadb import references as referring
from omsfab.metadb import scope as scopes
from omsfab.metadb.backup import Backup, Cells, TableRows
from omsfab.metadb.connection import Link
from omsfab.metadb.scope import Found, Seen
from omsfab.next_line import shell


def wrong_url(link: Link, location: int, url: CmUrl, old: CmUrl | None) -> str | None:
    """What cluster_info says instead of: one row of the region, with this cm_url, and no row with
    the old one; None if it is so."""
    found = scopes.look(link, ["cluster_info"])
    code = scopes.equals(found["cluster_info"].need("code"), str(location))
    info = scopes.read_whole(link, found, {"cluster_info": [code]})["cluster_info"]
    at = info.found.columns.index(info.found.need("cm_url"))
    urls = [CmUrl.read(_text(row[at])) for (ours,), row in info.rows if ours]
    if len(urls) != 1:
        return f"cluster_info has {len(urls)} rows for cm_location {location}, expected 1"
    if not urls[0].same_as(url):
        return f"cluster_info.cm_url is {urls[0]}, expected {url}"
    if old is None or old.same_as(url):
        return None
    return next(_carrying(info, old), None)


def other_urls(
    link: Link, location: int, url: CmUrl, old: CmUrl | None, tables: Sequence[str]
) -> str | None:
    """What the tables whose columns are not public say otherwise about cm_url."""
    found = scopes.look(link, [*dict.fromkeys((*tables, "cluster_info"))])
    seen = scopes.read_region(link, found, location)
    lines = [
        f"location_cm.cm_url is {here}, not {url}"
        for here in _of_location_cm(link, location, seen)
        if not here.same_as(url)
    ]
    if old is not None and not old.same_as(url):
        others = (table for name, table in seen.items() if name != "cluster_info")
        lines += [line for table in others for line in _carrying(table, old)]
    return "\n".join(lines) or None


def _of_location_cm(link: Link, location: int, seen: Mapping[str, Seen]) -> list[CmUrl]:
    """What location_cm says about the region, where it has such a column and can be scoped."""
    column = seen["location_cm"].found.column("cm_url") if "location_cm" in seen else None
    if column is None:
        return []
    try:
        scope = scopes.scope_in(link, seen, location, ["location_cm"]).tables[0]
    except OmsfabError:
        return []
    at = [one.name for one in scope.found.written].index(column.name)
    return [CmUrl.read(_text(row[at])) for row in scope.mine]


def _carrying(seen: Seen, old: CmUrl) -> Iterator[str]:
    """Yield which text columns still name host and port of the old cm_url."""
    texts = [column for column in seen.found.columns if column.text]
    for row in sorted(seen.cells(*texts), key=repr):
        for column, value in zip(texts, row, strict=True):
            if value is not None and old.carried_by(value):
                text = _text(value)[:100]
                yield f"{seen.found.table}.{column.name} still carries the old cm_url: {text}"


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


# --- every row is back -----------------------------------------------------------------------


MEND_HEAD = """\
-- Rows that docker_init.sh has not made again, and what refers to former ids.
-- Read it before you load it.
SET NAMES utf8mb4;
START TRANSACTION;
"""


def rows_back(
    link: Link, backup: Backup, directory: Path, old: CmUrl | None, new: CmUrl
) -> str | None:
    """Which rows that went are not back by their natural key, or have another id while something
    refers to them; with the line that mends it.  None if all is well."""
    found = scopes.look(link, [table.table for table in backup.tables])
    seen = scopes.read_whole(link, found, {})
    lines, mends, moved = _lacking(link, backup, seen, old, new)
    for line, mend in _dangling(link, backup, found, moved):
        lines.append(line)
        mends.append(mend)
    if not lines:
        return None
    path = directory / f"region-{backup.location}-mend.sql"
    text = "".join(f"{mend};\n" for mend in mends)
    files.write_private(path, f"{MEND_HEAD}{text}COMMIT;\n".encode())
    metadb = link.server.metadb
    line_ = shell(
        "mysql", "-h", metadb.host, "-P", str(metadb.port), "-u", metadb.user, "-p",
        "-e", f"source {path}", note="puts them right; read the file first",
    )  # fmt: skip
    return "\n".join([*lines, str(line_)])


def _lacking(
    link: Link, backup: Backup, seen: Mapping[str, Seen], old: CmUrl | None, new: CmUrl
) -> tuple[list[str], list[str], dict[str, dict[bytes, bytes]]]:
    """What is not back, what mends it, and by table the former ids with what they are now."""
    lines: list[str] = []
    mends: list[str] = []
    moved: dict[str, dict[bytes, bytes]] = {}
    for table in reversed(backup.tables):
        here = seen.get(table.table)
        if here is None:
            lines += [f"{table.table}: the table is gone"] if table.rows else []
            continue
        now = scopes.rows_as(link, here, table.columns)
        lacking, others = _compare(table, now)
        for row in lacking:
            lines.append(f"{table.table} {identity.key(table, row)} is not back")
            mends.append(_insert(table, row, moved, old, new))
        moved[table.table] = others
    return lines, mends, moved


def _dangling(
    link: Link,
    backup: Backup,
    found: Mapping[str, Found],
    moved: Mapping[str, dict[bytes, bytes]],
) -> Iterator[tuple[str, str]]:
    """Yield what refers to former ids, and the statement that moves it."""
    scope = scopes.Scope(
        backup.location, (),
        tuple(
            scopes.TableScope(found[table.table], table.where, False, "")
            for table in backup.tables
            if table.table in found
        ),
    )  # fmt: skip
    for pointer in referring.pointers(link, scope):
        ids = moved.get(pointer.to.table, {})
        if not ids or pointer.column.lower() != "id" or pointer.to.found.column("id") is None:
            continue
        rows = sql.count(sql.name(pointer.schema, pointer.table), sql.among(pointer.name, [*ids]))
        count = int(link.rows(rows)[0][0])
        if count:
            now = ", ".join(f" {a.decode()} is {b.decode()} now" for a, b in sorted(ids.items()))
            yield (
                f"{pointer.place}: {count} rows refer to former ids of {pointer.to.table}:{now}",
                sql.move_ids(sql.name(pointer.schema, pointer.table), pointer.name, ids),
            )


def _compare(table: TableRows, now: Sequence[Cells]) -> tuple[list[Cells], dict[bytes, bytes]]:
    """The saved rows whose natural key is gone, and former ids with what they are now."""
    keys = identity.key_of(table)
    if not keys:  # nobody knows its columns: the rows are counted
        return [*table.rows[len(now) :]] if len(now) < len(table.rows) else [], {}
    names = [column.name.lower() for column in table.columns]
    id = names.index("id") if "id" in names else None
    there: dict[Cells, list[Cells]] = {}
    for row in now:
        there.setdefault(tuple(row[n] for n in keys), []).append(row)
    every = {row[id] for row in now} if id is not None else set()
    lacking, others = [], {}
    for row in table.rows:
        same = there.get(tuple(row[n] for n in keys))
        if not same:
            lacking.append(row)
            continue
        former = row[id] if id is not None else None
        if id is not None and former is not None and len(same) == 1 and former not in every:
            others[former] = same[0][id] or b""
    return lacking, others


def _insert(
    table: TableRows,
    row: Cells,
    moved: Mapping[str, Mapping[bytes, bytes]],
    old: CmUrl | None,
    new: CmUrl,
) -> str:
    """The row as it was, but for the cm_url, and for the id of a group that has another one now."""
    groups = moved.get("resource_group", {})
    cells = tuple(
        groups.get(value, value)
        if value is not None and column.name.lower() == "resource_group_id"
        else old.replaced_in(value, new)
        if old and value is not None and column.text
        else value
        for column, value in zip(table.columns, row, strict=True)
    )
    literals = [c.literal(v) for c, v in zip(table.columns, cells, strict=True)]
    return sql.insert_row(table.place, [column.name for column in table.columns], literals)


# --- whole tables ----------------------------------------------------------------------------


def left_over(link: Link, tables: Sequence[str]) -> str | None:
    """What no OMS has in service: hosts of a group that is gone, and two rows of one key."""
    wanted = [table for table in tables if table != "location_cm"]  # a url per node: a row per node
    seen = scopes.read_whole(link, scopes.look(link, wanted), {})
    lines: list[str] = []
    if {"host", "resource_group"} <= {*seen}:
        host, group = seen["host"], seen["resource_group"]
        groups = group.values(group.found.need("id"))
        columns = [host.found.need("ip"), host.found.need("resource_group_id")]
        lines += [
            f"host {_word(ip)} is of resource_group {_word(key)}, which is gone"
            for ip, key in sorted(host.cells(*columns), key=repr)
            if key is not None and _word(key) not in groups
        ]
    for table, here in seen.items():
        key = here.found.column(identity.KEYS[table][0])
        counted = Counter(here.cells(key)) if key else {}
        lines += [
            f"{table} has {times} rows of {key.name} {_word(value)}"
            for (value,), times in sorted(counted.items(), key=repr)
            if key and times > 1
        ]
    return "\n".join(lines) or None


def _word(value: bytes | None) -> str:
    return (value or b"NULL").decode("utf-8", "replace")


# --- hosts -----------------------------------------------------------------------------------


def where_is(link: Link, location: int, ip: str) -> str:
    """Why a host has no row among the region's: none at all, or one of another group."""
    if scopes.find(link, link.server.metadb.cm_db, "host") is None:
        return f"{ip} has no row in host"
    found = scopes.look(link, ["host", "resource_group"])
    host, group = found["host"], found["resource_group"]
    rows = scopes.read_rows(
        link, host, scopes.equals(host.need("ip"), ip), columns=[host.need("resource_group_id")]
    )
    if not rows:
        return f"{ip} has no row in host"
    names = {
        _word(key): _word(name)
        for key, name in scopes.read_rows(
            link, group, "1 = 1", columns=[group.need("id"), group.need("name")]
        )
    }
    key = _word(rows[0][0])
    whose = f"named {names[key]}" if key in names else "which is gone"
    return f"{ip} has a row in host, but of resource_group {key}, {whose}, not of {location}"
