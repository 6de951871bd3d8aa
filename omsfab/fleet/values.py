"""The grammar of each value in hosts.yaml: a type per kind of value, checked by pydantic.

A check returns the value, or raises ValueError("what is wrong; what would be right").
Everything that becomes a word on a node is held to an allow-list: no space, no quote, no ``$``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictInt,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")

_SYSTEM_DBS = {"mysql", "sys", "information_schema", "performance_schema", "oceanbase"}
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REPOSITORY = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"  # registry[:port]/
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_PART_OF_AN_ID = re.compile(r"sha256:[0-9a-f]*|[0-9a-f]{12,64}")
_USER = r"[A-Za-z_][A-Za-z0-9_.-]*\$?"


# --- text ------------------------------------------------------------------------------------


def text(value: str) -> str:
    """Any text that fits on one line."""
    if not value.strip():
        raise ValueError("is empty; write a text")
    if not value.isprintable():
        raise ValueError("has a control character; write plain text on one line")
    return value


def local_path(value: object) -> object:
    """A path on the jump host; an empty one would be the directory itself."""
    if not isinstance(value, str):
        return value
    try:
        return Path(text(value)).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, but there is no such home; write the whole path") from None


def private_key(value: Path) -> Path:
    if value.suffix == ".pub":
        raise ValueError(f"is the public half; write the private key, {value.with_suffix('').name}")
    return value


def _matches(pattern: str, right: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"has characters that do not belong there; {right}")
        return value

    return check


def db_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError(
            "is no database name; write ASCII letters, digits and _ (at most 64), no digit first"
        )
    if value.lower() in _SYSTEM_DBS:
        raise ValueError("is a database of the server itself; write one of OMS, such as oms_rm")
    return value


def meta_user(value: str) -> str:
    """``user``, ``user@tenant`` or ``user@tenant#cluster``; the tenant is compared as a whole."""
    found = re.fullmatch(r"[\w.$-]+(?:@([\w.$-]+)(?:#[\w.$-]+)?)?", value, re.ASCII)
    if not found:
        raise ValueError("is no user; write user@tenant, user@tenant#cluster, or user for MySQL")
    if found[1] == "sys":
        raise ValueError("the tenant is sys, which OMS refuses; write a user of a MySQL tenant")
    return value


# --- numbers ---------------------------------------------------------------------------------


def location(value: int) -> int:
    if not 0 <= value <= 127:
        raise ValueError("is not in 0..127; write a whole number from 0 to 127, one per region")
    return value


def at_once(value: int) -> int:
    if not 1 <= value <= 50:
        raise ValueError("is not in 1..50; write how many nodes are initialised at once")
    return value


def any_port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise ValueError("is no port; write a number from 1 to 65535")
    return value


def high_port(value: int) -> int:
    if not 1025 <= value <= 65535:
        raise ValueError("is a port OMS does not take; write a number from 1025 to 65535")
    return value


_COMPONENTS = range(7100, 7500)
"""OMS documents, ports in use."""


def oms_port(value: int) -> int:
    if value == 8084:
        raise ValueError("is the port of supervisord in the OMS container; write another one")
    if value in _COMPONENTS:
        span = f"{_COMPONENTS[0]} to {_COMPONENTS[-1]}"
        raise ValueError(f"is among {span}, which OMS takes at random; write one outside")
    return high_port(value)


# --- addresses -------------------------------------------------------------------------------


def _ipv4(value: str) -> ipaddress.IPv4Address:
    parts = value.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
        plain = ".".join(str(int(part)) for part in parts)
        if plain != value:
            raise ValueError(f"has leading zeros, which some programs read as octal; write {plain}")
    try:
        return ipaddress.IPv4Address(value)
    except ValueError:
        raise ValueError("is not an IPv4 address; write four numbers, e.g. 10.0.0.1") from None


def _reachable(address: ipaddress.IPv4Address) -> None:
    """Refuse what can never be the address of one other machine."""
    for kind, name in (
        (address.is_loopback, "a loopback address: every machine finds itself there"),
        (address.is_unspecified or address in _THIS_NETWORK, "no address of any machine"),
        (address.is_multicast, "a multicast address"),
        (address.is_reserved, "a reserved or broadcast address"),
        (address.is_link_local, "a link-local address"),
    ):
        if kind:
            raise ValueError(f"is {name}; write an address that all nodes can reach")


_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")


def node_ip(value: str) -> str:
    """The address of a node as OMS knows it: IPv4, in its one canonical form."""
    if ":" in value:
        mapped = re.fullmatch(r"::ffff:([0-9.]+)", value, re.IGNORECASE)
        if mapped:
            raise ValueError(f"is an IPv4 address in the clothes of IPv6; write {mapped[1]}")
        raise ValueError("is not IPv4: OMS documents cm_nodes with IPv4 only; write e.g. 10.0.0.1")
    if re.search("[A-Za-z]", value):
        right = "cm_nodes takes addresses; write e.g. 10.0.0.1, a name for SSH goes into address:"
        raise ValueError(f"is a name, {right}")
    _reachable(_ipv4(value))
    return value


_PLACEHOLDER = re.compile(r"(?=.*x)(?:(?:x+[0-9]*|[0-9]+)(?:\.|$)){4}", re.IGNORECASE)


def host(value: str) -> str:
    """An IPv4 address or a host name, as every node must be able to reach it."""
    if _PLACEHOLDER.fullmatch(value):
        raise ValueError("is a placeholder of the guide; write the address itself, e.g. 10.0.0.1")
    if ":" in value:
        if value.count(":") > 1:
            raise ValueError(
                "is IPv6: OMS writes it before a colon and a port, and its documents know IPv4 "
                "only; write an IPv4 address, or a name that has one"
            )
        raise ValueError("is no host alone; write an IPv4 address or a name, without a port")
    if re.fullmatch(r"[0-9.]+", value):
        _reachable(_ipv4(value))
        return value
    if len(value) > 253 or not _HOST_NAME.fullmatch(value):
        raise ValueError("is no host; write an IPv4 address, or a name of ASCII letters, digits, -")
    last = value.rsplit(".", 1)[-1].lower()
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):  # 0x7f.1 is 127.0.0.1 to the C library
        raise ValueError("is neither an IPv4 address nor a name; write e.g. 10.0.0.1")
    if value.lower() == "localhost" or value.lower().startswith("localhost."):
        raise ValueError("is a loopback name: every machine finds itself there; write its address")
    return value


def ssh_address(value: str) -> str:
    """Where SSH connects to; here loopback and IPv6 are fine (a tunnel, a lab)."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return value if value == "localhost" else host(value)


def host_and_port(value: str) -> str:
    """``ip:port`` without a scheme, because OMS splits it on the colon."""
    if "://" in value:
        raise ValueError("has a scheme; write address:port alone, e.g. 10.0.0.8:8086")
    address, colon, port = value.rpartition(":")
    if not colon or not re.fullmatch(r"[1-9][0-9]{0,4}", port):
        raise ValueError("has no port; write address:port, e.g. 10.0.0.8:8086")
    any_port(int(port))
    return f"{host(address)}:{port}"


HOPS = "several go into ProxyJump in ~/.ssh/config"


def gateway(value: str) -> str:
    """``host``, ``user@host`` or ``user@host:port``."""
    if re.search(r"[,\s]", value.strip()):
        raise ValueError(f"is more than one jump host; write one, or none: {HOPS}")
    found = re.fullmatch(rf"(?:{_USER}@)?([^@:\s]+)(?::([1-9][0-9]{{0,4}}))?", value, re.ASCII)
    if not found:
        raise ValueError("is no jump host; write user@host:port, without a password")
    ssh_address(found[1])
    if found[2]:
        any_port(int(found[2]))
    return value


@dataclass(frozen=True, slots=True)
class CmUrl:
    """Where the nodes of a region find its CM service: ``http://host:port``.

    A row of MetaDB may hold another URL, or what is none: then ``host`` is empty.  ``text`` is what
    stands there, and what ``str()`` gives.  Equal are two that are written alike; ``same_as`` tells
    which mean the same.
    """

    host: str
    """In lower case."""
    port: int
    scheme: str = "http"
    path: str = ""
    """Without a slash at the end."""
    text: str | None = None

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        return f"{self.scheme}://{self._address}{self.path}"

    @classmethod
    def read(cls, text: str) -> CmUrl:
        """Return what a row of MetaDB or a config.yaml has for cm_url, whatever it is worth."""
        try:
            parts = urlsplit(text.strip())
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        except ValueError:
            return cls("", 0, "", "", text)
        host = parts.hostname or ""
        with suppress(ValueError):
            host = str(ipaddress.ip_address(host))
        plain = cls(host, port, parts.scheme, parts.path.rstrip("/"))
        return plain if str(plain) == text else replace(plain, text=text)

    def same_as(self, other: CmUrl) -> bool:
        """Compare scheme, host, port and path; case, and a slash or spaces at the end, do not
        matter."""
        here = (self.scheme, self.host, self.port, self.path)
        return bool(self.host) and here == (other.scheme, other.host, other.port, other.path)

    def carried_by(self, value: bytes) -> bool:
        """Whether a text names host and port of this URL, with its scheme or without."""
        return bool(self.host) and self._pattern.search(value) is not None

    def replaced_in(self, value: bytes, new: CmUrl) -> bytes:
        """Return the text with the ``new`` URL wherever it names this one."""

        def instead(found: re.Match[bytes]) -> bytes:
            scheme = f"{new.scheme}://" if found[1] else ""
            return f"{scheme}{new._address}".encode()

        return self._pattern.sub(instead, value) if self.host else value

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def _pattern(self) -> re.Pattern[bytes]:
        host, _, port = self._address.rpartition(":")
        usual = self.port == _DEFAULT_PORTS.get(self.scheme)  # which is mostly left out
        behind = rf"(?::{port})?(?![:\d])" if usual else rf":{port}(?!\d)"
        before = rf"(?<![\w.-])({re.escape(self.scheme)}://)?"
        return re.compile(f"{before}{re.escape(host)}{behind}".encode(), re.IGNORECASE)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A text in hosts.yaml, held to the grammar of ``cm_url``, and in the records of runs."""
        text = core_schema.no_info_before_validator_function(
            lambda value: str(value) if isinstance(value, CmUrl) else value,
            core_schema.str_schema(strict=True),
        )
        return core_schema.with_info_after_validator_function(
            lambda value, info: cls.read(value) if info.context is None else cm_url(value),
            text,
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^http://[\w.-]+:[0-9]+/?$"}


_DEFAULT_PORTS = {"http": 80, "https": 443}


_CM_URL = "write e.g. http://10.0.0.100:8088"


def cm_url(value: str) -> CmUrl:
    """``http://host:port``, normalised: lower case, no slash at the end."""
    rest = _behind_http(value).removesuffix("/")
    if "@" in rest:
        raise ValueError(f"has a user or password in it; {_CM_URL}")
    if re.search(r"[/?#]", rest):
        raise ValueError(f"has a path after the port; {_CM_URL}")
    if rest.startswith("["):
        raise ValueError(
            f"is not IPv4: OMS documents IPv4 and names only, cm_nodes has no other; {_CM_URL}"
        )
    name, colon, port = rest.partition(":")
    checked = host(name)
    if checked.lower() == "vip":
        raise ValueError(f"has the guide's placeholder for an address; {_CM_URL}")
    if not colon or not port:
        raise ValueError("has no port; write the CM port after the host, e.g. :8088")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise ValueError(f"has no valid port; {_CM_URL}")
    return CmUrl(checked.lower(), int(port))


def _behind_http(value: str) -> str:
    if re.search(r"[,\s]", value.strip()):
        raise ValueError(f"is more than one URL; {_CM_URL}, of the VIP, SLB or domain name")
    scheme, mark, rest = value.partition("://")
    if not mark:
        raise ValueError(f"has no scheme; {_CM_URL}")
    if scheme.lower() == "https":
        raise ValueError(
            "is https, but the CM service speaks http (certificates are for the console: "
            "oms.mounts.https_crt); write http://"
        )
    if scheme.lower() != "http":
        raise ValueError(f"has another scheme than http; {_CM_URL}")
    return rest


# --- things on a node ------------------------------------------------------------------------


def image(value: str) -> str:
    """``[registry[:port]/]repository:tag`` or ``sha256:…``; cut at the last : after the last /."""
    if _IMAGE_ID.fullmatch(value):
        return value
    right = "write registry/oms:feature_4.2.7_ce as `docker images` shows it, or its sha256: id"
    if _PART_OF_AN_ID.fullmatch(value):
        whole = "`docker images --no-trunc`"
        raise ValueError(f"is no whole image id; write sha256: and its 64 digits: {whole}")
    if "@" in value:
        raise ValueError(f"is a digest of a registry, which a loaded package has not; {right}")
    path, slash, last = value.rpartition("/")
    name, colon, tag = last.partition(":")
    if not colon:
        raise ValueError(f"has no tag; {right}")
    repository = f"{path}{slash}{name}"
    if not _REPOSITORY.fullmatch(repository) or not _TAG.fullmatch(tag) or repository == "sha256":
        raise ValueError(f"is no image reference; {right}")
    return value


def is_image_id(image: str) -> bool:
    """Whether it is an id, and no reference."""
    return bool(_IMAGE_ID.fullmatch(image))


_VERSION = re.compile(r"(?:^|_)v?(\d+)\.(\d+)(?:\.(\d+))?", re.IGNORECASE)


def version_of(image: str) -> tuple[int, ...]:
    """The version in the vendor's tag, ``feature_4.2.7_ce`` or ``feature_4.2.2-ce_bp1``; else ().

    Only the tag counts: a registry may have numbers and a port of its own.
    """
    _, colon, tag = image.rpartition("/")[2].rpartition(":")
    found = _VERSION.search(tag) if colon and not image.startswith("sha256:") else None
    return tuple(int(part) for part in found.groups() if part is not None) if found else ()


def name_of(image: str) -> str:
    """The last part of the repository, ``oms-ce``; empty for an image id."""
    return "" if _IMAGE_ID.fullmatch(image) else image.rpartition("/")[2].partition(":")[0]


def container_of(image: str) -> str | None:
    """The name the guide gives to a container of this version, e.g. ``oms_427``."""
    version = version_of(image)
    return f"oms_{''.join(map(str, version))}" if version else None


def node_path(value: str) -> str:
    """A path on a node that ``-v`` of docker takes as it is."""
    if not value.startswith("/"):
        raise ValueError("is not absolute; write the whole path on the node, from /")
    if value == "/":
        raise ValueError("is the root of the node; write a directory or file below it")
    parts = value.split("/")[1:]
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError("is not in its shortest form; write it without //, ., .. and a slash last")
    if not re.fullmatch(r"[A-Za-z0-9._@%+=~/-]+", value):
        raise ValueError(
            "has a space, a colon, a comma or another character docker or a shell would trip over; "
            "write letters, digits and ._@%+=~-"
        )
    return value


_node_name = _matches(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    "name a node with letters, digits and - inside, e.g. oms1",
)


def node_name(value: str) -> str:
    if value.lower() == "metadb":  # plan/records.py: METADB stands where others have a node
        raise ValueError("is the word for the MetaDB in plans; name the node otherwise")
    return _node_name(value)


# --- the types -------------------------------------------------------------------------------


def _held(check: Callable[[T], T]) -> AfterValidator:
    """Hold a value of hosts.yaml to the check; one made by code, or read from the record of a run,
    is taken as it is: the omsfab that wrote it may have been less strict."""

    def held(value: T, info: ValidationInfo) -> T:
        return value if info.context is None else check(value)

    return AfterValidator(held)


def _here(value: Path, info: ValidationInfo) -> Path:
    """Relative paths in hosts.yaml begin at its own directory, wherever fab was called."""
    return value if info.context is None else Path(info.context.base) / value


Text: TypeAlias = Annotated[str, _held(text)]
Location: TypeAlias = Annotated[
    StrictInt, _held(location), Field(json_schema_extra={"minimum": 0, "maximum": 127})
]
_HIGH = Field(json_schema_extra={"minimum": 1025, "maximum": 65535})
_ANY = Field(json_schema_extra={"minimum": 1, "maximum": 65535})
AtOnce: TypeAlias = Annotated[
    StrictInt, _held(at_once), Field(json_schema_extra={"minimum": 1, "maximum": 50})
]
AnyPort: TypeAlias = Annotated[StrictInt, _held(any_port), _ANY]
HighPort: TypeAlias = Annotated[StrictInt, _held(high_port), _HIGH]
OmsPort: TypeAlias = Annotated[StrictInt, _held(oms_port), _HIGH]
NodeIp: TypeAlias = Annotated[str, _held(node_ip), Field(json_schema_extra={"format": "ipv4"})]
Host: TypeAlias = Annotated[str, _held(host)]
HostAndPort: TypeAlias = Annotated[str, _held(host_and_port)]
SshAddress: TypeAlias = Annotated[str, _held(ssh_address)]
Gateway: TypeAlias = Annotated[str, _held(gateway)]
DbName: TypeAlias = Annotated[str, _held(db_name)]
MetaUser: TypeAlias = Annotated[str, _held(meta_user)]
Image: TypeAlias = Annotated[str, _held(image)]
NodePath: TypeAlias = Annotated[
    str, _held(node_path), Field(json_schema_extra={"pattern": "^/[^:, ]+$"})
]
NodeName: TypeAlias = Annotated[str, _held(node_name)]
LocalPath: TypeAlias = Annotated[Path, BeforeValidator(local_path), AfterValidator(_here)]
"""A path on the jump host, relative to the directory of hosts.yaml."""
PrivateKey: TypeAlias = Annotated[LocalPath, _held(private_key)]
LoginName: TypeAlias = Annotated[str, _held(_matches(_USER, "write a login name, e.g. root"))]
ContainerName: TypeAlias = Annotated[
    str,
    _held(
        _matches(
            r"[A-Za-z0-9][A-Za-z0-9_.-]{1,127}",
            "write at least two of letters, digits, _ . -, a letter or digit first, e.g. oms_427",
        )
    ),
]
RegionName: TypeAlias = Annotated[
    str,
    _held(
        _matches(
            r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?",
            "write ASCII letters, digits, - and _, e.g. cn-hangzhou; "
            "any other text goes into label:",
        )
    ),
]
ColumnName: TypeAlias = Annotated[
    str, _held(_matches(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "write the name of a column"))
]
ConfigKey: TypeAlias = Annotated[
    str,
    _held(_matches(r"[A-Za-z_][A-Za-z0-9_]*", "write a key of config.yaml: letters, digits, _")),
]
