"""What of a fleet is not as hosts.yaml wants it, as values; show/differences.py tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from omsfab.commands import supervisor
from omsfab.fleet import values
from omsfab.fleet.model import Fleet, Node, Region
from omsfab.fleet.oms_config import Drift
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures.regions import config_drift, container_drift, further_mounts

Kind: TypeAlias = Literal[
    "no row",  # MetaDB has no row of this location
    "row",  # a key of its row
    "location",  # a location that hosts.yaml does not have; key is its name
    "host",  # a host that hosts.yaml does not have
    "container",  # it does not run; key is its name
    "program",  # a part of OMS does not run; key is its name
    "name",  # OMS runs in a container of another name; key is that of hosts.yaml
    "stale",  # the container sees a former config.yaml
    "drift",  # a key of config.yaml, or of the container
    "mount",  # one beside those of the guide
    "flag",  # the container has other flags than the guide's
    "image",  # the container runs another image
    "images",  # not all nodes run the same one
    "readable",  # every user of the host can read the password
    "host row",  # it is not ONLINE
]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: on a node, or in MetaDB for a location, with both values."""

    kind: Kind
    node: str = ""
    location: int = 0
    key: str = ""
    have: str = ""
    want: str = ""
    drift: Drift | None = None
    images: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Each image with the nodes that run it."""


def differences(fleet: Fleet, found: Mapping[str, Observed]) -> Iterator[Difference]:
    """Yield each thing that is not as hosts.yaml wants it.

    ``found`` is what is so, by the name of each region that was asked.
    """
    strange: dict[int, Difference] = {}
    images: dict[str, dict[str, None]] = {}
    known = {region.location for region in fleet.regions}
    for region in fleet.regions:
        if present := found.get(region.name):
            yield from _of_metadb(region, present)
            for node in region.nodes:
                yield from _of_node(fleet, region, node, present)
            for code, url in present.clusters.items():
                if code not in known:
                    named = present.regions.get(code, "")
                    strange[code] = Difference("location", location=code, key=named, have=str(url))
            for name, facts in present.nodes.items():
                if facts.image:
                    images.setdefault(facts.image, {})[name] = None
    yield from (strange[code] for code in sorted(strange))
    if len(images) > 1:
        yield Difference("images", images=tuple((one, tuple(on)) for one, on in images.items()))


def _of_metadb(region: Region, present: Observed) -> Iterator[Difference]:
    location = region.location
    here = present.clusters.get(location)
    if here is None:
        yield Difference("no row", location=location)
    else:
        pairs = {
            "cm_url": (str(here), str(region.cm_url), here.same_as(region.cm_url)),
            "cm_region": _optional(present.regions.get(location, ""), region.name),
            "cm_is_default": _pair(_word(location in present.defaults), _word(region.default)),
        }
        for key, (have, want, same) in pairs.items():
            if not same:
                yield Difference("row", location=location, key=key, have=have, want=want)
    for ip in sorted(set(present.hosts) - set(region.ips)):
        yield Difference("host", location=location, have=ip)


def _pair(have: str, want: str) -> tuple[str, str, bool]:
    return have, want, have == want


def _optional(have: str, want: str) -> tuple[str, str, bool]:
    return have, want, have in ("", want)


def _word(value: bool) -> str:
    return str(value).lower()


def _of_node(fleet: Fleet, region: Region, node: Node, present: Observed) -> Iterator[Difference]:
    facts, name = present.facts(node.name), node.name
    if facts.container != "running":
        there = ", ".join(facts.others)
        kind: Kind = "name" if there else "container"
        have = there or facts.container
        yield Difference(kind, name, key=fleet.install.container, have=have)
        return
    if facts.states:
        for key in supervisor.CORE:
            if (state := facts.states.get(key, "absent")) != "RUNNING":
                yield Difference("program", name, key=key, have=state)
    if facts.stale:
        yield Difference("stale", name)
    for drift in (*config_drift(region, facts), *container_drift(fleet, node, facts)):
        yield Difference("drift", name, key=drift.key, drift=drift)
    for bind in further_mounts(fleet, node, facts):
        yield Difference("mount", name, have=bind)
    for flag in facts.flags:
        yield Difference("flag", name, have=flag)
    yield from _of_files(fleet, node, facts)
    if present.hosts.get(node.ip, "").upper() != "ONLINE":
        yield Difference("host row", name, have=present.hosts.get(node.ip, "missing"))


def _of_files(fleet: Fleet, node: Node, facts: NodeFacts) -> Iterator[Difference]:
    """The image, and who can read config.yaml."""
    image = fleet.install.image
    wanted = image if values.is_image_id(image) else facts.loaded
    if facts.image and wanted not in ("", facts.image):
        yield Difference("image", node.name, have=facts.image, want=wanted)
    if facts.config_mode and int(facts.config_mode, 8) & 0o004:
        yield Difference("readable", node.name, have=facts.config_mode)
