"""A plan on one screen, as values: who is concerned, what goes, for how long OMS is down.

A pure function of the plan and of what the live fleet said to its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from omsfab.fleet.model import Region
from omsfab.plan import step_names
from omsfab.plan.records import (
    METADB,
    Await,
    ClearRows,
    CmUrlIs,
    DropHosts,
    Effect,
    Plan,
    RestoreRows,
    Send,
    Step,
)
from omsfab.plan.stakes import stakes

SCHEMA = 1
"""Of the JSON object; keys are added, and never change their meaning."""

State: TypeAlias = Literal["needed", "unchanged", "unasked", "passed", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a live fleet said to a step: it is needed, it is so already ("unchanged"), or it was not
    asked yet; a check has passed, is warned of, or has failed.

    ``lacking`` is what is not as wanted, ``id`` the id of the error.
    """

    state: State
    lacking: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is done to rows of MetaDB: table -> how many, where that is known.

    ``location`` is None where all regions are meant.
    """

    act: Literal["delete", "update", "restore"]
    location: int | None
    region: str
    tables: Mapping[str, int | None]

    @property
    def count(self) -> int | None:
        """How many in all; None where one of them is not known."""
        known = [number for number in self.tables.values() if number is not None]
        return sum(known) if known and len(known) == len(self.tables) else None


@dataclass(frozen=True, slots=True)
class Down:
    """Where and when OMS stands still: numbers of stages, nodes, about how many minutes (from, to);
    None: seconds, or until it is started again."""

    stages: tuple[int, ...]
    nodes: tuple[str, ...]
    minutes: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that goes to nodes; ``bytes`` is its size."""

    file: str
    bytes: int
    nodes: tuple[str, ...]
    relay: bool
    """Whether it leaves this machine once, and each node passes it on."""


@dataclass(frozen=True, slots=True)
class Told:
    """A check that did not pass: on which nodes, and what was found there; each once."""

    id: str
    title: str
    nodes: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """``stages`` are those that change something, with their numbers; ``changes`` counts steps.

    ``checks`` counts the questions before the first change; ``asked`` is None where nobody was
    asked, else how many of them passed.
    """

    adds: tuple[str, ...]
    removes: tuple[str, ...]
    stays: tuple[str, ...]
    cm_url: tuple[str, str] | None
    rows: tuple[Rows, ...]
    down: Down | None
    sends: tuple[Sent, ...]
    stages: tuple[tuple[int, str], ...]
    checks: int
    asked: int | None
    warnings: tuple[Told, ...]
    failed: tuple[Told, ...]
    changes: int
    unchanged: int


def overview(
    plan: Plan, regions: Sequence[Region], answers: Mapping[str, Answer] | None = None
) -> Overview:
    """Return what one screen has of the plan; ``answers`` by step key, None: nobody was asked."""
    said = answers or {}
    doing = [
        step
        for step in plan.steps
        if _changes(step) and _state(said, step) not in ("unchanged", "passed")
    ]
    nodes = dict.fromkeys(step.node for step in plan.steps if step.node != METADB)
    adds = _nodes(doing, step_names.CONTAINER)
    removes = _nodes(doing, step_names.REMOVE_CONTAINER)
    checks = [step for stage in plan.stages[:-1][:1] if stage.asks_only for step in stage.steps]
    asked = [step for step in checks if step.key in said]
    states = [_state(said, step) for step in plan.steps]
    return Overview(
        adds=adds,
        removes=removes,
        stays=tuple(name for name in nodes if name not in (*adds, *removes)),
        cm_url=_cm_url(plan),
        rows=tuple(_rows((e for step in doing for e in step.apply), regions)),
        down=_down(plan, regions),
        sends=tuple(_sends(doing)),
        stages=tuple(
            (number, stage.title)
            for number, stage in enumerate(plan.stages, 1)
            if any(map(_changes, stage.steps))
        ),
        checks=len(checks),
        asked=sum(_state(said, one) == "passed" for one in asked) if asked else None,
        warnings=tuple(_told(plan, said, "warning")),
        failed=tuple(_told(plan, said, "failed")),
        changes=len(doing),
        unchanged=states.count("unchanged"),
    )


def record(
    plan: Plan,
    regions: Sequence[Region],
    answers: Mapping[str, Answer] | None = None,
    **more: object,
) -> dict[str, Any]:
    """Return the plan for JSON (docs/json.md); ``more`` are keys of the caller's own."""
    return {
        "schema": SCHEMA,
        "task": plan.task,
        "title": plan.title,
        **more,
        "reasons": [*plan.reasons, *plan.background],
        **_seen_record(overview(plan, regions, answers)),
        "stages": [
            {
                "number": number,
                "title": stage.title,
                "outage": stage.outage,
                "steps": [_step_record(one, (answers or {}).get(one.key)) for one in stage.steps],
            }
            for number, stage in enumerate(plan.stages, 1)
        ],
    }


def _seen_record(seen: Overview) -> dict[str, Any]:
    return {
        "nodes": {"stay": [*seen.stays], "add": [*seen.adds], "remove": [*seen.removes]},
        "cm_url": {"from": seen.cm_url[0] or None, "to": seen.cm_url[1]} if seen.cm_url else None,
        "rows": [
            {
                "act": one.act,
                "location": one.location,
                "region": one.region or None,
                "tables": dict(one.tables),
            }
            for one in seen.rows
        ],
        "outage": {
            "stages": [*seen.down.stages],
            "nodes": [*seen.down.nodes],
            "minutes": [*seen.down.minutes] if seen.down.minutes else None,
        }
        if seen.down
        else None,
        "sends": [
            {"file": s.file, "bytes": s.bytes, "nodes": [*s.nodes], "relay": s.relay}
            for s in seen.sends
        ],
        "checks": {
            "all": seen.checks,
            "passed": seen.asked,
            "warnings": [_told_record(one) for one in seen.warnings],
            "failed": [_told_record(one) for one in seen.failed],
        },
        "changes": seen.changes,
        "unchanged": seen.unchanged,
    }


def _step_record(step: Step, answer: Answer | None) -> dict[str, Any]:
    return {
        "node": step.node,
        "step": step.name,
        "title": step.title,
        "changes": _changes(step),
        "state": answer.state if answer else "unasked",
        "found": [*answer.lacking] if answer else [],
        "id": (answer.id if answer else "") or None,
    }


def _told_record(one: Told) -> dict[str, Any]:
    return {"id": one.id, "title": one.title, "nodes": [*one.nodes], "found": [*one.found]}


def _changes(step: Step) -> bool:
    return bool(step.apply) and step.kind != "read-only"


def _state(said: Mapping[str, Answer], step: Step) -> State:
    return said[step.key].state if step.key in said else "unasked"


def _nodes(steps: Iterable[Step], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(step.node for step in steps if step.name == name))


def _cm_url(plan: Plan) -> tuple[str, str] | None:
    """The cm_url before ("" = it is not changed) and after, as the plan proves it in the end."""
    probes = (p.probe if isinstance(p, Await) else p for s in plan.steps for p in s.verify)
    for probe in probes:
        if isinstance(probe, CmUrlIs):
            return (str(probe.old) if probe.old else "", str(probe.url))
    return None


def _rows(effects: Iterable[Effect], regions: Sequence[Region]) -> Iterator[Rows]:
    names = {region.location: region.name for region in regions}
    for effect in effects:
        match effect:
            case ClearRows(location, tables, how):
                counts = [table for table, *_ in effect.shown]
                found = {t: counts.count(t) if counts else None for t in tables}
                yield Rows(how, location, names.get(location, ""), found)
            case DropHosts(location, ips):
                yield Rows("delete", location, names.get(location, ""), {"host": len(ips)})
            case RestoreRows(location, _, saved):
                name = "" if saved else names.get(location, "")
                yield Rows("restore", None if saved else location, name, {})
            case _:
                pass


def _down(plan: Plan, regions: Sequence[Region]) -> Down | None:
    stages = [(n, s) for n, s in enumerate(plan.stages, 1) if s.outage and s.steps]
    if not stages:
        return None
    nodes = dict.fromkeys(step.node for _, s in stages for step in s.steps if step.node != METADB)
    return Down(tuple(n for n, _ in stages), tuple(nodes), stakes(plan, regions).minutes)


def _sends(steps: Iterable[Step]) -> Iterator[Sent]:
    found: dict[tuple[str, int, bool], list[str]] = {}
    for step in steps:
        for effect in step.apply:
            if isinstance(effect, Send):
                what = (effect.source.name, effect.size, effect.relay)
                found.setdefault(what, []).append(step.node)
    for (file, size, relay), nodes in found.items():
        yield Sent(file, size, tuple(nodes), relay and len(nodes) > 1)


def _told(plan: Plan, said: Mapping[str, Answer], state: State) -> Iterator[Told]:
    """What did not pass, one fact for all nodes where it is found."""
    found: dict[tuple[str, str], tuple[list[str], dict[str, None]]] = {}
    for step in plan.steps:
        answer = said.get(step.key)
        if answer and answer.state == state:
            id, title = answer.id or step.fault, step.title.replace(step.node, "the node")
            nodes, texts = found.setdefault((id, title), ([], {}))
            nodes.append(step.node)
            texts["\n".join(answer.lacking)] = None
    for (id, title), (nodes, texts) in found.items():
        yield Told(id, title, tuple(nodes), tuple(texts))
