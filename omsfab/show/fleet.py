"""A fleet as text: hosts.yaml as it was understood, a line per value, none of them cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from omsfab.fleet.model import Fleet, Part, Ports, Region

Tree: TypeAlias = Mapping[str, Any]

_MAY_BE_ABSENT = ("known_hosts",)
"""Files that omsfab makes itself."""


def fleet_lines(fleet: Fleet) -> Iterator[str]:
    """Yield what hosts.yaml means, defaults filled in, secrets as ``****``.

    It has the shape of hosts.yaml, but for ports that are OMS's own, and what is not wanted.
    Behind it stands a warning for each file of this machine that is not there.
    """
    tree = _tree(fleet)
    yield from _lines(tree, "")
    yield from (f"warning: {path} is no file of this machine" for path in _lacking(tree))


def fleet_tree(fleet: Fleet) -> tuple[dict[str, Any], list[str]]:
    """Return the same as values, and the files of this machine that are not there."""
    tree = _tree(fleet)
    return _values(tree), list(_lacking(tree))


def _values(tree: Tree) -> dict[str, Any]:
    return {
        key: _values(value)
        if isinstance(value, Mapping)
        else value
        if isinstance(value, bool | int | float)
        else str(value)
        for key, value in tree.items()
    }


def _tree(fleet: Fleet) -> Tree:
    parts: dict[str, Part | None] = {
        "oms": fleet.install,
        "metadb": fleet.metadb,
        "tsdb": fleet.tsdb,
        "ssh": fleet.ssh,
    }
    there = {word: _plain(part) for word, part in parts.items() if part}
    return {**there, "regions": {region.name: _region(region) for region in fleet.regions}}


def _region(region: Region) -> Tree:
    nodes: dict[str, Any] = {}
    for node in region.nodes:
        keys = {key: value for key, value in _plain(node).items() if key != "name"}
        nodes[node.name] = keys if len(keys) > 1 else node.ip
    return {**{k: v for k, v in _plain(region).items() if k != "name"}, "nodes": nodes}


def _plain(part: Part | Tree) -> Tree:
    own = dict(Ports()) if isinstance(part, Ports) else {}
    return {
        key: _plain(value) if isinstance(value, Part | Mapping) else value
        for key, value in dict(part).items()
        if value not in (None, "") and own.get(key) != value
    }


def _lines(tree: Tree, indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if not isinstance(value, Mapping):
            yield f"{indent}{key}: {str(value).lower() if isinstance(value, bool) else value}"
        elif value:
            yield f"{indent}{key}:"
            yield from _lines(value, f"{indent}  ")


def _lacking(tree: Tree, path: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _lacking(value, f"{path}{key}.")
        elif isinstance(value, Path) and key not in _MAY_BE_ABSENT and not os.path.isfile(value):
            yield f"{path}{key}: {value}"
