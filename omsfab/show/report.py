"""A run as one HTML page, from its events alone: no script, nothing fetched, no secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from string import Template

from omsfab.plan.events import Event
from omsfab.plan.outage import Outage
from omsfab.show.text import accepted_line, clock_span, seconds

TEMPLATE = Path(__file__).parents[2] / "templates" / "report.html"


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


def html(
    name: str,
    owner: str,
    events: Sequence[Event],
    outage: Outage | None = None,
    line: str = "",
    *,
    recorded: bool = True,
) -> str:
    """Return the page of a run; ``line`` says what its outage means for production.  Without
    ``recorded`` the events cannot tell whether there was one."""
    bars = list(_bars(events))
    begin = events[0].at if events else 0.0
    end = max((event.at for event in events), default=begin)
    last = next((event for event in reversed(events) if event.kind == "run"), None)
    said, ended = (last.text, last.end) if last else ("no word", None)
    changed = sum(bar.kind == "done" for bar in bars)
    same = sum(bar.kind == "satisfied" for bar in bars)
    stopped = "not at all" if recorded else "not recorded"
    if outage:
        stopped = clock_span(outage.seconds) + (", still down" if outage.down else "")
    facts = (
        ("outcome", *OUTCOMES[ended.outcome if ended else ""]),
        ("in all", "", seconds(end - begin)),
        ("OMS was down", "bad" if outage and outage.down else "", stopped),
        ("steps that changed something", "", str(changed)),
        ("already so", "", str(same)),
    )
    return Template(TEMPLATE.read_text()).substitute(
        title=escape(name),
        meta=escape(f"by {owner}, {_clock(begin, '%Y-%m-%d %H:%M:%S')} UTC. {said}"),
        outage=f'<p class="bad">OUTAGE {escape(line)}</p>' if outage and outage.down else "",
        facts="".join(
            f'<div><span>{label}</span><b class="{kind}">{escape(text)}</b></div>'
            for label, kind, text in facts
        ),
        rows="\n".join(_rows(bars, begin, end, outage)),
        failures=_accepted(events) + _failures(events),
        legend="blue: changed · grey: asked, or already so · red: failed"
        + (" · shaded: OMS was down" if outage else ""),
    )


def _bars(events: Sequence[Event]) -> Iterator[Bar]:
    """Yield a bar per step; a question, which tells no beginning, begins where the last step ended.

    A step that an earlier session of the run began and never ended stands as ``open``.
    """
    stage, begun = "", 0.0
    since: dict[str, float] = {}
    going: dict[tuple[str, str], Bar] = {}
    for event in events:
        key = (event.node, event.step)
        if event.kind in ("stage", "run"):
            begun, since = event.at, {}
            stage = event.text if event.kind == "stage" else stage
            yield from going.values()
            going = {}
        elif event.kind == "intent":
            going[key] = Bar(stage, *key, event.text, event.at, event.at, "open")
        elif event.kind in ("done", "failed", "satisfied"):
            bar = going.pop(key, None)
            kind = "ask" if bar is None and event.kind == "done" else event.kind
            begin = bar.begin if bar else since.get(event.node, begun)
            title = bar.title if bar else event.text
            yield Bar(stage, *key, title, begin, event.at, kind)
            since[event.node] = event.at
        elif key in going:
            going[key].end = event.at
    yield from going.values()


def _rows(bars: Sequence[Bar], begin: float, end: float, outage: Outage | None) -> Iterator[str]:
    whole = max(end - begin, 0.001)

    def span(start: float, stop: float) -> str:
        return f"left:{(start - begin) / whole:.2%};width:{(stop - start) / whole:.2%}"

    shown = ((max(a, begin), min(b, end)) for a, b in outage.spans) if outage else ()
    shade = "".join(f'<u style="{span(a, b)}"></u>' for a, b in shown if a < b)
    stage = ""
    for bar in bars:
        if bar.stage != stage:
            stage = bar.stage
            yield f'<div class="stage">{escape(stage)}</div>'
        look = {"failed": "failed", "open": "failed", "ask": "ask", "satisfied": "ask"}
        yield (
            f'<div class="row" title="{escape(bar.title)}">'
            f'<div class="what"><b>{escape(bar.node)}</b> {escape(bar.step)}'
            f"{' <span class=same>already so</span>' if bar.kind == 'satisfied' else ''}</div>"
            f'<div class="track">{shade}'
            f'<i class="{look.get(bar.kind, "")}" style="{span(bar.begin, bar.end)}"></i></div>'
            f'<div class="time">{bar.end - bar.begin:.1f} s</div></div>'
        )


def _accepted(events: Sequence[Event]) -> str:
    ids = dict.fromkeys(event.text for event in events if event.kind == "accepted")
    if not ids:
        return ""
    items = "".join(f"<li>{escape(accepted_line(id))}</li>" for id in ids)
    return f"<h2>What the operator accepted</h2><ul>{items}</ul>"


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


def _clock(at: float, shape: str) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime(shape)
