"""What is so, asked past omsfab: rows by SQL, files and containers inside the nodes, counters.

Imports nothing of omsfab but its lab.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omsfab.lab import Lab

CONTAINER = "oms_427"
CONFIG = "/data/config.yaml"
TABLES = ("oms_rm.cluster_info", "oms_cm.resource_group", "oms_cm.host", "oms_cm.location_cm")
KEYS = {"cluster_info": "code", "resource_group": "name", "host": "ip", "location_cm": "location"}
VOLATILE = {"gmt_created", "gmt_modified", "host_status"}


def rows(lab: Lab, table: str, *, all_columns: bool = False) -> list[dict[str, Any]]:
    """The rows of a table; without the columns that OMS itself keeps changing."""
    connection = lab.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"select * from {table} order by 1")
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        connection.close()
    if all_columns:
        return found
    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in found]


def container(lab: Lab, node: str) -> dict[str, Any]:
    """``docker inspect`` of the OMS container; empty if there is none."""
    said = lab.enter(node, ["docker", "inspect", "--type", "container", CONTAINER])
    found: list[dict[str, Any]] = json.loads(said.stdout) if said.returncode == 0 else []
    return found[0] if found else {}


def programs(lab: Lab, node: str) -> dict[str, str]:
    """Program -> state, as supervisord of the container says."""
    said = lab.enter(node, ["docker", "exec", CONTAINER, "supervisorctl", "status"])
    return {line.split()[0]: line.split()[1] for line in said.stdout.splitlines() if line.split()}


def config(lab: Lab, node: str) -> tuple[str, str]:
    """Digest and mode of config.yaml on the node; empty if it is no file."""
    path = lab.path(node, CONFIG)
    if not path.is_file():
        return "", ""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest, f"{path.stat().st_mode & 0o777:o}"


def snapshot(lab: Lab) -> dict[str, Any]:
    """All that a refused run must leave alone."""
    state: dict[str, Any] = {table: rows(lab, table) for table in TABLES}
    for node in lab.nodes:
        found = container(lab, node.name)
        state[f"{node.name} container"] = (found.get("Id"), found.get("State", {}).get("Running"))
        state[f"{node.name} config.yaml"] = config(lab, node.name)
        state[f"{node.name} inits"] = lab.counters(node.name)["started"]
        if found and found["State"]["Running"]:
            state[f"{node.name} programs"] = programs(lab, node.name)
    return state


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each thing that is not as it was."""
    return [
        f"{key}: {before.get(key)} -> {after.get(key)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def in_service(
    lab: Lab, nodes: Sequence[str], *, named: Sequence[str] = (), location: int = 1
) -> Iterator[str]:
    """Yield what is missing for these nodes to be one OMS behind the VIP.

    ``named`` are the nodes that config.yaml lists, where those are more.
    """
    url = f"http://{lab.vip}:8088"
    ips = {lab.node(name).ip for name in nodes}
    group = [row["id"] for row in rows(lab, "oms_cm.resource_group") if row["name"] == "1"]
    urls = [
        row["cm_url"] for row in rows(lab, "oms_rm.cluster_info") if int(row["code"]) == location
    ]
    if urls != [url]:
        yield f"cluster_info.cm_url is {urls}, not {url}"
    urls = [row["cm_url"] for row in rows(lab, "oms_cm.location_cm") if row["location"] == "1"]
    if urls != [url]:
        yield f"location_cm.cm_url is {urls}, not {url}"
    status = {
        row["ip"]: row["host_status"]
        for row in rows(lab, "oms_cm.host", all_columns=True)
        if row["resource_group_id"] in group
    }
    for ip in sorted(ips):
        if status.get(ip) != "ONLINE":
            yield f"host {ip} is {status.get(ip, 'without a row')}"
    listed = {lab.node(name).ip for name in (named or nodes)}
    if extra := sorted(status.keys() - listed):
        yield f"hosts nobody wants: {extra}"
    digests = set()
    for name in nodes:
        found = container(lab, name)
        if not found or not found["State"]["Running"]:
            yield f"{name}: no container runs"
            continue
        if found["Image"] != lab.image_id:
            yield f"{name}: another image"
        if wrong := {k: v for k, v in programs(lab, name).items() if v != "RUNNING"}:
            yield f"{name}: {wrong}"
        digest, mode = config(lab, name)
        digests.add(digest)
        if mode not in ("600", "640"):  # as found, or ours: for the image's user as well
            yield f"{name}: config.yaml has mode {mode}"
        inside = lab.enter(
            name, ["docker", "exec", CONTAINER, "sha256sum", "/home/admin/conf/config.yaml"]
        ).stdout.split()[:1]
        if inside != [digest]:
            yield f"{name}: the container sees another config.yaml"
        text = lab.path(name, CONFIG).read_text()
        if url not in text or any(ip not in text for ip in listed):
            yield f"{name}: config.yaml lacks the VIP or a node"
    if len(digests) > 1:
        yield "config.yaml differs between the nodes"


def backed_up(files: Sequence[Path]) -> set[tuple[str, str]]:
    """(table, key) of every row in the row backups (.jsonl) among these files, and their copies."""
    found: set[tuple[str, str]] = set()
    for path in files:
        if path.suffix != ".sql":
            continue
        for line in path.read_text().splitlines():
            if not line.startswith("insert into"):
                continue
            table = line.split("`")[3]
            names = [
                word for word in line.split("(", 1)[1].split(")", 1)[0].replace("`", "").split(", ")
            ]
            values = line.split(" values (", 1)[1].split(", ")
            key = values[names.index(KEYS[table])].strip("'")
            found.add((table, key))
    return found


def rows_lost(lab: Lab, before: dict[str, Any], files: Sequence[Path]) -> list[str]:
    """Rows of before that are in no table (by their key) and in no backup."""
    lost, saved = [], backed_up(files)
    for place in TABLES:
        table = place.split(".")[1]
        key = KEYS[table]
        here = {str(row[key]) for row in rows(lab, place)}
        lost += [
            f"{table} {row[key]}"
            for row in before[place]
            if str(row[key]) not in here and (table, str(row[key])) not in saved
        ]
    return lost


def ended_inits(lab: Lab, node: str) -> list[tuple[str, ...]]:
    """Of each ended docker_init.sh: when it ended, pid, exit status, when it began."""
    path = lab.node_directory(node) / "data/oms/oms_logs/.lab/init.ended"
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(line.split()) for line in lines]


def wait(question: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """Whether the question became true in time."""
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
