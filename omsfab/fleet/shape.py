"""The shape of hosts.yaml, where it differs from the model: names are keys, secrets are sources.

Mounts, Ports and Ssh look in the file as they do in the model, and are used as they are.
The docstrings and examples below are what editors show (json_schema) and errors quote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    StrictBool,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from omsfab.fleet import secret_sources, values
from omsfab.fleet.model import Https, Mounts, Part, Ports, Ssh, Tls
from omsfab.fleet.secret_sources import SecretSource

Password = Annotated[
    SecretSource,
    PlainValidator(secret_sources.parse),
    WithJsonSchema(secret_sources.SCHEMA),
    Field(examples=[{"env": "OMS_META_PASSWORD"}]),
]


def _extra_value(raw: object) -> str | int | bool | SecretSource:
    if isinstance(raw, Mapping):
        return secret_sources.parse(raw)
    if not isinstance(raw, str | int | bool):
        raise ValueError("is not a text, a whole number or true/false; put it in quotes")
    return values.text(raw) if isinstance(raw, str) else raw


ExtraValue = Annotated[
    Any,
    BeforeValidator(_extra_value),
    WithJsonSchema(
        {"anyOf": [{"type": ["string", "integer", "boolean"]}, secret_sources.SCHEMA]},
    ),
]


class NodeEntry(Part):
    """A server with one OMS container: its address, or {ip: …} with further keys."""

    ip: values.NodeIp = Field(examples=["10.0.0.1"])
    """OMS_HOST_IP and cm_nodes: the address by which the other nodes know it."""
    address: values.SshAddress = ""
    """Where SSH connects to, if that is another address or a name."""
    port: values.AnyPort | None = None
    """The port of SSH on this node; otherwise ssh.port."""
    user: values.LoginName | None = None
    """The SSH user on this node; otherwise ssh.user."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, raw: object) -> object:
        return {"ip": raw} if isinstance(raw, str) else raw

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "format": "ipv4"}, handler(core_schema)]}


class RegionEntry(Part):
    """A region of OMS; its key is cm_region."""

    location: values.Location = Field(examples=[1])
    """cm_location: 0..127, one per region."""
    default: StrictBool = True
    """cm_is_default: true in exactly one region."""
    label: values.Text = ""
    """cm_region_cn, any text; otherwise the name of the region."""
    cm_url: values.CmUrl = Field(examples=["http://10.0.0.100:8088"])
    """VIP, SLB or domain name of the region (of the node, where there is one) with the CM port."""
    heartbeat_db: values.DbName = Field(examples=["oms_cm_heartbeat_1"])
    """drc_cm_heartbeat_db: one per region, never shared."""
    https: Https | None = None
    """Certificate and key that omsfab brings to the region's nodes; its console is HTTPS only."""
    nodes: dict[values.NodeName, NodeEntry] = Field(
        examples=[{"oms1": "10.0.0.1"}], json_schema_extra={"minProperties": 1}
    )
    """The nodes by name."""


class InstallEntry(Part):
    """Which image runs in which container."""

    image: values.Image = Field(
        examples=["reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce"]
    )
    """The name that docker load prints, or the image id sha256:…."""
    package: values.LocalPath | None = None
    """The package for docker load, relative to hosts.yaml; sent where the image is missing."""
    container: values.ContainerName | None = Field(None, examples=["oms_427"])
    """The name of the container on every node; otherwise oms_ and the version in the tag."""
    init: Literal["auto", "always", "never"] = "auto"
    """Whether omsfab runs docker_init.sh in new containers; auto looks whether they do it."""
    mounts: Mounts = Mounts()
    ports: Ports = Ports()
    extra: dict[values.ConfigKey, ExtraValue] = Field(default_factory=dict)
    """Further keys of config.yaml, passed through; secrets as {env: …} and the like."""


class MetaDbEntry(Part):
    """The MySQL or OceanBase database that holds the metadata of OMS."""

    host: values.Host = Field(examples=["10.0.0.9"])
    """oms_meta_host: MySQL, an OBServer, OBProxy or the VIP of these."""
    port: values.HighPort = Field(examples=[2881])
    """oms_meta_port: 3306 MySQL, 2881 OBServer, 2883 OBProxy."""
    user: values.MetaUser = Field(examples=["oms@oms_meta"])
    """oms_meta_user: user@tenant or user@tenant#cluster; never of the tenant sys."""
    password: Password
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


class TsdbEntry(Part):
    """The time-series database, one for all of OMS; without it there are no metrics."""

    service: Literal["INFLUXDB", "CERESDB"] = Field(examples=["INFLUXDB"])
    """tsdb_service"""
    url: values.HostAndPort = Field(examples=["10.0.0.8:8086"])
    """tsdb_url: address:port without a scheme."""
    username: values.Text = Field(examples=["oms"])
    """tsdb_username: made by fab tsdb.deploy, or by hand in the database."""
    password: Password
    """tsdb_password: where it comes from."""
    package: values.LocalPath | None = None
    """The package of InfluxDB for fab tsdb.deploy, relative to hosts.yaml."""
    image: values.Image = "influxdb:1.8"
    """The name that docker load prints for it."""
    data: values.NodePath = "/data/influxdb"
    """Its data on the node that url names."""


class HostsFile(Part):
    """What is wanted, for one OMS deployment."""

    oms: InstallEntry
    metadb: MetaDbEntry
    tsdb: TsdbEntry | None = None
    ssh: Ssh = Ssh()
    regions: dict[values.RegionName, RegionEntry] = Field(json_schema_extra={"minProperties": 1})
    """The regions by name; the name is cm_region, such as cn-hangzhou."""
