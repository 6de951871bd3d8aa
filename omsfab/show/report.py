"""A run as one HTML page, from its events and its record: no script, nothing fetched, no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from omsfab.errors import Next
from omsfab.fleet.oms_config import Drift
from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.outage import Outage
from omsfab.show.text import accepted_line, clock_span, seconds

TEMPLATE = Path(__file__).parents[2] / "templates" / "report.html"

SPLIT = 60.0
"""Seconds without an event before a run was resumed, from which on they are not drawn."""
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds between two marks of the time axis."""

OUTCOMES = {
    "done": ("good", "finished"),
    "failed": ("bad", "failed"),
    "undone": ("bad", "rolled back"),
    "abandoned": ("bad", "abandoned"),
    "unchanged": ("bad", "nothing was changed"),
    "": ("bad", "not ended"),
}
"""Outcome of a run -> how it is shown, and in which words."""


@dataclass
class Bar:
    """A step as it went; ``begin`` and ``end`` are seconds since the epoch."""

    stage: str
    node: str
    step: str
    title: str
    begin: float
    end: float
    kind: str
    """done, failed, satisfied, ask (a question), or open (no end in the journal)."""
    again: bool = False
    """Whether a session of the run that was resumed has done it."""


@dataclass
class Axis:
    """Time from left to right, without the hours in which a run lay still before it was resumed."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    """What is drawn: begin and end, in seconds since the epoch, in order."""

    @classmethod
    def of(cls, events: Sequence[Event]) -> Axis:
        axis = cls()
        for event in events:
            resumed = event.kind == "run" and axis.spans
            if not axis.spans or (resumed and event.at - axis.spans[-1][1] > SPLIT):
                axis.spans.append((event.at, event.at))
            begin, end = axis.spans[-1]
            axis.spans[-1] = begin, max(end, event.at)
        return axis

    @property
    def whole(self) -> float:
        return max(sum(end - begin for begin, end in self.spans), 0.001)

    def at(self, moment: float) -> float:
        """Return where the moment stands, between 0 and 1."""
        drawn = sum(max(min(moment, end) - begin, 0.0) for begin, end in self.spans)
        return min(drawn / self.whole, 1.0)

    def style(self, begin: float, end: float) -> str:
        left = self.at(begin)
        return f"left:{left:.2%};width:{self.at(end) - left:.2%}"

    def marks(self) -> Iterator[tuple[float, str]]:
        """Yield where a mark of the axis stands, and the time since the run began."""
        step = next((tick for tick in TICKS if self.whole / tick <= 6), TICKS[-1])
        for begin, end in self.spans:
            since = begin - self.spans[0][0]
            first = -(-since // step) * step
            for n in range(int((end - self.spans[0][0] - first) // step) + 1):
                passed = first + n * step
                yield self.at(self.spans[0][0] + passed), clock_span(passed)


def _region(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    regions = (record.get("fleet") or {}).get("regions", ())
    named = record["args"].get("region")
    return next((one for one in regions if named in ("", None, one["name"])), None)


def title(record: Mapping[str, Any]) -> str:
    """Return what a run was to do, in words."""
    task, args = record["task"], record["args"]
    region = _region(record)
    if task not in ("scale.out", "oms.deploy") or region is None:
        named = " ".join(value for key, value in args.items() if value and key in ("node", "run"))
        return f"{'Roll back' if task == 'run.undo' else task} {named}".rstrip()
    before = len(record["present"]["hosts"])
    new = [node for node in region["nodes"] if node["ip"] not in record["present"]["hosts"]]
    chosen = {word.strip() for word in args.get("nodes", "").split(",") if word.strip()}
    added = [node for node in new if not chosen or chosen & {node["name"], node["ip"]}]
    name, after = region["name"], before + len(added)
    plural = "" if after == 1 else "s"
    if task == "oms.deploy" or not before:
        return f"Deploy OMS in {name}: {after} node{plural}"
    return f"Scale out {name}: {before} -> {after} node{plural}"


def html(
    name: str,
    owner: str,
    events: Sequence[Event],
    outage: Outage | None = None,
    line: str = "",
    *,
    recorded: bool = True,
    record: Mapping[str, Any] | None = None,
    ways: Sequence[Next] = (),
) -> str:
    """Return the page of a run; ``line`` says what its outage means for production.  Without
    ``recorded`` the events cannot tell whether there was one.  ``record`` is its run.json, ``ways``
    what can be done with it now."""
    bars = list(_bars(events))
    axis = Axis.of(events)
    warnings = _warnings(events)
    facts = _figures(events, bars, axis, outage, recorded=recorded)
    return Template(TEMPLATE.read_text()).substitute(
        title=escape(title(record) if record else name),
        meta=escape(f"Run {name}, begun {_begun(events)} by {owner}{_resumed(events)}"),
        outage=f'<p class="bad">OUTAGE {escape(line)}</p>' if outage and outage.down else "",
        facts="".join(
            f'<div><span>{label}</span><b class="{kind}">{escape(text)}</b></div>'
            for label, kind, text in facts
        ),
        changes=_changes(record, events) if record else "",
        axis=_axis(axis, outage),
        rows="\n".join(_stages(bars, axis, outage)),
        failures=_accepted(events) + _failures(events),
        warnings=_list("Warnings", warnings),
        logs=_logs(events),
        next=_next(ways),
        legend="blue: changed · grey: asked, or unchanged · red: failed"
        + (" · shaded: OMS was down" if outage else ""),
    )


def _figures(
    events: Sequence[Event],
    bars: Sequence[Bar],
    axis: Axis,
    outage: Outage | None,
    *,
    recorded: bool,
) -> tuple[tuple[str, str, str], ...]:
    """Label, class of CSS, and text of each."""
    stopped = "not at all" if recorded else "not recorded"
    if outage:
        stopped = clock_span(outage.seconds) + (", still down" if outage.down else "")
    return (
        ("outcome", *_outcome(events)),
        ("took", "", seconds(axis.whole) if events else "no time"),
        ("OMS was down", "bad" if outage and outage.down else "", stopped),
        ("changed", "", str(sum(bar.kind == "done" for bar in bars))),
        ("unchanged", "", str(sum(bar.kind == "satisfied" for bar in bars))),
        ("warnings", "", str(len(_warnings(events)))),
    )


def _outcome(events: Sequence[Event]) -> tuple[str, str]:
    ended = next((event.end for event in reversed(events) if event.kind == "run"), None)
    return OUTCOMES[ended.outcome if ended else ""]


def _begun(events: Sequence[Event]) -> str:
    return f"{_clock(events[0].at, '%Y-%m-%d %H:%M:%S') if events else 'never'} UTC"


def _resumed(events: Sequence[Event]) -> str:
    again = _sessions(events) - 1
    return f", resumed {again} time{'s' * (again > 1)}" if again else ""


def _bars(events: Sequence[Event]) -> Iterator[Bar]:
    """Yield a bar per step; a question, which tells no beginning, begins where the last step ended.

    A step that an earlier session of the run began and never ended stands as ``open``.
    """
    stage, begun, sessions = "", 0.0, 0
    first = _first_stage(events)
    since: dict[str, float] = {}
    going: dict[tuple[str, str], Bar] = {}
    for event in events:
        key = (event.node, event.step)
        if event.kind in ("stage", "run"):
            begun, since = event.at, {}
            stage = event.text if event.kind == "stage" else stage
            sessions += event.kind == "stage" and event.text == first
            yield from going.values()
            going = {}
        elif event.kind == "intent":
            going[key] = Bar(stage, *key, event.text, event.at, event.at, "open", sessions > 1)
        elif event.kind in ("done", "failed", "satisfied"):
            bar = going.pop(key, None)
            kind = "ask" if bar is None and event.kind == "done" else event.kind
            begin = bar.begin if bar else since.get(event.node, begun)
            told = bar.title if bar else event.text
            yield Bar(stage, *key, told, begin, event.at, kind, sessions > 1)
            since[event.node] = event.at
        elif key in going:
            going[key].end = event.at
    yield from going.values()


def _first_stage(events: Sequence[Event]) -> str:
    return next((event.text for event in events if event.kind == "stage"), "")


def _sessions(events: Sequence[Event]) -> int:
    """How often the run was begun: each session of it goes through the stages from the first on."""
    first = _first_stage(events)
    return max(sum(event.kind == "stage" and event.text == first for event in events), 1)


# --- what changed --------------------------------------------------------------------------------


FILES = (step_names.CONFIG, step_names.CONTAINER)


def _changes(record: Mapping[str, Any], events: Sequence[Event]) -> str:
    """A table of what the run was to change and has: before, and after."""
    ended = {(event.step, event.node) for event in events if event.kind == "done"}
    done = {step for step, _ in ended}
    region = _region(record)
    rows = []
    if region and step_names.INITIALISE in done:
        former = record["present"]["clusters"].get(str(region["location"]))
        if former and former != region["cm_url"]:
            rows.append(("cm_url", former, region["cm_url"]))
    if step_names.CLEAR_ROWS in done:
        changed = "cm_url changed" if record["args"].get("rows") == "update" else "deleted"
        if step_names.ROWS_BACK in done and changed == "deleted":
            changed = "deleted, and made anew by docker_init.sh"
        rows += [
            ("rows of MetaDB", text, f"{changed}; backed up before, here and on the node")
            for text in record["present"]["scopes"]
        ]
    for event in events:
        if event.kind == "intent" and event.step in FILES and (event.step, event.node) in ended:
            keys = _drift(record, event.node) if event.step == step_names.CONFIG else []
            name = f"{event.node}: {event.step}"
            rows += [(name, *one) for one in keys] or [(name, "", event.text)]
    if not rows:
        return ""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in dict.fromkeys(rows)
    )
    heads = "<tr><th>what</th><th>before</th><th>after</th></tr>"
    return f'<h2>What changed</h2><div class="wide"><table>{heads}{body}</table></div>'


def _drift(record: Mapping[str, Any], node: str) -> list[tuple[str, str]]:
    """What config.yaml of a node had otherwise than hosts.yaml wants it, before and after."""
    known = record["present"].get("nodes", {}).get(node) or {}
    found = map(Drift.of, known.get("drift") or ())
    return [(f"{one.key}: {one.sides[0]}", f"{one.key}: {one.sides[1]}") for one in found]


# --- when ----------------------------------------------------------------------------------------


def _axis(axis: Axis, outage: Outage | None) -> str:
    marks = "".join(f'<s style="left:{at:.2%}">{text}</s>' for at, text in axis.marks())
    breaks = "".join(
        f'<em style="left:{axis.at(begin):.2%}">{clock_span(begin - end)} later</em>'
        for (_, end), (begin, _) in zip(axis.spans, axis.spans[1:], strict=False)
    )
    down = ""
    if outage and outage.spans:
        at = axis.at(outage.spans[0][0])
        down = f'<strong style="left:{at:.2%}">OMS DOWN {clock_span(outage.seconds)}</strong>'
    track = f'<div class="track">{marks}{breaks}{down}</div>'
    return f'<div class="row axis"><div class="what"></div>{track}</div>'


def _stages(bars: Sequence[Bar], axis: Axis, outage: Outage | None) -> Iterator[str]:
    """Yield a stage after the other: its own bar, what it changed, and its questions folded."""
    begin, end = (axis.spans[0][0], axis.spans[-1][1]) if axis.spans else (0.0, 0.0)
    shown = ((max(a, begin), min(b, end)) for a, b in outage.spans) if outage else ()
    shade = "".join(f'<u style="{axis.style(a, b)}"></u>' for a, b in shown if a < b)
    for (stage, again), group in groupby(bars, lambda bar: (bar.stage, bar.again)):
        members = list(group)
        first, last = min(bar.begin for bar in members), max(bar.end for bar in members)
        failed = any(bar.kind in ("failed", "open") for bar in members)
        name = f"<b>{escape(stage)}</b>{' <span class=same>resumed</span>' * again}"
        look = "failed" if failed else "stage"
        yield _row(name, stage, first, last, look, axis, shade, "stage")
        for bar in members:
            if bar.kind in ("done", "failed", "open"):
                yield _step(bar, axis, shade)
        quiet = [bar for bar in members if bar.kind in ("ask", "satisfied")]
        if quiet:
            same = sum(bar.kind == "satisfied" for bar in quiet)
            told = [f"{len(quiet) - same} checked"] * (len(quiet) > same)
            told += [f"{same} unchanged"] * bool(same)
            rows = "".join(_step(bar, axis, shade) for bar in quiet)
            yield f"<details><summary>{', '.join(told)}</summary>{rows}</details>"


def _step(bar: Bar, axis: Axis, shade: str) -> str:
    look = {"failed": "failed", "open": "failed", "ask": "ask", "satisfied": "ask"}
    same = " <span class=same>unchanged</span>" if bar.kind == "satisfied" else ""
    what = f"<b>{escape(bar.node)}</b> {escape(bar.step)}{same}"
    return _row(what, bar.title, bar.begin, bar.end, look.get(bar.kind, ""), axis, shade)


def _row(
    what: str,
    title: str,
    begin: float,
    end: float,
    look: str,
    axis: Axis,
    shade: str,
    kind: str = "",
) -> str:
    return (
        f'<div class="row {kind}" title="{escape(title)}"><div class="what">{what}</div>'
        f'<div class="track">{shade}<i class="{look}" style="{axis.style(begin, end)}"></i></div>'
        f'<div class="time">{end - begin:.1f} s</div></div>'
    )


# --- what else is to be known --------------------------------------------------------------------


def warnings(events: Sequence[Event]) -> list[tuple[str, list[str], str]]:
    """Return each warning once: its id, the nodes that had it, and what it says."""
    nodes: dict[tuple[str, str], dict[str, None]] = {}
    for event in events:
        if event.kind == "warning":
            nodes.setdefault((event.id, event.text), {})[event.node] = None
    return [(id, list(filter(None, on)), text) for (id, text), on in nodes.items()]


def _warnings(events: Sequence[Event]) -> list[str]:
    return [f"{', '.join(on)}: {text}" for _, on, text in warnings(events)]


def _list(head: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    return f"<h2>{head}</h2><ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _accepted(events: Sequence[Event]) -> str:
    ids = dict.fromkeys(event.text for event in events if event.kind == "accepted")
    return _list("What the operator accepted", [accepted_line(id) for id in ids])


def _failures(events: Sequence[Event]) -> str:
    failed = [event for event in events if event.kind == "failed"]
    if not failed:
        return ""
    items = "".join(
        f"<li><b>{escape(event.node)}</b> {escape(event.step)}, "
        f"{_clock(event.at, '%H:%M:%S')}: <span class=bad>{escape(event.text)}</span></li>"
        for event in failed
    )
    return f"<h2>What failed</h2><ul>{items}</ul>"


def _logs(events: Sequence[Event]) -> str:
    """The output of each step, folded."""
    lines: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event.kind == "line":
            lines.setdefault((event.node, event.step), []).append(event.text)
    if not lines:
        return ""
    folded = "".join(
        f"<details><summary><b>{escape(node)}</b> {escape(step)}, {len(told)} lines</summary>"
        f"<pre>{escape(chr(10).join(told))}</pre></details>"
        for (node, step), told in lines.items()
    )
    return f"<h2>Output</h2>{folded}"


def _next(lines: Sequence[Next]) -> str:
    if not lines:
        return ""
    return f"<h2>What can be done now</h2><pre>{escape(chr(10).join(map(str, lines)))}</pre>"


def _clock(at: float, shape: str) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime(shape)
