"""A hosts.yaml for an OMS that is there already: pure functions of what was observed.

An OMS container is known by its mounts, else by its image, never by its name: a wizard calls it
``OMS_<date>_<time>``, others as they like.  What nodes and MetaDB say becomes a tree in the shape
of hosts.yaml; where they disagree, that is told once, with who says what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from omsfab.commands import docker
from omsfab.fleet import oms_config, values
from omsfab.fleet.model import Mounts, Ports
from omsfab.fleet.oms_config import Value
from omsfab.fleet.values import CmUrl
from omsfab.secret import Secret

Tree: TypeAlias = dict[str, Any]
"""hosts.yaml as mappings; every secret is its source, ``{env: NAME}``."""

OWN = {
    docker.CONFIG: "config",
    docker.LOGS: "logs",
    docker.STORE: "store",
    docker.RUN: "run",
    docker.CERTIFICATE: "https_crt",
    docker.KEY: "https_key",
}
"""Place in the container -> key of oms.mounts."""

TELLING = (docker.CONFIG, docker.STORE, docker.RUN)
"""Mounts that no other program has; /u01/ds is where /home/ds leads to."""

_IMAGE = re.compile(r"(?:^|/)oms(?:[-_][a-z]+)?(?::|@|$)")

CONFIGS = (docker.CONFIG, f"{docker.RUN}/config.yaml")
"""Where a container has its config.yaml: mounted as a file, or in its run directory."""


@dataclass(frozen=True, slots=True)
class Container:
    """An OMS container as ``docker inspect`` tells it."""

    name: str
    runs: bool
    image: str
    """Its image as it was named when it was made; an id where it was made by one."""
    image_id: str
    host_ip: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Key of oms.mounts -> path on the node."""
    by: Literal["mounts", "image"] = "mounts"
    """What it is known by."""


def containers(text: str) -> tuple[Container, ...]:
    """Return the OMS containers out of all of a node, ``docker inspect`` as a JSON list."""
    return tuple(found for record in json.loads(text or "[]") if (found := _container(record)))


def _container(record: Mapping[str, Any]) -> Container | None:
    binds = {
        str(mount["Destination"]).replace("/u01/ds/", "/home/ds/", 1): str(mount["Source"])
        for mount in record.get("Mounts") or ()
        if mount.get("Source")
    }
    settings = record["Config"]
    image = str(settings.get("Image") or record["Image"])
    by_mounts = any(target in binds for target in TELLING)
    if not by_mounts and not _IMAGE.search(image):
        return None
    environment = dict(pair.split("=", 1) for pair in settings.get("Env") or () if "=" in pair)
    return Container(
        str(record["Name"]).lstrip("/"),
        bool(record["State"]["Running"]),
        image,
        str(record["Image"]),
        environment.get("OMS_HOST_IP", ""),
        {key: binds[target] for target, key in OWN.items() if target in binds},
        "mounts" if by_mounts else "image",
    )


def likely(found: Sequence[Container]) -> tuple[Container, ...]:
    """Return those that may be meant: the one that runs, for an upgrade keeps the former one; one
    known by its mounts before one known by its image alone."""
    for sieve in (
        lambda one: one.runs and one.by == "mounts",
        lambda one: one.by == "mounts",
        lambda one: one.runs,
    ):
        if left := tuple(filter(sieve, found)):
            return left
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Seen:
    """A node that was asked.  ``name`` is its host name; ``address``, ``user`` and ``port`` are
    those that SSH used, ``user`` and ``port`` empty where ~/.ssh/config had them."""

    name: str
    address: str
    user: str = ""
    port: int | None = None
    addresses: tuple[str, ...] = ()
    container: Container | None = None
    tags: tuple[str, ...] = ()
    """The names of its container's image."""
    config: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""
    """Why it could not be asked, with the id of the error."""

    @property
    def ip(self) -> str:
        """The address by which OMS knows it."""
        nodes = self.config.get("cm_nodes")
        known = [str(ip) for ip in nodes] if isinstance(nodes, list) else []
        own = self.container.host_ip if self.container else ""
        return own or next((ip for ip in known if ip in self.addresses), self.address)


@dataclass(frozen=True, slots=True)
class Row:
    """A region as MetaDB has it: its row of cluster_info, and the addresses of its hosts."""

    location: int
    region: str
    label: str
    cm_url: CmUrl
    default: bool
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differs:
    """One thing that not all say alike: each value, and who says it."""

    what: str
    said: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A deployment as it is.  ``secrets``: key of hosts.yaml -> environment variable.
    ``lacking`` is what nobody could tell, and a hosts.yaml needs."""

    tree: Tree
    differs: tuple[Differs, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def further(seen: Sequence[Seen], rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the addresses that MetaDB or a config.yaml knows, and that were not asked yet."""
    asked = {ip for one in seen for ip in (one.ip, one.address)}
    told = [ip for row in rows for ip in row.hosts]
    told += [ip for one in seen for ip in _nodes(one.config)]
    return tuple(ip for ip in dict.fromkeys(told) if ip not in asked)


def deployment(seen: Sequence[Seen], rows: Sequence[Row], ssh: Tree) -> Found:
    """Return the hosts.yaml of what was seen; the first node decides where all votes are even."""
    there = [one for one in seen if one.container]
    votes = _Votes(there)
    secrets: dict[str, str] = {}
    lacking: list[str] = []
    notes = [f"{one.name} ({one.address}): {one.error}" for one in seen if one.error]
    names = _names(seen)
    regions = {}
    for row in rows or tuple(_rows_of(there)):
        mine = [one for one in there if one.config.get("cm_location") == row.location]
        regions[_region_name(row, mine)] = _region(row, mine, seen, names, votes, lacking)
    tree: Tree = {"oms": _oms(votes, secrets, notes), "metadb": _metadb(votes, secrets)}
    if votes.value("tsdb_enabled") is True:
        tree["tsdb"] = _tsdb(votes, secrets)
    users = {(one.user, one.port) for one in seen if not one.error}
    if len(users) == 1:
        ssh = {**_given({"user": seen[0].user, "port": seen[0].port}), **ssh}
    tree |= {"ssh": ssh} if ssh else {}
    tree["regions"] = regions
    return Found(tree, tuple(votes.differing(names)), secrets, tuple(notes), tuple(lacking))


def _given(tree: Mapping[str, Any]) -> Tree:
    return {key: value for key, value in tree.items() if value not in (None, "")}


def _nodes(config: Mapping[str, Value]) -> list[str]:
    nodes = config.get("cm_nodes")
    return [str(ip) for ip in nodes] if isinstance(nodes, list) else []


def _rows_of(there: Sequence[Seen]) -> Iterator[Row]:
    """A MetaDB without rows: what config.yaml would have written there."""
    for code in dict.fromkeys(one.config.get("cm_location") for one in there):
        first = next(one for one in there if one.config.get("cm_location") == code)
        url, config = first.config.get("cm_url"), first.config
        if isinstance(code, int) and isinstance(url, CmUrl):
            yield Row(
                code,
                str(config.get("cm_region") or ""),
                str(config.get("cm_region_cn") or ""),
                url,
                config.get("cm_is_default", True) is True,
                tuple(_nodes(config)),
            )


def _names(seen: Sequence[Seen]) -> dict[str, str]:
    """Address of OMS -> name of the node: its host name where that tells all apart."""
    names = [one.name for one in seen]
    good = len(set(names)) == len(names) and all(map(_is_name, names))
    return {
        one.ip: one.name if good else f"oms{number}" for number, one in enumerate(seen, start=1)
    }


def _is_name(name: str) -> bool:
    try:
        return bool(values.node_name(name))
    except ValueError:
        return False


def _region_name(row: Row, mine: Sequence[Seen]) -> str:
    """MetaDB's name, else that of config.yaml: with one region it may be in neither."""
    said = next((str(name) for one in mine if (name := one.config.get("cm_region"))), "")
    return row.region or said or f"region-{row.location}"


def _region(
    row: Row,
    mine: Sequence[Seen],
    seen: Sequence[Seen],
    names: Mapping[str, str],
    votes: _Votes,
    lacking: list[str],
) -> Tree:
    own = _Votes(mine)
    heartbeat = own.value("drc_cm_heartbeat_db")
    name = _region_name(row, mine)
    if not heartbeat:
        lacking.append(
            f"regions.{name}.heartbeat_db: no node of location {row.location} could be read"
        )
    for key in ("drc_cm_heartbeat_db", "cm_region", "cm_region_cn", "cm_is_default"):
        votes.differ(key, own.said(key))
    votes.differ("cm_nodes", [*own.said("cm_nodes"), (_list(row.hosts), "MetaDB")])
    votes.differ("cm_url", [*own.said("cm_url"), (str(row.cm_url), "MetaDB")])
    label = row.label if row.label not in ("", name) else None
    return _given(
        {
            "location": row.location,
            "default": row.default,
            "label": label,
            "cm_url": str(row.cm_url),
            "heartbeat_db": heartbeat,
            "nodes": _nodes_of((*row.hosts, *(one.ip for one in mine)), seen, names),
        }
    )


def _nodes_of(ips: Sequence[str], seen: Sequence[Seen], names: Mapping[str, str]) -> Tree:
    """The nodes of a region by name, each with what SSH needs beside its address."""
    by_ip = {one.ip: one for one in seen}
    users = {(one.user, one.port) for one in seen if not one.error}
    nodes: Tree = {}
    for ip in dict.fromkeys(ips):
        one = by_ip.get(ip)
        keys: Tree = {"ip": ip}
        if one and one.address != ip:
            keys["address"] = one.address
        if one and len(users) > 1:
            keys |= _given({"user": one.user, "port": one.port})
        nodes[names.get(ip, ip)] = keys if len(keys) > 1 else ip
    return nodes


def _oms(votes: _Votes, secrets: dict[str, str], notes: list[str]) -> Tree:
    image = votes.of("image", lambda one: _image(one))
    votes.of("image id", lambda one: one.container.image_id if one.container else None)
    container = votes.of("container", lambda one: one.container.name if one.container else None)
    mounts = {
        key: votes.of(f"mounts.{key}", lambda one, key=key: _mount(one, key))  # type: ignore[misc]
        for key in Mounts.model_fields
    }
    ports = {}
    for name, usual in dict(Ports()).items():
        port = votes.value(f"{name}_server_port", usual)
        if port != usual:
            ports[name] = port
    extra: Tree = {}
    for key in dict.fromkeys(key for one in votes.nodes for key in oms_config.unknown(one.config)):
        value = votes.value(key)
        if isinstance(value, Secret):
            secrets[f"oms.extra.{key}"] = key.upper()
            extra[key] = {"env": key.upper()}
        elif isinstance(value, str | int | bool):
            extra[key] = value
        else:
            notes.append(f"config.yaml has {key}, a list or mapping, which oms.extra cannot hold")
    own = _given(mounts)
    return {
        "image": image,
        "container": container,
        **({"mounts": own} if own else {}),
        **({"ports": ports} if ports else {}),
        **({"extra": extra} if extra else {}),
    }


def _image(one: Seen) -> str | None:
    """The name of the image: as the container was made, else a tag of its id, else the id."""
    if one.container is None:
        return None
    name = one.container.image
    if not name.startswith("sha256:") and not re.fullmatch("[0-9a-f]{12,64}", name):
        return name
    return next(iter(sorted(one.tags)), one.container.image_id)


def _mount(one: Seen, key: str) -> str | None:
    return one.container.mounts.get(key) if one.container else None


def _metadb(votes: _Votes, secrets: dict[str, str]) -> Tree:
    secrets["metadb.password"] = "OMS_META_PASSWORD"
    votes.value("oms_meta_password")
    return {
        "host": votes.value("oms_meta_host"),
        "port": votes.value("oms_meta_port"),
        "user": votes.value("oms_meta_user"),
        "password": {"env": "OMS_META_PASSWORD"},
        "rm_db": votes.value("drc_rm_db"),
        "cm_db": votes.value("drc_cm_db"),
    }


def _tsdb(votes: _Votes, secrets: dict[str, str]) -> Tree:
    secrets["tsdb.password"] = "OMS_TSDB_PASSWORD"
    votes.value("tsdb_password")
    return {
        "service": votes.value("tsdb_service", "CERESDB"),
        "url": votes.value("tsdb_url"),
        "username": votes.value("tsdb_username"),
        "password": {"env": "OMS_TSDB_PASSWORD"},
    }


def _list(items: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, items)))


class _Votes:
    """What the nodes say of each thing: the value of most of them, and where they differ."""

    def __init__(self, nodes: Sequence[Seen]) -> None:
        self.nodes = nodes
        self._differing: dict[str, list[tuple[str, str]]] = {}

    def value(self, key: str, usual: Value = None) -> Value:
        """The value of a key of config.yaml; ``usual`` is what an absent one means."""
        return self.of(key, lambda one: one.config.get(key, usual))

    def of(self, what: str, asked: Callable[[Seen], Value]) -> Value:
        said = [(asked(one), one) for one in self.nodes]
        counted: dict[Value, int] = {}
        for value, _ in said:
            counted[_key(value)] = counted.get(_key(value), 0) + 1
        shown = [(_shown(what, value, [v for v, _ in said]), one.ip) for value, one in said]
        self.differ(what, shown)
        best = max(counted.values(), default=0)
        return next((value for value, _ in said if counted[_key(value)] == best), None)

    def said(self, key: str) -> list[tuple[str, str]]:
        """Who says what of a key of config.yaml, absent ones left out."""
        return [
            (_list(value) if isinstance(value, list) else str(value), one.ip)
            for one in self.nodes
            if (value := one.config.get(key)) is not None
        ]

    def differ(self, what: str, said: Sequence[tuple[str, str]]) -> None:
        if len({value for value, _ in said}) > 1:
            self._differing[what] = list(said)

    def differing(self, names: Mapping[str, str]) -> Iterator[Differs]:
        for what, said in self._differing.items():
            by: dict[str, list[str]] = {}
            for value, who in said:
                by.setdefault(value, []).append(names.get(who, who))
            yield Differs(what, tuple((value, tuple(who)) for value, who in by.items()))


def _key(value: Value) -> Value:
    return tuple(map(str, value)) if isinstance(value, list) else value


def _shown(what: str, value: Value, others: Sequence[Value]) -> str:
    if value is None:
        return "(absent)"
    if isinstance(value, Secret):  # equal ones look equal, and none is told
        return f"**** ({'abcdefghij'[list(dict.fromkeys(others)).index(value) % 10]})"
    return _list(value) if isinstance(value, list) else str(value)
