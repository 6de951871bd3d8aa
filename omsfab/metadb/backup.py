"""Rows as files: JSON lines that are read back and compared, and a .sql for a DBA without omsfab.

The .jsonl has a header, one line per row, and a last line with the sha256 of all before it.  Rows
of the region itself are what a restore writes; rows of other regions are kept to prove later that
nobody touched them.  Both files are 0600 and final only after fsync and rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from omsfab.errors import OmsfabError
from omsfab.metadb import sql
from omsfab.next_line import shell

Cell: TypeAlias = "bytes | None"
Cells: TypeAlias = "tuple[Cell, ...]"

FORMAT, VERSION = "omsfab-rows", 1

_GENERATED = re.compile(r"\b(VIRTUAL|STORED|PERSISTENT)\b", re.IGNORECASE)
_PLAIN = re.compile(rb"[0-9A-Za-z:/._ +-]+")
_ASCII_BASED = {"utf8", "utf8mb3", "utf8mb4", "latin1", "ascii", "gbk", "gb18030"}
_AS_TEXT = {
    "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "float", "double",
    "date", "datetime", "timestamp", "time", "year",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    charset: str | None = None
    extra: str = ""

    @property
    def generated(self) -> bool:
        """Computed by the server, so never written; DEFAULT_GENERATED is only a default."""
        return bool(_GENERATED.search(self.extra))

    @property
    def expression(self) -> str:
        return sql.exact(self.name, self.type)

    @property
    def text(self) -> bool:
        return self.type == "json" or (self.charset or "binary") != "binary"

    def literal(self, value: Cell) -> str:
        """The value as a word of an INSERT: no quoting rule, no charset, no rounding can bite."""
        if value is None:
            return "NULL"
        if self.type == "bit":
            return str(int.from_bytes(value, "big"))
        readable = self.type in _AS_TEXT or (self.text and self.charset in _ASCII_BASED)
        if readable and _PLAIN.fullmatch(value):
            return f"'{value.decode('ascii')}'"
        if self.text:
            charset = "utf8mb4" if self.type == "json" else self.charset
            return f"_{charset} X'{value.hex().upper()}'"
        return f"X'{value.hex().upper()}'"


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of one table: those of the region, and those that must not change.

    ``where`` selects the region's; ``whole`` says that this is all of the table.
    """

    table: str
    schema: str
    name: str
    columns: tuple[Column, ...]
    where: str
    whole: bool
    rows: tuple[Cells, ...]
    others: tuple[Cells, ...] = ()

    @property
    def place(self) -> str:
        return sql.name(self.schema, self.name)

    def inserts(self) -> Iterable[str]:
        names = [column.name for column in self.columns]
        for row in self.rows:
            literals = [c.literal(v) for c, v in zip(self.columns, row, strict=True)]
            yield sql.insert_row(self.place, names, literals)


@dataclass(frozen=True, slots=True)
class Backup:
    """What one surgery saved.  ``made`` is the clock of the database, UTC."""

    run_id: str
    step: str
    location: int
    made: str
    server: str
    tables: tuple[TableRows, ...]

    @property
    def counts(self) -> dict[str, int]:
        return {table.table: len(table.rows) for table in self.tables}

    @property
    def sha256(self) -> str:
        """Digest of the region's rows: equal before a delete and after a restore."""
        parts = ((table.table, digest(table.rows)) for table in self.tables)
        return hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()

    def of(self, table: str) -> TableRows | None:
        return next((rows for rows in self.tables if rows.table == table), None)


class BadBackup(Exception):
    """A backup file is not what was written; the text says in what."""


# --- cells and digests -----------------------------------------------------------------------


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)


def _cell(value: Cell) -> object:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _uncell(value: Any) -> Cell:
    if value is None:
        return None
    return value.encode("utf-8") if isinstance(value, str) else bytes.fromhex(value["hex"])


def canonical(rows: Iterable[Cells]) -> list[str]:
    """Rows as sorted texts: no engine promises an order."""
    return sorted(_dump([_cell(value) for value in row]) for row in rows)


def digest(rows: Iterable[Cells]) -> str:
    return hashlib.sha256("\n".join(canonical(rows)).encode()).hexdigest()


# --- writing ---------------------------------------------------------------------------------


def as_lines(backup: Backup) -> bytes:
    """The .jsonl, whole."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "run": backup.run_id,
        "step": backup.step,
        "location": backup.location,
        "made": backup.made,
        "server": backup.server,
        "sha256": backup.sha256,
        "tables": [
            {
                "table": table.table,
                "schema": table.schema,
                "name": table.name,
                "where": table.where,
                "whole": table.whole,
                "columns": [[c.name, c.type, c.charset, c.extra] for c in table.columns],
                "rows": len(table.rows),
                "sha256": digest(table.rows),
                "others": len(table.others),
                "others_sha256": digest(table.others),
            }
            for table in backup.tables
        ],
    }
    lines = [_dump(header)]
    for table in backup.tables:
        for kind, rows in (("row", table.rows), ("other", table.others)):
            lines += [_dump({"t": table.table, kind: [_cell(v) for v in row]}) for row in rows]
    body = "".join(line + "\n" for line in lines).encode()
    return body + (_dump({"end": hashlib.sha256(body).hexdigest()}) + "\n").encode()


SQL_HEAD = """\
-- Rows of OMS, saved by omsfab before it deleted them.
-- run {run}, cm_location {location}, {made} UTC, from {server}
-- Loading this file puts them back and replaces what this region has there by then:
--     mysql -h HOST -P PORT -u USER -p < {file}
SET NAMES utf8mb4;
SET SESSION sql_mode = '{mode}';
SET SESSION time_zone = '+00:00';
SET SESSION foreign_key_checks = 0;
START TRANSACTION;
"""


def as_sql(backup: Backup, file: str) -> bytes:
    """The .sql, whole: one statement a line; text and blobs in hex, so that nothing can break."""
    head = SQL_HEAD.format(
        run=_comment(backup.run_id),
        location=backup.location,
        made=backup.made,
        server=_comment(backup.server),
        file=_comment(file),
        mode=sql.SQL_MODE,
    )
    lines = [head]
    for table in backup.tables:
        lines.append(f"-- {_comment(table.name)}: {len(table.rows)} rows\n")
        lines.extend(text + ";\n" for text in _deletes(backup, table))
    for table in reversed(backup.tables):
        lines.extend(text + ";\n" for text in table.inserts())
    lines.append("COMMIT;\n")
    return "".join(lines).encode()


def _deletes(backup: Backup, table: TableRows) -> Iterable[str]:
    """What the region has there by then; an initialisation gives its groups new ids."""
    yield sql.delete_rows(table.place, table.where)
    group = backup.of("resource_group")
    if table.table == "host" and group is not None and not table.whole:
        yield sql.delete_rows(table.place, sql.of_groups(group.place, group.where))


def _comment(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text)


def write_private(path: Path, content: bytes) -> None:
    """Write a file 0600 that is either whole or not there; raises OSError."""
    part = path.with_name(path.name + ".part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def save(backup: Backup, directory: Path, stem: str) -> tuple[Path, Path]:
    """Write both files, read them back from the disk, and compare them with the rows in memory.

    Returns their paths; a former backup is never overwritten: its number grows.
    Raises OmsfabError DB-024 when they cannot be written, DB-021 when they are not what was
    written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1 + max((n for n, _ in numbered(directory, stem)), default=0)
        lines = directory / f"{stem}.{number}.jsonl"
        script = directory / f"{stem}.{number}.sql"
        plain = as_sql(backup, script.name)
        write_private(script, plain)
        write_private(lines, as_lines(backup))
    except OSError as exc:
        raise OmsfabError(
            "DB-024",
            f"cannot write the row backup: {exc.strerror or exc}",
            where=str(directory),
            evidence="no row was deleted: without a verified backup none ever is",
            fix="make room there, or give the right to write",
            next=shell("df", "-h", str(directory)),
        ) from exc
    try:
        if load(lines) != backup:
            raise BadBackup("the rows read back differ from the rows of the MetaDB")
        if script.read_bytes() != plain:
            raise BadBackup(f"{script.name} is not what was written")
    except (BadBackup, OSError) as exc:
        raise OmsfabError(
            "DB-021",
            f"backup verification failed: {exc}",
            where=str(lines),
            evidence="no row was deleted: without a verified backup none ever is",
            fix="make room there, or give the right to write",
            next=shell("df", "-h", str(directory)),
        ) from exc
    return lines, script


# --- reading ---------------------------------------------------------------------------------


def numbered(directory: Path, stem: str) -> list[tuple[int, Path]]:
    """The backups in a directory, oldest first, each with its number."""
    pattern = re.compile(re.escape(stem) + r"\.(\d+)\.(jsonl|sql)")
    found = ((pattern.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def latest(directory: Path, stem: str) -> Path | None:
    """The newest backup: the last one is the one whose rows were deleted.

    An attempt that ended before its DELETE is followed by another, and none follows a delete.
    """
    try:
        paths = [path for _, path in numbered(directory, stem) if path.suffix == ".jsonl"]
    except OSError:
        return None
    return paths[-1] if paths else None


def load(path: Path) -> Backup:
    """Read a .jsonl; raises BadBackup, saying what is wrong, when a single bit is."""
    content = path.read_bytes()
    body, _, last = content[:-1].rpartition(b"\n")
    body += b"\n"
    if not content.endswith(b"\n") or last != _end(body):
        raise BadBackup(f"{path.name} is cut short or altered")
    try:
        header, *lines = (json.loads(line) for line in body.splitlines())
        if header["format"] != FORMAT or header["version"] != VERSION:
            raise BadBackup(f"{path.name} is of another format: {header['version']}")
        backup = _parse(header, lines)
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise BadBackup(f"{path.name} does not parse: {exc!r}") from exc
    for table, promised in zip(backup.tables, header["tables"], strict=True):
        found = (len(table.rows), digest(table.rows), len(table.others), digest(table.others))
        keys = ("rows", "sha256", "others", "others_sha256")
        if found != tuple(promised[key] for key in keys):
            raise BadBackup(f"{path.name} lacks or alters rows of {table.table}")
    return backup


def _end(body: bytes) -> bytes:
    return _dump({"end": hashlib.sha256(body).hexdigest()}).encode()


def _parse(header: dict[str, Any], lines: Sequence[dict[str, Any]]) -> Backup:
    rows: dict[tuple[str, str], list[Cells]] = {}
    for line in lines:
        kind = "row" if "row" in line else "other"
        rows.setdefault((line["t"], kind), []).append(tuple(_uncell(v) for v in line[kind]))
    tables = tuple(
        TableRows(
            table=entry["table"],
            schema=entry["schema"],
            name=entry["name"],
            columns=tuple(Column(*column) for column in entry["columns"]),
            where=entry["where"],
            whole=entry["whole"],
            rows=tuple(rows.get((entry["table"], "row"), ())),
            others=tuple(rows.get((entry["table"], "other"), ())),
        )
        for entry in header["tables"]
    )
    return Backup(
        run_id=header["run"],
        step=header["step"],
        location=header["location"],
        made=header["made"],
        server=header["server"],
        tables=tables,
    )
