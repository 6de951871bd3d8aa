"""What must be so whatever happens; judged by the world itself, and never by omsfab.

No module of omsfab is imported here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tests.simulation.fleet import CM, CONFIG, CONTAINER, RM, Fleet
from tests.simulation.node import PROGRAMS, parsed

WRITTEN = {
    "cluster_info": "code",
    "location_cm": "location",
    "host": "ip",
    "resource_group": "name",
}
"""The natural key of each of the four tables."""

STRANGER = "10.9.9.9"
"""A host that a DBA has written in by hand: it stays, whatever omsfab does."""

LONGEST = 2 * 3600.0
"""Seconds for which nobody may have to wait for a line."""

FRESH = 15.0
"""Seconds that nobody can guard: between the last question and the COMMIT."""


class State:
    """The world at one moment, as an auditor would write it down."""

    def __init__(self, fleet: Fleet) -> None:
        self.rows = fleet.rows()
        self.hosts = {row["ip"]: row["host_status"] for row in fleet.metadb.rows(CM, "host")}
        self.nodes: dict[str, dict[str, Any]] = {}
        for name, node in fleet.nodes.items():
            found = node.containers.get(CONTAINER)
            config = node.files.get(CONFIG)
            self.nodes[name] = {
                "container": found.state if found else "none",
                "id": found.id if found else "",
                "programs": {p: node.state(one) for p, one in found.programs.items()}
                if found and found.state == "running"
                else {},
                "config": config.content if config else None,
                "seen": found.config.content if found and found.config else None,
                "components": found.components if found else None,
            }


def _alive(state: dict[str, Any]) -> list[str]:
    return [n for n in PROGRAMS if state["programs"].get(n) in ("RUNNING", "STARTING")]


def not_golden(fleet: Fleet, wanted: dict[str, Any], region: str) -> Iterator[str]:
    """Yield what is not as hosts.yaml wants the region: rows, nodes, programs, config.yaml."""
    state = State(fleet)
    one = wanted[region]
    location, url = one["location"], one["cm_url"]
    info = [row for row in state.rows["cluster_info"] if row[0] == location]
    if [row[2] for row in info] != [url]:
        yield f"cluster_info has {info} for location {location}"
    hosts = sorted(
        ip for ip, group in state.rows["host"] if group == str(location) and ip != STRANGER
    )
    if hosts != sorted(one["nodes"].values()):
        yield f"host rows of location {location} are {hosts}"
    for name, ip in one["nodes"].items():
        node = state.nodes[name]
        if node["container"] != "running":
            yield f"{name}: container is {node['container']}"
            continue
        if _alive(node) != list(PROGRAMS):
            yield f"{name}: programs {node['programs']}"
        if state.hosts.get(ip) != "ONLINE":
            yield f"{name}: host_status {state.hosts.get(ip)}"
        for what in ("config", "seen"):
            found = parsed(node[what] or b"")
            if found.get("cm_url") != url:
                yield f"{name}: cm_url in the config.yaml ({what}) is {found.get('cm_url')}"
            elif sorted(found.get("cm_nodes", ())) != sorted(one["nodes"].values()):
                yield f"{name}: cm_nodes in the config.yaml ({what}) is {found.get('cm_nodes')}"
        parts = node["components"] or {}
        if parts.get("cm_url") != url:
            yield f"{name}: the components know cm_url {parts.get('cm_url')}"
        elif sorted(parts.get("cm_nodes", ())) != sorted(one["nodes"].values()):
            yield f"{name}: the components know cm_nodes {parts.get('cm_nodes')}"
    if any(init.ended is None for init in fleet.inits):
        yield "a docker_init.sh is still running"


def not_before(
    fleet: Fleet, before: State, *, spared: bool = False, untouched: Collection[str] = ()
) -> Iterator[str]:
    """Yield what is not as it was before the first line.  ``untouched`` are nodes to which no run
    has done anything: if they are down, they went down by themselves."""
    now = State(fleet)
    for table, rows in before.rows.items():
        if now.rows[table] != rows:
            yield f"{table} has {now.rows[table]}, before {rows}"
    for name, then in before.nodes.items():
        node = now.nodes[name]
        if name in untouched and node["container"] == "exited":
            continue
        if node["container"] != then["container"]:
            yield f"{name}: container is {node['container']}, was {then['container']}"
        if node["id"] != then["id"]:
            yield f"{name}: another container than before"
        if node["config"] != then["config"]:
            yield f"{name}: config.yaml is another one than before"
        if not spared and _alive(node) != _alive(then):
            yield f"{name}: programs {node['programs']}, before {then['programs']}"
        parts, former = node["components"] or {}, then["components"] or {}
        if parts.get("cm_url") != former.get("cm_url"):
            yield f"{name}: the components know cm_url {parts.get('cm_url')}"
    if any(init.ended is None and init.attempt for init in fleet.inits):
        yield "a docker_init.sh is still running"


Rows = dict[tuple[str, str], dict[str, Any]]
"""Rows by table and natural key."""


def _identity(row: dict[str, Any]) -> str:
    return " ".join(str(row.get(name)) for name in ("cm_url", "region", "ip", "location", "name"))


class Watch:
    """Looks at every commit and every beginning of docker_init.sh; ``broken`` says what it saw."""

    def __init__(self, fleet: Fleet, homes: list[Path]) -> None:
        self.fleet, self.homes = fleet, homes
        self.broken: list[str] = fleet.broken
        self.first = self._rows()
        """Every row that was there before, by its table and natural key."""
        self._before = self.first

    def _rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = {}
        for table, key in WRITTEN.items():
            schema = RM if table == "cluster_info" else CM
            for row in self.fleet.metadb.rows(schema, table):
                found[table, str(row[key])] = row
        return found

    def committing(self) -> None:
        self._before = self._rows()

    def typed(self) -> set[tuple[str, str, str]]:
        """The rows that are there when a line is typed: what its plan can show."""
        return {(*place, _identity(row)) for place, row in self._rows().items()}

    def committed(self, shown: set[tuple[str, str, str]] | None) -> None:
        """After a COMMIT of omsfab: which rows has it taken out, and where are they now?  With
        ``shown`` nothing else may go than what was there when the line was typed."""
        now = self._rows()
        for place, row in self._before.items():
            if shown is not None and place not in now and (*place, _identity(row)) not in shown:
                self.broken.append(f"row {place[1]} of {place[0]} went, and no plan showed it")
        gone = [place for place in self._before if place not in now]
        if gone:
            self._all_saved(gone, self._before)
        if ("cluster_info", "1") in gone:
            self._deleted_while_running()
            theirs = [key for table, key in gone if key in ("2", "10.0.0.3") and self._two]
            if theirs:
                self.broken.append(f"rows of another region went: {', '.join(theirs)}")

    def at_the_end(self) -> None:
        """No row that was there at the beginning is lost."""
        now = self._rows()
        self._all_saved([place for place in self.first if place not in now])

    def _all_saved(self, gone: list[tuple[str, str]], then: Rows | None = None) -> None:
        """``then`` are the rows as they were when they went: they are saved as that."""
        saved = self._saved() if gone else []
        for place in gone:
            if not self._is_saved(place, saved, then and then[place]):
                self.broken.append(f"row {place[1]} of {place[0]} is in no table and no backup")

    def _deleted_while_running(self) -> None:
        for node in self.fleet.nodes.values():
            found = node.running(CONTAINER)
            if found is None or not found.components:
                continue
            if str(found.components.get("cm_location")) != "1":
                continue
            alive = [
                name
                for name in node.alive(found)
                if self.fleet.world.now - found.programs[name].at > FRESH
            ]
            if alive:
                self.broken.append(
                    f"rows of the region were deleted while {', '.join(alive)} ran on {node.name}"
                )

    def _saved(self) -> list[dict[str, Any]]:
        """All backups there are, on jump hosts and as copies on nodes, whole ones only."""
        found = [p.read_bytes() for home in self.homes for p in home.rglob("*.jsonl")
                 if p.name != "journal.jsonl"]  # fmt: skip
        found += self._copies()
        return [one for data in found for one in _rows_of(data)]

    def _copies(self) -> list[bytes]:
        found = []
        for node in self.fleet.nodes.values():
            found += [
                f.content
                for path, f in node.files.items()
                if path.startswith("/var/lib/omsfab/") and "/backup/" in path
                and path.endswith(".jsonl")
            ]  # fmt: skip
        return found

    def _is_saved(
        self, place: tuple[str, str], saved: list[dict[str, Any]], then: dict[str, Any] | None
    ) -> bool:
        table, key = place
        there = [one["row"] for one in saved
                 if one["t"] == table and str(one["row"].get(WRITTEN[table])) == key]  # fmt: skip
        return any(then is None or one.get("cm_url") == then.get("cm_url") for one in there)

    def initialising(self) -> None:
        """At the beginning of a docker_init.sh that omsfab started: no other one runs."""
        running = [one for one in self.fleet.inits if one.ended is None]
        ours = [one for one in running if one.attempt]
        newest = self.fleet.inits[-1]
        beside = [one for one in running if one is not newest and one.node == newest.node
                  and newest.began - one.began > 3.0]  # fmt: skip
        if newest.attempt and beside:
            self.broken.append(
                f"{newest.attempt} was begun on {newest.node} beside a docker_init.sh that ran"
            )
        if len(ours) > 1:
            where = ", ".join(f"{one.node} ({one.attempt})" for one in ours)
            self.broken.append(f"two docker_init.sh of omsfab at once: {where}")
        newest = self.fleet.inits[-1]
        self._upon_dirty_rows(newest)
        again = [
            one
            for one in self.fleet.inits[:-1]
            if one.attempt and one.node == newest.node and one.well and one.attempt
            and one.attempt.rpartition("-")[0] == newest.attempt.rpartition("-")[0]
        ]  # fmt: skip
        if newest.attempt and again:
            self.broken.append(
                f"docker_init.sh ran on {newest.node} although {again[0].attempt} had ended well"
            )

    def _upon_dirty_rows(self, init: Any) -> None:
        """Where a run has deleted the region's rows, none of them is back when it initialises:
        rows that are there would stay as they are."""
        run = init.attempt.partition("-initialise")[0]
        markers = self.fleet.metadb.rows(RM, "omsfab_marker")
        cleared = any(m["run_id"] == run and m["step"].startswith("clear@1") for m in markers)
        earlier = any(one.attempt.startswith(run) for one in self.fleet.inits[:-1])
        if not cleared or earlier or not self.came < self.quiet:
            return
        if back := [row["cm_url"] for row in self.fleet.metadb.rows(RM, "cluster_info")
                    if row["code"] == 1]:  # fmt: skip
            self.broken.append(f"docker_init.sh is run by {run} upon rows that came back: {back}")

    @property
    def _two(self) -> bool:
        """Whether there was another region from the beginning."""
        return ("cluster_info", "2") in self.first

    came = 1e9
    """When somebody last wrote rows by hand."""
    quiet = 0.0
    """When omsfab first looked whether rows have come back."""

    def copied_first(self) -> None:
        """Rows that a run deletes lie on a second machine by then, too."""
        now = self._rows()
        gone = [place for place in self._before if place not in now]
        if ("cluster_info", "1") in gone:
            copies = [one for data in self._copies() for one in _rows_of(data)]
            for place in gone:
                if not self._is_saved(place, copies, self._before[place]):
                    self.broken.append(f"row {place[1]} of {place[0]} went, and no node has a copy")


def _rows_of(data: bytes) -> Iterator[dict[str, Any]]:
    """The rows of a backup file; none if a bit of it is wrong."""
    lines = data.splitlines()
    if len(lines) < 2:
        return
    body = b"".join(line + b"\n" for line in lines[:-1])
    try:
        if json.loads(lines[-1]).get("end") != hashlib.sha256(body).hexdigest():
            return
        head, *rest = (json.loads(line) for line in lines[:-1])
        names = {t["table"]: [column[0] for column in t["columns"]] for t in head["tables"]}
        for one in rest:
            row = one.get("row") or one.get("other")
            if row is not None:
                yield {"t": one["t"], "row": dict(zip(names[one["t"]], row, strict=True))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return
