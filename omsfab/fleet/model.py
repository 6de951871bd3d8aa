"""What is wanted: one OMS deployment, frozen.  fleet/hostsfile.py makes it from hosts.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from omsfab.fleet.secret import Secret


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Node(Part):
    """A server with one OMS container.  ``ip`` is OMS_HOST_IP and stands in cm_nodes."""

    name: str
    ip: str
    address: str = ""
    """Where SSH connects to; empty = ``ip``."""
    port: int | None = None
    user: str | None = None


class Region(Part):
    """A region of OMS.  ``location`` is cm_location, ``label`` is cm_region_cn."""

    name: str
    location: int
    default: bool = True
    label: str = ""
    cm_url: str
    heartbeat_db: str
    nodes: tuple[Node, ...]

    @property
    def cm_host(self) -> str:
        return urlsplit(self.cm_url).hostname or ""

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(node.ip for node in self.nodes)


class Mounts(Part):
    """Directories of the node; they never change over redeployment and upgrade (OMS guide)."""

    config: str = "/data/config.yaml"
    logs: str = "/data/oms/oms_logs"
    store: str = "/data/oms/oms_store"
    run: str = "/data/oms/oms_run"
    https_crt: str | None = None
    https_key: str | None = None


class Ports(Part):
    """The ports of the OMS components, by the names of config.yaml's ``*_server_port`` keys."""

    cm: int = 8088
    nginx: int = 8089
    ghana: int = 8090
    supervisor: int = 9000
    sshd: int = 2023


class Install(Part):
    """The ``oms:`` part of hosts.yaml: which image runs in which container."""

    image: str
    package: Path | None = None
    container: str
    init: Literal["auto", "always", "never"] = "auto"
    mounts: Mounts = Mounts()
    ports: Ports = Ports()
    extra: Mapping[str, str | int | bool] = Field(default_factory=dict)

    @property
    def https(self) -> bool:
        return self.mounts.https_crt is not None


class MetaDb(Part):
    """The MySQL or OceanBase database that holds the metadata of OMS."""

    host: str
    port: int
    user: str
    password: Secret
    rm_db: str = "oms_rm"
    cm_db: str = "oms_cm"
    location_cm_column: str | None = None
    """The column of location_cm that holds the location, where omsfab cannot tell by itself."""


class Tsdb(Part):
    """The time-series database, one for all of OMS.  ``url`` has no scheme: ``ip:8086``."""

    service: Literal["INFLUXDB", "CERESDB"] = "CERESDB"
    url: str
    username: str
    password: Secret


class Ssh(Part):
    """How the jump host reaches the nodes; ~/.ssh/config and the agent are honoured as well."""

    user: str | None = None
    port: int | None = None
    key: Path | None = None
    gateway: str | None = None
    sudo: bool = False
    known_hosts: Path | None = None
    """None = ~/.ssh/known_hosts."""


class Fleet(Part):
    """Everything hosts.yaml says."""

    install: Install
    metadb: MetaDb
    tsdb: Tsdb | None = None
    ssh: Ssh = Ssh()
    regions: tuple[Region, ...]
    origin: Path = Path("hosts.yaml")

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(node for region in self.regions for node in region.nodes)

    def region_of(self, node: Node) -> Region:
        return next(region for region in self.regions if node in region.nodes)
