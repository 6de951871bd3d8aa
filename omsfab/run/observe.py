"""Ask MetaDB and nodes what is so now: the Observed that a planner needs.  Read-only."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from secrets import token_bytes
from typing import Any, TypeAlias

from omsfab.command import question
from omsfab.commands import docker, files, node_checks, processes, supervisor
from omsfab.errors import Next, OmsfabError, PreflightError, refusal
from omsfab.fleet import oms_config
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Node, Region
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import fab
from omsfab.plan import adoption, steps
from omsfab.plan.observed import ContainerState, NodeFacts, Observed
from omsfab.plan.procedures import caveats, regions
from omsfab.plan.records import METADB
from omsfab.ssh.protocol import Result, Shell

WIDTH = 50
"""Nodes asked side by side."""


Seen: TypeAlias = "tuple[Observed, list[OmsfabError]]"
"""What is so, as far as it could be asked, and all that stands against it."""


def at_region(
    fleet: Fleet,
    region: Region,
    shells: Mapping[str, Shell],
    metadb: MetaDbEdge,
    package: Package | None,
    manner: str = "",
) -> Seen:
    """Return what MetaDB and the region's nodes say, asked side by side, and every error of them.

    A node with an error that leaves it unknown is not among the nodes.
    """
    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(_rows, fleet, region, metadb, manner)
        nodes, errors = ask_nodes(fleet, region.nodes, shells, package)
        seen, wrong = rows.result()
    # A new region may change config.yaml of the others, which so far needed no cm_region.
    if seen.clusters and region.location not in seen.clusters:
        rest = [node for node in fleet.nodes if node not in region.nodes]
        others, further = ask_nodes(fleet, rest, shells, package)
        nodes |= others
        errors += further
    image = wanted_image(fleet, nodes, package)
    return replace(seen, nodes=nodes, package=package, image=image), [*wrong, *errors]


def _rows(fleet: Fleet, region: Region, metadb: MetaDbEdge, manner: str) -> Seen:
    """What MetaDB says of the region; a question that fails hides no other's answer."""
    errors: list[OmsfabError] = []
    seen = Observed()
    metadb = metadb.one_look(heartbeat_db=region.heartbeat_db)
    try:
        rows = metadb.clusters() if metadb.exists() else ()
        clusters = {row.code: row.cm_url for row in rows}
        facts = metadb.facts()
        seen = Observed(
            clusters=clusters,
            regions={row.code: row.region for row in rows},
            defaults=tuple(row.code for row in rows if row.is_default),
            notes=tuple(caveats.of_metadb(fleet, facts.kind, facts.version)),
            beats=tuple(sorted(metadb.beats(region.heartbeat_db))) if clusters else (),
        )
        if region.location in clusters:
            hosts = {row.ip: row.status for row in metadb.hosts(region.location)}
            seen = replace(seen, hosts=hosts)
            if not clusters[region.location].same_as(region.cm_url):
                seen = replace(seen, traffic=metadb.traffic())
                # only then rows are to go
                scope = metadb.preflight(
                    region.location, steps.TABLES, rows=manner or "delete", facts=facts
                )
                seen = replace(
                    seen,
                    scopes=tuple(table.prose for table in scope.tables),
                    notes=(*seen.notes, *scope.stays),
                    shown=scope.shown,
                    references=scope.references,
                )
    except OmsfabError as error:
        error.node = METADB
        errors.append(error)
    return seen, errors


def chosen_region(fleet: Fleet, metadb: MetaDbEdge, again: Next) -> str:
    """Return the name of the region that MetaDB has otherwise than hosts.yaml; ``again`` is the
    task that asks."""
    clusters = {row.code: row.cm_url for row in metadb.clusters()} if metadb.exists() else {}
    hosts = {code: [row.ip for row in metadb.hosts(code)] for code in clusters}
    return regions.that_differs(fleet, clusters, hosts, again)


def at_nodes(
    fleet: Fleet,
    nodes: Iterable[Node],
    shells: Mapping[str, Shell],
    package: Package | None,
    image: str = "",
) -> dict[str, NodeFacts]:
    """Return the facts of each node by name, or raise all that stands against it on any node."""
    facts, errors = ask_nodes(fleet, nodes, shells, package, image)
    if errors:
        raise refusal(errors, what=f"{len({e.node for e in errors})} nodes cannot be used")
    return facts


def ask_nodes(
    fleet: Fleet,
    nodes: Iterable[Node],
    shells: Mapping[str, Shell],
    package: Package | None,
    image: str = "",
) -> tuple[dict[str, NodeFacts], list[OmsfabError]]:
    """Return the facts of each node by name, and the errors of all; nodes are asked side by side.

    ``image`` is the one looked for where there is no package, if not that of OMS.
    """
    wanted = package.image if package else image or fleet.install.image
    targets = list(nodes)

    def ask(node: Node) -> tuple[NodeFacts | None, list[OmsfabError]]:
        errors: list[OmsfabError] = []
        facts = None
        try:
            facts = _at_node(fleet, node, shells[node.name], wanted, errors, package is not None)
        except OmsfabError as error:
            errors.append(error)
        for one in errors:
            one.node = node.name
        return facts, errors

    with ThreadPoolExecutor(min(WIDTH, len(targets) or 1)) as pool:
        answers = list(zip(targets, pool.map(ask, targets), strict=True))
    facts = {node.name: one for node, (one, _) in answers if one}
    return facts, [error for _, (_, errors) in answers for error in errors]


def _at_node(
    fleet: Fleet,
    node: Node,
    shell: Shell,
    wanted: str,
    errors: list[OmsfabError],
    package: bool,
) -> NodeFacts | None:
    """Return docker's version, the container, the image and the drift of one node; what stands
    against it goes to ``errors``."""
    version = shell.run(question(node_checks.docker_fits(package=package)))
    if version.status != 0:
        errors.append(_docker_refused(node, version))
        if version.status != node_checks.UNFIT:
            return None
    inspected = shell.run(question(docker.inspect(fleet.install.container)))
    has = shell.run(question(docker.image_id(wanted)))
    named = shell.run(question(docker.image_id(fleet.install.image)))
    container = json.loads(inspected.out) if inspected.status == 0 else {}
    place = _config_place(fleet, container)
    config = shell.run(question(files.read_file(place)))
    read = config.status == 0 and container
    of_config = _config_facts(fleet, node, place, config.out, errors) if read else {}
    facts = _container(container)
    runs = facts.get("container") == "running"
    return NodeFacts(
        docker="" if version.status else version.out.strip(),
        **facts,
        **(_programs(fleet, shell) if runs else {}),
        has_image=has.status == 0,
        loaded=has.out.strip() if has.status == 0 else "",
        tagged=named.out.strip() if named.status == 0 else "",
        **of_config,
        config_sha256=_seal(config.out) if config.out else "",
        machine=shell.run(question(files.machine_id())).out.strip(),
        config_mode=shell.run(question(node_checks.mode(place))).out.strip(),
        stale=runs and config.status == 0 and _stale(fleet, shell, place),
        others=() if container else _others(shell),
        addresses=tuple(shell.run(question(files.addresses())).out.split()),
    )


def _config_place(fleet: Fleet, container: Mapping[str, Any]) -> str:
    """Where the container has config.yaml: hosts.yaml may name another file, which is told."""
    mounted = {mount["Destination"]: mount["Source"] for mount in container.get("Mounts") or ()}
    return mounted.get(docker.CONFIG) or fleet.install.mounts.config


def _docker_refused(node: Node, version: Result) -> PreflightError:
    """HOST-006 for a docker that cannot run OMS, HOST-001 for one that does not answer."""
    unfit = version.status == node_checks.UNFIT
    said = version.out.strip() or version.err.strip()
    cure = "change" if unfit else "start"
    if "permission denied" in said:
        cure = "ssh.sudo: true in hosts.yaml, or the user in the group of"
    return PreflightError(
        "HOST-006" if unfit else "HOST-001",
        "this docker cannot run OMS" if unfit else "docker does not answer",
        where=node.name,
        evidence=said,
        fix=f"{cure} docker on {node.name}",
        next=fab("node.check", node=node.name),
    )


def _programs(fleet: Fleet, shell: Shell) -> dict[str, Any]:
    """What NodeFacts has of a running container's programs, and of Stores and connectors."""
    install = fleet.install
    states = supervisor.states(shell.run(question(supervisor.status(install.container))).out)
    listed = shell.run(question(processes.listing(install.container, install.ports)))
    return {
        "programs": tuple(name for name, state in states.items() if state == "RUNNING"),
        "states": states,
        "stores": processes.stores(processes.found(listed.out)),
    }


def _config_facts(
    fleet: Fleet, node: Node, place: str, text: str, errors: list[OmsfabError]
) -> dict[str, Any]:
    """What NodeFacts has of config.yaml: drift, cm_nodes, keys that omsfab does not know."""
    try:
        have = oms_config.read(text, origin=f"{node.name}:{place}")
    except OmsfabError as error:
        errors.append(error)
        have = {}
    want = oms_config.wanted(fleet, fleet.region_of(node))
    if have and len(fleet.regions) == 1:  # then a region needs no name (guide)
        have = {key: want[key] for key in ("cm_region", "cm_region_cn")} | have
    nodes = have.get("cm_nodes")
    same_nodes = {**have, "cm_nodes": want["cm_nodes"]}
    return {
        "cm_nodes": tuple(str(ip) for ip in nodes) if isinstance(nodes, list) else (),
        "drift": oms_config.differences(same_nodes, want) if have else (),
        "unknown_keys": tuple(sorted(set(oms_config.unknown(have)) - set(want))),
    }


def _others(shell: Shell) -> tuple[str, ...]:
    """The containers in which another name hides an OMS that runs: known by their mounts."""
    said = shell.run(question(docker.containers()))
    found = adoption.containers(said.out) if said.status == 0 else ()
    return tuple(one.name for one in found if one.runs and one.by == "mounts")


def _stale(fleet: Fleet, shell: Shell, place: str) -> bool:
    """Whether the container sees another config.yaml: its bind mount holds an inode."""
    seen = node_checks.same_inside(fleet.install.container, place, docker.CONFIG)
    return shell.run(question(seen)).status == node_checks.STALE


SEAL = token_bytes(32)
"""Only this process compares such seals, so nobody else can try passwords against one."""


def _seal(text: str) -> str:
    return hmac.new(SEAL, text.encode(), "sha256").hexdigest()


def _container(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the NodeFacts fields that ``docker inspect`` knows."""
    if not record:
        return {}
    state: ContainerState = "running" if record["State"]["Running"] else "stopped"
    if record["State"]["Status"] == "created":
        state = "created"
    settings = record["Config"]
    environment = dict(pair.split("=", 1) for pair in settings.get("Env") or [] if "=" in pair)
    return {
        "container": state,
        "id": record["Id"],
        "spec": (settings.get("Labels") or {}).get(docker.SPEC_LABEL, ""),
        "image": record["Image"],
        "host_ip": environment.get("OMS_HOST_IP", ""),
        "binds": tuple(
            f"{mount['Source']}:{mount['Destination']}"
            for mount in record.get("Mounts") or ()
            if mount["Type"] == "bind"
        ),
        "flags": tuple(_flags(record["HostConfig"])),
    }


def _flags(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a container runs otherwise than the guide's ``docker run`` would have it."""
    if host.get("NetworkMode") != "host":
        yield f"--net {host.get('NetworkMode')}, not host"
    if not host.get("Privileged"):
        yield "without --privileged=true"
    if host.get("PidsLimit") not in (None, 0, -1):
        yield f"--pids-limit {host.get('PidsLimit')}, not -1"
    limits = {limit["Name"]: limit["Hard"] for limit in host.get("Ulimits") or ()}
    if limits.get("nproc") != 65535:
        yield f"--ulimit nproc={limits.get('nproc', 'unset')}, not 65535"
    yield from (f"with {flag}; a new node gets none" for flag in _limits(host))


OWN_LIMITS = {
    "Memory": "--memory", "MemoryReservation": "--memory-reservation",
    "MemorySwap": "--memory-swap", "KernelMemory": "--kernel-memory", "NanoCpus": "--cpus",
    "CpuShares": "--cpu-shares", "CpuQuota": "--cpu-quota", "CpuPeriod": "--cpu-period",
    "CpusetCpus": "--cpuset-cpus", "CpusetMems": "--cpuset-mems", "BlkioWeight": "--blkio-weight",
    "OomScoreAdj": "--oom-score-adj", "CgroupParent": "--cgroup-parent",
}  # fmt: skip
"""Of HostConfig: what the guide's ``docker run`` does not set, by its flag."""


def _limits(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield the flags of ``docker run`` by which an operator has bounded the container."""
    for key, flag in OWN_LIMITS.items():
        value = host.get(key)
        if key == "MemorySwap" and value == 2 * (host.get("Memory") or 0):
            continue  # docker's own default beside --memory
        if value in (None, 0, "", -1):
            continue
        if key == "NanoCpus":
            value = f"{value / 1e9:g}"
        elif key.startswith(("Memory", "Kernel")) and value % (1 << 20) == 0:
            value = f"{value >> 30}g" if value % (1 << 30) == 0 else f"{value >> 20}m"
        yield f"{flag} {value}"
    if host.get("OomKillDisable"):
        yield "--oom-kill-disable"
    policy = host.get("RestartPolicy") or {}
    if policy.get("Name") not in (None, "", "no"):
        tries = policy.get("MaximumRetryCount")
        yield f"--restart {policy['Name']}{f':{tries}' if tries else ''}"
    usual = {"nproc"}
    for limit in host.get("Ulimits") or ():
        if limit["Name"] not in usual:
            yield f"--ulimit {limit['Name']}={limit.get('Soft', limit['Hard'])}:{limit['Hard']}"


def wanted_image(fleet: Fleet, nodes: Mapping[str, NodeFacts], package: Package | None) -> str:
    """Return the id of the image that all nodes shall run: the package's, or what runs already,
    or what the name of hosts.yaml means on the nodes that have it."""
    if package:
        return package.image
    running = {facts.image for facts in nodes.values() if facts.container == "running"}
    loaded = {facts.loaded for facts in nodes.values() if facts.loaded}
    for found in (running, loaded):
        if len(found) == 1:
            return found.pop()
    return fleet.install.image
