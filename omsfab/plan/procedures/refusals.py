"""What stops a plan: what is so now does not fit hosts.yaml, or could not be rolled back.

Each function looks at the Observed and raises a PreflightError, or returns; nothing was changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from omsfab.commands import docker
from omsfab.errors import Next, PreflightError
from omsfab.fleet.model import Fleet, Node, Region
from omsfab.next_line import fab
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import regions
from omsfab.plan.procedures.regions import names


def stop(
    present: Observed,
    id: str,
    what: str,
    *,
    where: str,
    evidence: str,
    fix: str = "",
    next: Next | None = None,
) -> None:
    """Raise the refusal, unless it was waived: accepted by the operator (acceptance.py)."""
    if id not in present.waived:
        raise PreflightError(id, what, where=where, evidence=evidence, fix=fix, next=next)


def identity(fleet: Fleet, region: Region, present: Observed) -> None:
    """Location, name, cm_url, default and heartbeat DB of the region are nobody else's."""
    if present.assumed:
        return
    wrong = [
        f"location {code} ({present.regions.get(code)}) has {what}"
        for code, url in present.clusters.items()
        if code != region.location
        for what in (
            *((f"cm_region {region.name}",) if present.regions.get(code) == region.name else ()),
            *((f"cm_url {url}",) if url.same_as(region.cm_url) else ()),
            *(("cm_is_default true",) if region.default and code in present.defaults else ()),
        )
    ]
    named = present.regions.get(region.location)
    if named != region.name and named in {one.name for one in fleet.regions}:
        wrong.append(f"location {region.location} is region {named}")
    strangers = sorted(set(present.beats) - set(region.ips))
    if strangers and region.location not in present.clusters:
        wrong.append(f"{', '.join(strangers)} report in heartbeat_db {region.heartbeat_db}")
    if wrong:
        stop(
            present,
            "PLAN-009",
            f"region {region.name} of hosts.yaml would take what another region has",
            where="cluster_info and heart_beat",
            evidence="\n".join(wrong),
            fix=_to_be_itself(fleet, region, present),
            next=fab("fleet.show", note=f"{region.name} has location {region.location}"),
        )


def _to_be_itself(fleet: Fleet, region: Region, present: Observed) -> str:
    """What to write.  A file of one region has to have the default one, so where that is another's
    in MetaDB, the other one must stand there too."""
    written = {one.location for one in fleet.regions}
    lacking = [code for code in present.defaults if code not in written]
    if not (region.default and lacking):
        return f"correct regions.{region.name} in hosts.yaml"
    home = present.regions.get(lacking[0]) or "that MetaDB has"
    return (
        f"write region {home} (location {lacking[0]}, default: true) into hosts.yaml too, and "
        f"default: false into regions.{region.name}"
    )


def name_kept(region: Region, present: Observed) -> None:
    """Rows are deleted only where MetaDB and the running nodes give the region one name.

    As long as there is one region it needs none (guide, cm_region): a config.yaml without it says
    nothing, and MetaDB may have any name.  Where nothing is deleted, a note in the plan will do.
    """
    named = present.regions.get(region.location, "")
    says = [
        node.name
        for node in region.nodes
        if (facts := present.facts(node.name)).cm_nodes
        and not any(one.key == "cm_region" for one in facts.drift)
    ]
    if named not in ("", region.name) and says:
        stop(
            present,
            "PLAN-009",
            f"location {region.location} is region {named} in MetaDB, {region.name} in config.yaml",
            where=f"cluster_info, and config.yaml of {', '.join(says)}",
            evidence="its rows would be deleted, and might be another region's",
            fix=f"look whose it is, and if it is this one call it {named} in hosts.yaml",
            next=fab("scale.out", region=named, plan=True),
        )


def held_rows(region: Region, present: Observed, rows: str) -> None:
    """A foreign key that restricts would refuse the DELETE, production stopped (error 1451)."""
    held = [one for one in present.references if one.holds]
    # The row of cluster_info goes in both ways.
    wrong = [one for one in held if rows == "delete" or one.table == "cluster_info"]
    if wrong:
        stop(
            present,
            "DB-042",
            f"foreign keys hold rows that would be deleted: {wrong[0].column}",
            where=f"the rows of location {region.location}",
            evidence="\n".join(
                f"{one.column} -> {one.to}: {one.rows} rows, {one.by}" for one in wrong
            ),
            next=fab("scale.out", region=region.name, rows="update", plan=True, note="ids stay")
            if rows == "delete" and not any(one.table == "cluster_info" for one in wrong)
            else fab("meta.show", note="ask the DBA about that foreign key, and plan again"),
        )


def called_otherwise(fleet: Fleet, present: Observed) -> None:
    """An OMS in a container of another name is the one that is meant, or a second one: either way
    nothing is planned, or the one would be ended for the other."""
    found = {
        node.name: facts.others
        for node in fleet.nodes
        if (facts := present.facts(node.name)).container == "absent" and facts.others
    }
    if found:
        told = sorted({name for names in found.values() for name in names})
        raise PreflightError(
            "CFG-015",
            f"OMS runs in container {', '.join(told)}, not in {fleet.install.container}",
            where=", ".join(found),
            evidence="\n".join(f"{node}: {', '.join(names)}" for node, names in found.items()),
            fix=f"set oms.container to {told[0]} in hosts.yaml, if that is this OMS; if it is"
            " another one, this node cannot have a second",
            next=fab("fleet.check"),
        )


WRITTEN = (docker.CONFIG, docker.LOGS)
"""What omsfab itself writes on the host for the container: elsewhere it would not be seen."""


def mistaken(fleet: Fleet, present: Observed) -> frozenset[str]:
    """Return the nodes whose container is not the one that hosts.yaml describes: called otherwise,
    or with config.yaml elsewhere.  What else is asked there by hosts.yaml misleads."""
    return frozenset(
        node.name
        for node in fleet.nodes
        if (facts := present.facts(node.name)).others
        or any(drift.key in WRITTEN for drift in regions.container_drift(fleet, node, facts))
    )


def containers_kept(fleet: Fleet, nodes: Sequence[Node], present: Observed) -> None:
    """A run that would change a node finds its container as hosts.yaml says, or stops.

    Guide: the mount directories must remain unchanged; OMS_HOST_IP is the current host.  A
    config.yaml written where the container does not look would be found out too late.
    """
    found = [
        (node.name, drift)
        for node in nodes
        for drift in regions.container_drift(fleet, node, present.facts(node.name))
    ]
    elsewhere = [(name, drift) for name, drift in found if drift.key in WRITTEN]
    other = [(name, drift) for name, drift in found if drift.key not in WRITTEN]
    for id, wrong, what in (
        ("CFG-014", elsewhere, "a container has config.yaml or its logs elsewhere than hosts.yaml"),
        ("CFG-008", other, "a container has other mounts or another OMS_HOST_IP than hosts.yaml"),
    ):
        if wrong:
            stop(
                present,
                id,
                what,
                where=", ".join(dict(wrong)),
                evidence="\n".join(
                    [
                        *(f"{name}: {drift}" for name, drift in wrong),
                        "guide: the mount directories must remain unchanged",
                    ]
                ),
                next=fab("fleet.check", note="then write what the container has into hosts.yaml"),
            )


def one_image(running: Sequence[Node], present: Observed) -> None:
    """Nodes of one OMS run one image: its id decides, since a tag may be loaded twice."""
    other = {
        node.name: image
        for node in running
        if (image := present.facts(node.name).image) and image != present.image
    }
    if other:
        stop(
            present,
            "IMG-007",
            f"the running nodes have another image than hosts.yaml: {present.image[:19]}",
            where=", ".join(other),
            evidence="\n".join(
                [
                    *(f"{name}: {image}" for name, image in other.items()),
                    "guide, IMAGE_TAG: an image is known by its id; all nodes run the same version",
                ]
            ),
            next=fab(
                "fleet.check", note="then write the image and package that run into hosts.yaml"
            ),
        )


FIXED = ("drc_rm_db", "drc_cm_db", "drc_cm_heartbeat_db", "cm_location")
"""Keys that must not change once a node is initialised: its data would stay behind."""


def fixed_keys(nodes: Sequence[Node], present: Observed) -> None:
    """The databases and the location in hosts.yaml are those the running nodes use (guide)."""
    wrong = [
        (node.name, drift)
        for node in nodes
        for drift in present.facts(node.name).drift
        if drift.key in FIXED
    ]
    if wrong:
        stop(
            present,
            "CFG-011",
            "hosts.yaml has other databases or another location than the running nodes",
            where=", ".join(dict(wrong)),
            evidence="\n".join(
                [
                    *(f"{name}: {drift}" for name, drift in wrong),
                    "guide: the names must be those of the initial node",
                ]
            ),
            fix="write the running values into hosts.yaml, or fix config.yaml where it"
            " was changed by hand",
        )


def config_kept(fleet: Fleet, nodes: Sequence[Node], present: Observed) -> None:
    """config.yaml of a container that has run is written only where nothing is lost by it.

    That is where the container looks for it, with every key it has, for the databases its data is
    in.  A container that was created and never ran has no data yet.
    """
    there = [n for n in nodes if present.facts(n.name).container in ("running", "stopped")]
    containers_kept(fleet, there, present)
    keys_known(there, present)
    fixed_keys(there, present)


def others_at_their_cm_url(others: Sequence[Region], present: Observed) -> None:
    """Another region whose cm_url is to change needs the surgery of its own rows, not this run."""
    for other in others:
        here = present.clusters.get(other.location)
        if here is not None and not present.assumed and not here.same_as(other.cm_url):
            stop(
                present,
                "PLAN-010",
                f"region {other.name} has cm_url {here} in MetaDB, {other.cm_url} in hosts.yaml",
                where=f"cluster_info, location {other.location}",
                evidence="one thing at a time: its rows do not change while a new region joins",
                next=fab("scale.out", region=other.name, plan=True),
            )


def all_known(region: Region, present: Observed) -> None:
    """Every node that MetaDB knows must be in hosts.yaml: an unknown one would go on writing."""
    strangers = sorted(set(present.hosts) - set(region.ips))
    if strangers:
        stop(
            present,
            "PLAN-007",
            f"MetaDB has hosts that hosts.yaml does not name: {', '.join(strangers)}",
            where=f"table host, location {region.location}",
            evidence="its processes could not be stopped, and its rows would be deleted",
            fix=f"add them to regions.{region.name}.nodes in hosts.yaml",
        )


def one_holds_the_vip(region: Region, present: Observed, members: Sequence[Node]) -> None:
    """An address in cm_url is bound on one member, or on none: then a balancer answers for it."""
    holders = [n for n in region.nodes if region.cm_url.host in present.facts(n.name).addresses]
    if region.cm_url.host in region.ips or not holders:
        return
    strangers = [node for node in holders if node not in members]
    if len(holders) > 1 or strangers:
        what = "is bound twice" if len(holders) > 1 else "is bound on a node that is not to serve"
        stop(
            present,
            "VIP-002",
            f"the VIP {region.cm_url.host} {what}: {names(holders)}",
            where=names(holders),
            evidence="ip -br addr on each node; who holds it answers to cm_url",
            fix=f"unbind it on {names(strangers or holders[1:])}",
        )


def at_rest(region: Region, present: Observed) -> None:
    """Stopping a region that is at work is a decision, and it is not ours."""
    if present.traffic:
        stop(
            present,
            "PLAN-011",
            f"region {region.name} is at work, and its processes would be stopped",
            where="oms_normal_config and the projects in MetaDB",
            evidence="\n".join(present.traffic),
            next=fab(
                "scale.out",
                plan=True,
                accept_interruption=True,
                note="or switch HA off, let the projects end, and plan again",
            ),
        )


def all_included(whole: Region, chosen: Region, present: Observed) -> None:
    """Rows are deleted: a container left out of --nodes would go on writing them."""
    left = set(whole.nodes) - set(chosen.nodes)
    running = [n for n in whole.nodes if n in left and present.facts(n.name).container == "running"]
    if running:
        stop(
            present,
            "PLAN-012",
            f"{regions.have_the_container(running)}, it runs, and --nodes leaves it out",
            where=names(running),
            evidence="its processes would not be stopped, and its rows would be deleted",
            next=fab(
                "scale.out",
                plan=True,
                note=f"without --nodes, or: {fab('node.stop', node=running[0].name)}",
            ),
        )


def names_free(fleet: Fleet, new: Sequence[Node], present: Observed) -> None:
    """What has the container's name on a new node is this very container, or not ours."""
    name = fleet.install.container
    for node in new:
        facts = present.facts(node.name)
        wanted = docker.spec(node, fleet.install_of(node), present.image)
        if facts.container == "absent" or facts.spec == wanted or present.assumed:
            continue
        if facts.container == "created" and facts.spec:
            continue  # a start of ours that failed: it never ran
        stop(
            present,
            "HOST-004",
            f"{node.name} has a container {name} that is not this one ({facts.container})",
            where=node.name,
            evidence=f"omsfab.spec is {facts.spec or 'not set'}, wanted {wanted}; "
            "it is never removed silently",
            fix=f"remove container {name} on {node.name} if nobody needs it",
        )


def images_there(fleet: Fleet, new: Sequence[Node], present: Observed) -> None:
    """Without a package nothing can be sent: an image that is missing stays missing."""
    lacking = [node for node in new if not present.facts(node.name).has_image]
    if lacking and present.package is None and not present.assumed:
        stop(
            present,
            "IMG-001",
            f"{fleet.install.image} is not on {names(lacking)}, and hosts.yaml names no package",
            where=names(lacking),
            evidence="OMS images cannot be pulled: all registries are the vendor's own",
            fix="write oms.package into hosts.yaml",
        )


def keys_known(old: Sequence[Node], present: Observed) -> None:
    """A key that hosts.yaml does not know would be lost when config.yaml is written anew."""
    unknown = {node.name: present.facts(node.name).unknown_keys for node in old}
    if any(unknown.values()):
        keys = sorted({key for keys in unknown.values() for key in keys})
        stop(
            present,
            "CFG-005",
            f"config.yaml has keys that hosts.yaml does not: {', '.join(keys)}",
            where=", ".join(name for name, keys in unknown.items() if keys),
            evidence="they would be lost when config.yaml is written from hosts.yaml",
            fix="add them under oms.extra in hosts.yaml",
        )


def not_deployed(
    fleet: Fleet, region: Region, running: Sequence[Node], present: Observed
) -> PreflightError:
    """``running`` nodes tell that OMS was there: then to deploy it anew would be wrong."""
    other = {
        node.name: drift.have
        for node in running
        for drift in present.facts(node.name).drift
        if drift.key == "drc_rm_db"
    }
    if other:
        name = next(iter(other.values()))
        return PreflightError(
            "PLAN-002",
            f"metadb.rm_db is {fleet.metadb.rm_db}, which has no cluster_info;"
            f" {', '.join(other)} {'uses' if len(other) == 1 else 'use'} {name}",
            where="metadb.rm_db",
            evidence="\n".join(f"{node}: drc_rm_db: {have}" for node, have in other.items()),
            fix=f"set metadb.rm_db to {name} in hosts.yaml",
            next=fab("fleet.check"),
        )
    if running:
        return PreflightError(
            "PLAN-002",
            f"cluster_info has no region, and yet {regions.have_the_container(running)}",
            where="cluster_info",
            evidence="its rows were deleted, or metadb.rm_db in hosts.yaml names another database",
            next=fab("run.list", note="a run that deleted them is rolled back by fab run.undo"),
        )
    return PreflightError(
        "PLAN-002",
        "MetaDB knows no region at all: OMS was never initialised there",
        where="cluster_info",
        next=fab("oms.deploy", region=region.name, plan=True),
    )
