"""Which region and which nodes are meant, and where they differ from hosts.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omsfab.commands import docker
from omsfab.errors import InputError, Next, PreflightError
from omsfab.fleet.model import Fleet, Node, Region
from omsfab.fleet.oms_config import Drift
from omsfab.fleet.values import CmUrl
from omsfab.next_line import fab, meant, nearest, plus
from omsfab.plan.observed import NodeFacts, Observed


def names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.name for node in nodes) or "no node"


AGAIN = fab("scale.out", plan=True)


def named(fleet: Fleet, name: str, again: Next = AGAIN) -> Region:
    """Return the region; without a name the only one there is.

    ``again`` is the task at hand, to which an error adds what was missing.
    """
    found = [region for region in fleet.regions if name in ("", region.name)]
    if len(found) == 1:
        return found[0]
    known = [region.name for region in fleet.regions]
    raise InputError(
        "INPUT-020",
        f"there is no region {name!r}" if name else "hosts.yaml has several regions",
        where="--region",
        evidence=f"there are: {', '.join(known)}",
        **meant([name], known),
        next=plus(again, region=nearest(name, known) or fleet.regions[-1].name),
    )


def that_differs(
    fleet: Fleet,
    clusters: Mapping[int, CmUrl],
    hosts: Mapping[int, Sequence[str]],
    again: Next = AGAIN,
) -> str:
    """Return the name of the one region that MetaDB has otherwise: unknown, or other cm_url or
    nodes.  If none differs it is the default region; if several do, the operator is asked."""
    why: dict[str, str] = {}
    for region in fleet.regions:
        here = clusters.get(region.location)
        if here is None:
            why[region.name] = "MetaDB does not know it"
        elif not here.same_as(region.cm_url):
            why[region.name] = f"cm_url is {here} in MetaDB"
        elif set(hosts.get(region.location, ())) != set(region.ips):
            why[region.name] = f"MetaDB has the hosts {', '.join(hosts[region.location]) or 'none'}"
    if len(why) > 1:
        raise InputError(
            "INPUT-027",
            f"{len(why)} regions differ from hosts.yaml: which one shall it be?",
            where="--region",
            evidence="\n".join(f"{name}: {text}" for name, text in why.items()),
            next=plus(again, region=next(iter(why))),
        )
    home = next((one.name for one in fleet.regions if one.default), fleet.regions[0].name)
    return next(iter(why), home)


def chosen(region: Region, text: str, again: Next = AGAIN) -> tuple[Node, ...]:
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
            **meant(missing, [node.name for node in region.nodes]),
            next=plus(again, region=region.name, note="without --nodes: all that are missing"),
        )
    return tuple(node for node in region.nodes if node in found.values())


def nodes_by_state(region: Region, present: Observed, text: str) -> tuple[list[Node], list[Node]]:
    """Return (nodes OMS runs on already, nodes to add now)."""
    old = [
        node
        for node in region.nodes
        if present.facts(node.name).container == "running"
        and present.hosts.get(node.ip, "").upper() == "ONLINE"
    ]
    missing = [node for node in region.nodes if node not in old]
    asked = chosen(region, text)
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
            next=fab("fleet.status"),
        )
    stopped = [node for node in missing if present.facts(node.name).container == "stopped"]
    if stopped and (not asked or any(node in asked for node in stopped)):
        raise PreflightError(
            "HOST-003",
            f"{have_the_container(stopped)} already: it is stopped, and is never removed silently",
            where=names(stopped),
            next=fab("node.start", node=stopped[0].name),
        )
    return old, [node for node in missing if not asked or node in asked]


def running(region: Region, present: Observed) -> list[Node]:
    return [node for node in region.nodes if present.facts(node.name).container == "running"]


def have_the_container(nodes: Sequence[Node]) -> str:
    return f"{names(nodes)} {'has' if len(nodes) == 1 else 'have'} the container"


def other_names(fleet: Fleet, present: Observed) -> Iterator[str]:
    """Yield a note for each region that MetaDB has by another name: nothing but an initialisation
    after its row was deleted writes it anew, and one region alone needs no name (guide)."""
    for region in fleet.regions:
        named = present.regions.get(region.location, "")
        if named not in ("", region.name):
            yield (
                f"location {region.location} is called {named} in MetaDB, {region.name} in"
                " hosts.yaml; cm_region is optional as long as there is one region"
            )


def config_drift(region: Region, facts: NodeFacts) -> tuple[Drift, ...]:
    """Return what differs between a node's config.yaml and the wanted one."""
    if set(facts.cm_nodes) == set(region.ips):
        return facts.drift
    here, wanted = ", ".join(facts.cm_nodes), ", ".join(region.ips)
    return (*facts.drift, Drift("cm_nodes", here, wanted))


@dataclass(frozen=True, slots=True)
class ContainerDrift(Drift):
    """What only a new container could change: OMS_HOST_IP, or a mount by its place in there."""

    def __str__(self) -> str:
        if self.key == "OMS_HOST_IP":
            return f"OMS_HOST_IP {self.have or 'is missing'} -> {self.want}"
        if self.have is None:
            return f"mount {self.want}:{self.key} is missing"
        return f"mount {self.have}:{self.key}, hosts.yaml has {self.want}"


def container_drift(fleet: Fleet, node: Node, facts: NodeFacts) -> Iterator[ContainerDrift]:
    """Yield where a container is another than hosts.yaml wants.

    Mounts beside those of the guide are no drift: they stay as they are (further_mounts).
    """
    if not facts.image:  # nobody has looked
        return
    if facts.host_ip != node.ip:
        yield ContainerDrift("OMS_HOST_IP", facts.host_ip, node.ip)
    there = {target: source for source, _, target in (b.partition(":") for b in facts.binds)}
    for source, target in docker.mounts(fleet.install_of(node)):
        if there.get(target) != source:
            yield ContainerDrift(target, there.get(target), source)


def further_mounts(fleet: Fleet, node: Node, facts: NodeFacts) -> tuple[str, ...]:
    """Return the mounts of a container that are none of the guide's: they are kept as they are."""
    targets = {target for _, target in docker.mounts(fleet.install_of(node))}
    return tuple(bind for bind in facts.binds if bind.partition(":")[2] not in targets)
