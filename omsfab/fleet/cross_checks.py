"""What must hold between values of hosts.yaml; a generator of faults for each question.

These read the raw file, so that they find what they can although single values are faulty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import permutations
from typing import Any, TypeVar

from omsfab.fleet import oms_config, secret_sources, values
from omsfab.fleet.messages import OMS_WORDS, Fault, Raw, dotted, nearly
from omsfab.fleet.model import Mounts, Ports, Tsdb
from omsfab.fleet.values import CmUrl
from omsfab.fleet.yaml_reader import KeyPath

T = TypeVar("T")


def _get(raw: object, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def _regions(raw: Raw) -> dict[str, Raw]:
    regions = _get(raw, "regions")
    if not isinstance(regions, Mapping):
        return {}
    return {name: region for name, region in regions.items() if isinstance(region, Mapping)}


def _nodes(raw: Raw) -> Iterator[tuple[KeyPath, str, Raw]]:
    """Path, name and long form of each node."""
    for region_name, region in _regions(raw).items():
        nodes = _get(region, "nodes")
        for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
            long = {"ip": node} if isinstance(node, str) else node
            if isinstance(long, Mapping):
                yield ("regions", region_name, "nodes", name), name, long


def _valid(check: Callable[[str], T], value: object) -> T | None:
    """The value in its normal form; None where it is faulty by itself, which is told elsewhere."""
    try:
        return check(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _port(raw: Raw, name: str) -> int | None:
    """The port of a component, the default where none is written; None where it is faulty."""
    written = _get(raw, "oms", "ports")
    there = isinstance(written, Mapping) and name in written
    port = written[name] if there else getattr(Ports(), name)
    return port if type(port) is int else None


def _twice(found: Iterable[tuple[KeyPath, object]], right: str) -> Iterator[Fault]:
    """A fault for each value that stands at more than one path, told at the later ones.

    Names of databases, nodes and regions are the same where only their case differs.
    """
    first: dict[str, KeyPath] = {}
    for path, value in found:
        same = str(value).lower()
        if same in first:
            yield Fault(path, f"{value}: is also {dotted(first[same])}; {right}")
        first.setdefault(same, path)


def _of_regions(raw: Raw, key: str, kind: type) -> list[tuple[KeyPath, Any]]:
    return [
        (("regions", name, key), region[key])
        for name, region in _regions(raw).items()
        if type(region.get(key)) is kind
    ]


def _locations_differ(raw: Raw) -> Iterator[Fault]:
    yield from _twice(_of_regions(raw, "location", int), "give each region a number of its own")


def _one_default(raw: Raw) -> Iterator[Fault]:
    regions = _regions(raw)
    said = {name: region.get("default", True) for name, region in regions.items()}
    chosen = [name for name, value in said.items() if value is True]
    if regions and all(value is False for value in said.values()):
        where = ("regions", next(iter(regions)), "default") if len(regions) == 1 else ("regions",)
        yield Fault(where, "no region is the default; write default: true in exactly one region")
    for name in chosen[1:]:
        yield Fault(
            ("regions", name, "default"),
            f"{chosen[0]} is the default region already (true is what counts without the key); "
            "write default: false",
        )


def _image_is_of_oms(raw: Raw) -> Iterator[Fault]:
    image = _valid(values.image, _get(raw, "oms", "image"))
    if image and values.name_of(image) == "influxdb":
        why = "is the time-series database, tsdb.image"
        yield Fault(("oms", "image"), f"{image}: {why}; write the image of OMS")


def _ports_are_known(raw: Raw) -> Iterator[Fault]:
    """The five ``*_server_port`` keys of config.yaml came with 4.2.2."""
    version = values.version_of(_valid(values.image, _get(raw, "oms", "image")) or "")
    if not version or version >= (4, 2, 2):
        return
    for name, usual in dict(Ports()).items():
        port = _port(raw, name)
        if port not in (None, usual):
            why = f"OMS {'.'.join(map(str, version))} has no key for it, it came with 4.2.2"
            yield Fault(("oms", "ports", name), f"{port}: {why}; leave it out, it is {usual}")


def _container_has_a_name(raw: Raw) -> Iterator[Fault]:
    image = _valid(values.image, _get(raw, "oms", "image"))
    if image and _get(raw, "oms", "container") is None and not values.container_of(image):
        yield Fault(
            ("oms", "container"),
            "is missing, and the image's tag has no version to make it of;"
            " write e.g. container: oms_427",
        )


def _metadb_is_reached_through_a_node(raw: Raw) -> Iterator[Fault]:
    through = _get(raw, "metadb", "through")
    names = [name for _, name, _ in _nodes(raw)]
    if through == "gateway" and _get(raw, "ssh", "gateway") is None:
        yield Fault(("metadb", "through"), "gateway: there is no ssh.gateway; write one, or a node")
    elif isinstance(through, str) and through not in (*names, "gateway"):
        yield Fault(
            ("metadb", "through"),
            f"{through}: is no node of this file; write one of {', '.join(names)}, or gateway",
        )


def _databases_differ(raw: Raw) -> Iterator[Fault]:
    shared = ((("metadb", key), _get(raw, "metadb", key)) for key in ("rm_db", "cm_db"))
    found = [*shared, *_of_regions(raw, "heartbeat_db", str)]
    names = ((path, name) for path, name in found if isinstance(name, str))
    yield from _twice(names, "write a database of its own; heartbeat databases are never shared")


def _cm_urls(raw: Raw) -> Iterator[Fault]:
    found = [
        (path, url)
        for path, text in _of_regions(raw, "cm_url", str)
        if (url := _valid(values.cm_url, text))
    ]
    yield from _twice(found, "give each region its own VIP, SLB or domain name")
    cm, console = _port(raw, "cm"), _port(raw, "nginx")
    ips = {_valid(values.node_ip, node.get("ip")): path for path, _, node in _nodes(raw)}
    for path, url in found:
        right = f"write the CM port {cm}"
        if cm and url.port != cm:
            why = f"{url.port} is the console's port" if url.port == console else f"not {cm}"
            yield Fault(path, f"{url}: {why}; {right}")
        if url.host in ips:
            yield from _cm_url_of_a_node(raw, path, url, ips[url.host])


def _cm_url_of_a_node(raw: Raw, path: KeyPath, url: CmUrl, node: KeyPath) -> Iterator[Fault]:
    """Right for a region of one node, wrong for several: they are found by one address."""
    if node[1] != path[1]:
        yield Fault(path, f"{url}: is {dotted(node)}, of another region; write an own address")
    elif len(_get(raw, *path[:-1], "nodes")) > 1:
        why = f"is the address of {node[-1]} alone, and the region has several nodes"
        yield Fault(path, f"{url}: {why}; write their VIP, SLB or domain name")


def _names_differ(raw: Raw) -> Iterator[Fault]:
    names = [(("regions", name), name) for name in _regions(raw)]
    yield from _twice(names, "give each region a name of its own, not by case alone")
    nodes = [(path, name) for path, name, _ in _nodes(raw)]
    yield from _twice(nodes, "give each node a name of its own, over all regions")


def _every_region_has_nodes(raw: Raw) -> Iterator[Fault]:
    if _get(raw, "regions") == {}:
        yield Fault(("regions",), "is empty; write at least one region")
    for name, region in _regions(raw).items():
        if region.get("nodes") == {}:
            yield Fault(("regions", name, "nodes"), "is empty; write at least one node")


def _addresses_differ(raw: Raw) -> Iterator[Fault]:
    """Two nodes are two machines: by what OMS calls them, and by the door that SSH goes through.

    Behind one address there may be several, each with a port of its own.
    """
    right = "write the address of another machine"
    ips = [
        (path, ip)
        for path, _, node in _nodes(raw)
        if (ip := _valid(values.node_ip, node.get("ip")))
    ]
    same = list(_twice(ips, right))
    yield from same
    yield from _twice(_doors(raw, but={fault.path for fault in same}), right)


def _doors(raw: Raw, but: set[KeyPath]) -> Iterator[tuple[KeyPath, str]]:
    """Where SSH connects to; not for nodes of which the address is told already."""
    general = _get(raw, "ssh", "port") or 22
    for path, _, node in _nodes(raw):
        if (written := node.get("address")) is not None:
            door = _valid(values.ssh_address, written)
        else:
            door = None if path in but else _valid(values.node_ip, node.get("ip"))
        if door:
            yield path, f"{door} port {node.get('port') or general}"


def _ports_differ(raw: Raw) -> Iterator[Fault]:
    ports = [(("oms", "ports", name), _port(raw, name)) for name in Ports.model_fields]
    known: list[tuple[KeyPath, int]] = [(path, port) for path, port in ports if port]
    yield from _twice(known, "write another port; all five share the network of the node")
    taken = {port: path for path, port in known}
    doors: list[tuple[KeyPath, object]] = [(("ssh", "port"), _get(raw, "ssh", "port"))]
    doors += [((*path, "port"), node.get("port")) for path, _, node in _nodes(raw)]
    for path, port in doors:
        if type(port) is int and port in taken:
            why = f"is {dotted(taken[port])} of OMS, which shares the network of the node"
            yield Fault(path, f"{port}: {why}; write the port of the node's own sshd")


def _mounts_apart(raw: Raw) -> Iterator[Fault]:
    """Directories must not lie in one another, and nothing can lie in a file."""
    found = _mounts(raw)
    for (other, outer), (key, path) in permutations(found, 2):
        file_in_directory = other in _DIRECTORIES and key not in _DIRECTORIES
        if path.startswith(outer + "/") and not file_in_directory:
            why = f"lies inside oms.mounts.{other} ({outer})"
            yield Fault((*_MOUNTS, key), f"{path}: {why}; write a path of its own")
    paths = (((*_MOUNTS, key), path) for key, path in found)
    yield from _twice(paths, "write a path of its own")


def _mounts(raw: Raw) -> list[tuple[str, str]]:
    written = _get(raw, *_MOUNTS)
    mounts = dict(Mounts()) | (dict(written) if isinstance(written, Mapping) else {})
    return [(key, path) for key, path in mounts.items() if _valid(values.node_path, path)]


_MOUNTS = ("oms", "mounts")
_DIRECTORIES = {"logs", "store", "run"}


def _certificate_is_whole(raw: Raw) -> Iterator[Fault]:
    pair = ("https_crt", "https_key")
    there = [key for key in pair if _get(raw, *_MOUNTS, key) is not None]
    if len(there) == 1:
        other = next(key for key in pair if key not in there)
        why = f"is missing, but oms.mounts.{there[0]} is there; write both or none"
        yield Fault((*_MOUNTS, other), why)
    for name in _regions(raw):
        path = ("regions", name, "https")
        crt, key = (_get(raw, *path, word) for word in ("crt", "key"))
        if isinstance(key, str) and crt == key:
            right = "write the file of the private key alone; crt would carry it where others read"
            yield Fault((*path, "key"), f"{key}: is also {dotted((*path, 'crt'))}; {right}")


def _extra_is_extra(raw: Raw) -> Iterator[Fault]:
    for key, value in _extra(raw).items():
        if why := _not_extra(key, value):
            yield Fault(("oms", "extra", key), why)


def _not_extra(key: str, value: object) -> str:
    """What is wrong with a key of oms.extra, and what would be right; empty if nothing is."""
    if key in oms_config.SLS_KEYS:
        pass
    elif key.startswith("apsara_audit_sls_"):
        meant = nearly(key, oms_config.SLS_KEYS) or ", ".join(oms_config.SLS_KEYS)
        return f"unknown key of the audit log; did you mean {meant}?"
    elif key in oms_config.KEYS:
        return f"is written by omsfab itself; write it as {_home(key)}"
    elif key not in oms_config.ALIASES and (near := nearly(key, oms_config.KEYS)):
        why = f"is a misspelling of {near}; write {_home(near)}"
        return f"{why}, and take it out of config.yaml where a node has it"
    if oms_config.is_secret(key) and not isinstance(value, Mapping):
        return f"is a secret in plain text; write {secret_sources.FORMS}"
    return ""


def _audit_log_is_whole(raw: Raw) -> Iterator[Fault]:
    extra = _extra(raw)
    missing = [key for key in oms_config.SLS_KEYS if key not in extra]
    if 0 < len(missing) < len(oms_config.SLS_KEYS):
        for key in missing:
            why = "is missing; the five apsara_audit_sls_ keys go together: write all or none"
            yield Fault(("oms", "extra", key), why)


def _extra(raw: Raw) -> Raw:
    extra = _get(raw, "oms", "extra")
    return extra if isinstance(extra, Mapping) else {}


def _home(key: str) -> str:
    if key.endswith("_server_port"):
        return f"oms.ports.{key.removesuffix('_server_port')}"
    if key == "tsdb_enabled":
        return "tsdb: (it is enabled by being there)"
    place = {"cm": "regions.<name>", "oms": "metadb", "tsdb": "tsdb"}
    word = OMS_WORDS.get(key, key)
    room = "regions.<name>" if word == "heartbeat_db" else place.get(key.split("_")[0], "metadb")
    return "the key of the region" if key == "cm_region" else f"{room}.{word}"


def _metadb_is_no_oms_port(raw: Raw) -> Iterator[Fault]:
    """Where the MetaDB lives on a node, it shares that node's network with OMS."""
    host, port = _get(raw, "metadb", "host"), _get(raw, "metadb", "port")
    ports = {_port(raw, name): name for name in Ports.model_fields}
    if type(port) is int and port in ports:
        for _, name, node in _nodes(raw):
            if node.get("ip") == host:
                why = f"{name} is a node, and {port} is oms.ports.{ports[port]} there"
                yield Fault(("metadb", "port"), f"{port}: {why}; write the port of the database")
                return


def _metadb_has_its_own_address(raw: Raw) -> Iterator[Fault]:
    """Nothing else listens where the MetaDB does."""
    host, port = _get(raw, "metadb", "host"), _get(raw, "metadb", "port")
    metadb = f"{host}:{port}".lower()
    url = _valid(values.host_and_port, _get(raw, "tsdb", "url"))
    if url and url.lower() == metadb:
        why = "is the MetaDB; write the address of the time-series database"
        yield Fault(("tsdb", "url"), f"{url}: {why}")
    for path, text in _of_regions(raw, "cm_url", str):
        cm = _valid(values.cm_url, text)
        if cm and (cm.host, cm.port) == (str(host).lower(), port):
            why = "is the MetaDB; write the VIP, SLB or domain name of the region's nodes"
            yield Fault(path, f"{text}: {why}")


_PORTS_OF_OMS = {
    8084,
    9001,
    *range(7100, 7500),
    *range(16000, 16500),
    *range(17000, 17500),
    *range(18000, 18500),
}
"""What OMS listens on besides ``oms.ports`` (OMS docs, ports in use)."""


def _tsdb_has_its_own_image(raw: Raw) -> Iterator[Fault]:
    image = _get(raw, "tsdb", "image")
    if _has_influx(raw) and image is not None and image == _get(raw, "oms", "image"):
        why = "is oms.image as well; write the image of InfluxDB, or leave it out"
        yield Fault(("tsdb", "image"), f"{image}: {why}")


def _tsdb_has_its_own_port(raw: Raw) -> Iterator[Fault]:
    """On a node the time-series database shares the network with OMS."""
    host, port, name = _tsdb_node(raw)
    taken = dict.fromkeys(_PORTS_OF_OMS, "a port of OMS")
    taken |= {_port(raw, key) or 0: f"oms.ports.{key}" for key in Ports.model_fields}
    if _has_influx(raw):
        taken[14444] = "InfluxDB's own port for backups"
    if name and port in taken:
        why = f"{name} is a node, and {port} is {taken[port]} there"
        yield Fault(("tsdb", "url"), f"{host}:{port}: {why}; write another port, e.g. {host}:8086")


def _tsdb_has_its_own_data(raw: Raw) -> Iterator[Fault]:
    """On a node the time-series database shares the disks with OMS."""
    _, _, name = _tsdb_node(raw)
    written = _get(raw, "tsdb", "data")
    usual = Tsdb.model_fields["data"].default
    data = _valid(values.node_path, usual if written is None else written)
    if not (name and data and _has_influx(raw)):
        return
    for key, path in _mounts(raw):
        if f"{data}/".startswith(f"{path}/") or f"{path}/".startswith(f"{data}/"):
            why = f"{name} is a node, and oms.mounts.{key} is {path} there"
            yield Fault(("tsdb", "data"), f"{data}: {why}; write a path of its own")
            return


def _has_influx(raw: Raw) -> bool:
    return bool(_get(raw, "tsdb", "service") == "INFLUXDB")


def _tsdb_node(raw: Raw) -> tuple[str, int, str]:
    """Host and port of tsdb.url, and the node that this is; empty where it is none."""
    url = _valid(values.host_and_port, _get(raw, "tsdb", "url"))
    if not url:
        return "", 0, ""
    host, _, port = url.rpartition(":")
    return host, int(port), next((name for _, name, n in _nodes(raw) if n.get("ip") == host), "")


CROSS_CHECKS: tuple[Callable[[Raw], Iterator[Fault]], ...] = (
    _every_region_has_nodes,
    _locations_differ,
    _one_default,
    _databases_differ,
    _cm_urls,
    _names_differ,
    _addresses_differ,
    _ports_differ,
    _mounts_apart,
    _certificate_is_whole,
    _extra_is_extra,
    _audit_log_is_whole,
    _metadb_is_no_oms_port,
    _metadb_has_its_own_address,
    _tsdb_has_its_own_image,
    _tsdb_has_its_own_port,
    _tsdb_has_its_own_data,
    _metadb_is_reached_through_a_node,
    _image_is_of_oms,
    _ports_are_known,
    _container_has_a_name,
)
