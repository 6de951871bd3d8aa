"""The main job: which scenario of the guide holds, and its stages in order.

Pure functions of the fleet and of what is so now.  The guide stops production first and moves
gigabytes afterwards; here everything is staged on the new nodes before the outage begins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from omsfab.commands import docker
from omsfab.errors import InputError, PreflightError
from omsfab.fleet.model import Fleet, Node, Region
from omsfab.plan import steps
from omsfab.plan.present import NodeFacts, Present
from omsfab.plan.records import Plan, Stage, Step


def scale_out(
    fleet: Fleet,
    present: Present,
    *,
    region: str = "",
    nodes: str = "",
    accept_interruption: str = "",
) -> Plan:
    """Return the plan that brings the region to the nodes and the cm_url of hosts.yaml.

    ``nodes`` (comma separated) limits which of the missing nodes are added now;
    ``accept_interruption`` (any word) stops production although it is at work.
    """
    plan = _scale_out(fleet, present, region, nodes, accept_interruption)
    return replace(plan, reasons=(*plan.reasons, *present.notes))


def _scale_out(
    fleet: Fleet, present: Present, region: str, nodes: str, accept_interruption: str
) -> Plan:
    where = region_named(fleet, region)
    old, new = _split(where, present, nodes)
    _one_holds_the_vip(where, present, [*old, *new])
    where = where.model_copy(
        update={"nodes": tuple(node for node in where.nodes if node in old or node in new)}
    )
    here = present.clusters.get(where.location)
    if here is None and not present.clusters:
        _fixed_keys(_running(where, present), present)
        raise _not_deployed(where)
    _identity(fleet, where, present)
    if here is None:
        return _new_region(fleet, where, present)
    _all_known(where, present)
    _keys_known(old, present)
    _fixed_keys(old, present)
    _one_image(old, present)
    if same_url(here, where.cm_url):
        return _behind_vip(fleet, where, present, old, new)
    if host_of(here) in where.ips:
        if not accept_interruption:
            _at_rest(where, present)
        _all_included(region_named(fleet, region), where, present)
        return _from_physical(fleet, where, present, old, new, here)
    raise PreflightError(
        "PLAN-003",
        f"cm_url in MetaDB is {here}: neither {where.cm_url} nor the address of a node",
        where=f"cluster_info, location {where.location}",
        evidence="the guide knows two scenarios: cm_url is a node's own address, or the VIP",
        next="correct cm_url in hosts.yaml, then: fab scale.out --plan",
    )


def deploy(fleet: Fleet, present: Present, *, region: str = "", nodes: str = "") -> Plan:
    """Return the plan of a first deployment of a region: stage, run, initialise, verify."""
    where = region_named(fleet, region)
    if where.location in present.clusters and not present.assumed:
        raise PreflightError(
            "PLAN-005",
            f"region {where.name} (location {where.location}) is in MetaDB already",
            where="cluster_info",
            evidence=f"cm_url {present.clusters[where.location]}",
            next="fab scale.out --plan",
        )
    if present.clusters and not present.assumed:
        raise PreflightError(
            "PLAN-008",
            f"OMS runs already: region {where.name} is a further one",
            where="cluster_info",
            evidence="oms.deploy is for the very first region; it proves nothing about others",
            next=f"fab scale.out --region={where.name} --plan",
        )
    chosen = chosen_nodes(where, nodes) or where.nodes
    where = where.model_copy(update={"nodes": tuple(n for n in where.nodes if n in chosen)})
    _fixed_keys(_running(where, present), present)
    return Plan(
        "oms.deploy",
        f"deploy region {where.name} on {names(where.nodes)}",
        (f"MetaDB has no row for location {where.location}", *present.notes),
        (
            _preflight(fleet, where, present, (), where.nodes, vip=False),
            _staging(fleet, where, present, where.nodes),
            *_joining(fleet, where, present, where.nodes),
            _proof(fleet, where, present.image, vip=True),
        ),
    )


# --- the two scenarios of the guide --------------------------------------------------------------


def _from_physical(
    fleet: Fleet,
    region: Region,
    present: Present,
    old: Sequence[Node],
    new: Sequence[Node],
    here: str,
) -> Plan:
    """cm_url is a node's own address: the region's rows must go, and come back with the VIP."""
    # A container that runs and is not ONLINE would go on writing: it is stopped with the others.
    old = [*old, *(node for node in new if present.facts(node.name).container == "running")]
    new = [node for node in new if node not in old]
    _containers_kept(fleet, old, present)
    first, *rest = old
    reasons = (
        f"cm_url in MetaDB is {here}, the own address of a node; hosts.yaml has {region.cm_url}",
        'guide: "The IP address of a physical server is specified for the cm_url parameter"',
        *present.scopes,
        *(f"despite {text}" for text in present.traffic),
        *_flags(old, present),
    )
    return Plan(
        "scale.out",
        f"scale out region {region.name}: {names(old)} + {names(new)}, cm_url to {region.cm_url}",
        reasons,
        (
            _preflight(fleet, region, present, old, new, vip=True),
            *((_staging(fleet, region, present, new),) if new else ()),
            Stage(
                "stop production",
                tuple(steps.stop_processes(fleet, node) for node in old),
                outage=True,
            ),
            Stage("rows of MetaDB", (steps.clear_rows(region),), outage=True),
            Stage(
                "configuration of the old nodes",
                tuple(steps.config(fleet, region, node, present.facts(node.name)) for node in old),
                outage=True,
            ),
            Stage(
                "initialise the first node",
                (steps.initialise(fleet, region, first, again=True, old_url=here),),
                outage=True,
            ),
            Stage(
                "verify MetaDB",
                (steps.cm_url(region, here), steps.others_unchanged(region)),
                outage=bool(rest),
            ),
            *(
                (
                    Stage(
                        "initialise the other old nodes",
                        tuple(steps.initialise(fleet, region, node, again=True) for node in rest),
                        width=1,
                        outage=True,
                    ),
                )
                if rest
                else ()
            ),
            *_joining(fleet, region, present, new, apart=True),
            _proof(fleet, region, present.image, here),
        ),
        initial=first.name,
    )


def _behind_vip(
    fleet: Fleet, region: Region, present: Present, old: Sequence[Node], new: Sequence[Node]
) -> Plan:
    """cm_url is the VIP already: the new nodes join, the old ones learn the new cm_nodes."""
    drifts = {node.name: _drift(region, present.facts(node.name)) for node in old}
    drifted = [node for node in old if drifts[node.name]]
    reasons = [
        f"cm_url in MetaDB is {region.cm_url} already",
        'guide: "A VIP is specified for the cm_url parameter in the initial environment"',
    ]
    if not new and not drifted:
        reasons.append(f"nothing to do: {names(old)} are in MetaDB, ONLINE, with this config.yaml")
        if further := [one.name for one in fleet.regions if one.name != region.name]:
            reasons.append(f"not looked at: {', '.join(further)} (--region)")
        return Plan(
            "scale.out",
            f"region {region.name} is as hosts.yaml wants it",
            tuple(reasons),
            (_proof(fleet, region, present.image),),
        )
    _containers_kept(fleet, drifted, present)
    refreshed = tuple(
        step
        for node in drifted
        for step in (
            steps.config(fleet, region, node, present.facts(node.name)),
            steps.refresh(fleet, node),
        )
    )
    title = f"scale out region {region.name}: {names(old)} + {names(new)}"
    return Plan(
        "scale.out",
        title if new else f"bring region {region.name} to the values of hosts.yaml",
        (
            *reasons,
            *(f"{name}: {line}" for name, lines in drifts.items() for line in lines),
            *_flags(old, present),
        ),
        (
            *((_preflight(fleet, region, present, old, new, vip=True),) if new else ()),
            *((_staging(fleet, region, present, new),) if new else ()),
            *_joining(fleet, region, present, new, apart=True),
            *(
                (Stage("cm_nodes on the old nodes, 1 node at a time", refreshed, width=1),)
                if refreshed
                else ()
            ),
            _proof(fleet, region, present.image),
        ),
        initial=old[0].name,
    )


# --- a new region ----------------------------------------------------------------------------


def _new_region(fleet: Fleet, region: Region, present: Present) -> Plan:
    """MetaDB does not know the region: it gets rows of its own, and nobody else's rows change.

    Guide, "Scale out OMS from a single region".  The other regions' config.yaml may need
    cm_region and cm_region_cn, which are optional as long as there is but one region.
    """
    new = region.nodes
    others = [other for other in fleet.regions if other.location != region.location]
    theirs = [
        node
        for other in others
        for node in other.nodes
        if present.facts(node.name).container == "running"
    ]
    _others_at_their_cm_url(others, present)
    _one_image(theirs, present)
    changed = changed_config(fleet, present, theirs)
    return Plan(
        "scale.out",
        f"new region {region.name} (location {region.location}) on {names(new)}",
        (
            *_why_new(fleet, region, present),
            *(f"{name}: {line}" for name, lines in changed.drifts.items() for line in lines),
        ),
        (
            _preflight(
                fleet,
                region,
                present,
                [n for n in theirs if n.name in changed.drifts],
                new,
                vip=False,
            ),
            _staging(fleet, region, present, new),
            Stage("rows of the other regions", (steps.save_rows(region),)),
            *(
                (
                    Stage(
                        "config.yaml of the other regions, 1 node at a time",
                        changed.steps,
                        width=1,
                    ),
                )
                if changed.steps
                else ()
            ),
            *_joining(fleet, region, present, new),
            _proof(fleet, region, present.image, vip=True, others=True),
        ),
        initial=theirs[0].name if theirs else new[0].name,
    )


@dataclass(frozen=True, slots=True)
class Changed:
    """Nodes whose config.yaml is to change: what differs, by name, and the steps, node by node."""

    drifts: Mapping[str, tuple[str, ...]]
    steps: tuple[Step, ...]


def changed_config(
    fleet: Fleet, present: Present, nodes: Sequence[Node], *, only: str = ""
) -> Changed:
    """Return what brings config.yaml of running nodes, of any region, to hosts.yaml.

    cm_nodes are the nodes of the region that run.  ``only`` is the beginning of the keys that may
    differ.  Nothing of it needs an initialisation: the components are refreshed.
    """
    _keys_known(nodes, present)
    _fixed_keys(nodes, present)
    drifts: dict[str, tuple[str, ...]] = {}
    made: list[Step] = []
    for region in fleet.regions:
        here = tuple(node for node in region.nodes if node in nodes)
        where = region.model_copy(update={"nodes": here})
        for node in here:
            facts = present.facts(node.name)
            drift = ("(not asked)",) if present.assumed and only else _drift(where, facts)
            if drift:
                drifts[node.name] = drift
                made += [
                    steps.config(fleet, where, node, facts),
                    steps.refresh(fleet, node),
                    steps.healthy(fleet, node),
                ]
    further = [
        f"{name}: {line}"
        for name, lines in drifts.items()
        for line in lines
        if not line.startswith((only, "("))
    ]
    if further:
        raise PreflightError(
            "CFG-012",
            f"config.yaml differs from hosts.yaml in more than {only}*",
            where=", ".join(drifts),
            evidence="\n".join(further),
            next="fab scale.out --plan   # brings the rest; one thing at a time",
        )
    _containers_kept(fleet, [node for node in nodes if node.name in drifts], present)
    return Changed(drifts, tuple(made))


def _why_new(fleet: Fleet, region: Region, present: Present) -> Iterator[str]:
    """Yield what the guide says, and where its own sample is not followed."""
    known = ", ".join(
        f"{code} ({present.regions.get(code) or 'without a name'})" for code in present.clusters
    )
    yield f"MetaDB has no row for location {region.location}; it has: {known}"
    yield 'guide: "Scale out OMS from a single region"; rm_db and cm_db are those of all regions'
    home = next((one.name for one in fleet.regions if one.default), "none")
    yield (
        "cm_is_default: false, although the guide's sample has true: its parameter table allows"
        f" true in one region only, and that is {home}"
    )
    yield (
        f"with Alibaba Cloud MSHA, cm_region must be the region's name there: is {region.name}?"
        " (guide, notice at cm_region)"
    )
    for other in fleet.regions:
        named = present.regions.get(other.location)
        if other.location in present.clusters and named != other.name:
            yield (
                f"MetaDB names location {other.location} {named!r}, hosts.yaml {other.name}:"
                " its config.yaml is brought to that, its rows stay as they are"
            )


def _identity(fleet: Fleet, region: Region, present: Present) -> None:
    """Location, name, cm_url, default and heartbeat DB of the region are nobody else's."""
    if present.assumed:
        return
    wrong = [
        f"location {code} ({present.regions.get(code)}) has {what}"
        for code, url in present.clusters.items()
        if code != region.location
        for what in (
            *((f"cm_region {region.name}",) if present.regions.get(code) == region.name else ()),
            *((f"cm_url {url}",) if same_url(url, region.cm_url) else ()),
            *(("cm_is_default true",) if region.default and code in present.defaults else ()),
        )
    ]
    named = present.regions.get(region.location)
    if named != region.name and named in {one.name for one in fleet.regions}:
        wrong.append(f"location {region.location} is region {named}")
    running = [present.facts(n.name) for n in region.nodes if present.facts(n.name).cm_nodes]
    as_written = [f for f in running if not any(d.startswith("cm_region:") for d in f.drift)]
    if named not in (None, "", region.name) and as_written and not wrong:
        wrong.append(
            f"location {region.location} is region {named}, config.yaml says {region.name}"
        )
    strangers = sorted(set(present.beats) - set(region.ips))
    if strangers and region.location not in present.clusters:
        wrong.append(f"{', '.join(strangers)} report in heartbeat_db {region.heartbeat_db}")
    if wrong:
        raise PreflightError(
            "PLAN-009",
            f"region {region.name} of hosts.yaml would take what another region has",
            where="cluster_info and heart_beat",
            evidence="\n".join(wrong),
            next=f"correct regions.{region.name} in hosts.yaml, then: fab fleet.show"
            f"   # it has location {region.location}",
        )


def _container_drift(fleet: Fleet, node: Node, facts: NodeFacts) -> Iterator[str]:
    """Yield what only a new container could change: OMS_HOST_IP and mounts, a line each."""
    if not facts.image:  # nobody has looked
        return
    if facts.host_ip != node.ip:
        yield f"OMS_HOST_IP {facts.host_ip or 'is missing'} -> {node.ip}"
    wanted = {":".join(pair) for pair in docker.mounts(fleet.install_of(node))}
    for bind in sorted(set(facts.binds) ^ wanted):
        yield f"mount {bind} is {'missing' if bind in wanted else 'extra'}"


def _containers_kept(fleet: Fleet, nodes: Sequence[Node], present: Present) -> None:
    """A run that would change a node finds its container as hosts.yaml says, or stops.

    Guide: the mount directories must remain unchanged; OMS_HOST_IP is the current host.  A
    config.yaml written where the container does not look would be found out too late.
    """
    wrong = [
        f"{node.name}: {line}"
        for node in nodes
        for line in _container_drift(fleet, node, present.facts(node.name))
    ]
    if wrong:
        raise PreflightError(
            "CFG-008",
            "a running container has other mounts or another OMS_HOST_IP than hosts.yaml",
            where=", ".join(dict.fromkeys(line.partition(":")[0] for line in wrong)),
            evidence="\n".join([*wrong, "guide: the mount directories must remain unchanged"]),
            next="fab fleet.check   # then write what the container has into hosts.yaml",
        )


def _one_image(running: Sequence[Node], present: Present) -> None:
    """Nodes of one OMS run one image: its id decides, since a tag may be loaded twice."""
    other = {
        node.name: image
        for node in running
        if (image := present.facts(node.name).image) and image != present.image
    }
    if other:
        raise PreflightError(
            "IMG-007",
            f"the running nodes have another image than hosts.yaml: {present.image[:19]}",
            where=", ".join(other),
            evidence="\n".join(
                [
                    *(f"{name}: {image}" for name, image in other.items()),
                    "guide, IMAGE_TAG: an image is known by its id; all nodes run the same version",
                ]
            ),
            next="fab fleet.check   # then write the image and package that run into hosts.yaml",
        )


FIXED = ("drc_rm_db", "drc_cm_db", "drc_cm_heartbeat_db", "cm_location")
"""Keys that must not change once a node is initialised: its data would stay behind."""


def _fixed_keys(nodes: Sequence[Node], present: Present) -> None:
    """The databases and the location in hosts.yaml are those the running nodes use (guide)."""
    wrong = [
        f"{node.name}: {line}"
        for node in nodes
        for line in present.facts(node.name).drift
        if line.partition(":")[0] in FIXED
    ]
    if wrong:
        raise PreflightError(
            "CFG-011",
            "hosts.yaml has other databases or another location than the running nodes",
            where=", ".join(dict.fromkeys(line.partition(":")[0] for line in wrong)),
            evidence="\n".join([*wrong, "guide: the names must be those of the initial node"]),
            next="write the running values into hosts.yaml, then: fab scale.out --plan",
        )


def _others_at_their_cm_url(others: Sequence[Region], present: Present) -> None:
    """Another region whose cm_url is to change needs the surgery of its own rows, not this run."""
    for other in others:
        here = present.clusters.get(other.location)
        if here is not None and not present.assumed and not same_url(here, other.cm_url):
            raise PreflightError(
                "PLAN-010",
                f"region {other.name} has cm_url {here} in MetaDB, {other.cm_url} in hosts.yaml",
                where=f"cluster_info, location {other.location}",
                evidence="one thing at a time: its rows do not change while a new region joins",
                next=f"fab scale.out --region={other.name} --plan",
            )


# --- stages they share ---------------------------------------------------------------------------


def _preflight(
    fleet: Fleet,
    region: Region,
    present: Present,
    old: Sequence[Node],
    new: Sequence[Node],
    *,
    vip: bool,
) -> Stage:
    """Everything that can be asked before anything changes.

    A new region has nobody behind its VIP yet, hence ``vip``: then it is only asked whether a
    host holds it.
    """
    free = not vip and region.cm_host not in region.ips
    members = tuple(node.name for node in (*old, *new))

    def questions(node: Node) -> tuple[Step, ...]:
        fresh = node in new and present.facts(node.name).container != "running"
        proof = (
            (steps.vip_is_oms(fleet, region, node),) if node in old[:1] else (),
            (steps.vip_arrives(fleet, region, node, members),) if node.name == members[-1] else (),
        )
        return (
            steps.quick(node),
            steps.docker_answers(node),
            steps.same_time(node),
            *((steps.advised(fleet, node),) if fresh else ()),
            *((steps.ready(fleet, node, present.package),) if fresh else ()),
            *((steps.stays_writable(fleet, node),) if node in old else ()),
            *((steps.vip_answers(fleet, region, node), *proof[0], *proof[1]) if vip else ()),
            *((steps.cm_url_held(fleet, region, node),) if free and fresh else ()),
            *((steps.tsdb_login(fleet.tsdb, node),) if fleet.tsdb else ()),
        )

    return Stage("preflight", tuple(step for node in (*old, *new) for step in questions(node)))


def _staging(fleet: Fleet, region: Region, present: Present, new: Sequence[Node]) -> Stage:
    """All that a new node needs, before production is touched: static faults cost nothing here."""
    return Stage(
        "stage the new nodes",
        tuple(
            step
            for node in new
            for step in (
                steps.directories(fleet, node),
                steps.image(fleet, node, present.image, present.package),
                steps.config(fleet, region, node, present.facts(node.name)),
                *steps.certificate(fleet, region, node),
            )
        ),
    )


def _joining(
    fleet: Fleet,
    region: Region,
    present: Present,
    new: Sequence[Node],
    *,
    apart: bool = False,
) -> tuple[Stage, ...]:
    """One node after the other, container and initialisation: they share a MetaDB.

    Newer images initialise themselves as soon as their container runs, so two containers started
    side by side would be two initialisations at once.
    ``apart`` where OMS is in service without them: one that fails does not hold the others up.
    """
    if not new:
        return ()
    _names_free(fleet, new, present)
    _images_there(fleet, new, present)
    return (
        Stage(
            "run and initialise the new nodes, 1 node at a time",
            tuple(
                step
                for node in new
                for step in (
                    steps.container(fleet, node, present.image, present.facts(node.name)),
                    steps.initialise(fleet, region, node),
                )
            ),
            width=1,
            apart=apart,
        ),
    )


def _proof(
    fleet: Fleet,
    region: Region,
    image: str,
    old_url: str = "",
    *,
    vip: bool = False,
    others: bool = False,
) -> Stage:
    """What a DBA would look at afterwards, on every node and in MetaDB.

    ``vip`` where it could not be proven before; ``others`` where rows were saved at the beginning.
    """
    return Stage(
        "final verification",
        (
            *(
                step
                for node in region.nodes
                for step in (
                    *((steps.same_image(fleet, node, image),) if image.startswith("sha") else ()),
                    steps.programs_run(fleet, node),
                    steps.healthy(fleet, node),
                    steps.host_online(region, node),
                    *((_last(steps.vip_answers(fleet, region, node)),) if vip else ()),
                )
            ),
            _last(steps.cm_url(region, old_url)),
            *((_last(steps.others_unchanged(region)),) if others else ()),
        ),
    )


def _last(step: Step) -> Step:
    """The same question again: by a name of its own, or a resumed run would take it for done."""
    return replace(step, name=f"{step.name}-last")


# --- who is who ------------------------------------------------------------------------------


def region_named(fleet: Fleet, name: str) -> Region:
    """Return the region; without a name the only one there is."""
    found = [region for region in fleet.regions if name in ("", region.name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(region.name for region in fleet.regions)
    raise InputError(
        "INPUT-020",
        f"there is no region {name!r}" if name else "hosts.yaml has several regions",
        where="--region",
        evidence=f"there are: {known}",
        next=f"fab scale.out --region={fleet.regions[-1].name} --plan",
    )


def region_that_differs(
    fleet: Fleet, clusters: Mapping[int, str], hosts: Mapping[int, Sequence[str]]
) -> str:
    """Return the name of the one region that MetaDB has otherwise: unknown, or other cm_url or
    nodes.  If none differs it is the default region; if several do, the operator is asked."""
    why: dict[str, str] = {}
    for region in fleet.regions:
        here = clusters.get(region.location)
        if here is None:
            why[region.name] = "MetaDB does not know it"
        elif not same_url(here, region.cm_url):
            why[region.name] = f"cm_url is {here} in MetaDB"
        elif set(hosts.get(region.location, ())) != set(region.ips):
            why[region.name] = f"MetaDB has the hosts {', '.join(hosts[region.location]) or 'none'}"
    if len(why) > 1:
        raise InputError(
            "INPUT-027",
            f"{len(why)} regions differ from hosts.yaml: which one shall it be?",
            where="--region",
            evidence="\n".join(f"{name}: {text}" for name, text in why.items()),
            next=f"fab scale.out --region={next(iter(why))} --plan",
        )
    home = next((one.name for one in fleet.regions if one.default), fleet.regions[0].name)
    return next(iter(why), home)


def chosen_nodes(region: Region, text: str) -> tuple[Node, ...]:
    """Return the nodes named (or addressed) in a comma separated list; none for an empty one."""
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    found = {word: node for node in region.nodes for word in wanted if word in (node.name, node.ip)}
    missing = [word for word in wanted if word not in found]
    if missing:
        raise InputError(
            "INPUT-021",
            f"hosts.yaml has no node {', '.join(missing)} in region {region.name}",
            where="--nodes",
            evidence=f"there are: {names(region.nodes)}",
            next="fab scale.out --plan   # without --nodes: all that are missing",
        )
    return tuple(node for node in region.nodes if node in found.values())


def _split(region: Region, present: Present, text: str) -> tuple[list[Node], list[Node]]:
    """Return (nodes OMS runs on already, nodes to add now)."""
    old = [
        node
        for node in region.nodes
        if present.facts(node.name).container == "running"
        and present.hosts.get(node.ip, "").upper() == "ONLINE"
    ]
    missing = [node for node in region.nodes if node not in old]
    chosen = chosen_nodes(region, text)
    if not old and region.location in present.clusters:
        raise PreflightError(
            "PLAN-006",
            f"no node of region {region.name} runs OMS and is ONLINE in MetaDB",
            where="table host and the containers",
            evidence="\n".join(
                f"{node.name}: container {present.facts(node.name).container}, "
                f"host_status {present.hosts.get(node.ip, 'no row')}"
                for node in region.nodes
            ),
            next="fab fleet.status",
        )
    stopped = [node for node in missing if present.facts(node.name).container == "stopped"]
    if stopped and (not chosen or any(node in chosen for node in stopped)):
        raise PreflightError(
            "HOST-003",
            f"{fleet_word(stopped)} already: it is stopped, and is never removed silently",
            where=names(stopped),
            next=f"fab node.start --node={stopped[0].name}",
        )
    return old, [node for node in missing if not chosen or node in chosen]


def fleet_word(nodes: Sequence[Node]) -> str:
    return f"{names(nodes)} {'has' if len(nodes) == 1 else 'have'} the container"


def _all_known(region: Region, present: Present) -> None:
    """Every node that MetaDB knows must be in hosts.yaml: an unknown one would go on writing."""
    strangers = sorted(set(present.hosts) - set(region.ips))
    if strangers:
        raise PreflightError(
            "PLAN-007",
            f"MetaDB has hosts that hosts.yaml does not name: {', '.join(strangers)}",
            where=f"table host, location {region.location}",
            evidence="its processes could not be stopped, and its rows would be deleted",
            next=f"add them to regions.{region.name}.nodes in hosts.yaml, then: "
            "fab scale.out --plan",
        )


def _one_holds_the_vip(region: Region, present: Present, members: Sequence[Node]) -> None:
    """An address in cm_url is bound on one member, or on none: then a balancer answers for it."""
    holders = [n for n in region.nodes if region.cm_host in present.facts(n.name).addresses]
    if region.cm_host in region.ips or not holders:
        return
    strangers = [node for node in holders if node not in members]
    if len(holders) > 1 or strangers:
        what = "is bound twice" if len(holders) > 1 else "is bound on a node that is not to serve"
        raise PreflightError(
            "VIP-002",
            f"the VIP {region.cm_host} {what}: {names(holders)}",
            where=names(holders),
            evidence="ip -br addr on each node; who holds it answers to cm_url",
            next=f"unbind it on {names(strangers or holders[1:])}, then: fab scale.out --plan",
        )


def _at_rest(region: Region, present: Present) -> None:
    """Stopping a region that is at work is a decision, and it is not ours."""
    if present.traffic:
        raise PreflightError(
            "PLAN-011",
            f"region {region.name} is at work, and its processes would be stopped",
            where="oms_normal_config and the projects in MetaDB",
            evidence="\n".join(present.traffic),
            next="fab scale.out --plan --accept-interruption"
            "   # or switch HA off, let the projects end, and plan again",
        )


def _all_included(whole: Region, chosen: Region, present: Present) -> None:
    """Rows are deleted: a container left out of --nodes would go on writing them."""
    left = [n for n in whole.nodes if n not in chosen.nodes]
    running = [n for n in left if present.facts(n.name).container == "running"]
    if running:
        raise PreflightError(
            "PLAN-012",
            f"{fleet_word(running)}, it runs, and --nodes leaves it out",
            where=names(running),
            evidence="its processes would not be stopped, and its rows would be deleted",
            next="fab scale.out --plan   # without --nodes, or: "
            f"fab node.stop --node={running[0].name}",
        )


def _names_free(fleet: Fleet, new: Sequence[Node], present: Present) -> None:
    """What has the container's name on a new node is this very container, or not ours."""
    name = fleet.install.container
    for node in new:
        facts = present.facts(node.name)
        wanted = docker.spec(node, fleet.install_of(node), present.image)
        if facts.container == "absent" or facts.spec == wanted or present.assumed:
            continue
        if facts.container == "created" and facts.spec:
            continue  # a start of ours that failed: it never ran
        raise PreflightError(
            "HOST-004",
            f"{node.name} has a container {name} that is not this one ({facts.container})",
            where=node.name,
            evidence=f"omsfab.spec is {facts.spec or 'not set'}, wanted {wanted}; "
            "it is never removed silently",
            next=f"docker rm {name}   # on {node.name}, if nobody needs it; then plan again",
        )


def _images_there(fleet: Fleet, new: Sequence[Node], present: Present) -> None:
    """Without a package nothing can be sent: an image that is missing stays missing."""
    lacking = [node for node in new if not present.facts(node.name).has_image]
    if lacking and present.package is None and not present.assumed:
        raise PreflightError(
            "IMG-001",
            f"{fleet.install.image} is not on {names(lacking)}, and hosts.yaml names no package",
            where=names(lacking),
            evidence="OMS images cannot be pulled: all registries are the vendor's own",
            next="write oms.package into hosts.yaml, then: fab scale.out --plan",
        )


def _flags(old: Sequence[Node], present: Present) -> tuple[str, ...]:
    return tuple(
        f"warning: {node.name} runs {line}"
        for node in old
        for line in present.facts(node.name).flags
    )


def differences(fleet: Fleet, region: Region, present: Present) -> Iterator[str]:
    """Yield a line for each thing that is not as hosts.yaml wants it."""
    here = present.clusters.get(region.location)
    if here is None:
        yield f"MetaDB: no row for location {region.location}"
    elif not same_url(here, region.cm_url):
        yield f"MetaDB: cm_url {here} -> {region.cm_url}"
    for ip in sorted(set(present.hosts) - set(region.ips)):
        yield f"MetaDB: host {ip} is not in hosts.yaml"
    for node in region.nodes:
        facts = present.facts(node.name)
        if facts.container != "running":
            yield f"{node.name}: container {fleet.install.container} is {facts.container}"
            continue
        yield from (f"{node.name}: {line}" for line in _drift(region, facts))
        yield from (f"{node.name}: {line}" for line in _container_drift(fleet, node, facts))
        yield from (f"{node.name}: {line}" for line in facts.flags)
        if facts.config_mode not in ("", "600"):
            yield f"{node.name}: config.yaml has mode {facts.config_mode}, not 600"
        if present.hosts.get(node.ip, "").upper() != "ONLINE":
            yield f"{node.name}: host row is {present.hosts.get(node.ip, 'missing')}"
    if len(images := {f.image for f in present.nodes.values() if f.image}) > 1:
        yield f"nodes run different images: {', '.join(sorted(images))}"


def _keys_known(old: Sequence[Node], present: Present) -> None:
    """A key that hosts.yaml does not know would be lost when config.yaml is written anew."""
    unknown = {node.name: present.facts(node.name).unknown_keys for node in old}
    if any(unknown.values()):
        keys = sorted({key for keys in unknown.values() for key in keys})
        raise PreflightError(
            "CFG-005",
            f"config.yaml has keys that hosts.yaml does not: {', '.join(keys)}",
            where=", ".join(name for name, keys in unknown.items() if keys),
            evidence="they would be lost when config.yaml is written from hosts.yaml",
            next="add them under oms.extra in hosts.yaml, then: fab scale.out --plan",
        )


def _drift(region: Region, facts: NodeFacts) -> tuple[str, ...]:
    """Return what differs between a node's config.yaml and the wanted one, a line each."""
    if set(facts.cm_nodes) == set(region.ips):
        return facts.drift
    here, wanted = ", ".join(facts.cm_nodes), ", ".join(region.ips)
    return (*facts.drift, f"cm_nodes: {here} -> {wanted}")


def _running(region: Region, present: Present) -> list[Node]:
    return [node for node in region.nodes if present.facts(node.name).container == "running"]


def _not_deployed(region: Region) -> PreflightError:
    return PreflightError(
        "PLAN-002",
        "MetaDB knows no region at all: OMS was never initialised there",
        where="cluster_info",
        next=f"fab oms.deploy --region={region.name} --plan",
    )


def names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.name for node in nodes) or "no node"


def host_of(url: str) -> str:
    return urlsplit(url.strip()).hostname or ""


def same_url(one: str, other: str) -> bool:
    """Compare scheme, host and port; a trailing slash, case and blanks do not matter."""

    def parts(text: str) -> tuple[str, str, int | None]:
        url = urlsplit(text.strip().rstrip("/"))
        try:
            host = str(ipaddress.ip_address(url.hostname or ""))
        except ValueError:
            host = (url.hostname or "").lower()
        return url.scheme.lower(), host, url.port

    return parts(one) == parts(other)
