"""What is wanted: one OMS deployment, frozen.  fleet/hosts_file.py makes it from hosts.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from omsfab.fleet import values
from omsfab.secret import Secret

HTTPS_CRT, HTTPS_KEY = "/data/oms/https_crt", "/data/oms/https_key"
"""The guide's places of certificate and key on a node."""


class Part(BaseModel):
    """Frozen, complete, and silent about its input in errors, which may hold a secret."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Node(Part):
    """A server with one OMS container.  ``ip`` is OMS_HOST_IP and stands in cm_nodes."""

    name: str
    ip: str
    address: str = ""
    """Where SSH connects to; empty = ``ip``."""
    port: int | None = None
    user: str | None = None


class Https(Part):
    """Certificate and key of the console, files of this machine that omsfab brings to the nodes."""

    crt: values.LocalPath
    """The certificate, PEM, with the chain behind it; relative to hosts.yaml."""
    key: values.LocalPath
    """Its private key, PEM without a passphrase, mode 0600; relative to hosts.yaml."""


class Region(Part):
    """A region of OMS.  ``location`` is cm_location, ``label`` is cm_region_cn."""

    name: str
    location: int
    default: bool = True
    label: str = ""
    cm_url: values.CmUrl
    heartbeat_db: str
    https: Https | None = None
    nodes: tuple[Node, ...]

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(node.ip for node in self.nodes)


class Mounts(Part):
    """Directories of the node; they never change over redeployment and upgrade (OMS guide)."""

    config: values.NodePath = "/data/config.yaml"
    """The file config.yaml; it may lie anywhere."""
    logs: values.NodePath = "/data/oms/oms_logs"
    store: values.NodePath = "/data/oms/oms_store"
    run: values.NodePath = "/data/oms/oms_run"
    https_crt: values.NodePath | None = None
    """The certificate of the console, a file on every node; then the console is HTTPS only.
    Where a region has https, it lies at the guide's place unless another is named here."""
    https_key: values.NodePath | None = None
    """Its key: both or none."""


class Ports(Part):
    """The ports of the OMS components, by the names of config.yaml's ``*_server_port`` keys."""

    cm: values.OmsPort = 8088
    """The CM service, the port of cm_url."""
    nginx: values.OmsPort = 8089
    """The console, and /oms/health."""
    ghana: values.OmsPort = 8090
    supervisor: values.OmsPort = 9000
    """The agent of OMS, not supervisord."""
    sshd: values.OmsPort = 2023


class Install(Part):
    """The ``oms:`` part of hosts.yaml: which image runs in which container."""

    image: str
    package: values.LocalPath | None = None
    container: str
    init: Literal["auto", "always", "never"] = "auto"
    mounts: Mounts = Mounts()
    ports: Ports = Ports()
    extra: Mapping[str, str | int | bool | Secret] = Field(default_factory=dict)
    """Further keys of config.yaml, passed through."""

    @property
    def https(self) -> bool:
        return self.mounts.https_crt is not None


class Tls(Part):
    """How the MetaDB proves itself to omsfab."""

    ca: values.LocalPath
    """The CA of its certificate, PEM, relative to hosts.yaml."""


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
    tls: Tls | None = None
    through: str | None = None
    """The node that reaches it, ``gateway`` for ssh.gateway; None = this machine does."""


class Tsdb(Part):
    """The time-series database, one for all of OMS.  ``url`` has no scheme: ``ip:8086``."""

    service: Literal["INFLUXDB", "CERESDB"] = "CERESDB"
    url: str
    username: str
    password: Secret
    package: values.LocalPath | None = None
    image: values.Image = "influxdb:1.8"
    data: values.NodePath = "/data/influxdb"

    @property
    def host(self) -> str:
        return self.url.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class Ssh(Part):
    """How the jump host reaches the nodes; ~/.ssh/config and the agent are honoured as well."""

    user: values.LoginName | None = None
    port: values.AnyPort | None = None
    key: values.PrivateKey | None = None
    """A private key, relative to hosts.yaml; empty = the agent and ~/.ssh/config."""
    gateway: values.Gateway | None = None
    """The jump host on the way to the nodes, ``user@host:port``."""
    sudo: StrictBool = False
    """Whether docker and the mounts need ``sudo -n`` on the nodes."""
    known_hosts: values.LocalPath | None = None
    """Where host keys are kept, relative to hosts.yaml; empty = ~/.ssh/known_hosts."""


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

    def install_of(self, node: Node) -> Install:
        """Return the install as this node has it: with a certificate mounted where its region
        has https."""
        if self.install.https or self.region_of(node).https is None:
            return self.install
        mounts = self.install.mounts.model_copy(
            update={"https_crt": HTTPS_CRT, "https_key": HTTPS_KEY}
        )
        return self.install.model_copy(update={"mounts": mounts})

    def region_of(self, node: Node) -> Region:
        return next(region for region in self.regions if node in region.nodes)
