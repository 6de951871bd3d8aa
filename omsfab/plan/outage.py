"""How long OMS was down: one function of events, measured from the programs in the containers.

A node is down from the moment a run begins to stop its programs until all of them that ran before
run again.  What tells is what the containers said (events of kind "programs"), not which step a run
was in, so it is true as well for a run that failed, was detached, killed, resumed or rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omsfab.fleet.model import Fleet
from omsfab.plan.events import Event
from omsfab.plan.observed import Observed

ALIVE = ("RUNNING", "STARTING", "BACKOFF", "STOPPING")
"""States of a program that supervisord keeps going; any other does no work."""

SETTLING = 60.0
"""Seconds: a program counts as RUNNING only startsecs (10) after its start, and docker_init.sh ends
after its last step.  What was asked later than this says less than the program's own uptime."""


@dataclass(frozen=True, slots=True)
class Outage:
    """OMS of ``regions`` was, or is, down on ``nodes``; times are seconds since the epoch.

    ``until`` is None while a node is down; ``seconds`` is the time in which any node was.
    ``spans`` are those times, apart and in order.  ``whole``: no other node of the region served.
    ``seen`` is when the containers were last heard of.
    """

    regions: tuple[str, ...]
    nodes: tuple[str, ...]
    since: float
    until: float | None
    seconds: float
    spans: tuple[tuple[float, float], ...]
    whole: bool
    seen: float

    @property
    def down(self) -> bool:
        return self.until is None


def serving(fleet: Fleet, present: Observed) -> dict[str, list[str]]:
    """Return region -> nodes on which OMS served, or may have, where nobody asked."""
    return {
        region.name: [
            node.name
            for node in region.nodes
            if node.name not in present.nodes or present.facts(node.name).container == "running"
        ]
        for region in fleet.regions
    }


def outage(
    events: Iterable[Event], now: float | None = None, *, later: Iterable[Event] = ()
) -> Outage | None:
    """Return the outage that these events of a run, in order, tell of; None if there was none.

    ``now`` is when it is asked for (without it: the last event); a node that is still down is down
    until then.  What ``later`` runs saw ends an outage, and begins none.
    """
    told = list(events)
    end = now if now is not None else max((event.at for event in told), default=0.0)
    regions, nodes, seen = _heard(told, later, end)
    served = {node: region for region, names in regions.items() for node in names}
    found = {
        name: [(begin, over) for begin, over in node.spans if over is None or over > begin]
        for name, node in nodes.items()
        if not served or name in served
    }
    down = {name: spans for name, spans in found.items() if spans}
    if not down:
        return None
    hit = tuple(dict.fromkeys(served[name] for name in down if name in served))
    still = [name for name, spans in down.items() if spans[-1][1] is None]
    merged = _merged(
        (begin, end if over is None else over) for spans in down.values() for begin, over in spans
    )
    concerned = still or list(down)
    if still:
        hit = tuple(dict.fromkeys(served[name] for name in still if name in served))
    return Outage(
        regions=hit,
        nodes=tuple(concerned),
        since=merged[-1][0] if still else merged[0][0],
        until=None if still else merged[-1][1],
        seconds=sum(over - begin for begin, over in (merged[-1:] if still else merged)),
        spans=merged,
        whole=all(name in concerned for region in hit for name in regions[region]),
        seen=seen,
    )


def _heard(
    told: Iterable[Event], later: Iterable[Event], end: float
) -> tuple[dict[str, Sequence[str]], dict[str, _Node], float]:
    """What was serving by region, what was heard of each node's programs, and when last."""
    regions: dict[str, Sequence[str]] = {}
    nodes: dict[str, _Node] = {}
    seen = 0.0
    for event in told:
        data = event.data or {}
        regions |= data.get("serving", {})
        if event.kind == "programs":
            seen = min(event.at, end)
            nodes.setdefault(event.node, _Node()).hear(seen, data)
    for event in later:
        node = nodes.get(event.node)
        if event.kind == "programs" and node and node.down:
            seen = min(event.at, end)
            node.hear(seen, event.data or {})
    return regions, nodes, seen


@dataclass
class _Node:
    """The programs of one node, as far as they were heard of."""

    spans: list[tuple[float, float | None]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    """Programs that ran before the node went down; empty = nobody asked."""
    low: float = 0.0
    """When they were last seen not to run."""

    @property
    def down(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def hear(self, at: float, data: Mapping[str, Any]) -> None:
        if data.get("act") == "stop":
            return self._stopped(at)
        self.states |= data.get("states", {})
        alive = {name for name, state in self.states.items() if state in ALIVE}
        if not self.down:
            if self.known and not alive:  # by somebody else, or the machine went down
                self._go_down(at)
            self.known |= alive
        elif all(self.states.get(name) == "RUNNING" for name in self.known or self.states):
            began, _ = self.spans[-1]
            self.spans[-1] = (began, self._up(at, data))
        else:
            self.low = at
        return None

    def _stopped(self, at: float) -> None:
        """The intent of a stop is its earliest bound; where nothing ran there is no outage."""
        if not self.down and (not self.states or self.known):
            self._go_down(at)

    def _go_down(self, at: float) -> None:
        self.spans.append((at, None))
        self.low = at

    def _up(self, at: float, data: Mapping[str, Any]) -> float:
        """Return when the last of them ran: it was started ``uptime`` before it was asked, and ran
        at the latest when what started it had ended (``settled``) or it was asked."""
        uptimes: Mapping[str, float] = data.get("uptime", {})
        started = at - min((uptimes.get(name, 0.0) for name in self.known or uptimes), default=0.0)
        if started <= self.spans[-1][0]:  # they were never stopped
            return self.spans[-1][0]
        started = max(self.low, started)
        settled: float = data.get("settled", at)
        ran = settled if started <= settled < at else at
        return ran if ran - started <= SETTLING else started


def _merged(spans: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    merged: list[tuple[float, float]] = []
    for begin, over in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], over))
        else:
            merged.append((begin, over))
    return tuple(merged)
