"""What `fab fleet.check` says: each thing that is wrong once, with its nodes and its fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len

from omsfab.errors import Finding
from omsfab.next_line import fab
from omsfab.plan.differences import Difference
from omsfab.plan.procedures.refusals import FIXED
from omsfab.plan.procedures.regions import ContainerDrift
from omsfab.show.columns import folded
from omsfab.show.differences import difference_text
from omsfab.show.text import counted

SIGNS = {"hard": "✗", "accepted": "!", "warning": "!", "unreachable": "✗", "difference": " "}


@dataclass(frozen=True, slots=True)
class Group:
    """One thing that is wrong on these nodes: ``label`` is the key that differs, or an error id."""

    label: str
    nodes: tuple[str, ...]
    what: str
    weight: str
    """difference, hard (it would stop a run), warning, unreachable."""
    found: str = ""
    wanted: str = ""
    fix: str = ""

    def record(self) -> dict[str, Any]:
        """The group as ``--json`` has it; docs/json.md."""
        return {
            "label": self.label,
            "nodes": list(self.nodes),
            "weight": self.weight,
            "what": self.what,
            "found": self.found or None,
            "wanted": self.wanted or None,
            "fix": self.fix or None,
        }


def of_findings(
    findings: Iterable[Finding], known: Mapping[str, str], *, weight: str = ""
) -> list[Group]:
    """Return findings as groups; those that differ in nothing but the node are one.

    ``known`` is the address of each node, by name.
    """
    return _together(
        (
            Group(
                one.id,
                (one.node,) if one.node else (),
                one.what,
                weight or one.weight,
                one.found,
                one.wanted if one.wanted != one.what else "",
                one.fix,
            )
            for one in findings
        ),
        known,
    )


def of_differences(differences: Iterable[Difference], known: Mapping[str, str]) -> list[Group]:
    """Return differences as groups, with what brings the fleet to hosts.yaml."""
    return _together(
        (
            Group(
                _label(one),
                (one.node,) if one.node else ("MetaDB",),
                difference_text(one),
                "difference",
                fix=_fix(one),
            )
            for one in differences
        ),
        known,
    )


def _together(groups: Iterable[Group], known: Mapping[str, str]) -> list[Group]:
    found: dict[tuple[str, ...], list[Group]] = {}
    for one in groups:
        found.setdefault(_shape(one, known), []).append(one)
    order = [*known]
    return [
        _joined(sorted(members, key=lambda one: _place(one, order)), known)
        for members in found.values()
    ]


def _place(one: Group, order: Sequence[str]) -> int:
    """Nodes stand in the order of hosts.yaml, whoever answered first."""
    name = one.nodes[0] if one.nodes else ""
    return order.index(name) if name in order else -1


def _shape(one: Group, known: Mapping[str, str]) -> tuple[str, ...]:
    """What it says, without what names its node."""
    name = one.nodes[0] if one.nodes else ""
    parts = (one.label, one.weight, one.what, one.found, one.wanted, one.fix)
    if name not in known:
        return (*parts, name)
    return tuple(_anonymous(part, name, known[name]) for part in parts)


def _anonymous(text: str, name: str, address: str) -> str:
    return text.replace(name, "\0").replace(address, "\0")


def _joined(members: Sequence[Group], known: Mapping[str, str]) -> Group:
    """The words are those of the first node, with all of them where it is named; but a line that
    takes one node stays as it is."""
    first, nodes = members[0], tuple(dict.fromkeys(n for one in members for n in one.nodes))
    if len(nodes) < 2:
        return first

    def all_of(text: str) -> str:
        for names in (nodes, [known.get(name, name) for name in nodes]):
            text = re.sub(rf"(?<![\w.=-]){re.escape(names[0])}(?![\w-])", ", ".join(names), text)
        return text

    fix = first.fix.replace(f"--node={nodes[0]}", f"--node={','.join(nodes)}")
    if fix != first.fix:
        fix = all_of(fix)
    elif fix and any(one.fix != fix for one in members):
        fix = f"{fix}\nand likewise on {', '.join(nodes[1:])}"
    told = {name: all_of(getattr(first, name)) for name in ("what", "found", "wanted")}
    return replace(first, nodes=nodes, fix=fix, **told)


def check_lines(
    groups: Sequence[Group],
    nodes: int,
    checks: int,
    code: int,
    regions: Sequence[str],
    wide: int | None = None,
) -> Iterator[str]:
    """Yield a summary, and below it a block for each group, in at most ``wide`` columns; but a fix
    stays as it is, since it may be a line to paste."""
    counts = {
        "unreachable": "not reachable",
        "hard": "would stop a run",
        "difference": "difference",
        "warning": "warning",
    }
    said = []
    for weight, word in counts.items():
        count = sum(one.weight == weight for one in groups)
        told = counted(count, word) if weight in ("difference", "warning") else f"{count} {word}"
        said += [told] if count else []
    where = f" of {', '.join(regions)}" if regions else ""
    asked = f"{counted(nodes, 'node')}{where}, {counted(checks, 'check')}"
    yield f"{asked}: {', '.join(said) or 'as hosts.yaml wants it'}"
    label = max((len(one.label) for one in groups), default=0)
    on = max((len(", ".join(one.nodes)) for one in groups), default=0)
    order = [*counts, "accepted"]
    for one in sorted(groups, key=lambda each: order.index(each.weight)):
        head = f"{SIGNS[one.weight]} {one.label:<{label}}  {', '.join(one.nodes):<{on}}  "
        yield from _block(head, one.what, wide)
        for name in ("found", "wanted", "fix"):
            if text := getattr(one, name):
                room = None if name == "fix" else wide
                yield from _block(f"  {'':<{label}}  {'':<{on}}  {name}: ", text, room)
    if code:
        yield f"exit {code}"


NARROW = 24
"""Columns for a text below which it is not folded: the terminal does that no worse."""


def _block(head: str, text: str, wide: int | None) -> Iterator[str]:
    room = wide - cell_len(head) if wide else 0
    told = folded(text, room) if room >= NARROW else text.splitlines() or [""]
    for number, line in enumerate(told):
        yield f"{' ' * cell_len(head) if number else head}{line}".rstrip()


LABELS = {
    "no row": "cluster_info",
    "location": "cluster_info",
    "host": "host",
    "name": "container",
    "stale": "config.yaml",
    "flag": "docker run",
    "images": "image",
    "readable": "config.yaml",
    "host row": "host",
}


def _label(one: Difference) -> str:
    if isinstance(one.drift, ContainerDrift):
        return "container"
    if one.kind in ("drift", "row"):
        return one.key
    return LABELS.get(one.kind, one.kind)


FIXES: Mapping[str, object] = {
    "no row": fab("scale.out", plan=True, note="the plan says what is missing"),
    "row": fab("scale.out", plan=True, note="or correct hosts.yaml"),
    "location": "write that region into hosts.yaml, or leave it to whoever runs it",
    "host": fab("meta.show", note="omsfab takes no node out; OMS may still count it"),
    "container": fab("scale.out", plan=True, note="or oms.container in hosts.yaml"),
    "flag": "nothing, if it is meant so; docker rm, then fab node.run makes it anew",
    "mount": "nothing, if it is meant so; docker rm, then fab node.run makes it anew",
    "image": "correct oms.image in hosts.yaml; omsfab upgrades no OMS",
    "images": "correct oms.image in hosts.yaml; omsfab upgrades no OMS",
    "readable": "chmod 600 that config.yaml",
}
"""What a person does, by the kind of a difference, whichever the node is."""

BY_SCALE_OUT = ("cm_url", "cm_nodes", "cm_location")
"""Keys of config.yaml that go with rows of MetaDB."""


def _fix(one: Difference) -> str:
    """What brings it to hosts.yaml, where omsfab can; else what a person does."""
    if one.kind == "container" and one.have in ("stopped", "created"):
        return str(fab("node.start", node=one.node))
    if one.kind == "program":
        return str(
            fab("node.start", node=one.node, note="fab node.logs tells why, if it ends again")
        )
    if one.kind == "stale":
        return str(fab("node.restart", node=one.node, note="when OMS there may be away"))
    if one.kind == "name":
        return f"set oms.container to {one.have} in hosts.yaml, if it is this OMS"
    if one.drift and one.key in FIXED:
        return f"correct hosts.yaml: {one.drift.have} is where the data of that node is"
    if isinstance(one.drift, ContainerDrift):
        return "correct hosts.yaml; what a container was started with never changes"
    if one.kind == "drift":
        refresh = fab("node.refresh", node=one.node, note="writes config.yaml")
        scale = f"{fab('scale.out')}\nor, where the rows of MetaDB are right: "
        return f"{scale if one.key in BY_SCALE_OUT else ''}{refresh}"
    return str(FIXES.get(one.kind) or fab("node.status", node=one.node))
