"""What is so now: the small frozen record a planner needs besides the fleet.

It holds no secret, is stored with the run, and makes the plan reproducible: planner(fleet, present)
gives the same plan at ``run.resume``, or hosts.yaml was changed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from omsfab.fleet.certificate import Pair
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Region
from omsfab.fleet.oms_config import Drift
from omsfab.fleet.values import CmUrl

ContainerState: TypeAlias = Literal["absent", "created", "running", "stopped"]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node as it is.

    ``drift`` lists values of its config.yaml that differ from hosts.yaml, but for cm_nodes, which
    depend on the nodes that a plan is about.
    """

    docker: str = "20.10.0"
    container: ContainerState = "absent"
    spec: str = ""
    image: str = ""
    host_ip: str = ""
    binds: tuple[str, ...] = ()
    has_image: bool = False
    loaded: str = ""
    """The id of the wanted image on this node."""
    tagged: str = ""
    """The id of the image that has the name of hosts.yaml on this node."""
    drift: tuple[Drift, ...] = ()
    cm_nodes: tuple[str, ...] = ()
    unknown_keys: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    """The programs of its supervisord that run."""
    states: Mapping[str, str] = field(default_factory=dict)
    """program -> state, of all that its supervisord has."""
    stores: tuple[str, ...] = ()
    """The Stores and connectors in its container, by name: no programs of supervisord."""
    id: str = ""
    """The id of the container."""
    config_sha256: str = ""
    machine: str = ""
    """Its machine-id."""
    config_mode: str = ""
    """The permission bits of its config.yaml, e.g. ``600``."""
    stale: bool = False
    """Its container sees another config.yaml than lies there: one that was replaced by rename."""
    addresses: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Where the container of hosts.yaml is not there: those in which an OMS runs by its mounts."""
    flags: tuple[str, ...] = ()
    """Where its container runs with other flags than the guide's, in words."""

    @property
    def pull_flag(self) -> bool:
        """``docker run --pull`` exists from 20.10."""
        numbers = [int(part) for part in self.docker.split(".")[:2] if part.isdigit()]
        return numbers >= [20, 10]


@dataclass(frozen=True, slots=True)
class Reference:
    """A column elsewhere whose values are ids of rows that a scale-out would delete."""

    column: str
    """E.g. ``oms_cm.task.host_id``."""
    to: str
    """E.g. ``host.id``."""
    rows: int
    """How many rows refer; -1 = they could not be counted."""
    by: str
    """How that is known: a foreign key, or its name and values."""
    holds: bool = False
    """Whether it is a foreign key that refuses the delete."""

    @property
    def table(self) -> str:
        """The table that is referred to."""
        return self.to.partition(".")[0]


Shown: TypeAlias = "tuple[tuple[str, str, str], ...]"
"""Rows as they are: table, natural key, digest of what is steady in them."""


@dataclass(frozen=True, slots=True)
class Observed:
    """MetaDB and nodes as they are; ``assumed`` when nothing was asked (``--dry``)."""

    assumed: bool = False
    clusters: Mapping[int, CmUrl] = field(default_factory=dict)
    """cm_location -> cm_url, the rows of cluster_info."""
    regions: Mapping[int, str] = field(default_factory=dict)
    """cm_location -> cm_region, of the same rows."""
    defaults: tuple[int, ...] = ()
    """The cm_locations whose row has is_default_cm."""
    notes: tuple[str, ...] = ()
    """What an operator should know of this MetaDB with this OMS, a sentence each."""
    beats: tuple[str, ...] = ()
    """The addresses that have ever reported in the region's heartbeat DB."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """address -> host_status, the rows of host of the region."""
    traffic: tuple[str, ...] = ()
    """What a stop of the region would interrupt, in words."""
    scopes: tuple[str, ...] = ()
    """How the rows of each table are found, in words; empty unless rows are to be deleted."""
    shown: Shown = ()
    """Those rows: what was shown is what is deleted."""
    references: tuple[Reference, ...] = ()
    """What refers to them."""
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    package: Package | None = None
    image: str = ""
    """The id of the image all nodes shall run."""
    certificates: Mapping[str, Pair] = field(default_factory=dict)
    """The digests of certificate and key of each region that has https, by its name."""
    waived: tuple[str, ...] = ()
    """The ids of refusals that the planner leaves out: the operator has accepted them."""

    def pair(self, region: Region) -> Pair:
        return self.certificates.get(region.name, Pair())

    def facts(self, name: str) -> NodeFacts:
        return self.nodes.get(name, NodeFacts())

    def record(self) -> dict[str, Any]:
        return asdict(self) | {"clusters": {code: str(url) for code, url in self.clusters.items()}}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Observed:
        """Return the Observed that ``record()`` wrote into a run's directory (through JSON)."""

        def facts(row: Mapping[str, Any]) -> NodeFacts:
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in row.items()
            }
            fields["drift"] = tuple(map(Drift.of, row["drift"]))
            return NodeFacts(**fields)

        package = record["package"]
        return cls(
            assumed=record["assumed"],
            clusters={int(code): CmUrl.read(url) for code, url in record["clusters"].items()},
            regions={int(code): name for code, name in record["regions"].items()},
            defaults=tuple(record["defaults"]),
            beats=tuple(record["beats"]),
            notes=tuple(record["notes"]),
            hosts=dict(record["hosts"]),
            traffic=tuple(record["traffic"]),
            scopes=tuple(record["scopes"]),
            shown=tuple((row[0], row[1], row[2]) for row in record.get("shown", ())),
            references=tuple(Reference(**row) for row in record.get("references", ())),
            nodes={name: facts(row) for name, row in record["nodes"].items()},
            package=Package.of(package) if package else None,
            image=record["image"],
            certificates={
                name: Pair(**row) for name, row in record.get("certificates", {}).items()
            },
            waived=tuple(record.get("waived", ())),
        )


def assumed(
    fleet: Fleet, region: Region, package: Package | None, *, deployed: bool = True
) -> Observed:
    """Return what ``--dry`` plans upon: the guide's longer scenario, first node deployed.

    A region that is not the default one is taken for new, the default one for deployed.
    Not ``deployed``: nothing is there yet, as ``oms.deploy`` wants it.
    """
    image = package.image if package else fleet.install.image
    if not deployed:
        return Observed(assumed=True, package=package, image=image)
    home = next((one for one in fleet.regions if one.default), region)
    first = home.nodes[0]
    here = CmUrl(first.ip, fleet.install.ports.cm) if home == region else home.cm_url
    return Observed(
        assumed=True,
        clusters={home.location: here},
        regions={home.location: home.name},
        defaults=(home.location,),
        hosts={first.ip: "ONLINE"},
        nodes={
            first.name: NodeFacts(container="running", has_image=True, cm_nodes=(first.ip,)),
        },
        package=package,
        image=image,
    )
