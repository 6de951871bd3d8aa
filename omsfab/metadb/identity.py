"""What tells one row from another, in tables whose columns nobody outside the vendor knows.

OMS in service writes times, states and measures into its rows at any moment, so two looks at one
row differ in bytes.  What identifies a row does not move by itself: keys, ids, addresses, urls,
codes, names.  Any other text may be a person's, or OMS may write it: that it is another one is told
and stops nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from omsfab.metadb import backup as files
from omsfab.metadb.backup import Cells, Column, TableRows

TIMES = {"datetime", "timestamp", "date", "time", "year"}

_IDENTIFYING = re.compile(
    r"id|ids|ip|ips|code|name|key|url|uri|host|address|addr|port|location|region(_cn)?|domain|zone"
    r"|.*_(id|ip|code|name|key|url|uri|host|address|addr|port|location|region(_cn)?)"
    r"|is_default.*"
)
_LIVELY = re.compile(
    r"(.*_)?(status|state|health|healthy|heart_?beat|beat|version|revision|modified|updated?"
    r"|checked|seen|time|date|cpu|mem|memory|disk|load|usage|used|free|avail|available|total|count"
    r"|cnt|num|number|seq|sequence|size|rate|ratio|percent|metrics?|stats?|lease|epoch|score"
    r"|progress|tick|moved?|moving|live|lively|alive|gmt)(_.*)?"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

KEYS = {
    "cluster_info": ("code",),
    "resource_group": ("name",),
    "host": ("ip",),
    "location_cm": ("location", "cm_location", "location_code", "location_id", "code", "name"),
}
"""The natural key of a table; of location_cm the first of them that it has."""


def snake(name: str) -> str:
    """``resourceGroupId`` -> ``resource_group_id``."""
    return _HUMP.sub("_", name).lower()


def identifying(column: Column) -> bool:
    """True if the column tells a row from another: it never moves by itself."""
    return column.type not in TIMES and _IDENTIFYING.fullmatch(snake(column.name)) is not None


def said(column: Column) -> bool:
    """True of any other text, unless its name says that it is a state or a measure."""
    lively = column.type in TIMES or _LIVELY.fullmatch(snake(column.name)) is not None
    return not (lively or identifying(column)) and column.text and column.type != "json"


def only(columns: Sequence[Column], rows: Iterable[Cells], wanted: Sequence[Column]) -> list[Cells]:
    """The rows, with the wanted columns only."""
    places = [n for n, column in enumerate(columns) if column in wanted]
    return [tuple(row[n] for n in places) for row in rows]


def key_of(table: TableRows) -> tuple[int, ...]:
    """Where the natural key stands in a row; nowhere if none is known."""
    names = [column.name.lower() for column in table.columns]
    wanted = [name for name in KEYS.get(table.table, ()) if name in names]
    return tuple(names.index(name) for name in wanted[:1])


def key(table: TableRows, row: Cells) -> str:
    """The natural key of a row as text, e.g. ``10.0.0.1``."""
    return ", ".join((row[n] or b"NULL").decode("utf-8", "replace") for n in key_of(table))


Shown = tuple[tuple[str, str, str], ...]
"""Rows as they were shown: table, natural key, digest of what is steady."""


TEXTS = "*"
"""Behind the name of a table: the digest is that of its other texts, which may move."""


def shown(tables: Iterable[TableRows]) -> Shown:
    """The fingerprint of the rows in scope, row by row, so that it can be told what changed."""
    found = []
    for table in tables:
        for mark, counts in (("", identifying), (TEXTS, said)):
            wanted = [column for column in table.columns if counts(column)]
            for row, cells in zip(table.rows, only(table.columns, table.rows, wanted), strict=True):
                (text,) = files.canonical([cells])
                digest = hashlib.sha256(text.encode()).hexdigest()[:16]
                found.append((table.table + mark, key(table, row), digest))
    return tuple(sorted(found))


def changed(then: Shown, now: Shown) -> list[str]:
    """A line per row that came, went or is another one, by what identifies it."""
    before, after = (
        _counted([row for row in rows if not row[0].endswith(TEXTS)]) for rows in (then, now)
    )
    gone = sorted(one for one, times in before.items() if after.get(one, 0) < times)
    come = sorted(one for one, times in after.items() if before.get(one, 0) < times)
    edited = {one[:2] for one in gone} & {one[:2] for one in come}
    return [
        *(f"{table} {key}: edited" for table, key in sorted(edited)),
        *(f"{table} {key}: gone" for table, key, _ in gone if (table, key) not in edited),
        *(f"{table} {key}: new" for table, key, _ in come if (table, key) not in edited),
    ]


def retold(then: Shown, now: Shown) -> list[str]:
    """A line per row whose other texts are other ones by now: edited, or written by OMS."""
    before = {row[:2]: row[2] for row in then if row[0].endswith(TEXTS)}
    after = {row[:2]: row[2] for row in now if row[0].endswith(TEXTS)}
    return [
        f"{table.removesuffix(TEXTS)} {key}: texts are others than when it was shown; the backup"
        " has those of now"
        for (table, key), digest in sorted(before.items())
        if after.get((table, key), digest) != digest
    ]


def _counted(rows: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], int]:
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        counts[row] = counts.get(row, 0) + 1
    return counts
