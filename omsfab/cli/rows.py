"""`fab meta.*`: the rows of a region, looked at, saved, put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omsfab.errors import InputError, Mismatch, Next
from omsfab.fleet.mask import one_line
from omsfab.metadb import tunnel
from omsfab.metadb.client import ClusterRow, HostRow
from omsfab.metadb.scope import Scope
from omsfab.next_line import fab, shell
from omsfab.plan import steps
from omsfab.plan.procedures import regions
from omsfab.run import jump_host
from omsfab.run.confirmation import Flags
from omsfab.run.session import Session, home_of, hosts_path, load
from omsfab.run.start import start
from omsfab.show.document import document
from omsfab.show.text import say
from omsfab.ssh import shell as ssh

CARRY_OUT = Flags()


def show(region: str, *, as_json: bool = False) -> None:
    """Print what MetaDB holds of each region, and which rows a scale-out would delete."""
    loaded = load(quiet=as_json)
    named = regions.named(loaded, region, fab("meta.show")) if region else None
    metadb = tunnel.edge(loaded.metadb, ssh.connect(loaded.nodes, loaded.ssh))
    metadb = metadb.one_look(steps.TABLES)
    found = metadb.clusters() if metadb.exists() else ()
    hosts = {row.code: metadb.hosts(row.code) for row in found}

    scopes = (
        (one.name, metadb.scope(one.location, steps.TABLES))
        for one in ((named,) if named else loaded.regions)
        if one.location in hosts
    )
    if as_json:
        print(_document(found, hosts, scopes))
        return
    Console().print(_table(found, hosts))
    for name, scope in scopes:
        print(f"rows of region {name}:")
        for line in scope.prose:
            say(f"  {line}")


Hosts: TypeAlias = Mapping[int, Sequence[HostRow]]


def _document(
    found: Sequence[ClusterRow], hosts: Hosts, scopes: Iterable[tuple[str, Scope]]
) -> str:
    return document(
        hosts_file=str(hosts_path()),
        locations=[
            {
                "location": row.code,
                "region": row.region,
                "cm_url": str(row.cm_url),
                "default": row.is_default,
                "hosts": [{"ip": one.ip, "status": one.status} for one in hosts[row.code]],
            }
            for row in found
        ],
        rows=[
            {
                "region": name,
                "location": scope.location,
                "tables": {one.table: one.rows for one in scope.tables},
                "stays": list(scope.stays),
            }
            for name, scope in scopes
        ],
    )


def _table(found: Sequence[ClusterRow], hosts: Hosts) -> Table:
    table = Table(title="cluster_info", title_justify="left")
    for head in ("location", "region", "cm_url", "default", "hosts"):
        table.add_column(head)
    for row in found:
        cells = (
            str(row.code),
            row.region,
            str(row.cm_url),
            str(row.is_default).lower(),
            ", ".join(f"{host.ip} {host.status}" for host in hosts[row.code]) or "none",
        )
        table.add_row(*(escape(one_line(cell)) for cell in cells))
    return table


def save(region: str, flags: Flags = CARRY_OUT) -> None:
    """Back the rows of a region up, verified; nothing is deleted, and nobody is kept waiting."""
    loaded = load()
    where = regions.named(loaded, region, fab("meta.save"))
    home = home_of(loaded)
    if flags.dry:
        print(
            f"dry: nothing was contacted; rows of region {where.name} would be saved below {home}"
        )
        return
    metadb = tunnel.edge(loaded.metadb, ssh.connect(loaded.nodes, loaded.ssh))
    now = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-meta-save"
    if flags.plan:
        for line in metadb.preflight(where.location, steps.TABLES).prose:
            print(line)
        print(f"these rows would be saved below {home / 'saved'}; nothing was changed")
        return
    jump_host.make(home)
    saved = metadb.save(where.location, home / "saved" / now, now)
    for table, count in saved.rows.items():
        print(f"{table:<16} {count} rows")
    lines, script = saved.files
    print(f"saved and read back: {lines}")
    print(f"for a DBA without omsfab: {script}")
    print(f"put back by: {fab('meta.restore', file=lines)}")


def restore(file: str, region: str, flags: Flags) -> None:
    """Put the rows of a backup back: a run like any other, with locks, shown first."""
    session = Session(flags)
    path = Path(file).expanduser().absolute()
    if path.suffix == ".sql":
        path = path.with_suffix(".jsonl")
    if not path.is_file():
        raise InputError(
            "INPUT-041",
            f"there is no backup {path}",
            where="--file",
            next=_others(session.home, path),
        )
    try:
        backup = session.metadb.read_backup(path)
    except Mismatch as error:  # no run is under way that could be resumed
        error.fix, error.next = "", (_others(session.home, path),)
        raise
    where = next((one for one in session.fleet.regions if one.location == backup.location), None)
    if where is None or region not in ("", where.name):
        raise InputError(
            "INPUT-040",
            f"this backup is of location {backup.location}, which is not that of {region or 'any'}",
            where=str(path),
            next=fab("meta.show"),
        )
    rows = ", ".join(f"{table} {count}" for table, count in backup.counts.items())
    if not flags.json:
        say(f"{path.name}: saved {backup.made} UTC by {backup.run_id}: {rows}")
    start(session, "meta.restore", file=str(path), region=where.name)


def _others(home: Path, path: Path) -> Next:
    """The newest backup there is besides this one; without any, where they would be."""
    found = [*home.glob("saved/*/*.jsonl"), *home.glob("[0-9]*/backup/*.jsonl")]
    others = sorted((one for one in found if one != path), key=lambda one: one.stat().st_mtime)
    if others:
        newest = str(others[-1])
        return fab("meta.restore", file=newest, plan=True, note="the newest backup here")
    return shell("ls", str(path.parent), note="no backup is in the state directory")
