"""What is wanted: one OMS deployment, frozen; and what hosts.yaml may say of it, key by key.

There is one tree for both.  Made by code, or read from the record of a run, a part takes its values
as they are; read from hosts.yaml (fleet/hosts_file.py, with a ``Reading`` as context) they are held
to the grammar of fleet/values.py, names are keys, secrets are sources, and paths begin at the
directory of the file.  The docstring and example of a key are what editors show (json_schema), what
errors quote, and its reference.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    StrictBool,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, PydanticKnownError, PydanticUseDefault, core_schema

from omsfab.fleet import secret_sources, values
from omsfab.fleet.secret_sources import SecretSource
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
        validate_by_name=True,
    )

    @classmethod
    def docstrings(cls) -> dict[str, str]:
        """What stands below each key that hosts.yaml may have: key -> docstring.

        Pydantic can have them (use_attribute_docstrings), but reads its source at every start.
        """
        body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
        found = {}
        for pair in itertools.pairwise(body):
            match pair:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    key = cls.model_fields[name].validation_alias or name
                    found[str(key)] = inspect.cleandoc(text)
        return found

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        made = handler(schema)
        keys = handler.resolve_ref_schema(made).get("properties", {})
        for name, text in cls.docstrings().items():
            if name in keys:
                keys[name]["description"] = text
        return made


# --- what a file has otherwise than the model ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What hosts.yaml itself does not say: its directory, and its secrets once they are fetched.

    ``sources`` collects where they come from, by the path of their key.
    """

    base: Path
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    sources: dict[str, SecretSource] = field(default_factory=dict)


def _secret(raw: object, label: str, reading: Reading | None) -> Secret:
    if isinstance(raw, Secret):
        return raw
    source = secret_sources.parse(raw)
    if reading is None:
        raise ValueError("is no Secret")
    reading.sources[label] = source
    return reading.secrets.get(label, Secret(""))


def _extra_value(raw: object, info: ValidationInfo) -> object:
    if isinstance(raw, Mapping):
        return secret_sources.parse(raw)
    if not isinstance(raw, str | int | bool | Secret):
        raise ValueError("is not a text, a whole number or true/false; put it in quotes")
    return raw if info.context is None or not isinstance(raw, str) else values.text(raw)


ExtraValue: TypeAlias = Annotated[
    str | int | bool | Secret,
    PlainValidator(_extra_value),
    WithJsonSchema(
        {"anyOf": [{"type": ["string", "integer", "boolean"]}, secret_sources.SCHEMA]},
    ),
]
Password: TypeAlias = Annotated[Secret, WithJsonSchema(secret_sources.SCHEMA)]


NAME = "[key]"
"""What pydantic calls the name of a mapping's key: a field that no line of a file can set."""


@dataclass(frozen=True, slots=True)
class ByName:
    """In the file a mapping by name, in the model a tuple whose elements have it as their own.

    A text alone stands for the key ``short``.
    """

    short: str = ""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._elements, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        element = handler(schema)["items"]
        return {"type": "object", "additionalProperties": element, "minProperties": 1}

    def _elements(self, raw: object, info: ValidationInfo) -> object:
        if info.context is None:
            return raw
        if not isinstance(raw, Mapping):
            raise PydanticKnownError("dict_type")
        return [self._element(name, value) for name, value in raw.items()]

    def _element(self, name: str, value: object) -> object:
        if self.short and isinstance(value, str):
            value = {self.short: value}
        return {**value, NAME: name} if isinstance(value, Mapping) else value


def _usual_if_empty(raw: object) -> object:
    if raw is None:
        raise PydanticUseDefault
    return raw


# --- the tree --------------------------------------------------------------------------------


class Node(Part):
    """A server with one OMS container: its address, or {ip: …} with further keys."""

    name: SkipJsonSchema[values.NodeName] = Field(validation_alias=NAME)
    ip: values.NodeIp = Field(examples=["10.0.0.1"])
    """OMS_HOST_IP and cm_nodes: the address by which the other nodes know it."""
    address: values.SshAddress = ""
    """Where SSH connects to, if that is another address or a name."""
    port: values.AnyPort | None = None
    """The port of SSH on this node; otherwise ssh.port."""
    user: values.LoginName | None = None
    """The SSH user on this node; otherwise ssh.user."""

    def __eq__(self, other: object) -> bool:
        """By value.  The name first: a plan for 1,000 nodes compares some million of them."""
        return isinstance(other, Node) and self.name == other.name and super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.name)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        mapping = super().__get_pydantic_json_schema__(core_schema, handler)
        return {"anyOf": [{"type": "string", "format": "ipv4"}, mapping]}


class Https(Part):
    """Certificate and key of the console, files of this machine that omsfab brings to the nodes."""

    crt: values.LocalPath
    """The certificate, PEM, with the chain behind it; relative to hosts.yaml."""
    key: values.LocalPath
    """Its private key, PEM without a passphrase, mode 0600; relative to hosts.yaml."""


class Region(Part):
    """A region of OMS; its key is cm_region."""

    name: SkipJsonSchema[values.RegionName] = Field(validation_alias=NAME)
    location: values.Location = Field(examples=[1])
    """cm_location: 0..127, one per region."""
    default: StrictBool = True
    """cm_is_default: true in exactly one region."""
    label: values.Text = Field(default_factory=lambda data: str(data["name"]))
    """cm_region_cn, any text; otherwise the name of the region."""
    cm_url: values.CmUrl = Field(examples=["http://10.0.0.100:8088"])
    """VIP, SLB or domain name of the region (of the node, where there is one) with the CM port."""
    heartbeat_db: values.DbName = Field(examples=["oms_cm_heartbeat_1"])
    """drc_cm_heartbeat_db: one per region, never shared."""
    https: Https | None = None
    """Certificate and key that omsfab brings to the region's nodes; its console is HTTPS only."""
    nodes: Annotated[tuple[Node, ...], ByName(short="ip")] = Field(examples=[{"oms1": "10.0.0.1"}])
    """The nodes by name."""

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(node.ip for node in self.nodes)


class Mounts(Part):
    """Directories of the node; they never change over redeployment and upgrade (OMS guide)."""

    config: values.NodePath = "/data/config.yaml"
    """The file config.yaml; it may lie anywhere."""
    logs: values.NodePath = "/data/oms/oms_logs"
    """/home/admin/logs in the container; a directory, as the next two."""
    store: values.NodePath = "/data/oms/oms_store"
    """/home/ds/store in the container."""
    run: values.NodePath = "/data/oms/oms_run"
    """/home/ds/run in the container."""
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
    """The console itself, behind nginx."""
    supervisor: values.OmsPort = 9000
    """The agent of OMS, not supervisord."""
    sshd: values.OmsPort = 2023
    """The sshd inside the container."""


class Install(Part):
    """Which image runs in which container."""

    image: values.Image = Field(
        examples=["reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce"]
    )
    """The name that docker load prints, or the image id sha256:…."""
    package: values.LocalPath | None = None
    """The package for docker load, relative to hosts.yaml; sent where the image is missing."""
    container: Annotated[values.ContainerName, BeforeValidator(_usual_if_empty)] = Field(
        default_factory=lambda data: values.container_of(data["image"]) or "", examples=["oms_427"]
    )
    """The name of the container on every node; otherwise oms_ and the version in the tag."""
    init: Literal["auto", "always", "never"] = "auto"
    """Whether omsfab runs docker_init.sh in new containers; auto looks whether they do it."""
    init_parallel: values.AtOnce = 1
    """On how many nodes of a region docker_init.sh runs at once, behind its first node."""
    mounts: Mounts = Mounts()
    """Where on the node the container has its files."""
    ports: Ports = Ports()
    """The ports of the components, from OMS 4.2.2 on."""
    extra: dict[values.ConfigKey, ExtraValue] = Field(default_factory=dict)
    """Further keys of config.yaml, passed through; secrets as {env: …} and the like."""

    @field_validator("extra")
    @classmethod
    def _secrets(cls, extra: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return {
            key: _secret(value, f"oms.extra.{key}", info.context)
            if isinstance(value, SecretSource)
            else value
            for key, value in extra.items()
        }

    @property
    def https(self) -> bool:
        return self.mounts.https_crt is not None


class Tls(Part):
    """How the MetaDB proves itself to omsfab."""

    ca: values.LocalPath
    """The CA of its certificate, PEM, relative to hosts.yaml."""


class MetaDb(Part):
    """The MySQL or OceanBase database that holds the metadata of OMS."""

    host: values.Host = Field(examples=["10.0.0.9"])
    """oms_meta_host: MySQL, an OBServer, OBProxy or the VIP of these."""
    port: values.HighPort = Field(examples=[2881])
    """oms_meta_port: 3306 MySQL, 2881 OBServer, 2883 OBProxy."""
    user: values.MetaUser = Field(examples=["oms@oms_meta"])
    """oms_meta_user: user@tenant or user@tenant#cluster; never of the tenant sys."""
    password: Password = Field(examples=[{"env": "OMS_META_PASSWORD"}])
    """oms_meta_password: where it comes from."""
    rm_db: values.DbName = Field(examples=["oms_rm"])
    """drc_rm_db: of the console; the same in all regions."""
    cm_db: values.DbName = Field(examples=["oms_cm"])
    """drc_cm_db: of the CM service; the same in all regions."""
    location_cm_column: values.ColumnName | None = None
    """The column of location_cm that holds the location, where omsfab cannot tell by itself."""
    tls: Tls | None = None
    """Speak TLS with it, and only with a server of this CA; OMS itself is not told."""
    through: values.NodeName | None = None
    """A node that reaches it where this machine does not, or gateway for ssh.gateway."""

    @field_validator("password", mode="plain")
    @classmethod
    def _secrets(cls, raw: object, info: ValidationInfo) -> Secret:
        return _secret(raw, "metadb.password", info.context)


class Tsdb(Part):
    """The time-series database, one for all of OMS; without it there are no metrics."""

    service: Literal["INFLUXDB", "CERESDB"] = Field(examples=["INFLUXDB"])
    """tsdb_service: the OMS documents deploy INFLUXDB, although its own default is CERESDB."""
    url: values.HostAndPort = Field(examples=["10.0.0.8:8086"])
    """tsdb_url: address:port without a scheme."""
    username: values.Text = Field(examples=["oms"])
    """tsdb_username: made by fab tsdb.deploy, or by hand in the database."""
    password: Password = Field(examples=[{"env": "OMS_META_PASSWORD"}])
    """tsdb_password: where it comes from."""
    package: values.LocalPath | None = None
    """The package of InfluxDB for fab tsdb.deploy, relative to hosts.yaml."""
    image: values.Image = "influxdb:1.8"
    """The name that docker load prints for it."""
    data: values.NodePath = "/data/influxdb"
    """Its data on the node that url names."""

    @field_validator("password", mode="plain")
    @classmethod
    def _secrets(cls, raw: object, info: ValidationInfo) -> Secret:
        return _secret(raw, "tsdb.password", info.context)

    @property
    def host(self) -> str:
        return self.url.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class Ssh(Part):
    """How the jump host reaches the nodes; ~/.ssh/config and the agent are honoured as well.

    By key or agent only: there is no password.
    """

    user: values.LoginName | None = None
    """The login on the nodes; otherwise that of ~/.ssh/config, or your own."""
    port: values.AnyPort | None = None
    """The port of sshd on the nodes; otherwise that of ~/.ssh/config, or 22."""
    key: values.PrivateKey | None = None
    """A private key, relative to hosts.yaml; empty = the agent and ~/.ssh/config."""
    gateway: values.Gateway | None = None
    """The jump host on the way to the nodes, ``user@host:port``."""
    sudo: StrictBool = False
    """Whether docker and the mounts need ``sudo -n`` on the nodes."""
    known_hosts: values.LocalPath | None = None
    """Where host keys are kept, relative to hosts.yaml; empty = ~/.ssh/known_hosts."""
    relay: StrictBool = True
    """Whether nodes pass the image package on to each other, so that it leaves this machine once;
    where one does not reach another, it comes from here."""


class Fleet(Part):
    """What is wanted, for one OMS deployment."""

    install: Install = Field(validation_alias="oms")
    """Which image runs in which container."""
    metadb: MetaDb
    """The database that holds the metadata of OMS."""
    tsdb: Tsdb | None = None
    """The time-series database; without it there are no metrics."""
    ssh: Ssh = Ssh()
    """How this machine reaches the nodes."""
    regions: Annotated[tuple[Region, ...], ByName()]
    """The regions by name; the name is cm_region, such as cn-hangzhou."""
    origin: SkipJsonSchema[Path] = Field(default=Path("hosts.yaml"), validation_alias="[file]")

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
        return _homes(self.regions)[node]


_known: tuple[tuple[Region, ...], dict[Node, Region]] = ((), {})


def _homes(regions: tuple[Region, ...]) -> dict[Node, Region]:
    """The region of each node, kept for the regions that were last asked for: a plan for 1,000
    nodes asks 5,000 times, and a model that is copied must not take it along."""
    global _known
    found = _known
    if found[0] is not regions:
        found = regions, {node: region for region in regions for node in region.nodes}
        _known = found
    return found[1]


PARTS: Mapping[tuple[str, ...], type[Part]] = {
    (): Fleet,
    ("oms",): Install,
    ("oms", "mounts"): Mounts,
    ("oms", "ports"): Ports,
    ("metadb",): MetaDb,
    ("metadb", "tls"): Tls,
    ("tsdb",): Tsdb,
    ("ssh",): Ssh,
    ("regions", "*"): Region,
    ("regions", "*", "https"): Https,
    ("regions", "*", "nodes", "*"): Node,
}
"""What stands where in hosts.yaml; ``*`` for the name of a region or node."""


def keys_of(part: type[Part]) -> dict[str, Any]:
    """Return what may stand in this part of hosts.yaml: key -> pydantic's FieldInfo."""
    aliases = ((f.validation_alias or name, f) for name, f in part.model_fields.items())
    return {str(key): one for key, one in aliases if key not in (NAME, "[file]")}
