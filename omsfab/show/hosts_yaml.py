"""A tree in the shape of hosts.yaml as the text of that file, with a word at each part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from omsfab.fleet.oms_config import dumped
from omsfab.plan.adoption import Found, Tree

_PLAIN = re.compile(r"(?:https?://)?[A-Za-z0-9./_~][A-Za-z0-9./_@+-]*(?::[A-Za-z0-9][\w./:-]*)?")
_OTHERWISE = re.compile(
    r"(?i)true|false|yes|no|on|off|y|n|null|~|[0-9._:+-]+|[0-9].*e[0-9+-]+|0x.*"
)
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+(?::\d+)?")

NOTES = {
    "oms": "package: the file for `docker load`, where a node is to be added that lacks the image",
    "metadb": "the password is read from the environment; {file: …}, {command: …} do as well",
    "regions": "cm_url: a VIP, SLB or domain name where there is more than one node",
}


def hosts_text(tree: Tree, said: str) -> str:
    """Return the file; ``said`` is its first line: where it comes from."""
    lines = [f"# {said}", "# Every key and what it means: hosts.yaml of omsfab.", ""]
    for part, value in tree.items():
        if note := NOTES.get(part):
            lines.append(f"# {note}")
        lines += [*_lines({part: value}, ""), ""]
    return "\n".join(lines)


def _lines(tree: Mapping[str, object], indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and set(value) == {"env"}:
            yield f"{indent}{_scalar(key)}: {{env: {value['env']}}}"
        elif isinstance(value, Mapping):
            yield f"{indent}{_scalar(key)}:"
            yield from _lines(value, f"{indent}  ")
        else:
            yield f"{indent}{_scalar(key)}: {_scalar(value)}"


def _scalar(value: object) -> str:
    """Plain where YAML and a reader take it for the text that it is, else in quotes."""
    if not isinstance(value, str):
        return dumped(value)
    plain = _PLAIN.fullmatch(value) and not _OTHERWISE.fullmatch(value)
    return value if plain or _ADDRESS.fullmatch(value) else dumped(value)


def found_lines(found: Found, file: str) -> Iterator[str]:
    """Yield what a person is told of a deployment that was found."""
    regions = found.tree["regions"]
    for name, region in regions.items():
        yield f"{name}   location {region['location']} · cm_url {region['cm_url']}"
        for node, keys in region["nodes"].items():
            yield f"  {node}  {keys['ip'] if isinstance(keys, Mapping) else keys}"
    oms = found.tree["oms"]
    yield f"container   {oms.get('container')} · {oms.get('image')}"
    if mounts := oms.get("mounts"):
        yield from (f"  {key:<10}{path}" for key, path in mounts.items())
    for one in found.differs:
        yield f"! differs: {one.what}"
        yield from (f"    {', '.join(who)}: {value}" for value, who in one.said)
    yield from (f"! {note}" for note in found.notes)
    yield f"secrets, named in {file} and not written:"
    yield from (f"  {key:<20}${name}" for key, name in found.secrets.items())
