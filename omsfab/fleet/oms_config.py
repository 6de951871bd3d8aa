"""config.yaml of OMS, both ways: rendered from the fleet, and read back from a node.

Names and notes of the keys: OMS CE guide "Scale out OMS", parameter table.

templates/config.yaml has no logic: ``${name}`` stands for a scalar that is quoted already, and
``${cm_nodes}``, ``${ports}``, ``${tsdb}``, ``${extra}`` for ready lines, none as the case may be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import TypeAlias

from omsfab.errors import InputError, PreflightError
from omsfab.fleet import yaml_reader
from omsfab.fleet.model import Fleet, Ports, Region
from omsfab.fleet.values import CmUrl
from omsfab.fleet.yaml_reader import YamlFault
from omsfab.next_line import shell
from omsfab.secret import Secret

TEMPLATE = Path(__file__).parents[2] / "templates" / "config.yaml"

Value: TypeAlias = object
"""A Secret or CmUrl where the key says so, else str, int, bool, a list of str; anything for unknown
keys."""

INT_KEYS = ("oms_meta_port", "cm_location")
PORT_KEYS = tuple(f"{name}_server_port" for name in Ports.model_fields)
BOOL_KEYS = ("cm_is_default", "tsdb_enabled")
TEXT_KEYS = (
    "oms_meta_host",
    "oms_meta_user",
    "oms_meta_password",
    "drc_rm_db",
    "drc_cm_db",
    "drc_cm_heartbeat_db",
    "cm_url",
    "cm_region",
    "cm_region_cn",
    "tsdb_service",
    "tsdb_url",
    "tsdb_username",
    "tsdb_password",
)
KEYS = frozenset((*INT_KEYS, *PORT_KEYS, *BOOL_KEYS, *TEXT_KEYS, "cm_nodes"))
"""All keys that omsfab writes by itself."""

ALIASES = frozenset({"ssh_server_port"})
"""Spellings that are met in the field beside ours; what they mean there is not omsfab's to say, so
they may stand in ``oms.extra`` and are passed through."""

SLS_KEYS = tuple(
    f"apsara_audit_sls_{name}"
    for name in ("access_key", "access_secret", "endpoint", "ops_site_topic", "user_site_topic")
)
"""The audit log of Alibaba SLS: not written by omsfab, all five together in ``extra``."""

DEFAULTS: Mapping[str, Value] = {
    **{f"{name}_server_port": port for name, port in dict(Ports()).items()},
    "cm_is_default": True,
    "tsdb_enabled": False,
    "tsdb_service": "CERESDB",
}
"""What OMS takes where the key is absent."""

_SECRET_KEY = re.compile("pas+w|pwd|secret|access_?key", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether the value of this key is never to be shown."""
    return bool(_SECRET_KEY.search(key))


# --- writing ---------------------------------------------------------------------------------


def wanted(fleet: Fleet, region: Region) -> dict[str, Value]:
    """Return what config.yaml of this region must say, by key, in the order of the template."""
    metadb = fleet.metadb
    ports = {f"{name}_server_port": port for name, port in dict(fleet.install.ports).items()}
    return {
        "oms_meta_host": metadb.host,
        "oms_meta_port": metadb.port,
        "oms_meta_user": metadb.user,
        "oms_meta_password": metadb.password,
        "drc_rm_db": metadb.rm_db,
        "drc_cm_db": metadb.cm_db,
        "drc_cm_heartbeat_db": region.heartbeat_db,
        "cm_url": region.cm_url,
        "cm_location": region.location,
        "cm_region": region.name,
        "cm_region_cn": region.label or region.name,
        "cm_is_default": region.default,
        "cm_nodes": list(region.ips),
        **{key: port for key, port in ports.items() if port != DEFAULTS[key]},
        **_tsdb(fleet),
        **fleet.install.extra,
    }


def _tsdb(fleet: Fleet) -> dict[str, Value]:
    if fleet.tsdb is None:
        return {"tsdb_enabled": False}
    return {
        "tsdb_enabled": True,
        "tsdb_service": fleet.tsdb.service,
        "tsdb_url": fleet.tsdb.url,
        "tsdb_username": fleet.tsdb.username,
        "tsdb_password": fleet.tsdb.password,
    }


def render(fleet: Fleet, region: Region) -> Secret:
    """Return the text of config.yaml, the same for all nodes of the region.

    It was read back and compared value by value before it is returned.  Raises InputError
    where the template and the values do not fit.
    """
    values = wanted(fleet, region)
    text = fill(_template(), _pieces(values), origin=str(TEMPLATE))
    _prove(text, values)
    return Secret(text)


def _template() -> str:
    try:
        return TEMPLATE.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("TPL-003", f"{TEMPLATE} cannot be read: {error}") from None


def _pieces(values: Mapping[str, Value]) -> dict[str, str]:
    """What each name of the template stands for: a quoted scalar, or ready lines."""
    single, ports, tsdb, extra = {}, [], [], []
    for key, value in values.items():
        line = f"{quoted(key)}: {dumped(value)}" if key not in KEYS else f"{key}: {dumped(value)}"
        if key in PORT_KEYS:
            ports.append(line)
        elif key.startswith("tsdb_") and key in KEYS:
            tsdb.append(line)
        elif key not in KEYS:
            extra.append(line)
        else:
            single[key] = dumped(value)
    nodes = values["cm_nodes"]
    assert isinstance(nodes, list)  # noqa: S101 - wanted() made it
    single["cm_nodes"] = "\n".join(f"  - {dumped(node)}" for node in nodes)
    blocks = {"ports": ports, "tsdb": tsdb, "extra": extra}
    return single | {name: "\n".join(lines) for name, lines in blocks.items()}


def fill(template: str, pieces: Mapping[str, str], *, origin: str) -> str:
    """Return the template with every ``${name}`` filled; names must fit both ways."""
    asked, given = set(_names(template, origin)), set(pieces)
    if asked != given:
        raise InputError(
            "TPL-001",
            f"{origin} and its values do not fit",
            where=origin,
            evidence="\n".join(
                [f"no value for ${{{name}}}" for name in sorted(asked - given)]
                + [f"no place for ${{{name}}}" for name in sorted(given - asked)]
            ),
            next=shell("git", "diff", "--", origin),
        )
    return Template(template).substitute(pieces)


def _names(template: str, origin: str) -> list[str]:
    names = []
    for found in Template.pattern.finditer(template):
        if found["invalid"] is not None:
            line = template.count("\n", 0, found.start()) + 1
            raise InputError(
                "TPL-001",
                f"{origin} has a lone $ on line {line}; write $$ for the character itself",
                where=f"{origin}, line {line}",
            )
        if name := found["named"] or found["braced"]:
            names.append(name)
    return names


def _prove(text: str, values: Mapping[str, Value]) -> None:
    """Read the text back as OMS will; a template can still put a value where it is not read."""
    try:
        document = yaml_reader.load(text)
    except YamlFault as fault:
        raise InputError(
            "TPL-002",
            f"{TEMPLATE} does not give a readable config.yaml",
            where=str(TEMPLATE),
            evidence=f"line {fault.line}: {fault.what}",
        ) from None
    found = document.data if isinstance(document.data, dict) else {}
    wrong = [f"{path[-1]} {what}" for path, what in document.faults]
    wrong += [
        f"{key} does not come back as it was written"
        for key, value in values.items()
        if key not in found or not _identical(found[key], value)
    ]
    if wrong:
        raise InputError(
            "TPL-002",
            f"{TEMPLATE} does not say what hosts.yaml says",
            where=str(TEMPLATE),
            evidence="\n".join(wrong),
        )


def _identical(found: object, value: Value) -> bool:
    plain = value.reveal() if isinstance(value, Secret) else value
    plain = str(plain) if isinstance(plain, CmUrl) else plain
    return type(found) is type(plain) and found == plain


# --- quoting ---------------------------------------------------------------------------------

_ESCAPED = re.compile(r'["\\]|[^ -~]')


def quoted(text: str) -> str:
    """Return a double-quoted YAML scalar in ASCII, from which no text can break out.

    A JSON string, but for characters beyond U+FFFF, which YAML does not read as pairs.
    Lone surrogates are no characters and have no place in YAML: InputError.
    """
    return f'"{_ESCAPED.sub(_escape, text)}"'


_ASCII_OR_LETTERS = re.compile("[ -~]|(?![\U00010000-\U0010ffff])\\w")


def _escape(found: re.Match[str]) -> str:
    char = found.group()
    if char in '"\\':
        return f"\\{char}"
    if "\ud800" <= char <= "\udfff":
        raise InputError("TPL-004", "a value for config.yaml is not valid Unicode text")
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def readable(text: str) -> str:
    """As ``quoted``, but letters of any script stand as they are, for who reads the file: a
    cm_region_cn, say.  Signs that are not seen or that end a line are still escaped."""
    if not _ESCAPED.search(text):  # most are, and cm_nodes may have 1,000 of them
        return f'"{text}"'
    return "".join(
        c if c not in '"\\' and _ASCII_OR_LETTERS.match(c) else quoted(c)[1:-1] for c in text
    ).join('""')


def dumped(value: Value) -> str:
    """Return a value of hosts.yaml as YAML on one line."""
    match value:
        case Secret():
            return quoted(value.reveal())
        case str() | CmUrl():
            return readable(str(value))
        case _:
            return json.dumps(value)


# --- reading ---------------------------------------------------------------------------------


def read(text: str | Secret, *, origin: str = "config.yaml") -> dict[str, Value]:
    """Return what a config.yaml says, in whichever form it is written, by key.

    Known keys come in their own type (``"2"`` as 2, ``!!bool "true"`` as True), cm_url as
    CmUrl, passwords and the like as Secret, unknown keys as they are.
    Raises PreflightError with the line where the file cannot be read safely.
    """
    try:
        document = yaml_reader.load(text.reveal() if isinstance(text, Secret) else text)
    except YamlFault as fault:
        raise _unreadable(origin, [f"line {fault.line}: {fault.what}"]) from None
    if document.faults:
        raise _unreadable(origin, [f"{'.'.join(path)} {what}" for path, what in document.faults])
    if not isinstance(document.data, dict):
        raise _unreadable(origin, ["line 1: the file is empty, or has no key: value lines"])
    return {key: _typed(key, value) for key, value in document.data.items()}


def _unreadable(origin: str, evidence: list[str]) -> PreflightError:
    return PreflightError(
        "CFG-001",
        f"{origin} is there, but not as YAML that can be read safely",
        where=origin,
        evidence="\n".join(evidence),
        fix="fix the lines named above, or move the file away",
    )


def _typed(key: str, value: object) -> Value:
    if isinstance(value, Secret | CmUrl):
        return value
    if isinstance(value, bool | int | float | str) and is_secret(key):
        return Secret(_plain(value))
    if key not in KEYS or value is None:
        return value
    if key == "cm_nodes":
        return _addresses(value)
    return value if isinstance(value, list | dict) else _scalar(key, _plain(value))


def _addresses(value: object) -> Value:
    """A list, or a text with commas, which some write."""
    nodes = value.split(",") if isinstance(value, str) else value
    return [_plain(node).strip() for node in nodes] if isinstance(nodes, list) else nodes


def _scalar(key: str, plain: str) -> Value:
    """The text of a known key in its own type, or as it is where it does not fit."""
    if key in BOOL_KEYS:
        return {"true": True, "false": False}.get(plain.strip().lower(), plain)
    if key in INT_KEYS or key in PORT_KEYS:
        return int(plain) if re.fullmatch("0|[1-9][0-9]{0,9}", plain) else plain
    return CmUrl.read(plain) if key == "cm_url" else plain


def _plain(value: object) -> str:
    """The text of a scalar as YAML writes it."""
    return value if isinstance(value, str) else json.dumps(value)


# --- comparing -------------------------------------------------------------------------------


def unknown(have: Mapping[str, Value]) -> dict[str, Value]:
    """Return the keys omsfab does not write by itself."""
    return {key: value for key, value in have.items() if key not in KEYS}


def same(have: Mapping[str, Value], want: Mapping[str, Value]) -> bool:
    """Whether two files mean the same to OMS."""
    return not differences(have, want)


@dataclass(frozen=True, slots=True)
class Drift:
    """A key whose value differs in meaning, with both values as they may be shown.

    ``have`` or ``want`` is None where the key is absent and has no default; a secret is ``****``.
    """

    key: str
    have: str | None
    want: str | None

    @property
    def sides(self) -> tuple[str, str]:
        """Both values in words: what there is, and what is wanted."""
        have, want = ("(absent)" if one is None else one for one in (self.have, self.want))
        return have, want

    def __str__(self) -> str:
        return f"{self.key}: {' -> '.join(self.sides)}"

    @classmethod
    def of(cls, record: str | Mapping[str, str | None]) -> Drift:
        """Return what the record of a run has; up to 0.1.0 of November 2026 that was a line."""
        if not isinstance(record, str):
            return cls(str(record["key"]), record["have"], record["want"])
        key, _, rest = record.partition(": ")
        have, _, want = rest.partition(" -> ")
        return cls(key, *(None if one == "(absent)" else one for one in (have, want)))


def differences(have: Mapping[str, Value], want: Mapping[str, Value]) -> tuple[Drift, ...]:
    """Return each key that differs in meaning; an absent one counts as its default."""
    keys = dict.fromkeys((*want, *have))
    found = []
    for key in keys:
        before = have.get(key, DEFAULTS.get(key, _ABSENT))
        after = want.get(key, DEFAULTS.get(key, _ABSENT))
        if _meaning(key, before) != _meaning(key, after):
            found.append(Drift(key, _shown(key, before), _shown(key, after)))
    return tuple(found)


class _Absent:
    """No value, and no default that OMS would take."""


_ABSENT = _Absent()


def _meaning(key: str, value: Value) -> object:
    """A value that is equal where OMS sees no difference."""
    if isinstance(value, _Absent):
        return value
    value = _typed(key, value)
    if key == "cm_nodes" and isinstance(value, list):
        return sorted(value)
    if isinstance(value, CmUrl) and value.host:
        return replace(value, text=None)
    if key not in KEYS and isinstance(value, bool | int | float | str):
        plain = _plain(value)
        return plain.lower() if plain.lower() in {"true", "false"} else plain
    return value


def _shown(key: str, value: Value) -> str | None:
    if isinstance(value, _Absent):
        return None
    if is_secret(key):
        return "****"
    match str(value) if isinstance(value, CmUrl) else value:
        case str(text) if text and text.isprintable():
            return text
        case [*items] if all(isinstance(item, str) for item in items):
            return f"[{', '.join(map(str, items))}]"
        case list() | dict():
            return "(a mapping or list)"
        case other:
            return json.dumps(other)
