"""What is asked of the jump host's way, the nodes and MetaDB before anything changes: read-only.

A step each, so that each has its own error id, its own fix, and is told beside the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from omsfab.commands import docker, files, node_checks, oms, supervisor
from omsfab.commands import preflight as asks
from omsfab.commands.claim import PLACE
from omsfab.fleet import values
from omsfab.fleet.model import Fleet, MetaDb, Node, Region
from omsfab.next_line import fab, shell
from omsfab.plan import steps
from omsfab.plan.observed import Observed
from omsfab.plan.records import (
    METADB,
    Await,
    ExitsZero,
    FromAny,
    Guarded,
    Healthy,
    IsOms,
    LetsIn,
    MetaDbAnswersWithin,
    MetaDbVersion,
    OutputIs,
    Probe,
    SameTime,
    Stage,
    Step,
)

COPIES = 50_000_000
"""Bytes for what a run keeps on a node: its copy, and ten of ended ones."""

STATEMENT = 0.060
"""Seconds: above it the vendor calls a MetaDB slow."""

CGROUP_2 = (4, 2, 4)
"""The first OMS that knows cgroup version 2."""


def stage(
    fleet: Fleet,
    region: Region,
    present: Observed,
    old: Sequence[Node],
    new: Sequence[Node],
    *,
    vip: bool,
    others: Sequence[Node] = (),
) -> Stage:
    """Everything that can be asked before anything changes, all of it, nodes side by side.

    A new region has nobody behind its VIP yet, hence ``vip``: then it is only asked whether a
    host holds it.  ``others`` are nodes of other regions, which run and stay as they are: a
    docker_init.sh there writes the same MetaDB.
    """
    free = not vip and region.cm_url.host not in region.ips
    members = (*old, *new)
    names = tuple(node.name for node in members)
    runs = {node for node in members if present.facts(node.name).container == "running"}
    fresh = set(new) - runs
    outage = runs | set(old)

    def of(node: Node) -> tuple[Step, ...]:
        return (
            *_of_all(fleet, node, present),
            *(_of_running(fleet, node) if node in outage else ()),
            *(_of_new(fleet, node, present) if node in fresh else ()),
            *(_of_vip(fleet, region, node, old, new) if vip else ()),
            *((steps.cm_url_held(fleet, region, node),) if free and node in fresh else ()),
            *((steps.tsdb_login(fleet.tsdb, node),) if fleet.tsdb else ()),
        )

    asked = [step for node in members for step in of(node)]
    asked += [steps.no_init_runs(fleet, node) for node in others if node not in members]
    if vip and old:
        asked += [_vip_is_oms(fleet, region, old[0], names), _vip_healthy(fleet, region, old[0])]
    if vip and names:
        asked.append(steps.vip_arrives(fleet, region, members[-1], names))
    told = (_fixable(fleet, step) for step in (*_of_metadb(fleet), *asked))
    return Stage("preflight", tuple(told), gather=True)


def to_change(fleet: Fleet, nodes: Sequence[Node], present: Observed) -> tuple[Step, ...]:
    """What is asked of running nodes whose config.yaml is to be written, before any of it is."""
    return tuple(
        step
        for node in nodes
        if present.facts(node.name).container == "running"
        for step in (_kept(fleet, node), _seen(fleet, node), _keeps(node))
    )


def of_node(fleet: Fleet, node: Node, present: Observed) -> tuple[Step, ...]:
    """All questions to one node, whatever is to happen to it."""
    runs = present.facts(node.name).container == "running"
    more = _of_running(fleet, node) if runs else _of_new(fleet, node, present)
    metrics = (steps.tsdb_login(fleet.tsdb, node),) if fleet.tsdb else ()
    asked = (*_of_all(fleet, node, present), *more, *_vip_of(fleet, node, runs=runs), *metrics)
    return tuple(_fixable(fleet, step) for step in asked)


# --- MetaDB ----------------------------------------------------------------------------------


def _of_metadb(fleet: Fleet) -> tuple[Step, ...]:
    version = values.version_of(fleet.install.image)[:3]
    quick = Step(
        name="metadb-quick",
        node=METADB,
        title=f"a statement takes MetaDB at most {STATEMENT * 1000:.0f} ms",
        kind="read-only",
        verify=(MetaDbAnswersWithin(STATEMENT),),
        fault="DB-008",
        fix=_first("look at its load and at the way there", fab("fleet.check")),
        warn=True,
    )
    if not version:
        return (quick,)
    said = ".".join(map(str, version))
    return (
        quick,
        Step(
            name="metadb-version",
            node=METADB,
            title=f"OMS in MetaDB is {said}, as the image",
            kind="read-only",
            verify=(MetaDbVersion(version),),
            fault="IMG-009",
            fix=_first("write image and package of the version that MetaDB has", fab("fleet.show")),
            wanted=f"{said}, out of {fleet.install.image}; after a hot update a container keeps its"
            " former image, and a new node would run old code on a newer MetaDB",
        ),
    )


# --- every node ------------------------------------------------------------------------------


def _of_all(fleet: Fleet, node: Node, present: Observed) -> tuple[Step, ...]:
    metadb = fleet.metadb
    running = present.facts(node.name).container == "running"
    return (
        steps.quick(node),
        steps.docker_answers(node),
        *((_runs(fleet, node),) if running else ()),
        *_clock(fleet, node, running=running),
        _step(
            "habits",
            node,
            "the host suits docker and this OMS",
            ExitsZero(asks.habits(old=_before_cgroup_2(fleet)), ""),
            "HOST-010",
            warn=True,
        ),
        _step(
            "one-oms",
            node,
            "no other OMS runs on this host",
            ExitsZero(asks.one_oms(fleet.install.container), "there is one"),
            "HOST-007",
            fix=_first(
                f"end the other one on {node.name}", fab("node.check", node=node.name)
            ),
            wanted="one OMS per host: with --net host its supervisord has port 8084 for itself",
        ),
        _keeps(node),
        _step(
            "metadb-way",
            node,
            f"MetaDB answers on {metadb.host}:{metadb.port}",
            ExitsZero(node_checks.connects(metadb.host, metadb.port), "it does not"),
            "DB-006",
            fix=shell(
                "ssh", node.ip, f"nc -vz {metadb.host} {metadb.port}",
                first="open the way in the firewall between them",
            ),
        ),
    )  # fmt: skip


def _before_cgroup_2(fleet: Fleet) -> bool:
    return values.version_of(fleet.install.image)[:3] < CGROUP_2


def _clock(fleet: Fleet, node: Node, *, running: bool) -> tuple[Step, ...]:
    """The container's zone is what OMS reckons with; a host shares its clock with it."""
    container = fleet.install.container
    inside = SameTime(docker.inside(container, "date", "+%s %z"))
    compare = "select now(), utc_timestamp(); in MetaDB tells what is wanted"
    look = shell("ssh", node.ip, "timedatectl", note=compare)
    clock = "clock and time zone in the container match" if running else "the clock matches"
    return (
        _step(
            "clock",
            node,
            f"{clock} MetaDB",
            inside if running else SameTime(files.clock(), zone=False),
            "ENV-006",
            fix=shell("ssh", node.ip, f"docker exec {container} date", note=compare)
            if running
            else look,
        ),
        _step(
            "zone",
            node,
            "the host's time zone matches MetaDB",
            SameTime(files.clock()),
            "ENV-007",
            fix=look,
            warn=True,
        ),
    )


def _runs(fleet: Fleet, node: Node) -> Step:
    """It ran when the plan was made.  A run that is resumed asks anew: a node that went down in
    between has its container down, and then nothing else can be asked there."""
    container = fleet.install.container
    return _step(
        "runs",
        node,
        f"{container} runs, as it did when this was planned",
        OutputIs(docker.running(container), "true"),
        "RUN-004",
        fix=shell("ssh", node.ip, f"docker start {container}"),
    )


def _keeps(node: Node) -> Step:
    return _step(
        "keeps",
        node,
        f"{PLACE} takes claims and the copy of a run",
        (
            ExitsZero(asks.takes(PLACE), "it cannot be written"),
            ExitsZero(asks.keeps(COPIES), "not enough free disk space"),
        ),
        "HOST-008",
        fix=shell("ssh", node.ip, f"df -h {PLACE}; lsattr -d {PLACE}", first="make it writable"),
        wanted=f"writable, {COPIES // 1_000_000} MB free: what a run does is kept there, and before"
        " rows are deleted a copy of them",
    )


# --- a node that runs OMS --------------------------------------------------------------------


def _of_running(fleet: Fleet, node: Node) -> tuple[Step, ...]:
    install, metadb = fleet.install_of(node), fleet.metadb
    return (
        steps.no_init_runs(fleet, node),
        _kept(fleet, node),
        _seen(fleet, node),
        _step(
            "omsflow",
            node,
            f"docker_init.sh and omsflow are in {install.container}",
            ExitsZero(asks.omsflow(install.container), ""),
            "INIT-017",
            fix=fab("node.logs", node=node.name),
            wanted="/root/docker_init.sh, and a python that imports omsflow from /root",
        ),
        _supervisord(install.container, node),
        _metadb_login(metadb, install.container, node),
        _guarded(node, (steps.SUPERVISORD_WEB, install.ports.cm, install.ports.supervisor)),
    )


def _supervisord(container: str, node: Node) -> Step:
    return _step(
        "supervisord",
        node,
        f"supervisorctl in {container} reaches supervisord",
        ExitsZero(supervisor.answers(container), "it does not"),
        "RUN-042",
        fix=shell(
            "ssh",
            node.ip,
            f"docker start {container}; docker exec {container} supervisorctl status",
            note="starts it if it is down, and says what supervisorctl says",
        ),
        wanted="an answer: without one no program of OMS can be asked, stopped or started",
    )


def _guarded(node: Node, ports: tuple[int, ...]) -> Step:
    return _step(
        "guarded",
        node,
        "no port of OMS without a password is open to this jump host",
        Guarded(node.ip, ports),
        "HOST-011",
        fix=_first(
            f"let only the nodes of OMS reach {', '.join(map(str, ports))} of {node.name}:"
            " a firewall",
            fab("node.check", node=node.name),
        ),
        warn=True,
        wanted="supervisord, CM and agent ask for no password: whoever gets there commands OMS",
    )


def _kept(fleet: Fleet, node: Node) -> Step:
    """What the outage will need of a running node: its config.yaml can be written in place, with
    the former one beside it."""
    install = fleet.install
    path = install.mounts.config
    home = str(PurePosixPath(path).parent)
    room = {install.mounts.logs: 20_000_000, home: 1_000_000}
    return _step(
        "kept",
        node,
        f"{path} can be written, and a copy beside it",
        (
            ExitsZero(node_checks.writable(path), "config.yaml cannot be written"),
            ExitsZero(asks.takes(path), "config.yaml cannot be written"),
            ExitsZero(node_checks.space(0, room), "not enough free disk space"),
        ),
        "CFG-009",
        fix=shell("ssh", node.ip, f"lsattr -d {home} {path}; findmnt -T {path}; df -h {home}"),
    )


def _seen(fleet: Fleet, node: Node) -> Step:
    install = fleet.install
    path = install.mounts.config
    return _step(
        "seen",
        node,
        f"the container sees {path} as it is on the host",
        ExitsZero(node_checks.same_inside(install.container, path, docker.CONFIG), "it does not"),
        "CFG-009",
        fix=fab(
            "node.restart",
            node=node.name,
            note="the file was replaced, not written: a container holds what it was started with",
        ),
    )


def _metadb_login(metadb: MetaDb, container: str, node: Node) -> Step:
    return _step(
        "metadb-login",
        node,
        f"{metadb.user} logs in to MetaDB from {container}",
        ExitsZero(asks.metadb_login(container, metadb), "it does not"),
        "DB-007",
        fix=_first(
            f"ask the DBA to let {metadb.user} in from {node.ip}"
            f" (where the container is down: docker start {container})",
            fab("node.check", node=node.name),
        ),
    )


def _metadb_lets_in(metadb: MetaDb, node: Node) -> Step:
    """A node without a container cannot log in as OMS will; the account may be bound to hosts."""
    return _step(
        "metadb-login",
        node,
        f"{metadb.user} logs in to MetaDB from {node.name}",
        LetsIn(),
        "DB-007",
        fix=_first(
            f"ask the DBA to let {metadb.user} in from {node.ip}", fab("node.check", node=node.name)
        ),
    )


# --- a new node ------------------------------------------------------------------------------


def _of_new(fleet: Fleet, node: Node, present: Observed) -> tuple[Step, ...]:
    install = fleet.install_of(node)
    mounts = install.mounts
    name = str(install.image)
    tagged = ":" in name.rpartition("/")[2] and present.image.startswith("sha256:")
    return (
        steps.advised(fleet, node),
        steps.ready(fleet, node, present.package),
        _step(
            "place",
            node,
            "config.yaml and the mount directories can be written",
            ExitsZero(
                asks.takes(mounts.config, mounts.logs, mounts.store, mounts.run), "they cannot"
            ),
            "CFG-009",
            fix=shell("ssh", node.ip, f"ls -ld {mounts.config} {mounts.logs}"),
        ),
        *(
            (
                _step(
                    "tag",
                    node,
                    f"no other image has the name {name}",
                    ExitsZero(asks.tag(name, present.image), "another one has"),
                    "IMG-008",
                    fix=shell(
                        "ssh", node.ip, f"docker tag {name} {name}-former",
                        note="keeps a name for it: docker load moves this one to the image sent",
                    ),
                    warn=True,
                    wanted=present.image,
                ),
            )
            if tagged and not name.startswith("sha256:")
            else ()
        ),
        _metadb_lets_in(fleet.metadb, node),
    )  # fmt: skip


# --- the VIP ---------------------------------------------------------------------------------


def _of_vip(
    fleet: Fleet, region: Region, node: Node, old: Sequence[Node], new: Sequence[Node]
) -> tuple[Step, ...]:
    """A node that joins must reach the VIP.  One that runs is a backend already: where it does not
    reach its own VIP and others do, that is a kind of balancer, and told as a warning."""
    if node not in old:
        return (steps.vip_answers(fleet, region, node),)
    return steps.vip_reached(fleet, region, node, new)


def _vip_is_oms(fleet: Fleet, region: Region, node: Node, names: tuple[str, ...]) -> Step:
    """Behind the VIP is an OMS, and not something else that listens on these ports."""
    url = oms.health_at(region.cm_url.host, fleet.install_of(node))
    asked = IsOms(files.http_get(url), oms.page_of_cm(region.cm_url.host, fleet.install_of(node)))
    return _step(
        "vip-oms",
        node,
        f"{url} is answered by an OMS",
        Await(FromAny(asked, names), limit=10),
        "VIP-002",
        fix=shell("curl", "-k", url, note="who answers there?"),
    )


def _vip_healthy(fleet: Fleet, region: Region, node: Node) -> Step:
    """An OMS that is ill, because its MetaDB is away, say, is told as that."""
    install = fleet.install_of(node)
    url = oms.health_at(region.cm_url.host, install)
    page = Healthy(files.http_get(url), oms.page_of_cm(region.cm_url.host, install))
    return _step(
        "vip-healthy",
        node,
        f"{url} says healthy",
        Await(page, limit=10),
        "RUN-005",
        fix=fab("fleet.status"),
        warn=True,
    )


def _fixable(fleet: Fleet, step: Step) -> Step:
    """What a person does first, where the step itself does not say; the line asks once more."""
    node = step.node
    ports = fleet.install.ports
    taken: tuple[int, ...] = (ports.cm, ports.nginx, ports.ghana, ports.supervisor, ports.sshd)
    taken = (*taken, steps.SUPERVISORD_WEB)
    first = {
        "line": f"use a jump host that is nearer to {node}, or see the load there",
        "docker": f"start docker on {node}",
        "habits": f"see the vendor's requirements; live-restore is set in daemon.json of {node}",
        "advice": f"see the vendor's requirements: {node} may be too small",
        "ready": f"free on {node} what the finding names",
        "init-runs": "wait for its end",
        "vip-member": "look at the balancer: it hides who answers",
    }.get(step.name, "")
    wanted = {
        "ready": f"its address, ports {', '.join(map(str, taken))} free,"
        " disk space for package, image and logs",
    }.get(step.name, step.title)
    fix = step.fix or (_first(first, fab("node.check", node=node)) if first else "")
    return replace(step, fix=fix, wanted=step.wanted or wanted)


def _vip_of(fleet: Fleet, node: Node, *, runs: bool) -> tuple[Step, ...]:
    """Asked of a single node too, which names another line than itself; before a region runs
    nobody answers behind its VIP."""
    region = fleet.region_of(node)
    if region.cm_url.host in region.ips:
        return ()
    port = str(fleet.install.ports.cm)
    look = shell("nc", "-vz", region.cm_url.host, port, note="does it answer this jump host?")
    if not runs:
        return (replace(steps.vip_answers(fleet, region, node), warn=True, next=look),)
    others = [one for one in region.nodes if one != node]
    asked, *own = _of_vip(fleet, region, node, (node,), others)
    is_oms = _vip_is_oms(fleet, region, node, (node.name,))
    return (replace(asked, next=look), *own, is_oms, _vip_healthy(fleet, region, node))


# --- helpers ---------------------------------------------------------------------------------


def _step(
    name: str,
    node: Node,
    title: str,
    verify: Probe | tuple[Probe, ...],
    fault: str,
    *,
    fix: object = "",
    warn: bool = False,
    wanted: str = "",
) -> Step:
    return Step(
        name=name,
        node=node.name,
        title=title,
        kind="read-only",
        verify=verify if isinstance(verify, tuple) else (verify,),
        fault=fault,
        fix=str(fix),
        warn=warn,
        wanted=wanted,
    )


def _first(what: str, line: object) -> str:
    """A line, and what a person does before it."""
    return f"{line}   # first: {what}"
