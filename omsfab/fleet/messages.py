"""What is wrong in hosts.yaml, in the words of whoever wrote it: pydantic's errors made plain."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from omsfab.fleet import oms_config, values
from omsfab.fleet.model import NAME, PARTS, Part, keys_of
from omsfab.fleet.yaml_reader import KeyPath

Raw: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """``text`` is "what is wrong; what would be right", after the value where it may be shown."""

    path: KeyPath
    text: str


def dotted(path: KeyPath) -> str:
    """``regions.cn-hangzhou.cm_url``; a key is input, too, and may hold anything."""
    return ".".join(key if key.isprintable() else json.dumps(key) for key in path)


def nearly(key: str, known: Iterable[str]) -> str:
    """The one known key that this one can only be a misspelling of, or nothing."""
    return next(iter(difflib.get_close_matches(key.lower(), known, 1, 0.9)), "")


OMS_WORDS = {
    "cm_location": "location",
    "cm_is_default": "default",
    "cm_region": "the name of the region, as its key",
    "cm_region_cn": "label",
    "cm_nodes": "nodes",
    "drc_cm_heartbeat_db": "heartbeat_db",
    "drc_rm_db": "rm_db",
    "drc_cm_db": "cm_db",
    "oms_meta_host": "host",
    "oms_meta_port": "port",
    "oms_meta_user": "user",
    "oms_meta_password": "password",
    "tsdb_service": "service",
    "tsdb_url": "url",
    "tsdb_username": "username",
    "tsdb_password": "password",
    "ssh_server_port": "sshd",
}
"""Keys of config.yaml where hosts.yaml has a word of its own."""

_WRONG_TYPE = {
    "int_type": "is not a whole number; write it in digits, without quotes and without .0",
    "int_from_float": "is not a whole number; write it in digits, without quotes and without .0",
    "bool_type": "is neither true nor false; write true or false, without quotes",
    "string_type": "is not text; put it in quotes",
    "path_type": "is not a path; write it as text",
    "dict_type": "is not a mapping; write its keys below it, indented",
    "model_type": "is not a mapping; write its keys below it, indented",
    "model_attributes_type": "is not a mapping; write its keys below it, indented",
}


_ONE = {
    "cm_url": "write one URL, that of the VIP, SLB or domain name of all nodes",
    "gateway": f"write one jump host; {values.HOPS}",
}
"""What to write where there is a list and one value is wanted."""


def of(error: ValidationError, raw: Raw) -> list[Fault]:
    """Return what pydantic has found in the file, a fault each."""
    return [
        _translated(one, raw)
        for one in error.errors(include_url=False)
        if one["type"] != "default_factory_not_called"  # by a value beside it, told by itself
    ]


def _translated(error: Mapping[str, Any], raw: Raw) -> Fault:
    path = _path(error["loc"], raw)
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return Fault(path, f"is missing; {_to_write(path)}")
    if kind == "extra_forbidden":
        return Fault(path, f"unknown key; {_known(path)}")
    if value is None:
        return Fault(path, f"is empty; {_to_write(path)}")
    if kind == "string_type" and isinstance(value, Mapping | list):
        text = f"is not one text; {_ONE.get(path[-1], 'write one value')}"
    elif kind == "dict_type" and path[-1] == "nodes":
        text = "is not a mapping; write each node below it by a name of its own: oms1: 10.0.0.1"
    elif kind == "literal_error":
        text = f"is not one of the choices; write {error['ctx']['expected']}"
    elif kind == "value_error":
        text = str(error["ctx"]["error"])
    else:
        text = _WRONG_TYPE.get(kind, error["msg"])
    return Fault(path, f"{_value(path, value, as_written=kind in _WRONG_TYPE)}{text}")


def _path(loc: Sequence[str | int], raw: object) -> KeyPath:
    """The path in the file: where it has a mapping by name, the model counts."""
    path: list[str] = []
    for part in loc:
        if part == NAME:
            continue
        key = [*raw][part] if isinstance(part, int) and isinstance(raw, Mapping) else str(part)
        path.append(key)
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return tuple(path)


def _part_at(path: KeyPath) -> type[Part] | None:
    """The class that stands at this path; the names of regions and nodes are any."""
    general = tuple(
        "*" if n in {1, 3} and path[0] == "regions" else part for n, part in enumerate(path)
    )
    return PARTS.get(general)


def _to_write(path: KeyPath) -> str:
    part = _part_at(path[:-1])
    field = keys_of(part).get(path[-1]) if part else None
    if not field or not field.examples:
        return f"write {path[-1]}: and its keys below it"
    example = json.dumps(field.examples[0]).replace('"', "")  # as YAML is written by hand
    return f"write e.g. {path[-1]}: {example}"


def _known(path: KeyPath) -> str:
    part = _part_at(path[:-1])
    keys = list(keys_of(part)) if part else []
    near = difflib.get_close_matches(path[-1], keys, 1)
    if path[-1] in OMS_WORDS:
        return f"did you mean {OMS_WORDS[path[-1]]}?"
    if near:
        return f"did you mean {near[0]}?"
    return f"write one of {', '.join(keys)}"


def _value(path: KeyPath, value: object, *, as_written: bool = False) -> str:
    """The value for the head of a message, in quotes where they matter; never a secret."""
    if any(map(oms_config.is_secret, path)):
        return ""
    if isinstance(value, Mapping | list):
        return ""
    if not isinstance(value, str):
        return f"{json.dumps(value)}: "
    text = re.sub(r"[^/@\s]*:[^@\s]*@", "****@", value)
    if as_written or not text or not text.isprintable():
        return f"{json.dumps(text)}: "
    return f"{text if len(text) <= 100 else text[:100] + '…'}: "
